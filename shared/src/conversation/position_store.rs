//! The statements about how far members have come, and about who wrote what. Nothing here
//! decides anything.

use super::positions::Place;
use super::store::Store;
use crate::ids::{MessageId, UserId};
use crate::params;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};

/// A message, as far as receipts for it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub seq: Seq,
    pub message_id: MessageId,
}

impl<S: Sql> Store<'_, S> {
    /// Writes down how far a member has come.
    pub(super) fn save_place(&self, user_id: &UserId, place: &Place) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE member SET delivered_seq = ?, delivered_at = ?, read_seq = ?, read_at = ?,
                read_receipts = ?
             WHERE scope = ? AND user_id = ?",
            params![
                place.delivered.seq,
                place.delivered.at,
                place.read.seq,
                place.read.at,
                place.read_receipts,
                self.scope,
                user_id
            ],
        )?;
        Ok(())
    }

    /// The newest message of each sender after `after` up to `up_to`.
    pub(super) fn newest_by_sender(
        &self,
        after: Seq,
        up_to: Seq,
    ) -> Result<Vec<(UserId, Written)>, SqlError> {
        // Beside a lone max(), SQLite takes the other columns from the row that has it.
        let rows = self.sql.exec(
            "SELECT sender_id, max(seq), message_id FROM event
             WHERE scope = ? AND seq > ? AND seq <= ? AND kind = 0 GROUP BY sender_id",
            params![self.scope, after, up_to],
        )?;
        rows.rows
            .iter()
            .map(|row| {
                let written = Written {
                    seq: row.get(1)?,
                    message_id: row.get(2)?,
                };
                Ok((row.get(0)?, written))
            })
            .collect()
    }

    /// The newest message of `sender_id` after `after` up to `up_to`.
    pub(super) fn newest_of(
        &self,
        sender_id: &UserId,
        after: Seq,
        up_to: Seq,
    ) -> Result<Option<Written>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, message_id FROM event
             WHERE scope = ? AND seq > ? AND seq <= ? AND kind = 0 AND sender_id = ?
             ORDER BY seq DESC LIMIT 1",
            params![self.scope, after, up_to, sender_id],
        )?;
        rows.first()
            .map(|row| {
                Ok(Written {
                    seq: row.get(0)?,
                    message_id: row.get(1)?,
                })
            })
            .transpose()
    }

    /// How many messages of others than `reader` lie after `after` up to `up_to`, without those
    /// that were deleted by an event up to there.
    pub(super) fn count_of_others(
        &self,
        reader: &UserId,
        after: Seq,
        up_to: Seq,
    ) -> Result<u64, SqlError> {
        let count = self
            .sql
            .exec(
                "SELECT count(*) FROM event e
                 LEFT JOIN message_state s ON s.scope = e.scope AND s.seq = e.seq
                 WHERE e.scope = ? AND e.seq > ? AND e.seq <= ? AND e.kind = 0
                    AND e.sender_id <> ? AND (s.deleted_seq IS NULL OR s.deleted_seq > ?)",
                params![self.scope, after, up_to, reader, up_to],
            )?
            .scalar()?;
        Ok(count.unwrap_or(0))
    }

    /// Who sent the message `seq`.
    pub(super) fn sender_of(&self, seq: Seq) -> Result<Option<UserId>, SqlError> {
        self.sql
            .exec(
                "SELECT sender_id FROM event WHERE scope = ? AND seq = ?",
                params![self.scope, seq],
            )?
            .scalar()
    }
}
