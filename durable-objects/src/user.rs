//! The User class.
//!
//! Invariant: this object is the only writer of a user's profile, devices, tokens and
//! conversation list. What is delivered again is ignored as far as it is known. Named by the
//! user's id.
//!
//! Takes, as `POST` with a `UserRequest` in JSON: `sign_in`, `refresh`, `sign_out`,
//! `check_device`, `list_devices`, `revoke_device`, `get_profile`, `update_profile`,
//! `view_profile`, `list_conversations`, `deliver`. Answers 200 with an `Answer` (the reply, or
//! the problem to tell the client) and 400 to a body that is no such request.

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use std::cell::RefCell;

use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Clock;
use parlance_shared::user::call::UserRequest;
use parlance_shared::user::service::UserService;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use crate::host::{self, SystemClock, SystemEntropy};
use crate::sql::DurableSql;

const OBJECT: &str = "user";

/// One user.
#[durable_object(fetch)]
pub struct User {
    service: RefCell<UserService<DurableSql>>,
}

impl DurableObject for User {
    fn new(state: State, _env: Env) -> Self {
        Self {
            service: RefCell::new(UserService::new(DurableSql::new(&state), OBJECT_SCOPE)),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let request: UserRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        // The service is synchronous and nothing waits while it is borrowed.
        let mut service = self.service.try_borrow_mut().map_err(host::busy)?;
        let outcome = service.handle(request, SystemClock.now(), &SystemEntropy);
        Ok(host::answer(OBJECT, outcome))
    }
}
