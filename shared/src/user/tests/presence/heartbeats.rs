//! Silent sockets, and clients that poll.

use super::*;

const SILENCE: Duration = Duration::from_secs(90);

impl World {
    fn beat(&mut self, signs: &[(u64, Option<Timestamp>)]) -> Vec<SocketId> {
        let signs: Vec<_> = signs.iter().map(|(id, at)| (SocketId(*id), *at)).collect();
        self.act(1, |service, now, effects| {
            service.heartbeat_due(now, &signs, effects)
        })
    }

    fn next_heartbeat(&mut self) -> Option<Timestamp> {
        self.peer(1).service.next_heartbeat()
    }
}

#[test]
fn a_silent_socket_is_closed_when_three_heartbeats_are_missed() {
    let mut world = World::of(2);
    world.connect(2, 20);
    assert_eq!(world.next_heartbeat(), None);
    let opened_at = world.clock.now();
    world.connect(1, 10);
    world.subscribe(2, 20, &[user(1)]);
    world.shown(2, 20);
    assert_eq!(world.next_heartbeat(), Some(opened_at + SILENCE));
    world.clock = ManualClock::new(opened_at + SILENCE);
    let pinged_at = opened_at + SECOND * 61;
    assert_eq!(world.beat(&[(10, Some(pinged_at))]), []);
    assert_eq!(world.next_heartbeat(), Some(pinged_at + SILENCE));
    // It also counts after the object has slept.
    world.forget(1, false);
    world.clock = ManualClock::new(pinged_at + SILENCE - Duration::from_millis(1));
    assert_eq!(world.beat(&[(10, Some(pinged_at))]), []);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.beat(&[(10, Some(pinged_at))]), [SocketId(10)]);
    let now = world.clock.now();
    assert_eq!(world.next_heartbeat(), Some(now + SILENCE));
    world.close(1, 10);
    assert_eq!(world.shown(2, 20), [offline(1, Some(pinged_at))]);
    assert_eq!(world.next_heartbeat(), None);
}

#[test]
fn a_socket_that_never_pinged_counts_from_its_opening() {
    let mut world = World::of(1);
    let opened_at = world.clock.now();
    world.connect(1, 10);
    world.clock = ManualClock::new(opened_at + SECOND * 89);
    world.connect(1, 11);
    assert_eq!(world.beat(&[(10, None), (11, None)]), [SocketId(10)]);
    world.close(1, 10);
    let second = opened_at + SECOND * 89;
    assert_eq!(world.next_heartbeat(), Some(second + SILENCE));
}

#[test]
fn streams_and_polls_are_not_held_to_heartbeats() {
    let mut world = World::of(1);
    world.open(1, 10, Transport::Stream);
    world.open(1, 11, Transport::Poll);
    assert_eq!(world.next_heartbeat(), None);
    world.clock.advance(MINUTE * 30);
    assert_eq!(world.beat(&[(10, None), (11, None)]), []);
}

#[test]
fn while_one_is_here_it_is_written_down_now_and_then() {
    let mut world = World::of(1);
    world.connect(1, 10);
    let sql = world.peer(1).sql.clone();
    let beats = |world: &mut World, minutes| {
        for _ in 0..minutes {
            world.clock.advance(MINUTE);
            let now = world.clock.now();
            world.beat(&[(10, Some(now))]);
        }
    };
    assert_eq!(sql.cost(|| beats(&mut world, 60)).1.written, 6);
    let now = world.clock.now();
    world.forget(1, true);
    world.act(1, UserService::presence_check);
    let call = WatchPresence { watcher: user(2) };
    let answer = world.peer(1).service.watch_presence(call, now).unwrap();
    assert!(now.since(answer.last_seen.unwrap()) <= MINUTE * 10);
}

#[test]
fn one_that_polls_stays_online_between_two_polls() {
    let mut world = World::of(2);
    world.connect(2, 20);
    world.subscribe(2, 20, &[user(1)]);
    world.open(1, 10, Transport::Poll);
    assert_eq!(world.shown(2, 20), [offline(1, None), online(1)]);
    for slept in [false, true] {
        let left_at = world.clock.now();
        world.close(1, 10);
        if slept {
            world.forget(1, true);
            world.act(1, UserService::presence_check);
        }
        let service = &world.peer(1).service;
        assert_eq!(
            service.poll_grace_ends(),
            Some(left_at + limits::POLL_GRACE)
        );
        world.clock.advance(SECOND * 30);
        world.open(1, 10, Transport::Poll);
        assert_eq!(world.peer(1).service.poll_grace_ends(), None);
        assert_eq!(world.shown(2, 20), []);
    }
    let left_at = world.clock.now();
    world.close(1, 10);
    world.forget(1, true);
    world.clock = ManualClock::new(left_at + limits::POLL_GRACE);
    world.act(1, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(world.shown(2, 20), [offline(1, Some(left_at))]);
    assert_eq!(world.peer(1).service.poll_grace_ends(), None);
}

#[test]
fn a_socket_that_closes_between_two_polls_does_not_end_the_grace() {
    let mut world = World::of(2);
    world.connect(2, 20);
    world.subscribe(2, 20, &[user(1)]);
    world.open(1, 10, Transport::Poll);
    world.connect(1, 11);
    world.shown(2, 20);
    let polled_at = world.clock.now();
    world.close(1, 10);
    let left_at = world.clock.now();
    world.close(1, 11);
    assert_eq!(world.shown(2, 20), []);
    assert_eq!(
        world.peer(1).service.poll_grace_ends(),
        Some(polled_at + limits::POLL_GRACE)
    );
    world.clock = ManualClock::new(polled_at + limits::POLL_GRACE);
    world.act(1, UserService::presence_check);
    world.pass(SECOND);
    assert_eq!(world.shown(2, 20), [offline(1, Some(left_at))]);
}
