//! Events of a conversation's log. An event has the shape of its server frame.

use serde::{Deserialize, Serialize};

use super::change::MessageChange;
use super::group::GroupChange;
use super::message::Message;
use super::seq::Seq;
use crate::ids::{ConversationId, UserId};
use crate::time::Timestamp;

/// One change of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // Nearly all events are messages.
pub enum Event {
    /// A message was sent.
    NewMessage(Message),
    /// Members came in; the first event of every group, with the members it began with.
    MemberAdded(MemberAdded),
    /// A message was changed.
    #[serde(untagged)]
    Changed(MessageChange),
    /// The conversation itself was changed.
    #[serde(untagged)]
    Group(GroupChange),
}

/// Members came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Who came in.
    pub user_ids: Vec<UserId>,
    /// Who let them in.
    pub added_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

impl Event {
    /// The event's number.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match self {
            Self::NewMessage(message) => message.seq,
            Self::MemberAdded(added) => added.seq,
            Self::Changed(change) => change.seq(),
            Self::Group(change) => change.seq(),
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        match self {
            Self::NewMessage(message) => message.created_at,
            Self::MemberAdded(added) => added.created_at,
            Self::Changed(change) => change.created_at(),
            Self::Group(change) => change.created_at(),
        }
    }

    /// The event as `viewer` sees it: only the sender sees its `client_msg_id`.
    #[must_use]
    pub fn seen_by(self, viewer: UserId) -> Self {
        match &self {
            Self::NewMessage(message) if message.sender_id != viewer => self.seen_by_others(),
            _ => self,
        }
    }

    /// The event as everyone but the sender of its message sees it.
    #[must_use]
    pub fn seen_by_others(mut self) -> Self {
        if let Self::NewMessage(message) = &mut self {
            message.client_msg_id = None;
        }
        self
    }

    /// The message, where the event is one.
    #[must_use]
    pub const fn as_message(&self) -> Option<&Message> {
        match self {
            Self::NewMessage(message) => Some(message),
            _ => None,
        }
    }

    /// The message, where the event is one.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::NewMessage(message) => Some(message),
            _ => None,
        }
    }

    /// The change of a message, where the event is one.
    #[must_use]
    pub const fn as_change(&self) -> Option<&MessageChange> {
        match self {
            Self::Changed(change) => Some(change),
            _ => None,
        }
    }

    /// The event as members see it who joined after the message that it changes.
    #[must_use]
    pub fn seen_by_latecomers(self) -> Self {
        match self {
            Self::Changed(change) => Self::Changed(change.seen_by_latecomers()),
            other => other,
        }
    }

    /// Bytes of content within.
    #[must_use]
    pub const fn content_bytes(&self) -> usize {
        match self {
            Self::NewMessage(message) => message.content.len(),
            Self::Changed(change) => change.content_bytes(),
            _ => 0,
        }
    }
}

/// A page of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// The newest event's number.
    pub head_seq: Seq,
    /// Whether events follow those on the page.
    pub has_more: bool,
}
