//! Catching up and going on: what a session lacks it is sent conversation by conversation, in the
//! order of their seq, before anything new of the same conversation; what is new it is sent at
//! once where it lacks nothing.

use std::time::Duration;

use super::effect::{Effect, Effects, SocketId};
use super::pending::Pending;
use super::service::UserService;
use super::session::Session;
use crate::conversation::call::ListEvents;
use crate::ids::ConversationId;
use crate::limits;
use crate::planted::{self, Bug};
use crate::protocol::event::{Event, EventPage};
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;
use crate::user::call::AttachedDevice;

/// Events asked for at once.
const CATCH_UP_EVENTS: u32 = 500;
/// How long a session that is to catch up and acknowledges nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after, and how long a conversation that does not answer is left alone.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(2);
/// Bytes that a frame has beside the content of its message, roughly.
const FRAME_OVERHEAD: usize = 400;

impl<S: Sql> UserService<S> {
    /// Goes on with what a session lacks: asks for the next events, or says that there are none.
    pub(super) fn catch_up(
        &mut self,
        socket: SocketId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        while self.catch_up_step(socket, now, effects)? {}
        Ok(())
    }

    /// One step of that; says whether there is another to take at once.
    fn catch_up_step(
        &mut self,
        socket: SocketId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<bool, ServiceError> {
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(false);
        };
        if session.asking.is_some() {
            return Ok(false);
        }
        if session.behind.is_empty() {
            session.stalled_since = None;
            if !session.caught_up {
                let total_unread = self.store().total_unread()?;
                let Some(session) = self.sessions.get_mut(&socket) else {
                    return Ok(false);
                };
                session.caught_up = true;
                let was_waiting = std::mem::take(&mut session.kept.is_catching_up);
                effects.push(Effect::Send {
                    to: vec![socket],
                    frames: vec![ServerFrame::SyncComplete { total_unread }],
                });
                if was_waiting {
                    self.keep(socket, effects)?;
                }
            }
            return Ok(false);
        }
        if session.unacknowledged_bytes > limits::UNACKNOWLEDGED_BYTES {
            // It goes on once the client has acknowledged some. Being woken for it also keeps
            // the object from sleeping, which would forget where it was.
            let since = *session.stalled_since.get_or_insert(now);
            if now.since(since) >= PATIENCE {
                self.end_session(socket, CloseCode::SlowConsumer, now, effects);
                return Ok(false);
            }
            effects.push(Effect::Wake(now + LOOK_AFTER));
            return Ok(false);
        }
        session.stalled_since = None;
        let next = session
            .behind
            .iter()
            .find(|(id, _)| !session.unanswered.contains_key(id))
            .map(|(id, after)| (*id, *after));
        let Some((conversation_id, after_seq)) = next else {
            effects.push(Effect::Wake(now + LOOK_AFTER));
            return Ok(false);
        };
        if let Some(farewell) = self.store().farewell(&conversation_id)? {
            self.take_leave(socket, conversation_id, farewell, effects);
            return Ok(true);
        }
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(false);
        };
        session.asking = Some(conversation_id);
        let actor = self.owner()?;
        let ticket = self.ticket(Pending::CatchUp {
            socket,
            conversation_id,
        });
        effects.push(Effect::AskConversation {
            id: conversation_id,
            request: ListEvents {
                actor,
                after_seq,
                limit: CATCH_UP_EVENTS,
            }
            .into(),
            ticket: Some(ticket),
        });
        Ok(false)
    }

    /// Sends a session the event by which the user ceased to be a member: it can read nothing more
    /// there.
    fn take_leave(
        &mut self,
        socket: SocketId,
        conversation_id: ConversationId,
        farewell: Event,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&socket) else {
            return;
        };
        let after = session.behind.remove(&conversation_id);
        if after.is_some_and(|after| after < farewell.seq()) {
            session.sent(conversation_id, &farewell);
            effects.push(Effect::Send {
                to: vec![socket],
                frames: vec![ServerFrame::Event(farewell)],
            });
        }
    }

    /// Events that a session lacks have come, or could not be had.
    pub(super) fn caught(
        &mut self,
        socket: SocketId,
        conversation_id: ConversationId,
        answer: Result<EventPage, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let head = self
            .store()
            .inbox_row(&conversation_id)?
            .map(|row| (row.head_seq, row.is_former));
        let oldest = now - limits::INBOX_AGE;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        session.asking = None;
        let Some(after) = session.behind.get(&conversation_id).copied() else {
            return self.catch_up(socket, now, effects);
        };
        let page = match (answer, head) {
            // No longer a member: there is nothing to catch up with but that.
            (_, Some((_, true))) => return self.catch_up(socket, now, effects),
            (Ok(page), Some(_)) => page,
            // Unavailable: it is asked again, after the others.
            (Err(problem), Some(_)) if problem.code != Code::NotFound => {
                session.unanswered.insert(conversation_id, now);
                return self.catch_up(socket, now, effects);
            }
            // No longer a member: the event that says so is yet to be delivered.
            _ => {
                session.behind.remove(&conversation_id);
                return self.catch_up(socket, now, effects);
            }
        };
        let head = head.map_or(Seq::ZERO, |(head, _)| head);
        let mut last = after;
        let mut frames = Vec::new();
        let mut too_old = None;
        for event in page.events {
            let seq = event.seq();
            // What the inbox has not been given yet comes with its delivery.
            if seq <= last || seq > head {
                continue;
            }
            last = seq;
            if event.created_at() < oldest {
                too_old.get_or_insert(seq);
                continue;
            }
            session.sent(conversation_id, &event);
            frames.push(ServerFrame::Event(event));
        }
        if let Some(from_seq) = too_old {
            let gap = ServerFrame::SyncGap {
                conversation_id,
                from_seq,
                head_seq: head,
            };
            frames.insert(0, gap);
        }
        if last >= head || last == after {
            session.behind.remove(&conversation_id);
        } else {
            session.behind.insert(conversation_id, last);
        }
        if !frames.is_empty() {
            effects.push(Effect::Send {
                to: vec![socket],
                frames,
            });
        }
        self.catch_up(socket, now, effects)
    }

    /// Sends new events to the sessions that are not behind there.
    pub(super) fn push(
        &mut self,
        conversation_id: ConversationId,
        events: Vec<Event>,
        elsewhere: &[AttachedDevice],
        now: Timestamp,
        effects: &mut Effects,
    ) {
        if events.is_empty() || self.sessions.is_empty() {
            return;
        }
        let mut to = Vec::new();
        let mut ended = Vec::new();
        for session in self.sessions.values_mut() {
            let socket = session.kept.socket;
            if let Some(code) = session.is_over(now) {
                ended.push((socket, code));
                continue;
            }
            let is_behind = session.behind.contains_key(&conversation_id)
                && !planted::is_on(Bug::PushedWhileBehind);
            if session.has_from_there(elsewhere) || is_behind {
                continue;
            }
            for event in &events {
                session.sent(conversation_id, event);
            }
            if session.unacknowledged_bytes > limits::UNACKNOWLEDGED_BYTES {
                ended.push((socket, CloseCode::SlowConsumer));
            } else {
                to.push(socket);
            }
            if planted::is_on(Bug::SentIsAcknowledged)
                && let Some(last) = events.last()
            {
                session.kept.acks.insert(conversation_id, last.seq());
            }
        }
        if !to.is_empty() {
            effects.push(Effect::Send {
                to,
                frames: events.into_iter().map(ServerFrame::Event).collect(),
            });
        }
        for (socket, code) in ended {
            self.end_session(socket, code, now, effects);
        }
    }

    /// Looks after the sessions that are being waited for.
    ///
    /// # Errors
    /// When storage fails.
    pub fn wake(&mut self, now: Timestamp) -> Result<Effects, ServiceError> {
        let mut effects = Vec::new();
        let sockets: Vec<_> = self.sessions.keys().copied().collect();
        for socket in sockets {
            if let Some(session) = self.sessions.get_mut(&socket)
                && !session.behind.is_empty()
            {
                session
                    .unanswered
                    .retain(|_, since| now.since(*since) < LOOK_AFTER);
                self.catch_up(socket, now, &mut effects)?;
            }
        }
        self.give_up_expecting(now, &mut effects);
        self.wake_marks(now, &mut effects)?;
        effects.extend(self.presence_wake(now)?);
        self.look_after(now, &mut effects);
        Ok(effects)
    }
}

impl Session {
    /// Notes that an event was sent.
    pub fn sent(&mut self, conversation_id: ConversationId, event: &Event) {
        let bytes = event.content_bytes() + FRAME_OVERHEAD;
        self.unacknowledged_bytes += bytes;
        self.unacknowledged
            .entry(conversation_id)
            .or_default()
            .push_back((event.seq(), bytes));
    }

    /// Up to where the client has or was sent everything, where it has everything up to `seq`.
    pub fn has_up_to(&self, conversation_id: ConversationId, seq: Seq) -> Seq {
        let acknowledged = self.kept.acks.get(&conversation_id).copied();
        let mut last = acknowledged.unwrap_or(Seq::ZERO).max(seq);
        for (sent, _) in self
            .unacknowledged
            .get(&conversation_id)
            .into_iter()
            .flatten()
        {
            if *sent == last.next() {
                last = *sent;
            }
        }
        last
    }

    /// Notes that the client has everything up to `seq`.
    pub fn acknowledged(&mut self, conversation_id: ConversationId, seq: Seq) {
        let Some(sent) = self.unacknowledged.get_mut(&conversation_id) else {
            return;
        };
        while let Some((first, bytes)) = sent.front().copied() {
            if first > seq {
                return;
            }
            sent.pop_front();
            self.unacknowledged_bytes = self.unacknowledged_bytes.saturating_sub(bytes);
        }
        self.unacknowledged.remove(&conversation_id);
    }
}
