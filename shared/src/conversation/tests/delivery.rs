//! Deliveries to the members' user objects: nothing is lost, whatever fails or dies.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::World;
use crate::conversation::call::{DeliverNow, MemberPosition};
use crate::conversation::deliver::Round;
use crate::ids::UserId;
use crate::protocol::event::Event;
use crate::protocol::problem::Code;
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::user::call::Delivered;
use proptest::prelude::*;

/// The members' user objects, as far as deliveries go.
#[derive(Default)]
struct Inboxes {
    heads: BTreeMap<UserId, u64>,
    down: Vec<UserId>,
    calls: BTreeMap<UserId, usize>,
}

impl Inboxes {
    /// Serves deliveries until none is due now.
    fn serve(&mut self, world: &mut World) {
        let mut round = Round::default();
        while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
            let user_id = delivery.user_id;
            *self.calls.entry(user_id).or_default() += 1;
            if self.down.contains(&user_id) {
                world.service.delivery_failed(user_id, world.now);
                continue;
            }
            let head = self.heads.entry(user_id).or_insert(0);
            for event in &delivery.news.events {
                let seq = event.seq().get();
                assert!(seq <= *head + 1, "a gap: {seq} after {head}");
                *head = (*head).max(seq);
            }
            let reply = Delivered {
                head_seq: Seq::new(*head),
                position: MemberPosition {
                    read_receipts: true,
                    ..MemberPosition::default()
                },
            };
            let effects = world.service.delivered(user_id, &reply, world.now).unwrap();
            world.carry_out(&effects);
        }
    }

    /// Lets time pass, with the alarm going off when it is due, until no alarm is set.
    fn settle(&mut self, world: &mut World) {
        for _ in 0..2000 {
            self.serve(world);
            world.now = world.now + Duration::from_millis(500);
            world.ring();
            if world.alarm.is_none() {
                return;
            }
        }
        panic!("deliveries do not end");
    }

    fn head(&self, world: &World, user: usize) -> u64 {
        self.heads.get(&world.users[user]).copied().unwrap_or(0)
    }
}

#[test]
fn everyone_hears_of_a_new_conversation_and_of_each_message() {
    let mut world = World::direct();
    let mut inboxes = Inboxes::default();
    inboxes.serve(&mut world);
    assert_eq!(
        inboxes.heads.len(),
        2,
        "both know of it before the first message"
    );
    world.now = world.now + Duration::from_secs(1);
    world.send(0, "hello");
    inboxes.serve(&mut world);
    assert_eq!((inboxes.head(&world, 0), inboxes.head(&world, 1)), (1, 1));
}

#[test]
fn a_user_object_that_asks_is_served_without_a_rest() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    world.now = world.now + Duration::from_secs(60);
    for _ in 0..3 {
        world.send(0, "hello");
        inboxes.serve(&mut world);
    }
    assert!(inboxes.head(&world, 1) < 4, "it rests");
    let call = |user: usize, up_to_seq: u64| DeliverNow {
        user_id: world.users[user],
        has: Some(Seq::new(2)),
        up_to_seq: Seq::new(up_to_seq),
    };
    let (now, later, never) = (call(1, 4), call(1, 5), call(3, 4));
    let effects = world.service.deliver_now(now, world.now).unwrap();
    assert!(effects.deliver);
    inboxes.serve(&mut world);
    assert_eq!(inboxes.head(&world, 1), 4);
    let refused = world.service.deliver_now(later, world.now).unwrap_err();
    assert_eq!(refused.into_problem().code, Code::InvalidRequest);
    let refused = world.service.deliver_now(never, world.now).unwrap_err();
    assert_eq!(refused.into_problem().code, Code::NotFound);
}

#[test]
fn a_burst_costs_a_member_few_deliveries() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    inboxes.calls.clear();
    for _ in 0..100 {
        world.send(0, "burst");
        inboxes.serve(&mut world);
        world.now = world.now + Duration::from_millis(2);
    }
    inboxes.settle(&mut world);
    assert_eq!(inboxes.head(&world, 1), 101);
    assert!(inboxes.calls[&world.users[1]] < 10, "{:?}", inboxes.calls);
}

#[test]
fn a_user_object_that_is_down_for_long_loses_nothing_and_holds_no_one_up() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    inboxes.down.push(world.users[2]);
    for _ in 0..500 {
        world.send(0, "while one is down");
    }
    for _ in 0..100 {
        inboxes.serve(&mut world);
        world.now = world.now + Duration::from_secs(3);
        world.ring();
        assert!(
            world.alarm.is_some(),
            "as long as one lags, an alarm is set"
        );
    }
    assert_eq!(inboxes.head(&world, 1), 501);
    assert_eq!(inboxes.head(&world, 2), 1);
    let rows = world.sql.exec("SELECT count(*) FROM lane", &[]).unwrap();
    assert_eq!(
        rows.scalar::<i64>().unwrap(),
        Some(1),
        "a row only for the one that lags"
    );
    world.crash();
    inboxes.down.clear();
    inboxes.calls.clear();
    inboxes.settle(&mut world);
    assert_eq!(inboxes.head(&world, 2), 501);
    assert_eq!(
        inboxes.calls.get(&world.users[1]),
        None,
        "those who had everything are left alone"
    );
    let rows = world.sql.exec("SELECT count(*) FROM lane", &[]).unwrap();
    assert_eq!(rows.scalar::<i64>().unwrap(), Some(0));
}

#[test]
fn the_position_is_not_written_with_each_message() {
    let mut world = World::direct();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    let changes = |world: &World| {
        let rows = world.sql.exec("SELECT total_changes()", &[]).unwrap();
        rows.scalar::<i64>().unwrap().unwrap()
    };
    let before = changes(&world);
    for _ in 0..60 {
        world.send(0, "now and then");
        inboxes.settle(&mut world);
    }
    assert!(
        changes(&world) - before <= 61,
        "one row a message, and the position at most once"
    );
}

#[test]
fn an_object_that_dies_between_commit_and_delivery_goes_on_from_there() {
    let mut world = World::direct();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    world.send(0, "acknowledged");
    world.crash();
    inboxes.settle(&mut world);
    assert_eq!(inboxes.head(&world, 1), 1);
}

#[test]
fn an_alarm_that_wakes_a_forgetful_object_still_finds_what_is_left() {
    let mut world = World::direct();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    world.send(0, "acknowledged");
    // The runtime clears the alarm before it calls the handler.
    world.alarm = None;
    world.crash();
    let effects = world.service.on_alarm(world.now).unwrap();
    world.carry_out(&effects);
    inboxes.settle(&mut world);
    assert_eq!(inboxes.head(&world, 1), 1);
}

#[test]
fn an_alarm_that_rings_after_a_request_woke_the_object_still_finds_what_is_left() {
    let mut world = World::direct();
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    world.send(0, "acknowledged");
    // The alarm is about to ring and no longer shows when a request wakes the object first.
    world.alarm = None;
    world.crash();
    let actor = world.users[0];
    let call = crate::conversation::call::GetConversation { actor };
    world.service.get(call).unwrap();
    let effects = world.service.on_alarm(world.now).unwrap();
    world.carry_out(&effects);
    inboxes.settle(&mut world);
    assert_eq!(inboxes.head(&world, 1), 1);
}

#[test]
fn a_woken_object_without_an_alarm_bothers_no_one() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    world.send(0, "hello");
    inboxes.settle(&mut world);
    inboxes.calls.clear();
    world.crash();
    world
        .service
        .get(crate::conversation::call::GetConversation {
            actor: world.users[0],
        })
        .unwrap();
    inboxes.serve(&mut world);
    assert_eq!(inboxes.calls, BTreeMap::new());
}

#[test]
fn a_long_absence_is_caught_up_in_bounded_steps() {
    let mut world = World::direct();
    for _ in 0..450 {
        world.send(0, "hello");
    }
    let mut round = Round::default();
    let first = world.service.next_delivery(&mut round, world.now);
    let first = first.unwrap().unwrap();
    assert_eq!(first.news.events.len(), 200);
    let shown = |event: &Event| event.as_message().unwrap().client_msg_id.is_some();
    let is_sender = first.user_id == world.users[0];
    assert!(
        first
            .news
            .events
            .iter()
            .all(|event| shown(event) == is_sender)
    );
    world.service.delivery_failed(first.user_id, world.now);
    let mut inboxes = Inboxes::default();
    inboxes.settle(&mut world);
    assert_eq!(
        (inboxes.head(&world, 0), inboxes.head(&world, 1)),
        (450, 450)
    );
}

#[test]
fn members_who_lack_the_same_are_given_the_same_and_a_sender_its_own() {
    let mut world = World::group();
    Inboxes::default().settle(&mut world);
    world.send(0, "hello");
    let mut round = Round::default();
    let mut news = BTreeMap::new();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        news.insert(delivery.user_id, delivery.news);
    }
    let of = |user: usize| &news[&world.users[user]];
    assert!(Rc::ptr_eq(of(1), of(2)));
    let named = |user: usize| of(user).events[0].as_message().unwrap().client_msg_id;
    assert!(named(0).is_some() && named(1).is_none());
    world.send(1, "while these are under way");
    for user in 0..3 {
        world.service.delivery_failed(world.users[user], world.now);
    }
    world.now = world.now + Duration::from_secs(1);
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        assert_eq!(
            delivery.news.events.len(),
            2,
            "what was read does not outlive the head"
        );
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send(usize),
    Serve,
    Pass(u64),
    Crash,
    Down(usize),
    Up,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Step::Send),
        3 => Just(Step::Serve),
        3 => (0_u64..8000).prop_map(Step::Pass),
        1 => Just(Step::Crash),
        1 => (0_usize..3).prop_map(Step::Down),
        1 => Just(Step::Up),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_fails_or_dies_everyone_has_everything_in_the_end(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World::group();
        let mut inboxes = Inboxes::default();
        let mut sent = 1;
        for step in steps {
            match step {
                Step::Send(user) => {
                    world.send(user, "hello");
                    sent += 1;
                }
                Step::Serve => inboxes.serve(&mut world),
                Step::Pass(millis) => world.now = world.now + Duration::from_millis(millis),
                Step::Crash => world.crash(),
                Step::Down(user) => inboxes.down.push(world.users[user]),
                Step::Up => inboxes.down.clear(),
            }
            world.ring();
        }
        inboxes.down.clear();
        inboxes.settle(&mut world);
        for user in 0..3 {
            prop_assert_eq!(inboxes.head(&world, user), sent);
        }
    }
}
