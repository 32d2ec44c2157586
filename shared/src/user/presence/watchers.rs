//! The side that is watched: who is told, and how it is told.

use super::store::{Stored, Unfinished};
use super::waves::WAVE;
use super::{PresenceAsk, hidden};
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::protocol::frame::PresenceUpdate;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::user::{Audience, Presence};
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;
use crate::user::call::{PresenceChanged, PresenceHeard, UnwatchPresence, WatchPresence};
use crate::user::effect::{Effect, Effects};
use crate::user::pending::Pending;
use crate::user::profile;
use crate::user::service::UserService;
use crate::user::store::Store;

/// Whether `watcher` belongs to the audience of the user `owner`.
fn may_know(
    store: Store<'_>,
    audience: Audience,
    owner: UserId,
    watcher: UserId,
) -> Result<bool, SqlError> {
    if owner == watcher {
        return Ok(true);
    }
    if store.is_apart_from(watcher)? {
        return Ok(false);
    }
    profile::includes(audience, || {
        store.has_written_in(ConversationId::direct(owner, watcher))
    })
}

impl<S: Sql> UserService<S> {
    /// `watcher` wants to know when this user comes and goes. It is registered also where it may
    /// not know, since that may change.
    ///
    /// Asked again within a quarter of the lease, nothing is written: what is left of the lease
    /// then outlasts the half after which watchers renew it. Beyond
    /// [`limits::PRESENCE_WATCHERS`] the answer is given and nothing is registered.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn watch_presence(
        &mut self,
        call: WatchPresence,
        now: Timestamp,
    ) -> Result<PresenceUpdate, ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Err(Problem::not_found("user").into());
        };
        let store = self.store();
        let audience = store.presence_audience()?;
        let may_know = may_know(store, audience, stored.user_id, call.watcher)?;
        let until = now + limits::PRESENCE_LEASE;
        match store.watcher_until(call.watcher)? {
            Some(known) if known + limits::PRESENCE_LEASE / 4 > until => {}
            Some(_) => store.save_watcher(call.watcher, until)?,
            None => self.add_watcher(call.watcher, until, now)?,
        }
        self.presence.telling.overtake(call.watcher);
        Ok(self.present_state(stored.user_id, may_know, now))
    }

    fn add_watcher(
        &mut self,
        watcher: UserId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let counted = self
            .presence
            .watchers
            .filter(|count| *count < limits::PRESENCE_WATCHERS);
        let count = match counted {
            Some(count) => count,
            None => self.store().watchers(now)?.len(),
        };
        if count < limits::PRESENCE_WATCHERS {
            self.store().save_watcher(watcher, until)?;
            self.presence.watchers = Some(count.saturating_add(1));
        } else {
            self.presence.watchers = Some(count);
        }
        Ok(())
    }

    /// What `viewer` sees of this user's presence; none where it may not know.
    pub(in crate::user) fn presence_for(
        &mut self,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<Presence>, ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Ok(None);
        };
        let store = self.store();
        let audience = store.presence_audience()?;
        if !may_know(store, audience, stored.user_id, viewer)? {
            return Ok(None);
        }
        let PresenceUpdate {
            status, last_seen, ..
        } = self.present_state(stored.user_id, true, now);
        Ok(Some(Presence { status, last_seen }))
    }

    /// `watcher` no longer wants to know. No error where it was not known.
    ///
    /// # Errors
    /// When storage fails.
    pub fn unwatch_presence(&mut self, call: UnwatchPresence) -> Result<(), ServiceError> {
        if self.schema.is_there(&self.sql)? {
            self.forget_watcher(call.watcher)?;
        }
        Ok(())
    }

    fn forget_watcher(&mut self, watcher: UserId) -> Result<(), ServiceError> {
        if self.store().remove_watcher(watcher)? {
            self.presence.watchers = self.presence.watchers.map(|count| count.saturating_sub(1));
        }
        self.presence.telling.remove(watcher);
        Ok(())
    }

    /// The user has changed who may know. To be called after the profile was stored, with the
    /// audience before. Those for whom something changes are told how it is now.
    ///
    /// # Errors
    /// When storage fails.
    pub(in crate::user) fn privacy_changed(
        &mut self,
        before: Audience,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Ok(());
        };
        let after = self.store().presence_audience()?;
        if before == after {
            return Ok(());
        }
        let next = Stored {
            unfinished: Unfinished::Audience,
            ..stored
        };
        let changed = transact(&self.sql, || {
            let store = self.store();
            let mut changed = Vec::new();
            for watcher in store.watchers(now)? {
                let knew = may_know(store, before, stored.user_id, watcher)?;
                if knew != may_know(store, after, stored.user_id, watcher)? {
                    changed.push(watcher);
                }
            }
            if !changed.is_empty() {
                store.save_presence(&next)?;
            }
            Ok::<_, SqlError>(changed)
        })?;
        self.presence.watchers = None;
        if !changed.is_empty() {
            self.presence.stored = Some(next);
        }
        for watcher in changed {
            self.presence.telling.add(watcher, true);
        }
        self.tell_due(now, effects)
    }

    /// This user and `other` may no longer know of each other, or may again: `other` is told how it
    /// is now, if it wants to know.
    pub(in crate::user) fn presence_parted(
        &mut self,
        other: UserId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if self.presence_row()?.is_some() && self.store().watcher_until(other)?.is_some() {
            self.presence.telling.add(other, true);
            self.tell_due(now, effects)?;
        }
        Ok(())
    }

    /// Tells the watchers, where the user has come or gone since they were told last, or where
    /// telling them was broken off. To be called after a session was opened, the poll grace is over,
    /// or the object was loaded and its sessions restored: then after the request that woke it, so
    /// that a client which connects again after a crash is not shown as gone in between.
    ///
    /// # Errors
    /// When storage fails.
    pub(in crate::user) fn presence_check(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Ok(());
        };
        let online = self.is_online(now);
        let broken_off = stored.unfinished != Unfinished::No && self.presence.telling.is_idle();
        if online == stored.online && !broken_off {
            // Some may be left from when storage failed.
            return self.tell_due(now, effects);
        }
        let mut next = Stored {
            online,
            seen_at: if online { Some(now) } else { self.seen_at() },
            away_until: self.presence.away_until().filter(|until| *until > now),
            ..stored
        };
        let watchers = transact(&self.sql, || {
            let store = self.store();
            let watchers = store.watchers(now)?;
            if next.unfinished == Unfinished::No && watchers.len() > WAVE {
                next.unfinished = Unfinished::Change;
            }
            if next != stored {
                store.save_presence(&next)?;
            }
            Ok::<_, SqlError>(watchers)
        })?;
        self.presence.stored = Some(next);
        self.presence.away_until = None;
        self.presence.departed = None;
        self.presence.watchers = Some(watchers.len());
        let must = broken_off && next.unfinished == Unfinished::Audience;
        for watcher in watchers {
            self.presence.telling.add(watcher, must);
        }
        self.tell_due(now, effects)
    }

    /// Writes down until when a client that polls counts as here, where nothing else holds the
    /// user online: the object may be gone from memory until then.
    pub(super) fn keep_away_until(&mut self, now: Timestamp) -> Result<(), ServiceError> {
        let (Some(stored), Some(until)) = (self.presence_row()?, self.presence.away_until) else {
            return Ok(());
        };
        if stored.online && self.sessions.is_empty() && until > now {
            let next = Stored {
                away_until: Some(until),
                ..stored
            };
            self.store().save_presence(&next)?;
            self.presence.stored = Some(next);
            self.presence.away_until = None;
        }
        Ok(())
    }

    /// The user was here at `seen_at`. Written down now and then only, so that after a crash
    /// others are not told a time long past.
    pub(super) fn keep_seen_at(
        &mut self,
        seen_at: Timestamp,
        step: std::time::Duration,
    ) -> Result<(), ServiceError> {
        let Some(stored) = self.presence_row()? else {
            return Ok(());
        };
        if stored.online && stored.seen_at.is_none_or(|known| known + step <= seen_at) {
            let next = Stored {
                seen_at: Some(seen_at),
                ..stored
            };
            self.store().save_presence(&next)?;
            self.presence.stored = Some(next);
        }
        Ok(())
    }

    /// Tells those who are due, as many as may be told at the same time.
    pub(super) fn tell_due(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(stored) = self.presence.stored else {
            return Ok(());
        };
        let owner = stored.user_id;
        let mut told = Vec::new();
        let mut skipped = Vec::new();
        if self.presence.telling.due().next().is_some() {
            // All that can fail comes before anything is noted as under way.
            let store = self.store();
            let audience = store.presence_audience()?;
            let room = self.presence.telling.room();
            for (watcher, due) in self.presence.telling.due() {
                if told.len() >= room {
                    break;
                }
                if may_know(store, audience, owner, watcher)? {
                    told.push((watcher, self.present_state(owner, true, now)));
                } else if due.must {
                    told.push((watcher, hidden(owner)));
                } else {
                    skipped.push(watcher);
                }
            }
        }
        for watcher in skipped {
            self.presence.telling.remove(watcher);
        }
        for (watcher, update) in told {
            self.presence.telling.begin(watcher);
            let ticket = self.ticket(Pending::Presence(PresenceAsk::Told { watcher }));
            effects.push(Effect::AskUser {
                id: watcher,
                request: PresenceChanged { update }.into(),
                ticket: Some(ticket),
            });
        }
        if stored.unfinished != Unfinished::No && self.presence.telling.is_idle() {
            let next = Stored {
                unfinished: Unfinished::No,
                ..stored
            };
            self.store().save_presence(&next)?;
            self.presence.stored = Some(next);
        }
        Ok(())
    }

    /// A watcher was told, or could not be.
    pub(super) fn was_told(
        &mut self,
        watcher: UserId,
        answer: Result<String, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(ended) = self.presence.telling.end(watcher) else {
            return Ok(());
        };
        let wanted = match answer {
            Ok(reply) => serde_json::from_str::<PresenceHeard>(&reply)
                .map(|heard| heard.wanted)
                .ok(),
            Err(problem) if problem.code == Code::NotFound => Some(false),
            Err(_) => None,
        };
        match wanted {
            Some(true) => {}
            // It has asked anew since.
            Some(false) if ended.overtaken => {}
            Some(false) => self.forget_watcher(watcher)?,
            None => {
                // One that is given up learns it when it asks again.
                let _given_up = self.presence.telling.retry(watcher, ended, now, effects);
            }
        }
        self.tell_due(now, effects)
    }
}
