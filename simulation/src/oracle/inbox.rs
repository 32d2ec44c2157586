//! Inboxes: what is unread is what the log says, and positions go forwards.

use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::sql::Param;

use crate::objects::ObjectId;
use crate::world::World;

/// A row of a user's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub head: u64,
    pub read: u64,
    pub unread: u64,
    pub delivered: u64,
    pub membership: i64,
    pub archived: bool,
    pub lags: bool,
}

impl World {
    /// The rows of a user's list, as they are on its disk.
    pub(super) fn rows(&self, user: UserId) -> Vec<(ConversationId, Row)> {
        let Some(disk) = self.disk(ObjectId::User(user)) else {
            return Vec::new();
        };
        disk.look(
            "SELECT conversation_id, head_seq, read_seq, unread, delivered_seq, membership,
                archived, positions IS NOT NULL
             FROM inbox WHERE scope = 1",
            &[],
        )
        .iter()
        .filter_map(|row| {
            let one = Row {
                head: row.get(1).ok()?,
                read: row.get(2).ok()?,
                unread: row.get(3).ok()?,
                delivered: row.get(4).ok()?,
                membership: row.get(5).ok()?,
                archived: row.get(6).ok()?,
                lags: row.get(7).ok()?,
            };
            Some((row.get(0).ok()?, one))
        })
        .collect()
    }

    /// A user's storage has reached the disk.
    pub(super) fn inbox_flushed(&mut self, user: UserId) {
        let rows = self.rows(user);
        let known: Vec<_> = self
            .oracle
            .rows
            .range((user, ConversationId::from_uuid(Default::default()))..)
            .take_while(|((other, _), _)| *other == user)
            .map(|((_, place), _)| *place)
            .collect();
        for place in known {
            if !rows.iter().any(|(other, _)| *other == place) {
                self.oracle.rows.remove(&(user, place));
            }
        }
        for (place, row) in rows {
            let before = self.oracle.rows.insert((user, place), row);
            if before == Some(row) {
                continue;
            }
            let went_back = before.is_some_and(|before| {
                row.head < before.head || row.read < before.read || row.delivered < before.delivered
            });
            self.promise(
                "positions go forwards, and what is read was delivered",
                !went_back && row.read <= row.delivered,
                || format!("{user} in {place}: {before:?}, then {row:?}"),
            );
            if row.membership == 0 && before.is_some_and(|before| before.head < row.head) {
                self.look_at_sessions(user, place, row.head);
            }
            let Some(counted) = self.recount(user, place, row) else {
                continue;
            };
            self.promise("unread is what the log says", counted == row.unread, || {
                format!("{user} in {place}: {row:?} where the log has {counted}")
            });
        }
    }

    /// How many messages are unread, by the log; none where the log is not known that far.
    pub(super) fn recount(&self, user: UserId, place: ConversationId, row: Row) -> Option<u64> {
        if row.membership != 0 {
            return Some(0);
        }
        let log = self.oracle.logs.get(&place)?;
        // The membership that the user knows of.
        let (from, to) = *log
            .spans
            .get(&user)?
            .iter()
            .rev()
            .find(|(from, _)| *from <= row.head)
            .or_else(|| log.spans.get(&user).and_then(|spans| spans.first()))?;
        let disk = self.disk(ObjectId::User(user))?;
        let hidden: Vec<u64> = disk
            .look(
                "SELECT seq FROM inbox_hidden WHERE scope = 1 AND conversation_id = ?",
                &[Param::from(&place)],
            )
            .iter()
            .filter_map(|hidden| hidden.get(0).ok())
            .collect();
        let first = (row.read + 1).max(from);
        let unread = (first..=row.head)
            .filter_map(|seq| log.entry(seq))
            .filter(|entry| {
                entry.client_msg_id.is_some()
                    && entry.sender != user
                    && entry.deleted_by.is_none_or(|by| by > row.head)
                    && !hidden.contains(&entry.seq)
            })
            .count() as u64;
        // One who is no longer a member, and is yet to hear of it, may have been told that there
        // is less to read.
        Some(if to.is_some() {
            unread.min(row.unread)
        } else {
            unread
        })
    }
}
