//! Handing events to the members' user objects: what is in each delivery, and how far all of
//! them have come. When a delivery is due is the business of [`super::lanes`].
//!
//! Members mostly lack the same events. These are read once for all of them ([`Round`]), and the
//! runtime can write them once for all who were given the same [`News`].

use std::rc::Rc;

use super::archive::delivery_alarm;
use super::call::DeliverNow;
use super::lanes::Due;
use super::service::{ConversationService, Effects, RECOVERY_DELAY, State};
use super::store::Viewer;
use crate::ids::UserId;
use crate::planted::{self, Bug};
use crate::protocol::conversation::ConversationType;
use crate::protocol::event::Event;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;
use crate::user::call::{AttachedDevice, ConversationSummary, Deliver, Delivered};

/// After how many events delivered to all the position is written down. Going on from an older
/// one repeats at most this many events, which user objects ignore.
const PROGRESS_STEP: u64 = 64;
/// Events in one delivery.
const DELIVERY_EVENTS: u32 = 200;
/// Bytes of stored bodies in one delivery.
const DELIVERY_BYTES: usize = 512 * 1024;

/// What a delivery holds, but for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The conversation as it is now.
    pub conversation: ConversationSummary,
    /// The events, as their receiver sees them.
    pub events: Vec<Event>,
}

impl News {
    /// Whether `user_id` sent one of the messages.
    fn is_by(&self, user_id: UserId) -> bool {
        self.events
            .iter()
            .filter_map(Event::as_message)
            .any(|message| message.sender_id == user_id)
    }
}

/// A delivery to a member's user object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub user_id: UserId,
    /// The first event that it may have as the member that it is now.
    pub visible_from: Seq,
    /// What.
    pub news: Rc<News>,
}

impl Delivery {
    /// The request, where `attached_devices` of the member's devices are attached here.
    #[must_use]
    pub fn call(&self, attached_devices: Vec<AttachedDevice>) -> Deliver {
        Deliver {
            user_id: self.user_id,
            visible_from: self.visible_from,
            conversation: self.news.conversation.clone(),
            events: self.news.events.clone(),
            attached_devices,
        }
    }
}

/// The news that were read last, for the next member who lacks the same. Holds up to
/// half a megabyte of events: let it go when no delivery is due.
#[derive(Debug, Clone, Default)]
pub struct Round {
    last: Option<Read>,
}

#[derive(Debug, Clone)]
struct Read {
    after: Seq,
    head: Seq,
    visible_from: Seq,
    news: Rc<News>,
}

impl Read {
    /// Whether one who sees everything from `visible_from` on sees the same.
    fn is_seen_alike(&self, visible_from: Seq) -> bool {
        let from = visible_from.max(self.visible_from);
        visible_from == self.visible_from
            || self
                .news
                .events
                .iter()
                .filter_map(Event::as_change)
                .all(|change| {
                    !change.is_confidential() || change.message_id().claimed_seq() >= from
                })
    }
}

impl<S: Sql> ConversationService<S> {
    /// Takes the next delivery that is due, if there is one. The runtime carries it out and
    /// says what came of it with [`Self::delivered`] or [`Self::delivery_failed`].
    ///
    /// # Errors
    /// When storage fails; the lane then waits as after a failed delivery. Where something is
    /// needed ([`SqlError::Needs`]), the lane rests until [`Self::need_met`] or
    /// [`Self::need_unmet`] says what came of it.
    pub fn next_delivery(
        &mut self,
        round: &mut Round,
        now: Timestamp,
    ) -> Result<Option<Delivery>, SqlError> {
        self.settle(now)?;
        let Some(state) = self.load()? else {
            return Ok(None);
        };
        let Some(due) = state.lanes.next_due(now) else {
            return Ok(None);
        };
        match self.read_news(due, round) {
            Ok(news) => Ok(news.map(|(visible_from, news)| Delivery {
                user_id: due.user_id,
                visible_from,
                news,
            })),
            Err(needs @ SqlError::Needs(_)) => {
                self.resting.insert(due.user_id);
                Err(needs)
            }
            Err(failure) => {
                self.delivery_failed(due.user_id, now);
                Err(failure)
            }
        }
    }

    /// What deliveries needed has been brought: those that rested are due.
    pub fn need_met(&mut self, now: Timestamp) {
        if let Some(state) = &mut self.state {
            for user_id in std::mem::take(&mut self.resting) {
                state.lanes.go_on(user_id, now);
            }
        }
    }

    /// What deliveries needed cannot be had now: those that rested are tried again later.
    pub fn need_unmet(&mut self, now: Timestamp) {
        for user_id in std::mem::take(&mut self.resting) {
            self.delivery_failed(user_id, now);
        }
    }

    fn read_news(&self, due: Due, round: &mut Round) -> Result<Option<(Seq, Rc<News>)>, SqlError> {
        let Some(state) = &self.state else {
            return Ok(None);
        };
        let (visible_from, head) = match (
            state.members.get(&due.user_id),
            state.former.get(&due.user_id),
        ) {
            (Some(member), _) => (member.visible_from, state.head),
            (None, Some(former)) if planted::is_on(Bug::RemovedGoesOn) => {
                (former.visible_from, state.head)
            }
            (None, Some(former)) => (former.visible_from, former.end.min(state.head)),
            (None, None) => return Ok(None),
        };
        let before_first = Seq::new(visible_from.get().saturating_sub(1));
        let after = due.after.unwrap_or(before_first).max(before_first);
        if let Some(read) = &round.last
            && (read.after, read.head) == (after, head)
            && read.is_seen_alike(visible_from)
            && !read.news.is_by(due.user_id)
        {
            return Ok(Some((visible_from, Rc::clone(&read.news))));
        }
        let conversation = summary(state);
        let events = self.store().events_after(
            conversation.conversation_id,
            Viewer {
                user_id: None,
                visible_from,
            },
            after,
            DELIVERY_EVENTS,
            DELIVERY_BYTES,
        )?;
        let news = Rc::new(News {
            conversation,
            events: events
                .into_iter()
                .take_while(|event| event.seq() <= head)
                .map(|event| event.seen_by(due.user_id))
                .collect(),
        });
        // A sender's own show what no one else may see.
        if !news.is_by(due.user_id) {
            round.last = Some(Read {
                after,
                head,
                visible_from,
                news: Rc::clone(&news),
            });
        }
        Ok(Some((visible_from, news)))
    }

    /// A member's user object lacks an event that its user knows of: its lane does not rest.
    ///
    /// # Errors
    /// `not_found` for those who are not members, `invalid_request` where there is no such event.
    pub fn deliver_now(
        &mut self,
        call: DeliverNow,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let (state, _) = self.as_member(call.user_id)?;
        if call.up_to_seq > state.head {
            return Err(Problem::beyond_newest("up_to_seq", state.head).into());
        }
        let lanes = &mut state.lanes;
        if !lanes.hurry(call.user_id, call.has, call.up_to_seq, now) {
            return Ok(Effects::default());
        }
        Ok(Effects {
            deliver: true,
            alarm: self.arm(now),
            ..Effects::default()
        })
    }

    /// The member's user object has answered a delivery: what it has, how far its user has come,
    /// and whether a device is connected.
    ///
    /// # Errors
    /// When storage fails: the user's position is then learned another time.
    pub fn delivered(
        &mut self,
        user_id: UserId,
        reply: &Delivered,
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        if let Some(state) = &mut self.state {
            state.lanes.taken(user_id, reply.head_seq, now);
        }
        let effects = self.advance(user_id, &reply.position, now)?;
        Ok(Effects {
            marks: true,
            ..effects
        })
    }

    /// The member's user object did not take the delivery.
    pub fn delivery_failed(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(state) = &mut self.state {
            state.lanes.failed(user_id, now);
        }
    }

    /// The member's user object says that there is no such user: there is no one to deliver to.
    pub fn undeliverable(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(state) = &mut self.state {
            let head = state.head;
            state.lanes.taken(user_id, head, now);
        }
    }

    /// How many there are to deliver to, as far as is known.
    #[must_use]
    pub fn lane_count(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.lanes.count())
    }

    /// When to ask for the next delivery, where none is due now but one will be.
    #[must_use]
    pub fn next_delivery_at(&self) -> Option<Timestamp> {
        self.state
            .as_ref()
            .and_then(|state| state.lanes.next_wait())
    }

    /// The alarm is going off. Until it has been answered, something may be left. Where memory was
    /// made under the belief that no alarm was set (one that is just going off does not show), it
    /// is wrong about what has been delivered.
    pub(super) fn begin_alarm(&mut self, now: Timestamp) {
        if self.alarm_at.is_none() {
            self.state = None;
            self.is_alarm_near = true;
        }
        self.alarm_at = Some(now);
    }

    /// The alarm has gone off: writes down how far the deliveries and the members have come, and
    /// sets it again where something is left to deliver.
    ///
    /// # Errors
    /// When storage fails: the runtime then lets the alarm go off again.
    pub fn on_alarm(&mut self, now: Timestamp) -> Result<Effects, SqlError> {
        self.begin_alarm(now);
        let Some(state) = self.load()? else {
            self.alarm_at = None;
            return Ok(Effects::default());
        };
        let dry = state.lanes.is_dry();
        let progress = state.lanes.progress();
        let is_step = match (state.saved.delivered, progress.delivered) {
            (Some(before), Some(after)) => after.distance_from(before) >= PROGRESS_STEP,
            (before, after) => before != after,
        };
        // An alarm that is left for a timer alone must not seem to be there for deliveries.
        let timer_at = state.timer_at;
        let waits_for_timer = dry && timer_at.is_some();
        let has_progress = is_step
            || progress.lagging != state.saved.lagging
            || waits_for_timer && progress.delivered != state.saved.delivered;
        let places = state.positions.unwritten();
        let ended = state.lanes.ended();
        let has_ended = state.has_ended;
        if has_progress || !places.is_empty() || !ended.is_empty() {
            let store = self.store();
            transact(&self.sql, || {
                if has_progress {
                    store.save_progress(progress.delivered, &progress.lagging)?;
                }
                for (user_id, place) in &places {
                    if planted::is_on(Bug::NotWrittenBehind) {
                        continue;
                    }
                    store.save_place(user_id, place)?;
                }
                for user_id in &ended {
                    store.forget_former(user_id)?;
                }
                Ok::<_, SqlError>(())
            })?;
            if let Some(state) = &mut self.state {
                state.positions.written();
                state.lanes.forget_ended(&ended);
                for user_id in &ended {
                    state.former.remove(user_id);
                }
                if has_progress {
                    state.saved = progress;
                }
            }
        }
        if dry && has_ended {
            let left = self.erase(now)?;
            self.alarm_at = left.map(|wait| now + wait);
            return Ok(Effects {
                alarm: self.alarm_at,
                ..Effects::default()
            });
        }
        let next = (!dry).then(|| {
            let next = self.next_delivery_at().unwrap_or(now);
            delivery_alarm(next.max(now + RECOVERY_DELAY))
        });
        let timer = timer_at.map(|at| at.max(now));
        self.alarm_at = next.into_iter().chain(timer).min();
        self.arm_for_archive(now, dry)?;
        Ok(Effects {
            alarm: self.alarm_at,
            deliver: !dry,
            ..Effects::default()
        })
    }
}

fn summary(state: &State) -> ConversationSummary {
    let meta = &state.meta;
    ConversationSummary {
        conversation_id: meta.conversation_id,
        kind: meta.kind,
        name: meta.name.clone(),
        avatar_url: meta.avatar_url.clone(),
        direct_members: match meta.kind {
            ConversationType::Direct => state.members.keys().copied().collect(),
            ConversationType::Group => Vec::new(),
        },
        member_count: u32::try_from(state.members.len()).unwrap_or(u32::MAX),
        created_at: meta.created_at,
    }
}
