//! What is done with a conversation itself: its name and picture, its members and their roles, its
//! end; and who is kept out.
//!
//! What always holds:
//! - Each change is an event of the log, stored in one transaction with what it changes. What is so
//!   already is no change: it makes no event, and is no error.
//! - A group with members has exactly one owner, after every event.
//! - At most [`limits::GROUP_MEMBERS`] are members at once, however many let others in.
//! - One who is removed gets the event that says so as its last (see `lanes`), and is evicted
//!   from here at once.

use super::call::{
    AddMembers, ChangeRole, CopyMessage, Delete, GetConversation, RemoveMember, SetBlock,
    SetSuspended, UpdateConversation,
};
use super::group_store::Former;
use super::policy::{self, Action, Member};
use super::service::{ConversationService, Effects, Eviction, State};
use super::store::{MembersBody, NewEvent, NewEventKind, Store};
use crate::ids::UserId;
use crate::limits;
use crate::protocol::conversation::{ConversationType, ConversationView, MemberView, Role};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::frame::CloseCode;
use crate::protocol::group::{
    ConversationChanged, ConversationDeleted, GroupChange, MemberRemoved, MembersAdded,
    ProfileFields, RoleChanged,
};
use crate::protocol::moderation::ReportedMessage;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Changes how the conversation is called and looks, or how long it keeps messages.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `forbidden`; `invalid_request`.
    pub fn update(
        &mut self,
        call: UpdateConversation,
        now: Timestamp,
    ) -> Result<(ConversationView, Effects), ServiceError> {
        let (state, member) = self.as_member(call.actor)?;
        let patch = call.patch;
        if patch.names_profile() || patch.expires_after.is_none() {
            policy::require(Action::ChangeProfile, state.standing(&member))?;
        }
        if patch.expires_after.is_some() {
            policy::require(Action::ChangeExpiry, state.standing(&member))?;
        }
        patch.validate()?;
        let meta = &state.meta;
        let changed = ProfileFields {
            name: patch.name.filter(|name| *name != meta.name),
            description: patch.description.filter(|text| *text != meta.description),
            avatar_url: patch.avatar.filter(|url| *url != meta.avatar_url),
            expires_after: patch
                .expires_after
                .filter(|after| *after != state.expires_after),
        };
        let mut effects = Effects::default();
        if !changed.is_empty() {
            let mut meta = meta.clone();
            let fields = changed.clone();
            meta.name = fields.name.unwrap_or(meta.name);
            meta.description = fields.description.unwrap_or(meta.description);
            meta.avatar_url = fields.avatar_url.unwrap_or(meta.avatar_url);
            let expires_after = fields.expires_after.unwrap_or(state.expires_after);
            let (seq, created_at) = state.next(now);
            let event = Event::Group(GroupChange::ConversationChanged(ConversationChanged {
                conversation_id: meta.conversation_id,
                seq,
                changed,
                changed_by: call.actor,
                created_at,
            }));
            effects = self.commit(
                vec![event],
                |store| store.save_profile(&meta, expires_after),
                now,
            )?;
            if let Some(state) = &mut self.state {
                state.meta = meta;
                state.expires_after = expires_after;
            }
        }
        let view = self.get(GetConversation { actor: call.actor })?;
        Ok((view, effects))
    }

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
                visible_from: seq,
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
        effects.evicted = vec![evicted(target.user_id)];
        Ok(effects)
    }

    /// Ends the group: its members hear of it, and what is left is then erased.
    ///
    /// # Errors
    /// `not_found` for those who are not members; `forbidden`.
    pub fn delete(&mut self, call: Delete, now: Timestamp) -> Result<Effects, ServiceError> {
        let (state, _) = self.allowed(call.actor, Action::Delete)?;
        let (seq, created_at) = state.next(now);
        let event = Event::Group(GroupChange::ConversationDeleted(ConversationDeleted {
            conversation_id: state.meta.conversation_id,
            seq,
            deleted_by: call.actor,
            created_at,
        }));
        let members: Vec<_> = state.members.values().copied().collect();
        let write = |store: &Store<'_, S>| {
            members
                .iter()
                .try_for_each(|member| store.dismiss(member, seq))?;
            store.end(now)
        };
        let mut effects = self.commit_then(
            vec![event],
            write,
            |state| {
                for member in &members {
                    state.dismiss(member, seq);
                }
                state.end();
            },
            now,
        )?;
        effects.evicted = members.iter().map(|one| evicted(one.user_id)).collect();
        Ok(effects)
    }

    /// Notes that one of the two of a direct conversation has blocked the other, or no longer
    /// does; also where they have no conversation yet.
    ///
    /// # Errors
    /// `conflict` where it is no direct conversation; when storage fails.
    pub fn set_block(&mut self, call: SetBlock) -> Result<(), ServiceError> {
        if let Some(state) = self.load()? {
            if state.meta.kind != ConversationType::Direct {
                let detail = "This is no direct conversation.";
                return Err(Problem::new(Code::Conflict, detail).into());
            }
        } else if call.is_blocked {
            self.store().install()?;
        } else if !self.store().is_installed()? {
            return Ok(());
        }
        self.store().save_block(&call.blocker, call.is_blocked)?;
        if let Some(state) = &mut self.state {
            if call.is_blocked {
                state.blockers.insert(call.blocker);
            } else {
                state.blockers.remove(&call.blocker);
            }
        }
        Ok(())
    }

    /// Notes whether a member's account is suspended: then it does nothing here.
    ///
    /// # Errors
    /// `not_found` for one who is no member; when storage fails.
    pub fn set_suspended(&mut self, call: SetSuspended) -> Result<Effects, ServiceError> {
        let state = self
            .load()?
            .ok_or_else(|| Problem::not_found("conversation"))?;
        let member = *state
            .members
            .get(&call.user_id)
            .ok_or_else(|| Problem::not_found("member"))?;
        if member.is_suspended != call.is_suspended {
            self.store()
                .save_suspension(&call.user_id, call.is_suspended)?;
            if let Some(member) = self
                .state
                .as_mut()
                .and_then(|state| state.members.get_mut(&call.user_id))
            {
                member.is_suspended = call.is_suspended;
            }
        }
        let code = CloseCode::TokenExpired;
        let eviction = Eviction {
            user_id: call.user_id,
            code,
        };
        Ok(Effects {
            evicted: call.is_suspended.then_some(eviction).into_iter().collect(),
            ..Effects::default()
        })
    }

    /// A copy of a message for moderators: what it said, also where it was deleted since, for as
    /// long as that is kept.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller may not see.
    pub fn copy_message(&mut self, call: CopyMessage) -> Result<ReportedMessage, ServiceError> {
        let (state, member) = self.allowed(call.actor, Action::Report)?;
        let conversation_id = state.meta.conversation_id;
        let store = self.store();
        let target = store
            .find_message(&call.message_id, member.visible_from)?
            .map(|seq| store.target(seq))
            .transpose()?
            .flatten()
            .ok_or_else(|| Problem::not_found("message"))?;
        let edit = target
            .edit_seq
            .map(|seq| store.edit_body(seq))
            .transpose()?;
        Ok(ReportedMessage {
            conversation_id,
            message_id: target.message_id,
            seq: target.seq,
            sender_id: target.sender_id,
            content_type: target.body.content_type,
            content: target.body.content.into_owned(),
            edited_content: edit.map(|edit| edit.content),
            is_deleted: target.deleted_seq.is_some() || target.is_expired,
            created_at: target.created_at,
        })
    }

    fn commit(
        &mut self,
        events: Vec<Event>,
        write: impl Fn(&Store<'_, S>) -> Result<(), SqlError>,
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        self.commit_then(events, write, |_| (), now)
    }

    /// Stores events with what they change, then changes memory, and tells everyone.
    fn commit_then(
        &mut self,
        events: Vec<Event>,
        write: impl Fn(&Store<'_, S>) -> Result<(), SqlError>,
        apply: impl FnOnce(&mut State),
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        let store = self.store();
        transact(&self.sql, || {
            for event in &events {
                store.insert_event(&stored(event)?)?;
            }
            write(&store)
        })?;
        let alarm = self.arm(now);
        if let (Some(state), Some(last)) = (&mut self.state, events.last()) {
            apply(state);
            state.head = last.seq();
            state.last_at = last.created_at();
            state.lanes.advance(last.seq(), now);
        }
        Ok(Effects {
            broadcast: events,
            alarm,
            deliver: true,
            ..Effects::default()
        })
    }
}

impl State {
    /// The number and the time of the next event.
    fn next(&self, now: Timestamp) -> (Seq, Timestamp) {
        (self.head.next(), now.max(self.last_at))
    }

    fn set_role(&mut self, user_id: UserId, role: Role) {
        if let Some(member) = self.members.get_mut(&user_id) {
            member.role = role;
        }
    }

    fn dismiss(&mut self, member: &Member, end: Seq) {
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

    fn end(&mut self) {
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

const fn evicted(user_id: UserId) -> Eviction {
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

/// The row of an event of a conversation itself.
fn stored(event: &Event) -> Result<NewEvent<'_>, SqlError> {
    let (sender_id, kind) = match event {
        Event::MemberAdded(added) => {
            let user_ids = added.user_ids.clone();
            (
                added.added_by,
                NewEventKind::MemberAdded(MembersBody { user_ids }),
            )
        }
        Event::Group(change) => (change.actor(), NewEventKind::Group(change)),
        _ => {
            return Err(SqlError::Unexpected {
                expected: "a change of the conversation itself",
                found: "another event".to_owned(),
            });
        }
    };
    Ok(NewEvent {
        seq: event.seq(),
        sender_id,
        created_at: event.created_at(),
        kind,
    })
}
