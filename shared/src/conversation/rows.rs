//! The stored form of a conversation's rows. It is read by every later version: what is written
//! here stays readable.

use serde::{Deserialize, Serialize};

use super::store::Store;
use super::{change_rows, group_rows};
use crate::ids::{ConversationId, MediaId, MessageId, UserId};
use crate::protocol::conversation::{ConversationType, Role};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::message::{ContentType, ForwardedFrom, Message};
use crate::protocol::seq::Seq;
use crate::sql::{FromValue, Param, Row, Sql, SqlError, Value};
use crate::time::Timestamp;

/// What a message's `body` column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBody<'a> {
    /// What it says.
    pub content: std::borrow::Cow<'a, str>,
    /// What `content` is.
    pub content_type: ContentType,
    /// The medium that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_id: Option<MediaId>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Whom it mentions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// The message whose thread it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_root: Option<MessageId>,
    /// Where it was forwarded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<ForwardedFrom>,
    /// When it loses its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What the `body` column of a member event holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersBody {
    /// Who it is about.
    pub user_ids: Vec<UserId>,
}

pub(super) const KIND_MESSAGE: i64 = 0;
pub(super) const KIND_MEMBER_ADDED: i64 = 1;

pub(super) fn to_json(body: &impl Serialize) -> Result<String, SqlError> {
    serde_json::to_string(body).map_err(|error| SqlError::Engine(error.to_string()))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, SqlError> {
    serde_json::from_str(body).map_err(|_| SqlError::Unexpected {
        expected: "an event's body",
        found: "other JSON".to_owned(),
    })
}

/// The columns that [`read_event`] reads, of an event `e` with the state `s` of the message that
/// it is or that it changes, which the one who looks may have hidden (`h`).
macro_rules! event_columns {
    () => {
        "e.seq, e.kind, e.sender_id, e.message_id, e.client_msg_id, e.created_at, e.body,
         s.deleted_seq IS NOT NULL OR coalesce(s.is_expired, 0), h.seq IS NOT NULL, e.target_seq"
    };
}

/// Events with what [`event_columns`] speaks of; the first parameter is the one who looks.
macro_rules! event_tables {
    () => {
        " FROM event e
          LEFT JOIN message_state s
            ON s.scope = e.scope AND s.seq = coalesce(e.target_seq, e.seq)
          LEFT JOIN message_hidden h
            ON h.scope = e.scope AND h.seq = coalesce(e.target_seq, e.seq) AND h.user_id = ? "
    };
}
pub(super) use {event_columns, event_tables};

/// The event in a row of [`event_columns`], as one sees it who sees everything from
/// `visible_from` on, and the size of its body. What a message said is gone once it was deleted
/// or has expired, from the message and from its edits.
pub(super) fn read_event<S: Sql>(
    store: &Store<'_, S>,
    conversation_id: ConversationId,
    visible_from: Seq,
    row: &Row,
) -> Result<(Event, usize), SqlError> {
    let is_gone: bool = row.get(7)?;
    let is_hidden: bool = row.get(8)?;
    let seq = row.get(0)?;
    let body = store.body(seq, row.get(6)?)?;
    let sender_id = row.get(2)?;
    let created_at = row.get(5)?;
    let event = match row.get::<i64>(1)? {
        KIND_MESSAGE => {
            let said: MessageBody<'static> = from_json(&body)?;
            let message = Message {
                conversation_id,
                seq,
                message_id: row.get(3)?,
                client_msg_id: row.get(4)?,
                sender_id,
                content: said.content.into_owned(),
                content_type: said.content_type,
                media_id: said.media_id,
                reply_to: said.reply_to,
                mentions: said.mentions,
                thread_root: said.thread_root,
                forwarded_from: said.forwarded_from,
                edited_at: None,
                expires_at: said.expires_at,
                is_deleted: false,
                is_hidden,
                is_pinned: false,
                reactions: Vec::new(),
                poll: None,
                thread: None,
                created_at,
            };
            Event::NewMessage(if is_gone || is_hidden {
                message.without_content()
            } else {
                message
            })
        }
        KIND_MEMBER_ADDED => {
            let MembersBody { user_ids } = from_json(&body)?;
            Event::MemberAdded(MemberAdded {
                conversation_id,
                seq,
                user_ids,
                added_by: sender_id,
                created_at,
            })
        }
        kind if group_rows::is_kind(kind) => {
            Event::Group(group_rows::read(conversation_id, kind, row, &body)?)
        }
        kind => {
            let change = change_rows::read(conversation_id, kind, row, &body)?;
            let target: Seq = row.get(9)?;
            Event::Changed(if target < visible_from {
                change.seen_by_latecomers()
            } else if is_gone || is_hidden {
                change.without_content()
            } else {
                change
            })
        }
    };
    Ok((event, body.len()))
}

impl From<ConversationType> for Param<'_> {
    fn from(kind: ConversationType) -> Self {
        Param::Integer(match kind {
            ConversationType::Direct => 0,
            ConversationType::Group => 1,
        })
    }
}

impl FromValue for ConversationType {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::Direct),
            Value::Integer(1) => Ok(Self::Group),
            _ => Err(SqlError::unexpected("a conversation's kind", value)),
        }
    }
}

impl From<Role> for Param<'_> {
    fn from(role: Role) -> Self {
        Param::Integer(match role {
            Role::Member => 0,
            Role::Admin => 1,
            Role::Owner => 2,
        })
    }
}

impl FromValue for Role {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::Member),
            Value::Integer(1) => Ok(Self::Admin),
            Value::Integer(2) => Ok(Self::Owner),
            _ => Err(SqlError::unexpected("a role", value)),
        }
    }
}
