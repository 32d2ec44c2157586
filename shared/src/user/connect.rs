//! Opening and closing sessions, and catching up: what a session lacks it is sent conversation
//! by conversation, in the order of their seq, before anything new of the same conversation.

use std::time::Duration;

use super::call::OpenSession;
use super::effect::{Effect, Effects, SocketId};
use super::pending::Pending;
use super::service::UserService;
use super::session::{Kept, Session};
use crate::conversation::call::ListEvents;
use crate::ids::{ConversationId, DeviceId};
use crate::limits;
use crate::protocol::event::{Event, EventPage};
use crate::protocol::frame::{AuthAck, CloseCode, ServerFrame};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

/// Events asked for at once.
const CATCH_UP_EVENTS: u32 = 500;
/// How long a session that is to catch up and acknowledges nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after, and how long a conversation that does not answer is left alone.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(2);
/// Bytes that a frame has beside the content of its message, roughly.
const FRAME_OVERHEAD: usize = 400;

/// A session that was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its socket, from now on.
    pub socket: SocketId,
    /// To be kept with the socket.
    pub state: String,
    /// To be done once the socket is there.
    pub effects: Effects,
}

impl<S: Sql> UserService<S> {
    /// Opens a session: `auth_ack`, what was missed, `sync_complete`. A session that the device
    /// had before is ended.
    ///
    /// # Errors
    /// `unauthenticated` where the device is signed out.
    pub fn open_session(
        &mut self,
        open: &OpenSession,
        now: Timestamp,
    ) -> Result<Opened, ServiceError> {
        let store = self.store_for(open.device_id)?;
        if store.user_id()? != Some(open.user_id) {
            return Err(Problem::unauthenticated("The token is another user's.").into());
        }
        let mut effects = Vec::new();
        let before: Vec<_> = self.sessions_of(open.device_id);
        for socket in before {
            self.end_session(socket, CloseCode::Replaced, now, &mut effects)?;
        }
        let socket = self.next_socket();
        let mut session = Session::opened(socket, open, now);
        let mut frames = vec![ServerFrame::AuthAck(AuthAck::new(
            open.user_id,
            open.device_id,
            now,
            None,
        ))];
        frames.extend(self.missed(&mut session, now)?);
        session.caught_up = false;
        let state = state_of(&session.kept)?;
        self.sessions.insert(socket, session);
        effects.push(Effect::Send {
            to: vec![socket],
            frames,
        });
        self.catch_up(socket, now, &mut effects)?;
        effects.extend(self.presence_check(now)?);
        self.look_after(now, &mut effects);
        Ok(Opened {
            socket,
            state,
            effects,
        })
    }

    /// Notes what the device has not acknowledged, up to the inbox's limits. What lies beyond
    /// them is for the client to page.
    fn missed(
        &self,
        session: &mut Session,
        now: Timestamp,
    ) -> Result<Vec<ServerFrame>, ServiceError> {
        let device_id = session.kept.device_id;
        let oldest = now - limits::INBOX_AGE;
        let mut left = limits::INBOX_EVENTS;
        let mut gaps = Vec::new();
        for lagging in self.store().lagging()? {
            if !lagging.positions.lags(device_id) {
                continue;
            }
            let at = lagging.positions.of(device_id, lagging.head_seq);
            let count = lagging.head_seq.distance_from(at);
            if count > left || lagging.active_at < oldest {
                gaps.push(ServerFrame::SyncGap {
                    conversation_id: lagging.conversation_id,
                    from_seq: at.next(),
                    head_seq: lagging.head_seq,
                });
            } else {
                left -= count;
                session.behind.insert(lagging.conversation_id, at);
            }
        }
        Ok(gaps)
    }

    /// A name that no socket had while this object was in memory, nor one that it woke with.
    const fn next_socket(&mut self) -> SocketId {
        self.last_socket = self.last_socket.wrapping_add(1);
        SocketId(self.last_socket)
    }

    pub(super) fn sessions_of(&self, device_id: DeviceId) -> Vec<SocketId> {
        self.sessions
            .values()
            .filter(|session| session.kept.device_id == device_id)
            .map(|session| session.kept.socket)
            .collect()
    }

    /// Takes up the sessions that the runtime kept while the object slept.
    pub fn wake_sessions(&mut self, kept: impl IntoIterator<Item = Kept>) {
        for kept in kept {
            self.last_socket = self.last_socket.max(kept.socket.0);
            self.sessions.insert(kept.socket, Session::woken(kept));
        }
    }

    /// A socket has closed. Its acknowledgements are written down.
    ///
    /// # Errors
    /// When storage fails: what was acknowledged last is then delivered again.
    pub fn close_session(
        &mut self,
        socket: SocketId,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let mut effects = Vec::new();
        self.forget_session(socket, now, &mut effects)?;
        self.look_after(now, &mut effects);
        Ok(effects)
    }

    /// Closes a session from this side.
    pub(super) fn end_session(
        &mut self,
        socket: SocketId,
        code: CloseCode,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        effects.push(Effect::Close { socket, code });
        self.forget_session(socket, now, effects)
    }

    fn forget_session(
        &mut self,
        socket: SocketId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(session) = self.sessions.remove(&socket) else {
            return Ok(());
        };
        self.save_acks(&session.kept)?;
        effects.extend(self.presence_closed(&session.kept, now)?);
        Ok(())
    }

    /// Writes a session's acknowledgements down, in one transaction.
    pub(super) fn save_acks(&self, kept: &Kept) -> Result<(), SqlError> {
        if kept.acks.is_empty() {
            return Ok(());
        }
        transact(&self.sql, || {
            let store = self.store();
            for (id, seq) in &kept.acks {
                let Some(mut row) = store.inbox_row(id)? else {
                    continue;
                };
                let before = (row.positions.clone(), row.delivered_seq);
                row.positions.advance(kept.device_id, *seq, row.head_seq);
                let delivered_seq = row.delivered_seq.max((*seq).min(row.head_seq));
                if before != (row.positions.clone(), delivered_seq) {
                    store.save_positions(id, &row.positions, delivered_seq)?;
                }
            }
            Ok(())
        })
    }

    /// Keeps what has changed of a session with its socket.
    pub(super) fn keep(&self, socket: SocketId, effects: &mut Effects) -> Result<(), ServiceError> {
        if let Some(session) = self.sessions.get(&socket) {
            let state = state_of(&session.kept)?;
            effects.push(Effect::Keep { socket, state });
        }
        Ok(())
    }

    /// Goes on with what a session lacks: asks for the next events, or says that there are none.
    pub(super) fn catch_up(
        &mut self,
        socket: SocketId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        if session.asking.is_some() {
            return Ok(());
        }
        if session.behind.is_empty() {
            session.stalled_since = None;
            if !session.caught_up {
                session.caught_up = true;
                let total_unread = self.store().total_unread()?;
                effects.push(Effect::Send {
                    to: vec![socket],
                    frames: vec![ServerFrame::SyncComplete { total_unread }],
                });
            }
            return Ok(());
        }
        if session.unacknowledged_bytes > limits::UNACKNOWLEDGED_BYTES {
            // It goes on once the client has acknowledged some. Being woken for it also keeps
            // the object from sleeping, which would forget where it was.
            let since = *session.stalled_since.get_or_insert(now);
            if now.since(since) >= PATIENCE {
                return self.end_session(socket, CloseCode::SlowConsumer, now, effects);
            }
            effects.push(Effect::Wake(now + LOOK_AFTER));
            return Ok(());
        }
        session.stalled_since = None;
        let next = session
            .behind
            .iter()
            .find(|(id, _)| !session.unanswered.contains_key(id))
            .map(|(id, after)| (*id, *after));
        let Some((conversation_id, after_seq)) = next else {
            effects.push(Effect::Wake(now + LOOK_AFTER));
            return Ok(());
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
        Ok(())
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
            .map(|row| row.head_seq);
        let oldest = now - limits::INBOX_AGE;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        session.asking = None;
        let Some(after) = session.behind.get(&conversation_id).copied() else {
            return self.catch_up(socket, now, effects);
        };
        let page = match (answer, head) {
            (Ok(page), Some(_)) => page,
            // Unavailable: it is asked again, after the others.
            (Err(problem), Some(_)) if problem.code != Code::NotFound => {
                session.unanswered.insert(conversation_id, now);
                return self.catch_up(socket, now, effects);
            }
            // No longer a member: there is nothing to catch up with.
            _ => {
                session.behind.remove(&conversation_id);
                return self.catch_up(socket, now, effects);
            }
        };
        let head = head.unwrap_or(Seq::ZERO);
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
        elsewhere: &[DeviceId],
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if events.is_empty() || self.sessions.is_empty() {
            return Ok(());
        }
        let mut to = Vec::new();
        let mut ended = Vec::new();
        for session in self.sessions.values_mut() {
            let socket = session.kept.socket;
            if session.kept.expires_at <= now {
                ended.push((socket, CloseCode::TokenExpired));
                continue;
            }
            if elsewhere.contains(&session.kept.device_id)
                || session.behind.contains_key(&conversation_id)
            {
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
        }
        if !to.is_empty() {
            effects.push(Effect::Send {
                to,
                frames: events.into_iter().map(ServerFrame::Event).collect(),
            });
        }
        for (socket, code) in ended {
            self.end_session(socket, code, now, effects)?;
        }
        Ok(())
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
        self.wake_marks(now, &mut effects)?;
        effects.extend(self.presence_wake(now)?);
        self.look_after(now, &mut effects);
        Ok(effects)
    }
}

pub(super) fn state_of(kept: &Kept) -> Result<String, ServiceError> {
    serde_json::to_string(kept)
        .map_err(|error| SqlError::Engine(error.to_string()))
        .map_err(Into::into)
}

impl Session {
    /// Notes that an event was sent.
    pub fn sent(&mut self, conversation_id: ConversationId, event: &Event) {
        let content = event
            .as_message()
            .map_or(0, |message| message.content.len());
        let bytes = content + FRAME_OVERHEAD;
        self.unacknowledged_bytes += bytes;
        self.unacknowledged
            .entry(conversation_id)
            .or_default()
            .push_back((event.seq(), bytes));
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
