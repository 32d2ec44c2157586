//! Sessions: the sockets by which a user's devices are connected, and what is known of each.
//!
//! What always holds:
//! - A device has one session; a newer one ends the one before.
//! - Within a conversation a session is sent events in the order of their seq. While it is
//!   `behind` in a conversation, what is new there waits for it to catch up.
//! - What is withheld from a session, for its device has it from the conversation's own socket, is
//!   noted: it is shown when that socket is given up, before anything newer, or after a heartbeat
//!   in which the device has not acknowledged it.
//! - What outlives the object's sleep is kept with the socket ([`Kept`]); the rest is only needed
//!   while something is under way, and an object does not sleep then. Where memory is lost all the
//!   same, a session that was catching up ends, and its client comes back for what it lacks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::{AttachedDevice, OpenSession, Transport};
use super::effect::SocketId;
use crate::frame_rate::FrameRates;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::planted::{self, Bug};
use crate::protocol::frame::CloseCode;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// Conversations of which something may be withheld from a session. What more there is it is shown
/// beside their own sockets.
const MOST_WITHHELD: usize = 16;
/// Some time before the object slept.
pub(super) const BEFORE_SLEEP: Timestamp = Timestamp::from_millis(0);
/// By how much the clocks of two objects may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// What is kept with a socket while the object sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The socket.
    pub socket: SocketId,
    /// The device that it belongs to.
    pub device_id: DeviceId,
    /// When the token that opened it expires.
    pub expires_at: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// How the client is connected.
    pub transport: Transport,
    /// Acknowledged positions that are not written down yet. A lost one costs a redelivery.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acks: BTreeMap<ConversationId, Seq>,
    /// Whether it lacks something: that was waiting when it was opened, or that it asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_catching_up: bool,
    /// Conversations of which something was withheld that its device may lack.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub withheld: BTreeSet<ConversationId>,
    /// Whose presence it follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<UserId>,
    /// When it last asked to be told of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_at: Option<Timestamp>,
}

/// A session. A runtime without sockets that sleep writes it down whole
/// ([`UserService::session_states`](super::service::UserService::session_states)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    pub kept: Kept,
    /// Whether it was catching up when memory was lost.
    #[serde(skip)]
    is_cut_off: bool,
    /// Where it lacks events, and the last one that it was sent there.
    pub behind: BTreeMap<ConversationId, Seq>,
    /// Where something came while it was behind, since the conversation was asked last.
    #[serde(skip)]
    pub skipped: BTreeSet<ConversationId>,
    /// Since when something is withheld that its device has not acknowledged. Of what was before a
    /// sleep, [`BEFORE_SLEEP`]: the alarm that was set then is the right one.
    #[serde(skip)]
    pub withheld_since: BTreeMap<ConversationId, Timestamp>,
    /// The conversation that is being asked for events on its behalf.
    pub asking: Option<ConversationId>,
    /// Conversations that did not answer when they were asked, and when that was.
    pub unanswered: BTreeMap<ConversationId, Timestamp>,
    /// Since when it is waited for to acknowledge something.
    pub stalled_since: Option<Timestamp>,
    /// Whether it has been told that everything that was waiting has been sent.
    pub caught_up: bool,
    /// What it was sent and has not acknowledged: conversation, seq, bytes.
    pub unacknowledged: BTreeMap<ConversationId, VecDeque<(Seq, usize)>>,
    /// The bytes of all that.
    pub unacknowledged_bytes: usize,
    /// When it last said where that someone is writing.
    pub typing: BTreeMap<ConversationId, Timestamp>,
    /// When the client last said something.
    pub last_frame: Option<Timestamp>,
    /// How much it may say.
    pub rates: FrameRates,
}

impl Session {
    /// A session that has just been opened.
    pub fn opened(socket: SocketId, open: &OpenSession, now: Timestamp) -> Self {
        Self::woken(Kept {
            socket,
            device_id: open.device_id,
            expires_at: open.expires_at,
            opened_at: now,
            transport: open.transport,
            acks: BTreeMap::new(),
            is_catching_up: false,
            withheld: BTreeSet::new(),
            watched: Vec::new(),
            watched_at: None,
        })
    }

    /// A session that slept.
    pub fn woken(kept: Kept) -> Self {
        let withheld = kept.withheld.iter();
        let withheld_since = withheld.map(|id| (*id, BEFORE_SLEEP)).collect();
        Self {
            is_cut_off: kept.is_catching_up,
            kept,
            behind: BTreeMap::new(),
            skipped: BTreeSet::new(),
            withheld_since,
            asking: None,
            unanswered: BTreeMap::new(),
            stalled_since: None,
            caught_up: true,
            unacknowledged: BTreeMap::new(),
            unacknowledged_bytes: 0,
            typing: BTreeMap::new(),
            last_frame: None,
            rates: FrameRates::default(),
        }
    }

    /// Whether its device has what a conversation tells from the conversation itself: it is
    /// `attached` there. A socket there that has been silent since this session was opened may be
    /// one that died without a word, and its device came back: better twice than not at all.
    pub fn has_from_there(&self, attached: &[AttachedDevice]) -> bool {
        attached
            .iter()
            .filter(|device| device.device_id == self.kept.device_id)
            .any(|device| device.heard_at + CLOCKS_DIFFER >= self.kept.opened_at)
    }

    /// Notes that something of a conversation is withheld. Says whether that is to be kept.
    pub fn withhold(&mut self, id: ConversationId, now: Timestamp) -> bool {
        self.withheld_since.entry(id).or_insert(now);
        self.kept.withheld.insert(id)
    }

    /// Notes that nothing of a conversation is withheld. Says whether that is to be kept.
    pub fn no_longer_withhold(&mut self, id: ConversationId) -> bool {
        self.withheld_since.remove(&id);
        self.kept.withheld.remove(&id)
    }

    /// Whether something of a conversation may be withheld from it.
    pub fn may_withhold(&self, id: ConversationId) -> bool {
        self.kept.withheld.len() < MOST_WITHHELD || self.kept.withheld.contains(&id)
    }

    /// Why it is to be shown nothing more, and ends, where that is so.
    pub fn is_over(&self, now: Timestamp) -> Option<CloseCode> {
        if self.kept.expires_at <= now {
            Some(CloseCode::TokenExpired)
        } else {
            self.was_cut_off().then_some(CloseCode::Restart)
        }
    }

    /// Whether it was catching up when memory was lost: what it lacks is not known any more.
    pub fn was_cut_off(&self) -> bool {
        self.is_cut_off && !planted::is_on(Bug::CutOffGoesOn)
    }

    /// Whether it lacks something, or is yet to be told that it has everything.
    pub fn is_waiting(&self) -> bool {
        !self.behind.is_empty() || !self.caught_up
    }
}
