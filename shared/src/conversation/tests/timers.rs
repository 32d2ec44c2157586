//! What is done at a time: messages that disappear, and messages that are sent later. The alarm
//! is shared with the deliveries.

use std::time::Duration;

use super::*;
use crate::conversation::call::{
    CancelScheduled, ListScheduled, MemberPosition, Sent, UpdateConversation,
};
use crate::conversation::deliver::Round;
use crate::ids::ScheduledId;
use crate::limits;
use crate::protocol::act::Scheduled;
use crate::protocol::conversation::ConversationView;
use crate::protocol::group::{ConversationPatch, GroupChange};
use crate::protocol::problem::Code;
use crate::sql::Sql;
use crate::user::call::Delivered;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn schedule(world: &mut World, sender: usize, message: NewMessage) -> Result<Sent, Problem> {
    let actor = world.users[sender];
    let (sent, effects) = world
        .service
        .schedule(actor, message, world.now, &world.entropy)
        .map_err(told)?;
    world.carry_out(&effects);
    Ok(sent)
}

fn later(world: &World, content: &str, after: Duration) -> NewMessage {
    NewMessage {
        send_at: Some(world.now + after),
        ..world.text(content)
    }
}

fn kept(sent: Sent) -> Scheduled {
    match sent {
        Sent::Later(scheduled) => *scheduled,
        Sent::Already(ack) => panic!("{ack:?}"),
    }
}

fn list(world: &mut World, sender: usize) -> Vec<Scheduled> {
    let actor = world.users[sender];
    let call = ListScheduled { actor };
    world.service.list_scheduled(call).unwrap().scheduled
}

fn cancel(world: &mut World, sender: usize, scheduled_id: ScheduledId) -> Result<(), Problem> {
    let call = CancelScheduled {
        actor: world.users[sender],
        scheduled_id,
    };
    world.service.cancel_scheduled(call).map_err(told)
}

/// Everyone takes what is due.
fn deliver(world: &mut World) -> usize {
    let mut round = Round::default();
    let head_seq = Seq::new(world.head());
    let mut count = 0;
    while let Some(due) = world.service.next_delivery(&mut round, world.now).unwrap() {
        count += 1;
        let reply = Delivered {
            head_seq,
            position: MemberPosition::default(),
        };
        let effects = world
            .service
            .delivered(due.user_id, &reply, world.now)
            .unwrap();
        world.carry_out(&effects);
    }
    count
}

fn set_expiry(
    world: &mut World,
    actor: usize,
    seconds: Option<u32>,
) -> Result<ConversationView, Problem> {
    let call = UpdateConversation {
        actor: world.users[actor],
        patch: ConversationPatch {
            expires_after: Some(seconds),
            ..ConversationPatch::default()
        },
    };
    let (view, effects) = world.service.update(call, world.now).map_err(told)?;
    world.carry_out(&effects);
    Ok(view)
}

fn disappearing() -> World {
    let mut world = World::direct();
    let view = set_expiry(&mut world, 1, Some(3600)).unwrap();
    assert_eq!(view.expires_after, Some(3600));
    world.crash();
    world
}

#[test]
fn how_long_messages_stay_is_an_event_and_admins_of_groups_set_it() {
    let mut world = World::group();
    assert_eq!(
        set_expiry(&mut world, 1, Some(3600)).unwrap_err().code,
        Code::Forbidden
    );
    assert_eq!(
        set_expiry(&mut world, 3, Some(3600)).unwrap_err().code,
        Code::NotFound
    );
    for wrong in [0, 3599, 90 * 86_400 + 1] {
        let problem = set_expiry(&mut world, 0, Some(wrong)).unwrap_err();
        assert_eq!(problem.errors[0].field, "expires_after");
    }
    assert_eq!(world.head(), 1);
    set_expiry(&mut world, 0, Some(90 * 86_400)).unwrap();
    set_expiry(&mut world, 0, Some(90 * 86_400)).unwrap();
    assert_eq!(world.head(), 2, "it is so already");
    set_expiry(&mut world, 0, None).unwrap();
    world.crash();
    let log = world.log(2);
    let text = serde_json::to_value(&log[2]).unwrap();
    assert_eq!(text["type"], "conversation_changed");
    assert_eq!(text["expires_after"], serde_json::Value::Null);
    assert!(text.as_object().unwrap().contains_key("expires_after"));
    assert_eq!(serde_json::from_value::<Event>(text).unwrap(), log[2]);
    let Event::Group(GroupChange::ConversationChanged(changed)) = &log[1] else {
        panic!("{log:?}");
    };
    assert_eq!(changed.changed.expires_after, Some(Some(90 * 86_400)));
}

#[test]
fn a_scheduled_message_is_sent_by_the_alarm_once() {
    let mut world = World::direct();
    let message = later(&world, "later", HOUR);
    let scheduled = kept(schedule(&mut world, 0, message.clone()).unwrap());
    assert_eq!(
        world.alarm.unwrap(),
        world.now + Duration::from_secs(5),
        "to deliver first"
    );
    let again = kept(schedule(&mut world, 0, message.clone()).unwrap());
    assert_eq!(again, scheduled);
    deliver(&mut world);
    world.now = world.now + Duration::from_secs(5);
    world.ring();
    assert_eq!(world.alarm, message.send_at);
    assert_eq!(world.head(), 0);
    assert_eq!(list(&mut world, 0), std::slice::from_ref(&scheduled));
    assert_eq!(list(&mut world, 1), [], "they are the sender's own");
    world.crash();
    world.now = message.send_at.unwrap();
    world.ring();
    assert_eq!(list(&mut world, 0), []);
    let sent = world.messages(1).remove(0);
    assert_eq!(
        (sent.content.as_str(), sent.created_at),
        ("later", world.now)
    );
    assert_eq!(sent.sender_id, world.users[0]);
    world.now = world.now + HOUR;
    world.ring();
    assert_eq!(world.head(), 1);
    let Sent::Already(ack) = schedule(&mut world, 0, message).unwrap() else {
        panic!("it was sent");
    };
    assert_eq!((ack.message_id, ack.duplicate), (sent.message_id, true));
    assert_eq!(
        cancel(&mut world, 0, scheduled.scheduled_id)
            .unwrap_err()
            .code,
        Code::NotFound
    );
}

#[test]
fn an_alarm_that_dies_in_the_middle_sends_it_once_all_the_same() {
    let mut world = World::direct();
    let message = later(&world, "later", HOUR);
    schedule(&mut world, 0, message.clone()).unwrap();
    world.now = message.send_at.unwrap();
    // It was sent, and the process died before it was written down that it was.
    let now = NewMessage {
        send_at: None,
        ..message
    };
    world.send_message(0, now).unwrap();
    world.crash();
    world.ring();
    assert_eq!((world.head(), list(&mut world, 0).len()), (1, 0));
}

#[test]
fn c_scheduled_order_is_that_in_which_they_were_made() {
    let mut world = World::direct();
    let at = world.now + HOUR;
    let texts: Vec<_> = (1..=9).map(|number| format!("number {number}")).collect();
    for (number, text) in texts.iter().enumerate() {
        let message = NewMessage {
            send_at: Some(at),
            ..world.text(text)
        };
        kept(schedule(&mut world, number % 2, message).unwrap());
        match number {
            3 => world.now = world.now + SECOND,
            // The clock was moved, and memory lost.
            5 => {
                world.now = world.now - SECOND * 5;
                world.crash();
            }
            _ => {}
        }
    }
    let own: Vec<_> = list(&mut world, 0);
    let own: Vec<_> = own.into_iter().map(|one| one.message.content).collect();
    let expected: Vec<_> = texts.iter().step_by(2).cloned().collect();
    assert_eq!(own, expected);
    world.now = at;
    world.ring();
    let sent: Vec<_> = world
        .messages(0)
        .into_iter()
        .map(|one| one.content)
        .collect();
    assert_eq!(sent, texts);
}

#[test]
fn a_scheduled_message_can_be_taken_back_by_its_sender() {
    let mut world = World::direct();
    let message = later(&world, "later", HOUR);
    let id = kept(schedule(&mut world, 0, message).unwrap()).scheduled_id;
    assert_eq!(cancel(&mut world, 1, id).unwrap_err().code, Code::NotFound);
    cancel(&mut world, 0, id).unwrap();
    assert_eq!(cancel(&mut world, 0, id).unwrap_err().code, Code::NotFound);
    world.now = world.now + HOUR;
    world.ring();
    assert_eq!((world.head(), list(&mut world, 0).len()), (0, 0));
}

#[test]
fn whether_it_may_be_sent_is_checked_again_when_its_time_has_come() {
    let mut world = World::group();
    let mut message = later(&world, "@someone", HOUR);
    message.mentions = vec![world.users[2]];
    let id = kept(schedule(&mut world, 0, message).unwrap()).scheduled_id;
    let gone = world.users[2];
    world
        .sql
        .exec(
            "DELETE FROM member WHERE user_id = ?",
            crate::params![&gone],
        )
        .unwrap();
    world.crash();
    world.now = world.now + HOUR;
    world.ring();
    assert_eq!(world.head(), 1);
    let shown = list(&mut world, 0).remove(0);
    assert_eq!(shown.scheduled_id, id);
    assert_eq!(shown.problem.unwrap().errors[0].field, "mentions");
    world.now = world.now + limits::DELETED_CONTENT;
    world.ring();
    assert_eq!((world.head(), list(&mut world, 0).len()), (1, 0));
}

#[test]
fn what_cannot_be_scheduled_is_refused_and_changes_nothing() {
    let mut world = World::direct();
    world.alarm = None;
    world.crash();
    for (after, field) in [
        (Duration::ZERO, "send_at"),
        (limits::SCHEDULE_AHEAD + SECOND, "send_at"),
    ] {
        let message = later(&world, "later", after);
        let problem = schedule(&mut world, 0, message).unwrap_err();
        assert_eq!(problem.errors[0].field, field);
    }
    let blank = later(&world, " ", HOUR);
    assert!(schedule(&mut world, 0, blank).is_err());
    let foreign = later(&world, "let me in", HOUR);
    assert_eq!(
        schedule(&mut world, 3, foreign).unwrap_err().code,
        Code::NotFound
    );
    let sent = later(&world, "not now", HOUR);
    let problem = world.send_message(0, sent).unwrap_err();
    assert_eq!(problem.errors[0].field, "send_at");
    assert_eq!((world.alarm, list(&mut world, 0).len()), (None, 0));
    for _ in 0..limits::SCHEDULED {
        let message = later(&world, "later", HOUR);
        schedule(&mut world, 0, message).unwrap();
    }
    assert_eq!(world.alarm, Some(world.now + HOUR));
    let message = later(&world, "one too many", HOUR);
    assert_eq!(
        schedule(&mut world, 0, message).unwrap_err().code,
        Code::Conflict
    );
}

#[test]
fn messages_lose_their_content_when_their_time_is_over() {
    let mut world = disappearing();
    let ack = world.send(0, "a secret");
    world
        .act(0, ack.message_id, edit("another secret"))
        .unwrap();
    world.act(1, ack.message_id, PIN).unwrap();
    let until = ack.created_at + HOUR;
    assert_eq!(world.messages(1)[0].expires_at, Some(until));
    deliver(&mut world);
    world.now = world.now + Duration::from_secs(5);
    world.ring();
    assert_eq!(world.alarm, Some(until));
    world.now = until - SECOND;
    assert_eq!(world.messages(1)[0].content, "another secret");
    world.crash();
    world.now = until;
    world.ring();
    let rows = world.sql.exec("SELECT body FROM event", &[]).unwrap();
    for row in &rows.rows {
        assert!(!row.get::<String>(0).unwrap().contains("secret"));
    }
    let shown = world.messages(1).remove(0);
    assert!(shown.is_deleted && shown.content.is_empty() && !shown.is_pinned);
    assert_eq!(world.head(), 4, "there is no event for it");
    let problem = world.act(1, ack.message_id, react("👍")).unwrap_err();
    assert_eq!(
        (problem.code, problem.detail.as_str()),
        (Code::Conflict, "The message has expired.")
    );
    assert_eq!(world.alarm, None);
}

#[test]
fn what_has_expired_is_not_shown_even_where_the_alarm_is_late() {
    let mut world = disappearing();
    let ack = world.send(0, "a secret");
    world.now = ack.created_at + HOUR;
    let text = serde_json::to_string(&(world.messages(1), world.log(1))).unwrap();
    assert!(!text.contains("secret"));
}

#[test]
fn only_messages_sent_while_it_holds_disappear() {
    let mut world = World::direct();
    world.send(0, "stays");
    set_expiry(&mut world, 0, Some(3600)).unwrap();
    world.crash();
    world.send(0, "goes");
    set_expiry(&mut world, 1, None).unwrap();
    world.send(0, "stays, too");
    world.now = world.now + HOUR * 2;
    let shown: Vec<_> = world.messages(1).into_iter().map(|m| m.content).collect();
    assert_eq!(shown, ["stays", "", "stays, too"]);
}

#[test]
fn an_alarm_that_waits_for_a_timer_gives_nothing_to_deliver_after_a_crash() {
    let mut world = disappearing();
    for number in 0..5 {
        world.send(0, &number.to_string());
    }
    assert!(deliver(&mut world) > 0);
    world.now = world.now + Duration::from_secs(5);
    world.ring();
    assert!(world.alarm.unwrap() > world.now + Duration::from_secs(3000));
    world.crash();
    assert_eq!(deliver(&mut world), 0, "all of it is known to be delivered");
    world.send(0, "more");
    assert_eq!(
        world.alarm,
        Some(world.now + Duration::from_secs(5)),
        "it is brought forward"
    );
    world.crash();
    assert_eq!(deliver(&mut world), 2, "and what is new is not lost");
}
