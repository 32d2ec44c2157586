//! What a conversation has to do with the objects of media: asking them before a message is
//! stored, and telling them which messages are gone.

use std::rc::Rc;

use parlance_shared::conversation::media::MediumRelease;
use parlance_shared::need::MediumNeed;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Clock;
use worker::wasm_bindgen_futures::spawn_local;

use super::{Core, OBJECT};
use crate::alarm;
use crate::host::{self, SystemClock};
use crate::stub::{self, CallFailure};

impl Core {
    /// Asks a medium's object whether a message may carry it.
    ///
    /// # Errors
    /// What to tell the client, where the object did not answer.
    pub(super) async fn bring_medium(&self, need: MediumNeed) -> Result<(), Problem> {
        let answer = match stub::call(&self.env, &need.media_id, need.attach).await {
            Ok(details) => Ok(details),
            Err(CallFailure::Refused(problem)) => Err(problem),
            Err(failure) => {
                host::log_failure(OBJECT, "medium_not_reached", &failure.to_string());
                return Err(failure.into_problem());
            }
        };
        match self.service() {
            Ok(mut service) => {
                service.bring_medium(need.attach.message, answer);
                Ok(())
            }
            Err(error) => {
                host::log_failure(OBJECT, "medium_not_brought", &error.to_string());
                Err(Problem::internal())
            }
        }
    }

    /// Tells media's objects which messages are gone, where some are.
    pub(super) fn release_media(self: &Rc<Self>) {
        let has_releases = self
            .service
            .try_borrow()
            .is_ok_and(|service| service.has_releases());
        if has_releases && !self.is_releasing.replace(true) {
            spawn_local(Rc::clone(self).release_all());
        }
    }

    async fn release_all(self: Rc<Self>) {
        loop {
            match self.release_next().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    host::log_failure(OBJECT, "medium_not_released", &error.to_string());
                    self.release_later().await;
                    break;
                }
            }
        }
        self.is_releasing.set(false);
    }

    /// Tells the next of them; says whether there was one.
    async fn release_next(&self) -> worker::Result<bool> {
        let failed = |error: &dyn std::fmt::Display| worker::Error::RustError(error.to_string());
        let next = self.service()?.next_release();
        let Some(next) = next.map_err(|error| failed(&error))? else {
            return Ok(false);
        };
        let MediumRelease {
            media_id, release, ..
        } = next;
        match stub::call(&self.env, &media_id, release).await {
            Ok(()) => {}
            // It will not say otherwise another time.
            Err(CallFailure::Refused(problem)) => {
                host::log_failure(OBJECT, "release_refused", problem.code.as_str());
            }
            Err(failure) => return Err(failed(&failure)),
        }
        let released = self.service()?.released(&next);
        released.map_err(|error| failed(&error))?;
        Ok(true)
    }

    /// The alarm takes it up again.
    async fn release_later(&self) {
        let now = SystemClock.now();
        let at = match self.service() {
            Ok(mut service) => service.release_later(now),
            Err(_) => return,
        };
        if let Some(at) = at
            && let Err(error) = alarm::set(&self.state, at).await
        {
            host::log_failure(OBJECT, "alarm_not_set", &error.to_string());
        }
    }
}
