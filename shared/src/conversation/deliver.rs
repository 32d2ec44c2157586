//! Handing events to the members' user objects: what is in each delivery, and how far all of
//! them have come. When a delivery is due is the business of [`super::lanes`].

use super::lanes::Due;
use super::service::{ConversationService, Effects, RECOVERY_DELAY, State};
use crate::ids::UserId;
use crate::protocol::conversation::ConversationType;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;
use crate::user::call::{ConversationSummary, Deliver};

/// After how many events delivered to all the position is written down. Going on from an older
/// one repeats at most this many events, which user objects ignore.
const PROGRESS_STEP: u64 = 64;
/// Events in one delivery.
const DELIVERY_EVENTS: u32 = 200;
/// Bytes of stored bodies in one delivery.
const DELIVERY_BYTES: usize = 512 * 1024;

/// A delivery to a member's user object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub user_id: UserId,
    /// The request.
    pub call: Deliver,
}

impl<S: Sql> ConversationService<S> {
    /// Takes the next delivery that is due, if there is one. The runtime carries it out and
    /// says what came of it with [`Self::delivered`] or [`Self::delivery_failed`].
    ///
    /// # Errors
    /// When storage fails; the lane then waits as after a failed delivery.
    pub fn next_delivery(&mut self, now: Timestamp) -> Result<Option<Delivery>, SqlError> {
        let Some(state) = self.load()? else {
            return Ok(None);
        };
        let Some(due) = state.lanes.next_due(now) else {
            return Ok(None);
        };
        let conversation = summary(state);
        let delivery = self.read_delivery(due, conversation);
        if delivery.is_err() {
            self.delivery_failed(due.user_id, now);
        }
        delivery.map(Some)
    }

    fn read_delivery(
        &self,
        due: Due,
        conversation: ConversationSummary,
    ) -> Result<Delivery, SqlError> {
        let visible_from = self
            .state
            .as_ref()
            .and_then(|state| state.members.get(&due.user_id))
            .map_or(1, |member| member.visible_from.get());
        let before_first = Seq::new(visible_from.saturating_sub(1));
        let events = self
            .store()
            .events_after(
                conversation.conversation_id,
                due.after.unwrap_or(before_first).max(before_first),
                DELIVERY_EVENTS,
                DELIVERY_BYTES,
            )?
            .into_iter()
            .map(|event| event.seen_by(due.user_id))
            .collect();
        Ok(Delivery {
            user_id: due.user_id,
            call: Deliver {
                user_id: due.user_id,
                conversation,
                events,
                attached_devices: Vec::new(),
            },
        })
    }

    /// The member's user object has everything up to `head_seq`.
    pub fn delivered(&mut self, user_id: UserId, head_seq: Seq, now: Timestamp) {
        if let Some(state) = &mut self.state {
            state.lanes.taken(user_id, head_seq, now);
        }
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
            state.lanes.taken(user_id, state.head, now);
        }
    }

    /// When to ask for the next delivery, where none is due now but one will be.
    #[must_use]
    pub fn next_delivery_at(&self) -> Option<Timestamp> {
        self.state
            .as_ref()
            .and_then(|state| state.lanes.next_wait())
    }

    /// The alarm has gone off: writes down how far the deliveries have come, and sets it again
    /// where something is left.
    ///
    /// # Errors
    /// When storage fails: the runtime then lets the alarm go off again.
    pub fn on_alarm(&mut self, now: Timestamp) -> Result<Effects, SqlError> {
        // Until this has been answered, something may be left. Where memory was made under the
        // belief that no alarm was set (one that is just going off does not show), it is wrong
        // about what has been delivered.
        if !self.alarm_set {
            self.state = None;
        }
        self.alarm_set = true;
        let Some(state) = self.load()? else {
            self.alarm_set = false;
            return Ok(Effects::default());
        };
        let dry = state.lanes.is_dry();
        let progress = state.lanes.progress();
        let is_step = match (state.saved.delivered, progress.delivered) {
            (Some(before), Some(after)) => after.distance_from(before) >= PROGRESS_STEP,
            (before, after) => before != after,
        };
        if is_step || progress.lagging != state.saved.lagging {
            let store = self.store();
            transact(&self.sql, || {
                store.save_progress(progress.delivered, &progress.lagging)
            })?;
            if let Some(state) = &mut self.state {
                state.saved = progress;
            }
        }
        if dry {
            self.alarm_set = false;
            return Ok(Effects::default());
        }
        let next = self.next_delivery_at().unwrap_or(now);
        Ok(Effects {
            alarm: Some(next.max(now + RECOVERY_DELAY)),
            deliver: true,
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
