//! Messages that sessions send: in order, several at once, each answered to its session.
//!
//! What always holds: a conversation is asked once at a time, so messages reach it in the order
//! in which the client sent them. What has not been acknowledged is lost with the memory of the
//! object; the client sends it again under the same `client_msg_id`.

use std::collections::VecDeque;

use super::effect::{Effect, Effects, SocketId};
use super::frames::to_one;
use super::pending::Pending;
use super::service::UserService;
use crate::conversation::call::SendMany;
use crate::ids::{ClientMessageId, ConversationId};
use crate::object::Answer;
use crate::protocol::frame::{BadFrame, ServerFrame};
use crate::protocol::message::{MessageAck, NewMessage};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::Sql;

/// Messages in one request to a conversation.
const BATCH_MESSAGES: usize = 100;
/// Bytes of content in one request to a conversation, roughly.
const BATCH_BYTES: usize = 512 * 1024;
/// Bytes of content that may wait for one conversation.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Messages that may wait for one conversation.
const QUEUE_MESSAGES: usize = 10_000;

/// What waits for a conversation.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    in_flight: Vec<(SocketId, ClientMessageId)>,
    queue: VecDeque<(SocketId, NewMessage)>,
    bytes: usize,
}

impl<S: Sql> UserService<S> {
    /// Takes a valid message to be sent.
    pub(super) fn enqueue(
        &mut self,
        socket: SocketId,
        id: ConversationId,
        message: NewMessage,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.owner()?;
        let outbox = self.outboxes.entry(id).or_default();
        if outbox.queue.len() >= QUEUE_MESSAGES || outbox.bytes >= QUEUE_BYTES {
            return Err(Problem::rate_limited(
                "Too many messages wait for this conversation.",
                std::time::Duration::from_secs(1),
            )
            .into());
        }
        outbox.bytes += message.content.len();
        outbox.queue.push_back((socket, message));
        self.send_next(id, effects)
    }

    fn send_next(&mut self, id: ConversationId, effects: &mut Effects) -> Result<(), ServiceError> {
        let actor = self.owner()?;
        let Some(outbox) = self.outboxes.get_mut(&id) else {
            return Ok(());
        };
        if !outbox.in_flight.is_empty() {
            return Ok(());
        }
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some((socket, message)) = outbox.queue.pop_front() else {
                break;
            };
            bytes += message.content.len();
            outbox.in_flight.push((socket, message.client_msg_id));
            messages.push(message);
        }
        outbox.bytes = outbox.bytes.saturating_sub(bytes);
        if messages.is_empty() {
            self.outboxes.remove(&id);
            return Ok(());
        }
        let ticket = self.ticket(Pending::Sends {
            conversation_id: id,
        });
        effects.push(Effect::AskConversation {
            id,
            request: SendMany { actor, messages }.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// A conversation has answered: each message is acknowledged or refused to its session.
    pub(super) fn sent_many(
        &mut self,
        id: ConversationId,
        answer: Result<Vec<Answer<MessageAck>>, Problem>,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let in_flight = self
            .outboxes
            .get_mut(&id)
            .map(|outbox| std::mem::take(&mut outbox.in_flight))
            .unwrap_or_default();
        let mut answers = match answer {
            Ok(answers) => answers.into_iter(),
            Err(problem) => in_flight
                .iter()
                .map(|_| Answer::Problem(problem.clone()))
                .collect::<Vec<_>>()
                .into_iter(),
        };
        for (socket, client_msg_id) in in_flight {
            let frame = match answers.next().map(Answer::into_result) {
                Some(Ok(ack)) => ServerFrame::MsgAck(ack),
                Some(Err(problem)) => BadFrame {
                    problem,
                    client_msg_id: Some(client_msg_id),
                }
                .into(),
                None => BadFrame {
                    problem: Problem::internal(),
                    client_msg_id: Some(client_msg_id),
                }
                .into(),
            };
            merge(effects, to_one(socket, frame));
        }
        self.send_next(id, effects)
    }
}

/// Adds frames to the last effect where it is for the same session, so that they travel together.
fn merge(effects: &mut Effects, effect: Effect) {
    if let (
        Some(Effect::Send {
            to: last,
            frames: all,
        }),
        Effect::Send { to, frames },
    ) = (effects.last_mut(), &effect)
        && last == to
    {
        all.extend(frames.iter().cloned());
        return;
    }
    effects.push(effect);
}
