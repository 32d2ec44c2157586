//! `/conversations/{conversation_id}/messages` and `/events`

use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, PEER};

const AT: &str = "2025-11-24T16:00:00.000Z";

fn path(rest: &str) -> String {
    format!("/api/v1/conversations/{ID}/{rest}")
}

fn ack(duplicate: bool) -> Value {
    json!({"client_msg_id": ID, "conversation_id": ID, "message_id": ID, "seq": 2, "created_at": AT,
        "status": "sent", "duplicate": duplicate})
}

fn message() -> Value {
    json!({"conversation_id": ID, "seq": 2, "message_id": ID, "sender_id": ME, "content": "a secret word",
        "content_type": "text", "is_deleted": false, "created_at": AT})
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_is_acknowledged_as_on_a_socket() {
    for (duplicate, status) in [(false, 201), (true, 200)] {
        let fake = Fake::new(move |_| Ok(ack(duplicate)));
        let body = json!({"client_msg_id": ID, "content": "a secret word", "later": true});
        let answer = fake.ask("POST", &path("messages"), Some(body)).await;
        assert_eq!(answer.status, status);
        let mut expected = ack(duplicate);
        expected["type"] = json!("msg_ack");
        assert_eq!(answer.json(), expected);
        let made = fake.made.borrow();
        assert_eq!(made[0].name, ID);
        assert_eq!(made[0].fields()["actor"], ME);
        assert_eq!(made[0].fields()["message"]["content"], "a secret word");
        assert!(!fake.log().contains("secret"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_that_cannot_hold_wakes_no_conversation() {
    let fake = Fake::idle();
    for (body, field) in [
        (json!({"client_msg_id": ID}), "content"),
        (
            json!({"client_msg_id": "x", "content": "secret"}),
            "client_msg_id",
        ),
        (json!({"client_msg_id": ID, "content": " "}), "content"),
        (
            json!({"client_msg_id": ID, "content": "secret", "content_type": "system"}),
            "content_type",
        ),
    ] {
        let answer = fake.ask("POST", &path("messages"), Some(body)).await;
        assert_eq!(answer.problem(400, "invalid_request"), [field]);
    }
    let body = json!({"client_msg_id": ID, "content": "x".repeat(64 * 1024 + 1)});
    fake.ask("POST", &path("messages"), Some(body))
        .await
        .problem(413, "payload_too_large");
    assert!(!fake.log().contains("secret"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_non_member_is_told_that_there_is_nothing() {
    let fake = Fake::new(|_| Err(Problem::not_found("conversation")));
    let body = json!({"client_msg_id": ID, "content": "a secret word"});
    let answer = fake.ask("POST", &path("messages"), Some(body)).await;
    answer.problem(404, "not_found");
    let line: Value = serde_json::from_str(&fake.log()).unwrap();
    assert_eq!(
        line["route"],
        "/api/v1/conversations/{conversation_id}/messages"
    );
    assert_eq!(line["user_id"], ME);
    assert_eq!(line["code"], "not_found");
}

#[tokio::test(flavor = "current_thread")]
async fn messages_have_the_shape_of_their_frames() {
    let fake = Fake::new(|_| {
        Ok(json!({"messages": [message()], "next_cursor": "next", "has_more": true}))
    });
    let answer = fake
        .ask("GET", &path("messages?limit=3&cursor=c"), None)
        .await;
    let mut expected = message();
    expected["type"] = json!("new_message");
    assert_eq!(
        answer.json(),
        json!({"messages": [expected], "next_cursor": "next", "has_more": true})
    );
    let made = fake.made.borrow();
    assert_eq!(
        made[0].request,
        json!({"list_messages": {"actor": ME, "cursor": "c", "limit": 3}})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn events_follow_a_seq() {
    let fake = Fake::new(|_| {
        let mut event = message();
        event["type"] = json!("new_message");
        Ok(json!({"events": [event], "head_seq": 9, "has_more": true}))
    });
    let answer = fake.ask("GET", &path("events?after_seq=1"), None).await;
    assert_eq!(answer.json()["events"][0]["type"], "new_message");
    assert_eq!(answer.json()["head_seq"], 9);
    fake.ask("GET", &path("events"), None).await;
    let made = fake.made.borrow();
    assert_eq!(
        made[0].request,
        json!({"list_events": {"actor": ME, "after_seq": 1, "limit": 200}})
    );
    assert_eq!(made[1].fields()["after_seq"], 0);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_read_is_noted_by_the_reader_s_own_object() {
    let reply = json!({"read_seq": 7, "unread": 1, "total_unread": 4});
    let answered = reply.clone();
    let fake = Fake::new(move |_| Ok(answered.clone()));
    let body = json!({"up_to_seq": 7});
    let answer = fake.ask("POST", &path("read"), Some(body)).await;
    assert_eq!((answer.status, answer.json()), (200, reply));
    let made = fake.made.take();
    assert_eq!((made[0].class, made[0].name.as_str()), ("USER", ME));
    assert_eq!(
        made[0].request,
        json!({"mark_read": {"device_id": DEVICE, "conversation_id": ID, "up_to_seq": 7}})
    );
    for body in [
        json!({}),
        json!({"up_to_seq": -1}),
        json!({"up_to_seq": "7"}),
    ] {
        let answer = fake.ask("POST", &path("read"), Some(body)).await;
        assert_eq!(answer.problem(400, "invalid_request"), ["up_to_seq"]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn who_has_a_message_is_asked_of_its_conversation() {
    let info = json!({"message_id": PEER, "seq": 2, "read_by": [{"user_id": ME, "at": AT}],
        "delivered_to": [], "pending": [PEER]});
    let answered = info.clone();
    let fake = Fake::new(move |_| Ok(answered.clone()));
    let info_path = path(&format!("messages/{PEER}/info"));
    let answer = fake.ask("GET", &info_path, None).await;
    assert_eq!((answer.status, answer.json()), (200, info));
    let made = fake.made.take();
    assert_eq!((made[0].class, made[0].name.as_str()), ("CONVERSATION", ID));
    assert_eq!(
        made[0].request,
        json!({"get_message_info": {"actor": ME, "message_id": PEER}})
    );
    let answer = fake.ask("GET", &path("messages/x/info"), None).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["message_id"]);
}

#[tokio::test(flavor = "current_thread")]
async fn an_object_that_does_not_answer_is_unavailable() {
    let fake = Fake::new(|_| Err(Problem::unavailable("It did not answer.")));
    fake.ask("GET", &path("events"), None)
        .await
        .problem(503, "unavailable");
    assert!(fake.log().contains("\"level\":\"error\""));
}
