//! Messages that are to be sent later.
//!
//! What always holds: a message is sent once, since it is sent under the name that its sender
//! gave it; whether it may be sent is checked again when its time has come. One that then may
//! not be is shown to its sender with the reason, until it is taken back or was there for long.

use super::call::{CancelScheduled, ListScheduled, Sent};
use super::rows::{from_json, to_json};
use super::service::{ConversationService, Effects};
use super::store::Store;
use super::timers::Due;
use crate::entropy::Entropy;
use crate::ids::{ClientMessageId, ConversationId, ScheduledId, UserId};
use crate::limits;
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::act::{Scheduled, ScheduledList};
use crate::protocol::message::NewMessage;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Row, Sql, SqlError, transact};
use crate::time::Timestamp;

/// How long one that could not be sent is shown to its sender.
const SHOWN: std::time::Duration = limits::DELETED_CONTENT;

impl<S: Sql> ConversationService<S> {
    /// Takes a message that is to be sent later, or recognises one that was taken before.
    ///
    /// # Errors
    /// As for sending it now; `invalid_request` on `send_at`; `conflict` over the limit.
    pub fn schedule(
        &mut self,
        actor: UserId,
        message: NewMessage,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Sent, Effects), ServiceError> {
        let (state, _) = self.as_member(actor)?;
        let conversation_id = state.meta.conversation_id;
        let quiet = Effects::default();
        let client_msg_id = message.client_msg_id;
        // One that was taken before is recognised before anything is judged.
        if let Some(ack) = self.sent_before(actor, client_msg_id)? {
            return Ok((Sent::Already(ack), quiet));
        }
        let own = self.store().scheduled_by(conversation_id, &actor)?;
        if let Some(known) = own
            .iter()
            .find(|known| known.message.client_msg_id == client_msg_id)
        {
            return Ok((Sent::Later(Box::new(known.clone())), quiet));
        }
        self.check(actor, &message)?;
        let send_at = message
            .send_at
            .filter(|at| *at > now)
            .ok_or_else(|| Problem::invalid_field("send_at", "must lie ahead"))?;
        if send_at > now + limits::SCHEDULE_AHEAD {
            let refusal = "must lie at most 30 days ahead";
            return Err(Problem::invalid_field("send_at", refusal).into());
        }
        if u64::try_from(own.len()).unwrap_or(u64::MAX) >= limits::SCHEDULED {
            let detail = format!(
                "At most {} messages can be scheduled in a conversation.",
                limits::SCHEDULED
            );
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        // It is noted now, and asked for again when it is sent.
        self.take_medium(actor, &message, false)?;
        let store = self.store();
        let scheduled = Scheduled {
            scheduled_id: if planted::is_on(Bug::ScheduledInAnyOrder) {
                ScheduledId::random(entropy)
            } else {
                ScheduledId::after(store.last_scheduled()?, now, entropy)
            },
            conversation_id,
            created_at: now,
            message,
            problem: None,
        };
        transact(&self.sql, || {
            store.insert_scheduled(&actor, send_at, &scheduled)?;
            if let Some(media_id) = &scheduled.message.media_id {
                store.add_medium(Seq::ZERO, media_id, &actor, &client_msg_id)?;
            }
            store.add_timer(send_at, &Due::Send(scheduled.scheduled_id))
        })?;
        let effects = Effects {
            alarm: self.arm_timer(send_at),
            ..quiet
        };
        if let Some(state) = &mut self.state {
            state.add_timer(Some(send_at));
        }
        Ok((Sent::Later(Box::new(scheduled)), effects))
    }

    /// The caller's scheduled messages, the next to be sent first.
    ///
    /// # Errors
    /// `not_found` for those who are not members.
    pub fn list_scheduled(&mut self, call: ListScheduled) -> Result<ScheduledList, ServiceError> {
        let (state, _) = self.as_member(call.actor)?;
        let conversation_id = state.meta.conversation_id;
        let scheduled = self.store().scheduled_by(conversation_id, &call.actor)?;
        Ok(ScheduledList { scheduled })
    }

    /// Takes a scheduled message back.
    ///
    /// # Errors
    /// `not_found` for those who are not members, and where the caller has none of that name.
    pub fn cancel_scheduled(&mut self, call: CancelScheduled) -> Result<(), ServiceError> {
        self.as_member(call.actor)?;
        let store = self.store();
        let row = store
            .scheduled(call.scheduled_id)?
            .filter(|row| row.sender_id == call.actor)
            .ok_or_else(|| Problem::not_found("scheduled message"))?;
        let has_releases = transact(&self.sql, || {
            store.drop_scheduled(call.scheduled_id)?;
            store.let_waiting_medium_go(&row.sender_id, &row.message.client_msg_id)?;
            store.drop_timer(row.due_at, &Due::Send(call.scheduled_id))?;
            store.has_releases()
        })?;
        if let Some(state) = &mut self.state {
            state.has_releases |= has_releases;
        }
        // An alarm that was set for it finds nothing to do.
        Ok(())
    }

    /// The time of a scheduled message, which was `due_at`, has come.
    pub(super) fn send_scheduled(
        &mut self,
        scheduled_id: ScheduledId,
        due_at: Timestamp,
        now: Timestamp,
        entropy: &dyn Entropy,
        effects: &mut Effects,
    ) -> Result<(), SqlError> {
        let due = Due::Send(scheduled_id);
        let row = self.store().scheduled(scheduled_id)?;
        let name = row
            .as_ref()
            .map(|row| (row.sender_id, row.message.client_msg_id));
        let sent = match row.filter(|row| !row.has_failed) {
            Some(row) => {
                let message = NewMessage {
                    send_at: None,
                    ..row.message
                };
                self.send(row.sender_id, message, now, entropy)
                    // It is in the log: whatever fails now, it is shown.
                    .map(|(_, sent)| effects.absorb(sent))
            }
            // It was shown for long enough.
            None => Ok(()),
        };
        let store = self.store();
        match sent {
            Ok(()) => transact(&self.sql, || {
                store.drop_scheduled(scheduled_id)?;
                if let Some((sender_id, client_msg_id)) = &name {
                    store.let_waiting_medium_go(sender_id, client_msg_id)?;
                }
                store.drop_timer(due_at, &due)
            }),
            Err(ServiceError::Refused(problem)) => {
                let until = now + SHOWN;
                transact(&self.sql, || {
                    store.refuse_scheduled(scheduled_id, &problem, until)?;
                    if let Some((sender_id, client_msg_id)) = &name {
                        store.let_waiting_medium_go(sender_id, client_msg_id)?;
                    }
                    store.drop_timer(due_at, &due)?;
                    store.add_timer(until, &due)
                })
            }
            Err(ServiceError::Storage(failure)) => Err(failure),
            Err(ServiceError::Needs(need)) => {
                effects.needs = Some(need);
                Ok(())
            }
        }
    }
}

/// A scheduled message, as it is stored.
struct ScheduledRow {
    sender_id: UserId,
    message: NewMessage,
    /// When its timer goes off.
    due_at: Timestamp,
    has_failed: bool,
}

impl<S: Sql> Store<'_, S> {
    fn insert_scheduled(
        &self,
        sender_id: &UserId,
        send_at: Timestamp,
        scheduled: &Scheduled,
    ) -> Result<(), SqlError> {
        let client_msg_id: &ClientMessageId = &scheduled.message.client_msg_id;
        self.sql.exec(
            "INSERT INTO scheduled_message
                (scope, scheduled_id, sender_id, client_msg_id, send_at, created_at, body)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                &scheduled.scheduled_id,
                sender_id,
                client_msg_id,
                send_at,
                scheduled.created_at,
                &to_json(&scheduled.message)?
            ],
        )?;
        Ok(())
    }

    /// The name of the one that was made last, of those that wait.
    fn last_scheduled(&self) -> Result<Option<ScheduledId>, SqlError> {
        let last = self.sql.exec(
            "SELECT scheduled_id FROM scheduled_message
             WHERE scope = ? ORDER BY scheduled_id DESC LIMIT 1",
            params![self.scope],
        )?;
        last.scalar()
    }

    fn scheduled(&self, scheduled_id: ScheduledId) -> Result<Option<ScheduledRow>, SqlError> {
        let rows = self.sql.exec(
            "SELECT sender_id, body, send_at, problem IS NOT NULL FROM scheduled_message
             WHERE scope = ? AND scheduled_id = ?",
            params![self.scope, &scheduled_id],
        )?;
        rows.first()
            .map(|row| {
                Ok(ScheduledRow {
                    sender_id: row.get(0)?,
                    message: from_json(&row.get::<String>(1)?)?,
                    due_at: row.get(2)?,
                    has_failed: row.get(3)?,
                })
            })
            .transpose()
    }

    fn scheduled_by(
        &self,
        conversation_id: ConversationId,
        sender_id: &UserId,
    ) -> Result<Vec<Scheduled>, SqlError> {
        let rows = self.sql.exec(
            "SELECT scheduled_id, created_at, body, problem FROM scheduled_message
             WHERE scope = ? AND sender_id = ? ORDER BY send_at, scheduled_id",
            params![self.scope, sender_id],
        )?;
        let read = |row: &Row| {
            Ok(Scheduled {
                scheduled_id: row.get(0)?,
                conversation_id,
                created_at: row.get(1)?,
                message: from_json(&row.get::<String>(2)?)?,
                problem: row
                    .get::<Option<String>>(3)?
                    .map(|text| from_json(&text))
                    .transpose()?,
            })
        };
        rows.rows.iter().map(read).collect()
    }

    /// Notes why it could not be sent; its timer then goes off at `until`.
    fn refuse_scheduled(
        &self,
        scheduled_id: ScheduledId,
        problem: &Problem,
        until: Timestamp,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE scheduled_message SET problem = ?, send_at = ?
             WHERE scope = ? AND scheduled_id = ?",
            params![&to_json(problem)?, until, self.scope, &scheduled_id],
        )?;
        Ok(())
    }

    fn drop_scheduled(&self, scheduled_id: ScheduledId) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM scheduled_message WHERE scope = ? AND scheduled_id = ?",
            params![self.scope, &scheduled_id],
        )?;
        Ok(())
    }
}
