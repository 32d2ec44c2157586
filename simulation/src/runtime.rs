//! What the runtime does for an object: memory, storage with its output gate, the alarm, and how
//! all of that ends.
//!
//! What always holds: nothing leaves an object before what it had written is on disk. A crash
//! takes along what has not left. Memory may end at any event; storage, the alarm, and, but for a
//! crash, the sockets stay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::archive::ArchiveStep;
use parlance_shared::planted::{self, Bug};
use parlance_shared::time::Timestamp;

use crate::disk::Disk;
use crate::objects::{
    CallId, Failure, Memory, Needer, ObjectId, Outcome, Output, StoreOutcome, Then, Timer, Turn,
    WireId,
};
use crate::world::{BEGINNING, Happening, World};

/// What the runtime keeps of an object.
pub struct Object {
    /// Its storage.
    pub disk: Rc<Disk>,
    /// What the alarm is set to, and what of that is on disk.
    pub alarm: Option<Timestamp>,
    flushed_alarm: Option<Timestamp>,
    /// Whether it was set, or has rung, since the last flush.
    is_alarm_new: bool,
    /// Whether the alarm is ringing: that it is off is on disk only after its handler.
    is_ringing: bool,
    /// What has rung and whose handler goes on: were the process to die, it rings again.
    unfinished: Option<Timestamp>,
    /// Its memory, while it is in one.
    pub memory: Option<Memory>,
    /// How often its memory has ended.
    pub life: u64,
    /// How many events it has had.
    pub turns: u64,
    /// Its sockets, and what is kept with each.
    pub sockets: BTreeMap<WireId, String>,
    pings: BTreeMap<WireId, Timestamp>,
    held: VecDeque<Output>,
    is_flushing: bool,
    /// Requests that are yet to be answered.
    executing: BTreeSet<CallId>,
    /// How far its clock is off.
    pub skew: i64,
}

impl Object {
    fn new() -> Self {
        Self {
            disk: Rc::new(Disk::new()),
            alarm: None,
            flushed_alarm: None,
            is_alarm_new: false,
            is_ringing: false,
            unfinished: None,
            memory: None,
            life: 0,
            turns: 0,
            sockets: BTreeMap::new(),
            pings: BTreeMap::new(),
            held: VecDeque::new(),
            is_flushing: false,
            executing: BTreeSet::new(),
            skew: 0,
        }
    }

    /// Whether something is not on disk.
    fn is_dirty(&self) -> bool {
        self.disk.is_dirty() || self.is_alarm_new
    }
}

impl World {
    /// An event of an object: what it does is held back until it is on disk.
    fn turn<R>(
        &mut self,
        id: ObjectId,
        alarm: Option<Option<Timestamp>>,
        event: impl FnOnce(&mut Memory, &mut Turn<'_>) -> R,
    ) -> R {
        let lazy = self.fate.hits(self.weather.lazy_disk);
        let waits = |object: &Object| object.is_dirty() && !object.is_ringing;
        if !lazy && self.objects.get(&id).is_some_and(waits) {
            self.flush(id);
        }
        if self.weather.bad_disk > 0
            && !self.is_checking
            && self.fate.hits(self.weather.bad_disk)
            && let Some(object) = self.objects.get(&id)
        {
            object.disk.fail_after(self.fate.below(20), 1);
            self.counts.add("fault", "storage fails");
        }
        let (wave, window) = (self.plan.wave, self.plan.window());
        let object = self.objects.entry(id).or_insert_with(Object::new);
        let now = BEGINNING.saturating_add_unsigned(self.now) + object.skew;
        let now = Timestamp::from_millis(now);
        let memory = object.memory.get_or_insert_with(|| {
            let alarm = alarm.unwrap_or(object.alarm);
            Memory::new(
                id,
                &object.disk,
                (alarm, now),
                &object.sockets,
                wave,
                window,
            )
        });
        let mut turn = Turn {
            now,
            dice: &self.dice,
            sockets: &mut object.sockets,
            pings: &object.pings,
            output: Vec::new(),
            timers: Vec::new(),
            alarm: None,
            failures: 0,
        };
        let done = event(memory, &mut turn);
        let Turn {
            output,
            timers,
            alarm,
            ..
        } = turn;
        object.turns += 1;
        if let Some(at) = alarm {
            object.alarm = Some(at);
            object.is_alarm_new = true;
        }
        let (life, turns) = (object.life, object.turns);
        let mut early = Vec::new();
        for one in output {
            let is_told = match &one {
                Output::Answer(call, _) => self.calls.contains_key(call),
                Output::Frame(..) => true,
                _ => false,
            };
            if is_told && planted::is_on(Bug::AckBeforeCommit) {
                early.push(one);
            } else {
                object.held.push_back(one);
            }
        }
        for one in early {
            self.leave(id, one);
        }
        for (wait, timer) in timers {
            self.after(wait, Happening::Timer(id, life, timer));
        }
        self.after(self.plan.idle * 1000, Happening::Idle(id, turns));
        done
    }

    /// Ends an event: what was written goes to the disk at once or a little later, or the object
    /// dies.
    fn end_turn(&mut self, id: ObjectId) {
        if self.fate.hits(self.weather.crash) {
            let loses = self.fate.hits(500);
            return self.crash(id, loses);
        }
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        if !object.is_dirty() {
            self.release(id);
        } else if self.fate.hits(self.weather.lazy_disk) {
            let life = object.life;
            if !std::mem::replace(&mut object.is_flushing, true) {
                self.counts.add("fault", "writes reach the disk late");
                let wait = self.fate.between(1, 20);
                self.after(wait, Happening::Flush(id, life));
            }
        } else {
            self.flush(id);
        }
        if self.fate.hits(self.weather.amnesia) {
            self.amnesia(id);
        }
    }

    /// What an object wrote reaches the disk, if it has not died since.
    pub(crate) fn flush_due(&mut self, id: ObjectId, life: u64) {
        if let Some(object) = self.objects.get_mut(&id)
            && object.life == life
        {
            object.is_flushing = false;
            self.flush(id);
        }
    }

    /// Brings what an object wrote to the disk, and lets go of what waited for that.
    pub(crate) fn flush(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.disk.flush();
            let alarm = object.alarm;
            if std::mem::take(&mut object.is_alarm_new) {
                object.flushed_alarm = alarm.or(object.unfinished);
                self.set_ring(id, alarm);
            }
        }
        self.flushed(id);
        self.release(id);
    }

    fn set_ring(&mut self, id: ObjectId, alarm: Option<Timestamp>) {
        let Some(at) = alarm else {
            return;
        };
        let late = if self.luck.hits(self.weather.late_alarm) {
            self.counts.add("fault", "alarm late");
            self.luck.between(100, 20_000)
        } else {
            self.luck.between(20, 60)
        };
        let due = Self::moment(at).max(self.now) + late;
        self.at(due, Happening::Ring(id, at));
    }

    fn release(&mut self, id: ObjectId) {
        while let Some(object) = self.objects.get_mut(&id)
            && let Some(output) = object.held.pop_front()
        {
            self.leave(id, output);
        }
    }

    fn leave(&mut self, id: ObjectId, output: Output) {
        match output {
            Output::Call { to, body, then } => {
                let life = self.objects.get(&id).map_or(0, |object| object.life);
                self.call_from_object(id, life, to, body, then);
            }
            Output::Answer(call, outcome) => {
                if let Some(object) = self.objects.get_mut(&id) {
                    object.executing.remove(&call);
                }
                self.answer(call, outcome);
            }
            Output::Accept(wire) => self.accepted(wire),
            Output::Refuse(wire, problem) => self.refused(wire, problem),
            Output::Frame(wire, text) => self.send_down(wire, text),
            Output::Close(wire, code) => self.close_down(wire, code.code()),
            Output::Store(step, then) => {
                let life = self.objects.get(&id).map_or(0, |object| object.life);
                self.ask_store(id, life, step, then);
            }
        }
    }

    /// A request arrives.
    pub(crate) fn arrive(&mut self, id: ObjectId, call: CallId, body: &Rc<str>) {
        self.note(|| format!("{} <- #{call} {}", self_name(id), brief(body)));
        self.counts.add_named("request", body);
        self.turn(id, None, |memory, turn| memory.request(turn, call, body));
        if self.calls.contains_key(&call)
            && let Some(object) = self.objects.get_mut(&id)
        {
            object.executing.insert(call);
        }
        self.end_turn(id);
    }

    /// A call of an object's has ended.
    pub(crate) fn resume(&mut self, id: ObjectId, life: u64, then: Then, outcome: Outcome) {
        let is_there = self
            .objects
            .get(&id)
            .is_some_and(|object| object.life == life && object.memory.is_some());
        if is_there {
            self.turn(id, None, |memory, turn| memory.resume(turn, then, outcome));
            self.end_turn(id);
        }
    }

    /// An upgrade arrives.
    pub(crate) fn upgrade(&mut self, wire: WireId, open: &str) {
        let Some(one) = self.wires.get_mut(&wire) else {
            return;
        };
        one.has_arrived = true;
        let id = one.object;
        self.turn(id, None, |memory, turn| memory.open(turn, wire, open));
        self.end_turn(id);
    }

    /// A frame arrives.
    pub(crate) fn up(&mut self, wire: WireId, text: &str) {
        let Some(id) = self.wires.get(&wire).map(|wire| wire.object) else {
            return;
        };
        let is_open = self
            .objects
            .get(&id)
            .is_some_and(|object| object.sockets.contains_key(&wire));
        if !is_open {
            return;
        }
        self.note(|| format!("{} <- ~{wire} {}", self_name(id), brief(text)));
        self.turn(id, None, |memory, turn| memory.frame(turn, wire, text));
        self.end_turn(id);
    }

    /// A client's ping, which the runtime answers by itself.
    pub(crate) fn pinged(&mut self, wire: WireId) {
        let time = self.time();
        if let Some(id) = self.wires.get(&wire).map(|wire| wire.object)
            && let Some(object) = self.objects.get_mut(&id)
            && object.sockets.contains_key(&wire)
        {
            object.pings.insert(wire, time);
        }
    }

    /// The object learns that a socket has closed.
    pub(crate) fn gone(&mut self, wire: WireId, was_clean: bool) {
        let Some(id) = self.wires.get(&wire).map(|wire| wire.object) else {
            return;
        };
        let is_open = self
            .objects
            .get(&id)
            .is_some_and(|object| object.sockets.contains_key(&wire));
        if is_open {
            self.turn(id, None, |memory, turn| {
                memory.closed(turn, wire, was_clean)
            });
            self.end_turn(id);
        } else if let Some(wire) = self.wires.get_mut(&wire) {
            wire.closed_early = Some(was_clean);
        }
    }

    /// The store of the archive has answered.
    pub(crate) fn stored(&mut self, id: ObjectId, life: u64, then: Then, outcome: StoreOutcome) {
        let is_there = self
            .objects
            .get(&id)
            .is_some_and(|object| object.life == life && object.memory.is_some());
        if is_there {
            self.turn(id, None, |memory, turn| memory.stored(turn, then, outcome));
            self.end_handler(id);
            self.end_turn(id);
        }
    }

    /// The handler of the alarm may have ended.
    fn end_handler(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(&id)
            && object.unfinished.is_some()
            && !object.memory.as_ref().is_some_and(Memory::is_ringing)
        {
            object.unfinished = None;
            object.is_alarm_new = true;
        }
    }

    /// A timer goes off.
    pub(crate) fn timer(&mut self, id: ObjectId, life: u64, timer: Timer) {
        let is_there = self
            .objects
            .get(&id)
            .is_some_and(|object| object.life == life && object.memory.is_some());
        if is_there {
            self.turn(id, None, |memory, turn| memory.timer(turn, timer));
            self.end_handler(id);
            self.end_turn(id);
        }
    }

    /// The alarm rings.
    pub(crate) fn ring(&mut self, id: ObjectId, at: Timestamp) {
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        if object.alarm != Some(at) || object.flushed_alarm != Some(at) {
            return;
        }
        // While it rings, none is set.
        object.alarm = None;
        object.is_ringing = true;
        // Constructed for it, an object may see it set still, or not any more.
        let seen = if self.fate.hits(500) { Some(at) } else { None };
        self.note(|| format!("{} alarm", self_name(id)));
        self.counts.add("runtime", "alarm");
        self.turn(id, Some(seen), |memory, turn| memory.alarm(turn));
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        object.is_ringing = false;
        object.is_alarm_new = true;
        let goes_on = object.memory.as_ref().is_some_and(Memory::is_ringing);
        object.unfinished = goes_on.then_some(at);
        self.end_turn(id);
    }

    /// An object that nothing has happened to is evicted.
    pub(crate) fn idle(&mut self, id: ObjectId, turns: u64) {
        if self.objects.get(&id).is_some_and(|one| one.turns == turns) {
            self.sleep(id);
        }
    }

    /// Evicts an object, if it waits for nothing.
    pub(crate) fn sleep(&mut self, id: ObjectId) {
        let is_idle = self.objects.get(&id).is_some_and(|object| {
            !object.is_dirty()
                && object.executing.is_empty()
                && object.memory.as_ref().is_some_and(|one| !one.is_waiting())
        });
        if is_idle {
            self.before_sleep(id);
            self.end_life(id);
            self.counts.add("runtime", "eviction of an idle object");
            self.note(|| format!("{} sleeps", self_name(id)));
        }
    }

    /// The memory of an object is gone, whatever it was doing; the rest of it stays.
    pub(crate) fn amnesia(&mut self, id: ObjectId) {
        self.flush(id);
        self.counts.add("fault", "memory lost");
        self.note(|| format!("{} forgets", self_name(id)));
        self.end_life(id);
        self.fail_executing(id);
    }

    /// The process dies.
    pub(crate) fn crash(&mut self, id: ObjectId, loses: bool) {
        self.note(|| {
            format!(
                "{} crashes, unflushed writes are {}",
                self_name(id),
                if loses { "lost" } else { "kept" }
            )
        });
        self.counts.add(
            "fault",
            if loses {
                "crash, writes lost"
            } else {
                "crash, writes kept"
            },
        );
        let Some(object) = self.objects.get_mut(&id) else {
            return;
        };
        object.held.clear();
        if loses {
            object.disk.lose();
            object.alarm = object.flushed_alarm;
        } else {
            // The alarm that has just rung is taken back a moment after what its handler wrote.
            if object.alarm.is_none() && self.fate.hits(500) {
                object.alarm = object.flushed_alarm;
            }
            object.disk.flush();
            object.flushed_alarm = object.alarm;
        }
        object.is_alarm_new = false;
        let alarm = object.alarm;
        object.sockets.clear();
        object.pings.clear();
        let wires: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.object == id && wire.has_arrived && wire.is_heard)
            .map(|(wire, _)| *wire)
            .collect();
        self.set_ring(id, alarm);
        self.flushed(id);
        self.end_life(id);
        for wire in wires {
            self.close_down(wire, 1006);
        }
        self.fail_executing(id);
    }

    fn end_life(&mut self, id: ObjectId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.memory = None;
            object.life += 1;
            object.is_flushing = false;
            // Its handler has not ended: it rings again.
            if let Some(at) = object.unfinished.take()
                && object.alarm.is_none()
            {
                object.alarm = Some(at);
                object.flushed_alarm = Some(at);
                self.set_ring(id, Some(at));
            }
        }
    }

    fn fail_executing(&mut self, id: ObjectId) {
        let calls = match self.objects.get_mut(&id) {
            Some(object) => std::mem::take(&mut object.executing),
            None => return,
        };
        for call in calls {
            let wait = self.luck.between(1, 100);
            self.after(wait, Happening::Return(call, Err(Failure::Unreachable)));
        }
    }

    /// Asks an object itself, past network and faults: for checks, and to set the scene.
    pub(crate) fn ask_directly(
        &mut self,
        id: ObjectId,
        body: &str,
    ) -> Option<Result<String, parlance_shared::protocol::problem::Problem>> {
        let body: Rc<str> = body.into();
        let call = self.name();
        let fault = self.objects.get(&id).and_then(|one| one.disk.mend());
        self.is_checking = true;
        self.turn(id, None, |memory, turn| memory.request(turn, call, &body));
        // What it needs from the archive it has at once.
        while let Some((step, then)) = self.held_step(id, call) {
            let outcome = self.store.take(&step, None);
            let outcome = outcome.map(|reply| reply.expect("an answer"));
            self.turn(id, None, |memory, turn| memory.stored(turn, then, outcome));
        }
        self.is_checking = false;
        let object = self.objects.get_mut(&id)?;
        if let Some(statements) = fault {
            object.disk.fail_after(statements, 1);
        }
        let answer = object
            .held
            .iter()
            .rposition(|output| matches!(output, Output::Answer(other, _) if *other == call));
        let answer = answer.and_then(|position| object.held.remove(position));
        self.flush(id);
        match answer {
            Some(Output::Answer(_, outcome)) => Some(outcome),
            _ => None,
        }
    }

    /// The step of the archive that a request waits for, if it does.
    fn held_step(&mut self, id: ObjectId, call: CallId) -> Option<(ArchiveStep, Then)> {
        let object = self.objects.get_mut(&id)?;
        let is_for = |output: &Output| {
            matches!(output, Output::Store(_, Then::Segment(_, Needer::Request(other, _)))
                if *other == call)
        };
        let position = object.held.iter().rposition(is_for)?;
        match object.held.remove(position)? {
            Output::Store(step, then) => Some((step, then)),
            _ => None,
        }
    }

    /// What an object's storage holds, for checks.
    pub(crate) fn disk(&self, id: ObjectId) -> Option<Rc<Disk>> {
        self.objects.get(&id).map(|object| Rc::clone(&object.disk))
    }

    /// Whether an alarm is set that goes off within `by`.
    pub(crate) fn alarm_within(&self, id: ObjectId, by: Duration) -> bool {
        let soon = self.time() + by;
        self.objects
            .get(&id)
            .and_then(|object| object.alarm)
            .is_some_and(|at| at <= soon)
    }
}

/// A short name of an object, the same in every run of a seed.
pub(crate) fn self_name(id: ObjectId) -> String {
    let (kind, text) = match id {
        ObjectId::Conversation(id) => ("conv", id.to_string()),
        ObjectId::User(id) => ("user", id.to_string()),
    };
    format!("{kind} {}", text.get(..6).unwrap_or_default())
}

/// What a request or a frame says, cut short.
pub(crate) fn brief(text: &str) -> String {
    let end = text
        .char_indices()
        .nth(400)
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().to_owned()
}
