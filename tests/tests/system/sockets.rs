//! Conversation sockets: how they open, what they carry, and what they survive.

use parlance_tests::scene::pair;
use parlance_tests::socket::{send_message, seqs};
use parlance_tests::token::Key;
use parlance_tests::{Socket, User, eventually, server, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn a_browser_authenticates_by_subprotocol() {
    let (ann, bob, id) = pair().await;
    ann.say(&id, "one").await;
    let path = format!("/conversations/{id}/ws");
    let offer = format!("parlance.v1, bearer.{}", bob.token());
    let mut socket = Socket::upgrade(&bob.api, &path, &[("sec-websocket-protocol", &offer)])
        .await
        .expect("it opens");
    assert_eq!(socket.subprotocol.as_deref(), Some("parlance.v1"));
    let hello = socket.hello().await;
    assert_eq!(hello["user_id"], bob.id);
    assert_eq!(hello["device_id"], bob.device_id());
    assert_eq!(hello["heartbeat_seconds"], 30);
    assert_eq!(hello["head_seq"], ann.head_seq(&id).await);
    assert!(hello["server_time"].is_string());

    let (by_header, _) = Socket::open(&bob, &id).await;
    assert_eq!(
        by_header.subprotocol, None,
        "what was not offered is not answered"
    );
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_answered_over_http() {
    let (ann, bob, id) = pair().await;
    let stranger = User::sign_up(server::shared()).await;
    let path = format!("/conversations/{id}/ws");
    let bearer = |token: &str| format!("Bearer {token}");
    let refused =
        async |path: &str, headers: &[(&str, &str)]| match Socket::upgrade(&ann.api, path, headers)
            .await
        {
            Ok(_) => panic!("{path} was opened with {headers:?}"),
            Err(refused) => refused.status,
        };

    assert_eq!(refused(&path, &[]).await, 401);
    assert_eq!(
        refused(&path, &[("authorization", "Bearer nonsense")]).await,
        401
    );
    assert_eq!(
        refused(&path, &[("sec-websocket-protocol", "parlance.v1")]).await,
        401
    );
    assert_eq!(
        refused(
            &path,
            &[("sec-websocket-protocol", "parlance.v1, bearer.nonsense")]
        )
        .await,
        401
    );
    let expired = bearer(&Key::first().token(&ann.id, ann.device_id(), -3600));
    assert_eq!(refused(&path, &[("authorization", &expired)]).await, 401);
    let foreign = bearer(&Key::new("test1", 0x77).token(&ann.id, ann.device_id(), 600));
    assert_eq!(refused(&path, &[("authorization", &foreign)]).await, 401);
    let in_query = format!("{path}?token={}", ann.token());
    assert_eq!(
        refused(&in_query, &[]).await,
        401,
        "tokens do not travel in addresses"
    );

    assert_eq!(
        refused(&path, &[("authorization", &bearer(stranger.token()))]).await,
        404
    );
    let good = bearer(bob.token());
    let nowhere = format!("/conversations/{}/ws", uuid());
    assert_eq!(refused(&nowhere, &[("authorization", &good)]).await, 404);
    assert_eq!(
        refused("/conversations/x/ws", &[("authorization", &good)]).await,
        400
    );
    for bad in ["x", "-1", "1.5"] {
        let path = format!("{path}?after_seq={bad}");
        assert_eq!(refused(&path, &[("authorization", &good)]).await, 400);
    }
    bob.api.get(&path).await.problem(426, "upgrade_required");
}

#[tokio::test]
async fn a_message_is_acked_once_and_seen_by_every_socket() {
    let (ann, bob, id) = pair().await;
    let second_device = ann.api.without_token().sign_in(&ann.phone_number).await;
    let (mut from, hello) = Socket::open(&ann, &id).await;
    let (mut own, _) = Socket::open(&second_device, &id).await;
    let (mut to, _) = Socket::open(&bob, &id).await;
    let name = uuid();
    from.send(&send_message(&id, &name, "hello")).await;

    let ack = from.until_type("msg_ack").await;
    assert_eq!(ack["client_msg_id"], name);
    assert_eq!(ack["conversation_id"], id);
    assert_eq!(ack["seq"], hello["head_seq"].as_u64().expect("a seq") + 1);
    assert_eq!(ack["status"], "sent");
    assert_eq!(ack["duplicate"], false);

    let received = to.until_type("new_message").await;
    assert_eq!(received["content"], "hello");
    assert_eq!(received["content_type"], "text");
    assert_eq!(received["sender_id"], ann.id);
    for field in ["message_id", "seq", "created_at", "conversation_id"] {
        assert_eq!(received[field], ack[field], "{field}");
    }
    assert!(
        received.get("client_msg_id").is_none(),
        "it is the sender's alone: {received}"
    );
    let echoed = own.until_type("new_message").await;
    assert_eq!(echoed["client_msg_id"], name);
    assert_eq!(echoed["message_id"], ack["message_id"]);

    for socket in [&mut from, &mut own, &mut to] {
        socket.settled().await;
        let shown = socket
            .seen
            .iter()
            .filter(|frame| frame["type"] == "new_message")
            .count();
        assert_eq!(shown, 1, "each socket is told once: {:?}", socket.seen);
    }
    let acks = from
        .seen
        .iter()
        .filter(|frame| frame["type"] == "msg_ack")
        .count();
    assert_eq!(acks, 1);
    for socket in [&own, &to] {
        assert!(
            !socket.seen.iter().any(|frame| frame["type"] == "msg_ack"),
            "acks are the sending socket's"
        );
    }

    let over_http = ann.say(&id, "by HTTP").await;
    for socket in [&mut from, &mut to] {
        assert_eq!(
            socket.until_type("new_message").await["message_id"],
            over_http["message_id"]
        );
    }
}

#[tokio::test]
async fn what_came_before_is_replayed_and_can_be_asked_for_again() {
    let (ann, bob, id) = pair().await;
    for number in 0..6 {
        ann.say(&id, &format!("{number}")).await;
    }
    let head = ann.head_seq(&id).await;
    let expected: Vec<_> = (head - 3..=head).collect();
    let (mut socket, hello) = Socket::open_after(&bob, &id, head - 4).await;
    assert_eq!(hello["head_seq"], head);
    socket.until(|frame| frame["seq"] == head).await;
    assert_eq!(
        seqs(&socket.settled().await),
        [0; 0],
        "nothing follows the head"
    );
    assert_eq!(seqs(&socket.seen), expected);
    ann.say(&id, "live").await;
    let live = socket.until_type("new_message").await;
    assert_eq!(
        live["seq"],
        head + 1,
        "live frames go on where the replay ends"
    );

    socket
        .send(&json!({"type": "sync", "conversation_id": id, "after_seq": head - 1}))
        .await;
    assert_eq!(seqs(&socket.settled().await), [head, head + 1]);
    socket
        .send(&json!({"type": "sync", "conversation_id": id, "after_seq": head + 1}))
        .await;
    assert_eq!(seqs(&socket.settled().await), [0; 0]);

    let (mut plain, _) = Socket::open(&bob, &id).await;
    assert_eq!(
        plain.settled().await,
        [Value::Null; 0],
        "without after_seq nothing is replayed"
    );
    let (mut up_to_date, _) = Socket::open_after(&bob, &id, head + 1).await;
    assert_eq!(up_to_date.settled().await, [Value::Null; 0]);
}

#[tokio::test]
async fn acks_are_taken_silently_and_pings_answered() {
    let (ann, bob, id) = pair().await;
    let sent = ann.say(&id, "hello").await;
    let (mut socket, _) = Socket::open(&bob, &id).await;
    socket
        .send(&json!({"type": "ack", "conversation_id": id, "up_to_seq": sent["seq"]}))
        .await;
    assert_eq!(socket.settled().await, [Value::Null; 0]);
    socket.send_text(r#"{"type":"ping"}"#).await;
    assert_eq!(socket.recv().await, json!({"type": "pong"}));
    socket.send_text(r#"{ "type" : "ping" }"#).await;
    assert_eq!(
        socket.recv().await,
        json!({"type": "pong"}),
        "also where it is spelled otherwise"
    );
}

#[tokio::test]
async fn a_group_hears_what_is_said_with_and_without_a_socket() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Three", &[&bob, &eve]).await;
    let (mut to, _) = Socket::open(&bob, &id).await;
    let ack = ann.say(&id, "hello").await;
    assert_eq!(to.until_type("new_message").await["seq"], ack["seq"]);
    for user in [&bob, &eve] {
        eventually("the message in the lists of all", async || {
            user.item(&id)
                .await
                .filter(|item| item["head_seq"] == ack["seq"] && item["unread"] == 1)
        })
        .await;
    }
}

#[tokio::test]
async fn a_conversation_goes_on_after_all_sockets_are_closed() {
    let (ann, bob, id) = pair().await;
    let (socket, _) = Socket::open(&bob, &id).await;
    socket.close().await;
    ann.say(&id, "are you there?").await;
    let head = ann.head_seq(&id).await;
    let (mut socket, _) = Socket::open_after(&bob, &id, head - 1).await;
    assert_eq!(
        socket.until_type("new_message").await["content"],
        "are you there?"
    );
}
