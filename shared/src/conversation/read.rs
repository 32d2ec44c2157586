//! What a member can read of a conversation. Nothing here writes.

use super::call::{
    CountUnread, GetConversation, GetMessageInfo, ListEvents, ListMembers, ListMessages,
};
use super::positions::Reached;
use super::service::ConversationService;
use super::store::Viewer;
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::page;
use crate::protocol::conversation::{ConversationType, ConversationView, MemberPage, MemberView};
use crate::protocol::event::{Event, EventPage};
use crate::protocol::message::{MessageInfo, MessagePage, SeenBy};
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;

impl<S: Sql> ConversationService<S> {
    /// Describes the conversation to a member.
    ///
    /// # Errors
    /// `not_found` for everyone else.
    pub fn get(&mut self, call: GetConversation) -> Result<ConversationView, ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let meta = state.meta.clone();
        let is_direct = meta.kind == ConversationType::Direct;
        Ok(ConversationView {
            id: meta.conversation_id,
            kind: meta.kind,
            name: meta.name,
            description: meta.description,
            avatar_url: meta.avatar_url,
            encrypted: meta.encrypted,
            expires_after: state.expires_after,
            member_count: u32::try_from(state.members.len()).unwrap_or(u32::MAX),
            peer_id: state
                .members
                .keys()
                .find(|id| is_direct && **id != call.actor)
                .copied(),
            role: member.role,
            head_seq: state.head,
            created_by: meta.created_by,
            created_at: meta.created_at,
        })
    }

    /// Lists the members to a member, in the order of their ids.
    ///
    /// # Errors
    /// `not_found` for everyone else; `invalid_request` for a cursor of another list.
    pub fn list_members(&mut self, call: ListMembers) -> Result<MemberPage, ServiceError> {
        let (state, _) = self.as_member(call.actor)?;
        let after: Option<UserId> = call.cursor.as_deref().map(page::position).transpose()?;
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let mut members: Vec<_> = state
            .members
            .values()
            .filter(|member| after.is_none_or(|after| member.user_id > after))
            .take(limit.saturating_add(1))
            .map(|member| MemberView {
                user_id: member.user_id,
                role: member.role,
                joined_at: member.joined_at,
            })
            .collect();
        let has_more = members.len() > limit;
        members.truncate(limit);
        Ok(MemberPage {
            next_cursor: members
                .last()
                .filter(|_| has_more)
                .map(|member| page::cursor(&member.user_id)),
            members,
            has_more,
        })
    }

    /// A page of the messages that the caller may read, newest first.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `invalid_request` for a cursor of another list.
    pub fn list_messages(&mut self, call: &ListMessages) -> Result<MessagePage, ServiceError> {
        let before: Option<Seq> = call.cursor.as_deref().map(page::position).transpose()?;
        let (state, member) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let viewer = Viewer::from(&member);
        let found = self.store().messages_before(
            conversation_id,
            viewer,
            before,
            call.limit.saturating_add(1),
            limits::PAGE_BYTES,
        )?;
        let mut messages: Vec<_> = found
            .into_iter()
            .map(|message| message.seen_by(call.actor))
            .collect();
        let over_limit = messages.len() > limit;
        messages.truncate(limit);
        let oldest = messages.last().map(|message| message.seq);
        // A page that ended early for its size may have no further message below it.
        let has_more = over_limit
            || match oldest {
                Some(oldest) if messages.len() < limit => !self
                    .store()
                    .messages_before(conversation_id, viewer, Some(oldest), 1, 1)?
                    .is_empty(),
                _ => false,
            };
        Ok(MessagePage {
            next_cursor: oldest.filter(|_| has_more).map(|seq| page::cursor(&seq)),
            messages,
            has_more,
        })
    }

    /// A page of the events that the caller may read, oldest first.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn list_events(&mut self, call: ListEvents) -> Result<EventPage, ServiceError> {
        self.events_for(call.actor, call.after_seq, call.limit, limits::PAGE_BYTES)
    }

    /// How many messages of others the caller has not read.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn count_unread(&mut self, call: CountUnread) -> Result<u64, ServiceError> {
        let (_, member) = self.as_member(call.actor)?;
        let before_first = Seq::new(member.visible_from.get().saturating_sub(1));
        let after = call.after_seq.max(before_first);
        Ok(self
            .store()
            .count_of_others(&call.actor, after, call.up_to_seq)?)
    }

    /// Who has received and read a message, among those who may see it. Of reading only those
    /// learn, and is told of those, who send read receipts.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller may not see.
    pub fn message_info(&mut self, call: GetMessageInfo) -> Result<MessageInfo, ServiceError> {
        let (_, member) = self.as_member(call.actor)?;
        let store = self.store();
        let seq = store
            .find_message(&call.message_id, member.visible_from)?
            .ok_or_else(|| Problem::not_found("message"))?;
        let sender_id = store.sender_of(seq)?;
        let (state, _) = self.as_member(call.actor)?;
        let mut info = MessageInfo {
            message_id: call.message_id,
            seq,
            read_by: Vec::new(),
            delivered_to: Vec::new(),
            pending: Vec::new(),
        };
        let learns_of_reading = state.positions.of(call.actor).read_receipts;
        for member in state.members.values() {
            if Some(member.user_id) == sender_id || member.visible_from > seq {
                continue;
            }
            let user_id = member.user_id;
            let place = state.positions.of(user_id);
            let covers = |reached: Reached| {
                (reached.seq >= seq).then_some(SeenBy {
                    user_id,
                    at: reached.at,
                })
            };
            match covers(place.delivered) {
                Some(seen) => info.delivered_to.push(seen),
                None => info.pending.push(user_id),
            }
            if learns_of_reading && place.read_receipts {
                info.read_by.extend(covers(place.read));
            }
        }
        Ok(info)
    }

    /// As [`Self::list_events`], with a bound of bytes.
    pub(super) fn events_for(
        &mut self,
        actor: UserId,
        after_seq: Seq,
        limit: u32,
        bytes: usize,
    ) -> Result<EventPage, ServiceError> {
        let (state, member) = self.as_member(actor)?;
        let head_seq = state.head;
        let conversation_id = state.meta.conversation_id;
        let before_first = Seq::new(member.visible_from.get().saturating_sub(1));
        let after = after_seq.max(before_first);
        let events: Vec<_> = self
            .store()
            .events_after(conversation_id, Viewer::from(&member), after, limit, bytes)?
            .into_iter()
            .map(|event| event.seen_by(actor))
            .collect();
        let last = events.last().map_or(after, Event::seq);
        Ok(EventPage {
            events,
            head_seq,
            has_more: last < head_seq,
        })
    }

    /// The conversation's id and newest event, for a member.
    pub(super) fn position(
        &mut self,
        actor: UserId,
    ) -> Result<(ConversationId, Seq), ServiceError> {
        let (state, _) = self.as_member(actor)?;
        Ok((state.meta.conversation_id, state.head))
    }
}
