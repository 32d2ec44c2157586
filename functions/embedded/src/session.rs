//! A session whose holder is an instance: a stream, or a poll.
//!
//! Its frames are rows. The holder looks for them at short intervals, which costs a read; when it
//! finds none for a while, nothing is written but a sign of life with each ping of the edge.
//! What a holder has taken and could not hand on is lost with it, and comes again: the client has
//! not acknowledged it.
//!
//! When it is dropped, the session is closed. One whose holder died with its process falls silent,
//! and is closed by the user's alarm.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use parlance_functions::backend::{Incoming, Session};
use parlance_shared::ids::UserId;
use parlance_shared::protocol::frame::PING;
use parlance_shared::protocol::problem::ServiceError;
use parlance_shared::sql::SqlError;
use parlance_shared::time::Timestamp;

use crate::backend::DELIVERIES;
use crate::database::{Connection, Mode};
use crate::sessions::{self, BROKEN_OFF};
use crate::users::Opened;
use crate::{Host, Place};

/// How often a session looks for its frames.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often it looks for what others have left to do.
const WORK_EVERY: Duration = Duration::from_secs(1);
/// How much of that it does at once, so that its client does not wait for long.
const WORK_OBJECTS: usize = 4;

/// A session.
pub struct HeldSession<H: Host> {
    place: Rc<Place<H>>,
    sql: Rc<Connection<H::Database>>,
    user_id: UserId,
    opened: Opened,
    /// The last row that was taken, while it is not deleted yet.
    taken: i64,
    arrived: VecDeque<String>,
    closed: Option<u16>,
    /// What the client has said, to be carried out before anything else is looked for.
    said: Vec<String>,
    works_at: Timestamp,
}

impl<H: Host> HeldSession<H> {
    pub(crate) fn new(
        place: Rc<Place<H>>,
        sql: Rc<Connection<H::Database>>,
        user_id: UserId,
        opened: Opened,
    ) -> Self {
        let works_at = place.host.now() + WORK_EVERY;
        Self {
            place,
            sql,
            user_id,
            opened,
            taken: 0,
            arrived: VecDeque::new(),
            closed: None,
            said: Vec::new(),
            works_at,
        }
    }

    fn take(&mut self) -> Option<Incoming> {
        let frame = self.arrived.pop_front().map(Incoming::Frame);
        frame.or_else(|| self.closed.map(Incoming::Closed))
    }

    /// Carries out what the client has said.
    async fn say(&mut self) -> Result<(), ServiceError> {
        if self.said.is_empty() {
            return Ok(());
        }
        let said = std::mem::take(&mut self.said);
        let Opened { scope, socket } = self.opened;
        let user_id = self.user_id;
        self.place
            .turn(&self.sql, Mode::Write, DELIVERIES, |turn| {
                for text in &said {
                    if text == PING {
                        sessions::is_alive(&turn.sql, scope, socket, turn.now)?;
                    } else {
                        turn.hear(user_id, socket, text)?;
                    }
                }
                Ok(())
            })
            .await
    }

    /// Looks for what has come.
    fn look(&mut self) -> Result<(), SqlError> {
        let Opened { scope, socket } = self.opened;
        let waiting = sessions::waiting(&self.sql, scope, socket, self.taken)?;
        let last = waiting.texts.last().map(|(number, _)| *number);
        if last.is_none() {
            self.closed = waiting.closed;
        }
        self.arrived
            .extend(waiting.texts.into_iter().map(|(_, text)| text));
        if let Some(last) = last {
            // Numbers begin anew where no row is left.
            self.taken = match sessions::taken(&self.sql, scope, socket, last) {
                Ok(()) => 0,
                Err(SqlError::Busy) => last,
                Err(failure) => return Err(failure),
            };
        }
        Ok(())
    }

    async fn attend(&mut self) -> Result<(), ServiceError> {
        self.say().await?;
        let now = self.place.host.now();
        if self.works_at <= now {
            self.works_at = now + WORK_EVERY;
            self.place.work_off(&self.sql, WORK_OBJECTS).await?;
        }
        match self.look() {
            // The next look finds it.
            Err(SqlError::Busy) => Ok(()),
            outcome => outcome.map_err(Into::into),
        }
    }
}

impl<H: Host> Session for HeldSession<H> {
    async fn next(&mut self, wait: Duration) -> Incoming {
        let until = self.place.host.now() + wait;
        loop {
            if let Some(incoming) = self.take() {
                return incoming;
            }
            if let Err(error) = self.attend().await {
                self.place.failed("session_failed", &error.to_string());
                self.closed = Some(BROKEN_OFF);
            }
            if let Some(incoming) = self.take() {
                return incoming;
            }
            let left = until.since(self.place.host.now());
            if left.is_zero() {
                return Incoming::Nothing;
            }
            self.place.host.sleep(left.min(LOOK_EVERY)).await;
        }
    }

    fn send(&mut self, text: &str) {
        self.said.push(text.to_owned());
    }

    fn now(&self) -> Timestamp {
        self.place.host.now()
    }
}

impl<H: Host> Drop for HeldSession<H> {
    fn drop(&mut self) {
        let Opened { scope, socket } = self.opened;
        let user_id = self.user_id;
        let said = std::mem::take(&mut self.said);
        let closed = self.place.turn_at_once(&self.sql, |turn| {
            for text in said.iter().filter(|text| *text != PING) {
                turn.hear(user_id, socket, text)?;
            }
            turn.close_session(user_id, socket)
        });
        if let Err(error) = closed {
            // It falls silent instead.
            let detail = format!("session {scope}/{}: {error}", socket.0);
            self.place.failed("session_not_closed", &detail);
        }
    }
}
