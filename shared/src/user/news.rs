//! What a delivery brings to the conversation list.
//!
//! What always holds: every event is taken once, in order and without gaps. A message of another
//! counts as unread from its event on, until it is read, or an event says that it was deleted
//! for everyone; one that the user has hidden does not count. Only where the user comes in again
//! may there be a gap, and what was before it is forgotten.

use super::hiding::HiddenSeqs;
use crate::ids::UserId;
use crate::planted::{self, Bug};
use crate::protocol::change::MessageChange;
use crate::protocol::conversation::{LastMessage, Membership};
use crate::protocol::event::Event;
use crate::protocol::group::GroupChange;
use crate::protocol::message::preview;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// What a delivery brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub head_seq: Seq,
    /// New messages of others, less those that were deleted.
    pub unread: i64,
    /// The newest message, where it is new or was changed.
    pub last_message: Option<LastMessage>,
    /// The time of the newest message, where it is new.
    pub active_at: Option<Timestamp>,
    /// How many events are new.
    pub events: u32,
    /// Hidden messages that were deleted for everyone.
    pub uncounted: Vec<Seq>,
    /// Whether messages were deleted for everyone.
    pub has_deletions: bool,
    /// Whether the user has become a member of a conversation that it knew.
    pub has_joined: bool,
    /// Why the user is no longer a member, and the event that says so.
    pub farewell: Option<(Membership, Event)>,
}

/// The first message that is changed by these events in a way that the list shows.
pub(super) fn first_target(events: &[Event]) -> Option<Seq> {
    events
        .iter()
        .filter_map(Event::as_change)
        .filter(|change| change.is_confidential())
        .map(|change| change.message_id().claimed_seq())
        .min()
}

/// Whose news it is.
pub(super) struct Reader<'a> {
    pub owner: UserId,
    /// The first event that the user may have as the member that it is now.
    pub visible_from: Seq,
    /// Whether the user was no longer a member before.
    pub is_former: bool,
    /// Up to where the user has read.
    pub read_seq: Seq,
    pub hidden: &'a HiddenSeqs,
}

impl Reader<'_> {
    /// The events that follow `known`, up to the first gap. Where nothing is known the first
    /// event may have any seq: one who joins later begins there. `last_message` is the newest
    /// one before.
    pub fn news(
        &self,
        known: Option<Seq>,
        last_message: Option<LastMessage>,
        events: &[Event],
    ) -> News {
        let mut news = News {
            head_seq: known.unwrap_or(Seq::ZERO),
            unread: 0,
            last_message: None,
            active_at: None,
            events: 0,
            uncounted: Vec::new(),
            has_deletions: false,
            has_joined: false,
            farewell: None,
        };
        let mut last = last_message.clone();
        let mut may_begin = known.is_none();
        for event in events {
            let seq = event.seq();
            if seq <= news.head_seq {
                if planted::is_on(Bug::CountedTwice) && event.as_message().is_some() {
                    news.unread += 1;
                    news.events = news.events.saturating_add(1);
                }
                continue;
            }
            let is_next = seq == news.head_seq.next();
            let joins = known.is_some() && seq == self.visible_from && (self.is_former || !is_next);
            if !is_next && !may_begin && !joins {
                break;
            }
            if joins {
                // What was before is no longer to be seen.
                news.has_joined = true;
                last = None;
            }
            may_begin = false;
            news.head_seq = seq;
            news.events = news.events.saturating_add(1);
            match event {
                Event::NewMessage(message) => {
                    if message.is_hidden || self.hidden.contains(seq) {
                        continue;
                    }
                    last = Some(LastMessage::from(message));
                    news.active_at = Some(message.created_at);
                    if message.sender_id != self.owner {
                        news.unread += 1;
                    }
                }
                Event::Changed(change) => self.change(change, &mut last, &mut news),
                Event::Group(change) if change.is_last_for(self.owner) => {
                    // What becomes of the message now it will not hear of.
                    if !planted::is_on(Bug::PreviewStays) {
                        last = last.map(LastMessage::without_preview);
                    }
                    news.farewell = Some((why(change), event.clone()));
                }
                _ => {}
            }
        }
        if news.has_joined || last != last_message {
            news.last_message = last;
        }
        news
    }

    fn change(&self, change: &MessageChange, last: &mut Option<LastMessage>, news: &mut News) {
        let is_last = |last: &LastMessage| last.message_id == change.message_id();
        match change {
            MessageChange::MessageEdited(edited) => {
                if let Some(last) = last.as_mut().filter(|last| is_last(last))
                    && !last.is_deleted
                {
                    last.preview = preview(last.content_type, &edited.content);
                }
            }
            MessageChange::MessageDeleted(deleted) => {
                if last.as_ref().is_some_and(is_last) {
                    *last = last.take().map(LastMessage::without_content);
                }
                news.has_deletions = true;
                // Whoever joined after it has never counted it.
                let Some(sender_id) = deleted.sender_id else {
                    return;
                };
                let seq = deleted.message_id.claimed_seq();
                if sender_id == self.owner {
                } else if self.hidden.contains(seq) {
                    news.uncounted.push(seq);
                } else if seq > self.read_seq && !planted::is_on(Bug::DeletedCounts) {
                    news.unread -= 1;
                }
            }
            _ => {}
        }
    }
}

/// Why a user is no longer a member, whose last event this is.
fn why(change: &GroupChange) -> Membership {
    match change {
        GroupChange::MemberRemoved(removed) if removed.removed_by == removed.user_id => {
            Membership::Left
        }
        GroupChange::ConversationDeleted(_) => Membership::Deleted,
        _ => Membership::Removed,
    }
}
