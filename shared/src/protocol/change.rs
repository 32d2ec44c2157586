//! Changes of messages as events of the log: edits, deletions, reactions, pins, votes.
//!
//! What always holds: a change names its message by id, and the id leads to the message's seq.
//! Whoever may not see the message sees that something was changed, and nothing of its content.

use serde::{Deserialize, Serialize};

use super::seq::Seq;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::time::Timestamp;

/// One change of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessageChange {
    /// Its author has written it anew.
    MessageEdited(MessageEdited),
    /// It was deleted for everyone.
    MessageDeleted(MessageDeleted),
    /// Someone has reacted to it, or no longer does.
    Reaction(ReactionChanged),
    /// It was pinned, or is no longer.
    PinChanged(PinChanged),
    /// Someone has voted in its poll.
    PollVote(PollVoted),
    /// Its poll takes no more votes.
    PollClosed(PollClosed),
}

/// `message_edited`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEdited {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Which message.
    pub message_id: MessageId,
    /// What it says now; empty once the message is deleted or has expired.
    pub content: String,
    /// Whom it mentions now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// When.
    pub edited_at: Timestamp,
}

/// `message_deleted`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDeleted {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Which message.
    pub message_id: MessageId,
    /// Its author; left out for members who joined after it, and have never seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<UserId>,
    /// Who has deleted it.
    pub deleted_by: UserId,
    /// When.
    pub deleted_at: Timestamp,
}

/// `reaction`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionChanged {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// To which message.
    pub message_id: MessageId,
    /// Who.
    pub user_id: UserId,
    /// With what.
    pub emoji: String,
    /// Whether it was taken back.
    pub removed: bool,
    /// When.
    pub created_at: Timestamp,
}

/// `pin_changed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinChanged {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Which message.
    pub message_id: MessageId,
    /// Whether it is pinned now.
    pub pinned: bool,
    /// Who did it.
    pub changed_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// `poll_vote`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollVoted {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// In which message's poll.
    pub message_id: MessageId,
    /// Who.
    pub user_id: UserId,
    /// For which options, counted from 0, in place of an earlier vote; none takes it back.
    pub options: Vec<u8>,
    /// When.
    pub created_at: Timestamp,
}

/// `poll_closed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollClosed {
    /// Where.
    pub conversation_id: ConversationId,
    /// The event's number.
    pub seq: Seq,
    /// Which message's poll.
    pub message_id: MessageId,
    /// Who has closed it: its author.
    pub closed_by: UserId,
    /// When.
    pub created_at: Timestamp,
}

impl MessageChange {
    /// The event's number.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match self {
            Self::MessageEdited(change) => change.seq,
            Self::MessageDeleted(change) => change.seq,
            Self::Reaction(change) => change.seq,
            Self::PinChanged(change) => change.seq,
            Self::PollVote(change) => change.seq,
            Self::PollClosed(change) => change.seq,
        }
    }

    /// When it happened.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        match self {
            Self::MessageEdited(change) => change.edited_at,
            Self::MessageDeleted(change) => change.deleted_at,
            Self::Reaction(change) => change.created_at,
            Self::PinChanged(change) => change.created_at,
            Self::PollVote(change) => change.created_at,
            Self::PollClosed(change) => change.created_at,
        }
    }

    /// The message that was changed.
    #[must_use]
    pub const fn message_id(&self) -> MessageId {
        match self {
            Self::MessageEdited(change) => change.message_id,
            Self::MessageDeleted(change) => change.message_id,
            Self::Reaction(change) => change.message_id,
            Self::PinChanged(change) => change.message_id,
            Self::PollVote(change) => change.message_id,
            Self::PollClosed(change) => change.message_id,
        }
    }

    /// Whether members who do not see the message are shown less of this.
    #[must_use]
    pub const fn is_confidential(&self) -> bool {
        matches!(self, Self::MessageEdited(_) | Self::MessageDeleted(_))
    }

    /// The change as those see it who do not see what the message says: it was deleted, has
    /// expired, or they have hidden it.
    #[must_use]
    pub fn without_content(mut self) -> Self {
        if let Self::MessageEdited(edited) = &mut self {
            edited.content = String::new();
            edited.mentions = Vec::new();
        }
        self
    }

    /// The change as members see it who joined after the message.
    #[must_use]
    pub fn seen_by_latecomers(self) -> Self {
        let mut change = self.without_content();
        if let Self::MessageDeleted(deleted) = &mut change {
            deleted.sender_id = None;
        }
        change
    }

    /// Bytes of content within.
    #[must_use]
    pub const fn content_bytes(&self) -> usize {
        match self {
            Self::MessageEdited(edited) => edited.content.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::Event;
    use crate::protocol::frame::ServerFrame;

    const ID: &str = "00000000-0000-4000-8000-000000000001";
    const AT: &str = "1970-01-01T00:00:00.000Z";

    fn pinned(text: &str) -> MessageChange {
        let text = text.replace("ID", ID).replace("AT", AT);
        let change: MessageChange = serde_json::from_str(&text).unwrap();
        let frame = ServerFrame::Event(Event::Changed(change.clone()));
        assert_eq!(frame.to_text(), text);
        let read: ServerFrame = serde_json::from_str(&text).unwrap();
        assert_eq!(read, frame);
        assert_eq!(change.seq(), Seq::new(3));
        assert_eq!(change.created_at(), Timestamp::from_millis(0));
        assert_eq!(change.message_id(), ID.parse().unwrap());
        change
    }

    #[test]
    fn the_wire_form_of_changes_is_pinned() {
        let head = r#""conversation_id":"ID","seq":3,"message_id":"ID""#;
        let edited = pinned(&format!(
            r#"{{"type":"message_edited",{head},"content":"x","mentions":["ID"],"edited_at":"AT"}}"#
        ));
        let bare = format!(r#"{{"type":"message_edited",{head},"content":"","edited_at":"AT"}}"#);
        assert_eq!(edited.without_content(), pinned(&bare));
        let deleted = pinned(&format!(
            r#"{{"type":"message_deleted",{head},"sender_id":"ID","deleted_by":"ID","deleted_at":"AT"}}"#
        ));
        let bare =
            format!(r#"{{"type":"message_deleted",{head},"deleted_by":"ID","deleted_at":"AT"}}"#);
        assert_eq!(deleted.seen_by_latecomers(), pinned(&bare));
        for rest in [
            r#""type":"reaction",HEAD,"user_id":"ID","emoji":"👍","removed":false"#,
            r#""type":"pin_changed",HEAD,"pinned":true,"changed_by":"ID""#,
            r#""type":"poll_vote",HEAD,"user_id":"ID","options":[0,2]"#,
            r#""type":"poll_closed",HEAD,"closed_by":"ID""#,
        ] {
            let change = pinned(&format!(
                r#"{{{},"created_at":"AT"}}"#,
                rest.replace("HEAD", head)
            ));
            assert_eq!(change.clone().seen_by_latecomers(), change);
        }
    }
}
