//! `POST /internal/maintenance`: does what requests have left to do. A timer calls it every second.
//!
//! It wants the deployment's own token (`MAINTENANCE_TOKEN`) as a bearer token; where none is set,
//! the path does not exist. Answers 200 `{objects, failed, has_more}`; 401 without the token, 405
//! to another method, 503 while the database is busy.

use http::header::{ALLOW, AUTHORIZATION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use parlance_embedded::Embedded;
use parlance_functions::answer;
use parlance_functions::problem::{Challenge, response};
use parlance_shared::protocol::problem::{Code, Problem};
use subtle::ConstantTimeEq as _;

use crate::host::SpinHost;

/// Where it is.
pub const PATH: &str = "/internal/maintenance";

/// Answers a request to [`PATH`].
pub async fn respond(
    backend: &Embedded<SpinHost>,
    token: Option<&str>,
    request: &Request<Vec<u8>>,
) -> Response<Vec<u8>> {
    let answered = match (token, request.method()) {
        (None, _) => Err(Problem::new(Code::NotFound, "There is no such path.")),
        (Some(token), _) if !shows(request, token) => Err(Problem::unauthenticated(
            "Maintenance wants the deployment's MAINTENANCE_TOKEN.",
        )),
        (Some(_), &Method::POST) => match backend.maintain().await {
            Ok(done) => answer::json(StatusCode::OK, &done),
            Err(_) => Err(Problem::unavailable("The database did not answer.")),
        },
        (Some(_), _) => Err(Problem::new(
            Code::MethodNotAllowed,
            "This path takes POST.",
        )),
    };
    answered.unwrap_or_else(|problem| {
        let mut refused = response(&problem, Challenge::TokenNeeded);
        if problem.code == Code::MethodNotAllowed {
            let allow = HeaderValue::from_static("POST");
            refused.headers_mut().insert(ALLOW, allow);
        }
        refused
    })
}

fn shows(request: &Request<Vec<u8>>, token: &str) -> bool {
    let shown = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    bool::from(shown.as_bytes().ct_eq(token.as_bytes()))
}
