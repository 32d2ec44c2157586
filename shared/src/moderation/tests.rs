//! The rules of moderation, natively.

use serde::de::DeserializeOwned;

use super::call::{
    FileReport, Filed, ListAudit, ListReports, ModerationRequest, NoteAct, ResolveReport,
};
use super::service::ModerationService;
use crate::entropy::SeededEntropy;
use crate::ids::{ConversationId, MessageId, ReportId, UserId};
use crate::protocol::message::ContentType;
use crate::protocol::moderation::{AdminAct, AuditPage, ReportPage, ReportView, ReportedMessage};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::OBJECT_SCOPE;
use crate::sql::native::NativeSql;
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

struct World {
    service: ModerationService<NativeSql>,
    entropy: SeededEntropy,
}

impl World {
    fn new() -> Self {
        let sql = NativeSql::in_memory().unwrap();
        Self {
            service: ModerationService::new(sql, OBJECT_SCOPE),
            entropy: SeededEntropy::new(3),
        }
    }

    fn ask<R: DeserializeOwned>(
        &mut self,
        request: impl Into<ModerationRequest>,
    ) -> Result<R, Problem> {
        self.service
            .handle(request.into(), START, &self.entropy)
            .map_err(ServiceError::into_problem)
            .map(|reply| serde_json::from_str(&reply).unwrap())
    }

    fn report(&self, reason: &str) -> FileReport {
        FileReport {
            reporter_id: UserId::random(&self.entropy),
            reason: reason.to_owned(),
            message: ReportedMessage {
                conversation_id: ConversationId::random(&self.entropy),
                message_id: MessageId::new(START, Seq::new(3), &self.entropy),
                seq: Seq::new(3),
                sender_id: UserId::random(&self.entropy),
                content_type: ContentType::Text,
                content: "cruel words".to_owned(),
                edited_content: None,
                is_deleted: false,
                created_at: START,
            },
        }
    }

    fn list(&mut self, resolved: bool, cursor: Option<String>) -> ReportPage {
        let call = ListReports {
            resolved,
            cursor,
            limit: 2,
        };
        self.ask(call).unwrap()
    }

    fn audit(&mut self) -> Vec<(u64, AdminAct)> {
        let call = ListAudit {
            cursor: None,
            limit: 100,
        };
        let page: AuditPage = self.ask(call).unwrap();
        page.entries
            .into_iter()
            .map(|entry| (entry.entry, entry.act))
            .collect()
    }
}

#[test]
fn a_report_is_kept_once_with_its_message() {
    let mut world = World::new();
    let call = world.report("cruel");
    let filed: Filed = world.ask(call.clone()).unwrap();
    let again: Filed = world
        .ask(FileReport {
            reason: "very cruel".to_owned(),
            ..call.clone()
        })
        .unwrap();
    assert_eq!((again.report_id, again.duplicate), (filed.report_id, true));
    let other = FileReport {
        reporter_id: UserId::random(&world.entropy),
        ..call.clone()
    };
    let other: Filed = world.ask(other).unwrap();
    assert!(!other.duplicate && other.report_id != filed.report_id);
    let page = world.list(false, None);
    assert_eq!(page.reports.len(), 2);
    assert_eq!(page.reports[0].message, call.message);
    assert_eq!(page.reports[0].reason, "cruel");
    for reason in [String::new(), "x".repeat(1001)] {
        let refused = world.ask::<Filed>(world.report(&reason)).unwrap_err();
        assert_eq!(refused.errors[0].field, "reason");
    }
}

#[test]
fn reports_are_paged_oldest_first_and_resolved_once() {
    let mut world = World::new();
    let filed: Vec<ReportId> = (0..5)
        .map(|_| {
            let call = world.report("cruel");
            world.ask::<Filed>(call).unwrap().report_id
        })
        .collect();
    let resolve = |report_id, note: &str| ResolveReport {
        report_id,
        note: note.to_owned(),
    };
    let resolved: ReportView = world.ask(resolve(filed[1], "warned")).unwrap();
    assert_eq!(resolved.resolved_at, Some(START));
    let again: ReportView = world.ask(resolve(filed[1], "nothing")).unwrap();
    assert_eq!(again, resolved, "it is resolved");
    let unknown = resolve(ReportId::random(&world.entropy), "warned");
    let missing = world.ask::<ReportView>(unknown).unwrap_err();
    assert_eq!(missing.code, Code::NotFound);
    let mut open = Vec::new();
    let mut cursor = None;
    loop {
        let page = world.list(false, cursor);
        open.extend(page.reports.iter().map(|report| report.report_id));
        assert_eq!(page.has_more, page.next_cursor.is_some());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(open, [filed[0], filed[2], filed[3], filed[4]]);
    let done = world.list(true, None).reports;
    assert_eq!(done, [resolved]);
}

#[test]
fn every_act_is_noted_in_order_without_gaps() {
    let mut world = World::new();
    let call = world.report("cruel");
    let report_id = world.ask::<Filed>(call).unwrap().report_id;
    world.list(false, None);
    let note = "warned".to_owned();
    let _: ReportView = world.ask(ResolveReport { report_id, note }).unwrap();
    let user_id = UserId::random(&world.entropy);
    let suspended = AdminAct::SuspendUser {
        user_id,
        reason: "spam".to_owned(),
    };
    for act in [suspended.clone(), AdminAct::ReinstateUser { user_id }] {
        let () = world.ask(NoteAct { act }).unwrap();
    }
    let entries = world.audit();
    let numbers: Vec<_> = entries.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert_eq!(entries[0].1, AdminAct::ListAudit);
    assert_eq!(entries[2].1, suspended);
    assert_eq!(entries[4].1, AdminAct::ListReports);
    let beyond = ListAudit {
        cursor: Some(crate::page::cursor(&u64::MAX)),
        limit: 1,
    };
    let page: AuditPage = world.ask(beyond).unwrap();
    assert_eq!(page.entries[0].entry, 6);
    // A resolution that changed nothing is no act; a refusal neither.
    let note = String::new();
    assert!(
        world
            .ask::<ReportView>(ResolveReport { report_id, note })
            .is_err()
    );
    assert_eq!(world.audit().len(), 7);
    let json = serde_json::to_value(&suspended).unwrap();
    assert_eq!(json["act"], "suspend_user");
}
