//! A component that only tests use: it runs the glue of `parlance-spin` to Spin, and answers what
//! it saw as JSON. Its paths are those of [`answer`].
//!
//! The glue is compiled in from its own files, since a crate that exports a handler cannot be
//! linked into another that does. Started and judged by tests/tests/system/spin_glue.rs.

// Nothing of it means anything but as a component.
#![cfg(target_os = "wasi")]

#[path = "../../../functions/spin/src/conversion.rs"]
#[allow(dead_code)]
mod conversion;
mod probe;
#[path = "../../../functions/spin/src/sql.rs"]
mod sql;

use http::{Response, StatusCode};
use parlance_functions::answer::Pieces;
use parlance_functions::body::Oversized;
use parlance_functions::limit::ClientAddress;
use parlance_shared::sql::{SqlError, conformance};
use serde_json::{Value, json};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

use crate::sql::SpinSql;

/// Answers a request.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let request = conversion::request(request).await?;
    if request.uri().path() == "/stream" {
        let pieces = Response::new(Pieces::new(probe::pieces()));
        return Ok(conversion::stream(pieces));
    }
    let (status, seen) = match answer(&request).await {
        Ok(seen) => (StatusCode::OK, seen),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!(error.to_string())),
    };
    let mut response = Response::new(seen.to_string().into_bytes());
    *response.status_mut() = status;
    Ok::<_, spin_sdk::http::Error>(conversion::response(response))
}

/// - `/conformance`: the failures of the seam's own checks
/// - `/busy`: what a second writer gets, and a reader, while a first one writes
/// - `/undone`: what is left of transactions that fail
/// - `/keep`: keeps the body as an entry
/// - `/entries`: what has been kept
/// - `/request`: how the request arrived
/// - `/nap`: after 300 ms, how many naps had begun in this instance and not ended
/// - `/stream` (in `handle`): pieces, one every 100 ms without end; when it is dropped, it keeps
///   `dropped`
/// - `/trap`: the instance ends
async fn answer(request: &http::Request<Vec<u8>>) -> Result<Value, SqlError> {
    Ok(match request.uri().path() {
        "/conformance" => json!(conformance::run(&SpinSql::open()?)),
        "/busy" => probe::busy()?,
        "/undone" => json!(probe::undone()?),
        "/keep" => {
            probe::keep(&SpinSql::open()?, &String::from_utf8_lossy(request.body()))?;
            json!("kept")
        }
        "/entries" => json!(probe::entries(&SpinSql::open()?)?),
        "/request" => json!({
            "method": request.method().as_str(),
            "path": request.uri().path(),
            "query": request.uri().query(),
            "bytes": request.body().len(),
            "oversized": request.extensions().get::<Oversized>().is_some(),
            "address": request.extensions().get::<ClientAddress>().map(|at| at.0.to_string()),
        }),
        "/nap" => json!(probe::nap().await),
        "/trap" => std::process::abort(),
        path => json!({ "unknown": path }),
    })
}
