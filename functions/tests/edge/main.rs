//! The edge as a whole, natively: requests in, responses and calls of objects out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod acts;
mod auth;
mod conversations;
mod cross_origin;
mod events;
mod every_route;
mod groups;
mod limits;
mod messages;
mod moderation;
mod security;
mod sockets;
mod support;
mod sync;
mod users;
mod verification;
