//! What is promised, checked against what is on the disks and what clients were shown.
//!
//! What always holds: the oracle learns of a conversation's log only from its disk, after a
//! flush; so whatever a client is shown and the oracle does not know was shown too early.

mod finish;
mod inbox;
mod log;

use std::collections::{BTreeMap, BTreeSet};

use parlance_shared::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::Receipt;
use parlance_shared::protocol::message::MessageAck;

use parlance_shared::protocol::problem::Code;

use crate::objects::{ObjectId, WireId};
use crate::plan::Weather;
use crate::world::{Happening, World};

/// The longest that an event is in an inbox and not on a session, in calm weather: a heartbeat, and
/// what an alarm that was set in bad weather may be late, clocks differ and asking takes.
const AT_MOST_WITHHELD: u64 = 65_000;

pub use log::Log;

/// A message that a client has sent.
#[derive(Debug, Clone)]
struct Attempt {
    place: ConversationId,
    content: String,
    at: u64,
    /// Where it was said to be.
    acked: Option<(u64, MessageId)>,
}

/// What one has wished of another.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    number: u64,
    is_blocked: bool,
    /// Since when it is granted.
    granted_at: Option<u64>,
    /// How many wishes are not answered yet.
    open: u32,
    /// Whether it was wished while another was on its way, or one was never answered: nobody can
    /// say which of them came last.
    is_contested: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Oracle {
    /// All users.
    pub users: Vec<UserId>,
    /// All conversations that were asked for.
    pub places: Vec<ConversationId>,
    /// Their logs.
    pub logs: BTreeMap<ConversationId, Log>,
    directs: BTreeMap<ConversationId, [UserId; 2]>,
    attempts: BTreeMap<(UserId, ClientMessageId), Attempt>,
    scheduled: BTreeSet<(UserId, ClientMessageId)>,
    acked: BTreeMap<(UserId, ConversationId), u64>,
    read: BTreeMap<(UserId, ConversationId), u64>,
    rows: BTreeMap<(UserId, ConversationId), inbox::Row>,
    places_of: BTreeMap<(ConversationId, UserId), (i64, u64, u64)>,
    wishes: BTreeMap<(UserId, UserId), Wish>,
    /// Conversations that someone was told are there.
    created: BTreeSet<ConversationId>,
    /// Conversations whose clock was moved.
    moved: BTreeSet<ConversationId>,
    /// What waits to be sent, and what waited: when it is to be sent, and when it was made.
    made: BTreeMap<(ConversationId, UserId, ClientMessageId), (i64, i64)>,
    /// When the one sent last, of those for a time, was made.
    sent: BTreeMap<(ConversationId, i64), i64>,
    shown_at: u64,
    /// How often clients sent again.
    pub retries: u64,
    /// How often they asked for what was missing.
    pub syncs: u64,
    /// How many messages were acknowledged.
    pub messages: u64,
    /// How many events clients were shown.
    pub shown: u64,
}

impl Oracle {
    /// A direct conversation was asked for.
    pub fn direct(&mut self, place: ConversationId, one: UserId, other: UserId) {
        if self.directs.insert(place, [one, other]).is_none() {
            self.places.push(place);
            let log = self.logs.entry(place).or_default();
            for user in [one, other] {
                log.join(user, 1);
            }
        }
    }

    /// A client sends a message.
    pub fn attempted(
        &mut self,
        user: UserId,
        place: ConversationId,
        id: ClientMessageId,
        content: &str,
    ) {
        let attempt = Attempt {
            place,
            content: content.to_owned(),
            at: self.shown_at,
            acked: None,
        };
        self.attempts.insert((user, id), attempt);
    }

    /// Someone was told that a conversation is there.
    pub fn created(&mut self, place: ConversationId) {
        self.created.insert(place);
    }

    /// An object's clock was moved: what it does next may seem to be earlier than what it did.
    pub fn clock_moved(&mut self, id: ObjectId) {
        if let ObjectId::Conversation(place) = id {
            self.moved.insert(place);
        }
    }

    /// A message is kept to be sent later.
    pub fn scheduled(&mut self, user: UserId, _place: ConversationId, id: ClientMessageId) {
        self.scheduled.insert((user, id));
    }

    /// A device says that it has everything up to `seq`.
    pub fn has_acked(&mut self, user: UserId, place: ConversationId, seq: u64) {
        let known = self.acked.entry((user, place)).or_default();
        *known = seq.max(*known);
    }

    /// A user says that it has read up to `seq`.
    pub fn has_read(&mut self, user: UserId, place: ConversationId, seq: u64) {
        let known = self.read.entry((user, place)).or_default();
        *known = seq.max(*known);
    }

    /// A user wants another blocked, or no longer. Gives the wish's number.
    pub fn block_wished(&mut self, user: UserId, peer: UserId, is_blocked: bool) -> u64 {
        let wish = self.wishes.entry((user, peer)).or_default();
        *wish = Wish {
            number: wish.number + 1,
            is_blocked,
            granted_at: None,
            open: wish.open + 1,
            is_contested: wish.open > 0,
        };
        wish.number
    }

    /// The wish was granted, or it is not known what became of it: then none is sure any more.
    pub fn block_answered(&mut self, user: UserId, peer: UserId, number: u64, is_granted: bool) {
        let now = self.shown_at;
        if let Some(wish) = self.wishes.get_mut(&(user, peer))
            && is_granted
        {
            wish.open -= 1;
            if wish.number == number && !wish.is_contested {
                wish.granted_at = Some(now);
            }
        }
    }
}

impl World {
    /// What an object wrote is on its disk.
    pub(crate) fn flushed(&mut self, id: ObjectId) {
        self.oracle.shown_at = self.now;
        match id {
            ObjectId::Conversation(place) => self.log_flushed(place),
            ObjectId::User(user) => self.inbox_flushed(user),
        }
    }

    /// A client is shown an event.
    pub(crate) fn witness(&mut self, user: UserId, place: ConversationId, event: &Event) {
        self.oracle.shown += 1;
        self.oracle.shown_at = self.now;
        let seq = event.seq().get();
        let log = self.oracle.logs.get(&place);
        let entry = log.and_then(|log| log.entry(seq)).cloned();
        let may_see = log.is_some_and(|log| log.may_see(user, seq));
        let spans = log.and_then(|log| log.spans.get(&user)).cloned();
        self.promise(
            "nothing is shown before it is on disk",
            entry.is_some(),
            || format!("{user} is shown {seq} of {place}"),
        );
        let Some(entry) = entry else {
            return;
        };
        let print = log::Print::of(event);
        self.promise("one order, the same for all", entry.print == print, || {
            let known = entry.print;
            format!("{user} is shown {print:?} as {seq} of {place}, which is {known:?}")
        });
        if let Event::NewMessage(message) = event
            && !message.is_deleted
            && !message.is_hidden
            && let Some(id) = entry.client_msg_id
            && let Some(attempt) = self.oracle.attempts.get(&(message.sender_id, id))
        {
            let is_right = attempt.content == message.content;
            self.promise("what was sent is what is shown", is_right, || {
                format!("{user} is shown {message:?} of {place}")
            });
        }
        self.promise(
            "nobody sees an event outside their membership",
            may_see,
            || format!("{user} is shown {seq} of {place}: {spans:?}"),
        );
    }

    /// A client is told that its message is in the log.
    pub(crate) fn acknowledged(&mut self, user: UserId, ack: &MessageAck) {
        self.oracle.messages += 1;
        let place = ack.conversation_id;
        let seq = ack.seq.get();
        let where_ = (seq, ack.message_id);
        let Some(attempt) = self.oracle.attempts.get_mut(&(user, ack.client_msg_id)) else {
            return self.broken("only what was sent is acknowledged", format!("{ack:?}"));
        };
        let before = attempt.acked.replace(where_);
        let is_same = before.is_none_or(|before| before == where_);
        self.promise("a message has one place", is_same, || {
            format!("{ack:?} after {before:?}")
        });
        let entry = self.oracle.logs.get(&place).and_then(|log| log.entry(seq));
        let entry = entry.cloned();
        let is_there = entry.as_ref().is_some_and(|entry| {
            entry.sender == user
                && entry.client_msg_id == Some(ack.client_msg_id)
                && entry.print.message_id == Some(ack.message_id)
        });
        self.promise("what is acknowledged is on disk", is_there, || {
            format!("{ack:?} where the log has {entry:?}")
        });
    }

    /// A message that was acknowledged is refused when it is sent again.
    pub(crate) fn repeat_refused(
        &mut self,
        user: UserId,
        place: ConversationId,
        id: ClientMessageId,
        code: Code,
    ) {
        let acked = self.oracle.attempts.get(&(user, id));
        let Some((seq, _)) = acked.and_then(|attempt| attempt.acked) else {
            return;
        };
        // One who has left meanwhile knows nothing of it.
        let log = self.oracle.logs.get(&place);
        let was_member = log
            .and_then(|log| log.member_from(user))
            .is_some_and(|from| from <= seq);
        self.promise(
            "what was acknowledged is acknowledged again",
            !was_member,
            || format!("{id} of {user}, {seq} of {place}, is refused: {code:?}"),
        );
    }

    /// In calm weather an event is in an inbox: whoever has a session there has it soon, whatever
    /// other sockets its device has or seems to have.
    pub(crate) fn look_at_sessions(&mut self, user: UserId, place: ConversationId, seq: u64) {
        if self.weather != Weather::CALM {
            return;
        }
        let mut looks = Vec::new();
        for (number, device) in self.devices.iter().enumerate() {
            if let Some(wire) = device.session
                && device.user == user
                && device.is_complete
            {
                looks.push(Happening::Look(number, wire, place, seq));
            }
        }
        for look in looks {
            self.after(AT_MOST_WITHHELD, look);
        }
    }

    pub(crate) fn check_not_withheld(
        &mut self,
        device: usize,
        wire: WireId,
        place: ConversationId,
        seq: u64,
    ) {
        let one = &self.devices[device];
        let is_disturbed = self.wires.get(&wire).is_none_or(|wire| wire.may_gap);
        let may_see = self
            .oracle
            .logs
            .get(&place)
            .is_some_and(|log| log.member_from(one.user).is_some_and(|from| from <= seq));
        if one.session != Some(wire) || is_disturbed || !may_see {
            return;
        }
        let has = one
            .views
            .get(&place)
            .is_some_and(|view| view.all.contains(&seq));
        self.promise("nothing is withheld from a session", has, || {
            format!("dev {device} lacks {seq} of {place} on ~{wire}")
        });
    }

    /// An author is told how far a reader has come.
    pub(crate) fn oracle_receipt(&mut self, user: UserId, receipt: &Receipt, is_read: bool) {
        let place = receipt.conversation_id;
        let key = (receipt.user_id, place);
        let read = self.oracle.read.get(&key).copied().unwrap_or(0);
        let acked = self.oracle.acked.get(&key).copied().unwrap_or(0);
        let most = if is_read { read } else { acked.max(read) };
        let is_said = receipt.up_to_seq.get() <= most;
        self.promise("nobody has come further than they said", is_said, || {
            format!("{user} is told {receipt:?}, read {is_read}, of at most {most}")
        });
        let entry = self
            .oracle
            .logs
            .get(&place)
            .and_then(|log| log.entry(receipt.message_id.claimed_seq().get()));
        let entry = entry.cloned();
        let is_own = entry
            .as_ref()
            .is_some_and(|entry| entry.sender == user && entry.seq <= receipt.up_to_seq.get());
        self.promise("receipts are for one's own messages", is_own, || {
            format!("{user} is told {receipt:?} of {entry:?}")
        });
    }
}
