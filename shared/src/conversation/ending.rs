//! The end of a group: what is left of it is erased once everyone has heard that it is no more.
//!
//! What always holds: nothing is erased while a former member is yet to be given its last event;
//! what is erased at once is bounded, and an alarm is set until all of it is gone; what says that
//! there was a conversation outlives the last object of its archive, and by a day whatever request
//! that was made before may still come: one to make it would begin its log anew.

use std::time::Duration;

use super::service::{ConversationService, RECOVERY_DELAY};
use crate::params;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

/// How long it waits for the archive's objects to be removed, before it looks again.
const ARCHIVE_DELAY: Duration = Duration::from_secs(60);
/// The same where the deployment has no archive any more.
const NO_ARCHIVE_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is remembered that there was a conversation.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Events that are erased at once, with what was done with them.
const STEP: u32 = 2000;

/// What hangs on messages up to a seq, and they themselves last.
const OF_MESSAGES: [&str; 7] = [
    "DELETE FROM message_state WHERE scope = ? AND seq <= ?",
    "DELETE FROM pinned_message WHERE scope = ? AND seq <= ?",
    "DELETE FROM message_reaction WHERE scope = ? AND seq <= ?",
    "DELETE FROM poll_vote WHERE scope = ? AND seq <= ?",
    "DELETE FROM thread_reply WHERE scope = ? AND root_seq <= ?",
    "DELETE FROM message_hidden WHERE scope = ? AND seq <= ?",
    "DELETE FROM event WHERE scope = ? AND seq <= ?",
];
/// What is to be done at a time.
pub(super) const TIMERS: [&str; 2] = [
    "DELETE FROM conversation_timer WHERE scope = ?",
    "DELETE FROM scheduled_message WHERE scope = ?",
];
/// What is left when there are no more events.
const REST: [&str; 7] = [
    TIMERS[0],
    TIMERS[1],
    "DELETE FROM message_medium WHERE scope = ?",
    "DELETE FROM member WHERE scope = ?",
    "DELETE FROM former_member WHERE scope = ?",
    "DELETE FROM direct_block WHERE scope = ?",
    "DELETE FROM lane WHERE scope = ?",
];
/// That there was a conversation.
const WHETHER_IT_WAS: &str = "DELETE FROM conversation WHERE scope = ?";

impl<S: Sql> ConversationService<S> {
    /// Erases some of what is left. Where that was not all, says after how long to go on.
    pub(super) fn erase(&mut self, now: Timestamp) -> Result<Option<Duration>, SqlError> {
        self.archive.abandon();
        self.bodies.clear();
        if let Some(state) = &mut self.state {
            state.has_releases = true;
        }
        let store = self.store();
        let (left, is_gone) = transact(&self.sql, || {
            let has_objects = store.discard_archive(now)?;
            if let Some(up_to) = store.last_of_first(STEP)? {
                for statement in OF_MESSAGES {
                    self.sql.exec(statement, params![self.scope, up_to])?;
                }
                return Ok::<_, SqlError>((Some(RECOVERY_DELAY), false));
            }
            // Media's objects are told first that there are no messages any more.
            if store.has_releases()? {
                return Ok((Some(RECOVERY_DELAY), false));
            }
            if has_objects {
                let is_there = self.archive.is_there();
                let wait = if is_there {
                    ARCHIVE_DELAY
                } else {
                    NO_ARCHIVE_DELAY
                };
                return Ok((Some(wait), false));
            }
            for statement in REST {
                self.sql.exec(statement, params![self.scope])?;
            }
            let until = store.ended_at()?.map(|at| at + REMEMBERED);
            if let Some(until) = until.filter(|until| *until > now) {
                store.forget_texts()?;
                return Ok((Some(until.since(now)), true));
            }
            self.sql.exec(WHETHER_IT_WAS, params![self.scope])?;
            Ok((None, true))
        })?;
        if is_gone {
            self.state = None;
        }
        Ok(left)
    }
}
