//! The adapters of `parlance-durable-objects`, as far as a run needs them: what each does around a
//! service, step by step, with calls, sockets and timers as data.
//!
//! What always holds: the order of steps is that of the adapter it mirrors; where one changes, so
//! does the other. No rule of chat is here.

mod archiving;
mod conversation;
mod user;

use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_shared::conversation::archive::{ArchiveReply, ArchiveStep, HotWindow};
use parlance_shared::conversation::outbox::Mark;
use parlance_shared::conversation::service::HideWish;
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::need::SegmentNeed;
use parlance_shared::protocol::batch;
use parlance_shared::protocol::frame::{CloseCode, ServerFrame};
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::effect::Ticket;

use crate::chance::Dice;
use crate::disk::Disk;

pub use conversation::ConversationModel;
pub use user::UserModel;

/// An object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectId {
    /// A conversation.
    Conversation(ConversationId),
    /// A user.
    User(UserId),
}

/// A socket, for as long as the run goes on.
pub type WireId = u64;
/// A request from one to another, for as long as the run goes on.
pub type CallId = u64;

/// Why a call gave no reply.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It was refused.
    Refused(Problem),
    /// There was no answer. It may have been done.
    Unreachable,
}

impl Failure {
    /// What the client is told.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Unreachable => {
                Problem::unavailable("A part of the service did not answer. Try again.")
            }
        }
    }
}

/// What the store of the archive answered.
pub type StoreOutcome = Result<ArchiveReply, String>;

/// How a call ended: the reply's JSON, or why there is none.
pub type Outcome = Result<Rc<str>, Failure>;

/// What an object goes on with when a call has ended.
#[derive(Debug, Clone)]
pub enum Then {
    /// A delivery to a member.
    HandOver(UserId),
    /// A signal to a member.
    Signal(UserId),
    /// A mark.
    Mark(Mark),
    /// A message that a device hid on its socket here.
    Hide(HideWish, ConversationId),
    /// A question of a user object.
    Ticket(Option<Ticket>),
    /// A step of the archive.
    Archive,
    /// A segment that someone here needs.
    Segment(SegmentNeed, Needer),
}

/// Who in a conversation needs a segment; it is asked again with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needer {
    /// A request.
    Request(CallId, Rc<str>),
    /// An upgrade.
    Open(WireId, String),
    /// A frame of a socket, which others wait behind.
    Frame(WireId, String),
    /// Deliveries.
    Deliveries,
    /// The alarm.
    Alarm,
}

/// What an object comes back to after a while, if it is still in memory.
#[derive(Debug, Clone, Copy)]
pub enum Timer {
    /// Deliveries.
    Deliver,
    /// What a user object waits for.
    Wake,
    /// The archive, after a pause.
    Archive,
}

/// What leaves an object, in order, once what was written before is on disk.
#[derive(Debug)]
pub enum Output {
    /// The upgrade is answered with 101.
    Accept(WireId),
    /// The upgrade is refused.
    Refuse(WireId, Problem),
    /// A frame, or a batch of them.
    Frame(WireId, Rc<str>),
    /// The socket is closed.
    Close(WireId, CloseCode),
    /// Another object is asked.
    Call {
        /// Which.
        to: ObjectId,
        /// What.
        body: String,
        /// What comes then.
        then: Then,
    },
    /// A request is answered.
    Answer(CallId, Result<String, Problem>),
    /// The store of the archive is to do something.
    Store(ArchiveStep, Then),
}

/// What an object has while it handles one event.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The object's clock.
    pub now: Timestamp,
    /// Random numbers.
    pub dice: &'a Dice,
    /// Its sockets, and what is kept with each.
    pub sockets: &'a mut BTreeMap<WireId, String>,
    /// When the client of each last pinged.
    pub pings: &'a BTreeMap<WireId, Timestamp>,
    /// What is to leave.
    pub output: Vec<Output>,
    /// What is to be come back to, and after how many milliseconds.
    pub timers: Vec<(u64, Timer)>,
    /// What the alarm was set to.
    pub alarm: Option<Timestamp>,
    /// How many failures were logged.
    pub failures: u64,
}

impl Turn<'_> {
    /// Sends frames on sockets: one as it is, several as batches.
    fn send(&mut self, to: &[WireId], frames: &[ServerFrame]) {
        let texts: Vec<_> = frames.iter().map(ServerFrame::to_text).collect();
        self.send_texts(to, &texts);
    }

    fn send_texts(&mut self, to: &[WireId], texts: &[String]) {
        for text in batch::pack(texts) {
            let text: Rc<str> = text.into();
            for wire in to {
                if self.sockets.contains_key(wire) {
                    self.output.push(Output::Frame(*wire, Rc::clone(&text)));
                }
            }
        }
    }

    /// Says why, and closes a socket.
    fn dismiss(&mut self, wire: WireId, code: CloseCode) {
        let farewell = parlance_shared::conversation::socket::farewell(code);
        self.send(&[wire], &[farewell]);
        if self.sockets.remove(&wire).is_some() {
            self.output.push(Output::Close(wire, code));
        }
    }
}

/// What an object holds in memory.
#[derive(Debug)]
pub enum Memory {
    /// A conversation.
    Conversation(Box<ConversationModel>),
    /// A user.
    User(Box<UserModel>),
}

impl Memory {
    /// The memory of an object that is constructed now, with what its alarm is set to.
    #[must_use]
    pub fn new(
        id: ObjectId,
        disk: &Rc<Disk>,
        (alarm, now): (Option<Timestamp>, Timestamp),
        sockets: &BTreeMap<WireId, String>,
        wave: usize,
        window: Option<HotWindow>,
    ) -> Self {
        match id {
            ObjectId::Conversation(_) => Self::Conversation(Box::new(ConversationModel::new(
                Rc::clone(disk),
                (alarm, now),
                sockets,
                wave,
                window,
            ))),
            ObjectId::User(_) => {
                Self::User(Box::new(UserModel::new(Rc::clone(disk), alarm, sockets)))
            }
        }
    }

    /// A request has come.
    pub fn request(&mut self, turn: &mut Turn<'_>, call: CallId, body: &Rc<str>) {
        match self {
            Self::Conversation(model) => model.request(turn, call, body),
            Self::User(model) => model.request(turn, call, body),
        }
    }

    /// An upgrade has come.
    pub fn open(&mut self, turn: &mut Turn<'_>, wire: WireId, open: &str) {
        match self {
            Self::Conversation(model) => model.open(turn, wire, open),
            Self::User(model) => model.open(turn, wire, open),
        }
    }

    /// A frame has come.
    pub fn frame(&mut self, turn: &mut Turn<'_>, wire: WireId, text: &str) {
        match self {
            Self::Conversation(model) => model.frame(turn, wire, text),
            Self::User(model) => model.frame(turn, wire, text),
        }
    }

    /// A socket has closed.
    pub fn closed(&mut self, turn: &mut Turn<'_>, wire: WireId, was_clean: bool) {
        match self {
            Self::Conversation(model) => model.closed(turn, wire, was_clean),
            Self::User(model) => model.closed(turn, wire),
        }
    }

    /// A call has ended.
    pub fn resume(&mut self, turn: &mut Turn<'_>, then: Then, outcome: Outcome) {
        match self {
            Self::Conversation(model) => model.resume(turn, then, outcome),
            Self::User(model) => model.resume(turn, then, outcome),
        }
    }

    /// A timer has gone off.
    pub fn timer(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match (self, timer) {
            (Self::Conversation(model), Timer::Deliver) => model.woken(turn),
            (Self::Conversation(model), Timer::Archive) => model.archive_on(turn),
            (Self::User(model), Timer::Wake) => model.woken(turn),
            _ => {}
        }
    }

    /// The store of the archive has answered.
    pub fn stored(&mut self, turn: &mut Turn<'_>, then: Then, outcome: StoreOutcome) {
        if let Self::Conversation(model) = self {
            model.stored(turn, then, outcome);
        }
    }

    /// Whether the handler of the alarm goes on: it has rung only when that has ended.
    #[must_use]
    pub fn is_ringing(&self) -> bool {
        matches!(self, Self::Conversation(model) if model.is_ringing())
    }

    /// The alarm rings.
    pub fn alarm(&mut self, turn: &mut Turn<'_>) {
        match self {
            Self::Conversation(model) => model.alarm(turn),
            Self::User(model) => model.alarm(turn),
        }
    }

    /// Whether it waits for a call or a timer, and so is not evicted.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match self {
            Self::Conversation(model) => model.is_waiting(),
            Self::User(model) => model.is_waiting(),
        }
    }
}

/// What a caller is told of a service's error.
fn told(turn: &mut Turn<'_>, error: ServiceError) -> Problem {
    if matches!(error, ServiceError::Storage(_)) {
        turn.failures += 1;
    }
    error.into_problem()
}
