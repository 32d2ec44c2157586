//! Several messages at once: each has an answer of its own.

use std::rc::Rc;
use std::time::Duration;

use super::World;
use crate::conversation::call::{Create, CreateKind, SendMany};
use crate::conversation::service::ConversationService;
use crate::object::Answer;
use crate::protocol::message::{MessageAck, NewMessage};
use crate::protocol::problem::Code;
use crate::sql::OBJECT_SCOPE;
use crate::sql::probe::ProbeSql;

fn outcomes(answers: &[Answer<MessageAck>]) -> Vec<Result<u64, Code>> {
    answers
        .iter()
        .map(|answer| match answer {
            Answer::Ok(ack) => Ok(ack.seq.get()),
            Answer::Problem(problem) => Err(problem.code),
        })
        .collect()
}

fn call(world: &World, sender: usize, messages: Vec<NewMessage>) -> SendMany {
    SendMany {
        actor: world.users[sender],
        messages,
    }
}

#[test]
fn a_refusal_stops_none_of_the_others_and_one_alarm_does_for_all() {
    let mut world = World::direct();
    world.alarm = None;
    world.crash();
    let first = world.text("first");
    let messages = vec![first.clone(), world.text(" "), world.text("second"), first];
    let call = call(&world, 0, messages);
    let (answers, effects) = world
        .service
        .send_many(call, world.now, &world.entropy)
        .unwrap();
    assert_eq!(
        outcomes(&answers),
        [Ok(1), Err(Code::InvalidRequest), Ok(2), Ok(1)]
    );
    assert_eq!(effects.broadcast.len(), 2, "the repeated one is not news");
    assert!(effects.alarm.is_some() && effects.deliver && effects.failure.is_none());
}

#[test]
fn those_outside_are_told_so_for_each() {
    let mut world = World::direct();
    let call = call(&world, 3, vec![world.text("hello"), world.text("hello")]);
    let (answers, effects) = world
        .service
        .send_many(call, world.now, &world.entropy)
        .unwrap();
    assert_eq!(
        outcomes(&answers),
        [Err(Code::NotFound), Err(Code::NotFound)]
    );
    assert!(effects.broadcast.is_empty());
}

#[test]
fn where_storage_fails_it_ends_and_what_was_stored_stays_acknowledged() {
    let mut world = World::new();
    let sql = Rc::new(ProbeSql::new());
    let mut service = ConversationService::new(Rc::clone(&sql), OBJECT_SCOPE);
    let create = Create {
        conversation_id: world.id(),
        creator: world.users[0],
        kind: CreateKind::Direct {
            peer: world.users[1],
        },
        encrypted: false,
    };
    service.create(create, world.now).unwrap();
    let messages = (0..4).map(|_| world.text("hello")).collect();
    let call = call(&world, 0, messages);
    sql.fail_after(1);
    let (answers, effects) = service
        .send_many(call.clone(), world.now, &world.entropy)
        .unwrap();
    let internal = Err(Code::Internal);
    assert_eq!(outcomes(&answers), [Ok(1), internal, internal, internal]);
    assert_eq!(effects.broadcast.len(), 1);
    assert!(effects.failure.is_some());
    world.now = world.now + Duration::from_secs(1);
    let (answers, _) = service.send_many(call, world.now, &world.entropy).unwrap();
    assert_eq!(
        outcomes(&answers),
        [Ok(1), Ok(2), Ok(3), Ok(4)],
        "and can be sent again"
    );
}
