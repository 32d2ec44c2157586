//! What is done with messages, over HTTP: which object is asked what, and what is refused before
//! that.

use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, PEER};

const AT: &str = "2025-11-24T16:00:00.000Z";
/// Ends one minute after the fake's now.
const LATER: &str = "2025-11-24T16:01:00.000Z";

fn path(rest: &str) -> String {
    format!("/api/v1/conversations/{ID}/{rest}")
}

fn pinned() -> Value {
    json!({"type": "pin_changed", "conversation_id": ID, "seq": 3, "message_id": PEER, "pinned": true,
        "changed_by": ME, "created_at": AT})
}

fn message(content: &str) -> Value {
    json!({"conversation_id": ID, "seq": 2, "message_id": PEER, "sender_id": PEER, "content": content,
        "content_type": "text", "is_deleted": false, "created_at": AT})
}

fn ack() -> Value {
    json!({"client_msg_id": ID, "conversation_id": PEER, "message_id": ID, "seq": 2, "created_at": AT,
        "status": "sent", "duplicate": false})
}

#[tokio::test(flavor = "current_thread")]
async fn each_act_is_asked_of_the_conversation_and_answered_with_its_event() {
    let message = format!("messages/{PEER}");
    let acts = [
        (
            "PATCH",
            message.clone(),
            Some(json!({"content": "anew"})),
            json!({"edit": {"content": "anew", "mentions": null}}),
        ),
        ("DELETE", message.clone(), None, json!("delete")),
        (
            "DELETE",
            format!("{message}?for=everyone"),
            None,
            json!("delete"),
        ),
        (
            "PUT",
            format!("{message}/reactions/%F0%9F%91%8D"),
            None,
            json!({"react": {"emoji": "👍", "remove": false}}),
        ),
        (
            "DELETE",
            format!("{message}/reactions/👍"),
            None,
            json!({"react": {"emoji": "👍", "remove": true}}),
        ),
        (
            "PUT",
            format!("pins/{PEER}"),
            None,
            json!({"pin": {"remove": false}}),
        ),
        (
            "DELETE",
            format!("pins/{PEER}"),
            None,
            json!({"pin": {"remove": true}}),
        ),
        (
            "PUT",
            format!("{message}/vote"),
            Some(json!({"options": [1]})),
            json!({"vote": {"options": [1]}}),
        ),
        (
            "PUT",
            format!("{message}/poll/closed"),
            None,
            json!("close_poll"),
        ),
    ];
    for (method, rest, body, act) in acts {
        let fake = Fake::new(|_| Ok(json!({"event": pinned(), "duplicate": false})));
        let answer = fake.ask(method, &path(&rest), body).await;
        assert_eq!((answer.status, answer.json()), (200, pinned()), "{rest}");
        let made = fake.made.take();
        assert_eq!((made[0].class, made[0].name.as_str()), ("CONVERSATION", ID));
        assert_eq!(
            made[0].request,
            json!({"act_on": {"actor": ME, "message_id": PEER, "act": act}})
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_cannot_hold_wakes_no_conversation() {
    let fake = Fake::idle();
    let message = path(&format!("messages/{PEER}"));
    for (method, path, body, field) in [
        ("PATCH", message.clone(), Some(json!({})), "content"),
        ("PUT", format!("{message}/reactions/ok"), None, "emoji"),
        ("PUT", format!("{message}/reactions/%FF"), None, "emoji"),
        (
            "PUT",
            format!("{message}/vote"),
            Some(json!({"options": "1"})),
            "options",
        ),
        (
            "PUT",
            format!("{message}/vote"),
            Some(json!({"options": vec![0; 13]})),
            "options",
        ),
        ("DELETE", format!("{message}?for=them"), None, "for"),
        ("GET", format!("{message}/thread?limit=0"), None, "limit"),
        (
            "POST",
            format!("{message}/forward"),
            Some(json!({"conversation_ids": [], "client_msg_id": ID})),
            "conversation_ids",
        ),
        (
            "POST",
            format!("{message}/forward"),
            Some(json!({"conversation_ids": [ID, ID], "client_msg_id": ID})),
            "conversation_ids",
        ),
        ("PUT", path("pins/x"), None, "message_id"),
        ("DELETE", path("scheduled/x"), None, "scheduled_id"),
    ] {
        let answer = fake.ask(method, &path, body).await;
        assert_eq!(answer.problem(400, "invalid_request"), [field], "{path}");
    }
    let body = json!({"content": "x".repeat(64 * 1024 + 1)});
    fake.ask("PATCH", &message, Some(body))
        .await
        .problem(413, "payload_too_large");
}

#[tokio::test(flavor = "current_thread")]
async fn deleting_for_oneself_is_asked_of_the_caller_s_own_object() {
    let fake = Fake::new(|_| Ok(Value::Null));
    let answer = fake
        .ask("DELETE", &path(&format!("messages/{PEER}?for=me")), None)
        .await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let made = fake.made.take();
    assert_eq!((made[0].class, made[0].name.as_str()), ("USER", ME));
    assert_eq!(
        made[0].request,
        json!({"hide_message": {"device_id": DEVICE, "conversation_id": ID, "message_id": PEER}})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_and_a_thread_have_the_shape_of_frames() {
    let fake = Fake::new(|made| match made.call() {
        "get_message" => Ok(message("hello")),
        _ => Ok(
            json!({"root": message("root"), "messages": [message("reply")], "next_cursor": null,
            "has_more": false}),
        ),
    });
    let answer = fake
        .ask("GET", &path(&format!("messages/{PEER}")), None)
        .await;
    let mut expected = message("hello");
    expected["type"] = json!("new_message");
    assert_eq!(answer.json(), expected);
    let answer = fake
        .ask(
            "GET",
            &path(&format!("messages/{PEER}/thread?limit=3&cursor=c")),
            None,
        )
        .await;
    assert_eq!(answer.json()["root"]["type"], "new_message");
    assert_eq!(answer.json()["messages"][0]["content"], "reply");
    let made = fake.made.take();
    assert_eq!(
        made[1].request,
        json!({"list_thread": {"actor": ME, "message_id": PEER, "cursor": "c", "limit": 3}})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_forward_tells_for_each_conversation_what_came_of_it() {
    let fake = Fake::new(|made| match (made.call(), made.name.as_str()) {
        ("get_message", _) => {
            let mut found = message("a secret word");
            found["mentions"] = json!([ME]);
            found["reply_to"] = json!(ID);
            Ok(found)
        }
        ("send", PEER) => Ok(ack()),
        _ => Err(Problem::not_found("conversation")),
    });
    let body = json!({"conversation_ids": [PEER, ME], "client_msg_id": ID});
    let answer = fake
        .ask(
            "POST",
            &path(&format!("messages/{PEER}/forward")),
            Some(body),
        )
        .await;
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].clone();
    assert_eq!(results[0], json!({"conversation_id": PEER, "ack": ack()}));
    assert_eq!(results[1]["conversation_id"], ME);
    assert_eq!(results[1]["problem"]["code"], "not_found");
    let made = fake.made.take();
    assert_eq!(
        made[1].request,
        json!({"send": {"actor": ME, "device_id": DEVICE,
            "forwarded_from": {"sender_id": PEER, "created_at": AT},
            "message": {"client_msg_id": ID, "content": "a secret word", "content_type": "text"}}})
    );
    assert_eq!(made.len(), 3);
    assert!(!fake.log().contains("secret"));
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_gone_or_sealed_is_not_forwarded_and_what_was_forwarded_keeps_its_author() {
    let body = || Some(json!({"conversation_ids": [PEER], "client_msg_id": ID}));
    let forward = path(&format!("messages/{PEER}/forward"));
    let fake = Fake::new(|_| {
        let mut gone = message("");
        gone["is_deleted"] = json!(true);
        Ok(gone)
    });
    fake.ask("POST", &forward, body())
        .await
        .problem(409, "conflict");
    let fake = Fake::new(|_| {
        let mut sealed = message("AAAA");
        sealed["content_type"] = json!("encrypted");
        Ok(sealed)
    });
    let answer = fake.ask("POST", &forward, body()).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["message_id"]);
    let origin = json!({"sender_id": ME, "created_at": LATER});
    let first = origin.clone();
    let fake = Fake::new(move |made| {
        if made.call() == "send" {
            return Ok(ack());
        }
        let mut forwarded = message("far travelled");
        forwarded["forwarded_from"] = first.clone();
        Ok(forwarded)
    });
    fake.ask("POST", &forward, body()).await;
    assert_eq!(fake.made.take()[1].fields()["forwarded_from"], origin);
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_with_a_time_is_scheduled_listed_and_taken_back() {
    let scheduled = json!({"scheduled_id": PEER, "conversation_id": ID, "created_at": AT,
        "client_msg_id": ID, "content": "later", "content_type": "text", "send_at": LATER});
    let kept = scheduled.clone();
    let fake = Fake::new(move |made| match made.call() {
        "schedule" => Ok(json!({"later": kept})),
        "list_scheduled" => Ok(json!({"scheduled": [kept]})),
        _ => Ok(Value::Null),
    });
    let body = json!({"client_msg_id": ID, "content": "later", "send_at": LATER});
    let answer = fake.ask("POST", &path("messages"), Some(body)).await;
    let mut expected = scheduled.clone();
    expected["type"] = json!("message_scheduled");
    assert_eq!((answer.status, answer.json()), (202, expected));
    let answer = fake.ask("GET", &path("scheduled"), None).await;
    assert_eq!(answer.json(), json!({"scheduled": [scheduled]}));
    let answer = fake
        .ask("DELETE", &path(&format!("scheduled/{PEER}")), None)
        .await;
    assert_eq!(answer.status, 204);
    let made = fake.made.take();
    assert_eq!(made[0].fields()["message"]["send_at"], LATER);
    assert_eq!(made[0].fields()["device_id"], DEVICE);
    assert_eq!(
        made[2].request,
        json!({"cancel_scheduled": {"actor": ME, "scheduled_id": PEER}})
    );
    let fake = Fake::new(|_| Ok(json!({"already": ack()})));
    let body = json!({"client_msg_id": ID, "content": "later", "send_at": LATER});
    let answer = fake.ask("POST", &path("messages"), Some(body)).await;
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (200, &json!("msg_ack"))
    );
}
