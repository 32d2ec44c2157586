//! Opening and closing sessions.

use serde::Serialize;

use super::call::OpenSession;
use super::effect::{Effect, Effects, SocketId};
use super::events::failed;
use super::service::UserService;
use super::session::{Kept, Session};
use crate::ids::DeviceId;
use crate::limits;
use crate::protocol::frame::{AuthAck, CloseCode, ServerFrame};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

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
        // What can fail comes before anything is changed.
        let before: Vec<_> = self.sessions_of(open.device_id);
        for socket in &before {
            self.write_acks(*socket)?;
        }
        let socket = self.next_socket();
        let mut session = Session::opened(socket, open, now);
        let mut frames = vec![ServerFrame::AuthAck(AuthAck::new(
            open.user_id,
            open.device_id,
            now,
            self.heartbeat,
            None,
        ))];
        frames.extend(self.missed(&mut session, now)?);
        session.caught_up = false;
        session.kept.is_catching_up = !session.behind.is_empty();
        let state = state_of(&session.kept)?;
        for socket in before {
            self.end_session(socket, CloseCode::Replaced, now, &mut effects);
        }
        self.sessions.insert(socket, session);
        effects.push(Effect::Send {
            to: vec![socket],
            frames,
        });
        self.catch_up(socket, now, &mut effects);
        // That the user has come is told, or looked after until it is.
        self.looked_after = false;
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
            // Of one that the user is no longer a member of only the last event can be had.
            let count = if lagging.is_former {
                1
            } else {
                lagging.head_seq.distance_from(at)
            };
            let is_too_old = lagging.active_at < oldest && !lagging.is_former;
            if count > left || is_too_old {
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

    /// The sessions as they are, each to be given back to [`Self::restore_sessions`] by a runtime
    /// that keeps no object in memory from one event to the next.
    ///
    /// # Errors
    /// Never for what a session holds, which is plain data; told as a failure of storage.
    pub fn session_states(&self) -> Result<Vec<(SocketId, String)>, ServiceError> {
        self.sessions
            .iter()
            .map(|(socket, session)| Ok((*socket, json(session)?)))
            .collect()
    }

    /// Takes up sessions as [`Self::session_states`] gave them. New sockets are named after
    /// `last`, or after the last of these.
    ///
    /// # Errors
    /// When a text is none of a session.
    pub fn restore_sessions(
        &mut self,
        last: SocketId,
        states: impl IntoIterator<Item = String>,
    ) -> Result<(), ServiceError> {
        self.last_socket = self.last_socket.max(last.0);
        for state in states {
            let session: Session = serde_json::from_str(&state).map_err(|_| {
                SqlError::Engine("a session is written as this version does not know".to_owned())
            })?;
            let socket = session.kept.socket;
            self.last_socket = self.last_socket.max(socket.0);
            self.sessions.insert(socket, session);
        }
        Ok(())
    }

    /// The sessions that wait for their clients, or for a conversation that did not answer:
    /// [`Self::wake`] looks after them.
    #[must_use]
    pub fn has_waiting_sessions(&self) -> bool {
        self.sessions.values().any(Session::is_waiting)
    }

    /// Ends the sessions that were catching up when memory was lost.
    pub(super) fn end_cut_off(&mut self, now: Timestamp, effects: &mut Effects) {
        let cut_off: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.was_cut_off())
            .map(|session| session.kept.socket)
            .collect();
        for socket in cut_off {
            self.end_session(socket, CloseCode::Restart, now, effects);
        }
    }

    /// A socket has closed. Its acknowledgements are written down. Where storage fails, what was
    /// acknowledged last is delivered again.
    pub fn close_session(&mut self, socket: SocketId, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        self.let_go(socket, now, &mut effects);
        self.look_after(now, &mut effects);
        effects
    }

    /// Closes a session from this side. It ends whatever storage does: a socket without a session
    /// would stay open and be sent nothing.
    pub(super) fn end_session(
        &mut self,
        socket: SocketId,
        code: CloseCode,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        effects.push(Effect::Close { socket, code });
        self.let_go(socket, now, effects);
    }

    /// Forgets a session whose socket is closed. Where storage fails, what it acknowledged last is
    /// delivered again.
    fn let_go(&mut self, socket: SocketId, now: Timestamp, effects: &mut Effects) {
        let Some(session) = self.sessions.remove(&socket) else {
            return;
        };
        if let Err(failure) = self.save_acks(&session.kept) {
            effects.push(Effect::Failed(failure));
        }
        if let Err(error) = self.presence_closed(&session.kept, now, effects) {
            failed(error, effects);
            // That the user has gone may be untold.
            self.looked_after = false;
        }
    }

    /// Writes a session's acknowledgements down while it goes on.
    pub(super) fn write_acks(&mut self, socket: SocketId) -> Result<(), SqlError> {
        let Some(session) = self.sessions.get(&socket) else {
            return Ok(());
        };
        self.save_acks(&session.kept)?;
        if let Some(session) = self.sessions.get_mut(&socket) {
            session.kept.acks.clear();
        }
        Ok(())
    }

    /// Writes a session's acknowledgements down, in one transaction.
    fn save_acks(&self, kept: &Kept) -> Result<(), SqlError> {
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
    pub(super) fn keep(&self, socket: SocketId, effects: &mut Effects) {
        let Some(session) = self.sessions.get(&socket) else {
            return;
        };
        match state_of(&session.kept) {
            Ok(state) => effects.push(Effect::Keep { socket, state }),
            Err(error) => {
                failed(error, effects);
            }
        }
    }
}

fn state_of(kept: &Kept) -> Result<String, ServiceError> {
    json(kept)
}

fn json(state: &impl Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(state)
        .map_err(|error| SqlError::Engine(error.to_string()))
        .map_err(Into::into)
}
