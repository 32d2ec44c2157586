//! Threads.

use std::time::Duration;

use super::*;
use crate::conversation::call::ListThread;
use crate::protocol::message::ThreadSummary;

fn reply(world: &mut World, sender: usize, root: MessageId, content: &str) -> MessageAck {
    let mut message = world.text(content);
    message.thread_root = Some(root);
    world.send_message(sender, message).unwrap()
}

#[test]
fn a_root_tells_how_many_replies_it_has_and_when_the_last_came() {
    let mut world = World::group();
    let root = world.send(0, "question");
    assert_eq!(world.messages(1)[0].thread, None);
    let mut acks = Vec::new();
    for number in 0..3 {
        world.now = world.now + Duration::from_secs(1);
        acks.push(reply(&mut world, 1, root.message_id, &number.to_string()));
        world.send(2, "beside it");
    }
    let thread = |world: &mut World| world.messages(2)[0].thread;
    let summary = |replies, ack: &MessageAck| {
        Some(ThreadSummary {
            replies,
            last_reply_at: ack.created_at,
        })
    };
    assert_eq!(thread(&mut world), summary(3, &acks[2]));
    world.crash();
    world.act(1, acks[2].message_id, Act::Delete).unwrap();
    assert_eq!(thread(&mut world), summary(2, &acks[1]));
    world.act(1, acks[0].message_id, Act::Delete).unwrap();
    assert_eq!(thread(&mut world), summary(1, &acks[1]));
    world.act(1, acks[1].message_id, Act::Delete).unwrap();
    assert_eq!(thread(&mut world), None);
    assert_eq!(world.messages(0)[1].thread_root, Some(root.message_id));
}

#[test]
fn a_repeated_reply_counts_once() {
    let mut world = World::direct();
    let root = world.send(0, "question");
    let mut message = world.text("answer");
    message.thread_root = Some(root.message_id);
    world.send_message(1, message.clone()).unwrap();
    assert!(world.send_message(1, message).unwrap().duplicate);
    assert_eq!(world.messages(0)[0].thread.unwrap().replies, 1);
}

#[test]
fn a_thread_is_paged_newest_first() {
    let mut world = World::group();
    let root = world.send(0, "question");
    let other = world.send(0, "another");
    let acks: Vec<_> = (0..5)
        .map(|number| reply(&mut world, 1, root.message_id, &number.to_string()))
        .collect();
    reply(&mut world, 1, other.message_id, "elsewhere");
    world.act(1, acks[4].message_id, edit("edited")).unwrap();
    let mut cursor = None;
    let mut pages = Vec::new();
    loop {
        let call = ListThread {
            actor: world.users[2],
            message_id: root.message_id,
            cursor,
            limit: 2,
        };
        let page = world.service.thread(&call).unwrap();
        assert_eq!(page.root.message_id, root.message_id);
        assert_eq!(page.has_more, page.next_cursor.is_some());
        pages.push(
            page.messages
                .into_iter()
                .map(|m| m.content)
                .collect::<Vec<_>>(),
        );
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec!["edited", "3"], vec!["2", "1"], vec!["0"]]);
}

#[test]
fn a_thread_hangs_on_a_message_that_is_there_and_in_no_thread() {
    let mut world = World::direct();
    let root = world.send(0, "question");
    let answer = reply(&mut world, 1, root.message_id, "answer");
    let gone = world.send(0, "gone");
    world.act(0, gone.message_id, Act::Delete).unwrap();
    let made_up = MessageId::new(world.now, root.seq, &world.entropy);
    for wrong in [answer.message_id, gone.message_id, made_up] {
        let mut message = world.text("where?");
        message.thread_root = Some(wrong);
        let problem = world.send_message(1, message).unwrap_err();
        assert_eq!(problem.errors[0].field, "thread_root");
    }
    assert_eq!(world.head(), 4);
}
