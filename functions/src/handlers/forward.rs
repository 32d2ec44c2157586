//! `POST /conversations/{conversation_id}/messages/{message_id}/forward`
//!
//! The message is read as the caller sees it, and sent to each of the other conversations under
//! the name that the caller gives it: so asking again sends it to those alone that do not have
//! it. Each conversation has the last word on whether the caller may write in it.

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use parlance_shared::conversation::call::{GetMessage, Send};
use parlance_shared::ids::{ConversationId, MessageId};
use parlance_shared::limits;
use parlance_shared::protocol::act::{ForwardRequest, ForwardResult, Forwarded};
use parlance_shared::protocol::input::Fields;
use parlance_shared::protocol::message::{ContentType, ForwardedFrom, Message, NewMessage};
use parlance_shared::protocol::problem::{Code, Problem};

use super::{Handled, WAVE};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// Sends a message to other conversations.
pub(crate) async fn forward<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let message_id: MessageId = exchange.id("message_id")?;
    let body: ForwardRequest = exchange.body()?;
    check(&body.conversation_ids)?;
    let get = GetMessage {
        actor: caller.user_id,
        message_id,
    };
    let message = exchange.backend.conversation(id, get).await?;
    require_content(&message)?;
    let send = Send {
        actor: caller.user_id,
        device_id: caller.device_id,
        forwarded_from: Some(message.forwarded_from.unwrap_or(ForwardedFrom {
            sender_id: message.sender_id,
            created_at: message.created_at,
        })),
        message: NewMessage {
            client_msg_id: body.client_msg_id,
            content: message.content,
            content_type: message.content_type,
            reply_to: None,
            media_id: message.media_id,
            mentions: Vec::new(),
            thread_root: None,
            send_at: None,
        },
    };
    let results = stream::iter(body.conversation_ids)
        .map(|conversation_id| {
            let sent = exchange.backend.conversation(conversation_id, send.clone());
            async move {
                let (ack, problem) = match sent.await {
                    Ok(ack) => (Some(ack), None),
                    Err(problem) => (None, Some(problem)),
                };
                ForwardResult {
                    conversation_id,
                    ack,
                    problem,
                }
            }
        })
        .buffered(WAVE)
        .collect()
        .await;
    answer::json(StatusCode::OK, &Forwarded { results })
}

/// Checks what can be checked without a call.
fn check(ids: &[ConversationId]) -> Result<(), Problem> {
    let mut fields = Fields::new();
    fields.require(
        (1..=limits::FORWARDS).contains(&ids.len()),
        "conversation_ids",
        format!("must have 1 to {} ids", limits::FORWARDS),
    );
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    fields.require(
        sorted.len() == ids.len(),
        "conversation_ids",
        "must name each conversation once",
    );
    fields.finish()
}

/// Only what the caller can read, and others could, can be forwarded.
fn require_content(message: &Message) -> Result<(), Problem> {
    if message.is_deleted {
        return Err(Problem::new(
            Code::Conflict,
            "The message was deleted, or has expired.",
        ));
    }
    if message.content_type == ContentType::Encrypted {
        let detail = "is encrypted for the members of its conversation";
        return Err(Problem::invalid_field("message_id", detail));
    }
    Ok(())
}
