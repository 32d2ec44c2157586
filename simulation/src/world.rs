//! The simulated world: time, the queue of what is to happen, and the state of a run.
//!
//! What always holds: one seed gives one run. Nothing here reads a clock, and everything that
//! happens at the same time happens in the order in which it was arranged.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use parlance_shared::conversation::archive::ArchiveStep;
use parlance_shared::conversation::archive::memory::MemoryStore;
use parlance_shared::ids::ConversationId;
use parlance_shared::time::Timestamp;

use crate::chance::{Chance, Dice};
use crate::client::{Device, Errand};
use crate::counts::Counts;
use crate::network::{Call, Wire};
use crate::objects::{CallId, ObjectId, Outcome, StoreOutcome, Then, Timer, WireId};
use crate::oracle::Oracle;
use crate::plan::{Plan, Weather};
use crate::runtime::Object;

/// When a run begins: some day, in milliseconds of the Unix epoch.
pub const BEGINNING: i64 = 1_764_000_000_000;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub rule: &'static str,
    /// How it was broken.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What is to happen.
#[derive(Debug)]
pub enum Happening {
    /// A step of the plan.
    Step(usize),
    /// A request arrives at an object.
    Arrive {
        /// Which.
        to: ObjectId,
        /// Its name.
        call: CallId,
        /// What it says.
        body: Rc<str>,
    },
    /// A call ends at its caller.
    Return(CallId, Outcome),
    /// An upgrade arrives at an object.
    Upgrade(WireId, String),
    /// A frame arrives at an object.
    Up(WireId, String),
    /// An object learns that a socket has closed: its client said so, or it broke.
    Gone(WireId, bool),
    /// Something arrives at a client.
    Down(WireId, Down),
    /// What an object wrote reaches the disk.
    Flush(ObjectId, u64),
    /// A timer goes off in an object's memory.
    Timer(ObjectId, u64, Timer),
    /// An alarm rings, if it is still set to this.
    Ring(ObjectId, Timestamp),
    /// An object that has been idle is evicted.
    Idle(ObjectId, u64),
    /// The store of the archive is asked.
    Store(ObjectId, u64, ArchiveStep, Then),
    /// It has answered.
    Stored(ObjectId, u64, Then, StoreOutcome),
    /// An object can be reached again.
    Mend(ObjectId),
    /// A client does what it has to do.
    Errand(usize, Errand),
    /// An event was in the inbox of a device's user some time ago: the device has it by now, if
    /// its session has been there since.
    Look(usize, WireId, ConversationId, u64),
}

/// What arrives at a client on a socket.
#[derive(Debug)]
pub enum Down {
    /// It is open.
    Accepted,
    /// It was refused.
    Refused(parlance_shared::protocol::problem::Problem),
    /// A frame.
    Frame(Rc<str>),
    /// It was closed.
    Closed(u16),
}

/// A run.
pub struct World {
    /// What it follows.
    pub plan: Plan,
    /// The weather, until it calms.
    pub weather: Weather,
    /// Milliseconds from the beginning.
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    arranged: u64,
    /// The objects that have been asked for something.
    pub objects: BTreeMap<ObjectId, Object>,
    /// Calls that have not ended.
    pub calls: BTreeMap<CallId, Call>,
    /// Sockets.
    pub wires: BTreeMap<WireId, Wire>,
    /// The names given out.
    pub last_name: u64,
    /// The clients.
    pub devices: Vec<Device>,
    /// What is promised, and what was seen.
    pub oracle: Oracle,
    /// The network's luck.
    pub luck: Chance,
    /// The objects' luck.
    pub fate: Chance,
    /// The clients' luck.
    pub whim: Chance,
    /// The services' random numbers.
    pub dice: Dice,
    /// The store of the archive.
    pub store: MemoryStore,
    /// Objects that cannot be reached.
    pub cut: BTreeMap<ObjectId, u64>,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What happened, where it is wanted.
    pub trace: Option<Vec<String>>,
    /// Whether an object is asked past all faults.
    pub is_checking: bool,
    /// How many events there were.
    pub events: u64,
    /// How often things happened.
    pub counts: Counts,
}

impl World {
    /// The world before the first step.
    #[must_use]
    pub fn new(plan: &Plan, traced: bool) -> Self {
        let root = Chance::new(plan.seed);
        let mut world = Self {
            plan: plan.clone(),
            weather: plan.weather,
            now: 0,
            queue: BTreeMap::new(),
            arranged: 0,
            objects: BTreeMap::new(),
            calls: BTreeMap::new(),
            wires: BTreeMap::new(),
            last_name: 0,
            devices: Vec::new(),
            oracle: Oracle::default(),
            luck: root.fork(10),
            fate: root.fork(11),
            whim: root.fork(12),
            dice: Dice::new(root.fork(13)),
            store: MemoryStore::new(),
            cut: BTreeMap::new(),
            violation: None,
            trace: traced.then(Vec::new),
            is_checking: false,
            events: 0,
            counts: Counts::default(),
        };
        world.sign_up();
        for (number, step) in plan.steps.iter().enumerate() {
            world.after(step.at, Happening::Step(number));
        }
        world
    }

    /// The time, as a clock that is right shows it.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        Timestamp::from_millis(BEGINNING.saturating_add_unsigned(self.now))
    }

    /// The milliseconds from the beginning at `at`; 0 before it.
    #[must_use]
    pub fn moment(at: Timestamp) -> u64 {
        u64::try_from(at.as_millis().saturating_sub(BEGINNING)).unwrap_or(0)
    }

    /// Has something happen `wait` milliseconds from now.
    pub fn after(&mut self, wait: u64, what: Happening) {
        self.at(self.now + wait, what);
    }

    /// Has something happen at a time.
    pub fn at(&mut self, at: u64, what: Happening) {
        self.arranged += 1;
        self.queue.insert((at.max(self.now), self.arranged), what);
    }

    /// A name that nothing had before.
    pub const fn name(&mut self) -> u64 {
        self.last_name += 1;
        self.last_name
    }

    /// Notes what happens. The text is made only where it is wanted.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3}  {}", now as f64 / 1000.0, text()));
        }
    }

    /// Looks whether a promise is kept, and says so.
    pub fn promise(
        &mut self,
        rule: &'static str,
        is_kept: bool,
        text: impl FnOnce() -> String,
    ) -> bool {
        self.counts.add("promise looked at", rule);
        if !is_kept {
            self.broken(rule, text());
        }
        is_kept
    }

    /// A promise was not kept. Only the first one counts.
    pub fn broken(&mut self, rule: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.note(|| format!("BROKEN {rule}: {text}"));
        self.violation.get_or_insert(Violation { rule, text });
    }

    /// Time passes, and nothing happens meanwhile: what was to happen is late.
    pub fn jump(&mut self, by: u64) {
        self.now += by;
    }

    /// Goes on until the time `until`, or until a promise is broken.
    pub fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some((&(at, _), _)) = self.queue.first_key_value() else {
                break;
            };
            if at > until {
                break;
            }
            let Some((_, what)) = self.queue.pop_first() else {
                break;
            };
            self.now = self.now.max(at);
            self.events += 1;
            self.happen(what);
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Step(number) => self.step(number),
            Happening::Arrive { to, call, body } => self.arrive(to, call, &body),
            Happening::Return(call, outcome) => self.returned(call, outcome),
            Happening::Upgrade(wire, open) => self.upgrade(wire, &open),
            Happening::Up(wire, text) => self.up(wire, &text),
            Happening::Gone(wire, was_clean) => self.gone(wire, was_clean),
            Happening::Down(wire, down) => self.down(wire, down),
            Happening::Flush(object, life) => self.flush_due(object, life),
            Happening::Timer(object, life, timer) => self.timer(object, life, timer),
            Happening::Ring(object, at) => self.ring(object, at),
            Happening::Idle(object, turns) => self.idle(object, turns),
            Happening::Store(object, life, step, then) => self.store(object, life, &step, then),
            Happening::Stored(object, life, then, outcome) => {
                self.stored(object, life, then, outcome);
            }
            Happening::Mend(object) => {
                self.cut.remove(&object);
            }
            Happening::Errand(device, errand) => self.errand(device, errand),
            Happening::Look(device, wire, place, seq) => {
                self.check_not_withheld(device, wire, place, seq);
            }
        }
    }
}
