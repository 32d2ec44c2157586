//! `durable-objects/src/user.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserRequest};
use parlance_shared::user::effect::{Effect, Effects, Reply, RequestId, SocketId};
use parlance_shared::user::service::UserService;
use parlance_shared::user::session::Kept;

use super::{CallId, Failure, ObjectId, Outcome, Output, Then, Timer, Turn, WireId, told};
use crate::disk::Disk;

/// A user object in memory.
#[derive(Debug)]
pub struct UserModel {
    service: UserService<Rc<Disk>>,
    sockets: BTreeMap<SocketId, WireId>,
    waiting: BTreeMap<RequestId, CallId>,
    calls: usize,
    timers: usize,
}

impl UserModel {
    pub(super) fn new(
        disk: Rc<Disk>,
        alarm: Option<Timestamp>,
        sockets: &BTreeMap<WireId, String>,
    ) -> Self {
        let kept: Vec<(Kept, WireId)> = sockets
            .iter()
            .filter_map(|(wire, text)| Some((serde_json::from_str(text).ok()?, *wire)))
            .collect();
        let mut service = UserService::new(disk, OBJECT_SCOPE).with_rate_limits(1.0);
        service.wake_sessions(kept.iter().map(|(kept, _)| kept.clone()));
        service.alarm_is(alarm);
        Self {
            service,
            sockets: kept
                .into_iter()
                .map(|(kept, wire)| (kept.socket, wire))
                .collect(),
            waiting: BTreeMap::new(),
            calls: 0,
            timers: 0,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.calls > 0 || self.timers > 0 || !self.waiting.is_empty()
    }

    pub(super) fn request(&mut self, turn: &mut Turn<'_>, call: CallId, body: &Rc<str>) {
        let request: UserRequest = serde_json::from_str(body).expect("a request");
        let (reply, effects) = self.service.handle(request, turn.now, turn.dice);
        match reply {
            Reply::Now(text) => {
                self.carry_out(turn, effects);
                turn.output.push(Output::Answer(call, Ok(text)));
            }
            Reply::Refused(problem) => {
                self.carry_out(turn, effects);
                turn.output.push(Output::Answer(call, Err(problem)));
            }
            Reply::Later(id) => {
                self.waiting.insert(id, call);
                self.carry_out(turn, effects);
            }
        }
    }

    pub(super) fn alarm(&mut self, turn: &mut Turn<'_>) {
        let pings: Vec<_> = self
            .sockets
            .iter()
            .map(|(id, wire)| (*id, turn.pings.get(wire).copied()))
            .collect();
        let effects = self.service.on_alarm(turn.now, &pings);
        self.carry_out(turn, effects);
    }

    pub(super) fn frame(&mut self, turn: &mut Turn<'_>, wire: WireId, text: &str) {
        let Some(id) = self.id_of(wire) else {
            return;
        };
        let effects = self.service.on_text(id, text, turn.now);
        self.carry_out(turn, effects);
    }

    pub(super) fn closed(&mut self, turn: &mut Turn<'_>, wire: WireId) {
        turn.sockets.remove(&wire);
        let Some(id) = self.id_of(wire) else {
            return;
        };
        self.sockets.remove(&id);
        let effects = self.service.close_session(id, turn.now);
        self.carry_out(turn, effects);
    }

    pub(super) fn open(&mut self, turn: &mut Turn<'_>, wire: WireId, open: &str) {
        let open: OpenSession = serde_json::from_str(open).expect("an upgrade");
        let opened = match self.service.open_session(&open, turn.now) {
            Ok(opened) => opened,
            Err(error) => {
                let problem = told(turn, error);
                turn.output.push(Output::Refuse(wire, problem));
                return;
            }
        };
        turn.sockets.insert(wire, opened.state);
        turn.output.push(Output::Accept(wire));
        self.sockets.insert(opened.socket, wire);
        self.carry_out(turn, opened.effects);
    }

    pub(super) fn resume(&mut self, turn: &mut Turn<'_>, then: Then, outcome: Outcome) {
        self.calls = self.calls.saturating_sub(1);
        let Then::Ticket(Some(ticket)) = then else {
            return;
        };
        let answer = outcome
            .map(|reply| reply.to_string())
            .map_err(Failure::into_problem);
        let effects = self.service.answered(ticket, answer, turn.now);
        self.carry_out(turn, effects);
    }

    pub(super) fn woken(&mut self, turn: &mut Turn<'_>) {
        self.timers = self.timers.saturating_sub(1);
        let effects = self.service.wake(turn.now);
        self.carry_out(turn, effects);
    }

    fn id_of(&self, wire: WireId) -> Option<SocketId> {
        self.sockets
            .iter()
            .find(|(_, known)| **known == wire)
            .map(|(id, _)| *id)
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send { to, frames } => {
                    let to: Vec<_> = to
                        .iter()
                        .filter_map(|id| self.sockets.get(id).copied())
                        .collect();
                    turn.send(&to, &frames);
                }
                Effect::Keep { socket, state } => {
                    if let Some(wire) = self.sockets.get(&socket)
                        && let Some(kept) = turn.sockets.get_mut(wire)
                    {
                        *kept = state;
                    }
                }
                Effect::Close { socket, code } => {
                    if let Some(wire) = self.sockets.remove(&socket) {
                        turn.dismiss(wire, code);
                    }
                }
                Effect::AskConversation {
                    id,
                    request,
                    ticket,
                } => {
                    let body = serde_json::to_string(&request).expect("a request");
                    self.ask(turn, ObjectId::Conversation(id), body, Then::Ticket(ticket));
                }
                Effect::AskUser {
                    id,
                    request,
                    ticket,
                } => {
                    let body = serde_json::to_string(&request).expect("a request");
                    self.ask(turn, ObjectId::User(id), body, Then::Ticket(ticket));
                }
                Effect::Answer { request, answer } => {
                    if let Some(call) = self.waiting.remove(&request) {
                        turn.output.push(Output::Answer(call, answer));
                    }
                }
                Effect::Failed(_) => turn.failures += 1,
                Effect::Wake(at) => {
                    self.timers += 1;
                    let wait = at.since(turn.now).as_millis();
                    let wait = u64::try_from(wait).unwrap_or(u64::MAX).max(1);
                    turn.timers.push((wait, Timer::Wake));
                }
                Effect::Alarm(at) => turn.alarm = Some(at),
            }
        }
    }

    fn ask(&mut self, turn: &mut Turn<'_>, to: ObjectId, body: String, then: Then) {
        self.calls += 1;
        turn.output.push(Output::Call { to, body, then });
    }
}
