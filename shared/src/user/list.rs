//! The conversation list: one row a conversation, kept by deliveries.
//!
//! What always holds: `head_seq` only grows, and every event up to it was counted once. A
//! delivery reads with one statement and writes one row at most; one that brings nothing new
//! writes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::{ConversationSummary, Deliver};
use super::hiding::HiddenSeqs;
use super::inbox::Positions;
use super::news::{self, News, Reader};
use super::store::{Store, read_text};
use crate::conversation::call::MemberPosition;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::page;
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::conversation::{
    ConversationItem, ConversationPage, ConversationType, LastMessage, Membership,
};
use crate::protocol::event::Event;
use crate::protocol::problem::ServiceError;
use crate::protocol::seq::Seq;
use crate::protocol::user::Privacy;
use crate::sql::{Param, Row, SqlError};
use crate::time::Timestamp;

/// The columns that show the newest message: its JSON, and when its preview expires.
pub(super) type Shown = (Option<String>, Option<Timestamp>);

pub(super) fn shown(last: Option<&LastMessage>) -> Result<Shown, SqlError> {
    let json = last
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| SqlError::Engine(error.to_string()))?;
    Ok((json, last.and_then(LastMessage::preview_expires_at)))
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
    positions: Positions,
    last_message: Option<LastMessage>,
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// The newest event before; none where the conversation was not known.
    pub before: Option<Seq>,
    /// The newest event now.
    pub head_seq: Seq,
    /// How far the user has come.
    pub position: MemberPosition,
    /// The messages that the user has hidden, among those that the events speak of.
    pub hidden: HiddenSeqs,
    /// Whether messages no longer count that were not read: they were deleted for everyone, or the
    /// user is no longer a member, or is one anew.
    pub counts_less: bool,
    /// When the preview that the list shows now expires, where it is new.
    pub preview_expires_at: Option<Timestamp>,
}

impl Taken {
    /// Of an old delivery of a conversation that the user has taken off the list.
    fn nothing_of(head_seq: Seq, read_receipts: bool) -> Self {
        Self {
            before: Some(head_seq),
            head_seq,
            position: MemberPosition {
                delivered_seq: head_seq,
                read_seq: Seq::ZERO,
                read_receipts,
            },
            hidden: HiddenSeqs::default(),
            counts_less: false,
            preview_expires_at: None,
        }
    }
}

/// What sessions have acknowledged of a conversation and is not written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Unsaved(pub BTreeMap<DeviceId, Seq>);

/// Where the devices are after a delivery.
struct Progress {
    delivered_seq: Seq,
    positions: Option<Vec<u8>>,
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
    /// Takes a delivery; `None` where there is no such user.
    pub fn deliver(self, call: &Deliver, unsaved: &Unsaved) -> Result<Option<Taken>, SqlError> {
        let owner = call.user_id;
        let conversation = &call.conversation;
        let events = call.events.as_slice();
        let id = &conversation.conversation_id;
        let found = self.sql.exec(
            "SELECT p.user_id, c.head_seq, c.name, c.avatar_url, p.privacy, c.read_seq,
                c.delivered_seq, c.positions,
                (SELECT group_concat(hex(device_id), '') FROM device d WHERE d.scope = p.scope),
                c.last_message,
                EXISTS (SELECT 1 FROM inbox_hidden h WHERE h.scope = p.scope
                    AND h.conversation_id = ? AND h.seq > coalesce(c.head_seq, 0)),
                coalesce(c.membership, 0) <> 0, f.head_seq
             FROM profile p
             LEFT JOIN inbox c ON c.scope = p.scope AND c.conversation_id = ?
             LEFT JOIN inbox_forgotten f ON f.scope = p.scope AND f.conversation_id = ?
             WHERE p.scope = ?",
            params![id, id, id, self.scope],
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
                positions: row.get(7)?,
                last_message: read_last(row.get(9)?)?,
            }),
        };
        let read_seq = row.get::<Option<Seq>>(5)?.unwrap_or(Seq::ZERO);
        let acknowledged = unsaved.0.values().max().copied().unwrap_or(Seq::ZERO);
        let delivered_seq = row
            .get::<Option<Seq>>(6)?
            .unwrap_or(Seq::ZERO)
            .max(acknowledged)
            .max(read_seq);
        let privacy: Privacy = read_text(row.get(4)?, "the JSON of privacy settings", |text| {
            serde_json::from_str(text).ok()
        })?;
        let devices = read_text(
            row.get::<Option<String>>(8)?.unwrap_or_default(),
            "ids of devices",
            read_devices,
        )?;
        let forgotten: Option<Seq> = row.get(12)?;
        if let Some(head_seq) =
            forgotten.filter(|head| known.is_none() && call.visible_from <= *head)
        {
            return Ok(Some(Taken::nothing_of(head_seq, privacy.read_receipts)));
        }
        let before = known.as_ref().map(|known| known.head_seq);
        let hides_new: bool = row.get(10)?;
        let hidden = match (hides_new, news::first_target(events)) {
            (true, _) => self.hidden_from(id, Seq::ZERO)?,
            (false, Some(first)) => self.hidden_from(id, first)?,
            (false, None) => HiddenSeqs::default(),
        };
        let reader = Reader {
            owner,
            visible_from: call.visible_from,
            is_former: row.get(11)?,
            read_seq,
            hidden: &hidden,
        };
        let last_message = known.as_ref().and_then(|known| known.last_message.clone());
        let news = reader.news(before, last_message, events);
        let first = events.first().map_or(Seq::new(1), Event::seq);
        let progress = |positions: &Positions, before: Seq| {
            let mut positions = positions.after_delivery(&devices, before, news.head_seq);
            for (device_id, seq) in &unsaved.0 {
                positions.advance(*device_id, *seq, news.head_seq);
            }
            Progress {
                delivered_seq,
                positions: positions.to_bytes(),
            }
        };
        match known {
            None => {
                let before = Seq::new(first.get().saturating_sub(1));
                let progress = progress(&Positions::default(), before);
                self.insert(owner, conversation, &news, &progress)?;
                if forgotten.is_some() {
                    self.remember_conversation(id)?;
                }
            }
            Some(known) => {
                // Events that are all known tell that the delivery is an old one; its summary
                // then is old too. One without events is there for its summary's sake.
                let changes_summary = events.is_empty()
                    && conversation.kind == ConversationType::Group
                    && (known.name != conversation.name
                        || known.avatar_url != conversation.avatar_url);
                if news.has_joined {
                    self.rejoin(id)?;
                }
                if news.events > 0 || changes_summary {
                    let progress = progress(&known.positions, known.head_seq);
                    // What has changed since the user ceased to be a member is not for it.
                    let face = news
                        .farewell
                        .is_some()
                        .then_some((known.name, known.avatar_url));
                    self.update(conversation, face, &news, &progress)?;
                }
            }
        }
        if let Some((membership, farewell)) = &news.farewell {
            self.part(id, *membership, farewell)?;
        }
        for seq in &news.uncounted {
            self.hidden_counts_no_more(id, *seq)?;
        }
        Ok(Some(Taken {
            before,
            head_seq: news.head_seq,
            hidden,
            counts_less: news.has_deletions || news.has_joined || news.farewell.is_some(),
            preview_expires_at: news
                .last_message
                .as_ref()
                .and_then(LastMessage::preview_expires_at),
            position: MemberPosition {
                delivered_seq: delivered_seq.min(news.head_seq),
                read_seq,
                read_receipts: privacy.read_receipts,
            },
        }))
    }

    fn insert(
        self,
        owner: UserId,
        conversation: &ConversationSummary,
        news: &News,
        progress: &Progress,
    ) -> Result<(), SqlError> {
        let (last, expires_at) = shown(news.last_message.as_ref())?;
        let peer = conversation
            .direct_members
            .iter()
            .find(|member| **member != owner);
        let (name, avatar_url) = group_face(conversation);
        self.sql.exec(
            "INSERT INTO inbox (scope, conversation_id, active_at, unread, head_seq,
                created_at, kind, peer_id, name, avatar_url, last_message, member_count, positions,
                preview_expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                &conversation.conversation_id,
                news.active_at.unwrap_or(conversation.created_at),
                news.unread.max(0),
                news.head_seq,
                conversation.created_at,
                kind_word(conversation.kind),
                peer,
                name,
                avatar_url,
                last.as_ref(),
                conversation.member_count,
                progress.positions.as_deref(),
                expires_at,
            ],
        )?;
        Ok(())
    }

    fn update(
        self,
        conversation: &ConversationSummary,
        face: Option<(Option<String>, Option<String>)>,
        news: &News,
        progress: &Progress,
    ) -> Result<(), SqlError> {
        let (last, expires_at) = shown(news.last_message.as_ref())?;
        let (name, avatar_url) = match &face {
            Some((name, avatar_url)) => (name.as_ref(), avatar_url.as_ref()),
            None => group_face(conversation),
        };
        self.sql.exec(
            "UPDATE inbox SET head_seq = ?, unread = max(unread + ?, 0), name = ?, avatar_url = ?,
                preview_expires_at = CASE WHEN ? THEN ? ELSE preview_expires_at END,
                last_message = coalesce(?, last_message), active_at = coalesce(?, active_at),
                member_count = ?, delivered_seq = ?, positions = ?
             WHERE scope = ? AND conversation_id = ?",
            params![
                news.head_seq,
                news.unread,
                name,
                avatar_url,
                last.is_some(),
                expires_at,
                last.as_ref(),
                news.active_at,
                conversation.member_count,
                progress.delivered_seq,
                progress.positions.as_deref(),
                self.scope,
                &conversation.conversation_id,
            ],
        )?;
        Ok(())
    }

    /// Whether there is a direct conversation with a message in it.
    pub fn has_written_in(self, conversation: ConversationId) -> Result<bool, SqlError> {
        let found = self.sql.exec(
            "SELECT 1 FROM inbox
             WHERE scope = ? AND conversation_id = ? AND last_message IS NOT NULL",
            params![self.scope, &conversation],
        )?;
        Ok(found.first().is_some())
    }

    /// A page of the list, as it is shown at `now`.
    pub fn conversations(
        self,
        archived: bool,
        cursor: Option<&str>,
        limit: u32,
        now: Timestamp,
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
                    muted_until, kind, peer_id, name, avatar_url, last_message, notify, membership
                 FROM inbox
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
        let total_unread = self.total_unread()?;
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > size;
        let items = rows
            .iter()
            .take(size)
            .map(|row| read_item(row, now))
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

/// The newest message, as it is stored.
pub(super) fn read_last(json: Option<String>) -> Result<Option<LastMessage>, SqlError> {
    json.map(|json| {
        read_text(json, "the JSON of a last message", |text| {
            serde_json::from_str(text).ok()
        })
    })
    .transpose()
}

/// Ids in hexadecimal, one behind the other.
fn read_devices(text: &str) -> Option<Vec<DeviceId>> {
    let (ids, rest) = text.as_bytes().as_chunks::<32>();
    let ids = ids.iter().map(|id| {
        let id = std::str::from_utf8(id).ok()?;
        let id = u128::from_str_radix(id, 16).ok()?;
        Some(DeviceId::from_uuid(uuid::Uuid::from_u128(id)))
    });
    ids.collect::<Option<Vec<_>>>().filter(|_| rest.is_empty())
}

/// A group's name and picture. A direct conversation has the other user's, which are not kept.
fn group_face(conversation: &ConversationSummary) -> (Option<&String>, Option<&String>) {
    match conversation.kind {
        ConversationType::Group => (conversation.name.as_ref(), conversation.avatar_url.as_ref()),
        ConversationType::Direct => (None, None),
    }
}

fn read_item(row: &Row, now: Timestamp) -> Result<(ConversationItem, Position), SqlError> {
    let membership: Membership = row.get(14)?;
    let last_msg = read_last(row.get(12)?)?.map(|last| match membership {
        Membership::Member => last.shown_at(now),
        _ if planted::is_on(Bug::PreviewStays) => last,
        _ => last.without_preview(),
    });
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
        notify: row.get(13)?,
        membership,
    };
    Ok((item, position))
}
