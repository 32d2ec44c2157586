//! What the user has set for a conversation, and conversations that it is no longer a member of.
//!
//! What always holds: settings are the user's alone: no conversation hears of them. What was set on
//! one device is shown to the user's others. A conversation stays in the list when the user is no
//! longer a member, with the event that said so, until the user takes it off.

use super::call::{ForgetConversation, UpdateSettings};
use super::effect::{Effect, Effects, Reply, RequestId};
use super::expected::Then;
use super::service::UserService;
use super::store::{Store, read_text};
use crate::ids::{ConversationId, DeviceId};
use crate::object;
use crate::params;
use crate::protocol::conversation::{ConversationSettings, Membership, Notify, SettingsPatch};
use crate::protocol::event::Event;
use crate::protocol::frame::ServerFrame;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{FromValue, Param, Sql, SqlError, Value, transact};
use crate::time::Timestamp;

impl From<Membership> for Param<'_> {
    fn from(membership: Membership) -> Self {
        Param::Integer(match membership {
            Membership::Member => 0,
            Membership::Left => 1,
            Membership::Removed => 2,
            Membership::Deleted => 3,
        })
    }
}

impl FromValue for Membership {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::Member),
            Value::Integer(1) => Ok(Self::Left),
            Value::Integer(2) => Ok(Self::Removed),
            Value::Integer(3) => Ok(Self::Deleted),
            _ => Err(SqlError::unexpected("a membership", value)),
        }
    }
}

impl From<Notify> for Param<'_> {
    fn from(notify: Notify) -> Self {
        Param::Integer(match notify {
            Notify::All => 0,
            Notify::Mentions => 1,
            Notify::None => 2,
        })
    }
}

impl FromValue for Notify {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::All),
            Value::Integer(1) => Ok(Self::Mentions),
            Value::Integer(2) => Ok(Self::None),
            _ => Err(SqlError::unexpected("what is notified", value)),
        }
    }
}

impl Store<'_> {
    fn settings(self, id: &ConversationId) -> Result<Option<ConversationSettings>, SqlError> {
        self.sql
            .exec(
                "SELECT muted_until, archived, pinned, notify FROM inbox
                 WHERE scope = ? AND conversation_id = ?",
                params![self.scope, id],
            )?
            .first()
            .map(|row| {
                Ok(ConversationSettings {
                    conversation_id: *id,
                    muted_until: row.get(0)?,
                    archived: row.get(1)?,
                    pinned: row.get(2)?,
                    notify: row.get(3)?,
                })
            })
            .transpose()
    }

    fn save_settings(self, settings: &ConversationSettings) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE inbox SET muted_until = ?, archived = ?, pinned = ?, notify = ?
             WHERE scope = ? AND conversation_id = ?",
            params![
                settings.muted_until,
                settings.archived,
                settings.pinned,
                settings.notify,
                self.scope,
                &settings.conversation_id
            ],
        )?;
        Ok(())
    }

    /// The event by which the user ceased to be a member, where it did.
    pub fn farewell(self, id: &ConversationId) -> Result<Option<Event>, SqlError> {
        let text: Option<Option<String>> = self
            .sql
            .exec(
                "SELECT farewell FROM inbox WHERE scope = ? AND conversation_id = ?",
                params![self.scope, id],
            )?
            .scalar()?;
        text.flatten()
            .map(|text| {
                read_text(text, "the JSON of a last event", |text| {
                    serde_json::from_str(text).ok()
                })
            })
            .transpose()
    }

    /// The user is no longer a member: nothing there is unread any more.
    pub fn part(
        self,
        id: &ConversationId,
        membership: Membership,
        farewell: &Event,
    ) -> Result<(), SqlError> {
        let json =
            serde_json::to_string(farewell).map_err(|error| SqlError::Engine(error.to_string()))?;
        self.sql.exec(
            "UPDATE inbox SET unread = 0, membership = ?, farewell = ?
             WHERE scope = ? AND conversation_id = ?",
            params![membership, &json, self.scope, id],
        )?;
        Ok(())
    }

    /// The user is a member again, and sees nothing of before.
    pub fn rejoin(self, id: &ConversationId) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE inbox SET unread = 0, last_message = NULL, preview_expires_at = NULL,
                membership = 0, farewell = NULL
             WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        Ok(())
    }

    fn forget_conversation(self, id: &ConversationId) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM inbox_hidden WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        self.sql.exec(
            "INSERT INTO inbox_forgotten (scope, conversation_id, head_seq)
             SELECT scope, conversation_id, head_seq FROM inbox
             WHERE scope = ? AND conversation_id = ?
             ON CONFLICT (scope, conversation_id) DO UPDATE SET head_seq = excluded.head_seq",
            params![self.scope, id],
        )?;
        self.sql.exec(
            "DELETE FROM inbox WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        Ok(())
    }

    /// The user has come in again.
    pub(super) fn remember_conversation(self, id: &ConversationId) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM inbox_forgotten WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        Ok(())
    }
}

/// The settings with what a patch sets.
fn patched(before: &ConversationSettings, patch: &SettingsPatch) -> ConversationSettings {
    ConversationSettings {
        conversation_id: before.conversation_id,
        muted_until: patch.muted_until.unwrap_or(before.muted_until),
        archived: patch.archived.unwrap_or(before.archived),
        pinned: patch.pinned.unwrap_or(before.pinned),
        notify: patch.notify.unwrap_or(before.notify),
    }
}

impl<S: Sql> UserService<S> {
    /// Changes what the user has set for a conversation.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; what else is refused is told in
    /// the answer.
    pub(super) fn update_settings(
        &mut self,
        call: UpdateSettings,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Reply, ServiceError> {
        self.store_for(call.device_id)?;
        let request = self.next_request();
        let then = Then::Set(request, call);
        let id = call.conversation_id;
        let has = self.has_or_expects(id, Seq::ZERO, then, now, effects)?;
        if has.is_some() {
            self.set(request, &call, effects)?;
        }
        Ok(Reply::Later(request))
    }

    /// Writes down what the user has set, and answers.
    pub(super) fn set(
        &self,
        request: RequestId,
        call: &UpdateSettings,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let store = self.store();
        let before = store
            .settings(&call.conversation_id)?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let after = patched(&before, &call.patch);
        let answer = Ok(object::reply_json(&after)?);
        if after != before {
            store.save_settings(&after)?;
            let frame = ServerFrame::ConversationSettings(after);
            self.show_others(call.device_id, frame, effects);
        }
        effects.push(Effect::Answer { request, answer });
        Ok(())
    }

    /// Takes a conversation off the list of which the user is no longer a member.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `not_found` for a conversation
    /// that is not in the list; `conflict` for one of which the user is a member.
    pub fn forget_conversation(
        &mut self,
        call: ForgetConversation,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let id = call.conversation_id;
        let row = self.store_for(call.device_id)?.inbox_row(&id)?;
        let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
        if !row.is_former {
            let detail = "You are a member of this conversation.";
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        transact(&self.sql, || self.store().forget_conversation(&id))?;
        for session in self.sessions.values_mut() {
            session.behind.remove(&id);
            session.withheld_since.remove(&id);
            session.kept.acks.remove(&id);
            session.acknowledged(id, Seq::BEYOND);
        }
        let frame = ServerFrame::ConversationForgotten {
            conversation_id: id,
            up_to_seq: row.head_seq,
        };
        self.show_others(call.device_id, frame, effects);
        Ok(())
    }

    /// Shows a frame to the sessions of the user's other devices.
    fn show_others(&self, device_id: DeviceId, frame: ServerFrame, effects: &mut Effects) {
        let to: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.kept.device_id != device_id)
            .map(|session| session.kept.socket)
            .collect();
        if !to.is_empty() {
            effects.push(Effect::Send {
                to,
                frames: vec![frame],
            });
        }
    }
}
