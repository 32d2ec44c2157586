//! Messages that the user has deleted for themself.
//!
//! What always holds: the conversation hides a message first, then it is written down here, what
//! is unread and the list with it, in one transaction; then the user's devices are told. What was
//! cut off in between is done by asking again.

use std::collections::BTreeSet;

use super::call::HideMessage;
use super::effect::{Effect, Effects, Reply, SocketId};
use super::expected::fail_request;
use super::list::{read_last, shown};
use super::pending::Pending;
use super::reading::Origin;
use super::service::UserService;
use super::store::Store;
use crate::conversation::call::{Hidden, Hide};
use crate::ids::{ClientMessageId, ConversationId, MessageId};
use crate::object;
use crate::params;
use crate::protocol::act::HideCommand;
use crate::protocol::conversation::LastMessage;
use crate::protocol::event::Event;
use crate::protocol::frame::ServerFrame;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};

/// A message that is being hidden.
#[derive(Debug, Clone)]
pub(super) struct PendingHide {
    conversation_id: ConversationId,
    message_id: MessageId,
    origin: Origin,
    /// The client's name for its frame.
    client_msg_id: Option<ClientMessageId>,
    /// What [`UserService::uncounted`] was when it was asked for.
    uncounted: u64,
}

/// The seqs of messages that the user has hidden in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HiddenSeqs(BTreeSet<Seq>);

impl HiddenSeqs {
    pub fn contains(&self, seq: Seq) -> bool {
        self.0.contains(&seq)
    }

    /// The event as the user sees it.
    pub fn show(&self, event: Event) -> Event {
        match event {
            Event::NewMessage(mut message) if self.contains(message.seq) => {
                message.is_hidden = true;
                Event::NewMessage(message.without_content())
            }
            Event::Changed(change) if self.contains(change.message_id().claimed_seq()) => {
                Event::Changed(change.without_content())
            }
            event => event,
        }
    }
}

impl Store<'_> {
    /// The hidden messages of a conversation from `first` on.
    pub fn hidden_from(self, id: &ConversationId, first: Seq) -> Result<HiddenSeqs, SqlError> {
        let found = self.sql.exec(
            "SELECT seq FROM inbox_hidden WHERE scope = ? AND conversation_id = ? AND seq >= ?",
            params![self.scope, id, first],
        )?;
        let seqs = found.rows.iter().map(|row| row.get(0));
        seqs.collect::<Result<_, _>>().map(HiddenSeqs)
    }

    /// How many hidden messages after `after` up to `up_to` would count as unread.
    pub fn count_hidden(
        self,
        id: &ConversationId,
        after: Seq,
        up_to: Seq,
    ) -> Result<u64, SqlError> {
        let count = self
            .sql
            .exec(
                "SELECT count(*) FROM inbox_hidden
                 WHERE scope = ? AND conversation_id = ? AND seq > ? AND seq <= ? AND counts = 1",
                params![self.scope, id, after, up_to],
            )?
            .scalar()?;
        Ok(count.unwrap_or(0))
    }

    /// A hidden message was deleted for everyone.
    pub fn hidden_counts_no_more(self, id: &ConversationId, seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE inbox_hidden SET counts = 0
             WHERE scope = ? AND conversation_id = ? AND seq = ?",
            params![self.scope, id, seq],
        )?;
        Ok(())
    }

    /// Hides a message; says whether it was not hidden before.
    fn hide(self, id: &ConversationId, seq: Seq, counts: bool) -> Result<bool, SqlError> {
        let added = self.sql.exec(
            "INSERT INTO inbox_hidden (scope, conversation_id, seq, counts) VALUES (?, ?, ?, ?)
             ON CONFLICT DO NOTHING RETURNING 1",
            params![self.scope, id, seq, counts],
        )?;
        Ok(added.first().is_some())
    }

    /// The list no longer shows the message `hidden`, but `instead` where it was the newest; it
    /// has `less` unread messages.
    fn hide_in_list(
        self,
        id: &ConversationId,
        hidden: MessageId,
        instead: Option<&LastMessage>,
        less: bool,
    ) -> Result<(), SqlError> {
        let found = self.sql.exec(
            "SELECT last_message FROM inbox WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        let Some(row) = found.first() else {
            return Ok(());
        };
        let last = read_last(row.get(0)?)?;
        let last = match last {
            Some(last) if last.message_id == hidden => instead.cloned(),
            other => other,
        };
        let (json, expires_at) = shown(last.as_ref())?;
        self.sql.exec(
            "UPDATE inbox SET last_message = ?, preview_expires_at = ?,
                unread = max(unread - ?, 0)
             WHERE scope = ? AND conversation_id = ?",
            params![json.as_ref(), expires_at, less, self.scope, id],
        )?;
        Ok(())
    }
}

impl<S: Sql> UserService<S> {
    /// Deletes a message for the user, over HTTP or on the conversation's own socket.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out.
    pub(super) fn hide_message(
        &mut self,
        call: HideMessage,
        effects: &mut Effects,
    ) -> Result<Reply, ServiceError> {
        self.store_for(call.device_id)?;
        let request = self.next_request();
        let hide = PendingHide {
            conversation_id: call.conversation_id,
            message_id: call.message_id,
            origin: Origin::Request(request, call.device_id),
            client_msg_id: None,
            uncounted: self.uncounted,
        };
        self.ask_to_hide(hide, effects)?;
        Ok(Reply::Later(request))
    }

    /// Deletes a message for the user, on a session.
    pub(super) fn hide_on(
        &mut self,
        socket: SocketId,
        command: &HideCommand,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let hide = PendingHide {
            conversation_id: command.conversation_id,
            message_id: command.message_id,
            origin: Origin::Socket(socket),
            client_msg_id: command.client_msg_id,
            uncounted: self.uncounted,
        };
        self.ask_to_hide(hide, effects)
    }

    fn ask_to_hide(
        &mut self,
        hide: PendingHide,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let request = Hide {
            actor: self.owner()?,
            message_id: hide.message_id,
        };
        let id = hide.conversation_id;
        let ticket = self.ticket(Pending::Hide(hide));
        effects.push(Effect::AskConversation {
            id,
            request: request.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// The conversation has hidden a message, or refused to.
    pub(super) fn has_hidden(
        &mut self,
        hide: PendingHide,
        answer: Result<Hidden, Problem>,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if answer.is_ok() && hide.uncounted != self.uncounted {
            // Whether it was deleted for everyone meanwhile, the answer does not know.
            let uncounted = self.uncounted;
            let again = PendingHide { uncounted, ..hide };
            return self.ask_to_hide(again, effects);
        }
        let shown = answer.as_ref().ok();
        let expires_at = shown
            .and_then(|hidden| hidden.last_message.as_ref())
            .and_then(LastMessage::preview_expires_at);
        let written = answer
            .map_err(ServiceError::from)
            .and_then(|hidden| self.write_hidden(&hide, &hidden));
        let is_new = match written {
            Ok(is_new) => is_new,
            Err(error) => {
                self.refuse_hide(&hide, error, effects);
                return Ok(());
            }
        };
        if let Some(at) = expires_at {
            self.preview_expires(at, effects);
        }
        let to: Vec<_> = self
            .sessions
            .values()
            .filter(|session| match hide.origin {
                Origin::Socket(socket) => is_new || session.kept.socket == socket,
                Origin::Request(_, device_id) => is_new && session.kept.device_id != device_id,
            })
            .map(|session| session.kept.socket)
            .collect();
        if !to.is_empty() {
            effects.push(Effect::Send {
                to,
                frames: vec![ServerFrame::MessageHidden {
                    conversation_id: hide.conversation_id,
                    message_id: hide.message_id,
                }],
            });
        }
        if let Origin::Request(request, _) = hide.origin {
            let answer = Ok(object::reply_json(&())?);
            effects.push(Effect::Answer { request, answer });
        }
        Ok(())
    }

    /// Writes down that a message is hidden; says whether it was not before.
    fn write_hidden(&mut self, hide: &PendingHide, hidden: &Hidden) -> Result<bool, ServiceError> {
        let id = &hide.conversation_id;
        let owner = self.owner()?;
        let store = self.store();
        let row = store.inbox_row(id)?;
        let (head, read) = row.map_or((Seq::ZERO, Seq::ZERO), |row| (row.head_seq, row.read_seq));
        let is_deleted = hidden.deleted_seq.is_some_and(|seq| seq <= head);
        let counts = hidden.sender_id != owner && !is_deleted;
        let is_new = transact(&self.sql, || {
            let store = self.store();
            if !store.hide(id, hidden.seq, counts)? {
                return Ok(false);
            }
            let less = counts && hidden.seq > read && hidden.seq <= head;
            let instead = hidden.last_message.as_ref();
            store.hide_in_list(id, hide.message_id, instead, less)?;
            Ok::<_, SqlError>(true)
        })?;
        if is_new {
            self.uncounted = self.uncounted.wrapping_add(1);
        }
        Ok(is_new)
    }

    fn refuse_hide(&self, hide: &PendingHide, error: ServiceError, effects: &mut Effects) {
        match hide.origin {
            Origin::Socket(socket) => self.refuse(socket, error, hide.client_msg_id, effects),
            Origin::Request(request, _) => fail_request(request, error, effects),
        }
    }
}
