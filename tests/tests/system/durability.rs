//! What survives: a kill in the middle of everything, and a long sleep.

use std::collections::BTreeMap;
use std::time::Duration;

use parlance_tests::socket::{send_message, seqs};
use parlance_tests::{Server, Socket, User, eventually, uuid};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

/// Sends without end, a few messages ahead of the acknowledgements, until the server is gone.
/// Every acknowledgement goes to `acks`.
async fn send_until_the_end(user: User, conversation: String, acks: mpsc::UnboundedSender<Value>) {
    const AHEAD: usize = 8;
    let (mut socket, _) = Socket::open(&user, &conversation).await;
    let mut in_flight = 0;
    for number in 0_u64.. {
        let frame = send_message(&conversation, &uuid(), &format!("{number}"));
        if socket
            .try_send(Message::text(frame.to_string()))
            .await
            .is_err()
        {
            return;
        }
        in_flight += 1;
        while in_flight >= AHEAD {
            match socket.try_recv().await {
                Some(frame) if frame["type"] == "msg_ack" => {
                    in_flight -= 1;
                    acks.send(frame).expect("the test listens");
                }
                Some(frame) => assert_eq!(frame["type"], "new_message", "{frame}"),
                None => return,
            }
        }
    }
}

/// The same over HTTP, one message at a time.
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
async fn every_acknowledged_message_survives_a_kill_in_mid_traffic() {
    let mut server = Server::start();
    let [ann, bob, eve] = User::sign_up_all(&server).await;
    let direct = ann.direct(&bob).await;
    let group = ann.group("Three", &[&bob, &eve]).await;
    let mut all: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    let mut users = [ann, bob, eve];

    for round in 0..3 {
        let (acks, mut acked) = mpsc::unbounded_channel();
        let [ann, bob, eve] = users.clone();
        let traffic = [
            tokio::spawn(send_until_the_end(
                ann.clone(),
                direct.clone(),
                acks.clone(),
            )),
            tokio::spawn(send_until_the_end(
                bob.clone(),
                direct.clone(),
                acks.clone(),
            )),
            tokio::spawn(send_until_the_end(eve, group.clone(), acks.clone())),
            tokio::spawn(post_until_the_end(bob, group.clone(), acks.clone())),
            tokio::spawn(post_until_the_end(ann, direct.clone(), acks)),
        ];
        let mut count = 0;
        while count < 200 + 100 * round {
            let ack = tokio::time::timeout(parlance_tests::PATIENCE, acked.recv()).await;
            let ack = ack.expect("acks keep coming").expect("the senders go on");
            keep(&mut all, ack);
            count += 1;
        }
        server.kill_hard();
        for task in traffic {
            task.await
                .expect("a sender ends with the server, not before");
        }
        while let Some(ack) = acked.recv().await {
            keep(&mut all, ack);
        }

        server.restart();
        users = users.map(|user| user.at(&server));
        for (conversation, acked) in &all {
            let log = users[1].events(conversation, 0).await;
            for (seq, ack) in acked {
                let place = usize::try_from(seq - 1).expect("a place");
                let stored = log
                    .get(place)
                    .unwrap_or_else(|| panic!("acknowledged and lost: {ack}"));
                assert_eq!(
                    stored["message_id"], ack["message_id"],
                    "each is at its seq"
                );
                assert_eq!(stored["created_at"], ack["created_at"]);
            }
            let again = users[0].events(conversation, 0).await;
            assert_eq!(seqs(&log), seqs(&again), "both sides see one log");
        }
        let ack = users[0].say(&direct, "and on it goes").await;
        keep(&mut all, ack);
    }

    // What the kills cut off on its way to the lists arrives all the same.
    for (user, conversation) in [
        (&users[0], &direct),
        (&users[1], &direct),
        (&users[2], &group),
        (&users[1], &group),
    ] {
        let log = user.events(conversation, 0).await;
        let of_others = log
            .iter()
            .filter(|event| event["type"] == "new_message" && event["sender_id"] != user.id)
            .count();
        eventually("the list to show the head, and all unread", async || {
            let item = user.item(conversation).await?;
            (item["head_seq"] == log.len() && item["unread"] == of_others).then_some(())
        })
        .await;
    }
}

fn keep(all: &mut BTreeMap<String, BTreeMap<u64, Value>>, ack: Value) {
    let conversation = parlance_tests::api::text(&ack, "conversation_id").to_owned();
    let seq = ack["seq"].as_u64().expect("a seq");
    let before = all.entry(conversation).or_default().insert(seq, ack);
    assert_eq!(before, None, "two messages were acknowledged at one seq");
}

#[tokio::test]
async fn a_socket_that_slept_gets_the_next_message() {
    let server = Server::start();
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    ann.say(&id, "before").await;
    let (mut idle, _) = Socket::open(&bob, &id).await;
    let (mut sender, _) = Socket::open(&ann, &id).await;

    // The runtime evicts an object about ten seconds after its last event.
    for round in 0..2 {
        tokio::time::sleep(Duration::from_secs(14)).await;
        if round == 1 {
            idle.send_text(r#"{"type":"ping"}"#).await;
            assert_eq!(idle.recv().await, json!({"type": "pong"}));
        }
        let name = uuid();
        sender.send(&send_message(&id, &name, "wake up")).await;
        let ack = sender.until_type("msg_ack").await;
        assert_eq!(ack["client_msg_id"], name);
        let woken = idle.until_type("new_message").await;
        assert_eq!(woken["message_id"], ack["message_id"]);
        assert!(
            woken.get("client_msg_id").is_none(),
            "who is who is remembered"
        );
        let echoed = sender
            .until(|frame| {
                frame["message_id"] == ack["message_id"] && frame["type"] == "new_message"
            })
            .await;
        assert_eq!(echoed["client_msg_id"], name);
    }

    // Attachments, too, are as they were: this one may still speak.
    tokio::time::sleep(Duration::from_secs(14)).await;
    idle.send(&send_message(&id, &uuid(), "good morning")).await;
    idle.until_type("msg_ack").await;
    assert_eq!(
        sender
            .until(|frame| frame["content"] == "good morning")
            .await["sender_id"],
        bob.id
    );
    assert_eq!(
        seqs(&ann.events(&id, 0).await).len(),
        seqs(&bob.events(&id, 0).await).len()
    );
}
