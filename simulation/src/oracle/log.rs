//! Logs: one gap-free order per conversation, and who may see what of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_shared::conversation::store::events_on_disk;
use parlance_shared::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use parlance_shared::protocol::change::MessageChange;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::group::GroupChange;
use parlance_shared::protocol::seq::Seq;

use crate::disk::{Disk, Unfailing};
use crate::objects::ObjectId;
use crate::world::World;

/// By what an event is known to everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Print {
    kind: &'static str,
    pub(super) message_id: Option<MessageId>,
    about: Option<UserId>,
}

impl Print {
    /// The print of an event, whoever looks at it.
    pub fn of(event: &Event) -> Self {
        let (kind, message_id, about) = match event {
            Event::NewMessage(one) => ("message", Some(one.message_id), Some(one.sender_id)),
            Event::MemberAdded(one) => ("added", None, one.user_ids.first().copied()),
            Event::Changed(change) => {
                let kind = match change {
                    MessageChange::MessageEdited(_) => "edited",
                    MessageChange::MessageDeleted(_) => "deleted",
                    MessageChange::Reaction(_) => "reaction",
                    MessageChange::PinChanged(_) => "pin",
                    _ => "change",
                };
                (kind, Some(change.message_id()), None)
            }
            Event::Group(change) => match change {
                GroupChange::MemberRemoved(one) => ("removed", None, Some(one.user_id)),
                GroupChange::RoleChanged(one) => ("role", None, Some(one.user_id)),
                GroupChange::ConversationDeleted(_) => ("ended", None, None),
                _ => ("group", None, None),
            },
            _ => ("other", None, None),
        };
        Self {
            kind,
            message_id,
            about,
        }
    }
}

/// An event of a log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// By what it is known.
    pub print: Print,
    /// Who caused it.
    pub sender: UserId,
    /// The sender's name for it.
    pub client_msg_id: Option<ClientMessageId>,
    /// When a message was deleted for everyone: the event's number.
    pub deleted_by: Option<u64>,
}

/// A log, as far as it is on disk.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The events, without gaps from 1.
    pub entries: Vec<Entry>,
    /// When each was a member: from its first event to its last.
    pub spans: BTreeMap<UserId, Vec<(u64, Option<u64>)>>,
    /// Whether the conversation is no more.
    pub ended: bool,
    names: BTreeMap<(UserId, ClientMessageId), u64>,
    last_at: i64,
}

impl Log {
    /// The newest event.
    pub fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The event `seq`.
    pub fn entry(&self, seq: u64) -> Option<&Entry> {
        let position = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.entries.get(position)
    }

    /// Whether `user` may see the event `seq`.
    pub fn may_see(&self, user: UserId, seq: u64) -> bool {
        self.spans.get(&user).is_some_and(|spans| {
            spans
                .iter()
                .any(|(from, to)| *from <= seq && to.is_none_or(|to| seq <= to))
        })
    }

    /// From where on `user` sees, where it is a member.
    pub fn member_from(&self, user: UserId) -> Option<u64> {
        let (from, to) = self.spans.get(&user)?.last()?;
        to.is_none().then_some(*from)
    }

    /// Those who are members.
    pub fn members(&self) -> Vec<UserId> {
        let all = self.spans.keys().copied();
        all.filter(|user| self.member_from(*user).is_some())
            .collect()
    }

    pub(super) fn join(&mut self, user: UserId, seq: u64) -> bool {
        let spans = self.spans.entry(user).or_default();
        let is_new = spans.last().is_none_or(|(_, to)| to.is_some());
        spans.push((seq, None));
        is_new
    }

    fn part(&mut self, user: UserId, seq: u64) -> bool {
        match self.spans.get_mut(&user).and_then(|spans| spans.last_mut()) {
            Some((_, to @ None)) => {
                *to = Some(seq);
                true
            }
            _ => false,
        }
    }

    fn add(&mut self, event: &Event) -> Result<(), (&'static str, String)> {
        let seq = event.seq().get();
        let mut entry = Entry {
            seq,
            print: Print::of(event),
            sender: UserId::from_uuid(Default::default()),
            client_msg_id: None,
            deleted_by: None,
        };
        if seq != self.head() + 1 {
            let text = format!("{seq} comes after {}", self.head());
            return Err(("a log has no gaps", text));
        }
        if event.created_at().as_millis() < self.last_at {
            return Err(("a log's times go with its order", format!("{event:?}")));
        }
        self.last_at = event.created_at().as_millis();
        match event {
            Event::NewMessage(message) => {
                entry.sender = message.sender_id;
                entry.client_msg_id = message.client_msg_id;
                let Some(name) = message.client_msg_id else {
                    return Err((
                        "a message has its sender's name for it",
                        format!("{message:?}"),
                    ));
                };
                if let Some(first) = self.names.insert((message.sender_id, name), seq) {
                    let text = format!("{name} is {first} and {seq}");
                    return Err(("nothing is in a log twice", text));
                }
                if self.member_from(message.sender_id).is_none() {
                    return Err(("only members write", format!("{message:?}")));
                }
                if let Some(target) = &message.reply_to {
                    let target_seq = target.claimed_seq().get();
                    let is_before = self
                        .entry(target_seq)
                        .is_some_and(|entry| entry.print.message_id == Some(*target));
                    if !is_before {
                        return Err((
                            "a reply comes after what it replies to",
                            format!("{message:?}"),
                        ));
                    }
                }
            }
            Event::MemberAdded(added) => {
                entry.sender = added.added_by;
                for user in &added.user_ids {
                    if !self.join(*user, seq) {
                        return Err(("nobody joins twice", format!("{added:?}")));
                    }
                }
            }
            Event::Changed(MessageChange::MessageDeleted(deleted)) => {
                entry.sender = deleted.deleted_by;
                let target = deleted.message_id.claimed_seq().get();
                let position = usize::try_from(target).unwrap_or(0).wrapping_sub(1);
                let Some(target) = self.entries.get_mut(position) else {
                    return Err(("a change comes after its message", format!("{deleted:?}")));
                };
                if target.deleted_by.replace(seq).is_some() {
                    return Err(("a message is deleted once", format!("{deleted:?}")));
                }
            }
            Event::Group(change) => {
                entry.sender = change.actor();
                match change {
                    GroupChange::MemberRemoved(removed) => {
                        if !self.part(removed.user_id, seq) {
                            return Err(("only members are removed", format!("{removed:?}")));
                        }
                        self.ended |= self.members().is_empty();
                    }
                    GroupChange::ConversationDeleted(_) => {
                        for user in self.members() {
                            self.part(user, seq);
                        }
                        self.ended = true;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.entries.push(entry);
        Ok(())
    }
}

impl World {
    /// The events of a conversation that are on its disk, after `after`.
    fn events_on_disk(&self, place: ConversationId, after: u64) -> Vec<Event> {
        let Some(disk) = self.disk(ObjectId::Conversation(place)) else {
            return Vec::new();
        };
        events_on_disk(&Unfailing(&disk), 1, place, Seq::new(after)).unwrap_or_default()
    }

    /// A conversation's storage has reached the disk.
    pub(super) fn log_flushed(&mut self, place: ConversationId) {
        let head = self.oracle.logs.get(&place).map_or(0, Log::head);
        self.oracle.logs.entry(place).or_default();
        let events = self.events_on_disk(place, head);
        for event in events {
            let Some(log) = self.oracle.logs.get_mut(&place) else {
                return;
            };
            let added = log.add(&event);
            self.counts.add("event", Print::of(&event).kind);
            if let Err((rule, text)) = added {
                return self.broken(rule, format!("{place}: {text}"));
            }
            self.counts.add(
                "promise looked at",
                "a log has no gaps, nothing twice, and times in its order",
            );
            self.check_written(place, &event);
        }
        self.note_scheduled(place);
        self.check_places(place);
    }

    /// The disk of a conversation that has a log.
    pub(super) fn disk_with_log(&self, place: ConversationId) -> Option<Rc<Disk>> {
        let log = self.oracle.logs.get(&place)?;
        let disk = self.disk(ObjectId::Conversation(place));
        disk.filter(|_| log.head() > 0)
    }

    /// What waits to be sent, by the disk.
    fn note_scheduled(&mut self, place: ConversationId) {
        let Some(disk) = self.disk_with_log(place) else {
            return;
        };
        let waiting = disk.look(
            "SELECT sender_id, client_msg_id, send_at, created_at FROM scheduled_message
             WHERE scope = 1 AND problem IS NULL",
            &[],
        );
        for row in waiting {
            if let (Ok(sender), Ok(id), Ok(send_at), Ok(made_at)) =
                (row.get(0), row.get(1), row.get(2), row.get(3))
            {
                let made = (place, sender, id);
                self.oracle.made.insert(made, (send_at, made_at));
            }
        }
    }

    /// Of what was to be sent at one time, what was made first is sent first.
    fn check_made(&mut self, place: ConversationId, sender: UserId, id: ClientMessageId) {
        let Some((send_at, made_at)) = self.oracle.made.remove(&(place, sender, id)) else {
            return;
        };
        self.counts.add("runtime", "scheduled message sent");
        let last = self.oracle.sent.entry((place, send_at)).or_insert(made_at);
        let before = *last;
        *last = before.max(made_at);
        let is_in_order = before <= made_at || self.oracle.moved.contains(&place);
        self.promise(
            "scheduled messages are sent in the order in which they were made",
            is_in_order,
            || format!("{id} of {place}, made at {made_at}, comes after one of {before}"),
        );
    }

    /// A message is one that its sender wrote, and was not kept from writing.
    fn check_written(&mut self, place: ConversationId, event: &Event) {
        let Event::NewMessage(message) = event else {
            return;
        };
        let sender = message.sender_id;
        let attempt = message
            .client_msg_id
            .and_then(|id| self.oracle.attempts.get(&(sender, id)));
        let Some(attempt) = attempt else {
            return self.broken("only what was sent is in a log", format!("{message:?}"));
        };
        if attempt.place != place || (attempt.content != message.content && !message.is_deleted) {
            return self.broken("what was sent is in the log", format!("{message:?}"));
        }
        let since = attempt.at;
        if let Some(id) = message.client_msg_id {
            self.check_made(place, sender, id);
        }
        let peer = self
            .oracle
            .directs
            .get(&place)
            .and_then(|two| two.iter().find(|user| **user != sender));
        if let Some(peer) = peer
            && let Some(wish) = self.oracle.wishes.get(&(*peer, sender))
        {
            let is_kept_out = wish.is_blocked && wish.granted_at.is_some_and(|at| at < since);
            self.promise("one who is blocked does not write", !is_kept_out, || {
                format!("{sender} writes: {message:?}")
            });
        }
    }

    /// How far members have come never goes back.
    fn check_places(&mut self, place: ConversationId) {
        let Some(disk) = self.disk(ObjectId::Conversation(place)) else {
            return;
        };
        let head = self.oracle.logs.get(&place).map_or(0, Log::head);
        if head == 0 {
            return;
        }
        let rows = disk.look(
            "SELECT user_id, joined_at, delivered_seq, read_seq FROM member WHERE scope = 1",
            &[],
        );
        for row in rows {
            let (Ok(user), Ok(joined), Ok(delivered), Ok(read)) = (
                row.get::<UserId>(0),
                row.get::<i64>(1),
                row.get::<u64>(2),
                row.get::<u64>(3),
            ) else {
                continue;
            };
            let before = self
                .oracle
                .places_of
                .insert((place, user), (joined, delivered, read));
            let went_back = before.is_some_and(|(since, before_delivered, before_read)| {
                since == joined && (delivered < before_delivered || read < before_read)
            });
            self.promise(
                "receipts go forwards, and what is read was delivered",
                !went_back && read <= delivered && delivered <= head,
                || {
                    format!(
                        "{user} in {place}: delivered {delivered}, read {read}, head {head}, before {before:?}"
                    )
                },
            );
        }
    }
}
