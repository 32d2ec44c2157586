//! Responses that tell of success, and the headers that every response has.

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

/// Adds the headers that every response has. Nothing is stored by caches unless a handler has
/// said so: most answers are for one caller only.
pub(crate) fn finish(response: &mut Response<Vec<u8>>, request_id: &str) {
    let headers = response.headers_mut();
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
