//! What happens in a run: who does what, what fails, and when. Made from a seed, and small enough
//! to be taken apart where a run fails.
//!
//! What always holds: a step means something whatever other steps are left out. It names its
//! subjects by numbers that are taken modulo what there is when its time comes.

use parlance_shared::conversation::archive::HotWindow;

use crate::chance::Chance;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds from the start.
    pub at: u64,
    /// What.
    pub what: What,
}

/// How a client says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On its session.
    Session,
    /// On the conversation's own socket, where one is open.
    Room,
    /// Over HTTP.
    Http,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Just a message.
    Plain,
    /// A reply to the newest one.
    Reply,
    /// One in the thread of the newest one.
    InThread,
    /// One that mentions all whom its sender has heard of there.
    Mention,
}

/// What happens. `by` is a device, `place` a conversation, `whom` a user, `pick` and `back` a
/// message, counted from the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of the description above.
pub enum What {
    /// Makes the direct conversation of two.
    Direct {
        by: u8,
        whom: u8,
    },
    /// Makes a group.
    Group {
        by: u8,
        members: u16,
    },
    /// Sends messages.
    Send {
        by: u8,
        place: u8,
        way: Way,
        count: u8,
        kind: Kind,
    },
    /// Sends an acknowledged message once more, as a client does that was restored from a copy.
    Repeat {
        by: u8,
        way: Way,
        pick: u8,
    },
    /// Has messages sent later, all at one time.
    Schedule {
        by: u8,
        place: u8,
        way: Way,
        count: u8,
        seconds: u8,
    },
    /// Reads up to a message.
    Read {
        by: u8,
        place: u8,
        way: Way,
        back: u8,
    },
    /// Does something with a message.
    Act {
        by: u8,
        place: u8,
        way: Way,
        pick: u8,
        act: ActKind,
    },
    /// Opens or closes the session.
    Connect {
        by: u8,
    },
    Disconnect {
        by: u8,
    },
    /// The session breaks, and the server may not notice.
    Break {
        by: u8,
    },
    /// Opens or closes a conversation's own socket.
    Enter {
        by: u8,
        place: u8,
    },
    Leave {
        by: u8,
        place: u8,
    },
    /// A conversation's own socket breaks, and the server may not notice.
    BreakRoom {
        by: u8,
        place: u8,
    },
    /// Changes who is a member of a group, and as what.
    Add {
        by: u8,
        place: u8,
        whom: u8,
    },
    Remove {
        by: u8,
        place: u8,
        whom: u8,
    },
    Quit {
        by: u8,
        place: u8,
    },
    Role {
        by: u8,
        place: u8,
        whom: u8,
        role: u8,
    },
    Rename {
        by: u8,
        place: u8,
    },
    Expire {
        by: u8,
        place: u8,
        on: bool,
    },
    End {
        by: u8,
        place: u8,
    },
    /// Changes the caller's own list.
    Archive {
        by: u8,
        place: u8,
        on: bool,
    },
    Forget {
        by: u8,
        place: u8,
    },
    Block {
        by: u8,
        whom: u8,
        on: bool,
    },
    Receipts {
        by: u8,
        on: bool,
    },
    /// Reads over HTTP.
    Fetch {
        by: u8,
        place: u8,
        back: u8,
    },
    List {
        by: u8,
    },
    /// Something fails.
    Fault(Fault),
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ActKind {
    Edit,
    Delete,
    React,
    Unreact,
    Pin,
    Hide,
}

/// What fails. `object` is a conversation or a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies: memory, sockets, and what has not left are gone; what was written may
    /// have been flushed or not.
    Crash {
        /// Which.
        object: u8,
        /// Whether what was not flushed is lost.
        loses: bool,
    },
    /// The memory is gone, at any moment; sockets and what was written stay.
    Amnesia {
        /// Which.
        object: u8,
    },
    /// It is evicted, if it is idle.
    Sleep {
        /// Which.
        object: u8,
    },
    /// Storage fails after some statements.
    Disk {
        /// Which.
        object: u8,
        /// After how many.
        after: u8,
        /// How often.
        times: u8,
    },
    /// Nobody reaches it for a while.
    Cut {
        /// Which.
        object: u8,
        /// For how long, in tenths of a second.
        tenths: u8,
    },
    /// Its clock is moved.
    Skew {
        /// Which.
        object: u8,
        /// By how much, in tenths of a second.
        tenths: i8,
    },
    /// Time passes.
    Jump {
        /// How much, in minutes.
        minutes: u8,
    },
}

/// How often messages between objects, and alarms, fare badly: in a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// A request is lost on its way.
    pub lost_request: u64,
    /// An answer is lost on its way.
    pub lost_answer: u64,
    /// A request comes twice.
    pub doubled: u64,
    /// It takes seconds.
    pub slow: u64,
    /// A crash, at any event of an object.
    pub crash: u64,
    /// A loss of memory, at any event of an object.
    pub amnesia: u64,
    /// An alarm comes late.
    pub late_alarm: u64,
    /// An event of an object's comes before what was written is on disk.
    pub lazy_disk: u64,
    /// A statement of an object's fails, soon.
    pub bad_disk: u64,
    /// The store of the archive refuses, loses its answer, or damages an object.
    pub bad_store: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const CALM: Self = Self {
        lost_request: 0,
        lost_answer: 0,
        doubled: 0,
        slow: 0,
        crash: 0,
        amnesia: 0,
        late_alarm: 0,
        lazy_disk: 0,
        bad_disk: 0,
        bad_store: 0,
    };
}

/// A run, before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed of all chance in it.
    pub seed: u64,
    /// How many users, and how many devices each has.
    pub users: Vec<u8>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The weather.
    pub weather: Weather,
    /// Deliveries in flight at once.
    pub wave: usize,
    /// After how many seconds an idle object is evicted.
    pub idle: u64,
    /// How many events stay out of the archive; none where there is no archive.
    pub hot: Option<u64>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let root = Chance::new(seed);
        let mut chance = root.fork(1);
        let users = (0..chance.between(2, 5))
            .map(|_| chance.between(1, 3) as u8)
            .collect::<Vec<_>>();
        let weather = weather(&mut root.fork(2));
        let count = chance.between(20, 90);
        let faults = [0, 30, 100, 200][chance.below(4) as usize];
        // Bursts and pauses in turn: some things only happen after an object has slept.
        let pace = [30, 200, 800, 3000][chance.below(4) as usize];
        let mut steps = setting(&mut chance, users.len());
        let mut at = 1500;
        for _ in 0..count {
            at += match chance.below(20) {
                0 => chance.between(8000, 20_000),
                1..5 => 0,
                _ => chance.below(2 * pace),
            };
            let what = if chance.hits(faults) {
                What::Fault(fault(&mut chance))
            } else {
                deed(&mut chance)
            };
            steps.push(Step { at, what });
        }
        Self {
            seed,
            users,
            steps,
            weather,
            wave: [64, 64, 1, 2][chance.below(4) as usize],
            idle: chance.between(10, 60),
            hot: chance.hits(600).then(|| chance.between(0, 12)),
        }
    }

    /// What stays out of the archive.
    #[must_use]
    pub fn window(&self) -> Option<HotWindow> {
        let events = self.hot?;
        Some(HotWindow {
            events,
            ..HotWindow::default()
        })
    }

    /// How long it goes on.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.steps.iter().map(|step| step.at).max().unwrap_or(0)
    }
}

fn weather(chance: &mut Chance) -> Weather {
    let mut rate = |often: u64, much: u64| {
        if chance.hits(often) {
            chance.between(1, much)
        } else {
            0
        }
    };
    Weather {
        lost_request: rate(500, 60),
        lost_answer: rate(500, 60),
        doubled: rate(500, 100),
        slow: rate(500, 60),
        crash: rate(400, 8),
        amnesia: rate(300, 8),
        late_alarm: rate(400, 400),
        lazy_disk: rate(700, 600),
        bad_store: rate(500, 150),
        bad_disk: rate(500, 30),
    }
}

/// What there is to begin with: sessions, and some conversations.
fn setting(chance: &mut Chance, users: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for by in 0..16 {
        if chance.hits(800) {
            let what = What::Connect { by };
            steps.push(Step {
                at: chance.below(500),
                what,
            });
        }
    }
    for _ in 0..chance.between(1, 2) {
        let what = What::Group {
            by: byte(chance),
            members: chance.next() as u16,
        };
        steps.push(Step {
            at: chance.between(500, 1000),
            what,
        });
    }
    for _ in 0..chance.between(0, users as u64) {
        let what = What::Direct {
            by: byte(chance),
            whom: byte(chance),
        };
        steps.push(Step {
            at: chance.between(500, 1400),
            what,
        });
    }
    for _ in 0..chance.between(0, 6) {
        let what = What::Enter {
            by: byte(chance),
            place: byte(chance),
        };
        steps.push(Step {
            at: chance.between(1000, 1500),
            what,
        });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

fn byte(chance: &mut Chance) -> u8 {
    chance.next() as u8
}

/// A number that is small more often than not.
fn small(chance: &mut Chance, most: u64) -> u8 {
    let bound = chance.between(1, most);
    chance.below(bound) as u8
}

fn way(chance: &mut Chance) -> Way {
    match chance.below(5) {
        0..2 => Way::Session,
        2..4 => Way::Room,
        _ => Way::Http,
    }
}

fn deed(chance: &mut Chance) -> What {
    let by = byte(chance);
    let place = byte(chance);
    let whom = byte(chance);
    let on = chance.hits(600);
    match chance.below(100) {
        0..29 => What::Send {
            by,
            place,
            way: way(chance),
            count: 1 + small(chance, 6),
            kind: match chance.below(20) {
                0..5 => Kind::Reply,
                5..7 => Kind::InThread,
                7..10 => Kind::Mention,
                _ => Kind::Plain,
            },
        },
        29..39 => What::Read {
            by,
            place,
            way: way(chance),
            back: small(chance, 6),
        },
        39..49 => {
            let act = match chance.below(10) {
                0..2 => ActKind::Edit,
                2..6 => ActKind::Delete,
                6 => ActKind::React,
                7 => ActKind::Unreact,
                8 => ActKind::Pin,
                _ => ActKind::Hide,
            };
            What::Act {
                by,
                place,
                way: way(chance),
                pick: small(chance, 8),
                act,
            }
        }
        49..54 => What::Connect { by },
        54..56 => What::Disconnect { by },
        56..58 => What::Break { by },
        58..65 => What::Enter { by, place },
        65..67 => What::Leave { by, place },
        67..69 => What::BreakRoom { by, place },
        69..73 => What::Add { by, place, whom },
        73..76 => What::Remove { by, place, whom },
        76..78 => What::Quit { by, place },
        78..82 => What::Role {
            by,
            place,
            whom,
            role: byte(chance),
        },
        82 => What::Rename { by, place },
        83 => What::Expire { by, place, on },
        84..87 => What::Schedule {
            by,
            place,
            way: way(chance),
            count: 1 + small(chance, 4),
            seconds: chance.between(1, 40) as u8,
        },
        87 if chance.hits(300) => What::End { by, place },
        87..89 => What::Archive { by, place, on },
        89 => What::Forget { by, place },
        90..93 => What::Block { by, whom, on },
        93 => What::Receipts { by, on },
        94 => What::Group {
            by,
            members: chance.next() as u16,
        },
        95 => What::Direct { by, whom },
        96..98 => What::Repeat {
            by,
            way: way(chance),
            pick: small(chance, 8),
        },
        98 => What::Fetch {
            by,
            place,
            back: small(chance, 20),
        },
        _ => What::List { by },
    }
}

fn fault(chance: &mut Chance) -> Fault {
    let object = byte(chance);
    match chance.below(20) {
        0..5 => Fault::Crash {
            object,
            loses: chance.hits(500),
        },
        5..8 => Fault::Amnesia { object },
        8..12 => Fault::Sleep { object },
        12..15 => Fault::Disk {
            object,
            after: chance.below(30) as u8,
            times: 1 + small(chance, 3),
        },
        15..17 => Fault::Cut {
            object,
            tenths: chance.below(150) as u8,
        },
        17..19 => Fault::Skew {
            object,
            tenths: chance.between(0, 60) as i8 - 30,
        },
        _ => Fault::Jump {
            minutes: chance.between(1, 120) as u8,
        },
    }
}
