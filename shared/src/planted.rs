//! Faults that can be switched on, to see that the simulation finds them.
//!
//! Only the crate `simulation` turns the feature `planted-bugs` on, and with it what is compiled
//! together with that crate: all native tests, where nothing is planted unless one asks for it. In
//! what runs at the edge [`is_on`] is a constant, and nothing of a planted fault is in the program.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Answers and frames leave before what they speak of is on disk.
    AckBeforeCommit,
    /// A message that is sent again is stored again.
    LostDeduplication,
    /// After memory was lost, everything seems to have been delivered.
    LanesNotDurable,
    /// After memory was lost, numbers of events that were not delivered yet are given out again.
    SeqsUsedAgain,
    /// What is read has not been delivered.
    ReadNotDelivered,
    /// A message that was deleted for everyone goes on counting as unread.
    DeletedCounts,
    /// One who was removed goes on getting what comes.
    RemovedGoesOn,
    /// The sockets of one who was removed stay open.
    RemovedStaysAttached,
    /// One who comes in sees what was before.
    NewcomerSeesAll,
    /// A lane whose delivery has failed is never due again.
    LaneNeverWakes,
    /// No alarm is set for an event.
    NoAlarm,
    /// No alarm is set for what is to be done at a time.
    NoTimer,
    /// What is sent to a device counts as acknowledged.
    SentIsAcknowledged,
    /// Positions that are written behind are never written.
    NotWrittenBehind,
    /// What is delivered twice is counted twice.
    CountedTwice,
    /// A session that is catching up is sent new events at once.
    PushedWhileBehind,
    /// A count of what is unread is taken although it no longer holds.
    StaleCount,
    /// A session that was catching up when memory was lost goes on.
    CutOffGoesOn,
    /// Who was removed is only told while memory lasts.
    FarewellForgotten,
    /// Everyone may read everything.
    AnyoneReads,
    /// A block keeps nobody out.
    BlockIgnored,
    /// Where storage fails, what was decided before is not carried out.
    DecisionsLost,
    /// A message that is sent again is judged anew.
    RepeatsJudged,
    /// Messages for one time are sent in any order.
    ScheduledInAnyOrder,
    /// What is withheld from a session is shown when it connects anew.
    WithheldForGood,
    /// One who has left goes on seeing the last message that was said.
    PreviewStays,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::AckBeforeCommit,
        Self::LostDeduplication,
        Self::LanesNotDurable,
        Self::SeqsUsedAgain,
        Self::ReadNotDelivered,
        Self::DeletedCounts,
        Self::RemovedGoesOn,
        Self::RemovedStaysAttached,
        Self::NewcomerSeesAll,
        Self::LaneNeverWakes,
        Self::NoAlarm,
        Self::NoTimer,
        Self::SentIsAcknowledged,
        Self::NotWrittenBehind,
        Self::CountedTwice,
        Self::PushedWhileBehind,
        Self::StaleCount,
        Self::CutOffGoesOn,
        Self::FarewellForgotten,
        Self::AnyoneReads,
        Self::BlockIgnored,
        Self::DecisionsLost,
        Self::RepeatsJudged,
        Self::ScheduledInAnyOrder,
        Self::WithheldForGood,
        Self::PreviewStays,
    ];
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Switches a fault on, in place of another, for this thread.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a fault is switched on.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_on(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a fault is switched on: none is.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_on(_: Bug) -> bool {
    false
}
