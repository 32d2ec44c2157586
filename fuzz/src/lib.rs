//! Fuzzing: what must hold whatever comes in.
//!
//! A [`target`] makes inputs from a seed, with generators that know the shapes of the wire
//! ([`json`], [`requests`], [`frames`], [`tokens`], [`cursors`], [`segments`]), and judges what comes of them. The
//! same seed makes the same inputs, so that a failure is told by its seed; what is worth keeping
//! lies in `fuzz/corpus` and is replayed by the tests.
//!
//! What always holds, for every target: no input makes a panic or a failure of the server; what is
//! refused is told as a problem of a documented kind, and leaves the conversations' logs as they
//! were.
//!
//! It is no coverage-guided fuzzer: that needs a nightly compiler. There is no full-text search yet,
//! and so no target for it; the queries of all other routes are made by [`requests`].

pub mod cursors;
pub mod frames;
pub mod json;
pub mod random;
pub mod requests;
pub mod segments;
pub mod target;
pub mod tokens;
pub mod world;

/// The host of the embedded backend that its own tests use.
#[path = "../../functions/embedded/tests/embedded/support.rs"]
#[allow(dead_code, missing_docs)]
mod support;
