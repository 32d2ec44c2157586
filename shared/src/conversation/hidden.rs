//! Messages that a member has deleted for itself.
//!
//! What always holds: the member's user object, which asks for it, counts what is unread; here
//! it is only kept which messages the member is not shown any more.

use super::call::{Hidden, Hide};
use super::service::ConversationService;
use super::store::Viewer;
use crate::limits;
use crate::protocol::conversation::LastMessage;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::Sql;

impl<S: Sql> ConversationService<S> {
    /// Hides a message from the caller. Doing so twice is no error.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller may not see.
    pub fn hide(&mut self, call: Hide) -> Result<Hidden, ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let store = self.store();
        let target = store
            .find_message(&call.message_id, member.visible_from)?
            .map(|seq| store.target(seq))
            .transpose()?
            .flatten()
            .ok_or_else(|| Problem::not_found("message"))?;
        store.hide(target.seq, &call.actor)?;
        let viewer = Viewer::from(&member);
        let newest = store.messages_before(conversation_id, viewer, None, 1, limits::PAGE_BYTES)?;
        Ok(Hidden {
            seq: target.seq,
            sender_id: target.sender_id,
            deleted_seq: target.deleted_seq,
            last_message: newest.first().map(LastMessage::from),
        })
    }
}
