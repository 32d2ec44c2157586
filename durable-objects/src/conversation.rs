//! The Conversation class.
//!
//! Invariant: this object is the only writer of a conversation's log. It commits, then
//! acknowledges, then delivers: the runtime's output gate holds every frame, answer and call
//! until what was written before is on disk. Named by the conversation's id.
//!
//! Takes, as `POST` with a `ConversationRequest` in JSON: `create`, `get_conversation`,
//! `list_members`, `send`, `send_many`, `list_messages`, `list_events`, `mark_position`,
//! `count_unread`, `get_message_info`, `signal_typing`, `update_conversation`, `act_on`, `get_message`, `list_thread`,
//! `list_pins`, `hide`, `schedule`, `list_scheduled`, `cancel_scheduled`, `add_members`,
//! `change_role`, `remove_member`, `delete`, `set_block`, `set_suspended`, `copy_message`. Answers 200 with an `Answer` (the reply, or
//! the problem to tell the client) and 400 to a body that is no such request.
//! Takes upgrades with an `OpenSocket` in the header [`SOCKET_HEADER`]: answers 101, or 200 with
//! an `Answer` that holds the problem.
//!
//! Its alarm goes off some seconds after an event or a new position of a member, to see whether
//! every member's user object has it, and to write positions down; when the time of something
//! has come; and when events are to go to the archive: see `parlance_shared::conversation::service`,
//! `timers` and `archive`.

// The durable_object macro exports methods that it does not document.
#![allow(missing_docs)]

mod archiving;
mod attached;
mod incoming;
mod media;
mod needs;
mod outgoing;
mod said;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use parlance_shared::conversation::call::{ConversationRequest, OpenSocket, SOCKET_HEADER};
use parlance_shared::conversation::service::{ConversationService, Effects};
use parlance_shared::conversation::socket;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::OBJECT_SCOPE;
use parlance_shared::time::{Clock, Timestamp};
use worker::{
    DurableObject, Env, Error, Request, Response, State, WebSocket, WebSocketIncomingMessage,
    durable_object,
};

use self::archiving::Archiving;
use self::attached::AttachedSockets;
use self::incoming::Incoming;
use self::needs::Needs;
use self::outgoing::Deliveries;
use crate::archive::{self, ArchiveStore};
use crate::host::{self, SystemClock, SystemEntropy};
use crate::metrics::{self, ClassCounts};
use crate::sockets::{self, Socket};
use crate::sql::DurableSql;
use crate::{alarm, host::HostError};

const OBJECT: &str = "conversation";

/// One conversation.
#[durable_object]
pub struct Conversation {
    core: Rc<Core>,
}

/// What the handlers and the deliveries under way share.
struct Core {
    state: State,
    env: Env,
    counts: Rc<ClassCounts>,
    service: RefCell<ConversationService<DurableSql>>,
    attached: AttachedSockets,
    incoming: RefCell<Incoming>,
    deliveries: RefCell<Deliveries>,
    archive_store: Option<ArchiveStore>,
    archiving: Archiving,
    /// Whether media's objects are being told what to let go of.
    is_releasing: Cell<bool>,
}

impl DurableObject for Conversation {
    fn new(state: State, env: Env) -> Self {
        if let Err(error) = sockets::answer_pings(&state) {
            host::log_failure(OBJECT, "no_auto_response", &error.to_string());
        }
        let attached = AttachedSockets::of(&state);
        let mut service = ConversationService::new(DurableSql::new(&state, OBJECT), OBJECT_SCOPE)
            .with_rate_limits(host::rate_limit_scale(&env))
            .with_heartbeat(host::heartbeat(&env));
        let archive_store = ArchiveStore::of(&env);
        if archive_store.is_some() {
            service = service.with_archive(archive::hot_window(&env));
        }
        let counts = metrics::of(OBJECT);
        counts.started.count();
        let core = Rc::new(Core {
            state,
            env,
            counts,
            service: RefCell::new(service),
            attached,
            incoming: RefCell::default(),
            deliveries: RefCell::default(),
            archive_store,
            archiving: Archiving::default(),
            is_releasing: Cell::default(),
        });
        // Whether an alarm is set says whether something may be left to deliver.
        let learner = Rc::clone(&core);
        alarm::learn(&core.state, move |at| {
            learner.service()?.alarm_is(at, SystemClock.now());
            Ok(())
        });
        Self { core }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if let Some(open) = request.headers().get(SOCKET_HEADER)? {
            return self.core.open_socket(&open).await;
        }
        let body = match host::read_body(OBJECT, &mut request).await {
            Ok(body) => body,
            Err(response) => return Ok(response),
        };
        let mut needs = Needs::new();
        let outcome = loop {
            let request: ConversationRequest = match host::parse_request(OBJECT, &body) {
                Ok(request) => request,
                Err(response) => return Ok(response),
            };
            let outcome = self
                .core
                .service()?
                .handle(request, SystemClock.now(), &SystemEntropy);
            match outcome {
                Ok((reply, effects)) => {
                    self.core.set_alarm(effects.alarm).await?;
                    self.core.carry_out(effects);
                    break Ok(reply);
                }
                Err(ServiceError::Needs(need)) => {
                    if let Err(problem) = needs.meet(&self.core, &need).await {
                        break Err(problem.into());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        Ok(host::answer(OBJECT, outcome))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.core.counts.alarms.count();
        let mut needs = Needs::new();
        loop {
            let now = SystemClock.now();
            let mut effects = self.core.service()?.ring(now, &SystemEntropy);
            self.core.set_alarm(effects.alarm).await?;
            let need = effects.needs.take();
            self.core.carry_out(effects);
            match need {
                // What cannot be brought now is tried again when the alarm goes off next.
                Some(need) if needs.meet(&self.core, &need).await.is_ok() => {}
                _ => break,
            }
        }
        self.core.archive().await;
        Response::empty()
    }

    async fn websocket_message(
        &self,
        ws: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        self.core.counts.socket_messages_in.count();
        // Ended from this side already: what was still on its way is not heard.
        let Some(from) = self.core.attached.find(&Socket::from(ws)) else {
            return Ok(());
        };
        from.heard(SystemClock.now());
        self.core.hear(from, message).await
    }

    async fn websocket_close(
        &self,
        ws: WebSocket,
        code: usize,
        _reason: String,
        was_clean: bool,
    ) -> worker::Result<()> {
        let socket = Socket::from(ws);
        if let Some(attached) = self.core.attached.find(&socket) {
            self.core.detach(&attached, was_clean);
        }
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
        if let Some(attached) = self.core.attached.find(&Socket::from(ws)) {
            self.core.detach(&attached, false);
        }
        Ok(())
    }
}

impl Core {
    fn service(&self) -> worker::Result<std::cell::RefMut<'_, ConversationService<DurableSql>>> {
        // Never held while something is awaited, so it is free at the start of every event.
        self.service.try_borrow_mut().map_err(host::busy)
    }

    async fn open_socket(self: &Rc<Self>, open: &str) -> worker::Result<Response> {
        let Ok(open) = serde_json::from_str::<OpenSocket>(open) else {
            return Response::error("The header is not one that this version knows.", 400);
        };
        let mut needs = Needs::new();
        let opened = loop {
            let opened = socket::open(&mut *self.service()?, &open, SystemClock.now());
            match opened {
                Ok(opened) => break opened,
                Err(ServiceError::Needs(need)) => {
                    if let Err(problem) = needs.meet(self, &need).await {
                        return Ok(host::answer(OBJECT, Err(problem.into())));
                    }
                }
                Err(error) => return Ok(host::answer(OBJECT, Err(error))),
            }
        };
        let (place, kept) = self.attached.keep(&opened.session)?;
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
        let now = SystemClock.now();
        let attached = self.attached.add(place, accepted.socket, opened.session);
        self.attached
            .tell(&self.state, &attached, &[opened.hello], now);
        self.attached
            .tell(&self.state, &attached, &opened.replay, now);
        // The members' deliveries may have been cut off by a crash: any event takes them up.
        self.deliver();
        Ok(accepted.response)
    }

    /// Sets the alarm that was asked for. It is called in the same turn as the write that it
    /// belongs to, so both are committed together; an ack waits for both.
    async fn set_alarm(&self, at: Option<Timestamp>) -> Result<(), HostError> {
        match at {
            Some(at) => {
                self.counts.alarms_set.count();
                alarm::set(&self.state, at).await
            }
            None => Ok(()),
        }
    }

    fn carry_out(self: &Rc<Self>, effects: Effects) {
        if let Some(failure) = &effects.failure {
            host::log_failure(OBJECT, "storage_failed", &failure.to_string());
        }
        let now = SystemClock.now();
        if !effects.broadcast.is_empty() {
            let messages = effects.broadcast.iter().filter_map(Event::as_message);
            self.counts.messages_stored.add(messages.count() as u64);
            self.attached
                .broadcast(&self.state, &effects.broadcast, &effects.unseen, now);
        }
        // After what is broadcast: one who is removed is shown that as the last.
        for eviction in &effects.evicted {
            self.attached.evict(&self.state, eviction, now);
        }
        self.signal(effects.signals);
        if effects.deliver {
            self.deliver();
            self.archive_if_pressing();
        }
        if effects.marks {
            self.mark();
        }
        for wish in effects.hides {
            self.hide(wish);
        }
        self.release_media();
    }
}
