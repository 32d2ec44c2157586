//! Lanes: how events reach the members' user objects.
//!
//! Each member has a lane with at most one delivery in flight, which carries every event since
//! the last one taken (bounded), so that a burst costs each member a few deliveries, not one a
//! message. This module only keeps the books: it says what is due, and is told what came of it.
//!
//! What always holds:
//! - A member is given events in order and without gaps: what is due begins after what was taken.
//! - Nothing is taken until the user object has said so.
//! - Positions here are memory. What survives is one number for all members, a row for each that
//!   lags, and the alarm: as long as an alarm is set, something may be left to deliver; when
//!   there is none, everything up to the head has been taken (see `service::on_alarm`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::UserId;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// How long a lane rests after it was served, so that what comes in a burst travels together.
/// The first event after a pause is due at once.
pub const PACE: Duration = Duration::from_millis(25);
/// The wait after a first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// One member's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    /// The last event taken; none while the member has not been told of the conversation.
    taken: Option<Seq>,
    state: LaneState,
    /// Not served again before this.
    rests_until: Timestamp,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneState {
    /// Nothing is left to deliver.
    Dry,
    /// Due now, in the queue.
    Queued,
    /// Due at a later time, to travel with what comes until then, or after a failure.
    Waiting(Timestamp),
    /// A delivery is under way.
    InFlight,
}

/// What a member has to be given next: everything after `after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whom.
    pub user_id: UserId,
    /// The last event that the member has; none where it does not know of the conversation.
    pub after: Option<Seq>,
}

/// The lanes of all members.
#[derive(Debug, Clone, Default)]
pub struct Lanes {
    lanes: BTreeMap<UserId, Lane>,
    queue: VecDeque<UserId>,
    waiting: BTreeSet<(Timestamp, UserId)>,
    head: Seq,
}

impl Lanes {
    /// Lanes for members who have taken what is said of each, in a conversation whose newest
    /// event is `head`.
    pub fn new(head: Seq, members: impl IntoIterator<Item = (UserId, Option<Seq>)>) -> Self {
        let mut lanes = Self {
            head,
            ..Self::default()
        };
        for (user_id, taken) in members {
            let lane = Lane {
                taken,
                state: LaneState::Dry,
                rests_until: Timestamp::from_millis(0),
                failures: 0,
            };
            lanes.lanes.insert(user_id, lane);
        }
        lanes.queue_all(Timestamp::from_millis(0));
        lanes
    }

    /// A new event is the head: every lane has something to deliver.
    pub fn advance(&mut self, head: Seq, now: Timestamp) {
        self.head = head;
        self.queue_all(now);
    }

    fn queue_all(&mut self, now: Timestamp) {
        for (user_id, lane) in &mut self.lanes {
            let behind = lane.taken.is_none_or(|taken| taken < self.head);
            if lane.state != LaneState::Dry || !behind {
                continue;
            }
            if lane.rests_until > now {
                lane.state = LaneState::Waiting(lane.rests_until);
                self.waiting.insert((lane.rests_until, *user_id));
            } else {
                lane.state = LaneState::Queued;
                self.queue.push_back(*user_id);
            }
        }
    }

    /// Takes the next delivery that is due; it is then in flight.
    pub fn next_due(&mut self, now: Timestamp) -> Option<Due> {
        while let Some((at, user_id)) = self.waiting.first().copied() {
            if at > now {
                break;
            }
            self.waiting.pop_first();
            if let Some(lane) = self.lanes.get_mut(&user_id) {
                lane.state = LaneState::Queued;
                self.queue.push_back(user_id);
            }
        }
        loop {
            let user_id = self.queue.pop_front()?;
            if let Some(lane) = self.lanes.get_mut(&user_id)
                && lane.state == LaneState::Queued
            {
                lane.state = LaneState::InFlight;
                return Some(Due {
                    user_id,
                    after: lane.taken,
                });
            }
        }
    }

    /// When the next delivery is due that is not due yet, if any waits.
    #[must_use]
    pub fn next_wait(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The member's user object has everything up to `taken`. It may be further back than was
    /// thought: then the lane goes back with it.
    pub fn taken(&mut self, user_id: UserId, taken: Seq, now: Timestamp) {
        let head = self.head;
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            let moved = lane.taken != Some(taken);
            lane.taken = Some(taken.min(head));
            // A user object that takes nothing of what it is given is not asked in a rush.
            let pause = if moved { PACE } else { FIRST_RETRY };
            lane.rests_until = now + pause;
            if taken >= head {
                lane.state = LaneState::Dry;
                lane.failures = 0;
            } else {
                self.wait(user_id, now + pause);
            }
        }
    }

    /// The delivery failed; it is tried again later, with everything that has come meanwhile.
    pub fn failed(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            let pause = FIRST_RETRY
                .saturating_mul(1 << lane.failures.min(10))
                .min(LONGEST_RETRY);
            lane.failures = lane.failures.saturating_add(1);
            self.wait(user_id, now + pause);
        }
    }

    fn wait(&mut self, user_id: UserId, until: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            lane.state = LaneState::Waiting(until);
            self.waiting.insert((until, user_id));
        }
    }

    /// Whether the member's user object may be asked about the event `seq`: it has taken it, or
    /// does not answer, which it can then say itself.
    #[must_use]
    pub fn may_know(&self, user_id: UserId, seq: Seq) -> bool {
        self.lanes
            .get(&user_id)
            .is_none_or(|lane| lane.failures > 0 || lane.taken.is_some_and(|taken| taken >= seq))
    }

    /// Whether everyone has taken everything.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.lanes.values().all(|lane| lane.state == LaneState::Dry)
    }

    /// The progress to keep: up to where all but some have taken everything, and those some.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let lagging: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.state != LaneState::Dry)
            .map(|(user_id, lane)| (*user_id, lane.taken))
            .collect();
        if lagging.len() * 2 <= self.lanes.len() {
            Progress {
                delivered: Some(self.head),
                lagging,
            }
        } else {
            // Most lag: one number for all is cheaper than a row for each.
            let delivered = self.lanes.values().map(|lane| lane.taken).min().flatten();
            Progress {
                delivered,
                lagging: Vec::new(),
            }
        }
    }
}

/// What is kept of the lanes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everyone but the lagging has everything up to here; none where they have nothing.
    pub delivered: Option<Seq>,
    /// Who has less, and how much.
    pub lagging: Vec<(UserId, Option<Seq>)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn users(count: usize) -> Vec<UserId> {
        let entropy = SeededEntropy::new(5);
        (0..count).map(|_| UserId::random(&entropy)).collect()
    }

    fn drain(lanes: &mut Lanes, now: Timestamp) -> Vec<Due> {
        std::iter::from_fn(|| lanes.next_due(now)).collect()
    }

    const T0: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_new_conversation_owes_everyone_a_delivery_even_without_events() {
        let members = users(2);
        let mut lanes = Lanes::new(Seq::ZERO, members.iter().map(|id| (*id, None)));
        assert!(!lanes.is_dry());
        let due = drain(&mut lanes, T0);
        assert_eq!(due.len(), 2);
        assert!(due.iter().all(|due| due.after.is_none()));
        for id in members {
            lanes.taken(id, Seq::ZERO, T0);
        }
        assert!(lanes.is_dry());
    }

    #[test]
    fn one_delivery_is_in_flight_and_what_comes_meanwhile_travels_together() {
        let id = users(1)[0];
        let mut lanes = Lanes::new(Seq::new(1), [(id, Some(Seq::ZERO))]);
        assert_eq!(drain(&mut lanes, T0).len(), 1);
        for seq in 2..=100 {
            lanes.advance(Seq::new(seq), T0);
            assert_eq!(drain(&mut lanes, T0), []);
        }
        lanes.taken(id, Seq::new(1), T0);
        assert_eq!(drain(&mut lanes, T0), [], "paced");
        assert_eq!(lanes.next_wait(), Some(T0 + PACE));
        let due = drain(&mut lanes, T0 + PACE);
        assert_eq!(
            due,
            [Due {
                user_id: id,
                after: Some(Seq::new(1))
            }]
        );
        lanes.taken(id, Seq::new(100), T0 + PACE);
        assert!(lanes.is_dry());
        lanes.advance(Seq::new(101), T0 + PACE);
        assert_eq!(
            drain(&mut lanes, T0 + PACE),
            [],
            "a lane rests after it was served"
        );
        assert_eq!(drain(&mut lanes, T0 + PACE * 2).len(), 1);
        lanes.taken(id, Seq::new(101), T0 + PACE * 2);
        lanes.advance(Seq::new(102), T0 + PACE * 9);
        assert_eq!(
            drain(&mut lanes, T0 + PACE * 9).len(),
            1,
            "idle lanes are served at once"
        );
    }

    #[test]
    fn a_lane_that_fails_waits_longer_each_time_and_others_go_on() {
        let members = users(2);
        let (down, up) = (members[0], members[1]);
        let mut lanes = Lanes::new(
            Seq::new(1),
            [(down, Some(Seq::ZERO)), (up, Some(Seq::ZERO))],
        );
        let mut now = T0;
        drain(&mut lanes, now);
        lanes.taken(up, Seq::new(1), now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            lanes.failed(down, now);
            let next = lanes.next_wait().unwrap();
            waits.push(next.since(now).as_secs());
            now = next;
            assert_eq!(drain(&mut lanes, now).len(), 1);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        lanes.advance(Seq::new(2), now);
        assert_eq!(
            drain(&mut lanes, now),
            [Due {
                user_id: up,
                after: Some(Seq::new(1))
            }]
        );
        lanes.taken(down, Seq::new(2), now);
        lanes.taken(up, Seq::new(2), now);
        assert!(lanes.is_dry());
    }

    #[test]
    fn a_user_object_that_has_less_than_was_thought_is_given_it_again() {
        let id = users(1)[0];
        let mut lanes = Lanes::new(Seq::new(9), [(id, Some(Seq::new(8)))]);
        drain(&mut lanes, T0);
        lanes.taken(id, Seq::new(3), T0);
        let due = drain(&mut lanes, T0 + PACE);
        assert_eq!(
            due,
            [Due {
                user_id: id,
                after: Some(Seq::new(3))
            }]
        );
    }

    #[test]
    fn progress_names_the_few_that_lag_or_the_one_number_for_all() {
        let members = users(5);
        let mut lanes = Lanes::new(
            Seq::new(7),
            members.iter().map(|id| (*id, Some(Seq::new(2)))),
        );
        assert_eq!(
            lanes.progress(),
            Progress {
                delivered: Some(Seq::new(2)),
                lagging: Vec::new()
            }
        );
        drain(&mut lanes, T0);
        for id in &members[..4] {
            lanes.taken(*id, Seq::new(7), T0);
        }
        assert_eq!(
            lanes.progress(),
            Progress {
                delivered: Some(Seq::new(7)),
                lagging: vec![(members[4], Some(Seq::new(2)))]
            }
        );
        lanes.taken(members[4], Seq::new(7), T0);
        assert_eq!(
            lanes.progress(),
            Progress {
                delivered: Some(Seq::new(7)),
                lagging: Vec::new()
            }
        );
    }
}
