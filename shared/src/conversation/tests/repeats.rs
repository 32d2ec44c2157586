//! The same again: what was done once is recognised, whatever has changed since.

use std::time::Duration;

use super::*;
use crate::conversation::call::{RemoveMember, Sent, SetBlock};
use crate::protocol::act::Act;
use crate::protocol::problem::Code;

impl World {
    /// What the same message is answered the second time.
    fn again(&mut self, sender: usize, message: &NewMessage) -> Result<MessageAck, Problem> {
        let head = self.head();
        let answer = self.send_message(sender, message.clone());
        assert_eq!(self.head(), head, "nothing is written");
        answer
    }
}

fn repeated(first: &MessageAck) -> Result<MessageAck, Problem> {
    Ok(MessageAck {
        duplicate: true,
        ..first.clone()
    })
}

#[test]
fn a_retry_mention_is_the_first_though_the_mentioned_has_left() {
    let mut world = World::group();
    let message = NewMessage {
        mentions: vec![world.users[2]],
        ..world.text("you there")
    };
    let first = world.send_message(0, message.clone()).unwrap();
    let remove = RemoveMember {
        actor: world.users[2],
        user_id: world.users[2],
    };
    world.request(remove).unwrap();
    for _ in 0..2 {
        assert_eq!(world.again(0, &message), repeated(&first));
        world.crash();
    }
    // Another of the same kind is refused.
    let anew = NewMessage {
        client_msg_id: ClientMessageId::random(&world.entropy),
        ..message.clone()
    };
    let refused = world.send_message(0, anew).unwrap_err();
    assert_eq!(refused.code, Code::InvalidRequest);
    // Who is no member any more is told nothing.
    let message = world.text("mine");
    world.send_message(1, message.clone()).unwrap();
    let remove = RemoveMember {
        actor: world.users[0],
        user_id: world.users[1],
    };
    world.request(remove).unwrap();
    assert_eq!(world.again(1, &message).unwrap_err().code, Code::NotFound);
}

#[test]
fn a_retry_thread_is_the_first_though_the_root_is_deleted() {
    let mut world = World::direct();
    let root = world.send(0, "root");
    let message = NewMessage {
        thread_root: Some(root.message_id),
        ..world.text("below")
    };
    let first = world.send_message(1, message.clone()).unwrap();
    world.act(0, root.message_id, Act::Delete).unwrap();
    assert_eq!(world.again(1, &message), repeated(&first));
}

#[test]
fn a_retry_block_is_the_first_though_the_receiver_has_blocked() {
    let mut world = World::direct();
    let message = world.text("hello");
    let first = world.send_message(0, message.clone()).unwrap();
    let block = SetBlock {
        blocker: world.users[1],
        is_blocked: true,
    };
    world.request(block).unwrap();
    assert_eq!(world.again(0, &message), repeated(&first));
    // So is one that was scheduled, and sent, before.
    let later = NewMessage {
        send_at: Some(world.now + Duration::from_secs(60)),
        ..message
    };
    let actor = world.users[0];
    let again = world
        .service
        .schedule(actor, later, world.now, &world.entropy);
    assert_eq!(again.unwrap().0, Sent::Already(repeated(&first).unwrap()));
}
