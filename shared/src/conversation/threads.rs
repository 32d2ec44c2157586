//! Reading single messages, threads and pins. Nothing here writes.

use super::call::{GetMessage, ListPins, ListThread};
use super::service::ConversationService;
use super::store::Viewer;
use crate::page;
use crate::protocol::act::{Pin, PinList, ThreadPage};
use crate::protocol::change::{MessageChange, PinChanged};
use crate::protocol::event::Event;
use crate::protocol::message::Message;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;

impl<S: Sql> ConversationService<S> {
    /// One message, as it is now.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller does not
    /// see.
    pub fn message(&mut self, call: GetMessage) -> Result<Message, ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let viewer = Viewer::from(&member);
        let store = self.store();
        let missing = || ServiceError::from(Problem::not_found("message"));
        let seq = store
            .find_message(&call.message_id, viewer.visible_from)?
            .ok_or_else(missing)?;
        let message = store
            .message_at(conversation_id, viewer, seq)?
            .ok_or_else(missing)?;
        Ok(message.seen_by(call.actor))
    }

    /// A page of a thread.
    ///
    /// # Errors
    /// As [`Self::message`]; `invalid_request` for a cursor of another list.
    pub fn thread(&mut self, call: &ListThread) -> Result<ThreadPage, ServiceError> {
        let before: Option<Seq> = call.cursor.as_deref().map(page::position).transpose()?;
        let root = self.message(GetMessage {
            actor: call.actor,
            message_id: call.message_id,
        })?;
        let (state, member) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let viewer = Viewer::from(&member);
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let store = self.store();
        let replies =
            |before, limit| store.replies_before(conversation_id, viewer, root.seq, before, limit);
        let mut messages = replies(before, call.limit.saturating_add(1))?;
        let over_limit = messages.len() > limit;
        messages.truncate(limit);
        let oldest = messages.last().map(|message| message.seq);
        // A page that ended early for its size may have no further reply below it.
        let has_more = over_limit
            || match oldest {
                Some(oldest) if messages.len() < limit => !replies(Some(oldest), 1)?.is_empty(),
                _ => false,
            };
        Ok(ThreadPage {
            root,
            messages: messages
                .into_iter()
                .map(|message| message.seen_by(call.actor))
                .collect(),
            next_cursor: oldest.filter(|_| has_more).map(|seq| page::cursor(&seq)),
            has_more,
        })
    }

    /// The messages that are pinned.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn pins(&mut self, call: ListPins) -> Result<PinList, ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let viewer = Viewer::from(&member);
        let store = self.store();
        let mut pins = Vec::new();
        for pinned in store.pinned(conversation_id, viewer)? {
            let event = store.event_at(conversation_id, viewer, pinned.pin_seq)?;
            if let Event::Changed(MessageChange::PinChanged(PinChanged {
                changed_by,
                created_at,
                ..
            })) = event
            {
                pins.push(Pin {
                    message: Event::NewMessage(pinned.message.seen_by(call.actor)),
                    pinned_by: changed_by,
                    pinned_at: created_at,
                });
            }
        }
        Ok(PinList { pins })
    }
}
