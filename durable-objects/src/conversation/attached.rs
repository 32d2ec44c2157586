//! The sockets that are attached to a conversation, and sending frames to them.
//!
//! What always holds: a frame is written once for all who get the same, and what one socket is
//! sent in one turn travels together, as a batch, in the order in which it was said. A socket that
//! does not take what it is sent is no longer counted among those that are attached: its client
//! comes back and asks for what it lacks. One whose client gives no sign of life while much is
//! sent to it is closed with 4008, so that what the runtime holds for it stays bounded.
//!
//! To know when changing it: handing over a frame is one call into JavaScript a socket, and in a
//! large conversation all else that is done a socket must stay on this side.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::slice;

use parlance_shared::conversation::service::{Eviction, Unseen};
use parlance_shared::conversation::socket::{self, SocketSession};
use parlance_shared::ids::{DeviceId, UserId};
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::seq::Seq;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::AttachedDevice;
use worker::{State, WebSocketIncomingMessage};

use super::OBJECT;
use super::said::{Packed, Said, Script};
use crate::host;
use crate::metrics::{self, ClassCounts};
use crate::sockets::{self, Socket};

/// Bytes sent to a socket after which it is looked whether its client is still there.
const LOOK_AFTER: usize = 1024 * 1024;
/// Bytes sent to a socket without a sign of life after which it is closed. A client pings
/// every thirty seconds.
const PATIENCE: usize = 16 * 1024 * 1024;

/// Which of the sockets it is, as long as the object is in memory and after it was evicted.
type Place = u64;

/// A socket that is attached.
pub(super) struct Attached {
    place: Place,
    pub socket: Socket,
    pub session: SocketSession,
    unheard: Cell<Unheard>,
    /// When the client last sent a frame.
    heard: Cell<Option<Timestamp>>,
    /// Whether it was ended from this side: what its client goes on saying is not heard.
    is_ended: Cell<bool>,
    /// What this socket alone is sent in this turn.
    own: RefCell<Vec<Said>>,
    /// While a frame of this socket waits for something: those that came after it (see
    /// `needs`).
    pub waiting: RefCell<Option<VecDeque<WebSocketIncomingMessage>>>,
}

/// What was sent since a client last gave a sign of life.
#[derive(Debug, Clone, Copy, Default)]
struct Unheard {
    bytes: usize,
    /// When the first of it was sent.
    since: Option<Timestamp>,
    /// How much it had come to when it was last looked.
    looked_at: usize,
}

impl Attached {
    fn new(place: Place, socket: Socket, session: SocketSession) -> Self {
        Self {
            place,
            socket,
            session,
            unheard: Cell::default(),
            heard: Cell::default(),
            is_ended: Cell::new(false),
            own: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Nothing of it waits any more.
    pub fn forget_waiting(&self) {
        *self.waiting.borrow_mut() = None;
    }

    /// Its client has sent a frame.
    pub fn heard(&self, now: Timestamp) {
        self.heard.set(Some(now));
    }

    /// Whether it was ended from this side.
    pub fn is_ended(&self) -> bool {
        self.is_ended.get()
    }

    /// When its client last said something or pinged, as far as is known.
    pub fn last_sign(&self, state: &State) -> Option<Timestamp> {
        let ping = self.socket.last_ping(state).unwrap_or_else(|error| {
            host::log_failure(OBJECT, "no_ping_time", &error.to_string());
            None
        });
        ping.max(self.heard.get())
    }

    fn say(&self, said: Said) {
        self.own.borrow_mut().push(said);
    }

    /// Whether a client has given no sign of life, neither a frame nor a ping, while too much was
    /// sent to it. Counts what is about to be sent.
    fn is_gone(&self, state: &State, bytes: usize, now: Timestamp) -> bool {
        let mut unheard = self.unheard.get();
        let since = *unheard.since.get_or_insert(now);
        unheard.bytes += bytes;
        if unheard.bytes - unheard.looked_at >= LOOK_AFTER {
            unheard.looked_at = unheard.bytes;
            if self.last_sign(state).is_some_and(|at| at >= since) {
                unheard = Unheard::default();
            }
        }
        self.unheard.set(unheard);
        unheard.bytes > PATIENCE
    }
}

/// A copy of what the runtime keeps, made anew whenever the object is constructed. The list is
/// borrowed only within a method here that calls nothing, so it is always free.
pub(super) struct AttachedSockets {
    list: RefCell<BTreeMap<Place, Rc<Attached>>>,
    next_place: Cell<Place>,
    /// What every socket is sent in this turn.
    script: RefCell<Script>,
    /// Whether what is said is held back until the turn is over.
    is_held: Cell<bool>,
    counts: Rc<ClassCounts>,
}

/// What was kept with a socket: which one it is, and for whom it speaks. Sockets of an older
/// version have no place.
fn read_kept(kept: &str) -> Option<(Option<Place>, SocketSession)> {
    let (place, session) = match kept.split_once(' ') {
        Some((place, session)) if !place.starts_with('{') => (Some(place.parse().ok()?), session),
        _ => (None, kept),
    };
    Some((place, serde_json::from_str(session).ok()?))
}

fn kept_of(socket: &Socket) -> Option<(Option<Place>, SocketSession)> {
    read_kept(&socket.attachment().ok()??)
}

impl AttachedSockets {
    pub fn of(state: &State) -> Self {
        let sockets = sockets::all(state).unwrap_or_else(|error| {
            host::log_failure(OBJECT, "sockets_not_listed", &error.to_string());
            Vec::new()
        });
        let kept: Vec<_> = sockets
            .into_iter()
            .filter_map(|socket| kept_of(&socket).map(|(place, session)| (place, session, socket)))
            .collect();
        let last = kept.iter().filter_map(|(place, ..)| *place).max();
        let attached = Self {
            list: RefCell::default(),
            next_place: Cell::new(last.map_or(0, |place| place + 1)),
            script: RefCell::default(),
            is_held: Cell::new(false),
            counts: metrics::of(OBJECT),
        };
        for (place, session, socket) in kept {
            let place = place.unwrap_or_else(|| attached.place());
            attached.insert(place, socket, session);
        }
        attached
    }

    fn place(&self) -> Place {
        let place = self.next_place.get();
        self.next_place.set(place + 1);
        place
    }

    fn insert(&self, place: Place, socket: Socket, session: SocketSession) -> Rc<Attached> {
        let attached = Rc::new(Attached::new(place, socket, session));
        self.list.borrow_mut().insert(place, Rc::clone(&attached));
        attached
    }

    /// What is to be kept with a socket that is about to be accepted.
    ///
    /// # Errors
    /// Never for a session, which is plain data.
    pub fn keep(&self, session: &SocketSession) -> Result<(Place, String), serde_json::Error> {
        let place = self.place();
        Ok((
            place,
            format!("{place} {}", serde_json::to_string(session)?),
        ))
    }

    pub fn add(&self, place: Place, socket: Socket, session: SocketSession) -> Rc<Attached> {
        self.insert(place, socket, session)
    }

    /// The attached socket that the runtime speaks of; none where it was ended from this side.
    pub fn find(&self, socket: &Socket) -> Option<Rc<Attached>> {
        let kept = socket.attachment().ok()??;
        let place = kept
            .split_once(' ')
            .map(|(place, _)| place.parse::<Place>());
        let list = self.list.borrow();
        match place {
            Some(place) => list.get(&place.ok()?).cloned(),
            // Kept by an older version, or ended.
            None if kept.is_empty() => None,
            None => list.values().find(|one| one.socket == *socket).cloned(),
        }
    }

    pub fn remove(&self, attached: &Attached) {
        self.list.borrow_mut().remove(&attached.place);
    }

    /// A copy, so that sockets may come and go while it is gone through.
    fn snapshot(&self) -> Vec<Rc<Attached>> {
        self.list.borrow().values().cloned().collect()
    }

    /// The devices of `user_id` that are attached and are shown here what comes after `after`.
    pub fn devices_of(
        &self,
        state: &State,
        user_id: UserId,
        after: Seq,
        now: Timestamp,
    ) -> Vec<AttachedDevice> {
        let list = self.list.borrow();
        let sockets = list.values().map(|attached| (&attached.session, attached));
        let heard = |attached: &Rc<Attached>| attached.last_sign(state);
        socket::attached_devices(sockets, heard, user_id, after, now)
    }

    /// Holds back what is said from now on, until [`Self::release`].
    pub fn hold(&self) {
        self.is_held.set(true);
    }

    /// Sends all that was said since [`Self::hold`].
    pub fn release(&self, state: &State, now: Timestamp) {
        self.is_held.set(false);
        self.flush(state, now);
    }

    /// Sends new events to every socket; to those of some, less of them.
    pub fn broadcast(&self, state: &State, events: &[Event], unseen: &Unseen, now: Timestamp) {
        for event in events {
            let seen = |viewer| ServerFrame::Event(unseen.seen(event.clone(), viewer)).to_text();
            let at = self.script.borrow_mut().add(seen(None));
            // Some see more or less than all others.
            let mut instead: BTreeMap<UserId, Rc<str>> = BTreeMap::new();
            for attached in self.list.borrow().values() {
                let viewer = unseen.viewer(slice::from_ref(event), attached.session.user_id);
                if let Some(viewer) = viewer {
                    let text = instead
                        .entry(viewer)
                        .or_insert_with(|| seen(Some(viewer)).into());
                    attached.say(Said::InsteadOf(at, Rc::clone(text)));
                }
            }
        }
        self.flush_unless_held(state, now);
    }

    /// Sends frames to the sockets of one user, or of one of its devices.
    pub fn show(
        &self,
        state: &State,
        user_id: UserId,
        device_id: Option<DeviceId>,
        frames: &[ServerFrame],
        now: Timestamp,
    ) {
        let is_meant = |session: &SocketSession| {
            session.user_id == user_id && device_id.is_none_or(|id| id == session.device_id)
        };
        let meant: Vec<_> = {
            let list = self.list.borrow();
            let meant = list.values().filter(|one| is_meant(&one.session));
            meant.cloned().collect()
        };
        if meant.is_empty() {
            return;
        }
        let texts: Vec<Rc<str>> = frames.iter().map(|one| one.to_text().into()).collect();
        for attached in meant {
            if attached.session.expires_at <= now {
                self.dismiss(state, &attached, CloseCode::TokenExpired, now);
                continue;
            }
            for text in &texts {
                self.say_to(&attached, Rc::clone(text));
            }
        }
        self.flush_unless_held(state, now);
    }

    /// Closes the sockets of one who may no longer be attached.
    pub fn evict(&self, state: &State, eviction: &Eviction, now: Timestamp) {
        for attached in self.snapshot() {
            if attached.session.user_id == eviction.user_id {
                self.dismiss(state, &attached, eviction.code, now);
            }
        }
    }

    /// Sends frames to one socket, in order.
    pub fn tell(&self, state: &State, to: &Attached, frames: &[ServerFrame], now: Timestamp) {
        for frame in frames {
            self.say_to(to, frame.to_text().into());
        }
        self.flush_unless_held(state, now);
    }

    fn say_to(&self, to: &Attached, text: Rc<str>) {
        let after = self.script.borrow().len();
        to.say(Said::After(after, text));
    }

    /// Tells a client why, and closes its socket, after all that was said before.
    pub fn dismiss(&self, state: &State, from: &Attached, code: CloseCode, now: Timestamp) {
        self.flush(state, now);
        self.end(from, code);
    }

    fn end(&self, from: &Attached, code: CloseCode) {
        from.is_ended.set(true);
        let farewell = socket::farewell(code).to_text().into();
        let packed = Packed::of(&[farewell]);
        self.send(from, &packed);
        if let Err(error) = from.socket.end(code.code()) {
            host::log_failure(OBJECT, "socket_not_closed", &error.to_string());
        }
        self.remove(from);
    }

    fn flush_unless_held(&self, state: &State, now: Timestamp) {
        if !self.is_held.get() {
            self.flush(state, now);
        }
    }

    /// Sends what was said.
    fn flush(&self, state: &State, now: Timestamp) {
        let script = self.script.take();
        let mut alike = None;
        for attached in self.snapshot() {
            let own = attached.own.take();
            if script.is_empty() && own.is_empty() {
                continue;
            }
            if attached.session.expires_at <= now {
                self.end(&attached, CloseCode::TokenExpired);
                continue;
            }
            let differing;
            let packed = if own.is_empty() {
                alike.get_or_insert_with(|| Packed::of(script.texts()))
            } else {
                differing = Packed::of(&script.as_told(&own));
                &differing
            };
            if attached.is_gone(state, packed.bytes(), now) {
                self.end(&attached, CloseCode::SlowConsumer);
                continue;
            }
            self.counts.events_shown.add(script.len() as u64);
            self.send(&attached, packed);
        }
    }

    fn send(&self, to: &Attached, packed: &Packed) {
        self.counts
            .socket_messages_out
            .add(packed.texts().len() as u64);
        if packed
            .texts()
            .iter()
            .any(|text| to.socket.send(text).is_err())
        {
            self.remove(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_shared::entropy::SeededEntropy;

    #[test]
    fn what_is_kept_with_a_socket_tells_its_place_and_may_be_older_than_places() {
        let entropy = SeededEntropy::new(3);
        let session = SocketSession {
            user_id: UserId::random(&entropy),
            device_id: DeviceId::random(&entropy),
            opened_at: Timestamp::from_millis(4),
            expires_at: Timestamp::from_millis(5),
            since: Seq::new(2),
        };
        let json = serde_json::to_string(&session).unwrap();
        assert_eq!(read_kept(&format!("12 {json}")), Some((Some(12), session)));
        assert_eq!(read_kept(&json), Some((None, session)));
        assert_eq!(read_kept(""), None);
        assert_eq!(read_kept("12 "), None);
    }
}
