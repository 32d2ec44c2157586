//! `send_message` read in one go, as nearly every one can be. What this does not take is read
//! again, piece by piece, by [`super::ClientFrame::parse`], which says what is wrong.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::SendMessage;
use crate::ids::{ClientMessageId, ConversationId, MediaId, MessageId, UserId};
use crate::protocol::message::{ContentType, NewMessage, null_is_default};
use crate::time::Timestamp;

/// How a frame begins whose client writes its fields in the order of the protocol.
const BEGINNING: &str = r#"{"type":"send_message","#;

/// The fields of [`SendMessage`], none of them flattened: serde would read those twice.
#[derive(Deserialize)]
struct Whole {
    /// Seen already; here so that a second one is an error.
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    conversation_id: ConversationId,
    client_msg_id: ClientMessageId,
    content: String,
    #[serde(default)]
    content_type: ContentType,
    #[serde(default)]
    reply_to: Option<MessageId>,
    #[serde(default)]
    media_id: Option<MediaId>,
    #[serde(default, deserialize_with = "null_is_default")]
    mentions: Vec<UserId>,
    #[serde(default)]
    thread_root: Option<MessageId>,
    #[serde(default)]
    send_at: Option<Timestamp>,
}

/// The frame, where it is a whole `send_message` that begins as most do.
pub(super) fn send_message(text: &str) -> Option<SendMessage> {
    if !text.starts_with(BEGINNING) {
        return None;
    }
    let whole: Whole = serde_json::from_str(text).ok()?;
    Some(SendMessage {
        conversation_id: whole.conversation_id,
        message: NewMessage {
            client_msg_id: whole.client_msg_id,
            content: whole.content,
            content_type: whole.content_type,
            reply_to: whole.reply_to,
            media_id: whole.media_id,
            mentions: whole.mentions,
            thread_root: whole.thread_root,
            send_at: whole.send_at,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::ClientFrame;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn read_in_one_go_or_in_pieces_a_message_is_the_same() {
        let fields = format!(
            r#""conversation_id":"{ID}","client_msg_id":"{ID}","content":"a \"b\"","content_type":"image","reply_to":"{ID}","media_id":"{ID}","mentions":["{ID}"],"thread_root":"{ID}","send_at":"2026-11-25T00:00:00.000Z","more":{{"type":"x"}}"#
        );
        let short = format!(
            r#""conversation_id":"{ID}","client_msg_id":"{ID}","content":"c","mentions":null,"reply_to":null"#
        );
        for fields in [fields, short] {
            let whole = send_message(&format!(r#"{{"type":"send_message",{fields}}}"#)).unwrap();
            let pieces = ClientFrame::parse(&format!(r#"{{{fields},"type":"send_message"}}"#));
            assert_eq!(pieces.unwrap(), ClientFrame::SendMessage(whole));
        }
    }

    #[test]
    fn what_is_wrong_is_left_to_be_told_piece_by_piece() {
        for bad in [
            r#"{"type":"send_message",}"#,
            r#"{"type":"send_message","content":5}"#,
            r#"{"type":"send_message","type":"ack"}"#,
        ] {
            assert_eq!(send_message(bad), None, "{bad}");
            assert!(ClientFrame::parse(bad).is_err(), "{bad}");
        }
    }
}
