//! `/conversations/{conversation_id}/messages`, `/events` and `/read`.
//!
//! A message and an acknowledgement have the shape of their frames, so that a client reads them
//! the same from a socket and from HTTP.

use http::StatusCode;
use parlance_shared::conversation::call::{GetMessageInfo, ListEvents, ListMessages, Send};
use parlance_shared::ids::{ConversationId, MessageId};
use parlance_shared::limits;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::ServerFrame;
use parlance_shared::protocol::message::{NewMessage, ReadRequest};
use parlance_shared::user::call::MarkRead;
use serde::Serialize;

use super::{Handled, scheduled};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// A page of messages, each with its `type`.
#[derive(Serialize)]
struct MessageFrames {
    messages: Vec<Event>,
    next_cursor: Option<String>,
    has_more: bool,
}

/// `GET /conversations/{conversation_id}/messages`
pub(crate) async fn list<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let query = exchange.query();
    let list = ListMessages {
        actor: caller.user_id,
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::MESSAGES_PAGE)?,
    };
    let page = exchange.backend.conversation(id, list).await?;
    let frames = MessageFrames {
        messages: page.messages.into_iter().map(Event::NewMessage).collect(),
        next_cursor: page.next_cursor,
        has_more: page.has_more,
    };
    answer::json(StatusCode::OK, &frames)
}

/// `POST /conversations/{conversation_id}/messages`
pub(crate) async fn send<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let message: NewMessage = exchange.body()?;
    // The conversation checks it again; what cannot hold need not wake it.
    message.validate()?;
    if message.send_at.is_some() {
        return scheduled::schedule(exchange, caller, id, message).await;
    }
    let send = Send {
        actor: caller.user_id,
        device_id: caller.device_id,
        message,
        forwarded_from: None,
    };
    let ack = exchange.backend.conversation(id, send).await?;
    let status = if ack.duplicate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    answer::json(status, &ServerFrame::MsgAck(ack))
}

/// `GET /conversations/{conversation_id}/events`
pub(crate) async fn list_events<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let query = exchange.query();
    let list = ListEvents {
        actor: caller.user_id,
        after_seq: query.seq("after_seq")?.unwrap_or_default(),
        limit: query.limit(limits::EVENTS_PAGE)?,
    };
    let page = exchange.backend.conversation(id, list).await?;
    answer::json(StatusCode::OK, &page)
}

/// `POST /conversations/{conversation_id}/read`
pub(crate) async fn mark_read<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let conversation_id: ConversationId = exchange.id("conversation_id")?;
    let ReadRequest { up_to_seq } = exchange.body()?;
    let mark = MarkRead {
        device_id: caller.device_id,
        conversation_id,
        up_to_seq,
    };
    let reply = exchange.backend.user(caller.user_id, mark).await?;
    answer::json(StatusCode::OK, &reply)
}

/// `GET /conversations/{conversation_id}/messages/{message_id}/info`
pub(crate) async fn info<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let message_id: MessageId = exchange.id("message_id")?;
    let get = GetMessageInfo {
        actor: caller.user_id,
        message_id,
    };
    let info = exchange.backend.conversation(id, get).await?;
    answer::json(StatusCode::OK, &info)
}
