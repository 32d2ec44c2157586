//! Sending a message: one insert does the duplicate check, the seq and the storing at once.

use std::collections::BTreeMap;

use super::call::SendMany;
use super::policy::Member;
use super::service::{ConversationService, Effects};
use super::store::{MessageBody, Meta, NewEvent, NewEventKind};
use crate::entropy::Entropy;
use crate::ids::{MessageId, UserId};
use crate::object::Answer;
use crate::protocol::event::Event;
use crate::protocol::message::{ContentType, Message, MessageAck, MessageStatus, NewMessage};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Stores a message with the next seq, or recognises one that is there already.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `invalid_request` or `payload_too_large` for a
    /// message that does not fit.
    pub fn send(
        &mut self,
        actor: UserId,
        message: NewMessage,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(MessageAck, Effects), ServiceError> {
        let (state, member) = self.as_member(actor)?;
        message.validate()?;
        check_against(&state.meta, &state.members, &message)?;
        let conversation_id = state.meta.conversation_id;
        let seq = state.head.next();
        // The log's times go with its order, whatever the clock does.
        let created_at = now.max(state.last_at);
        let message_id = MessageId::new(created_at, seq, entropy);
        let store = self.store();
        if let Some(reply_to) = &message.reply_to
            && store.find_message(reply_to, member.visible_from)?.is_none()
        {
            return Err(Problem::invalid_field(
                "reply_to",
                "is not a message of this conversation",
            )
            .into());
        }
        let stored = store.insert_event(&NewEvent {
            seq,
            sender_id: actor,
            created_at,
            kind: NewEventKind::Message {
                message_id,
                client_msg_id: message.client_msg_id,
                body: MessageBody {
                    content: message.content.as_str().into(),
                    content_type: message.content_type,
                    media_id: message.media_id,
                    reply_to: message.reply_to,
                    mentions: message.mentions.clone(),
                },
            },
        })?;
        let mut ack = MessageAck {
            client_msg_id: message.client_msg_id,
            conversation_id,
            message_id,
            seq,
            created_at,
            status: MessageStatus::Sent,
            duplicate: false,
        };
        if !stored {
            let (seq, message_id, created_at) = store
                .find_sent(&actor, &message.client_msg_id)?
                .ok_or(SqlError::Unexpected {
                    expected: "the message that was sent before",
                    found: "nothing".to_owned(),
                })?;
            ack = MessageAck {
                seq,
                message_id,
                created_at,
                duplicate: true,
                ..ack
            };
            return Ok((ack, Effects::default()));
        }
        if let Some(state) = &mut self.state {
            state.head = seq;
            state.last_at = created_at;
            state.lanes.advance(seq, now);
            state.recent.sent(actor, seq, message_id);
        }
        let event = Event::NewMessage(Message {
            conversation_id,
            seq,
            message_id,
            client_msg_id: Some(message.client_msg_id),
            sender_id: actor,
            content: message.content,
            content_type: message.content_type,
            media_id: message.media_id,
            reply_to: message.reply_to,
            mentions: message.mentions,
            is_deleted: false,
            created_at,
        });
        let effects = Effects {
            broadcast: vec![event],
            alarm: self.arm(now),
            deliver: true,
            ..Effects::default()
        };
        Ok((ack, effects))
    }
}

impl<S: Sql> ConversationService<S> {
    /// Sends several messages of one sender, in order, each with an answer of its own. Where one
    /// is refused the others go on; where storage fails, it ends there: that one and those after
    /// it are told `internal`, and can be sent again.
    pub fn send_many(
        &mut self,
        call: SendMany,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Vec<Answer<MessageAck>>, Effects) {
        let mut effects = Effects::default();
        let mut answers = Vec::with_capacity(call.messages.len());
        for message in call.messages {
            if effects.failure.is_some() {
                answers.push(Answer::Problem(Problem::internal()));
                continue;
            }
            match self.send(call.actor, message, now, entropy) {
                Ok((ack, more)) => {
                    answers.push(Answer::Ok(ack));
                    effects.broadcast.extend(more.broadcast);
                    effects.alarm = effects.alarm.or(more.alarm);
                    effects.deliver |= more.deliver;
                }
                Err(error) => {
                    if let ServiceError::Storage(failure) = &error {
                        effects.failure = Some(failure.clone());
                    }
                    answers.push(Answer::Problem(error.into_problem()));
                }
            }
        }
        (answers, effects)
    }
}

/// Checks a message against the conversation that it is sent to.
fn check_against(
    meta: &Meta,
    members: &BTreeMap<UserId, Member>,
    message: &NewMessage,
) -> Result<(), Problem> {
    if meta.encrypted && message.content_type != ContentType::Encrypted {
        return Err(Problem::invalid_field(
            "content_type",
            "must be encrypted: this conversation takes nothing else",
        ));
    }
    if message.mentions.iter().any(|id| !members.contains_key(id)) {
        return Err(Problem::invalid_field("mentions", "must all be members"));
    }
    if message.media_id.is_some() {
        // No medium can have been uploaded yet: there is no endpoint for it.
        return Err(Problem::invalid_field(
            "media_id",
            "is not a medium that was uploaded",
        ));
    }
    Ok(())
}
