//! A message: what a client sends, and what everyone sees.

use serde::{Deserialize, Serialize};

use super::act::check_mentions;
use super::content;
use super::input::Fields;
use super::media::MediaDetails;
use super::problem::Problem;
use super::seq::Seq;
use crate::ids::{ClientMessageId, ConversationId, MediaId, MessageId, UserId};
use crate::limits;
use crate::time::Timestamp;

mod state;

pub use state::{ForwardedFrom, PollResult, Reactions, ThreadSummary};

/// What a message's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ContentType {
    /// Text as written.
    #[default]
    Text,
    /// A picture; `content` is its caption.
    Image,
    /// A film; `content` is its caption.
    Video,
    /// A voice note.
    Voice,
    /// A document; `content` is its caption.
    File,
    /// A place.
    Location,
    /// A question with options.
    Poll,
    /// Written by the server.
    System,
    /// Ciphertext that only devices of the members can read.
    Encrypted,
}

impl ContentType {
    /// Whether a message of this type carries a medium.
    #[must_use]
    pub const fn carries_media(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Voice | Self::File)
    }
}

/// The body of `POST /conversations/{id}/read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The last event that was read.
    pub up_to_seq: Seq,
}

/// The fields of `send_message`: the body of `POST .../messages` and, beside
/// `conversation_id`, of the frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The sender's name for the message.
    pub client_msg_id: ClientMessageId,
    /// What it says.
    pub content: String,
    /// What `content` is.
    #[serde(default)]
    pub content_type: ContentType,
    /// The message of the same conversation that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The medium that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_id: Option<MediaId>,
    /// The members that it mentions.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mentions: Vec<UserId>,
    /// The message whose thread it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_root: Option<MessageId>,
    /// When it is to be sent, where that is not now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
}

/// A field that may be absent, null or a list.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl NewMessage {
    /// Checks what can be checked without looking at the conversation.
    ///
    /// # Errors
    /// `payload_too_large` when the content is over 64 KiB; `invalid_request`, with the fields,
    /// for everything else.
    pub fn validate(&self) -> Result<(), Problem> {
        if self.content.len() > limits::CONTENT_BYTES {
            return Err(Problem::new(
                super::problem::Code::PayloadTooLarge,
                format!("content must have at most {} bytes.", limits::CONTENT_BYTES),
            ));
        }
        let mut fields = Fields::new();
        let content_type = self.content_type;
        fields.require(
            content_type != ContentType::System,
            "content_type",
            "must not be system: the server alone writes such messages",
        );
        check_content(&mut fields, content_type, &self.content);
        // Ciphertext may come with an encrypted medium.
        fields.require(
            content_type.carries_media() == self.media_id.is_some()
                || content_type == ContentType::Encrypted,
            "media_id",
            if content_type.carries_media() {
                "is missing"
            } else {
                "does not go with this content_type"
            },
        );
        fields.finish()?;
        check_mentions(&self.mentions)?;
        content::check(content_type, &self.content)
    }
}

/// Notes what is wrong with content of this type, as far as its size and shape go.
pub fn check_content(fields: &mut Fields, content_type: ContentType, content: &str) {
    fields.require(
        content_type != ContentType::Text || content.chars().count() <= limits::TEXT_CHARS,
        "content",
        format!("must have at most {} characters", limits::TEXT_CHARS),
    );
    fields.require(
        content_type.carries_media() || !content.trim().is_empty(),
        "content",
        "must not be blank",
    );
}

/// A message as the members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where it was sent.
    pub conversation_id: ConversationId,
    /// Its event number.
    pub seq: Seq,
    /// Its id.
    pub message_id: MessageId,
    /// The sender's name for it; shown to the sender only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMessageId>,
    /// Who sent it.
    pub sender_id: UserId,
    /// What it says.
    pub content: String,
    /// What `content` is.
    pub content_type: ContentType,
    /// The medium that it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_id: Option<MediaId>,
    /// Where the medium is to be had: see [`media_url`](super::media::media_url).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_url: Option<String>,
    /// What the medium is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<MediaDetails>>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The members that it mentions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// The message whose thread it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_root: Option<MessageId>,
    /// Where it comes from, where it was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<ForwardedFrom>,
    /// When it was last edited, where it was; not shown in the event of its sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it loses its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it was deleted for everyone, or has expired: its content is gone.
    pub is_deleted: bool,
    /// Whether the one who looks has deleted it for themself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_hidden: bool,
    /// Whether it is pinned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_pinned: bool,
    /// How it was reacted to, the first emoji first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reactions>,
    /// How its poll stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<PollResult>,
    /// The thread that hangs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadSummary>,
    /// When the conversation took it.
    pub created_at: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Message {
    /// The first characters of what it says, for lists; empty for encrypted content.
    #[must_use]
    pub fn preview(&self) -> String {
        if self.is_deleted || self.is_hidden {
            return String::new();
        }
        preview(self.content_type, &self.content)
    }

    /// The message as `viewer` sees it: only the sender sees its `client_msg_id`.
    #[must_use]
    pub fn seen_by(mut self, viewer: UserId) -> Self {
        if self.sender_id != viewer {
            self.client_msg_id = None;
        }
        self
    }

    /// The message without what it said: it was deleted, has expired, or is hidden.
    #[must_use]
    pub fn without_content(self) -> Self {
        Self {
            content: String::new(),
            media_id: None,
            media_url: None,
            media: None,
            mentions: Vec::new(),
            forwarded_from: None,
            edited_at: None,
            is_deleted: true,
            is_pinned: false,
            reactions: Vec::new(),
            poll: None,
            ..self
        }
    }
}

/// The first characters of content, for lists. Of a poll they are its question, of a place its
/// name; encrypted content has none.
#[must_use]
pub fn preview(content_type: ContentType, content: &str) -> String {
    let text = match content_type {
        ContentType::Encrypted => String::new(),
        ContentType::Poll => content::Poll::read(content)
            .map(|poll| poll.question)
            .unwrap_or_default(),
        ContentType::Location => content::Location::read(content)
            .ok()
            .and_then(|place| place.name)
            .unwrap_or_default(),
        _ => return content.chars().take(limits::PREVIEW_CHARS).collect(),
    };
    text.chars().take(limits::PREVIEW_CHARS).collect()
}

/// The server's word that a message is stored, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageAck {
    /// The sender's name for the message.
    pub client_msg_id: ClientMessageId,
    /// Where it was sent.
    pub conversation_id: ConversationId,
    /// Its id.
    pub message_id: MessageId,
    /// Its event number.
    pub seq: Seq,
    /// When the conversation took it.
    pub created_at: Timestamp,
    /// How far it has come: `sent`.
    pub status: MessageStatus,
    /// Whether it had been sent before; the rest then tells of the first time.
    pub duplicate: bool,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Stored.
    Sent,
}

/// `GET /conversations/{id}/messages/{message_id}/info`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageInfo {
    /// Which message.
    pub message_id: MessageId,
    /// Its event number.
    pub seq: Seq,
    /// The members, its sender left out, who have read it and let it be known.
    pub read_by: Vec<SeenBy>,
    /// The members whose devices have it.
    pub delivered_to: Vec<SeenBy>,
    /// The members whose devices do not have it yet.
    pub pending: Vec<UserId>,
}

/// A member to whom a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBy {
    /// Who.
    pub user_id: UserId,
    /// When the conversation learned of it.
    pub at: Timestamp,
}

/// A page of messages, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// Where the next page starts, null at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_message(content_type: ContentType, content: &str) -> NewMessage {
        NewMessage {
            client_msg_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            content: content.to_owned(),
            content_type,
            reply_to: None,
            media_id: None,
            mentions: Vec::new(),
            thread_root: None,
            send_at: None,
        }
    }

    #[test]
    fn limits_are_kept_to_the_last_character() {
        let text = |n: usize| new_message(ContentType::Text, &"\u{e9}".repeat(n)).validate();
        assert_eq!(text(limits::TEXT_CHARS), Ok(()));
        assert_eq!(
            text(limits::TEXT_CHARS + 1).unwrap_err().errors[0].field,
            "content"
        );
        let sealed = |n: usize| new_message(ContentType::Encrypted, &"x".repeat(n)).validate();
        assert_eq!(sealed(limits::CONTENT_BYTES), Ok(()));
        assert_eq!(sealed(limits::CONTENT_BYTES + 1).unwrap_err().status, 413);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(new_message(ContentType::Text, " \n").validate().is_err());
        assert!(
            new_message(ContentType::System, "hello")
                .validate()
                .is_err()
        );
        assert!(
            new_message(ContentType::Image, "caption")
                .validate()
                .is_err()
        );
        let mut crowd = new_message(ContentType::Text, "hello");
        crowd.mentions = vec!["00000000-0000-4000-8000-000000000001".parse().unwrap(); 101];
        assert_eq!(crowd.validate().unwrap_err().errors[0].field, "mentions");
    }

    #[test]
    fn absent_and_null_are_the_same() {
        let id = "00000000-0000-4000-8000-000000000001";
        let short: NewMessage =
            serde_json::from_str(&format!(r#"{{"client_msg_id":"{id}","content":"a"}}"#)).unwrap();
        let long: NewMessage = serde_json::from_str(&format!(
            r#"{{"client_msg_id":"{id}","content":"a","content_type":"text","reply_to":null,"media_id":null,"mentions":null}}"#
        ))
        .unwrap();
        assert_eq!(short, long);
    }
}
