//! One request as its handler sees it.

use http::Request;
use parlance_shared::ids::InvalidId;
use parlance_shared::protocol::problem::Problem;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use std::str::FromStr;

use crate::backend::Backend;
use crate::body;
use crate::config::Config;
use crate::log;
use crate::query::Query;
use crate::router::Parameters;

/// A request on its way through a handler.
#[derive(Debug)]
pub struct Exchange<'a, B> {
    /// The platform.
    pub backend: &'a B,
    /// The deployment's configuration.
    pub config: &'a Config,
    /// The request.
    pub request: &'a Request<Vec<u8>>,
    parameters: &'a Parameters<'a>,
    request_id: &'a str,
}

impl<'a, B: Backend> Exchange<'a, B> {
    pub(crate) const fn new(
        backend: &'a B,
        config: &'a Config,
        request: &'a Request<Vec<u8>>,
        parameters: &'a Parameters<'a>,
        request_id: &'a str,
    ) -> Self {
        Self {
            backend,
            config,
            request,
            parameters,
            request_id,
        }
    }

    /// Reads the JSON body.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        body::json(self.request)
    }

    /// Reads the query.
    pub(crate) fn query(&self) -> Query<'a> {
        Query::of(self.request.uri())
    }

    /// The id that the path names `name`.
    pub(crate) fn id<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<T, Problem> {
        let segment = self.parameters.get(name).unwrap_or_default();
        percent_decode_str(segment)
            .decode_utf8_lossy()
            .parse()
            .map_err(|error: InvalidId| Problem::invalid_field(name, error.to_string()))
    }

    /// The text that the path names `name`.
    pub(crate) fn text(&self, name: &str) -> Result<String, Problem> {
        let segment = self.parameters.get(name).unwrap_or_default();
        percent_decode_str(segment)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| Problem::invalid_field(name, "must be UTF-8"))
    }

    /// Logs a failure that the client is told less about. `detail` must name no number, code,
    /// token or content.
    pub(crate) fn log_failure(&self, event: &str, detail: &str) {
        let line = log::failure(self.backend.now(), self.request_id, event, detail);
        self.backend.log(&line);
    }
}
