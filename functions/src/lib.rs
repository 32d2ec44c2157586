//! The stateless edge: from an HTTP request to calls of objects, and back to a response.
//!
//! [`respond`] is all of it: it finds the route ([`router`]), authenticates the caller
//! ([`authenticate`]), runs the handler ([`handlers`]), and turns what came of it into a response
//! with its CORS and security headers and one line of the log ([`log`]).
//!
//! What always holds: an error leaves as problem details; every response has an `X-Request-Id`;
//! no line of the log holds a phone number, a code, a token or the content of a message.
//!
//! Must not: name a platform, read a clock or roll a die (that is [`backend::Backend`]'s), or
//! know a rule of chat (that is `parlance_shared`'s).

pub mod answer;
pub mod authenticate;
pub mod backend;
pub mod body;
pub mod config;
pub mod cors;
mod exchange;
pub mod handlers;
mod inbox;
pub mod limit;
pub mod local_media;
pub mod log;
pub mod problem;
pub mod query;
pub mod request_id;
pub mod router;
pub mod token;
pub mod verification;

use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use parlance_shared::protocol::problem::{Code, Problem};

use crate::answer::Pieces;
use crate::backend::Backend;
use crate::config::{Config, ConfigError};
use crate::exchange::Exchange;
use crate::log::Entry;
use crate::router::{Endpoint, Public, Resolved};

/// What the platform is to send back.
#[derive(Debug)]
pub enum Reply<U> {
    /// A response.
    Http(Response<Vec<u8>>),
    /// A response whose body comes in pieces.
    Stream(Response<Pieces>),
    /// A socket that an object has accepted.
    Upgraded(U),
}

/// Answers a request. Never fails: what goes wrong becomes a response.
///
/// Where the configuration has an error, everything but the health check answers 503.
pub async fn respond<B: Backend>(
    backend: &B,
    config: &Result<Config, ConfigError>,
    request: Request<Vec<u8>>,
) -> Reply<B::Upgrade> {
    let request_id = request_id::of(request.headers(), backend.entropy());
    let resolved = router::resolve(request.method(), request.uri().path());
    let entry = Entry::begin(
        backend.now(),
        &request_id,
        request.method(),
        resolved.pattern(),
    );
    let mut reply = run(backend, config, &request, &resolved, &entry)
        .await
        .unwrap_or_else(|problem| {
            entry.problem(problem.code);
            Reply::Http(refuse(&problem, &resolved, &request))
        });
    let status = match &mut reply {
        Reply::Http(response) => {
            finish(config, &request, response.headers_mut(), &request_id);
            if request.method() == Method::HEAD {
                response.body_mut().clear();
            }
            response.status()
        }
        Reply::Stream(response) => {
            finish(config, &request, response.headers_mut(), &request_id);
            response.status()
        }
        Reply::Upgraded(_) => StatusCode::SWITCHING_PROTOCOLS,
    };
    backend.log(&entry.end(backend.now(), status));
    reply
}

fn finish(
    config: &Result<Config, ConfigError>,
    request: &Request<Vec<u8>>,
    headers: &mut HeaderMap,
    request_id: &str,
) {
    if let Ok(config) = config {
        cors::apply(&config.cors, request, headers);
    }
    answer::finish(headers, request_id);
}

async fn run<B: Backend>(
    backend: &B,
    config: &Result<Config, ConfigError>,
    request: &Request<Vec<u8>>,
    resolved: &Resolved<'_>,
    entry: &Entry,
) -> Result<Reply<B::Upgrade>, Problem> {
    if matches!(
        resolved,
        Resolved::Endpoint {
            endpoint: Endpoint::Public(Public::Health),
            ..
        }
    ) {
        return handlers::health::report().map(Reply::Http);
    }
    let config = config.as_ref().map_err(|error| {
        backend.log(&log::failure(
            backend.now(),
            entry.request_id(),
            "configuration",
            &error.to_string(),
        ));
        Problem::unavailable("The service is not configured yet.")
    })?;
    match resolved {
        Resolved::Endpoint {
            endpoint,
            parameters,
            ..
        } => {
            let exchange = Exchange::new(backend, config, request, parameters, entry.request_id());
            match endpoint {
                Endpoint::Public(public) => {
                    limit::public(&exchange, *public).await?;
                    handlers::public(&exchange, *public).await.map(Reply::Http)
                }
                Endpoint::Admin(admin) => {
                    limit::admin(&exchange).await?;
                    authenticate::admin(config.admin_token.as_ref(), request)?;
                    handlers::moderation::admin(&exchange, *admin)
                        .await
                        .map(Reply::Http)
                }
                Endpoint::Private(private) => {
                    if private.opens_socket() {
                        cors::check_socket_origin(&config.cors, request)?;
                    }
                    let in_query = private.takes_token_in_query();
                    let caller =
                        authenticate::caller(&config.keys, request, in_query, backend.now())?;
                    entry.user(caller.user_id);
                    limit::private(&exchange, *private, caller).await?;
                    handlers::private(&exchange, *private, caller).await
                }
            }
        }
        Resolved::Options { allow, .. } => {
            let mut response = answer::empty(StatusCode::NO_CONTENT);
            if cors::is_preflight(request) {
                cors::allow_preflight(&config.cors, request, allow, response.headers_mut());
            } else if let Ok(allow) = HeaderValue::from_str(allow) {
                response.headers_mut().insert(ALLOW, allow);
            }
            Ok(Reply::Http(response))
        }
        Resolved::WrongMethod { allow, .. } => Err(Problem::new(
            Code::MethodNotAllowed,
            format!("This path takes {allow}."),
        )),
        Resolved::Unknown => Err(Problem::new(Code::NotFound, "There is no such path.")),
    }
}

/// The response that tells of a problem, with what only the request can say.
fn refuse(
    problem: &Problem,
    resolved: &Resolved<'_>,
    request: &Request<Vec<u8>>,
) -> Response<Vec<u8>> {
    let is_presented = match resolved {
        Resolved::Endpoint {
            endpoint: Endpoint::Private(private),
            ..
        } => authenticate::presented(request, private.takes_token_in_query()).is_some(),
        Resolved::Endpoint {
            endpoint: Endpoint::Admin(_),
            ..
        } => authenticate::presented(request, false).is_some(),
        _ => false,
    };
    let challenge = if is_presented {
        problem::Challenge::InvalidToken
    } else {
        problem::Challenge::TokenNeeded
    };
    let mut response = problem::response(problem, challenge);
    if let Resolved::WrongMethod { allow, .. } = resolved
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
