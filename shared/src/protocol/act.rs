//! What a member does with a message: bodies of requests, and the fields of client frames.

use serde::{Deserialize, Serialize};

use super::content;
use super::event::Event;
use super::message::{Message, MessageAck, NewMessage};
use super::problem::{Code, Problem};
use crate::ids::{ClientMessageId, ConversationId, MessageId, ScheduledId, UserId};
use crate::limits;
use crate::time::Timestamp;

/// What is done with a message, so that everyone sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Write it anew.
    Edit {
        /// What it says.
        content: String,
        /// Whom it mentions; as before where nothing is said.
        mentions: Option<Vec<UserId>>,
    },
    /// Delete it for everyone.
    Delete,
    /// React to it, or no longer.
    React {
        /// With what.
        emoji: String,
        /// Whether it is taken back.
        remove: bool,
    },
    /// Pin it, or no longer.
    Pin {
        /// Whether it is taken down.
        remove: bool,
    },
    /// Vote in its poll.
    Vote {
        /// For which options, counted from 0; none takes the vote back.
        options: Vec<u8>,
    },
    /// End its poll.
    ClosePoll,
}

impl Act {
    /// Checks what can be checked without looking at the message.
    ///
    /// # Errors
    /// `payload_too_large` for content over 64 KiB; `invalid_request` for everything else.
    pub fn validate(&self) -> Result<(), Problem> {
        match self {
            Self::Edit { content, .. } if content.len() > limits::CONTENT_BYTES => {
                Err(Problem::new(
                    Code::PayloadTooLarge,
                    format!("content must have at most {} bytes.", limits::CONTENT_BYTES),
                ))
            }
            Self::Edit {
                mentions: Some(mentions),
                ..
            } => check_mentions(mentions),
            Self::React { emoji, .. } if !content::is_emoji(emoji) => {
                Err(Problem::invalid_field("emoji", "must be one emoji"))
            }
            Self::Vote { options } if options.len() > limits::POLL_OPTIONS => Err(
                Problem::invalid_field("options", "has more items than a poll has options"),
            ),
            _ => Ok(()),
        }
    }
}

/// Mentions are bounded, and each is there once.
///
/// # Errors
/// `invalid_request` on `mentions`.
pub fn check_mentions(mentions: &[UserId]) -> Result<(), Problem> {
    let mut fields = super::input::Fields::new();
    fields.require(
        mentions.len() <= limits::LIST_ITEMS,
        "mentions",
        format!("must have at most {} ids", limits::LIST_ITEMS),
    );
    let mut sorted = mentions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    fields.require(
        sorted.len() == mentions.len(),
        "mentions",
        "must name each member once",
    );
    fields.finish()
}

/// The body of `PATCH .../messages/{message_id}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditRequest {
    /// What it says now.
    pub content: String,
    /// Whom it mentions now; as before where nothing is said.
    #[serde(default)]
    pub mentions: Option<Vec<UserId>>,
}

/// The body of `PUT .../messages/{message_id}/vote`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRequest {
    /// For which options, counted from 0; none takes the vote back.
    pub options: Vec<u8>,
}

/// The body of `POST .../messages/{message_id}/forward`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// Where to.
    pub conversation_ids: Vec<ConversationId>,
    /// The sender's name for the message, in each of them.
    pub client_msg_id: ClientMessageId,
}

/// 200 of `POST .../messages/{message_id}/forward`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// What came of it in each conversation, in the order of the request.
    pub results: Vec<ForwardResult>,
}

/// What came of a forward in one conversation: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardResult {
    /// Where.
    pub conversation_id: ConversationId,
    /// It was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<MessageAck>,
    /// It was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// A message that is to be sent later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Its name until it is sent.
    pub scheduled_id: ScheduledId,
    /// Where.
    pub conversation_id: ConversationId,
    /// When it was written.
    pub created_at: Timestamp,
    /// What, with the sender's name for it and the time of its `send_at`.
    #[serde(flatten)]
    pub message: NewMessage,
    /// Why it could not be sent, where its time has come and it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// `GET /conversations/{id}/scheduled`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledList {
    /// The caller's own, the next to be sent first.
    pub scheduled: Vec<Scheduled>,
}

/// `GET /conversations/{id}/pins`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinList {
    /// The messages that are pinned, the one pinned last first.
    pub pins: Vec<Pin>,
}

/// A message that is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Which.
    pub message: Event,
    /// Who has pinned it.
    pub pinned_by: UserId,
    /// When.
    pub pinned_at: Timestamp,
}

/// A page of a thread: its root, and the replies, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadPage {
    /// The message that the thread hangs on.
    pub root: Message,
    /// The replies.
    pub messages: Vec<Message>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// What a client frame says that is about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Where.
    pub conversation_id: ConversationId,
    /// Which message.
    pub message_id: MessageId,
    /// What to do.
    pub act: Act,
    /// The client's name for the frame, with which a refusal names it.
    pub client_msg_id: Option<ClientMessageId>,
}

/// `delete_message` with `for: "me"`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HideCommand {
    /// Where.
    pub conversation_id: ConversationId,
    /// Which message.
    pub message_id: MessageId,
    /// The client's name for the frame, with which a refusal names it.
    pub client_msg_id: Option<ClientMessageId>,
}

/// For whom a message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteFor {
    /// For all members.
    #[default]
    Everyone,
    /// For oneself, on all devices.
    Me,
}
