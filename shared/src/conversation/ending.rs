//! The end of a group: what is left of it is erased once everyone has heard that it is no more.
//!
//! What always holds: nothing is erased while a former member is yet to be given its last event;
//! what is erased at once is bounded, and an alarm is set until all of it is gone.

use super::service::ConversationService;
use crate::params;
use crate::sql::{Sql, SqlError, transact};

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
/// What is left when there are no more events; what says that there was a conversation last.
const REST: [&str; 7] = [
    TIMERS[0],
    TIMERS[1],
    "DELETE FROM member WHERE scope = ?",
    "DELETE FROM former_member WHERE scope = ?",
    "DELETE FROM direct_block WHERE scope = ?",
    "DELETE FROM lane WHERE scope = ?",
    "DELETE FROM conversation WHERE scope = ?",
];

impl<S: Sql> ConversationService<S> {
    /// Erases some of what is left; says whether that was all.
    pub(super) fn erase(&mut self) -> Result<bool, SqlError> {
        let store = self.store();
        let is_done = transact(&self.sql, || {
            if let Some(up_to) = store.last_of_first(STEP)? {
                for statement in OF_MESSAGES {
                    self.sql.exec(statement, params![self.scope, up_to])?;
                }
                return Ok::<_, SqlError>(false);
            }
            for statement in REST {
                self.sql.exec(statement, params![self.scope])?;
            }
            Ok(true)
        })?;
        if is_done {
            self.state = None;
        }
        Ok(is_done)
    }
}
