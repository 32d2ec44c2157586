//! Settings, conversations that the user is no longer a member of, blocks and suspension: several
//! users in one process, whose questions are carried by the test, and conversations that only note
//! what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::conversation::call::ConversationRequest;
use crate::object::reply_json;
use crate::protocol::conversation::{ConversationSettings, Membership, Notify, SettingsPatch};
use crate::protocol::event::EventPage;
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::group::{ConversationDeleted, GroupChange, MemberRemoved};
use crate::protocol::problem::Code;

struct Person {
    sql: Rc<ProbeSql>,
    service: UserService<Rc<ProbeSql>>,
    device_id: DeviceId,
    refresh_token: String,
    alarm: Option<Timestamp>,
    sent: BTreeMap<SocketId, Vec<ServerFrame>>,
    closed: BTreeMap<SocketId, CloseCode>,
    answers: Vec<Result<String, Problem>>,
}

enum Question {
    User(UserId, UserRequest),
    Conversation(ConversationId, ConversationRequest),
}

struct People {
    people: BTreeMap<UserId, Person>,
    clock: ManualClock,
    questions: VecDeque<(UserId, Option<Ticket>, Question)>,
    /// What conversations were told.
    told: Vec<(ConversationId, ConversationRequest)>,
    /// Conversations that do not answer.
    down: BTreeSet<ConversationId>,
    /// Of which nobody asked is a member.
    closed: BTreeSet<ConversationId>,
}

impl People {
    /// The users 1 to `count`, each signed in.
    fn of(count: u32) -> Self {
        let entropy = SeededEntropy::new(9);
        let people = (1..=count)
            .map(|number| {
                let sql = Rc::new(ProbeSql::new());
                let mut service = UserService::new(sql.clone(), OBJECT_SCOPE);
                let device = service.sign_in(sign_in(number), START, &entropy).unwrap();
                let person = Person {
                    sql,
                    service,
                    device_id: device.device_id,
                    refresh_token: device.refresh_token,
                    alarm: None,
                    sent: BTreeMap::new(),
                    closed: BTreeMap::new(),
                    answers: Vec::new(),
                };
                (user(number), person)
            })
            .collect();
        Self {
            people,
            clock: ManualClock::new(START),
            questions: VecDeque::new(),
            told: Vec::new(),
            down: BTreeSet::new(),
            closed: BTreeSet::new(),
        }
    }

    fn person(&mut self, number: u32) -> &mut Person {
        self.people.get_mut(&user(number)).unwrap()
    }

    fn take(&mut self, of: UserId, effects: Effects) {
        for effect in effects {
            let person = self.people.get_mut(&of).unwrap();
            match effect {
                Effect::Send { to, frames } => {
                    for socket in to {
                        let sent = person.sent.entry(socket).or_default();
                        sent.extend(frames.clone());
                    }
                }
                Effect::Close { socket, code } => {
                    person.closed.insert(socket, code);
                }
                Effect::AskConversation {
                    id,
                    request,
                    ticket,
                } => {
                    let question = Question::Conversation(id, request);
                    self.questions.push_back((of, ticket, question));
                }
                Effect::AskUser {
                    id,
                    request,
                    ticket,
                } => {
                    let question = Question::User(id, request);
                    self.questions.push_back((of, ticket, question));
                }
                Effect::Answer { answer, .. } => person.answers.push(answer),
                Effect::Alarm(at) => person.alarm = Some(at),
                Effect::Keep { .. } | Effect::Wake(_) => {}
                Effect::Failed(failure) => panic!("{failure}"),
            }
        }
    }

    fn ask(&mut self, number: u32, request: impl Into<UserRequest>) -> Result<Reply, Problem> {
        let now = self.clock.now();
        let entropy = SeededEntropy::new(1);
        let service = &mut self.person(number).service;
        let (reply, effects) = service.handle(request.into(), now, &entropy);
        self.take(user(number), effects);
        match reply {
            Reply::Refused(problem) => Err(problem),
            reply => Ok(reply),
        }
    }

    /// Asks, carries what comes of it, and gives the answer when it comes.
    fn asked(&mut self, number: u32, request: impl Into<UserRequest>) -> Result<String, Problem> {
        let reply = self.ask(number, request)?;
        self.settle();
        match reply {
            Reply::Now(text) => Ok(text),
            Reply::Refused(problem) => Err(problem),
            Reply::Later(_) => self.person(number).answers.remove(0),
        }
    }

    fn settle(&mut self) {
        while let Some((from, ticket, question)) = self.questions.pop_front() {
            let answer = match question {
                Question::User(id, request) => self.answer_user(id, request),
                Question::Conversation(id, _) if self.down.contains(&id) => {
                    Err(Problem::unavailable("down"))
                }
                Question::Conversation(id, _) if self.closed.contains(&id) => {
                    Err(Problem::not_found("conversation"))
                }
                Question::Conversation(id, request) => {
                    let reply = match &request {
                        ConversationRequest::ListEvents(_) => reply_json(&EventPage {
                            events: Vec::new(),
                            head_seq: Seq::ZERO,
                            has_more: false,
                        }),
                        _ => reply_json(&()),
                    };
                    self.told.push((id, request));
                    Ok(reply.unwrap())
                }
            };
            if let Some(ticket) = ticket {
                let now = self.clock.now();
                let service = &mut self.people.get_mut(&from).unwrap().service;
                let effects = service.answered(ticket, answer, now);
                self.take(from, effects);
            }
        }
    }

    fn answer_user(&mut self, id: UserId, request: UserRequest) -> Result<String, Problem> {
        if !self.people.contains_key(&id) {
            return Err(Problem::not_found("user"));
        }
        let now = self.clock.now();
        let entropy = SeededEntropy::new(1);
        let service = &mut self.people.get_mut(&id).unwrap().service;
        let (reply, effects) = service.handle(request, now, &entropy);
        self.take(id, effects);
        match reply {
            Reply::Now(text) => Ok(text),
            Reply::Refused(problem) => Err(problem),
            other => panic!("{other:?}"),
        }
    }

    /// The memory of a user's object is gone; what was under way is lost.
    fn crash(&mut self, number: u32) {
        let person = self.person(number);
        person.service = UserService::new(person.sql.clone(), OBJECT_SCOPE);
        person.service.alarm_is(person.alarm);
        self.questions.retain(|(from, ..)| *from != user(number));
    }

    fn ring(&mut self, number: u32) {
        let at = self.person(number).alarm.take().expect("an alarm");
        let wait = at.since(self.clock.now());
        self.clock.advance(wait);
        let now = self.clock.now();
        let effects = self.person(number).service.on_alarm(now, &[]);
        self.take(user(number), effects);
        self.settle();
    }

    fn open(&mut self, number: u32, device_id: DeviceId) -> SocketId {
        let now = self.clock.now();
        let open = OpenSession {
            user_id: user(number),
            device_id,
            expires_at: now + Duration::from_secs(3600),
            subprotocol: false,
            transport: Transport::Socket,
        };
        let opened = self
            .person(number)
            .service
            .open_session(&open, now)
            .unwrap();
        // After a crash names begin anew.
        self.person(number).sent.remove(&opened.socket);
        self.take(user(number), opened.effects);
        self.settle();
        opened.socket
    }

    fn second_device(&mut self, number: u32) -> DeviceId {
        let now = self.clock.now();
        let entropy = SeededEntropy::new(77);
        let service = &mut self.person(number).service;
        let device = service.sign_in(sign_in(number), now, &entropy).unwrap();
        device.device_id
    }

    fn deliver(&mut self, name: &str, visible_from: u64, events: Vec<Event>) {
        let call = Deliver {
            user_id: me(),
            visible_from: Seq::new(visible_from),
            conversation: group_summary(1, name),
            events,
            attached_devices: Vec::new(),
        };
        let now = self.clock.now();
        let service = &mut self.person(1).service;
        let (taken, effects) = collected(|effects| service.deliver(&call, now, effects));
        taken.unwrap();
        self.take(me(), effects);
    }

    fn item(&mut self) -> ConversationItem {
        let device_id = self.person(1).device_id;
        let call = ListConversations {
            device_id,
            cursor: None,
            limit: 10,
            archived: false,
        };
        let now = self.clock.now();
        let page = self.person(1).service.list_conversations(&call, now);
        page.unwrap().conversations.remove(0)
    }

    /// The frames that a session was sent, but for the first.
    fn frames(&mut self, socket: SocketId) -> Vec<ServerFrame> {
        let sent = self
            .person(1)
            .sent
            .get(&socket)
            .cloned()
            .unwrap_or_default();
        let is_hello = |frame: &ServerFrame| matches!(frame, ServerFrame::AuthAck(_));
        sent.into_iter().filter(|frame| !is_hello(frame)).collect()
    }

    fn block(&self, number: u32, peer: u32, is_blocked: bool) -> Block {
        Block {
            device_id: self.people[&user(number)].device_id,
            user_id: user(peer),
            is_blocked,
        }
    }
}

fn sign_in(number: u32) -> SignIn {
    SignIn {
        user_id: user(number),
        phone_number: "+14155550100".parse().unwrap(),
        device_name: None,
    }
}

fn removed(seq: u64, by: UserId) -> Event {
    Event::Group(GroupChange::MemberRemoved(MemberRemoved {
        conversation_id: group(1),
        seq: Seq::new(seq),
        user_id: me(),
        removed_by: by,
        created_at: time_of(seq),
    }))
}

const COMPLETE: ServerFrame = ServerFrame::SyncComplete { total_unread: 0 };

#[test]
fn what_is_set_on_one_device_shows_in_the_list_and_on_the_others() {
    let mut people = People::of(1);
    let first = people.person(1).device_id;
    let second = people.second_device(1);
    people.deliver("Hikers", 1, messages(group(1), 1..=2));
    let here = people.open(1, first);
    let there = people.open(1, second);
    people.person(1).sent.clear();
    let until = START + Duration::from_secs(3600);
    let patch = SettingsPatch {
        muted_until: Some(Some(until)),
        pinned: Some(true),
        notify: Some(Notify::Mentions),
        ..SettingsPatch::default()
    };
    let call = UpdateSettings {
        device_id: first,
        conversation_id: group(1),
        patch,
    };
    let expected = ConversationSettings {
        conversation_id: group(1),
        muted_until: Some(until),
        archived: false,
        pinned: true,
        notify: Notify::Mentions,
    };
    let reply = people.asked(1, call).unwrap();
    assert_eq!(reply, serde_json::to_string(&expected).unwrap());
    let shown = [ServerFrame::ConversationSettings(expected)];
    assert_eq!(people.frames(there), shown);
    assert_eq!(people.frames(here), [], "it knows");
    people.asked(1, call).unwrap();
    assert_eq!(people.frames(there).len(), 1, "nothing has changed");
    people.crash(1);
    let item = people.item();
    assert_eq!(
        (item.muted_until, item.pinned, item.notify),
        (Some(until), true, Notify::Mentions)
    );
    let patch = SettingsPatch {
        muted_until: Some(None),
        archived: Some(true),
        ..SettingsPatch::default()
    };
    people.asked(1, UpdateSettings { patch, ..call }).unwrap();
    people.deliver("Hikers", 1, messages(group(1), 3..=3));
    let list = |archived| ListConversations {
        device_id: first,
        cursor: None,
        limit: 10,
        archived,
    };
    let mut page = |archived| {
        let service = &mut people.people.get_mut(&me()).unwrap().service;
        service.list_conversations(&list(archived), START).unwrap()
    };
    assert_eq!(page(false).conversations, []);
    assert_eq!(page(false).total_unread, 0);
    let archived = page(true).conversations.remove(0);
    assert_eq!((archived.unread, archived.muted_until), (3, None));
    people.closed.insert(group(2));
    let elsewhere = UpdateSettings {
        conversation_id: group(2),
        ..call
    };
    assert_eq!(people.asked(1, elsewhere).unwrap_err().code, Code::NotFound);
}

#[test]
fn one_who_was_removed_hears_it_live_or_later_and_nothing_else() {
    let mut people = People::of(1);
    let first = people.person(1).device_id;
    let second = people.second_device(1);
    people.deliver("Hikers", 1, messages(group(1), 1..=2));
    people.closed.insert(group(1));
    let here = people.open(1, first);
    let farewell = removed(4, user(2));
    let news = [messages(group(1), 3..=3), vec![farewell.clone()]].concat();
    people.deliver("Hikers", 1, news);
    let live = people.frames(here);
    // It had not caught up, and was refused: it is told what was delivered after.
    assert_eq!(live.last(), Some(&ServerFrame::Event(farewell.clone())));
    people.deliver("A secret name", 1, vec![farewell.clone()]);
    let item = people.item();
    assert_eq!(
        (item.membership, item.unread, item.name.as_deref()),
        (Membership::Removed, 0, Some("Hikers"))
    );
    people.crash(1);
    let later = people.open(1, second);
    let expected = [ServerFrame::Event(farewell.clone()), COMPLETE];
    assert_eq!(people.frames(later), expected, "of all it missed only this");
    let ack = format!(
        r#"{{"type":"ack","conversation_id":"{}","up_to_seq":4}}"#,
        group(1)
    );
    let now = people.clock.now();
    let effects = people.person(1).service.on_text(later, &ack, now);
    people.take(me(), effects);
    let effects = people.person(1).service.close_session(later, now);
    people.take(me(), effects);
    people.settle();
    let again = people.open(1, second);
    assert_eq!(people.frames(again), [COMPLETE]);
    let sync = format!(
        r#"{{"type":"sync","conversation_id":"{}","after_seq":1}}"#,
        group(1)
    );
    let effects = people.person(1).service.on_text(again, &sync, now);
    people.take(me(), effects);
    people.settle();
    assert_eq!(
        people.frames(again).last(),
        Some(&ServerFrame::Event(farewell))
    );
}

#[test]
fn f_left_preview_is_empty() {
    let mut people = People::of(1);
    people.deliver("Hikers", 1, messages(group(1), 1..=2));
    let preview = |people: &mut People| people.item().last_msg.unwrap().preview;
    assert!(!preview(&mut people).is_empty());
    // Whatever becomes of the message now, the user does not hear of it.
    people.deliver("Hikers", 1, vec![removed(3, user(2))]);
    assert_eq!(preview(&mut people), "");
    people.crash(1);
    assert_eq!(preview(&mut people), "");
    // The same in one delivery.
    let mut people = People::of(1);
    let news = [messages(group(1), 1..=2), vec![removed(3, me())]].concat();
    people.deliver("Hikers", 1, news);
    assert_eq!(preview(&mut people), "");
}

#[test]
fn a_conversation_that_is_left_stays_in_the_list_until_it_is_taken_off() {
    for (event, membership) in [
        (removed(3, me()), Membership::Left),
        (
            Event::Group(GroupChange::ConversationDeleted(ConversationDeleted {
                conversation_id: group(1),
                seq: Seq::new(3),
                deleted_by: user(2),
                created_at: time_of(3),
            })),
            Membership::Deleted,
        ),
    ] {
        let mut people = People::of(1);
        let device_id = people.person(1).device_id;
        let other = people.second_device(1);
        people.deliver("Hikers", 1, messages(group(1), 1..=2));
        let forget = ForgetConversation {
            device_id,
            conversation_id: group(1),
        };
        assert_eq!(people.asked(1, forget).unwrap_err().code, Code::Conflict);
        people.deliver("Hikers", 1, vec![event.clone()]);
        assert_eq!(people.item().membership, membership);
        let there = people.open(1, other);
        people.person(1).sent.clear();
        people.asked(1, forget).unwrap();
        let forgotten = ServerFrame::ConversationForgotten {
            conversation_id: group(1),
            up_to_seq: event.seq(),
        };
        assert_eq!(people.frames(there), [forgotten]);
        assert_eq!(people.asked(1, forget).unwrap_err().code, Code::NotFound);
        // What is delivered again, in part or in whole, does not bring it back.
        people.person(1).sent.clear();
        let mut again = messages(group(1), 1..=2);
        people.deliver("Hikers", 1, again.clone());
        again.push(event);
        people.deliver("Hikers", 1, again);
        assert_eq!(people.frames(there), []);
        assert_eq!(people.asked(1, forget).unwrap_err().code, Code::NotFound);
        people.deliver("Hikers", 7, vec![joined(group(1), 7)]);
        let item = people.item();
        assert_eq!(
            (item.membership, item.head_seq),
            (Membership::Member, Seq::new(7))
        );
    }
}

#[test]
fn one_who_comes_in_again_begins_anew() {
    for hears_of_it in [true, false] {
        let mut people = People::of(1);
        people.deliver("Hikers", 1, messages(group(1), 1..=3));
        if hears_of_it {
            people.deliver("Hikers", 1, vec![removed(4, user(2))]);
        }
        let gap = vec![joined(group(1), 9), message(group(1), 10, user(2))];
        // A gap alone is none to be passed over.
        people.deliver("Hikers", 1, gap.clone());
        assert!(people.item().head_seq < Seq::new(9));
        people.deliver("Hikers", 9, gap.clone());
        people.deliver("Hikers", 9, gap);
        let item = people.item();
        assert_eq!(
            (item.membership, item.unread, item.head_seq),
            (Membership::Member, 1, Seq::new(10))
        );
        assert_eq!(item.last_msg.unwrap().seq, Seq::new(10));
    }
    let mut people = People::of(1);
    people.deliver("Hikers", 1, messages(group(1), 1..=3));
    people.deliver("Hikers", 1, vec![removed(4, user(2))]);
    people.deliver("Hikers", 5, vec![joined(group(1), 5)]);
    let item = people.item();
    assert_eq!((item.membership, item.unread), (Membership::Member, 0));
    assert_eq!(item.last_msg, None, "what was before is not to be seen");
}

#[test]
fn a_block_is_known_to_both_before_it_is_acknowledged() {
    let mut people = People::of(3);
    let direct = ConversationId::direct(user(1), user(2));
    let call = people.block(1, 2, true);
    let Ok(Reply::Later(_)) = people.ask(1, call) else {
        panic!("it is answered before it is told");
    };
    assert!(people.person(1).alarm.is_some(), "were it to die here");
    assert_eq!(people.person(1).answers.len(), 0);
    people.settle();
    assert_eq!(people.person(1).answers.remove(0), Ok("null".to_owned()));
    let [(id, ConversationRequest::SetBlock(told))] = people.told.as_slice() else {
        panic!("{:?}", people.told);
    };
    assert_eq!(
        (*id, told.blocker, told.is_blocked),
        (direct, user(1), true)
    );
    let again = people.ask(1, call).unwrap();
    assert!(matches!(again, Reply::Now(_)));
    assert!(people.questions.is_empty(), "it is known");
    let device_id = call.device_id;
    let list = people
        .person(1)
        .service
        .list_blocks(ListBlocks { device_id });
    let list = list.unwrap().blocks;
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].user_id, list[0].created_at), (user(2), START));
    // Neither may add the other's blocker.
    let admit = |adder| AdmitTo { adder: user(adder) };
    assert_eq!(people.ask(1, admit(2)).unwrap_err().code, Code::Forbidden);
    people.ask(1, admit(3)).unwrap();
    people.ask(2, admit(1)).unwrap();
    people.asked(1, people.block(1, 2, false)).unwrap();
    people.ask(1, admit(2)).unwrap();
    let lifted = matches!(
        people.told.last(),
        Some((_, ConversationRequest::SetBlock(told))) if !told.is_blocked
    );
    assert!(lifted);
    let own = people.asked(1, people.block(1, 1, true)).unwrap_err();
    assert_eq!(own.errors[0].field, "user_id");
}

#[test]
fn a_block_of_one_who_does_not_exist_is_none() {
    let mut people = People::of(1);
    let call = people.block(1, 5, true);
    assert_eq!(people.asked(1, call).unwrap_err().code, Code::NotFound);
    assert!(people.told.is_empty());
    let device_id = call.device_id;
    let list = people
        .person(1)
        .service
        .list_blocks(ListBlocks { device_id });
    assert_eq!(list.unwrap().blocks, []);
    people.ring(1);
    assert!(people.person(1).alarm.is_none(), "nothing is left to tell");
}

#[test]
fn a_block_that_could_not_be_told_is_told_later_whatever_dies() {
    for crashes in [false, true] {
        let mut people = People::of(2);
        let direct = ConversationId::direct(user(1), user(2));
        people.down.insert(direct);
        let call = people.block(1, 2, true);
        assert_eq!(people.asked(1, call).unwrap_err().code, Code::Unavailable);
        if crashes {
            people.crash(1);
        }
        people.ring(1);
        assert!(people.told.is_empty());
        people.down.clear();
        if crashes {
            people.crash(1);
        }
        people.ring(1);
        assert_eq!(people.told.len(), 1);
        people.ask(1, call).unwrap();
        assert!(people.questions.is_empty(), "it is known");
    }
}

#[test]
fn what_is_decided_while_a_block_is_told_is_told_after_it() {
    let mut people = People::of(2);
    people.ask(1, people.block(1, 2, true)).unwrap();
    people.ask(1, people.block(1, 2, false)).unwrap();
    people.ask(1, people.block(1, 2, true)).unwrap();
    people.ask(1, people.block(1, 2, false)).unwrap();
    people.settle();
    assert_eq!(people.person(1).answers.len(), 4);
    let told: Vec<_> = people
        .told
        .iter()
        .map(|(_, request)| match request {
            ConversationRequest::SetBlock(told) => told.is_blocked,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [true, false]);
    people.ask(2, AdmitTo { adder: user(1) }).unwrap();
}

#[test]
fn neither_sees_the_other_s_presence_after_a_block() {
    let mut people = People::of(2);
    let device_id = people.person(1).device_id;
    let open = people.open(1, device_id);
    let other_device = people.person(2).device_id;
    people.open(2, other_device);
    let follow = format!(
        r#"{{"type":"presence_subscribe","user_ids":["{}"]}}"#,
        user(2)
    );
    let now = people.clock.now();
    let effects = people.person(1).service.on_text(open, &follow, now);
    people.take(me(), effects);
    people.settle();
    let seen = |people: &mut People, of: u32, by: u32| {
        let call = ViewProfile { viewer: user(by) };
        let now = people.clock.now();
        let service = &mut people.person(of).service;
        service.view_profile(call, now).unwrap().presence.is_some()
    };
    assert!(seen(&mut people, 1, 2) && seen(&mut people, 2, 1));
    people.asked(2, people.block(2, 1, true)).unwrap();
    assert!(!seen(&mut people, 1, 2) && !seen(&mut people, 2, 1));
    let now = people.clock.now() + Duration::from_secs(1);
    let effects = people.person(1).service.wake(now);
    people.take(me(), effects);
    let last = people
        .frames(open)
        .into_iter()
        .rev()
        .find_map(|frame| match frame {
            ServerFrame::PresenceUpdate(update) => Some(update),
            _ => None,
        });
    let last = last.expect("it is told");
    assert_eq!(
        (last.user_id, last.last_seen),
        (user(2), None),
        "as one who may not know"
    );
    people.asked(2, people.block(2, 1, false)).unwrap();
    assert!(seen(&mut people, 1, 2) && seen(&mut people, 2, 1));
}

#[test]
fn a_suspended_account_is_signed_out_everywhere_and_its_conversations_know() {
    let mut people = People::of(1);
    let device_id = people.person(1).device_id;
    let socket = people.open(1, device_id);
    for number in 1..=120 {
        let call = Deliver {
            user_id: me(),
            visible_from: Seq::new(1),
            conversation: group_summary(number, "Hikers"),
            events: Vec::new(),
            attached_devices: Vec::new(),
        };
        let service = &mut people.person(1).service;
        service.deliver(&call, START, &mut Vec::new()).unwrap();
    }
    people.down.insert(group(70));
    people.asked(1, Suspend { is_suspended: true }).unwrap();
    assert_eq!(
        people.person(1).closed.get(&socket),
        Some(&CloseCode::TokenExpired)
    );
    assert_eq!(people.told.len(), 50 + 49, "one did not answer");
    people.down.clear();
    people.crash(1);
    people.ring(1);
    let known: BTreeSet<_> = people.told.iter().map(|(id, _)| *id).collect();
    assert_eq!(known.len(), 120);
    let all_suspended = people.told.iter().all(|(_, request)| {
        matches!(request, ConversationRequest::SetSuspended(told) if told.is_suspended)
    });
    assert!(all_suspended);
    people.told.clear();
    while people.person(1).alarm.is_some() {
        people.ring(1);
    }
    assert!(people.told.is_empty(), "all know");
    let refused = people.asked(1, GetProfile { device_id }).unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    assert_eq!(
        people.asked(1, sign_in(1)).unwrap_err().code,
        Code::Forbidden
    );
    let token = people.person(1).refresh_token.parse().unwrap();
    let refresh = Refresh { token };
    assert_eq!(
        people.asked(1, refresh.clone()).unwrap_err().code,
        Code::Forbidden
    );
    let admit = AdmitTo { adder: user(2) };
    assert_eq!(people.ask(1, admit).unwrap_err().code, Code::Forbidden);
    people.asked(1, Suspend { is_suspended: true }).unwrap();
    assert!(people.told.is_empty(), "it is so already");
    people
        .asked(
            1,
            Suspend {
                is_suspended: false,
            },
        )
        .unwrap();
    assert_eq!(people.told.len(), 120);
    people.asked(1, GetProfile { device_id }).unwrap();
    people.asked(1, refresh).unwrap();
}
