//! Calls and sockets, and what can happen to them on the way.
//!
//! What always holds: a call ends once, with an answer or without, however often its request
//! came. On a socket what arrives arrives in order, and what follows something lost is lost too.

use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_shared::conversation::archive::ArchiveStep;
use parlance_shared::conversation::archive::memory::Fault;
use parlance_shared::ids::ConversationId;
use parlance_shared::protocol::problem::Problem;

use crate::client::Purpose;
use crate::objects::{CallId, Failure, ObjectId, Outcome, Then, WireId};
use crate::world::{Down, Happening, World};

/// Who waits for a call.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An object, in one of its lives.
    Object(ObjectId, u64, Then),
    /// A client, by the edge.
    Client(usize, Purpose),
}

/// A call that has not ended.
#[derive(Debug, Clone)]
pub struct Call {
    caller: Caller,
    loses_answer: bool,
    pub(crate) is_answered: bool,
}

/// A socket, from its client's connecting on.
#[derive(Debug)]
pub struct Wire {
    /// Where it ends.
    pub object: ObjectId,
    /// Whose it is.
    pub device: usize,
    /// The conversation whose own socket it is; none for a session.
    pub room: Option<ConversationId>,
    /// Whether the upgrade has come to the object.
    pub has_arrived: bool,
    /// Whether the client still listens.
    pub is_heard: bool,
    /// The word that it has closed came before the object had accepted it: whether its client
    /// said so.
    pub closed_early: Option<bool>,
    /// Whether events may come out of turn: its client has asked for some again.
    pub may_gap: bool,
    /// The last event of each conversation that came on it.
    pub last: BTreeMap<ConversationId, u64>,
    next_down: u64,
    next_up: u64,
}

impl World {
    /// An object asks another.
    pub(crate) fn call_from_object(
        &mut self,
        from: ObjectId,
        life: u64,
        to: ObjectId,
        body: String,
        then: Then,
    ) {
        self.call(Caller::Object(from, life, then), to, &body.into());
    }

    /// Asks an object.
    pub(crate) fn call(&mut self, caller: Caller, to: ObjectId, body: &Rc<str>) {
        let name = self.name();
        let weather = self.weather;
        let is_lost = self.luck.hits(weather.lost_request) || self.cut.contains_key(&to);
        let loses_answer = self.luck.hits(weather.lost_answer);
        // Of a client's wish to block no copy comes late: after the next one it would be a new wish.
        let comes_once = matches!(caller, Caller::Client(_, Purpose::Block { .. }));
        let call = Call {
            caller,
            loses_answer,
            is_answered: false,
        };
        self.calls.insert(name, call);
        if is_lost {
            self.counts.add("fault", "request lost");
            let wait = self.luck.between(5, 1500);
            self.after(wait, Happening::Return(name, Err(Failure::Unreachable)));
            return;
        }
        let arrive = || Happening::Arrive {
            to,
            call: name,
            body: Rc::clone(body),
        };
        let wait = self.latency();
        self.after(wait, arrive());
        if self.luck.hits(weather.doubled) && !comes_once {
            self.counts.add("fault", "request doubled");
            let wait = wait + self.latency() * self.luck.between(1, 20);
            self.after(wait, arrive());
        }
    }

    fn latency(&mut self) -> u64 {
        if self.luck.hits(self.weather.slow) {
            self.counts.add("fault", "slow");
            self.luck.between(200, 4000)
        } else {
            self.luck.between(1, 30)
        }
    }

    /// An object has answered.
    pub(crate) fn answer(&mut self, name: CallId, outcome: Result<String, Problem>) {
        let Some(call) = self.calls.get_mut(&name) else {
            // The second answer to a request that came twice.
            return;
        };
        if std::mem::replace(&mut call.is_answered, true) {
            return;
        }
        let outcome = if call.loses_answer {
            self.counts.add("fault", "answer lost");
            Err(Failure::Unreachable)
        } else {
            outcome.map(Rc::from).map_err(Failure::Refused)
        };
        let wait = self.latency();
        self.after(wait, Happening::Return(name, outcome));
    }

    /// A call ends.
    pub(crate) fn returned(&mut self, name: CallId, outcome: Outcome) {
        let Some(call) = self.calls.remove(&name) else {
            return;
        };
        match call.caller {
            Caller::Object(id, life, then) => self.resume(id, life, then, outcome),
            Caller::Client(device, purpose) => self.replied(device, purpose, outcome),
        }
    }

    /// An object asks the store of the archive.
    pub(crate) fn ask_store(&mut self, from: ObjectId, life: u64, step: ArchiveStep, then: Then) {
        let wait = self.latency();
        self.after(wait, Happening::Store(from, life, step, then));
    }

    /// The store takes a step, well or badly.
    pub(crate) fn store(&mut self, from: ObjectId, life: u64, step: &ArchiveStep, then: Then) {
        let fault = self.luck.hits(self.weather.bad_store).then(|| {
            [Fault::Refused, Fault::AnswerLost, Fault::Damaged][self.luck.below(3) as usize]
        });
        // Either what is put or what is read is damaged: the same damage done twice undoes itself.
        let is_read = matches!(step, ArchiveStep::Get { .. });
        let may_damage = is_read == self.plan.seed.is_multiple_of(2);
        let fault = fault.filter(|fault| *fault != Fault::Damaged || may_damage);
        self.note(|| {
            let name = crate::runtime::self_name(from);
            match step {
                ArchiveStep::Put { name: object, .. } => format!("{name} puts {object} {fault:?}"),
                ArchiveStep::Get { name: object } => format!("{name} gets {object} {fault:?}"),
                ArchiveStep::Delete { name: object } => {
                    format!("{name} removes {object} {fault:?}")
                }
                ArchiveStep::Pause => format!("{name} pauses"),
            }
        });
        match fault {
            Some(Fault::Refused) => self.counts.add("fault", "archive refuses"),
            Some(Fault::AnswerLost) => self.counts.add("fault", "archive does not answer"),
            Some(Fault::Damaged) => self.counts.add("fault", "archive damages"),
            None => {}
        }
        self.counts.add(
            "archive",
            match step {
                ArchiveStep::Put { .. } => "segment put",
                ArchiveStep::Get { .. } => "segment got",
                ArchiveStep::Delete { .. } => "segment removed",
                ArchiveStep::Pause => "pause",
            },
        );
        let outcome = match self.store.take(step, fault) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let wait = self.latency();
        self.after(wait, Happening::Stored(from, life, then, outcome));
    }

    /// A client connects. Gives the name of the socket to be.
    pub(crate) fn connect(
        &mut self,
        device: usize,
        object: ObjectId,
        room: Option<ConversationId>,
        open: String,
    ) -> WireId {
        let wire = self.name();
        let wait = self.latency();
        self.wires.insert(
            wire,
            Wire {
                object,
                device,
                room,
                has_arrived: false,
                is_heard: true,
                closed_early: None,
                may_gap: false,
                last: BTreeMap::new(),
                next_down: 0,
                next_up: 0,
            },
        );
        if self.luck.hits(self.weather.lost_request) || self.cut.contains_key(&object) {
            let problem = Failure::Unreachable.into_problem();
            self.send(wire, wait, Down::Refused(problem));
        } else {
            if let Some(wire) = self.wires.get_mut(&wire) {
                wire.next_up = self.now + wait;
            }
            self.after(wait, Happening::Upgrade(wire, open));
        }
        wire
    }

    fn send(&mut self, wire: WireId, wait: u64, down: Down) {
        let Some(to) = self.wires.get_mut(&wire) else {
            return;
        };
        let at = (self.now + wait).max(to.next_down);
        to.next_down = at;
        self.at(at, Happening::Down(wire, down));
    }

    /// The upgrade was answered with 101.
    pub(crate) fn accepted(&mut self, wire: WireId) {
        let wait = self.latency();
        self.send(wire, wait, Down::Accepted);
        let closed = self.wires.get(&wire).and_then(|wire| wire.closed_early);
        if let Some(was_clean) = closed {
            self.after(1, Happening::Gone(wire, was_clean));
        }
    }

    /// The upgrade was refused.
    pub(crate) fn refused(&mut self, wire: WireId, problem: Problem) {
        let wait = self.latency();
        self.send(wire, wait, Down::Refused(problem));
    }

    /// A frame goes to a client.
    pub(crate) fn send_down(&mut self, wire: WireId, text: Rc<str>) {
        let wait = self.latency();
        self.send(wire, wait, Down::Frame(text));
    }

    /// An object closes a socket, or it breaks there.
    pub(crate) fn close_down(&mut self, wire: WireId, code: u16) {
        let wait = self.latency();
        self.send(wire, wait, Down::Closed(code));
    }

    /// A frame goes to an object.
    pub(crate) fn send_up(&mut self, wire: WireId, text: String) {
        let wait = self.latency();
        let Some(from) = self.wires.get_mut(&wire) else {
            return;
        };
        let at = (self.now + wait).max(from.next_up);
        from.next_up = at;
        self.at(at, Happening::Up(wire, text));
    }

    /// A client closes a socket: the object learns of it after what was sent before.
    pub(crate) fn close_up(&mut self, wire: WireId) {
        let wait = self.latency();
        let Some(from) = self.wires.get_mut(&wire) else {
            return;
        };
        from.is_heard = false;
        let at = (self.now + wait).max(from.next_up);
        self.at(at, Happening::Gone(wire, true));
    }

    /// A socket breaks. The object may learn of it late, or never; what was on its way to the
    /// client is lost.
    pub(crate) fn break_wire(&mut self, wire: WireId) {
        let learns = self.luck.hits(700);
        let wait = self.luck.between(1, 40_000);
        let Some(from) = self.wires.get_mut(&wire) else {
            return;
        };
        from.is_heard = false;
        if learns {
            let at = (self.now + wait).max(from.next_up);
            self.at(at, Happening::Gone(wire, false));
        }
    }
}
