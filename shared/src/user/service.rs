//! The rules of a user: sessions, profile, and the conversation list.
//!
//! What always holds: the writes of a request are one transaction; what is asked on a device's
//! behalf is done only while that device is signed in; a user that does not exist stays without
//! tables, whatever is asked.
//!
//! Must not: put a phone number or a token into an error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{
    Deliver, Delivered, GetProfile, ListConversations, MarkDelivered, Signal, Signalled,
    UpdateProfile, UserRequest, ViewProfile,
};
use super::effect::{Effect, Effects, Reply, SocketId, Ticket};
use super::list::Unsaved;
use super::marks::Mark;
use super::outbox::Outbox;
use super::pending::Pending;
use super::presence::Presence;
use super::profile;
use super::schema;
use super::session::Session;
use super::store::Store;
use crate::entropy::Entropy;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::object;
use crate::protocol::conversation::ConversationPage;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::protocol::user::{Profile, PublicProfile};
use crate::sql::migrations::LazySchema;
use crate::sql::{Sql, transact};
use crate::time::Timestamp;

/// An alarm is not set nearer than this.
const EARLIEST_ALARM: Duration = Duration::from_secs(1);
/// An alarm that is set is left alone unless it would be later than needed by more than this.
const ALARM_SLACK: Duration = Duration::from_secs(5);

/// One user.
#[derive(Debug)]
pub struct UserService<S: Sql> {
    pub(super) sql: S,
    scope: i64,
    pub(super) schema: LazySchema,
    /// Multiplies the rate limits; 0 turns them off.
    pub(super) rate_limit_scale: f64,
    pub(super) sessions: BTreeMap<SocketId, Session>,
    pub(super) last_socket: u64,
    pub(super) pending: BTreeMap<Ticket, Pending>,
    pub(super) last_ticket: u64,
    pub(super) last_request: u64,
    pub(super) outboxes: BTreeMap<ConversationId, Outbox>,
    pub(super) marks: BTreeMap<ConversationId, Mark>,
    pub(super) presence: Presence,
    /// What the alarm is set to.
    alarm: Option<Timestamp>,
    /// Whether it has been looked at, since memory was made, if the user's coming or going is
    /// still to be told.
    looked_after: bool,
}

pub(super) fn signed_out() -> ServiceError {
    Problem::unauthenticated("This device is signed out.").into()
}

impl<S: Sql> UserService<S> {
    /// The user that `scope` of this database holds.
    pub const fn new(sql: S, scope: i64) -> Self {
        Self {
            sql,
            scope,
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
            rate_limit_scale: 1.0,
            sessions: BTreeMap::new(),
            last_socket: 0,
            pending: BTreeMap::new(),
            last_ticket: 0,
            last_request: 0,
            outboxes: BTreeMap::new(),
            marks: BTreeMap::new(),
            presence: Presence::new(),
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

    /// Says what the alarm is set to, before anything else is asked.
    pub const fn alarm_is(&mut self, at: Option<Timestamp>) {
        self.alarm = at;
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// As the method of the call.
    pub fn handle(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Reply, Effects), ServiceError> {
        let (reply, mut effects) = self.dispatch(request, now, entropy)?;
        self.look_after(now, &mut effects);
        Ok((reply, effects))
    }

    /// Ends every event: after a wake, what presence had left to tell, and the alarm where one is
    /// needed and none is set. A failure here must not undo what was done; it is logged, and the
    /// next event looks again.
    pub(super) fn look_after(&mut self, now: Timestamp, effects: &mut Effects) {
        if !self.looked_after {
            match self.presence_check(now) {
                Ok(more) => {
                    self.looked_after = true;
                    effects.extend(more);
                }
                Err(ServiceError::Storage(failure)) => effects.push(Effect::Failed(failure)),
                // There is no such user: there is nothing to tell.
                Err(ServiceError::Refused(_)) => self.looked_after = true,
            }
        }
        let needed = [self.next_heartbeat(), self.poll_grace_ends()]
            .into_iter()
            .flatten()
            .min();
        if let Some(at) = needed {
            // After a sleep a heartbeat can seem overdue: the pings are known at the alarm.
            let at = at.max(now + EARLIEST_ALARM);
            if self.alarm.is_none_or(|set| at + ALARM_SLACK < set) {
                self.alarm = Some(at);
                effects.push(Effect::Alarm(at));
            }
        }
    }

    /// The alarm has gone off. `pings` says when the runtime last answered each socket's ping.
    ///
    /// # Errors
    /// When storage fails: the runtime lets it go off again.
    pub fn on_alarm(
        &mut self,
        now: Timestamp,
        pings: &[(SocketId, Option<Timestamp>)],
    ) -> Result<Effects, ServiceError> {
        self.alarm = None;
        let heard: Vec<_> = pings
            .iter()
            .map(|(socket, ping)| {
                let frame = self
                    .sessions
                    .get(socket)
                    .and_then(|session| session.last_frame);
                (*socket, (*ping).max(frame))
            })
            .collect();
        let mut effects = self.heartbeat_due(now, &heard)?;
        effects.extend(self.presence_check(now)?);
        self.look_after(now, &mut effects);
        Ok(effects)
    }

    fn dispatch(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Reply, Effects), ServiceError> {
        use UserRequest as Ask;
        match request {
            Ask::SignIn(call) => quiet(&self.sign_in(call, now, entropy)?),
            Ask::Refresh(call) => {
                let mut effects = Vec::new();
                match self.refresh(&call, now, &mut effects) {
                    Ok(signed_in) => Ok((done(&signed_in)?, effects)),
                    Err(ServiceError::Refused(problem)) => Ok((Reply::Refused(problem), effects)),
                    Err(failure) => Err(failure),
                }
            }
            Ask::SignOut(call) => {
                let effects = self.sign_out(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::CheckDevice(call) => quiet(&self.check_device(call)?),
            Ask::ListDevices(call) => quiet(&self.list_devices(call)?),
            Ask::RevokeDevice(call) => {
                let effects = self.revoke_device(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::GetProfile(call) => quiet(&self.get_profile(call)?),
            Ask::UpdateProfile(call) => {
                let (profile, effects) = self.update_profile(call, now)?;
                Ok((done(&profile)?, effects))
            }
            Ask::ViewProfile(call) => quiet(&self.view_profile(call)?),
            Ask::ListConversations(call) => quiet(&self.list_conversations(&call)?),
            Ask::Deliver(call) => {
                let (delivered, effects) = self.deliver(&call, now)?;
                Ok((done(&delivered)?, effects))
            }
            Ask::Signal(call) => {
                let (signalled, effects) = self.signal(call, now)?;
                Ok((done(&signalled)?, effects))
            }
            Ask::MarkRead(call) => self.mark_read(call, now),
            Ask::MarkDelivered(call) => {
                let effects = self.mark_delivered(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::WatchPresence(call) => quiet(&self.watch_presence(call, now)?),
            Ask::UnwatchPresence(call) => quiet(&self.unwatch_presence(call)?),
            Ask::PresenceChanged(call) => {
                let (heard, effects) = self.presence_changed(call, now);
                Ok((done(&heard)?, effects))
            }
        }
    }

    /// Another object has answered.
    ///
    /// # Errors
    /// When storage fails: whoever waited for it asks again.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<String, Problem>,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let mut effects = Vec::new();
        let Some(pending) = self.pending.remove(&ticket) else {
            return Ok(effects);
        };
        match pending {
            Pending::CatchUp {
                socket,
                conversation_id,
            } => {
                let page = read_answer(answer);
                self.caught(socket, conversation_id, page, now, &mut effects)?;
            }
            Pending::Sends { conversation_id } => {
                self.sent_many(conversation_id, read_answer(answer), &mut effects)?;
            }
            Pending::Told { socket } => {
                if let Err(problem) = answer {
                    self.refuse(socket, problem.into(), None, &mut effects);
                }
            }
            Pending::Presence(ask) => {
                effects.extend(self.presence_answered(ask, answer, now)?);
            }
            Pending::Read(read) => self.counted(read, read_answer(answer), now, &mut effects)?,
            Pending::Mark { conversation_id } => {
                self.marked(conversation_id, read_answer(answer), now, &mut effects)?;
            }
        }
        self.look_after(now, &mut effects);
        Ok(effects)
    }

    /// Whose object this is.
    pub(super) fn owner(&self) -> Result<UserId, ServiceError> {
        self.store().user_id()?.ok_or_else(signed_out)
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
    ) -> Result<(Profile, Effects), ServiceError> {
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
        if after.privacy.last_seen == before.privacy.last_seen {
            return Ok((after, Vec::new()));
        }
        // The change is made: that it could not be told to all is for the log.
        let effects = match self.privacy_changed(before.privacy.last_seen, now) {
            Ok(effects) => effects,
            Err(ServiceError::Storage(failure)) => vec![Effect::Failed(failure)],
            Err(ServiceError::Refused(_)) => Vec::new(),
        };
        Ok((after, effects))
    }

    /// What another user sees.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn view_profile(&mut self, call: ViewProfile) -> Result<PublicProfile, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Err(Problem::not_found("user").into());
        }
        let store = self.store();
        let profile = store.profile()?.ok_or_else(|| Problem::not_found("user"))?;
        let owner = profile.user_id;
        let shows_picture = call.viewer == owner
            || profile::includes(profile.privacy.profile_pic, || {
                store.has_written_in(ConversationId::direct(owner, call.viewer))
            })?;
        Ok(profile::public(profile, shows_picture))
    }

    /// A page of the conversation list: pinned ones first, then the newest activity first.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request` on `cursor`.
    pub fn list_conversations(
        &mut self,
        call: &ListConversations,
    ) -> Result<ConversationPage, ServiceError> {
        let store = self.store_for(call.device_id)?;
        store.conversations(call.archived, call.cursor.as_deref(), call.limit)
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
    ) -> Result<(Delivered, Effects), ServiceError> {
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
        let taken = transact(&self.sql, || {
            self.store()
                .deliver(call.user_id, &call.conversation, &call.events, &unsaved)
        })?
        .ok_or_else(missing)?;
        let before = taken.before.unwrap_or(Seq::ZERO);
        let fresh: Vec<_> = call
            .events
            .iter()
            .filter(|event| {
                let seq = event.seq();
                seq <= taken.head_seq && (taken.before.is_none() || seq > before)
            })
            .cloned()
            .map(|event| event.seen_by(call.user_id))
            .collect();
        if !fresh.is_empty() {
            // They were written down with the delivery.
            for session in self.sessions.values_mut() {
                session.kept.acks.remove(&id);
            }
        }
        let mut effects = Vec::new();
        self.push(id, fresh, &call.attached_devices, now, &mut effects)?;
        let delivered = Delivered {
            head_seq: taken.head_seq,
            position: taken.position,
            online: !self.sessions.is_empty(),
        };
        Ok((delivered, effects))
    }

    /// Shows what passes to the sessions.
    fn signal(
        &mut self,
        call: Signal,
        now: Timestamp,
    ) -> Result<(Signalled, Effects), ServiceError> {
        let to: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.kept.expires_at > now)
            .filter(|session| !call.attached_devices.contains(&session.kept.device_id))
            .map(|session| session.kept.socket)
            .collect();
        let online = !self.sessions.is_empty();
        let frames = call.frames;
        let effects = if to.is_empty() || frames.is_empty() {
            Vec::new()
        } else {
            vec![Effect::Send { to, frames }]
        };
        Ok((Signalled { online }, effects))
    }

    /// A device has got up to somewhere on a conversation's own socket.
    fn mark_delivered(
        &mut self,
        call: MarkDelivered,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        self.store_for(call.device_id)?;
        // The conversation may be ahead of the inbox by what is on its way.
        let row = self
            .store()
            .inbox_row(&call.conversation_id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let seq = call.up_to_seq.min(row.head_seq);
        let mut effects = Vec::new();
        self.note_device(call.device_id, call.conversation_id, seq, now, &mut effects)?;
        Ok(effects)
    }
}

/// The reply, now.
fn done(reply: &impl Serialize) -> Result<Reply, ServiceError> {
    object::reply_json(reply).map(Reply::Now)
}

/// The reply, now, and nothing else to do.
fn quiet(reply: &impl Serialize) -> Result<(Reply, Effects), ServiceError> {
    Ok((done(reply)?, Vec::new()))
}

/// Another object's reply. One that cannot be read is of another version.
fn read_answer<T: DeserializeOwned>(answer: Result<String, Problem>) -> Result<T, Problem> {
    serde_json::from_str(&answer?).map_err(|_| Problem::internal())
}
