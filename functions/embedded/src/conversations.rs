//! Conversations within a turn.

use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_shared::conversation::call::{ConversationObject, ConversationRequest};
use parlance_shared::conversation::deliver::Round;
use parlance_shared::conversation::service::{ConversationService, Effects};
use parlance_shared::frame_rate::FrameRates;
use parlance_shared::ids::{ConversationId, DeviceId};
use parlance_shared::need::Need;
use parlance_shared::params;
use parlance_shared::protocol::problem::{Code, Problem, ServiceError};
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::Delivered;

use crate::Host;
use crate::database::Connection;
use crate::objects::{Alarm, Object};
use crate::turn::{Task, Turn};

/// A conversation that a turn has loaded.
pub(crate) struct LoadedConversation<D: Sql> {
    object: Object,
    pub service: ConversationService<Rc<Connection<D>>>,
    written_alarm: Alarm,
    alarm_at: Option<Timestamp>,
    /// Whether something was done that its alarm looks after.
    is_touched: bool,
    /// Deliveries may be due.
    delivers: bool,
    /// Deliveries are due that this turn may not make.
    has_more: bool,
}

impl<H: Host> Turn<'_, H> {
    fn conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<&mut LoadedConversation<H::Database>, ServiceError> {
        if !self.conversations.contains_key(&id) {
            let loaded = self.load_conversation(id)?;
            self.conversations.insert(id, loaded);
        }
        self.conversations
            .get_mut(&id)
            .ok_or_else(|| Problem::internal().into())
    }

    fn load_conversation(
        &mut self,
        id: ConversationId,
    ) -> Result<LoadedConversation<H::Database>, SqlError> {
        let object = Object::find::<ConversationObject>(&self.sql, &id, &mut self.last_scope)?;
        // How much a device may say is counted in rows (`admit_message`), not by the service.
        let mut service =
            ConversationService::new(Rc::clone(&self.sql), object.scope).with_rate_limits(0.0);
        let written_alarm = if object.is_known() {
            Alarm::read(&self.sql, object.scope)?
        } else {
            Alarm::default()
        };
        service.alarm_is(written_alarm.at, self.now);
        Ok(LoadedConversation {
            object,
            service,
            written_alarm,
            alarm_at: written_alarm.at,
            is_touched: false,
            delivers: false,
            has_more: false,
        })
    }

    /// A conversation does what it is asked.
    pub fn conversation_answers(
        &mut self,
        id: ConversationId,
        request: ConversationRequest,
    ) -> Result<String, ServiceError> {
        let now = self.now;
        let entropy = self.place.host.entropy();
        loop {
            let service = &mut self.conversation(id)?.service;
            match service.handle(request.clone(), now, entropy) {
                Ok((reply, effects)) => {
                    self.carry_out_of(id, effects)?;
                    return Ok(reply);
                }
                Err(ServiceError::Needs(need)) => self.bring(id, need)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a token for a message that a device sends over HTTP.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit_message(&self, device_id: DeviceId) -> Result<(), ServiceError> {
        let rates: Option<String> = self
            .sql
            .exec(
                "SELECT rates FROM device_rate WHERE device_id = ?",
                params![&device_id],
            )?
            .scalar()?;
        // What cannot be read is of another version, and forgotten within seconds anyway.
        let mut rates: FrameRates = rates
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        rates.admit_message(self.place.settings.rate_limit_scale, self.now)?;
        let text =
            serde_json::to_string(&rates).map_err(|error| SqlError::Engine(error.to_string()))?;
        self.sql.exec(
            "INSERT INTO device_rate (device_id, used_at, rates) VALUES (?, ?, ?)
             ON CONFLICT (device_id) DO UPDATE SET used_at = excluded.used_at,
                rates = excluded.rates",
            params![&device_id, self.now.as_millis(), &text],
        )?;
        Ok(())
    }

    /// A conversation's time has come.
    pub fn conversation_alarm(&mut self, id: ConversationId) -> Result<(), ServiceError> {
        let now = self.now;
        let entropy = self.place.host.entropy();
        let conversation = self.conversation(id)?;
        conversation.is_touched = true;
        conversation.delivers = true;
        let mut effects = Effects::default();
        conversation.service.on_timers(now, entropy, &mut effects)?;
        while let Some(need) = effects.needs.take() {
            // What cannot be brought within the turn is tried again when the alarm goes off next.
            if let Err(error) = self.bring(id, need) {
                self.told(error)?;
                break;
            }
            let service = &mut self.conversation(id)?.service;
            service.on_timers(now, entropy, &mut effects)?;
        }
        Ok(self.carry_out_of(id, effects)?)
    }

    /// Brings what a conversation needs, as far as it is in the database.
    fn bring(&mut self, id: ConversationId, need: Need) -> Result<(), ServiceError> {
        let Need::Medium(medium) = need else {
            return Err(ServiceError::Needs(need));
        };
        let answer = match self.ask_media(medium.media_id, &medium.attach.into()) {
            Ok(Some(reply)) => Ok(serde_json::from_str(&reply).map_err(|_| {
                ServiceError::from(SqlError::Engine("an answer that is none".to_owned()))
            })?),
            // Storage has to be asked first, for which no turn waits.
            Ok(None) => return Err(ServiceError::Needs(need)),
            Err(ServiceError::Refused(problem)) => Err(problem),
            Err(error) => return Err(error),
        };
        let service = &mut self.conversation(id)?.service;
        service.bring_medium(medium.attach.message, answer);
        Ok(())
    }

    /// Tells media which messages they are no longer in.
    fn release_media(&mut self, id: ConversationId) -> Result<(), SqlError> {
        while let Some(conversation) = self.conversations.get_mut(&id) {
            if !conversation.service.has_releases() {
                break;
            }
            let Some(next) = conversation.service.next_release()? else {
                break;
            };
            if let Err(error) = self.ask_media(next.media_id, &next.release.into()) {
                self.told(error)?;
            }
            if let Some(conversation) = self.conversations.get_mut(&id) {
                conversation.service.released(&next)?;
            }
        }
        Ok(())
    }

    fn carry_out_of(&mut self, id: ConversationId, effects: Effects) -> Result<(), SqlError> {
        if let Some(failure) = effects.failure {
            self.survive(failure)?;
        }
        self.release_media(id)?;
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return Ok(());
        };
        if effects.alarm.is_some() {
            conversation.alarm_at = effects.alarm;
            conversation.is_touched = true;
        }
        if effects.deliver {
            conversation.delivers = true;
            conversation.is_touched = true;
        }
        // Broadcasts and marks are of sockets that are attached there: there are none.
        let signals: BTreeMap<_, _> = conversation.service.signals_due(effects.signals);
        for (to, frames) in signals {
            self.queue.push_back(Task::Signal {
                from: id,
                to,
                frames,
            });
        }
        Ok(())
    }

    /// Makes the deliveries that are due, as many as this turn may.
    pub fn deliver(&mut self, id: ConversationId) -> Result<(), SqlError> {
        let now = self.now;
        let mut round = Round::default();
        loop {
            let Some(conversation) = self.conversations.get_mut(&id) else {
                return Ok(());
            };
            if !conversation.delivers {
                return Ok(());
            }
            if self.deliveries == 0 {
                conversation.has_more = true;
                return Ok(());
            }
            let delivery = match conversation.service.next_delivery(&mut round, now) {
                Ok(Some(delivery)) => delivery,
                Ok(None) => return Ok(()),
                // Its lane waits; the others go on.
                Err(failure) => {
                    self.survive(failure)?;
                    continue;
                }
            };
            self.deliveries -= 1;
            let user_id = delivery.user_id;
            let taken = self
                .user_answers(user_id, delivery.call(Vec::new()).into())
                .and_then(|reply| {
                    serde_json::from_str::<Delivered>(&reply).map_err(|error| {
                        SqlError::Engine(format!("a reply cannot be read: {error}")).into()
                    })
                });
            let effects = self.taken(id, taken, &delivery.user_id)?;
            self.carry_out_of(id, effects)?;
            self.work()?;
            self.save_user(user_id)?;
        }
    }

    fn taken(
        &mut self,
        id: ConversationId,
        taken: Result<Delivered, ServiceError>,
        user_id: &parlance_shared::ids::UserId,
    ) -> Result<Effects, SqlError> {
        let now = self.now;
        let taken = match taken {
            Ok(delivered) => Ok(delivered),
            Err(error) => Err(self.told(error)?),
        };
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return Ok(Effects::default());
        };
        let service = &mut conversation.service;
        match taken {
            Ok(delivered) => match service.delivered(*user_id, &delivered, now) {
                Ok(effects) => return Ok(effects),
                Err(failure) => self.survive(failure)?,
            },
            Err(problem) if problem.code == Code::NotFound => {
                service.undeliverable(*user_id, now);
            }
            Err(_) => service.delivery_failed(*user_id, now),
        }
        Ok(Effects::default())
    }

    /// Lets the conversation write down what it keeps in memory, and its alarm.
    pub fn save_conversation(&mut self, id: ConversationId) -> Result<(), SqlError> {
        let now = self.now;
        let Some(mut conversation) = self.conversations.remove(&id) else {
            return Ok(());
        };
        if conversation.is_touched && conversation.alarm_at.is_some() {
            let effects = conversation.service.on_alarm(now)?;
            conversation.alarm_at = effects.alarm;
        }
        // What an earlier turn left to deliver is left still, unless this one delivered.
        let left = match conversation.written_alarm.wake_at {
            Some(at) if !conversation.delivers => Some(at),
            _ => conversation.has_more.then_some(now),
        };
        let alarm = Alarm {
            at: conversation.alarm_at,
            wake_at: left,
        };
        if alarm != conversation.written_alarm {
            alarm.write(&self.sql, conversation.object.scope)?;
        }
        conversation.object.keep_if_written(&self.sql)
    }
}
