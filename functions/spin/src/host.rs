//! Spin, as [`parlance_embedded`] sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, Full, Limited};
use parlance_embedded::Host;
use parlance_functions::backend::SendError;
use parlance_shared::entropy::Entropy;
use parlance_shared::sql::SqlError;
use parlance_shared::time::Timestamp;

use crate::sql::SpinSql;

/// How long another service is waited for.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of another service's answer is read.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Spin.
#[derive(Debug, Clone, Copy)]
pub struct SpinHost;

impl Host for SpinHost {
    type Database = SpinSql;

    fn open(&self) -> Result<SpinSql, SqlError> {
        SpinSql::open()
    }

    // The clock of the platform enters here and nowhere else.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn entropy(&self) -> &dyn Entropy {
        &SpinEntropy
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }

    async fn sleep(&self, duration: Duration) {
        spin_sdk::time::sleep(duration).await;
    }

    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError> {
        let answer = Box::pin(send(request));
        let timeout = Box::pin(spin_sdk::time::sleep(SEND_TIMEOUT));
        match select(answer, timeout).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(SendError("it took too long".to_owned())),
        }
    }
}

/// It follows no redirect, which could carry credentials elsewhere.
async fn send(request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, SendError> {
    let failed = |error: &dyn std::fmt::Display| SendError(error.to_string());
    let mut request = request;
    // Said, since a host that is not told sends the body in chunks, which storage does not take.
    if !request.body().is_empty() {
        let length = HeaderValue::from(request.body().len());
        request.headers_mut().insert(CONTENT_LENGTH, length);
    }
    let request = request.map(|body| Full::new(Bytes::from(body)));
    let response = spin_sdk::http::send(request)
        .await
        .map_err(|error| failed(&error))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| failed(&error))?
        .to_bytes();
    Ok(http::Response::from_parts(parts, body.to_vec()))
}

/// The platform's cryptographic random numbers.
#[derive(Debug, Clone, Copy)]
struct SpinEntropy;

impl Entropy for SpinEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            eprintln!("no random numbers: {error}");
            // Going on would hand out codes, tokens and ids that can be guessed.
            std::process::abort();
        }
    }
}
