//! Blocks: whom this user has blocked, and who has blocked this user.
//!
//! What always holds: a block is written down here first, with its alarm, then told to the blocked
//! user's object and to the direct conversation of the two, and only then acknowledged. Until both
//! know it the row says so, and the alarm tells them again. Of one user at most one telling is
//! under way; what was decided meanwhile is told after it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::call::{AdmitTo, Block, BlockedBy, ListBlocks};
use super::effect::{Effect, Effects, Reply, RequestId};
use super::pending::Pending;
use super::service::UserService;
use super::store::Store;
use crate::conversation::call::SetBlock;
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::object;
use crate::params;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::user::{BlockList, BlockView};
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// After how long what could not be told is told again.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// Who is being told of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingBlock {
    peer: UserId,
    is_blocked: bool,
    /// Whether the user knows it, and the conversation is being told.
    user_knows: bool,
}

/// The requests that wait until a block is told.
pub(super) type Tellings = BTreeMap<UserId, Vec<RequestId>>;

/// A block, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    is_blocked: bool,
    is_told: bool,
}

impl Store<'_> {
    fn block(self, peer: UserId) -> Result<Option<Stored>, SqlError> {
        self.sql
            .exec(
                "SELECT is_lifted, is_told FROM user_block WHERE scope = ? AND user_id = ?",
                params![self.scope, &peer],
            )?
            .first()
            .map(|row| {
                Ok(Stored {
                    is_blocked: !row.get::<bool>(0)?,
                    is_told: row.get(1)?,
                })
            })
            .transpose()
    }

    fn save_block(self, peer: UserId, is_blocked: bool, now: Timestamp) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO user_block (scope, user_id, created_at, is_lifted, is_told)
             VALUES (?, ?, ?, ?, 0)
             ON CONFLICT (scope, user_id) DO UPDATE SET created_at = excluded.created_at,
                is_lifted = excluded.is_lifted, is_told = 0",
            params![self.scope, &peer, now, !is_blocked],
        )?;
        Ok(())
    }

    fn block_is_told(self, peer: UserId) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE user_block SET is_told = 1 WHERE scope = ? AND user_id = ?",
            params![self.scope, &peer],
        )?;
        Ok(())
    }

    fn forget_block(self, peer: UserId) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM user_block WHERE scope = ? AND user_id = ?",
            params![self.scope, &peer],
        )?;
        Ok(())
    }

    fn blocks(self) -> Result<Vec<BlockView>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id, created_at FROM user_block WHERE scope = ? AND is_lifted = 0
                 ORDER BY created_at DESC, user_id",
                params![self.scope],
            )?
            .rows
            .iter()
            .map(|row| {
                Ok(BlockView {
                    user_id: row.get(0)?,
                    created_at: row.get(1)?,
                })
            })
            .collect()
    }

    fn count_blocks(self) -> Result<u64, SqlError> {
        let count = self
            .sql
            .exec(
                "SELECT count(*) FROM user_block WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()?;
        Ok(count.unwrap_or(0))
    }

    fn untold_blocks(self) -> Result<Vec<(UserId, bool)>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id, is_lifted FROM user_block WHERE scope = ? AND is_told = 0",
                params![self.scope],
            )?
            .rows
            .iter()
            .map(|row| Ok((row.get(0)?, !row.get::<bool>(1)?)))
            .collect()
    }

    fn save_blocked_by(self, by: UserId, is_blocked: bool) -> Result<(), SqlError> {
        if is_blocked {
            self.sql.exec(
                "INSERT INTO user_blocked_by (scope, user_id) VALUES (?, ?)
                 ON CONFLICT DO NOTHING",
                params![self.scope, &by],
            )?;
        } else {
            self.sql.exec(
                "DELETE FROM user_blocked_by WHERE scope = ? AND user_id = ?",
                params![self.scope, &by],
            )?;
        }
        Ok(())
    }

    /// Whether this user has blocked `other`, or the other way round.
    pub fn is_apart_from(self, other: UserId) -> Result<bool, SqlError> {
        let apart = self
            .sql
            .exec(
                "SELECT EXISTS (SELECT 1 FROM user_block
                        WHERE scope = ? AND user_id = ? AND is_lifted = 0)
                    OR EXISTS (SELECT 1 FROM user_blocked_by WHERE scope = ? AND user_id = ?)",
                params![self.scope, &other, self.scope, &other],
            )?
            .scalar()?;
        Ok(apart.unwrap_or(false))
    }
}

impl<S: Sql> UserService<S> {
    /// Blocks another user, or lifts that. The answer comes once both the other's object and the
    /// direct conversation of the two know it.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request` for oneself;
    /// `conflict` over the limit; later `not_found` for one who does not exist, and `unavailable`
    /// where it could not be told: it is then told later, and asking again waits for it.
    pub(super) fn block(
        &mut self,
        call: Block,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Reply, ServiceError> {
        let Block {
            device_id,
            user_id: peer,
            is_blocked,
        } = call;
        self.store_for(device_id)?;
        let owner = self.owner()?;
        let store = self.store();
        let known = store.block(peer)?;
        let before = known.is_some_and(|block| block.is_blocked);
        if owner == peer {
            return Err(Problem::invalid_field("user_id", "is your own").into());
        }
        if before == is_blocked && known.is_none_or(|block| block.is_told) {
            return object::reply_json(&()).map(Reply::Now);
        }
        if known.is_none() && store.count_blocks()? >= limits::BLOCKS {
            let detail = format!("At most {} users can be blocked.", limits::BLOCKS);
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        if before != is_blocked {
            store.save_block(peer, is_blocked, now)?;
        }
        // It is written: whatever fails now, it is told.
        self.errands_due(now + RETRY);
        let request = self.next_request();
        if before != is_blocked {
            self.presence_parted(peer, now, effects)?;
        }
        let is_first = !self.tellings.contains_key(&peer);
        self.tellings.entry(peer).or_default().push(request);
        if is_first {
            self.tell_block(owner, peer, is_blocked, false, effects);
        }
        Ok(Reply::Later(request))
    }

    fn tell_block(
        &mut self,
        owner: UserId,
        peer: UserId,
        is_blocked: bool,
        user_knows: bool,
        effects: &mut Effects,
    ) {
        let ticket = Some(self.ticket(Pending::Block(PendingBlock {
            peer,
            is_blocked,
            user_knows,
        })));
        effects.push(if user_knows {
            Effect::AskConversation {
                id: ConversationId::direct(owner, peer),
                request: SetBlock {
                    blocker: owner,
                    is_blocked,
                }
                .into(),
                ticket,
            }
        } else {
            Effect::AskUser {
                id: peer,
                request: BlockedBy {
                    by: owner,
                    is_blocked,
                }
                .into(),
                ticket,
            }
        });
    }

    /// The other user's object, or the conversation, has been told, or did not answer.
    pub(super) fn block_told(
        &mut self,
        told: PendingBlock,
        answer: Result<(), Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let peer = told.peer;
        let gone_on = self.block_goes_on(told, answer, now, effects);
        if gone_on.is_err() {
            // Nobody is being told any more: whoever waits is answered, and it is told later.
            self.errands_due(now + RETRY);
            self.blocks_answered(peer, &Err(Problem::internal()), effects)?;
        }
        gone_on
    }

    fn block_goes_on(
        &mut self,
        told: PendingBlock,
        answer: Result<(), Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let peer = told.peer;
        let owner = self.owner()?;
        match answer {
            Ok(()) if !told.user_knows => {
                self.tell_block(owner, peer, told.is_blocked, true, effects);
                Ok(())
            }
            Ok(()) => {
                let store = self.store();
                match store.block(peer)? {
                    Some(now) if now.is_blocked != told.is_blocked => {
                        self.tell_block(owner, peer, now.is_blocked, false, effects);
                        return Ok(());
                    }
                    Some(now) if now.is_blocked => store.block_is_told(peer)?,
                    _ => store.forget_block(peer)?,
                }
                self.blocks_answered(peer, &Ok(()), effects)
            }
            Err(problem) if problem.code == Code::NotFound && !told.user_knows => {
                // There is no such user.
                self.store().forget_block(peer)?;
                self.blocks_answered(peer, &Err(problem), effects)
            }
            Err(_) => {
                self.errands_due(now + RETRY);
                let detail = "The block could not be told to all yet. Ask again to be sure.";
                let problem = Problem::unavailable(detail);
                self.blocks_answered(peer, &Err(problem), effects)
            }
        }
    }

    fn blocks_answered(
        &mut self,
        peer: UserId,
        outcome: &Result<(), Problem>,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        for request in self.tellings.remove(&peer).unwrap_or_default() {
            let answer = match outcome {
                Ok(()) => Ok(object::reply_json(&())?),
                Err(problem) => Err(problem.clone()),
            };
            effects.push(Effect::Answer { request, answer });
        }
        Ok(())
    }

    /// Tells what could not be told before.
    pub(super) fn resume_blocks(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let owner = self.owner()?;
        for (peer, is_blocked) in self.store().untold_blocks()? {
            self.errands_due(now + RETRY);
            if let Entry::Vacant(telling) = self.tellings.entry(peer) {
                telling.insert(Vec::new());
                self.tell_block(owner, peer, is_blocked, false, effects);
            }
        }
        Ok(())
    }

    /// Whom the user has blocked, the last one first.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out.
    pub fn list_blocks(&mut self, call: ListBlocks) -> Result<BlockList, ServiceError> {
        let blocks = self.store_for(call.device_id)?.blocks()?;
        Ok(BlockList { blocks })
    }

    /// Another user has blocked this one, or no longer does.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn blocked_by(
        &mut self,
        call: BlockedBy,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        self.require_user()?;
        self.store().save_blocked_by(call.by, call.is_blocked)?;
        self.presence_parted(call.by, now, effects)
    }

    /// May `adder` let this user into a group?
    ///
    /// # Errors
    /// `not_found` where this user does not exist; `forbidden` where it has blocked the adder, or
    /// is suspended.
    pub fn admit_to(&mut self, call: AdmitTo) -> Result<(), ServiceError> {
        self.require_user()?;
        let store = self.store();
        let is_blocked = store.block(call.adder)?.is_some_and(|it| it.is_blocked);
        if is_blocked || store.is_suspended()? {
            let detail = "You may not add this user.";
            return Err(Problem::new(Code::Forbidden, detail).into());
        }
        Ok(())
    }

    /// The user exists.
    pub(super) fn require_user(&mut self) -> Result<UserId, ServiceError> {
        let missing = || ServiceError::from(Problem::not_found("user"));
        if !self.schema.is_there(&self.sql)? {
            return Err(missing());
        }
        self.store().user_id()?.ok_or_else(missing)
    }
}
