//! Session sockets: everything that a device should see, on one connection.

use std::time::Duration;

use parlance_tests::socket::{events_of, of_type, send_message, seqs};
use parlance_tests::{Socket, User, server, uuid};
use serde_json::{Value, json};

/// How long to wait for what should not come.
const QUIET: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_message_sent_on_a_session_is_one_sent_on_a_conversations_socket() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let laptop = ann.on_another_device().await;
    let direct = ann.direct(&bob).await;
    let group = bob.group("Three", &[&ann, &eve]).await;
    let (mut session, _) = Socket::session(&ann).await;
    let (mut own, _) = Socket::session(&laptop).await;
    let (mut to, _) = Socket::session(&bob).await;
    let (mut attached, _) = Socket::open(&eve, &group).await;

    let mut acks = Vec::new();
    for id in [&direct, &group] {
        let head = ann.head_seq(id).await;
        let name = uuid();
        session.send(&send_message(id, &name, "hello")).await;
        let acked = session.until_type("msg_ack").await;
        assert_eq!(acked["client_msg_id"], name);
        assert_eq!(&acked["conversation_id"], id);
        assert_eq!(acked["seq"], head + 1);
        assert_eq!(acked["status"], "sent");
        assert_eq!(acked["duplicate"], false);
        let fits = |frame: &Value| {
            frame["type"] == "new_message" && frame["message_id"] == acked["message_id"]
        };
        let heard = to.until(fits).await;
        assert_eq!(heard["sender_id"], ann.id);
        assert_eq!(heard["created_at"], acked["created_at"]);
        assert!(heard.get("client_msg_id").is_none(), "{heard}");
        assert_eq!(own.until(fits).await["client_msg_id"], name);
        if id == &group {
            attached.until(fits).await;
        }
        acks.push(acked);
    }
    // A name is the sender's in each conversation, whichever way the message goes.
    let name = acks[0]["client_msg_id"].as_str().expect("a name");
    session.send(&send_message(&direct, name, "hello")).await;
    let again = session.until_type("msg_ack").await;
    let by_http = laptop.try_say(&direct, name, "hello").await.ok(200);
    let (mut plain, _) = Socket::open(&ann, &direct).await;
    plain.send(&send_message(&direct, name, "hello")).await;
    let by_socket = plain.until_type("msg_ack").await;
    for again in [&again, &by_http, &by_socket] {
        assert_eq!(again["duplicate"], true);
        for field in ["seq", "message_id", "created_at", "client_msg_id"] {
            assert_eq!(again[field], acks[0][field], "{field}");
        }
    }

    own.quiet_for(QUIET).await;
    let shown = of_type(&own.seen, "new_message");
    assert_eq!(shown.len(), 2, "each is shown once: {shown:?}");
    assert_eq!(
        of_type(&own.seen, "msg_ack").len(),
        0,
        "acks are the sending socket's"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_answered_and_the_session_lives_on() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let direct = ann.direct(&bob).await;
    let foreign = bob.direct(&eve).await;
    let before = (ann.head_seq(&direct).await, bob.head_seq(&foreign).await);
    let (mut session, _) = Socket::session(&ann).await;

    for text in [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"sync_complete"}"#,
    ] {
        session.send_text(text).await;
        let error = session.recv().await;
        assert_eq!(error["type"], "error", "{text}: {error}");
        assert_eq!(error["code"], "invalid_request", "{text}: {error}");
        assert!(error["detail"].is_string());
    }
    let name = uuid();
    let with = |field: &str, value: Value| {
        let mut frame = send_message(&direct, &name, "hello");
        frame[field] = value;
        frame
    };
    let mut sealed = with("content", json!("x".repeat(65_537)));
    sealed["content_type"] = json!("encrypted");
    for (frame, code) in [
        (with("content", json!(5)), "invalid_request"),
        (with("content", json!("  ")), "invalid_request"),
        (
            with("content", json!("x".repeat(16_385))),
            "invalid_request",
        ),
        (with("conversation_id", json!("x")), "invalid_request"),
        (with("content_type", json!("song")), "invalid_request"),
        (with("content_type", json!("system")), "invalid_request"),
        (with("conversation_id", json!(uuid())), "not_found"),
        (with("conversation_id", json!(foreign)), "not_found"),
        (sealed, "payload_too_large"),
    ] {
        session.send(&frame).await;
        let error = session.recv().await;
        assert_eq!(error["type"], "error", "{frame}: {error}");
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["client_msg_id"], name, "{error}");
    }
    for frame in [
        with("client_msg_id", json!("not-a-uuid")),
        json!({"type": "ack", "conversation_id": direct, "up_to_seq": -1}),
        json!({"type": "ack", "up_to_seq": 1}),
        json!({"type": "read_receipt", "conversation_id": direct}),
        json!({"type": "read_receipt", "conversation_id": direct, "up_to_seq": "1"}),
        json!({"type": "typing_start"}),
        json!({"type": "sync", "after_seq": 1}),
        json!({"type": "presence_subscribe", "user_ids": "all"}),
        json!({"type": "presence_subscribe", "user_ids": ["x"]}),
    ] {
        session.send(&frame).await;
        let error = session.recv().await;
        assert_eq!(error["type"], "error", "{frame}: {error}");
        assert_eq!(error["code"], "invalid_request", "{frame}: {error}");
        assert!(error.get("client_msg_id").is_none(), "{error}");
    }
    session.send_text(r#"{"type":"ping"}"#).await;
    assert_eq!(session.recv().await, json!({"type": "pong"}));
    session.send_text(r#"{ "type" : "ping" }"#).await;
    assert_eq!(session.recv().await, json!({"type": "pong"}));

    assert_eq!(
        (ann.head_seq(&direct).await, bob.head_seq(&foreign).await),
        before
    );
    session.send(&send_message(&direct, &name, "at last")).await;
    assert_eq!(session.until_type("msg_ack").await["seq"], before.0 + 1);
}

#[tokio::test]
async fn pipelined_messages_keep_their_order_in_each_conversation() {
    const COUNT: usize = 200;
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let direct = ann.direct(&bob).await;
    let group = ann.group("Two", &[&bob]).await;
    let starts = [ann.head_seq(&direct).await, ann.head_seq(&group).await];
    let (mut session, _) = Socket::session(&ann).await;
    let (mut to, _) = Socket::session(&bob).await;
    // Runs in one conversation, and turns.
    let target = |n: usize| {
        if n < 120 || n.is_multiple_of(2) {
            &direct
        } else {
            &group
        }
    };
    let frames: Vec<_> = (0..COUNT)
        .map(|n| send_message(target(n), &uuid(), &format!("{n}")))
        .collect();
    session.send_all(&frames).await;
    while of_type(&session.seen, "msg_ack").len() < COUNT {
        session.recv().await;
    }
    let acks = of_type(&session.seen, "msg_ack");
    for (id, start) in [&direct, &group].into_iter().zip(starts) {
        let sent: Vec<_> = frames
            .iter()
            .filter(|frame| &frame["conversation_id"] == id)
            .collect();
        let acked: Vec<_> = acks
            .iter()
            .filter(|ack| &ack["conversation_id"] == id)
            .collect();
        assert_eq!(sent.len(), acked.len());
        let log = bob.events(id, start).await;
        let head = start + log.len() as u64;
        assert_eq!(log.len(), sent.len(), "each is stored once");
        for (place, (sent, acked)) in sent.iter().zip(&acked).enumerate() {
            assert_eq!(acked["client_msg_id"], sent["client_msg_id"]);
            assert_eq!(acked["duplicate"], false);
            assert_eq!(acked["seq"], start + place as u64 + 1);
            assert_eq!(log[place]["content"], sent["content"]);
        }
        while seqs(&events_of(&to.seen, id)).last() != Some(&head) {
            to.recv().await;
        }
        let heard = events_of(&to.seen, id);
        assert_eq!(heard[heard.len() - log.len()..], log, "each is heard once");
    }
}

#[tokio::test]
async fn a_device_attached_to_a_conversation_has_its_events_once() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    let (id, other) = (ann.direct(&bob).await, ann.group("Two", &[&bob]).await);
    let (mut session, _) = Socket::session(&bob).await;
    let (mut on_laptop, _) = Socket::session(&laptop).await;
    let (mut attached, _) = Socket::open(&bob, &id).await;
    for number in 0..5 {
        ann.say(&id, &format!("{number}")).await;
    }
    let elsewhere = ann.say(&other, "elsewhere").await;
    attached.until(|frame| frame["seq"] == 5).await;
    session
        .until(|frame| frame["message_id"] == elsewhere["message_id"])
        .await;
    on_laptop
        .until(|frame| frame["conversation_id"] == id && frame["seq"] == 5)
        .await;
    session.quiet_for(QUIET).await;
    assert_eq!(seqs(&attached.seen), [1, 2, 3, 4, 5]);
    assert_eq!(seqs(&events_of(&session.seen, &id)), [0; 0]);
    assert_eq!(
        seqs(&events_of(&on_laptop.seen, &id)),
        [1, 2, 3, 4, 5],
        "another device is not attached"
    );

    attached.close().await;
    // The server may take a message or two to learn of the close.
    let mut heard = Vec::new();
    for _ in 0..20 {
        ann.say(&id, "attached no more").await;
        heard = events_of(&session.quiet_for(QUIET).await, &id);
        if !heard.is_empty() {
            break;
        }
    }
    assert!(!heard.is_empty(), "the session takes over");
}

#[tokio::test]
async fn a_newer_session_of_a_device_ends_the_one_before() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    let id = ann.direct(&bob).await;
    let (mut older, _) = Socket::session(&bob).await;
    let (mut elsewhere, _) = Socket::session(&laptop).await;
    let (mut newer, _) = Socket::session(&bob).await;
    older.close_code().await;
    let sent = ann.say(&id, "hello").await;
    for session in [&mut newer, &mut elsewhere] {
        let shown = session.until_type("new_message").await;
        assert_eq!(shown["message_id"], sent["message_id"]);
        session.settled().await;
    }
}

#[tokio::test]
async fn frames_that_break_the_protocol_close_at_most_their_own_session() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let laptop = ann.on_another_device().await;
    let (mut other, _) = Socket::session(&laptop).await;

    let (mut session, _) = Socket::session(&ann).await;
    let bytes = send_message(&id, &uuid(), "binary").to_string();
    session.send_binary(bytes.into_bytes()).await;
    session.refuses_or_closes(&[4000]).await;
    let (mut session, _) = Socket::session(&ann).await;
    let mut frame = send_message(&id, &uuid(), "hello");
    frame["padding"] = json!("x".repeat(128 * 1024));
    session.send(&frame).await;
    session.refuses_or_closes(&[4000, 1009]).await;

    assert_eq!(ann.head_seq(&id).await, 0, "neither was taken");
    other.send(&send_message(&id, &uuid(), "hello")).await;
    assert_eq!(other.until_type("msg_ack").await["seq"], 1);
}

#[tokio::test]
async fn a_session_that_is_refused_is_answered_over_http() {
    let user = User::sign_up(server::shared()).await;
    let nobody = user.api.without_token();
    let good = format!("Bearer {}", user.token());
    let in_query = format!("/ws?token={}", user.token());
    for (path, headers) in [
        ("/ws", vec![]),
        ("/ws", vec![("authorization", "Bearer nonsense")]),
        ("/ws", vec![("sec-websocket-protocol", "parlance.v1")]),
        (
            "/ws",
            vec![("sec-websocket-protocol", "parlance.v1, bearer.nonsense")],
        ),
        (in_query.as_str(), vec![]),
    ] {
        let status = Socket::refusal(&nobody, path, &headers).await;
        assert_eq!(status, 401, "{path} {headers:?}");
    }
    user.api.get("/ws").await.problem(426, "upgrade_required");
    nobody.get("/ws").await.problem(401, "unauthenticated");

    let offer = format!("parlance.v1, bearer.{}", user.token());
    let mut socket = Socket::upgrade(&nobody, "/ws", &[("sec-websocket-protocol", &offer)])
        .await
        .expect("a browser gets in");
    assert_eq!(socket.subprotocol.as_deref(), Some("parlance.v1"));
    assert_eq!(socket.hello().await["device_id"], user.device_id());

    user.api.post("/auth/logout", Value::Null).await.ok(204);
    assert_eq!(
        socket.close_code().await,
        Some(4001),
        "a device that is signed out is closed"
    );
    let status = Socket::refusal(&nobody, "/ws", &[("authorization", &good)]).await;
    assert_eq!(status, 401, "and gets in no more");
}

#[tokio::test]
async fn a_device_that_is_signed_out_by_another_loses_its_session() {
    let phone = User::sign_up(server::shared()).await;
    let laptop = phone.on_another_device().await;
    let (mut lost, _) = Socket::session(&laptop).await;
    let (mut kept, _) = Socket::session(&phone).await;
    let path = format!("/users/me/devices/{}", laptop.device_id());
    phone.api.ask("DELETE", &path, Value::Null).await.ok(204);
    assert_eq!(lost.close_code().await, Some(4001));
    kept.settled().await;
}
