//! What a service needs that is not in its object's database.
//!
//! Services are synchronous, and storage is the only thing that they can ask. Where one comes
//! upon something that is kept elsewhere, it gives up with
//! [`ServiceError::Needs`](crate::protocol::problem::ServiceError::Needs), having changed nothing.
//! Whoever asked it brings what is needed and asks again.

use crate::protocol::seq::Seq;

/// How many times a service is asked again, each time with what it needed before it is told that
/// this is not to be had: far more than one request can need.
pub const TRIES: usize = 256;

/// Something that is to be brought before the service can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A segment of the conversation's archive.
    Segment(SegmentNeed),
}

/// Events of a conversation that are in its archive, and of which one is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentNeed {
    /// The segment's name in the archive.
    pub name: String,
    /// The event that is to be read.
    pub seq: Seq,
}
