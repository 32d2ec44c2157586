//! The side that watches: whom the sessions follow, and what they are shown.
//!
//! What always holds: a user is asked to tell as long as a session follows it. What is shown
//! travels at once after a pause, and together while much comes.
//!
//! A user that does not exist is shown as one who may not be seen: offline. So is one that does
//! not answer, after some tries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{PresenceAsk, hidden};
use crate::ids::UserId;
use crate::limits;
use crate::protocol::frame::{PresenceStatus, PresenceUpdate, ServerFrame};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::Sql;
use crate::time::Timestamp;
use crate::user::call::{PresenceChanged, PresenceHeard, UnwatchPresence, WatchPresence};
use crate::user::effect::{Effect, Effects, SocketId};
use crate::user::pending::Pending;
use crate::user::service::UserService;

/// How long the next news wait after some were shown, to travel with what comes until then.
pub(super) const PACE: Duration = Duration::from_millis(25);

/// News that wait to be shown.
#[derive(Debug)]
pub(super) struct Outbox {
    updates: BTreeMap<UserId, PresenceUpdate>,
    rests_until: Timestamp,
}

impl Outbox {
    /// No news.
    pub const fn new() -> Self {
        Self {
            updates: BTreeMap::new(),
            rests_until: Timestamp::from_millis(0),
        }
    }
}

impl<S: Sql> UserService<S> {
    /// The session follows these users from now on, in place of those before, and is shown how
    /// it is with each.
    ///
    /// # Errors
    /// `invalid_request` on `user_ids` where there are more than
    /// [`limits::PRESENCE_SUBSCRIPTIONS`]; nothing is changed then.
    pub fn presence_subscribe(
        &mut self,
        socket: SocketId,
        user_ids: &[UserId],
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let mut seen = BTreeSet::new();
        let watched: Vec<UserId> = user_ids
            .iter()
            .copied()
            .filter(|user| seen.insert(*user))
            .collect();
        if watched.len() > limits::PRESENCE_SUBSCRIPTIONS {
            return Err(Problem::invalid_field(
                "user_ids",
                format!("must have at most {} items", limits::PRESENCE_SUBSCRIPTIONS),
            )
            .into());
        }
        let Some(owner) = self.presence_row()?.map(|stored| stored.user_id) else {
            return Ok(());
        };
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        session.kept.watched_at = Some(now);
        let before = std::mem::replace(&mut session.kept.watched, watched.clone());
        self.keep(socket, effects);
        for user in watched {
            if user == owner {
                // Whoever asks is here.
                let update = PresenceUpdate {
                    status: PresenceStatus::Online,
                    ..hidden(owner)
                };
                self.show(update, now, effects);
            } else {
                self.presence.following.add(user, false);
            }
        }
        self.unfollow(&before, effects)
    }

    /// A user whom a session may follow has come or gone. Says whether one does.
    pub fn presence_changed(
        &mut self,
        call: PresenceChanged,
        now: Timestamp,
        effects: &mut Effects,
    ) -> PresenceHeard {
        let user = call.update.user_id;
        let wanted = self.follows(user);
        if wanted {
            // It is newer than what is being asked for; were it older, another would follow.
            self.presence.following.overtake(user);
            self.show(call.update, now, effects);
        }
        PresenceHeard { wanted }
    }

    fn follows(&self, user: UserId) -> bool {
        self.sessions
            .values()
            .any(|session| session.kept.watched.contains(&user))
    }

    /// Those of `users` whom no session follows any more are told so; whoever else is due is
    /// asked, too.
    pub(super) fn unfollow(
        &mut self,
        users: &[UserId],
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let followed: BTreeSet<UserId> = self
            .sessions
            .values()
            .flat_map(|session| session.kept.watched.iter().copied())
            .collect();
        for user in users.iter().filter(|user| !followed.contains(user)) {
            self.presence.following.add(*user, false);
        }
        self.ask_due(effects)
    }

    /// The leases of sessions that have followed the same users for long are renewed.
    pub(super) fn renew_leases(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let due: Vec<SocketId> = self
            .sessions
            .values()
            .map(|session| &session.kept)
            .filter(|kept| !kept.watched.is_empty())
            .filter(|kept| {
                kept.watched_at
                    .is_none_or(|at| at + limits::PRESENCE_LEASE / 2 <= now)
            })
            .map(|kept| kept.socket)
            .collect();
        for socket in due {
            if let Some(session) = self.sessions.get_mut(&socket) {
                session.kept.watched_at = Some(now);
                for user in &session.kept.watched {
                    self.presence.following.add(*user, false);
                }
            }
            self.keep(socket, effects);
        }
        self.ask_due(effects)
    }

    /// Asks those who are due, as many as may be asked at the same time: to tell, where a
    /// session follows them by now, and otherwise to tell no longer.
    pub(super) fn ask_due(&mut self, effects: &mut Effects) -> Result<(), ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Ok(());
        };
        let (owner, watcher) = (stored.user_id, stored.user_id);
        // One's own presence needs no asking.
        self.presence.following.remove(owner);
        let room = self.presence.following.room();
        let due: Vec<UserId> = self
            .presence
            .following
            .due()
            .map(|(user, _)| user)
            .take(room)
            .collect();
        for user in due {
            self.presence.following.begin(user);
            let (ask, request) = if self.follows(user) {
                (
                    PresenceAsk::Watched { user },
                    WatchPresence { watcher }.into(),
                )
            } else {
                (
                    PresenceAsk::Unwatched { user },
                    UnwatchPresence { watcher }.into(),
                )
            };
            let ticket = self.ticket(Pending::Presence(ask));
            effects.push(Effect::AskUser {
                id: user,
                request,
                ticket: Some(ticket),
            });
        }
        Ok(())
    }

    /// A user has said how it is now, or could not.
    pub(super) fn was_watched(
        &mut self,
        user: UserId,
        answer: Result<String, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(ended) = self.presence.following.end(user) else {
            return Ok(());
        };
        let known = match answer {
            Ok(reply) => serde_json::from_str::<PresenceUpdate>(&reply)
                .ok()
                .filter(|update| update.user_id == user),
            Err(problem) if problem.code == Code::NotFound => Some(hidden(user)),
            Err(_) => None,
        };
        if !self.follows(user) {
            self.presence.following.add(user, false);
        } else if let Some(update) = known {
            if !ended.overtaken {
                self.show(update, now, effects);
            }
        } else if self.presence.following.retry(user, ended, now, effects) && !ended.overtaken {
            self.show(hidden(user), now, effects);
        }
        self.ask_due(effects)
    }

    /// A user was asked to tell no longer. Where that failed, it learns it when it next tells.
    pub(super) fn was_unwatched(
        &mut self,
        user: UserId,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.presence.following.end(user);
        if self.follows(user) {
            self.presence.following.add(user, false);
        } else {
            self.presence.following.remove(user);
        }
        self.ask_due(effects)
    }

    /// Shows news to the sessions that follow the user: now, or together with what comes in
    /// a moment.
    fn show(&mut self, update: PresenceUpdate, now: Timestamp, effects: &mut Effects) {
        let outbox = &mut self.presence.outbox;
        let first = outbox.updates.is_empty();
        outbox.updates.insert(update.user_id, update);
        if outbox.rests_until <= now {
            self.flush(now, effects);
        } else if first {
            effects.push(Effect::Wake(outbox.rests_until));
        }
    }

    /// Shows the news that wait, if their time has come.
    pub(super) fn flush(&mut self, now: Timestamp, effects: &mut Effects) {
        let outbox = &mut self.presence.outbox;
        if outbox.updates.is_empty() || outbox.rests_until > now {
            return;
        }
        outbox.rests_until = now + PACE;
        let updates = std::mem::take(&mut outbox.updates);
        // Devices mostly follow the same users: what is the same is written once.
        let mut sends: Vec<(Vec<SocketId>, Vec<PresenceUpdate>)> = Vec::new();
        for session in self.sessions.values() {
            let followed: BTreeSet<&UserId> = session.kept.watched.iter().collect();
            let news: Vec<PresenceUpdate> = updates
                .values()
                .filter(|update| followed.contains(&update.user_id))
                .copied()
                .collect();
            if news.is_empty() {
                continue;
            }
            match sends.iter_mut().find(|(_, same)| *same == news) {
                Some((to, _)) => to.push(session.kept.socket),
                None => sends.push((vec![session.kept.socket], news)),
            }
        }
        effects.extend(sends.into_iter().map(|(to, news)| Effect::Send {
            to,
            frames: news.into_iter().map(ServerFrame::PresenceUpdate).collect(),
        }));
    }
}
