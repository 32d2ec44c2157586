//! Socket frames, one JSON object each.
//!
//! [`ClientFrame::parse`] reads what a client sent, [`ServerFrame::to_text`] writes what it is
//! sent. A frame of an unknown type is an error to the server and ignored by clients.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::act::{Command, HideCommand, Scheduled};
use super::conversation::ConversationSettings;
use super::event::Event;
use super::input;
use super::message::{MessageAck, NewMessage};
use super::problem::{Code, Problem};
use super::seq::Seq;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, UserId};
use crate::time::Timestamp;

mod command;
mod whole;

/// The keep-alive frame, to the letter: the runtime answers it without waking the object.
pub const PING: &str = r#"{"type":"ping"}"#;
/// The answer to [`PING`].
pub const PONG: &str = r#"{"type":"pong"}"#;

/// The subprotocol that the server speaks.
pub const SUBPROTOCOL: &str = "parlance.v1";

/// Why the server closed a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// 4000: the client broke the protocol (a binary or oversized frame).
    ProtocolError,
    /// 4000: a newer session of the same device took over.
    Replaced,
    /// 4001: the token has expired or was revoked.
    TokenExpired,
    /// 4003: no longer a member.
    NotMember,
    /// 4008: the client does not read, or does not acknowledge, what it is sent.
    SlowConsumer,
    /// 1012: the server cannot go on with this socket: connect again at once.
    Restart,
    /// 4029: the client goes on sending over its limit.
    RateLimited,
}

impl CloseCode {
    /// The number on the wire (RFC 6455, section 7.4.2).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::ProtocolError | Self::Replaced => 4000,
            Self::TokenExpired => 4001,
            Self::NotMember => 4003,
            Self::Restart => 1012,
            Self::SlowConsumer => 4008,
            Self::RateLimited => 4029,
        }
    }
}

/// What a client asks on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientFrame {
    /// `send_message`
    SendMessage(SendMessage),
    /// `ack`: everything up to here has reached this device.
    Ack(Ack),
    /// `sync`: the events after a seq, again.
    Sync(Sync),
    /// `read_receipt`: everything up to here has been read.
    ReadReceipt(ReadPosition),
    /// `typing_start`
    TypingStart(Typing),
    /// `typing_stop`
    TypingStop(Typing),
    /// `presence_subscribe`
    PresenceSubscribe(PresenceSubscribe),
    /// `ping` that was not written to the letter, so that the runtime did not answer it.
    Ping,
    /// `edit_message`, `delete_message`, `react`, `pin`, `poll_vote`, `poll_close`
    Act(Command),
    /// `delete_message` for oneself
    Hide(HideCommand),
}

/// `send_message`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessage {
    /// Where to.
    pub conversation_id: ConversationId,
    /// What.
    #[serde(flatten)]
    pub message: NewMessage,
}

/// `ack`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The last event that has arrived.
    pub up_to_seq: Seq,
}

/// `sync`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The last event that the client has.
    pub after_seq: Seq,
}

/// `read_receipt`, as a client sends it
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPosition {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The last event that was read.
    pub up_to_seq: Seq,
}

/// `typing_start` and `typing_stop`, as a client sends them
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// Where.
    pub conversation_id: ConversationId,
}

/// `presence_subscribe`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceSubscribe {
    /// Whose presence, in place of the former list; at most 200.
    pub user_ids: Vec<UserId>,
}

/// A frame that could not be read: what to tell the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// What is wrong.
    pub problem: Problem,
    /// The client's name for the message, where the frame had a readable one.
    pub client_msg_id: Option<ClientMessageId>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Named {
    client_msg_id: ClientMessageId,
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`BadFrame`], to be told to the client; the socket stays open.
    pub fn parse(text: &str) -> Result<Self, Box<BadFrame>> {
        Self::read(text).map_err(|problem| {
            Box::new(BadFrame {
                problem,
                client_msg_id: serde_json::from_str::<Named>(text)
                    .ok()
                    .map(|named| named.client_msg_id),
            })
        })
    }

    /// The client's name for what it asks, with which a refusal names it.
    #[must_use]
    pub const fn client_msg_id(&self) -> Option<ClientMessageId> {
        match self {
            Self::SendMessage(send) => Some(send.message.client_msg_id),
            Self::Act(command) => command.client_msg_id,
            Self::Hide(command) => command.client_msg_id,
            _ => None,
        }
    }

    fn read(text: &str) -> Result<Self, Problem> {
        if let Some(send) = whole::send_message(text) {
            return Ok(Self::SendMessage(send));
        }
        let bytes = text.as_bytes();
        let envelope: Envelope = input::json(bytes)?;
        match envelope.kind.as_str() {
            "send_message" => {
                // The two halves are read one by one, since a flattened struct would lose the
                // name of the field that does not fit.
                let Target { conversation_id } = input::json(bytes)?;
                let message = input::json(bytes)?;
                Ok(Self::SendMessage(SendMessage {
                    conversation_id,
                    message,
                }))
            }
            "ack" => input::json(bytes).map(Self::Ack),
            "sync" => input::json(bytes).map(Self::Sync),
            "read_receipt" => input::json(bytes).map(Self::ReadReceipt),
            "typing_start" => input::json(bytes).map(Self::TypingStart),
            "typing_stop" => input::json(bytes).map(Self::TypingStop),
            "presence_subscribe" => input::json(bytes).map(Self::PresenceSubscribe),
            "ping" => Ok(Self::Ping),
            "edit_message" | "delete_message" | "react" | "pin" | "poll_vote" | "poll_close" => {
                command::read(&envelope.kind, bytes)
            }
            _ => Err(Problem::invalid_field(
                "type",
                "is not a frame that this server knows",
            )),
        }
    }
}

#[derive(Deserialize)]
struct Target {
    conversation_id: ConversationId,
}

/// What the server says on a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // Nearly all frames are messages.
pub enum ServerFrame {
    /// The socket is open.
    AuthAck(AuthAck),
    /// The message is stored.
    MsgAck(MessageAck),
    /// Too much lies between the client's position and the head: page from history.
    SyncGap {
        /// Which conversation.
        conversation_id: ConversationId,
        /// The first event that was not sent.
        from_seq: Seq,
        /// The newest event.
        head_seq: Seq,
    },
    /// The other side's devices have it.
    DeliveryReceipt(Receipt),
    /// The other side has read it.
    ReadReceipt(Receipt),
    /// Someone is writing.
    TypingStart(TypingNotice),
    /// Someone has stopped.
    TypingStop(TypingNotice),
    /// Someone has come or gone.
    PresenceUpdate(PresenceUpdate),
    /// Read on another device of the same user.
    ConversationRead {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Up to where.
        up_to_seq: Seq,
        /// How many messages of others lie after that.
        unread: u64,
    },
    /// Set on another device of the same user.
    ConversationSettings(ConversationSettings),
    /// Taken off the list on another device of the same user.
    ConversationForgotten {
        /// Which conversation.
        conversation_id: ConversationId,
        /// The last event that the list had of it: what comes after is of another membership.
        up_to_seq: Seq,
    },
    /// The user has deleted a message for themself.
    MessageHidden {
        /// Where.
        conversation_id: ConversationId,
        /// Which.
        message_id: MessageId,
    },
    /// The message will be sent later.
    MessageScheduled(Box<Scheduled>),
    /// Several frames in one message, in order.
    Batch {
        /// The frames.
        frames: Vec<ServerFrame>,
    },
    /// Everything that was waiting for the device has been sent.
    SyncComplete {
        /// Unread messages in all conversations that are not archived.
        total_unread: u64,
    },
    /// The answer to a `ping` that the runtime did not answer.
    Pong,
    /// Something could not be done.
    Error(ErrorFrame),
    /// A change of a conversation.
    #[serde(untagged)]
    Event(Event),
}

/// `delivery_receipt` and `read_receipt`, as the server sends them
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where.
    pub conversation_id: ConversationId,
    /// The newest message of the one who is told that lies within.
    pub message_id: MessageId,
    /// Up to where.
    pub up_to_seq: Seq,
    /// Whose devices, or who.
    pub user_id: UserId,
}

/// `typing_start` and `typing_stop`, as the server sends them
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingNotice {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub user_id: UserId,
}

/// Whether someone is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    /// A device is connected.
    Online,
    /// None is, or the viewer may not know.
    Offline,
}

/// `presence_update`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceUpdate {
    /// Who.
    pub user_id: UserId,
    /// Here or not.
    pub status: PresenceStatus,
    /// When last here; null while online, never seen, or where the viewer may not know.
    pub last_seen: Option<Timestamp>,
}

/// `auth_ack`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthAck {
    /// Who this socket speaks for.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// The server's clock.
    pub server_time: Timestamp,
    /// How often to ping, in seconds.
    pub heartbeat_seconds: u64,
    /// On a conversation's socket: its newest event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_seq: Option<Seq>,
}

impl AuthAck {
    /// The first frame of a socket.
    #[must_use]
    pub fn new(
        user_id: UserId,
        device_id: DeviceId,
        now: Timestamp,
        heartbeat: Duration,
        head_seq: Option<Seq>,
    ) -> Self {
        Self {
            user_id,
            device_id,
            server_time: now,
            heartbeat_seconds: heartbeat.as_secs(),
            head_seq,
        }
    }
}

/// `error`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// The stable word.
    pub code: Code,
    /// What happened.
    pub detail: String,
    /// The message that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMessageId>,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl From<BadFrame> for ServerFrame {
    fn from(bad: BadFrame) -> Self {
        Self::Error(ErrorFrame {
            code: bad.problem.code,
            detail: bad.problem.detail,
            client_msg_id: bad.client_msg_id,
            retry_after_ms: bad.problem.retry_after_ms,
        })
    }
}

impl ServerFrame {
    /// The frame as it goes over the wire.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Frames are plain structs with string keys, which always serialize; were one not to,
        // the client is told of a fault rather than sent nothing.
        serde_json::to_string(self).unwrap_or_else(|_| {
            r#"{"type":"error","code":"internal","detail":"A frame could not be written."}"#
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn a_frame_that_does_not_fit_names_its_field_and_its_message() {
        let bad = ClientFrame::parse(&format!(
            r#"{{"type":"send_message","conversation_id":"{ID}","client_msg_id":"{ID}","content":5}}"#
        ))
        .unwrap_err();
        assert_eq!(bad.problem.errors[0].field, "content");
        assert_eq!(bad.client_msg_id, Some(ID.parse().unwrap()));
        let bad = ClientFrame::parse(&format!(
            r#"{{"type":"ack","up_to_seq":-1,"conversation_id":"{ID}"}}"#
        ));
        assert_eq!(bad.unwrap_err().problem.errors[0].field, "up_to_seq");
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"type":3}"#,
            r#"{"type":"dance"}"#,
            "\u{fffd}",
        ] {
            assert!(ClientFrame::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_wire_form_of_server_frames_is_pinned() {
        let ack = ServerFrame::MsgAck(MessageAck {
            client_msg_id: ID.parse().unwrap(),
            conversation_id: ID.parse().unwrap(),
            message_id: ID.parse().unwrap(),
            seq: Seq::new(3),
            created_at: Timestamp::from_millis(0),
            status: super::super::message::MessageStatus::Sent,
            duplicate: false,
        });
        assert_eq!(
            ack.to_text(),
            format!(
                r#"{{"type":"msg_ack","client_msg_id":"{ID}","conversation_id":"{ID}","message_id":"{ID}","seq":3,"created_at":"1970-01-01T00:00:00.000Z","status":"sent","duplicate":false}}"#
            )
        );
        assert_eq!(ServerFrame::Pong.to_text(), PONG);
    }
}
