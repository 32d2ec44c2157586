//! How far each member has come: what its devices have, and what it has read.
//!
//! What always holds:
//! - A position never goes backwards; what is read has been delivered; none lies beyond the head.
//! - Of each member only the newest position and its time are kept. So the time at which a member
//!   is said to have a message is that of the newest position that covers it, which may be later
//!   than that of the first.
//! - Positions are written behind, by the alarm, which is set to go off before an idle object
//!   loses its memory. What a crash loses is learned again from the member's user object, which
//!   tells its position with every delivery that it takes: while that alarm is set, a memory that
//!   is made anew gives the last event again to each who is not known to have read it.

use std::collections::{BTreeMap, BTreeSet};

use super::call::MemberPosition;
use crate::ids::UserId;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// A position, and when the conversation learned of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The last event.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
}

impl Reached {
    const NOTHING: Self = Self {
        seq: Seq::ZERO,
        at: Timestamp::from_millis(0),
    };

    fn advanced(self, seq: Seq, now: Timestamp) -> Self {
        if seq > self.seq {
            Self { seq, at: now }
        } else {
            self
        }
    }
}

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What one of its devices has acknowledged.
    pub delivered: Reached,
    /// What it has read.
    pub read: Reached,
    /// Whether it sends, and gets, read receipts.
    pub read_receipts: bool,
}

impl Default for Place {
    /// The place of a member of whom nothing is known yet.
    fn default() -> Self {
        Self {
            delivered: Reached::NOTHING,
            read: Reached::NOTHING,
            read_receipts: true,
        }
    }
}

impl Place {
    /// The place once `position` is known, in a conversation whose newest event is `head`.
    #[must_use]
    pub fn advanced(self, position: &MemberPosition, head: Seq, now: Timestamp) -> Self {
        let read = position.read_seq.min(head);
        let delivered = position.delivered_seq.min(head).max(read);
        Self {
            delivered: self.delivered.advanced(delivered, now),
            read: self.read.advanced(read, now),
            read_receipts: position.read_receipts,
        }
    }
}

/// The places of all members, and which of them are yet to be written.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    places: BTreeMap<UserId, Place>,
    unwritten: BTreeSet<UserId>,
}

impl Positions {
    /// What storage holds.
    #[must_use]
    pub const fn new(places: BTreeMap<UserId, Place>) -> Self {
        Self {
            places,
            unwritten: BTreeSet::new(),
        }
    }

    /// How far a member has come.
    #[must_use]
    pub fn of(&self, user_id: UserId) -> Place {
        self.places.get(&user_id).copied().unwrap_or_default()
    }

    /// A member has come this far; to be written by the next alarm.
    pub fn set(&mut self, user_id: UserId, place: Place) {
        self.places.insert(user_id, place);
        self.unwritten.insert(user_id);
    }

    /// One who is no longer a member has come nowhere.
    pub fn forget(&mut self, user_id: UserId) {
        self.places.remove(&user_id);
        self.unwritten.remove(&user_id);
    }

    /// What is yet to be written.
    #[must_use]
    pub fn unwritten(&self) -> Vec<(UserId, Place)> {
        self.unwritten
            .iter()
            .map(|id| (*id, self.of(*id)))
            .collect()
    }

    /// All that was yet to be written has been.
    pub fn written(&mut self) {
        self.unwritten.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(delivered: u64, read: u64) -> MemberPosition {
        MemberPosition {
            delivered_seq: Seq::new(delivered),
            read_seq: Seq::new(read),
            read_receipts: true,
        }
    }

    #[test]
    fn a_place_never_goes_back_and_what_is_read_was_delivered() {
        let at = Timestamp::from_millis;
        let head = Seq::new(10);
        let place = Place::default().advanced(&position(4, 6), head, at(1));
        assert_eq!(
            (place.delivered.seq, place.read.seq),
            (Seq::new(6), Seq::new(6))
        );
        let later = place.advanced(&position(2, 3), head, at(2));
        assert_eq!(later, place, "neither the position nor its time");
        let beyond = place.advanced(&position(99, 7), head, at(3));
        assert_eq!(
            beyond.delivered,
            Reached {
                seq: head,
                at: at(3)
            }
        );
        assert_eq!(
            beyond.read,
            Reached {
                seq: Seq::new(7),
                at: at(3)
            }
        );
    }
}
