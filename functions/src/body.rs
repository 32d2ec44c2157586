//! Reading JSON bodies.

use http::Request;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use parlance_shared::limits;
use parlance_shared::protocol::input;
use parlance_shared::protocol::problem::{Code, Problem};
use serde::de::DeserializeOwned;

/// Put into a request's extensions by a platform that did not read the body because it is over
/// [`limits::BODY_BYTES`]: the handler that wants the body answers 413.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized;

/// Reads the JSON body of a request. One that is compressed is refused rather than unpacked: what
/// it grows to would be bounded by nothing that the client sent.
///
/// # Errors
/// `unsupported_media_type` where the body is not said to be JSON in UTF-8, or is compressed;
/// `payload_too_large` over 1 MiB; `invalid_request` where it does not fit `T`.
pub fn json<T: DeserializeOwned>(request: &Request<Vec<u8>>) -> Result<T, Problem> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(is_json) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "The Content-Type must be application/json.",
        ));
    }
    if !request
        .headers()
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(is_identity)
    {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "The body must not be compressed: send no Content-Encoding.",
        ));
    }
    let is_oversized = request.extensions().get::<Oversized>().is_some();
    if is_oversized || request.body().len() > limits::BODY_BYTES {
        return Err(Problem::new(
            Code::PayloadTooLarge,
            format!("A body must have at most {} bytes.", limits::BODY_BYTES),
        ));
    }
    input::json(request.body())
}

/// Whether a coding (RFC 9110, section 8.4) is none.
fn is_identity(coding: &HeaderValue) -> bool {
    let coding = coding.as_bytes().trim_ascii();
    coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
}

/// Whether a media type (RFC 9110, section 8.3.1) is JSON: `application/json` or
/// `application/*+json`, in UTF-8 where it names a charset.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence.strip_prefix("application/").is_some_and(|subtype| {
        subtype == "json" || subtype.len() > 5 && subtype.ends_with("+json")
    });
    is_json
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf_8_is_json_and_nothing_else_is() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"; x=y",
            "application/merge-patch+json",
        ] {
            assert!(is_json(good), "{good:?}");
        }
        for bad in [
            "",
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/+json",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
        ] {
            assert!(!is_json(bad), "{bad:?}");
        }
    }
}
