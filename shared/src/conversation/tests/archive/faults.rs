//! Whatever fails, and whenever the process dies: nothing is lost, nothing is there twice, and
//! nothing stays in the store for ever.

use std::time::Duration;

use super::{Archived, End, Trouble};
use crate::conversation::archive::ArchiveStep;
use crate::conversation::archive::memory::Fault;
use crate::conversation::call::{ListEvents, ListMessages};
use crate::conversation::tests::World;
use crate::protocol::problem::Code;
use crate::protocol::seq::Seq;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToDo {
    /// A segment is to take further events, and what a deleted message said is to go from it.
    Extend,
    /// A segment is to move to another class.
    Move,
}

/// A conversation of 61 events, of which 26 are in the archive, or all but five.
fn busy_with(to_do: ToDo) -> (Archived, Vec<serde_json::Value>) {
    let mut world = World::direct();
    let mut acks = Vec::new();
    let count = if to_do == ToDo::Move { 60 } else { 30 };
    for number in 0..count {
        acks.push(world.send(number % 2, &format!("no. {number}")));
    }
    let deleted = acks[9].message_id;
    world
        .act(1, deleted, crate::protocol::act::Act::Delete)
        .unwrap();
    let mut archived = Archived::new(world, 5);
    archived.window.age = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    archived.crash();
    archived.archive();
    archived.wait(Duration::from_secs(366 * 24 * 60 * 60));
    for number in count..60 {
        archived.world.send(number % 2, &format!("no. {number}"));
    }
    let events = archived.events(0, 7);
    assert_eq!(events.len(), 61);
    (archived, events)
}

fn busy() -> (Archived, Vec<serde_json::Value>) {
    busy_with(ToDo::Extend)
}

/// Goes on without further trouble, for long enough that all that was put off is done.
fn recover(archived: &mut Archived) {
    for _ in 0..3 {
        archived.wait(Duration::from_secs(2 * 60 * 60));
        archived.archive_with(|_, _| None);
    }
}

fn assert_whole(archived: &mut Archived, events: &[serde_json::Value], what: &str) {
    assert_eq!(archived.events(0, 7), events, "{what}");
    let paged = archived.paged(1, 7);
    let seqs: Vec<_> = paged.iter().map(|message| &message["seq"]).collect();
    let messages: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "new_message")
        .map(|event| &event["seq"])
        .rev()
        .collect();
    assert_eq!(seqs, messages, "{what}");
}

#[test]
fn the_process_may_die_at_every_step() {
    for (to_do, trouble) in [
        (ToDo::Extend, Trouble::DiesBefore),
        (ToDo::Extend, Trouble::DiesAfter),
        (ToDo::Move, Trouble::DiesBefore),
        (ToDo::Move, Trouble::DiesAfter),
    ] {
        let (mut undisturbed, events) = busy_with(to_do);
        let before = undisturbed.steps;
        undisturbed.archive();
        let steps = undisturbed.steps - before;
        assert!(steps >= 4, "{steps} steps");
        for at in 1..=steps {
            let what = format!("{to_do:?} {trouble:?} {at}");
            let (mut archived, _) = busy_with(to_do);
            let begun = archived.steps;
            let end = archived.archive_with(|step, _| (step - begun == at).then_some(trouble));
            assert_eq!(end, End::Dies, "{what}");
            archived.crash();
            assert_whole(&mut archived, &events, &what);
            // The conversation goes on, also before the archive does.
            archived.world.send(0, "after the crash");
            let ack = archived.world.send(1, "and another");
            assert_eq!(ack.seq, Seq::new(63));
            recover(&mut archived);
            let after = archived.events(0, 7);
            assert_eq!(after[..61], events, "{what}");
            assert_whole(&mut archived, &after, &what);
            assert_eq!(archived.hot(), 5, "{what}");
            archived.assert_nothing_is_left_over();
        }
    }
}

#[test]
fn every_step_may_fail() {
    let faults = [Fault::Refused, Fault::AnswerLost, Fault::Damaged];
    for (to_do, fault) in [ToDo::Extend, ToDo::Move]
        .into_iter()
        .flat_map(|to_do| faults.map(|fault| (to_do, fault)))
    {
        let (mut undisturbed, events) = busy_with(to_do);
        let before = undisturbed.steps;
        undisturbed.archive();
        let steps = undisturbed.steps - before;
        for at in 1..=steps {
            let what = format!("{to_do:?} {fault:?} at {at}");
            let (mut archived, _) = busy_with(to_do);
            let begun = archived.steps;
            archived.archive_with(|step, _| (step - begun == at).then_some(Trouble::Fault(fault)));
            assert_whole(&mut archived, &events, &what);
            recover(&mut archived);
            assert_whole(&mut archived, &events, &what);
            assert_eq!(archived.hot(), 5, "{what}");
            // A segment that was damaged as it was read is replaced in another life of the object.
            archived.crash();
            recover(&mut archived);
            archived.assert_nothing_is_left_over();
        }
    }
}

#[test]
fn a_store_that_fails_is_asked_ever_less_often() {
    let (mut archived, events) = busy();
    let mut tries = 0;
    for _ in 0..24 * 60 {
        archived.archive_with(|_, step| {
            tries += usize::from(*step != ArchiveStep::Pause);
            Some(Trouble::Fault(Fault::Refused))
        });
        archived.wait(Duration::from_secs(60));
    }
    assert!((24..=32).contains(&tries), "{tries} tries in a day");
    assert_whole(&mut archived, &events, "meanwhile");
    archived.wait(Duration::from_secs(60 * 60));
    archived.archive();
    assert_eq!(archived.hot(), 5);
}

#[test]
fn a_segment_that_is_missing_or_damaged_is_said_to_be_unavailable() {
    for missing in [true, false] {
        let (mut archived, _) = busy();
        let mut objects = archived.store.objects();
        archived.store.alter(|all| {
            if missing {
                all.clear();
            }
            for object in all.values_mut() {
                let middle = object.bytes.len() / 2;
                object.bytes[middle] ^= 1;
            }
        });
        archived.crash();
        let actor = archived.world.users[0];
        let older = ListEvents {
            actor,
            after_seq: Seq::new(3),
            limit: 10,
        };
        let problem = archived.ask(older).unwrap_err();
        assert_eq!(problem.code, Code::Unavailable);
        let newest = ListMessages {
            actor,
            cursor: None,
            limit: 20,
        };
        assert_eq!(archived.ask(newest).unwrap().messages.len(), 20);
        archived.world.send(0, "still");
        // What is not in the damaged segment goes into another one.
        recover(&mut archived);
        assert_eq!(archived.hot(), 5);
        assert_eq!(archived.segments().len(), 2);
        assert_eq!(archived.ask(older).unwrap_err().code, Code::Unavailable);
        // Put back by hand, all is there again.
        archived.store.alter(|all| all.append(&mut objects));
        assert_eq!(archived.events(0, 50).len(), 62);
    }
}

#[test]
fn a_segment_of_another_conversation_is_not_taken() {
    let (mut archived, _) = busy();
    let (mut other, _) = busy();
    other.world = World::group();
    for _ in 0..30 {
        other.world.send(0, "of others");
    }
    other.crash();
    other.store = crate::conversation::archive::memory::MemoryStore::new();
    other.archive();
    let foreign = other.store.objects().into_values().next().unwrap();
    archived.store.alter(|all| {
        all.values_mut()
            .for_each(|object| *object = foreign.clone())
    });
    archived.crash();
    let actor = archived.world.users[0];
    let older = ListEvents {
        actor,
        after_seq: Seq::ZERO,
        limit: 10,
    };
    // The two have the same members, so only where their ids differ is it another.
    if archived.world.id() != other.world.id() {
        assert_eq!(archived.ask(older).unwrap_err().code, Code::Unavailable);
    }
}
