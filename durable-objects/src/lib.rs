//! The Durable Object classes.
//!
//! Each class translates between the Workers runtime and a service of `parlance-shared`: it reads
//! a request, hands it to the service together with storage, time and randomness, and carries out
//! what the service returns. What lies beneath the classes: storage ([`sql`]), the clock, the
//! random numbers and the log ([`host`]), sockets ([`sockets`]), the alarm ([`alarm`]), and calls
//! to other objects ([`stub`], [`call`]).
//!
//! What always holds: memory is a cache and SQL is the truth, so an object can vanish between any
//! two events. An exception of the runtime becomes an error and never a panic, since a panic
//! takes the memory of every object in the isolate with it.
//!
//! Must not: decide anything about chat. A rule belongs into `parlance-shared`.

pub mod account;
pub mod alarm;
pub mod archive;
mod bindings;
pub mod call;
pub mod conversation;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod host;
pub mod limiter;
pub mod metrics;
pub mod moderation;
pub mod sockets;
pub mod sql;
pub mod stub;
pub mod user;
