//! Questions to other objects whose answers are awaited.

use super::acting::Asked;
use super::blocks::PendingBlock;
use super::effect::{RequestId, SocketId, Ticket};
use super::expected::Expected;
use super::hiding::PendingHide;
use super::presence::PresenceAsk;
use super::reading::PendingRead;
use super::service::UserService;
use crate::ids::ConversationId;
use crate::protocol::seq::Seq;
use crate::sql::Sql;

/// What an answer is for.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    /// Events that a session lacks.
    CatchUp {
        /// Up to where it had been sent everything.
        after_seq: Seq,
        socket: SocketId,
        conversation_id: ConversationId,
    },
    /// Messages that sessions sent.
    Sends { conversation_id: ConversationId },
    /// Something that a session asked for and that has no answer but a refusal.
    Told { socket: SocketId },
    /// How many messages are unread after a position.
    Read(PendingRead),
    /// The delivery of an event that the inbox lacks.
    Promise(Expected),
    /// Another user's presence, or one's own being told.
    Presence(PresenceAsk),
    /// A conversation is being told how far the user has come.
    Mark { conversation_id: ConversationId },
    /// Something that a session does with a message.
    Act(Asked),
    /// A message that a session wants sent later.
    Schedule(Asked),
    /// A message that the user deletes for themself.
    Hide(PendingHide),
    /// A block that others are told of.
    Block(PendingBlock),
    /// A conversation that is told of the account's suspension.
    Suspension,
}

impl<S: Sql> UserService<S> {
    /// A name for a request whose answer has to wait.
    pub(super) const fn next_request(&mut self) -> RequestId {
        self.last_request = self.last_request.wrapping_add(1);
        RequestId(self.last_request)
    }

    /// A ticket for an answer.
    pub(super) fn ticket(&mut self, pending: Pending) -> Ticket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        self.pending.insert(ticket, pending);
        ticket
    }
}
