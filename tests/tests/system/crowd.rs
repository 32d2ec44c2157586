//! A large group. 120 members here, since each costs two sign-up requests; set
//! PARLANCE_TEST_CROWD for more, up to the 1,024 that the protocol allows (tests/node/crowd-bench.mjs
//! measures those).

use std::env;

use futures_util::{StreamExt as _, stream};
use parlance_tests::socket::{ack, send_message};
use parlance_tests::{Socket, User, server, uuid};
use serde_json::Value;

/// How many members have a session.
const CONNECTED: usize = 20;
/// How many messages are sent at once.
const BURST: u64 = 50;

fn members() -> usize {
    let set = env::var("PARLANCE_TEST_CROWD").ok();
    let count = set.map_or(120, |text| {
        text.parse().expect("PARLANCE_TEST_CROWD is a number")
    });
    assert!((CONNECTED + 2..=1024).contains(&count), "{count} members");
    count
}

#[tokio::test]
async fn a_message_to_a_crowd_reaches_everyone_and_its_ack_waits_for_nobody() {
    let users = User::sign_up_many(server::shared(), members()).await;
    let author = &users[0];
    let others: Vec<_> = users[1..].iter().collect();
    let id = author.group("Crowd", &others).await;
    let start = author.head_seq(&id).await;
    let mut connected = Vec::new();
    for user in &users[1..=CONNECTED] {
        connected.push(Socket::session(user).await.0);
    }
    let (mut session, _) = Socket::session(author).await;

    let frames: Vec<_> = (0..BURST)
        .map(|n| send_message(&id, &uuid(), &format!("{n}")))
        .collect();
    session.send_all(&frames).await;
    // All are acknowledged while not one of those connected has read anything.
    for frame in &frames {
        let acked = session.until_type("msg_ack").await;
        assert_eq!(acked["client_msg_id"], frame["client_msg_id"]);
    }
    for socket in &mut connected {
        // Whoever says nothing for long counts as gone.
        socket.send_text(r#"{"type":"ping"}"#).await;
    }
    let head = start + BURST;
    let log: Vec<Value> = author.events(&id, start).await;
    assert_eq!(log.len() as u64, BURST);
    for (user, socket) in users[1..=CONNECTED].iter().zip(&mut connected) {
        socket
            .until(|frame| frame["conversation_id"] == id && frame["seq"] == head)
            .await;
        let mut seen = socket.seen.clone();
        seen.retain(|frame| frame["type"] == "new_message" && frame["conversation_id"] == id);
        let shown: Vec<_> = seen.iter().map(|frame| &frame["message_id"]).collect();
        let stored: Vec<_> = log.iter().map(|event| &event["message_id"]).collect();
        assert_eq!(shown, stored, "each once, in order");
        socket.send(&ack(&id, head)).await;
        assert_ne!(user.id, author.id);
    }

    stream::iter(&users[1..])
        .map(async |user| user.reached(&id, head).await)
        .buffer_unordered(8)
        .for_each(async |item| {
            assert_eq!(item["unread"], BURST, "{item}");
            assert_eq!(
                item["last_msg"]["message_id"],
                log[log.len() - 1]["message_id"]
            );
        })
        .await;
    assert_eq!(author.reached(&id, head).await["unread"], 0);
}
