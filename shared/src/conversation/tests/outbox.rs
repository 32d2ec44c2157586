//! What user objects are told beside deliveries: little, and the newest.

use std::time::Duration;

use super::World;
use super::receipts::{mark, position, receipt};
use crate::conversation::deliver::Round;
use crate::conversation::outbox::MarkKind;
use crate::conversation::socket::SocketSession;
use crate::ids::DeviceId;
use crate::protocol::frame::ServerFrame;
use crate::protocol::seq::Seq;
use crate::user::call::Delivered;

#[test]
fn a_burst_of_receipts_is_one_signal_under_way_and_the_newest_after_it() {
    let mut world = World::direct();
    for _ in 0..50 {
        world.send(0, "hello");
    }
    let author = world.users[0];
    let shown = |frames: &[ServerFrame]| -> Vec<_> {
        frames
            .iter()
            .map(|frame| (receipt(frame).0, receipt(frame).1.up_to_seq.get()))
            .collect()
    };
    let mut handed_over = Vec::new();
    for seq in 1..=50 {
        let signals = mark(&mut world, 1, seq, seq).signals;
        handed_over.extend(world.service.signals_due(signals));
    }
    let [(to, frames)] = handed_over.as_slice() else {
        panic!("one signal");
    };
    assert_eq!((*to, shown(frames)), (author, vec![('d', 1), ('r', 1)]));
    let waited = world.service.signalled(author).unwrap();
    assert_eq!(shown(&waited), [('d', 50), ('r', 50)]);
    assert_eq!(world.service.signalled(author), None);
}

#[test]
fn a_mark_waits_for_the_event_that_it_speaks_of_and_the_newest_wins() {
    let mut world = World::direct();
    let (user_id, now) = (world.users[1], world.now);
    let device_id = DeviceId::random(&world.entropy);
    for _ in 0..3 {
        world.send(0, "hello");
    }
    let read = |world: &mut World, seq| {
        let outbox = &mut world.service.outbox;
        outbox.mark(user_id, device_id, MarkKind::Read, Seq::new(seq));
    };
    for seq in 1..=3 {
        read(&mut world, seq);
    }
    assert_eq!(world.service.next_mark(), None, "not delivered yet");
    let mut round = Round::default();
    let mut next = |world: &mut World| world.service.next_delivery(&mut round, now).unwrap();
    while next(&mut world).is_some() {}
    let reply = Delivered {
        head_seq: Seq::new(3),
        position: position(0, 0),
    };
    let effects = world.service.delivered(user_id, &reply, now).unwrap();
    assert!(effects.marks);
    let due = world.service.next_mark().unwrap();
    assert_eq!(due.read().up_to_seq, Seq::new(3));
    read(&mut world, 3);
    assert_eq!(world.service.next_mark(), None, "one at a time");
    world.service.marked(&due);
    assert!(world.service.next_mark().is_some());
}

#[test]
fn a_mark_for_a_user_object_that_does_not_answer_is_given_out_to_fail() {
    let mut world = World::direct();
    let (user_id, now) = (world.users[1], world.now);
    world.send(0, "hello");
    let device_id = DeviceId::random(&world.entropy);
    world
        .service
        .outbox
        .mark(user_id, device_id, MarkKind::Read, Seq::new(1));
    let mut round = Round::default();
    while let Some(delivery) = world.service.next_delivery(&mut round, now).unwrap() {
        world.service.delivery_failed(delivery.user_id, now);
    }
    assert!(world.service.next_mark().is_some());
}

#[test]
fn what_a_device_has_got_is_told_when_its_inbox_has_it() {
    let mut world = World::direct();
    let (user_id, now) = (world.users[1], world.now);
    world.send(0, "hello");
    let device_id = DeviceId::random(&world.entropy);
    let mark = MarkKind::Delivered;
    let outbox = &mut world.service.outbox;
    outbox.mark(user_id, device_id, mark, Seq::new(1));
    let mut round = Round::default();
    while let Some(delivery) = world.service.next_delivery(&mut round, now).unwrap() {
        world.service.delivery_failed(delivery.user_id, now);
    }
    assert_eq!(
        world.service.next_mark(),
        None,
        "it would know of no such event"
    );
    world.now = now + Duration::from_secs(60);
    let mut round = Round::default();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        let reply = Delivered {
            head_seq: Seq::new(1),
            position: position(0, 0),
        };
        let taken = world.service.delivered(delivery.user_id, &reply, world.now);
        taken.unwrap();
    }
    assert_eq!(world.service.next_mark().unwrap().kind, mark);
}

#[test]
fn a_socket_that_closed_is_told_after_what_it_acknowledged_where_something_may_be_missing() {
    let mut world = World::direct();
    let (user_id, begun) = (world.users[1], world.now);
    let session = SocketSession {
        user_id,
        device_id: DeviceId::random(&world.entropy),
        opened_at: begun,
        expires_at: begun + Duration::from_secs(3600),
        since: Seq::ZERO,
    };
    for _ in 0..3 {
        world.send(0, "hello");
        world.now = world.now + Duration::from_secs(20);
    }
    let closed = |world: &mut World, heard, was_clean| {
        let since = session.certain_until(heard, was_clean, world.now);
        world.service.socket_closed(&session, since).unwrap();
    };
    closed(&mut world, None, true);
    let now = world.now;
    closed(&mut world, Some(now), false);
    assert_eq!(world.service.next_mark(), None, "nothing was under way");
    // It was last heard of before the third message, and then not at all.
    closed(&mut world, Some(begun + Duration::from_secs(30)), false);
    let mark = MarkKind::Delivered;
    let outbox = &mut world.service.outbox;
    outbox.mark(user_id, session.device_id, mark, Seq::new(1));
    assert_eq!(world.service.next_mark(), None, "not delivered yet");
    let mut round = Round::default();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        let reply = Delivered {
            head_seq: Seq::new(3),
            position: position(0, 0),
        };
        world
            .service
            .delivered(delivery.user_id, &reply, world.now)
            .unwrap();
    }
    let first = world.service.next_mark().unwrap();
    assert_eq!(first.kind, MarkKind::Delivered);
    assert_eq!(world.service.next_mark(), None, "one after the other");
    world.service.marked(&first);
    let then = world.service.next_mark().unwrap();
    assert_eq!((then.kind, then.after_seq), (MarkKind::Left, Seq::new(2)));
    world.service.marked(&then);
    assert_eq!(world.service.next_mark(), None);
}

#[test]
fn what_a_socket_was_to_replay_is_not_certain_because_it_is_old() {
    for (heard, was_clean) in [(None, false), (Some(1), false), (None, true)] {
        let mut world = World::direct();
        let user_id = world.users[1];
        for _ in 0..3 {
            world.send(0, "hello");
        }
        let mut round = Round::default();
        while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
            let reply = Delivered {
                head_seq: Seq::new(3),
                position: position(0, 0),
            };
            let taken = world.service.delivered(delivery.user_id, &reply, world.now);
            taken.unwrap();
        }
        world.now = world.now + Duration::from_secs(3600);
        let session = SocketSession {
            user_id,
            device_id: DeviceId::random(&world.entropy),
            opened_at: world.now,
            expires_at: world.now + Duration::from_secs(3600),
            since: Seq::new(1),
        };
        let heard = heard.map(|seconds| world.now + Duration::from_secs(seconds));
        world.now = world.now + Duration::from_secs(if was_clean { 2 } else { 60 });
        let since = session.certain_until(heard, was_clean, world.now);
        world.service.socket_closed(&session, since).unwrap();
        let mark = world.service.next_mark().unwrap();
        assert_eq!((mark.kind, mark.after_seq), (MarkKind::Left, Seq::new(1)));
    }
}
