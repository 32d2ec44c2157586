//! Conversations: the event log, its members, and the delivery of events to them.
//!
//! One object per conversation is the only writer of its log. Every change is an event with the
//! next seq, stored before it is acknowledged, and handed to the members after that.

pub mod call;
pub mod lanes;
pub mod policy;
pub mod schema;
pub mod service;
pub mod socket;
pub mod store;
