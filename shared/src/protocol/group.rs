//! Changes of a group and its members as events of the log, and the bodies that ask for them.
//!
//! What always holds: replayed from the first event, these give the members and their roles as
//! they are, with exactly one owner after each of them for as long as the group has a member.

use serde::{Deserialize, Serialize};

use super::conversation::Role;
use super::input::{Fields, present};
use super::problem::Problem;
use super::seq::Seq;
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::time::Timestamp;

/// One change of a conversation itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupChange {
    /// A member was removed, or has left.
    MemberRemoved(MemberRemoved),
    /// A member has another role.
    RoleChanged(RoleChanged),
    /// It is called or looks otherwise, or keeps its messages for another time.
    ConversationChanged(ConversationChanged),
    /// It is no more. The last event.
    ConversationDeleted(ConversationDeleted),
}

/// `member_removed`: the last event of this conversation that the member gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Who is no longer a member.
    pub user_id: UserId,
    /// Who removed it; the same where it has left.
    pub removed_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// `role_changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChanged {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Whose role.
    pub user_id: UserId,
    /// Its role now.
    pub role: Role,
    /// Where the group was handed over: who owned it before, and is an admin now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_owner_id: Option<UserId>,
    /// Who changed it.
    pub changed_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// `conversation_changed`: has the fields that have changed, null where one was cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationChanged {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// What has changed, as it is now.
    #[serde(flatten)]
    pub changed: ProfileFields,
    /// Who changed it.
    pub changed_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// What can be changed of a conversation. A field that is there has changed; null clears it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfileFields {
    /// Its name.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<Option<String>>,
    /// What it is for.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
    /// A link to its picture.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub avatar_url: Option<Option<String>>,
    /// Seconds after which new messages lose their content.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_after: Option<Option<u32>>,
}

impl ProfileFields {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `conversation_deleted`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationDeleted {
    /// Which.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Who ended it.
    pub deleted_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

impl GroupChange {
    /// The event's number.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match self {
            Self::MemberRemoved(removed) => removed.seq,
            Self::RoleChanged(changed) => changed.seq,
            Self::ConversationChanged(changed) => changed.seq,
            Self::ConversationDeleted(deleted) => deleted.seq,
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        match self {
            Self::MemberRemoved(removed) => removed.created_at,
            Self::RoleChanged(changed) => changed.created_at,
            Self::ConversationChanged(changed) => changed.created_at,
            Self::ConversationDeleted(deleted) => deleted.created_at,
        }
    }

    /// Who did it.
    #[must_use]
    pub const fn actor(&self) -> UserId {
        match self {
            Self::MemberRemoved(removed) => removed.removed_by,
            Self::RoleChanged(changed) => changed.changed_by,
            Self::ConversationChanged(changed) => changed.changed_by,
            Self::ConversationDeleted(deleted) => deleted.deleted_by,
        }
    }

    /// Whether it is the last event of the conversation for `member`.
    #[must_use]
    pub fn is_last_for(&self, member: UserId) -> bool {
        match self {
            Self::MemberRemoved(removed) => removed.user_id == member,
            Self::ConversationDeleted(_) => true,
            Self::RoleChanged(_) | Self::ConversationChanged(_) => false,
        }
    }
}

/// `PATCH /conversations/{id}`: changes the fields it names. Null clears one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConversationPatch {
    /// The name.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub name: Option<Option<String>>,
    /// What it is for.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
    /// A link (https) to a picture.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub avatar: Option<Option<String>>,
    /// Seconds after which new messages lose their content.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_after: Option<Option<u32>>,
}

impl ConversationPatch {
    /// Checks what it sets.
    ///
    /// # Errors
    /// `invalid_request` with all the fields that do not fit.
    pub fn validate(&self) -> Result<(), Problem> {
        let mut fields = Fields::new();
        if let Some(Some(name)) = &self.name {
            fields.label("name", name, limits::NAME_CHARS);
        }
        if let Some(Some(description)) = &self.description {
            fields.text("description", description, limits::DESCRIPTION_CHARS);
        }
        if let Some(Some(url)) = &self.avatar {
            fields.https_url("avatar", url);
        }
        if let Some(Some(seconds)) = self.expires_after {
            let range = limits::EXPIRES_LEAST.as_secs()..=limits::EXPIRES_MOST.as_secs();
            fields.require(
                range.contains(&seconds.into()),
                "expires_after",
                format!("must be {} to {} seconds", range.start(), range.end()),
            );
        }
        fields.finish()
    }

    /// Whether it names something that a group alone has.
    #[must_use]
    pub const fn names_profile(&self) -> bool {
        self.name.is_some() || self.description.is_some() || self.avatar.is_some()
    }
}

/// `POST /conversations/{id}/members`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddMembersRequest {
    /// Whom to let in.
    pub user_ids: Vec<UserId>,
}

/// 200 of `POST /conversations/{id}/members`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersAdded {
    /// Who came in; those who were members before are not named.
    pub added: Vec<UserId>,
}

/// `PATCH /conversations/{id}/members/{user_id}`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRequest {
    /// What the member is to be.
    pub role: Role,
}
