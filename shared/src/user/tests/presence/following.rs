//! The side that watches.

use super::*;
use crate::protocol::problem::Code;

#[test]
fn a_list_holds_so_many_and_counts_each_once() {
    let mut world = World::of(1);
    world.connect(1, 10);
    let most = u32::try_from(limits::PRESENCE_SUBSCRIPTIONS).unwrap();
    let mut users: Vec<UserId> = (0..most).map(|number| user(100 + number)).collect();
    users.push(user(100));
    world.subscribe(1, 10, &users);
    let kept = world.peer(1).kept[&SocketId(10)].watched.clone();
    assert_eq!(kept, users[..users.len() - 1]);
    users.push(user(7));
    let now = world.clock.now();
    let service = &mut world.peer(1).service;
    let mut subscribe = |socket, users: &[UserId]| {
        collected(|effects| service.presence_subscribe(SocketId(socket), users, now, effects))
    };
    let refused = problem(subscribe(10, &users).0);
    assert_eq!(refused.code, Code::InvalidRequest);
    assert_eq!(refused.errors[0].field, "user_ids");
    // A socket that has just gone is no fault.
    let (done, effects) = subscribe(11, &[user(2)]);
    assert!(done.is_ok() && effects.is_empty());
    assert_eq!(service.sessions[&SocketId(10)].kept.watched, kept);
}

#[test]
fn many_are_asked_in_waves_and_shown_together() {
    let mut world = World::of(201);
    world.connect(1, 10);
    let users: Vec<UserId> = (2..=201).map(user).collect();
    world.act(1, |service, now, effects| {
        service.presence_subscribe(SocketId(10), &users, now, effects)
    });
    assert_eq!(world.letters.len(), 64);
    while world.carry() {
        assert!(world.letters.len() <= 64);
    }
    // The first at once, the others in a moment.
    world.pass(Duration::from_millis(25));
    let sent = world.peer(1).sent.remove(&SocketId(10)).unwrap();
    let sizes: Vec<usize> = sent.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 199]);
}

#[test]
fn a_new_list_replaces_the_former() {
    let mut world = World::of(4);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2), user(3)]);
    world.subscribe(1, 10, &[user(3), user(4)]);
    assert_eq!(world.asked(2), ["watch", "unwatch"]);
    assert_eq!(world.asked(3), ["watch", "watch"]);
    assert_eq!(world.asked(4), ["watch"]);
    assert_eq!([2, 3, 4].map(|number| world.watchers(number)), [0, 1, 1]);
    world.shown(1, 10);
    world.connect(2, 20);
    world.connect(4, 40);
    assert_eq!(world.shown(1, 10), [online(4)]);
    world.subscribe(1, 10, &[]);
    assert_eq!(world.watchers(3) + world.watchers(4), 0);
}

#[test]
fn what_only_a_closed_session_followed_is_forgotten_once_it_changes() {
    let mut world = World::of(3);
    world.connect(1, 10);
    world.connect(1, 11);
    world.subscribe(1, 10, &[user(2), user(3)]);
    world.shown(1, 10);
    world.subscribe(1, 11, &[user(3)]);
    // The new session is shown how it is.
    assert_eq!(world.shown(1, 11), [offline(3, None)]);
    world.close(1, 10);
    assert_eq!((world.watchers(2), world.watchers(3)), (1, 1));
    world.connect(2, 20);
    world.connect(3, 30);
    assert_eq!(world.shown(1, 11), [online(3)]);
    assert_eq!((world.watchers(2), world.watchers(3)), (0, 1));
    world.close(1, 11);
    world.close(3, 30);
    assert_eq!(world.watchers(3), 0);
}

#[test]
fn subscriptions_outlive_sleep() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    world.shown(1, 10);
    world.forget(1, false);
    world.connect(2, 20);
    assert_eq!(world.shown(1, 10), [online(2)]);
    let kept = &world.peer(1).kept[&SocketId(10)];
    assert_eq!(kept.watched, [user(2)]);
}

#[test]
fn a_change_of_mind_while_a_question_is_under_way_wins() {
    let mut world = World::of(2);
    world.connect(1, 10);
    for list in [&[user(2)][..], &[], &[user(2)], &[]] {
        world.act(1, |service, now, effects| {
            service.presence_subscribe(SocketId(10), list, now, effects)
        });
        assert_eq!(world.letters.len(), 1, "one question at a time");
    }
    world.pass(SECOND);
    assert_eq!(world.watchers(2), 0);
    assert_eq!(world.shown(1, 10), []);
    for list in [&[user(2)][..], &[], &[user(2)]] {
        world.act(1, |service, now, effects| {
            service.presence_subscribe(SocketId(10), list, now, effects)
        });
    }
    world.pass(SECOND);
    assert_eq!(world.watchers(2), 1);
    assert!(world.shown(1, 10).contains(&offline(2, None)));
}

#[test]
fn news_that_overtake_the_answer_are_not_undone_by_it() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.act(1, |service, now, effects| {
        service.presence_subscribe(SocketId(10), &[user(2)], now, effects)
    });
    let letter = world.letters.pop_front().unwrap();
    let answer = world.ask(user(2), letter.request);
    // Told of the coming before the answer arrives.
    world.connect(2, 20);
    world.answer(user(1), letter.ticket.unwrap(), answer);
    world.pass(SECOND);
    assert_eq!(world.shown(1, 10), [online(2)]);
}

#[test]
fn an_unknown_user_is_shown_as_one_who_may_not_be_seen() {
    let mut world = World::of(1);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(77)]);
    assert_eq!(world.shown(1, 10), [offline(77, None)]);
}

#[test]
fn one_that_does_not_answer_is_asked_again_and_then_shown_as_offline() {
    let mut world = World::of(3);
    world.connect(1, 10);
    world.connect(2, 20);
    world.unreachable.push(user(2));
    world.subscribe(1, 10, &[user(2)]);
    world.unreachable.clear();
    world.pass(SECOND * 3);
    assert_eq!(world.shown(1, 10), [online(2)]);
    world.unreachable.push(user(3));
    world.subscribe(1, 10, &[user(3)]);
    for _ in 0..5 {
        world.pass(SECOND * 3);
    }
    assert_eq!(world.shown(1, 10), [offline(3, None)]);
    assert!(world.peer(1).wakes.is_empty());
}

#[test]
fn one_may_follow_oneself() {
    let mut world = World::of(1);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(1)]);
    assert_eq!(world.shown(1, 10), [online(1)]);
    world.close(1, 10);
    assert_eq!(world.asked(1), [""; 0]);
}

#[test]
fn a_long_session_renews_its_watches_once_more_than_half_is_over() {
    let mut world = World::of(2);
    world.connect(1, 10);
    world.subscribe(1, 10, &[user(2)]);
    let beat = |world: &mut World| {
        world.act(1, |service, now, effects| {
            service.heartbeat_due(now, &[(SocketId(10), Some(now))], effects)
        });
        world.settle();
        world.asked(2).len()
    };
    assert_eq!(beat(&mut world), 1);
    assert_eq!(beat(&mut world), 0);
    world.clock.advance(limits::PRESENCE_LEASE / 2);
    world.forget(1, false);
    assert_eq!(beat(&mut world), 1);
    world.forget(1, false);
    assert_eq!(beat(&mut world), 0);
}
