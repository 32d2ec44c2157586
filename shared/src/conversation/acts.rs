//! What members do with messages: edit, delete, react, pin, vote.
//!
//! What always holds:
//! - Each is an event of the log with the next seq, stored in one transaction with what it
//!   changes. Asked for again, nothing is stored, and the answer is the first one's.
//! - Nothing is done with a message that was deleted or has expired, nor with one that the
//!   caller does not see.
//! - What a deleted message said is in no read from then on, and kept for
//!   [`limits::DELETED_CONTENT`] more, until its timer lets go of it.

use super::act_store::{Reacted, Target};
use super::call::{ActOn, Acted};
use super::policy::{self, Action, Member, Standing};
use super::service::{ConversationService, Effects, Unseen};
use super::store::{Store, Viewer};
use super::timers::Due;
use crate::ids::{ConversationId, UserId};
use crate::limits;
use crate::protocol::act::Act;
use crate::protocol::change::{
    MessageChange, MessageDeleted, MessageEdited, PinChanged, ReactionChanged,
};
use crate::protocol::event::Event;
use crate::protocol::input::Fields;
use crate::protocol::message::{ContentType, check_content};
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

mod polls;

/// What an act is about.
struct Scene {
    conversation_id: ConversationId,
    standing: Standing,
    member: Member,
    target: Target,
    /// The event that the act would be.
    seq: Seq,
    at: Timestamp,
}

/// What comes of an act: it is as asked already, by this event, or it becomes so.
enum Verdict<'a, S> {
    Already(Seq),
    Becomes(MessageChange, Write<'a, S>),
}

/// What is written beside the event.
type Write<'a, S> = Box<dyn Fn(&Store<'_, S>) -> Result<(), SqlError> + 'a>;

impl<S: Sql> ConversationService<S> {
    /// Does something with a message, so that everyone sees it.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and for a message that the caller does not
    /// see; `conflict` for one that was deleted or has expired, and over a limit; `forbidden`
    /// where someone else may, or might have earlier; `invalid_request`.
    pub fn act(&mut self, call: ActOn, now: Timestamp) -> Result<(Acted, Effects), ServiceError> {
        let (state, member) = self.allowed(call.actor, action_of(&call.act))?;
        call.act.validate()?;
        let conversation_id = state.meta.conversation_id;
        let standing = state.standing(&member);
        let seq = state.head.next();
        let at = now.max(state.last_at);
        let strangers = match &call.act {
            Act::Edit {
                mentions: Some(mentions),
                ..
            } => mentions.iter().any(|id| !state.members.contains_key(id)),
            _ => false,
        };
        if strangers {
            return Err(Problem::invalid_field("mentions", "must all be members").into());
        }
        let store = self.store();
        let target = store
            .find_seen(&call.message_id, Viewer::from(&member))?
            .map(|seq| store.target(seq))
            .transpose()?
            .flatten()
            .ok_or_else(|| Problem::not_found("message"))?;
        let scene = Scene {
            conversation_id,
            standing,
            member,
            target,
            seq,
            at,
        };
        let verdict = match &call.act {
            Act::Edit { content, mentions } => {
                scene.edit(&store, content, mentions.as_deref(), now)
            }
            Act::Delete => scene.delete(&store, now),
            Act::React { emoji, remove } => scene.react(&store, emoji, *remove),
            Act::Pin { remove } => scene.pin(&store, *remove),
            Act::Vote { options } => scene.vote(&store, options),
            Act::ClosePoll => scene.close_poll(&store),
        }?;
        match verdict {
            Verdict::Already(seq) => {
                let viewer = Viewer::from(&member);
                let event = store.event_at(conversation_id, viewer, seq)?;
                let duplicate = true;
                Ok((Acted { event, duplicate }, Effects::default()))
            }
            Verdict::Becomes(change, write) => {
                let target = scene.target.seq;
                let unseen = transact(&self.sql, || {
                    let previous = scene.target.edit_seq;
                    store.insert_change(&change, &call.actor, target, previous)?;
                    write(&store)?;
                    store.hiders(target)
                })?;
                let is_deletion = matches!(change, MessageChange::MessageDeleted(_));
                let due_at = is_deletion.then(|| now + limits::DELETED_CONTENT);
                Ok(self.changed(change, unseen, due_at, now))
            }
        }
    }

    /// The change is stored: everyone is told.
    fn changed(
        &mut self,
        change: MessageChange,
        hiders: Vec<UserId>,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> (Acted, Effects) {
        let target = change.message_id().claimed_seq();
        let event = Event::Changed(change);
        let alarm = self.arm(now);
        let mut unseen = Unseen {
            hiders: hiders.into_iter().collect(),
            ..Unseen::default()
        };
        if let Some(state) = &mut self.state {
            state.head = event.seq();
            state.last_at = event.created_at();
            state.lanes.advance(event.seq(), now);
            state.add_timer(due_at);
            unseen.latecomers = state
                .members
                .values()
                .filter(|member| member.visible_from > target)
                .map(|member| member.user_id)
                .collect();
        }
        let effects = Effects {
            broadcast: vec![event.clone()],
            unseen,
            alarm,
            deliver: true,
            ..Effects::default()
        };
        let duplicate = false;
        (Acted { event, duplicate }, effects)
    }
}

impl Scene {
    fn actor(&self) -> UserId {
        self.member.user_id
    }

    fn is_author(&self) -> bool {
        self.target.sender_id == self.actor()
    }

    fn is_admin(&self) -> bool {
        policy::allows(Action::DeleteAny, self.standing)
    }

    /// The message must be there with what it says.
    fn require_content(&self) -> Result<(), Problem> {
        if self.target.deleted_seq.is_some() {
            return Err(Problem::new(Code::Conflict, "The message was deleted."));
        }
        if self.target.is_expired {
            return Err(Problem::new(Code::Conflict, "The message has expired."));
        }
        Ok(())
    }

    fn edit<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
        content: &str,
        mentions: Option<&[UserId]>,
        now: Timestamp,
    ) -> Result<Verdict<'a, S>, ServiceError> {
        self.require_content()?;
        let target = &self.target;
        if !self.is_author() {
            return Err(forbidden("Only its author may edit a message.").into());
        }
        let said = store.said(target.seq)?;
        let before = target
            .edit_seq
            .map(|seq| store.edit_body(seq).map(|body| (seq, body)))
            .transpose()?;
        let mentions = match (mentions, &before) {
            (Some(mentions), _) => mentions.to_vec(),
            (None, Some((_, edit))) => edit.mentions.clone(),
            (None, None) => said.mentions.clone(),
        };
        if let Some((seq, edit)) = &before
            && edit.content == content
            && edit.mentions == mentions
        {
            return Ok(Verdict::Already(*seq));
        }
        if matches!(
            said.content_type,
            ContentType::Poll | ContentType::Location | ContentType::System
        ) {
            let message = "is of a content_type that cannot be edited";
            return Err(Problem::invalid_field("message_id", message).into());
        }
        let mut fields = Fields::new();
        check_content(&mut fields, said.content_type, content);
        fields.finish()?;
        if now.since(target.created_at) > limits::EDIT_WINDOW {
            return Err(forbidden("A message can be edited for 24 hours.").into());
        }
        if target.edits >= limits::EDITS {
            let detail = format!("A message can be edited {} times.", limits::EDITS);
            return Err(forbidden(&detail).into());
        }
        let change = MessageChange::MessageEdited(MessageEdited {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            content: content.to_owned(),
            mentions,
            edited_at: self.at,
        });
        Ok(Verdict::Becomes(
            change,
            Box::new(|store| store.save_edit(target.seq, self.seq)),
        ))
    }

    fn delete<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
        now: Timestamp,
    ) -> Result<Verdict<'a, S>, ServiceError> {
        let target = &self.target;
        if !self.is_author() && !self.is_admin() {
            let detail = "Only its author, or an admin of the group, may delete a message \
                          for everyone.";
            return Err(forbidden(detail).into());
        }
        if let Some(seq) = target.deleted_seq {
            return Ok(Verdict::Already(seq));
        }
        if !self.is_admin() && now.since(target.created_at) > limits::DELETE_WINDOW {
            let detail = "Its author can delete a message for everyone for one hour.";
            return Err(forbidden(detail).into());
        }
        // A root whose id is stored is a message of this log.
        let root = store
            .said(target.seq)?
            .thread_root
            .map(|root| store.find_message(&root, Seq::ZERO))
            .transpose()?
            .flatten();
        let change = MessageChange::MessageDeleted(MessageDeleted {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            sender_id: Some(target.sender_id),
            deleted_by: self.actor(),
            deleted_at: self.at,
        });
        Ok(Verdict::Becomes(
            change,
            Box::new(move |store| {
                store.save_deletion(target.seq, self.seq)?;
                if let Some(root) = root {
                    store.drop_reply(root)?;
                }
                store.add_timer(now + limits::DELETED_CONTENT, &Due::Purge(target.seq))
            }),
        ))
    }

    fn react<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
        emoji: &'a str,
        remove: bool,
    ) -> Result<Verdict<'a, S>, ServiceError> {
        self.require_content()?;
        let target = &self.target;
        let actor = self.actor();
        match store.reacted(target.seq, emoji, &actor)? {
            Some(known) if known.is_removed == remove => return Ok(Verdict::Already(known.seq)),
            None if remove => return Err(Problem::not_found("reaction").into()),
            _ => {}
        }
        let others = store.count_other_emoji(target.seq, emoji)?;
        if !remove && others >= u64::try_from(limits::REACTIONS).unwrap_or(u64::MAX) {
            let detail = format!(
                "A message takes reactions with {} different emoji.",
                limits::REACTIONS
            );
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        let change = MessageChange::Reaction(ReactionChanged {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            user_id: actor,
            emoji: emoji.to_owned(),
            removed: remove,
            created_at: self.at,
        });
        let reacted = Reacted {
            seq: self.seq,
            is_removed: remove,
        };
        Ok(Verdict::Becomes(
            change,
            Box::new(move |store| store.save_reaction(target.seq, emoji, &actor, reacted)),
        ))
    }

    fn pin<'a, S: Sql>(
        &'a self,
        store: &Store<'_, S>,
        remove: bool,
    ) -> Result<Verdict<'a, S>, ServiceError> {
        self.require_content()?;
        let target = &self.target;
        match target.pin_seq {
            Some(seq) if target.is_pinned != remove => return Ok(Verdict::Already(seq)),
            None if remove => return Err(Problem::not_found("pin").into()),
            _ => {}
        }
        if !remove && store.count_pins()? >= limits::PINS {
            let detail = format!("A conversation has at most {} pins.", limits::PINS);
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        let change = MessageChange::PinChanged(PinChanged {
            conversation_id: self.conversation_id,
            seq: self.seq,
            message_id: target.message_id,
            pinned: !remove,
            changed_by: self.actor(),
            created_at: self.at,
        });
        Ok(Verdict::Becomes(
            change,
            Box::new(move |store| store.save_pin(target.seq, self.seq, !remove)),
        ))
    }
}

/// What the table of [`policy`] calls it, where the message is one's own.
const fn action_of(act: &Act) -> Action {
    match act {
        Act::Edit { .. } => Action::EditOwn,
        Act::Delete => Action::DeleteOwn,
        Act::React { .. } => Action::React,
        Act::Pin { .. } => Action::Pin,
        Act::Vote { .. } => Action::Vote,
        Act::ClosePoll => Action::ClosePoll,
    }
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(Code::Forbidden, detail)
}
