//! `/local-media/...`: the bytes of media, in development, where there is no S3 endpoint.
//!
//! The platform streams them between the client and its bucket; which request may do what, and
//! what is said about it, is decided here. In a deployment there is no such path.

use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, RANGE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::time::Timestamp;
use parlance_storage::local::{Admitted, PREFIX};
use parlance_storage::serving::Serving;

use crate::config::{Config, ConfigError, MediaStorage};
use crate::log::Entry;
use crate::problem::{Challenge, response};
use crate::{answer, cors};

const PATTERN: &str = "/local-media/{media_id}/{object}";
const METHODS: &str = "GET, HEAD, OPTIONS, PUT";

/// Whether a path is one of these.
#[must_use]
pub fn is_here(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Where the service is, as the client sees it.
#[must_use]
pub fn origin<T>(request: &Request<T>) -> String {
    let uri = request.uri();
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(http::uri::Authority::as_str))
        .unwrap_or("localhost");
    format!("{}://{host}", uri.scheme_str().unwrap_or("http"))
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Visit<'a> {
    config: &'a Result<Config, ConfigError>,
    request: Request<Vec<u8>>,
    entry: Entry,
}

impl<'a> Visit<'a> {
    /// A request has come. Its body is not looked at.
    #[must_use]
    pub fn begin(
        config: &'a Result<Config, ConfigError>,
        request: Request<Vec<u8>>,
        request_id: &str,
        now: Timestamp,
    ) -> Self {
        let entry = Entry::begin(now, request_id, request.method(), Some(PATTERN));
        Self {
            config,
            request,
            entry,
        }
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request<Vec<u8>> {
        &self.request
    }

    /// What it may do, or the answer to give at once.
    ///
    /// # Errors
    /// The answer.
    pub fn admit(&self, now: Timestamp) -> Result<Admitted, Box<Response<Vec<u8>>>> {
        let Ok(Config {
            media: MediaStorage::Local(key),
            cors,
            ..
        }) = self.config
        else {
            let problem = Problem::new(Code::NotFound, "There is no such path.");
            return Err(Box::new(self.refuse(&problem)));
        };
        let request = &self.request;
        if request.method() == Method::OPTIONS {
            let mut response = answer::empty(StatusCode::NO_CONTENT);
            if cors::is_preflight(request) {
                cors::allow_preflight(cors, request, METHODS, response.headers_mut());
            } else {
                let allow = HeaderValue::from_static(METHODS);
                response.headers_mut().insert(ALLOW, allow);
            }
            return Err(Box::new(response));
        }
        if ![Method::GET, Method::HEAD, Method::PUT].contains(request.method()) {
            let problem = Problem::new(
                Code::MethodNotAllowed,
                format!("This path takes {METHODS}."),
            );
            let mut refused = self.refuse(&problem);
            let allow = HeaderValue::from_static(METHODS);
            refused.headers_mut().insert(ALLOW, allow);
            return Err(Box::new(refused));
        }
        let target = request
            .uri()
            .path_and_query()
            .map_or("", http::uri::PathAndQuery::as_str);
        key.admit(request.method(), target, request.headers(), now)
            .map_err(|problem| Box::new(self.refuse(&problem)))
    }

    /// The answer that tells of a problem.
    #[must_use]
    pub fn refuse(&self, problem: &Problem) -> Response<Vec<u8>> {
        self.entry.problem(problem.code);
        response(problem, Challenge::TokenNeeded)
    }

    /// Adds the headers that every answer has, and gives the line for the log.
    pub fn end(&self, headers: &mut HeaderMap, status: StatusCode, now: Timestamp) -> String {
        if let Ok(config) = self.config {
            cors::apply(&config.cors, &self.request, headers);
        }
        answer::finish(headers, self.entry.request_id());
        self.entry.end(now, status)
    }
}

/// The headers with which bytes are shown.
pub fn describe(serving: &Serving, headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE, &serving.content_type);
    set(CONTENT_DISPOSITION, &serving.disposition);
    set(ACCEPT_RANGES, "bytes");
    set(CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
}

/// Which bytes of an object are asked for (RFC 9110, section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// From the first to the last of these, both included.
    Range {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// None that there are.
    Unsatisfiable,
}

/// Which bytes of an object of `size` bytes are asked for. What is not one range of bytes is
/// ignored, as it may be.
#[must_use]
pub fn wanted(headers: &HeaderMap, size: u64) -> Wanted {
    let range = headers
        .get(RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.split_once('-'));
    let Some((first, last)) = range else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (None, Some(0)) if first.trim().is_empty() => return Wanted::Unsatisfiable,
        (None, Some(suffix)) if first.trim().is_empty() => {
            (size.saturating_sub(suffix), size.saturating_sub(1))
        }
        _ => return Wanted::All,
    };
    if first >= size {
        Wanted::Unsatisfiable
    } else {
        Wanted::Range { first, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
        wanted(&headers, 100)
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        let range = |first, last| Wanted::Range { first, last };
        assert_eq!(wanted(&HeaderMap::new(), 100), Wanted::All);
        for (text, wanted) in [
            ("bytes=0-0", range(0, 0)),
            ("bytes=10-19", range(10, 19)),
            ("bytes=90-", range(90, 99)),
            ("bytes=90-999999999999999999999999", range(90, 99)),
            ("bytes=-5", range(95, 99)),
            ("bytes=-500", range(0, 99)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=200-300", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(of(text), wanted, "{text}");
        }
    }
}
