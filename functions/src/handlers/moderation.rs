//! Reports of messages, and `/admin/*`: what moderators do with them.
//!
//! What an admin does to a user is noted in the audit log before it is done: so no act is missing
//! there, though one may stand there that then failed, and is done again.

use http::StatusCode;
use parlance_shared::conversation::call::CopyMessage;
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::limits;
use parlance_shared::moderation::call::{
    FileReport, ListAudit, ListReports, NoteAct, ResolveReport,
};
use parlance_shared::protocol::moderation::{
    AdminAct, ReportRequest, Reported, ResolveRequest, SuspendRequest, check_reason,
};
use parlance_shared::protocol::problem::Problem;
use parlance_shared::user::call::Suspend;

use super::{Handled, metrics};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;
use crate::router::Admin;

/// `POST /conversations/{conversation_id}/messages/{message_id}/report`
pub(crate) async fn report<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let message_id = exchange.id("message_id")?;
    let ReportRequest { reason } = exchange.body()?;
    check_reason("reason", &reason)?;
    let copy = CopyMessage {
        actor: caller.user_id,
        message_id,
    };
    let message = exchange.backend.conversation(id, copy).await?;
    let file = FileReport {
        reporter_id: caller.user_id,
        reason,
        message,
    };
    let filed = exchange.backend.moderation(file).await?;
    let status = if filed.duplicate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let report_id = filed.report_id;
    answer::json(status, &Reported { report_id })
}

/// Handles what an admin may ask.
pub(crate) async fn admin<B: Backend>(exchange: &Exchange<'_, B>, endpoint: Admin) -> Handled {
    match endpoint {
        Admin::ListReports => list_reports(exchange).await,
        Admin::ResolveReport => resolve(exchange).await,
        Admin::SuspendUser => suspend(exchange).await,
        Admin::ReinstateUser => reinstate(exchange).await,
        Admin::ListAudit => list_audit(exchange).await,
        Admin::Metrics => metrics::report(exchange),
    }
}

/// `GET /admin/reports`
async fn list_reports<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let query = exchange.query();
    let list = ListReports {
        resolved: query.flag("resolved")?,
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::ADMIN_PAGE)?,
    };
    let page = exchange.backend.moderation(list).await?;
    answer::json(StatusCode::OK, &page)
}

/// `POST /admin/reports/{report_id}/resolve`
async fn resolve<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let report_id = exchange.id("report_id")?;
    let ResolveRequest { note } = exchange.body()?;
    check_reason("note", &note)?;
    let resolve = ResolveReport { report_id, note };
    let report = exchange.backend.moderation(resolve).await?;
    answer::json(StatusCode::OK, &report)
}

/// `PUT /admin/users/{user_id}/suspension`
async fn suspend<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let user_id = exchange.id("user_id")?;
    let SuspendRequest { reason } = exchange.body()?;
    check_reason("reason", &reason)?;
    let act = AdminAct::SuspendUser { user_id, reason };
    set_suspended(exchange, user_id, true, act).await
}

/// `DELETE /admin/users/{user_id}/suspension`
async fn reinstate<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let user_id = exchange.id("user_id")?;
    let act = AdminAct::ReinstateUser { user_id };
    set_suspended(exchange, user_id, false, act).await
}

async fn set_suspended<B: Backend>(
    exchange: &Exchange<'_, B>,
    user_id: UserId,
    is_suspended: bool,
    act: AdminAct,
) -> Result<http::Response<Vec<u8>>, Problem> {
    exchange.backend.moderation(NoteAct { act }).await?;
    exchange
        .backend
        .user(user_id, Suspend { is_suspended })
        .await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `GET /admin/audit`
async fn list_audit<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let query = exchange.query();
    let list = ListAudit {
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::ADMIN_PAGE)?,
    };
    let page = exchange.backend.moderation(list).await?;
    answer::json(StatusCode::OK, &page)
}
