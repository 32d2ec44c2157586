//! Users: profile, devices and their tokens, and the list of conversations.
//!
//! One object per user is the only writer of all of it. The list is kept by deliveries from
//! conversation objects, which may come again and are then ignored.

pub mod call;
pub mod effect;
mod list;
mod pending;
mod presence;
pub mod profile;
pub mod refresh;
pub mod schema;
pub mod service;
pub mod session;
mod store;
#[cfg(test)]
mod tests;
