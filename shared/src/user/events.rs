//! What reaches a user's object: requests, answers of other objects, and the alarm. Frames of
//! sessions are in [`super::frames`].
//!
//! Every event ends with a look at what is left to do: coming or going that is still to be told
//! after memory was lost, and an alarm where one is needed and none is set.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::UserRequest;
use super::effect::{Effect, Effects, Reply, SocketId, Ticket};
use super::pending::Pending;
use super::service::UserService;
use crate::entropy::Entropy;
use crate::object;
use crate::protocol::frame::CloseCode;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::Sql;
use crate::time::Timestamp;

/// An alarm is not set nearer than this.
const EARLIEST_ALARM: Duration = Duration::from_secs(1);
/// An alarm that is set is left alone unless it would be later than needed by more than this.
const ALARM_SLACK: Duration = Duration::from_secs(5);

impl<S: Sql> UserService<S> {
    /// Does what is asked.
    ///
    /// # Errors
    /// As the method of the call.
    pub fn handle(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Reply, Effects), ServiceError> {
        let (reply, mut effects) = self.dispatch(request, now, entropy)?;
        self.look_after(now, &mut effects);
        Ok((reply, effects))
    }

    /// Ends every event: after a wake, what presence had left to tell, and the alarm where one is
    /// needed and none is set. A failure here must not undo what was done; it is logged, and the
    /// next event looks again.
    pub(super) fn look_after(&mut self, now: Timestamp, effects: &mut Effects) {
        self.end_cut_off(now, effects);
        if !self.looked_after {
            match self.presence_check(now) {
                Ok(more) => {
                    self.looked_after = true;
                    effects.extend(more);
                }
                Err(ServiceError::Storage(failure)) => effects.push(Effect::Failed(failure)),
                // There is no such user: there is nothing to tell.
                Err(ServiceError::Refused(_) | ServiceError::Needs(_)) => {
                    self.looked_after = true;
                }
            }
        }
        let needed = [
            self.next_heartbeat(),
            self.poll_grace_ends(),
            self.errands_at,
            self.preview_expires_at,
        ]
        .into_iter()
        .flatten()
        .min();
        if let Some(at) = needed {
            // After a sleep a heartbeat can seem overdue: the pings are known at the alarm.
            let at = at.max(now + EARLIEST_ALARM);
            if self.alarm.is_none_or(|set| at + ALARM_SLACK < set) {
                self.alarm = Some(at);
                effects.push(Effect::Alarm(at));
            }
        }
    }

    /// The alarm has gone off. `pings` says when the runtime last answered each socket's ping.
    ///
    /// # Errors
    /// When storage fails: the runtime lets it go off again.
    pub fn on_alarm(
        &mut self,
        now: Timestamp,
        pings: &[(SocketId, Option<Timestamp>)],
    ) -> Result<Effects, ServiceError> {
        self.alarm = None;
        let heard: Vec<_> = pings
            .iter()
            .map(|(socket, ping)| {
                let frame = self
                    .sessions
                    .get(socket)
                    .and_then(|session| session.last_frame);
                (*socket, (*ping).max(frame))
            })
            .collect();
        self.previews_due(now)?;
        let mut effects = self.heartbeat_due(now, &heard)?;
        // A socket without a session would be sent nothing, and its client not know.
        let orphans = pings.iter().map(|(socket, _)| *socket);
        let orphans = orphans.filter(|socket| !self.sessions.contains_key(socket));
        effects.extend(orphans.map(|socket| Effect::Close {
            socket,
            code: CloseCode::Restart,
        }));
        // A client that has fallen silent answers no close: its session ends here and now.
        let silent: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Close { socket, .. } => Some(*socket),
                _ => None,
            })
            .collect();
        for socket in silent {
            self.let_go(socket, now, &mut effects);
        }
        effects.extend(self.presence_check(now)?);
        self.resume_errands(now, &mut effects)?;
        self.look_after(now, &mut effects);
        Ok(effects)
    }

    fn dispatch(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(Reply, Effects), ServiceError> {
        use UserRequest as Ask;
        match request {
            Ask::SignIn(call) => quiet(&self.sign_in(call, now, entropy)?),
            Ask::Refresh(call) => {
                let mut effects = Vec::new();
                match self.refresh(&call, now, &mut effects) {
                    Ok(signed_in) => Ok((done(&signed_in)?, effects)),
                    Err(ServiceError::Refused(problem)) => Ok((Reply::Refused(problem), effects)),
                    Err(failure) => Err(failure),
                }
            }
            Ask::SignOut(call) => {
                let effects = self.sign_out(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::CheckDevice(call) => quiet(&self.check_device(call)?),
            Ask::ListDevices(call) => quiet(&self.list_devices(call)?),
            Ask::RevokeDevice(call) => {
                let effects = self.revoke_device(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::GetProfile(call) => quiet(&self.get_profile(call)?),
            Ask::UpdateProfile(call) => {
                let (profile, effects) = self.update_profile(call, now)?;
                Ok((done(&profile)?, effects))
            }
            Ask::ViewProfile(call) => quiet(&self.view_profile(call, now)?),
            Ask::ListConversations(call) => quiet(&self.list_conversations(&call, now)?),
            Ask::Deliver(call) => {
                let (delivered, effects) = self.deliver(&call, now)?;
                Ok((done(&delivered)?, effects))
            }
            Ask::Signal(call) => {
                let effects = self.signal(call, now);
                Ok((done(&())?, effects))
            }
            Ask::MarkRead(call) => self.mark_read(call, now),
            Ask::HideMessage(call) => self.hide_message(call),
            Ask::UpdateSettings(call) => self.update_settings(call, now),
            Ask::ForgetConversation(call) => {
                let effects = self.forget_conversation(call)?;
                Ok((done(&())?, effects))
            }
            Ask::Block(call) => self.block(call, now),
            Ask::ListBlocks(call) => quiet(&self.list_blocks(call)?),
            Ask::BlockedBy(call) => {
                let effects = self.blocked_by(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::AdmitTo(call) => quiet(&self.admit_to(call)?),
            Ask::Suspend(call) => {
                let effects = self.suspend(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::MarkDelivered(call) => {
                let effects = self.mark_delivered(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::MarkLeft(call) => {
                let effects = self.mark_left(call, now)?;
                Ok((done(&())?, effects))
            }
            Ask::WatchPresence(call) => quiet(&self.watch_presence(call, now)?),
            Ask::UnwatchPresence(call) => quiet(&self.unwatch_presence(call)?),
            Ask::PresenceChanged(call) => {
                let (heard, effects) = self.presence_changed(call, now);
                Ok((done(&heard)?, effects))
            }
        }
    }

    /// Another object has answered.
    ///
    /// # Errors
    /// When storage fails: whoever waited for it asks again.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<String, Problem>,
        now: Timestamp,
    ) -> Result<Effects, ServiceError> {
        let mut effects = Vec::new();
        let Some(pending) = self.pending.remove(&ticket) else {
            return Ok(effects);
        };
        match pending {
            Pending::CatchUp {
                socket,
                conversation_id,
            } => {
                let page = read_answer(answer);
                self.caught(socket, conversation_id, page, now, &mut effects)?;
            }
            Pending::Sends { conversation_id } => {
                self.sent_many(conversation_id, read_answer(answer), &mut effects)?;
            }
            Pending::Told { socket } => {
                if let Err(problem) = answer {
                    self.refuse(socket, problem.into(), None, &mut effects);
                }
            }
            Pending::Presence(ask) => {
                effects.extend(self.presence_answered(ask, answer, now)?);
            }
            Pending::Promise(expected) => {
                self.promised(expected, read_answer(answer), now, &mut effects)?;
            }
            Pending::Read(read) => self.counted(read, read_answer(answer), now, &mut effects)?,
            Pending::Mark { conversation_id } => {
                self.marked(conversation_id, read_answer(answer), now, &mut effects)?;
            }
            Pending::Act(asked) => self.acted(asked, read_answer(answer), &mut effects)?,
            Pending::Schedule(asked) => self.scheduled(asked, read_answer(answer), &mut effects),
            Pending::Hide(hide) => self.has_hidden(hide, read_answer(answer), &mut effects)?,
            Pending::Block(told) => {
                self.block_told(told, read_answer(answer), now, &mut effects)?;
            }
            Pending::Suspension => self.suspension_told(answer, now, &mut effects)?,
        }
        self.look_after(now, &mut effects);
        Ok(effects)
    }
}

/// The reply, now.
fn done(reply: &impl Serialize) -> Result<Reply, ServiceError> {
    object::reply_json(reply).map(Reply::Now)
}

/// The reply, now, and nothing else to do.
fn quiet(reply: &impl Serialize) -> Result<(Reply, Effects), ServiceError> {
    Ok((done(reply)?, Vec::new()))
}

/// Another object's reply. One that cannot be read is of another version.
fn read_answer<T: DeserializeOwned>(answer: Result<String, Problem>) -> Result<T, Problem> {
    serde_json::from_str(&answer?).map_err(|_| Problem::internal())
}
