//! What is done with messages: edits, deletions, reactions, pins, polls, threads, forwards. The
//! log tells all of it, the list of messages shows what has become of each.

use parlance_tests::scene::pair;
use parlance_tests::{User, eventually, server, uuid};
use serde_json::{Value, json};

const MISSING: &str = "0193e8a0-1111-7abc-8def-0123456789ab";

fn message(conversation: &str, message_id: &Value) -> String {
    let id = message_id.as_str().expect("an id");
    format!("/conversations/{conversation}/messages/{id}")
}

fn pin(conversation: &str, message_id: &Value) -> String {
    let id = message_id.as_str().expect("an id");
    format!("/conversations/{conversation}/pins/{id}")
}

/// The messages as they are now, oldest first.
async fn messages(user: &User, conversation: &str) -> Vec<Value> {
    let path = format!("/conversations/{conversation}/messages");
    let page = user.api.get(&path).await.ok(200);
    let mut messages = page["messages"].as_array().expect("messages").clone();
    messages.reverse();
    messages
}

async fn send(user: &User, conversation: &str, more: Value) -> Value {
    let mut body = json!({"client_msg_id": uuid(), "content": "hello"});
    for (field, value) in more.as_object().expect("fields") {
        body[field] = value.clone();
    }
    let path = format!("/conversations/{conversation}/messages");
    user.api.post(&path, body).await.ok(201)
}

#[tokio::test]
async fn an_edit_shows_in_messages_and_the_log_keeps_how_it_came() {
    let (ann, bob, id) = pair().await;
    let ack = ann.say(&id, "first").await;
    let path = message(&id, &ack["message_id"]);
    let edit = json!({"content": "second"});
    let event = ann.api.ask("PATCH", &path, edit.clone()).await.ok(200);
    assert_eq!(event["type"], "message_edited");
    assert_eq!(event["seq"], 2);
    assert_eq!(event["message_id"], ack["message_id"]);
    let again = ann.api.ask("PATCH", &path, edit).await.ok(200);
    assert_eq!(again, event, "the same again is no event");
    for user in [&ann, &bob] {
        let log = user.events(&id, 0).await;
        assert_eq!(log.len(), 2);
        assert_eq!(log[0]["content"], "first");
        assert_eq!(log[1], event);
        let shown = messages(user, &id).await.remove(0);
        assert_eq!(shown["content"], "second");
        assert_eq!(shown["edited_at"], event["edited_at"]);
        let one = user.api.get(&path).await.ok(200);
        assert_eq!(one, shown);
        let item = user.reached(&id, 2).await;
        assert_eq!(item["last_msg"]["preview"], "second");
    }
    let refused = bob.api.ask("PATCH", &path, json!({"content": "x"})).await;
    refused.problem(403, "forbidden");
}

#[tokio::test]
async fn what_was_deleted_for_everyone_can_be_read_nowhere_any_more() {
    let (ann, bob, id) = pair().await;
    let ack = ann.say(&id, "a secret").await;
    let path = message(&id, &ack["message_id"]);
    let edit = json!({"content": "another secret"});
    ann.api.ask("PATCH", &path, edit).await.ok(200);
    bob.reached(&id, 2).await;
    assert_eq!(bob.item(&id).await.expect("an item")["unread"], 1);
    bob.api
        .ask("DELETE", &path, Value::Null)
        .await
        .problem(403, "forbidden");
    let event = ann.api.ask("DELETE", &path, Value::Null).await.ok(200);
    assert_eq!(event["type"], "message_deleted");
    assert_eq!(event["deleted_by"], ann.id);
    let again = ann.api.ask("DELETE", &path, Value::Null).await.ok(200);
    assert_eq!(again, event);
    for user in [&ann, &bob] {
        let item = user.reached(&id, 3).await;
        assert_eq!(
            (&item["unread"], &item["last_msg"]["preview"]),
            (&json!(0), &json!(""))
        );
        let shown = messages(user, &id).await;
        assert_eq!(shown[0]["is_deleted"], true);
        let everything = json!([shown, user.events(&id, 0).await, item]).to_string();
        assert!(!everything.contains("secret"), "{everything}");
    }
    for (method, path, body) in [
        ("PATCH", path.clone(), json!({"content": "again"})),
        ("PUT", format!("{path}/reactions/👍"), Value::Null),
        ("PUT", pin(&id, &ack["message_id"]), Value::Null),
        (
            "POST",
            format!("{path}/forward"),
            json!({"conversation_ids": [id], "client_msg_id": uuid()}),
        ),
    ] {
        let refused = ann.api.ask(method, &path, body).await;
        refused.problem(409, "conflict");
    }
    assert_eq!(ann.head_seq(&id).await, 3);
}

#[tokio::test]
async fn a_message_deleted_for_oneself_is_there_for_the_other() {
    let (ann, bob, id) = pair().await;
    ann.say(&id, "stays").await;
    let ack = ann.say(&id, "a secret").await;
    bob.reached(&id, 2).await;
    let path = message(&id, &ack["message_id"]);
    let hide = format!("{path}?for=me");
    for _ in 0..2 {
        let reply = bob.api.ask("DELETE", &hide, Value::Null).await;
        assert_eq!(reply.status, 204);
    }
    let item = bob.item(&id).await.expect("an item");
    assert_eq!(
        (&item["unread"], &item["last_msg"]["preview"]),
        (&json!(1), &json!("stays"))
    );
    assert_eq!(messages(&bob, &id).await.len(), 1);
    let log = bob.events(&id, 0).await;
    assert_eq!(
        (&log[1]["is_hidden"], &log[1]["content"]),
        (&json!(true), &json!(""))
    );
    bob.api.get(&path).await.problem(404, "not_found");
    assert_eq!(messages(&ann, &id).await[1]["content"], "a secret");
    assert_eq!(ann.head_seq(&id).await, 2, "nobody is told");
}

#[tokio::test]
async fn reactions_and_pins_show_who_and_how_many() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Three", &[&bob, &eve]).await;
    let ack = ann.say(&id, "hello").await;
    let path = message(&id, &ack["message_id"]);
    let thumb = format!("{path}/reactions/%F0%9F%91%8D");
    let event = bob.api.ask("PUT", &thumb, Value::Null).await.ok(200);
    assert_eq!(
        (&event["type"], &event["emoji"], &event["removed"]),
        (&json!("reaction"), &json!("👍"), &json!(false))
    );
    assert_eq!(bob.api.ask("PUT", &thumb, Value::Null).await.ok(200), event);
    eve.api.ask("PUT", &thumb, Value::Null).await.ok(200);
    eve.api
        .ask("PUT", &format!("{path}/reactions/🎉"), Value::Null)
        .await
        .ok(200);
    let shown = messages(&bob, &id).await.remove(0);
    assert_eq!(
        shown["reactions"],
        json!([
            {"emoji": "👍", "count": 2, "reacted": true, "user_ids": [bob.id, eve.id]},
            {"emoji": "🎉", "count": 1, "reacted": false, "user_ids": [eve.id]},
        ])
    );
    let removed = bob.api.ask("DELETE", &thumb, Value::Null).await.ok(200);
    assert_eq!(removed["removed"], true);
    assert_eq!(
        bob.api.ask("DELETE", &thumb, Value::Null).await.ok(200),
        removed
    );
    let refused = bob
        .api
        .ask("PUT", &format!("{path}/reactions/ok"), Value::Null)
        .await;
    refused.invalid_field("emoji");

    let pin = pin(&id, &ack["message_id"]);
    let event = ann.api.ask("PUT", &pin, Value::Null).await.ok(200);
    assert_eq!(
        (&event["type"], &event["pinned"]),
        (&json!("pin_changed"), &json!(true))
    );
    let pins = bob
        .api
        .get(&format!("/conversations/{id}/pins"))
        .await
        .ok(200);
    assert_eq!(pins["pins"][0]["message"]["message_id"], ack["message_id"]);
    assert_eq!(pins["pins"][0]["pinned_by"], ann.id);
    assert_eq!(messages(&eve, &id).await[0]["is_pinned"], true);
    ann.api.ask("DELETE", &pin, Value::Null).await.ok(200);
    let pins = bob
        .api
        .get(&format!("/conversations/{id}/pins"))
        .await
        .ok(200);
    assert_eq!(pins["pins"], json!([]));
    assert_eq!(messages(&eve, &id).await[0]["is_pinned"], Value::Null);
}

#[tokio::test]
async fn a_poll_counts_votes_until_it_is_closed() {
    let (ann, bob, id) = pair().await;
    let content = json!({"question": "Tea?", "options": ["yes", "no"]}).to_string();
    let ack = send(
        &ann,
        &id,
        json!({"content_type": "poll", "content": content}),
    )
    .await;
    let path = message(&id, &ack["message_id"]);
    let vote = async |user: &User, options: Value| {
        let body = json!({"options": options});
        user.api.ask("PUT", &format!("{path}/vote"), body).await
    };
    let event = vote(&bob, json!([0])).await.ok(200);
    assert_eq!(
        (&event["type"], &event["options"]),
        (&json!("poll_vote"), &json!([0]))
    );
    vote(&bob, json!([1])).await.ok(200);
    vote(&ann, json!([1])).await.ok(200);
    vote(&ann, json!([2])).await.invalid_field("options");
    vote(&ann, json!([0, 1])).await.invalid_field("options");
    let closed = format!("{path}/poll/closed");
    bob.api
        .ask("PUT", &closed, Value::Null)
        .await
        .problem(403, "forbidden");
    ann.api.ask("PUT", &closed, Value::Null).await.ok(200);
    vote(&bob, json!([0])).await.problem(409, "conflict");
    let shown = messages(&bob, &id).await.remove(0);
    assert_eq!(
        shown["poll"],
        json!({"votes": [0, 2], "voters": 2, "voted": [1], "is_closed": true})
    );
    let item = bob.reached(&id, 5).await;
    assert_eq!(item["last_msg"]["preview"], "Tea?");
}

#[tokio::test]
async fn contents_of_their_own_kind_are_checked() {
    let (ann, _, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    for (content_type, content, field) in [
        ("poll", "Tea?", "content"),
        (
            "poll",
            r#"{"question":"?","options":["a"]}"#,
            "content.options",
        ),
        ("location", r#"{"lat":91,"lon":0}"#, "content.lat"),
        ("location", r#"{"lat":"1","lon":0}"#, "content.lat"),
    ] {
        let body =
            json!({"client_msg_id": uuid(), "content_type": content_type, "content": content});
        ann.api.post(&path, body).await.invalid_field(field);
    }
    let place = json!({"lat": 52.5, "lon": 13.4, "name": "Berlin"}).to_string();
    send(
        &ann,
        &id,
        json!({"content_type": "location", "content": place}),
    )
    .await;
    assert_eq!(messages(&ann, &id).await[0]["content"], place);
}

#[tokio::test]
async fn a_thread_hangs_on_its_root() {
    let (ann, bob, id) = pair().await;
    let root = ann.say(&id, "question").await;
    let mut last = Value::Null;
    for number in 0..3 {
        let more = json!({"content": number.to_string(), "thread_root": root["message_id"]});
        last = send(&bob, &id, more).await;
    }
    let shown = messages(&ann, &id).await;
    assert_eq!(
        shown[0]["thread"],
        json!({"replies": 3, "last_reply_at": last["created_at"]})
    );
    assert_eq!(shown[3]["thread_root"], root["message_id"]);
    let path = format!("{}/thread?limit=2", message(&id, &root["message_id"]));
    let page = ann.api.get(&path).await.ok(200);
    assert_eq!(page["root"]["content"], "question");
    assert_eq!(
        (&page["messages"][0]["content"], &page["has_more"]),
        (&json!("2"), &json!(true))
    );
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let page = ann
        .api
        .get(&format!("{path}&cursor={cursor}"))
        .await
        .ok(200);
    assert_eq!(
        (page["messages"].as_array().map(Vec::len), &page["has_more"]),
        (Some(1), &json!(false))
    );
    let nested =
        json!({"client_msg_id": uuid(), "content": "x", "thread_root": last["message_id"]});
    let refused = ann
        .api
        .post(&format!("/conversations/{id}/messages"), nested)
        .await;
    refused.invalid_field("thread_root");
}

#[tokio::test]
async fn a_forward_goes_where_the_sender_may_write_and_once() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let from = ann.direct(&bob).await;
    let group = bob.group("Two", &[&eve]).await;
    let foreign = ann.direct(&eve).await;
    let ack = ann.say(&from, "pass it on").await;
    bob.reached(&from, 1).await;
    let path = format!("{}/forward", message(&from, &ack["message_id"]));
    let body = json!({"conversation_ids": [group, foreign, MISSING], "client_msg_id": uuid()});
    let first = bob.api.post(&path, body.clone()).await.ok(200);
    let results = first["results"].as_array().expect("results");
    assert_eq!(results[0]["conversation_id"], group);
    assert_eq!(results[0]["ack"]["duplicate"], false);
    for refused in &results[1..] {
        assert_eq!(refused["problem"]["code"], "not_found");
    }
    let again = bob.api.post(&path, body).await.ok(200);
    assert_eq!(again["results"][0]["ack"]["duplicate"], true);
    assert_eq!(again["results"][0]["ack"]["seq"], results[0]["ack"]["seq"]);
    let shown = messages(&eve, &group).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (&shown[0]["content"], &shown[0]["sender_id"]),
        (&json!("pass it on"), &json!(bob.id))
    );
    assert_eq!(
        shown[0]["forwarded_from"],
        json!({"sender_id": ann.id, "created_at": ack["created_at"]})
    );
    eve.api
        .post(
            &path,
            json!({"conversation_ids": [group], "client_msg_id": uuid()}),
        )
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn nothing_can_be_done_with_what_one_cannot_see() {
    let (ann, bob, id) = pair().await;
    let eve = User::sign_up(server::shared()).await;
    let ack = ann.say(&id, "between us").await;
    bob.reached(&id, 1).await;
    let before = json!([ann.list().await, bob.list().await, ann.events(&id, 0).await]);
    let missing = json!(MISSING);
    for (user, message_id) in [(&eve, &ack["message_id"]), (&ann, &missing)] {
        let path = message(&id, message_id);
        for (method, path, body) in [
            ("GET", path.clone(), Value::Null),
            ("PATCH", path.clone(), json!({"content": "x"})),
            ("DELETE", path.clone(), Value::Null),
            ("DELETE", format!("{path}?for=me"), Value::Null),
            ("PUT", format!("{path}/reactions/👍"), Value::Null),
            ("PUT", format!("{path}/vote"), json!({"options": [0]})),
            ("PUT", format!("{path}/poll/closed"), Value::Null),
            ("GET", format!("{path}/thread"), Value::Null),
            ("PUT", pin(&id, message_id), Value::Null),
        ] {
            let refused = if method == "GET" {
                user.api.get(&path).await
            } else {
                user.api.ask(method, &path, body).await
            };
            refused.problem(404, "not_found");
        }
    }
    let after = json!([ann.list().await, bob.list().await, ann.events(&id, 0).await]);
    assert_eq!(before, after);
    eventually("nothing to have changed", async || Some(())).await;
}
