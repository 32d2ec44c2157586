//! Rate limits at the edge: requests and uploads of a device, requests and logins of an address.
//!
//! Requests are counted by the platform's own counter, which costs no call, as long as the limits
//! are the protocol's own; multiplied, they are counted by a limiter object. So are logins always.
//!
//! What always holds: a counter that does not answer keeps no one out, since the codes of a
//! number are limited by its account besides; that it did not answer is in the log.

use std::net::IpAddr;
use std::time::Duration;

use parlance_shared::limiter::{Limit, LimiterName, Take};
use parlance_shared::protocol::problem::{Code, Problem};

use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;
use crate::router::{Private, Public};

/// The period of the platform's counter, which begins anew with each minute of the clock.
const PERIOD: Duration = Duration::from_secs(60);

/// Put into a request's extensions by a platform that knows from where it came. Without it
/// nothing is limited by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Counts a request that anyone may make.
pub(crate) async fn public<B: Backend>(
    exchange: &Exchange<'_, B>,
    endpoint: Public,
) -> Result<(), Problem> {
    match endpoint {
        Public::Health | Public::KeySet => Ok(()),
        Public::RequestCode | Public::Login | Public::Refresh => {
            match address(exchange, Limit::Requests) {
                Some(name) => count(exchange, &name).await,
                None => Ok(()),
            }
        }
    }
}

/// Counts a request to the admins' part, whether or not it is an admin's.
pub(crate) async fn admin<B: Backend>(exchange: &Exchange<'_, B>) -> Result<(), Problem> {
    match address(exchange, Limit::Requests) {
        Some(name) => count(exchange, &name).await,
        None => Ok(()),
    }
}

/// Counts a request of a caller.
pub(crate) async fn private<B: Backend>(
    exchange: &Exchange<'_, B>,
    endpoint: Private,
    caller: Caller,
) -> Result<(), Problem> {
    if !endpoint.is_counted() {
        return Ok(());
    }
    let name = LimiterName::device(Limit::Requests, caller.device_id);
    count(exchange, &name).await
}

/// Counts a login that is about to be tried.
pub(crate) async fn login<B: Backend>(exchange: &Exchange<'_, B>) -> Result<(), Problem> {
    match address(exchange, Limit::Logins) {
        Some(name) if exchange.config.rate_limit_scale > 0.0 => {
            take(exchange, &name, Limit::Logins).await
        }
        _ => Ok(()),
    }
}

/// Counts an upload that is about to begin.
pub(crate) async fn upload<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Result<(), Problem> {
    if exchange.config.rate_limit_scale == 0.0 {
        return Ok(());
    }
    let name = LimiterName::device(Limit::Uploads, caller.device_id);
    take(exchange, &name, Limit::Uploads).await
}

fn address<B: Backend>(exchange: &Exchange<'_, B>, limit: Limit) -> Option<LimiterName> {
    let ClientAddress(address) = exchange.request.extensions().get()?;
    Some(exchange.config.phone_hash_key.limiter(limit, *address))
}

async fn count<B: Backend>(exchange: &Exchange<'_, B>, name: &LimiterName) -> Result<(), Problem> {
    let scale = exchange.config.rate_limit_scale;
    if scale == 0.0 {
        return Ok(());
    }
    let counted = if (scale - 1.0).abs() < f64::EPSILON {
        exchange.backend.count_request(name).await
    } else {
        None
    };
    match counted {
        Some(true) => Ok(()),
        Some(false) => Err(Limit::Requests.problem(rest_of_period(exchange))),
        None => take(exchange, name, Limit::Requests).await,
    }
}

fn rest_of_period<B: Backend>(exchange: &Exchange<'_, B>) -> Duration {
    let now = exchange.backend.now().as_millis().unsigned_abs();
    let period = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(period.saturating_sub(now % period))
}

async fn take<B: Backend>(
    exchange: &Exchange<'_, B>,
    name: &LimiterName,
    limit: Limit,
) -> Result<(), Problem> {
    match exchange.backend.limiter(name, Take { limit }).await {
        Err(problem) if problem.code == Code::RateLimited => Err(problem),
        Err(problem) => {
            exchange.log_failure("not_counted", problem.code.as_str());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
