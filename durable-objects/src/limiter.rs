//! The Limiter class.
//!
//! Invariant: this object is the only keeper of one token bucket, named by what is limited and
//! for whom (`LimiterName`); of an address it knows a keyed hash alone.
//!
//! Takes, as `POST` with a `LimiterRequest` in JSON: `take`. Answers 200 with an `Answer` (the
//! reply, or the problem to tell the client) and 400 to a body that is no such request. Its alarm
//! goes off when the bucket is full again, and then deletes all that the object has stored.

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use std::cell::RefCell;

use parlance_shared::limiter::{LimiterRequest, LimiterService, Upkeep};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Clock;
use worker::{DurableObject, Env, Error, Request, Response, State, durable_object};

use crate::alarm;
use crate::host::{self, SystemClock};
use crate::metrics;
use crate::sql::DurableSql;

const OBJECT: &str = "limiter";

/// One token bucket.
#[durable_object(alarm)]
pub struct Limiter {
    state: State,
    scale: f64,
    service: RefCell<LimiterService<DurableSql>>,
}

impl Limiter {
    async fn keep_up(&self, upkeep: Upkeep) -> worker::Result<()> {
        match upkeep {
            Upkeep::None => {}
            Upkeep::Wake(at) => {
                metrics::of(OBJECT).alarms_set.count();
                alarm::set(&self.state, at).await?;
            }
            Upkeep::Forget => {
                // No event comes in while storage is waited for.
                self.state.storage().delete_all().await?;
                *self.service.try_borrow_mut().map_err(host::busy)? =
                    service(&self.state, self.scale);
            }
        }
        Ok(())
    }
}

fn service(state: &State, scale: f64) -> LimiterService<DurableSql> {
    LimiterService::new(DurableSql::new(state, OBJECT), OBJECT_SCOPE, scale)
}

impl DurableObject for Limiter {
    fn new(state: State, env: Env) -> Self {
        metrics::of(OBJECT).started.count();
        let scale = host::rate_limit_scale(&env);
        let service = RefCell::new(service(&state, scale));
        Self {
            state,
            scale,
            service,
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let request: LimiterRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        let outcome = self
            .service
            .try_borrow_mut()
            .map_err(host::busy)?
            .handle(request, SystemClock.now());
        let outcome = match outcome {
            Ok((reply, upkeep)) => {
                self.keep_up(upkeep).await?;
                Ok(reply)
            }
            Err(error) => Err(error),
        };
        Ok(host::answer(OBJECT, outcome))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        metrics::of(OBJECT).alarms.count();
        let upkeep = self
            .service
            .try_borrow_mut()
            .map_err(host::busy)?
            .on_alarm(SystemClock.now())
            .map_err(|error| Error::RustError(error.to_string()))?;
        self.keep_up(upkeep).await?;
        Response::empty()
    }
}
