//! The archive: where events are that are older than the hot window.
//!
//! Segments of successive events ([`segment`]) are objects in a store that this crate does not
//! know: moving events there is a sequence of steps for the runtime to take (`work`), and reading
//! them back a [`Need`](crate::need::Need). What this conversation knows of its segments is in its
//! rows (`store`); those that were read last are in memory (`bodies`).
//!
//! What always holds: whether an event is in the archive changes nothing in what anyone is shown.

mod bodies;
#[cfg(any(test, feature = "rusqlite"))]
pub mod memory;
pub mod segment;
pub(super) mod store;
mod window;
pub(super) mod work;

use std::rc::Rc;

pub(super) use bodies::Bodies;
pub use segment::{Segment, SegmentError};
pub use window::HotWindow;
pub(super) use work::{Archive, Extent};

use crate::sql::SqlError;
use crate::time::Timestamp;

/// An alarm that waits for the archive alone goes off in the last millisecond of a second, and one
/// that looks after deliveries in none of these. So an object that wakes knows what it was set
/// for, without a row that says so.
const LAST_MILLISECOND: i64 = 999;

/// The first time from `due_at` on for an alarm that waits for the archive alone.
fn archive_alarm(due_at: Timestamp) -> Timestamp {
    let millis = due_at.as_millis();
    Timestamp::from_millis(millis - millis.rem_euclid(1000) + LAST_MILLISECOND)
}

/// The first time from `at` on for an alarm that looks after deliveries.
pub(super) fn delivery_alarm(at: Timestamp) -> Timestamp {
    let millis = at.as_millis();
    let is_other = millis.rem_euclid(1000) == LAST_MILLISECOND;
    Timestamp::from_millis(millis + i64::from(is_other))
}

/// How an object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageClass {
    /// As usual.
    Standard,
    /// For little, where reading costs more.
    InfrequentAccess,
}

/// Something that the runtime is to do about the archive's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveStep {
    /// Store an object.
    Put {
        /// Its name.
        name: String,
        /// What it holds.
        bytes: Rc<Vec<u8>>,
        /// How it is kept.
        class: StorageClass,
    },
    /// Read one.
    Get {
        /// Its name.
        name: String,
    },
    /// Remove one, which may not be there.
    Delete {
        /// Its name.
        name: String,
    },
    /// Let others go first. There is nothing to tell of it.
    Pause,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveReply {
    /// The object is stored.
    Stored,
    /// What it holds; none where there is no such object.
    Got(Option<Vec<u8>>),
    /// It is there no more.
    Deleted,
}

/// Why a step was in vain. It repeats nothing of what is archived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The object's own storage failed.
    #[error(transparent)]
    Storage(#[from] SqlError),
    /// The store of the archive failed.
    #[error("the archive's store failed: {0}")]
    Store(String),
    /// An object is not there.
    #[error("an object of the archive is missing")]
    Missing,
    /// An object is not as it was put.
    #[error("an object of the archive is not as it was put")]
    Differs,
    /// A segment cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}
