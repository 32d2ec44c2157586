//! Errors as clients see them: problem details (RFC 9457) over HTTP, `error` frames on sockets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::need::Need;
use crate::protocol::seq::Seq;
use crate::sql::SqlError;

/// The stable word for a kind of error, and its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the request is malformed or out of limits.
    InvalidRequest,
    /// 401: no valid token.
    Unauthenticated,
    /// 403: known, but not allowed.
    Forbidden,
    /// 404: not there, or the caller may not know that it is.
    NotFound,
    /// 405: the path is there, the method is not.
    MethodNotAllowed,
    /// 409: contradicts the present state.
    Conflict,
    /// 413: over a size limit.
    PayloadTooLarge,
    /// 415: the body is not JSON.
    UnsupportedMediaType,
    /// 426: the path is a socket's and the request no upgrade.
    UpgradeRequired,
    /// 429: too much at once; the problem says when to come back.
    RateLimited,
    /// 500: a fault of the server.
    Internal,
    /// 501: this edition does not have it.
    NotImplemented,
    /// 503: a part of the service is not there now.
    Unavailable,
}

impl Code {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::Internal => "internal",
            Self::NotImplemented => "not_implemented",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::UpgradeRequired => 426,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::Unauthenticated => "Authentication is required",
            Self::Forbidden => "This is not allowed",
            Self::NotFound => "There is no such thing here",
            Self::MethodNotAllowed => "The path does not take this method",
            Self::Conflict => "The request contradicts the present state",
            Self::PayloadTooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::UpgradeRequired => "This path opens a WebSocket",
            Self::RateLimited => "Too many requests",
            Self::Internal => "The server failed",
            Self::NotImplemented => "This edition does not have it",
            Self::Unavailable => "The service is not available now",
        }
    }
}

/// What is wrong with one field of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where: `member_ids[3]`, `privacy.last_seen`.
    pub field: String,
    /// What, as a phrase that follows the field's name: "must not be empty".
    pub message: String,
}

/// An error as clients see it.
///
/// What always holds: `detail` names no secret, no phone number and no message content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Problem {
    /// A URN for the kind of problem: `urn:parlance:problem:not_found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// The stable word.
    pub code: Code,
    /// What is wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// When to come back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:parlance:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            retry_after_ms: None,
        }
    }

    /// `invalid_request` without a field to blame.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// `invalid_request` on account of one field.
    #[must_use]
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError {
            field: field.into(),
            message: message.into(),
        }])
    }

    /// `invalid_request` on account of a field that names an event after the newest one.
    #[must_use]
    pub fn beyond_newest(field: &str, head: Seq) -> Self {
        Self::invalid_field(field, format!("lies beyond the newest event, {head}"))
    }

    /// `invalid_request` on account of several fields.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{} {}", error.field, error.message))
            .collect::<Vec<_>>()
            .join("; ");
        Self {
            errors,
            ..Self::new(Code::InvalidRequest, detail)
        }
    }

    /// `not_found`.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("There is no such {what}, or you may not see it."),
        )
    }

    /// `unauthenticated`.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// `rate_limited`, with the time after which to try again.
    #[must_use]
    pub fn rate_limited(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after_ms: Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)),
            ..Self::new(Code::RateLimited, detail)
        }
    }

    /// `internal`. What went wrong is for the log, not for the client.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            Code::Internal,
            "The server failed to do this. Nothing was changed by it.",
        )
    }

    /// `unavailable`.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail)
    }

    /// The value of `Retry-After` (RFC 9110, section 10.2.3): whole seconds, rounded up.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after_ms
            .map(|millis| millis.div_ceil(1000).max(1))
    }
}

/// A service's error: one that the client is told, a failure of storage, which is logged and
/// told as `internal`, or something that it cannot go on without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Told to the client as it is.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// Logged, and told as `internal`.
    #[error(transparent)]
    Storage(SqlError),
    /// Brought by whoever asked, who then asks again. Nothing was changed. Where it cannot be
    /// brought, the client is told `unavailable`.
    #[error("something is needed that is kept elsewhere")]
    Needs(Need),
}

impl From<SqlError> for ServiceError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Needs(need) => Self::Needs(*need),
            failure => Self::Storage(failure),
        }
    }
}

impl ServiceError {
    /// What the client is told.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Storage(_) => Problem::internal(),
            Self::Needs(_) => Problem::unavailable(
                "Something that this needs is kept elsewhere, and cannot be had now.",
            ),
        }
    }
}
