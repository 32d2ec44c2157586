//! What is done with messages is seen by the others live, by who was away when they come back,
//! and in the history: the same in all three. By HTTP, on a conversation's own socket and on a
//! session, with the same results.

use parlance_tests::socket::{ack, events_of};
use parlance_tests::{Socket, User, server, uuid};
use serde_json::{Value, json};

/// Sends a frame about a message.
async fn ask(socket: &mut Socket, kind: &str, id: &str, message_id: &Value, more: Value) {
    let mut frame = json!({"type": kind, "conversation_id": id, "message_id": message_id});
    for (field, value) in more.as_object().expect("fields") {
        frame[field] = value.clone();
    }
    socket.send(&frame).await;
}

async fn event(socket: &mut Socket, seq: u64) -> Value {
    socket
        .until(|frame| frame["seq"] == seq && frame["type"] != "msg_ack")
        .await
}

fn without_name(events: &[Value]) -> Vec<Value> {
    let mut events = events.to_vec();
    for event in &mut events {
        event
            .as_object_mut()
            .expect("an event")
            .remove("client_msg_id");
    }
    events
}

#[tokio::test]
async fn everyone_sees_the_same_live_after_being_away_and_in_the_history() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Acts", &[&bob, &eve]).await;
    let poll = json!({"question": "Tea?", "options": ["yes", "no"]}).to_string();
    let messages = format!("/conversations/{id}/messages");
    let body = json!({"client_msg_id": uuid(), "content_type": "poll", "content": poll});
    for user in [&bob, &eve] {
        user.reached(&id, 1).await;
    }
    // Eve has been here once, and is away from now on.
    let (mut away, _) = Socket::session(&eve).await;
    away.send(&ack(&id, 1)).await;
    away.settled().await;
    away.close().await;
    // A device that is attached to the conversation has its events from there.
    let (mut live, _) = Socket::session(&bob.on_another_device().await).await;
    let (mut here, _) = Socket::open(&ann, &id).await;
    let (mut there, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&ann.on_another_device().await).await;

    let text = ann.say(&id, "first").await["message_id"].clone();
    let tea = ann.api.post(&messages, body).await.ok(201)["message_id"].clone();
    // 4: on the conversation's socket.
    ask(
        &mut here,
        "edit_message",
        &id,
        &text,
        json!({"content": "second"}),
    )
    .await;
    event(&mut here, 4).await;
    // 5: on a session.
    ask(&mut session, "react", &id, &text, json!({"emoji": "👍"})).await;
    event(&mut session, 5).await;
    // 6, 7: over HTTP and on the other's socket.
    let vote = format!("{messages}/{}/vote", tea.as_str().expect("an id"));
    bob.api
        .ask("PUT", &vote, json!({"options": [1]}))
        .await
        .ok(200);
    ask(&mut there, "pin", &id, &text, json!({})).await;
    event(&mut there, 7).await;
    // 8, 9: a reply in a thread, and the end of the poll.
    let reply = json!({"client_msg_id": uuid(), "content": "third", "thread_root": text});
    let reply = bob.api.post(&messages, reply).await.ok(201)["message_id"].clone();
    ask(&mut session, "poll_close", &id, &tea, json!({})).await;
    event(&mut session, 9).await;
    // 10: it is deleted again, when it has been seen: who is told later is not told what it said.
    event(&mut live, 9).await;
    ask(&mut there, "delete_message", &id, &reply, json!({})).await;
    event(&mut there, 10).await;

    event(&mut live, 10).await;
    let seen_live = without_name(&events_of(&live.seen, &id));
    let seen_here = without_name(&events_of(&there.seen, &id));
    assert_eq!(seen_live.len(), 9, "{seen_live:?}");
    assert_eq!(
        seen_live, seen_here,
        "at the user's and at the conversation's socket"
    );
    let (_, opening) = Socket::session(&eve).await;
    let seen_later = without_name(&events_of(&opening.pending, &id));
    let history = without_name(&eve.events(&id, 1).await);
    assert_eq!(seen_later, history, "on coming back, and in the history");
    assert_eq!(
        history,
        without_name(&bob.events(&id, 1).await),
        "to each member"
    );
    // What was said live and has been deleted since is gone from the history, and nothing else.
    for (live, later) in seen_live.iter().zip(&history) {
        if live["message_id"] == reply && live["type"] == "new_message" {
            assert_eq!(
                (&live["content"], &later["content"]),
                (&json!("third"), &json!(""))
            );
        } else {
            assert_eq!(live, later);
        }
    }
    let page = eve.api.get(&messages).await.ok(200);
    let shown = page["messages"].as_array().expect("messages");
    assert_eq!(shown.len(), 3);
    assert_eq!(shown[0]["is_deleted"], true);
    assert_eq!(
        shown[1]["poll"],
        json!({"votes": [0, 1], "voters": 1, "voted": [], "is_closed": true})
    );
    assert_eq!(
        (&shown[2]["content"], &shown[2]["is_pinned"]),
        (&json!("second"), &json!(true))
    );
    assert_eq!(shown[2]["reactions"][0]["user_ids"], json!([ann.id]));
    assert_eq!(shown[2]["thread"], Value::Null);
}

#[tokio::test]
async fn a_repeat_on_a_socket_is_answered_with_the_first_one_s_event() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let text = ann.say(&id, "first").await["message_id"].clone();
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&bob.on_another_device().await).await;
    bob.reached(&id, 1).await;
    ask(&mut here, "react", &id, &text, json!({"emoji": "👍"})).await;
    let first = event(&mut here, 2).await;
    event(&mut session, 2).await;
    for socket in [&mut here, &mut session] {
        ask(socket, "react", &id, &text, json!({"emoji": "👍"})).await;
        assert_eq!(socket.recv().await, first);
    }
    assert_eq!(bob.head_seq(&id).await, 2);
}

#[tokio::test]
async fn a_refusal_names_what_was_refused() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let text = ann.say(&id, "first").await["message_id"].clone();
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&bob).await;
    bob.reached(&id, 1).await;
    for socket in [&mut here, &mut session] {
        for (kind, more, code) in [
            ("edit_message", json!({"content": "mine"}), "forbidden"),
            ("edit_message", json!({}), "invalid_request"),
            ("delete_message", json!({}), "forbidden"),
            ("react", json!({"emoji": "ok"}), "invalid_request"),
            ("react", json!({"emoji": "👍", "remove": true}), "not_found"),
            ("pin", json!({"remove": true}), "not_found"),
            ("poll_vote", json!({"options": [0]}), "invalid_request"),
            ("poll_close", json!({}), "invalid_request"),
        ] {
            let name = uuid();
            let mut more = more;
            more["client_msg_id"] = json!(name);
            ask(socket, kind, &id, &text, more).await;
            let error = socket.until_type("error").await;
            assert_eq!(
                (&error["code"], &error["client_msg_id"]),
                (&json!(code), &json!(name))
            );
        }
    }
    assert_eq!(ann.head_seq(&id).await, 1);
}

#[tokio::test]
async fn a_message_deleted_for_oneself_is_told_to_one_s_other_devices_alone() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let other = bob.on_another_device().await;
    let (mut laptop, _) = Socket::session(&other).await;
    let (mut phone, _) = Socket::session(&bob).await;
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut peer, _) = Socket::session(&ann).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(ann.say(&id, &number.to_string()).await["message_id"].clone());
        event(&mut laptop, number).await;
        event(&mut here, number).await;
    }
    bob.reached(&id, 3).await;
    let me = json!({"for": "me"});
    ask(&mut here, "delete_message", &id, &ids[0], me.clone()).await;
    let told = here.until_type("message_hidden").await;
    assert_eq!(told["message_id"], ids[0]);
    assert_eq!(laptop.until_type("message_hidden").await, told);
    ask(&mut phone, "delete_message", &id, &ids[1], me).await;
    assert_eq!(
        phone.until_type("message_hidden").await["message_id"],
        ids[1]
    );
    assert_eq!(
        laptop.until_type("message_hidden").await["message_id"],
        ids[1]
    );
    let path = format!(
        "/conversations/{id}/messages/{}?for=me",
        ids[2].as_str().expect("an id")
    );
    assert_eq!(bob.api.ask("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(
        laptop.until_type("message_hidden").await["message_id"],
        ids[2]
    );
    let item = other.item(&id).await.expect("an item");
    assert_eq!(
        (&item["unread"], &item["last_msg"]),
        (&json!(0), &Value::Null)
    );
    let heard = peer.settled().await;
    assert!(
        heard.iter().all(|frame| frame["type"] != "message_hidden"),
        "{heard:?}"
    );
    let shown = ann
        .api
        .get(&format!("/conversations/{id}/messages"))
        .await
        .ok(200);
    assert_eq!(shown["messages"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn unread_counts_stay_exact_over_deletions() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let ack = ann.say(&id, &number.to_string()).await;
        ids.push(ack["message_id"].as_str().expect("an id").to_owned());
    }
    bob.reached(&id, 4).await;
    bob.mark_read(&id, 1).await.ok(200);
    for place in [0, 2] {
        let path = format!("/conversations/{id}/messages/{}", ids[place]);
        ann.api.ask("DELETE", &path, Value::Null).await.ok(200);
    }
    let item = bob.reached(&id, 6).await;
    assert_eq!(
        item["unread"], 2,
        "the first was read, the third does not count"
    );
    let reply = bob.mark_read(&id, 2).await.ok(200);
    assert_eq!(reply["unread"], 1);
    let (_, opening) = Socket::session(&bob).await;
    assert_eq!(opening.total_unread, 1);
}
