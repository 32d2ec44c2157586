//! What a client says on a conversation's socket.

use super::World;
use crate::conversation::call::OpenSocket;
use crate::conversation::socket::{Outcome, SocketSession, on_binary, on_text, open};
use crate::ids::DeviceId;
use crate::limits;
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::problem::{Code, ServiceError};
use crate::protocol::seq::Seq;
use std::time::Duration;

fn opening(world: &World, user: usize, after_seq: Option<u64>) -> OpenSocket {
    OpenSocket {
        user_id: world.users[user],
        device_id: DeviceId::random(&world.entropy),
        expires_at: world.now + Duration::from_secs(60),
        after_seq: after_seq.map(Seq::new),
        subprotocol: false,
    }
}

fn say(world: &mut World, user: usize, text: &str) -> Outcome {
    let session = SocketSession::opened(&opening(world, user, None), Seq::ZERO, world.now);
    on_text(
        &mut world.service,
        &session,
        text,
        world.now,
        &world.entropy,
    )
}

fn error(outcome: &Outcome) -> &crate::protocol::frame::ErrorFrame {
    match outcome.replies.as_slice() {
        [ServerFrame::Error(error)] => error,
        other => panic!("one error frame, not {other:?}"),
    }
}

#[test]
fn a_new_socket_is_greeted_with_the_head_and_given_what_it_lacks() {
    let mut world = World::direct();
    for _ in 0..4 {
        world.send(0, "hello");
    }
    let opening = opening(&world, 1, Some(1));
    let opened = open(&mut world.service, &opening, world.now).unwrap();
    let ServerFrame::AuthAck(hello) = &opened.hello else {
        panic!("auth_ack first");
    };
    assert_eq!(hello.head_seq, Some(Seq::new(4)));
    assert_eq!(opened.session.since, Seq::new(1));
    let replayed: Vec<_> = opened
        .replay
        .iter()
        .map(|frame| match frame {
            ServerFrame::Event(event) => event.seq().get(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(replayed, [2, 3, 4]);
}

#[test]
fn strangers_are_refused_at_the_door() {
    let mut world = World::direct();
    let opening = opening(&world, 3, None);
    let refusal = open(&mut world.service, &opening, world.now).unwrap_err();
    assert!(matches!(refusal, ServiceError::Refused(problem) if problem.code == Code::NotFound));
}

#[test]
fn a_message_is_acknowledged_to_its_sender_and_broadcast_once() {
    let mut world = World::direct();
    let message = world.text("hello");
    let text = format!(
        r#"{{"type":"send_message","conversation_id":"{}","client_msg_id":"{}","content":"hello"}}"#,
        world.id(),
        message.client_msg_id
    );
    let first = say(&mut world, 0, &text);
    let [ServerFrame::MsgAck(ack)] = first.replies.as_slice() else {
        panic!("an ack");
    };
    assert!(!ack.duplicate);
    assert_eq!(first.effects.broadcast.len(), 1);
    let second = say(&mut world, 0, &text);
    let [ServerFrame::MsgAck(ack)] = second.replies.as_slice() else {
        panic!("an ack");
    };
    assert!(ack.duplicate);
    assert!(second.effects.broadcast.is_empty());
}

#[test]
fn a_bad_frame_is_answered_and_the_socket_lives_on() {
    let mut world = World::direct();
    let id = world.id();
    let other = world.users[2];
    let name = "00000000-0000-4000-8000-000000000009";
    for text in [
        "nonsense".to_owned(),
        "{}".to_owned(),
        r#"{"type":"unheard_of"}"#.to_owned(),
        format!(r#"{{"type":"send_message","conversation_id":"{id}","content":"no name"}}"#),
        format!(
            r#"{{"type":"send_message","conversation_id":"{other}","client_msg_id":"{name}","content":"elsewhere"}}"#
        ),
        format!(
            r#"{{"type":"send_message","conversation_id":"{id}","client_msg_id":"{name}","content":" "}}"#
        ),
        format!(r#"{{"type":"ack","conversation_id":"{id}","up_to_seq":1}}"#),
        format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":7}}"#),
        format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":-7}}"#),
    ] {
        let outcome = say(&mut world, 0, &text);
        assert_eq!(error(&outcome).code, Code::InvalidRequest, "{text}");
        assert_eq!(outcome.close, None, "{text}");
        assert!(outcome.effects.broadcast.is_empty());
        assert_eq!(
            error(&outcome).client_msg_id.is_some(),
            text.contains(name),
            "{text}"
        );
    }
    assert_eq!(world.send(0, "first").seq, Seq::new(1));
}

#[test]
fn only_what_breaks_the_protocol_closes_the_socket() {
    let mut world = World::direct();
    let large = format!(
        r#"{{"type":"ping","pad":"{}"}}"#,
        "x".repeat(limits::FRAME_BYTES)
    );
    assert_eq!(
        say(&mut world, 0, &large).close,
        Some(CloseCode::ProtocolError)
    );
    assert_eq!(on_binary().close, Some(CloseCode::ProtocolError));
    assert_eq!(
        say(&mut world, 3, r#"{"type":"ping"}"#).close,
        Some(CloseCode::NotMember)
    );
    let session = SocketSession::opened(&opening(&world, 0, None), Seq::ZERO, world.now);
    let later = session.expires_at;
    let outcome = on_text(
        &mut world.service,
        &session,
        r#"{"type":"ping"}"#,
        later,
        &world.entropy,
    );
    assert_eq!(outcome.close, Some(CloseCode::TokenExpired));
    assert_eq!(
        say(&mut world, 0, r#"{ "type": "ping" }"#).replies,
        [ServerFrame::Pong]
    );
}

#[test]
fn sync_replays_and_says_where_it_had_to_stop() {
    let mut world = World::direct();
    let large = "x".repeat(limits::TEXT_CHARS);
    let count = limits::REPLAY_BYTES / limits::TEXT_CHARS + 50;
    for _ in 0..count {
        world.send(0, &large);
    }
    let id = world.id();
    let outcome = say(
        &mut world,
        1,
        &format!(r#"{{"type":"sync","conversation_id":"{id}","after_seq":3}}"#),
    );
    let (last, events) = outcome.replies.split_last().unwrap();
    let ServerFrame::SyncGap {
        from_seq, head_seq, ..
    } = last
    else {
        panic!("a gap, not {last:?}");
    };
    assert_eq!(from_seq.get(), 4 + events.len() as u64);
    assert_eq!(head_seq.get(), count as u64);
    let ack = format!(r#"{{"type":"ack","conversation_id":"{id}","up_to_seq":{count}}}"#);
    let outcome = say(&mut world, 1, &ack);
    assert_eq!(
        (outcome.replies.as_slice(), outcome.close),
        ([].as_slice(), None)
    );
}

#[test]
fn an_ack_and_a_read_receipt_go_to_the_user_object_and_an_ack_counts_at_once() {
    let mut world = World::direct();
    let id = world.id();
    world.send(0, "hello");
    let frame = |kind: &str, seq: u64| {
        format!(r#"{{"type":"{kind}","conversation_id":"{id}","up_to_seq":{seq}}}"#)
    };
    let acknowledged = say(&mut world, 1, &frame("ack", 1));
    assert!(acknowledged.effects.marks);
    assert!(matches!(
        acknowledged.effects.signals[0].frame,
        ServerFrame::DeliveryReceipt(receipt) if receipt.user_id == world.users[1]
    ));
    let read = say(&mut world, 1, &frame("read_receipt", 1));
    assert!(read.effects.marks && read.replies.is_empty());
    assert_eq!(
        read.effects.signals,
        [],
        "the user object has the last word"
    );
    for kind in ["ack", "read_receipt"] {
        let beyond = say(&mut world, 1, &frame(kind, 2));
        assert_eq!(error(&beyond).code, Code::InvalidRequest);
        assert!(!beyond.effects.marks);
    }
}

#[test]
fn typing_works_here_and_presence_does_not() {
    let mut world = World::direct();
    let (id, other) = (world.id(), world.users[2]);
    let start = |id: &dyn std::fmt::Display| {
        format!(r#"{{"type":"typing_start","conversation_id":"{id}"}}"#)
    };
    let passed_on = say(&mut world, 0, &start(&id));
    assert_eq!(passed_on.effects.signals[0].to, world.users[1]);
    let elsewhere = say(&mut world, 0, &start(&other));
    assert_eq!(error(&elsewhere).code, Code::InvalidRequest);
    let presence = format!(r#"{{"type":"presence_subscribe","user_ids":["{other}"]}}"#);
    let presence = say(&mut world, 0, &presence);
    assert_eq!(error(&presence).code, Code::InvalidRequest);
    assert_eq!(presence.close, None);
}

#[test]
fn a_device_that_says_too_much_is_told_when_to_go_on() {
    let mut world = World::direct();
    let session = SocketSession::opened(&opening(&world, 0, None), Seq::ZERO, world.now);
    let mut refusals = Vec::new();
    for _ in 0..61 {
        let message = world.text("hello");
        let text = format!(
            r#"{{"type":"send_message","conversation_id":"{}","client_msg_id":"{}","content":"hello"}}"#,
            world.id(),
            message.client_msg_id
        );
        let outcome = on_text(
            &mut world.service,
            &session,
            &text,
            world.now,
            &world.entropy,
        );
        if let [ServerFrame::Error(error)] = outcome.replies.as_slice() {
            assert_eq!(error.client_msg_id, Some(message.client_msg_id));
            refusals.push((error.code, error.retry_after_ms));
        }
    }
    assert_eq!(refusals, [(Code::RateLimited, Some(50))]);
    assert_eq!(world.send(1, "another device").seq, Seq::new(61));
}
