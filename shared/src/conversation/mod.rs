//! Conversations: the event log, its members, and the delivery of events to them.
//!
//! One object per conversation is the only writer of its log. Every change is an event with the
//! next seq, stored before it is acknowledged, and handed to the members after that.

mod act_store;
mod acts;
pub mod archive;
pub mod call;
mod change_rows;
mod create;
pub mod deliver;
mod ending;
mod group;
mod group_rows;
mod group_store;
mod hidden;
mod history;
pub mod lanes;
mod members;
pub mod outbox;
pub mod policy;
mod position_store;
pub mod positions;
mod read;
mod receipts;
mod restrictions;
pub mod rows;
mod scheduled;
pub mod schema;
mod send;
pub mod service;
pub mod socket;
pub mod store;
mod threads;
mod timers;
mod typing;

#[cfg(test)]
mod tests;
