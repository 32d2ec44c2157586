//! Storage that fails at any statement: what was decided before is carried out all the same, and what
//! was not done is done later.

use super::*;

/// Fails the first statement, then the second, and so on, until all of `scene` is done before it
/// comes to that.
fn wherever_storage_fails(scene: impl Fn(&mut Live, DeviceId, &dyn Fn())) {
    for statements in 0.. {
        assert!(statements < 1000, "it never ends");
        let (mut live, device) = Live::new();
        live.may_fail = true;
        let sql = live.fixture.sql.clone();
        scene(&mut live, device, &|| sql.fail_after(statements));
        if sql.call_off() {
            return;
        }
    }
}

impl Live {
    /// Tries to open a session until it can be.
    fn open_at_last(&mut self, device_id: DeviceId) -> SocketId {
        let open = OpenSession {
            user_id: me(),
            device_id,
            expires_at: self.now() + Duration::from_secs(3600),
            subprotocol: false,
            transport: Transport::Socket,
        };
        let now = self.now();
        match self.fixture.service.open_session(&open, now) {
            Ok(opened) => {
                self.carry_out(opened.effects);
                opened.socket
            }
            Err(error) => {
                assert!(matches!(error, ServiceError::Storage(_)), "{error}");
                assert!(self.fixture.service.sessions.is_empty());
                self.open(device_id)
            }
        }
    }

    /// Answers what is asked, and lets time pass, until nothing is waited for.
    fn calm_down(&mut self) {
        for _ in 0..10 {
            self.settle();
            self.fixture.clock.advance(Duration::from_secs(3));
            let now = self.now();
            let effects = self.fixture.service.wake(now);
            self.carry_out(effects);
        }
        assert!(self.questions.is_empty());
    }

    /// Delivers until it is taken.
    fn hear_at_last(&mut self, id: ConversationId) {
        let log = self.logs.entry(id).or_default();
        log.push(message(id, log.len() as u64 + 1, user(2)));
        let number = u32::try_from(id.as_uuid().as_u128() & 0xffff_ffff).unwrap();
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: me(),
            conversation: group_summary(number, "Hikers"),
            events: log.clone(),
            attached_devices: Vec::new(),
        };
        for _ in 0..2 {
            let now = self.now();
            let service = &mut self.fixture.service;
            let (taken, effects) = collected(|effects| service.deliver(&call, now, effects));
            self.carry_out(effects);
            if taken.is_ok() {
                return;
            }
        }
        panic!("it fails once");
    }
}

#[test]
fn a_session_has_everything_in_order_wherever_storage_fails() {
    let ids = [group(1), group(2)];
    wherever_storage_fails(|live, device, fail| {
        for id in [ids[0], ids[1], ids[0], ids[1], ids[0]] {
            live.hear(id, user(2));
        }
        let socket = live.open(device);
        fail();
        live.settle();
        live.hear_at_last(ids[0]);
        live.calm_down();
        live.hear_at_last(ids[1]);
        live.calm_down();
        assert_eq!(live.seqs(socket, ids[0]), all(1..=4));
        assert_eq!(live.seqs(socket, ids[1]), all(1..=3));
        let is_complete = |frame: &&ServerFrame| matches!(frame, ServerFrame::SyncComplete { .. });
        assert_eq!(live.sent[&socket].iter().filter(is_complete).count(), 1);
    });
}

#[test]
fn a_session_that_asks_again_has_everything_wherever_storage_fails() {
    let id = group(1);
    wherever_storage_fails(|live, device, fail| {
        let socket = live.open(device);
        for _ in 0..4 {
            live.hear(id, user(2));
        }
        live.sent.insert(socket, Vec::new());
        fail();
        let sync = format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":1}}"#);
        live.say(socket, &sync);
        if !live.errors(socket).is_empty() {
            live.say(socket, &sync);
        }
        live.hear_at_last(id);
        live.calm_down();
        let shown = live.seqs(socket, id);
        let missing = |seq: &u64| !shown.contains(seq);
        assert_eq!((2..=5).find(missing), None, "{shown:?}");
    });
}

#[test]
fn no_session_is_left_half_open_wherever_storage_fails() {
    let id = group(1);
    wherever_storage_fails(|live, device, fail| {
        live.hear(id, user(2));
        fail();
        let socket = live.open_at_last(device);
        live.calm_down();
        assert_eq!(live.seqs(socket, id), [1]);
        assert_eq!(live.fixture.service.sessions.len(), 1);
    });
}

#[test]
fn a_session_lives_on_where_the_one_to_replace_it_cannot_be_opened() {
    let id = group(1);
    wherever_storage_fails(|live, device, fail| {
        let first = live.open(device);
        live.hear(id, user(2));
        live.ack(first, id, 1);
        let open = OpenSession {
            user_id: me(),
            device_id: device,
            expires_at: live.now() + MINUTE,
            subprotocol: false,
            transport: Transport::Socket,
        };
        let now = live.now();
        fail();
        let opened = live.fixture.service.open_session(&open, now);
        let second = opened.ok().map(|opened| {
            live.carry_out(opened.effects);
            opened.socket
        });
        live.settle();
        live.hear_at_last(id);
        live.calm_down();
        match second {
            Some(second) => {
                assert_eq!(live.closed.get(&first), Some(&CloseCode::Replaced));
                assert_eq!(live.seqs(second, id).last(), Some(&2));
            }
            None => assert_eq!(live.seqs(first, id), [1, 2]),
        }
    });
}

#[test]
fn a_silent_session_is_closed_wherever_storage_fails() {
    let id = group(1);
    wherever_storage_fails(|live, device, fail| {
        let socket = live.open(device);
        live.hear(id, user(2));
        live.settle();
        live.fixture.clock.advance(Duration::from_secs(600));
        fail();
        // The runtime knows of the socket until it is told to close it.
        for _ in 0..2 {
            let sockets: Vec<_> = [socket]
                .into_iter()
                .filter(|socket| !live.closed.contains_key(socket))
                .map(|socket| (socket, None))
                .collect();
            let now = live.now();
            let effects = live.fixture.service.on_alarm(now, &sockets);
            let failed = effects.iter().any(|one| matches!(one, Effect::Failed(_)));
            live.alarm = None;
            live.carry_out(effects);
            let is_over = live.closed.contains_key(&socket);
            assert!(is_over || live.alarm.is_some(), "it is looked after again");
            assert!(failed || is_over);
            live.fixture.clock.advance(Duration::from_secs(3));
        }
        assert!(live.closed.contains_key(&socket));
        assert!(live.fixture.service.sessions.is_empty());
    });
}

#[test]
fn a_conversation_learns_how_far_its_member_has_come_wherever_storage_fails() {
    let id = group(1);
    wherever_storage_fails(|live, device, fail| {
        let socket = live.open(device);
        live.hear(id, user(2));
        live.hear(id, user(2));
        live.settle();
        fail();
        live.ack(socket, id, 1);
        live.ack(socket, id, 2);
        if !live.errors(socket).is_empty() {
            // A client acknowledges again what was refused.
            live.ack(socket, id, 2);
        }
        live.read(socket, id, 2);
        live.calm_down();
        if live.errors(socket).len() > 1 {
            live.read(socket, id, 2);
            live.calm_down();
        }
        let (_, position) = live.marks.last().unwrap();
        assert_eq!(position.delivered_seq, Seq::new(2));
    });
}
