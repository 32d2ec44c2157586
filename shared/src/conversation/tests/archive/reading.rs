//! Whatever is read and done across the boundary is as if all were in one place.

use std::time::Duration;

use super::Archived;
use crate::conversation::call::{OpenSocket, SendMany};
use crate::conversation::socket::{on_text, open, unmet};
use crate::conversation::tests::{PIN, UNPIN, World, edit, react, unreact, vote};
use crate::ids::{DeviceId, MessageId};
use crate::protocol::act::Act;
use crate::protocol::frame::ServerFrame;
use crate::protocol::message::ContentType;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;

/// A group in which about everything has happened; its messages.
fn eventful() -> (World, Vec<MessageId>) {
    let mut world = World::group();
    let mut ids = Vec::new();
    for number in 0..60 {
        let mut message = world.text(&format!("no. {number}, \"said\"\nin two lines 😀"));
        if number % 5 == 4 {
            message.reply_to = ids.first().copied();
            message.thread_root = ids.first().copied();
        }
        if number == 7 {
            message.content_type = ContentType::Poll;
            message.content = r#"{"question":"When?","options":["now","later"]}"#.to_owned();
        }
        if number % 6 == 1 {
            message.mentions = vec![world.users[1]];
        }
        let ack = world.send_message(number % 3, message).unwrap();
        ids.push(ack.message_id);
        world.now = world.now + Duration::from_secs(7);
    }
    for (actor, message, act) in [
        (0, 0, edit("first edit")),
        (0, 0, edit("second edit")),
        (1, 0, react("👍")),
        (2, 0, react("👍")),
        (2, 0, unreact("👍")),
        (0, 3, PIN),
        (0, 6, PIN),
        (0, 3, UNPIN),
        (0, 7, vote(&[1])),
        (2, 7, vote(&[0])),
        (1, 4, Act::Delete),
        (2, 5, edit("edited, then deleted")),
        (2, 5, Act::Delete),
        (1, 7, Act::ClosePoll),
    ] {
        world.act(actor, ids[message], act).unwrap();
    }
    (world, ids)
}

#[test]
fn archiving_changes_nothing_that_anyone_is_shown() {
    let (world, ids) = eventful();
    let mut archived = Archived::new(world, 1_000_000);
    let before = archived.all_reads(3, &ids);
    for events in [40, 10, 0] {
        archived.window.events = events;
        archived.crash();
        archived.archive();
        assert_eq!(archived.hot(), events);
        assert_eq!(archived.all_reads(3, &ids), before, "{events} hot events");
        archived.crash();
        assert_eq!(archived.all_reads(3, &ids), before, "after a crash");
    }
    archived.assert_nothing_is_left_over();
    assert_eq!(archived.segments().len(), 1, "small segments grow together");
}

#[test]
fn what_is_done_with_archived_messages_shows_as_with_others() {
    let (world, ids) = eventful();
    let mut plain = Archived::new(world, 1_000_000);
    let (world, same) = eventful();
    assert_eq!(ids, same);
    let mut archived = Archived::new(world, 0);
    archived.archive();
    assert_eq!(archived.hot(), 0);
    let problem = |outcome: Result<(), Problem>| outcome.err().map(|problem| problem.code);
    for (actor, message, act) in [
        (0, 9, edit("edited in the archive")),
        (0, 0, edit("a third edit")),
        (1, 9, react("🎉")),
        (0, 12, PIN),
        (1, 13, Act::Delete),
        (0, 14, Act::Delete),
        (0, 7, vote(&[0])),
        (1, 0, unreact("👍")),
        (2, 9, edit("not theirs")),
        (1, 4, react("👍")),
        (1, 7, Act::ClosePoll),
        (0, 9, edit("edited in the archive")),
    ] {
        let did = archived.act(actor, ids[message], act.clone());
        let does = plain.act(actor, ids[message], act.clone());
        assert_eq!(problem(did), problem(does), "{act:?}");
    }
    for number in [4, 9, 13, 58] {
        let reply = |archived: &mut Archived| {
            let mut message = archived.world.text("a late reply");
            message.thread_root = Some(ids[number]);
            let messages = vec![message];
            let actor = archived.world.users[0];
            let answers = archived.ask(SendMany { actor, messages }).unwrap();
            let answer = answers.into_iter().next().unwrap();
            answer.into_result().err().map(|problem| problem.code)
        };
        assert_eq!(reply(&mut archived), reply(&mut plain), "{number}");
    }
    let expected = plain.all_reads(3, &ids);
    assert_eq!(archived.all_reads(3, &ids), expected);
    archived.archive();
    assert_eq!(archived.hot(), 0);
    assert_eq!(archived.all_reads(3, &ids), expected);
}

#[test]
fn a_name_of_an_archived_message_is_still_taken() {
    let mut world = World::direct();
    let message = world.text("once");
    let first = world.send_message(0, message.clone()).unwrap();
    let mut archived = Archived::new(world, 0);
    archived.archive();
    archived.crash();
    let again = archived.world.send_message(0, message).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.seq, again.message_id), (first.seq, first.message_id));
    assert_eq!(archived.hot(), 0);
}

fn opening(archived: &Archived, after: u64) -> OpenSocket {
    OpenSocket {
        user_id: archived.world.users[1],
        device_id: DeviceId::random(&archived.world.entropy),
        expires_at: archived.world.now + Duration::from_secs(600),
        after_seq: Some(Seq::new(after)),
        subprotocol: false,
    }
}

fn seqs(frames: &[ServerFrame]) -> Vec<u64> {
    let seq = |frame: &ServerFrame| match frame {
        ServerFrame::Event(event) => Some(event.seq().get()),
        _ => None,
    };
    frames.iter().filter_map(seq).collect()
}

#[test]
fn a_socket_is_replayed_what_is_archived() {
    let (world, _) = eventful();
    let mut archived = Archived::new(world, 10);
    archived.archive();
    let open_at = opening(&archived, 5);
    let now = archived.world.now;
    let Err(ServiceError::Needs(need)) = open(&mut archived.world.service, &open_at, now) else {
        panic!("it needs a segment");
    };
    archived.bring(&need).unwrap();
    let opened = open(&mut archived.world.service, &open_at, now).unwrap();
    assert_eq!(seqs(&opened.replay), (6..=75).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_needs_a_segment_changes_nothing_until_it_is_there() {
    let (world, ids) = eventful();
    let mut archived = Archived::new(world, 0);
    archived.archive();
    archived.world.service = std::mem::replace(
        &mut archived.world.service,
        crate::conversation::tests::Service::new(
            std::rc::Rc::clone(&archived.world.sql),
            crate::sql::OBJECT_SCOPE,
        ),
    )
    .with_rate_limits(0.05);
    let (open_at, now) = (opening(&archived, 75), archived.world.now);
    let opened = open(&mut archived.world.service, &open_at, now).unwrap();
    let edit = serde_json::json!({
        "type": "edit_message",
        "conversation_id": archived.world.id(),
        "message_id": ids[10],
        "content": "by socket",
    })
    .to_string();
    let say = |archived: &mut Archived, text: &str| {
        let now = archived.world.now;
        let service = &mut archived.world.service;
        on_text(service, &opened.session, text, now, &archived.world.entropy)
    };
    // The bucket holds three: what waits does not count.
    for _ in 0..10 {
        let outcome = say(&mut archived, &edit);
        assert!(outcome.effects.needs.is_some());
        assert!(outcome.replies.is_empty() && outcome.effects.broadcast.is_empty());
    }
    let need = say(&mut archived, &edit).effects.needs.unwrap();
    let told = unmet(&edit, Problem::unavailable("gone"));
    assert!(
        matches!(&told.replies[..], [ServerFrame::Error(error)] if error.code == Code::Unavailable)
    );
    archived.bring(&need).unwrap();
    let outcome = say(&mut archived, &edit);
    assert_eq!(outcome.effects.needs, None);
    assert_eq!(outcome.effects.broadcast.len(), 1);
    let sync = serde_json::json!({
        "type": "sync",
        "conversation_id": archived.world.id(),
        "after_seq": 71,
    });
    let outcome = say(&mut archived, &sync.to_string());
    assert_eq!(seqs(&outcome.replies), [72, 73, 74, 75, 76]);
}

#[test]
fn a_member_who_lags_far_behind_is_given_everything_in_order() {
    let (world, _) = eventful();
    let head = 75;
    let mut archived = Archived::new(world, 5);
    archived.archive();
    let given = archived.deliver();
    assert_eq!(given.len(), 3);
    for seqs in given.values() {
        assert_eq!(*seqs, (1..=head).collect::<Vec<_>>());
    }
}

#[test]
fn a_lane_that_cannot_read_the_archive_waits_and_goes_on() {
    let (world, _) = eventful();
    let mut archived = Archived::new(world, 5);
    archived.archive();
    let objects = archived.store.objects();
    archived.store.alter(|all| all.clear());
    let mut round = crate::conversation::deliver::Round::default();
    let now = archived.world.now;
    for _ in 0..3 {
        let service = &mut archived.world.service;
        assert!(matches!(
            service.next_delivery(&mut round, now),
            Err(crate::sql::SqlError::Needs(_))
        ));
    }
    let service = &mut archived.world.service;
    assert_eq!(
        service.next_delivery(&mut round, now),
        Ok(None),
        "they rest"
    );
    service.need_unmet(now);
    assert_eq!(
        service.next_delivery(&mut round, now),
        Ok(None),
        "they wait"
    );
    assert!(service.next_delivery_at().is_some());
    archived.store.alter(|all| *all = objects);
    assert_eq!(archived.deliver().len(), 3);
}

#[test]
fn a_scheduled_reply_to_an_archived_root_is_sent_when_its_time_comes() {
    let (mut world, ids) = eventful();
    let mut message = world.text("later");
    message.thread_root = Some(ids[0]);
    message.send_at = Some(world.now + Duration::from_secs(60));
    let actor = world.users[0];
    let sent = world
        .service
        .schedule(actor, message, world.now, &world.entropy)
        .unwrap();
    world.carry_out(&sent.1);
    let mut archived = Archived::new(world, 0);
    archived.archive();
    archived.wait(Duration::from_secs(60));
    let now = archived.world.now;
    let (service, entropy) = (&mut archived.world.service, &archived.world.entropy);
    let effects = service.ring(now, entropy);
    let need = effects.needs.expect("the root's segment");
    assert!(effects.broadcast.is_empty());
    archived.bring(&need).unwrap();
    let (service, entropy) = (&mut archived.world.service, &archived.world.entropy);
    let effects = service.ring(now, entropy);
    assert_eq!((effects.needs, effects.broadcast.len()), (None, 1));
}

#[test]
fn a_request_may_take_more_segments_than_are_kept() {
    let mut world = World::direct();
    let mut content = String::new();
    let mut ids = Vec::new();
    for number in 0..500_u32 {
        content.clear();
        // Nothing that compresses well: a segment holds few of them.
        let mut random = u64::from(number) + 1;
        while content.len() < 60_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            content.push_str(&format!("{random:016x}"));
        }
        let mut message = world.text(&content);
        message.content_type = ContentType::Encrypted;
        ids.push(world.send_message(0, message).unwrap().message_id);
    }
    for id in ids.iter().step_by(12).take(40) {
        world.act(0, *id, PIN).unwrap();
    }
    let mut archived = Archived::new(world, 0);
    archived.archive();
    let segments = archived.segments().len();
    assert!(segments > 10, "{segments} segments");
    archived.crash();
    let actor = archived.world.users[1];
    let pins = crate::conversation::call::ListPins { actor };
    let (list, needs) = archived.ask_counted(&pins).unwrap();
    assert_eq!(list.pins.len(), 40);
    assert!(needs >= segments / 2, "{needs} segments were needed");
}
