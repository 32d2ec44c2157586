//! The rules of a user: sessions, profile, and the conversation list.
//!
//! What always holds: the writes of a request are one transaction; what is asked on a device's
//! behalf is done only while that device is signed in; a user that does not exist stays without
//! tables, whatever is asked.
//!
//! Must not: put a phone number or a token into an error.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::blocks::Tellings;
use super::call::{
    Deliver, Delivered, GetProfile, ListConversations, MarkDelivered, MarkLeft, Signal,
    UpdateProfile, ViewProfile,
};
use super::effect::{Effect, Effects, SocketId, Ticket};
use super::events::failed;
use super::expected::Expected;
use super::list::Unsaved;
use super::marks::Mark;
use super::outbox::Outbox;
use super::pending::Pending;
use super::presence::Presence;
use super::profile;
use super::schema;
use super::session::Session;
use super::store::Store;
use super::suspension::Telling;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::limits;
use crate::protocol::conversation::ConversationPage;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::protocol::user::{Profile, PublicProfile};
use crate::sql::migrations::LazySchema;
use crate::sql::{Sql, transact};
use crate::time::Timestamp;

/// One user.
#[derive(Debug)]
pub struct UserService<S: Sql> {
    pub(super) sql: S,
    scope: i64,
    /// Whose it is, once that was read.
    owner: Cell<Option<UserId>>,
    pub(super) schema: LazySchema,
    /// Multiplies the rate limits; 0 turns them off.
    pub(super) rate_limit_scale: f64,
    /// How often clients ping.
    pub(super) heartbeat: Duration,
    /// Whether who holds a stream or a poll can die without this being seen.
    pub(super) holders_may_die: bool,
    pub(super) sessions: BTreeMap<SocketId, Session>,
    pub(super) last_socket: u64,
    pub(super) pending: BTreeMap<Ticket, Pending>,
    pub(super) last_ticket: u64,
    /// What waits for an event to be delivered.
    pub(super) expected: Vec<Expected>,
    pub(super) last_request: u64,
    /// Grows whenever a message no longer counts as unread without having been read.
    pub(super) uncounted: u64,
    pub(super) outboxes: BTreeMap<ConversationId, Outbox>,
    pub(super) marks: BTreeMap<ConversationId, Mark>,
    pub(super) tellings: Tellings,
    pub(super) suspension: Telling,
    /// When what others are to be told is looked after.
    pub(super) errands_at: Option<Timestamp>,
    /// When what is being waited for is looked after, where it was asked to be woken for that.
    pub(super) looks_at: Option<Timestamp>,
    /// How often the alarm has failed in a row.
    pub(super) alarm_failures: u32,
    pub(super) presence: Presence,
    /// When the next preview expires, as far as memory knows: an alarm is set by then.
    pub(super) preview_expires_at: Option<Timestamp>,
    /// What the alarm is set to.
    pub(super) alarm: Option<Timestamp>,
    /// Whether it has been looked at, since memory was made, if the user's coming or going is
    /// still to be told.
    pub(super) looked_after: bool,
}

pub(super) fn signed_out() -> ServiceError {
    Problem::unauthenticated("This device is signed out.").into()
}

impl<S: Sql> UserService<S> {
    /// The user that `scope` of this database holds.
    pub fn new(sql: S, scope: i64) -> Self {
        Self {
            sql,
            scope,
            owner: Cell::new(None),
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
            rate_limit_scale: 1.0,
            heartbeat: limits::HEARTBEAT,
            holders_may_die: false,
            sessions: BTreeMap::new(),
            last_socket: 0,
            pending: BTreeMap::new(),
            last_ticket: 0,
            expected: Vec::new(),
            last_request: 0,
            uncounted: 0,
            outboxes: BTreeMap::new(),
            marks: BTreeMap::new(),
            tellings: Tellings::new(),
            suspension: Telling::default(),
            errands_at: None,
            looks_at: None,
            alarm_failures: 0,
            presence: Presence::new(),
            preview_expires_at: None,
            alarm: None,
            looked_after: false,
        }
    }

    /// The same with rate limits multiplied by `scale`; 0 turns them off.
    #[must_use]
    pub const fn with_rate_limits(mut self, scale: f64) -> Self {
        self.rate_limit_scale = scale;
        self
    }

    /// The same where clients ping every so often.
    #[must_use]
    pub const fn with_heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every;
        self
    }

    /// The same where who holds a stream or a poll can die without this being seen: such a
    /// session, too, is closed after too long a silence.
    #[must_use]
    pub const fn with_mortal_holders(mut self) -> Self {
        self.holders_may_die = true;
        self
    }

    /// Says what the alarm is set to, before anything else is asked.
    pub const fn alarm_is(&mut self, at: Option<Timestamp>) {
        self.alarm = at;
    }

    /// Whose object this is.
    pub(super) fn owner(&self) -> Result<UserId, ServiceError> {
        if let Some(known) = self.owner.get() {
            return Ok(known);
        }
        let owner = self.store().user_id()?.ok_or_else(signed_out)?;
        self.owner.set(Some(owner));
        Ok(owner)
    }

    pub(super) const fn store(&self) -> Store<'_> {
        Store {
            sql: &self.sql,
            scope: self.scope,
        }
    }

    /// The tables, while the device is signed in.
    pub(super) fn store_for(&mut self, device_id: DeviceId) -> Result<Store<'_>, ServiceError> {
        if self.schema.is_there(&self.sql)? && self.store().has_device(device_id)? {
            Ok(self.store())
        } else {
            Err(signed_out())
        }
    }

    /// One's own profile.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out.
    pub fn get_profile(&mut self, call: GetProfile) -> Result<Profile, ServiceError> {
        let store = self.store_for(call.device_id)?;
        store.profile()?.ok_or_else(signed_out)
    }

    /// Changes one's profile.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request`.
    pub fn update_profile(
        &mut self,
        call: UpdateProfile,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Profile, ServiceError> {
        self.store_for(call.device_id)?;
        profile::check_patch(&call.patch)?;
        let (before, after) = transact(&self.sql, || {
            let store = self.store();
            let before = store.profile()?.ok_or_else(signed_out)?;
            let after = profile::patched(before.clone(), call.patch);
            if after != before {
                store.save_profile(&after)?;
            }
            Ok::<_, ServiceError>((before, after))
        })?;
        // The change is made: that it could not be told to all is for the log.
        if after.privacy.last_seen != before.privacy.last_seen
            && let Err(error) = self.privacy_changed(before.privacy.last_seen, now, effects)
        {
            failed(error, effects);
        }
        Ok(after)
    }

    /// What another user sees.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn view_profile(
        &mut self,
        call: ViewProfile,
        now: Timestamp,
    ) -> Result<PublicProfile, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Err(Problem::not_found("user").into());
        }
        let store = self.store();
        let profile = store.profile()?.ok_or_else(|| Problem::not_found("user"))?;
        let owner = profile.user_id;
        let shows_picture = call.viewer == owner
            || !store.is_apart_from(call.viewer)?
                && profile::includes(profile.privacy.profile_pic, || {
                    store.has_written_in(ConversationId::direct(owner, call.viewer))
                })?;
        let presence = self.presence_for(call.viewer, now)?;
        Ok(profile::public(profile, shows_picture, presence))
    }

    /// A page of the conversation list: pinned ones first, then the newest activity first.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request` on `cursor`.
    pub fn list_conversations(
        &mut self,
        call: &ListConversations,
        now: Timestamp,
    ) -> Result<ConversationPage, ServiceError> {
        let store = self.store_for(call.device_id)?;
        store.conversations(call.archived, call.cursor.as_deref(), call.limit, now)
    }

    /// Takes news from a conversation, as far as it is new and follows what is known, and shows
    /// it to the sessions.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn deliver(
        &mut self,
        call: &Deliver,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Delivered, ServiceError> {
        let missing = || ServiceError::from(Problem::not_found("user"));
        if !self.schema.is_there(&self.sql)? {
            return Err(missing());
        }
        let id = call.conversation.conversation_id;
        let unsaved = Unsaved(
            self.sessions
                .values()
                .filter_map(|session| {
                    let seq = session.kept.acks.get(&id)?;
                    Some((session.kept.device_id, *seq))
                })
                .collect(),
        );
        let taken =
            transact(&self.sql, || self.store().deliver(call, &unsaved))?.ok_or_else(missing)?;
        let before = taken.before.unwrap_or(Seq::ZERO);
        let fresh: Vec<_> = call
            .events
            .iter()
            .filter(|event| {
                let seq = event.seq();
                seq <= taken.head_seq && (taken.before.is_none() || seq > before)
            })
            .cloned()
            .map(|event| taken.hidden.show(event.seen_by(call.user_id)))
            .collect();
        if taken.counts_less {
            self.uncounted = self.uncounted.wrapping_add(1);
        }
        if !fresh.is_empty() {
            // They were written down with the delivery.
            for session in self.sessions.values_mut() {
                session.kept.acks.remove(&id);
            }
        }
        if let Some(at) = taken.preview_expires_at {
            self.preview_expires(at, effects);
        }
        self.push(id, fresh, &call.attached_devices, now, effects);
        // The delivery is taken, whatever becomes of what waited for it.
        if let Err(error) = self.arrived(id, now, effects) {
            failed(error, effects);
        }
        Ok(Delivered {
            head_seq: taken.head_seq,
            position: taken.position,
        })
    }

    /// Shows what passes to the sessions.
    pub(super) fn signal(&self, call: Signal, now: Timestamp, effects: &mut Effects) {
        let to: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.kept.expires_at > now)
            .filter(|session| !session.has_from_there(&call.attached_devices))
            .map(|session| session.kept.socket)
            .collect();
        let frames = call.frames;
        if !to.is_empty() && !frames.is_empty() {
            effects.push(Effect::Send { to, frames });
        }
    }

    /// A device has got up to somewhere on a conversation's own socket.
    pub(super) fn mark_delivered(
        &mut self,
        call: MarkDelivered,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.store_for(call.device_id)?;
        // The conversation may be ahead of the inbox by what is on its way.
        let row = self
            .store()
            .inbox_row(&call.conversation_id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let seq = call.up_to_seq.min(row.head_seq);
        self.note_device(call.device_id, call.conversation_id, seq, now, effects)
    }

    /// A device's socket at a conversation has closed: its session goes on from what the device
    /// has acknowledged, or was certainly sent.
    pub(super) fn mark_left(
        &mut self,
        call: MarkLeft,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.store_for(call.device_id)?;
        let id = call.conversation_id;
        let row = self
            .store()
            .inbox_row(&id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        for socket in self.sessions_of(call.device_id) {
            let Some(session) = self.sessions.get_mut(&socket) else {
                continue;
            };
            if let Some(code) = session.is_over(now) {
                self.end_session(socket, code, now, effects);
                continue;
            }
            let acknowledged = row.positions.of(call.device_id, row.head_seq);
            let after = session.has_up_to(id, acknowledged.max(call.after_seq));
            if after < row.head_seq && !session.behind.contains_key(&id) {
                self.fall_behind(socket, id, after, now, effects);
            } else if session.no_longer_withhold(id) {
                self.keep(socket, effects);
            }
        }
        Ok(())
    }
}
