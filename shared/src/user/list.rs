//! The conversation list: one row a conversation, kept by deliveries.
//!
//! What always holds: `head_seq` only grows, and every event up to it was counted once. A
//! delivery reads with one statement and writes one row at most; one that brings nothing new
//! writes nothing.

use serde::{Deserialize, Serialize};

use super::call::ConversationSummary;
use super::store::{Store, read_text};
use crate::ids::{ConversationId, UserId};
use crate::page;
use crate::params;
use crate::protocol::conversation::{
    ConversationItem, ConversationPage, ConversationType, LastMessage,
};
use crate::protocol::event::Event;
use crate::protocol::message::Message;
use crate::protocol::problem::ServiceError;
use crate::protocol::seq::Seq;
use crate::sql::{Param, Row, SqlError};
use crate::time::Timestamp;

/// What a delivery brings.
#[derive(Debug, PartialEq, Eq)]
struct News<'a> {
    head_seq: Seq,
    /// New messages of others.
    unread: u32,
    last_message: Option<&'a Message>,
    /// How many events are new.
    events: u32,
}

/// The events that follow `known`, up to the first gap. Where nothing is known the first event
/// may have any seq: one who joins later begins there.
fn news(known: Option<Seq>, events: &[Event], owner: UserId) -> News<'_> {
    let mut news = News {
        head_seq: known.unwrap_or(Seq::ZERO),
        unread: 0,
        last_message: None,
        events: 0,
    };
    let mut may_begin = known.is_none();
    for event in events {
        let seq = event.seq();
        if seq <= news.head_seq {
            continue;
        }
        if seq != news.head_seq.next() && !may_begin {
            break;
        }
        may_begin = false;
        news.head_seq = seq;
        news.events = news.events.saturating_add(1);
        if let Some(message) = event.as_message() {
            news.last_message = Some(message);
            if message.sender_id != owner {
                news.unread = news.unread.saturating_add(1);
            }
        }
    }
    news
}

/// The columns that show `message`: its JSON and its time.
fn shown(message: &Message) -> Result<(String, Timestamp), SqlError> {
    let last = LastMessage {
        message_id: message.message_id,
        seq: message.seq,
        sender_id: message.sender_id,
        content_type: message.content_type,
        preview: message.preview(),
        created_at: message.created_at,
    };
    let json = serde_json::to_string(&last).map_err(|error| SqlError::Engine(error.to_string()))?;
    Ok((json, message.created_at))
}

const fn kind_word(kind: ConversationType) -> &'static str {
    match kind {
        ConversationType::Direct => "direct",
        ConversationType::Group => "group",
    }
}

fn read_kind(word: &str) -> Option<ConversationType> {
    match word {
        "direct" => Some(ConversationType::Direct),
        "group" => Some(ConversationType::Group),
        _ => None,
    }
}

/// What a row held before a delivery.
struct Known {
    head_seq: Seq,
    name: Option<String>,
    avatar_url: Option<String>,
}

/// Where a list page begins: after this item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    #[serde(rename = "p")]
    pinned: bool,
    #[serde(rename = "t")]
    active_at: Timestamp,
    #[serde(rename = "i")]
    id: ConversationId,
}

impl Store<'_> {
    /// Takes a delivery to `owner`, and answers how far the row has come; `None` where there is
    /// no such user.
    pub fn deliver(
        self,
        owner: UserId,
        conversation: &ConversationSummary,
        events: &[Event],
    ) -> Result<Option<Seq>, SqlError> {
        let id = &conversation.conversation_id;
        let found = self.sql.exec(
            "SELECT p.user_id, c.head_seq, c.name, c.avatar_url
             FROM profile p
             LEFT JOIN conversation c ON c.scope = p.scope AND c.conversation_id = ?
             WHERE p.scope = ?",
            params![id, self.scope],
        )?;
        let Some(row) = found.first() else {
            return Ok(None);
        };
        if row.get::<UserId>(0)? != owner {
            return Ok(None);
        }
        let known = match row.get::<Option<Seq>>(1)? {
            None => None,
            Some(head_seq) => Some(Known {
                head_seq,
                name: row.get(2)?,
                avatar_url: row.get(3)?,
            }),
        };
        let news = news(known.as_ref().map(|known| known.head_seq), events, owner);
        match known {
            None => self.insert(owner, conversation, &news)?,
            Some(known) => {
                // Events that are all known tell that the delivery is an old one; its summary
                // then is old too. One without events is there for its summary's sake.
                let changes_summary = events.is_empty()
                    && conversation.kind == ConversationType::Group
                    && (known.name != conversation.name
                        || known.avatar_url != conversation.avatar_url);
                if news.events > 0 || changes_summary {
                    self.update(conversation, &news)?;
                }
            }
        }
        Ok(Some(news.head_seq))
    }

    fn insert(
        self,
        owner: UserId,
        conversation: &ConversationSummary,
        news: &News<'_>,
    ) -> Result<(), SqlError> {
        let last = news.last_message.map(shown).transpose()?;
        let peer = conversation
            .direct_members
            .iter()
            .find(|member| **member != owner);
        let (name, avatar_url) = group_face(conversation);
        self.sql.exec(
            "INSERT INTO conversation (scope, conversation_id, active_at, unread, head_seq,
                created_at, kind, peer_id, name, avatar_url, last_message)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                &conversation.conversation_id,
                last.as_ref().map_or(conversation.created_at, |(_, at)| *at),
                news.unread,
                news.head_seq,
                conversation.created_at,
                kind_word(conversation.kind),
                peer,
                name,
                avatar_url,
                last.as_ref().map(|(json, _)| json),
            ],
        )?;
        Ok(())
    }

    fn update(self, conversation: &ConversationSummary, news: &News<'_>) -> Result<(), SqlError> {
        let last = news.last_message.map(shown).transpose()?;
        let (name, avatar_url) = group_face(conversation);
        self.sql.exec(
            "UPDATE conversation SET head_seq = ?, unread = unread + ?, name = ?, avatar_url = ?,
                last_message = coalesce(?, last_message), active_at = coalesce(?, active_at)
             WHERE scope = ? AND conversation_id = ?",
            params![
                news.head_seq,
                news.unread,
                name,
                avatar_url,
                last.as_ref().map(|(json, _)| json),
                last.as_ref().map(|(_, at)| *at),
                self.scope,
                &conversation.conversation_id,
            ],
        )?;
        Ok(())
    }

    /// Whether there is a direct conversation with a message in it.
    pub fn has_written_in(self, conversation: ConversationId) -> Result<bool, SqlError> {
        let found = self.sql.exec(
            "SELECT 1 FROM conversation
             WHERE scope = ? AND conversation_id = ? AND last_message IS NOT NULL",
            params![self.scope, &conversation],
        )?;
        Ok(found.first().is_some())
    }

    /// A page of the list.
    pub fn conversations(
        self,
        archived: bool,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<ConversationPage, ServiceError> {
        let limit = limit.clamp(1, crate::limits::CONVERSATIONS_PAGE.most);
        let from = cursor.map(page::position::<Position>).transpose()?;
        // The order's key, all ascending; before every item where there is no cursor.
        let from = from.as_ref().map_or(
            [Param::Integer(-2), Param::Integer(0), Param::Blob(&[])],
            |from| {
                [
                    Param::Integer(-i64::from(from.pinned)),
                    Param::Integer(from.active_at.as_millis().saturating_neg()),
                    Param::from(&from.id),
                ]
            },
        );
        let [pinned, active_at, id] = from;
        let rows = self
            .sql
            .exec(
                "SELECT conversation_id, pinned, archived, active_at, unread, head_seq, read_seq,
                    muted_until, kind, peer_id, name, avatar_url, last_message
                 FROM conversation
                 WHERE scope = ? AND archived = ?
                    AND (-pinned, -active_at, conversation_id) > (?, ?, ?)
                 ORDER BY -pinned, -active_at, conversation_id LIMIT ?",
                &[
                    Param::from(self.scope),
                    Param::from(archived),
                    pinned,
                    active_at,
                    id,
                    Param::from(limit.saturating_add(1)),
                ],
            )?
            .rows;
        let total_unread = self
            .sql
            .exec(
                "SELECT coalesce(sum(unread), 0) FROM conversation WHERE scope = ? AND archived = 0",
                params![self.scope],
            )?
            .scalar()?
            .unwrap_or(0);
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > size;
        let items = rows
            .iter()
            .take(size)
            .map(read_item)
            .collect::<Result<Vec<_>, _>>()?;
        let next_cursor = items
            .last()
            .filter(|_| has_more)
            .map(|(_, position)| page::cursor(position));
        Ok(ConversationPage {
            conversations: items.into_iter().map(|(item, _)| item).collect(),
            next_cursor,
            has_more,
            total_unread,
        })
    }
}

/// A group's name and picture. A direct conversation has the other user's, which are not kept.
fn group_face(conversation: &ConversationSummary) -> (Option<&String>, Option<&String>) {
    match conversation.kind {
        ConversationType::Group => (conversation.name.as_ref(), conversation.avatar_url.as_ref()),
        ConversationType::Direct => (None, None),
    }
}

fn read_item(row: &Row) -> Result<(ConversationItem, Position), SqlError> {
    let last_msg = row
        .get::<Option<String>>(12)?
        .map(|json| {
            read_text(json, "the JSON of a last message", |text| {
                serde_json::from_str::<LastMessage>(text).ok()
            })
        })
        .transpose()?;
    let position = Position {
        id: row.get(0)?,
        pinned: row.get(1)?,
        active_at: row.get(3)?,
    };
    let item = ConversationItem {
        id: position.id,
        kind: read_text(row.get(8)?, "a kind of conversation", read_kind)?,
        name: row.get(10)?,
        avatar_url: row.get(11)?,
        peer_id: row.get(9)?,
        last_message_at: last_msg.as_ref().map(|last| last.created_at),
        last_msg,
        unread: row.get(4)?,
        head_seq: row.get(5)?,
        read_seq: row.get(6)?,
        muted_until: row.get(7)?,
        archived: row.get(2)?,
        pinned: position.pinned,
    };
    Ok((item, position))
}
