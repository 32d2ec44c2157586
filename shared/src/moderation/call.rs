//! What the moderation object can be asked.

use serde::{Deserialize, Serialize};

use crate::ids::{ReportId, UserId};
use crate::object::{ObjectClass, requests};
use crate::protocol::moderation::{AdminAct, AuditPage, ReportPage, ReportView, ReportedMessage};

/// The class of the moderation object: one per deployment.
#[derive(Debug)]
pub struct ModerationObject;

impl ObjectClass for ModerationObject {
    const BINDING: &'static str = "MODERATION";
    type Name = ();
    type Request = ModerationRequest;

    fn object_name((): &()) -> String {
        "moderation".to_owned()
    }
}

requests! {
    /// All that the moderation object can be asked.
    ModerationRequest of ModerationObject {
        /// Take a report.
        FileReport => Filed,
        /// Page through the reports.
        ListReports => ReportPage,
        /// Resolve a report.
        ResolveReport => ReportView,
        /// Note what an admin is about to do.
        NoteAct => (),
        /// Page through what admins did.
        ListAudit => AuditPage,
    }
}

/// Takes a report. One of the same message by the same user is not taken again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Who reports.
    pub reporter_id: UserId,
    /// Why; validated by the service.
    pub reason: String,
    /// The message, as the conversation gave it.
    pub message: ReportedMessage,
}

/// The report is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// Its name.
    pub report_id: ReportId,
    /// Whether it had been made before.
    pub duplicate: bool,
}

/// Pages through the reports, the oldest first; noted as an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReports {
    /// The resolved ones, or the open ones.
    pub resolved: bool,
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
}

/// Resolves a report, and notes it. One that is resolved is left as it is. Refused with
/// `not_found` where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveReport {
    /// Which.
    pub report_id: ReportId,
    /// What came of it; validated by the service.
    pub note: String,
}

/// Notes what an admin is about to do elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteAct {
    /// What.
    pub act: AdminAct,
}

/// Pages through what admins did, the newest first; noted as an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListAudit {
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
}
