//! The whole Worker, as it is deployed, but that it panics where a text that is stored asks for it:
//! see `parlance_durable_objects::fault`. Started and judged by tests/node/faults/panics.test.mjs.

pub use parlance_worker::*;
