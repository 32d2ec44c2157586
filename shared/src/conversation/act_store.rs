//! The statements about what is done with messages. Nothing here decides anything.

use super::change_rows::{self, EditBody};
use super::rows::{MessageBody, from_json, to_json};
use super::store::Store;
use crate::ids::{MessageId, UserId};
use crate::params;
use crate::protocol::change::MessageChange;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// A message, as the rules about what is done with it see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub seq: Seq,
    pub message_id: MessageId,
    pub sender_id: UserId,
    pub created_at: Timestamp,
    pub edit_seq: Option<Seq>,
    pub edits: u32,
    pub deleted_seq: Option<Seq>,
    pub is_expired: bool,
    pub pin_seq: Option<Seq>,
    pub is_pinned: bool,
    pub closed_seq: Option<Seq>,
}

/// How a member has reacted to a message with an emoji.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reacted {
    /// The event that made it so.
    pub seq: Seq,
    pub is_removed: bool,
}

impl<S: Sql> Store<'_, S> {
    /// The message `seq`.
    pub(super) fn target(&self, seq: Seq) -> Result<Option<Target>, SqlError> {
        let rows = self.sql.exec(
            "SELECT e.seq, e.message_id, e.sender_id, e.created_at, s.edit_seq,
                coalesce(s.edits, 0), s.deleted_seq, coalesce(s.is_expired, 0), s.pin_seq,
                p.seq IS NOT NULL, s.closed_seq
             FROM event e
             LEFT JOIN message_state s ON s.scope = e.scope AND s.seq = e.seq
             LEFT JOIN pinned_message p ON p.scope = e.scope AND p.seq = e.seq
             WHERE e.scope = ? AND e.seq = ? AND e.kind = 0",
            params![self.scope, seq],
        )?;
        rows.first()
            .map(|row| {
                Ok(Target {
                    seq: row.get(0)?,
                    message_id: row.get(1)?,
                    sender_id: row.get(2)?,
                    created_at: row.get(3)?,
                    edit_seq: row.get(4)?,
                    edits: row.get(5)?,
                    deleted_seq: row.get(6)?,
                    is_expired: row.get(7)?,
                    pin_seq: row.get(8)?,
                    is_pinned: row.get(9)?,
                    closed_seq: row.get(10)?,
                })
            })
            .transpose()
    }

    /// What the message `seq` said when it was sent; less once that was purged.
    pub(super) fn said(&self, seq: Seq) -> Result<MessageBody<'static>, SqlError> {
        from_json(&self.body(seq, self.stored_body(seq)?)?)
    }

    fn stored_body(&self, seq: Seq) -> Result<String, SqlError> {
        let body = self
            .sql
            .exec(
                "SELECT body FROM event WHERE scope = ? AND seq = ?",
                params![self.scope, seq],
            )?
            .scalar()?;
        body.ok_or(SqlError::Unexpected {
            expected: "an event of the log",
            found: "none".to_owned(),
        })
    }

    /// Stores a change of the message `target`. `previous` is the edit before, where it is one.
    pub(super) fn insert_change(
        &self,
        change: &MessageChange,
        actor: &UserId,
        target: Seq,
        previous: Option<Seq>,
    ) -> Result<(), SqlError> {
        let (kind, body) = change_rows::write(change, previous)?;
        self.sql.exec(
            "INSERT INTO event
                (scope, seq, kind, sender_id, message_id, client_msg_id, created_at, body,
                 target_seq)
             VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?)",
            params![
                self.scope,
                change.seq(),
                kind,
                actor,
                &change.message_id(),
                change.created_at(),
                &body,
                target
            ],
        )?;
        Ok(())
    }

    /// What the edit `seq` holds.
    pub(super) fn edit_body(&self, seq: Seq) -> Result<EditBody, SqlError> {
        from_json(&self.body(seq, self.stored_body(seq)?)?)
    }

    /// The message was edited by the event `edit_seq`.
    pub(super) fn save_edit(&self, seq: Seq, edit_seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, edit_seq, edits) VALUES (?, ?, ?, 1)
             ON CONFLICT (scope, seq) DO UPDATE SET edit_seq = excluded.edit_seq,
                edits = edits + 1",
            params![self.scope, seq, edit_seq],
        )?;
        Ok(())
    }

    /// The message was deleted by the event `deleted_seq`.
    pub(super) fn save_deletion(&self, seq: Seq, deleted_seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, deleted_seq) VALUES (?, ?, ?)
             ON CONFLICT (scope, seq) DO UPDATE SET deleted_seq = excluded.deleted_seq",
            params![self.scope, seq, deleted_seq],
        )?;
        self.unpin(seq)
    }

    /// The message has expired.
    pub(super) fn save_expiry(&self, seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, is_expired) VALUES (?, ?, 1)
             ON CONFLICT (scope, seq) DO UPDATE SET is_expired = 1",
            params![self.scope, seq],
        )?;
        self.unpin(seq)
    }

    /// The message was pinned, or taken down, by the event `pin_seq`.
    pub(super) fn save_pin(&self, seq: Seq, pin_seq: Seq, pinned: bool) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, pin_seq) VALUES (?, ?, ?)
             ON CONFLICT (scope, seq) DO UPDATE SET pin_seq = excluded.pin_seq",
            params![self.scope, seq, pin_seq],
        )?;
        if !pinned {
            return self.unpin(seq);
        }
        self.sql.exec(
            "INSERT INTO pinned_message (scope, seq, pin_seq) VALUES (?, ?, ?)",
            params![self.scope, seq, pin_seq],
        )?;
        Ok(())
    }

    fn unpin(&self, seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM pinned_message WHERE scope = ? AND seq = ?",
            params![self.scope, seq],
        )?;
        Ok(())
    }

    /// How many messages are pinned.
    pub(super) fn count_pins(&self) -> Result<u64, SqlError> {
        let count = self
            .sql
            .exec(
                "SELECT count(*) FROM pinned_message WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()?;
        Ok(count.unwrap_or(0))
    }

    /// How `user_id` has reacted to the message with the emoji, if ever.
    pub(super) fn reacted(
        &self,
        seq: Seq,
        emoji: &str,
        user_id: &UserId,
    ) -> Result<Option<Reacted>, SqlError> {
        let rows = self.sql.exec(
            "SELECT reacted_seq, is_removed FROM message_reaction
             WHERE scope = ? AND seq = ? AND emoji = ? AND user_id = ?",
            params![self.scope, seq, emoji, user_id],
        )?;
        rows.first()
            .map(|row| {
                Ok(Reacted {
                    seq: row.get(0)?,
                    is_removed: row.get(1)?,
                })
            })
            .transpose()
    }

    /// With how many other emoji than this one the message was reacted to.
    pub(super) fn count_other_emoji(&self, seq: Seq, emoji: &str) -> Result<u64, SqlError> {
        let count = self
            .sql
            .exec(
                "SELECT count(DISTINCT emoji) FROM message_reaction
                 WHERE scope = ? AND seq = ? AND is_removed = 0 AND emoji <> ?",
                params![self.scope, seq, emoji],
            )?
            .scalar()?;
        Ok(count.unwrap_or(0))
    }

    /// A reaction is so now.
    pub(super) fn save_reaction(
        &self,
        seq: Seq,
        emoji: &str,
        user_id: &UserId,
        reacted: Reacted,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_reaction (scope, seq, emoji, user_id, reacted_seq, is_removed)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (scope, seq, emoji, user_id) DO UPDATE SET
                reacted_seq = excluded.reacted_seq, is_removed = excluded.is_removed",
            params![
                self.scope,
                seq,
                emoji,
                user_id,
                reacted.seq,
                reacted.is_removed
            ],
        )?;
        Ok(())
    }

    /// What `user_id` has voted for, in bits, and the event that says so.
    pub(super) fn voted(&self, seq: Seq, user_id: &UserId) -> Result<Option<(u32, Seq)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT options, vote_seq FROM poll_vote
             WHERE scope = ? AND seq = ? AND user_id = ?",
            params![self.scope, seq, user_id],
        )?;
        rows.first()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .transpose()
    }

    /// A vote is so now.
    pub(super) fn save_vote(
        &self,
        seq: Seq,
        user_id: &UserId,
        options: u32,
        vote_seq: Seq,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO poll_vote (scope, seq, user_id, options, vote_seq)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (scope, seq, user_id) DO UPDATE SET options = excluded.options,
                vote_seq = excluded.vote_seq",
            params![self.scope, seq, user_id, options, vote_seq],
        )?;
        Ok(())
    }

    /// The poll was closed by the event `closed_seq`.
    pub(super) fn save_closing(&self, seq: Seq, closed_seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, closed_seq) VALUES (?, ?, ?)
             ON CONFLICT (scope, seq) DO UPDATE SET closed_seq = excluded.closed_seq",
            params![self.scope, seq, closed_seq],
        )?;
        Ok(())
    }

    /// A reply was sent in the thread of `root`.
    pub(super) fn add_reply(
        &self,
        root: Seq,
        reply: Seq,
        created_at: Timestamp,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO thread_reply (scope, root_seq, seq) VALUES (?, ?, ?)",
            params![self.scope, root, reply],
        )?;
        self.sql.exec(
            "INSERT INTO message_state (scope, seq, replies, last_reply_at) VALUES (?, ?, 1, ?)
             ON CONFLICT (scope, seq) DO UPDATE SET replies = replies + 1,
                last_reply_at = excluded.last_reply_at",
            params![self.scope, root, created_at],
        )?;
        Ok(())
    }

    /// A reply in the thread of `root` was deleted: it no longer counts.
    pub(super) fn drop_reply(&self, root: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE message_state SET replies = replies - 1, last_reply_at = (
                SELECT e.created_at FROM thread_reply t
                JOIN event e ON e.scope = t.scope AND e.seq = t.seq
                LEFT JOIN message_state s ON s.scope = t.scope AND s.seq = t.seq
                WHERE t.scope = ? AND t.root_seq = ? AND s.deleted_seq IS NULL
                ORDER BY t.seq DESC LIMIT 1)
             WHERE scope = ? AND seq = ?",
            params![self.scope, root, self.scope, root],
        )?;
        Ok(())
    }

    /// Lets go of all that a message said: in its own row, in its edits, and what was done with
    /// it. What is in the archive, which it is up to `archived`, is to go from there at `due_at`.
    /// Gives the events whose rows were emptied.
    pub(super) fn purge(
        &self,
        target: &Target,
        archived: Seq,
        due_at: Timestamp,
    ) -> Result<Vec<Seq>, SqlError> {
        let mut emptied = Vec::new();
        let mut next = target.edit_seq;
        while let Some(seq) = next.take() {
            if seq <= archived {
                // The edits before this one are found there.
                self.add_purge(seq, due_at)?;
            } else {
                let (body, previous) = emptied_edit(&self.stored_body(seq)?)?;
                self.save_body(seq, &body)?;
                emptied.push(seq);
                next = previous;
            }
        }
        if target.seq <= archived {
            self.add_purge(target.seq, due_at)?;
        } else {
            let body = emptied_message(&self.stored_body(target.seq)?)?;
            self.save_body(target.seq, &body)?;
            emptied.push(target.seq);
        }
        self.sql.exec(
            "DELETE FROM message_reaction WHERE scope = ? AND seq = ?",
            params![self.scope, target.seq],
        )?;
        self.sql.exec(
            "DELETE FROM poll_vote WHERE scope = ? AND seq = ?",
            params![self.scope, target.seq],
        )?;
        Ok(emptied)
    }

    fn save_body(&self, seq: Seq, body: &str) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE event SET body = ? WHERE scope = ? AND seq = ?",
            params![body, self.scope, seq],
        )?;
        Ok(())
    }

    /// The members who have hidden the message.
    pub(super) fn hiders(&self, seq: Seq) -> Result<Vec<UserId>, SqlError> {
        let rows = self.sql.exec(
            "SELECT user_id FROM message_hidden WHERE scope = ? AND seq = ?",
            params![self.scope, seq],
        )?;
        rows.rows.iter().map(|row| row.get(0)).collect()
    }

    /// A member has hidden the message.
    pub(super) fn hide(&self, seq: Seq, user_id: &UserId) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO message_hidden (scope, seq, user_id) VALUES (?, ?, ?)
             ON CONFLICT DO NOTHING",
            params![self.scope, seq, user_id],
        )?;
        Ok(())
    }
}

/// A message's body without what it said.
pub(super) fn emptied_message(body: &str) -> Result<String, SqlError> {
    let body: MessageBody<'static> = from_json(body)?;
    to_json(&MessageBody {
        content: "".into(),
        media_id: None,
        mentions: Vec::new(),
        forwarded_from: None,
        ..body
    })
}

/// An edit's body without what it said, and the edit before it.
pub(super) fn emptied_edit(body: &str) -> Result<(String, Option<Seq>), SqlError> {
    let EditBody { previous, .. } = from_json(body)?;
    let body = to_json(&EditBody {
        content: String::new(),
        mentions: Vec::new(),
        previous,
    })?;
    Ok((body, previous))
}
