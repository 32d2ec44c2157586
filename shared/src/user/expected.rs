//! Events that the user speaks of before its inbox has them. A device can know of an event before
//! the inbox does: from the answer to what it sent, from a page of history, from a socket at the
//! conversation. The conversation is then asked to deliver at once, and what the user wanted is
//! done when the event has come.
//!
//! What always holds:
//! - Nothing is refused for lying beyond the newest event, nor a conversation said not to be there,
//!   unless the conversation itself says so.
//! - What waits is memory, bounded in number and in time: who asked over HTTP is told to try
//!   again, and so is a session.

use std::time::Duration;

use super::call::UpdateSettings;
use super::effect::{Effect, Effects, RequestId, SocketId};
use super::events::failed;
use super::pending::Pending;
use super::reading::Origin;
use super::service::UserService;
use crate::conversation::call::DeliverNow;
use crate::ids::ConversationId;
use crate::protocol::frame::{Ack, Sync};
use crate::protocol::problem::{Code, FieldError, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;

/// How long it is waited for a delivery that the conversation has promised.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much may wait.
const MOST_WAITING: usize = 256;

/// What is done when the event has come.
#[derive(Debug, Clone)]
pub(super) enum Then {
    /// The user has read up to there.
    Read(Origin),
    /// A session's device has everything up to there.
    Acknowledge(SocketId, Ack),
    /// A session wants what comes after it.
    Sync(SocketId, Sync),
    /// The user sets something for the conversation.
    Set(RequestId, UpdateSettings),
}

impl Then {
    /// The field that names the event.
    const fn field(&self) -> &'static str {
        match self {
            Self::Sync(..) => "after_seq",
            Self::Read(_) | Self::Acknowledge(..) | Self::Set(..) => "up_to_seq",
        }
    }
}

/// An event that is to come, and what is done then.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    conversation_id: ConversationId,
    seq: Seq,
    then: Then,
    /// When it is no longer waited for.
    until: Timestamp,
}

impl<S: Sql> UserService<S> {
    /// The newest event of a conversation that the inbox has, if it has the one at `seq`. If not,
    /// the conversation is asked to deliver it, and `then` is done when it has come.
    pub(super) fn has_or_expects(
        &mut self,
        conversation_id: ConversationId,
        seq: Seq,
        then: Then,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Option<Seq>, ServiceError> {
        let row = self.store().inbox_row(&conversation_id)?;
        let has = row.map(|row| row.head_seq);
        if has.is_some_and(|head| seq <= head) {
            return Ok(has);
        }
        let promised = self.pending.values();
        let promised = promised.filter(|pending| matches!(pending, Pending::Promise(_)));
        if promised.count() + self.expected.len() >= MOST_WAITING {
            return Err(not_yet().into());
        }
        let user_id = self.owner()?;
        let ticket = self.ticket(Pending::Promise(Expected {
            conversation_id,
            seq,
            then,
            until: now + PATIENCE,
        }));
        effects.push(Effect::AskConversation {
            id: conversation_id,
            request: DeliverNow {
                user_id,
                has,
                up_to_seq: seq,
            }
            .into(),
            ticket: Some(ticket),
        });
        Ok(None)
    }

    /// A conversation has promised to deliver, or has refused to.
    pub(super) fn promised(
        &mut self,
        expected: Expected,
        answer: Result<(), Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Err(problem) = answer else {
            effects.push(Effect::Wake(expected.until));
            let id = expected.conversation_id;
            self.expected.push(expected);
            // It may have come before the promise did.
            return self.arrived(id, now, effects);
        };
        let row = match self.store().inbox_row(&expected.conversation_id) {
            Ok(row) => row,
            Err(failure) => {
                self.fail(&expected.then, failure.into(), effects);
                return Ok(());
            }
        };
        let field = expected.then.field();
        let problem = match (problem.code, row) {
            // One who is no longer a member has what it may have.
            (Code::NotFound, Some(row)) => Problem::beyond_newest(field, row.head_seq),
            (Code::InvalidRequest, _) => {
                let errors = problem.errors.into_iter();
                let renamed = errors.map(|error| FieldError {
                    field: field.to_owned(),
                    ..error
                });
                Problem::invalid_fields(renamed.collect())
            }
            _ => problem,
        };
        self.fail(&expected.then, problem.into(), effects);
        Ok(())
    }

    /// Something was delivered: does what waited for it.
    pub(super) fn arrived(
        &mut self,
        id: ConversationId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if self.expected.is_empty() {
            return Ok(());
        }
        let Some(row) = self.store().inbox_row(&id)? else {
            return Ok(());
        };
        let (come, waiting) = std::mem::take(&mut self.expected)
            .into_iter()
            .partition(|one| one.conversation_id == id && one.seq <= row.head_seq);
        self.expected = waiting;
        for one in come {
            let done = match one.then.clone() {
                Then::Read(origin) => self.read_up_to(id, one.seq, origin, now, effects),
                Then::Acknowledge(socket, ack) => self.acknowledge(socket, ack, now, effects),
                Then::Sync(socket, sync) => self.sync(socket, sync, now, effects),
                Then::Set(request, call) => self.set(request, &call, effects),
            };
            if let Err(error) = done {
                self.fail(&one.then, error, effects);
            }
        }
        Ok(())
    }

    /// Gives up waiting for what has not come in time.
    pub(super) fn give_up_expecting(&mut self, now: Timestamp, effects: &mut Effects) {
        let (late, waiting) = std::mem::take(&mut self.expected)
            .into_iter()
            .partition(|one: &Expected| one.until <= now);
        self.expected = waiting;
        for one in late {
            self.fail(&one.then, not_yet().into(), effects);
        }
    }

    fn fail(&self, then: &Then, error: ServiceError, effects: &mut Effects) {
        match *then {
            Then::Read(origin) => self.fail_for(origin, error, effects),
            Then::Acknowledge(socket, _) | Then::Sync(socket, _) => {
                self.refuse(socket, error, None, effects);
            }
            Then::Set(request, _) => fail_request(request, error, effects),
        }
    }

    /// Tells whoever asked that it was refused. A failure of storage is for the log.
    pub(super) fn fail_for(&self, origin: Origin, error: ServiceError, effects: &mut Effects) {
        match origin {
            Origin::Socket(socket) => self.refuse(socket, error, None, effects),
            Origin::Request(request, _) => fail_request(request, error, effects),
        }
    }
}

/// Answers a request that had to wait with a refusal.
pub(super) fn fail_request(request: RequestId, error: ServiceError, effects: &mut Effects) {
    let problem = failed(error, effects);
    effects.push(Effect::Answer {
        request,
        answer: Err(problem),
    });
}

fn not_yet() -> Problem {
    Problem::unavailable("The conversation's newest events have not arrived yet. Try again.")
}
