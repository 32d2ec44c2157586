//! Presence: telling others when this user comes and goes, and following others.
//!
//! A user is online while a session is connected, and for [`limits::POLL_GRACE`] after a long
//! poll. Others ask to be told ([`watchers`]); this user's sessions name whom they follow
//! ([`subscriptions`]); a session that falls silent is closed ([`heartbeat`]).
//!
//! What always holds:
//! - What others were told last is written down, so that neither sleep nor a crash hides a change:
//!   a change costs one row.
//! - Of one user to another at most one question is under way, and what is told next is how it
//!   is then: an older state never replaces a newer one.
//! - Who may not know hears "offline", and nothing of when.
//!
//! Presence may be stale. It must not: delay or fail anything else, nor write anything for a user
//! that does not exist.

mod heartbeat;
mod store;
mod subscriptions;
mod watchers;
mod waves;

use std::time::Duration;

use self::heartbeat::Heartbeats;
use self::store::Stored;
use self::subscriptions::Outbox;
use self::waves::Waves;
use super::effect::Effects;
use super::service::UserService;
use super::session::Kept;
use crate::ids::UserId;
use crate::limits;
use crate::protocol::frame::{PresenceStatus, PresenceUpdate};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::Sql;
use crate::time::Timestamp;
use crate::user::call::Transport;

/// How much too early a wake may come: clocks are rounded.
const EARLY: Duration = Duration::from_millis(5);

/// What a question to another user was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PresenceAsk {
    /// To be told when `user` comes and goes.
    Watched {
        /// Whom it was put to.
        user: UserId,
    },
    /// No longer to be told.
    Unwatched {
        /// Whom it was put to.
        user: UserId,
    },
    /// `watcher` was told of a change.
    Told {
        /// Whom it was put to.
        watcher: UserId,
    },
}

/// What is remembered of presence while the object is in memory.
#[derive(Debug)]
pub(super) struct Presence {
    /// The row as it is stored, once it was read.
    stored: Option<Stored>,
    /// How many watchers there are, once they were counted.
    watchers: Option<usize>,
    /// The watchers that are to be told.
    telling: Waves,
    /// When a client that polls counts as gone, where that is not written down yet.
    away_until: Option<Timestamp>,
    /// The last moment at which a session that has ended was there.
    departed: Option<Timestamp>,
    /// The users that are to be asked to tell, or no longer to.
    following: Waves,
    /// News for the sessions.
    outbox: Outbox,
    heartbeats: Heartbeats,
}

impl Presence {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        Self {
            stored: None,
            watchers: None,
            telling: Waves::new(),
            away_until: None,
            departed: None,
            following: Waves::new(),
            outbox: Outbox::new(),
            heartbeats: Heartbeats::new(),
        }
    }

    /// Until when a client that polls counts as here, where one does.
    fn away_until(&self) -> Option<Timestamp> {
        self.away_until
            .max(self.stored.as_ref().and_then(|stored| stored.away_until))
    }
}

/// What is told to those who may not know, and of those who do not exist.
const fn hidden(user_id: UserId) -> PresenceUpdate {
    PresenceUpdate {
        user_id,
        status: PresenceStatus::Offline,
        last_seen: None,
    }
}

impl<S: Sql> UserService<S> {
    /// A session has ended and was taken from the sessions: whoever follows this user is told if
    /// that was the last one. Those whom it followed are not told: a phone comes back soon and
    /// follows them again, and one who changes meanwhile learns that nobody wants to know.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) fn presence_closed(
        &mut self,
        kept: &Kept,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let left_at = self.presence.heartbeats.ended(kept.socket).unwrap_or(now);
        self.presence.departed = self.presence.departed.max(Some(left_at));
        if kept.transport == Transport::Poll {
            self.presence.away_until = Some(now + limits::POLL_GRACE);
        }
        // What can fail comes before anything is noted as asked.
        self.keep_away_until(now)?;
        self.presence_check(now, effects)
    }

    /// When [`Self::presence_check`] has to be called for a client that polls, where one is away.
    pub fn poll_grace_ends(&self) -> Option<Timestamp> {
        let stored = self.presence.stored.as_ref()?;
        self.presence
            .away_until()
            .filter(|_| stored.online && self.sessions.is_empty())
    }

    /// Goes on with what had to wait a moment; called at each [`super::effect::Effect::Wake`].
    ///
    /// # Errors
    /// When storage fails.
    pub(super) fn presence_wake(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.flush(now + EARLY, effects);
        self.presence.telling.rested(now + EARLY);
        self.presence.following.rested(now + EARLY);
        self.tell_due(now, effects)?;
        self.ask_due(effects)
    }

    /// Takes the answer to a question.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) fn presence_answered(
        &mut self,
        ask: PresenceAsk,
        answer: Result<String, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        match ask {
            PresenceAsk::Told { watcher } => self.was_told(watcher, answer, now, effects),
            PresenceAsk::Watched { user } => self.was_watched(user, answer, now, effects),
            PresenceAsk::Unwatched { user } => self.was_unwatched(user, effects),
        }
    }

    /// What is stored of this user's presence, where the user exists.
    fn presence_row(&mut self) -> Result<Option<Stored>, ServiceError> {
        if self.presence.stored.is_none() && self.schema.is_there(&self.sql)? {
            self.presence.stored = self.store().presence()?;
        }
        Ok(self.presence.stored)
    }

    /// Whether the user is here.
    fn is_online(&self, now: Timestamp) -> bool {
        !self.sessions.is_empty() || self.presence.away_until().is_some_and(|until| until > now)
    }

    /// When the user was last here, as far as is known.
    fn seen_at(&self) -> Option<Timestamp> {
        let polled = self.presence.away_until();
        self.presence
            .stored
            .and_then(|stored| stored.seen_at)
            .max(self.presence.departed)
            .max(polled.map(|until| until - limits::POLL_GRACE))
    }

    /// How it is now, for one who may know it or not.
    fn present_state(&self, user_id: UserId, may_know: bool, now: Timestamp) -> PresenceUpdate {
        if !may_know {
            hidden(user_id)
        } else if self.is_online(now) {
            PresenceUpdate {
                user_id,
                status: PresenceStatus::Online,
                last_seen: None,
            }
        } else {
            PresenceUpdate {
                last_seen: self.seen_at(),
                ..hidden(user_id)
            }
        }
    }
}
