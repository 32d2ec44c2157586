//! The statements of a conversation. Nothing here decides anything.

use super::archive::Bodies;
use super::group_rows;
use super::policy::Member;
use super::positions::{Place, Reached};
use super::rows::{
    KIND_MEMBER_ADDED, KIND_MESSAGE, event_columns, event_tables, read_event, to_json,
};
pub use super::rows::{MembersBody, MessageBody};
use super::schema;
use crate::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::conversation::ConversationType;
use crate::protocol::event::Event;
use crate::protocol::group::GroupChange;
use crate::protocol::seq::Seq;
use crate::sql::{Row, Rows, Sql, SqlError, migrations};
use crate::time::Timestamp;

/// How many rows are read at once where a page can be long: bounds memory at this many times
/// the largest content.
const CHUNK: u32 = 100;

/// What does not change with every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The conversation's id.
    pub conversation_id: ConversationId,
    /// Direct or group.
    pub kind: ConversationType,
    /// A group's name.
    pub name: Option<String>,
    /// What a group is for.
    pub description: Option<String>,
    /// A link to a group's picture.
    pub avatar_url: Option<String>,
    /// Whether only ciphertext may be sent.
    pub encrypted: bool,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// An event to be stored; the rest of it is in its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent<'a> {
    /// Its number.
    pub seq: Seq,
    /// Who caused it.
    pub sender_id: UserId,
    /// When.
    pub created_at: Timestamp,
    /// What it is.
    pub kind: NewEventKind<'a>,
}

/// What a new event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewEventKind<'a> {
    /// A message.
    Message {
        /// Its id.
        message_id: MessageId,
        /// The sender's name for it.
        client_msg_id: ClientMessageId,
        /// What it says.
        body: MessageBody<'a>,
    },
    /// Members came in.
    MemberAdded(MembersBody),
    /// The conversation itself was changed.
    Group(&'a GroupChange),
}

/// Who looks at events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    /// Whose hidden messages are left without content; nobody's where it is several who look.
    pub user_id: Option<UserId>,
    /// The first event that is seen: what older messages say is seen in no later event either.
    pub visible_from: Seq,
}

impl From<&Member> for Viewer {
    fn from(member: &Member) -> Self {
        Self {
            user_id: Some(member.user_id),
            visible_from: member.visible_from,
        }
    }
}

/// The statements, bound to one conversation's rows.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a, S> {
    pub(super) sql: &'a S,
    pub(super) scope: i64,
    /// What of the archive is in memory.
    pub(super) bodies: &'a Bodies,
}

/// The events of a log after `after`, past all rules and without the archive: for the simulation,
/// which keeps its own book of what is on disk.
///
/// # Errors
/// When storage fails, or an event is in the archive.
#[cfg(feature = "planted-bugs")]
pub fn events_on_disk<S: Sql>(
    sql: &S,
    scope: i64,
    conversation_id: ConversationId,
    after: Seq,
) -> Result<Vec<Event>, SqlError> {
    let bodies = Bodies::default();
    let store = Store::new(sql, scope, &bodies);
    if !store.is_installed()? {
        return Ok(Vec::new());
    }
    let viewer = Viewer {
        user_id: None,
        visible_from: Seq::new(1),
    };
    store.events_after(conversation_id, viewer, after, u32::MAX, usize::MAX)
}

impl<'a, S: Sql> Store<'a, S> {
    /// The rows of `scope` in `sql`, and what is in memory of those that are archived.
    pub(super) const fn new(sql: &'a S, scope: i64, bodies: &'a Bodies) -> Self {
        Self { sql, scope, bodies }
    }

    /// Whether the tables are there. Asking writes nothing.
    pub fn is_installed(&self) -> Result<bool, SqlError> {
        Ok(migrations::installed(self.sql, schema::COMPONENT)?.is_some())
    }

    /// Brings the tables to the newest version.
    pub fn install(&self) -> Result<(), SqlError> {
        migrations::migrate(self.sql, schema::COMPONENT, schema::MIGRATIONS)
    }

    /// The conversation, and up to where it has been delivered, where it exists.
    pub fn meta(&self) -> Result<Option<(Meta, Option<Seq>)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT conversation_id, kind, name, description, avatar_url, encrypted, created_by,
                created_at, delivered_seq
             FROM conversation WHERE scope = ?",
            params![self.scope],
        )?;
        rows.first()
            .map(|row| {
                let meta = Meta {
                    conversation_id: row.get(0)?,
                    kind: row.get(1)?,
                    name: row.get(2)?,
                    description: row.get(3)?,
                    avatar_url: row.get(4)?,
                    encrypted: row.get(5)?,
                    created_by: row.get(6)?,
                    created_at: row.get(7)?,
                };
                Ok((meta, row.get(8)?))
            })
            .transpose()
    }

    /// Stores a new conversation.
    pub fn insert_meta(&self, meta: &Meta) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO conversation (scope, conversation_id, kind, name, description, avatar_url,
                encrypted, created_by, created_at, delivered_seq)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            params![
                self.scope,
                &meta.conversation_id,
                meta.kind,
                meta.name.as_deref(),
                meta.description.as_deref(),
                meta.avatar_url.as_deref(),
                meta.encrypted,
                &meta.created_by,
                meta.created_at
            ],
        )?;
        Ok(())
    }

    /// All members, and how far each has come. At most 1024.
    pub fn members(&self) -> Result<Vec<(Member, Place)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT user_id, role, joined_at, visible_from, delivered_seq, delivered_at, read_seq,
                read_at, read_receipts, suspended
             FROM member WHERE scope = ?",
            params![self.scope],
        )?;
        rows.rows
            .iter()
            .map(|row| {
                let member = Member {
                    user_id: row.get(0)?,
                    role: row.get(1)?,
                    joined_at: row.get(2)?,
                    visible_from: row.get(3)?,
                    is_suspended: row.get(9)?,
                };
                let place = Place {
                    delivered: Reached {
                        seq: row.get(4)?,
                        at: row.get(5)?,
                    },
                    read: Reached {
                        seq: row.get(6)?,
                        at: row.get(7)?,
                    },
                    read_receipts: row.get(8)?,
                };
                Ok((member, place))
            })
            .collect()
    }

    /// Stores a new member.
    pub fn insert_member(&self, member: &Member) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO member (scope, user_id, role, joined_at, visible_from)
             VALUES (?, ?, ?, ?, ?)",
            params![
                self.scope,
                &member.user_id,
                member.role,
                member.joined_at,
                member.visible_from
            ],
        )?;
        Ok(())
    }

    /// The newest event's number and time.
    pub fn head(&self) -> Result<Option<(Seq, Timestamp)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, created_at FROM event WHERE scope = ? ORDER BY seq DESC LIMIT 1",
            params![self.scope],
        )?;
        rows.first()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .transpose()
    }

    /// The newest event that is not younger than `at`.
    pub fn newest_until(&self, at: Timestamp) -> Result<Seq, SqlError> {
        // Times go with the order: the newest ones are looked at, until one is old enough.
        let found = self.sql.exec(
            "SELECT seq FROM event WHERE scope = ? AND created_at <= ?
             ORDER BY seq DESC LIMIT 1",
            params![self.scope, at],
        )?;
        Ok(found.scalar()?.unwrap_or(Seq::ZERO))
    }

    /// Stores an event, unless its sender has used its `client_msg_id` here before. Says
    /// whether it was stored.
    pub fn insert_event(&self, event: &NewEvent<'_>) -> Result<bool, SqlError> {
        let (kind, message_id, client_msg_id, body) = match &event.kind {
            NewEventKind::Message {
                message_id,
                client_msg_id,
                body,
            } => (
                KIND_MESSAGE,
                Some(message_id),
                Some(client_msg_id),
                to_json(body)?,
            ),
            NewEventKind::MemberAdded(body) => (KIND_MEMBER_ADDED, None, None, to_json(body)?),
            NewEventKind::Group(change) => {
                let (kind, body) = group_rows::write(change)?;
                (kind, None, None, body)
            }
        };
        let rows = self.sql.exec(
            "INSERT INTO event
                (scope, seq, kind, sender_id, message_id, client_msg_id, created_at, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (scope, sender_id, client_msg_id) WHERE client_msg_id IS NOT NULL
                DO NOTHING
             RETURNING seq",
            params![
                self.scope,
                event.seq,
                kind,
                &event.sender_id,
                message_id,
                client_msg_id,
                event.created_at,
                &body
            ],
        )?;
        if rows.rows.is_empty() && planted::is_on(Bug::LostDeduplication) {
            self.sql.exec(
                "INSERT INTO event (scope, seq, kind, sender_id, message_id, created_at, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    self.scope,
                    event.seq,
                    kind,
                    &event.sender_id,
                    message_id,
                    event.created_at,
                    &body
                ],
            )?;
            return Ok(true);
        }
        Ok(!rows.rows.is_empty())
    }

    /// The message that its sender has sent under this name.
    pub fn find_sent(
        &self,
        sender_id: &UserId,
        client_msg_id: &ClientMessageId,
    ) -> Result<Option<(Seq, MessageId, Timestamp)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, message_id, created_at FROM event
             WHERE scope = ? AND sender_id = ? AND client_msg_id = ?",
            params![self.scope, sender_id, client_msg_id],
        )?;
        rows.first()
            .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .transpose()
    }

    /// Where the message with this id is, if there is one that `visible_from` lets be seen.
    pub fn find_message(
        &self,
        message_id: &MessageId,
        visible_from: Seq,
    ) -> Result<Option<Seq>, SqlError> {
        self.sql
            .exec(
                "SELECT seq FROM event
                 WHERE scope = ? AND seq = ? AND seq >= ? AND message_id = ?",
                params![
                    self.scope,
                    message_id.claimed_seq(),
                    visible_from,
                    message_id
                ],
            )?
            .scalar()
    }

    /// Up to `limit` events after `after` as `viewer` sees them, oldest first, ending early once
    /// they come to `bytes` bytes of stored bodies. At least one, where there is one.
    pub fn events_after(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        after: Seq,
        limit: u32,
        bytes: usize,
    ) -> Result<Vec<Event>, SqlError> {
        let read = |position, asked| {
            self.sql.exec(
                concat!(
                    "SELECT ",
                    event_columns!(),
                    event_tables!(),
                    "WHERE e.scope = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"
                ),
                params![viewer.user_id.as_ref(), self.scope, position, asked],
            )
        };
        let parse = |row: &Row| read_event(self, conversation_id, viewer.visible_from, row);
        self.gather(after, limit, bytes, read, parse)
    }

    /// The event `seq`.
    pub(super) fn event_at(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        seq: Seq,
    ) -> Result<Event, SqlError> {
        let before = Seq::new(seq.get().saturating_sub(1));
        self.events_after(conversation_id, viewer, before, 1, 1)?
            .into_iter()
            .find(|event| event.seq() == seq)
            .ok_or(SqlError::Unexpected {
                expected: "an event of the log",
                found: "none".to_owned(),
            })
    }

    /// Reads on from `from`, some rows at a time, until there are `limit` events or they come to
    /// `bytes` bytes of stored bodies.
    pub(super) fn gather(
        &self,
        from: Seq,
        limit: u32,
        bytes: usize,
        read: impl Fn(Seq, u32) -> Result<Rows, SqlError>,
        parse: impl Fn(&Row) -> Result<(Event, usize), SqlError>,
    ) -> Result<Vec<Event>, SqlError> {
        let mut events: Vec<Event> = Vec::new();
        let mut position = from;
        let mut taken = 0;
        let mut left = limit;
        while left > 0 && taken < bytes {
            let asked = left.min(CHUNK);
            let rows = read(position, asked)?.rows;
            let found = u32::try_from(rows.len()).unwrap_or(asked);
            for row in &rows {
                if taken >= bytes {
                    break;
                }
                let (event, size) = parse(row)?;
                taken += size;
                position = event.seq();
                events.push(event);
            }
            left -= found.min(left);
            if found < asked {
                break;
            }
        }
        Ok(events)
    }

    /// The members that lag, and what each has taken.
    pub fn lanes(&self) -> Result<Vec<(UserId, Option<Seq>)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT user_id, taken_seq FROM lane WHERE scope = ?",
            params![self.scope],
        )?;
        rows.rows
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1)?)))
            .collect()
    }

    /// Notes that every member but the `lagging` has taken everything up to `delivered`.
    pub fn save_progress(
        &self,
        delivered: Option<Seq>,
        lagging: &[(UserId, Option<Seq>)],
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE conversation SET delivered_seq = ? WHERE scope = ?",
            params![delivered, self.scope],
        )?;
        self.sql
            .exec("DELETE FROM lane WHERE scope = ?", params![self.scope])?;
        for (user_id, taken) in lagging {
            self.sql.exec(
                "INSERT INTO lane (scope, user_id, taken_seq) VALUES (?, ?, ?)",
                params![self.scope, user_id, *taken],
            )?;
        }
        Ok(())
    }
}
