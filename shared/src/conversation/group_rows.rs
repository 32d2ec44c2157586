//! The stored form of changes of a group and its members. It is read by every later version: what
//! is written here stays readable.

use serde::{Deserialize, Serialize};

use super::rows::{from_json, to_json};
use crate::ids::{ConversationId, UserId};
use crate::protocol::conversation::Role;
use crate::protocol::group::{
    ConversationChanged, ConversationDeleted, GroupChange, MemberRemoved, ProfileFields,
    RoleChanged,
};
use crate::sql::{Row, SqlError, Value};

#[derive(Serialize, Deserialize)]
struct RemovedBody {
    user_id: UserId,
}

#[derive(Serialize, Deserialize)]
struct RoleBody {
    user_id: UserId,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_owner_id: Option<UserId>,
}

#[derive(Serialize, Deserialize)]
struct NoBody {}

const KIND_REMOVED: i64 = 2;
const KIND_ROLE: i64 = 3;
const KIND_DELETED: i64 = 4;
const KIND_CHANGED: i64 = 26;

/// Whether events of this kind are read here.
pub(super) const fn is_kind(kind: i64) -> bool {
    matches!(kind, KIND_REMOVED | KIND_ROLE | KIND_DELETED | KIND_CHANGED)
}

/// The kind and the body of a change.
pub(super) fn write(change: &GroupChange) -> Result<(i64, String), SqlError> {
    Ok(match change {
        GroupChange::MemberRemoved(removed) => {
            let user_id = removed.user_id;
            (KIND_REMOVED, to_json(&RemovedBody { user_id })?)
        }
        GroupChange::RoleChanged(changed) => {
            let body = RoleBody {
                user_id: changed.user_id,
                role: changed.role,
                former_owner_id: changed.former_owner_id,
            };
            (KIND_ROLE, to_json(&body)?)
        }
        GroupChange::ConversationChanged(changed) => (KIND_CHANGED, to_json(&changed.changed)?),
        GroupChange::ConversationDeleted(_) => (KIND_DELETED, to_json(&NoBody {})?),
    })
}

/// The change of this kind in a row of [`super::rows::event_columns`], with its body.
pub(super) fn read(
    conversation_id: ConversationId,
    kind: i64,
    row: &Row,
    body: &str,
) -> Result<GroupChange, SqlError> {
    let seq = row.get(0)?;
    let actor = row.get(2)?;
    let created_at = row.get(5)?;
    Ok(match kind {
        KIND_REMOVED => {
            let RemovedBody { user_id } = from_json(body)?;
            GroupChange::MemberRemoved(MemberRemoved {
                conversation_id,
                seq,
                user_id,
                removed_by: actor,
                created_at,
            })
        }
        KIND_ROLE => {
            let RoleBody {
                user_id,
                role,
                former_owner_id,
            } = from_json(body)?;
            GroupChange::RoleChanged(RoleChanged {
                conversation_id,
                seq,
                user_id,
                role,
                former_owner_id,
                changed_by: actor,
                created_at,
            })
        }
        KIND_CHANGED => {
            let changed: ProfileFields = from_json(body)?;
            GroupChange::ConversationChanged(ConversationChanged {
                conversation_id,
                seq,
                changed,
                changed_by: actor,
                created_at,
            })
        }
        KIND_DELETED => {
            let NoBody {} = from_json(body)?;
            GroupChange::ConversationDeleted(ConversationDeleted {
                conversation_id,
                seq,
                deleted_by: actor,
                created_at,
            })
        }
        other => {
            let kind = Value::Integer(other);
            return Err(SqlError::unexpected("an event's kind", &kind));
        }
    })
}
