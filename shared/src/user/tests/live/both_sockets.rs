//! A device with a session and a conversation's own socket: it has what comes there from there, and
//! misses nothing where that socket is dead, gives way, or lost its word.

use super::*;

impl Live {
    /// Someone says something that `device`'s own socket at the conversation shows.
    fn hear_there(&mut self, id: ConversationId, device: DeviceId) {
        let log = self.logs.entry(id).or_default();
        log.push(message(id, log.len() as u64 + 1, user(2)));
        let number = u32::try_from(id.as_uuid().as_u128() & 0xffff_ffff).unwrap();
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: me(),
            conversation: group_summary(number, "Hikers"),
            events: log.last().cloned().into_iter().collect(),
            attached_devices: vec![AttachedDevice {
                device_id: device,
                heard_at: self.now(),
            }],
        };
        let now = self.now();
        let (_, effects) = self
            .fixture
            .service
            .handle(call.into(), now, &self.fixture.entropy);
        self.carry_out(effects);
    }

    /// Time passes, and the alarm goes off when it is due; clients ping.
    fn ring_after(&mut self, wait: Duration) {
        self.fixture.clock.advance(wait);
        let now = self.now();
        if self.alarm.is_some_and(|at| at <= now) {
            self.alarm = None;
            let sockets: Vec<_> = self.fixture.service.sessions.keys().copied().collect();
            let heard: Vec<_> = sockets
                .into_iter()
                .map(|socket| (socket, Some(now)))
                .collect();
            let effects = self.fixture.service.on_alarm(now, &heard);
            self.carry_out(effects);
        }
        self.settle();
    }
}

const HEARTBEAT: Duration = limits::HEARTBEAT;

#[test]
fn h_both_sockets_nothing_is_withheld_for_longer_than_a_heartbeat() {
    let (mut live, phone) = Live::new();
    let id = group(1);
    let socket = live.open(phone);
    for _ in 0..3 {
        live.hear_there(id, phone);
    }
    assert_eq!(live.sent[&socket].len(), 2, "auth_ack and sync_complete");
    live.ring_after(HEARTBEAT - Duration::from_secs(6));
    assert_eq!(live.seqs(socket, id), Vec::<u64>::new());
    live.ring_after(Duration::from_secs(7));
    assert_eq!(live.seqs(socket, id), all(1..=3), "that socket may be dead");
    // It seems to be there still: what comes now has another heartbeat.
    live.hear_there(id, phone);
    live.ring_after(Duration::from_secs(1));
    assert_eq!(live.seqs(socket, id), all(1..=3));
    live.ring_after(HEARTBEAT);
    assert_eq!(live.seqs(socket, id), all(1..=4));
}

#[test]
fn what_was_acknowledged_at_the_conversation_is_not_shown_again() {
    let (mut live, phone) = Live::new();
    let id = group(1);
    let socket = live.open(phone);
    live.hear_there(id, phone);
    live.hear_there(id, phone);
    let delivered = MarkDelivered {
        device_id: phone,
        conversation_id: id,
        up_to_seq: Seq::new(2),
    };
    let now = live.now();
    live.act(|service, effects| service.mark_delivered(delivered, now, effects));
    live.ring_after(HEARTBEAT * 2);
    assert_eq!(live.seqs(socket, id), Vec::<u64>::new());
    live.hear(id, user(2));
    live.settle();
    assert_eq!(live.seqs(socket, id), [3], "that socket is gone");
}

#[test]
fn what_was_withheld_comes_before_what_is_newer_when_the_other_socket_is_gone() {
    for forgets in [false, true] {
        let (mut live, phone) = Live::new();
        let id = group(1);
        let socket = live.open(phone);
        live.hear_there(id, phone);
        live.hear_there(id, phone);
        if forgets {
            live.forget();
        }
        // The word that the device has left is on its way still.
        live.hear(id, user(2));
        live.settle();
        assert_eq!(live.seqs(socket, id), all(1..=3), "{forgets}");
        live.hear(id, user(2));
        assert_eq!(live.seqs(socket, id), all(1..=4));
    }
}

#[test]
fn what_is_withheld_outlives_a_sleep() {
    let (mut live, phone) = Live::new();
    let id = group(1);
    let socket = live.open(phone);
    live.hear_there(id, phone);
    live.sleep();
    let alarm = live.alarm;
    live.fixture.service.alarm_is(alarm);
    // What comes later does not put it off.
    live.fixture
        .clock
        .advance(HEARTBEAT - Duration::from_secs(2));
    live.hear_there(id, phone);
    live.ring_after(Duration::from_secs(8));
    assert_eq!(live.seqs(socket, id), [1, 2]);
}

#[test]
fn only_so_many_conversations_are_withheld() {
    let (mut live, phone) = Live::new();
    let socket = live.open(phone);
    for number in 1..=20 {
        live.hear_there(group(number), phone);
    }
    let shown = live.sent[&socket].iter();
    let events = shown.filter(|frame| matches!(frame, ServerFrame::Event(_)));
    assert_eq!(events.count(), 4, "what is kept with a socket is bounded");
    let kept = live.kept.values().map(String::len).max();
    assert!(kept.is_some_and(|bytes| bytes < 2048), "{kept:?}");
}

#[test]
fn one_who_comes_in_again_while_its_session_catches_up_misses_nothing() {
    let (mut live, device) = Live::new();
    let id = group(1);
    for _ in 0..3 {
        live.hear(id, user(2));
    }
    let socket = live.open(device);
    // It is asked for as one who is no member, and answered so after it has come in again.
    let (ticket, _, _) = live.questions.pop_front().unwrap();
    let log = live.logs.get_mut(&id).unwrap();
    log.push(message(id, 4, user(2)));
    log.push(message(id, 5, user(2)));
    let call = Deliver {
        visible_from: Seq::new(5),
        user_id: me(),
        conversation: group_summary(1, "Hikers"),
        events: log.last().cloned().into_iter().collect(),
        attached_devices: Vec::new(),
    };
    live.take(&call);
    let refused = Err(Problem::not_found("conversation"));
    let now = live.now();
    let effects = live.fixture.service.answered(ticket.unwrap(), refused, now);
    live.carry_out(effects);
    live.settle();
    live.hear(id, user(2));
    assert_eq!(live.seqs(socket, id).last(), Some(&6));
    assert!(live.seqs(socket, id).contains(&5));
}
