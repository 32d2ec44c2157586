//! What is to be forgotten goes from the archive too.

use std::time::Duration;

use super::{Archived, End, Trouble};
use crate::conversation::archive::{ArchiveStep, Segment};
use crate::conversation::call::{CopyMessage, Delete, GetMessage};
use crate::conversation::tests::{World, edit};
use crate::protocol::act::Act;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the archive holds this anywhere.
fn holds(archived: &Archived, text: &str) -> bool {
    archived.store.objects().values().any(|object| {
        let segment = Segment::read(&object.bytes).unwrap();
        segment.lines().any(|(_, line)| line.contains(text))
    })
}

#[test]
fn what_a_deleted_message_and_its_edits_said_goes_after_thirty_days() {
    let mut world = World::direct();
    for _ in 0..5 {
        world.send(1, "something else");
    }
    let ack = world.send(0, "SECRET one");
    for content in ["SECRET two", "SECRET three"] {
        world.act(0, ack.message_id, edit(content)).unwrap();
    }
    let mut archived = Archived::new(world, 0);
    archived.archive();
    archived
        .act(0, ack.message_id, edit("SECRET four"))
        .unwrap();
    archived.act(0, ack.message_id, Act::Delete).unwrap();
    archived.archive();
    let actor = archived.world.users[1];
    let copy = CopyMessage {
        actor,
        message_id: ack.message_id,
    };
    assert_eq!(archived.ask(copy).unwrap().content, "SECRET one");
    assert!(holds(&archived, "SECRET"));
    let events = archived.events(0, 10);
    archived.wait(30 * DAY);
    let copied = archived.ask(copy).unwrap();
    archived.archive();
    assert!(!holds(&archived, "SECRET"));
    assert!(holds(&archived, "something else"));
    assert_eq!(archived.ask(copy).unwrap().content, "");
    assert!(copied.is_deleted);
    assert_eq!(archived.events(0, 10), events, "it had been in no read");
    archived.assert_nothing_is_left_over();
}

#[test]
fn content_that_goes_while_its_segment_is_written_goes_from_the_segment() {
    for dies_at in 0..4 {
        let mut world = World::direct();
        let ack = world.send(0, "SECRET one");
        world.act(0, ack.message_id, edit("SECRET two")).unwrap();
        world.act(0, ack.message_id, Act::Delete).unwrap();
        for _ in 0..5 {
            world.send(1, "something else");
        }
        let mut archived = Archived::new(world, 0);
        let end = archived.archive_with(|step, _| (step > dies_at).then_some(Trouble::DiesBefore));
        assert_eq!(end, End::Dies);
        // It goes on, without having died, when the content has gone.
        archived.wait(30 * DAY);
        let now = archived.world.now;
        archived.world.service.settle(now).unwrap();
        archived.archive();
        assert!(!holds(&archived, "SECRET"), "after {dies_at} steps");
        assert_eq!(archived.hot(), 0);
        archived.wait(DAY);
        archived.archive();
        archived.assert_nothing_is_left_over();
        assert_eq!(archived.events(0, 10).len(), 8);
    }
}

#[test]
fn messages_that_expire_are_shown_no_more_at_once_and_taken_out_together() {
    let mut world = World::group();
    let actor = world.users[0];
    let update = crate::conversation::call::UpdateConversation {
        actor,
        patch: serde_json::from_value(serde_json::json!({ "expires_after": 90 * 24 * 60 * 60 }))
            .unwrap(),
    };
    let (_, effects) = world.service.update(update, world.now).unwrap();
    world.carry_out(&effects);
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.send(0, &format!("SECRET {number}")).message_id);
        world.now = world.now + Duration::from_secs(60);
    }
    let mut archived = Archived::new(world, 0);
    archived.archive();
    let puts = archived.store.counts().0;
    archived.wait(90 * DAY - Duration::from_secs(20 * 60));
    for _ in 0..20 {
        archived.wait(Duration::from_secs(60));
        archived.archive();
    }
    for message_id in ids {
        let message = archived.ask(GetMessage { actor, message_id }).unwrap();
        assert_eq!(message.content, "");
    }
    archived.wait(DAY);
    archived.archive();
    assert!(!holds(&archived, "SECRET"));
    assert_eq!(archived.store.counts().0, puts + 1, "in one go");
}

#[test]
fn a_group_that_has_ended_leaves_no_segments() {
    for dies_at in [None, Some(1), Some(2)] {
        let mut world = World::group();
        for _ in 0..50 {
            world.send(0, "hello");
        }
        let mut archived = Archived::new(world, 10);
        archived.archive();
        for _ in 0..50 {
            archived.world.send(0, "hello");
        }
        if dies_at == Some(2) {
            // A put of which nothing is heard any more.
            let begun = archived.steps;
            archived.archive_with(|step, asked| {
                let is_put = matches!(asked, ArchiveStep::Put { .. });
                (step > begun && is_put).then_some(Trouble::DiesAfter)
            });
            archived.crash();
            assert_eq!(archived.store.objects().len(), 2);
        }
        let actor = archived.world.users[0];
        archived.ask(Delete { actor }).unwrap();
        for _ in 0..100 {
            archived.deliver();
            // That there was a group is remembered for a day.
            let far = archived.world.now + Duration::from_secs(60 * 60);
            match archived.world.alarm.filter(|at| *at > far) {
                Some(at) => archived.world.now = at,
                None => archived.wait(Duration::from_secs(6)),
            }
            archived.world.ring();
            let mut fault = dies_at.filter(|at| *at == 1).map(|_| Trouble::DiesBefore);
            archived.archive_with(|_, _| fault.take());
            if dies_at == Some(1) {
                archived.crash();
            }
            if archived.world.alarm.is_none() {
                break;
            }
        }
        if dies_at == Some(1) {
            // It never came to remove one: it still knows of it.
            assert_eq!(archived.store.objects().len(), 1);
            assert!(archived.world.alarm.is_some());
            continue;
        }
        assert_eq!(archived.world.alarm, None, "{dies_at:?}");
        assert!(archived.store.objects().is_empty());
        use crate::sql::Sql as _;
        for table in [
            "SELECT count(*) FROM event",
            "SELECT count(*) FROM conversation",
            "SELECT count(*) FROM archive_segment",
            "SELECT count(*) FROM archive_waste",
        ] {
            let rows = archived.world.sql.exec(table, &[]).unwrap();
            assert_eq!(rows.scalar::<u64>().unwrap(), Some(0), "{table}");
        }
    }
}
