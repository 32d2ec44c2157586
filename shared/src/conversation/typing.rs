//! Typing: shown to those who are here, never stored.
//!
//! What always holds: of one member at most one start is passed on in
//! [`limits::TYPING_INTERVAL`], and a stop only after a start that was.

use std::collections::BTreeMap;

use super::call::SignalTyping;
use super::policy::{self, Action};
use super::service::{ConversationService, Effects, MemberSignal};
use crate::ids::UserId;
use crate::limits;
use crate::protocol::frame::{ServerFrame, TypingNotice};
use crate::protocol::problem::ServiceError;
use crate::sql::Sql;
use crate::time::Timestamp;

/// Who is writing, as the others were told.
#[derive(Debug, Default)]
pub(super) struct Typing {
    writers: BTreeMap<UserId, Writer>,
}

#[derive(Debug, Clone, Copy)]
struct Writer {
    started_at: Timestamp,
    is_writing: bool,
}

impl Typing {
    pub const fn new() -> Self {
        Self {
            writers: BTreeMap::new(),
        }
    }

    /// Whether this is to be passed on.
    fn pass(&mut self, user_id: UserId, started: bool, now: Timestamp) -> bool {
        if started {
            let is_due = self
                .writers
                .get(&user_id)
                .is_none_or(|writer| now.since(writer.started_at) >= limits::TYPING_INTERVAL);
            if is_due {
                let writer = Writer {
                    started_at: now,
                    is_writing: true,
                };
                self.writers.insert(user_id, writer);
            }
            return is_due;
        }
        self.writers
            .get_mut(&user_id)
            .is_some_and(|writer| std::mem::take(&mut writer.is_writing))
    }
}

impl<S: Sql> ConversationService<S> {
    /// Someone is writing, or has stopped.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn signal_typing(
        &mut self,
        call: SignalTyping,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let is_shown = policy::allows(Action::SignalTyping, state.standing(&member));
        if !state.is_small() || !is_shown {
            return Ok(Effects::default());
        }
        let notice = TypingNotice {
            conversation_id: state.meta.conversation_id,
            user_id: call.actor,
        };
        let frame = if call.started {
            ServerFrame::TypingStart(notice)
        } else {
            ServerFrame::TypingStop(notice)
        };
        let signals = state
            .members
            .keys()
            .filter(|id| **id != call.actor)
            .map(|id| MemberSignal {
                to: *id,
                frame: frame.clone(),
            })
            .collect();
        if !self.typing.pass(call.actor, call.started, now) {
            return Ok(Effects::default());
        }
        Ok(Effects {
            signals,
            ..Effects::default()
        })
    }
}
