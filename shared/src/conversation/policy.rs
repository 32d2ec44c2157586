//! Who may do what in a conversation.

use crate::ids::UserId;
use crate::protocol::conversation::Role;
use crate::protocol::problem::Problem;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// A member, as the rules see one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// As what.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
    /// The first event that the member may read.
    pub visible_from: Seq,
}

/// Only members read, write and hear of a conversation. To everyone else it does not exist.
///
/// # Errors
/// `not_found` where `found` is none.
pub fn require_member(found: Option<&Member>) -> Result<Member, Problem> {
    found
        .copied()
        .ok_or_else(|| Problem::not_found("conversation"))
}
