//! Previews of messages that disappear: the list lets go of them when their messages do.
//!
//! What always holds: the alarm is set no later than the first of them expires. A list that is
//! asked for before it has gone off shows what has expired without its preview all the same.

use super::effect::{Effect, Effects};
use super::list::{read_last, shown};
use super::service::UserService;
use super::store::Store;
use crate::ids::ConversationId;
use crate::params;
use crate::protocol::conversation::LastMessage;
use crate::protocol::problem::ServiceError;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

impl Store<'_> {
    /// When the next preview expires.
    fn next_preview_expiry(self) -> Result<Option<Timestamp>, SqlError> {
        let found = self.sql.exec(
            "SELECT min(preview_expires_at) FROM inbox
             WHERE scope = ? AND preview_expires_at IS NOT NULL",
            params![self.scope],
        )?;
        found.scalar().map(Option::flatten)
    }

    /// Lets go of the previews that have expired.
    fn expire_previews(self, now: Timestamp) -> Result<(), SqlError> {
        let found = self.sql.exec(
            "SELECT conversation_id, last_message FROM inbox
             WHERE scope = ? AND preview_expires_at IS NOT NULL AND preview_expires_at <= ?",
            params![self.scope, now],
        )?;
        for row in &found.rows {
            let id: ConversationId = row.get(0)?;
            let last = read_last(row.get(1)?)?.map(LastMessage::without_content);
            let (json, _) = shown(last.as_ref())?;
            self.sql.exec(
                "UPDATE inbox SET last_message = ?, preview_expires_at = NULL
                 WHERE scope = ? AND conversation_id = ?",
                params![json.as_ref(), self.scope, &id],
            )?;
        }
        Ok(())
    }
}

impl<S: Sql> UserService<S> {
    /// The list shows a preview that expires at this time: the alarm is to go off by then.
    pub(super) fn preview_expires(&mut self, at: Timestamp, effects: &mut Effects) {
        self.preview_expires_at = self.preview_expires_at.into_iter().chain([at]).min();
        if self.alarm.is_none_or(|set| at < set) {
            self.alarm = Some(at);
            effects.push(Effect::Alarm(at));
        }
    }

    /// The alarm has gone off: lets go of what has expired. [`Self::look_after`] sets the alarm
    /// for the rest.
    pub(super) fn previews_due(&mut self, now: Timestamp) -> Result<(), ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Ok(());
        }
        let store = self.store();
        if store.next_preview_expiry()?.is_some_and(|at| at <= now) {
            transact(&self.sql, || self.store().expire_previews(now))?;
        }
        self.preview_expires_at = self.store().next_preview_expiry()?;
        Ok(())
    }
}
