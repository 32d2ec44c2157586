//! The objects of the database: their numbers, and their alarms.

use parlance_shared::account::call::AccountObject;
use parlance_shared::conversation::call::ConversationObject;
use parlance_shared::limiter::LimiterObject;
use parlance_shared::media::call::MediaObject;
use parlance_shared::moderation::call::ModerationObject;
use parlance_shared::object::ObjectClass;
use parlance_shared::params;
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::UserObject;

/// An object within a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its number in every table.
    pub scope: i64,
    /// Its class, by the name of its binding.
    class: &'static str,
    name: String,
    evidence: &'static str,
    /// Whether the database knows it.
    is_known: bool,
}

impl Object {
    /// Finds the object, or chooses a number for it. Writes nothing: an object that is only asked
    /// leaves no trace.
    pub fn find<O: Kept>(sql: &dyn Sql, name: &O::Name, taken: &mut i64) -> Result<Self, SqlError> {
        let name = O::object_name(name);
        let known: Option<i64> = sql
            .exec(
                "SELECT scope FROM object WHERE class = ? AND name = ?",
                params![O::BINDING, &name],
            )?
            .scalar()?;
        let scope = if let Some(scope) = known {
            scope
        } else {
            let last: Option<i64> = sql
                .exec("SELECT coalesce(max(scope), 0) FROM object", &[])?
                .scalar()?;
            // No other turn writes meanwhile, and this one has not taken it either.
            *taken = last.unwrap_or_default().max(*taken) + 1;
            *taken
        };
        Ok(Self {
            scope,
            class: O::BINDING,
            name,
            evidence: O::EVIDENCE,
            is_known: known.is_some(),
        })
    }

    /// Whether the database knows it.
    pub const fn is_known(&self) -> bool {
        self.is_known
    }

    /// Makes the object known, where its service has written something.
    pub fn keep_if_written(&mut self, sql: &dyn Sql) -> Result<(), SqlError> {
        if self.is_known
            || sql
                .exec(self.evidence, params![self.scope])?
                .rows
                .is_empty()
        {
            return Ok(());
        }
        sql.exec(
            "INSERT INTO object (scope, class, name) VALUES (?, ?, ?)",
            params![self.scope, self.class, &self.name],
        )?;
        self.is_known = true;
        Ok(())
    }
}

impl Object {
    /// Forgets the object, of which its service has left nothing.
    pub fn forget(&mut self, sql: &dyn Sql) -> Result<(), SqlError> {
        sql.exec("DELETE FROM alarm WHERE scope = ?", params![self.scope])?;
        sql.exec("DELETE FROM object WHERE scope = ?", params![self.scope])?;
        self.is_known = false;
        Ok(())
    }
}

/// A class whose objects live in the database.
pub(crate) trait Kept: ObjectClass {
    /// Finds something that an object's service has written, in its scope.
    const EVIDENCE: &'static str;
}

impl Kept for AccountObject {
    const EVIDENCE: &'static str = "SELECT 1 FROM account WHERE scope = ?";
}

impl Kept for UserObject {
    const EVIDENCE: &'static str = "SELECT 1 FROM profile WHERE scope = ?";
}

impl Kept for ConversationObject {
    // A block is written down before there is a conversation.
    const EVIDENCE: &'static str = "SELECT 1 FROM (SELECT scope FROM conversation
            UNION ALL SELECT scope FROM direct_block) WHERE scope = ?";
}

impl Kept for ModerationObject {
    const EVIDENCE: &'static str = "SELECT 1 FROM (SELECT scope FROM report
            UNION ALL SELECT scope FROM admin_act) WHERE scope = ?";
}

impl Kept for MediaObject {
    const EVIDENCE: &'static str = "SELECT 1 FROM medium WHERE scope = ?";
}

impl Kept for LimiterObject {
    const EVIDENCE: &'static str = "SELECT 1 FROM bucket WHERE scope = ?";
}

/// An object's alarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// What the service's alarm is set to.
    pub at: Option<Timestamp>,
    /// When its sessions have to be looked after.
    pub wake_at: Option<Timestamp>,
}

impl Alarm {
    pub fn read(sql: &dyn Sql, scope: i64) -> Result<Self, SqlError> {
        let rows = sql.exec(
            "SELECT alarm_at, due FROM alarm WHERE scope = ?",
            params![scope],
        )?;
        let Some(row) = rows.first() else {
            return Ok(Self::default());
        };
        let at: Option<i64> = row.get(0)?;
        let due: i64 = row.get(1)?;
        Ok(Self {
            at: at.map(Timestamp::from_millis),
            wake_at: at
                .is_none_or(|at| due < at)
                .then(|| Timestamp::from_millis(due)),
        })
    }

    pub fn write(self, sql: &dyn Sql, scope: i64) -> Result<(), SqlError> {
        let due = [self.at, self.wake_at].into_iter().flatten().min();
        if let Some(due) = due {
            sql.exec(
                "INSERT INTO alarm (scope, due, alarm_at) VALUES (?, ?, ?)
                 ON CONFLICT (scope) DO UPDATE SET due = excluded.due,
                    alarm_at = excluded.alarm_at",
                params![scope, due.as_millis(), self.at.map(Timestamp::as_millis)],
            )?;
        } else {
            sql.exec("DELETE FROM alarm WHERE scope = ?", params![scope])?;
        }
        Ok(())
    }
}
