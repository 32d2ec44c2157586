//! What every object class needs of the runtime: the clock, random numbers, the log, and the
//! form in which requests come and answers go.
//!
//! The wire between caller and object: `POST https://object/` with the class's request as JSON,
//! answered 200 with an [`Answer`] as JSON, refusals included; 400 where the body is no request
//! that this version knows. The caller's side is [`crate::stub`].
//!
//! The log gets one JSON object a line. It must not hold message content, phone numbers, codes or
//! tokens, so it never repeats a request.

use std::time::Duration;

use js_sys::Date;
use parlance_shared::entropy::Entropy;
use parlance_shared::limits;
use parlance_shared::object::Answer;
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::time::{Clock, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Env, Request, Response, ResponseBuilder};

/// The runtime threw an exception, or did not give what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the runtime refused: {0}")]
pub struct HostError(pub String);

impl From<JsValue> for HostError {
    fn from(exception: JsValue) -> Self {
        Self(message_of(&exception))
    }
}

impl From<worker::Error> for HostError {
    fn from(error: worker::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<HostError> for worker::Error {
    fn from(error: HostError) -> Self {
        Self::RustError(error.to_string())
    }
}

/// The text of a JavaScript exception.
pub(crate) fn message_of(exception: &JsValue) -> String {
    exception
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .or_else(|| exception.as_string())
        .unwrap_or_else(|| "an exception without a message".to_owned())
}

/// The runtime's clock. It stands still while code runs and moves with every input or output.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Whole milliseconds, far within the range of i64.
        Timestamp::from_millis(Date::now() as i64)
    }
}

/// The runtime's cryptographic random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            log_failure("host", "no_random_numbers", &error.to_string());
            // Going on would hand out codes, tokens and ids that can be guessed.
            std::process::abort();
        }
    }
}

/// The error where a service is in use already. That takes an exception that went through the
/// service and left it half way: the runtime answers the caller with it.
#[must_use]
pub fn busy(_: std::cell::BorrowMutError) -> worker::Error {
    worker::Error::RustError("the object's service is in use".to_owned())
}

/// As [`busy`], where it was only to be read.
#[must_use]
pub fn busy_reading(_: std::cell::BorrowError) -> worker::Error {
    worker::Error::RustError("the object's state is in use".to_owned())
}

/// Writes a failure to the log. `error` must hold nothing that came from a client.
pub fn log_failure(object: &str, event: &str, error: &str) {
    let line = json!({ "level": "error", "event": event, "object": object, "error": error });
    web_sys::console::error_1(&JsValue::from_str(&line.to_string()));
}

/// Reads the request that a caller sent.
///
/// # Errors
/// The response to give instead, where the body is not a request of this class.
pub async fn read_request<R: DeserializeOwned>(
    object: &str,
    request: &mut Request,
) -> Result<R, Response> {
    let body = read_body(object, request).await?;
    parse_request(object, &body)
}

/// The body of the request that a caller sent, for [`parse_request`].
///
/// # Errors
/// The response to give instead, where it did not arrive.
pub async fn read_body(object: &str, request: &mut Request) -> Result<Vec<u8>, Response> {
    request.bytes().await.map_err(|error| {
        log_failure(object, "request_lost", &error.to_string());
        text_response(400, "The request did not arrive in whole.")
    })
}

/// The request in a body.
///
/// # Errors
/// As [`read_request`].
pub fn parse_request<R: DeserializeOwned>(object: &str, body: &[u8]) -> Result<R, Response> {
    serde_json::from_slice(body).map_err(|error| {
        // serde's own message may repeat what it could not read.
        let place = format!("{:?} at column {}", error.classify(), error.column());
        log_failure(object, "request_unknown", &place);
        text_response(400, "The body is not a request that this version knows.")
    })
}

/// The response that tells a service's outcome: a reply in JSON, or the problem.
#[must_use]
pub fn answer(object: &str, outcome: Result<String, ServiceError>) -> Response {
    text_response(200, answer_text(object, outcome))
}

/// A service's outcome as an [`Answer`] in JSON. A failure of storage is logged.
#[must_use]
pub fn answer_text(object: &str, outcome: Result<String, ServiceError>) -> String {
    match outcome {
        // The reply is JSON already: it is wrapped rather than read and written again.
        Ok(reply) => format!(r#"{{"ok":{reply}}}"#),
        Err(error) => problem_text(&told(object, error)),
    }
}

/// What a caller is told of a service's error. A failure of storage is logged.
#[must_use]
pub fn told(object: &str, error: ServiceError) -> Problem {
    if let ServiceError::Storage(failure) = &error {
        log_failure(object, "storage_failed", &failure.to_string());
    }
    error.into_problem()
}

fn problem_text(problem: &Problem) -> String {
    // A problem is a plain struct and always serializes; were it not to, the empty body makes
    // the caller report an answer that it could not read.
    serde_json::to_string(&Answer::<()>::Problem(problem.clone())).unwrap_or_default()
}

fn text_response(status: u16, body: impl Into<String>) -> Response {
    ResponseBuilder::new()
        .with_status(status)
        .fixed(body.into().into_bytes())
}

/// The factor of all rate limits, `RATE_LIMIT_SCALE` of the deployment: 1 where it is not set or
/// not a number, 0 for no limits at all.
#[must_use]
pub fn rate_limit_scale(env: &Env) -> f64 {
    let what = "RATE_LIMIT_SCALE is not a number from 0";
    setting(env, "RATE_LIMIT_SCALE", parse_scale, what).unwrap_or(1.0)
}

/// How often clients ping, `HEARTBEAT_SECONDS` of the deployment: [`limits::HEARTBEAT`] where it is
/// not set or makes no sense.
#[must_use]
pub fn heartbeat(env: &Env) -> Duration {
    let what = "HEARTBEAT_SECONDS is not a whole number from 1 to 300";
    setting(env, "HEARTBEAT_SECONDS", limits::heartbeat, what).unwrap_or(limits::HEARTBEAT)
}

/// A variable of the deployment, where it is set and `parse` takes it. Another is logged as `what`:
/// the edge refuses to serve with it.
fn setting<T>(env: &Env, name: &str, parse: impl Fn(&str) -> Option<T>, what: &str) -> Option<T> {
    let text = env.var(name).ok()?.to_string();
    let parsed = parse(&text);
    if parsed.is_none() && !text.trim().is_empty() {
        log_failure("host", "bad_variable", what);
    }
    parsed
}

fn parse_scale(text: &str) -> Option<f64> {
    let scale: f64 = text.trim().parse().ok()?;
    (scale.is_finite() && scale >= 0.0).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_the_caller_reads() {
        let text = answer_text("test", Ok(r#"{"head_seq":3}"#.to_owned()));
        let answer: Answer<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(answer, Answer::Ok(json!({ "head_seq": 3 })));
        let problem = Problem::not_found("thing");
        let text = answer_text("test", Err(ServiceError::Refused(problem.clone())));
        let answer: Answer<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(answer, Answer::Problem(problem));
        assert_eq!(answer_text("test", Ok("null".to_owned())), r#"{"ok":null}"#);
    }

    #[test]
    fn a_scale_is_a_number_from_zero() {
        assert_eq!(parse_scale("0"), Some(0.0));
        assert_eq!(parse_scale(" 2.5 "), Some(2.5));
        for bad in ["", "-1", "NaN", "inf", "many"] {
            assert_eq!(parse_scale(bad), None, "{bad:?}");
        }
    }
}
