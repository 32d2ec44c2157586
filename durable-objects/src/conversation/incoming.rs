//! What comes by sockets, taken in turns.
//!
//! Each frame comes as an event of its own, and the runtime commits what an event wrote when it
//! ends. So frames are not taken one by one: the first waits until the runtime has handed over
//! those that have come meanwhile, and all are taken in one go. They are committed together, and
//! each socket is sent all that came of them together. A frame that comes alone waits for nothing
//! but one turn of the runtime's loop.
//!
//! What always holds: frames are taken in the order in which they came, each on its own: one that
//! is refused changes nothing for the others. What has not been taken when the object dies was not
//! acknowledged, and is sent again by its client. Nothing is sent before what it tells of is on
//! disk: the runtime's output gate sees to that, since all is written before anything is sent.

use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::socket::Outcome;
use parlance_shared::time::{Clock, Timestamp};
use worker::{Delay, WebSocketIncomingMessage};

use super::Core;
use super::attached::Attached;
use crate::host::{self, SystemClock};

/// Frames that are taken in one turn, so that those who wait for the object's other work do not
/// wait for long.
const TURN: usize = 256;
/// A turn that has not come after this long never will: whatever was to begin it is gone.
const LOST: Duration = Duration::from_secs(1);

/// Frames that wait for their turn.
#[derive(Default)]
pub(super) struct Incoming {
    frames: Vec<(Rc<Attached>, WebSocketIncomingMessage)>,
    /// Since when a turn is due, where one is.
    due_since: Option<Timestamp>,
}

impl Core {
    /// Takes a frame, with those that come meanwhile.
    pub(super) async fn hear(
        self: &Rc<Self>,
        from: Rc<Attached>,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        let now = SystemClock.now();
        {
            let mut incoming = self.incoming.try_borrow_mut().map_err(host::busy)?;
            incoming.frames.push((from, message));
            if incoming
                .due_since
                .is_some_and(|since| now.since(since) < LOST)
            {
                return Ok(());
            }
            incoming.due_since = Some(now);
        }
        loop {
            Delay::from(Duration::ZERO).await;
            let frames = {
                let mut incoming = self.incoming.try_borrow_mut().map_err(host::busy)?;
                let count = incoming.frames.len().min(TURN);
                let frames: Vec<_> = incoming.frames.drain(..count).collect();
                // One that comes from now on begins a turn of its own.
                incoming.due_since = (!incoming.frames.is_empty()).then(|| SystemClock.now());
                frames
            };
            let is_last = frames.len() < TURN;
            self.take_turn(frames).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn take_turn(
        self: &Rc<Self>,
        frames: Vec<(Rc<Attached>, WebSocketIncomingMessage)>,
    ) -> worker::Result<()> {
        let now = SystemClock.now();
        let mut outcomes = Vec::with_capacity(frames.len());
        let mut alarm = None;
        // A client whose socket is about to be closed is not heard any more.
        let mut closing: Vec<Rc<Attached>> = Vec::new();
        for (from, frame) in frames {
            if closing.iter().any(|one| Rc::ptr_eq(one, &from)) {
                continue;
            }
            let Some(frame) = self.wait_behind(&from, frame) else {
                continue;
            };
            let outcome = self.answer_frame(&from, &frame, now)?;
            if outcome.effects.needs.is_some() {
                self.answer_later(from, frame, outcome);
                continue;
            }
            alarm = outcome.effects.alarm.or(alarm);
            if outcome.close.is_some() {
                closing.push(Rc::clone(&from));
            }
            outcomes.push((from, outcome));
        }
        // In the same turn as what was written: both are committed together.
        self.set_alarm(alarm).await?;
        let (mut has_deliveries, mut has_marks) = (false, false);
        self.attached.hold();
        for (from, mut outcome) in outcomes {
            has_deliveries |= std::mem::take(&mut outcome.effects.deliver);
            has_marks |= std::mem::take(&mut outcome.effects.marks);
            self.finish(&from, outcome, now);
        }
        self.attached.release(&self.state, SystemClock.now());
        if has_deliveries {
            self.deliver();
        }
        if has_marks {
            self.mark();
        }
        Ok(())
    }

    /// Answers a frame, then does what came of it.
    pub(super) fn finish(self: &Rc<Self>, from: &Attached, outcome: Outcome, now: Timestamp) {
        self.attached.tell(&self.state, from, &outcome.replies, now);
        self.carry_out(outcome.effects);
        if let Some(code) = outcome.close {
            self.attached.dismiss(&self.state, from, code, now);
        }
    }
}
