//! Receipts: positions never go back, and the right ones hear of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{World, told};
use crate::conversation::call::{CountUnread, GetMessageInfo, MarkPosition, MemberPosition};
use crate::conversation::deliver::Round;
use crate::conversation::schema::{COMPONENT, MIGRATIONS};
use crate::conversation::service::{Effects, MemberSignal};
use crate::entropy::SeededEntropy;
use crate::ids::{MessageId, UserId};
use crate::limits;
use crate::params;
use crate::protocol::frame::{Receipt, ServerFrame};
use crate::protocol::message::MessageInfo;
use crate::protocol::problem::Code;
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::sql::migrations::{installed, migrate};
use crate::sql::native::NativeSql;
use crate::user::call::Delivered;
use proptest::prelude::*;

pub(super) fn position(delivered: u64, read: u64) -> MemberPosition {
    MemberPosition {
        delivered_seq: Seq::new(delivered),
        read_seq: Seq::new(read),
        read_receipts: true,
    }
}

fn mark_as(world: &mut World, user: usize, position: MemberPosition) -> Effects {
    let call = MarkPosition {
        user_id: world.users[user],
        position,
    };
    let effects = world.service.mark_position(call, world.now).unwrap();
    world.carry_out(&effects);
    effects
}

pub(super) fn mark(world: &mut World, user: usize, delivered: u64, read: u64) -> Effects {
    mark_as(world, user, position(delivered, read))
}

/// Who is told what: the user's number, `d` or `r`, up to where, for which message.
fn receipts(world: &World, effects: &Effects) -> Vec<(usize, char, u64, MessageId)> {
    let number = |id: UserId| world.users.iter().position(|user| *user == id).unwrap();
    effects
        .signals
        .iter()
        .map(|signal| {
            let (kind, receipt) = receipt(&signal.frame);
            (
                number(signal.to),
                kind,
                receipt.up_to_seq.get(),
                receipt.message_id,
            )
        })
        .collect()
}

pub(super) fn receipt(frame: &ServerFrame) -> (char, Receipt) {
    match frame {
        ServerFrame::DeliveryReceipt(receipt) => ('d', *receipt),
        ServerFrame::ReadReceipt(receipt) => ('r', *receipt),
        other => panic!("a receipt, not {other:?}"),
    }
}

fn info(world: &mut World, user: usize, message_id: MessageId) -> MessageInfo {
    let actor = world.users[user];
    let call = GetMessageInfo { actor, message_id };
    world.service.message_info(call).unwrap()
}

fn large_group() -> World {
    let mut world = World::new();
    let entropy = SeededEntropy::new(3);
    let mut members: Vec<_> = (2..limits::SMALL_GROUP)
        .map(|_| UserId::random(&entropy))
        .collect();
    members.extend(&world.users[1..3]);
    world.create_group(members).unwrap();
    world
}

#[test]
fn the_other_side_of_a_direct_chat_is_told_of_delivery_and_then_of_reading() {
    let mut world = World::direct();
    let first = world.send(0, "one").message_id;
    let second = world.send(0, "two").message_id;
    world.send(1, "mine");
    let effects = mark(&mut world, 1, 1, 0);
    assert_eq!(receipts(&world, &effects), [(0, 'd', 1, first)]);
    let effects = mark(&mut world, 1, 1, 3);
    assert_eq!(
        receipts(&world, &effects),
        [(0, 'd', 3, second), (0, 'r', 3, second)],
        "what is read was delivered"
    );
    for (delivered, read) in [(3, 3), (2, 1), (0, 0), (99, 99)] {
        assert_eq!(
            mark(&mut world, 1, delivered, read).signals,
            [],
            "nothing new"
        );
    }
    assert_eq!(
        mark(&mut world, 0, 2, 2).signals,
        [],
        "nothing of the other's yet"
    );
    let effects = mark(&mut world, 0, 3, 0);
    assert_eq!(receipts(&world, &effects).len(), 1);
}

#[test]
fn in_a_small_group_each_author_hears_of_its_newest_message_within() {
    let mut world = World::group();
    let older = world.send(0, "older").message_id;
    let newest = world.send(0, "newest").message_id;
    let others = world.send(1, "by another").message_id;
    let effects = mark(&mut world, 2, 2, 0);
    assert_eq!(receipts(&world, &effects), [(0, 'd', 2, older)]);
    let effects = mark(&mut world, 2, 3, 0);
    assert_eq!(receipts(&world, &effects), [(0, 'd', 3, newest)]);
    world.crash();
    let effects = mark(&mut world, 2, 4, 0);
    let mut told = receipts(&world, &effects);
    told.sort();
    assert_eq!(
        told,
        [(0, 'd', 4, newest), (1, 'd', 4, others)],
        "again for what a crash forgot"
    );
}

#[test]
fn in_a_large_group_no_one_is_told_and_info_knows() {
    let mut world = large_group();
    let sent = world.send(0, "hello");
    let effects = mark(&mut world, 1, 2, 2);
    assert_eq!(effects.signals, []);
    let info = info(&mut world, 0, sent.message_id);
    assert_eq!(info.read_by.len(), 1);
    assert_eq!(info.pending.len(), limits::SMALL_GROUP - 1);
}

#[test]
fn who_hides_reading_neither_sends_nor_gets_read_receipts() {
    let mut world = World::direct();
    let sent = world.send(0, "hello").message_id;
    let hidden = MemberPosition {
        read_receipts: false,
        ..position(1, 1)
    };
    let effects = mark_as(&mut world, 1, hidden);
    assert_eq!(receipts(&world, &effects), [(0, 'd', 1, sent)]);
    let seen = info(&mut world, 0, sent);
    assert_eq!((seen.read_by.len(), seen.delivered_to.len()), (0, 1));
    let answer = world.send(1, "answer").message_id;
    let effects = mark(&mut world, 0, 2, 2);
    assert_eq!(receipts(&world, &effects), [(1, 'd', 2, answer)]);
    assert_eq!(info(&mut world, 1, answer).read_by, []);
}

#[test]
fn info_tells_members_how_far_each_has_come_and_when() {
    let mut world = World::group();
    let first = world.send(0, "hello").message_id;
    let second = world.send(0, "again").message_id;
    let at = world.now;
    mark(&mut world, 1, 3, 2);
    world.now = world.now + Duration::from_secs(9);
    world.ring();
    mark(&mut world, 2, 2, 0);
    world.now = world.now + Duration::from_secs(9);
    world.ring();
    world.crash();
    let seen = info(&mut world, 2, first);
    assert_eq!(seen.seq, Seq::new(2));
    let times: BTreeMap<_, _> = seen
        .delivered_to
        .iter()
        .map(|one| (one.user_id, one.at))
        .collect();
    assert_eq!(times[&world.users[1]], at);
    assert_eq!(times[&world.users[2]], at + Duration::from_secs(9));
    assert_eq!(
        (seen.read_by.len(), seen.read_by[0].user_id),
        (1, world.users[1])
    );
    assert_eq!(seen.pending, []);
    let seen = info(&mut world, 0, second);
    assert_eq!((seen.delivered_to.len(), seen.read_by.len()), (1, 0));
    assert_eq!(seen.pending, [world.users[2]]);
    for (user, message_id) in [
        (3, first),
        (0, MessageId::new(world.now, Seq::new(2), &world.entropy)),
    ] {
        let actor = world.users[user];
        let call = GetMessageInfo { actor, message_id };
        let refusal = told(world.service.message_info(call).unwrap_err());
        assert_eq!(refusal.code, Code::NotFound);
    }
}

#[test]
fn unread_are_the_messages_of_others_in_between() {
    let mut world = World::group();
    for user in [0, 1, 0, 2, 0] {
        world.send(user, "hello");
    }
    let mut count = |user: usize, after: u64, up_to: u64| {
        let call = CountUnread {
            actor: world.users[user],
            after_seq: Seq::new(after),
            up_to_seq: Seq::new(up_to),
        };
        world.service.count_unread(call).map_err(told)
    };
    assert_eq!(
        count(1, 0, 6),
        Ok(4),
        "neither one's own nor the group's first event"
    );
    assert_eq!(count(1, 2, 5), Ok(2));
    assert_eq!(count(1, 6, 6), Ok(0));
    assert_eq!(count(3, 0, 6).unwrap_err().code, Code::NotFound);
}

#[test]
fn positions_are_written_behind_and_survive_a_sleep() {
    let mut world = World::direct();
    let sent = world.send(0, "hello").message_id;
    world.now = world.now + Duration::from_secs(6);
    world.ring();
    let mut round = Round::default();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        let reply = Delivered {
            head_seq: Seq::new(1),
            position: position(0, 0),
        };
        world
            .service
            .delivered(delivery.user_id, &reply, world.now)
            .unwrap();
    }
    world.now = world.alarm.unwrap();
    world.ring();
    assert_eq!(world.alarm, None, "idle");
    let rows = |world: &World| {
        let rows = world.sql.exec("SELECT total_changes()", &[]).unwrap();
        rows.scalar::<i64>().unwrap().unwrap()
    };
    let before = rows(&world);
    assert!(mark(&mut world, 1, 1, 0).alarm.is_some());
    assert_eq!(mark(&mut world, 1, 1, 1).alarm, None, "one alarm for all");
    assert_eq!(rows(&world), before);
    world.now = world.alarm.unwrap();
    world.ring();
    assert_eq!((world.alarm, rows(&world)), (None, before + 1));
    world.crash();
    assert_eq!(mark(&mut world, 1, 1, 1).signals, []);
    assert_eq!(info(&mut world, 0, sent).read_by.len(), 1);
}

#[test]
fn a_position_does_not_wait_for_the_alarm_of_a_lane_that_fails() {
    let mut world = World::direct();
    world.send(0, "hello");
    for _ in 0..12 {
        let mut round = Round::default();
        while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
            world.service.delivery_failed(delivery.user_id, world.now);
        }
        world.now = world.alarm.unwrap();
        world.ring();
    }
    assert!(world.alarm.unwrap().since(world.now) > Duration::from_secs(60));
    mark(&mut world, 1, 1, 1);
    assert_eq!(
        world.alarm.unwrap().since(world.now),
        Duration::from_secs(5)
    );
}

#[test]
fn a_crash_forgets_positions_and_the_next_delivery_teaches_them_again() {
    let mut world = World::direct();
    let sent = world.send(0, "hello").message_id;
    mark(&mut world, 1, 1, 1);
    world.crash();
    assert_eq!(info(&mut world, 0, sent).pending, [world.users[1]]);
    let reply = Delivered {
        head_seq: Seq::new(1),
        position: position(1, 1),
    };
    world
        .service
        .delivered(world.users[1], &reply, world.now)
        .unwrap();
    assert_eq!(info(&mut world, 0, sent).read_by.len(), 1);
}

/// Everything that is due is delivered; user 1 has come to `position`.
fn deliver_all(world: &mut World, head: u64, position: MemberPosition) -> Vec<(UserId, usize)> {
    let mut round = Round::default();
    let mut told = Vec::new();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        told.push((delivery.user_id, delivery.news.events.len()));
        let reply = Delivered {
            head_seq: Seq::new(head),
            position: if delivery.user_id == world.users[1] {
                position
            } else {
                self::position(0, 0)
            },
        };
        world
            .service
            .delivered(delivery.user_id, &reply, world.now)
            .unwrap();
    }
    told
}

#[test]
fn a_crash_forgets_positions_and_the_alarm_asks_for_them_where_all_is_delivered() {
    let mut world = World::direct();
    for at in 0..80 {
        world.send(0, &format!("message {at}"));
        world.now = world.now + Duration::from_secs(1);
    }
    let last = world.send(0, "the last").message_id;
    while world.alarm.is_some() {
        deliver_all(&mut world, 81, position(0, 0));
        world.now = world.alarm.unwrap();
        world.ring();
    }
    assert!(world.service.next_delivery_at().is_none());
    mark(&mut world, 1, 81, 81);
    world.crash();
    assert_eq!(info(&mut world, 0, last).pending, [world.users[1]]);
    let asked = deliver_all(&mut world, 81, position(81, 81));
    let again: Vec<_> = world.users[..2].iter().map(|id| (*id, 1)).collect();
    assert_eq!(asked, again, "the last event, once each");
    assert_eq!(info(&mut world, 0, last).read_by.len(), 1);
    // What has been written is not asked for again.
    world.now = world.alarm.unwrap();
    world.ring();
    assert_eq!(world.alarm, None);
    world.crash();
    assert_eq!(deliver_all(&mut world, 81, position(0, 0)), []);
    assert_eq!(info(&mut world, 0, last).read_by.len(), 1);
}

#[test]
fn a_database_of_version_1_opens_and_keeps_what_it_holds() {
    let sql = NativeSql::in_memory().unwrap();
    migrate(&sql, COMPONENT, &MIGRATIONS[..1]).unwrap();
    assert_eq!(installed(&sql, COMPONENT).unwrap(), Some(1));
    let mut world = World::new();
    let (id, one, other) = (world.id(), world.users[0], world.users[1]);
    sql.exec(
        "INSERT INTO conversation VALUES (1, ?, 0, NULL, NULL, NULL, 0, ?, 5, NULL)",
        params![&id, &one],
    )
    .unwrap();
    for user_id in [one, other] {
        sql.exec(
            "INSERT INTO member VALUES (1, ?, 0, 5, 1)",
            params![&user_id],
        )
        .unwrap();
    }
    world.sql = std::rc::Rc::new(sql);
    world.crash();
    let sent = world.send(0, "hello");
    assert_eq!(sent.seq, Seq::new(1));
    let newest = MIGRATIONS.last().map(|step| step.version);
    assert_eq!(installed(&world.sql, COMPONENT).unwrap(), newest);
    let effects = mark(&mut world, 1, 1, 1);
    assert_eq!(effects.signals.len(), 2);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Send(usize),
    /// The user comes further.
    Come(usize, u64),
    Read(usize, u64),
    /// Its object tells the conversation.
    Mark(usize),
    /// A delivery is answered, with the position of now, and the answer takes its time.
    Answer(usize),
    Arrive,
    Pass(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Step::Send),
        4 => (0_usize..3, 0_u64..9).prop_map(|(user, by)| Step::Come(user, by)),
        2 => (0_usize..3, 0_u64..9).prop_map(|(user, by)| Step::Read(user, by)),
        4 => (0_usize..3).prop_map(Step::Mark),
        2 => (0_usize..3).prop_map(Step::Answer),
        2 => Just(Step::Arrive),
        2 => (0_u64..8000).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn receipts_never_go_backwards_whatever_comes_when_and_what_dies(
        steps in prop::collection::vec(step(), 1..100), is_group: bool
    ) {
        let mut world = if is_group { World::group() } else { World::direct() };
        let count = if is_group { 3 } else { 2 };
        let mut head = u64::from(is_group);
        let mut truth = [(0_u64, 0_u64); 3];
        let mut answers: Vec<(usize, MemberPosition)> = Vec::new();
        let mut told: BTreeMap<(UserId, char, UserId), (u64, u64)> = BTreeMap::new();
        for step in steps {
            let effects = match step {
                Step::Send(user) => {
                    world.send(user % count, "hello");
                    head += 1;
                    Effects::default()
                }
                Step::Come(user, by) => {
                    truth[user].0 = (truth[user].0 + by).min(head);
                    Effects::default()
                }
                Step::Read(user, by) => {
                    truth[user].1 = (truth[user].1 + by).min(head);
                    truth[user].0 = truth[user].0.max(truth[user].1);
                    Effects::default()
                }
                Step::Mark(user) => {
                    let user = user % count;
                    mark(&mut world, user, truth[user].0, truth[user].1)
                }
                Step::Answer(user) => {
                    let user = user % count;
                    answers.push((user, position(truth[user].0, truth[user].1)));
                    Effects::default()
                }
                Step::Arrive => match answers.pop() {
                    Some((user, position)) => {
                        let reply = Delivered { head_seq: Seq::new(head), position };
                        let effects = world.service.delivered(world.users[user], &reply, world.now).unwrap();
                        world.carry_out(&effects);
                        effects
                    }
                    None => Effects::default(),
                },
                Step::Pass(millis) => {
                    world.now = world.now + Duration::from_millis(millis);
                    Effects::default()
                }
                Step::Crash => {
                    // Whoever waited for an answer waits no more.
                    answers.clear();
                    world.crash();
                    Effects::default()
                }
            };
            for MemberSignal { to, frame } in effects.signals {
                let (kind, receipt) = receipt(&frame);
                prop_assert_ne!(to, receipt.user_id);
                let (up_to, message) = (receipt.up_to_seq.get(), receipt.message_id.claimed_seq().get());
                prop_assert!(message <= up_to && up_to <= head);
                let last = told.entry((to, kind, receipt.user_id)).or_default();
                prop_assert!(last.0 <= up_to && last.1 <= message, "{:?} then {up_to}, {message}", last);
                *last = (up_to, message);
                if kind == 'r' {
                    let delivered = told.get(&(to, 'd', receipt.user_id)).map(|last| last.1);
                    prop_assert!(delivered >= Some(message), "read before it was delivered");
                }
            }
            world.ring();
        }
        for (user, (delivered, read)) in truth.iter().copied().enumerate().take(count) {
            mark(&mut world, user, delivered, read);
            let place = world.service.load().unwrap().unwrap().positions.of(world.users[user]);
            prop_assert_eq!((place.delivered.seq.get(), place.read.seq.get()), (delivered, read));
        }
    }
}
