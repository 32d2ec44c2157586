//! The whole API over one database, natively: what one instance does, what several do to one
//! another, and what maintenance does. The clock is the test's own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod acts;
mod chat;
mod fallbacks;
mod groups;
mod maintenance;
mod strangers;
mod support;
mod writers;
