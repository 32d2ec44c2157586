//! Requests to other services on the internet.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use worker::{AbortSignal, Error, Fetch, Headers, RequestInit, RequestRedirect, Result};

/// How long another service may take to answer.
const TIMEOUT_MILLIS: u32 = 10_000;

/// Sends a request to another service. It follows no redirect, which could carry credentials
/// elsewhere, and waits for a bounded time.
///
/// # Errors
/// When no answer comes.
pub async fn send(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>> {
    let (parts, body) = request.into_parts();
    let mut init = RequestInit::new();
    init.with_method(worker::Method::from(parts.method.as_str().to_owned()))
        .with_headers(headers(&parts.headers)?)
        .with_redirect(RequestRedirect::Manual);
    if parts.method != Method::GET && parts.method != Method::HEAD {
        init.with_body(Some(js_sys::Uint8Array::from(body.as_slice()).into()));
    }
    let request = worker::Request::new_with_init(&parts.uri.to_string(), &init)?;
    let signal = AbortSignal::from(web_sys::AbortSignal::timeout_with_u32(TIMEOUT_MILLIS));
    let mut response = Fetch::Request(request).send_with_signal(&signal).await?;
    let mut converted = Response::new(response.bytes().await?);
    *converted.status_mut() = StatusCode::from_u16(response.status_code()).map_err(failed)?;
    *converted.headers_mut() = header_map(response.headers());
    Ok(converted)
}

/// An error that the runtime logs.
pub fn failed(error: impl std::fmt::Display) -> Error {
    Error::RustError(error.to_string())
}

/// Headers of the runtime. One that `http` cannot hold is none that anyone here reads.
#[must_use]
pub fn header_map(headers: &Headers) -> HeaderMap {
    headers
        .entries()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            Some((name, value))
        })
        .collect()
}

/// Headers for the runtime.
///
/// # Errors
/// When a value is no text.
pub fn headers(map: &HeaderMap) -> Result<Headers> {
    let headers = Headers::new();
    for (name, value) in map {
        headers.append(name.as_str(), value.to_str().map_err(failed)?)?;
    }
    Ok(headers)
}
