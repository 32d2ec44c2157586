//! Who may do what in a conversation: the one table that says so.
//!
//! What always holds: to those who are not members a conversation does not exist, whatever they
//! ask; a suspended member does nothing; everything else is a row of [`least_role`], but for what
//! a direct conversation refuses to one whom the other has blocked.
//!
//! Must not: look at anything but the action, the kind of conversation, and the caller's
//! standing. What else an act needs (how old the message is, whose it is) is its own rule.

use crate::ids::UserId;
use crate::protocol::conversation::{ConversationType, Role};
use crate::protocol::problem::{Code, Problem};
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
    /// Whether the account is suspended.
    pub is_suspended: bool,
}

/// What a member can want to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read it: what it is, its members, messages and events; delete a message for oneself.
    Read,
    /// Send a message, now or later, or forward one to here.
    SendMessage,
    /// Edit a message of one's own.
    EditOwn,
    /// Delete a message of one's own for everyone.
    DeleteOwn,
    /// Delete another's message for everyone, or one's own at any time.
    DeleteAny,
    /// React to a message, or take that back.
    React,
    /// Pin a message, or take it down.
    Pin,
    /// Vote in a poll.
    Vote,
    /// End a poll of one's own.
    ClosePoll,
    /// Show that one is writing.
    SignalTyping,
    /// Report a message to the moderators.
    Report,
    /// Let messages disappear after a time.
    ChangeExpiry,
    /// Change the name, description or picture.
    ChangeProfile,
    /// Let others in.
    AddMembers,
    /// Make a member of one role one of another.
    ChangeRole {
        /// The role that the member has.
        from: Role,
        /// The role that it is to have; to make another the owner is to hand the group over.
        to: Role,
    },
    /// Remove a member of this role.
    RemoveMember(Role),
    /// Leave.
    Leave,
    /// End the group.
    Delete,
}

/// What a member is in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What the conversation is.
    pub kind: ConversationType,
    /// The member's role.
    pub role: Role,
    /// Whether the other member of a direct conversation has blocked this one.
    pub is_blocked: bool,
}

/// Only members read, write and hear of a conversation. To everyone else it does not exist.
///
/// # Errors
/// `not_found` where `found` is none; `unauthenticated` for a member who is suspended.
pub fn require_member(found: Option<&Member>) -> Result<Member, Problem> {
    let member = found
        .copied()
        .ok_or_else(|| Problem::not_found("conversation"))?;
    if member.is_suspended {
        return Err(Problem::unauthenticated("This account is suspended."));
    }
    Ok(member)
}

/// A member of this standing must be allowed to do this.
///
/// # Errors
/// `forbidden`.
pub fn require(action: Action, standing: Standing) -> Result<(), Problem> {
    if !has_role_for(action, standing) {
        return Err(Problem::new(Code::Forbidden, refusal(action, standing)));
    }
    if standing.is_blocked && reaches_the_other(action) {
        let detail = "The other member does not take this from you.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(())
}

/// Whether a member of this standing may do this.
#[must_use]
pub const fn allows(action: Action, standing: Standing) -> bool {
    has_role_for(action, standing) && !(standing.is_blocked && reaches_the_other(action))
}

/// The table: the least role that may do it; none where nobody may.
const fn least_role(action: Action, kind: ConversationType) -> Option<Role> {
    use Action as Do;
    use ConversationType::{Direct, Group};
    use Role::{Admin, Member, Owner};
    match (action, kind) {
        (
            Do::Read
            | Do::SendMessage
            | Do::EditOwn
            | Do::DeleteOwn
            | Do::React
            | Do::Pin
            | Do::Vote
            | Do::ClosePoll
            | Do::SignalTyping
            | Do::Report,
            Direct | Group,
        )
        | (Do::ChangeExpiry, Direct)
        | (Do::Leave, Group) => Some(Member),
        (
            Do::DeleteAny
            | Do::ChangeExpiry
            | Do::ChangeProfile
            | Do::AddMembers
            | Do::RemoveMember(Member)
            | Do::ChangeRole {
                from: Member,
                to: Member | Admin,
            },
            Group,
        ) => Some(Admin),
        (
            Do::Delete
            | Do::RemoveMember(Admin)
            | Do::ChangeRole {
                from: Admin,
                to: Member | Admin,
            }
            | Do::ChangeRole { to: Owner, .. },
            Group,
        ) => Some(Owner),
        // The owner's role goes with handing the group over, or with leaving it.
        (Do::RemoveMember(Owner) | Do::ChangeRole { from: Owner, .. }, Group)
        // A direct conversation is between the two, for ever.
        | (
            Do::DeleteAny
            | Do::ChangeProfile
            | Do::AddMembers
            | Do::RemoveMember(_)
            | Do::ChangeRole { .. }
            | Do::Leave
            | Do::Delete,
            Direct,
        ) => None,
    }
}

const fn rank(role: Role) -> u8 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

const fn has_role_for(action: Action, standing: Standing) -> bool {
    match least_role(action, standing.kind) {
        Some(least) => rank(standing.role) >= rank(least),
        None => false,
    }
}

/// Whether one whom the other has blocked would speak to the other by it.
const fn reaches_the_other(action: Action) -> bool {
    matches!(
        action,
        Action::SendMessage
            | Action::EditOwn
            | Action::React
            | Action::Pin
            | Action::Vote
            | Action::ClosePoll
            | Action::SignalTyping
            | Action::ChangeExpiry
    )
}

fn refusal(action: Action, standing: Standing) -> &'static str {
    match least_role(action, standing.kind) {
        None if standing.kind == ConversationType::Direct => {
            "A direct conversation does not take this: it is between the two for ever."
        }
        None => "The owner keeps this role until the group is handed over.",
        Some(Role::Owner) => "Only the owner of the group may do this.",
        Some(_) => "Only an admin or the owner of the group may do this.",
    }
}
