//! `/conversations/{conversation_id}/messages/{message_id}` and below, and `/pins`: what is done
//! with a message.
//!
//! What was done is answered with its event, in the shape of its frame; so is what had been done
//! before, with the event of that time.

use http::StatusCode;
use parlance_shared::conversation::call::{ActOn, GetMessage, ListPins, ListThread};
use parlance_shared::ids::{ConversationId, MessageId};
use parlance_shared::limits;
use parlance_shared::protocol::act::{Act, EditRequest, VoteRequest};
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::user::call::HideMessage;
use serde::Serialize;

use super::Handled;
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// A page of a thread, each message with its `type`.
#[derive(Serialize)]
struct ThreadFrames {
    root: Event,
    messages: Vec<Event>,
    next_cursor: Option<String>,
    has_more: bool,
}

/// The message that the path names.
fn target<B: Backend>(exchange: &Exchange<'_, B>) -> Result<(ConversationId, MessageId), Problem> {
    Ok((exchange.id("conversation_id")?, exchange.id("message_id")?))
}

async fn act<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller, act: Act) -> Handled {
    let (id, message_id) = target(exchange)?;
    // The conversation checks it again; what cannot hold need not wake it.
    act.validate()?;
    let call = ActOn {
        actor: caller.user_id,
        message_id,
        act,
    };
    let acted = exchange.backend.conversation(id, call).await?;
    answer::json(StatusCode::OK, &acted.event)
}

/// `GET /conversations/{conversation_id}/messages/{message_id}`
pub(crate) async fn get<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let (id, message_id) = target(exchange)?;
    let get = GetMessage {
        actor: caller.user_id,
        message_id,
    };
    let message = exchange.backend.conversation(id, get).await?;
    answer::json(StatusCode::OK, &Event::NewMessage(message))
}

/// `PATCH /conversations/{conversation_id}/messages/{message_id}`
pub(crate) async fn edit<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    target(exchange)?;
    let EditRequest { content, mentions } = exchange.body()?;
    act(exchange, caller, Act::Edit { content, mentions }).await
}

/// `DELETE /conversations/{conversation_id}/messages/{message_id}?for=everyone|me`
pub(crate) async fn delete<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let (conversation_id, message_id) = target(exchange)?;
    match exchange.query().text("for")? {
        None | Some("everyone") => act(exchange, caller, Act::Delete).await,
        Some("me") => {
            let hide = HideMessage {
                device_id: caller.device_id,
                conversation_id,
                message_id,
            };
            exchange.backend.user(caller.user_id, hide).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        Some(_) => Err(Problem::invalid_field("for", "must be everyone or me")),
    }
}

/// `PUT` and `DELETE /conversations/{conversation_id}/messages/{message_id}/reactions/{emoji}`
pub(crate) async fn react<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    remove: bool,
) -> Handled {
    target(exchange)?;
    let emoji = exchange.text("emoji")?;
    act(exchange, caller, Act::React { emoji, remove }).await
}

/// `GET /conversations/{conversation_id}/pins`
pub(crate) async fn list_pins<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let list = ListPins {
        actor: caller.user_id,
    };
    let pins = exchange.backend.conversation(id, list).await?;
    answer::json(StatusCode::OK, &pins)
}

/// `PUT` and `DELETE /conversations/{conversation_id}/pins/{message_id}`
pub(crate) async fn pin<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    remove: bool,
) -> Handled {
    act(exchange, caller, Act::Pin { remove }).await
}

/// `PUT /conversations/{conversation_id}/messages/{message_id}/vote`
pub(crate) async fn vote<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    target(exchange)?;
    let VoteRequest { options } = exchange.body()?;
    act(exchange, caller, Act::Vote { options }).await
}

/// `PUT /conversations/{conversation_id}/messages/{message_id}/poll/closed`
pub(crate) async fn close_poll<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    act(exchange, caller, Act::ClosePoll).await
}

/// `GET /conversations/{conversation_id}/messages/{message_id}/thread`
pub(crate) async fn list_thread<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let (id, message_id) = target(exchange)?;
    let query = exchange.query();
    let list = ListThread {
        actor: caller.user_id,
        message_id,
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::MESSAGES_PAGE)?,
    };
    let page = exchange.backend.conversation(id, list).await?;
    let frames = ThreadFrames {
        root: Event::NewMessage(page.root),
        messages: page.messages.into_iter().map(Event::NewMessage).collect(),
        next_cursor: page.next_cursor,
        has_more: page.has_more,
    };
    answer::json(StatusCode::OK, &frames)
}
