//! Where a message comes from, and what has become of it.

use serde::{Deserialize, Serialize};

use crate::ids::UserId;
use crate::time::Timestamp;

/// Where a forwarded message comes from: its first author, in another conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedFrom {
    /// Who wrote it.
    pub sender_id: UserId,
    /// When.
    pub created_at: Timestamp,
}

/// How a message was reacted to with one emoji.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactions {
    /// With what.
    pub emoji: String,
    /// By how many.
    pub count: u32,
    /// Whether the one who looks is among them.
    pub reacted: bool,
    /// By whom: the first of them, at most [`crate::limits::REACTION_USERS`].
    pub user_ids: Vec<UserId>,
}

/// How a poll stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollResult {
    /// How many have voted for each option.
    pub votes: Vec<u32>,
    /// How many have voted.
    pub voters: u32,
    /// What the one who looks has voted for.
    pub voted: Vec<u8>,
    /// Whether it takes no more votes.
    pub is_closed: bool,
}

/// The thread that hangs on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSummary {
    /// How many replies there are, deleted ones left out.
    pub replies: u32,
    /// When the last of them was sent.
    pub last_reply_at: Timestamp,
}
