//! Which web pages may use the API from a browser (the Fetch standard's CORS protocol).
//!
//! Tokens travel in a header, never in a cookie, so no credentials are ever allowed. Sockets are
//! not subject to CORS: a browser sends their `Origin`, and the server must look at it.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request};
use parlance_shared::protocol::problem::{Code, Problem};

const ALLOWED_HEADERS: &str = "authorization, content-type, last-event-id, x-request-id";
const EXPOSED_HEADERS: &str = "retry-after, x-request-id";
/// Two hours: the longest that browsers keep to.
const MAX_AGE_SECONDS: &str = "7200";

/// The origins whose pages may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Only pages of the API's own origin, which need no leave.
    None,
    /// All.
    Any,
    /// These.
    List(Vec<String>),
}

/// Why a text is not a list of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be empty, *, or origins such as https://chat.example.com separated by commas")]
pub struct InvalidOrigins;

impl Origins {
    /// Reads `*`, a list separated by commas, or nothing.
    ///
    /// # Errors
    /// [`InvalidOrigins`].
    pub fn parse(text: &str) -> Result<Self, InvalidOrigins> {
        match text.trim() {
            "" => Ok(Self::None),
            "*" => Ok(Self::Any),
            list => list
                .split(',')
                .map(|origin| {
                    let origin = origin.trim().to_ascii_lowercase();
                    is_origin(&origin).then_some(origin).ok_or(InvalidOrigins)
                })
                .collect::<Result<_, _>>()
                .map(Self::List),
        }
    }

    /// What `Access-Control-Allow-Origin` says to a page of `origin`.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::List(list) => list
                .iter()
                .any(|allowed| allowed.as_bytes() == origin.as_bytes())
                .then(|| origin.clone()),
        }
    }
}

/// Whether a text is an origin as browsers write it: scheme, host, and port where it is not the
/// scheme's own.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, authority)| {
        matches!(scheme, "http" | "https")
            && !authority.contains('@')
            && authority.parse::<http::uri::Authority>().is_ok()
    })
}

/// Whether a request asks for leave to send another (a CORS preflight).
#[must_use]
pub fn is_preflight<T>(request: &Request<T>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight for a path that takes the methods `allow`.
pub(crate) fn allow_preflight<T>(
    origins: &Origins,
    request: &Request<T>,
    allow: &str,
    headers: &mut HeaderMap,
) {
    headers.insert(
        VARY,
        HeaderValue::from_static(
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ),
    );
    let is_allowed = request
        .headers()
        .get(ORIGIN)
        .and_then(|origin| origins.allow(origin))
        .is_some();
    if is_allowed && let Ok(allow) = HeaderValue::from_str(allow) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(ALLOWED_HEADERS),
        );
        headers.insert(
            ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(MAX_AGE_SECONDS),
        );
    }
}

/// Adds to a response what lets the page that asked read it.
pub(crate) fn apply<T>(origins: &Origins, request: &Request<T>, headers: &mut HeaderMap) {
    if *origins == Origins::None {
        return;
    }
    headers
        .entry(VARY)
        .or_insert(HeaderValue::from_static("Origin"));
    let allowed = request
        .headers()
        .get(ORIGIN)
        .and_then(|origin| origins.allow(origin));
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
}

/// Refuses a socket to a page of an origin that is not listed. Without a list, or without an
/// `Origin` (no browser asks), the token alone decides.
///
/// # Errors
/// `forbidden`.
pub(crate) fn check_socket_origin<T>(
    origins: &Origins,
    request: &Request<T>,
) -> Result<(), Problem> {
    let Origins::List(_) = origins else {
        return Ok(());
    };
    let Some(origin) = request.headers().get(ORIGIN) else {
        return Ok(());
    };
    if origins.allow(origin).is_some() || is_own(origin, request) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "Pages of this origin may not open sockets here.",
    ))
}

/// Whether `origin` is that of the API itself. The scheme is not compared: a proxy that ends TLS
/// makes the request's differ from the page's.
fn is_own<T>(origin: &HeaderValue, request: &Request<T>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    matches!((host, origin), (Some(host), Some((_, own))) if host.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_taken_for_origins() {
        assert_eq!(Origins::parse(" "), Ok(Origins::None));
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
        assert_eq!(
            Origins::parse("https://Chat.example.com, http://localhost:3000"),
            Ok(Origins::List(vec![
                "https://chat.example.com".to_owned(),
                "http://localhost:3000".to_owned()
            ]))
        );
        for bad in [
            "chat.example.com",
            "https://a.example/",
            "https://a.example,",
            "*,https://a.example",
            "null",
            "ftp://a.example",
            "https://",
            "https://u@a.example",
        ] {
            assert_eq!(Origins::parse(bad), Err(InvalidOrigins), "{bad:?}");
        }
    }
}
