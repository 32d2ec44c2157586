//! The rows of presence: how the user was last told to be, and who is told.

use crate::ids::UserId;
use crate::params;
use crate::protocol::user::{Audience, Privacy};
use crate::sql::{SqlError, Value};
use crate::time::Timestamp;
use crate::user::store::{Store, read_text};

/// Telling the watchers that has begun and must be done again after a crash. Noted only where it
/// takes more than one wave, or hides what was visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Nothing.
    No,
    /// A coming or going.
    Change,
    /// A change of who may know: those who may not are told as well.
    Audience,
}

/// The row of a user's presence. There is none before the user first comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::user) struct Stored {
    /// The user.
    pub(super) user_id: UserId,
    /// What the watchers were told last.
    pub(super) online: bool,
    /// A moment at which the user was here; when `online` is not set, the last one.
    pub(super) seen_at: Option<Timestamp>,
    /// When a client that polls counts as gone.
    pub(super) away_until: Option<Timestamp>,
    pub(super) unfinished: Unfinished,
}

impl Store<'_> {
    /// The row of presence, where the user exists.
    pub(super) fn presence(self) -> Result<Option<Stored>, SqlError> {
        let found = self.sql.exec(
            "SELECT profile.user_id, presence.online, presence.seen_at, presence.away_until,
                presence.unfinished
             FROM profile LEFT JOIN presence ON presence.scope = profile.scope
             WHERE profile.scope = ?",
            params![self.scope],
        )?;
        let Some(row) = found.first() else {
            return Ok(None);
        };
        Ok(Some(Stored {
            user_id: row.get(0)?,
            online: row.get::<Option<i64>>(1)?.unwrap_or(0) != 0,
            seen_at: row.get(2)?,
            away_until: row.get(3)?,
            unfinished: match row.get::<Option<i64>>(4)?.unwrap_or(0) {
                0 => Unfinished::No,
                1 => Unfinished::Change,
                2 => Unfinished::Audience,
                other => {
                    let other = Value::Integer(other);
                    return Err(SqlError::unexpected("0, 1 or 2", &other));
                }
            },
        }))
    }

    /// Stores the row in the place of what was there.
    pub(super) fn save_presence(self, stored: &Stored) -> Result<(), SqlError> {
        let unfinished: i64 = match stored.unfinished {
            Unfinished::No => 0,
            Unfinished::Change => 1,
            Unfinished::Audience => 2,
        };
        self.sql.exec(
            "INSERT INTO presence (scope, online, seen_at, away_until, unfinished)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (scope) DO UPDATE SET online = excluded.online,
                seen_at = excluded.seen_at, away_until = excluded.away_until,
                unfinished = excluded.unfinished",
            params![
                self.scope,
                stored.online,
                stored.seen_at,
                stored.away_until,
                unfinished
            ],
        )?;
        Ok(())
    }

    /// Who may know of the user's presence.
    pub(super) fn presence_audience(self) -> Result<Audience, SqlError> {
        let found = self.sql.exec(
            "SELECT privacy FROM profile WHERE scope = ?",
            params![self.scope],
        )?;
        let text = found.scalar::<String>()?.unwrap_or_default();
        read_text(text, "the JSON of privacy settings", |text| {
            serde_json::from_str::<Privacy>(text).ok()
        })
        .map(|privacy| privacy.last_seen)
    }

    /// Those who are to be told of changes; the leases that are over are removed.
    pub(super) fn watchers(self, now: Timestamp) -> Result<Vec<UserId>, SqlError> {
        let found = self.sql.exec(
            "SELECT watcher_id, until FROM presence_watcher WHERE scope = ?",
            params![self.scope],
        )?;
        let mut watchers = Vec::with_capacity(found.rows.len());
        for row in &found.rows {
            if row.get::<Timestamp>(1)? > now {
                watchers.push(row.get(0)?);
            }
        }
        if watchers.len() < found.rows.len() {
            self.sql.exec(
                "DELETE FROM presence_watcher WHERE scope = ? AND until <= ?",
                params![self.scope, now],
            )?;
        }
        Ok(watchers)
    }

    /// Until when `watcher` is to be told, where it is known.
    pub(super) fn watcher_until(self, watcher: UserId) -> Result<Option<Timestamp>, SqlError> {
        self.sql
            .exec(
                "SELECT until FROM presence_watcher WHERE scope = ? AND watcher_id = ?",
                params![self.scope, &watcher],
            )?
            .scalar()
    }

    /// `watcher` is to be told until then.
    pub(super) fn save_watcher(self, watcher: UserId, until: Timestamp) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO presence_watcher (scope, watcher_id, until) VALUES (?, ?, ?)
             ON CONFLICT (scope, watcher_id) DO UPDATE SET until = excluded.until",
            params![self.scope, &watcher, until],
        )?;
        Ok(())
    }

    /// `watcher` is no longer to be told; says whether it was known.
    pub(super) fn remove_watcher(self, watcher: UserId) -> Result<bool, SqlError> {
        let removed = self.sql.exec(
            "DELETE FROM presence_watcher WHERE scope = ? AND watcher_id = ? RETURNING 1",
            params![self.scope, &watcher],
        )?;
        Ok(removed.first().is_some())
    }
}
