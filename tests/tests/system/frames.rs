//! Frames that a client should not send: they are answered, and harm nobody.

use parlance_tests::scene::pair;
use parlance_tests::socket::send_message;
use parlance_tests::{Socket, User, server, uuid};
use serde_json::{Value, json};

const FRAME_LIMIT: usize = 128 * 1024;

#[tokio::test]
async fn a_bad_frame_is_answered_and_the_socket_lives_on() {
    let (ann, bob, id) = pair().await;
    let eve = User::sign_up(server::shared()).await;
    let elsewhere = ann.direct(&eve).await;
    let before = (ann.head_seq(&id).await, ann.head_seq(&elsewhere).await);
    let (mut socket, _) = Socket::open(&ann, &id).await;
    let (mut other, _) = Socket::open(&bob, &id).await;

    for text in [
        "",
        "nonsense",
        "{",
        "[]",
        "null",
        "5",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"dance"}"#,
        r#"{"type":"auth_ack"}"#,
    ] {
        socket.send_text(text).await;
        let error = socket.recv().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("invalid_request")),
            "{text}: {error}"
        );
        assert!(error["detail"].is_string());
    }
    let name = uuid();
    let with = |field: &str, value: Value| {
        let mut frame = send_message(&id, &name, "hello");
        if value.is_null() {
            frame.as_object_mut().expect("an object").remove(field);
        } else {
            frame[field] = value;
        }
        frame
    };
    let named = [
        with("content", json!(5)),
        with("content", Value::Null),
        with("content", json!("  ")),
        with("content", json!("x".repeat(16_385))),
        with("conversation_id", Value::Null),
        with("conversation_id", json!("x")),
        with("content_type", json!("song")),
        with("content_type", json!("system")),
        with("reply_to", json!("x")),
        with("mentions", json!([1])),
    ];
    for frame in named {
        socket.send(&frame).await;
        let error = socket.recv().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("invalid_request")),
            "{frame}: {error}"
        );
        assert_eq!(
            error["client_msg_id"], name,
            "the message is named: {error}"
        );
    }
    for frame in [
        with("conversation_id", json!(elsewhere)),
        with("conversation_id", json!(uuid())),
        with("reply_to", json!(uuid())),
    ] {
        socket.send(&frame).await;
        let error = socket.recv().await;
        assert_eq!(error["type"], "error", "{frame}");
        assert!(
            error["code"] == "invalid_request" || error["code"] == "not_found",
            "{error}"
        );
        assert_eq!(error["client_msg_id"], name);
    }
    let mut sealed = with("content", json!("x".repeat(65_537)));
    sealed["content_type"] = json!("encrypted");
    socket.send(&sealed).await;
    assert_eq!(socket.recv().await["code"], "payload_too_large");
    for frame in [
        with("client_msg_id", Value::Null),
        with("client_msg_id", json!("not-a-uuid")),
        json!({"type": "ack", "conversation_id": id, "up_to_seq": -1}),
        json!({"type": "ack", "conversation_id": id}),
        json!({"type": "sync", "conversation_id": id, "after_seq": "1"}),
        json!({"type": "sync", "after_seq": 1}),
    ] {
        socket.send(&frame).await;
        let error = socket.recv().await;
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("invalid_request")),
            "{frame}: {error}"
        );
        assert!(error.get("client_msg_id").is_none(), "{error}");
    }

    assert_eq!(
        other.settled().await,
        [Value::Null; 0],
        "the other side is told nothing"
    );
    assert_eq!(
        (ann.head_seq(&id).await, ann.head_seq(&elsewhere).await),
        before
    );
    socket.send(&send_message(&id, &name, "at last")).await;
    assert_eq!(socket.until_type("msg_ack").await["seq"], before.0 + 1);
    assert_eq!(other.until_type("new_message").await["content"], "at last");
}

#[tokio::test]
async fn frames_that_break_the_protocol_close_at_most_their_own_socket() {
    let (ann, bob, id) = pair().await;
    let before = ann.head_seq(&id).await;
    let (mut other, _) = Socket::open(&bob, &id).await;

    let (mut socket, _) = Socket::open(&ann, &id).await;
    socket
        .send_binary(
            send_message(&id, &uuid(), "binary")
                .to_string()
                .into_bytes(),
        )
        .await;
    socket.refuses_or_closes(&[4000]).await;

    let mut frame = send_message(&id, &uuid(), "hello");
    frame["padding"] = json!("x".repeat(FRAME_LIMIT));
    let (mut socket, _) = Socket::open(&ann, &id).await;
    socket.send(&frame).await;
    socket.refuses_or_closes(&[4000, 1009]).await;
    assert_eq!(ann.head_seq(&id).await, before, "neither was taken");

    let mut largest = send_message(&id, &uuid(), "just fits");
    largest["padding"] = json!("");
    let room = FRAME_LIMIT - largest.to_string().len();
    largest["padding"] = json!("x".repeat(room));
    let (mut socket, _) = Socket::open(&ann, &id).await;
    socket.send(&largest).await;
    assert_eq!(socket.until_type("msg_ack").await["seq"], before + 1);
    assert_eq!(
        other.until_type("new_message").await["content"],
        "just fits"
    );
}
