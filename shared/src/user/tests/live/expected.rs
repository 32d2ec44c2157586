//! What a user says of events that its inbox has not been given yet.

use super::*;
use crate::protocol::conversation::SettingsPatch;

impl Live {
    /// A message that the conversation has and has not delivered yet.
    fn said(&mut self, id: ConversationId, sender: UserId) -> u64 {
        let log = self.logs.entry(id).or_default();
        let seq = log.len() as u64 + 1;
        log.push(message(id, seq, sender));
        seq
    }

    /// Asks over HTTP, and gives the answer if there is one already.
    fn asked(&mut self, request: impl Into<UserRequest>) -> Option<Result<String, Problem>> {
        let now = self.now();
        let entropy = &self.fixture.entropy;
        let (reply, effects) = self.fixture.service.handle(request.into(), now, entropy);
        assert!(matches!(reply, Reply::Later(_)), "{reply:?}");
        self.carry_out(effects);
        self.settle();
        self.answers.pop()
    }

    fn read_by(
        &mut self,
        device_id: DeviceId,
        id: ConversationId,
        seq: u64,
    ) -> Option<Result<String, Problem>> {
        self.asked(MarkRead {
            device_id,
            conversation_id: id,
            up_to_seq: Seq::new(seq),
        })
    }
}

fn code(answer: Option<Result<String, Problem>>) -> Option<Code> {
    answer?.err().map(|problem| problem.code)
}

#[test]
fn reading_what_is_on_its_way_is_answered_when_it_has_come() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    live.said(id, user(2));
    live.said(id, user(3));
    assert_eq!(live.read_by(device, id, 3), None, "it waits");
    live.deliver(id);
    live.settle();
    let answer = live.answers.pop().unwrap().unwrap();
    let expected = r#"{"read_seq":3,"unread":0,"total_unread":0}"#;
    assert_eq!(answer, expected);
    assert_eq!(live.unread(device, id), 0);
    assert_eq!(live.marks.last().unwrap().1.read_seq, Seq::new(3));
}

#[test]
fn a_delivery_that_comes_before_the_promise_is_not_waited_for() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let socket = live.open(device);
    live.settle();
    live.said(id, user(2));
    live.read(socket, id, 2);
    live.deliver(id);
    live.settle();
    assert_eq!(live.errors(socket), []);
    assert_eq!(live.unread(device, id), 0);
}

#[test]
fn a_session_acknowledges_its_own_message_before_it_is_delivered() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let socket = live.open(device);
    live.settle();
    live.said(id, me());
    live.ack(socket, id, 2);
    live.say(
        socket,
        &format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":2}}"#),
    );
    live.settle();
    assert_eq!(live.errors(socket), []);
    live.deliver(id);
    live.settle();
    assert_eq!(live.errors(socket), []);
    live.close(socket);
    let again = live.open(device);
    live.settle();
    assert_eq!(live.seqs_or_none(again, id), Vec::<u64>::new());
}

#[test]
fn a_conversation_that_is_not_in_the_list_yet_is_set_when_it_is() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.said(id, user(2));
    let pinned = UpdateSettings {
        device_id: device,
        conversation_id: id,
        patch: SettingsPatch {
            pinned: Some(true),
            ..SettingsPatch::default()
        },
    };
    assert_eq!(live.asked(pinned), None, "it waits");
    live.deliver(id);
    live.settle();
    assert!(live.answers.pop().unwrap().is_ok());
    assert!(live.fixture.list(device)[0].pinned);
    let elsewhere = UpdateSettings {
        conversation_id: group(2),
        ..pinned
    };
    assert_eq!(code(live.asked(elsewhere)), Some(Code::NotFound));
}

#[test]
fn what_does_not_exist_is_refused_by_the_name_of_its_field() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let refused = live.read_by(device, id, 2).unwrap().unwrap_err();
    assert_eq!(refused.detail, "up_to_seq lies beyond the newest event, 1");
    let socket = live.open(device);
    live.settle();
    let sync = format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":2}}"#);
    live.say(socket, &sync);
    live.settle();
    let Some(ServerFrame::Error(error)) = live.sent[&socket].last() else {
        panic!("a refusal");
    };
    assert_eq!(error.detail, "after_seq lies beyond the newest event, 1");
    live.read(socket, group(2), 1);
    live.settle();
    assert_eq!(live.errors(socket), [Code::InvalidRequest, Code::NotFound]);
}

#[test]
fn one_who_was_removed_has_read_all_there_is() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    let farewell = Event::Group(GroupChange::MemberRemoved(MemberRemoved {
        conversation_id: id,
        seq: Seq::new(2),
        user_id: me(),
        removed_by: user(2),
        created_at: time_of(2),
    }));
    live.deliver_these(id, vec![farewell]);
    // The conversation tells it nothing any more.
    live.logs.remove(&id);
    let refused = live.read_by(device, id, 3).unwrap().unwrap_err();
    assert_eq!(refused.detail, "up_to_seq lies beyond the newest event, 2");
}

#[test]
fn a_promise_that_is_not_kept_ends_and_the_number_of_them_is_bounded() {
    let (mut live, device) = Live::new();
    let id = group(1);
    live.hear(id, user(2));
    live.said(id, user(2));
    for _ in 0..256 {
        assert_eq!(live.read_by(device, id, 2), None);
    }
    let now = live.now();
    let one_more = MarkRead {
        device_id: device,
        conversation_id: id,
        up_to_seq: Seq::new(2),
    };
    let (reply, effects) = live
        .fixture
        .service
        .handle(one_more.into(), now, &live.fixture.entropy);
    live.carry_out(effects);
    let Reply::Refused(refused) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(refused.code, Code::Unavailable);
    live.fixture.clock.advance(Duration::from_secs(5));
    let now = live.now();
    let effects = live.fixture.service.wake(now);
    live.carry_out(effects);
    assert_eq!(live.answers.len(), 256);
    assert_eq!(code(live.answers.pop()), Some(Code::Unavailable));
    live.down.insert(id);
    live.answers.clear();
    assert_eq!(code(live.read_by(device, id, 2)), Some(Code::Unavailable));
    assert_eq!(live.unread(device, id), 1, "nothing has changed");
}
