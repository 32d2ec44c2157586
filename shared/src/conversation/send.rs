//! Sending a message: one insert does the duplicate check, the seq and the storing at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::SendMany;
use super::policy::{Action, Member};
use super::service::{ConversationService, Effects};
use super::store::{MessageBody, Meta, NewEvent, NewEventKind};
use super::timers::Due;
use crate::entropy::Entropy;
use crate::ids::{ClientMessageId, MessageId, UserId};
use crate::object::Answer;
use crate::planted::{self, Bug};
use crate::protocol::event::Event;
use crate::protocol::media::media_url;
use crate::protocol::message::{
    ContentType, ForwardedFrom, Message, MessageAck, MessageStatus, NewMessage,
};
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
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
        self.send_on(actor, message, None, now, entropy)
    }

    /// As [`Self::send`], of a message that may come from another conversation.
    pub(super) fn send_on(
        &mut self,
        actor: UserId,
        message: NewMessage,
        forwarded_from: Option<ForwardedFrom>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(MessageAck, Effects), ServiceError> {
        if message.send_at.is_some() {
            return Err(Problem::invalid_field("send_at", "is not taken here").into());
        }
        let judged = self.check(actor, &message).and_then(|root| {
            let media = self.take_medium(actor, &message, forwarded_from.is_some())?;
            Ok((root, media))
        });
        let (root, media) = match judged {
            Ok(judged) => judged,
            // One that was sent before has its place, whatever has changed since.
            Err(error) => return self.known_or(error, actor, message.client_msg_id),
        };
        let (state, _) = self.as_member(actor)?;
        let conversation_id = state.meta.conversation_id;
        let seq = state.head.next();
        // The log's times go with its order, whatever the clock does.
        let created_at = now.max(state.last_at);
        let expires_at = state
            .expires_after
            .map(|seconds| created_at + Duration::from_secs(seconds.into()));
        let message_id = MessageId::new(created_at, seq, entropy);
        let store = self.store();
        let event = NewEvent {
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
                    media: media.clone(),
                    reply_to: message.reply_to,
                    mentions: message.mentions.clone(),
                    thread_root: message.thread_root,
                    forwarded_from,
                    expires_at,
                },
            },
        };
        let stored = if root.is_none() && expires_at.is_none() && message.media_id.is_none() {
            store.insert_event(&event)?
        } else {
            transact(&self.sql, || {
                let stored = store.insert_event(&event)?;
                if let Some(root) = root.filter(|_| stored) {
                    store.add_reply(root, seq, created_at)?;
                }
                if let Some(media_id) = message.media_id.filter(|_| stored) {
                    store.add_medium(seq, &media_id, &actor, &message.client_msg_id)?;
                }
                if let Some(at) = expires_at.filter(|_| stored) {
                    store.add_timer(at, &Due::Expire(seq))?;
                }
                Ok::<_, SqlError>(stored)
            })?
        };
        let ack = MessageAck {
            client_msg_id: message.client_msg_id,
            conversation_id,
            message_id,
            seq,
            created_at,
            status: MessageStatus::Sent,
            duplicate: false,
        };
        if !stored {
            let ack =
                self.sent_before(actor, message.client_msg_id)?
                    .ok_or(SqlError::Unexpected {
                        expected: "the message that was sent before",
                        found: "nothing".to_owned(),
                    })?;
            return Ok((ack, Effects::default()));
        }
        let alarm = self.arm(now);
        if let Some(state) = &mut self.state {
            state.head = seq;
            state.last_at = created_at;
            state.lanes.advance(seq, now);
            state.recent.sent(actor, seq, message_id);
            state.add_timer(expires_at);
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
            media_url: message.media_id.map(|id| media_url(id, conversation_id)),
            media,
            reply_to: message.reply_to,
            mentions: message.mentions,
            thread_root: message.thread_root,
            forwarded_from,
            edited_at: None,
            expires_at,
            is_deleted: false,
            is_hidden: false,
            is_pinned: false,
            reactions: Vec::new(),
            poll: None,
            thread: None,
            created_at,
        });
        let effects = Effects {
            broadcast: vec![event],
            alarm,
            deliver: true,
            ..Effects::default()
        };
        Ok((ack, effects))
    }

    /// The acknowledgement of a message that was sent before, where it was, instead of why it could not
    /// be sent now.
    fn known_or(
        &mut self,
        error: ServiceError,
        actor: UserId,
        client_msg_id: ClientMessageId,
    ) -> Result<(MessageAck, Effects), ServiceError> {
        if matches!(error, ServiceError::Storage(_)) || planted::is_on(Bug::RepeatsJudged) {
            return Err(error);
        }
        match self.sent_before(actor, client_msg_id)? {
            Some(ack) => Ok((ack, Effects::default())),
            None => Err(error),
        }
    }

    /// The acknowledgement of a message of a member that was sent before, where it was.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub(super) fn sent_before(
        &mut self,
        actor: UserId,
        client_msg_id: ClientMessageId,
    ) -> Result<Option<MessageAck>, ServiceError> {
        let (state, _) = self.as_member(actor)?;
        let conversation_id = state.meta.conversation_id;
        let found = self.store().find_sent(&actor, &client_msg_id)?;
        Ok(found.map(|(seq, message_id, created_at)| MessageAck {
            client_msg_id,
            conversation_id,
            message_id,
            seq,
            created_at,
            status: MessageStatus::Sent,
            duplicate: true,
        }))
    }

    /// Checks a message against the conversation that it is sent to. Gives the root of its
    /// thread, where it is in one.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn check(
        &mut self,
        actor: UserId,
        message: &NewMessage,
    ) -> Result<Option<Seq>, ServiceError> {
        let (state, member) = self.allowed(actor, Action::SendMessage)?;
        message.validate()?;
        check_against(&state.meta, &state.members, message)?;
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
        let Some(root) = &message.thread_root else {
            return Ok(None);
        };
        let wrong =
            |message: &str| ServiceError::from(Problem::invalid_field("thread_root", message));
        let root = store
            .find_message(root, member.visible_from)?
            .map(|seq| store.target(seq))
            .transpose()?
            .flatten()
            .ok_or_else(|| wrong("is not a message of this conversation"))?;
        if store.said(root.seq)?.thread_root.is_some() {
            return Err(wrong("is itself in a thread"));
        }
        if root.deleted_seq.is_some() || root.is_expired {
            return Err(wrong("was deleted"));
        }
        Ok(Some(root.seq))
    }
}

impl<S: Sql> ConversationService<S> {
    /// Sends several messages of one sender, in order, each with an answer of its own. Where one
    /// is refused the others go on; where storage fails, it ends there: that one and those after
    /// it are told `internal`, and can be sent again.
    ///
    /// # Errors
    /// Only what is needed before any of them can be sent.
    pub fn send_many(
        &mut self,
        call: SendMany,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<Answer<MessageAck>>, Effects), ServiceError> {
        // Of older messages, only the root of a thread is looked at.
        for message in &call.messages {
            if message.thread_root.is_none() && message.media_id.is_none() {
                continue;
            }
            let looked = self
                .check(call.actor, message)
                .and_then(|_| self.require_medium(call.actor, message, false));
            if let Err(needs @ ServiceError::Needs(_)) = looked {
                self.known_or(needs, call.actor, message.client_msg_id)?;
            }
        }
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
                    effects.absorb(more);
                }
                Err(error) => {
                    if let ServiceError::Storage(failure) = &error {
                        effects.failure = Some(failure.clone());
                    }
                    answers.push(Answer::Problem(error.into_problem()));
                }
            }
        }
        Ok((answers, effects))
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
    Ok(())
}
