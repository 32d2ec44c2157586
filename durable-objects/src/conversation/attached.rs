//! The sockets that are attached to a conversation, and sending frames to them.
//!
//! What always holds: a frame is written once for all who get the same, and several frames for
//! one socket travel as a batch. A socket that does not take what it is sent is no longer
//! counted among those that are attached: its client comes back and asks for what it lacks. One
//! whose client gives no sign of life while much is sent to it is closed with 4008, so that what
//! the runtime holds for it stays bounded.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::JsString;
use parlance_shared::conversation::service::{Eviction, Unseen};
use parlance_shared::conversation::socket::{self, SocketSession};
use parlance_shared::ids::{DeviceId, UserId};
use parlance_shared::protocol::batch;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::seq::Seq;
use parlance_shared::time::Timestamp;
use worker::State;

use super::OBJECT;
use crate::host;
use crate::metrics::{self, ClassCounts};
use crate::sockets::{self, Socket};

/// Characters sent to a socket after which it is looked whether its client is still there.
const LOOK_AFTER: usize = 1024 * 1024;
/// Characters sent to a socket without a sign of life after which it is closed. A client pings
/// every thirty seconds.
const PATIENCE: usize = 16 * 1024 * 1024;

#[derive(Clone)]
struct Attached {
    socket: Socket,
    session: SocketSession,
    unheard: Rc<Cell<Unheard>>,
}

/// What was sent since a client last gave a sign of life.
#[derive(Debug, Clone, Copy, Default)]
struct Unheard {
    characters: usize,
    /// When the first of it was sent.
    since: Option<Timestamp>,
    /// How much it had come to when it was last looked.
    looked_at: usize,
}

impl Attached {
    fn new(socket: Socket, session: SocketSession) -> Self {
        Self {
            socket,
            session,
            unheard: Rc::default(),
        }
    }
}

/// A copy of what the runtime keeps, made anew whenever the object is constructed. The list is
/// borrowed only within a method here that calls nothing, so it is always free.
pub(super) struct AttachedSockets {
    list: RefCell<Vec<Attached>>,
    /// When each device last sent a frame.
    heard: RefCell<BTreeMap<DeviceId, Timestamp>>,
    counts: Rc<ClassCounts>,
}

/// Whom a socket speaks for, as it was kept with it.
pub(super) fn session(socket: &Socket) -> Option<SocketSession> {
    let kept = socket.attachment().ok()??;
    serde_json::from_str(&kept).ok()
}

impl AttachedSockets {
    pub fn of(state: &State) -> Self {
        let sockets = sockets::all(state).unwrap_or_else(|error| {
            host::log_failure(OBJECT, "sockets_not_listed", &error.to_string());
            Vec::new()
        });
        let list = sockets
            .into_iter()
            .filter_map(|socket| session(&socket).map(|session| Attached::new(socket, session)))
            .collect();
        Self {
            list: RefCell::new(list),
            heard: RefCell::default(),
            counts: metrics::of(OBJECT),
        }
    }

    pub fn add(&self, socket: Socket, session: SocketSession) {
        self.list.borrow_mut().push(Attached::new(socket, session));
    }

    /// A device has sent a frame.
    pub fn heard(&self, device_id: DeviceId, now: Timestamp) {
        self.heard.borrow_mut().insert(device_id, now);
    }

    pub fn remove(&self, socket: &Socket) {
        let mut list = self.list.borrow_mut();
        list.retain(|attached| attached.socket != *socket);
        self.heard
            .borrow_mut()
            .retain(|id, _| list.iter().any(|one| one.session.device_id == *id));
    }

    /// A copy, so that sockets may come and go while it is gone through.
    fn snapshot(&self) -> Vec<Attached> {
        self.list.borrow().clone()
    }

    /// The devices of `user_id` that are attached and are shown here what comes after `after`.
    pub fn devices_of(&self, user_id: UserId, after: Seq, now: Timestamp) -> Vec<DeviceId> {
        let mut devices: Vec<_> = self
            .list
            .borrow()
            .iter()
            .map(|attached| attached.session)
            .filter(|session| {
                session.user_id == user_id && session.expires_at > now && session.since <= after
            })
            .map(|session| session.device_id)
            .collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Sends new events to every socket; to those of some, less of them.
    pub fn broadcast(&self, state: &State, events: &[Event], unseen: &Unseen, now: Timestamp) {
        // By who looks on: the senders see what no one else may see, and some see less.
        let mut written: BTreeMap<Option<UserId>, Vec<JsString>> = BTreeMap::new();
        let sent_by = |event: &Event| event.as_message().map(|message| message.sender_id);
        for attached in self.snapshot() {
            let Attached {
                socket, session, ..
            } = &attached;
            if session.expires_at <= now {
                self.dismiss(socket, CloseCode::TokenExpired);
                continue;
            }
            let viewer = Some(session.user_id).filter(|id| {
                unseen.concerns(id) || events.iter().any(|event| sent_by(event) == Some(*id))
            });
            let texts = written.entry(viewer).or_insert_with(|| {
                let seen = |event: &Event| match viewer {
                    Some(viewer) => unseen.show(event.clone().seen_by(viewer), &viewer),
                    None => event.clone().seen_by_others(),
                };
                let texts: Vec<_> = events
                    .iter()
                    .map(|event| ServerFrame::Event(seen(event)).to_text())
                    .collect();
                packed(&texts)
            });
            if self.is_gone(state, &attached, texts, now) {
                self.dismiss(socket, CloseCode::SlowConsumer);
            } else {
                self.counts.events_shown.add(events.len() as u64);
                self.send(socket, texts);
            }
        }
    }

    /// Whether a client has given no sign of life, neither a frame nor a ping, while too much was
    /// sent to it. Counts what is about to be sent.
    fn is_gone(&self, state: &State, to: &Attached, texts: &[JsString], now: Timestamp) -> bool {
        let mut unheard = to.unheard.get();
        let since = *unheard.since.get_or_insert(now);
        unheard.characters += texts
            .iter()
            .map(|text| text.length() as usize)
            .sum::<usize>();
        if unheard.characters - unheard.looked_at >= LOOK_AFTER {
            unheard.looked_at = unheard.characters;
            let ping = to.socket.last_ping(state).unwrap_or_else(|error| {
                host::log_failure(OBJECT, "no_ping_time", &error.to_string());
                None
            });
            let frame = self.heard.borrow().get(&to.session.device_id).copied();
            if ping.max(frame).is_some_and(|at| at >= since) {
                unheard = Unheard::default();
            }
        }
        to.unheard.set(unheard);
        unheard.characters > PATIENCE
    }

    /// Sends frames to the sockets of one user, or of one of its devices.
    pub fn show(
        &self,
        user_id: UserId,
        device_id: Option<DeviceId>,
        frames: &[ServerFrame],
        now: Timestamp,
    ) {
        let mut texts = None;
        for Attached {
            socket, session, ..
        } in self.snapshot()
        {
            if session.user_id == user_id && device_id.is_none_or(|id| id == session.device_id) {
                if session.expires_at <= now {
                    self.dismiss(&socket, CloseCode::TokenExpired);
                    continue;
                }
                let texts = texts.get_or_insert_with(|| packed(&written(frames)));
                self.send(&socket, texts);
            }
        }
    }

    /// Closes the sockets of one who may no longer be attached.
    pub fn evict(&self, eviction: &Eviction) {
        for attached in self.snapshot() {
            if attached.session.user_id == eviction.user_id {
                self.dismiss(&attached.socket, eviction.code);
            }
        }
    }

    /// Sends frames to one socket, in order.
    pub fn tell(&self, socket: &Socket, frames: &[ServerFrame]) {
        self.send(socket, &packed(&written(frames)));
    }

    /// Tells a client why, and closes its socket.
    pub fn dismiss(&self, socket: &Socket, code: CloseCode) {
        self.tell(socket, &[socket::farewell(code)]);
        if let Err(error) = socket.end(code.code()) {
            host::log_failure(OBJECT, "socket_not_closed", &error.to_string());
        }
        self.remove(socket);
    }

    fn send(&self, socket: &Socket, texts: &[JsString]) {
        self.counts.socket_messages_out.add(texts.len() as u64);
        if texts.iter().any(|text| socket.send(text).is_err()) {
            self.remove(socket);
        }
    }
}

fn written(frames: &[ServerFrame]) -> Vec<String> {
    frames.iter().map(ServerFrame::to_text).collect()
}

fn packed(texts: &[String]) -> Vec<JsString> {
    batch::pack(texts).into_iter().map(JsString::from).collect()
}
