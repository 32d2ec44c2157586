//! Older events leave the conversation's object, and no client notices: also not where the process
//! is killed at any step of it.

use parlance_tests::socket::{events_of, send_message};
use parlance_tests::{Server, Socket, User, eventually, uuid};
use serde_json::{Value, json};

/// Messages of the large conversation. `ARCHIVE_MESSAGES` asks for another number.
fn count() -> u64 {
    std::env::var("ARCHIVE_MESSAGES").map_or(6_000, |text| text.parse().expect("a number"))
}

async fn has_archived(server: &Server, more_than: u64) -> u64 {
    eventually("segments in the bucket", async || {
        let bytes = server.stored_bytes();
        (bytes > more_than).then_some(bytes)
    })
    .await
}

/// Sends so many messages, each of which says its seq.
async fn send(user: &User, conversation: &str, seqs: std::ops::RangeInclusive<u64>) {
    const AHEAD: u64 = 64;
    let (mut socket, _) = Socket::open(user, conversation).await;
    let mut acked = seqs.start() - 1;
    for seq in seqs {
        let text = format!("number {seq} of what is said here");
        socket
            .send(&send_message(conversation, &uuid(), &text))
            .await;
        while seq - acked > AHEAD {
            acked = socket.until_type("msg_ack").await["seq"].as_u64().unwrap();
        }
    }
    socket.settled().await;
    socket.close().await;
}

/// All messages, paging back to the first.
async fn paged(user: &User, conversation: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/conversations/{conversation}/messages?limit=200{cursor}");
        let page = user.api.get(&path).await.ok(200);
        messages.extend(page["messages"].as_array().expect("messages").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return messages,
        }
    }
}

fn assert_each_once(messages: &[Value], head: u64) {
    assert_eq!(messages.len() as u64, head);
    for (message, seq) in messages.iter().zip((1..=head).rev()) {
        assert_eq!(message["seq"], seq);
        if message["edited_at"].is_null() && message["is_deleted"] == false {
            let text = format!("number {seq} of what is said here");
            assert_eq!(message["content"], text);
        }
    }
}

#[tokio::test]
async fn a_large_conversation_is_read_and_changed_as_if_nothing_had_left_it() {
    let server = Server::start_with(&[("HOT_WINDOW_EVENTS", "1000")]);
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    let head = count();
    send(&ann, &id, 1..=head).await;
    has_archived(&server, 0).await;
    let messages = paged(&bob, &id).await;
    assert_each_once(&messages, head);
    assert_eq!(bob.events(&id, 0).await.len() as u64, head);

    // What is done with the first messages, by HTTP and on sockets.
    let oldest = |place: usize| messages[messages.len() - place]["message_id"].clone();
    let path = |place: usize| {
        let message_id = oldest(place);
        let message_id = message_id.as_str().expect("an id");
        format!("/conversations/{id}/messages/{message_id}")
    };
    let (mut socket, _) = Socket::open(&ann, &id).await;
    let edit = json!({"type": "edit_message", "conversation_id": id, "message_id": oldest(1), "content": "edited"});
    let sync = json!({"type": "sync", "conversation_id": id, "after_seq": head});
    let react = json!({"type": "react", "conversation_id": id, "message_id": oldest(2), "emoji": "👍", "remove": false});
    socket.send_all(&[edit, sync, react]).await;
    let frames = socket.settled().await;
    let kinds: Vec<_> = events_of(&frames, &id)
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert!(
        kinds.starts_with(&[json!("message_edited")]),
        "in order: {kinds:?}"
    );
    assert!(kinds.contains(&json!("reaction")), "{kinds:?}");
    let reply = ann
        .api
        .ask("DELETE", &format!("{}?for=everyone", path(3)), json!({}))
        .await;
    assert!(matches!(reply.status, 200 | 204), "{reply:?}");
    let pin = format!("/conversations/{id}/pins/{}", oldest(4).as_str().unwrap());
    let reply = bob.api.ask("PUT", &pin, json!({})).await;
    assert!(matches!(reply.status, 200 | 201 | 204), "{reply:?}");
    let reply = json!({"client_msg_id": uuid(), "content": "a reply", "reply_to": oldest(5), "thread_root": oldest(5)});
    let path_of_messages = format!("/conversations/{id}/messages");
    bob.api.post(&path_of_messages, reply).await.ok(201);

    let first = bob.api.get(&path(1)).await.ok(200);
    assert_eq!(first["content"], "edited");
    let second = bob.api.get(&path(2)).await.ok(200);
    assert_eq!(second["reactions"][0]["emoji"], "👍");
    let third = bob.api.get(&path(3)).await.ok(200);
    assert_eq!(
        (&third["content"], &third["is_deleted"]),
        (&json!(""), &json!(true))
    );
    let pins = bob
        .api
        .get(&format!("/conversations/{id}/pins"))
        .await
        .ok(200);
    assert_eq!(pins["pins"][0]["message"]["message_id"], oldest(4));
    let info = ann.api.get(&format!("{}/info", path(1))).await.ok(200);
    assert_eq!(info["seq"], 1);
    let thread = bob.api.get(&format!("{}/thread", path(5))).await.ok(200);
    assert_eq!(thread["messages"][0]["content"], "a reply");

    // A socket that has been away for all of it.
    let (mut away, _) = Socket::open_after(&bob, &id, 10).await;
    let replayed = events_of(&away.settled().await, &id);
    assert_eq!(replayed[0]["seq"], 11);
    assert!(replayed.len() as u64 >= head.min(10_000) - 10);
}

#[tokio::test]
async fn a_kill_at_any_step_of_archiving_loses_and_doubles_nothing() {
    let window = [("HOT_WINDOW_EVENTS", "200")];
    let mut server = Server::start_with(&window);
    let users: [User; 2] = User::sign_up_all(&server).await;
    let [mut ann, mut bob] = users;
    let id = ann.direct(&bob).await;
    let mut head = 0;
    let mut stopped = Vec::new();
    // The first segment is put, read back, recorded, and its bodies wiped; one that takes further
    // events is read before, and what it replaces is deleted after.
    for step in [4, 6, 5, 3, 2, 1] {
        server.restart_with(&[("STOP_ARCHIVE_AFTER", &step.to_string())]);
        (ann, bob) = (ann.at(&server), bob.at(&server));
        let before = server.log().matches("archive_stopped").count();
        send(&ann, &id, head + 1..=head + 300).await;
        head += 300;
        let log = eventually("the archiving to stop there", async || {
            let log = server.log();
            (log.matches("archive_stopped").count() > before).then_some(log)
        })
        .await;
        let line = log
            .lines()
            .rev()
            .find(|line| line.contains("archive_stopped"))
            .expect("a line");
        let line: Value = serde_json::from_str(line).expect("JSON");
        stopped.push(line["error"].clone());
        // Messages get between.
        ann.say(&id, &format!("number {} of what is said here", head + 1))
            .await;
        head += 1;
        server.kill_hard();
    }
    for step in ["pause", "put", "get", "delete"] {
        assert!(stopped.contains(&json!(step)), "stopped after {stopped:?}");
    }
    server.restart_with(&[("STOP_ARCHIVE_AFTER", "")]);
    (ann, bob) = (ann.at(&server), bob.at(&server));
    assert_each_once(&paged(&bob, &id).await, head);
    assert_eq!(ann.events(&id, 0).await.len() as u64, head);
    // It goes on and comes to its end.
    send(&ann, &id, head + 1..=head + 300).await;
    head += 300;
    has_archived(&server, 1).await;
    assert_each_once(&paged(&bob, &id).await, head);
    assert!(!server.log().contains("segment_unreadable"));
}
