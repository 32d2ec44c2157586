//! Bringing what the conversation's service needs and its storage does not hold, and keeping the
//! frames of a socket in order meanwhile.
//!
//! What always holds: a frame is answered before any later one of its socket is heard. While one
//! waits, those that come after it queue up, and too many of them end the socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use parlance_shared::conversation::socket::{self, Outcome};
use parlance_shared::need::{Need, TRIES};
use parlance_shared::protocol::frame::CloseCode;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Clock;
use worker::WebSocketIncomingMessage;

use super::{Core, attached};
use crate::host::{SystemClock, SystemEntropy};
use crate::sockets::Socket;

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

/// For each socket with a frame that needs something: the frames that came after it.
#[derive(Default)]
pub(super) struct WaitingFrames(RefCell<Vec<(Socket, VecDeque<WebSocketIncomingMessage>)>>);

impl WaitingFrames {
    /// Puts a frame behind those that wait, where some do; gives it back where none do. None at
    /// all where it is one too many.
    fn queue(
        &self,
        socket: &Socket,
        frame: WebSocketIncomingMessage,
    ) -> Result<bool, WebSocketIncomingMessage> {
        let mut waiting = self.0.borrow_mut();
        match waiting.iter_mut().find(|(other, _)| other == socket) {
            Some((_, frames)) if frames.len() < FRAMES => {
                frames.push_back(frame);
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Err(frame),
        }
    }

    fn begin(&self, socket: &Socket) {
        self.0.borrow_mut().push((socket.clone(), VecDeque::new()));
    }

    /// The next frame that waits. Where there is none, the socket waits no more.
    fn next(&self, socket: &Socket) -> Option<WebSocketIncomingMessage> {
        let next = self
            .0
            .borrow_mut()
            .iter_mut()
            .find(|(other, _)| other == socket)
            .and_then(|(_, frames)| frames.pop_front());
        if next.is_none() {
            self.forget(socket);
        }
        next
    }

    /// The socket is gone, and with it what it had to say.
    pub fn forget(&self, socket: &Socket) {
        self.0.borrow_mut().retain(|(other, _)| other != socket);
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
        }
    }

    /// Takes a frame, after those of its socket that came before it.
    pub(super) async fn hear(
        self: &Rc<Self>,
        socket: &Socket,
        frame: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        let frame = match self.waiting.queue(socket, frame) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                self.waiting.forget(socket);
                self.attached.dismiss(socket, CloseCode::RateLimited);
                return Ok(());
            }
            Err(frame) => frame,
        };
        let outcome = self.answer_frame(socket, &frame)?;
        if outcome.effects.needs.is_none() {
            self.set_alarm(&outcome.effects).await?;
            self.finish(socket, outcome);
            return Ok(());
        }
        self.waiting.begin(socket);
        let done = self.answer_waiting(socket, frame, outcome).await;
        self.waiting.forget(socket);
        done
    }

    /// Answers a frame that needs something, and then those that came meanwhile.
    async fn answer_waiting(
        self: &Rc<Self>,
        socket: &Socket,
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
                    _ => self.answer_frame(socket, &frame)?,
                };
            }
            self.set_alarm(&outcome.effects).await?;
            self.finish(socket, outcome);
            if let Some(frame) = self.waiting.next(socket) {
                let outcome = self.answer_frame(socket, &frame)?;
                next = Some((frame, outcome));
            }
        }
        Ok(())
    }

    fn answer_frame(
        &self,
        socket: &Socket,
        frame: &WebSocketIncomingMessage,
    ) -> worker::Result<Outcome> {
        let outcome = match (attached::session(socket), frame) {
            (Some(session), WebSocketIncomingMessage::String(text)) => socket::on_text(
                &mut *self.service()?,
                &session,
                text,
                SystemClock.now(),
                &SystemEntropy,
            ),
            (Some(_), WebSocketIncomingMessage::Binary(_)) => socket::on_binary(),
            // Ended meanwhile.
            (None, _) => Outcome::default(),
        };
        Ok(outcome)
    }
}
