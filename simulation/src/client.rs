//! The clients: devices that follow docs/protocol.md.
//!
//! A client sends again, under the same `client_msg_id`, what was not answered; drops what it has
//! by (conversation, seq); asks with `sync` where a seq is missing; acknowledges what it has
//! without a gap; connects again when its session ends.

mod receiving;
mod sending;

use std::collections::{BTreeMap, BTreeSet};

use parlance_shared::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, UserId};
use parlance_shared::limits;
use parlance_shared::user::call::{OpenSession, SignIn, SignedIn, Transport, UserRequest};

use crate::objects::{ObjectId, WireId};
use crate::plan::Way;
use crate::world::{Happening, World};

pub use sending::Purpose;

/// How often a client shows that it is there.
const PING: u64 = 25_000;
/// How long a client waits to be told that it has everything.
const PATIENCE: u64 = 15_000;

/// What a client has to do at a time.
#[derive(Debug, Clone, Copy)]
pub enum Errand {
    /// Show that it is there.
    Ping,
    /// Connect again.
    Connect,
    /// See whether a message was answered.
    Retry(ClientMessageId),
    /// Acknowledge.
    Ack(ConversationId),
    /// See whether events are missing still.
    Sync(ConversationId),
    /// See whether the session has caught up.
    Patience(WireId),
}

/// A message that is being sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where to.
    pub place: ConversationId,
    /// The frame's or body's fields.
    pub content: String,
    /// What it replies to.
    pub reply_to: Option<MessageId>,
    /// The root of its thread.
    pub thread_root: Option<MessageId>,
    /// Whom it mentions.
    pub mentions: Vec<UserId>,
    /// Whether it was acknowledged before.
    pub is_repeat: bool,
    /// When it is to be sent, where that is later: seconds from when it was first asked for.
    pub send_at: Option<parlance_shared::time::Timestamp>,
    /// How it was first sent.
    pub way: Way,
    /// How often it was sent.
    pub tries: u32,
}

/// What a device has of a conversation.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Everything from here on.
    pub base: u64,
    /// Up to here; none where it has nothing.
    pub upto: Option<u64>,
    /// All that it has ever had.
    pub all: BTreeSet<u64>,
    /// Messages of others and its own, newest last, with their senders.
    pub messages: Vec<(u64, MessageId, UserId)>,
    /// Whether the user is no longer a member, as far as the device knows.
    pub ended: bool,
    /// Whether a socket of the conversation was open while this session was.
    pub roomed: bool,
    acks: bool,
    syncs: bool,
    ack_tries: u32,
    heard_on: Option<WireId>,
}

/// A client on a device.
#[derive(Debug)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub id: DeviceId,
    /// Whether it wants to be connected.
    pub wants_session: bool,
    /// Its session.
    pub session: Option<WireId>,
    /// Whether the session has been opened.
    pub is_open: bool,
    /// Whether it has been told that it has everything.
    pub is_complete: bool,
    /// Conversations' own sockets, and whether each has been opened.
    pub rooms: BTreeMap<ConversationId, (WireId, bool)>,
    /// What it has.
    pub views: BTreeMap<ConversationId, View>,
    /// What it is sending.
    pub drafts: BTreeMap<ClientMessageId, Draft>,
    /// What of that was acknowledged, the newest last.
    pub sent: Vec<(ClientMessageId, Draft)>,
    /// Whether it will connect by itself.
    connects: bool,
}

impl World {
    /// Signs all users and devices in, before anything can fail.
    pub(crate) fn sign_up(&mut self) {
        for (number, devices) in self.plan.users.clone().into_iter().enumerate() {
            let user = UserId::random(&self.dice);
            for _ in 0..devices {
                let request = UserRequest::SignIn(SignIn {
                    user_id: user,
                    phone_number: format!("+99900000{number:02}")
                        .parse()
                        .expect("a phone number"),
                    device_name: None,
                });
                let body = serde_json::to_string(&request).expect("a request");
                let reply = self
                    .ask_directly(ObjectId::User(user), &body)
                    .and_then(Result::ok)
                    .expect("signing in");
                let signed: SignedIn = serde_json::from_str(&reply).expect("a reply");
                self.devices.push(Device {
                    user,
                    id: signed.device_id,
                    wants_session: false,
                    session: None,
                    is_open: false,
                    is_complete: false,
                    rooms: BTreeMap::new(),
                    views: BTreeMap::new(),
                    drafts: BTreeMap::new(),
                    sent: Vec::new(),
                    connects: false,
                });
            }
            self.oracle.users.push(user);
        }
    }

    /// A client's errand.
    pub(crate) fn errand(&mut self, device: usize, errand: Errand) {
        match errand {
            Errand::Ping => self.ping(device),
            Errand::Connect => {
                self.devices[device].connects = false;
                if self.devices[device].wants_session && self.devices[device].session.is_none() {
                    self.open_session(device);
                }
            }
            Errand::Retry(id) => self.retry(device, id),
            Errand::Ack(place) => self.acknowledge(device, place),
            Errand::Sync(place) => self.ask_for_missing(device, place),
            Errand::Patience(wire) => {
                let one = &self.devices[device];
                if one.session == Some(wire) && !one.is_complete {
                    self.note(|| format!("dev {device} is tired of waiting"));
                    self.close_up(wire);
                    self.session_ended(device);
                }
            }
        }
    }

    /// Connects, or tries to.
    pub(crate) fn open_session(&mut self, device: usize) {
        let expires_at = self.time() + limits::TOKEN_LIFETIME;
        let one = &self.devices[device];
        let open = OpenSession {
            user_id: one.user,
            device_id: one.id,
            expires_at,
            subprotocol: false,
            transport: Transport::Socket,
        };
        let object = ObjectId::User(one.user);
        let open = serde_json::to_string(&open).expect("an upgrade");
        let wire = self.connect(device, object, None, open);
        let one = &mut self.devices[device];
        one.session = Some(wire);
        one.is_open = false;
        one.is_complete = false;
        for (place, view) in &mut one.views {
            view.roomed = one.rooms.contains_key(place);
        }
        self.after(PATIENCE, Happening::Errand(device, Errand::Patience(wire)));
        self.note(|| format!("dev {device} connects ~{wire}"));
    }

    /// The session has ended: it connects again, where it wants to be connected.
    pub(crate) fn session_ended(&mut self, device: usize) {
        let wait = self.whim.between(50, 3000);
        let one = &mut self.devices[device];
        one.session = None;
        one.is_open = false;
        one.is_complete = false;
        if one.wants_session && !std::mem::replace(&mut one.connects, true) {
            self.after(wait, Happening::Errand(device, Errand::Connect));
        }
    }

    fn ping(&mut self, device: usize) {
        let one = &self.devices[device];
        let mut wires: Vec<_> = one.rooms.values().map(|(wire, _)| *wire).collect();
        wires.extend(one.session);
        for wire in wires {
            self.pinged(wire);
        }
        if self.devices[device].session.is_some() {
            self.after(PING, Happening::Errand(device, Errand::Ping));
        }
    }

    /// Opens a conversation's own socket, where none is open.
    pub(crate) fn enter(&mut self, device: usize, place: ConversationId) {
        let expires_at = self.time() + limits::TOKEN_LIFETIME;
        let one = &mut self.devices[device];
        if one.rooms.contains_key(&place) {
            return;
        }
        let view = one.views.entry(place).or_default();
        view.roomed = true;
        let open = parlance_shared::conversation::call::OpenSocket {
            user_id: one.user,
            device_id: one.id,
            expires_at,
            after_seq: Some(parlance_shared::protocol::seq::Seq::new(
                view.upto.unwrap_or(0),
            )),
            subprotocol: false,
        };
        let open = serde_json::to_string(&open).expect("an upgrade");
        let object = ObjectId::Conversation(place);
        let wire = self.connect(device, object, Some(place), open);
        self.devices[device].rooms.insert(place, (wire, false));
        self.note(|| format!("dev {device} enters ~{wire}"));
    }

    /// Closes it.
    pub(crate) fn leave_room(&mut self, device: usize, place: ConversationId) {
        if let Some((wire, _)) = self.devices[device].rooms.remove(&place) {
            self.close_up(wire);
            self.room_ended(device, place);
        }
    }

    /// It breaks.
    pub(crate) fn break_room(&mut self, device: usize, place: ConversationId) -> Option<()> {
        let (wire, _) = self.devices[device].rooms.remove(&place)?;
        self.counts.add("fault", "conversation socket broken");
        self.break_wire(wire);
        self.room_ended(device, place);
        Some(())
    }

    /// What was acknowledged on it may not have arrived: it is again, on the session.
    pub(crate) fn room_ended(&mut self, device: usize, place: ConversationId) {
        if let Some(view) = self.devices[device].views.get_mut(&place)
            && !std::mem::replace(&mut view.acks, true)
        {
            let wait = self.whim.between(5, 400);
            self.after(wait, Happening::Errand(device, Errand::Ack(place)));
        }
    }

    /// Closes the session for good.
    pub(crate) fn disconnect(&mut self, device: usize) {
        self.devices[device].wants_session = false;
        if let Some(wire) = self.devices[device].session.take() {
            self.close_up(wire);
        }
        self.session_ended(device);
    }
}
