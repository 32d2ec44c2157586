//! `/conversations/{conversation_id}/scheduled`: messages that are to be sent later.

use http::StatusCode;
use parlance_shared::conversation::call::{CancelScheduled, ListScheduled, Schedule, Sent};
use parlance_shared::ids::{ConversationId, ScheduledId};
use parlance_shared::protocol::frame::ServerFrame;
use parlance_shared::protocol::message::NewMessage;

use super::Handled;
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// `POST /conversations/{conversation_id}/messages` with a `send_at`. Answers 202, or, where the
/// message had been sent already, as for that.
pub(crate) async fn schedule<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    id: ConversationId,
    message: NewMessage,
) -> Handled {
    let schedule = Schedule {
        actor: caller.user_id,
        device_id: Some(caller.device_id),
        message,
    };
    let sent = exchange.backend.conversation(id, schedule).await?;
    let status = match sent {
        Sent::Already(_) => StatusCode::OK,
        Sent::Later(_) => StatusCode::ACCEPTED,
    };
    answer::json(status, &ServerFrame::from(sent))
}

/// `GET /conversations/{conversation_id}/scheduled`
pub(crate) async fn list<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let list = ListScheduled {
        actor: caller.user_id,
    };
    let scheduled = exchange.backend.conversation(id, list).await?;
    answer::json(StatusCode::OK, &scheduled)
}

/// `DELETE /conversations/{conversation_id}/scheduled/{scheduled_id}`
pub(crate) async fn cancel<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let scheduled_id: ScheduledId = exchange.id("scheduled_id")?;
    let cancel = CancelScheduled {
        actor: caller.user_id,
        scheduled_id,
    };
    exchange.backend.conversation(id, cancel).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
