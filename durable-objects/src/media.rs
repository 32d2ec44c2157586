//! The Media class.
//!
//! Invariant: this object is the only one to say what a medium is, whether its bytes are there and
//! which messages have it. Named by the medium's id; bound as `MEDIUM`. The bytes are in
//! [`storage`](crate::storage).
//!
//! Takes, as `POST` with a `MediaRequest` in JSON: `register`, `look_up`, `get_parts`, `complete`,
//! `attach`, `release`, `delete_media`, `get_thumbnail_job`, `note_thumbnail`. Answers 200 with an
//! `Answer` (the reply, or the problem to tell the client) and 400 to a body that is no such
//! request. It has no sockets.
//!
//! Its alarm goes off when the medium is to go unless a message has it, and when a removal has not
//! come to its end.

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::time::Duration;

use parlance_shared::ids::MediaId;
use parlance_shared::limits;
use parlance_shared::media::call::MediaRequest;
use parlance_shared::media::errand::Report;
use parlance_shared::media::service::{MediaService, REMOVAL_RETRY, Step, Upkeep};
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Clock;
use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Error, Request, Response, State, durable_object};

use crate::alarm;
use crate::host::{self, SystemClock};
use crate::sql::DurableSql;
use crate::storage::Storage;

const OBJECT: &str = "media";
/// The queue of thumbnails that are to be made.
const JOBS: &str = "MEDIA_JOBS";

/// A thumbnail that is to be made, as it travels in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThumbnailOf {
    /// Of which medium.
    pub media_id: MediaId,
}

/// One medium.
#[durable_object(alarm)]
pub struct Media {
    state: State,
    env: Env,
    storage: Storage,
    service: RefCell<MediaService<DurableSql>>,
}

impl Media {
    async fn handle(&self, request: &MediaRequest) -> worker::Result<Result<String, ServiceError>> {
        let mut report = None;
        loop {
            // The service is synchronous and nothing waits while it is borrowed.
            let step = self.service.try_borrow_mut().map_err(host::busy)?.handle(
                request,
                report.take(),
                SystemClock.now(),
            );
            match step {
                Err(error) => return Ok(Err(error)),
                Ok(Step::Done(reply, upkeep)) => {
                    self.keep_up(upkeep).await?;
                    return Ok(Ok(reply));
                }
                Ok(Step::Errand {
                    errand,
                    alarm,
                    noted,
                }) => {
                    if let Some(at) = alarm {
                        alarm::set(&self.state, at).await?;
                    }
                    match self.storage.run(&errand).await {
                        Ok(done) => report = Some(done),
                        Err(error) => {
                            host::log_failure(OBJECT, "storage_failed", &error.to_string());
                            let detail = "The storage for media did not answer. Try again.";
                            return Ok(noted.ok_or_else(|| Problem::unavailable(detail).into()));
                        }
                    }
                }
            }
        }
    }

    async fn keep_up(&self, upkeep: Upkeep) -> worker::Result<()> {
        if let Some(media_id) = upkeep.thumbnail {
            self.order_thumbnail(media_id).await;
        }
        if upkeep.forget {
            alarm::delete(&self.state).await?;
            // No event comes in while storage is waited for.
            self.state.storage().delete_all().await?;
            *self.service.try_borrow_mut().map_err(host::busy)? = service(&self.state, &self.env);
        } else if let Some(at) = upkeep.alarm {
            alarm::set(&self.state, at).await?;
        }
        Ok(())
    }

    /// Has a thumbnail made. Without one, clients do.
    async fn order_thumbnail(&self, media_id: MediaId) {
        let ordered = match self.env.queue(JOBS) {
            Ok(queue) => queue.send(ThumbnailOf { media_id }).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ordered {
            host::log_failure(OBJECT, "thumbnail_not_ordered", &error.to_string());
        }
    }
}

fn service(state: &State, env: &Env) -> MediaService<DurableSql> {
    let seconds = env
        .var("MEDIA_UNUSED_SECONDS")
        .ok()
        .and_then(|value| value.to_string().trim().parse().ok())
        .filter(|seconds| *seconds > 0);
    let unused = seconds.map_or(limits::UNUSED_MEDIA, Duration::from_secs);
    MediaService::new(DurableSql::new(state, OBJECT), OBJECT_SCOPE, true).keeping_unused_for(unused)
}

impl DurableObject for Media {
    fn new(state: State, env: Env) -> Self {
        let storage = Storage::of(&env);
        let service = RefCell::new(service(&state, &env));
        Self {
            state,
            env,
            storage,
            service,
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let request: MediaRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        let outcome = self.handle(&request).await?;
        Ok(host::answer(OBJECT, outcome))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let mut report: Option<Report> = None;
        loop {
            let step = self
                .service
                .try_borrow_mut()
                .map_err(host::busy)?
                .on_alarm(report.take(), SystemClock.now())
                .map_err(|error| Error::RustError(error.to_string()))?;
            match step {
                Step::Done(_, upkeep) => {
                    self.keep_up(upkeep).await?;
                    return Response::empty();
                }
                Step::Errand { errand, .. } => match self.storage.run(&errand).await {
                    Ok(done) => report = Some(done),
                    Err(error) => {
                        // The runtime itself tries only a few times.
                        host::log_failure(OBJECT, "storage_failed", &error.to_string());
                        alarm::set(&self.state, SystemClock.now() + REMOVAL_RETRY).await?;
                        return Response::empty();
                    }
                },
            }
        }
    }
}
