//! The Conversation class.
//!
//! Invariant: this object is the only writer of a conversation's log. It commits, then
//! acknowledges, then delivers: the runtime's output gate holds every frame, answer and call
//! until what was written before is on disk. Named by the conversation's id.
//!
//! Takes, as `POST` with a `ConversationRequest` in JSON: `create`, `get_conversation`,
//! `list_members`, `send`, `list_messages`, `list_events`. Answers 200 with an `Answer` (the
//! reply, or the problem to tell the client) and 400 to a body that is no such request.
//! Takes upgrades with an `OpenSocket` in the header [`SOCKET_HEADER`]: answers 101, or 200 with
//! an `Answer` that holds the problem.
//!
//! Its alarm goes off some seconds after an event, to see whether every member's user object has
//! it; see `parlance_shared::conversation::service`.

// The durable_object macro exports methods that it does not document.
#![allow(missing_docs)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::JsString;
use parlance_shared::conversation::call::{ConversationRequest, OpenSocket, SOCKET_HEADER};
use parlance_shared::conversation::deliver::Delivery;
use parlance_shared::conversation::service::{ConversationService, Effects};
use parlance_shared::conversation::socket::{self, Outcome, SocketSession};
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::problem::{Code, Problem, ServiceError};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::{Clock, Timestamp};
use worker::wasm_bindgen_futures::spawn_local;
use worker::{
    Delay, DurableObject, Env, Error, Request, Response, State, WebSocket,
    WebSocketIncomingMessage, durable_object,
};

use crate::call;
use crate::host::{self, SystemClock, SystemEntropy};
use crate::sockets::{self, Socket};
use crate::sql::DurableSql;
use crate::stub::CallFailure;
use crate::{alarm, host::HostError};

const OBJECT: &str = "conversation";
/// Deliveries in flight at once.
const WAVE: usize = 64;
/// Waits up to this long are slept through; longer ones are left to the alarm.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// One conversation.
#[durable_object]
pub struct Conversation {
    core: Rc<Core>,
}

/// What the handlers and the deliveries under way share.
struct Core {
    state: State,
    env: Env,
    service: RefCell<ConversationService<DurableSql>>,
    /// The sockets that are attached: a copy of what the runtime keeps, made anew whenever the
    /// object is constructed.
    attached: RefCell<Vec<Attached>>,
    in_flight: Cell<usize>,
    sleeping: Cell<bool>,
}

#[derive(Clone)]
struct Attached {
    socket: Socket,
    session: SocketSession,
}

impl DurableObject for Conversation {
    fn new(state: State, env: Env) -> Self {
        if let Err(error) = sockets::answer_pings(&state) {
            host::log_failure(OBJECT, "no_auto_response", &error.to_string());
        }
        let attached = attached(&state);
        let service = ConversationService::new(DurableSql::new(&state), OBJECT_SCOPE);
        let core = Rc::new(Core {
            state,
            env,
            service: RefCell::new(service),
            attached: RefCell::new(attached),
            in_flight: Cell::new(0),
            sleeping: Cell::new(false),
        });
        // Whether an alarm is set says whether something may be left to deliver. No event comes
        // in before this is known; were it not to be had, the runtime starts the object anew.
        let learner = Rc::clone(&core);
        let _gate = core.state.block_concurrency_while(async move {
            let alarm = alarm::get(&learner.state).await?;
            learner
                .service
                .try_borrow_mut()
                .map_err(host::busy)?
                .alarm_is(alarm.is_some());
            Ok(())
        });
        Self { core }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if let Some(open) = request.headers().get(SOCKET_HEADER)? {
            return self.core.open_socket(&open);
        }
        let request: ConversationRequest = match host::read_request(OBJECT, &mut request).await {
            Ok(request) => request,
            Err(response) => return Ok(response),
        };
        let outcome = self
            .core
            .service()?
            .handle(request, SystemClock.now(), &SystemEntropy);
        let outcome = match outcome {
            Ok((reply, effects)) => {
                self.core.set_alarm(&effects).await?;
                self.core.carry_out(effects);
                Ok(reply)
            }
            Err(error) => Err(error),
        };
        Ok(host::answer(OBJECT, outcome))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let effects = self
            .core
            .service()?
            .on_alarm(SystemClock.now())
            .map_err(|error| Error::RustError(error.to_string()))?;
        self.core.set_alarm(&effects).await?;
        self.core.carry_out(effects);
        Response::empty()
    }

    async fn websocket_message(
        &self,
        ws: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        let socket = Socket::from(ws);
        let outcome = match (session(&socket), message) {
            (Some(session), WebSocketIncomingMessage::String(text)) => socket::on_text(
                &mut *self.core.service()?,
                &session,
                &text,
                SystemClock.now(),
                &SystemEntropy,
            ),
            (Some(_), WebSocketIncomingMessage::Binary(_)) => socket::on_binary(),
            // Not one of ours: it cannot be answered for.
            (None, _) => Outcome {
                close: Some(CloseCode::ProtocolError),
                ..Outcome::default()
            },
        };
        self.core.set_alarm(&outcome.effects).await?;
        self.core.finish(&socket, outcome);
        Ok(())
    }

    async fn websocket_close(
        &self,
        ws: WebSocket,
        code: usize,
        _reason: String,
        _was_clean: bool,
    ) -> worker::Result<()> {
        let socket = Socket::from(ws);
        self.core.detach(&socket)?;
        // Answers the close frame; a socket that is gone without one has nothing to answer.
        let code = u16::try_from(code).unwrap_or(1000);
        let echo = if matches!(code, 1000 | 3000..=4999) {
            code
        } else {
            1000
        };
        let _ = socket.close(echo, "");
        Ok(())
    }

    // The crate's own handler panics, which would cost every object in the isolate its memory.
    async fn connect(&self, _socket: worker::Socket) -> worker::Result<()> {
        Err(Error::RustError(
            "a conversation takes no TCP connections".to_owned(),
        ))
    }

    async fn websocket_error(&self, ws: WebSocket, _error: Error) -> worker::Result<()> {
        self.core.detach(&Socket::from(ws))
    }
}

/// Whom a socket speaks for, as it was kept with it.
fn session(socket: &Socket) -> Option<SocketSession> {
    let kept = socket.attachment().ok()??;
    serde_json::from_str(&kept).ok()
}

fn attached(state: &State) -> Vec<Attached> {
    let sockets = sockets::all(state).unwrap_or_else(|error| {
        host::log_failure(OBJECT, "sockets_not_listed", &error.to_string());
        Vec::new()
    });
    sockets
        .into_iter()
        .filter_map(|socket| session(&socket).map(|session| Attached { socket, session }))
        .collect()
}

impl Core {
    fn service(&self) -> worker::Result<std::cell::RefMut<'_, ConversationService<DurableSql>>> {
        // Never held while something is awaited, so it is free at the start of every event.
        self.service.try_borrow_mut().map_err(host::busy)
    }

    fn open_socket(self: &Rc<Self>, open: &str) -> worker::Result<Response> {
        let Ok(open) = serde_json::from_str::<OpenSocket>(open) else {
            return Response::error("The header is not one that this version knows.", 400);
        };
        let now = SystemClock.now();
        let frames = match socket::open(&mut *self.service()?, &open, now) {
            Ok(frames) => frames,
            Err(error) => return Ok(host::answer(OBJECT, Err(error))),
        };
        let session = SocketSession::from(&open);
        let kept = serde_json::to_string(&session)?;
        let tags = [
            format!("u:{}", open.user_id),
            format!("d:{}", open.device_id),
        ];
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let accepted = match sockets::accept(&self.state, &tags, &kept, open.subprotocol) {
            Ok(accepted) => accepted,
            Err(error) => {
                host::log_failure(OBJECT, "socket_not_accepted", &error.to_string());
                let busy = Problem::unavailable("This conversation takes no more sockets now.");
                return Ok(host::answer(OBJECT, Err(ServiceError::Refused(busy))));
            }
        };
        for frame in &frames {
            tell(&accepted.socket, &JsString::from(frame.to_text()));
        }
        self.attached
            .try_borrow_mut()
            .map_err(host::busy)?
            .push(Attached {
                socket: accepted.socket,
                session,
            });
        // The members' deliveries may have been cut off by a crash: any event takes them up.
        self.deliver();
        Ok(accepted.response)
    }

    fn detach(&self, socket: &Socket) -> worker::Result<()> {
        self.attached
            .try_borrow_mut()
            .map_err(host::busy)?
            .retain(|attached| attached.socket != *socket);
        Ok(())
    }

    /// Sets the alarm that was asked for. It is called in the same turn as the write that it
    /// belongs to, so both are committed together; an ack waits for both.
    async fn set_alarm(&self, effects: &Effects) -> Result<(), HostError> {
        match effects.alarm {
            Some(at) => alarm::set(&self.state, at).await,
            None => Ok(()),
        }
    }

    /// Answers a frame, then does what came of it.
    fn finish(self: &Rc<Self>, socket: &Socket, outcome: Outcome) {
        if let Some(failure) = &outcome.failure {
            host::log_failure(OBJECT, "storage_failed", &failure.to_string());
        }
        for reply in &outcome.replies {
            tell(socket, &JsString::from(reply.to_text()));
        }
        self.carry_out(outcome.effects);
        if let Some(code) = outcome.close {
            self.dismiss(socket, code);
        }
    }

    /// Tells a client why, and closes its socket.
    fn dismiss(&self, socket: &Socket, code: CloseCode) {
        tell(socket, &JsString::from(socket::farewell(code).to_text()));
        if let Err(error) = socket.close(code.code(), "") {
            host::log_failure(OBJECT, "socket_not_closed", &error.to_string());
        }
        if let Err(error) = self.detach(socket) {
            host::log_failure(OBJECT, "socket_not_detached", &error.to_string());
        }
    }

    fn carry_out(self: &Rc<Self>, effects: Effects) {
        for event in effects.broadcast {
            self.broadcast(event);
        }
        if effects.deliver {
            self.deliver();
        }
    }

    /// Sends an event to every socket. It is written once for the sender and once for all others.
    fn broadcast(&self, event: Event) {
        let attached = match self.attached.try_borrow() {
            Ok(attached) => attached.clone(),
            Err(error) => {
                return host::log_failure(OBJECT, "not_broadcast", &error.to_string());
            }
        };
        if attached.is_empty() {
            return;
        }
        let now = SystemClock.now();
        let sender = event.as_message().map(|message| message.sender_id);
        let has_sender = attached
            .iter()
            .any(|one| Some(one.session.user_id) == sender);
        let own = has_sender.then(|| JsString::from(ServerFrame::Event(event.clone()).to_text()));
        let others = JsString::from(ServerFrame::Event(event.seen_by_others()).to_text());
        for Attached { socket, session } in attached {
            if session.expires_at <= now {
                self.dismiss(&socket, CloseCode::TokenExpired);
                continue;
            }
            let is_own = Some(session.user_id) == sender;
            tell(&socket, own.as_ref().filter(|_| is_own).unwrap_or(&others));
        }
    }

    /// Starts the deliveries that are due, as many as may be in flight at once.
    fn deliver(self: &Rc<Self>) {
        let now = SystemClock.now();
        while self.in_flight.get() < WAVE {
            let next = match self.service.try_borrow_mut() {
                Ok(mut service) => service.next_delivery(now),
                Err(error) => {
                    return host::log_failure(OBJECT, "not_delivered", &error.to_string());
                }
            };
            match next {
                Ok(Some(delivery)) => {
                    self.in_flight.set(self.in_flight.get() + 1);
                    spawn_local(Rc::clone(self).hand_over(delivery));
                }
                Ok(None) => break,
                // Its lane waits; the others go on.
                Err(error) => {
                    host::log_failure(OBJECT, "delivery_not_read", &error.to_string());
                }
            }
        }
        self.sleep_until_due(now);
    }

    async fn hand_over(self: Rc<Self>, delivery: Delivery) {
        let user_id = delivery.user_id;
        let outcome = call::user(&self.env, user_id, delivery.call).await;
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        let now = SystemClock.now();
        match self.service.try_borrow_mut() {
            Ok(mut service) => match outcome {
                Ok(delivered) => service.delivered(user_id, delivered.head_seq, now),
                Err(CallFailure::Refused(problem)) if problem.code == Code::NotFound => {
                    service.undeliverable(user_id, now);
                }
                Err(failure) => {
                    service.delivery_failed(user_id, now);
                    host::log_failure(OBJECT, "delivery_failed", &failure.to_string());
                }
            },
            Err(error) => host::log_failure(OBJECT, "delivery_forgotten", &error.to_string()),
        }
        self.deliver();
    }

    /// Comes back when the next delivery is due, where that is soon.
    fn sleep_until_due(self: &Rc<Self>, now: Timestamp) {
        let Ok(service) = self.service.try_borrow() else {
            return;
        };
        let Some(wait) = service.next_delivery_at().map(|at| at.since(now)) else {
            return;
        };
        if wait > LONGEST_SLEEP || self.sleeping.replace(true) {
            return;
        }
        let core = Rc::clone(self);
        spawn_local(async move {
            Delay::from(wait.max(Duration::from_millis(1))).await;
            core.sleeping.set(false);
            core.deliver();
        });
    }
}

/// Sends a frame. A socket that has closed meanwhile needs none: its client comes back and asks
/// for what it lacks.
fn tell(socket: &Socket, frame: &JsString) {
    let _ = socket.send(frame);
}
