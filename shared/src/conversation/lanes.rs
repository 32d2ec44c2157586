//! Lanes: how events reach the members' user objects.
//!
//! Each member has a lane with at most one delivery in flight, which carries every event since
//! the last one taken (bounded), so that a burst costs each member a few deliveries, not one a
//! message. This module only keeps the books: it says what is due, and is told what came of it.
//!
//! What always holds:
//! - A member is given events in order and without gaps: what is due begins after what was taken.
//! - Nothing is taken until the user object has said so.
//! - One who is no longer a member is given everything up to the event that says so, and nothing
//!   after it; then its lane is gone.
//! - Positions here are memory. What survives is one number for all members, a row for each that
//!   lags, and the alarm: as long as an alarm is set, something may be left to deliver; when
//!   there is none, everything up to the head has been taken (see `service::on_alarm`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::UserId;
use crate::planted::{self, Bug};
use crate::protocol::seq::Seq;
use crate::time::{Timestamp, pause_after};

/// How long a lane rests after it was served, so that what comes in a burst travels together.
/// The first event after a pause is due at once.
pub const PACE: Duration = Duration::from_millis(25);
/// The longest rest of a lane to a member who is not known to listen. While events keep coming,
/// each delivery to such a member rests twice as long as the one before, so that a stream of
/// messages costs those who are away about one delivery in two seconds.
pub const LONGEST_PACE: Duration = Duration::from_secs(2);
/// By this much, for each member, a lane rests at least: an object makes about a thousand
/// deliveries a second, and a large group that is written to without a pause leaves time for the
/// messages themselves.
const PACE_PER_MEMBER: Duration = Duration::from_millis(1);
/// The wait after a first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long a member counts as listening after it was last heard of.
const LISTENS: Duration = Duration::from_secs(15 * 60);
/// One in so many deliveries goes to a member who is not known to listen, however many do.
const FAIR_SHARE: u32 = 4;
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
    /// Deliveries in a row that came due while the lane was resting.
    streak: u32,
    failures: u32,
    /// When the member's devices last showed that they are there.
    heard_at: Option<Timestamp>,
    /// The last event for one who is no longer a member.
    end: Option<Seq>,
    /// An event that is waited for: until it is taken, the lane does not rest.
    wanted: Seq,
}

impl Lane {
    const fn new(taken: Option<Seq>) -> Self {
        Self {
            taken,
            state: LaneState::Dry,
            rests_until: Timestamp::from_millis(0),
            streak: 0,
            failures: 0,
            heard_at: None,
            end: None,
            wanted: Seq::ZERO,
        }
    }

    /// The last event that the lane is to bring, where the newest is `head`.
    fn last(&self, head: Seq) -> Seq {
        self.end
            .filter(|_| !planted::is_on(Bug::RemovedGoesOn))
            .map_or(head, |end| end.min(head))
    }

    fn listens(&self, now: Timestamp) -> bool {
        self.heard_at.is_some_and(|at| now.since(at) < LISTENS)
    }

    /// How long it rests after a delivery to `user_id`, where it rests at least `least`.
    fn pace(&self, user_id: UserId, least: Duration, now: Timestamp) -> Duration {
        if self.listens(now) || self.streak == 0 {
            return least;
        }
        let longest = LONGEST_PACE.max(least);
        let pace = pause_after(self.streak, least, longest);
        // Up to a quarter less, by the member: lanes that were served together come apart, and do
        // not keep the object from all else at one and the same moment.
        let [.., spread] = user_id.as_bytes();
        pace - pace * u32::from(*spread) / 1024
    }
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
    /// What is due now to members who listen, and to the others.
    listening: VecDeque<UserId>,
    queue: VecDeque<UserId>,
    /// Deliveries given out, to keep the share of the others.
    given: u32,
    waiting: BTreeSet<(Timestamp, UserId)>,
    /// Former members who have taken their last event: they have no lane any more.
    ended: BTreeSet<UserId>,
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
            lanes.lanes.insert(user_id, Lane::new(taken));
        }
        lanes.queue_all(Timestamp::from_millis(0));
        lanes
    }

    /// One has come in. What a former membership left to deliver is no longer.
    pub fn add(&mut self, user_id: UserId) {
        let lane = self.lanes.entry(user_id).or_insert(Lane::new(None));
        lane.end = None;
        self.ended.remove(&user_id);
    }

    /// One is no longer a member: `end` is the last event that it gets.
    pub fn end(&mut self, user_id: UserId, end: Seq) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            lane.end = Some(end);
        }
    }

    /// One who was no longer a member when memory was made, and has taken up to `taken`.
    pub fn add_former(&mut self, user_id: UserId, taken: Option<Seq>, end: Seq) {
        if taken.is_some_and(|taken| taken >= end) {
            self.ended.insert(user_id);
            return;
        }
        let mut lane = Lane::new(taken);
        lane.end = Some(end);
        self.lanes.insert(user_id, lane);
        self.enqueue(user_id, Timestamp::from_millis(0));
    }

    /// Those who have taken their last event.
    #[must_use]
    pub fn ended(&self) -> Vec<UserId> {
        self.ended.iter().copied().collect()
    }

    /// Those are forgotten.
    pub fn forget_ended(&mut self, forgotten: &[UserId]) {
        for user_id in forgotten {
            self.ended.remove(user_id);
        }
    }

    /// A new event is the head: every lane has something to deliver.
    pub fn advance(&mut self, head: Seq, now: Timestamp) {
        self.head = head;
        self.queue_all(now);
    }

    fn queue_all(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        for (user_id, lane) in &mut self.lanes {
            let last = lane.last(self.head);
            let behind = lane.taken.is_none_or(|taken| taken < last);
            if lane.state != LaneState::Dry || !behind {
                continue;
            }
            if lane.rests_until > now {
                lane.state = LaneState::Waiting(lane.rests_until);
                self.waiting.insert((lane.rests_until, *user_id));
            } else {
                lane.streak = 0;
                due.push(*user_id);
            }
        }
        for user_id in due {
            self.enqueue(user_id, now);
        }
    }

    fn enqueue(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            lane.state = LaneState::Queued;
            if lane.listens(now) {
                self.listening.push_back(user_id);
            } else {
                self.queue.push_back(user_id);
            }
        }
    }

    /// A member's devices are there: what is due to it goes before what is due to those of whom
    /// that is not known, whose devices are shown it when they come.
    pub fn heard(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            lane.heard_at = Some(now);
        }
    }

    /// A member's user object has events up to `has`, and waits for the one at `wanted`: what is
    /// due to it goes before all else. Says whether anything is.
    pub fn hurry(
        &mut self,
        user_id: UserId,
        has: Option<Seq>,
        wanted: Seq,
        now: Timestamp,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(&user_id) else {
            return false;
        };
        lane.heard_at = Some(now);
        lane.wanted = wanted;
        match lane.state {
            // It does when the delivery under way has been answered.
            LaneState::InFlight => return true,
            LaneState::Dry if has.is_some_and(|has| has >= lane.last(self.head)) => return false,
            // It was thought to have more than it has.
            LaneState::Dry => lane.taken = has,
            LaneState::Waiting(at) => {
                self.waiting.remove(&(at, user_id));
            }
            LaneState::Queued => {}
        }
        lane.state = LaneState::Queued;
        self.listening.push_front(user_id);
        true
    }

    fn next_queued(&mut self) -> Option<UserId> {
        self.given = self.given.wrapping_add(1);
        if self.given.is_multiple_of(FAIR_SHARE) {
            self.queue
                .pop_front()
                .or_else(|| self.listening.pop_front())
        } else {
            self.listening
                .pop_front()
                .or_else(|| self.queue.pop_front())
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
                lane.streak = lane.streak.saturating_add(1);
            }
            self.enqueue(user_id, now);
        }
        loop {
            let user_id = self.next_queued()?;
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

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// When the next delivery is due that is not due yet, if any waits.
    #[must_use]
    pub fn next_wait(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The member's user object has everything up to `taken`. It may be further back than was
    /// thought: then the lane goes back with it.
    pub fn taken(&mut self, user_id: UserId, taken: Seq, now: Timestamp) {
        let members = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let least = PACE.max(PACE_PER_MEMBER.saturating_mul(members));
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            let head = lane.last(self.head);
            let moved = lane.taken != Some(taken);
            lane.taken = Some(taken.min(head));
            // A user object that takes nothing of what it is given is not asked in a rush.
            let pause = if moved && lane.taken < Some(lane.wanted) {
                Duration::ZERO
            } else if moved {
                lane.pace(user_id, least, now)
            } else {
                FIRST_RETRY
            };
            lane.rests_until = now + pause;
            if taken >= head && lane.end.is_some() {
                self.lanes.remove(&user_id);
                self.ended.insert(user_id);
            } else if taken >= head {
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
            let pause = pause_after(lane.failures, FIRST_RETRY, LONGEST_RETRY);
            lane.failures = lane.failures.saturating_add(1);
            self.wait(user_id, now + pause);
        }
    }

    /// A delivery that was in flight has not left: it is due.
    pub fn go_on(&mut self, user_id: UserId, now: Timestamp) {
        if let Some(lane) = self.lanes.get(&user_id)
            && lane.state == LaneState::InFlight
        {
            self.enqueue(user_id, now);
        }
    }

    fn wait(&mut self, user_id: UserId, until: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&user_id) {
            lane.state = LaneState::Waiting(until);
            if lane.failures > 0 && planted::is_on(Bug::LaneNeverWakes) {
                return;
            }
            self.waiting.insert((until, user_id));
        }
    }

    /// Whether the member's user object may be asked about the event `seq`: it has taken it, or
    /// does not answer, which it can then say itself.
    #[must_use]
    pub fn may_know(&self, user_id: UserId, seq: Seq) -> bool {
        let does_not_answer = |lane: &Lane| lane.failures > 0;
        self.lanes.get(&user_id).is_some_and(does_not_answer) || self.knows(user_id, seq)
    }

    /// Whether the member's user object has taken the event `seq`.
    #[must_use]
    pub fn knows(&self, user_id: UserId, seq: Seq) -> bool {
        self.lanes
            .get(&user_id)
            .is_none_or(|lane| lane.taken.is_some_and(|taken| taken >= seq))
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
mod tests;
