//! Editing, deleting, reacting, pinning and voting: who may, until when, and what is left to see.

use std::time::Duration;

use super::polls::{TEA, poll};
use super::*;
use crate::conversation::call::{CountUnread, GetMessage, ListPins};
use crate::limits;
use crate::protocol::change::MessageChange;
use crate::protocol::problem::Code;
use crate::sql::Sql;

const SECOND: Duration = Duration::from_secs(1);

fn refused(result: Result<Acted, Problem>) -> (Code, String) {
    let problem = result.unwrap_err();
    (problem.code, problem.detail)
}

pub(super) fn code(result: Result<Acted, Problem>) -> Code {
    refused(result).0
}

/// The text of everything that a member can read.
fn all_text(world: &mut World, viewer: usize) -> String {
    let actor = world.users[viewer];
    let pins = world.service.pins(ListPins { actor }).unwrap();
    format!(
        "{}{}{}",
        serde_json::to_string(&world.log(viewer)).unwrap(),
        serde_json::to_string(&world.messages(viewer)).unwrap(),
        serde_json::to_string(&pins).unwrap()
    )
}

/// The text of everything that is stored.
fn stored_text(world: &World) -> String {
    let rows = world.sql.exec("SELECT body FROM event", &[]).unwrap();
    let bodies = rows.rows.iter().map(|row| row.get::<String>(0).unwrap());
    bodies.collect()
}

#[test]
fn an_edit_is_an_event_and_messages_show_what_it_says_now() {
    let mut world = World::group();
    let ack = world.send(0, "first");
    world.now = world.now + SECOND;
    let acted = world.act(0, ack.message_id, edit("second")).unwrap();
    assert!(!acted.duplicate);
    let Event::Changed(MessageChange::MessageEdited(edited)) = &acted.event else {
        panic!("{acted:?}");
    };
    assert_eq!(
        (edited.content.as_str(), edited.edited_at),
        ("second", world.now)
    );
    world.crash();
    for viewer in 0..3 {
        let message = world.messages(viewer).remove(0);
        assert_eq!(message.content, "second");
        assert_eq!(message.edited_at, Some(world.now));
        assert_eq!(message.seq, ack.seq);
        let log = world.log(viewer);
        assert_eq!(log[1].as_message().unwrap().content, "first", "as it was");
        assert_eq!(log[2], acted.event);
    }
}

#[test]
fn the_same_edit_again_is_answered_as_the_first() {
    let mut world = World::direct();
    let ack = world.send(0, "first");
    let first = world.act(0, ack.message_id, edit("second")).unwrap();
    world.act(1, ack.message_id, react("👍")).unwrap();
    world.now = world.now + limits::EDIT_WINDOW + SECOND;
    world.crash();
    let again = world.act(0, ack.message_id, edit("second")).unwrap();
    assert_eq!((again.event, again.duplicate), (first.event, true));
    assert_eq!(world.head(), 3);
}

#[test]
fn only_its_author_edits_and_only_for_a_day() {
    let mut world = World::group();
    let ack = world.send(1, "mine");
    assert_eq!(
        code(world.act(0, ack.message_id, edit("owned"))),
        Code::Forbidden
    );
    world.now = world.now + limits::EDIT_WINDOW;
    world.act(1, ack.message_id, edit("in time")).unwrap();
    world.now = world.now + SECOND;
    let (code, detail) = refused(world.act(1, ack.message_id, edit("too late")));
    assert_eq!(code, Code::Forbidden);
    assert!(detail.contains("24 hours"), "{detail}");
    assert_eq!(world.head(), 3);
}

#[test]
fn an_edit_is_checked_like_a_message() {
    let mut world = World::direct();
    let ack = world.send(0, "text");
    let long = "x".repeat(limits::TEXT_CHARS + 1);
    let larger = "x".repeat(limits::CONTENT_BYTES + 1);
    assert_eq!(
        code(world.act(0, ack.message_id, edit(&long))),
        Code::InvalidRequest
    );
    assert_eq!(
        code(world.act(0, ack.message_id, edit(" \n"))),
        Code::InvalidRequest
    );
    assert_eq!(
        code(world.act(0, ack.message_id, edit(&larger))),
        Code::PayloadTooLarge
    );
    let stranger = world.users[3];
    let mention = |ids: Vec<UserId>| Act::Edit {
        content: "@".to_owned(),
        mentions: Some(ids),
    };
    let problem = world
        .act(0, ack.message_id, mention(vec![stranger]))
        .unwrap_err();
    assert_eq!(problem.errors[0].field, "mentions");
    let peer = world.users[1];
    assert!(
        world
            .act(0, ack.message_id, mention(vec![peer, peer]))
            .is_err()
    );
    assert_eq!(world.head(), 1);
    world.act(0, ack.message_id, mention(vec![peer])).unwrap();
    world.act(0, ack.message_id, edit("mentions stay")).unwrap();
    assert_eq!(world.messages(1)[0].mentions, [peer]);
    world.act(0, ack.message_id, mention(Vec::new())).unwrap();
    assert_eq!(world.messages(1)[0].mentions, [] as [UserId; 0]);
    let tea = poll(&mut world, TEA);
    assert_eq!(code(world.act(0, tea, edit(TEA))), Code::InvalidRequest);
}

#[test]
fn edits_have_an_end() {
    let mut world = World::direct();
    let ack = world.send(0, "0");
    for number in 1..=limits::EDITS {
        world
            .act(0, ack.message_id, edit(&number.to_string()))
            .unwrap();
    }
    assert_eq!(
        code(world.act(0, ack.message_id, edit("more"))),
        Code::Forbidden
    );
}

#[test]
fn a_deleted_message_is_in_no_read_any_more_nor_are_its_edits() {
    let mut world = World::group();
    let peer = world.users[1];
    let mut message = world.text("a secret");
    message.mentions = vec![peer];
    let ack = world.send_message(0, message).unwrap();
    world
        .act(0, ack.message_id, edit("another secret"))
        .unwrap();
    world
        .act(0, ack.message_id, edit("the last secret"))
        .unwrap();
    world.act(1, ack.message_id, PIN).unwrap();
    world.act(1, ack.message_id, react("👍")).unwrap();
    let acted = world.act(0, ack.message_id, Act::Delete).unwrap();
    let Event::Changed(MessageChange::MessageDeleted(deleted)) = &acted.event else {
        panic!("{acted:?}");
    };
    assert_eq!(deleted.sender_id, Some(world.users[0]));
    world.crash();
    for viewer in 0..3 {
        assert!(!all_text(&mut world, viewer).contains("secret"));
        let messages = world.messages(viewer);
        assert_eq!(messages.len(), 1, "it keeps its place");
        assert!(messages[0].is_deleted && messages[0].content.is_empty());
        assert!(messages[0].mentions.is_empty() && messages[0].reactions.is_empty());
        assert!(!messages[0].is_pinned);
        let actor = world.users[viewer];
        let get = GetMessage {
            actor,
            message_id: ack.message_id,
        };
        assert_eq!(world.service.message(get).unwrap(), messages[0]);
    }
    let again = world.act(0, ack.message_id, Act::Delete).unwrap();
    assert_eq!((again.event, again.duplicate), (acted.event, true));
}

#[test]
fn what_was_deleted_is_kept_for_thirty_days_and_then_purged_by_the_alarm() {
    let mut world = World::direct();
    let ack = world.send(0, "a secret");
    world
        .act(0, ack.message_id, edit("another secret"))
        .unwrap();
    world
        .act(0, ack.message_id, edit("the last secret"))
        .unwrap();
    world.act(0, ack.message_id, Act::Delete).unwrap();
    let deleted_at = world.now;
    deliver_all(&mut world);
    assert_eq!(world.alarm, Some(deleted_at + limits::DELETED_CONTENT));
    assert_eq!(stored_text(&world).matches("secret").count(), 3);
    world.crash();
    world.now = deleted_at + limits::DELETED_CONTENT;
    let before = world.messages(1);
    world.ring();
    assert_eq!(stored_text(&world).matches("secret").count(), 0);
    assert_eq!(world.messages(1), before);
    assert_eq!(world.alarm, None);
    assert_eq!(world.head(), 4);
}

#[test]
fn an_author_deletes_for_an_hour_and_an_admin_of_a_group_any_time() {
    let mut world = World::group();
    let (first, second) = (world.send(1, "one"), world.send(1, "two"));
    assert_eq!(
        code(world.act(2, first.message_id, Act::Delete)),
        Code::Forbidden
    );
    world.now = world.now + limits::DELETE_WINDOW;
    world.act(1, first.message_id, Act::Delete).unwrap();
    world.now = world.now + SECOND;
    let (late, detail) = refused(world.act(1, second.message_id, Act::Delete));
    assert_eq!(late, Code::Forbidden);
    assert!(detail.contains("one hour"), "{detail}");
    world.act(0, second.message_id, Act::Delete).unwrap();
    let mut world = World::direct();
    let ack = world.send(0, "between us");
    assert_eq!(
        code(world.act(1, ack.message_id, Act::Delete)),
        Code::Forbidden
    );
}

#[test]
fn nothing_is_done_with_a_deleted_message() {
    let mut world = World::direct();
    let tea = poll(&mut world, TEA);
    world.act(0, tea, Act::Delete).unwrap();
    for act in [edit("again"), react("👍"), PIN, vote(&[0]), Act::ClosePoll] {
        assert_eq!(code(world.act(0, tea, act)), Code::Conflict);
    }
    assert_eq!(world.head(), 2);
}

#[test]
fn to_strangers_and_for_made_up_ids_there_is_no_message() {
    let mut world = World::direct();
    let ack = world.send(0, "hello");
    let made_up = MessageId::new(world.now, ack.seq, &world.entropy);
    let elsewhere = World::group().send(0, "elsewhere").message_id;
    for act in [
        edit("x"),
        Act::Delete,
        react("👍"),
        PIN,
        vote(&[0]),
        Act::ClosePoll,
    ] {
        for id in [made_up, elsewhere] {
            let problem = world.act(0, id, act.clone()).unwrap_err();
            assert_eq!(problem, Problem::not_found("message"));
        }
        let problem = world.act(3, ack.message_id, act).unwrap_err();
        assert_eq!(problem, Problem::not_found("conversation"));
    }
    assert_eq!(world.head(), 1);
}

#[test]
fn a_reaction_counts_once_per_emoji_and_user() {
    let mut world = World::group();
    let ack = world.send(0, "hello");
    let first = world.act(1, ack.message_id, react("👍")).unwrap();
    let again = world.act(1, ack.message_id, react("👍")).unwrap();
    assert_eq!((again.event, again.duplicate), (first.event, true));
    world.act(2, ack.message_id, react("❤️")).unwrap();
    world.act(0, ack.message_id, react("👍")).unwrap();
    world.crash();
    let shown = world.messages(1).remove(0).reactions;
    assert_eq!(shown.len(), 2);
    assert_eq!(
        (shown[0].emoji.as_str(), shown[0].count, shown[0].reacted),
        ("👍", 2, true)
    );
    assert_eq!(shown[0].user_ids, [world.users[1], world.users[0]]);
    assert_eq!(
        (shown[1].emoji.as_str(), shown[1].count, shown[1].reacted),
        ("❤️", 1, false)
    );
    let removed = world.act(1, ack.message_id, unreact("👍")).unwrap();
    let again = world.act(1, ack.message_id, unreact("👍")).unwrap();
    assert_eq!((again.event, again.duplicate), (removed.event, true));
    assert_eq!(world.messages(1)[0].reactions[1].user_ids, [world.users[0]]);
    assert_eq!(
        code(world.act(1, ack.message_id, unreact("🎉"))),
        Code::NotFound
    );
    for bad in ["", "ok", "👍👍"] {
        let problem = world.act(1, ack.message_id, react(bad)).unwrap_err();
        assert_eq!(problem.errors[0].field, "emoji");
    }
    assert_eq!(world.head(), 6);
}

#[test]
fn a_message_takes_twenty_different_emoji_and_names_twenty_users_for_each() {
    let mut world = World::new();
    let crowd: Vec<_> = (0..30).map(|_| UserId::random(&world.entropy)).collect();
    world.create_group(crowd.clone()).unwrap();
    world.users = crowd;
    let ack = world.send(0, "hello");
    let emoji: Vec<_> = ('🐀'..).take(21).map(String::from).collect();
    for emoji in &emoji[..20] {
        world.act(0, ack.message_id, react(emoji)).unwrap();
    }
    assert_eq!(
        code(world.act(0, ack.message_id, react(&emoji[20]))),
        Code::Conflict
    );
    assert_eq!(
        code(world.act(1, ack.message_id, react(&emoji[20]))),
        Code::Conflict
    );
    for user in 1..30 {
        world.act(user, ack.message_id, react(&emoji[0])).unwrap();
    }
    let shown = world.messages(29).remove(0).reactions;
    assert_eq!(
        (shown.len(), shown[0].count, shown[0].reacted),
        (20, 30, true)
    );
    assert_eq!(shown[0].user_ids, world.users[..20]);
    world.act(0, ack.message_id, unreact(&emoji[1])).unwrap();
    world.act(1, ack.message_id, react(&emoji[20])).unwrap();
}

#[test]
fn a_conversation_has_fifty_pins() {
    let mut world = World::direct();
    let acks: Vec<_> = (0..51).map(|n| world.send(0, &n.to_string())).collect();
    for ack in &acks[..50] {
        world.act(1, ack.message_id, PIN).unwrap();
    }
    assert_eq!(code(world.act(1, acks[50].message_id, PIN)), Code::Conflict);
    assert_eq!(
        code(world.act(1, acks[50].message_id, UNPIN)),
        Code::NotFound
    );
    let down = world.act(0, acks[0].message_id, UNPIN).unwrap();
    let again = world.act(0, acks[0].message_id, UNPIN).unwrap();
    assert_eq!((again.event, again.duplicate), (down.event, true));
    world.act(0, acks[50].message_id, PIN).unwrap();
    world.crash();
    let actor = world.users[1];
    let pins = world.service.pins(ListPins { actor }).unwrap().pins;
    assert_eq!(pins.len(), 50);
    assert_eq!(pins[0].pinned_by, world.users[0]);
    assert_eq!(
        pins[0].message.as_message().unwrap().message_id,
        acks[50].message_id
    );
    assert_eq!(pins[0].message.as_message().unwrap().client_msg_id, None);
    assert_eq!(pins[1].pinned_by, world.users[1]);
    // A deleted one makes room.
    world.act(0, acks[1].message_id, Act::Delete).unwrap();
    world.act(0, acks[0].message_id, PIN).unwrap();
}

#[test]
fn in_an_encrypted_conversation_edits_carry_ciphertext_and_polls_are_refused() {
    let mut world = World::new();
    let call = Create {
        conversation_id: world.id(),
        creator: world.users[0],
        kind: CreateKind::Direct {
            peer: world.users[1],
        },
        encrypted: true,
    };
    world.service.create(call, world.now).unwrap();
    let mut tea = world.text(TEA);
    tea.content_type = ContentType::Poll;
    let problem = world.send_message(0, tea).unwrap_err();
    assert_eq!(problem.errors[0].field, "content_type");
    let mut sealed = world.text("AAAA");
    sealed.content_type = ContentType::Encrypted;
    let ack = world.send_message(0, sealed).unwrap();
    let large = "B".repeat(limits::CONTENT_BYTES);
    world.act(0, ack.message_id, edit(&large)).unwrap();
    world.act(1, ack.message_id, react("👍")).unwrap();
    world.act(1, ack.message_id, PIN).unwrap();
    let shown = world.messages(1).remove(0);
    assert_eq!(
        (shown.content_type, shown.content),
        (ContentType::Encrypted, large)
    );
    assert_eq!(shown.reactions.len(), 1);
}

#[test]
fn unread_counts_leave_out_what_was_deleted_as_of_the_event_that_is_known() {
    let mut world = World::direct();
    let one = world.send(0, "one");
    world.send(0, "two");
    world.act(0, one.message_id, Act::Delete).unwrap();
    world.send(0, "three");
    let actor = world.users[1];
    let count = |world: &mut World, after: u64, up_to: u64| {
        let call = CountUnread {
            actor,
            after_seq: Seq::new(after),
            up_to_seq: Seq::new(up_to),
        };
        world.service.count_unread(call).unwrap()
    };
    assert_eq!(count(&mut world, 0, 2), 2, "nothing is known of its end");
    assert_eq!(count(&mut world, 0, 3), 1);
    assert_eq!(count(&mut world, 0, 4), 2);
    assert_eq!(count(&mut world, 1, 4), 2);
    assert_eq!(count(&mut world, 3, 4), 1);
}

#[test]
fn who_joined_later_learns_nothing_of_what_was_said_before() {
    let mut world = World::group();
    let old = world.send(0, "an old secret");
    let late = world.users[2];
    world
        .sql
        .exec(
            "UPDATE member SET visible_from = 3 WHERE user_id = ?",
            crate::params![&late],
        )
        .unwrap();
    world.crash();
    let edited = world.act(0, old.message_id, edit("a new secret")).unwrap();
    let deleted_soon = world.send(0, "for all");
    assert_eq!(
        code(world.act(2, old.message_id, react("👍"))),
        Code::NotFound
    );
    let call = ActOn {
        actor: world.users[0],
        message_id: old.message_id,
        act: Act::Delete,
    };
    let (acted, effects) = world.service.act(call, world.now).unwrap();
    assert!(effects.unseen.latecomers.contains(&late));
    let shown = effects.unseen.show(acted.event, &late);
    let Event::Changed(MessageChange::MessageDeleted(deleted)) = shown else {
        panic!("a deletion");
    };
    assert_eq!(deleted.sender_id, None);
    assert!(!all_text(&mut world, 2).contains("secret"));
    assert_eq!(world.log(2)[0].seq(), edited.event.seq(), "no gap");
    assert_eq!(world.messages(2)[0].message_id, deleted_soon.message_id);
    let mut round = crate::conversation::deliver::Round::default();
    let mut given = Vec::new();
    while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
        let text = serde_json::to_string(&delivery.news.events).unwrap();
        given.push((delivery.user_id, text.contains("\"sender_id\":"), text));
    }
    let to_late = given.iter().find(|(id, ..)| *id == late).unwrap();
    assert!(!to_late.2.contains("secret"));
    assert_eq!(given.len(), 3);
}

#[test]
fn what_is_done_with_a_message_costs_its_event_and_little_more() {
    let mut world = World::group();
    let ack = world.send(0, "hello");
    let cost = |world: &mut World, actor, act| {
        let changes = |world: &World| {
            let rows = world.sql.exec("SELECT total_changes()", &[]).unwrap();
            rows.scalar::<i64>().unwrap().unwrap()
        };
        let before = changes(world);
        world.act(actor, ack.message_id, act).unwrap();
        changes(world) - before
    };
    assert_eq!(cost(&mut world, 1, react("👍")), 2);
    assert_eq!(cost(&mut world, 1, react("👍")), 0);
    assert_eq!(cost(&mut world, 0, edit("hi")), 2);
    assert_eq!(cost(&mut world, 0, PIN), 3);
    assert_eq!(cost(&mut world, 0, Act::Delete), 4);
}

/// Everyone takes what there is.
fn deliver_all(world: &mut World) {
    use crate::user::call::Delivered;
    let mut round = crate::conversation::deliver::Round::default();
    let head_seq = Seq::new(world.head());
    for _ in 0..2 {
        while let Some(due) = world.service.next_delivery(&mut round, world.now).unwrap() {
            let reply = Delivered {
                head_seq,
                position: crate::conversation::call::MemberPosition::default(),
            };
            let effects = world
                .service
                .delivered(due.user_id, &reply, world.now)
                .unwrap();
            world.carry_out(&effects);
        }
        let alarm = world.alarm.unwrap();
        if alarm > world.now + Duration::from_secs(600) {
            break;
        }
        world.now = world.now.max(alarm);
        world.ring();
    }
}
