//! Bodies of `/conversations/*`, but for messages.

use serde::{Deserialize, Serialize};

use super::input::present;
use super::message::{ContentType, Message};
use super::seq::Seq;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::time::Timestamp;

/// What kind of conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationType {
    /// Between two users, for ever.
    Direct,
    /// Between up to 1024.
    Group,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds, removes and names.
    Admin,
    /// Also appoints admins, and ends the group.
    Owner,
}

/// `POST /conversations`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateConversation {
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// A group's name.
    #[serde(default)]
    pub name: Option<String>,
    /// What a group is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The other members; the caller is one without being named.
    pub member_ids: Vec<UserId>,
    /// Whether only ciphertext may be sent.
    #[serde(default)]
    pub encrypted: bool,
}

/// 201 (200 where the direct conversation exists) of `POST /conversations`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationCreated {
    /// The conversation.
    pub conversation_id: ConversationId,
}

/// `GET /conversations/{id}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationView {
    /// Its id.
    pub id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// A group's name; of a direct conversation, the other user's.
    pub name: Option<String>,
    /// What a group is for.
    pub description: Option<String>,
    /// A link to its picture.
    pub avatar_url: Option<String>,
    /// Whether only ciphertext may be sent.
    pub encrypted: bool,
    /// After how many seconds messages disappear, where they do.
    #[serde(default)]
    pub expires_after: Option<u32>,
    /// How many members it has.
    pub member_count: u32,
    /// In a direct conversation, the other user.
    pub peer_id: Option<UserId>,
    /// The caller's role.
    pub role: Role,
    /// The newest event.
    pub head_seq: Seq,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Who.
    pub user_id: UserId,
    /// As what.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}

/// `GET /conversations/{id}/members`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPage {
    /// The members, in the order of their ids.
    pub members: Vec<MemberView>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// The newest message of a conversation, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMessage {
    /// Its id.
    pub message_id: MessageId,
    /// Its event number.
    pub seq: Seq,
    /// Who sent it.
    pub sender_id: UserId,
    /// What it is.
    pub content_type: ContentType,
    /// At most 100 characters; empty for encrypted content, and where that is gone.
    pub preview: String,
    /// Whether it was deleted for everyone, or has expired.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_deleted: bool,
    /// When it loses its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was sent.
    pub created_at: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<&Message> for LastMessage {
    fn from(message: &Message) -> Self {
        Self {
            message_id: message.message_id,
            seq: message.seq,
            sender_id: message.sender_id,
            content_type: message.content_type,
            preview: message.preview(),
            is_deleted: message.is_deleted,
            expires_at: message.expires_at,
            created_at: message.created_at,
        }
    }
}

impl LastMessage {
    /// When its preview expires, where there is one that does.
    #[must_use]
    pub fn preview_expires_at(&self) -> Option<Timestamp> {
        self.expires_at.filter(|_| !self.is_deleted)
    }

    /// As it is shown at `now`: without what has expired.
    #[must_use]
    pub fn shown_at(self, now: Timestamp) -> Self {
        if self.expires_at.is_some_and(|at| at <= now) {
            self.without_content()
        } else {
            self
        }
    }

    /// As it is shown to one who is no longer a member.
    #[must_use]
    pub fn without_preview(self) -> Self {
        Self {
            preview: String::new(),
            ..self
        }
    }

    /// As it is shown once what it said is gone.
    #[must_use]
    pub fn without_content(self) -> Self {
        Self {
            preview: String::new(),
            is_deleted: true,
            ..self
        }
    }
}

/// One conversation in the caller's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationItem {
    /// Its id.
    pub id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// A group's name; of a direct conversation, the other user's.
    pub name: Option<String>,
    /// A link to its picture; of a direct conversation, the other user's.
    pub avatar_url: Option<String>,
    /// In a direct conversation, the other user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<UserId>,
    /// The newest message.
    pub last_msg: Option<LastMessage>,
    /// When that was.
    pub last_message_at: Option<Timestamp>,
    /// How many messages of others lie after `read_seq`.
    pub unread: u64,
    /// The newest event.
    pub head_seq: Seq,
    /// Up to where the caller has read.
    pub read_seq: Seq,
    /// Until when it makes no sound.
    pub muted_until: Option<Timestamp>,
    /// Whether it is put away.
    pub archived: bool,
    /// Whether it is kept on top.
    pub pinned: bool,
    /// What of it is notified.
    pub notify: Notify,
    /// Whether the caller is a member, or why it no longer is.
    pub membership: Membership,
}

/// Whether a user is a member of a conversation in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// It is.
    Member,
    /// It has left.
    Left,
    /// It was removed.
    Removed,
    /// The conversation is no more.
    Deleted,
}

/// What of a conversation is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// Every message.
    All,
    /// Messages that mention the user.
    Mentions,
    /// Nothing.
    None,
}

/// `PUT /conversations/{id}/settings`: changes the fields it names. Null unmutes; the others
/// cannot be null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsPatch {
    /// Until when it makes no sound.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub muted_until: Option<Option<Timestamp>>,
    /// Whether it is put away.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub archived: Option<bool>,
    /// Whether it is kept on top.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub pinned: Option<bool>,
    /// What of it is notified.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub notify: Option<Notify>,
}

/// 200 of `PUT /conversations/{id}/settings`, and the frame `conversation_settings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationSettings {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// Until when it makes no sound.
    pub muted_until: Option<Timestamp>,
    /// Whether it is put away.
    pub archived: bool,
    /// Whether it is kept on top.
    pub pinned: bool,
    /// What of it is notified.
    pub notify: Notify,
}

/// `GET /conversations`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationPage {
    /// Pinned first, then the newest activity first.
    pub conversations: Vec<ConversationItem>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
    /// Unread messages in all conversations that are not archived.
    pub total_unread: u64,
}
