//! Messages that are edited, deleted for everyone and deleted for oneself: what the list shows,
//! and what is unread, with a real conversation behind the user.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::conversation::call::{ActOn, ConversationRequest, Create, CreateKind, ListMessages};
use crate::conversation::deliver::{Delivery, Round};
use crate::conversation::service::ConversationService;
use crate::ids::ClientMessageId;
use crate::protocol::act::Act;
use crate::protocol::conversation::LastMessage;
use crate::protocol::frame::ServerFrame;
use crate::protocol::message::NewMessage;
use crate::protocol::problem::Code;
use crate::sql::Sql;
use crate::sql::native::NativeSql;

/// A user with a session, and a group of two that it is in.
struct Pair {
    fixture: Fixture,
    device: DeviceId,
    socket: SocketId,
    conversation: ConversationService<NativeSql>,
    ids: Vec<MessageId>,
    /// A delivery that is under way.
    under_way: Option<Delivery>,
    questions: VecDeque<(Ticket, ConversationRequest)>,
    /// Answers that are under way.
    answers: VecDeque<(Ticket, Result<String, Problem>)>,
    sent: Vec<ServerFrame>,
    replies: Vec<Result<String, Problem>>,
}

const OTHER: u32 = 2;

impl Pair {
    fn new() -> Self {
        let (mut fixture, device) = Fixture::signed_in();
        let device = device.device_id;
        let mut conversation =
            ConversationService::new(NativeSql::in_memory().unwrap(), OBJECT_SCOPE);
        let create = Create {
            conversation_id: group(1),
            creator: user(OTHER),
            kind: CreateKind::Group {
                name: None,
                description: None,
                members: vec![me()],
            },
            encrypted: false,
        };
        conversation.create(create, START).unwrap();
        let open = OpenSession {
            user_id: me(),
            device_id: device,
            expires_at: START + Duration::from_secs(1_000_000_000),
            subprotocol: false,
            transport: Transport::Socket,
        };
        let opened = fixture.service.open_session(&open, START).unwrap();
        let mut pair = Self {
            fixture,
            device,
            socket: opened.socket,
            conversation,
            ids: Vec::new(),
            under_way: None,
            questions: VecDeque::new(),
            answers: VecDeque::new(),
            sent: Vec::new(),
            replies: Vec::new(),
        };
        pair.carry_out(opened.effects);
        pair.catch_up();
        pair
    }

    fn now(&self) -> Timestamp {
        self.fixture.clock.now()
    }

    fn pass(&self) {
        self.fixture.clock.advance(Duration::from_secs(1));
    }

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send { frames, .. } => self.sent.extend(frames),
                Effect::AskConversation {
                    request,
                    ticket: Some(ticket),
                    ..
                } => self.questions.push_back((ticket, request)),
                Effect::Answer { answer, .. } => self.replies.push(answer),
                Effect::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }

    fn say(&mut self, sender: UserId, content: &str) -> MessageId {
        let message = NewMessage {
            client_msg_id: ClientMessageId::random(&self.fixture.entropy),
            content: content.to_owned(),
            content_type: ContentType::Text,
            reply_to: None,
            media_id: None,
            mentions: Vec::new(),
            thread_root: None,
            send_at: None,
        };
        let now = self.now();
        let sent = self
            .conversation
            .send(sender, message, now, &self.fixture.entropy)
            .unwrap();
        self.ids.push(sent.0.message_id);
        sent.0.message_id
    }

    fn act(&mut self, actor: UserId, message_id: MessageId, act: Act) {
        let now = self.now();
        let call = ActOn {
            actor,
            message_id,
            act,
        };
        // Refusals change nothing.
        drop(self.conversation.act(call, now));
    }

    fn hide(&mut self, message_id: MessageId) {
        let call = HideMessage {
            device_id: self.device,
            conversation_id: group(1),
            message_id,
        };
        let service = &mut self.fixture.service;
        let (asked, effects) = collected(|effects| service.hide_message(call, effects));
        asked.unwrap();
        self.carry_out(effects);
    }

    fn read(&mut self, up_to_seq: u64) {
        let call = MarkRead {
            device_id: self.device,
            conversation_id: group(1),
            up_to_seq: Seq::new(up_to_seq),
        };
        let now = self.now();
        let service = &mut self.fixture.service;
        // Refusals change nothing.
        let (_, effects) = collected(|effects| service.mark_read(call, now, effects));
        self.carry_out(effects);
    }

    /// A delivery sets out.
    fn set_out(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let now = self.now();
        let mut round = Round::default();
        while let Some(delivery) = self.conversation.next_delivery(&mut round, now).unwrap() {
            if delivery.user_id == me() {
                self.under_way = Some(delivery);
                return;
            }
            self.conversation.undeliverable(delivery.user_id, now);
        }
    }

    /// It arrives.
    fn arrive(&mut self) {
        let Some(delivery) = self.under_way.take() else {
            return;
        };
        let now = self.now();
        let call = delivery.call(Vec::new());
        let service = &mut self.fixture.service;
        let (reply, effects) = collected(|effects| service.deliver(&call, now, effects));
        self.carry_out(effects);
        let reply = reply.unwrap();
        self.conversation.delivered(me(), &reply, now).unwrap();
    }

    /// The conversation takes up a question.
    fn ask(&mut self) {
        let now = self.now();
        if let Some((ticket, request)) = self.questions.pop_front() {
            let answer = self
                .conversation
                .handle(request, now, &self.fixture.entropy)
                .map(|(reply, _)| reply)
                .map_err(ServiceError::into_problem);
            self.answers.push_back((ticket, answer));
        }
    }

    /// An answer arrives; `last`: not in the order of the questions.
    fn answer(&mut self, last: bool) {
        let next = if last {
            self.answers.pop_back()
        } else {
            self.answers.pop_front()
        };
        if let Some((ticket, answer)) = next {
            let now = self.now();
            let effects = self.fixture.service.answered(ticket, answer, now);
            self.carry_out(effects);
        }
    }

    /// Lets everything arrive.
    fn catch_up(&mut self) {
        for _ in 0..4 {
            self.arrive();
            self.pass();
            self.set_out();
            self.arrive();
            while !self.questions.is_empty() || !self.answers.is_empty() {
                self.ask();
                self.answer(false);
            }
        }
    }

    fn item(&mut self) -> ConversationItem {
        self.fixture.list(self.device).remove(0)
    }

    /// What the list must show: counted again.
    fn check(&mut self) {
        self.catch_up();
        let call = ListMessages {
            actor: me(),
            cursor: None,
            limit: 200,
        };
        let shown = self.conversation.list_messages(&call).unwrap().messages;
        let item = self.item();
        let unread = shown.iter().filter(|message| {
            message.seq > item.read_seq && message.sender_id != me() && !message.is_deleted
        });
        assert_eq!(item.unread, unread.count() as u64);
        assert_eq!(item.last_msg, shown.first().map(LastMessage::from));
    }

    fn preview(&mut self) -> Option<String> {
        self.item().last_msg.map(|last| last.preview)
    }
}

fn edit(content: &str) -> Act {
    Act::Edit {
        content: content.to_owned(),
        mentions: None,
    }
}

#[test]
fn the_list_shows_what_the_newest_message_says_now() {
    let mut pair = Pair::new();
    let first = pair.say(user(OTHER), "first");
    let second = pair.say(user(OTHER), "second");
    pair.check();
    pair.act(user(OTHER), second, edit("second, edited"));
    pair.act(user(OTHER), first, edit("first, edited"));
    pair.check();
    assert_eq!(pair.preview().as_deref(), Some("second, edited"));
    pair.act(user(OTHER), second, Act::Delete);
    pair.check();
    let last = pair.item().last_msg.unwrap();
    assert!(last.is_deleted && last.preview.is_empty());
    assert_eq!((last.message_id, pair.item().unread), (second, 1));
}

#[test]
fn a_message_deleted_for_oneself_is_gone_from_the_list_and_told_to_the_other_devices() {
    let mut pair = Pair::new();
    let first = pair.say(user(OTHER), "first");
    let second = pair.say(user(OTHER), "second");
    pair.check();
    let other = pair.fixture.sign_in(None).unwrap();
    pair.device = other.device_id;
    pair.hide(second);
    pair.check();
    assert_eq!(pair.replies, [Ok("null".to_owned())]);
    assert_eq!(
        (pair.item().unread, pair.preview().as_deref()),
        (1, Some("first"))
    );
    let told = |pair: &Pair| {
        let is_told = |frame: &&ServerFrame| matches!(frame, ServerFrame::MessageHidden { message_id, .. } if *message_id == second);
        pair.sent.iter().filter(is_told).count()
    };
    assert_eq!(told(&pair), 1);
    pair.hide(second);
    pair.check();
    assert_eq!(
        (pair.replies.len(), told(&pair)),
        (2, 1),
        "again, nothing changes"
    );
    pair.act(user(OTHER), second, edit("a secret"));
    pair.act(user(OTHER), second, Act::Delete);
    pair.check();
    assert_eq!(pair.item().unread, 1);
    let text: String = pair.sent.iter().map(ServerFrame::to_text).collect();
    assert!(!text.contains("secret"));
    pair.hide(first);
    pair.check();
    assert_eq!((pair.item().unread, pair.item().last_msg), (0, None));
    pair.hide(MessageId::new(START, Seq::new(2), &pair.fixture.entropy));
    pair.check();
    assert_eq!(
        pair.replies.pop().unwrap().unwrap_err().code,
        Code::NotFound
    );
}

#[test]
fn a_session_that_deletes_for_itself_is_answered_every_time_and_refused_by_name() {
    let mut pair = Pair::new();
    let id = pair.say(user(OTHER), "first");
    pair.check();
    pair.sent.clear();
    let name = ClientMessageId::random(&pair.fixture.entropy);
    let frame = |message_id: MessageId| {
        let id = group(1);
        format!(
            r#"{{"type":"delete_message","for":"me","conversation_id":"{id}","message_id":"{message_id}","client_msg_id":"{name}"}}"#
        )
    };
    for _ in 0..2 {
        let now = pair.now();
        let effects = pair.fixture.service.on_text(pair.socket, &frame(id), now);
        pair.carry_out(effects);
        pair.check();
    }
    let expected = ServerFrame::MessageHidden {
        conversation_id: group(1),
        message_id: id,
    };
    assert_eq!(pair.sent, [expected.clone(), expected]);
    let made_up = MessageId::new(START, Seq::new(2), &pair.fixture.entropy);
    let now = pair.now();
    let effects = pair
        .fixture
        .service
        .on_text(pair.socket, &frame(made_up), now);
    pair.carry_out(effects);
    pair.check();
    let Some(ServerFrame::Error(error)) = pair.sent.last() else {
        panic!("{:?}", pair.sent);
    };
    assert_eq!(
        (error.code, error.client_msg_id),
        (Code::NotFound, Some(name))
    );
}

#[test]
fn what_a_session_does_comes_back_as_an_event_and_only_repeats_are_answered() {
    let mut pair = Pair::new();
    let id = pair.say(me(), "mine");
    pair.check();
    pair.sent.clear();
    let say = |pair: &mut Pair, rest: &str| {
        let text = format!(
            r#"{{"conversation_id":"{}","message_id":"{id}",{rest}}}"#,
            group(1)
        );
        let now = pair.now();
        let effects = pair.fixture.service.on_text(pair.socket, &text, now);
        pair.carry_out(effects);
        pair.check();
        std::mem::take(&mut pair.sent)
    };
    let react = r#""type":"react","emoji":"👍""#;
    let first = say(&mut pair, react);
    assert!(matches!(
        first.as_slice(),
        [ServerFrame::Event(Event::Changed(_))]
    ));
    assert_eq!(say(&mut pair, react), first);
    let refused = say(&mut pair, r#""type":"poll_vote","options":[0]"#);
    assert!(
        matches!(refused.as_slice(), [ServerFrame::Error(_)]),
        "{refused:?}"
    );
}

#[test]
fn a_session_can_schedule_a_message() {
    let mut pair = Pair::new();
    pair.sent.clear();
    let name = ClientMessageId::random(&pair.fixture.entropy);
    let send = |at: Timestamp| {
        format!(
            r#"{{"type":"send_message","conversation_id":"{}","client_msg_id":"{name}","content":"later","send_at":"{at}"}}"#,
            group(1)
        )
    };
    for at in [pair.now() + MINUTE, START] {
        let now = pair.now();
        let effects = pair.fixture.service.on_text(pair.socket, &send(at), now);
        pair.carry_out(effects);
        pair.check();
    }
    let ServerFrame::MessageScheduled(scheduled) = &pair.sent[0] else {
        panic!("{:?}", pair.sent);
    };
    assert_eq!(scheduled.message.client_msg_id, name);
    assert_eq!(pair.sent[1], pair.sent[0], "the name is taken");
    assert_eq!(pair.sent.len(), 2);
}

#[test]
fn a_preview_goes_when_its_message_does_from_the_list_and_from_storage() {
    let (mut fixture, device) = Fixture::signed_in();
    let summary = group_summary(1, "Hikers");
    let Event::NewMessage(mut said) = message(group(1), 1, user(OTHER)) else {
        panic!("a message");
    };
    let expires_at = START + MINUTE;
    said.content = "a secret".to_owned();
    said.expires_at = Some(expires_at);
    let deliver = Deliver {
        visible_from: Seq::new(1),
        user_id: me(),
        conversation: summary.clone(),
        events: vec![Event::NewMessage(said)],
        attached_devices: Vec::new(),
    };
    let service = &mut fixture.service;
    let (taken, effects) = collected(|effects| service.deliver(&deliver, START, effects));
    taken.unwrap();
    let is_set = |effect: &Effect| matches!(effect, Effect::Alarm(at) if *at == expires_at);
    assert!(effects.iter().any(is_set));
    let stored = |fixture: &Fixture| {
        let rows = fixture
            .sql
            .exec("SELECT last_message FROM inbox", &[])
            .unwrap();
        rows.first().unwrap().get::<String>(0).unwrap()
    };
    let shown = |fixture: &mut Fixture| fixture.list(device.device_id).remove(0).last_msg.unwrap();
    assert_eq!(shown(&mut fixture).preview, "a secret");
    fixture.clock.advance(MINUTE);
    assert_eq!(shown(&mut fixture).preview, "", "though the alarm is late");
    assert!(stored(&fixture).contains("secret"));
    fixture.restart();
    let effects = fixture.service.on_alarm(fixture.clock.now(), &[]);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alarm(_)))
    );
    assert!(!stored(&fixture).contains("secret"));
    assert!(shown(&mut fixture).is_deleted);
    assert_eq!(
        fixture.list(device.device_id)[0].unread,
        1,
        "it was never read"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Say(bool),
    Edit(usize),
    Delete(usize),
    Hide(usize),
    Read(u64),
    SetOut,
    Arrive,
    Ask,
    Answer(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..10;
    prop_oneof![
        4 => prop::bool::weighted(0.3).prop_map(Step::Say),
        2 => which.clone().prop_map(Step::Edit),
        3 => which.clone().prop_map(Step::Delete),
        3 => which.prop_map(Step::Hide),
        3 => (1_u64..20).prop_map(Step::Read),
        4 => Just(Step::SetOut),
        4 => Just(Step::Arrive),
        4 => Just(Step::Ask),
        4 => any::<bool>().prop_map(Step::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_unread_and_what_the_list_shows_are_exact_whatever_comes_when(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut pair = Pair::new();
        for step in steps {
            pair.pass();
            match step {
                Step::Say(mine) => {
                    let sender = if mine { me() } else { user(OTHER) };
                    pair.say(sender, "said");
                }
                Step::Edit(which) => {
                    if let Some(id) = pair.ids.get(which).copied() {
                        pair.act(user(OTHER), id, edit("edited"));
                    }
                }
                Step::Delete(which) => {
                    if let Some(id) = pair.ids.get(which).copied() {
                        pair.act(user(OTHER), id, Act::Delete);
                    }
                }
                Step::Hide(which) => {
                    if let Some(id) = pair.ids.get(which).copied() {
                        pair.hide(id);
                    }
                }
                Step::Read(up_to) => pair.read(up_to),
                Step::SetOut => pair.set_out(),
                Step::Arrive => pair.arrive(),
                Step::Ask => pair.ask(),
                Step::Answer(last) => pair.answer(last),
            }
        }
        pair.check();
    }
}
