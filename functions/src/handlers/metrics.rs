//! `/admin/metrics`: what the platform counts of the service.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use parlance_shared::protocol::problem::{Code, Problem};

use super::Handled;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// The text format of Prometheus.
const CONTENT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /admin/metrics`
pub(crate) fn report<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let text = exchange.backend.metrics().ok_or_else(|| {
        Problem::new(
            Code::NotImplemented,
            "This edition of the service counts nothing.",
        )
    })?;
    let mut response = Response::new(text.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    Ok(response)
}
