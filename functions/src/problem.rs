//! Problem details over HTTP (RFC 9457), with the headers that belong to each kind.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use parlance_shared::protocol::problem::{Code, Problem};

/// What a 401 asks of the client (RFC 6750, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// No token was presented.
    TokenNeeded,
    /// The presented token does not hold.
    InvalidToken,
}

/// The response that tells of `problem`.
#[must_use]
pub fn response(problem: &Problem, challenge: Challenge) -> Response<Vec<u8>> {
    // A problem is a plain struct, which always serializes.
    let mut response = Response::new(serde_json::to_vec(problem).unwrap_or_default());
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(seconds) = problem.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match problem.code {
        Code::Unauthenticated => {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(match challenge {
                    Challenge::TokenNeeded => "Bearer",
                    Challenge::InvalidToken => "Bearer error=\"invalid_token\"",
                }),
            );
        }
        Code::UpgradeRequired => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        _ => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rate_limited_says_when_to_come_back_in_whole_seconds() {
        let problem = Problem::rate_limited("Too many codes.", Duration::from_millis(1200));
        let response = response(&problem, Challenge::TokenNeeded);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
