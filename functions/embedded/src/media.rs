//! Media: turns of their objects, and between two of them what they want of object storage.
//!
//! What always holds: no transaction is open while storage is waited for; a removal that breaks
//! off is carried on by maintenance.

use std::rc::Rc;

use parlance_shared::ids::MediaId;
use parlance_shared::media::call::{MediaObject, MediaRequest};
use parlance_shared::media::errand::{Errand, Report};
use parlance_shared::media::service::{MediaService, REMOVAL_RETRY, Step, Upkeep};
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_storage::s3::{S3, StorageError};

use crate::database::{Connection, Mode};
use crate::objects::{Alarm, Object};
use crate::turn::Turn;
use crate::{Host, Place};

/// What a turn asks of a medium.
enum Ask<'a> {
    Request(&'a MediaRequest),
    Alarm,
}

impl<H: Host> Turn<'_, H> {
    /// Asks a medium, of another object's turn: nothing where storage has to be asked first.
    pub fn ask_media(
        &mut self,
        id: MediaId,
        request: &MediaRequest,
    ) -> Result<Option<String>, ServiceError> {
        match self.step_of(id, &Ask::Request(request), None)? {
            Step::Done(reply, _) => Ok(Some(reply)),
            Step::Errand { .. } => Ok(None),
        }
    }

    /// A medium does what it is asked, as far as it goes without storage.
    fn step_of(
        &mut self,
        id: MediaId,
        ask: &Ask<'_>,
        report: Option<Report>,
    ) -> Result<Step, ServiceError> {
        let mut object = Object::find::<MediaObject>(&self.sql, &id, &mut self.last_scope)?;
        let unused = self.place.settings.unused_media;
        let mut service =
            MediaService::new(Rc::clone(&self.sql), object.scope, false).keeping_unused_for(unused);
        let step = match ask {
            Ask::Request(request) => service.handle(request, report, self.now)?,
            Ask::Alarm => {
                // It has gone off: unless the service sets it again, none is set.
                Alarm::default().write(&self.sql, object.scope)?;
                service.on_alarm(report, self.now)?
            }
        };
        object.keep_if_written(&self.sql)?;
        let alarm = match &step {
            Step::Done(_, Upkeep { forget: true, .. }) => {
                object.forget(&self.sql)?;
                None
            }
            Step::Done(_, upkeep) => upkeep.alarm,
            Step::Errand { alarm, .. } => *alarm,
        };
        if let Some(at) = alarm.filter(|_| object.is_known()) {
            let alarm = Alarm {
                at: Some(at),
                wake_at: None,
            };
            alarm.write(&self.sql, object.scope)?;
        }
        Ok(step)
    }
}

impl<H: Host> Place<H> {
    /// Asks a medium.
    pub async fn ask_media(
        &self,
        sql: &Rc<Connection<H::Database>>,
        id: MediaId,
        request: &MediaRequest,
    ) -> Result<String, ServiceError> {
        let mut report = None;
        loop {
            let ask = Ask::Request(request);
            let step = self
                .turn(sql, Mode::Write, 0, |turn| {
                    turn.step_of(id, &ask, report.clone())
                })
                .await?;
            match step {
                Step::Done(reply, _) => return Ok(reply),
                Step::Errand { errand, noted, .. } => match self.run(&errand).await {
                    Ok(done) => report = Some(done),
                    Err(error) => {
                        self.failed("media_storage_failed", &error.to_string());
                        let detail = "The storage for media did not answer. Try again.";
                        return noted.ok_or_else(|| Problem::unavailable(detail).into());
                    }
                },
            }
        }
    }

    /// A medium's time has come.
    pub async fn media_alarm(
        &self,
        sql: &Rc<Connection<H::Database>>,
        id: MediaId,
    ) -> Result<(), ServiceError> {
        let mut report = None;
        loop {
            let step = self
                .turn(sql, Mode::Write, 0, |turn| {
                    turn.step_of(id, &Ask::Alarm, report.clone())
                })
                .await?;
            match step {
                Step::Done(..) => return Ok(()),
                // Its alarm is set again already: where storage fails, it is tried then.
                Step::Errand { errand, .. } => match self.run(&errand).await {
                    Ok(done) => report = Some(done),
                    Err(error) => {
                        let detail = format!("{error}; again in {REMOVAL_RETRY:?}");
                        self.failed("media_storage_failed", &detail);
                        return Ok(());
                    }
                },
            }
        }
    }

    /// Carries out an errand.
    async fn run(&self, errand: &Errand) -> Result<Report, StorageError> {
        let Some(s3) = &self.settings.storage else {
            return Err(StorageError("none is configured".to_owned()));
        };
        let mut answers = Vec::new();
        for request in s3.requests(errand, self.host.now())? {
            let answer = self.host.send(request).await;
            answers.push(answer.map_err(|error| StorageError(error.to_string()))?);
        }
        S3::report(errand, &answers)
    }
}
