//! Bodies of `/conversations/{id}/messages/{message_id}/report` and `/admin/*`.

use serde::{Deserialize, Serialize};

use super::input::Fields;
use super::message::ContentType;
use super::problem::Problem;
use super::seq::Seq;
use crate::ids::{ConversationId, MessageId, ReportId, UserId};
use crate::limits;
use crate::time::Timestamp;

/// `POST /conversations/{id}/messages/{message_id}/report`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRequest {
    /// Why.
    pub reason: String,
}

/// 201 of the same; 200 where the caller has reported that message before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The report's name.
    pub report_id: ReportId,
}

/// A message as it was when it was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedMessage {
    /// Where.
    pub conversation_id: ConversationId,
    /// Its id.
    pub message_id: MessageId,
    /// Its number.
    pub seq: Seq,
    /// Who sent it.
    pub sender_id: UserId,
    /// What `content` is.
    pub content_type: ContentType,
    /// What it said when it was sent; also where it was deleted since, until that is purged.
    pub content: String,
    /// What it said after its last edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_content: Option<String>,
    /// Whether it had been deleted for everyone, or had expired.
    pub is_deleted: bool,
    /// When it was sent.
    pub created_at: Timestamp,
}

/// A report, as moderators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportView {
    /// Its name.
    pub report_id: ReportId,
    /// Who made it.
    pub reporter_id: UserId,
    /// Why.
    pub reason: String,
    /// The message.
    pub message: ReportedMessage,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was resolved; null while it is open.
    pub resolved_at: Option<Timestamp>,
    /// What came of it.
    pub note: Option<String>,
}

/// `GET /admin/reports`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPage {
    /// The reports, the oldest first.
    pub reports: Vec<ReportView>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// `POST /admin/reports/{report_id}/resolve`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// What came of it.
    pub note: String,
}

/// `PUT /admin/users/{user_id}/suspension`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendRequest {
    /// Why.
    pub reason: String,
}

/// Checks the text that says why, or what came of it.
///
/// # Errors
/// `invalid_request` on `field`.
pub fn check_reason(field: &str, text: &str) -> Result<(), Problem> {
    let mut fields = Fields::new();
    fields.label(field, text, limits::REASON_CHARS);
    fields.finish()
}

/// What an admin did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdminAct {
    /// Looked at reports.
    ListReports,
    /// Looked at what admins did.
    ListAudit,
    /// Resolved a report.
    ResolveReport {
        /// Which.
        report_id: ReportId,
        /// What came of it.
        note: String,
    },
    /// Suspended an account.
    SuspendUser {
        /// Whose.
        user_id: UserId,
        /// Why.
        reason: String,
    },
    /// Let a suspended account be used again.
    ReinstateUser {
        /// Whose.
        user_id: UserId,
    },
}

/// What an admin did, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The entry's number: from 1, without gaps.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub act: AdminAct,
}

/// `GET /admin/audit`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// What was done, the newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}
