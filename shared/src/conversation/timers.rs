//! What is to be done at a time: content to let go of, messages to send.
//!
//! What always holds:
//! - Each is a row, written with what it is about, and gone with what it does: once.
//! - The alarm is set no later than the earliest of them (see `service`, which shares it between
//!   them and the deliveries).
//! - Content goes on time, whenever the alarm comes: every request first lets go of what is due.

use std::time::Duration;

use super::service::ConversationService;
use super::service::Effects;
use super::store::Store;
use crate::entropy::Entropy;
use crate::ids::ScheduledId;
use crate::params;
use crate::protocol::seq::Seq;
use crate::sql::{Row, Sql, SqlError, Value, transact};
use crate::time::{Timestamp, pause_after};

/// How long what has expired in the archive, where it is shown to nobody any more, waits to be
/// taken out of its segment, so that a segment is not written for each message.
const GATHERED: Duration = Duration::from_secs(6 * 60 * 60);
/// How long after a failure of storage the alarm goes off again; doubled with each further one.
const RETRY: Duration = Duration::from_secs(2);
/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(256);
/// Timers that are worked off at once.
const BATCH: u32 = 100;

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Let go of what a deleted message said.
    Purge(Seq),
    /// Let go of what a message said, for everyone to see.
    Expire(Seq),
    /// Send a message, or forget one that could not be sent.
    Send(ScheduledId),
}

const PURGE: i64 = 0;
const EXPIRE: i64 = 1;
/// Timers of this kind need more than storage.
const SEND: i64 = 2;

/// When what is due.
type Timer = (Timestamp, Due);

fn read(row: &Row) -> Result<Timer, SqlError> {
    let due = match row.get::<i64>(1)? {
        PURGE => Due::Purge(row.get(2)?),
        EXPIRE => Due::Expire(row.get(2)?),
        SEND => Due::Send(row.get(2)?),
        other => {
            let kind = Value::Integer(other);
            return Err(SqlError::unexpected("a timer's kind", &kind));
        }
    };
    Ok((row.get(0)?, due))
}

impl<S: Sql> Store<'_, S> {
    /// After how many seconds messages lose their content, and when something is to be done
    /// next.
    pub(super) fn timing(&self) -> Result<(Option<u32>, Option<Timestamp>), SqlError> {
        let rows = self.sql.exec(
            "SELECT expires_after,
                (SELECT min(due_at) FROM conversation_timer WHERE scope = ?)
             FROM conversation WHERE scope = ?",
            params![self.scope, self.scope],
        )?;
        rows.first()
            .map_or(Ok((None, None)), |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Stores a timer.
    pub(super) fn add_timer(&self, at: Timestamp, due: &Due) -> Result<(), SqlError> {
        match due {
            Due::Purge(seq) => self.sql.exec(
                "INSERT INTO conversation_timer (scope, due_at, kind, subject)
                 VALUES (?, ?, 0, ?)",
                params![self.scope, at, *seq],
            ),
            Due::Expire(seq) => self.sql.exec(
                "INSERT INTO conversation_timer (scope, due_at, kind, subject)
                 VALUES (?, ?, 1, ?)",
                params![self.scope, at, *seq],
            ),
            Due::Send(id) => self.sql.exec(
                "INSERT INTO conversation_timer (scope, due_at, kind, subject)
                 VALUES (?, ?, 2, ?)",
                params![self.scope, at, id],
            ),
        }?;
        Ok(())
    }

    /// Forgets a timer.
    pub(super) fn drop_timer(&self, at: Timestamp, due: &Due) -> Result<(), SqlError> {
        let seq = match due {
            Due::Send(id) => {
                self.sql.exec(
                    "DELETE FROM conversation_timer
                     WHERE scope = ? AND due_at = ? AND kind = 2 AND subject = ?",
                    params![self.scope, at, id],
                )?;
                return Ok(());
            }
            Due::Purge(seq) | Due::Expire(seq) => *seq,
        };
        let kind = if matches!(due, Due::Purge(_)) {
            PURGE
        } else {
            EXPIRE
        };
        self.sql.exec(
            "DELETE FROM conversation_timer
             WHERE scope = ? AND due_at = ? AND kind = ? AND subject = ?",
            params![self.scope, at, kind, seq],
        )?;
        Ok(())
    }

    /// The first timers that are due; `kinds`: up to which kind.
    fn due(&self, now: Timestamp, kinds: i64) -> Result<Vec<Timer>, SqlError> {
        let rows = self.sql.exec(
            "SELECT due_at, kind, subject FROM conversation_timer
             WHERE scope = ? AND due_at <= ? AND kind <= ?
             ORDER BY due_at, kind, subject LIMIT ?",
            params![self.scope, now, kinds, BATCH],
        )?;
        rows.rows.iter().map(read).collect()
    }

    /// Lets go of what a message said, where that is due; events up to `archived` are in the
    /// archive. Gives the events whose rows were emptied.
    fn let_go(&self, (at, due): &Timer, archived: Seq) -> Result<Vec<Seq>, SqlError> {
        let (seq, expires) = match due {
            Due::Purge(seq) => (*seq, false),
            Due::Expire(seq) => (*seq, true),
            Due::Send(_) => return Ok(Vec::new()),
        };
        let mut emptied = Vec::new();
        if let Some(target) = self.target(seq)? {
            if expires && target.deleted_seq.is_none() {
                self.save_expiry(seq)?;
            }
            self.let_medium_go(seq)?;
            let wait = if expires { GATHERED } else { Duration::ZERO };
            emptied = self.purge(&target, archived, *at + wait)?;
        }
        self.drop_timer(*at, due)?;
        Ok(emptied)
    }
}

impl<S: Sql> ConversationService<S> {
    /// Lets go of the content that is due to go, so that no read shows it.
    ///
    /// # Errors
    /// When storage fails.
    pub(super) fn settle(&mut self, now: Timestamp) -> Result<(), SqlError> {
        if self
            .load()?
            .is_none_or(|state| state.timer_at.is_none_or(|at| at > now))
        {
            return Ok(());
        }
        let archived = self
            .state
            .as_ref()
            .map_or(Seq::ZERO, |state| state.archived);
        loop {
            let store = self.store();
            let timers = store.due(now, EXPIRE)?;
            let emptied = transact(&self.sql, || {
                timers.iter().try_fold(Vec::new(), |mut all, timer| {
                    all.extend(store.let_go(timer, archived)?);
                    Ok::<_, SqlError>(all)
                })
            })?;
            self.archive.purged(&emptied);
            if timers.len() < BATCH as usize {
                break;
            }
        }
        let (_, timer_at) = self.store().timing()?;
        let has_releases = self.store().has_releases()?;
        if let Some(state) = &mut self.state {
            state.timer_at = timer_at;
            state.has_releases = has_releases;
        }
        Ok(())
    }

    /// The alarm has gone off: does what is due, and sets it again. Where storage fails, that is
    /// soon: what was done until then is to be carried out all the same. So it is where something
    /// is needed, and this then to be asked again.
    pub fn ring(&mut self, now: Timestamp, entropy: &dyn Entropy) -> Effects {
        let mut effects = Effects::default();
        let timers = self.on_timers(now, entropy, &mut effects);
        let rest = self.on_alarm(now).map(|more| effects.absorb(more));
        let pause = match timers.and(rest) {
            Err(failure) => {
                effects.failure = Some(failure);
                let pause = pause_after(self.alarm_failures, RETRY, LONGEST_RETRY);
                self.alarm_failures = self.alarm_failures.saturating_add(1);
                pause
            }
            // It is asked again at once where that can be brought.
            Ok(()) if effects.needs.is_some() => RETRY,
            Ok(()) => {
                self.alarm_failures = 0;
                return effects;
            }
        };
        self.alarm_at = Some(now + pause);
        effects.alarm = self.alarm_at;
        effects
    }

    /// Does what is due. [`Self::on_alarm`] is to follow in the same event, and sets the alarm
    /// again. Where the effects say that something is needed, what has been done until then is to
    /// be carried out all the same, and this to be asked again.
    ///
    /// # Errors
    /// When storage fails: what was done until then is among the effects, and to be carried out.
    pub fn on_timers(
        &mut self,
        now: Timestamp,
        entropy: &dyn Entropy,
        effects: &mut Effects,
    ) -> Result<(), SqlError> {
        self.begin_alarm(now);
        self.settle(now)?;
        if self
            .load()?
            .is_none_or(|state| state.timer_at.is_none_or(|at| at > now))
        {
            return Ok(());
        }
        for (at, due) in self.store().due(now, SEND)? {
            if let Due::Send(scheduled_id) = due {
                self.send_scheduled(scheduled_id, at, now, entropy, effects)?;
                if effects.needs.is_some() {
                    break;
                }
            }
        }
        let (_, timer_at) = self.store().timing()?;
        let has_releases = self.store().has_releases()?;
        if let Some(state) = &mut self.state {
            state.timer_at = timer_at;
            state.has_releases = has_releases;
        }
        Ok(())
    }
}
