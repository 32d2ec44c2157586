//! One order for all, and each message in it once, however many write at once.

use std::collections::BTreeSet;

use parlance_tests::scene::pair;
use parlance_tests::socket::seqs;
use parlance_tests::uuid;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_sent_again_is_the_same_message_on_every_device() {
    let (ann, bob, id) = pair().await;
    let second_device = ann.api.without_token().sign_in(&ann.phone_number).await;
    let name = uuid();
    let first = ann.try_say(&id, &name, "hello").await.ok(201);
    assert_eq!(first["duplicate"], false);
    for (user, content) in [(&ann, "hello"), (&second_device, "something else")] {
        let again = user.try_say(&id, &name, content).await.ok(200);
        assert_eq!(again["duplicate"], true);
        for field in ["seq", "message_id", "created_at", "client_msg_id"] {
            assert_eq!(again[field], first[field], "{field}");
        }
    }
    bob.try_say(&id, &name, "mine").await.ok(201);
    let events = bob.events(&id, 0).await;
    let said: Vec<_> = events
        .iter()
        .filter_map(|event| event["content"].as_str())
        .collect();
    assert_eq!(said, ["hello", "mine"], "a name is the sender's own");
}

#[tokio::test]
async fn a_message_sent_again_is_known_whatever_has_changed_since() {
    let (ann, bob, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    let root = ann.try_say(&id, &uuid(), "root").await.ok(201);
    let name = uuid();
    let body = json!({
        "client_msg_id": name,
        "content": "below",
        "thread_root": root["message_id"],
        "mentions": [bob.id],
    });
    let first = ann.api.post(&path, body.clone()).await.ok(201);
    let root_id = root["message_id"].as_str().expect("an id");
    let delete = format!("{path}/{root_id}?for=everyone");
    ann.api.ask("DELETE", &delete, Value::Null).await.ok(200);
    let block = format!("/users/me/blocks/{}", ann.id);
    bob.api.ask("PUT", &block, Value::Null).await.ok(204);
    let again = ann.api.post(&path, body).await.ok(200);
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["seq"], first["seq"]);
    let other = ann.try_say(&id, &uuid(), "another").await;
    other.problem(403, "forbidden");
}

#[tokio::test]
async fn eight_writers_make_one_log_without_a_gap_and_each_message_once() {
    const EACH: usize = 20;
    let (ann, bob, id) = pair().await;
    let names: Vec<Vec<String>> = (0..4)
        .map(|_| (0..EACH).map(|_| uuid()).collect())
        .collect();
    // Two writers at a time send the very same messages.
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (user, id, names) = (ann.clone(), id.clone(), names[writer / 2].clone());
            tokio::spawn(async move {
                let mut acks = Vec::new();
                for name in names {
                    let reply = user.try_say(&id, &name, &name).await;
                    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
                    assert_eq!(reply.body["duplicate"], reply.status == 200);
                    acks.push((name, reply.body["seq"].as_u64().expect("a seq")));
                }
                acks
            })
        })
        .collect();
    let mut acks = BTreeSet::new();
    for writer in writers {
        acks.extend(writer.await.expect("a writer ends well"));
    }
    let events = bob.events(&id, 0).await;
    let expected: Vec<_> = (1..=4 * EACH as u64).collect();
    assert_eq!(seqs(&events), expected);
    let stored: BTreeSet<_> = events
        .iter()
        .map(|event| {
            let content = event["content"].as_str().expect("a content").to_owned();
            (content, event["seq"].as_u64().expect("a seq"))
        })
        .collect();
    assert_eq!(stored, acks);
}
