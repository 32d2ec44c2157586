//! Carrying out what the conversation's service says about its archive: moving events there, and
//! bringing segments back that are to be read.
//!
//! What always holds: one step is taken at a time, and whatever else comes gets between two.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::archive::{ArchiveStep, SegmentError};
use parlance_shared::need::SegmentNeed;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Clock;
use worker::Delay;
use worker::wasm_bindgen_futures::spawn_local;

use super::{Core, OBJECT};
use crate::host::{self, SystemClock};

/// How long an alarm goes on with the archive before it leaves the rest to the next.
const SPELL: Duration = Duration::from_secs(60);

/// The variable with the number of steps after which a test wants it to stop.
const STOP_AFTER: &str = "STOP_ARCHIVE_AFTER";

/// What is known of the steps.
#[derive(Debug, Default)]
pub(super) struct Archiving {
    is_under_way: Cell<bool>,
    /// How many were taken.
    steps: Cell<u32>,
}

impl Core {
    /// Takes the steps that are due without waiting for the alarm, where there is much to do.
    pub(super) fn archive_if_pressing(self: &Rc<Self>) {
        let presses = self.archive_store.is_some()
            && !self.archiving.is_under_way.get()
            && self
                .service
                .try_borrow()
                .is_ok_and(|service| service.archive_presses(SystemClock.now()));
        if presses {
            let core = Rc::clone(self);
            spawn_local(async move { core.archive().await });
        }
    }

    /// Takes the steps that are due. It is waited for by the alarm, so that the object stays awake;
    /// whatever else comes gets between.
    pub(super) async fn archive(self: &Rc<Self>) {
        let Some(store) = &self.archive_store else {
            return;
        };
        if self.archiving.is_under_way.replace(true) {
            return;
        }
        let until = SystemClock.now() + SPELL;
        loop {
            let now = SystemClock.now();
            if now >= until {
                break;
            }
            let step = match self.service() {
                Ok(mut service) => service.next_archive_step(now),
                Err(error) => {
                    host::log_failure(OBJECT, "not_archived", &error.to_string());
                    break;
                }
            };
            let step = match step {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(error) => {
                    host::log_failure(OBJECT, "not_archived", &error.to_string());
                    break;
                }
            };
            let outcome = store.take(&step).await;
            self.stop_for_test(&step).await;
            let outcome = match outcome {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) => {
                    Delay::from(Duration::from_millis(1)).await;
                    continue;
                }
                Err(error) => Err(error.to_string()),
            };
            let done = match self.service() {
                Ok(mut service) => service.archive_step_done(outcome, SystemClock.now()),
                Err(error) => {
                    host::log_failure(OBJECT, "not_archived", &error.to_string());
                    break;
                }
            };
            if let Err(error) = done {
                host::log_failure(OBJECT, "not_archived", &error.to_string());
                break;
            }
        }
        self.archiving.is_under_way.set(false);
    }

    /// In development, goes no further after as many steps as the variable says, and says so in the
    /// log: a test then kills the process there.
    async fn stop_for_test(&self, step: &ArchiveStep) {
        let steps = self.archiving.steps.get() + 1;
        self.archiving.steps.set(steps);
        let is = |name: &str, value: &str| {
            self.env
                .var(name)
                .is_ok_and(|variable| variable.to_string() == value)
        };
        if is("DEVELOPMENT", "1") && is(STOP_AFTER, &steps.to_string()) {
            let name = match step {
                ArchiveStep::Put { .. } => "put",
                ArchiveStep::Get { .. } => "get",
                ArchiveStep::Delete { .. } => "delete",
                ArchiveStep::Pause => "pause",
            };
            host::log_failure(OBJECT, "archive_stopped", name);
            Delay::from(SPELL * 60).await;
        }
    }

    /// Brings a segment.
    ///
    /// # Errors
    /// What to tell whoever asked for something that is in it.
    pub(super) async fn bring_segment(&self, need: &SegmentNeed) -> Result<(), Problem> {
        let unavailable = || {
            Problem::unavailable(
                "This part of the history is in the archive, which cannot be read now.",
            )
        };
        let Some(store) = &self.archive_store else {
            host::log_failure(OBJECT, "no_archive", "the binding ARCHIVE is missing");
            return Err(unavailable());
        };
        let failed = |error: &str| {
            let failure = format!("{error} ({})", need.name);
            host::log_failure(OBJECT, "segment_unreadable", &failure);
            unavailable()
        };
        let bytes = store
            .get(&need.name)
            .await
            .map_err(|error| failed(&error.to_string()))?
            .ok_or_else(|| failed("the segment is missing"))?;
        let supplied = self
            .service()
            .map_err(|error| failed(&error.to_string()))?
            .supply_segment(need, &bytes);
        supplied.map_err(|error: SegmentError| failed(&error.to_string()))
    }
}
