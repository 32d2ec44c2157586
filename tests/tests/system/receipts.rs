//! Receipts: who has received and read what, and how much there is still to read.

use std::time::Duration;

use parlance_tests::socket::{ack, of_type, position, read};
use parlance_tests::{Socket, User, eventually, server, uuid};
use serde_json::{Value, json};

/// How long to wait for what should not come.
const QUIET: Duration = Duration::from_millis(1500);

/// Receives up to the receipt for this seq, which must name this message and this reader.
async fn receipt(socket: &mut Socket, kind: &str, of: &Value, by: &User) {
    let id = &of["conversation_id"];
    let shown = socket
        .until(|frame| {
            frame["type"] == kind
                && &frame["conversation_id"] == id
                && frame["up_to_seq"] == of["seq"]
        })
        .await;
    assert_eq!(shown["message_id"], of["message_id"], "{shown}");
    assert_eq!(shown["user_id"], by.id, "{shown}");
}

async fn info(user: &User, sent: &Value) -> Value {
    let id = sent["conversation_id"].as_str().expect("a conversation");
    let message = sent["message_id"].as_str().expect("a message");
    let path = format!("/conversations/{id}/messages/{message}/info");
    user.api.get(&path).await.ok(200)
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    let mut ids: Vec<_> = list
        .iter()
        .filter_map(|entry| entry["user_id"].as_str().or(entry.as_str()))
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn the_first_device_delivers_and_a_read_reaches_both_sides() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let (ann_laptop, bob_laptop) = tokio::join!(ann.on_another_device(), bob.on_another_device());
    let id = ann.direct(&bob).await;
    let (mut from, _) = Socket::session(&ann).await;
    let (mut from_laptop, _) = Socket::session(&ann_laptop).await;
    let (mut to, _) = Socket::session(&bob).await;
    let (mut to_laptop, _) = Socket::session(&bob_laptop).await;
    ann.say(&id, "one").await;
    let sent = ann.say(&id, "two").await;
    for socket in [&mut to, &mut to_laptop] {
        socket.until(|frame| frame["seq"] == 2).await;
    }
    from.quiet_for(QUIET).await;
    for kind in ["delivery_receipt", "read_receipt"] {
        assert_eq!(of_type(&from.seen, kind), [Value::Null; 0], "not yet");
    }

    to.send(&ack(&id, 2)).await;
    for socket in [&mut from, &mut from_laptop] {
        receipt(socket, "delivery_receipt", &sent, &bob).await;
    }
    to_laptop.send(&ack(&id, 1)).await;
    to_laptop.send(&ack(&id, 2)).await;
    to.send(&ack(&id, 2)).await;
    let after = from.quiet_for(QUIET).await;
    assert_eq!(
        of_type(&after, "delivery_receipt"),
        [Value::Null; 0],
        "the second device delivers nothing new"
    );

    to_laptop.send(&read(&id, 2)).await;
    for socket in [&mut from, &mut from_laptop] {
        receipt(socket, "read_receipt", &sent, &bob).await;
    }
    let own = to.until_type("conversation_read").await;
    assert_eq!(own["conversation_id"], id);
    assert_eq!((&own["up_to_seq"], &own["unread"]), (&json!(2), &json!(0)));
    let item = bob.item(&id).await.expect("the conversation");
    assert_eq!((&item["unread"], &item["read_seq"]), (&json!(0), &json!(2)));

    to_laptop.send(&read(&id, 1)).await;
    to_laptop.send(&read(&id, 2)).await;
    let after = from.quiet_for(QUIET).await;
    assert_eq!(
        of_type(&after, "read_receipt"),
        [Value::Null; 0],
        "it does not go backwards"
    );
    to_laptop.settled().await;
    for kind in ["conversation_read", "delivery_receipt", "read_receipt"] {
        assert_eq!(
            of_type(&to_laptop.seen, kind),
            [Value::Null; 0],
            "a reader is not told of its own reading"
        );
    }
}

#[tokio::test]
async fn reading_over_http_has_the_same_effects() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    let (id, other) = (ann.direct(&bob).await, ann.group("Two", &[&bob]).await);
    let elsewhere = ann.say(&other, "elsewhere").await;
    bob.reached(&other, elsewhere["seq"].as_u64().expect("a seq"))
        .await;
    let mut sent = Vec::new();
    for number in 1..=5 {
        sent.push(ann.say(&id, &format!("{number}")).await);
    }
    bob.reached(&id, 5).await;
    bob.say(&id, "one's own does not count").await;
    bob.reached(&id, 6).await;
    let (mut from, _) = Socket::session(&ann).await;
    let (mut to_laptop, opening) = Socket::session(&laptop).await;
    assert_eq!(opening.total_unread, 6);

    let reply = bob.mark_read(&id, 2).await.ok(200);
    assert_eq!(
        reply,
        json!({"read_seq": 2, "unread": 3, "total_unread": 4})
    );
    receipt(&mut from, "read_receipt", &sent[1], &bob).await;
    let told = to_laptop.until_type("conversation_read").await;
    assert_eq!(
        (&told["up_to_seq"], &told["unread"]),
        (&json!(2), &json!(3))
    );
    let back = bob.mark_read(&id, 1).await.ok(200);
    assert_eq!(back, reply, "it does not go backwards");
    let item = laptop.item(&id).await.expect("the conversation");
    assert_eq!((&item["unread"], &item["read_seq"]), (&json!(3), &json!(2)));

    let all = bob.mark_read(&id, 6).await.ok(200);
    assert_eq!(all, json!({"read_seq": 6, "unread": 0, "total_unread": 1}));
    let told = from.until_type("read_receipt").await;
    assert_eq!(told["message_id"], sent[4]["message_id"]);
    let told = to_laptop.until_type("conversation_read").await;
    assert_eq!(
        (&told["up_to_seq"], &told["unread"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(bob.list().await["total_unread"], 1);
    let delivered = info(&ann, &sent[4]).await;
    assert_eq!(
        delivered["pending"],
        json!([]),
        "what is read has been delivered"
    );
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused_and_changes_nothing() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    for number in 0..3 {
        ann.say(&id, &format!("{number}")).await;
    }
    bob.reached(&id, 3).await;
    let (mut from, _) = Socket::session(&ann).await;
    let (mut to, _) = Socket::session(&bob).await;
    let path = format!("/conversations/{id}/read");

    bob.mark_read(&id, 4).await.problem(400, "invalid_request");
    for body in [
        json!({}),
        json!({"up_to_seq": "3"}),
        json!({"up_to_seq": -1}),
        json!({"up_to_seq": 1.5}),
        json!({"up_to_seq": null}),
    ] {
        bob.api.post(&path, body).await.invalid_field("up_to_seq");
    }
    eve.mark_read(&id, 1).await.problem(404, "not_found");
    bob.mark_read(&uuid(), 1).await.problem(404, "not_found");
    bob.mark_read("x", 1).await.problem(400, "invalid_request");
    for (frame, code) in [
        (read(&id, 4), "invalid_request"),
        (read(&uuid(), 1), "not_found"),
    ] {
        to.send(&frame).await;
        let error = to.recv().await;
        assert_eq!(error["type"], "error", "{frame}: {error}");
        assert_eq!(error["code"], code, "{frame}: {error}");
    }

    let item = bob.item(&id).await.expect("the conversation");
    assert_eq!((&item["unread"], &item["read_seq"]), (&json!(3), &json!(0)));
    let told = from.quiet_for(QUIET).await;
    assert_eq!(of_type(&told, "read_receipt"), [Value::Null; 0]);
    to.settled().await;
}

#[tokio::test]
async fn who_does_not_send_read_receipts_gets_none() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    bob.set_privacy("read_receipts", json!(false)).await;
    let id = ann.direct(&bob).await;
    let (mut from, _) = Socket::session(&ann).await;
    let (mut to, _) = Socket::session(&bob).await;
    let (mut to_laptop, _) = Socket::session(&laptop).await;
    let sent = ann.say(&id, "hello").await;
    to.until_type("new_message").await;
    to.send(&ack(&id, 1)).await;
    receipt(&mut from, "delivery_receipt", &sent, &bob).await;
    to.send(&read(&id, 1)).await;
    let own = to_laptop.until_type("conversation_read").await;
    assert_eq!(own["unread"], 0, "one's own devices are told");

    let answer = bob.say(&id, "hello yourself").await;
    from.until(|frame| frame["seq"] == 2).await;
    from.send(&ack(&id, 2)).await;
    receipt(&mut to, "delivery_receipt", &answer, &ann).await;
    from.send(&read(&id, 2)).await;
    from.quiet_for(QUIET).await;
    to.settled().await;
    for socket in [&from, &to] {
        assert_eq!(of_type(&socket.seen, "read_receipt"), [Value::Null; 0]);
    }
    let shown = info(&ann, &sent).await;
    assert_eq!(
        ids(&shown["read_by"]),
        [""; 0],
        "nor does it show in {shown}"
    );
    assert_eq!(ids(&shown["delivered_to"]), [&bob.id]);
}

#[tokio::test]
async fn in_a_group_the_author_hears_of_its_newest_message_and_info_tells_the_rest() {
    let [ann, bob, eve, mallory] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Three", &[&bob, &eve]).await;
    let (mut from, _) = Socket::session(&ann).await;
    let (mut to, _) = Socket::session(&bob).await;
    let (mut third, _) = Socket::session(&eve).await;
    ann.say(&id, "one").await;
    let sent = ann.say(&id, "two").await;
    let seq = sent["seq"].as_u64().expect("a seq");
    for socket in [&mut to, &mut third] {
        socket.until(|frame| frame["seq"] == seq).await;
    }
    let mut others = [bob.id.as_str(), eve.id.as_str()];
    others.sort_unstable();
    let shown = info(&ann, &sent).await;
    assert_eq!(shown["message_id"], sent["message_id"]);
    assert_eq!(shown["seq"], seq);
    assert_eq!(ids(&shown["pending"]), others);

    to.send(&ack(&id, seq)).await;
    receipt(&mut from, "delivery_receipt", &sent, &bob).await;
    let shown = info(&eve, &sent).await;
    assert_eq!(ids(&shown["delivered_to"]), [&bob.id]);
    assert_eq!(ids(&shown["pending"]), [&eve.id]);
    assert_eq!(ids(&shown["read_by"]), [""; 0]);
    assert!(shown["delivered_to"][0]["at"].is_string());

    to.send(&read(&id, seq)).await;
    receipt(&mut from, "read_receipt", &sent, &bob).await;
    third.send(&read(&id, seq)).await;
    receipt(&mut from, "read_receipt", &sent, &eve).await;
    let shown = info(&bob, &sent).await;
    assert_eq!(ids(&shown["read_by"]), others);
    assert_eq!(ids(&shown["delivered_to"]), others, "read is delivered");
    assert_eq!(shown["pending"], json!([]));

    third.quiet_for(QUIET).await;
    to.settled().await;
    for socket in [&to, &third] {
        for kind in ["delivery_receipt", "read_receipt"] {
            assert_eq!(
                of_type(&socket.seen, kind),
                [Value::Null; 0],
                "the author's"
            );
        }
    }
    let message = sent["message_id"].as_str().expect("an id");
    let path = format!("/conversations/{id}/messages/{message}/info");
    mallory.api.get(&path).await.problem(404, "not_found");
    let path = format!("/conversations/{id}/messages/{}/info", uuid());
    ann.api.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_conversations_socket_takes_and_shows_receipts_too() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    let id = ann.direct(&bob).await;
    let (mut attached, _) = Socket::open(&ann, &id).await;
    let (mut session, _) = Socket::session(&ann.on_another_device().await).await;
    let (mut to, _) = Socket::open(&bob, &id).await;
    let (mut to_laptop, _) = Socket::session(&laptop).await;
    let sent = ann.say(&id, "hello").await;
    to.until_type("new_message").await;
    to_laptop.until_type("new_message").await;

    to.send(&ack(&id, 1)).await;
    for socket in [&mut attached, &mut session] {
        receipt(socket, "delivery_receipt", &sent, &bob).await;
    }
    to.send(&position("read_receipt", &id, 9)).await;
    assert_eq!(to.until_type("error").await["code"], "invalid_request");
    to.send(&read(&id, 1)).await;
    for socket in [&mut attached, &mut session] {
        receipt(socket, "read_receipt", &sent, &bob).await;
    }
    let own = to_laptop.until_type("conversation_read").await;
    assert_eq!((&own["up_to_seq"], &own["unread"]), (&json!(1), &json!(0)));
    // What was acknowledged there is acknowledged for the device's session.
    to.close().await;
    let (_, opening) = Socket::session(&bob).await;
    assert_eq!(opening.pending, [Value::Null; 0]);
    attached.quiet_for(QUIET).await;
    for kind in ["delivery_receipt", "read_receipt"] {
        assert_eq!(of_type(&attached.seen, kind).len(), 1, "each once");
    }
}

#[tokio::test]
async fn a_read_while_nobody_is_connected_is_known_afterwards() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let sent = ann.say(&id, "hello").await;
    bob.reached(&id, 1).await;
    bob.mark_read(&id, 1).await.ok(200);
    eventually("the read position", async || {
        let shown = info(&ann, &sent).await;
        (ids(&shown["read_by"]) == [&bob.id]).then_some(())
    })
    .await;
}
