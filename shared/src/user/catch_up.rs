//! Catching up and going on: what a session lacks it is sent conversation by conversation, in the
//! order of their seq, before anything new of the same conversation; what is new it is sent at
//! once where it lacks nothing.

use std::time::Duration;

use super::effect::{Effect, Effects, SocketId};
use super::events::failed;
use super::pending::Pending;
use super::service::UserService;
use super::session::{BEFORE_SLEEP, Session};
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
/// How much too early a wake may come: clocks are rounded.
const EARLY: Duration = Duration::from_millis(50);
/// Bytes that a frame has beside the content of its message, roughly.
const FRAME_OVERHEAD: usize = 400;

impl<S: Sql> UserService<S> {
    /// A session lacks what comes after `after` in a conversation: from now on what is new there
    /// waits until it has caught up. That it lacks something outlives the object's memory.
    pub(super) fn fall_behind(
        &mut self,
        socket: SocketId,
        conversation_id: ConversationId,
        after: Seq,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&socket) else {
            return;
        };
        session
            .behind
            .entry(conversation_id)
            .and_modify(|at| *at = after.min(*at))
            .or_insert(after);
        let was_withheld = session.no_longer_withhold(conversation_id);
        if !std::mem::replace(&mut session.kept.is_catching_up, true) || was_withheld {
            self.keep(socket, effects);
        }
        self.catch_up(socket, now, effects);
    }

    /// Shows a session what was withheld from it in a conversation, as far as its device has not
    /// acknowledged it.
    fn release(
        &mut self,
        socket: SocketId,
        conversation_id: ConversationId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let row = self.store().inbox_row(&conversation_id)?;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        if let Some(row) = row {
            let acknowledged = row.positions.of(session.kept.device_id, row.head_seq);
            let after = session.has_up_to(conversation_id, acknowledged);
            if after < row.head_seq {
                self.fall_behind(socket, conversation_id, after, now, effects);
                return Ok(());
            }
        }
        session.no_longer_withhold(conversation_id);
        self.keep(socket, effects);
        Ok(())
    }

    /// Shows what has been withheld for a heartbeat: the socket of the conversation that was to
    /// bring it may be dead.
    pub(super) fn release_due(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let heartbeat = self.heartbeat;
        let due: Vec<_> = self
            .sessions
            .values()
            .flat_map(|session| {
                let is_due = |id: &&ConversationId| {
                    let since = session.withheld_since.get(id);
                    since.is_none_or(|since| *since + heartbeat <= now)
                        && !planted::is_on(Bug::WithheldForGood)
                };
                let socket = session.kept.socket;
                let ids = session.kept.withheld.iter().filter(is_due);
                ids.map(move |id| (socket, *id)).collect::<Vec<_>>()
            })
            .collect();
        for (socket, id) in due {
            self.release(socket, id, now, effects)?;
        }
        Ok(())
    }

    /// When [`Self::release_due`] has something to do.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        let since = self.sessions.values();
        let since = since.flat_map(|session| session.withheld_since.values());
        let since = since.filter(|since| **since != BEFORE_SLEEP);
        since.min().map(|since| *since + self.heartbeat)
    }

    /// Goes on with what a session lacks: asks for the next events, or says that there are none.
    /// Where storage fails it is looked after until it has them.
    pub(super) fn catch_up(&mut self, socket: SocketId, now: Timestamp, effects: &mut Effects) {
        loop {
            match self.catch_up_step(socket, now, effects) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    if planted::is_on(Bug::DecisionsLost) {
                        effects.clear();
                    }
                    failed(error, effects);
                    return self.look_again(now, effects);
                }
            }
        }
    }

    /// Has what is being waited for looked after once more, soon. However much that is, the object
    /// is woken for it once.
    fn look_again(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.looks_at.is_none() {
            let at = now + LOOK_AFTER;
            self.looks_at = Some(at);
            effects.push(Effect::Wake(at));
        }
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
        // What it lacks is not known any more: it ends with this event.
        if session.asking.is_some() || session.was_cut_off() {
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
                effects.push(Effect::Send {
                    to: vec![socket],
                    frames: vec![ServerFrame::SyncComplete { total_unread }],
                });
            }
            if let Some(session) = self.sessions.get_mut(&socket)
                && std::mem::take(&mut session.kept.is_catching_up)
            {
                self.keep(socket, effects);
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
            self.look_again(now, effects);
            return Ok(false);
        }
        session.stalled_since = None;
        let next = session
            .behind
            .iter()
            .find(|(id, _)| !session.unanswered.contains_key(id))
            .map(|(id, after)| (*id, *after));
        let Some((conversation_id, after_seq)) = next else {
            self.look_again(now, effects);
            return Ok(false);
        };
        if let Some(farewell) = self.store().farewell(&conversation_id)? {
            self.take_leave(socket, conversation_id, farewell, effects);
            return Ok(true);
        }
        let actor = self.owner()?;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(false);
        };
        session.asking = Some(conversation_id);
        session.skipped.remove(&conversation_id);
        let ticket = self.ticket(Pending::CatchUp {
            socket,
            conversation_id,
            after_seq,
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
        (conversation_id, asked_after): (ConversationId, Seq),
        answer: Result<EventPage, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if let Some(session) = self.sessions.get_mut(&socket) {
            session.asking = None;
        }
        // What it lacks is not what it was when that was asked: it asks anew.
        let lacks = self.sessions.get(&socket);
        let lacks = lacks.and_then(|session| session.behind.get(&conversation_id));
        if lacks.is_some_and(|after| *after != asked_after) {
            self.catch_up(socket, now, effects);
            return Ok(());
        }
        let taken = self.take_page(socket, conversation_id, answer, now, effects);
        // Where storage has failed the session lacks it still, and asks again.
        if taken.is_err()
            && let Some(session) = self.sessions.get_mut(&socket)
        {
            session.unanswered.insert(conversation_id, now);
        }
        self.catch_up(socket, now, effects);
        taken
    }

    fn take_page(
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
        let Some(after) = session.behind.get(&conversation_id).copied() else {
            return Ok(());
        };
        let page = match (answer, head) {
            // No longer a member: there is nothing to catch up with but that.
            (_, Some((_, true))) => return Ok(()),
            (Ok(page), Some(_)) => page,
            // Unavailable: it is asked again, after the others.
            (Err(problem), Some(_)) if problem.code != Code::NotFound => {
                session.unanswered.insert(conversation_id, now);
                return Ok(());
            }
            // It has become a member again since it was asked.
            _ if session.skipped.contains(&conversation_id) => return Ok(()),
            // No longer a member: the event that says so is yet to be delivered.
            _ => {
                session.behind.remove(&conversation_id);
                return Ok(());
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
        let is_over = last == after && !session.skipped.contains(&conversation_id);
        if last >= head || is_over {
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
        Ok(())
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
        let mut withheld = Vec::new();
        let mut released = Vec::new();
        for session in self.sessions.values_mut() {
            let socket = session.kept.socket;
            if let Some(code) = session.is_over(now) {
                ended.push((socket, code));
                continue;
            }
            let is_behind = session.behind.contains_key(&conversation_id)
                && !planted::is_on(Bug::PushedWhileBehind);
            if is_behind {
                session.skipped.insert(conversation_id);
                continue;
            }
            if session.has_from_there(elsewhere) && session.may_withhold(conversation_id) {
                if session.withhold(conversation_id, now) {
                    withheld.push(socket);
                }
                continue;
            }
            if session.kept.withheld.contains(&conversation_id) {
                released.push(socket);
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
        for socket in withheld {
            self.keep(socket, effects);
        }
        // Where storage fails, it is tried again with the next event, or after a heartbeat.
        for socket in released {
            if let Err(error) = self.release(socket, conversation_id, now, effects) {
                failed(error, effects);
            }
        }
        for (socket, code) in ended {
            self.end_session(socket, code, now, effects);
        }
    }

    /// Looks after what is being waited for. Where storage fails, it does so again soon.
    pub fn wake(&mut self, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        if self.looks_at.is_some_and(|at| at <= now + EARLY) {
            self.looks_at = None;
        }
        let sockets: Vec<_> = self.sessions.keys().copied().collect();
        for socket in sockets {
            if let Some(session) = self.sessions.get_mut(&socket)
                && session.is_waiting()
            {
                session
                    .unanswered
                    .retain(|_, since| now.since(*since) < LOOK_AFTER);
                self.catch_up(socket, now, &mut effects);
            }
        }
        self.give_up_expecting(now, &mut effects);
        self.wake_marks(now, &mut effects);
        if let Err(error) = self.presence_wake(now, &mut effects) {
            failed(error, &mut effects);
            self.look_again(now, &mut effects);
        }
        self.look_after(now, &mut effects);
        effects
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
