//! Who is asking: the one place that reads a token from a request.
//!
//! A token comes as `Authorization: Bearer <token>`; a browser's socket, which cannot set that
//! header, offers `Sec-WebSocket-Protocol: parlance.v1, bearer.<token>`. A browser's
//! `EventSource`, which can do neither, puts it in the query, where the route allows that.

use std::borrow::Cow;

use http::Request;
use http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use parlance_shared::ids::{DeviceId, UserId};
use parlance_shared::protocol::frame::SUBPROTOCOL;
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::time::Timestamp;

use crate::config::AdminToken;
use crate::query::Query;
use crate::token::Keys;

/// What stands before the token in an offered subprotocol.
const BEARER_SUBPROTOCOL: &str = "bearer.";
/// The parameter of a query that holds a token (RFC 6750, section 2.3).
const TOKEN_PARAMETER: &str = "access_token";

/// Who asks, by a token that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// Until when the token holds.
    pub expires_at: Timestamp,
    /// Whether the subprotocol was offered, which an upgrade then answers.
    pub subprotocol: bool,
}

/// The token that a request presents: from its header, on an upgrade from its subprotocols, or,
/// where the route allows it, from its query.
#[must_use]
pub fn presented<T>(request: &Request<T>, in_query: bool) -> Option<Cow<'_, str>> {
    in_headers(request.headers())
        .map(Cow::Borrowed)
        .or_else(|| {
            let query = in_query.then(|| Query::of(request.uri()))?;
            let token = query.text(TOKEN_PARAMETER).ok()??;
            Some(Cow::Owned(token.to_owned()))
        })
}

fn in_headers(headers: &HeaderMap) -> Option<&str> {
    bearer(headers).or_else(|| {
        // Only next to the protocol's own name: a server must answer one that was offered.
        let is_offered = is_upgrade(headers) && offers(headers, SUBPROTOCOL);
        is_offered
            .then(|| subprotocols(headers).find_map(|offer| offer.strip_prefix(BEARER_SUBPROTOCOL)))
            .flatten()
    })
}

/// Who asks.
///
/// # Errors
/// `unauthenticated` where the request presents no token, or none that holds.
pub fn caller<T>(
    keys: &Keys,
    request: &Request<T>,
    in_query: bool,
    now: Timestamp,
) -> Result<Caller, Problem> {
    let token = presented(request, in_query).ok_or_else(|| {
        Problem::unauthenticated("This needs an access token: Authorization: Bearer <token>.")
    })?;
    let verified = keys
        .verify(&token, now)
        .map_err(|error| Problem::unauthenticated(error.to_string()))?;
    Ok(Caller {
        user_id: verified.user_id,
        device_id: verified.device_id,
        expires_at: verified.expires_at,
        subprotocol: offers(request.headers(), SUBPROTOCOL),
    })
}

/// An admin asks: the request presents the deployment's admin token. Takes the same time whatever
/// it presents.
///
/// # Errors
/// `not_found` where the deployment has none, as for a path that is none; `unauthenticated`.
pub fn admin<T>(token: Option<&AdminToken>, request: &Request<T>) -> Result<(), Problem> {
    let token = token.ok_or_else(|| Problem::new(Code::NotFound, "There is no such path."))?;
    match bearer(request.headers()) {
        Some(presented) if token.is(presented) => Ok(()),
        _ => Err(Problem::unauthenticated("This needs the admin token.")),
    }
}

/// Whether the request asks for a WebSocket (RFC 6455, section 4.1).
#[must_use]
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(UPGRADE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// The token of the only `Authorization` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn offers(headers: &HeaderMap, subprotocol: &str) -> bool {
    subprotocols(headers).any(|offer| offer == subprotocol)
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(request: &Request<()>) -> Option<String> {
        super::presented(request, false).map(Cow::into_owned)
    }

    #[test]
    fn a_query_carries_a_token_where_that_is_allowed_and_nothing_else_does() {
        let request = |query: &str| Request::get(format!("/?{query}")).body(()).unwrap();
        let given = request("access_token=a.b%2Ec");
        assert_eq!(super::presented(&given, true).as_deref(), Some("a.b.c"));
        assert_eq!(presented(&given), None);
        let twice = request("access_token=t&access_token=t");
        assert_eq!(super::presented(&twice, true), None);
        let mut both = request("access_token=q");
        let header = "Bearer h".parse().unwrap();
        both.headers_mut().insert(AUTHORIZATION, header);
        assert_eq!(super::presented(&both, true).as_deref(), Some("h"));
    }

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        headers
            .iter()
            .fold(Request::builder(), |builder, (name, value)| {
                builder.header(*name, *value)
            })
            .body(())
            .unwrap()
    }

    #[test]
    fn the_header_s_scheme_is_read_in_any_case_and_the_header_once() {
        assert_eq!(
            presented(&request(&[("authorization", "Bearer t")])),
            Some("t".to_owned())
        );
        assert_eq!(
            presented(&request(&[("authorization", "bearer t")])),
            Some("t".to_owned())
        );
        for headers in [
            &[("authorization", "Basic t")][..],
            &[("authorization", "t")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer t"), ("authorization", "Bearer u")],
            &[],
        ] {
            assert_eq!(presented(&request(headers)), None, "{headers:?}");
        }
    }

    #[test]
    fn a_subprotocol_carries_a_token_on_upgrades_only() {
        let offer = ("sec-websocket-protocol", "parlance.v1, bearer.t");
        assert_eq!(
            presented(&request(&[offer, ("upgrade", "WebSocket")])),
            Some("t".to_owned())
        );
        assert_eq!(presented(&request(&[offer])), None);
        let alone = ("sec-websocket-protocol", "bearer.t");
        assert_eq!(
            presented(&request(&[alone, ("upgrade", "websocket")])),
            None
        );
        let split = [
            ("sec-websocket-protocol", "parlance.v1"),
            ("sec-websocket-protocol", "bearer.t"),
            ("upgrade", "websocket"),
        ];
        assert_eq!(presented(&request(&split)), Some("t".to_owned()));
        let both = [
            offer,
            ("upgrade", "websocket"),
            ("authorization", "Bearer h"),
        ];
        assert_eq!(presented(&request(&both)), Some("h".to_owned()));
    }
}
