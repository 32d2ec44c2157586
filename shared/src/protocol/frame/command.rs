//! Reading the frames that are about one message.

use serde::Deserialize;

use super::ClientFrame;
use crate::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use crate::protocol::act::{Act, Command, DeleteFor, HideCommand};
use crate::protocol::input;
use crate::protocol::problem::Problem;

/// What all of them say.
#[derive(Deserialize)]
struct About {
    conversation_id: ConversationId,
    message_id: MessageId,
    #[serde(default)]
    client_msg_id: Option<ClientMessageId>,
}

#[derive(Deserialize)]
struct Edit {
    content: String,
    #[serde(default)]
    mentions: Option<Vec<UserId>>,
}

#[derive(Deserialize)]
struct Delete {
    #[serde(default, rename = "for")]
    delete_for: DeleteFor,
}

#[derive(Deserialize)]
struct React {
    emoji: String,
    #[serde(default)]
    remove: bool,
}

#[derive(Deserialize)]
struct Pin {
    #[serde(default)]
    remove: bool,
}

#[derive(Deserialize)]
struct Vote {
    options: Vec<u8>,
}

/// Reads a frame of this type. The parts are read one by one, since a flattened struct would
/// lose the name of the field that does not fit.
pub(super) fn read(kind: &str, bytes: &[u8]) -> Result<ClientFrame, Problem> {
    let About {
        conversation_id,
        message_id,
        client_msg_id,
    } = input::json(bytes)?;
    let act = match kind {
        "edit_message" => {
            let Edit { content, mentions } = input::json(bytes)?;
            Act::Edit { content, mentions }
        }
        "react" => {
            let React { emoji, remove } = input::json(bytes)?;
            Act::React { emoji, remove }
        }
        "pin" => {
            let Pin { remove } = input::json(bytes)?;
            Act::Pin { remove }
        }
        "poll_vote" => {
            let Vote { options } = input::json(bytes)?;
            Act::Vote { options }
        }
        "poll_close" => Act::ClosePoll,
        _ => match input::json::<Delete>(bytes)?.delete_for {
            DeleteFor::Everyone => Act::Delete,
            DeleteFor::Me => {
                return Ok(ClientFrame::Hide(HideCommand {
                    conversation_id,
                    message_id,
                    client_msg_id,
                }));
            }
        },
    };
    Ok(ClientFrame::Act(Command {
        conversation_id,
        message_id,
        act,
        client_msg_id,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn act(rest: &str) -> Act {
        let text = format!(r#"{{"conversation_id":"{ID}","message_id":"{ID}",{rest}}}"#);
        match ClientFrame::parse(&text) {
            Ok(ClientFrame::Act(command)) => {
                assert_eq!(command.message_id, ID.parse().unwrap());
                command.act
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_means_the_common_case() {
        assert_eq!(
            act(r#""type":"edit_message","content":"b""#),
            Act::Edit {
                content: "b".to_owned(),
                mentions: None
            }
        );
        assert_eq!(act(r#""type":"delete_message""#), Act::Delete);
        assert_eq!(
            act(r#""type":"delete_message","for":"everyone""#),
            Act::Delete
        );
        assert_eq!(
            act(r#""type":"react","emoji":"x""#),
            Act::React {
                emoji: "x".to_owned(),
                remove: false
            }
        );
        assert_eq!(
            act(r#""type":"pin","remove":true"#),
            Act::Pin { remove: true }
        );
        assert_eq!(
            act(r#""type":"poll_vote","options":[1]"#),
            Act::Vote { options: vec![1] }
        );
        assert_eq!(act(r#""type":"poll_close""#), Act::ClosePoll);
    }

    #[test]
    fn deleting_for_oneself_is_another_matter() {
        let text = format!(
            r#"{{"type":"delete_message","for":"me","conversation_id":"{ID}","message_id":"{ID}","client_msg_id":"{ID}"}}"#
        );
        let id = ID.parse().unwrap();
        let frame = ClientFrame::parse(&text).unwrap();
        assert_eq!(frame.client_msg_id(), Some(id));
        assert!(matches!(frame, ClientFrame::Hide(hide) if hide.message_id == ID.parse().unwrap()));
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        for (rest, field) in [
            (r#""type":"edit_message""#, "content"),
            (r#""type":"react","emoji":7"#, "emoji"),
            (r#""type":"poll_vote","options":[-1]"#, "options[0]"),
            (r#""type":"delete_message","for":"them""#, "for"),
            (r#""type":"pin","remove":"no""#, "remove"),
        ] {
            let text = format!(
                r#"{{"conversation_id":"{ID}","message_id":"{ID}","client_msg_id":"{ID}",{rest}}}"#
            );
            let bad = ClientFrame::parse(&text).unwrap_err();
            assert_eq!(bad.problem.errors[0].field, field);
            assert_eq!(bad.client_msg_id, Some(ID.parse().unwrap()));
        }
        let bad = ClientFrame::parse(&format!(r#"{{"type":"react","conversation_id":"{ID}"}}"#));
        assert_eq!(bad.unwrap_err().problem.errors[0].field, "message_id");
    }
}
