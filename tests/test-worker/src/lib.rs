//! The Worker that only tests use. It is built once for all of them:
//!
//! - as it is deployed, but that it panics where a text that is stored asks for it: see
//!   `parlance_durable_objects::fault`. Judged by tests/node/faults/panics.test.mjs.
//! - with one object class more, which runs the glue of `parlance-durable-objects` inside a real
//!   Durable Object and answers what it saw as JSON: see [`probe`]. Judged by
//!   tests/node/sql-seam.test.mjs, whose own entry hands every request to it.

mod probe;
mod tables;

pub use parlance_worker::*;
pub use probe::SqlProbe;
