//! Reading: up to where the user has read, and how many messages are unread after that.
//!
//! What always holds: `unread` is the number of messages of others after `read_seq` that the
//! inbox has been given, without those that were deleted for everyone by an event that it has been
//! given, and those that the user has hidden. A read that does not reach the head asks the
//! conversation how many lie after it, and counts what is delivered meanwhile on top.

use super::call::{MarkRead, ReadReply};
use super::effect::{Effect, Effects, Reply, RequestId, SocketId};
use super::expected::Then;
use super::inbox::InboxRow;
use super::pending::Pending;
use super::service::UserService;
use crate::conversation::call::CountUnread;
use crate::ids::{ConversationId, DeviceId};
use crate::object;
use crate::planted::{self, Bug};
use crate::protocol::frame::ServerFrame;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;

/// Who has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A session.
    Socket(SocketId),
    /// A request, on behalf of a device.
    Request(RequestId, DeviceId),
}

/// A read that waits for a count.
#[derive(Debug, Clone)]
pub(super) struct PendingRead {
    conversation_id: ConversationId,
    up_to_seq: Seq,
    origin: Origin,
    /// The row when the count was asked for.
    before: InboxRow,
    /// What [`UserService::uncounted`] was then.
    uncounted: u64,
}

impl<S: Sql> UserService<S> {
    /// The user has read a conversation up to somewhere, over HTTP or on its own socket.
    ///
    /// # Errors
    /// `unauthenticated`; what else is refused is told in the answer.
    pub(super) fn mark_read(
        &mut self,
        call: MarkRead,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Reply, ServiceError> {
        self.store_for(call.device_id)?;
        let request = self.next_request();
        let origin = Origin::Request(request, call.device_id);
        self.read_up_to(call.conversation_id, call.up_to_seq, origin, now, effects)?;
        Ok(Reply::Later(request))
    }

    /// The user has read up to a seq.
    pub(super) fn read_up_to(
        &mut self,
        id: ConversationId,
        up_to_seq: Seq,
        origin: Origin,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let then = Then::Read(origin);
        let has = self.has_or_expects(id, up_to_seq, then, now, effects)?;
        if has.is_none() {
            return Ok(());
        }
        // What has been read has arrived.
        match origin {
            Origin::Socket(socket) => self.note_ack(socket, id, up_to_seq, now, effects)?,
            Origin::Request(_, device_id) => {
                self.note_device(device_id, id, up_to_seq, now, effects)?;
            }
        }
        let row = self
            .store()
            .inbox_row(&id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        if up_to_seq <= row.read_seq {
            return self.read_done(origin, row.read_seq, row.unread, effects);
        }
        if up_to_seq == row.head_seq || row.is_former {
            return self.has_read(id, up_to_seq, 0, origin, now, effects);
        }
        let count = CountUnread {
            actor: self.owner()?,
            after_seq: up_to_seq,
            up_to_seq: row.head_seq,
        };
        let ticket = self.ticket(Pending::Read(PendingRead {
            conversation_id: id,
            up_to_seq,
            origin,
            before: row,
            uncounted: self.uncounted,
        }));
        effects.push(Effect::AskConversation {
            id,
            request: count.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// The conversation has counted.
    pub(super) fn counted(
        &mut self,
        read: PendingRead,
        answer: Result<u64, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let id = read.conversation_id;
        let origin = read.origin;
        let outcome = answer.map_err(ServiceError::from).and_then(|count| {
            let row = self
                .store()
                .inbox_row(&id)?
                .ok_or_else(|| Problem::not_found("conversation"))?;
            let is_stale = self.uncounted != read.uncounted && !planted::is_on(Bug::StaleCount);
            if row.read_seq != read.before.read_seq || is_stale {
                // Another read, a deletion, or the end of the membership has come between: what was counted on is gone.
                return self.read_up_to(id, read.up_to_seq, origin, now, effects);
            }
            let since = row.unread.saturating_sub(read.before.unread);
            let hidden = self
                .store()
                .count_hidden(&id, read.up_to_seq, read.before.head_seq)?;
            let count = count.saturating_sub(hidden);
            self.has_read(
                id,
                read.up_to_seq,
                count.saturating_add(since),
                origin,
                now,
                effects,
            )
        });
        if let Err(error) = outcome {
            self.fail_for(origin, error, effects);
        }
        Ok(())
    }

    /// Writes down what was read, and tells the user's other sessions and the conversation.
    fn has_read(
        &mut self,
        id: ConversationId,
        read_seq: Seq,
        unread: u64,
        origin: Origin,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.store().save_read(&id, read_seq, unread)?;
        let others: Vec<_> = self
            .sessions
            .values()
            .filter(|session| match origin {
                Origin::Socket(socket) => session.kept.socket != socket,
                Origin::Request(_, device_id) => session.kept.device_id != device_id,
            })
            .map(|session| session.kept.socket)
            .collect();
        if !others.is_empty() {
            effects.push(Effect::Send {
                to: others,
                frames: vec![ServerFrame::ConversationRead {
                    conversation_id: id,
                    up_to_seq: read_seq,
                    unread,
                }],
            });
        }
        self.mark(id, now, effects);
        self.read_done(origin, read_seq, unread, effects)
    }

    fn read_done(
        &self,
        origin: Origin,
        read_seq: Seq,
        unread: u64,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if let Origin::Request(request, _) = origin {
            let reply = ReadReply {
                read_seq,
                unread,
                total_unread: self.store().total_unread()?,
            };
            effects.push(Effect::Answer {
                request,
                answer: Ok(object::reply_json(&reply)?),
            });
        }
        Ok(())
    }
}
