//! The rules of media.
//!
//! What always holds:
//! - A medium is sent only once its bytes are there, by its uploader, or by one who forwards a
//!   message that has it. It is noted here which message before the message is stored, so that no
//!   message that was acknowledged names a medium that clean-up has removed.
//! - A medium that no message has goes at its time, and is first marked as leaving: from then on
//!   nobody can send it. It is forgotten only once storage has nothing of it.
//! - What is wanted of storage is an errand, before which nothing has changed that the errand
//!   would have to undo: a request that dies at an errand can be made again.

mod answers;

use std::time::Duration;

use self::answers::{
    check_parts, details, done, errand, get_parts, get_thumbnail_job, has_type, look, missing,
    owned, present, thumbnail_type, view,
};
use super::call::{
    Attach, Complete, DeleteMedia, LookUp, MediaRecord, MediaRequest, NoteThumbnail, Register,
    Release,
};
use super::errand::{Errand, ObjectKey, Report, Stored, Which};
use super::schema;
use super::store::{Medium, State, Store};
use crate::ids::MediaId;
use crate::limits;
use crate::object::reply_json;
use crate::protocol::media::{MediaKind, ThumbnailState};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::migrations::LazySchema;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

/// After how long a removal that did not come to its end is tried again.
pub const REMOVAL_RETRY: Duration = Duration::from_secs(5 * 60);

/// What a request, or the alarm, has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is done: the reply's JSON, and what is to be done after the commit.
    Done(String, Upkeep),
    /// This is to be done in storage; then ask the same again, with the report.
    Errand {
        /// What.
        errand: Errand,
        /// Set the alarm, in the same commit: it goes on where this request ends early.
        alarm: Option<Timestamp>,
        /// The reply's JSON where storage does not do it now: what was asked holds all the same,
        /// and the alarm goes on.
        noted: Option<String>,
    },
}

/// What the runtime does after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Set the alarm, in the same commit.
    pub alarm: Option<Timestamp>,
    /// Nothing is left of it.
    pub forget: bool,
    /// Have a thumbnail of it made.
    pub thumbnail: Option<MediaId>,
}

/// One medium.
#[derive(Debug)]
pub struct MediaService<S> {
    sql: S,
    scope: i64,
    schema: LazySchema,
    /// How long an upload that was sent nowhere is kept.
    unused: Duration,
    /// Whether the platform makes thumbnails.
    makes_thumbnails: bool,
}

impl<S: Sql> MediaService<S> {
    /// The medium in `scope` of `sql`, on a platform that makes thumbnails or does not.
    pub const fn new(sql: S, scope: i64, makes_thumbnails: bool) -> Self {
        Self {
            sql,
            scope,
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
            unused: limits::UNUSED_MEDIA,
            makes_thumbnails,
        }
    }

    /// The same with another time for which unused uploads are kept.
    #[must_use]
    pub const fn keeping_unused_for(mut self, unused: Duration) -> Self {
        self.unused = unused;
        self
    }

    /// Does what is asked, as far as it goes without storage: `report` is what came of the errand
    /// that this request ended in last, if it did.
    ///
    /// # Errors
    /// The problem to tell the client, or the database's failure; nothing has changed then.
    pub fn handle(
        &mut self,
        request: &MediaRequest,
        report: Option<Report>,
        now: Timestamp,
    ) -> Result<Step, ServiceError> {
        if let MediaRequest::Register(call) = request {
            return self.register(call, report, now);
        }
        let medium = if self.schema.is_there(&self.sql)? {
            self.store().read()?
        } else {
            None
        };
        match request {
            MediaRequest::Register(_) => Err(Problem::internal().into()),
            MediaRequest::LookUp(call) => self.look_up(medium, *call, report),
            MediaRequest::GetParts(call) => get_parts(medium, *call),
            MediaRequest::Complete(call) => self.complete(medium, call, report),
            MediaRequest::Attach(call) => self.attach(medium, *call, report),
            MediaRequest::Release(call) => self.release(medium, *call, now),
            MediaRequest::DeleteMedia(call) => self.delete(medium, *call, report, now),
            MediaRequest::GetThumbnailJob(_) => get_thumbnail_job(medium),
            MediaRequest::NoteThumbnail(call) => self.note_thumbnail(medium, call),
        }
    }

    /// The alarm has gone off.
    ///
    /// # Errors
    /// The database's failure.
    pub fn on_alarm(&mut self, report: Option<Report>, now: Timestamp) -> Result<Step, SqlError> {
        let quiet = |upkeep| Ok(Step::Done(String::new(), upkeep));
        if !self.schema.is_there(&self.sql)? {
            return quiet(Upkeep::default());
        }
        let Some(medium) = self.store().read()? else {
            return quiet(Upkeep::default());
        };
        if medium.state == State::Leaving {
            return self.remove(medium, report, now);
        }
        if self.store().has_message()? {
            return quiet(Upkeep::default());
        }
        if now < medium.remove_at {
            return quiet(Upkeep {
                alarm: Some(medium.remove_at),
                ..Upkeep::default()
            });
        }
        self.remove(medium, report, now)
    }

    const fn store(&self) -> Store<'_, S> {
        Store {
            sql: &self.sql,
            scope: self.scope,
        }
    }

    fn register(
        &mut self,
        call: &Register,
        report: Option<Report>,
        now: Timestamp,
    ) -> Result<Step, ServiceError> {
        call.upload.validate()?;
        self.schema.make(&self.sql)?;
        if self.store().read()?.is_some() {
            return Err(Problem::new(Code::Conflict, "There is a medium of this id.").into());
        }
        let content_type = call.upload.content_type.clone();
        let upload_id = match report {
            _ if !call.upload.multipart => None,
            Some(Report::Begun(upload_id)) => Some(upload_id),
            _ => {
                return Ok(errand(Errand::BeginParts {
                    key: ObjectKey::original(call.media_id),
                    content_type,
                }));
            }
        };
        let thumbnail = if call.upload.thumbnail.is_some() {
            ThumbnailState::Announced
        } else if self.makes_thumbnails
            && call.upload.kind() == MediaKind::Image
            && content_type.has_thumbnail()
        {
            ThumbnailState::Pending
        } else {
            ThumbnailState::None
        };
        let remove_at = now + self.unused;
        self.store().write(&Medium {
            media_id: call.media_id,
            owner_id: call.owner_id,
            created_at: now,
            upload: call.upload.clone(),
            state: State::Announced,
            upload_id,
            thumbnail,
            made: None,
            remove_at,
        })?;
        let upkeep = Upkeep {
            alarm: Some(remove_at),
            ..Upkeep::default()
        };
        done(&(), upkeep)
    }

    fn look_up(
        &self,
        medium: Option<Medium>,
        call: LookUp,
        report: Option<Report>,
    ) -> Result<Step, ServiceError> {
        let mut medium = present(medium)?;
        let mut upkeep = Upkeep::default();
        let thumbnail = call.bytes == Some(Which::Thumbnail);
        if thumbnail && medium.thumbnail == ThumbnailState::Announced {
            let Some(Report::Looked(found)) = report else {
                return Ok(look(ObjectKey::thumbnail(medium.media_id)));
            };
            let is_as_announced = medium.upload.thumbnail.as_ref().is_some_and(|announced| {
                found.is_some_and(|found| {
                    found.size == announced.size && has_type(&found, &announced.content_type)
                })
            });
            if is_as_announced {
                medium.thumbnail = ThumbnailState::Ready;
                self.store().write(&medium)?;
            }
        } else if !thumbnail && medium.state == State::Announced && medium.upload_id.is_none() {
            let Some(Report::Looked(found)) = report else {
                return Ok(look(ObjectKey::original(medium.media_id)));
            };
            if let Some(found) = found {
                upkeep = self.arrived(&mut medium, &found)?;
                self.store().write(&medium)?;
            }
        }
        let is_missing = match call.bytes {
            Some(Which::Original) => medium.state != State::Uploaded,
            Some(Which::Thumbnail) => medium.thumbnail != ThumbnailState::Ready,
            None => false,
        };
        if is_missing {
            return Err(missing());
        }
        let conversation_ids = match call.conversation_id {
            Some(id) if self.store().is_in(&id)? => vec![id],
            Some(_) => Vec::new(),
            None => self.store().conversations(limits::MEDIA_CONVERSATIONS)?,
        };
        let record = MediaRecord {
            owner_id: medium.owner_id,
            thumbnail_type: thumbnail_type(&medium),
            view: view(medium),
            conversation_ids,
        };
        done(&record, upkeep)
    }

    fn complete(
        &self,
        medium: Option<Medium>,
        call: &Complete,
        report: Option<Report>,
    ) -> Result<Step, ServiceError> {
        let mut medium = owned(present(medium).ok(), call.actor)?;
        if medium.state == State::Uploaded {
            return done(&view(medium), Upkeep::default());
        }
        let key = ObjectKey::original(medium.media_id);
        match (&medium.upload_id, report) {
            (Some(upload_id), None) => {
                check_parts(&medium, call)?;
                Ok(errand(Errand::JoinParts {
                    key,
                    upload_id: upload_id.clone(),
                    parts: call.parts.clone(),
                }))
            }
            // Where storage does not take them, it may be whole already: the request that made
            // it so has died.
            (None, None) | (Some(_), Some(Report::Joined | Report::NotJoined)) => Ok(look(key)),
            (_, Some(Report::Looked(Some(found)))) => {
                let upkeep = self.arrived(&mut medium, &found)?;
                self.store().write(&medium)?;
                done(&view(medium), upkeep)
            }
            (Some(_), Some(_)) => {
                let detail = "are not the parts that were uploaded";
                Err(Problem::invalid_field("parts", detail).into())
            }
            (None, Some(_)) => Err(Problem::new(Code::Conflict, "It was not uploaded yet.").into()),
        }
    }

    fn attach(
        &self,
        medium: Option<Medium>,
        call: Attach,
        report: Option<Report>,
    ) -> Result<Step, ServiceError> {
        let unusable =
            |message: &str| ServiceError::from(Problem::invalid_field("media_id", message));
        let none = || unusable("is not a medium that was uploaded");
        let mut medium = medium
            .filter(|medium| medium.state != State::Leaving)
            .ok_or_else(none)?;
        // One who is neither is told no more than of a medium that there is not.
        if medium.owner_id != call.message.sender_id && !call.forwarded {
            return Err(none());
        }
        if !medium.upload.kind().fits(call.content_type) {
            return Err(unusable("does not fit the content_type"));
        }
        let mut upkeep = Upkeep::default();
        if medium.state == State::Announced {
            if medium.upload_id.is_some() {
                return Err(unusable(
                    "was not uploaded yet: its upload in parts is not complete",
                ));
            }
            match report {
                None => return Ok(look(ObjectKey::original(medium.media_id))),
                Some(Report::Looked(Some(found))) => {
                    upkeep = self.arrived(&mut medium, &found)?;
                }
                Some(_) => return Err(unusable("was not uploaded yet")),
            }
        }
        transact(&self.sql, || {
            let store = self.store();
            store.write(&medium)?;
            store.add_message(&call.message)
        })?;
        done(&details(&medium), upkeep)
    }

    /// Its bytes are there: they must be as they were announced.
    fn arrived(&self, medium: &mut Medium, found: &Stored) -> Result<Upkeep, ServiceError> {
        let upload = &medium.upload;
        // A digest that storage does not know of it has not checked.
        let has_digest = upload.sha256.is_none() || upload.sha256 == found.sha256;
        if found.size != upload.size || !has_type(found, &upload.content_type) || !has_digest {
            let detail = "What was uploaded is not what was announced.";
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        medium.state = State::Uploaded;
        medium.upload_id = None;
        Ok(Upkeep {
            thumbnail: (medium.thumbnail == ThumbnailState::Pending).then_some(medium.media_id),
            ..Upkeep::default()
        })
    }

    fn release(
        &self,
        medium: Option<Medium>,
        call: Release,
        now: Timestamp,
    ) -> Result<Step, ServiceError> {
        let Some(mut medium) = medium else {
            return done(&(), Upkeep::default());
        };
        let remove_at = now + limits::DELETED_CONTENT;
        let store = self.store();
        let was_last = transact(&self.sql, || {
            let had = store.has_message()?;
            store.drop_message(&call.message)?;
            // One that is leaving goes when its alarm says already, which is sooner.
            let was_last = had && !store.has_message()? && medium.state != State::Leaving;
            if was_last {
                medium.remove_at = remove_at;
                store.write(&medium)?;
            }
            Ok::<_, SqlError>(was_last)
        })?;
        let upkeep = Upkeep {
            alarm: was_last.then_some(remove_at),
            ..Upkeep::default()
        };
        done(&(), upkeep)
    }

    fn delete(
        &self,
        medium: Option<Medium>,
        call: DeleteMedia,
        report: Option<Report>,
        now: Timestamp,
    ) -> Result<Step, ServiceError> {
        let medium = owned(medium, call.actor)?;
        match self.remove(medium, report, now)? {
            Step::Done(_, upkeep) => done(&(), upkeep),
            // It is gone for everyone, whenever its bytes go.
            Step::Errand { errand, alarm, .. } => Ok(Step::Errand {
                errand,
                alarm,
                noted: Some(reply_json(&())?),
            }),
        }
    }

    /// Removes it: from here on nobody can send it.
    fn remove(
        &self,
        mut medium: Medium,
        report: Option<Report>,
        now: Timestamp,
    ) -> Result<Step, SqlError> {
        if report == Some(Report::Removed) {
            transact(&self.sql, || self.store().erase())?;
            let upkeep = Upkeep {
                forget: true,
                ..Upkeep::default()
            };
            return Ok(Step::Done(String::new(), upkeep));
        }
        if medium.state != State::Leaving {
            medium.state = State::Leaving;
            self.store().write(&medium)?;
        }
        Ok(Step::Errand {
            errand: Errand::Remove {
                keys: vec![
                    ObjectKey::original(medium.media_id),
                    ObjectKey::thumbnail(medium.media_id),
                ],
                upload_id: medium.upload_id,
            },
            alarm: Some(now + REMOVAL_RETRY),
            noted: None,
        })
    }

    fn note_thumbnail(
        &self,
        medium: Option<Medium>,
        call: &NoteThumbnail,
    ) -> Result<Step, ServiceError> {
        if let Some(mut medium) = medium.filter(|medium| medium.state == State::Uploaded) {
            medium.thumbnail = if call.made.is_some() {
                ThumbnailState::Ready
            } else {
                ThumbnailState::None
            };
            medium.made.clone_from(&call.made);
            self.store().write(&medium)?;
        }
        done(&(), Upkeep::default())
    }
}
