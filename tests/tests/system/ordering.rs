//! One order for all, and each message in it once.

use parlance_tests::scene::pair;
use parlance_tests::socket::{send_message, seqs};
use parlance_tests::{Socket, User, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_sent_again_is_the_same_message() {
    let (ann, bob, id) = pair().await;
    let second_device = ann.api.without_token().sign_in(&ann.phone_number).await;
    let (mut socket, _) = Socket::open(&ann, &id).await;
    let (name, other_name) = (uuid(), uuid());

    socket
        .send_all(&[
            send_message(&id, &name, "hello"),
            send_message(&id, &name, "hello"),
        ])
        .await;
    let first = socket.until_type("msg_ack").await;
    let second = socket.until_type("msg_ack").await;
    assert_eq!(
        (&first["duplicate"], &second["duplicate"]),
        (&json!(false), &json!(true))
    );
    let by_http = ann.try_say(&id, &name, "hello").await.ok(200);
    let elsewhere = second_device
        .try_say(&id, &name, "something else")
        .await
        .ok(200);
    for again in [&second, &by_http, &elsewhere] {
        assert_eq!(again["duplicate"], true);
        for field in ["seq", "message_id", "created_at", "client_msg_id"] {
            assert_eq!(again[field], first[field], "{field}");
        }
    }

    let http_first = ann.try_say(&id, &other_name, "by HTTP").await.ok(201);
    assert_eq!(http_first["duplicate"], false);
    socket
        .send(&send_message(&id, &other_name, "by HTTP"))
        .await;
    let again = socket
        .until(|frame| frame["client_msg_id"] == other_name && frame["type"] == "msg_ack")
        .await;
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["seq"], http_first["seq"]);

    bob.try_say(&id, &name, "mine").await.ok(201);
    let events = bob.events(&id, 0).await;
    let said: Vec<_> = events
        .iter()
        .filter_map(|event| event["content"].as_str())
        .collect();
    assert_eq!(
        said,
        ["hello", "by HTTP", "mine"],
        "a name is the sender's own"
    );
}

#[tokio::test]
async fn the_same_message_over_socket_and_http_at_once_is_stored_once() {
    let (ann, bob, id) = pair().await;
    let (mut socket, _) = Socket::open(&ann, &id).await;
    for round in 0..20 {
        let (name, content) = (uuid(), format!("round {round}"));
        let frame = send_message(&id, &name, &content);
        let ((), reply) = tokio::join!(socket.send(&frame), ann.try_say(&id, &name, &content));
        let ack = socket
            .until(|frame| frame["type"] == "msg_ack" && frame["client_msg_id"] == name)
            .await;
        assert_eq!(ack["seq"], reply.body["seq"], "{reply:?}");
        assert_ne!(
            ack["duplicate"], reply.body["duplicate"],
            "one of the two was first"
        );
        assert_eq!(
            reply.status,
            if reply.body["duplicate"] == true {
                200
            } else {
                201
            }
        );
    }
    let said = bob
        .events(&id, 0)
        .await
        .iter()
        .filter(|event| event["type"] == "new_message")
        .count();
    assert_eq!(said, 20);
}

#[tokio::test]
async fn two_senders_racing_are_seen_in_one_order_without_a_gap() {
    const EACH: usize = 300;
    let (ann, bob, id) = pair().await;
    let start = ann.head_seq(&id).await;
    let race = async |user: &User| {
        let (mut socket, _) = Socket::open(user, &id).await;
        let frames: Vec<_> = (0..EACH)
            .map(|n| send_message(&id, &uuid(), &format!("{n}")))
            .collect();
        socket.send_all(&frames).await;
        let last = start + 2 * EACH as u64;
        let done = |seen: &[Value]| {
            seen.iter()
                .filter(|frame| frame["type"] == "msg_ack")
                .count()
                == EACH
                && seqs(seen).contains(&last)
        };
        while !done(&socket.seen) {
            socket.recv().await;
        }
        socket.settled().await;
        let acked: Vec<_> = socket
            .seen
            .iter()
            .filter(|frame| frame["type"] == "msg_ack")
            .cloned()
            .collect();
        assert_eq!(acked.len(), EACH, "each is acked once");
        for (frame, ack) in frames.iter().zip(&acked) {
            assert_eq!(
                ack["client_msg_id"], frame["client_msg_id"],
                "acks come in the order of sending"
            );
            assert_eq!(ack["duplicate"], false);
        }
        let seen: Vec<_> = socket
            .seen
            .iter()
            .filter(|frame| frame["type"] == "new_message")
            .cloned()
            .collect();
        (seen, acked)
    };
    let ((by_ann, ann_acked), (by_bob, bob_acked)) = tokio::join!(race(&ann), race(&bob));

    let expected: Vec<_> = (start + 1..=start + 2 * EACH as u64).collect();
    let order = |seen: &[Value]| {
        seen.iter()
            .map(|frame| frame["message_id"].clone())
            .collect::<Vec<_>>()
    };
    let late = |seen: &[Value]| {
        // A socket that opened later may have missed the other's first messages.
        expected[expected.len() - seen.len()..].to_vec()
    };
    let log = ann.events(&id, start).await;
    assert_eq!(seqs(&log), expected);
    for seen in [&by_ann, &by_bob] {
        assert_eq!(seqs(seen), late(seen), "no gap, no repetition, in order");
        let full = order(&log);
        assert_eq!(order(seen), full[full.len() - seen.len()..]);
    }
    for ack in ann_acked.iter().chain(&bob_acked) {
        let at = ack["seq"].as_u64().expect("a seq") - start - 1;
        assert_eq!(
            log[usize::try_from(at).expect("a place")]["message_id"],
            ack["message_id"]
        );
    }
    assert_eq!(order(&log), order(&bob.events(&id, start).await));
}
