//! The log: order, duplicates, membership, pages.

use super::{World, told};
use crate::conversation::call::{GetConversation, ListEvents, ListMembers, ListMessages};
use crate::ids::{MessageId, UserId};
use crate::limits;
use crate::protocol::conversation::Role;
use crate::protocol::event::Event;
use crate::protocol::message::ContentType;
use crate::protocol::problem::{Code, Problem};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::sql::migrations::installed;
use proptest::prelude::*;
use std::time::Duration;

fn events(world: &mut World, viewer: usize, after: u64, limit: u32) -> Vec<Event> {
    let actor = world.users[viewer];
    let call = ListEvents {
        actor,
        after_seq: Seq::new(after),
        limit,
    };
    world.service.list_events(call).unwrap().events
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq().get()).collect()
}

#[test]
fn a_direct_conversation_is_made_once_and_a_group_is_a_conflict() {
    let mut world = World::new();
    assert!(world.create_direct().unwrap());
    assert!(!world.create_direct().unwrap());
    world.crash();
    assert!(!world.create_direct().unwrap());
    let mut world = World::group();
    assert_eq!(
        world.create_group(Vec::new()).unwrap_err().code,
        Code::Conflict
    );
}

#[test]
fn what_does_not_exist_is_not_found_and_leaves_no_trace() {
    let mut world = World::new();
    let actor = world.users[0];
    assert_eq!(
        told(world.service.get(GetConversation { actor }).unwrap_err()).code,
        Code::NotFound
    );
    let message = world.text("hello");
    assert_eq!(
        world.send_message(0, message).unwrap_err().code,
        Code::NotFound
    );
    assert_eq!(installed(&world.sql, "conversation").unwrap(), None);
    assert_eq!(world.alarm, None);
}

#[test]
fn to_those_outside_it_does_not_exist() {
    let mut world = World::direct();
    world.send(0, "between us");
    let actor = world.users[2];
    let message = world.text("let me in");
    let refusals: Vec<Problem> = vec![
        told(world.service.get(GetConversation { actor }).unwrap_err()),
        told(
            world
                .service
                .list_members(ListMembers {
                    actor,
                    cursor: None,
                    limit: 5,
                })
                .unwrap_err(),
        ),
        told(
            world
                .service
                .list_messages(&ListMessages {
                    actor,
                    cursor: None,
                    limit: 5,
                })
                .unwrap_err(),
        ),
        told(
            world
                .service
                .list_events(ListEvents {
                    actor,
                    after_seq: Seq::ZERO,
                    limit: 5,
                })
                .unwrap_err(),
        ),
        world.send_message(2, message).unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal, Problem::not_found("conversation"));
    }
    assert_eq!(seqs(&events(&mut world, 0, 0, 10)), [1]);
}

#[test]
fn messages_get_the_next_seq_and_their_ids_lead_back_to_it() {
    let mut world = World::direct();
    for number in 1..=5 {
        let ack = world.send(number % 2, "hello");
        assert_eq!(ack.seq, Seq::new(number as u64));
        assert_eq!(ack.message_id.claimed_seq(), ack.seq);
        assert!(!ack.duplicate);
    }
    world.crash();
    assert_eq!(world.send(0, "after").seq, Seq::new(6));
    assert_eq!(seqs(&events(&mut world, 1, 0, 100)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn times_go_with_the_order_whatever_the_clock_does() {
    let mut world = World::direct();
    let first = world.send(0, "one");
    world.now = world.now - Duration::from_secs(3600);
    let second = world.send(1, "two");
    assert_eq!(second.created_at, first.created_at);
    world.crash();
    assert_eq!(world.send(1, "three").created_at, first.created_at);
}

#[test]
fn the_same_client_msg_id_is_stored_once_for_ever_and_per_sender() {
    let mut world = World::direct();
    let message = world.text("once");
    let first = world.send_message(0, message.clone()).unwrap();
    world.send(1, "between");
    world.crash();
    let mut again = message.clone();
    again.content = "changed".to_owned();
    let second = world.send_message(0, again).unwrap();
    assert!(second.duplicate);
    assert_eq!(
        (second.seq, second.message_id),
        (first.seq, first.message_id)
    );
    assert_eq!(second.created_at, first.created_at);
    let other = world.send_message(1, message).unwrap();
    assert!(!other.duplicate, "the other's names are the other's");
    assert_eq!(seqs(&events(&mut world, 0, 0, 10)), [1, 2, 3]);
}

#[test]
fn a_duplicate_is_told_to_no_one_and_sets_no_alarm() {
    let mut world = World::direct();
    let message = world.text("once");
    world.send_message(0, message.clone()).unwrap();
    let (_, effects) = world
        .service
        .send(world.users[0], message, world.now, &world.entropy)
        .unwrap();
    assert_eq!(effects, crate::conversation::service::Effects::default());
}

#[test]
fn only_the_sender_sees_its_client_msg_id() {
    let mut world = World::direct();
    let ack = world.send(0, "mine");
    let shown = |event: &Event| event.as_message().unwrap().client_msg_id;
    assert_eq!(
        shown(&events(&mut world, 0, 0, 1)[0]),
        Some(ack.client_msg_id)
    );
    assert_eq!(shown(&events(&mut world, 1, 0, 1)[0]), None);
}

#[test]
fn a_reply_needs_a_message_of_this_conversation() {
    let mut world = World::direct();
    let ack = world.send(0, "question");
    let mut reply = world.text("answer");
    reply.reply_to = Some(ack.message_id);
    world.send_message(1, reply).unwrap();
    let made_up = MessageId::new(world.now, ack.seq, &world.entropy);
    for wrong in [
        made_up,
        MessageId::new(world.now, Seq::new(99), &world.entropy),
    ] {
        let mut reply = world.text("answer");
        reply.reply_to = Some(wrong);
        let problem = world.send_message(1, reply).unwrap_err();
        assert_eq!(problem.errors[0].field, "reply_to");
    }
    let Event::NewMessage(stored) = events(&mut world, 0, 1, 1).remove(0) else {
        panic!("a message");
    };
    assert_eq!(stored.reply_to, Some(ack.message_id));
    assert_eq!(seqs(&events(&mut world, 0, 0, 10)), [1, 2]);
}

#[test]
fn a_message_that_does_not_fit_the_conversation_changes_nothing() {
    let mut world = World::direct();
    let stranger = world.users[3];
    let mut mention = world.text("@stranger");
    mention.mentions = vec![stranger];
    assert_eq!(
        world.send_message(0, mention).unwrap_err().errors[0].field,
        "mentions"
    );
    let mut long = world.text("");
    long.content = "x".repeat(limits::TEXT_CHARS + 1);
    assert_eq!(
        world.send_message(0, long).unwrap_err().code,
        Code::InvalidRequest
    );
    assert_eq!(seqs(&events(&mut world, 0, 0, 10)), [] as [u64; 0]);
    assert_eq!(world.send(0, "first").seq, Seq::new(1));
}

#[test]
fn a_group_begins_with_its_members_and_its_owner() {
    let mut world = World::group();
    let actor = world.users[2];
    let view = world.service.get(GetConversation { actor }).unwrap();
    assert_eq!(
        (view.member_count, view.role, view.peer_id),
        (3, Role::Member, None)
    );
    assert_eq!(view.name.as_deref(), Some("Walkers"));
    let Event::MemberAdded(first) = events(&mut world, 0, 0, 1).remove(0) else {
        panic!("a group's first event names its members");
    };
    let mut expected = world.users[..3].to_vec();
    expected.sort();
    assert_eq!(first.user_ids, expected);
    let mut cursor = None;
    let mut found: Vec<(UserId, Role)> = Vec::new();
    loop {
        let page = world
            .service
            .list_members(ListMembers {
                actor,
                cursor,
                limit: 2,
            })
            .unwrap();
        assert!(page.members.len() <= 2);
        found.extend(
            page.members
                .iter()
                .map(|member| (member.user_id, member.role)),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            assert!(!page.has_more);
            break;
        }
    }
    assert_eq!(
        found.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        expected
    );
    assert!(found.contains(&(world.users[0], Role::Owner)));
}

#[test]
fn a_group_has_at_most_1024_members() {
    let mut world = World::new();
    let crowd: Vec<_> = (0..1024).map(|_| UserId::random(&world.entropy)).collect();
    let problem = world.create_group(crowd.clone()).unwrap_err();
    assert_eq!(problem.errors[0].field, "member_ids");
    assert_eq!(installed(&world.sql, "conversation").unwrap(), None);
    assert!(world.create_group(crowd[1..].to_vec()).unwrap());
}

#[test]
fn pages_of_messages_hold_each_once_newest_first() {
    let mut world = World::group();
    for number in 0..7 {
        world.send(0, &number.to_string());
    }
    let actor = world.users[1];
    let mut cursor = None;
    let mut pages = Vec::new();
    loop {
        let page = world
            .service
            .list_messages(&ListMessages {
                actor,
                cursor,
                limit: 3,
            })
            .unwrap();
        assert_eq!(page.has_more, page.next_cursor.is_some());
        pages.push(
            page.messages
                .iter()
                .map(|message| message.seq.get())
                .collect::<Vec<_>>(),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![8, 7, 6], vec![5, 4, 3], vec![2]]);
    let page = ListMessages {
        actor,
        cursor: Some("x".to_owned()),
        limit: 3,
    };
    assert_eq!(
        told(world.service.list_messages(&page).unwrap_err()).errors[0].field,
        "cursor"
    );
}

#[test]
fn a_page_that_would_be_too_large_ends_early_and_says_so() {
    let mut world = World::direct();
    let large = "x".repeat(limits::CONTENT_BYTES);
    let count = limits::PAGE_BYTES / limits::CONTENT_BYTES + 20;
    for _ in 0..count {
        let mut message = world.text(&large);
        message.content_type = ContentType::Encrypted;
        world.send_message(0, message).unwrap();
    }
    let actor = world.users[1];
    let mut after_seq = Seq::ZERO;
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = world
            .service
            .list_events(ListEvents {
                actor,
                after_seq,
                limit: 1000,
            })
            .unwrap();
        found.extend(seqs(&page.events));
        after_seq = page.events.last().unwrap().seq();
        pages += 1;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(pages, 2);
    assert_eq!(found, (1..=count as u64).collect::<Vec<_>>());
    let first = world
        .service
        .list_messages(&ListMessages {
            actor,
            cursor: None,
            limit: 200,
        })
        .unwrap();
    assert!(first.has_more && first.messages.len() < count);
    let rest = world
        .service
        .list_messages(&ListMessages {
            actor,
            cursor: first.next_cursor,
            limit: 200,
        })
        .unwrap();
    assert!(!rest.has_more);
    assert_eq!(first.messages.len() + rest.messages.len(), count);
}

#[test]
fn the_stored_form_of_a_message_is_pinned() {
    let mut world = World::direct();
    world.send(0, "hello");
    let rows = world.sql.exec("SELECT kind, body FROM event", &[]).unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.get::<i64>(0).unwrap(), 0);
    assert_eq!(
        row.get::<String>(1).unwrap(),
        r#"{"content":"hello","content_type":"text"}"#
    );
}

#[test]
fn a_message_costs_one_row_and_its_index_entry() {
    let mut world = World::direct();
    world.send(0, "warm");
    let indexes = world
        .sql
        .exec("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'event' AND sql IS NOT NULL", &[])
        .unwrap();
    assert_eq!(indexes.scalar::<i64>().unwrap(), Some(1));
    let changes = |world: &World| {
        world
            .sql
            .exec("SELECT total_changes()", &[])
            .unwrap()
            .scalar::<i64>()
            .unwrap()
            .unwrap()
    };
    let before = changes(&world);
    world.send(0, "hello");
    assert_eq!(changes(&world) - before, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_mixture_of_sends_repeats_and_crashes_gives_one_gap_free_log(
        steps in prop::collection::vec((0_usize..2, 0_usize..12, prop::bool::weighted(0.1)), 1..60)
    ) {
        let mut world = World::direct();
        let names: Vec<_> = (0..12).map(|_| world.text("named")).collect();
        let mut acked = std::collections::BTreeMap::new();
        for (sender, name, crash) in steps {
            if crash {
                world.crash();
            }
            let ack = world.send_message(sender, names[name].clone()).unwrap();
            let known = acked.insert((sender, name), (ack.seq, ack.message_id));
            prop_assert_eq!(ack.duplicate, known.is_some());
            if let Some(known) = known {
                prop_assert_eq!(known, (ack.seq, ack.message_id));
            }
        }
        let stored = events(&mut world, 0, 0, 1000);
        prop_assert_eq!(seqs(&stored), (1..=acked.len() as u64).collect::<Vec<_>>());
        for event in stored {
            let message = event.as_message().unwrap();
            prop_assert!(acked.values().any(|known| *known == (message.seq, message.message_id)));
        }
    }
}
