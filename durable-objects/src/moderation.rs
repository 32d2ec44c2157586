//! The Moderation class.
//!
//! Invariant: this object, the only one of its class, is the only keeper of the reports and of the
//! log of what admins did. Named `moderation`.
//!
//! Takes, as `POST` with a `ModerationRequest` in JSON: `file_report`, `list_reports`,
//! `resolve_report`, `note_act`, `list_audit`. Answers 200 with an `Answer` (the reply, or the
//! problem to tell the client) and 400 to a body that is no such request. It has no sockets and no
//! alarm.

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use std::cell::RefCell;

use parlance_shared::moderation::call::ModerationRequest;
use parlance_shared::moderation::service::ModerationService;
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Clock;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use crate::host::{self, SystemClock, SystemEntropy};
use crate::metrics;
use crate::sql::DurableSql;

const OBJECT: &str = "moderation";

/// The moderation of the deployment.
#[durable_object(fetch)]
pub struct Moderation {
    service: RefCell<ModerationService<DurableSql>>,
}

impl DurableObject for Moderation {
    fn new(state: State, _env: Env) -> Self {
        metrics::of(OBJECT).started.count();
        let service = ModerationService::new(DurableSql::new(&state, OBJECT), OBJECT_SCOPE);
        Self {
            service: RefCell::new(service),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let request: ModerationRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        // The service is synchronous and nothing waits while it is borrowed.
        let mut service = self.service.try_borrow_mut().map_err(host::busy)?;
        let outcome = service.handle(request, SystemClock.now(), &SystemEntropy);
        Ok(host::answer(OBJECT, outcome))
    }
}
