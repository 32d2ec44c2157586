//! The stored form of a conversation's rows. It is read by every later version: what is written
//! here stays readable.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, MediaId, MessageId, UserId};
use crate::protocol::conversation::{ConversationType, Role};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::message::{ContentType, Message};
use crate::sql::{FromValue, Param, Row, SqlError, Value};

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

fn from_json<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, SqlError> {
    serde_json::from_str(body).map_err(|_| SqlError::Unexpected {
        expected: "an event's body",
        found: "other JSON".to_owned(),
    })
}

/// The event in a row of `seq, kind, sender_id, message_id, client_msg_id, created_at, body`, and
/// the size of its body.
pub(super) fn read_event(
    conversation_id: ConversationId,
    row: &Row,
) -> Result<(Event, usize), SqlError> {
    let body: String = row.get(6)?;
    let seq = row.get(0)?;
    let sender_id = row.get(2)?;
    let created_at = row.get(5)?;
    let event = match row.get::<i64>(1)? {
        KIND_MESSAGE => {
            let said: MessageBody<'static> = from_json(&body)?;
            Event::NewMessage(Message {
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
                is_deleted: false,
                created_at,
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
        other => {
            return Err(SqlError::unexpected(
                "an event's kind",
                &Value::Integer(other),
            ));
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
