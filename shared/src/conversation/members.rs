//! The members of a group: who comes in, who goes, and what each may do.
//!
//! What always holds:
//! - A group with members has exactly one owner, after every event.
//! - At most [`limits::GROUP_MEMBERS`] are members at once, however many let others in.
//! - One who is removed gets the event that says so as its last (see `lanes`), and is evicted
//!   from here at once.

use super::call::{AddMembers, ChangeRole, RemoveMember};
use super::group_store::Former;
use super::policy::{self, Action, Member};
use super::service::{ConversationService, Effects, Eviction, State};
use super::store::Store;
use crate::ids::UserId;
use crate::limits;
use crate::planted::{self, Bug};
use crate::protocol::conversation::{MemberView, Role};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::frame::CloseCode;
use crate::protocol::group::{GroupChange, MemberRemoved, MembersAdded, RoleChanged};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Lets others in, who then see what comes from their joining on.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `forbidden`; `invalid_request`; `conflict`
    /// where there would be too many members.
    pub fn add_members(
        &mut self,
        call: &AddMembers,
        now: Timestamp,
    ) -> Result<(MembersAdded, Effects), ServiceError> {
        let (state, _) = self.allowed(call.actor, Action::AddMembers)?;
        check_count(&call.user_ids)?;
        let mut added: Vec<UserId> = Vec::new();
        for user_id in &call.user_ids {
            if !state.members.contains_key(user_id) && !added.contains(user_id) {
                added.push(*user_id);
            }
        }
        if added.is_empty() {
            return Ok((MembersAdded { added }, Effects::default()));
        }
        if state.members.len() + added.len() > limits::GROUP_MEMBERS {
            let detail = format!("A group has at most {} members.", limits::GROUP_MEMBERS);
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        let (seq, created_at) = state.next(now);
        let event = Event::MemberAdded(MemberAdded {
            conversation_id: state.meta.conversation_id,
            seq,
            user_ids: added.clone(),
            added_by: call.actor,
            created_at,
        });
        let members: Vec<_> = added
            .iter()
            .map(|user_id| Member {
                user_id: *user_id,
                role: Role::Member,
                joined_at: created_at,
                visible_from: if planted::is_on(Bug::NewcomerSeesAll) {
                    Seq::new(1)
                } else {
                    seq
                },
                is_suspended: false,
            })
            .collect();
        let write = |store: &Store<'_, S>| members.iter().try_for_each(|one| store.admit(one));
        let let_in = |state: &mut State| {
            for member in &members {
                state.former.remove(&member.user_id);
                state.members.insert(member.user_id, *member);
                state.lanes.add(member.user_id);
            }
        };
        let effects = self.commit_then(vec![event], write, let_in, now)?;
        Ok((MembersAdded { added }, effects))
    }

    /// Gives a member another role, or hands the group over.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for another who is none; `forbidden`.
    pub fn change_role(
        &mut self,
        call: ChangeRole,
        now: Timestamp,
    ) -> Result<(MemberView, Effects), ServiceError> {
        let (state, actor) = self.as_member(call.actor)?;
        let target = state.members.get(&call.user_id).copied();
        let change = Action::ChangeRole {
            // Who is no member is not told apart from who is a plain one, before one may act.
            from: target.map_or(Role::Member, |member| member.role),
            to: call.role,
        };
        policy::require(change, state.standing(&actor))?;
        let target = target.ok_or_else(|| Problem::not_found("member"))?;
        let view = MemberView {
            user_id: target.user_id,
            role: call.role,
            joined_at: target.joined_at,
        };
        if target.role == call.role {
            return Ok((view, Effects::default()));
        }
        let former_owner = (call.role == Role::Owner).then_some(call.actor);
        let (seq, created_at) = state.next(now);
        let event = Event::Group(GroupChange::RoleChanged(RoleChanged {
            conversation_id: state.meta.conversation_id,
            seq,
            user_id: target.user_id,
            role: call.role,
            former_owner_id: former_owner,
            changed_by: call.actor,
            created_at,
        }));
        let roles: Vec<_> = former_owner
            .map(|owner| (owner, Role::Admin))
            .into_iter()
            .chain([(target.user_id, call.role)])
            .collect();
        let write = |store: &Store<'_, S>| {
            roles
                .iter()
                .try_for_each(|(user_id, role)| store.save_role(user_id, *role))
        };
        let effects = self.commit_then(
            vec![event],
            write,
            |state| {
                for (user_id, role) in &roles {
                    state.set_role(*user_id, *role);
                }
            },
            now,
        )?;
        Ok((view, effects))
    }

    /// Removes a member, or lets the caller leave. An owner who leaves hands the group to the
    /// longest-standing admin, else member. The group ends with its last member.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for another who is none; `forbidden`.
    pub fn remove_member(
        &mut self,
        call: RemoveMember,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let (state, actor) = self.as_member(call.actor)?;
        let target = state.members.get(&call.user_id).copied();
        let removal = if call.user_id == call.actor {
            Action::Leave
        } else {
            Action::RemoveMember(target.map_or(Role::Member, |member| member.role))
        };
        policy::require(removal, state.standing(&actor))?;
        let target = target.ok_or_else(|| Problem::not_found("member"))?;
        let conversation_id = state.meta.conversation_id;
        let (first, created_at) = state.next(now);
        let heir = (target.role == Role::Owner)
            .then(|| state.heir_of(target.user_id))
            .flatten();
        let mut events: Vec<_> = heir
            .map(|heir| {
                Event::Group(GroupChange::RoleChanged(RoleChanged {
                    conversation_id,
                    seq: first,
                    user_id: heir,
                    role: Role::Owner,
                    former_owner_id: Some(target.user_id),
                    changed_by: call.actor,
                    created_at,
                }))
            })
            .into_iter()
            .collect();
        let end = if events.is_empty() {
            first
        } else {
            first.next()
        };
        events.push(Event::Group(GroupChange::MemberRemoved(MemberRemoved {
            conversation_id,
            seq: end,
            user_id: target.user_id,
            removed_by: call.actor,
            created_at,
        })));
        let is_last = state.members.len() == 1;
        let write = |store: &Store<'_, S>| {
            if let Some(heir) = &heir {
                store.save_role(heir, Role::Owner)?;
            }
            store.dismiss(&target, end)?;
            if is_last { store.end(now) } else { Ok(()) }
        };
        let mut effects = self.commit_then(
            events,
            write,
            |state| {
                if let Some(heir) = heir {
                    state.set_role(heir, Role::Owner);
                }
                state.dismiss(&target, end);
                if is_last {
                    state.end();
                }
            },
            now,
        )?;
        if !planted::is_on(Bug::RemovedStaysAttached) {
            effects.evicted = vec![evicted(target.user_id)];
        }
        Ok(effects)
    }
}

impl State {
    fn set_role(&mut self, user_id: UserId, role: Role) {
        if let Some(member) = self.members.get_mut(&user_id) {
            member.role = role;
        }
    }

    pub(super) fn dismiss(&mut self, member: &Member, end: Seq) {
        let user_id = member.user_id;
        self.members.remove(&user_id);
        self.positions.forget(user_id);
        let former = Former {
            visible_from: member.visible_from,
            end,
        };
        self.former.insert(user_id, former);
        self.lanes.end(user_id, end);
    }

    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.timer_at = None;
    }

    /// Who owns the group once `owner` has left.
    fn heir_of(&self, owner: UserId) -> Option<UserId> {
        self.members
            .values()
            .filter(|member| member.user_id != owner)
            .min_by_key(|member| (member.role != Role::Admin, member.joined_at, member.user_id))
            .map(|member| member.user_id)
    }
}

/// One who is no longer a member has no business here.
pub(super) const fn evicted(user_id: UserId) -> Eviction {
    Eviction {
        user_id,
        code: CloseCode::NotMember,
    }
}

fn check_count(user_ids: &[UserId]) -> Result<(), Problem> {
    if (1..=limits::LIST_ITEMS).contains(&user_ids.len()) {
        Ok(())
    } else {
        let message = format!("must have 1 to {} ids", limits::LIST_ITEMS);
        Err(Problem::invalid_field("user_ids", message))
    }
}
