//! Users within a turn.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::socket::farewell;
use parlance_shared::ids::UserId;
use parlance_shared::protocol::batch;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserObject, UserRequest};
use parlance_shared::user::effect::{Effect, Effects, Reply, SocketId, Ticket};
use parlance_shared::user::service::UserService;

use crate::Host;
use crate::database::Connection;
use crate::objects::{Alarm, Object};
use crate::sessions;
use crate::turn::{Task, Turn};

/// How often sessions that wait for something are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// How many times a user's time is let pass in one turn. What is left then waits for the alarm.
const LEAPS: usize = 4;
/// Session numbers of one millisecond, so that they are never used twice.
const SOCKETS_PER_MILLI: u64 = 1000;

/// A user that a turn has loaded.
pub(crate) struct LoadedUser<D: Sql> {
    object: Object,
    service: UserService<Rc<Connection<D>>>,
    /// The sessions as they are written.
    written: BTreeMap<SocketId, sessions::Row>,
    /// The alarm as it is written, and as it is to be.
    written_alarm: Alarm,
    alarm_at: Option<Timestamp>,
    /// Moments that the service waits for.
    wakes: Vec<Timestamp>,
    /// What is to be handed to the sessions' holders.
    frames: Vec<(SocketId, ServerFrame)>,
    /// Sessions that were ended from this side.
    ended: Vec<(SocketId, CloseCode)>,
}

/// A session that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub scope: i64,
    pub socket: SocketId,
}

impl<H: Host> Turn<'_, H> {
    fn user(&mut self, id: UserId) -> Result<&mut LoadedUser<H::Database>, ServiceError> {
        if !self.users.contains_key(&id) {
            let loaded = self.load_user(id)?;
            self.users.insert(id, loaded);
        }
        self.users
            .get_mut(&id)
            .ok_or_else(|| Problem::internal().into())
    }

    fn load_user(&mut self, id: UserId) -> Result<LoadedUser<H::Database>, ServiceError> {
        let object = Object::find::<UserObject>(&self.sql, &id, &mut self.last_scope)?;
        let mut service = UserService::new(Rc::clone(&self.sql), object.scope)
            .with_rate_limits(self.place.settings.rate_limit_scale)
            .with_heartbeat(self.place.settings.heartbeat)
            .with_mortal_holders();
        let mut written = BTreeMap::new();
        let mut written_alarm = Alarm::default();
        if object.is_known() {
            written.extend(
                sessions::open(&self.sql, object.scope)?
                    .into_iter()
                    .map(|row| (row.socket, row)),
            );
            written_alarm = Alarm::read(&self.sql, object.scope)?;
        }
        let millis = u64::try_from(self.now.as_millis()).unwrap_or_default();
        let last = SocketId(millis.saturating_mul(SOCKETS_PER_MILLI));
        service.restore_sessions(last, written.values().map(|row| row.state.clone()))?;
        service.heard(written.values().map(|row| (row.socket, row.alive_at)));
        service.alarm_is(written_alarm.at);
        Ok(LoadedUser {
            object,
            service,
            written,
            written_alarm,
            alarm_at: written_alarm.at,
            wakes: Vec::new(),
            frames: Vec::new(),
            ended: Vec::new(),
        })
    }

    /// Asks a user, and works off what comes of it.
    pub fn ask_user(&mut self, id: UserId, request: UserRequest) -> Result<String, ServiceError> {
        let now = self.now;
        let entropy = self.place.host.entropy();
        let (reply, effects) = self.user(id)?.service.handle(request, now, entropy);
        self.carry_out(id, effects)?;
        match reply {
            Reply::Now(text) => Ok(text),
            Reply::Refused(problem) => Err(problem.into()),
            Reply::Later(request) => {
                self.work()?;
                if !self.answers.contains_key(&(id, request)) {
                    // It waits for what a conversation is to deliver.
                    self.deliver_all()?;
                }
                let answer = self.answers.remove(&(id, request));
                answer.unwrap_or_else(|| Err(late())).map_err(Into::into)
            }
        }
    }

    /// A user answers another object, which does not wait for what comes of it.
    pub fn user_answers(
        &mut self,
        id: UserId,
        request: UserRequest,
    ) -> Result<String, ServiceError> {
        let now = self.now;
        let entropy = self.place.host.entropy();
        let (reply, effects) = self.user(id)?.service.handle(request, now, entropy);
        self.carry_out(id, effects)?;
        match reply {
            Reply::Now(text) => Ok(text),
            Reply::Refused(problem) => Err(problem.into()),
            // No object asks another for what has to wait for a third.
            Reply::Later(_) => Err(Problem::internal().into()),
        }
    }

    /// A user gets the answer to its question.
    pub fn user_is_answered(
        &mut self,
        id: UserId,
        ticket: Ticket,
        answer: Result<String, Problem>,
    ) -> Result<(), SqlError> {
        let now = self.now;
        match self.user(id) {
            Ok(user) => {
                let effects = user.service.answered(ticket, answer, now);
                self.carry_out(id, effects)
            }
            Err(error) => self.told(error).map(|_| ()),
        }
    }

    /// Opens a session for a holder.
    pub fn open_session(&mut self, id: UserId, open: &OpenSession) -> Result<Opened, ServiceError> {
        let now = self.now;
        let user = self.user(id)?;
        let scope = user.object.scope;
        let opened = user.service.open_session(open, now)?;
        self.carry_out(id, opened.effects)?;
        Ok(Opened {
            scope,
            socket: opened.socket,
        })
    }

    /// The client of a session has said something.
    pub fn hear(&mut self, id: UserId, socket: SocketId, text: &str) -> Result<(), ServiceError> {
        let now = self.now;
        let effects = self.user(id)?.service.on_text(socket, text, now);
        self.carry_out(id, effects)?;
        Ok(())
    }

    /// The holder of a session has gone.
    pub fn close_session(&mut self, id: UserId, socket: SocketId) -> Result<(), ServiceError> {
        let now = self.now;
        let user = self.user(id)?;
        let scope = user.object.scope;
        user.written.remove(&socket);
        let effects = user.service.close_session(socket, now);
        sessions::forget(&self.sql, scope, socket)?;
        self.carry_out(id, effects)?;
        Ok(())
    }

    /// A user's time has come.
    pub fn user_alarm(&mut self, id: UserId) -> Result<(), ServiceError> {
        let now = self.now;
        let user = self.user(id)?;
        let pings: Vec<_> = user
            .written
            .values()
            .map(|row| (row.socket, Some(row.alive_at)))
            .collect();
        if user.alarm_at.is_some_and(|at| at <= now) {
            user.alarm_at = None;
            let effects = user.service.on_alarm(now, &pings);
            self.carry_out(id, effects)?;
        }
        let effects = self.user(id)?.service.wake(now);
        self.carry_out(id, effects)?;
        Ok(())
    }

    fn carry_out(&mut self, id: UserId, effects: Effects) -> Result<(), SqlError> {
        for effect in effects {
            match effect {
                Effect::AskConversation {
                    id: conversation,
                    request,
                    ticket,
                } => self.queue.push_back(Task::AskConversation {
                    id: conversation,
                    request,
                    then: ticket.map(|ticket| (id, ticket)),
                }),
                Effect::AskUser {
                    id: other,
                    request,
                    ticket,
                } => self.queue.push_back(Task::AskUser {
                    id: other,
                    request,
                    then: ticket.map(|ticket| (id, ticket)),
                }),
                Effect::Answer { request, answer } => {
                    self.answers.insert((id, request), answer);
                }
                Effect::Failed(failure) => self.survive(failure)?,
                // Sessions are written down whole at the end.
                Effect::Keep { .. } => {}
                Effect::Send { .. } | Effect::Close { .. } | Effect::Wake(_) | Effect::Alarm(_) => {
                    if let Some(user) = self.users.get_mut(&id) {
                        user.note(effect);
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the user's time pass where it waits for a moment, and writes it down.
    pub fn save_user(&mut self, id: UserId) -> Result<(), SqlError> {
        for _ in 0..LEAPS {
            let wakes = match self.users.get_mut(&id) {
                Some(user) => std::mem::take(&mut user.wakes),
                None => return Ok(()),
            };
            let Some(at) = wakes.into_iter().max() else {
                break;
            };
            let effects = match self.users.get_mut(&id) {
                Some(user) => user.service.wake(at),
                None => return Ok(()),
            };
            self.carry_out(id, effects)?;
            self.work()?;
        }
        match self.users.remove(&id) {
            Some(user) => user.save(&self.sql, self.now),
            None => Ok(()),
        }
    }
}

impl<D: Sql> LoadedUser<D> {
    fn note(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, frames } => {
                for socket in to {
                    let frames = frames.iter().cloned().map(|frame| (socket, frame));
                    self.frames.extend(frames);
                }
            }
            Effect::Close { socket, code } => {
                self.frames.push((socket, farewell(code)));
                self.ended.push((socket, code));
            }
            Effect::Wake(at) => self.wakes.push(at),
            Effect::Alarm(at) => self.alarm_at = Some(at),
            _ => {}
        }
    }

    fn save(mut self, sql: &Connection<D>, now: Timestamp) -> Result<(), SqlError> {
        let scope = self.object.scope;
        let states = self.service.session_states().map_err(storage)?;
        for (socket, state) in &states {
            if self
                .written
                .get(socket)
                .is_none_or(|row| row.state != *state)
            {
                sessions::save(sql, scope, *socket, state, now)?;
            }
        }
        let mut texts: BTreeMap<SocketId, Vec<String>> = BTreeMap::new();
        for (socket, frame) in &self.frames {
            texts.entry(*socket).or_default().push(frame.to_text());
        }
        for (socket, texts) in texts {
            let has_holder = self.written.contains_key(&socket)
                || states.iter().any(|(known, _)| *known == socket);
            if has_holder {
                sessions::push(sql, scope, socket, &batch::pack(&texts))?;
            }
        }
        for (socket, code) in &self.ended {
            if self.written.contains_key(socket) {
                sessions::end(sql, scope, *socket, code.code())?;
            }
        }
        let alarm = Alarm {
            at: self.alarm_at,
            wake_at: self
                .service
                .has_waiting_sessions()
                .then(|| now + LOOK_AFTER),
        };
        if alarm != self.written_alarm {
            alarm.write(sql, scope)?;
        }
        self.object.keep_if_written(sql)
    }
}

fn late() -> Problem {
    Problem::unavailable("What this waits for has not come yet. Try again.")
}

fn storage(error: ServiceError) -> SqlError {
    match error {
        ServiceError::Storage(failure) => failure,
        ServiceError::Refused(problem) => SqlError::Engine(problem.detail),
        ServiceError::Needs(need) => SqlError::Needs(Box::new(need)),
    }
}
