//! A Worker that only tests use: it runs the glue of `parlance-durable-objects` inside a real
//! Durable Object, and answers what it saw as JSON. The paths are described at [`probe`].
//!
//! Started and judged by tests/node/sql-seam.test.mjs.

mod probe;
mod storage;

pub use probe::SqlProbe;

use worker::{Context, Env, Request, Response, event};

/// Hands every request to the one object.
///
/// # Errors
/// What the object throws.
#[event(fetch)]
pub async fn fetch(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    env.durable_object("PROBE")?
        .get_by_name("probe")?
        .fetch_with_request(request)
        .await
}
