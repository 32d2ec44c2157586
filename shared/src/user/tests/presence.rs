//! Presence: who hears of it, and what survives sleep and crashes. Several users in one process,
//! whose questions to each other are carried by the test.

mod following;
mod heartbeats;
mod telling;

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::limits;
use crate::object::reply_json;
use crate::protocol::frame::{PresenceStatus, PresenceUpdate, ServerFrame};
use crate::protocol::user::Audience;
use crate::user::effect::{Effect, Effects, SocketId, Ticket};
use crate::user::session::{Kept, Session};

const SECOND: Duration = Duration::from_secs(1);

/// One user's object, and what came out of it.
struct Peer {
    sql: Rc<ProbeSql>,
    service: UserService<Rc<ProbeSql>>,
    device_id: DeviceId,
    /// What each socket was sent: each send with its updates.
    sent: BTreeMap<SocketId, Vec<Vec<PresenceUpdate>>>,
    kept: BTreeMap<SocketId, Kept>,
    wakes: Vec<Timestamp>,
    /// The names of the calls that it was asked.
    asked: Vec<&'static str>,
}

/// A question on its way.
struct Letter {
    from: UserId,
    to: UserId,
    request: UserRequest,
    ticket: Option<Ticket>,
}

struct World {
    peers: BTreeMap<UserId, Peer>,
    clock: ManualClock,
    entropy: SeededEntropy,
    letters: VecDeque<Letter>,
    /// Users whose objects do not answer.
    unreachable: Vec<UserId>,
}

impl World {
    /// A world with the users 1 to `count`, each signed in and away.
    fn of(count: u32) -> Self {
        let mut world = Self {
            peers: BTreeMap::new(),
            clock: ManualClock::new(START),
            entropy: SeededEntropy::new(5),
            letters: VecDeque::new(),
            unreachable: Vec::new(),
        };
        for number in 1..=count {
            let sql = Rc::new(ProbeSql::new());
            let mut service = UserService::new(sql.clone(), OBJECT_SCOPE);
            let call = SignIn {
                user_id: user(number),
                phone_number: "+14155550100".parse().unwrap(),
                device_name: None,
            };
            let device = service.sign_in(call, START, &world.entropy).unwrap();
            let peer = Peer {
                sql,
                service,
                device_id: device.device_id,
                sent: BTreeMap::new(),
                kept: BTreeMap::new(),
                wakes: Vec::new(),
                asked: Vec::new(),
            };
            world.peers.insert(user(number), peer);
        }
        world
    }

    fn peer(&mut self, number: u32) -> &mut Peer {
        self.peers.get_mut(&user(number)).unwrap()
    }

    /// Does something at a user's object and takes what comes of it, without carrying letters.
    fn act<T>(
        &mut self,
        number: u32,
        work: impl FnOnce(
            &mut UserService<Rc<ProbeSql>>,
            Timestamp,
            &mut Effects,
        ) -> Result<T, ServiceError>,
    ) -> T {
        let now = self.clock.now();
        let service = &mut self.peer(number).service;
        let (done, effects) = collected(|effects| work(service, now, effects));
        self.take(user(number), effects);
        done.unwrap()
    }

    fn take(&mut self, of: UserId, effects: Effects) {
        let peer = self.peers.get_mut(&of).unwrap();
        for effect in effects {
            match effect {
                Effect::Send { to, frames } => {
                    let updates: Vec<PresenceUpdate> = frames
                        .into_iter()
                        .map(|frame| match frame {
                            ServerFrame::PresenceUpdate(update) => update,
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    for socket in to {
                        peer.sent.entry(socket).or_default().push(updates.clone());
                    }
                }
                Effect::Keep { socket, state } => {
                    let kept = serde_json::from_str(&state).unwrap();
                    peer.kept.insert(socket, kept);
                }
                Effect::Wake(at) => peer.wakes.push(at),
                Effect::AskUser {
                    id,
                    request,
                    ticket,
                } => self.letters.push_back(Letter {
                    from: of,
                    to: id,
                    request,
                    ticket,
                }),
                // When it is due is asked of the service itself.
                Effect::Alarm(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Carries one letter and its answer.
    fn carry(&mut self) -> bool {
        let Some(letter) = self.letters.pop_front() else {
            return false;
        };
        let answer = self.ask(letter.to, letter.request);
        if let Some(ticket) = letter.ticket {
            self.answer(letter.from, ticket, answer);
        }
        true
    }

    fn answer(&mut self, to: UserId, ticket: Ticket, answer: Result<String, Problem>) {
        let now = self.clock.now();
        let peer = self.peers.get_mut(&to).unwrap();
        let effects = peer.service.answered(ticket, answer, now);
        self.take(to, effects);
    }

    fn ask(&mut self, id: UserId, request: UserRequest) -> Result<String, Problem> {
        if self.unreachable.contains(&id) {
            return Err(Problem::unavailable("It does not answer."));
        }
        let now = self.clock.now();
        let Some(peer) = self.peers.get_mut(&id) else {
            return Err(Problem::not_found("user"));
        };
        let service = &mut peer.service;
        let (name, reply) = match request {
            UserRequest::WatchPresence(call) => (
                "watch",
                service
                    .watch_presence(call, now)
                    .and_then(|reply| reply_json(&reply)),
            ),
            UserRequest::UnwatchPresence(call) => (
                "unwatch",
                service
                    .unwatch_presence(call)
                    .and_then(|reply| reply_json(&reply)),
            ),
            UserRequest::PresenceChanged(call) => {
                let (heard, effects) =
                    collected(|effects| service.presence_changed(call, now, effects));
                self.take(id, effects);
                ("changed", reply_json(&heard))
            }
            other => panic!("{other:?}"),
        };
        self.peers.get_mut(&id).unwrap().asked.push(name);
        reply.map_err(ServiceError::into_problem)
    }

    /// Carries letters until none is left, and wakes who wants to be woken by now.
    fn settle(&mut self) {
        loop {
            while self.carry() {}
            let now = self.clock.now();
            let woken: Vec<UserId> = self
                .peers
                .iter_mut()
                .filter_map(|(id, peer)| {
                    let before = peer.wakes.len();
                    peer.wakes.retain(|at| *at > now);
                    (peer.wakes.len() < before).then_some(*id)
                })
                .collect();
            if woken.is_empty() {
                return;
            }
            for id in woken {
                let service = &mut self.peers.get_mut(&id).unwrap().service;
                let (woken, effects) = collected(|effects| service.presence_wake(now, effects));
                woken.unwrap();
                self.take(id, effects);
            }
        }
    }

    /// Settles, and lets time pass.
    fn pass(&mut self, time: Duration) {
        self.settle();
        self.clock.advance(time);
        self.settle();
    }

    fn open(&mut self, number: u32, socket: u64, transport: Transport) {
        let open = OpenSession {
            user_id: user(number),
            device_id: self.peer(number).device_id,
            expires_at: self.clock.now() + MINUTE * 60,
            subprotocol: true,
            transport,
        };
        self.act(number, |service, now, effects| {
            let session = Session::opened(SocketId(socket), &open, now);
            service.sessions.insert(SocketId(socket), session);
            service.presence_check(now, effects)
        });
        self.pass(SECOND);
    }

    fn connect(&mut self, number: u32, socket: u64) {
        self.open(number, socket, Transport::Socket);
    }

    fn close(&mut self, number: u32, socket: u64) {
        self.act(number, |service, now, effects| {
            let session = service.sessions.remove(&SocketId(socket)).unwrap();
            service.presence_closed(&session.kept, now, effects)
        });
        self.pass(SECOND);
    }

    fn subscribe(&mut self, number: u32, socket: u64, users: &[UserId]) {
        self.act(number, |service, now, effects| {
            service.presence_subscribe(SocketId(socket), users, now, effects)
        });
        self.pass(SECOND);
    }

    /// The object loses its memory; its sockets live on where it only slept.
    fn forget(&mut self, number: u32, crashed: bool) {
        let peer = self.peer(number);
        let sessions = std::mem::take(&mut peer.service.sessions);
        peer.service = UserService::new(peer.sql.clone(), OBJECT_SCOPE);
        peer.wakes.clear();
        if !crashed {
            peer.service.sessions = sessions
                .into_iter()
                .map(|(socket, session)| (socket, Session::woken(session.kept)))
                .collect();
        }
        let id = user(number);
        self.letters.retain(|letter| letter.from != id);
    }

    fn set_privacy(&mut self, number: u32, last_seen: Audience) {
        let device_id = self.peer(number).device_id;
        self.act(number, |service, now, effects| {
            let word = serde_json::to_string(&last_seen).unwrap();
            let patch = format!(r#"{{"privacy":{{"last_seen":{word}}}}}"#);
            let patch = serde_json::from_str(&patch).unwrap();
            service.update_profile(UpdateProfile { device_id, patch }, now, effects)
        });
        self.pass(SECOND);
    }

    /// The two have written to each other.
    fn acquaint(&mut self, number: u32, other: u32) {
        let conversation_id = ConversationId::direct(user(number), user(other));
        let conversation = ConversationSummary {
            conversation_id,
            direct_members: vec![user(number), user(other)],
            ..direct_summary(user(other))
        };
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: user(number),
            conversation,
            events: vec![message(conversation_id, 1, user(other))],
            attached_devices: vec![],
        };
        let service = &mut self.peer(number).service;
        service.deliver(&call, START, &mut Vec::new()).unwrap();
    }

    /// What the socket was shown since last asked, in order.
    fn shown(&mut self, number: u32, socket: u64) -> Vec<PresenceUpdate> {
        self.peer(number)
            .sent
            .remove(&SocketId(socket))
            .unwrap_or_default()
            .concat()
    }

    fn asked(&mut self, number: u32) -> Vec<&'static str> {
        std::mem::take(&mut self.peer(number).asked)
    }

    fn watchers(&mut self, number: u32) -> usize {
        self.peer(number)
            .sql
            .dump("SELECT 1 FROM presence_watcher")
            .rows
            .len()
    }
}

fn online(number: u32) -> PresenceUpdate {
    PresenceUpdate {
        user_id: user(number),
        status: PresenceStatus::Online,
        last_seen: None,
    }
}

fn offline(number: u32, last_seen: Option<Timestamp>) -> PresenceUpdate {
    PresenceUpdate {
        user_id: user(number),
        status: PresenceStatus::Offline,
        last_seen,
    }
}
