//! `durable-objects/src/conversation/archiving.rs` and `conversation/needs.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parlance_shared::conversation::archive::{ArchiveReply, ArchiveStep};
use parlance_shared::conversation::socket;
use parlance_shared::need::{Need, SegmentNeed};
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;

use super::{ConversationModel, Needer, Output, StoreOutcome, Then, Timer, Turn, WireId};

/// How long an alarm goes on with the archive before it leaves the rest to the next.
const SPELL: Duration = Duration::from_secs(60);

/// What is under way about the archive, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Archiving {
    until: Option<Timestamp>,
    /// The alarm's handler waits for a segment.
    rings: bool,
    fetching: Vec<Need>,
    waiting: BTreeMap<WireId, VecDeque<String>>,
}

impl Archiving {
    pub(super) fn is_under_way(&self) -> bool {
        self.until.is_some() || self.rings || !self.fetching.is_empty()
    }

    /// Puts a frame behind one of its socket that needs something; says whether there is one.
    pub(super) fn queue(&mut self, wire: WireId, text: &str) -> bool {
        match self.waiting.get_mut(&wire) {
            Some(frames) => {
                frames.push_back(text.to_owned());
                true
            }
            None => false,
        }
    }

    pub(super) fn begin(&mut self, wire: WireId) {
        self.waiting.entry(wire).or_default();
    }

    pub(super) fn forget(&mut self, wire: WireId) {
        self.waiting.remove(&wire);
    }

    /// Whether this is not being brought to deliveries; it is from then on.
    pub(super) fn is_new(&mut self, need: &Need) -> bool {
        let is_new = !self.fetching.contains(need);
        if is_new {
            self.fetching.push(need.clone());
        }
        is_new
    }
}

impl ConversationModel {
    pub(super) fn is_ringing(&self) -> bool {
        self.archiving.until.is_some() || self.archiving.rings
    }

    /// Brings something that the service needs.
    pub(super) fn bring(&mut self, turn: &mut Turn<'_>, need: Need, needer: Needer) {
        let Need::Segment(segment) = need else {
            unreachable!("no message of the simulation has a medium");
        };
        self.archiving.rings |= needer == Needer::Alarm;
        self.calls += 1;
        let step = ArchiveStep::Get {
            name: segment.name.clone(),
        };
        let then = Then::Segment(segment, needer);
        turn.output.push(Output::Store(step, then));
    }

    /// Takes the steps that are due.
    pub(super) fn archive(&mut self, turn: &mut Turn<'_>) {
        if self.archiving.until.is_none() {
            self.archiving.until = Some(turn.now + SPELL);
            self.archive_on(turn);
        }
    }

    /// Takes the next step.
    pub(super) fn archive_on(&mut self, turn: &mut Turn<'_>) {
        let step = match self.archiving.until {
            Some(until) if turn.now < until => self.service.next_archive_step(turn.now),
            _ => Ok(None),
        };
        match step {
            Ok(Some(ArchiveStep::Pause)) => turn.timers.push((1, Timer::Archive)),
            Ok(Some(step)) => {
                self.calls += 1;
                turn.output.push(Output::Store(step, Then::Archive));
            }
            Ok(None) => self.archiving.until = None,
            Err(_) => {
                turn.failures += 1;
                self.archiving.until = None;
            }
        }
    }

    /// The store of the archive has answered.
    pub(super) fn stored(&mut self, turn: &mut Turn<'_>, then: Then, outcome: StoreOutcome) {
        self.calls = self.calls.saturating_sub(1);
        match then {
            Then::Segment(need, needer) => {
                let met = self.supply(&need, outcome);
                self.ask_again(turn, need, needer, met);
            }
            _ => match self.service.archive_step_done(outcome, turn.now) {
                Ok(()) => self.archive_on(turn),
                Err(_) => {
                    turn.failures += 1;
                    self.archiving.until = None;
                }
            },
        }
    }

    fn supply(&self, need: &SegmentNeed, outcome: StoreOutcome) -> Result<(), Problem> {
        let unavailable = || Problem::unavailable("The archive cannot be read now.");
        let Ok(ArchiveReply::Got(Some(bytes))) = outcome else {
            return Err(unavailable());
        };
        self.service
            .supply_segment(need, &bytes)
            .map_err(|_| unavailable())
    }

    fn ask_again(
        &mut self,
        turn: &mut Turn<'_>,
        need: SegmentNeed,
        needer: Needer,
        met: Result<(), Problem>,
    ) {
        match (needer, met) {
            (Needer::Request(call, body), Ok(())) => self.request(turn, call, &body),
            (Needer::Request(call, _), Err(problem)) => {
                turn.output.push(Output::Answer(call, Err(problem)));
            }
            (Needer::Open(wire, open), Ok(())) => self.open(turn, wire, &open),
            (Needer::Open(wire, _), Err(problem)) => {
                turn.output.push(Output::Refuse(wire, problem));
            }
            (Needer::Frame(wire, text), met) => {
                let answered = match met {
                    Ok(()) => self.answer_frame(turn, wire, &text),
                    Err(problem) => {
                        self.finish(turn, wire, socket::unmet(&text, problem));
                        true
                    }
                };
                if answered {
                    self.answer_waiting(turn, wire);
                }
            }
            (Needer::Deliveries, met) => {
                let need = Need::Segment(need);
                self.archiving.fetching.retain(|other| *other != need);
                if met.is_ok() {
                    self.service.need_met(turn.now);
                } else {
                    self.service.need_unmet(turn.now);
                }
                self.deliver(turn);
            }
            (Needer::Alarm, met) => {
                self.archiving.rings = false;
                if met.is_ok() {
                    self.alarm(turn);
                } else {
                    self.archive(turn);
                }
            }
        }
    }

    fn answer_waiting(&mut self, turn: &mut Turn<'_>, wire: WireId) {
        while let Some(frames) = self.archiving.waiting.get_mut(&wire) {
            let Some(text) = frames.pop_front() else {
                self.archiving.forget(wire);
                return;
            };
            if !self.answer_frame(turn, wire, &text) {
                return;
            }
        }
    }
}
