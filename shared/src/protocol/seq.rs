//! The number of an event in its conversation.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sql::{FromValue, Param, SqlError, Value};

/// An event's number in its conversation: from 1, without gaps. [`Seq::ZERO`] is the position
/// before the first event. Below 2^40 (see [`crate::ids::MessageId`]).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// After every event: more than storage can hold.
    pub const BEYOND: Self = Self((1 << 53) - 1);

    /// The event number `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the event that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many events lie after `earlier` up to this one.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Seq> for Param<'_> {
    fn from(seq: Seq) -> Self {
        Param::Integer(i64::try_from(seq.0).unwrap_or(i64::MAX).min((1 << 53) - 1))
    }
}

impl FromValue for Seq {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        u64::from_value(value).map(Self)
    }
}
