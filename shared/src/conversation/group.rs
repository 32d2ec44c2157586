//! What is done with a conversation itself: its name and picture, how long it keeps messages, its
//! end. Its members are the business of [`super::members`].
//!
//! What always holds: each change is an event of the log, stored in one transaction with what it
//! changes. What is so already is no change: it makes no event, and is no error.

use super::call::{Delete, GetConversation, UpdateConversation};
use super::members::evicted;
use super::policy::{self, Action};
use super::service::{ConversationService, Effects, State};
use super::store::{MembersBody, NewEvent, NewEventKind, Store};
use crate::protocol::conversation::ConversationView;
use crate::protocol::event::Event;
use crate::protocol::group::{
    ConversationChanged, ConversationDeleted, GroupChange, ProfileFields,
};
use crate::protocol::problem::ServiceError;
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

    fn commit(
        &mut self,
        events: Vec<Event>,
        write: impl Fn(&Store<'_, S>) -> Result<(), SqlError>,
        now: Timestamp,
    ) -> Result<Effects, SqlError> {
        self.commit_then(events, write, |_| (), now)
    }

    /// Stores events with what they change, then changes memory, and tells everyone.
    pub(super) fn commit_then(
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
    pub(super) fn next(&self, now: Timestamp) -> (Seq, Timestamp) {
        (self.head.next(), now.max(self.last_at))
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
