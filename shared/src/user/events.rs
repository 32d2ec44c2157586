//! What reaches a user's object: requests, answers of other objects, and the alarm. Frames of
//! sessions are in [`super::frames`].
//!
//! What always holds:
//! - What was decided is carried out, whatever fails after it: memory has changed already, and
//!   nobody would ever do it again. So every event gives its effects, and a failure is one of them.
//! - Every event ends with a look at what is left to do: coming or going that is still to be told
//!   after memory was lost, and an alarm where one is needed and none is set.

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
use crate::time::{Timestamp, pause_after};

/// An alarm is not set nearer than this.
const EARLIEST_ALARM: Duration = Duration::from_secs(1);
/// How long after a failure an alarm does again what is left of it; doubled with each further one.
const ALARM_RETRY: Duration = Duration::from_secs(2);
/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(256);
/// An alarm that is set is left alone unless it would be later than needed by more than this.
const ALARM_SLACK: Duration = Duration::from_secs(5);

impl<S: Sql> UserService<S> {
    /// Does what is asked, or says why not.
    pub fn handle(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Reply, Effects) {
        let mut effects = Vec::new();
        let reply = match self.dispatch(request, now, entropy, &mut effects) {
            Ok(reply) => reply,
            Err(error) => Reply::Refused(failed(error, &mut effects)),
        };
        self.look_after(now, &mut effects);
        (reply, effects)
    }

    /// Ends every event: after a wake, what presence had left to tell, and the alarm where one is
    /// needed and none is set. A failure here must not undo what was done; it is logged, and the
    /// next event looks again.
    pub(super) fn look_after(&mut self, now: Timestamp, effects: &mut Effects) {
        self.end_cut_off(now, effects);
        if !self.looked_after {
            match self.presence_check(now, effects) {
                Ok(()) => self.looked_after = true,
                Err(ServiceError::Storage(failure)) => effects.push(Effect::Failed(failure)),
                // There is no such user: there is nothing to tell.
                Err(ServiceError::Refused(_) | ServiceError::Needs(_)) => {
                    self.looked_after = true;
                }
            }
        }
        let needed = [
            self.next_heartbeat(),
            self.next_release(),
            self.poll_grace_ends(),
            self.errands_at,
            self.preview_expires_at,
            (!self.looked_after).then(|| now + ALARM_RETRY),
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
    /// Where storage fails it is set again for soon.
    pub fn on_alarm(&mut self, now: Timestamp, pings: &[(SocketId, Option<Timestamp>)]) -> Effects {
        let mut effects = Vec::new();
        self.alarm = None;
        match self.alarm_due(now, pings, &mut effects) {
            Ok(()) => self.alarm_failures = 0,
            Err(error) => {
                failed(error, &mut effects);
                let pause = pause_after(self.alarm_failures, ALARM_RETRY, LONGEST_RETRY);
                self.alarm_failures = self.alarm_failures.saturating_add(1);
                self.alarm = Some(now + pause);
                effects.push(Effect::Alarm(now + pause));
            }
        }
        self.look_after(now, &mut effects);
        effects
    }

    fn alarm_due(
        &mut self,
        now: Timestamp,
        pings: &[(SocketId, Option<Timestamp>)],
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
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
        // A socket without a session would be sent nothing, and its client not know.
        let orphans = pings.iter().map(|(socket, _)| *socket);
        let orphans = orphans.filter(|socket| !self.sessions.contains_key(socket));
        effects.extend(orphans.map(|socket| Effect::Close {
            socket,
            code: CloseCode::Restart,
        }));
        // A client that has fallen silent answers no close: its session ends here and now.
        let silent = self.heartbeat_due(now, &heard, effects).map(|silent| {
            for socket in silent {
                self.end_session(socket, CloseCode::SlowConsumer, now, effects);
            }
        });
        // Each is done, whatever fails of the others.
        let released = self.release_due(now, effects);
        let previews = self.previews_due(now);
        let present = self.presence_check(now, effects);
        let errands = self.resume_errands(now, effects);
        silent.and(released).and(previews).and(present).and(errands)
    }

    fn dispatch(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
        effects: &mut Effects,
    ) -> Result<Reply, ServiceError> {
        use UserRequest as Ask;
        match request {
            Ask::SignIn(call) => done(&self.sign_in(call, now, entropy)?),
            Ask::Refresh(call) => done(&self.refresh(&call, now, effects)?),
            Ask::SignOut(call) => done(&self.sign_out(call, now, effects)?),
            Ask::CheckDevice(call) => done(&self.check_device(call)?),
            Ask::ListDevices(call) => done(&self.list_devices(call)?),
            Ask::RevokeDevice(call) => done(&self.revoke_device(call, now, effects)?),
            Ask::GetProfile(call) => done(&self.get_profile(call)?),
            Ask::UpdateProfile(call) => done(&self.update_profile(call, now, effects)?),
            Ask::ViewProfile(call) => done(&self.view_profile(call, now)?),
            Ask::ListConversations(call) => done(&self.list_conversations(&call, now)?),
            Ask::Deliver(call) => done(&self.deliver(&call, now, effects)?),
            Ask::Signal(call) => done(&self.signal(call, now, effects)),
            Ask::MarkRead(call) => self.mark_read(call, now, effects),
            Ask::HideMessage(call) => self.hide_message(call, effects),
            Ask::UpdateSettings(call) => self.update_settings(call, now, effects),
            Ask::ForgetConversation(call) => done(&self.forget_conversation(call, effects)?),
            Ask::Block(call) => self.block(call, now, effects),
            Ask::ListBlocks(call) => done(&self.list_blocks(call)?),
            Ask::BlockedBy(call) => done(&self.blocked_by(call, now, effects)?),
            Ask::AdmitTo(call) => done(&self.admit_to(call)?),
            Ask::Suspend(call) => done(&self.suspend(call, now, effects)?),
            Ask::MarkDelivered(call) => done(&self.mark_delivered(call, now, effects)?),
            Ask::MarkLeft(call) => done(&self.mark_left(call, now, effects)?),
            Ask::WatchPresence(call) => done(&self.watch_presence(call, now)?),
            Ask::UnwatchPresence(call) => done(&self.unwatch_presence(call)?),
            Ask::PresenceChanged(call) => done(&self.presence_changed(call, now, effects)),
        }
    }

    /// Another object has answered. Where storage fails, whoever waited for it asks again.
    pub fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<String, Problem>,
        now: Timestamp,
    ) -> Effects {
        let mut effects = Vec::new();
        if let Some(pending) = self.pending.remove(&ticket)
            && let Err(error) = self.go_on(pending, answer, now, &mut effects)
        {
            failed(error, &mut effects);
        }
        self.look_after(now, &mut effects);
        effects
    }

    fn go_on(
        &mut self,
        pending: Pending,
        answer: Result<String, Problem>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        match pending {
            Pending::CatchUp {
                socket,
                conversation_id,
                after_seq,
            } => {
                let asked = (conversation_id, after_seq);
                self.caught(socket, asked, read_answer(answer), now, effects)?;
            }
            Pending::Sends { conversation_id } => {
                self.sent_many(conversation_id, read_answer(answer), effects)?;
            }
            Pending::Told { socket } => {
                if let Err(problem) = answer {
                    self.refuse(socket, problem.into(), None, effects);
                }
            }
            Pending::Presence(ask) => self.presence_answered(ask, answer, now, effects)?,
            Pending::Promise(expected) => {
                self.promised(expected, read_answer(answer), now, effects)?;
            }
            Pending::Read(read) => self.counted(read, read_answer(answer), now, effects)?,
            Pending::Mark { conversation_id } => {
                self.marked(conversation_id, read_answer(answer), now, effects);
            }
            Pending::Act(asked) => self.acted(asked, read_answer(answer), effects),
            Pending::Schedule(asked) => self.scheduled(asked, read_answer(answer), effects),
            Pending::Hide(hide) => self.has_hidden(hide, read_answer(answer), effects)?,
            Pending::Block(told) => self.block_told(told, read_answer(answer), now, effects)?,
            Pending::Suspension => self.suspension_told(answer, now, effects)?,
        }
        Ok(())
    }
}

/// The reply, now.
fn done(reply: &impl Serialize) -> Result<Reply, ServiceError> {
    object::reply_json(reply).map(Reply::Now)
}

/// What is told of an error. A failure of storage is for the log.
pub(super) fn failed(error: ServiceError, effects: &mut Effects) -> Problem {
    if let ServiceError::Storage(failure) = &error {
        effects.push(Effect::Failed(failure.clone()));
    }
    error.into_problem()
}

/// Another object's reply. One that cannot be read is of another version.
fn read_answer<T: DeserializeOwned>(answer: Result<String, Problem>) -> Result<T, Problem> {
    serde_json::from_str(&answer?).map_err(|_| Problem::internal())
}
