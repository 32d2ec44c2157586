//! Making a conversation.

use std::collections::BTreeMap;

use super::call::{Create, CreateKind, Created};
use super::lanes::{Lanes, Progress};
use super::policy::{Member, require_member};
use super::positions::Positions;
use super::receipts::Recent;
use super::service::{ConversationService, Effects, State};
use super::store::{MembersBody, Meta, NewEvent, NewEventKind};
use crate::limits;
use crate::protocol::conversation::{ConversationType, Role};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Makes the conversation.
    ///
    /// # Errors
    /// `conflict` where a group exists; `invalid_request` over the limit of members.
    pub fn create(
        &mut self,
        call: Create,
        now: Timestamp,
    ) -> Result<(Created, Effects), ServiceError> {
        if let Some(state) = self.load()? {
            return match call.kind {
                CreateKind::Direct { .. } => {
                    require_member(state.members.get(&call.creator))?;
                    Ok((Created { created: false }, Effects::default()))
                }
                CreateKind::Group { .. } => {
                    Err(Problem::new(Code::Conflict, "The conversation exists.").into())
                }
            };
        }
        let (kind, name, description, others) = match call.kind {
            CreateKind::Direct { peer } => (ConversationType::Direct, None, None, vec![peer]),
            CreateKind::Group {
                name,
                description,
                members,
            } => (ConversationType::Group, name, description, members),
        };
        let is_group = kind == ConversationType::Group;
        let meta = Meta {
            conversation_id: call.conversation_id,
            kind,
            name,
            description,
            avatar_url: None,
            encrypted: call.encrypted,
            created_by: call.creator,
            created_at: now,
        };
        let member = |user_id, role| Member {
            user_id,
            role,
            joined_at: now,
            visible_from: Seq::new(1),
            is_suspended: false,
        };
        let creator_role = if is_group { Role::Owner } else { Role::Member };
        let mut members = BTreeMap::from([(call.creator, member(call.creator, creator_role))]);
        for user_id in others {
            members
                .entry(user_id)
                .or_insert_with(|| member(user_id, Role::Member));
        }
        if members.len() > limits::GROUP_MEMBERS {
            let message = format!("must make at most {} members", limits::GROUP_MEMBERS);
            return Err(Problem::invalid_field("member_ids", message).into());
        }
        let first = is_group.then(|| MemberAdded {
            conversation_id: call.conversation_id,
            seq: Seq::new(1),
            user_ids: members.keys().copied().collect(),
            added_by: call.creator,
            created_at: now,
        });
        let store = self.store();
        store.install()?;
        let blockers = store.blockers()?.into_iter().collect();
        transact(&self.sql, || {
            store.insert_meta(&meta)?;
            for member in members.values() {
                store.insert_member(member)?;
            }
            if let Some(first) = &first {
                store.insert_event(&NewEvent {
                    seq: first.seq,
                    sender_id: first.added_by,
                    created_at: first.created_at,
                    kind: NewEventKind::MemberAdded(MembersBody {
                        user_ids: first.user_ids.clone(),
                    }),
                })?;
            }
            Ok::<_, SqlError>(())
        })?;
        let head = first.as_ref().map_or(Seq::ZERO, |event| event.seq);
        self.state = Some(State {
            lanes: Lanes::new(head, members.keys().map(|id| (*id, None))),
            meta,
            members,
            head,
            last_at: now,
            saved: Progress::default(),
            positions: Positions::default(),
            recent: Recent::after(head),
            expires_after: None,
            timer_at: None,
            former: BTreeMap::new(),
            blockers,
            has_ended: false,
            archived: Seq::ZERO,
            wiped: Seq::ZERO,
            waits_for_archive: false,
        });
        let effects = Effects {
            broadcast: first.map(Event::MemberAdded).into_iter().collect(),
            alarm: self.arm(now),
            deliver: true,
            ..Effects::default()
        };
        Ok((Created { created: true }, effects))
    }
}
