//! The log: one JSON object a line.
//!
//! What always holds: a line names the route by its pattern and the caller by id. It never holds
//! a phone number, a code, a token, a query, or the content of a message.

use std::cell::Cell;

use http::{Method, StatusCode};
use parlance_shared::ids::UserId;
use parlance_shared::protocol::problem::Code;
use parlance_shared::time::Timestamp;
use serde::Serialize;

/// The line of one request, while it is being answered.
#[derive(Debug)]
pub struct Entry {
    started: Timestamp,
    request_id: String,
    method: &'static str,
    route: Option<&'static str>,
    user_id: Cell<Option<UserId>>,
    code: Cell<Option<Code>>,
}

#[derive(Serialize)]
struct RequestLine<'a> {
    time: Timestamp,
    level: &'static str,
    request_id: &'a str,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    status: u16,
    ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
}

#[derive(Serialize)]
struct FailureLine<'a> {
    time: Timestamp,
    level: &'static str,
    request_id: &'a str,
    event: &'a str,
    detail: &'a str,
}

impl Entry {
    /// A request has come. `route` is the pattern of its path, where there is one.
    #[must_use]
    pub fn begin(
        started: Timestamp,
        request_id: &str,
        method: &Method,
        route: Option<&'static str>,
    ) -> Self {
        Self {
            started,
            request_id: request_id.to_owned(),
            method: known(method),
            route,
            user_id: Cell::new(None),
            code: Cell::new(None),
        }
    }

    /// The request's name.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// It is this user's.
    pub(crate) fn user(&self, user_id: UserId) {
        self.user_id.set(Some(user_id));
    }

    /// It is refused.
    pub(crate) fn problem(&self, code: Code) {
        self.code.set(Some(code));
    }

    /// It is answered: the line.
    #[must_use]
    pub fn end(&self, now: Timestamp, status: StatusCode) -> String {
        line(&RequestLine {
            time: now,
            level: if status.is_server_error() {
                "error"
            } else {
                "info"
            },
            request_id: &self.request_id,
            method: self.method,
            route: self.route,
            status: status.as_u16(),
            ms: now.since(self.started).as_millis(),
            user_id: self.user_id.get(),
            code: self.code.get(),
        })
    }
}

/// The line of a failure that the client is told less about.
#[must_use]
pub fn failure(now: Timestamp, request_id: &str, event: &str, detail: &str) -> String {
    line(&FailureLine {
        time: now,
        level: "error",
        request_id,
        event,
        detail,
    })
}

fn line(fields: &impl Serialize) -> String {
    // Plain structs with string keys always serialize.
    serde_json::to_string(fields).unwrap_or_default()
}

/// The method by its name, where it is a common one: a client can make up any word.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
