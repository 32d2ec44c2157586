//! Sessions with a conversation behind them that answers as the real one does: what a device is
//! sent, in which order, and what it is sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::conversation::call::{Acted, ConversationRequest, DeliverNow, MemberPosition};
use crate::limits;
use crate::object::{Answer, reply_json};
use crate::protocol::event::EventPage;
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::group::{GroupChange, MemberRemoved};
use crate::protocol::message::{MessageAck, MessageStatus};
use crate::protocol::problem::Code;
use crate::user::call::{AttachedDevice, MarkLeft};

mod both_sockets;
mod expected;
mod failures;

/// A user's object with its sockets, and the conversations that it asks.
struct Live {
    fixture: Fixture,
    logs: BTreeMap<ConversationId, Vec<Event>>,
    /// What each socket was sent, batches taken apart.
    sent: BTreeMap<SocketId, Vec<ServerFrame>>,
    kept: BTreeMap<SocketId, String>,
    alarm: Option<Timestamp>,
    asked: Vec<(UserId, UserRequest)>,
    closed: BTreeMap<SocketId, CloseCode>,
    questions: VecDeque<(Option<Ticket>, ConversationId, ConversationRequest)>,
    marks: Vec<(ConversationId, MemberPosition)>,
    answers: Vec<Result<String, Problem>>,
    /// Conversations that do not answer.
    down: BTreeSet<ConversationId>,
    /// Whether storage may fail.
    may_fail: bool,
}

impl Live {
    fn new() -> (Self, DeviceId) {
        let (fixture, device) = Fixture::signed_in();
        let live = Self {
            fixture,
            logs: BTreeMap::new(),
            sent: BTreeMap::new(),
            kept: BTreeMap::new(),
            alarm: None,
            asked: Vec::new(),
            closed: BTreeMap::new(),
            questions: VecDeque::new(),
            marks: Vec::new(),
            answers: Vec::new(),
            down: BTreeSet::new(),
            may_fail: false,
        };
        (live, device.device_id)
    }

    fn now(&self) -> Timestamp {
        self.fixture.clock.now()
    }

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send { to, frames } => {
                    for socket in to {
                        self.sent.entry(socket).or_default().extend(frames.clone());
                    }
                }
                Effect::Keep { socket, state } => {
                    self.kept.insert(socket, state);
                }
                Effect::Close { socket, code } => {
                    self.kept.remove(&socket);
                    // One that is closed is not closed again.
                    self.closed.entry(socket).or_insert(code);
                }
                Effect::AskConversation {
                    id,
                    request,
                    ticket,
                } => self.questions.push_back((ticket, id, request)),
                Effect::Answer { answer, .. } => self.answers.push(answer),
                Effect::Wake(_) => {}
                Effect::Alarm(at) => self.alarm = Some(at),
                Effect::AskUser { id, request, .. } => self.asked.push((id, request)),
                Effect::Failed(failure) => assert!(self.may_fail, "{failure}"),
            }
        }
    }

    /// Answers one question; says whether there was one.
    fn answer_one(&mut self) -> bool {
        let Some((ticket, id, request)) = self.questions.pop_front() else {
            return false;
        };
        let answer = match request {
            _ if self.down.contains(&id) => Err(Problem::unavailable("down")),
            ConversationRequest::DeliverNow(call) => self.promise(id, call),
            other => Ok(self.reply(id, other)),
        };
        if let Some(ticket) = ticket {
            let now = self.now();
            let effects = self.fixture.service.answered(ticket, answer, now);
            self.carry_out(effects);
        }
        true
    }

    /// What is promised here is delivered when the test does.
    fn promise(&self, id: ConversationId, call: DeliverNow) -> Result<String, Problem> {
        let Some(log) = self.logs.get(&id) else {
            return Err(Problem::not_found("conversation"));
        };
        let head = Seq::new(log.len() as u64);
        if call.up_to_seq > head {
            return Err(Problem::beyond_newest("up_to_seq", head));
        }
        Ok(reply_json(&()).unwrap())
    }

    fn reply(&mut self, id: ConversationId, request: ConversationRequest) -> String {
        let log = self.logs.entry(id).or_default();
        match request {
            ConversationRequest::ListEvents(call) => {
                let after = usize::try_from(call.after_seq.get()).unwrap();
                let events: Vec<_> = log
                    .iter()
                    .skip(after)
                    .take(call.limit as usize)
                    .cloned()
                    .collect();
                let head_seq = Seq::new(log.len() as u64);
                let has_more = events.last().is_some_and(|event| event.seq() < head_seq);
                reply_json(&EventPage {
                    events,
                    head_seq,
                    has_more,
                })
                .unwrap()
            }
            ConversationRequest::CountUnread(call) => {
                let count = log
                    .iter()
                    .filter(|event| event.seq() > call.after_seq && event.seq() <= call.up_to_seq)
                    .filter(|event| {
                        event
                            .as_message()
                            .is_some_and(|said| said.sender_id != call.actor)
                    })
                    .count();
                reply_json(&count).unwrap()
            }
            ConversationRequest::SendMany(call) => {
                let answers: Vec<_> = call
                    .messages
                    .iter()
                    .map(|new| {
                        let seq = log.len() as u64 + 1;
                        let Event::NewMessage(mut said) = message(id, seq, call.actor) else {
                            panic!("a message");
                        };
                        said.client_msg_id = Some(new.client_msg_id);
                        said.content.clone_from(&new.content);
                        let ack = MessageAck {
                            client_msg_id: new.client_msg_id,
                            conversation_id: id,
                            message_id: said.message_id,
                            seq: said.seq,
                            created_at: said.created_at,
                            status: MessageStatus::Sent,
                            duplicate: false,
                        };
                        log.push(Event::NewMessage(said));
                        Answer::Ok(ack)
                    })
                    .collect();
                reply_json(&answers).unwrap()
            }
            ConversationRequest::MarkPosition(call) => {
                self.marks.push((id, call.position));
                reply_json(&()).unwrap()
            }
            ConversationRequest::SignalTyping(_) => reply_json(&()).unwrap(),
            // Whatever it is, it was done before: by the newest event.
            ConversationRequest::ActOn(_) => reply_json(&Acted {
                event: log.last().unwrap().clone(),
                duplicate: true,
            })
            .unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        while self.answer_one() {}
    }

    /// Someone says something, and it is delivered.
    fn hear(&mut self, id: ConversationId, sender: UserId) -> Seq {
        let log = self.logs.entry(id).or_default();
        let seq = log.len() as u64 + 1;
        log.push(message(id, seq, sender));
        let fresh = log.last().cloned().into_iter().collect();
        self.deliver_these(id, fresh);
        Seq::new(seq)
    }

    /// Delivers what the inbox does not have.
    fn deliver(&mut self, id: ConversationId) {
        let log = self.logs.get(&id).cloned().unwrap_or_default();
        self.deliver_these(id, log);
    }

    fn deliver_these(&mut self, id: ConversationId, events: Vec<Event>) {
        let number = u32::try_from(id.as_uuid().as_u128() & 0xffff_ffff).unwrap();
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: me(),
            conversation: group_summary(number, "Hikers"),
            events,
            attached_devices: Vec::new(),
        };
        self.take(&call);
    }

    fn take(&mut self, call: &Deliver) {
        let now = self.now();
        self.act(|service, effects| service.deliver(call, now, effects));
    }

    /// Does something at the object, and carries out what comes of it.
    fn act<T>(
        &mut self,
        work: impl FnOnce(&mut UserService<Rc<ProbeSql>>, &mut Effects) -> Result<T, ServiceError>,
    ) {
        let service = &mut self.fixture.service;
        let (done, effects) = collected(|effects| work(service, effects));
        done.unwrap();
        self.carry_out(effects);
    }

    fn open(&mut self, device_id: DeviceId) -> SocketId {
        let open = OpenSession {
            user_id: me(),
            device_id,
            expires_at: self.now() + Duration::from_secs(3600),
            subprotocol: false,
            transport: Transport::Socket,
        };
        let now = self.now();
        let opened = self.fixture.service.open_session(&open, now).unwrap();
        // After a crash names begin anew.
        self.sent.remove(&opened.socket);
        self.closed.remove(&opened.socket);
        self.kept.insert(opened.socket, opened.state);
        self.carry_out(opened.effects);
        opened.socket
    }

    fn close(&mut self, socket: SocketId) {
        self.kept.remove(&socket);
        let now = self.now();
        let effects = self.fixture.service.close_session(socket, now);
        self.carry_out(effects);
    }

    fn say(&mut self, socket: SocketId, text: &str) {
        let now = self.now();
        let effects = self.fixture.service.on_text(socket, text, now);
        self.carry_out(effects);
    }

    fn ack(&mut self, socket: SocketId, id: ConversationId, seq: u64) {
        self.say(
            socket,
            &format!(r#"{{"type":"ack","conversation_id":"{id}","up_to_seq":{seq}}}"#),
        );
    }

    fn read(&mut self, socket: SocketId, id: ConversationId, seq: u64) {
        let text =
            format!(r#"{{"type":"read_receipt","conversation_id":"{id}","up_to_seq":{seq}}}"#);
        self.say(socket, &text);
    }

    /// The object sleeps: its memory is gone, its sockets and what was kept with them are not.
    fn sleep(&mut self) {
        assert!(
            self.questions.is_empty(),
            "an object does not sleep while it waits"
        );
        self.fixture.restart();
        let kept: Vec<_> = self
            .kept
            .values()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        self.fixture.service.wake_sessions(kept);
    }

    /// The memory is lost, whatever was under way: the sockets and what was kept with them are
    /// not.
    fn forget(&mut self) {
        self.questions.clear();
        self.sleep();
    }

    /// The process dies: sockets, memory and questions are gone.
    fn crash(&mut self) {
        self.fixture.restart();
        self.kept.clear();
        self.questions.clear();
    }

    fn seqs(&self, socket: SocketId, id: ConversationId) -> Vec<u64> {
        self.sent[&socket]
            .iter()
            .filter_map(|frame| match frame {
                ServerFrame::Event(event) if event.as_message().unwrap().conversation_id == id => {
                    Some(event.seq().get())
                }
                _ => None,
            })
            .collect()
    }

    fn errors(&self, socket: SocketId) -> Vec<Code> {
        self.sent[&socket]
            .iter()
            .filter_map(|frame| match frame {
                ServerFrame::Error(error) => Some(error.code),
                _ => None,
            })
            .collect()
    }

    fn unread(&mut self, device_id: DeviceId, id: ConversationId) -> u64 {
        let items = self.fixture.list(device_id);
        items.iter().find(|item| item.id == id).unwrap().unread
    }
}

fn all(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn a_session_begins_with_what_was_missed_and_then_is_live() {
    let (mut live, device) = Live::new();
    let (hikers, singers) = (group(1), group(2));
    for _ in 0..3 {
        live.hear(hikers, user(2));
        live.hear(singers, user(3));
    }
    let socket = live.open(device);
    assert!(matches!(live.sent[&socket][0], ServerFrame::AuthAck(_)));
    live.settle();
    assert_eq!(
        live.sent[&socket].last(),
        Some(&ServerFrame::SyncComplete { total_unread: 6 })
    );
    assert_eq!(live.seqs(socket, hikers), all(1..=3));
    assert_eq!(live.seqs(socket, singers), all(1..=3));
    live.hear(hikers, user(2));
    assert_eq!(live.seqs(socket, hikers), all(1..=4));
}

#[test]
fn what_comes_while_a_session_catches_up_comes_after_and_once() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..1200 {
        live.hear(id, user(2));
    }
    let socket = live.open(device);
    live.hear(id, user(2));
    live.answer_one();
    live.hear(id, user(2));
    live.settle();
    assert_eq!(live.seqs(socket, id), all(1..=1202));
    live.hear(id, user(2));
    assert_eq!(live.seqs(socket, id), all(1..=1203));
}

#[test]
fn only_what_was_not_acknowledged_comes_again() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..10 {
        live.hear(id, user(2));
    }
    let socket = live.open(device);
    live.settle();
    live.ack(socket, id, 6);
    live.close(socket);
    let socket = live.open(device);
    live.settle();
    assert_eq!(live.seqs(socket, id), all(7..=10));
    live.ack(socket, id, 10);
    live.settle();
    live.sleep();
    live.close(socket);
    let socket = live.open(device);
    live.settle();
    assert_eq!(live.seqs_or_none(socket, id), Vec::<u64>::new());
}

impl Live {
    fn seqs_or_none(&self, socket: SocketId, id: ConversationId) -> Vec<u64> {
        if self.sent.contains_key(&socket) {
            self.seqs(socket, id)
        } else {
            Vec::new()
        }
    }
}

#[test]
fn each_device_has_its_own_place_and_a_new_one_begins_at_the_head() {
    let (mut live, phone) = Live::new();
    let id = group(1);
    for _ in 0..4 {
        live.hear(id, user(2));
    }
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let socket = live.open(laptop);
    live.settle();
    assert_eq!(
        live.seqs(socket, id),
        Vec::<u64>::new(),
        "a new device begins at the head"
    );
    live.hear(id, user(2));
    assert_eq!(live.seqs(socket, id), [5]);
    live.ack(socket, id, 5);
    let other = live.open(phone);
    live.settle();
    assert_eq!(
        live.seqs(other, id),
        all(1..=5),
        "the phone has acknowledged nothing"
    );
}

#[test]
fn a_crash_costs_redeliveries_and_never_a_message() {
    let (mut live, device) = Live::new();
    let id = group(1);
    let socket = live.open(device);
    for _ in 0..3 {
        live.hear(id, user(2));
    }
    live.ack(socket, id, 2);
    live.crash();
    let socket = live.open(device);
    live.settle();
    assert_eq!(
        live.seqs(socket, id),
        all(1..=3),
        "the acknowledgement was not written down"
    );
    live.ack(socket, id, 3);
    live.hear(id, user(2));
    live.crash();
    let socket = live.open(device);
    live.settle();
    assert_eq!(
        live.seqs(socket, id),
        [4],
        "the next delivery wrote it down"
    );
}

#[test]
fn a_session_whose_catching_up_was_forgotten_is_sent_nothing_more_and_comes_back() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let socket = live.open(device);
    live.forget();
    live.hear(id, user(2));
    // Were it sent 2 alone, it would acknowledge what it never got.
    assert!(live.seqs(socket, id).is_empty());
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::Restart));
    let socket = live.open(device);
    live.settle();
    assert_eq!(live.seqs(socket, id), all(1..=2));
    live.forget();
    live.hear(id, user(2));
    assert_eq!(live.seqs(socket, id), all(1..=3), "it had caught up");
    assert_eq!(live.closed.get(&socket), None);
}

#[test]
fn an_acknowledged_message_costs_one_row_in_all() {
    let (mut live, device) = Live::new();
    let id = group(1);
    let socket = live.open(device);
    live.hear(id, user(2));
    live.ack(socket, id, 1);
    live.settle();
    let sql = live.fixture.sql.clone();
    let (_, cost) = sql.cost(|| {
        live.hear(id, user(2));
        live.ack(socket, id, 2);
        live.settle();
    });
    assert_eq!(cost.written, 1);
}

#[test]
fn the_first_device_to_acknowledge_is_told_to_the_conversation_and_the_second_is_not() {
    let (mut live, phone) = Live::new();
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let id = group(1);
    let sockets = [live.open(phone), live.open(laptop)];
    live.hear(id, user(2));
    for socket in sockets {
        live.ack(socket, id, 1);
        live.settle();
    }
    let position = MemberPosition {
        delivered_seq: Seq::new(1),
        read_seq: Seq::ZERO,
        read_receipts: true,
    };
    assert_eq!(live.marks, [(id, position)]);
}

#[test]
fn one_s_own_message_comes_back_and_is_no_news_to_the_conversation() {
    let (mut live, device) = Live::new();
    let id = group(1);
    let socket = live.open(device);
    live.hear(id, me());
    assert_eq!(live.seqs(socket, id), [1]);
    live.ack(socket, id, 1);
    live.settle();
    assert_eq!(live.marks, []);
}

#[test]
fn messages_sent_in_a_row_keep_their_order_and_each_is_answered() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let socket = live.open(device);
    live.settle();
    for number in 0..50 {
        live.say(
            socket,
            &format!(
                r#"{{"type":"send_message","conversation_id":"{id}","client_msg_id":"00000000-0000-4000-8000-0000000000{number:02}","content":"{number}"}}"#
            ),
        );
    }
    live.settle();
    live.deliver(id);
    let acks: Vec<_> = live.sent[&socket]
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::MsgAck(ack) => Some(ack.seq.get()),
            _ => None,
        })
        .collect();
    assert_eq!(acks, all(2..=51));
    let said: Vec<_> = live.logs[&id][1..]
        .iter()
        .map(|event| event.as_message().unwrap().content.clone())
        .collect();
    assert_eq!(
        said,
        (0..50)
            .map(|number: u32| number.to_string())
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_conversation_that_does_not_answer_refuses_the_message_by_name() {
    let (mut live, device) = Live::new();
    let id = group(1);
    let socket = live.open(device);
    live.down.insert(id);
    let name = "00000000-0000-4000-8000-000000000077";
    live.say(
        socket,
        &format!(r#"{{"type":"send_message","conversation_id":"{id}","client_msg_id":"{name}","content":"x"}}"#),
    );
    live.settle();
    let Some(ServerFrame::Error(error)) = live.sent[&socket].last() else {
        panic!("an error");
    };
    assert_eq!(error.code, Code::Unavailable);
    assert_eq!(error.client_msg_id.unwrap().to_string(), name);
}

#[test]
fn catching_up_waits_for_a_conversation_that_is_down_and_goes_on_with_others() {
    let (mut live, device) = Live::new();
    let (down, up) = (group(1), group(2));
    live.hear(down, user(2));
    live.hear(up, user(2));
    live.down.insert(down);
    let socket = live.open(device);
    live.settle();
    assert_eq!(live.seqs(socket, up), [1]);
    assert_eq!(live.seqs(socket, down), Vec::<u64>::new());
    live.down.clear();
    live.fixture.clock.advance(Duration::from_secs(3));
    let now = live.now();
    let effects = live.fixture.service.wake(now);
    live.carry_out(effects);
    live.settle();
    assert_eq!(live.seqs(socket, down), [1]);
    assert!(matches!(
        live.sent[&socket].last(),
        Some(ServerFrame::SyncComplete { .. })
    ));
}

#[test]
fn what_is_too_much_or_too_old_for_the_inbox_is_a_gap() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.logs.insert(
        id,
        (1..=limits::INBOX_EVENTS + 1)
            .map(|seq| message(id, seq, user(2)))
            .collect(),
    );
    live.deliver(id);
    let socket = live.open(device);
    live.settle();
    let gaps: Vec<_> = live.sent[&socket]
        .iter()
        .filter(|frame| matches!(frame, ServerFrame::SyncGap { .. }))
        .collect();
    assert_eq!(
        gaps,
        [&ServerFrame::SyncGap {
            conversation_id: id,
            from_seq: Seq::new(1),
            head_seq: Seq::new(limits::INBOX_EVENTS + 1)
        }]
    );
    live.close(socket);
    let (mut live, device) = Live::new();
    live.hear(id, user(2));
    live.fixture.clock.advance(limits::INBOX_AGE + MINUTE);
    let socket = live.open(device);
    live.settle();
    assert!(matches!(live.sent[&socket][1], ServerFrame::SyncGap { .. }));
}

#[test]
fn sync_sends_again_from_where_it_is_told() {
    let (mut live, device) = Live::new();
    let id = group(1);
    let socket = live.open(device);
    for _ in 0..5 {
        live.hear(id, user(2));
    }
    live.ack(socket, id, 5);
    live.sent.clear();
    live.say(
        socket,
        &format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":2}}"#),
    );
    live.hear(id, user(2));
    live.settle();
    assert_eq!(live.seqs(socket, id), all(3..=6));
    live.say(
        socket,
        &format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":9}}"#),
    );
    live.say(
        socket,
        &format!(
            r#"{{"type":"sync","conversation_id":"{}","after_seq":0}}"#,
            group(9)
        ),
    );
    live.settle();
    assert_eq!(live.errors(socket), [Code::InvalidRequest, Code::NotFound]);
}

#[test]
fn a_session_that_asks_again_while_it_catches_up_is_sent_all_of_it_in_order() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..6 {
        live.hear(id, user(2));
    }
    let first = live.open(device);
    live.settle();
    live.ack(first, id, 3);
    live.close(first);
    live.settle();
    let socket = live.open(device);
    // It is asked after 3; then the client finds that it lacks what is older.
    live.say(
        socket,
        &format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":1}}"#),
    );
    live.settle();
    assert_eq!(live.seqs(socket, id), all(2..=6));
}

#[test]
fn the_object_is_woken_once_for_all_that_wait() {
    let (mut live, phone) = Live::new();
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let id = group(1);
    for _ in 0..3 {
        live.hear(id, user(2));
    }
    live.down.insert(id);
    let mut wakes = 0;
    for device in [phone, laptop] {
        live.open(device);
    }
    for _ in 0..30 {
        live.settle();
        live.fixture.clock.advance(Duration::from_secs(1));
        let now = live.now();
        let effects = live.fixture.service.wake(now);
        wakes += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Wake(_)))
            .count();
        live.carry_out(effects);
    }
    assert!(wakes <= 16, "{wakes} in 30 seconds");
    live.down.clear();
    live.fixture.clock.advance(Duration::from_secs(3));
    let now = live.now();
    let effects = live.fixture.service.wake(now);
    live.carry_out(effects);
    live.settle();
    let sockets: Vec<_> = live.fixture.service.sessions.keys().copied().collect();
    for socket in sockets {
        assert_eq!(live.seqs(socket, id).last(), Some(&3));
    }
}

#[test]
fn reading_tells_the_other_devices_and_the_conversation_and_counts_exactly() {
    let (mut live, phone) = Live::new();
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let id = group(1);
    let (socket, other) = (live.open(phone), live.open(laptop));
    for sender in [2, 2, 1, 3, 2] {
        live.hear(id, user(sender));
    }
    assert_eq!(live.unread(phone, id), 4);
    live.read(socket, id, 2);
    // While the conversation counts, another message comes.
    live.hear(id, user(3));
    live.settle();
    assert_eq!(live.unread(phone, id), 3);
    let told = ServerFrame::ConversationRead {
        conversation_id: id,
        up_to_seq: Seq::new(2),
        unread: 3,
    };
    assert_eq!(live.sent[&other].last(), Some(&told));
    assert!(!live.sent[&socket].contains(&told));
    assert_eq!(live.marks.last().unwrap().1.read_seq, Seq::new(2));
    live.read(socket, id, 6);
    live.settle();
    assert_eq!(live.unread(phone, id), 0);
    live.read(socket, id, 1);
    live.settle();
    assert_eq!(live.unread(phone, id), 0, "reading does not go backwards");
    live.read(socket, id, 7);
    live.settle();
    assert_eq!(live.errors(socket), [Code::InvalidRequest]);
}

#[test]
fn a_count_that_comes_after_the_user_was_removed_counts_nothing() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..5 {
        live.hear(id, user(2));
    }
    let socket = live.open(device);
    live.settle();
    live.read(socket, id, 2);
    let removed = Event::Group(GroupChange::MemberRemoved(MemberRemoved {
        conversation_id: id,
        seq: Seq::new(6),
        user_id: me(),
        removed_by: user(2),
        created_at: time_of(6),
    }));
    live.deliver_these(id, vec![removed]);
    live.settle();
    assert_eq!(live.unread(device, id), 0);
}

#[test]
fn an_act_that_was_done_before_is_not_shown_before_what_comes_before_it() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let socket = live.open(device);
    live.settle();
    // In the log, and not delivered yet.
    let undelivered = [message(id, 2, user(2)), message(id, 3, me())];
    live.logs.entry(id).or_default().extend(undelivered);
    let target = uuid::Uuid::from_u128(7);
    let act = format!(r#"{{"type":"pin","conversation_id":"{id}","message_id":"{target}"}}"#);
    live.say(socket, &act);
    live.settle();
    assert_eq!(live.seqs(socket, id), all(1..=1));
    live.deliver(id);
    assert_eq!(live.seqs(socket, id), all(1..=3));
    live.say(socket, &act);
    live.settle();
    assert_eq!(live.seqs(socket, id), [1, 2, 3, 3]);
}

#[test]
fn a_newer_session_of_a_device_ends_the_one_before() {
    let (mut live, device) = Live::new();
    let first = live.open(device);
    let second = live.open(device);
    assert_eq!(live.closed.get(&first), Some(&CloseCode::Replaced));
    live.hear(group(1), user(2));
    assert_eq!(live.seqs(first, group(1)), Vec::<u64>::new());
    assert_eq!(live.seqs(second, group(1)), [1]);
}

#[test]
fn a_device_that_is_attached_to_the_conversation_has_its_events_from_there() {
    let (mut live, phone) = Live::new();
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let (socket, other) = (live.open(phone), live.open(laptop));
    let id = group(1);
    live.logs.insert(id, vec![message(id, 1, user(2))]);
    let call = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events: live.logs[&id].clone(),
        attached_devices: vec![AttachedDevice {
            device_id: phone,
            heard_at: live.now(),
        }],
    };
    live.take(&call);
    assert_eq!(live.seqs(socket, id), Vec::<u64>::new());
    assert_eq!(live.seqs(other, id), [1]);
}

#[test]
fn a_device_that_came_back_has_events_here_though_its_old_socket_seems_attached() {
    let (mut live, phone) = Live::new();
    live.fixture.clock.advance(MINUTE);
    let died = live.now();
    live.fixture.clock.advance(MINUTE);
    let socket = live.open(phone);
    let id = group(1);
    live.logs.insert(id, vec![message(id, 1, user(2))]);
    let mut call = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events: live.logs[&id].clone(),
        attached_devices: vec![AttachedDevice {
            device_id: phone,
            heard_at: died,
        }],
    };
    live.take(&call);
    assert_eq!(live.seqs(socket, id), [1], "the old socket may be dead");
    // It was not: its client has pinged.
    let next = message(id, 2, user(2));
    live.logs.get_mut(&id).unwrap().push(next.clone());
    call.events = vec![next];
    live.fixture.clock.advance(MINUTE);
    call.attached_devices[0].heard_at = live.now();
    live.take(&call);
    assert_eq!(live.seqs(socket, id), [1]);
}

#[test]
fn a_device_that_leaves_a_conversation_s_socket_is_shown_what_that_may_not_have_brought() {
    let (mut live, phone) = Live::new();
    let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
    let (socket, other) = (live.open(phone), live.open(laptop));
    let id = group(1);
    live.hear(id, user(2));
    let events: Vec<_> = (2..=5).map(|seq| message(id, seq, user(2))).collect();
    live.logs.get_mut(&id).unwrap().extend(events.clone());
    let call = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events,
        attached_devices: vec![AttachedDevice {
            device_id: phone,
            heard_at: live.now(),
        }],
    };
    live.take(&call);
    let left = |after_seq| MarkLeft {
        device_id: phone,
        conversation_id: id,
        after_seq: Seq::new(after_seq),
    };
    let leave = |live: &mut Live, after_seq| {
        let now = live.now();
        live.act(|service, effects| service.mark_left(left(after_seq), now, effects));
        live.settle();
    };
    leave(&mut live, 5);
    assert_eq!(live.seqs(socket, id), [1], "the socket brought everything");
    leave(&mut live, 3);
    assert_eq!(live.seqs(socket, id), [1, 4, 5]);
    assert_eq!(live.seqs(other, id), [1, 2, 3, 4, 5]);
    // What it has acknowledged it has.
    live.say(
        socket,
        &format!(r#"{{"type":"ack","conversation_id":"{id}","up_to_seq":5}}"#),
    );
    leave(&mut live, 2);
    assert_eq!(live.seqs(socket, id), [1, 4, 5]);
    // A session whose token has expired is shown nothing more.
    live.fixture.clock.advance(Duration::from_secs(3600));
    leave(&mut live, 0);
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::TokenExpired));
}

#[test]
fn a_session_that_was_cut_off_as_it_caught_up_ends_when_its_device_leaves_a_socket() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..3 {
        live.hear(id, user(2));
    }
    let socket = live.open(device);
    live.forget();
    let left = MarkLeft {
        device_id: device,
        conversation_id: id,
        after_seq: Seq::new(1),
    };
    let now = live.now();
    live.act(|service, effects| service.mark_left(left, now, effects));
    live.settle();
    // What else it lacks is not known any more: it is shown nothing out of order.
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::Restart));
    assert_eq!(live.seqs(socket, id), Vec::<u64>::new());
}

#[test]
fn a_session_that_was_cut_off_ends_whatever_its_client_says_then() {
    for asks in [false, true] {
        let (mut live, device) = Live::new();
        let id = group(1);
        let socket = live.open(device);
        for _ in 0..3 {
            live.hear(id, user(2));
        }
        if asks {
            // It asks for what it has again: that, too, outlives the memory.
            let sync = format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":1}}"#);
            live.say(socket, &sync);
        } else {
            live.close(socket);
        }
        let socket = if asks { socket } else { live.open(device) };
        live.forget();
        live.ack(socket, id, 1);
        assert_eq!(
            live.closed.get(&socket),
            Some(&CloseCode::Restart),
            "{asks}"
        );
        live.hear(id, user(2));
        live.settle();
        assert!(!live.seqs(socket, id).contains(&4), "{asks}");
    }
}

#[test]
fn a_signed_out_device_loses_its_session_and_gets_no_other() {
    let (mut live, device) = Live::new();
    let socket = live.open(device);
    let sign_out = SignOut { device_id: device };
    live.act(|service, effects| service.sign_out(sign_out, START, effects));
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::TokenExpired));
    let open = OpenSession {
        user_id: me(),
        device_id: device,
        expires_at: live.now() + MINUTE,
        subprotocol: false,
        transport: Transport::Socket,
    };
    let now = live.now();
    assert_eq!(
        problem(live.fixture.service.open_session(&open, now)).code,
        Code::Unauthenticated
    );
}

#[test]
fn a_session_ends_with_its_token() {
    let (mut live, device) = Live::new();
    let socket = live.open(device);
    live.fixture.clock.advance(Duration::from_secs(3600));
    live.hear(group(1), user(2));
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::TokenExpired));
}

#[test]
fn a_device_that_acknowledges_nothing_is_closed_before_it_costs_memory() {
    let (mut live, device) = Live::new();
    let socket = live.open(device);
    let id = group(1);
    let mut heard = 0;
    while !live.closed.contains_key(&socket) {
        live.hear(id, user(2));
        heard += 1;
        assert!(heard < 20_000);
    }
    assert_eq!(live.closed[&socket], CloseCode::SlowConsumer);
    let socket = live.open(device);
    live.settle();
    assert!(
        live.seqs(socket, id).starts_with(&[1, 2, 3]),
        "it catches up from its inbox"
    );
    assert!(!live.closed.contains_key(&socket));
}

#[test]
fn sending_over_the_rate_is_refused_with_a_time_and_at_last_ended() {
    let (mut live, device) = Live::new();
    let socket = live.open(device);
    let id = group(1);
    let text = |number: u32| {
        format!(
            r#"{{"type":"send_message","conversation_id":"{id}","client_msg_id":"00000000-0000-4000-8000-{number:012}","content":"x"}}"#
        )
    };
    for number in 0..61 {
        live.say(socket, &text(number));
    }
    assert_eq!(live.errors(socket), [Code::RateLimited]);
    live.fixture.clock.advance(Duration::from_secs(1));
    for number in 61..81 {
        live.say(socket, &text(number));
    }
    assert_eq!(
        live.errors(socket),
        [Code::RateLimited],
        "twenty more after a second"
    );
    for number in 81..400 {
        live.say(socket, &text(number));
    }
    assert_eq!(live.closed.get(&socket), Some(&CloseCode::RateLimited));
}

#[test]
fn a_client_that_falls_silent_is_gone_after_three_heartbeats_though_the_object_slept() {
    let (mut live, device) = Live::new();
    let now = live.now();
    let watch = WatchPresence { watcher: user(2) };
    live.fixture.service.watch_presence(watch, now).unwrap();
    let socket = live.open(device);
    live.settle();
    let mut pinged = live.now();
    for alarms in 1.. {
        assert!(alarms < 10, "the alarm goes off again and again");
        live.sleep();
        let at = live.alarm.take().unwrap();
        live.fixture.service.alarm_is(None);
        if alarms == 1 {
            // It pinged until shortly before the first alarm, and never again.
            pinged = at - Duration::from_secs(10);
        }
        live.fixture.clock.advance(at.since(live.now()));
        let now = live.now();
        let effects = live
            .fixture
            .service
            .on_alarm(now, &[(socket, Some(pinged))]);
        live.carry_out(effects);
        if live.closed.contains_key(&socket) {
            break;
        }
    }
    let silence = live.now().since(pinged);
    assert!(
        silence >= Duration::from_secs(90) && silence < Duration::from_secs(100),
        "{silence:?}"
    );
    let Some((to, UserRequest::PresenceChanged(told))) = live.asked.last() else {
        panic!("the watcher is told");
    };
    assert_eq!(*to, user(2));
    assert_eq!(told.update.last_seen, Some(pinged));
    assert_eq!(live.alarm, None, "without sockets there is no alarm");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Hear(u32, u32),
    Answer,
    Open(usize),
    Close(usize),
    Ack(usize, u32, u64),
    Read(usize, u32, u64),
    Sleep,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u32..3, 1_u32..4).prop_map(|(id, sender)| Step::Hear(id, sender)),
        4 => Just(Step::Answer),
        2 => (0_usize..2).prop_map(Step::Open),
        1 => (0_usize..2).prop_map(Step::Close),
        3 => (0_usize..2, 1_u32..3, 0_u64..6).prop_map(|(d, id, back)| Step::Ack(d, id, back)),
        2 => (0_usize..2, 1_u32..3, 0_u64..6).prop_map(|(d, id, back)| Step::Read(d, id, back)),
        1 => Just(Step::Sleep),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_device_is_sent_everything_it_has_not_acknowledged_in_order(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let (mut live, phone) = Live::new();
        let laptop = live.fixture.sign_in(Some("Laptop")).unwrap().device_id;
        let devices = [phone, laptop];
        let mut sockets: [Option<SocketId>; 2] = [None, None];
        // What each device has seen of each conversation, over all of its sessions.
        let mut read = BTreeMap::new();
        for step in steps {
            match step {
                Step::Hear(id, sender) => {
                    live.hear(group(id), user(sender));
                }
                Step::Answer => {
                    live.answer_one();
                }
                Step::Open(device) => sockets[device] = Some(live.open(devices[device])),
                Step::Close(device) => {
                    if let Some(socket) = sockets[device].take() {
                        live.close(socket);
                    }
                }
                Step::Ack(device, id, back) => {
                    let id = group(id);
                    if let Some(socket) = sockets[device]
                        && let Some(last) = live.seqs(socket, id).last()
                    {
                        live.ack(socket, id, last.saturating_sub(back));
                    }
                }
                Step::Read(device, id, back) => {
                    let id = group(id);
                    if let Some(socket) = sockets[device]
                        && let Some(last) = live.seqs(socket, id).last().copied()
                    {
                        let seq = last.saturating_sub(back);
                        live.settle();
                        live.read(socket, id, seq);
                        live.settle();
                        let at = read.entry(id).or_insert(0);
                        *at = seq.max(*at);
                    }
                }
                Step::Sleep => {
                    live.settle();
                    live.sleep();
                }
                Step::Crash => {
                    live.crash();
                    sockets = [None, None];
                }
            }
            for socket in sockets.iter().flatten() {
                prop_assert!(!live.closed.contains_key(socket));
            }
        }
        // In the end both devices connect and are sent the rest.
        for device in devices {
            let socket = live.open(device);
            live.settle();
            for id in [group(1), group(2)] {
                let head = live.logs.get(&id).map_or(0, |log| log.len() as u64);
                let seqs = live.seqs(socket, id);
                prop_assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
                if let Some(last) = seqs.last() {
                    prop_assert_eq!(*last, head);
                }
            }
            prop_assert!(live.errors(socket).is_empty());
        }
        for (id, log) in live.logs.clone() {
            let read_seq = read.get(&id).copied().unwrap_or(0);
            let recount = log
                .iter()
                .filter(|event| event.seq().get() > read_seq)
                .filter(|event| event.as_message().is_some_and(|said| said.sender_id != me()))
                .count();
            prop_assert_eq!(live.unread(phone, id), recount as u64);
        }
    }
}
