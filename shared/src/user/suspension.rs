//! Suspension: an account that may not be used.
//!
//! What always holds: it is written down here first, with its alarm; from then on no device of the
//! user is signed in, none can sign in, and its sessions are closed. Then the conversations of the
//! user are told, a bounded number at a time, so that nothing is done there with tokens that have
//! not expired; how far that has come is written down, and the alarm goes on from there.

use super::blocks::RETRY;
use super::call::Suspend;
use super::effect::{Effect, Effects};
use super::pending::Pending;
use super::service::UserService;
use super::store::Store;
use crate::conversation::call::SetSuspended;
use crate::ids::ConversationId;
use crate::params;
use crate::protocol::frame::CloseCode;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// Conversations that are told at once.
const WAVE: u32 = 50;

/// The telling of conversations, as far as it is under way.
#[derive(Debug, Default)]
pub(super) struct Telling {
    under_way: u32,
    has_failed: bool,
    /// Something else was decided meanwhile: it begins anew.
    is_stale: bool,
    /// The last conversation of the wave.
    last: Option<ConversationId>,
}

impl Store<'_> {
    /// Whether the account is suspended.
    pub fn is_suspended(self) -> Result<bool, SqlError> {
        let is_suspended = self
            .sql
            .exec(
                "SELECT suspended_at IS NOT NULL FROM profile WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()?;
        Ok(is_suspended.unwrap_or(false))
    }

    fn save_suspension(self, at: Option<Timestamp>) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE profile SET suspended_at = ?, suspension_told = x'' WHERE scope = ?",
            params![at, self.scope],
        )?;
        Ok(())
    }

    /// Writes down up to which conversation all know; none where every one does.
    fn save_told(self, told: Option<ConversationId>) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE profile SET suspension_told = ? WHERE scope = ?",
            params![told.as_ref(), self.scope],
        )?;
        Ok(())
    }

    /// The next conversations that are to be told; none where nothing is to be told.
    fn untold(self) -> Result<Option<Vec<ConversationId>>, SqlError> {
        let is_untold: Option<bool> = self
            .sql
            .exec(
                "SELECT suspension_told IS NOT NULL FROM profile WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()?;
        if is_untold != Some(true) {
            return Ok(None);
        }
        self.sql
            .exec(
                "SELECT conversation_id FROM inbox
                 WHERE scope = ? AND membership = 0 AND conversation_id >
                    (SELECT suspension_told FROM profile WHERE scope = ?)
                 ORDER BY conversation_id LIMIT ?",
                params![self.scope, self.scope, WAVE],
            )?
            .rows
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

impl<S: Sql> UserService<S> {
    /// Suspends the account, or lets it be used again.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn suspend(
        &mut self,
        call: Suspend,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.require_user()?;
        if self.store().is_suspended()? == call.is_suspended {
            return Ok(());
        }
        let at = call.is_suspended.then_some(now);
        self.store().save_suspension(at)?;
        self.errands_due(now + RETRY);
        self.suspension.is_stale = true;
        if call.is_suspended {
            let all: Vec<_> = self.sessions.keys().copied().collect();
            for socket in all {
                self.end_session(socket, CloseCode::TokenExpired, now, effects);
            }
        }
        self.tell_suspension(effects)
    }

    fn tell_suspension(&mut self, effects: &mut Effects) -> Result<(), ServiceError> {
        if self.suspension.under_way > 0 {
            return Ok(());
        }
        let store = self.store();
        let Some(untold) = store.untold()? else {
            return Ok(());
        };
        let Some(last) = untold.last().copied() else {
            store.save_told(None)?;
            return Ok(());
        };
        let is_suspended = store.is_suspended()?;
        let user_id = self.owner()?;
        self.suspension = Telling {
            under_way: u32::try_from(untold.len()).unwrap_or(WAVE),
            last: Some(last),
            ..Telling::default()
        };
        for id in untold {
            let request = SetSuspended {
                user_id,
                is_suspended,
            };
            let ticket = self.ticket(Pending::Suspension);
            effects.push(Effect::AskConversation {
                id,
                request: request.into(),
                ticket: Some(ticket),
            });
        }
        Ok(())
    }

    /// A conversation was told, or did not answer.
    pub(super) fn suspension_told(
        &mut self,
        answer: Result<String, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        // One that is no longer a member there has nothing to be told of.
        let has_failed = answer.is_err_and(|problem| problem.status >= 500);
        let telling = &mut self.suspension;
        telling.under_way = telling.under_way.saturating_sub(1);
        telling.has_failed |= has_failed;
        if telling.under_way > 0 {
            return Ok(());
        }
        let Telling {
            has_failed,
            is_stale,
            last,
            ..
        } = std::mem::take(telling);
        if is_stale {
            return self.tell_suspension(effects);
        }
        if has_failed {
            self.errands_due(now + RETRY);
            return Ok(());
        }
        // Until all know, whatever fails now.
        self.errands_due(now + RETRY);
        if let Some(last) = last {
            self.store().save_told(Some(last))?;
        }
        self.tell_suspension(effects)
    }

    /// Goes on telling where that was cut off.
    pub(super) fn resume_suspension(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if self.store().untold()?.is_some() {
            self.errands_due(now + RETRY);
            self.tell_suspension(effects)?;
        }
        Ok(())
    }

    /// What is to be told to others is looked after at this time, or before.
    pub(super) fn errands_due(&mut self, at: Timestamp) {
        self.errands_at = Some(self.errands_at.map_or(at, |known| known.min(at)));
    }

    /// The alarm has gone off: goes on with what was to be told to others.
    pub(super) fn resume_errands(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if self.errands_at.is_some_and(|at| at > now) || !self.schema.is_there(&self.sql)? {
            return Ok(());
        }
        self.errands_at = None;
        self.resume_blocks(now, effects)?;
        self.resume_suspension(now, effects)
    }
}
