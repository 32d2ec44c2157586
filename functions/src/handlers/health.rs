//! `GET /healthz`: the service is there. It does not look at objects or the configuration.

use http::StatusCode;
use serde::Serialize;

use super::Handled;
use crate::answer;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Says that the service is there.
pub(crate) fn report() -> Handled {
    answer::json(StatusCode::OK, &Health { status: "ok" })
}
