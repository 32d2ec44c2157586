//! Bringing what the conversation's service needs and its storage does not hold, and keeping the
//! frames of a socket in order meanwhile.
//!
//! What always holds: a frame is answered before any later one of its socket is heard. While one
//! waits, those that come after it queue up, and too many of them end the socket.

use std::collections::VecDeque;
use std::rc::Rc;

use parlance_shared::conversation::socket::{self, Outcome};
use parlance_shared::need::{Need, TRIES};
use parlance_shared::protocol::frame::CloseCode;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::{Clock, Timestamp};
use worker::WebSocketIncomingMessage;
use worker::wasm_bindgen_futures::spawn_local;

use super::attached::Attached;
use super::{Core, OBJECT};
use crate::host::{self, SystemClock, SystemEntropy};

/// Frames that may wait behind one that needs something.
const FRAMES: usize = 256;

/// What one request has needed so far.
pub(super) struct Needs {
    tries: usize,
}

impl Needs {
    pub const fn new() -> Self {
        Self { tries: 0 }
    }

    /// Brings what is needed, so that the request can be made again.
    ///
    /// # Errors
    /// What to tell the client, where it cannot be had.
    pub async fn meet(&mut self, core: &Rc<Core>, need: &Need) -> Result<(), Problem> {
        self.tries += 1;
        if self.tries > TRIES {
            let detail = "This needs too much that is kept elsewhere. Ask for less.";
            return Err(Problem::unavailable(detail));
        }
        core.bring(need).await
    }
}

impl Core {
    /// Brings something that the service needs.
    ///
    /// # Errors
    /// What to tell whoever asked for it.
    pub(super) async fn bring(self: &Rc<Self>, need: &Need) -> Result<(), Problem> {
        match need {
            Need::Segment(segment) => self.bring_segment(segment).await,
            Need::Medium(medium) => self.bring_medium(*medium).await,
        }
    }

    /// Whether a frame must wait behind one of its socket that needs something; it is then put
    /// there. One too many ends the socket.
    pub(super) fn wait_behind(
        &self,
        from: &Attached,
        frame: WebSocketIncomingMessage,
    ) -> Option<WebSocketIncomingMessage> {
        let mut waiting = from.waiting.borrow_mut();
        match waiting.as_mut() {
            None => return Some(frame),
            Some(frames) if frames.len() < FRAMES => {
                frames.push_back(frame);
                return None;
            }
            Some(_) => *waiting = None,
        }
        drop(waiting);
        let now = SystemClock.now();
        self.attached
            .dismiss(&self.state, from, CloseCode::RateLimited, now);
        None
    }

    /// Answers a frame that needs something, and then those that come meanwhile.
    pub(super) fn answer_later(
        self: &Rc<Self>,
        from: Rc<Attached>,
        frame: WebSocketIncomingMessage,
        outcome: Outcome,
    ) {
        *from.waiting.borrow_mut() = Some(VecDeque::new());
        let core = Rc::clone(self);
        spawn_local(async move {
            if let Err(error) = core.answer_waiting(&from, frame, outcome).await {
                host::log_failure(OBJECT, "frame_not_answered", &error.to_string());
            }
            from.forget_waiting();
        });
    }

    async fn answer_waiting(
        self: &Rc<Self>,
        from: &Attached,
        frame: WebSocketIncomingMessage,
        outcome: Outcome,
    ) -> worker::Result<()> {
        let mut next = Some((frame, outcome));
        while let Some((frame, mut outcome)) = next.take() {
            let mut needs = Needs::new();
            while let Some(need) = outcome.effects.needs.take() {
                outcome = match (needs.meet(self, &need).await, &frame) {
                    (Err(problem), WebSocketIncomingMessage::String(text)) => {
                        socket::unmet(text, problem)
                    }
                    _ => self.answer_frame(from, &frame, SystemClock.now())?,
                };
            }
            self.set_alarm(outcome.effects.alarm).await?;
            self.finish(from, outcome, SystemClock.now());
            let following = from
                .waiting
                .borrow_mut()
                .as_mut()
                .and_then(VecDeque::pop_front);
            if let Some(frame) = following {
                let outcome = self.answer_frame(from, &frame, SystemClock.now())?;
                next = Some((frame, outcome));
            }
        }
        Ok(())
    }

    pub(super) fn answer_frame(
        &self,
        from: &Attached,
        frame: &WebSocketIncomingMessage,
        now: Timestamp,
    ) -> worker::Result<Outcome> {
        Ok(match frame {
            // Ended meanwhile.
            _ if from.is_ended() => Outcome::default(),
            WebSocketIncomingMessage::String(text) => socket::on_text(
                &mut *self.service()?,
                &from.session,
                text,
                now,
                &SystemEntropy,
            ),
            WebSocketIncomingMessage::Binary(_) => socket::on_binary(),
        })
    }
}
