//! Changing the conversation's settings.
//!
//! What always holds: a change is an event of the log, stored in one transaction with what it
//! changes; a setting that is as asked already is no change.

use super::call::{GetConversation, UpdateConversation};
use super::service::{ConversationService, Effects};
use super::store::{NewEvent, NewEventKind, Store};
use crate::params;
use crate::protocol::conversation::{ConversationPatch, ConversationType, ConversationView, Role};
use crate::protocol::event::{ConversationChanged, Event};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Changes settings. How long messages stay, both sides of a direct conversation may set, and
    /// the admins of a group. It holds for messages that are sent from then on.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `forbidden`; `invalid_request`.
    pub fn update(
        &mut self,
        call: UpdateConversation,
        now: Timestamp,
    ) -> Result<(ConversationView, Effects), ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        call.patch.validate()?;
        let get = GetConversation { actor: call.actor };
        let changes = ConversationPatch {
            expires_after: call
                .patch
                .expires_after
                .filter(|seconds| *seconds != state.expires_after),
        };
        if changes == ConversationPatch::default() {
            return Ok((self.get(get)?, Effects::default()));
        }
        if state.meta.kind == ConversationType::Group && member.role == Role::Member {
            let detail = "Only admins of the group may change this.";
            return Err(Problem::new(Code::Forbidden, detail).into());
        }
        let event = ConversationChanged {
            conversation_id: state.meta.conversation_id,
            seq: state.head.next(),
            now: changes,
            changed_by: call.actor,
            created_at: now.max(state.last_at),
        };
        let store = self.store();
        transact(&self.sql, || {
            store.insert_event(&NewEvent {
                seq: event.seq,
                sender_id: event.changed_by,
                created_at: event.created_at,
                kind: NewEventKind::ConversationChanged(event.now),
            })?;
            if let Some(seconds) = changes.expires_after {
                store.save_expires_after(seconds)?;
            }
            Ok::<_, SqlError>(())
        })?;
        let alarm = self.arm(now);
        if let Some(state) = &mut self.state {
            state.head = event.seq;
            state.last_at = event.created_at;
            state.lanes.advance(event.seq, now);
            if let Some(seconds) = changes.expires_after {
                state.expires_after = seconds;
            }
        }
        let effects = Effects {
            broadcast: vec![Event::ConversationChanged(event)],
            alarm,
            deliver: true,
            ..Effects::default()
        };
        Ok((self.get(get)?, effects))
    }
}

impl<S: Sql> Store<'_, S> {
    fn save_expires_after(&self, seconds: Option<u32>) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE conversation SET expires_after = ? WHERE scope = ?",
            params![seconds, self.scope],
        )?;
        Ok(())
    }
}
