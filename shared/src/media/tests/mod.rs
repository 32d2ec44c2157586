//! The rules of media, natively, over a storage that the test plays.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::call::{
    Attach, Complete, DeleteMedia, GetParts, GetThumbnailJob, LookUp, MadeThumbnail, MediaRecord,
    MediaRequest, MessageName, NoteThumbnail, PartsRecord, Register, Release, ThumbnailJob,
};
use super::errand::{Errand, Report, Stored, Which};
use super::service::{MediaService, REMOVAL_RETRY, Step, Upkeep};
use crate::entropy::SeededEntropy;
use crate::ids::{ClientMessageId, ConversationId, MediaId, UserId};
use crate::limits;
use crate::protocol::media::{
    MediaDetails, MediaView, ThumbnailState, UploadRequest, UploadedPart,
};
use crate::protocol::message::ContentType;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::OBJECT_SCOPE;
use crate::sql::native::NativeSql;
use crate::time::Timestamp;

mod life;
mod parts;

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A medium's object, and the storage that it sees.
struct World {
    sql: std::rc::Rc<NativeSql>,
    service: MediaService<std::rc::Rc<NativeSql>>,
    entropy: SeededEntropy,
    media_id: MediaId,
    owner: UserId,
    now: Timestamp,
    /// The objects, by their keys.
    objects: BTreeMap<String, Stored>,
    /// Uploads in parts that are under way.
    uploads: Vec<String>,
    /// What was left to do after the last request.
    upkeep: Upkeep,
    alarm: Option<Timestamp>,
}

impl World {
    fn new() -> Self {
        let sql = std::rc::Rc::new(NativeSql::in_memory().unwrap());
        let entropy = SeededEntropy::new(11);
        Self {
            service: MediaService::new(std::rc::Rc::clone(&sql), OBJECT_SCOPE, true),
            sql,
            media_id: MediaId::random(&entropy),
            owner: UserId::random(&entropy),
            entropy,
            now: START,
            objects: BTreeMap::new(),
            uploads: Vec::new(),
            upkeep: Upkeep::default(),
            alarm: None,
        }
    }

    /// One whose owner has announced this.
    fn announced(upload: serde_json::Value) -> Self {
        let mut world = Self::new();
        let register = world.register(upload);
        world.ask::<()>(register).unwrap();
        world
    }

    /// One whose photo of 1000 bytes is there.
    fn uploaded() -> Self {
        let mut world = Self::announced(photo());
        world.put(Which::Original, 1000, "image/jpeg");
        world
    }

    fn register(&self, upload: serde_json::Value) -> Register {
        let upload: UploadRequest = serde_json::from_value(upload).unwrap();
        Register {
            media_id: self.media_id,
            owner_id: self.owner,
            upload,
        }
    }

    fn put(&mut self, which: Which, size: u64, content_type: &str) {
        let key = super::errand::ObjectKey {
            media_id: self.media_id,
            which,
        };
        let stored = Stored {
            size,
            content_type: Some(content_type.to_owned()),
            sha256: None,
        };
        self.objects.insert(key.to_string(), stored);
    }

    fn run(&mut self, errand: Errand) -> Report {
        match errand {
            Errand::Look { key } => Report::Looked(self.objects.get(&key.to_string()).cloned()),
            Errand::BeginParts { .. } => {
                self.uploads.push("upload".to_owned());
                Report::Begun("upload".to_owned())
            }
            Errand::JoinParts { parts, .. } => {
                if parts.iter().any(|part| part.etag == "wrong") {
                    return Report::NotJoined;
                }
                self.uploads.clear();
                self.put(Which::Original, limits::MEDIA_PART_BYTES + 1, "video/mp4");
                Report::Joined
            }
            Errand::Remove { keys, .. } => {
                for key in keys {
                    self.objects.remove(&key.to_string());
                }
                self.uploads.clear();
                Report::Removed
            }
        }
    }

    fn ask<R: DeserializeOwned>(&mut self, request: impl Into<MediaRequest>) -> Result<R, Problem> {
        let request = request.into();
        let mut report = None;
        for _ in 0..5 {
            let step = self.service.handle(&request, report.take(), self.now);
            match step.map_err(ServiceError::into_problem)? {
                Step::Done(reply, upkeep) => {
                    self.keep(upkeep);
                    return Ok(serde_json::from_str(&reply).unwrap());
                }
                Step::Errand { errand, alarm, .. } => {
                    self.alarm = alarm.or(self.alarm);
                    report = Some(self.run(errand));
                }
            }
        }
        panic!("no end of errands");
    }

    /// As [`Self::ask`], of one that dies before its first errand is run.
    fn ask_and_die(&mut self, request: impl Into<MediaRequest>) {
        let step = self.service.handle(&request.into(), None, self.now);
        let Step::Errand { alarm, .. } = step.unwrap() else {
            panic!("there is no errand");
        };
        self.alarm = alarm.or(self.alarm);
        self.restart();
    }

    fn keep(&mut self, upkeep: Upkeep) {
        self.upkeep = upkeep;
        self.alarm = upkeep.alarm.or(self.alarm);
        if upkeep.forget {
            self.alarm = None;
        }
    }

    /// The object loses its memory.
    fn restart(&mut self) {
        self.service = MediaService::new(std::rc::Rc::clone(&self.sql), OBJECT_SCOPE, true);
    }

    /// Lets time pass, and the alarms that are set go off.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.alarm.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.alarm = None;
            let mut report = None;
            loop {
                match self.service.on_alarm(report.take(), self.now).unwrap() {
                    Step::Done(_, upkeep) => break self.keep(upkeep),
                    Step::Errand { errand, alarm, .. } => {
                        self.alarm = alarm;
                        report = Some(self.run(errand));
                    }
                }
            }
        }
        self.now = until;
    }

    fn message(&self) -> MessageName {
        MessageName {
            conversation_id: ConversationId::random(&self.entropy),
            sender_id: self.owner,
            client_msg_id: ClientMessageId::random(&self.entropy),
        }
    }

    fn attach(&mut self, message: MessageName) -> Result<MediaDetails, Problem> {
        self.ask(Attach {
            message,
            content_type: ContentType::Image,
            forwarded: false,
        })
    }

    fn look_up(&mut self, bytes: Option<Which>) -> Result<MediaRecord, Problem> {
        self.ask(LookUp {
            actor: self.owner,
            bytes,
            conversation_id: None,
        })
    }

    fn is_gone(&mut self) -> bool {
        self.objects.is_empty() && self.uploads.is_empty() && self.look_up(None).is_err()
    }
}

fn photo() -> serde_json::Value {
    serde_json::json!({"content_type": "image/jpeg", "size": 1000})
}
