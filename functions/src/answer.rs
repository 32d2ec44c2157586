//! Responses that tell of success, and the headers that every response has.

use std::fmt;
use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::LocalBoxStream;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use parlance_shared::protocol::problem::Problem;
use serde::Serialize;

use crate::request_id;

/// A JSON response.
///
/// # Errors
/// `internal` where the body cannot be written, which plain structs always can.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response<Vec<u8>>, Problem> {
    let body = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}

/// A body that comes in pieces, for as long as the client wants it. Dropping it lets go of all
/// that it holds.
pub struct Pieces(LocalBoxStream<'static, Vec<u8>>);

impl Pieces {
    /// A body of these pieces.
    pub fn new(stream: impl Stream<Item = Vec<u8>> + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for Pieces {
    type Item = Vec<u8>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Vec<u8>>> {
        self.get_mut().0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces(..)")
    }
}

/// Adds the headers that every response has. Nothing is stored by caches unless a handler has
/// said so: most answers are for one caller only.
pub(crate) fn finish(headers: &mut HeaderMap, request_id: &str) {
    add(headers, CACHE_CONTROL, "no-store");
    add(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(
        headers,
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    add(headers, REFERRER_POLICY, "no-referrer");
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(request_id::HEADER, id);
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers
        .entry(name)
        .or_insert(HeaderValue::from_static(value));
}
