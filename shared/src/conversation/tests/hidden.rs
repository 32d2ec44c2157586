//! Messages that a member has deleted for itself.

use super::*;
use crate::conversation::call::{GetMessage, Hidden, Hide};
use crate::protocol::change::MessageChange;
use crate::protocol::problem::Code;

fn hide(world: &mut World, actor: usize, message_id: MessageId) -> Result<Hidden, Problem> {
    let actor = world.users[actor];
    world.service.hide(Hide { actor, message_id }).map_err(told)
}

#[test]
fn a_hidden_message_is_gone_for_that_member_alone() {
    let mut world = World::group();
    let first = world.send(0, "stays");
    let ack = world.send(0, "a secret");
    let hidden = hide(&mut world, 1, ack.message_id).unwrap();
    assert_eq!((hidden.seq, hidden.sender_id), (ack.seq, world.users[0]));
    assert_eq!(hidden.last_message.unwrap().message_id, first.message_id);
    let again = hide(&mut world, 1, ack.message_id).unwrap();
    assert_eq!(again.last_message.unwrap().message_id, first.message_id);
    world
        .act(0, ack.message_id, edit("another secret"))
        .unwrap();
    world.crash();
    assert_eq!(world.messages(1).len(), 1);
    let log = world.log(1);
    let shown = log[2].as_message().unwrap();
    assert!(shown.is_hidden && shown.is_deleted && shown.content.is_empty());
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("secret"), "nor its edits: {text}");
    assert_eq!(log.len(), 4, "no gap");
    let get = |world: &World, user: usize| GetMessage {
        actor: world.users[user],
        message_id: ack.message_id,
    };
    let call = get(&world, 1);
    assert_eq!(
        told(world.service.message(call).unwrap_err()).code,
        Code::NotFound
    );
    let call = get(&world, 2);
    assert_eq!(
        world.service.message(call).unwrap().content,
        "another secret"
    );
    assert_eq!(world.messages(2).len(), 2);
    assert_eq!(
        world.act(1, ack.message_id, react("👍")).unwrap_err().code,
        Code::NotFound
    );
}

#[test]
fn the_sockets_of_who_has_hidden_it_are_not_shown_its_edits() {
    let mut world = World::direct();
    let ack = world.send(0, "a secret");
    hide(&mut world, 1, ack.message_id).unwrap();
    let call = ActOn {
        actor: world.users[0],
        message_id: ack.message_id,
        act: edit("another secret"),
    };
    let (_, effects) = world.service.act(call, world.now).unwrap();
    let event = effects.broadcast[0].clone();
    let content = |viewer: usize| {
        let shown = effects.unseen.show(event.clone(), &world.users[viewer]);
        match shown {
            Event::Changed(MessageChange::MessageEdited(edited)) => edited.content,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (content(0).as_str(), content(1).as_str()),
        ("another secret", "")
    );
}

#[test]
fn a_deleted_message_can_be_hidden_too_and_a_foreign_one_cannot() {
    let mut world = World::direct();
    let ack = world.send(0, "gone");
    world.act(0, ack.message_id, Act::Delete).unwrap();
    let hidden = hide(&mut world, 0, ack.message_id).unwrap();
    assert_eq!(hidden.deleted_seq, Some(Seq::new(2)));
    assert_eq!(hidden.last_message, None);
    assert!(world.messages(0).is_empty());
    assert_eq!(world.messages(1).len(), 1);
    let made_up = MessageId::new(world.now, ack.seq, &world.entropy);
    assert_eq!(
        hide(&mut world, 0, made_up).unwrap_err().code,
        Code::NotFound
    );
    assert_eq!(
        hide(&mut world, 3, ack.message_id).unwrap_err().code,
        Code::NotFound
    );
}
