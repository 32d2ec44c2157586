//! What survives: a kill in the middle of everything, seen over HTTP alone.

use std::collections::BTreeMap;

use parlance_tests::socket::seqs;
use parlance_tests::{Server, User, eventually, uuid};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Posts without end, one message at a time, until the server is gone. Every acknowledgement goes
/// to `acks`.
async fn post_until_the_end(user: User, conversation: String, acks: mpsc::UnboundedSender<Value>) {
    let path = format!("/conversations/{conversation}/messages");
    loop {
        let body = json!({"client_msg_id": uuid(), "content": "by HTTP"}).to_string();
        let headers = [("content-type", "application/json")];
        match user
            .api
            .try_send("POST", &path, &headers, Some(body.into_bytes()))
            .await
        {
            Ok(reply) => acks.send(reply.ok(201)).expect("the test listens"),
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn every_message_that_was_acknowledged_over_http_survives_a_kill() {
    let mut server = Server::start();
    let users = User::sign_up_all::<2>(&server).await;
    let direct = users[0].direct(&users[1]).await;
    let mut users = users;
    let mut all: BTreeMap<u64, Value> = BTreeMap::new();
    for round in 0..2 {
        let (acks, mut acked) = mpsc::unbounded_channel();
        let traffic: Vec<_> = (0..6)
            .map(|task| {
                let user = users[task % 2].clone();
                tokio::spawn(post_until_the_end(user, direct.clone(), acks.clone()))
            })
            .collect();
        drop(acks);
        for _ in 0..80 + 40 * round {
            let ack = tokio::time::timeout(parlance_tests::PATIENCE, acked.recv()).await;
            let ack = ack.expect("acks keep coming").expect("the senders go on");
            keep(&mut all, ack);
        }
        server.kill_hard();
        for task in traffic {
            task.await.expect("a sender ends with the server");
        }
        while let Some(ack) = acked.recv().await {
            keep(&mut all, ack);
        }
        server.restart();
        users = users.map(|user| user.at(&server));
        let log = users[1].events(&direct, 0).await;
        let expected: Vec<_> = (1..=log.len() as u64).collect();
        assert_eq!(seqs(&log), expected, "no gap");
        for (seq, ack) in &all {
            let place = usize::try_from(seq - 1).expect("a place");
            let stored = log.get(place);
            let stored = stored.unwrap_or_else(|| panic!("acknowledged and lost: {ack}"));
            assert_eq!(stored["message_id"], ack["message_id"]);
        }
        for user in &users {
            let unread = log
                .iter()
                .filter(|event| event["sender_id"] != user.id)
                .count();
            eventually("the list to show the head, and all unread", async || {
                let item = user.item(&direct).await?;
                (item["head_seq"] == log.len() && item["unread"] == unread).then_some(())
            })
            .await;
        }
    }
}

fn keep(all: &mut BTreeMap<u64, Value>, ack: Value) {
    let seq = ack["seq"].as_u64().expect("a seq");
    let before = all.insert(seq, ack);
    assert_eq!(before, None, "two messages were acknowledged at one seq");
}

#[tokio::test]
async fn deliveries_that_a_kill_cuts_off_are_made_afterwards() {
    let mut server = Server::start();
    let [mut ann, mut bob] = User::sign_up_all(&server).await;
    let direct = ann.direct(&bob).await;
    let group = ann.group("Two", &[&bob]).await;
    // The kill comes on the heels of the acknowledgement, before a delivery can be done.
    for round in 1..=3_u64 {
        let name = uuid();
        let in_direct = ann.try_say(&direct, &name, "important").await.ok(201);
        let in_group = ann.try_say(&group, &name, "important").await.ok(201);
        server.kill_hard();
        server.restart();
        (ann, bob) = (ann.at(&server), bob.at(&server));
        for (conversation, ack) in [(&direct, &in_direct), (&group, &in_group)] {
            let item = eventually("a delivery that was cut off", async || {
                bob.item(conversation)
                    .await
                    .filter(|item| item["head_seq"] == ack["seq"])
            })
            .await;
            assert_eq!(item["unread"], round);
            assert_eq!(item["last_msg"]["message_id"], ack["message_id"]);
            let again = ann.try_say(conversation, &name, "important").await.ok(200);
            assert_eq!(
                again["duplicate"], true,
                "what was sent before the kill is recognised"
            );
            assert_eq!(again["seq"], ack["seq"]);
        }
    }
}

#[tokio::test]
async fn sign_ups_and_profiles_survive_a_restart() {
    let mut server = Server::start();
    let [ann, bob] = User::sign_up_all(&server).await;
    ann.api
        .ask("PATCH", "/users/me", json!({"display_name": "Ann"}))
        .await
        .ok(200);
    let id = ann.direct(&bob).await;
    let pending = parlance_tests::phone_number();
    let code = ann.api.code(&pending).await;
    server.kill_hard();
    server.restart();
    let (ann, bob) = (ann.at(&server), bob.at(&server));
    assert_eq!(
        ann.api.get("/users/me").await.ok(200)["display_name"],
        "Ann"
    );
    assert_eq!(ann.direct(&bob).await, id);
    let again = ann.api.without_token().sign_in(&ann.phone_number).await;
    assert_eq!(again.id, ann.id);
    let renewed = ann
        .api
        .post(
            "/auth/refresh",
            json!({"refresh_token": ann.refresh_token()}),
        )
        .await;
    renewed.ok(200);
    ann.api.login(&pending, &code).await.ok(200);
}
