//! Heartbeats: a socket whose client has fallen silent is closed.
//!
//! The runtime answers pings without waking the object and notes when; the object looks at that
//! at an alarm, which is set for the first moment at which a session could be overdue. Streams and
//! polls are held by the edge and end with its connection to the client; only where the edge can
//! die without that being seen are they looked at, too.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits;
use crate::protocol::problem::ServiceError;
use crate::sql::Sql;
use crate::time::Timestamp;
use crate::user::call::Transport;
use crate::user::effect::{Effects, SocketId};
use crate::user::service::UserService;
use crate::user::session::Kept;

/// How old the written moment at which the user was here may be, while the user is here.
const SEEN_STEP: Duration = Duration::from_secs(10 * 60);

/// What is known of a socket's life.
#[derive(Debug, Clone, Copy)]
struct Signs {
    /// The last sign of life.
    last: Timestamp,
    /// When it was found to be overdue.
    closed_at: Option<Timestamp>,
}

/// The signs of life of the sockets, as far as they were looked at.
#[derive(Debug)]
pub(super) struct Heartbeats(BTreeMap<SocketId, Signs>);

impl Heartbeats {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The socket has ended: its last sign of life, where it was overdue.
    pub fn ended(&mut self, socket: SocketId) -> Option<Timestamp> {
        self.0
            .remove(&socket)
            .filter(|signs| signs.closed_at.is_some())
            .map(|signs| signs.last)
    }

    /// When the socket has to be looked at.
    fn due(&self, kept: &Kept, silence: Duration) -> Timestamp {
        match self.0.get(&kept.socket) {
            Some(signs) => signs.closed_at.unwrap_or(signs.last).max(kept.opened_at) + silence,
            None => kept.opened_at + silence,
        }
    }
}

impl<S: Sql> UserService<S> {
    /// When [`Self::heartbeat_due`] has to be called; never while no socket is connected. After
    /// the object has slept it may lie in the past: then what counts is the alarm that was set.
    pub fn next_heartbeat(&self) -> Option<Timestamp> {
        self.sessions
            .values()
            .map(|session| &session.kept)
            .filter(|kept| self.is_watched(kept))
            .map(|kept| self.presence.heartbeats.due(kept, self.silence()))
            .min()
    }

    /// After how much silence a session is overdue.
    fn silence(&self) -> Duration {
        self.heartbeat * limits::MISSED_HEARTBEATS
    }

    /// Whether the session's silence says that its client has gone.
    fn is_watched(&self, kept: &Kept) -> bool {
        kept.transport == Transport::Socket || self.holders_may_die
    }

    /// Says when each session last gave a sign of life, where the runtime knows without being
    /// asked at the alarm.
    pub fn heard(&mut self, signs: impl IntoIterator<Item = (SocketId, Timestamp)>) {
        let signs = signs.into_iter().map(|(socket, last)| {
            let closed_at = None;
            (socket, Signs { last, closed_at })
        });
        self.presence.heartbeats.0.extend(signs);
    }

    /// The sockets that have been silent for too long, and are to be closed. `last_signs` tells when
    /// each last gave a sign of life: its last ping, or a later frame.
    ///
    /// # Errors
    /// When storage fails.
    pub fn heartbeat_due(
        &mut self,
        now: Timestamp,
        last_signs: &[(SocketId, Option<Timestamp>)],
        effects: &mut Effects,
    ) -> Result<Vec<SocketId>, ServiceError> {
        let told: BTreeMap<SocketId, Option<Timestamp>> = last_signs.iter().copied().collect();
        let mut lasts = Vec::new();
        let mut newest = None;
        for kept in self.sessions.values().map(|session| &session.kept) {
            if !self.is_watched(kept) {
                // The edge holds it, and its client with it.
                newest = Some(now);
                continue;
            }
            let told = told.get(&kept.socket).copied().flatten();
            let last = told.unwrap_or(kept.opened_at).max(kept.opened_at);
            newest = newest.max(Some(last));
            lasts.push((kept.socket, last));
        }
        if let Some(seen_at) = newest {
            self.keep_seen_at(seen_at, SEEN_STEP)?;
        }
        self.renew_leases(now, effects)?;
        let mut silent = Vec::new();
        let silence = self.silence();
        let heartbeats = &mut self.presence.heartbeats.0;
        heartbeats.clear();
        for (socket, last) in lasts {
            let overdue = last + silence <= now;
            if overdue {
                silent.push(socket);
            }
            let closed_at = overdue.then_some(now);
            heartbeats.insert(socket, Signs { last, closed_at });
        }
        Ok(silent)
    }
}
