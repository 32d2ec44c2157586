//! The conversation's rules: what each request does to the log, and what the world is to be told.
//!
//! What always holds:
//! - The log has every seq from 1 to the head, once. An event is stored before anyone hears of it.
//! - A `client_msg_id` is taken once per sender for as long as the log lives.
//! - An event stored while no alarm is set sets one, in the same commit. So as long as some
//!   member may have something to take, an alarm is set, and an object that dies goes on from
//!   there. An alarm that finds nothing left lets it be: no alarm means that all is delivered.
//!   Where it is left to wait for a timer, it is written down first that all is delivered. Where
//!   it is left to wait for the archive, its time says so (see `archive`).
//! - Memory holds nothing of the log that storage does not, and may be lost at any moment. What it
//!   does hold beyond it (members' positions not written yet, see `positions`; who is writing) is
//!   learned again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::archive::{Archive, Bodies, Extent, delivery_alarm};
use super::call::ConversationRequest;
use super::group_store::Former;
use super::lanes::{Lanes, Progress};
use super::media::Answers;
use super::outbox::Outbox;
use super::policy::{self, Action, Member, Standing, require_member};
use super::positions::Positions;
use super::receipts::Recent;
use super::store::{Meta, Store};
use super::typing::Typing;
use crate::entropy::Entropy;
use crate::frame_rate::DeviceRates;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, UserId};
use crate::limits;
use crate::need::Need;
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::event::Event;
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// How long after an event the alarm looks whether everyone has taken it. Shorter than the ten
/// seconds after which an idle object is evicted, so that the lanes are still in memory.
pub const RECOVERY_DELAY: Duration = Duration::from_secs(5);

/// What the runtime does after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// New events, to be sent to the sockets that are attached here.
    pub broadcast: Vec<Event>,
    /// Who is shown less of them.
    pub unseen: Unseen,
    /// Set the alarm, in the same commit.
    pub alarm: Option<Timestamp>,
    /// There may be deliveries due.
    pub deliver: bool,
    /// What members who are connected are shown, and those who are not never hear of: on their
    /// sockets here, and by their user objects (see [`ConversationService::signals_due`]).
    pub signals: Vec<MemberSignal>,
    /// There may be marks due (see [`ConversationService::next_mark`]).
    pub marks: bool,
    /// Messages that devices have deleted for their users on sockets here.
    pub hides: Vec<HideWish>,
    /// Members whose sockets here are to be closed, after what is broadcast.
    pub evicted: Vec<Eviction>,
    /// A failure of storage, for the log; whom it concerns has been told `internal`.
    pub failure: Option<SqlError>,
    /// Something is needed that is kept elsewhere: when it has been brought, the same is to be
    /// asked again, which then does what could not be done now.
    pub needs: Option<Need>,
}

impl Effects {
    /// Adds what is to be done after this.
    pub fn absorb(&mut self, more: Self) {
        self.broadcast.extend(more.broadcast);
        self.unseen.latecomers.extend(more.unseen.latecomers);
        self.unseen.hiders.extend(more.unseen.hiders);
        self.alarm = more.alarm.or(self.alarm);
        self.deliver |= more.deliver;
        self.signals.extend(more.signals);
        self.marks |= more.marks;
        self.hides.extend(more.hides);
        self.evicted.extend(more.evicted);
        self.failure = self.failure.take().or(more.failure);
        self.needs = self.needs.take().or(more.needs);
    }
}

/// Members who do not see the message that the broadcast events change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unseen {
    /// Those who joined after it.
    pub latecomers: BTreeSet<UserId>,
    /// Those who have hidden it.
    pub hiders: BTreeSet<UserId>,
}

impl Unseen {
    /// Whether `viewer` is shown less than the others.
    #[must_use]
    pub fn concerns(&self, viewer: &UserId) -> bool {
        self.latecomers.contains(viewer) || self.hiders.contains(viewer)
    }

    /// As whom `user_id` looks on, where it does not see what everyone sees: senders are shown
    /// what no one else may see, and some are shown less.
    #[must_use]
    pub fn viewer(&self, events: &[Event], user_id: UserId) -> Option<UserId> {
        let is_sender = || {
            let mut messages = events.iter().filter_map(Event::as_message);
            messages.any(|message| message.sender_id == user_id)
        };
        (self.concerns(&user_id) || is_sender()).then_some(user_id)
    }

    /// The event as it is broadcast to `viewer`, which is [`Self::viewer`] of the events.
    #[must_use]
    pub fn seen(&self, event: Event, viewer: Option<UserId>) -> Event {
        match viewer {
            Some(viewer) => self.show(event.seen_by(viewer), &viewer),
            None => event.seen_by_others(),
        }
    }

    /// The event as `viewer` sees it.
    #[must_use]
    pub fn show(&self, event: Event, viewer: &UserId) -> Event {
        match event {
            event if self.latecomers.contains(viewer) => event.seen_by_latecomers(),
            Event::Changed(change) if self.hiders.contains(viewer) => {
                Event::Changed(change.without_content())
            }
            event => event,
        }
    }
}

/// A message that a device has deleted for its user on a socket here: the user's object is to be
/// asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HideWish {
    /// Whose device.
    pub user_id: UserId,
    /// Which.
    pub device_id: DeviceId,
    /// Which message.
    pub message_id: MessageId,
    /// The client's name for its frame.
    pub client_msg_id: Option<ClientMessageId>,
}

/// One who may no longer be attached here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// Who.
    pub user_id: UserId,
    /// Why.
    pub code: CloseCode,
}

/// A frame for one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSignal {
    /// For whom.
    pub to: UserId,
    /// What.
    pub frame: ServerFrame,
}

/// The conversation as it is in memory.
#[derive(Debug)]
pub(super) struct State {
    pub meta: Meta,
    pub members: BTreeMap<UserId, Member>,
    /// The newest event's number.
    pub head: Seq,
    /// The newest event's time.
    pub last_at: Timestamp,
    /// What was last written down of the lanes.
    pub saved: Progress,
    pub lanes: Lanes,
    /// How far the members have come.
    pub positions: Positions,
    /// Who wrote what last.
    pub recent: Recent,
    /// Seconds after which messages lose their content, where they do.
    pub expires_after: Option<u32>,
    /// When something is to be done next (see `timers`).
    pub timer_at: Option<Timestamp>,
    /// Those who are yet to be given their last event.
    pub former: BTreeMap<UserId, Former>,
    /// Who of a direct conversation's two has blocked the other.
    pub blockers: BTreeSet<UserId>,
    /// Whether it is no more, and is to be erased.
    pub has_ended: bool,
    /// Up to where events are in the archive.
    pub archived: Seq,
    /// Up to where their bodies are here no more.
    pub wiped: Seq,
    /// Whether media's objects are to be told of messages to let go of.
    pub has_releases: bool,
    /// Whether the alarm is there for the archive alone: all was delivered when it was set.
    pub waits_for_archive: bool,
}

impl State {
    /// What a member is here.
    pub(super) fn standing(&self, member: &Member) -> Standing {
        Standing {
            kind: self.meta.kind,
            role: member.role,
            is_blocked: self.blockers.iter().any(|id| *id != member.user_id)
                && !planted::is_on(Bug::BlockIgnored),
        }
    }

    /// A timer was stored.
    pub(super) fn add_timer(&mut self, due_at: Option<Timestamp>) {
        self.timer_at = self.timer_at.into_iter().chain(due_at).min();
    }
}

/// One conversation.
#[derive(Debug)]
pub struct ConversationService<S> {
    pub(super) sql: S,
    pub(super) scope: i64,
    /// What the alarm is set to.
    pub(super) alarm_at: Option<Timestamp>,
    /// How often it has failed in a row.
    pub(super) alarm_failures: u32,
    /// Whether it was near when memory was made: positions that are not written down may be lost.
    pub(super) is_alarm_near: bool,
    pub(super) state: Option<State>,
    pub(super) typing: Typing,
    pub(super) outbox: Outbox,
    pub(super) archive: Archive,
    /// What media's objects have answered.
    pub(super) media: Answers,
    /// What of the archive is in memory.
    pub(super) bodies: Bodies,
    /// Members whose deliveries cannot be read until what they need has been brought.
    pub(super) resting: BTreeSet<UserId>,
    /// How much each device may say here.
    pub(super) rates: DeviceRates,
    /// Multiplies the rate limits; 0 turns them off.
    pub(super) rate_limit_scale: f64,
    /// How often clients ping.
    pub(super) heartbeat: Duration,
}

impl<S: Sql> ConversationService<S> {
    /// The conversation in `scope` of `sql`, where no alarm is set unless
    /// [`Self::alarm_is`] says so.
    pub fn new(sql: S, scope: i64) -> Self {
        Self {
            sql,
            scope,
            alarm_at: None,
            alarm_failures: 0,
            is_alarm_near: false,
            state: None,
            typing: Typing::new(),
            outbox: Outbox::new(),
            archive: Archive::default(),
            media: Answers::default(),
            bodies: Bodies::default(),
            resting: BTreeSet::new(),
            rates: DeviceRates::new(),
            rate_limit_scale: 1.0,
            heartbeat: limits::HEARTBEAT,
        }
    }

    /// The same with rate limits multiplied by `scale`; 0 turns them off.
    #[must_use]
    pub fn with_rate_limits(mut self, scale: f64) -> Self {
        self.rate_limit_scale = scale;
        self
    }

    /// The same where clients ping every so often.
    #[must_use]
    pub fn with_heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every;
        self
    }

    /// Says what the alarm is set to, if it is, before anything else is asked.
    pub fn alarm_is(&mut self, at: Option<Timestamp>, now: Timestamp) {
        self.alarm_at = at;
        self.is_alarm_near = at.is_some_and(|at| at <= delivery_alarm(now + RECOVERY_DELAY));
    }

    /// Which conversation it is, where it exists and is in memory.
    #[must_use]
    pub fn conversation_id(&self) -> Option<ConversationId> {
        self.state.as_ref().map(|state| state.meta.conversation_id)
    }

    pub(super) const fn store(&self) -> Store<'_, S> {
        Store::new(&self.sql, self.scope, &self.bodies)
    }

    /// Reads the conversation into memory, where it is not there already.
    pub(super) fn load(&mut self) -> Result<Option<&mut State>, SqlError> {
        if self.state.is_none() {
            self.state = self.read_state()?;
        }
        Ok(self.state.as_mut())
    }

    fn read_state(&self) -> Result<Option<State>, SqlError> {
        let store = self.store();
        if !store.is_installed()? {
            return Ok(None);
        }
        store.install()?;
        let Some((meta, delivered)) = store.meta()? else {
            return Ok(None);
        };
        let (expires_after, timer_at) = store.timing()?;
        if planted::is_on(Bug::SeqsUsedAgain) {
            self.sql.exec(
                "DELETE FROM event WHERE scope = ? AND seq > ?",
                params![self.scope, delivered.unwrap_or(Seq::ZERO)],
            )?;
        }
        let (head, last_at) = store.head()?.unwrap_or((Seq::ZERO, meta.created_at));
        let (members, places): (BTreeMap<_, _>, BTreeMap<_, _>) = store
            .members()?
            .into_iter()
            .map(|(member, place)| ((member.user_id, member), (member.user_id, place)))
            .unzip();
        let mut taken: BTreeMap<UserId, Option<Seq>> =
            members.keys().map(|id| (*id, delivered)).collect();
        let lagging = store.lanes()?;
        let former: BTreeMap<_, _> = store.former_members()?.into_iter().collect();
        let (archived, wiped) = store.archived()?;
        // An alarm that waits for the archive alone says nothing of deliveries.
        let has_ended = store.ended_at()?.is_some();
        let extent = Extent {
            head,
            archived,
            wiped,
            has_ended,
        };
        let waits_for_archive = self.alarm_at.is_some()
            && self.alarm_at != timer_at
            && self.alarm_at == self.archive.alarm_at(&store, extent)?;
        let may_be_left = self.alarm_at.is_some() && !waits_for_archive;
        if may_be_left && !planted::is_on(Bug::LanesNotDurable) {
            taken.extend(
                lagging
                    .iter()
                    .copied()
                    .filter(|(id, _)| members.contains_key(id)),
            );
            // It may look after positions that were lost with the memory before they were written,
            // unless it is far away or there for a timer. Who may be further than is written is
            // given the last event again, and says so.
            if self.is_alarm_near && timer_at.is_none_or(|at| self.alarm_at < Some(at)) {
                let last = Seq::new(head.get().saturating_sub(1));
                let unknown =
                    |id: &UserId| places.get(id).is_none_or(|place| place.read.seq < head);
                for (_, taken) in taken.iter_mut().filter(|(id, _)| unknown(id)) {
                    *taken = taken.map(|seq| seq.min(last));
                }
            }
        } else {
            taken.values_mut().for_each(|seq| *seq = Some(head));
        }
        let mut lanes = Lanes::new(head, taken);
        for (user_id, former) in &former {
            let lags = lagging.iter().find(|(id, _)| id == user_id);
            let taken = match lags {
                _ if !may_be_left => Some(former.end),
                Some((_, taken)) => *taken,
                None => delivered,
            };
            lanes.add_former(*user_id, taken, former.end);
        }
        Ok(Some(State {
            lanes,
            meta,
            members,
            head,
            last_at,
            saved: Progress { delivered, lagging },
            positions: Positions::new(places),
            recent: Recent::after(head),
            expires_after,
            timer_at,
            former,
            blockers: store.blockers()?.into_iter().collect(),
            has_ended,
            has_releases: store.has_releases()?,
            archived,
            wiped,
            waits_for_archive,
        }))
    }

    /// The conversation and the membership of a caller who may do this.
    pub(super) fn allowed(
        &mut self,
        actor: UserId,
        action: Action,
    ) -> Result<(&mut State, Member), ServiceError> {
        let (state, member) = self.as_member(actor)?;
        policy::require(action, state.standing(&member))?;
        Ok((state, member))
    }

    /// The conversation and the caller's membership.
    pub(super) fn as_member(
        &mut self,
        actor: UserId,
    ) -> Result<(&mut State, Member), ServiceError> {
        let state = self
            .load()?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let mut found = state.members.get(&actor);
        if planted::is_on(Bug::AnyoneReads) {
            found = found.or_else(|| state.members.values().next());
        }
        let member = require_member(found)?;
        Ok((state, member))
    }

    /// Does what is asked. The text is the reply's JSON.
    ///
    /// # Errors
    /// The problem to tell the client, storage's failure, or what is needed before the same can be
    /// asked again; nothing has changed then.
    pub fn handle(
        &mut self,
        request: ConversationRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(String, Effects), ServiceError> {
        self.settle(now)?;
        let rates = request.device_id().map(|id| (id, *self.rates.of(id, now)));
        let outcome = self.answer(request, now, entropy);
        if let (Err(ServiceError::Needs(_)), Some((device_id, before))) = (&outcome, rates) {
            // It counts when it is asked again.
            *self.rates.of(device_id, now) = before;
        }
        outcome
    }

    fn answer(
        &mut self,
        request: ConversationRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(String, Effects), ServiceError> {
        let quiet = Effects::default();
        match request {
            ConversationRequest::Create(call) => {
                let (reply, effects) = self.create(call, now)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::GetConversation(call) => Ok((json(&self.get(call)?)?, quiet)),
            ConversationRequest::ListMembers(call) => Ok((json(&self.list_members(call)?)?, quiet)),
            ConversationRequest::Send(call) => {
                self.as_member(call.actor)?;
                let scale = self.rate_limit_scale;
                self.rates
                    .of(call.device_id, now)
                    .admit_message(scale, now)?;
                let (reply, effects) =
                    self.send_on(call.actor, call.message, call.forwarded_from, now, entropy)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::UpdateConversation(call) => {
                let (reply, effects) = self.update(call, now)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::ActOn(call) => {
                let (reply, effects) = self.act(call, now)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::GetMessage(call) => Ok((json(&self.message(call)?)?, quiet)),
            ConversationRequest::ListThread(call) => Ok((json(&self.thread(&call)?)?, quiet)),
            ConversationRequest::ListPins(call) => Ok((json(&self.pins(call)?)?, quiet)),
            ConversationRequest::Hide(call) => Ok((json(&self.hide(call)?)?, quiet)),
            ConversationRequest::Schedule(call) => {
                self.as_member(call.actor)?;
                if let Some(device_id) = call.device_id {
                    let scale = self.rate_limit_scale;
                    self.rates.of(device_id, now).admit_message(scale, now)?;
                }
                let (reply, effects) = self.schedule(call.actor, call.message, now, entropy)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::ListScheduled(call) => {
                Ok((json(&self.list_scheduled(call)?)?, quiet))
            }
            ConversationRequest::CancelScheduled(call) => {
                self.cancel_scheduled(call)?;
                Ok((json(&())?, quiet))
            }
            ConversationRequest::AddMembers(call) => {
                let (reply, effects) = self.add_members(&call, now)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::ChangeRole(call) => {
                let (reply, effects) = self.change_role(call, now)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::RemoveMember(call) => {
                let effects = self.remove_member(call, now)?;
                Ok((json(&())?, effects))
            }
            ConversationRequest::Delete(call) => {
                let effects = self.delete(call, now)?;
                Ok((json(&())?, effects))
            }
            ConversationRequest::SetBlock(call) => {
                self.set_block(call)?;
                Ok((json(&())?, quiet))
            }
            ConversationRequest::SetSuspended(call) => {
                let effects = self.set_suspended(call)?;
                Ok((json(&())?, effects))
            }
            ConversationRequest::CopyMessage(call) => Ok((json(&self.copy_message(call)?)?, quiet)),
            ConversationRequest::ListMessages(call) => {
                Ok((json(&self.list_messages(&call)?)?, quiet))
            }
            ConversationRequest::ListEvents(call) => Ok((json(&self.list_events(call)?)?, quiet)),
            ConversationRequest::SendMany(call) => {
                let (reply, effects) = self.send_many(call, now, entropy)?;
                Ok((json(&reply)?, effects))
            }
            ConversationRequest::MarkPosition(call) => {
                let effects = self.mark_position(call, now)?;
                Ok((json(&())?, effects))
            }
            ConversationRequest::DeliverNow(call) => {
                let effects = self.deliver_now(call, now)?;
                Ok((json(&())?, effects))
            }
            ConversationRequest::CountUnread(call) => Ok((json(&self.count_unread(call)?)?, quiet)),
            ConversationRequest::GetMessageInfo(call) => {
                Ok((json(&self.message_info(call)?)?, quiet))
            }
            ConversationRequest::SignalTyping(call) => {
                let effects = self.signal_typing(call, now)?;
                Ok((json(&())?, effects))
            }
        }
    }

    /// Sets the alarm where none is set to look after deliveries: one that waits for a timer or for
    /// the archive may be far away. To be called before a timer is added to the state.
    pub(super) fn arm(&mut self, now: Timestamp) -> Option<Timestamp> {
        if planted::is_on(Bug::NoAlarm) {
            return None;
        }
        let by = delivery_alarm(now + RECOVERY_DELAY);
        let timer_at = self.state.as_ref().and_then(|state| state.timer_at);
        let waits_for_archive = self
            .state
            .as_mut()
            .is_some_and(|state| std::mem::take(&mut state.waits_for_archive));
        if self
            .alarm_at
            .is_some_and(|at| at <= by || Some(at) != timer_at && !waits_for_archive)
        {
            return None;
        }
        self.alarm_at = Some(by);
        self.alarm_at
    }

    fn no_longer_for_archive(&mut self) {
        if let Some(state) = &mut self.state {
            state.waits_for_archive = false;
        }
    }

    /// Sets the alarm where it would go off after `due_at`.
    pub(super) fn arm_timer(&mut self, due_at: Timestamp) -> Option<Timestamp> {
        if self.alarm_at.is_some_and(|at| at <= due_at) || planted::is_on(Bug::NoTimer) {
            return None;
        }
        self.no_longer_for_archive();
        self.alarm_at = Some(due_at);
        self.alarm_at
    }

    /// Sets the alarm where none is set that goes off soon: before an idle object is evicted.
    pub(super) fn arm_soon(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut by = delivery_alarm(now + RECOVERY_DELAY);
        if let Some(at) = self.alarm_at.filter(|at| *at <= by) {
            let timer_at = self.state.as_ref().and_then(|state| state.timer_at);
            if timer_at != Some(at) {
                return None;
            }
            // One that waits for a timer alone says nothing of positions: it goes off before.
            by = delivery_alarm(Timestamp::from_millis(at.as_millis().saturating_sub(2)));
        }
        self.no_longer_for_archive();
        self.alarm_at = Some(by);
        self.alarm_at
    }
}

fn json(reply: &impl Serialize) -> Result<String, SqlError> {
    serde_json::to_string(reply).map_err(|error| SqlError::Engine(error.to_string()))
}
