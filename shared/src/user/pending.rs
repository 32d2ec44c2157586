//! Questions to other objects whose answers are awaited.

use std::collections::BTreeMap;

use super::effect::{Effect, Effects, SocketId, Ticket};
use super::presence::PresenceAsk;
use super::service::UserService;
use crate::object;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::Sql;
use crate::time::Timestamp;

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// Presence.
    Presence(PresenceAsk),
}

/// The questions that are under way.
#[derive(Debug)]
pub(super) struct Waiting {
    next: u64,
    pending: BTreeMap<Ticket, Pending>,
}

impl Waiting {
    /// No question is under way.
    pub const fn new() -> Self {
        Self {
            next: 0,
            pending: BTreeMap::new(),
        }
    }
}

impl<S: Sql> UserService<S> {
    pub(super) fn ticket(&mut self, pending: Pending) -> Ticket {
        let ticket = Ticket(self.waiting.next);
        self.waiting.next = self.waiting.next.wrapping_add(1);
        self.waiting.pending.insert(ticket, pending);
        ticket
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// When storage fails.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<String, Problem>,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        match self.waiting.pending.remove(&ticket) {
            Some(Pending::Presence(ask)) => self.presence_answered(ask, answer, now),
            None => Ok(Effects::new()),
        }
    }

    /// Keeps with the socket what outlives the object's sleep.
    pub(super) fn keep(&self, socket: SocketId, effects: &mut Effects) -> Result<(), ServiceError> {
        if let Some(session) = self.sessions.get(&socket) {
            effects.push(Effect::Keep {
                socket,
                state: object::reply_json(&session.kept)?,
            });
        }
        Ok(())
    }
}
