//! The statements about a group, its members, and who is kept out. Nothing here decides anything.

use super::ending::TIMERS;
use super::policy::Member;
use super::store::{Meta, Store};
use crate::ids::UserId;
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::conversation::Role;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// One who is no longer a member, while it is yet to hear so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Former {
    /// The first event that it may be given.
    pub visible_from: Seq,
    /// The last: that it is no longer a member.
    pub end: Seq,
}

impl<S: Sql> Store<'_, S> {
    /// Writes down how the conversation is called and looks, and how long it keeps messages.
    pub(super) fn save_profile(
        &self,
        meta: &Meta,
        expires_after: Option<u32>,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE conversation SET name = ?, description = ?, avatar_url = ?, expires_after = ?
             WHERE scope = ?",
            params![
                meta.name.as_deref(),
                meta.description.as_deref(),
                meta.avatar_url.as_deref(),
                expires_after,
                self.scope
            ],
        )?;
        Ok(())
    }

    /// Gives a member another role.
    pub(super) fn save_role(&self, user_id: &UserId, role: Role) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE member SET role = ? WHERE scope = ? AND user_id = ?",
            params![role, self.scope, user_id],
        )?;
        Ok(())
    }

    /// Lets one in, who may have been a member before.
    pub(super) fn admit(&self, member: &Member) -> Result<(), SqlError> {
        self.insert_member(member)?;
        self.forget_former(&member.user_id)
    }

    /// Makes a member a former one, whose last event is `end`.
    pub(super) fn dismiss(&self, member: &Member, end: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM member WHERE scope = ? AND user_id = ?",
            params![self.scope, &member.user_id],
        )?;
        if planted::is_on(Bug::FarewellForgotten) {
            return Ok(());
        }
        self.sql.exec(
            "INSERT INTO former_member (scope, user_id, visible_from, end_seq)
             VALUES (?, ?, ?, ?)
             ON CONFLICT (scope, user_id) DO UPDATE SET visible_from = excluded.visible_from,
                end_seq = excluded.end_seq",
            params![self.scope, &member.user_id, member.visible_from, end],
        )?;
        Ok(())
    }

    /// Those who are yet to hear that they are no longer members.
    pub(super) fn former_members(&self) -> Result<Vec<(UserId, Former)>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id, visible_from, end_seq FROM former_member WHERE scope = ?",
                params![self.scope],
            )?
            .rows
            .iter()
            .map(|row| {
                let former = Former {
                    visible_from: row.get(1)?,
                    end: row.get(2)?,
                };
                Ok((row.get(0)?, former))
            })
            .collect()
    }

    /// A former member has heard it, or is a member again.
    pub(super) fn forget_former(&self, user_id: &UserId) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM former_member WHERE scope = ? AND user_id = ?",
            params![self.scope, user_id],
        )?;
        Ok(())
    }

    /// Writes down whether a member's account is suspended.
    pub(super) fn save_suspension(&self, user_id: &UserId, is: bool) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE member SET suspended = ? WHERE scope = ? AND user_id = ?",
            params![is, self.scope, user_id],
        )?;
        Ok(())
    }

    /// Who of a direct conversation's two has blocked the other.
    pub(super) fn blockers(&self) -> Result<Vec<UserId>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id FROM direct_block WHERE scope = ?",
                params![self.scope],
            )?
            .rows
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// Writes down whether one of the two has blocked the other.
    pub(super) fn save_block(&self, blocker: &UserId, is_blocked: bool) -> Result<(), SqlError> {
        if is_blocked {
            self.sql.exec(
                "INSERT INTO direct_block (scope, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                params![self.scope, blocker],
            )?;
        } else {
            self.sql.exec(
                "DELETE FROM direct_block WHERE scope = ? AND user_id = ?",
                params![self.scope, blocker],
            )?;
        }
        Ok(())
    }

    /// Since when the conversation is no more, where it is.
    pub(super) fn ended_at(&self) -> Result<Option<Timestamp>, SqlError> {
        let ended: Option<Option<Timestamp>> = self
            .sql
            .exec(
                "SELECT ended_at FROM conversation WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()?;
        Ok(ended.flatten())
    }

    /// Keeps of the conversation only that there was one.
    pub(super) fn forget_texts(&self) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE conversation SET name = NULL, description = NULL, avatar_url = NULL
             WHERE scope = ?",
            params![self.scope],
        )?;
        Ok(())
    }

    /// Ends the conversation: nothing is to be done in it any more.
    pub(super) fn end(&self, now: Timestamp) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE conversation SET ended_at = ? WHERE scope = ?",
            params![now, self.scope],
        )?;
        self.let_media_go()?;
        for statement in TIMERS {
            self.sql.exec(statement, params![self.scope])?;
        }
        Ok(())
    }

    /// The last of the first `count` events.
    pub(super) fn last_of_first(&self, count: u32) -> Result<Option<Seq>, SqlError> {
        self.sql
            .exec(
                "SELECT max(seq) FROM
                    (SELECT seq FROM event WHERE scope = ? ORDER BY seq LIMIT ?)",
                params![self.scope, count],
            )?
            .scalar::<Option<Seq>>()
            .map(Option::flatten)
    }
}
