//! Wire types of protocol version 1: HTTP bodies, socket frames, problem details.
//!
//! What always holds: unknown fields of a client's input are ignored; a value of a type here
//! has passed the limits of [`crate::limits`] where it came from a client.

pub mod act;
pub mod auth;
pub mod batch;
pub mod change;
pub mod content;
pub mod conversation;
pub mod event;
pub mod frame;
pub mod group;
pub mod input;
pub mod message;
pub mod moderation;
pub mod problem;
pub mod seq;
pub mod user;

#[cfg(test)]
mod wire;
