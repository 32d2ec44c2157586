//! The statements that read messages as they are now: edited, deleted, reacted to, voted in,
//! pinned, answered in threads. Nothing here decides anything.
//!
//! What always holds: a message that was deleted or has expired shows nothing of what it said,
//! and nothing of what was done with it; one that the viewer has hidden is left out.

use std::collections::BTreeMap;

use super::change_rows::EditBody;
use super::rows::{event_columns, event_tables, from_json, read_event};
use super::store::{Store, Viewer};
use crate::ids::{ConversationId, MessageId, UserId};
use crate::limits;
use crate::params;
use crate::protocol::content::Poll;
use crate::protocol::event::Event;
use crate::protocol::message::{ContentType, Message, PollResult, Reactions, ThreadSummary};
use crate::protocol::seq::Seq;
use crate::sql::{Row, Sql, SqlError};
use crate::time::Timestamp;

/// Messages with what has become of them; what follows narrows them down. The first parameter is
/// the viewer.
macro_rules! messages {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            ", x.body, x.created_at, p.seq IS NOT NULL, s.closed_seq IS NOT NULL,
             coalesce(s.replies, 0), s.last_reply_at, p.pin_seq, x.seq",
            event_tables!(),
            "LEFT JOIN event x ON x.scope = s.scope AND x.seq = s.edit_seq
             LEFT JOIN pinned_message p ON p.scope = e.scope AND p.seq = e.seq ",
            $rest
        )
    };
}

/// A message that is pinned, and the event that pinned it.
pub(super) struct Pinned {
    pub message: Message,
    pub pin_seq: Seq,
}

impl<S: Sql> Store<'_, S> {
    /// Up to `limit` messages before `before`, or the newest, newest first, ending early once
    /// they come to `bytes` bytes of stored bodies.
    pub(super) fn messages_before(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        before: Option<Seq>,
        limit: u32,
        bytes: usize,
    ) -> Result<Vec<Message>, SqlError> {
        let read = |position, asked| {
            self.sql.exec(
                messages!(
                    "WHERE e.scope = ? AND e.seq < ? AND e.seq >= ? AND e.kind = 0
                        AND h.seq IS NULL
                     ORDER BY e.seq DESC LIMIT ?"
                ),
                params![
                    viewer.user_id.as_ref(),
                    self.scope,
                    position,
                    viewer.visible_from,
                    asked
                ],
            )
        };
        self.page(conversation_id, viewer, before, limit, bytes, read)
    }

    /// As [`Self::messages_before`], of the replies in one thread.
    pub(super) fn replies_before(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        root: Seq,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Message>, SqlError> {
        let read = |position, asked| {
            self.sql.exec(
                messages!(
                    "WHERE e.scope = ? AND e.seq IN (
                        SELECT seq FROM thread_reply
                        WHERE scope = ? AND root_seq = ? AND seq < ? AND seq >= ?)
                        AND h.seq IS NULL
                     ORDER BY e.seq DESC LIMIT ?"
                ),
                params![
                    viewer.user_id.as_ref(),
                    self.scope,
                    self.scope,
                    root,
                    position,
                    viewer.visible_from,
                    asked
                ],
            )
        };
        self.page(
            conversation_id,
            viewer,
            before,
            limit,
            limits::PAGE_BYTES,
            read,
        )
    }

    /// The message `seq`, unless the viewer may not see it or has hidden it.
    pub(super) fn message_at(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        seq: Seq,
    ) -> Result<Option<Message>, SqlError> {
        let before = Some(seq.next());
        let viewer = Viewer {
            visible_from: viewer.visible_from.max(seq),
            ..viewer
        };
        let found = self.messages_before(conversation_id, viewer, before, 1, 1)?;
        Ok(found.into_iter().next())
    }

    /// The messages that are pinned and that the viewer sees, the one pinned last first.
    pub(super) fn pinned(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
    ) -> Result<Vec<Pinned>, SqlError> {
        let rows = self.sql.exec(
            messages!(
                "WHERE e.scope = ? AND e.seq IN (
                    SELECT seq FROM pinned_message WHERE scope = ? AND seq >= ?)
                    AND h.seq IS NULL
                 ORDER BY p.pin_seq DESC LIMIT ?"
            ),
            params![
                viewer.user_id.as_ref(),
                self.scope,
                self.scope,
                viewer.visible_from,
                u32::try_from(limits::PINS).unwrap_or(u32::MAX)
            ],
        )?;
        let mut pins = Vec::new();
        let mut messages = Vec::new();
        for row in &rows.rows {
            let (event, _) = read_message(self, conversation_id, viewer, row)?;
            if let Event::NewMessage(message) = event {
                pins.push(row.get::<Seq>(16)?);
                messages.push(message);
            }
        }
        self.decorate(&mut messages, viewer)?;
        Ok(messages
            .into_iter()
            .zip(pins)
            .map(|(message, pin_seq)| Pinned { message, pin_seq })
            .collect())
    }

    fn page(
        &self,
        conversation_id: ConversationId,
        viewer: Viewer,
        before: Option<Seq>,
        limit: u32,
        bytes: usize,
        read: impl Fn(Seq, u32) -> Result<crate::sql::Rows, SqlError>,
    ) -> Result<Vec<Message>, SqlError> {
        let before = before.unwrap_or(Seq::BEYOND);
        let parse = |row: &Row| read_message(self, conversation_id, viewer, row);
        let events = self.gather(before, limit, bytes, read, parse)?;
        let mut messages: Vec<_> = events.into_iter().filter_map(Event::into_message).collect();
        self.decorate(&mut messages, viewer)?;
        Ok(messages)
    }

    /// Adds reactions and votes.
    fn decorate(&self, messages: &mut [Message], viewer: Viewer) -> Result<(), SqlError> {
        let seqs = messages.iter().map(|message| message.seq);
        let (Some(first), Some(last)) = (seqs.clone().min(), seqs.max()) else {
            return Ok(());
        };
        let mut reactions = self.reactions(viewer, first, last)?;
        for message in messages.iter_mut().filter(|message| !message.is_deleted) {
            message.reactions = reactions.remove(&message.seq).unwrap_or_default();
            if let Some(poll) = &mut message.poll {
                self.count_votes(message.seq, viewer, poll)?;
            }
        }
        Ok(())
    }

    /// How the messages from `first` to `last` were reacted to.
    fn reactions(
        &self,
        viewer: Viewer,
        first: Seq,
        last: Seq,
    ) -> Result<BTreeMap<Seq, Vec<Reactions>>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, emoji, number, reacted, user_id FROM (
                SELECT seq, emoji, user_id, reacted_seq, count(*) OVER emojis AS number,
                    coalesce(max(user_id = ?) OVER emojis, 0) AS reacted,
                    min(reacted_seq) OVER emojis AS began,
                    row_number() OVER (PARTITION BY seq, emoji ORDER BY reacted_seq) AS place
                FROM message_reaction
                WHERE scope = ? AND seq >= ? AND seq <= ? AND is_removed = 0
                WINDOW emojis AS (PARTITION BY seq, emoji))
             WHERE place <= ? ORDER BY seq, began, place",
            params![
                viewer.user_id.as_ref(),
                self.scope,
                first,
                last,
                limits::REACTION_USERS
            ],
        )?;
        let mut found: BTreeMap<Seq, Vec<Reactions>> = BTreeMap::new();
        for row in &rows.rows {
            let emoji: String = row.get(1)?;
            let user_id = row.get(4)?;
            let of_message = found.entry(row.get(0)?).or_default();
            match of_message.last_mut() {
                Some(last) if last.emoji == emoji => last.user_ids.push(user_id),
                _ => of_message.push(Reactions {
                    emoji,
                    count: row.get(2)?,
                    reacted: row.get(3)?,
                    user_ids: vec![user_id],
                }),
            }
        }
        Ok(found)
    }

    fn count_votes(&self, seq: Seq, viewer: Viewer, poll: &mut PollResult) -> Result<(), SqlError> {
        let rows = self.sql.exec(
            "SELECT options, count(*), coalesce(max(user_id = ?), 0) FROM poll_vote
             WHERE scope = ? AND seq = ? AND options <> 0 GROUP BY options",
            params![viewer.user_id.as_ref(), self.scope, seq],
        )?;
        for row in &rows.rows {
            let options = options_of(row.get(0)?);
            let count: u32 = row.get(1)?;
            poll.voters = poll.voters.saturating_add(count);
            for option in &options {
                if let Some(votes) = poll.votes.get_mut(usize::from(*option)) {
                    *votes = votes.saturating_add(count);
                }
            }
            if row.get(2)? {
                poll.voted = options;
            }
        }
        Ok(())
    }

    /// Whether `user_id` has hidden the message `seq`.
    pub(super) fn hides(&self, user_id: &UserId, seq: Seq) -> Result<bool, SqlError> {
        let rows = self.sql.exec(
            "SELECT 1 FROM message_hidden WHERE scope = ? AND seq = ? AND user_id = ?",
            params![self.scope, seq, user_id],
        )?;
        Ok(rows.first().is_some())
    }

    /// Where the message with this id is, if it is one that the viewer sees.
    pub(super) fn find_seen(
        &self,
        message_id: &MessageId,
        viewer: Viewer,
    ) -> Result<Option<Seq>, SqlError> {
        let found = self.find_message(message_id, viewer.visible_from)?;
        match (found, &viewer.user_id) {
            (Some(seq), Some(user_id)) if self.hides(user_id, seq)? => Ok(None),
            (found, _) => Ok(found),
        }
    }
}

/// The numbers of the bits that are set, as a vote's options are kept.
pub(super) fn options_of(bits: u32) -> Vec<u8> {
    (0..32).filter(|option| bits & (1 << option) != 0).collect()
}

/// The bits that stand for these options.
pub(super) fn bits_of(options: &[u8]) -> u32 {
    options
        .iter()
        .filter(|option| **option < 32)
        .fold(0, |bits, option| bits | 1 << option)
}

/// The message in a row of [`messages`], as it is now but for reactions and votes, and the size
/// of its body.
fn read_message<S: Sql>(
    store: &Store<'_, S>,
    conversation_id: ConversationId,
    viewer: Viewer,
    row: &Row,
) -> Result<(Event, usize), SqlError> {
    let (event, mut size) = read_event(store, conversation_id, viewer.visible_from, row)?;
    let Event::NewMessage(mut message) = event else {
        return Ok((event, size));
    };
    let replies: u32 = row.get(14)?;
    if let (1.., Some(last_reply_at)) = (replies, row.get::<Option<Timestamp>>(15)?) {
        message.thread = Some(ThreadSummary {
            replies,
            last_reply_at,
        });
    }
    if message.is_deleted {
        return Ok((Event::NewMessage(message), size));
    }
    if let Some(edit) = row.get::<Option<String>>(10)? {
        let edit = store.body(row.get(17)?, edit)?;
        size += edit.len();
        let EditBody {
            content, mentions, ..
        } = from_json(&edit)?;
        message.content = content;
        message.mentions = mentions;
        message.edited_at = row.get(11)?;
    }
    message.is_pinned = row.get(12)?;
    if message.content_type == ContentType::Poll {
        // What was stored had been checked; a poll that cannot be read takes no votes.
        let options = Poll::read(&message.content).map_or(0, |poll| poll.options.len());
        message.poll = Some(PollResult {
            votes: vec![0; options],
            voters: 0,
            voted: Vec::new(),
            is_closed: row.get(13)?,
        });
    }
    Ok((Event::NewMessage(message), size))
}
