//! The Account class.
//!
//! Invariant: a phone number has at most one user, and this object is the only one to say which.
//! Named by the keyed hash of the number (`AccountName`); it never sees the number itself.
//!
//! Takes, as `POST` with an `AccountRequest` in JSON: `request_code`, `withdraw_code`,
//! `verify_code`, `find_user`. Answers 200 with an `Answer` (the reply, or the problem to tell the
//! client) and 400 to a body that is no such request. It has no sockets and no alarm.

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use std::cell::RefCell;

use parlance_shared::account::call::AccountRequest;
use parlance_shared::account::service::{AccountLimits, AccountService};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Clock;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use crate::host::{self, SystemClock, SystemEntropy};
use crate::metrics;
use crate::sql::DurableSql;

const OBJECT: &str = "account";

/// One phone number's account.
#[durable_object(fetch)]
pub struct Account {
    service: RefCell<AccountService<DurableSql>>,
}

impl DurableObject for Account {
    fn new(state: State, env: Env) -> Self {
        metrics::of(OBJECT).started.count();
        let limits = AccountLimits::scaled(host::rate_limit_scale(&env));
        let service = AccountService::new(DurableSql::new(&state, OBJECT), OBJECT_SCOPE, limits);
        Self {
            service: RefCell::new(service),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let request: AccountRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        // The service is synchronous and nothing waits while it is borrowed.
        let mut service = self.service.try_borrow_mut().map_err(host::busy)?;
        let outcome = service.handle(request, SystemClock.now(), &SystemEntropy);
        Ok(host::answer(OBJECT, outcome))
    }
}
