//! The side that is watched.

use super::*;

#[test]
fn a_watcher_sees_others_come_and_go() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    assert_eq!(world.shown(1, 10), [offline(2, None)]);
    world.connect(2, 20);
    assert_eq!(world.shown(1, 10), [online(2)]);
    // A second device changes nothing.
    world.connect(2, 21);
    world.close(2, 20);
    assert_eq!(world.shown(1, 10), []);
    let left_at = world.clock.now();
    world.close(2, 21);
    assert_eq!(world.shown(1, 10), [offline(2, Some(left_at))]);
    // Whoever asks later is told the same.
    world.connect(1, 11);
    world.subscribe(1, 11, &[user(2)]);
    assert_eq!(world.shown(1, 11), [offline(2, Some(left_at))]);
}

#[test]
fn a_change_costs_one_row() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    let sql = world.peer(2).sql.clone();
    let ((), cost) = sql.cost(|| world.connect(2, 20));
    assert_eq!(cost.written, 1);
    let ((), cost) = sql.cost(|| world.connect(2, 21));
    assert_eq!(cost.written, 0);
    let ((), cost) = sql.cost(|| {
        world.close(2, 20);
        world.close(2, 21);
    });
    assert_eq!(cost.written, 1);
}

#[test]
fn privacy_decides_who_is_told() {
    for (audience, contact, knows) in [
        (Audience::Everyone, false, true),
        (Audience::Everyone, true, true),
        (Audience::Contacts, false, false),
        (Audience::Contacts, true, true),
        (Audience::Nobody, false, false),
        (Audience::Nobody, true, false),
    ] {
        let mut world = World::of(2);
        world.set_privacy(2, audience);
        if contact {
            world.acquaint(2, 1);
        }
        world.connect(2, 20);
        world.connect(1, 10);
        world.subscribe(1, 10, &[user(2)]);
        let case = (audience, contact);
        let told = if knows { online(2) } else { offline(2, None) };
        assert_eq!(world.shown(1, 10), [told], "{case:?}");
        let left_at = world.clock.now();
        world.close(2, 20);
        let told: &[_] = if knows {
            &[offline(2, Some(left_at))]
        } else {
            &[]
        };
        assert_eq!(world.shown(1, 10), told, "{case:?}");
    }
}

#[test]
fn a_change_of_privacy_takes_effect_at_once() {
    let mut world = World::of(3);
    world.acquaint(2, 1);
    for number in 1..=3 {
        world.connect(number, 10);
    }
    for watcher in [1, 3] {
        world.subscribe(watcher, 10, &[user(2)]);
        assert_eq!(world.shown(watcher, 10), [online(2)]);
    }
    world.set_privacy(2, Audience::Contacts);
    assert_eq!(world.shown(1, 10), []);
    assert_eq!(world.shown(3, 10), [offline(2, None)]);
    world.set_privacy(2, Audience::Nobody);
    assert_eq!(world.shown(1, 10), [offline(2, None)]);
    assert_eq!(world.shown(3, 10), []);
    world.set_privacy(2, Audience::Everyone);
    assert_eq!(world.shown(1, 10), [online(2)]);
    assert_eq!(world.shown(3, 10), [online(2)]);
    let stored = world.peer(2).sql.dump("SELECT unfinished FROM presence");
    assert_eq!(stored.scalar::<i64>().unwrap(), Some(0));
}

#[test]
fn hiding_oneself_is_told_even_after_a_crash() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.connect(2, 20);
    world.subscribe(1, 10, &[user(2)]);
    world.shown(1, 10);
    world.unreachable.push(user(1));
    world.set_privacy(2, Audience::Nobody);
    world.forget(2, true);
    world.unreachable.clear();
    world.connect(2, 21);
    assert_eq!(world.shown(1, 10), [offline(2, None)]);
}

#[test]
fn sleep_hides_no_change_and_makes_none_up() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.connect(2, 20);
    world.shown(1, 10);
    world.forget(2, false);
    world.act(2, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(world.shown(1, 10), []);
    world.forget(2, false);
    let left_at = world.clock.now();
    world.close(2, 20);
    assert_eq!(world.shown(1, 10), [offline(2, Some(left_at))]);
}

#[test]
fn after_a_crash_the_going_is_told() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    let came_at = world.clock.now();
    world.connect(2, 20);
    world.shown(1, 10);
    world.forget(2, true);
    world.pass(MINUTE);
    // Who asks before is told the truth, too.
    let call = WatchPresence { watcher: user(1) };
    let now = world.clock.now();
    let answer = world.peer(2).service.watch_presence(call, now).unwrap();
    assert_eq!(answer, offline(2, Some(came_at)));
    world.act(2, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(world.shown(1, 10), [offline(2, Some(came_at))]);
    // One who is back at once was never gone.
    world.connect(2, 21);
    world.shown(1, 10);
    world.forget(2, true);
    world.connect(2, 22);
    assert_eq!(world.shown(1, 10), []);
}

#[test]
fn many_watchers_are_told_in_waves_and_none_is_left_out_by_a_crash() {
    let mut world = World::of(151);
    world.connect(1, 10);
    for number in 2..=151 {
        world.connect(number, 10);
        world.subscribe(number, 10, &[user(1)]);
        world.shown(number, 10);
    }
    let told = |world: &mut World| -> usize {
        (2..=151)
            .map(|number| world.shown(number, 10).len())
            .sum::<usize>()
    };
    world.act(1, |service, now, effects| {
        let session = service.sessions.remove(&SocketId(10)).unwrap();
        service.presence_closed(&session.kept, now, effects)
    });
    assert_eq!(world.letters.len(), 64);
    for _ in 0..60 {
        world.carry();
        assert!(world.letters.len() <= 64);
    }
    world.forget(1, true);
    let before = told(&mut world);
    assert_eq!(before, 60);
    world.act(1, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(told(&mut world), 150);
    // And then it is done.
    world.forget(1, true);
    world.act(1, UserService::presence_check);
    assert_eq!(world.letters.len(), 0);
}

#[test]
fn a_watcher_is_never_left_with_an_older_state() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.shown(1, 10);
    // Comes, goes and comes again while the first news are on their way.
    for _ in 0..2 {
        world.act(2, |service, now, effects| {
            let open = OpenSession {
                user_id: user(2),
                device_id: DeviceId::random(&SeededEntropy::new(1)),
                expires_at: now + MINUTE,
                subprotocol: false,
                transport: Transport::Socket,
            };
            let session = Session::opened(SocketId(20), &open, now);
            service.sessions.insert(SocketId(20), session);
            service.presence_check(now, effects)
        });
        assert_eq!(world.letters.len(), 1);
        world.act(2, |service, now, effects| {
            let session = service.sessions.remove(&SocketId(20)).unwrap();
            service.presence_closed(&session.kept, now, effects)
        });
    }
    let left_at = world.clock.now();
    world.pass(SECOND);
    assert_eq!(world.shown(1, 10).last(), Some(&offline(2, Some(left_at))));
}

#[test]
fn a_watcher_that_does_not_want_to_know_is_forgotten() {
    let mut world = World::of(3);
    for number in [1, 3] {
        world.connect(number, 10);
        world.subscribe(number, 10, &[user(2)]);
    }
    assert_eq!(world.watchers(2), 2);
    world.forget(1, true);
    world.connect(2, 20);
    assert_eq!(world.watchers(2), 1);
    // So is one that is no more.
    world.peers.remove(&user(3));
    world.close(2, 20);
    assert_eq!(world.watchers(2), 0);
}

#[test]
fn one_that_asks_anew_while_it_is_told_is_not_forgotten() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.forget(1, true);
    let call = WatchPresence { watcher: user(1) };
    world.act(2, |service, now, _| service.watch_presence(call, now));
    world.open(2, 20, Transport::Socket);
    assert_eq!(world.watchers(2), 0);

    world.connect(1, 11);
    world.subscribe(1, 11, &[user(2)]);
    world.act(2, |service, now, effects| {
        let session = service.sessions.remove(&SocketId(20)).unwrap();
        service.presence_closed(&session.kept, now, effects)
    });
    let letter = world.letters.pop_front().unwrap();
    let call = WatchPresence { watcher: user(1) };
    world.ask(user(2), call.into()).unwrap();
    let unwanted = Ok(r#"{"wanted":false}"#.to_owned());
    world.answer(user(2), letter.ticket.unwrap(), unwanted);
    assert_eq!(world.watchers(2), 1);
}

#[test]
fn one_that_does_not_answer_is_told_again() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.shown(1, 10);
    world.unreachable.push(user(1));
    world.connect(2, 20);
    world.unreachable.clear();
    world.pass(SECOND * 3);
    assert_eq!(world.shown(1, 10), [online(2)]);
    // But not for ever.
    world.unreachable.push(user(1));
    world.close(2, 20);
    for _ in 0..5 {
        world.pass(SECOND * 3);
    }
    assert!(world.peer(2).wakes.is_empty());
    assert_eq!(world.watchers(2), 1);
}

#[test]
fn leases_end_and_are_renewed_seldom() {
    let mut world = World::of(2);
    let sql = world.peer(2).sql.clone();
    let watch = |world: &mut World| {
        let call = WatchPresence { watcher: user(1) };
        world.ask(user(2), call.into()).unwrap();
    };
    assert_eq!(sql.cost(|| watch(&mut world)).1.written, 1);
    world.clock.advance(limits::PRESENCE_LEASE / 8);
    assert_eq!(sql.cost(|| watch(&mut world)).1.written, 0);
    world.clock.advance(limits::PRESENCE_LEASE / 4);
    assert_eq!(sql.cost(|| watch(&mut world)).1.written, 1);
    world.clock.advance(limits::PRESENCE_LEASE);
    world.connect(2, 20);
    assert_eq!(world.watchers(2), 0);
    assert_eq!(world.asked(1), [""; 0]);
}

#[test]
fn beyond_the_limit_of_watchers_one_is_answered_and_not_registered() {
    let mut world = World::of(1);
    let most = u32::try_from(limits::PRESENCE_WATCHERS).unwrap();
    let now = world.clock.now();
    let service = &mut world.peer(1).service;
    for number in 0..=most {
        let call = WatchPresence {
            watcher: user(10 + number),
        };
        service.watch_presence(call, now).unwrap();
    }
    assert_eq!(world.watchers(1), limits::PRESENCE_WATCHERS);
    let service = &mut world.peer(1).service;
    let call = UnwatchPresence { watcher: user(10) };
    service.unwatch_presence(call).unwrap();
    let call = WatchPresence { watcher: user(9) };
    service.watch_presence(call, now).unwrap();
    // Leases that are over make room.
    let later = now + limits::PRESENCE_LEASE;
    let call = WatchPresence { watcher: user(8) };
    service.watch_presence(call, later).unwrap();
    assert_eq!(world.watchers(1), 1);
}

#[test]
fn a_user_that_does_not_exist_is_not_found_and_leaves_no_trace() {
    let mut fixture = Fixture::new();
    let service = &mut fixture.service;
    let watcher = user(2);
    let refused = problem(service.watch_presence(WatchPresence { watcher }, START));
    assert_eq!(refused.status, 404);
    service
        .unwatch_presence(UnwatchPresence { watcher })
        .unwrap();
    let update = online(3);
    let (heard, effects) = collected(|effects| {
        service.presence_check(START, effects).unwrap();
        service.presence_changed(PresenceChanged { update }, START, effects)
    });
    assert!(!heard.wanted && effects.is_empty());
    let tables = fixture.sql.dump("SELECT 1 FROM sqlite_master").rows;
    assert!(tables.is_empty());
}

#[test]
fn a_failure_of_storage_is_told_and_the_change_is_not_lost() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.shown(1, 10);
    let open = OpenSession {
        user_id: user(2),
        device_id: world.peer(2).device_id,
        expires_at: START + MINUTE * 60,
        subprotocol: false,
        transport: Transport::Socket,
    };
    let now = world.clock.now();
    let peer = world.peer(2);
    let session = Session::opened(SocketId(20), &open, now);
    peer.service.sessions.insert(SocketId(20), session);
    for statements in 0..3 {
        peer.sql.fail_after(statements);
        let (done, effects) = collected(|effects| peer.service.presence_check(now, effects));
        assert!(done.is_err() && effects.is_empty());
        assert!(!peer.sql.call_off());
    }
    world.act(2, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(world.shown(1, 10), [online(2)]);
}
