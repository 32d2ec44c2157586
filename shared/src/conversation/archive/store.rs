//! The statements about the archive. Nothing here decides anything.
//!
//! What lies up to the watermark, `conversation.archived_seq`, is in segments, each with a row in
//! `archive_segment`; the segments follow one another from the first event on. The rows of `event`
//! stay, with an empty body up to `wiped_seq`: what is asked of an event but what it says is
//! answered without the archive.

use serde_json::value::RawValue;

use super::segment::{Header, StoredEvent};
use crate::conversation::act_store::{emptied_edit, emptied_message};
use crate::conversation::store::Store;
use crate::need::{Need, SegmentNeed};
use crate::params;
use crate::protocol::seq::Seq;
use crate::sql::{Row, Sql, SqlError};
use crate::time::Timestamp;

/// A segment, as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub last_at: Timestamp,
    /// Its name in the archive.
    pub name: String,
    pub bytes: u64,
    pub is_infrequent: bool,
}

macro_rules! segments {
    ($rest:literal) => {
        concat!(
            "SELECT first_seq, last_seq, last_at, name, bytes, is_infrequent FROM archive_segment ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<SegmentRow, SqlError> {
    Ok(SegmentRow {
        first_seq: row.get(0)?,
        last_seq: row.get(1)?,
        last_at: row.get(2)?,
        name: row.get(3)?,
        bytes: row.get(4)?,
        is_infrequent: row.get(5)?,
    })
}

/// When something is to be done about the archive, of what rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dates {
    /// The time of the first event that is not in it.
    pub oldest_at: Option<Timestamp>,
    /// When the next object may be removed that is none of its segments any more.
    pub waste_at: Option<Timestamp>,
    /// When content is to be taken out of a segment.
    pub purge_at: Option<Timestamp>,
    /// The newest time in the first segment that is not in the class for infrequent access.
    pub standard_at: Option<Timestamp>,
}

impl<S: Sql> Store<'_, S> {
    /// Up to where events are in the archive, and up to where their bodies are here no more.
    pub(in crate::conversation) fn archived(&self) -> Result<(Seq, Seq), SqlError> {
        let rows = self.sql.exec(
            "SELECT archived_seq, wiped_seq FROM conversation WHERE scope = ?",
            params![self.scope],
        )?;
        rows.first().map_or(Ok((Seq::ZERO, Seq::ZERO)), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// What the event `seq` holds, where its row has `stored`.
    pub(in crate::conversation) fn body(
        &self,
        seq: Seq,
        stored: String,
    ) -> Result<String, SqlError> {
        if !stored.is_empty() {
            return Ok(stored);
        }
        let unreadable = |_| SqlError::Unexpected {
            expected: "an event in a segment",
            found: "something else".to_owned(),
        };
        if let Some(body) = self.bodies.find(seq).map_err(unreadable)? {
            return Ok(body);
        }
        let segment = self.segment_of(seq)?.ok_or(SqlError::Unexpected {
            expected: "an event's body",
            found: "none, nor a segment that has it".to_owned(),
        })?;
        Err(SqlError::Needs(Box::new(Need::Segment(SegmentNeed {
            name: segment.name,
            seq,
        }))))
    }

    /// The segment with the event `seq`.
    pub(super) fn segment_of(&self, seq: Seq) -> Result<Option<SegmentRow>, SqlError> {
        let rows = self.sql.exec(
            segments!("WHERE scope = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1"),
            params![self.scope, seq],
        )?;
        let found = rows.first().map(read).transpose()?;
        Ok(found.filter(|segment| segment.last_seq >= seq))
    }

    /// The newest segment.
    pub(super) fn last_segment(&self) -> Result<Option<SegmentRow>, SqlError> {
        let rows = self.sql.exec(
            segments!("WHERE scope = ? ORDER BY first_seq DESC LIMIT 1"),
            params![self.scope],
        )?;
        rows.first().map(read).transpose()
    }

    /// The segments that are to be moved to the class for infrequent access, the oldest first.
    pub(super) fn standard_segments(&self, before: Timestamp) -> Result<Vec<SegmentRow>, SqlError> {
        let rows = self.sql.exec(
            segments!(
                "WHERE scope = ? AND is_infrequent = 0 AND last_at <= ? ORDER BY first_seq LIMIT 100"
            ),
            params![self.scope, before],
        )?;
        rows.rows.iter().map(read).collect()
    }

    /// A name for the next object, which no other has had, and a note that it may be there without
    /// being a segment: from `waste_at` on it is removed, unless [`Self::save_segment`] says that
    /// it is one.
    pub(super) fn name_object(
        &self,
        header: &Header,
        waste_at: Timestamp,
    ) -> Result<String, SqlError> {
        let number: u64 = self
            .sql
            .exec(
                "UPDATE conversation SET archive_objects = archive_objects + 1 WHERE scope = ?
                 RETURNING archive_objects",
                params![self.scope],
            )?
            .scalar()?
            .unwrap_or_default();
        let name = format!(
            "conversations/{}/{:013}-{:013}.{number}",
            header.conversation_id,
            header.first_seq.get(),
            header.last_seq.get()
        );
        self.add_waste(&name, waste_at)?;
        Ok(name)
    }

    /// The object is a segment, in place of `replaced`.
    pub(super) fn save_segment(
        &self,
        segment: &SegmentRow,
        replaced: Option<(&SegmentRow, Timestamp)>,
    ) -> Result<(), SqlError> {
        if let Some((old, now)) = replaced {
            self.sql.exec(
                "DELETE FROM archive_segment WHERE scope = ? AND first_seq = ?",
                params![self.scope, old.first_seq],
            )?;
            self.add_waste(&old.name, now)?;
        }
        self.sql.exec(
            "INSERT INTO archive_segment
                (scope, first_seq, last_seq, last_at, name, bytes, is_infrequent)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                segment.first_seq,
                segment.last_seq,
                segment.last_at,
                &segment.name,
                i64::try_from(segment.bytes).unwrap_or(i64::MAX),
                segment.is_infrequent
            ],
        )?;
        self.drop_waste(&segment.name)?;
        self.sql.exec(
            "UPDATE conversation SET archived_seq = max(archived_seq, ?) WHERE scope = ?",
            params![segment.last_seq, self.scope],
        )?;
        Ok(())
    }

    fn add_waste(&self, name: &str, due_at: Timestamp) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO archive_waste (scope, name, due_at) VALUES (?, ?, ?)
             ON CONFLICT (scope, name) DO UPDATE SET due_at = excluded.due_at",
            params![self.scope, name, due_at],
        )?;
        Ok(())
    }

    /// The object is gone, or a segment.
    pub(super) fn drop_waste(&self, name: &str) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM archive_waste WHERE scope = ? AND name = ?",
            params![self.scope, name],
        )?;
        Ok(())
    }

    /// An object that is to be removed by now.
    pub(super) fn next_waste(&self, now: Timestamp) -> Result<Option<String>, SqlError> {
        self.sql
            .exec(
                "SELECT name FROM archive_waste WHERE scope = ? AND due_at <= ?
                 ORDER BY due_at LIMIT 1",
                params![self.scope, now],
            )?
            .scalar()
    }

    /// Makes every segment an object that is to be removed. Says whether there are any objects.
    pub(in crate::conversation) fn discard_archive(
        &self,
        now: Timestamp,
    ) -> Result<bool, SqlError> {
        self.sql.exec(
            "INSERT INTO archive_waste (scope, name, due_at)
             SELECT scope, name, ? FROM archive_segment WHERE scope = ?",
            params![now, self.scope],
        )?;
        self.sql.exec(
            "DELETE FROM archive_segment WHERE scope = ?",
            params![self.scope],
        )?;
        self.sql.exec(
            "DELETE FROM archive_purge WHERE scope = ?",
            params![self.scope],
        )?;
        let left: Option<i64> = self
            .sql
            .exec(
                "SELECT 1 FROM archive_waste WHERE scope = ? LIMIT 1",
                params![self.scope],
            )?
            .scalar()?;
        Ok(left.is_some())
    }

    /// What the archived event `seq` says is to be taken out of its segment.
    pub(in crate::conversation) fn add_purge(
        &self,
        seq: Seq,
        due_at: Timestamp,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO archive_purge (scope, seq, due_at) VALUES (?, ?, ?)
             ON CONFLICT (scope, seq) DO UPDATE SET due_at = min(due_at, excluded.due_at)",
            params![self.scope, seq, due_at],
        )?;
        Ok(())
    }

    /// The events whose content is to be taken out by now, the newest first.
    pub(super) fn due_purges(&self, now: Timestamp) -> Result<Vec<Seq>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq FROM archive_purge WHERE scope = ? AND due_at <= ?
             ORDER BY seq DESC LIMIT 1000",
            params![self.scope, now],
        )?;
        rows.rows.iter().map(|row| row.get(0)).collect()
    }

    /// The events from `first` to `last` whose content is to be taken out.
    pub(super) fn purges_within(&self, first: Seq, last: Seq) -> Result<Vec<Seq>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq FROM archive_purge WHERE scope = ? AND seq >= ? AND seq <= ?",
            params![self.scope, first, last],
        )?;
        rows.rows.iter().map(|row| row.get(0)).collect()
    }

    /// What an event said is in its segment no more.
    pub(super) fn drop_purge(&self, seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM archive_purge WHERE scope = ? AND seq = ?",
            params![self.scope, seq],
        )?;
        Ok(())
    }

    /// Up to `limit` events after `after` as they are stored, oldest first.
    pub(super) fn stored_after(
        &self,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, kind, sender_id, message_id, client_msg_id, created_at, target_seq, body
             FROM event WHERE scope = ? AND seq > ? ORDER BY seq LIMIT ?",
            params![self.scope, after, limit],
        )?;
        rows.rows
            .iter()
            .map(|row| {
                let body =
                    RawValue::from_string(row.get(7)?).map_err(|_| SqlError::Unexpected {
                        expected: "an event's body",
                        found: "no JSON".to_owned(),
                    })?;
                Ok(StoredEvent {
                    seq: row.get(0)?,
                    kind: row.get(1)?,
                    sender_id: row.get(2)?,
                    message_id: row.get(3)?,
                    client_msg_id: row.get(4)?,
                    created_at: row.get(5)?,
                    target_seq: row.get(6)?,
                    body,
                })
            })
            .collect()
    }

    /// Lets go of the bodies after `after` up to `up_to`. Rows that only became smaller would leave
    /// their pages as they are, half empty: so they are taken out and put back, close together.
    pub(super) fn wipe(&self, after: Seq, up_to: Seq) -> Result<(), SqlError> {
        let kept: Option<String> = self
            .sql
            .exec(
                "SELECT json_group_array(json_array(seq, kind, hex(sender_id),
                    nullif(hex(message_id), ''), nullif(hex(client_msg_id), ''), created_at,
                    target_seq))
                 FROM event WHERE scope = ? AND seq > ? AND seq <= ?",
                params![self.scope, after, up_to],
            )?
            .scalar()?;
        self.sql.exec(
            "DELETE FROM event WHERE scope = ? AND seq > ? AND seq <= ?",
            params![self.scope, after, up_to],
        )?;
        self.sql.exec(
            "INSERT INTO event
                (scope, seq, kind, sender_id, message_id, client_msg_id, created_at, body,
                 target_seq)
             SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
                unhex(json_extract(value, '$[2]')), unhex(json_extract(value, '$[3]')),
                unhex(json_extract(value, '$[4]')), json_extract(value, '$[5]'), '',
                json_extract(value, '$[6]')
             FROM json_each(?)",
            params![self.scope, &kept.unwrap_or_default()],
        )?;
        self.sql.exec(
            "UPDATE conversation SET wiped_seq = ? WHERE scope = ?",
            params![up_to, self.scope],
        )?;
        Ok(())
    }

    /// When something is to be done, where events up to `archived` are in the archive.
    pub(super) fn archive_dates(&self, archived: Seq) -> Result<Dates, SqlError> {
        let rows = self.sql.exec(
            "SELECT
                (SELECT created_at FROM event WHERE scope = ? AND seq > ? ORDER BY seq LIMIT 1),
                (SELECT min(due_at) FROM archive_waste WHERE scope = ?),
                (SELECT min(due_at) FROM archive_purge WHERE scope = ?),
                (SELECT last_at FROM archive_segment WHERE scope = ? AND is_infrequent = 0
                 ORDER BY first_seq LIMIT 1)",
            params![self.scope, archived, self.scope, self.scope, self.scope],
        )?;
        rows.first().map_or(Ok(Dates::default()), |row| {
            Ok(Dates {
                oldest_at: row.get(0)?,
                waste_at: row.get(1)?,
                purge_at: row.get(2)?,
                standard_at: row.get(3)?,
            })
        })
    }
}

/// The event without what it said, and the edit before it, where it is one.
pub(super) fn emptied(event: StoredEvent) -> Result<(StoredEvent, Option<Seq>), SqlError> {
    let body = event.body.get();
    let (body, previous) = if event.target_seq.is_some() {
        emptied_edit(body)?
    } else {
        (emptied_message(body)?, None)
    };
    let body = RawValue::from_string(body).map_err(|_| SqlError::Unexpected {
        expected: "an event's body",
        found: "no JSON".to_owned(),
    })?;
    Ok((StoredEvent { body, ..event }, previous))
}
