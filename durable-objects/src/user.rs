//! The User class.
//!
//! Invariant: this object is the only writer of a user's profile, devices, tokens, conversation
//! list and inbox. What is delivered again is ignored as far as it is known. Named by the user's
//! id.
//!
//! Takes, as `POST` with a `UserRequest` in JSON: `sign_in`, `refresh`, `sign_out`,
//! `check_device`, `list_devices`, `revoke_device`, `get_profile`, `update_profile`,
//! `view_profile`, `list_conversations`, `deliver`, `signal`, `mark_read`, `mark_delivered`,
//! `watch_presence`, `unwatch_presence`, `presence_changed`, `hide_message`,
//! `update_settings`, `forget_conversation`, `block`, `list_blocks`, `blocked_by`, `admit_to`,
//! `suspend`. Answers 200 with an
//! `Answer` (the reply, or the problem to tell the client) and 400 to a body that is no such
//! request.
//! Takes upgrades with an `OpenSession` in the header [`SOCKET_HEADER`]: answers 101, or 200 with
//! an `Answer` that holds the problem.

// The durable_object macro exports methods that it does not document.
#![allow(missing_docs)]

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use js_sys::JsString;
use parlance_shared::conversation::call::{ConversationObject, SOCKET_HEADER};
use parlance_shared::conversation::socket::farewell;
use parlance_shared::object::ObjectClass;
use parlance_shared::protocol::batch;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::{Clock, Timestamp};
use parlance_shared::user::call::{OpenSession, UserObject, UserRequest};
use parlance_shared::user::effect::{Effect, Effects, Reply, RequestId, SocketId, Ticket};
use parlance_shared::user::service::UserService;
use parlance_shared::user::session::Kept;
use serde::Serialize;
use serde_json::value::RawValue;
use worker::wasm_bindgen_futures::spawn_local;
use worker::{
    Delay, DurableObject, Env, Error, Request, Response, State, WebSocket,
    WebSocketIncomingMessage, durable_object,
};

use crate::host::{self, SystemClock, SystemEntropy};
use crate::metrics::{self, ClassCounts};
use crate::sockets::{self, Socket};
use crate::sql::DurableSql;
use crate::{alarm, stub};

const OBJECT: &str = "user";

/// One user.
#[durable_object]
pub struct User {
    core: Rc<Core>,
}

/// What the handlers and the questions under way share.
struct Core {
    state: State,
    env: Env,
    counts: Rc<ClassCounts>,
    service: RefCell<UserService<DurableSql>>,
    /// The sockets: a copy of what the runtime keeps, made anew whenever the object is
    /// constructed.
    sockets: RefCell<BTreeMap<SocketId, Socket>>,
    /// Requests whose answers had to wait.
    waiting: RefCell<BTreeMap<RequestId, oneshot::Sender<Result<String, Problem>>>>,
}

impl DurableObject for User {
    fn new(state: State, env: Env) -> Self {
        if let Err(error) = sockets::answer_pings(&state) {
            host::log_failure(OBJECT, "no_auto_response", &error.to_string());
        }
        let kept = kept_sockets(&state);
        let mut service = UserService::new(DurableSql::new(&state, OBJECT), OBJECT_SCOPE)
            .with_rate_limits(host::rate_limit_scale(&env))
            .with_heartbeat(host::heartbeat(&env));
        service.wake_sessions(kept.iter().map(|(kept, _)| kept.clone()));
        let sockets = kept
            .into_iter()
            .map(|(kept, socket)| (kept.socket, socket))
            .collect();
        let counts = metrics::of(OBJECT);
        counts.started.count();
        let core = Rc::new(Core {
            state,
            env,
            counts,
            service: RefCell::new(service),
            sockets: RefCell::new(sockets),
            waiting: RefCell::new(BTreeMap::new()),
        });
        let learner = Rc::clone(&core);
        alarm::learn(&core.state, move |at| {
            learner.service()?.alarm_is(at);
            Ok(())
        });
        Self { core }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if let Some(open) = request.headers().get(SOCKET_HEADER)? {
            return self.core.open_session(&open).await;
        }
        let request: UserRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        let (reply, effects) =
            self.core
                .service()?
                .handle(request, SystemClock.now(), &SystemEntropy);
        let answer = match reply {
            Reply::Now(text) => {
                self.core.carry_out(effects).await?;
                Ok(text)
            }
            Reply::Refused(problem) => {
                self.core.carry_out(effects).await?;
                Err(problem)
            }
            Reply::Later(id) => {
                let (sender, receiver) = oneshot::channel();
                self.core
                    .waiting
                    .try_borrow_mut()
                    .map_err(host::busy)?
                    .insert(id, sender);
                self.core.carry_out(effects).await?;
                // It is dropped unanswered only with the memory of the object.
                receiver.await.unwrap_or_else(|_| Err(Problem::internal()))
            }
        };
        Ok(host::answer(OBJECT, answer.map_err(ServiceError::Refused)))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.core.counts.alarms.count();
        let pings = self.core.pings()?;
        let effects = self.core.service()?.on_alarm(SystemClock.now(), &pings);
        self.core.carry_out(effects).await?;
        Response::empty()
    }

    async fn websocket_message(
        &self,
        ws: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        self.core.counts.socket_messages_in.count();
        let socket = Socket::from(ws);
        let Some(id) = self.core.id_of(&socket) else {
            // Ended from this side already: what was still on its way is not heard.
            return Ok(());
        };
        let now = SystemClock.now();
        let effects = match message {
            WebSocketIncomingMessage::String(text) => self.core.service()?.on_text(id, &text, now),
            WebSocketIncomingMessage::Binary(_) => self.core.service()?.on_binary(id, now),
        };
        self.core.carry_out(effects).await
    }

    async fn websocket_close(
        &self,
        ws: WebSocket,
        code: usize,
        _reason: String,
        _was_clean: bool,
    ) -> worker::Result<()> {
        let socket = Socket::from(ws);
        self.core.closed(&socket).await?;
        // Answers the close frame; a socket that is gone without one has nothing to answer.
        let _ = socket.close(sockets::echo_code(code), "");
        Ok(())
    }

    async fn websocket_error(&self, ws: WebSocket, _error: Error) -> worker::Result<()> {
        self.core.closed(&Socket::from(ws)).await
    }

    // The crate's own handler panics, which would cost every object in the isolate its memory.
    async fn connect(&self, _socket: worker::Socket) -> worker::Result<()> {
        Err(Error::RustError(
            "a user takes no TCP connections".to_owned(),
        ))
    }
}

/// The sockets that the runtime kept, and what was kept with each.
fn kept_sockets(state: &State) -> Vec<(Kept, Socket)> {
    let sockets = sockets::all(state).unwrap_or_else(|error| {
        host::log_failure(OBJECT, "sockets_not_listed", &error.to_string());
        Vec::new()
    });
    sockets
        .into_iter()
        .filter_map(|socket| {
            let text = socket.attachment().ok()??;
            Some((serde_json::from_str(&text).ok()?, socket))
        })
        .collect()
}

impl Core {
    fn service(&self) -> worker::Result<RefMut<'_, UserService<DurableSql>>> {
        // Never held while something is awaited, so it is free at the start of every event.
        self.service.try_borrow_mut().map_err(host::busy)
    }

    /// When the runtime last answered a ping on each socket.
    fn pings(&self) -> worker::Result<Vec<(SocketId, Option<Timestamp>)>> {
        let sockets = self.sockets.try_borrow().map_err(host::busy_reading)?;
        Ok(sockets
            .iter()
            .map(|(id, socket)| {
                let at = socket.last_ping(&self.state).unwrap_or_else(|error| {
                    host::log_failure(OBJECT, "no_ping_time", &error.to_string());
                    None
                });
                (*id, at)
            })
            .collect())
    }

    fn id_of(&self, socket: &Socket) -> Option<SocketId> {
        let sockets = self.sockets.try_borrow().ok()?;
        sockets
            .iter()
            .find(|(_, known)| *known == socket)
            .map(|(id, _)| *id)
    }

    async fn open_session(self: &Rc<Self>, open: &str) -> worker::Result<Response> {
        let Ok(open) = serde_json::from_str::<OpenSession>(open) else {
            return Response::error("The header is not one that this version knows.", 400);
        };
        let opened = match self.service()?.open_session(&open, SystemClock.now()) {
            Ok(opened) => opened,
            Err(error) => return Ok(host::answer(OBJECT, Err(error))),
        };
        let tag = format!("d:{}", open.device_id);
        let accepted = sockets::accept(&self.state, &[&tag], &opened.state, open.subprotocol);
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                host::log_failure(OBJECT, "socket_not_accepted", &error.to_string());
                // What opening it has decided for others is carried out all the same.
                let mut effects = opened.effects;
                effects.extend(
                    self.service()?
                        .close_session(opened.socket, SystemClock.now()),
                );
                self.carry_out(effects).await?;
                let busy = Problem::unavailable("No socket could be opened now. Try again.");
                return Ok(host::answer(OBJECT, Err(ServiceError::Refused(busy))));
            }
        };
        self.sockets
            .try_borrow_mut()
            .map_err(host::busy)?
            .insert(opened.socket, accepted.socket);
        self.carry_out(opened.effects).await?;
        Ok(accepted.response)
    }

    async fn closed(self: &Rc<Self>, socket: &Socket) -> worker::Result<()> {
        let Some(id) = self.id_of(socket) else {
            return Ok(());
        };
        self.sockets
            .try_borrow_mut()
            .map_err(host::busy)?
            .remove(&id);
        let effects = self.service()?.close_session(id, SystemClock.now());
        self.carry_out(effects).await
    }

    /// Does what the rules want done, in order, and all of it: what fails is told at the end.
    async fn carry_out(self: &Rc<Self>, effects: Effects) -> worker::Result<()> {
        let mut done = Ok(());
        for effect in effects {
            match effect {
                Effect::Send { to, frames } => self.send(&to, &frames),
                Effect::Keep { socket, state } => {
                    if let Some(socket) = self.socket(socket)
                        && let Err(error) = socket.attach(&state)
                    {
                        host::log_failure(OBJECT, "not_kept", &error.to_string());
                    }
                }
                Effect::Close { socket, code } => self.close(socket, code),
                Effect::AskConversation {
                    id,
                    request,
                    ticket,
                } => {
                    self.ask::<ConversationObject>(
                        ConversationObject::object_name(&id),
                        request,
                        ticket,
                    );
                }
                Effect::AskUser {
                    id,
                    request,
                    ticket,
                } => self.ask::<UserObject>(UserObject::object_name(&id), request, ticket),
                Effect::Answer { request, answer } => match self.waiting.try_borrow_mut() {
                    Ok(mut waiting) => {
                        if let Some(waiting) = waiting.remove(&request) {
                            // The caller may have gone.
                            let _ = waiting.send(answer);
                        }
                    }
                    Err(error) => done = done.and(Err(host::busy(error))),
                },
                Effect::Failed(failure) => {
                    host::log_failure(OBJECT, "storage_failed", &failure.to_string());
                }
                Effect::Wake(at) => self.wake_at(at),
                Effect::Alarm(at) => {
                    self.counts.alarms_set.count();
                    let set = alarm::set(&self.state, at).await;
                    done = done.and(set.map_err(Into::into));
                }
            }
        }
        done
    }

    fn socket(&self, id: SocketId) -> Option<Socket> {
        self.sockets.try_borrow().ok()?.get(&id).cloned()
    }

    /// Sends frames to sockets: one as it is, several as batches.
    fn send(&self, to: &[SocketId], frames: &[ServerFrame]) {
        let is_event = |frame: &&ServerFrame| matches!(frame, ServerFrame::Event(_));
        let events = frames.iter().filter(is_event).count() * to.len();
        self.counts.events_shown.add(events as u64);
        let texts: Vec<_> = frames.iter().map(ServerFrame::to_text).collect();
        for text in batch::pack(&texts) {
            let text = JsString::from(text);
            for socket in to.iter().filter_map(|id| self.socket(*id)) {
                self.counts.socket_messages_out.count();
                // A socket that has closed meanwhile needs none: what it has not acknowledged
                // comes again.
                let _ = socket.send(&text);
            }
        }
    }

    fn close(&self, id: SocketId, code: CloseCode) {
        let socket = match self.sockets.try_borrow_mut() {
            Ok(mut sockets) => sockets.remove(&id),
            Err(error) => {
                return host::log_failure(OBJECT, "socket_not_closed", &error.to_string());
            }
        };
        if let Some(socket) = socket {
            let _ = socket.send(&JsString::from(farewell(code).to_text()));
            if let Err(error) = socket.end(code.code()) {
                host::log_failure(OBJECT, "socket_not_closed", &error.to_string());
            }
        }
    }

    /// Asks another object, and takes its answer to whoever waits for it.
    fn ask<O: ObjectClass>(
        self: &Rc<Self>,
        name: String,
        request: O::Request,
        ticket: Option<Ticket>,
    ) where
        O::Request: Serialize + 'static,
    {
        let core = Rc::clone(self);
        spawn_local(async move {
            let answer = core.ask_now::<O>(&name, &request).await;
            if let Some(ticket) = ticket {
                core.answered(ticket, answer).await;
            }
        });
    }

    async fn ask_now<O: ObjectClass>(
        &self,
        name: &str,
        request: &O::Request,
    ) -> Result<String, Problem> {
        let asked = async {
            let body = serde_json::to_string(request)
                .map_err(|error| stub::CallFailure::Impossible(error.to_string()))?;
            let body = JsString::from(body);
            let answer = stub::call_raw(&self.env, O::BINDING, name, &body).await?;
            stub::read_answer::<Box<RawValue>>(&answer)
        };
        match asked.await {
            Ok(reply) => Ok(reply.get().to_owned()),
            Err(failure) => {
                if !matches!(failure, stub::CallFailure::Refused(_)) {
                    host::log_failure(OBJECT, "not_answered", &failure.to_string());
                }
                Err(failure.into_problem())
            }
        }
    }

    async fn answered(self: &Rc<Self>, ticket: Ticket, answer: Result<String, Problem>) {
        let effects = match self.service() {
            Ok(mut service) => service.answered(ticket, answer, SystemClock.now()),
            Err(error) => {
                return host::log_failure(OBJECT, "answer_lost", &error.to_string());
            }
        };
        if let Err(error) = self.carry_out(effects).await {
            host::log_failure(OBJECT, "not_carried_out", &error.to_string());
        }
    }

    fn wake_at(self: &Rc<Self>, at: Timestamp) {
        let core = Rc::clone(self);
        spawn_local(async move {
            let wait = at.since(SystemClock.now());
            Delay::from(wait.max(Duration::from_millis(1))).await;
            let effects = match core.service() {
                Ok(mut service) => service.wake(SystemClock.now()),
                Err(error) => {
                    return host::log_failure(OBJECT, "not_woken", &error.to_string());
                }
            };
            if let Err(error) = core.carry_out(effects).await {
                host::log_failure(OBJECT, "not_carried_out", &error.to_string());
            }
        });
    }
}
