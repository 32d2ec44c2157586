//! What the members' user objects are told beside deliveries: signals (receipts and typing, for
//! whoever is connected there), and marks (what a device did on its socket here).
//!
//! What always holds:
//! - A member has at most one signal under way, and a device at most one mark of each kind. What
//!   comes meanwhile waits, the newest in place of what it supersedes, so that a burst costs a
//!   few requests, and what waits is bounded.
//! - A mark waits until the user object has the event that it speaks of, which a socket here may
//!   have shown before; a reader is also told that the user object does not answer.
//! - All of this is memory. A signal that is lost was missed; a mark that is lost is made again
//!   by the client's next one, or when its session shows it what it seems not to have.

use std::collections::BTreeMap;

use super::service::{ConversationService, MemberSignal};
use super::socket::SocketSession;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::protocol::frame::ServerFrame;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;
use crate::user::call::{MarkDelivered, MarkLeft, MarkRead};

/// Marks under way at once.
const MARKS: usize = 64;

/// What a device did on its socket here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// It has got events.
    Delivered,
    /// Its user has read them.
    Read,
    /// Its socket has closed, and may not have brought the last events that were sent on it.
    Left,
}

/// To be told to the user object of `user_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whose device.
    pub user_id: UserId,
    /// Which.
    pub device_id: DeviceId,
    /// What it did.
    pub kind: MarkKind,
    /// In this conversation.
    pub conversation_id: ConversationId,
    /// Up to where. Of a socket that has closed: the newest event that may have been sent on it.
    pub up_to_seq: Seq,
    /// Of a socket that has closed: the last event that it certainly brought.
    pub after_seq: Seq,
}

impl Mark {
    /// The request that tells of events that a device has got.
    #[must_use]
    pub const fn delivered(&self) -> MarkDelivered {
        MarkDelivered {
            device_id: self.device_id,
            conversation_id: self.conversation_id,
            up_to_seq: self.up_to_seq,
        }
    }

    /// The request that tells of a socket that has closed.
    #[must_use]
    pub const fn left(&self) -> MarkLeft {
        MarkLeft {
            device_id: self.device_id,
            conversation_id: self.conversation_id,
            after_seq: self.after_seq,
        }
    }

    /// The request that tells of events that were read.
    #[must_use]
    pub const fn read(&self) -> MarkRead {
        MarkRead {
            device_id: self.device_id,
            conversation_id: self.conversation_id,
            up_to_seq: self.up_to_seq,
        }
    }
}

type MarkKey = (UserId, DeviceId, MarkKind);

#[derive(Debug, Default)]
struct Marking {
    is_under_way: bool,
    /// The newest position that is yet to be told.
    waiting: Option<Seq>,
    /// Of sockets that have closed: the last event that all of them certainly brought.
    after: Seq,
}

/// What is under way, and what waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What waits behind each member's signal that is under way.
    signals: BTreeMap<UserId, Vec<ServerFrame>>,
    marks: BTreeMap<MarkKey, Marking>,
    marks_under_way: usize,
}

impl Outbox {
    pub const fn new() -> Self {
        Self {
            signals: BTreeMap::new(),
            marks: BTreeMap::new(),
            marks_under_way: 0,
        }
    }

    /// Notes what a device did; [`ConversationService::next_mark`] gives it out.
    pub fn mark(&mut self, user_id: UserId, device_id: DeviceId, kind: MarkKind, up_to_seq: Seq) {
        let marking = self.marks.entry((user_id, device_id, kind)).or_default();
        marking.waiting = marking.waiting.max(Some(up_to_seq));
    }

    /// Notes that a device's socket has closed; what comes after `after` may not have reached it.
    fn left(&mut self, user_id: UserId, device_id: DeviceId, after: Seq, head: Seq) {
        let marking = self
            .marks
            .entry((user_id, device_id, MarkKind::Left))
            .or_default();
        marking.after = match marking.waiting {
            Some(_) => marking.after.min(after),
            None => after,
        };
        marking.waiting = Some(head);
    }
}

impl<S: Sql> ConversationService<S> {
    /// A member's socket has closed, and the device has no other here. What was sent on it after
    /// `since`, or ever, may not have arrived: its session, if it has one, is to show what was not
    /// acknowledged.
    ///
    /// # Errors
    /// When storage fails: the device then gets it when it connects anew.
    pub fn socket_closed(
        &mut self,
        session: &SocketSession,
        since: Option<Timestamp>,
    ) -> Result<(), SqlError> {
        let Some(state) = self.load()? else {
            return Ok(());
        };
        let (head, is_member) = (state.head, state.members.contains_key(&session.user_id));
        if !is_member {
            return Ok(());
        }
        let certain = match since {
            Some(since) => self.store().newest_until(since)?,
            None => Seq::ZERO,
        };
        let after = certain.max(session.since);
        if after < head {
            self.outbox
                .left(session.user_id, session.device_id, after, head);
        }
        Ok(())
    }

    /// The frames to hand to members' user objects now. Those of a member whose signal is under
    /// way wait. The runtime says when each has been handed over with [`Self::signalled`].
    pub fn signals_due(
        &mut self,
        signals: Vec<MemberSignal>,
    ) -> BTreeMap<UserId, Vec<ServerFrame>> {
        let mut due: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for MemberSignal { to, frame } in signals {
            if let Some(frames) = due.get_mut(&to) {
                frames.push(frame);
            } else if let Some(waiting) = self.outbox.signals.get_mut(&to) {
                supersede(waiting, frame);
            } else {
                self.outbox.signals.insert(to, Vec::new());
                due.insert(to, vec![frame]);
            }
        }
        due
    }

    /// A signal has been handed over, or the user object did not answer. Gives the frames to hand
    /// over next, if any came meanwhile.
    pub fn signalled(&mut self, to: UserId) -> Option<Vec<ServerFrame>> {
        let waiting = self.outbox.signals.remove(&to)?;
        if waiting.is_empty() {
            return None;
        }
        self.outbox.signals.insert(to, Vec::new());
        Some(waiting)
    }

    /// Takes the next mark that is due; it is then under way until [`Self::marked`].
    pub fn next_mark(&mut self) -> Option<Mark> {
        let state = self.state.as_ref()?;
        if self.outbox.marks_under_way >= MARKS {
            return None;
        }
        // What a device has acknowledged is told before that it has left: a device's marks stand
        // together, the former first.
        let mut acknowledging = None;
        let ((user_id, device_id, kind), marking, up_to_seq) =
            self.outbox.marks.iter_mut().find_map(|(key, marking)| {
                let device = Some((key.0, key.1));
                match key.2 {
                    MarkKind::Delivered => acknowledging = device,
                    MarkKind::Left if acknowledging == device => return None,
                    MarkKind::Left | MarkKind::Read => {}
                }
                let seq = marking.waiting.filter(|_| !marking.is_under_way)?;
                let may_tell = match key.2 {
                    MarkKind::Read => state.lanes.may_know(key.0, seq),
                    MarkKind::Delivered | MarkKind::Left => state.lanes.knows(key.0, seq),
                };
                may_tell.then_some((*key, marking, seq))
            })?;
        marking.is_under_way = true;
        marking.waiting = None;
        self.outbox.marks_under_way += 1;
        Some(Mark {
            user_id,
            device_id,
            kind,
            conversation_id: state.meta.conversation_id,
            up_to_seq,
            after_seq: marking.after,
        })
    }

    /// The user object has been told of the mark, or did not answer.
    pub fn marked(&mut self, mark: &Mark) {
        let key = (mark.user_id, mark.device_id, mark.kind);
        if let Some(marking) = self.outbox.marks.get_mut(&key) {
            marking.is_under_way = false;
            self.outbox.marks_under_way = self.outbox.marks_under_way.saturating_sub(1);
            if marking.waiting.is_none() {
                self.outbox.marks.remove(&key);
            }
        }
    }
}

/// Puts `frame` among those that wait, in place of the one that it supersedes.
fn supersede(waiting: &mut Vec<ServerFrame>, frame: ServerFrame) {
    let same = |other: &ServerFrame| match (other, &frame) {
        (ServerFrame::DeliveryReceipt(one), ServerFrame::DeliveryReceipt(other))
        | (ServerFrame::ReadReceipt(one), ServerFrame::ReadReceipt(other)) => {
            one.user_id == other.user_id
        }
        (
            ServerFrame::TypingStart(one) | ServerFrame::TypingStop(one),
            ServerFrame::TypingStart(other) | ServerFrame::TypingStop(other),
        ) => one.user_id == other.user_id,
        _ => false,
    };
    match waiting.iter_mut().find(|other| same(other)) {
        Some(older) => *older = frame,
        None => waiting.push(frame),
    }
}
