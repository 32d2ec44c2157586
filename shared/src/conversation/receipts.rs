//! Receipts: who is told when a member's devices have got a message, and when it has read it.
//!
//! What always holds:
//! - Receipts follow positions, which never go backwards; a delivery is told before the reading.
//! - In a direct conversation, and in a group of up to [`limits::SMALL_GROUP`] members, each author
//!   is told of its newest message that the position newly covers; in a larger group nobody is,
//!   and `info` tells who asks.
//! - Of reading only those are told who tell of theirs.
//! - They are shown to those who are connected, at best effort: what is missed is seen in `info`.

use std::collections::BTreeMap;

use super::call::{MarkPosition, MemberPosition};
use super::position_store::Written;
use super::positions::Place;
use super::service::{ConversationService, Effects, MemberSignal, State};
use super::store::Store;
use crate::ids::{MessageId, UserId};
use crate::limits;
use crate::protocol::frame::{Receipt, ServerFrame};
use crate::protocol::problem::ServiceError;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// The newest message of each sender, as far back as was looked: each event is read at most once
/// for as long as the memory lives.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    /// Everyone whose newest message lies after this one is in `by`.
    since: Seq,
    by: BTreeMap<UserId, Written>,
}

impl Recent {
    /// Nothing is known of what lies up to `head`.
    pub const fn after(head: Seq) -> Self {
        Self {
            since: head,
            by: BTreeMap::new(),
        }
    }

    /// A new message.
    pub fn sent(&mut self, sender_id: UserId, seq: Seq, message_id: MessageId) {
        self.by.insert(sender_id, Written { seq, message_id });
    }

    /// Looks as far back as `since`.
    fn look_back<S: Sql>(&mut self, store: &Store<'_, S>, since: Seq) -> Result<(), SqlError> {
        if since < self.since {
            for (sender_id, written) in store.newest_by_sender(since, self.since)? {
                self.by.entry(sender_id).or_insert(written);
            }
            self.since = since;
        }
        Ok(())
    }
}

impl State {
    /// Whether members hear of each other's receipts and typing as they happen.
    pub(super) fn is_small(&self) -> bool {
        self.members.len() <= limits::SMALL_GROUP
    }
}

impl<S: Sql> ConversationService<S> {
    /// Notes how far a member has come.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn mark_position(
        &mut self,
        call: MarkPosition,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        self.as_member(call.user_id)?;
        Ok(self.advance(call.user_id, &call.position, now)?)
    }

    /// One of a member's devices has everything up to `seq`.
    pub(super) fn mark_delivered(
        &mut self,
        user_id: UserId,
        seq: Seq,
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        let Some(state) = self.load()? else {
            return Ok(Effects::default());
        };
        let place = state.positions.of(user_id);
        let position = MemberPosition {
            delivered_seq: seq,
            read_seq: place.read.seq,
            read_receipts: place.read_receipts,
        };
        self.advance(user_id, &position, now)
    }

    /// A member has come as far as `position`. Nothing has changed where storage fails.
    pub(super) fn advance(
        &mut self,
        user_id: UserId,
        position: &MemberPosition,
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        self.load()?;
        let store = Store::new(&self.sql, self.scope, &self.bodies);
        let Some(state) = &mut self.state else {
            return Ok(Effects::default());
        };
        let before = state.positions.of(user_id);
        let after = before.advanced(position, state.head, now);
        if before == after || !state.members.contains_key(&user_id) {
            return Ok(Effects::default());
        }
        let signals = receipts(state, &store, user_id, &before, &after)?;
        state.positions.set(user_id, after);
        state.lanes.heard(user_id, now);
        Ok(Effects {
            signals,
            alarm: self.arm_soon(now),
            ..Effects::default()
        })
    }
}

/// Which kind of receipt.
type ReceiptFrame = fn(Receipt) -> ServerFrame;

/// Whom to tell that `user_id` has come from `before` to `after`.
fn receipts<S: Sql>(
    state: &mut State,
    store: &Store<'_, S>,
    user_id: UserId,
    before: &Place,
    after: &Place,
) -> Result<Vec<MemberSignal>, SqlError> {
    let mut signals = Vec::new();
    // One who has blocked the other shows it nothing, and is shown nothing.
    if !state.is_small() || !state.blockers.is_empty() {
        return Ok(signals);
    }
    // A member has neither got nor read what came before it did.
    let before_first = state
        .members
        .get(&user_id)
        .map_or(0, |member| member.visible_from.get().saturating_sub(1));
    let kinds: [(ReceiptFrame, bool, Seq, Seq); 2] = [
        (
            ServerFrame::DeliveryReceipt,
            false,
            before.delivered.seq,
            after.delivered.seq,
        ),
        (
            ServerFrame::ReadReceipt,
            true,
            before.read.seq,
            after.read.seq,
        ),
    ];
    for (frame, is_read, from, up_to_seq) in kinds {
        let from = from.max(Seq::new(before_first));
        if up_to_seq <= from || (is_read && !after.read_receipts) {
            continue;
        }
        state.recent.look_back(store, from)?;
        for author in state.members.keys().filter(|id| **id != user_id) {
            if is_read && !state.positions.of(*author).read_receipts {
                continue;
            }
            let newest = state.recent.by.get(author).copied();
            let covered = match newest {
                Some(newest) if newest.seq <= from => None,
                Some(newest) if newest.seq <= up_to_seq => Some(newest),
                Some(_) => store.newest_of(author, from, up_to_seq)?,
                None => None,
            };
            if let Some(covered) = covered {
                signals.push(MemberSignal {
                    to: *author,
                    frame: frame(Receipt {
                        conversation_id: state.meta.conversation_id,
                        message_id: covered.message_id,
                        up_to_seq,
                        user_id,
                    }),
                });
            }
        }
    }
    Ok(signals)
}
