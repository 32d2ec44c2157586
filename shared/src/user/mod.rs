//! Users: profile, devices and their tokens, and the list of conversations.
//!
//! One object per user is the only writer of all of it. The list is kept by deliveries from
//! conversation objects, which may come again and are then ignored.

mod acting;
mod blocks;
pub mod call;
mod catch_up;
pub mod connect;
mod devices;
pub mod effect;
mod events;
mod expected;
mod frames;
mod hiding;
mod inbox;
mod list;
mod marks;
mod news;
mod outbox;
mod pending;
mod presence;
mod previews;
pub mod profile;
mod reading;
pub mod refresh;
pub mod schema;
pub mod service;
pub mod session;
mod settings;
mod store;
mod suspension;
#[cfg(test)]
mod tests;
