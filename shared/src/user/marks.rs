//! Telling conversations how far the user has come, so that authors get their receipts.
//!
//! What always holds: a conversation is told once at a time, with the newest position; one that
//! is not told, since memory was lost or it did not answer, learns it with its next delivery.

use std::time::Duration;

use super::effect::{Effect, Effects, SocketId};
use super::events::failed;
use super::pending::Pending;
use super::service::UserService;
use crate::conversation::call::{MarkPosition, MemberPosition};
use crate::ids::{ConversationId, DeviceId};
use crate::limits;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;

/// In larger groups nobody waits for a receipt: positions are gathered this long.
const GATHER: Duration = Duration::from_secs(3);
/// How long a conversation that did not answer is left alone, and how often it is tried.
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;
/// Acknowledged positions kept with a socket before they are written down.
const KEPT_ACKS: usize = 64;

/// What a conversation is to be told.
#[derive(Debug, Default)]
pub(super) struct Mark {
    in_flight: bool,
    /// The position has moved on since it was told.
    again: bool,
    /// To be told at this time.
    due: Option<Timestamp>,
    failures: u32,
}

impl<S: Sql> UserService<S> {
    /// A session's device has everything up to `seq`.
    pub(super) fn note_ack(
        &mut self,
        socket: SocketId,
        id: ConversationId,
        seq: Seq,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let (delivered_before, head) = self.delivered_seq(id)?;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        session.acknowledged(id, seq);
        let known = session.kept.acks.get(&id).copied().unwrap_or(Seq::ZERO);
        if seq <= known {
            return Ok(());
        }
        session.kept.acks.insert(id, seq);
        if seq >= head {
            session.withheld_since.remove(&id);
        }
        if session.kept.acks.len() > KEPT_ACKS {
            // Where that fails it is tried again with the next one.
            if let Err(failure) = self.write_acks(socket) {
                effects.push(Effect::Failed(failure));
            }
        }
        self.keep(socket, effects);
        self.delivered_further(id, delivered_before, seq, now, effects);
        Ok(())
    }

    /// A device without a session has everything up to `seq`: written down at once.
    pub(super) fn note_device(
        &mut self,
        device_id: DeviceId,
        id: ConversationId,
        seq: Seq,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if let Some(socket) = self.sessions_of(device_id).first().copied() {
            return self.note_ack(socket, id, seq, now, effects);
        }
        let (delivered_before, _) = self.delivered_seq(id)?;
        let mut row = self
            .store()
            .inbox_row(&id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let before = row.positions.clone();
        row.positions.advance(device_id, seq, row.head_seq);
        let delivered_seq = row.delivered_seq.max(seq.min(row.head_seq));
        if before != row.positions || delivered_seq != row.delivered_seq {
            self.store()
                .save_positions(&id, &row.positions, delivered_seq)?;
        }
        self.delivered_further(id, delivered_before, seq, now, effects);
        Ok(())
    }

    /// The last event that any device has acknowledged, written down or not, and the newest one.
    fn delivered_seq(&self, id: ConversationId) -> Result<(Seq, Seq), ServiceError> {
        let row = self
            .store()
            .inbox_row(&id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let delivered = row.delivered_seq.max(self.unsaved_ack(id));
        Ok((delivered, row.head_seq))
    }

    /// The last event that a session has acknowledged and that is not written down.
    pub(super) fn unsaved_ack(&self, id: ConversationId) -> Seq {
        self.sessions
            .values()
            .filter_map(|session| session.kept.acks.get(&id).copied())
            .max()
            .unwrap_or(Seq::ZERO)
    }

    /// A device has come further than any before: the conversation is told. That it has is noted
    /// already, so where storage fails that is done later.
    fn delivered_further(
        &mut self,
        id: ConversationId,
        before: Seq,
        seq: Seq,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        if seq > before
            && let Err(error) = self.tell_delivered(id, before, seq, now, effects)
        {
            failed(error, effects);
            self.mark_later(id, now, effects);
        }
    }

    fn tell_delivered(
        &mut self,
        id: ConversationId,
        before: Seq,
        seq: Seq,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(row) = self.store().inbox_row(&id)? else {
            return Ok(());
        };
        // One's own message, come back to the device that sent it, is no news to anyone.
        let owner = self.owner()?;
        if row.last_message == Some((seq, owner)) && before.next() == seq {
            return Ok(());
        }
        if usize::try_from(row.member_count).unwrap_or(usize::MAX) > limits::SMALL_GROUP {
            let due = now + GATHER;
            let mark = self.marks.entry(id).or_default();
            if mark.due.is_none() && !mark.in_flight {
                mark.due = Some(due);
                effects.push(Effect::Wake(due));
            } else {
                mark.again = true;
            }
            return Ok(());
        }
        self.try_mark(id, effects)
    }

    /// Tells a conversation how far the user has come, now or after what it is being told, and
    /// later where storage fails.
    pub(super) fn mark(&mut self, id: ConversationId, now: Timestamp, effects: &mut Effects) {
        if let Err(error) = self.try_mark(id, effects) {
            failed(error, effects);
            self.mark_later(id, now, effects);
        }
    }

    fn mark_later(&mut self, id: ConversationId, now: Timestamp, effects: &mut Effects) {
        let due = now + RETRY;
        self.marks.entry(id).or_default().due = Some(due);
        effects.push(Effect::Wake(due));
    }

    fn try_mark(&mut self, id: ConversationId, effects: &mut Effects) -> Result<(), ServiceError> {
        let Some(position) = self.position(id)? else {
            return Ok(());
        };
        let user_id = self.owner()?;
        let mark = self.marks.entry(id).or_default();
        if mark.in_flight {
            mark.again = true;
            return Ok(());
        }
        mark.in_flight = true;
        mark.again = false;
        mark.due = None;
        let ticket = self.ticket(Pending::Mark {
            conversation_id: id,
        });
        effects.push(Effect::AskConversation {
            id,
            request: MarkPosition { user_id, position }.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// A conversation was told, or did not answer.
    pub(super) fn marked(
        &mut self,
        id: ConversationId,
        answer: Result<(), Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(mark) = self.marks.get_mut(&id) else {
            return;
        };
        mark.in_flight = false;
        let refused = answer.is_err_and(|problem| problem.status >= 500);
        if refused && mark.failures < TRIES {
            mark.failures += 1;
            mark.due = Some(now + RETRY);
            effects.push(Effect::Wake(now + RETRY));
            return;
        }
        if mark.again && !refused {
            mark.failures = 0;
            return self.mark(id, now, effects);
        }
        self.marks.remove(&id);
    }

    /// Tells the conversations whose time has come.
    pub(super) fn wake_marks(&mut self, now: Timestamp, effects: &mut Effects) {
        let due: Vec<_> = self
            .marks
            .iter()
            .filter(|(_, mark)| mark.due.is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.mark(id, now, effects);
        }
    }

    /// How far the user has come in a conversation.
    pub(super) fn position(
        &self,
        id: ConversationId,
    ) -> Result<Option<MemberPosition>, ServiceError> {
        let store = self.store();
        let (Some(row), Some(profile)) = (store.inbox_row(&id)?, store.profile()?) else {
            return Ok(None);
        };
        Ok(Some(MemberPosition {
            delivered_seq: row
                .delivered_seq
                .max(self.unsaved_ack(id))
                .max(row.read_seq),
            read_seq: row.read_seq,
            read_receipts: profile.privacy.read_receipts,
        }))
    }
}
