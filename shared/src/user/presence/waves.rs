//! Waves: questions to many users, a bounded number at a time.
//!
//! This only keeps the books: it says who is due, and is told what came of it. What always holds:
//! at most [`WAVE`] questions are under way, and at most one to each user; whatever is noted for a
//! user meanwhile comes after it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::UserId;
use crate::time::Timestamp;
use crate::user::effect::{Effect, Effects};

/// Questions that may be under way at the same time.
pub(super) const WAVE: usize = 64;
/// The wait before a question that failed is put again.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How often a question is put before it is given up.
pub(super) const TRIES: u32 = 3;

/// What is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Whether it has to be said even to one who may no longer know.
    pub must: bool,
    /// How often it has failed.
    tries: u32,
}

impl Due {
    const fn and(self, other: Self) -> Self {
        Self {
            must: self.must || other.must,
            tries: if self.tries < other.tries {
                self.tries
            } else {
                other.tries
            },
        }
    }
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnderWay {
    due: Due,
    again: Option<Due>,
    /// Whether something newer than its answer has come meanwhile.
    pub overtaken: bool,
}

/// The questions of one kind.
#[derive(Debug)]
pub(super) struct Waves {
    due: BTreeMap<UserId, Due>,
    under_way: BTreeMap<UserId, UnderWay>,
    resting: BTreeMap<UserId, Due>,
    rest_ends: Option<Timestamp>,
}

impl Waves {
    /// No question.
    pub const fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            under_way: BTreeMap::new(),
            resting: BTreeMap::new(),
            rest_ends: None,
        }
    }

    /// A question to `user` is due: at once, or after the one that is under way.
    pub fn add(&mut self, user: UserId, must: bool) {
        let due = Due { must, tries: 0 };
        let due = self.resting.remove(&user).map_or(due, |old| old.and(due));
        if let Some(under_way) = self.under_way.get_mut(&user) {
            under_way.again = Some(under_way.again.map_or(due, |old| old.and(due)));
        } else {
            let known = self.due.entry(user).or_insert(due);
            *known = known.and(due);
        }
    }

    /// Nothing more is due to `user`.
    pub fn remove(&mut self, user: UserId) {
        self.due.remove(&user);
        self.resting.remove(&user);
        if let Some(under_way) = self.under_way.get_mut(&user) {
            under_way.again = None;
        }
    }

    /// Who is due, in some order.
    pub fn due(&self) -> impl Iterator<Item = (UserId, Due)> + '_ {
        self.due.iter().map(|(user, due)| (*user, *due))
    }

    /// How many may be asked now.
    pub fn room(&self) -> usize {
        WAVE.saturating_sub(self.under_way.len())
    }

    /// The question to `user` is put.
    pub fn begin(&mut self, user: UserId) {
        let due = self.due.remove(&user).unwrap_or_default();
        let under_way = UnderWay {
            due,
            again: None,
            overtaken: false,
        };
        self.under_way.insert(user, under_way);
    }

    /// Something newer than the answer to a question to `user` that may be under way has come.
    pub fn overtake(&mut self, user: UserId) {
        if let Some(under_way) = self.under_way.get_mut(&user) {
            under_way.overtaken = true;
        }
    }

    /// The question to `user` is answered, or has failed.
    pub fn end(&mut self, user: UserId) -> Option<UnderWay> {
        let ended = self.under_way.remove(&user)?;
        if let Some(again) = ended.again {
            self.due.insert(user, again);
        }
        Some(ended)
    }

    /// The question that has `ended` failed: it is put again after a rest, unless another is due anyway.
    /// Says whether it was given up.
    #[must_use]
    pub fn retry(
        &mut self,
        user: UserId,
        ended: UnderWay,
        now: Timestamp,
        effects: &mut Effects,
    ) -> bool {
        if let Some(due) = self.due.get_mut(&user) {
            due.must |= ended.due.must;
            return false;
        }
        let tries = ended.due.tries.saturating_add(1);
        if tries >= TRIES {
            return true;
        }
        self.resting.insert(user, Due { tries, ..ended.due });
        if self.rest_ends.is_none() {
            self.rest_ends = Some(now + RETRY);
            effects.push(Effect::Wake(now + RETRY));
        }
        false
    }

    /// Time has passed: those whose rest is over are due again.
    pub fn rested(&mut self, now: Timestamp) {
        if self.rest_ends.is_some_and(|ends| ends <= now) {
            self.rest_ends = None;
            self.due.append(&mut self.resting);
        }
    }

    /// Whether nothing is due or under way, nor will be.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.under_way.is_empty() && self.resting.is_empty()
    }
}
