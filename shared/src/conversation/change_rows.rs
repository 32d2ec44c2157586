//! The stored form of changes of messages. It is read by every later version: what is written
//! here stays readable.

use serde::{Deserialize, Serialize};

use super::rows::{from_json, to_json};
use crate::ids::{ConversationId, UserId};
use crate::protocol::change::{
    MessageChange, MessageDeleted, MessageEdited, PinChanged, PollClosed, PollVoted,
    ReactionChanged,
};
use crate::protocol::seq::Seq;
use crate::sql::{Row, SqlError, Value};

/// What the `body` column of an edit holds. The edits of a message are a chain, so that all are
/// found when their content is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EditBody {
    /// What the message says.
    pub content: String,
    /// Whom it mentions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// The edit before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Seq>,
}

#[derive(Serialize, Deserialize)]
struct DeleteBody {
    /// The message's author.
    sender_id: UserId,
}

#[derive(Serialize, Deserialize)]
struct ReactionBody {
    emoji: String,
    removed: bool,
}

#[derive(Serialize, Deserialize)]
struct PinBody {
    pinned: bool,
}

#[derive(Serialize, Deserialize)]
struct VoteBody {
    options: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct NoBody {}

const KIND_EDITED: i64 = 20;
const KIND_DELETED: i64 = 21;
const KIND_REACTION: i64 = 22;
const KIND_PIN: i64 = 23;
const KIND_VOTE: i64 = 24;
const KIND_CLOSED: i64 = 25;

/// The kind and the body of a change. `previous` is the edit before, where the change is one.
pub(super) fn write(
    change: &MessageChange,
    previous: Option<Seq>,
) -> Result<(i64, String), SqlError> {
    Ok(match change {
        MessageChange::MessageEdited(edited) => {
            let body = EditBody {
                content: edited.content.clone(),
                mentions: edited.mentions.clone(),
                previous,
            };
            (KIND_EDITED, to_json(&body)?)
        }
        MessageChange::MessageDeleted(deleted) => {
            let sender_id = deleted.sender_id.unwrap_or(deleted.deleted_by);
            (KIND_DELETED, to_json(&DeleteBody { sender_id })?)
        }
        MessageChange::Reaction(reaction) => {
            let body = ReactionBody {
                emoji: reaction.emoji.clone(),
                removed: reaction.removed,
            };
            (KIND_REACTION, to_json(&body)?)
        }
        MessageChange::PinChanged(pin) => {
            let pinned = pin.pinned;
            (KIND_PIN, to_json(&PinBody { pinned })?)
        }
        MessageChange::PollVote(vote) => {
            let options = vote.options.clone();
            (KIND_VOTE, to_json(&VoteBody { options })?)
        }
        MessageChange::PollClosed(_) => (KIND_CLOSED, to_json(&NoBody {})?),
    })
}

/// The change of this kind in a row of [`super::rows::event_columns`], with its body.
pub(super) fn read(
    conversation_id: ConversationId,
    kind: i64,
    row: &Row,
    body: &str,
) -> Result<MessageChange, SqlError> {
    let seq: Seq = row.get(0)?;
    let actor: UserId = row.get(2)?;
    let created_at = row.get(5)?;
    let message_id = row.get(3)?;
    Ok(match kind {
        KIND_EDITED => {
            let EditBody {
                content, mentions, ..
            } = from_json(body)?;
            MessageChange::MessageEdited(MessageEdited {
                conversation_id,
                seq,
                message_id,
                content,
                mentions,
                edited_at: created_at,
            })
        }
        KIND_DELETED => {
            let DeleteBody { sender_id } = from_json(body)?;
            MessageChange::MessageDeleted(MessageDeleted {
                conversation_id,
                seq,
                message_id,
                sender_id: Some(sender_id),
                deleted_by: actor,
                deleted_at: created_at,
            })
        }
        KIND_REACTION => {
            let ReactionBody { emoji, removed } = from_json(body)?;
            MessageChange::Reaction(ReactionChanged {
                conversation_id,
                seq,
                message_id,
                user_id: actor,
                emoji,
                removed,
                created_at,
            })
        }
        KIND_PIN => {
            let PinBody { pinned } = from_json(body)?;
            MessageChange::PinChanged(PinChanged {
                conversation_id,
                seq,
                message_id,
                pinned,
                changed_by: actor,
                created_at,
            })
        }
        KIND_VOTE => {
            let VoteBody { options } = from_json(body)?;
            MessageChange::PollVote(PollVoted {
                conversation_id,
                seq,
                message_id,
                user_id: actor,
                options,
                created_at,
            })
        }
        KIND_CLOSED => {
            let NoBody {} = from_json(body)?;
            MessageChange::PollClosed(PollClosed {
                conversation_id,
                seq,
                message_id,
                closed_by: actor,
                created_at,
            })
        }
        other => {
            return Err(SqlError::unexpected(
                "an event's kind",
                &Value::Integer(other),
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn the_stored_form_of_changes_is_pinned() {
        let stored = |change: &str, previous| {
            let head = format!(
                r#""conversation_id":"{ID}","seq":3,"message_id":"{ID}","created_at":"1970-01-01T00:00:00.000Z""#
            );
            let change = serde_json::from_str(&format!("{{{head},{}}}", change.replace("ID", ID)));
            write(&change.unwrap(), previous).unwrap()
        };
        let at = "1970-01-01T00:00:00.000Z";
        let edited = format!(r#""type":"message_edited","content":"x","edited_at":"{at}""#);
        assert_eq!(
            stored(&edited, Some(Seq::new(2))),
            (20, r#"{"content":"x","previous":2}"#.to_owned())
        );
        let deleted = format!(
            r#""type":"message_deleted","sender_id":"ID","deleted_by":"ID","deleted_at":"{at}""#
        );
        assert_eq!(
            stored(&deleted, None),
            (21, format!(r#"{{"sender_id":"{ID}"}}"#))
        );
        for (change, kind, body) in [
            (
                r#""type":"reaction","user_id":"ID","emoji":"👍","removed":true"#,
                22,
                r#"{"emoji":"👍","removed":true}"#,
            ),
            (
                r#""type":"pin_changed","pinned":true,"changed_by":"ID""#,
                23,
                r#"{"pinned":true}"#,
            ),
            (
                r#""type":"poll_vote","user_id":"ID","options":[1]"#,
                24,
                r#"{"options":[1]}"#,
            ),
            (r#""type":"poll_closed","closed_by":"ID""#, 25, "{}"),
        ] {
            assert_eq!(stored(change, None), (kind, body.to_owned()));
        }
    }
}
