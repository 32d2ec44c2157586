//! Who is kept out: one whom the other of a direct conversation has blocked, one whose account is
//! suspended; and what moderators are shown who decide on that.
//!
//! What always holds: it is told by the user's own object, and asks nobody when a message comes.

use super::call::{CopyMessage, SetBlock, SetSuspended};
use super::policy::Action;
use super::service::{ConversationService, Effects, Eviction};
use crate::protocol::conversation::ConversationType;
use crate::protocol::frame::CloseCode;
use crate::protocol::moderation::ReportedMessage;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::Sql;

impl<S: Sql> ConversationService<S> {
    /// Notes that one of the two of a direct conversation has blocked the other, or no longer
    /// does; also where they have no conversation yet.
    ///
    /// # Errors
    /// `conflict` where it is no direct conversation; when storage fails.
    pub fn set_block(&mut self, call: SetBlock) -> Result<(), ServiceError> {
        if let Some(state) = self.load()? {
            if state.meta.kind != ConversationType::Direct {
                let detail = "This is no direct conversation.";
                return Err(Problem::new(Code::Conflict, detail).into());
            }
        } else if call.is_blocked {
            self.store().install()?;
        } else if !self.store().is_installed()? {
            return Ok(());
        }
        self.store().save_block(&call.blocker, call.is_blocked)?;
        if let Some(state) = &mut self.state {
            if call.is_blocked {
                state.blockers.insert(call.blocker);
            } else {
                state.blockers.remove(&call.blocker);
            }
        }
        Ok(())
    }

    /// Notes whether a member's account is suspended: then it does nothing here.
    ///
    /// # Errors
    /// `not_found` for one who is no member; when storage fails.
    pub fn set_suspended(&mut self, call: SetSuspended) -> Result<Effects, ServiceError> {
        let state = self
            .load()?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let member = *state
            .members
            .get(&call.user_id)
            .ok_or_else(|| Problem::not_found("member"))?;
        if member.is_suspended != call.is_suspended {
            self.store()
                .save_suspension(&call.user_id, call.is_suspended)?;
            if let Some(member) = self
                .state
                .as_mut()
                .and_then(|state| state.members.get_mut(&call.user_id))
            {
                member.is_suspended = call.is_suspended;
            }
        }
        let code = CloseCode::TokenExpired;
        let eviction = Eviction {
            user_id: call.user_id,
            code,
        };
        Ok(Effects {
            evicted: call.is_suspended.then_some(eviction).into_iter().collect(),
            ..Effects::default()
        })
    }

    /// A copy of a message for moderators: what it said, also where it was deleted since, for as
    /// long as that is kept.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller may not see.
    pub fn copy_message(&mut self, call: CopyMessage) -> Result<ReportedMessage, ServiceError> {
        let (state, member) = self.allowed(call.actor, Action::Report)?;
        let conversation_id = state.meta.conversation_id;
        let store = self.store();
        let target = store
            .find_message(&call.message_id, member.visible_from)?
            .map(|seq| store.target(seq))
            .transpose()?
            .flatten()
            .ok_or_else(|| Problem::not_found("message"))?;
        let edit = target
            .edit_seq
            .map(|seq| store.edit_body(seq))
            .transpose()?;
        let said = store.said(target.seq)?;
        Ok(ReportedMessage {
            conversation_id,
            message_id: target.message_id,
            seq: target.seq,
            sender_id: target.sender_id,
            content_type: said.content_type,
            content: said.content.into_owned(),
            edited_content: edit.map(|edit| edit.content),
            is_deleted: target.deleted_seq.is_some() || target.is_expired,
            created_at: target.created_at,
        })
    }
}
