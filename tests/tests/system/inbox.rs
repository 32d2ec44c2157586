//! What waits for a device: it comes in order, again until it is acknowledged, and not longer.

use std::time::Duration;

use parlance_tests::socket::{ack, events_of, is_event, send_message, seqs};
use parlance_tests::{Socket, User, server, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn what_waits_comes_conversation_by_conversation_and_then_what_is_new() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let direct = ann.direct(&bob).await;
    let other = eve.direct(&bob).await;
    let group = ann.group("Three", &[&bob, &eve]).await;
    for number in 0..7 {
        for (user, id) in [
            (&ann, &direct),
            (&eve, &other),
            (&eve, &group),
            (&ann, &group),
        ] {
            user.say(id, &format!("{number}")).await;
        }
    }
    let conversations = [&direct, &other, &group];
    let mut logs = Vec::new();
    for id in conversations {
        let log = bob.events(id, 0).await;
        bob.reached(id, log.len() as u64).await;
        logs.push(log);
    }

    let (mut session, opening) = Socket::session(&bob).await;
    assert_eq!(opening.hello["heartbeat_seconds"], 30);
    assert!(opening.hello["server_time"].is_string());
    assert!(
        opening.hello.get("head_seq").is_none(),
        "that is a conversation's: {}",
        opening.hello
    );
    assert_eq!(opening.total_unread, 7 * 4);
    let mut turns: Vec<&Value> = Vec::new();
    for frame in &opening.pending {
        assert!(is_event(frame), "only events wait: {frame}");
        let id = &frame["conversation_id"];
        if turns.last() != Some(&id) {
            turns.push(id);
        }
    }
    assert_eq!(turns.len(), 3, "one conversation after the other");
    for (id, log) in conversations.into_iter().zip(&logs) {
        assert_eq!(&events_of(&opening.pending, id), log, "in seq order, whole");
    }

    for (user, id) in [(&ann, &direct), (&eve, &other), (&eve, &group)] {
        let sent = user.say(id, "live").await;
        let shown = session
            .until(|frame| frame["message_id"] == sent["message_id"])
            .await;
        assert_eq!(shown["type"], "new_message");
        assert_eq!(shown["seq"], sent["seq"]);
        assert_eq!(shown["content"], "live");
        assert!(shown.get("client_msg_id").is_none(), "{shown}");
    }
    let new = ann.group("New", &[&bob]).await;
    let first = session
        .until(|frame| frame["conversation_id"] == new && is_event(frame))
        .await;
    assert_eq!(first["seq"], 1, "a conversation that is new is heard of");
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_nothing_else() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let ids = [ann.direct(&bob).await, ann.group("Two", &[&bob]).await];
    let mut logs = Vec::new();
    for id in &ids {
        for number in 0..10 {
            ann.say(id, &format!("{number}")).await;
        }
        let log = bob.events(id, 0).await;
        bob.reached(id, log.len() as u64).await;
        logs.push(log);
    }
    let heads = [logs[0].len() as u64, logs[1].len() as u64];
    let reopen = async |session: Socket| {
        session.close().await;
        Socket::session(&bob).await
    };

    let (session, first) = Socket::session(&bob).await;
    assert_eq!(first.pending.len(), logs[0].len() + logs[1].len());
    let (mut session, again) = reopen(session).await;
    assert_eq!(
        again.pending.len(),
        first.pending.len(),
        "receiving is not acknowledging"
    );
    assert_eq!(again.total_unread, 20);
    session.send(&ack(&ids[0], 4)).await;
    session.send(&ack(&ids[1], heads[1])).await;
    session.send(&ack(&ids[0], 2)).await;
    session.send(&ack(&uuid(), 2)).await;
    session.settled().await;
    let (mut session, rest) = reopen(session).await;
    assert_eq!(rest.pending, logs[0][4..], "exactly the rest");
    assert_eq!(rest.total_unread, 20, "delivered is not read");

    // What does not exist yet cannot be acknowledged.
    session.send(&ack(&ids[0], heads[0] + 1000)).await;
    session.settled().await;
    session.close().await;
    let sent = ann.say(&ids[0], "one more").await;
    bob.reached(&ids[0], heads[0] + 1).await;
    let (mut session, rest) = Socket::session(&bob).await;
    let last = rest.pending.last().expect("the newest event");
    assert_eq!(last["message_id"], sent["message_id"]);
    session.send(&ack(&ids[0], heads[0] + 1)).await;
    session.settled().await;
    let (_, rest) = reopen(session).await;
    assert_eq!(rest.pending, [Value::Null; 0]);
}

#[tokio::test]
async fn each_device_has_its_own_position_and_a_new_one_starts_at_the_head() {
    let [ann, phone] = User::sign_up_all(server::shared()).await;
    let laptop = phone.on_another_device().await;
    let id = ann.direct(&phone).await;
    let (laptop_session, _) = Socket::session(&laptop).await;
    laptop_session.close().await;
    for number in 0..6 {
        ann.say(&id, &format!("{number}")).await;
    }
    phone.reached(&id, 6).await;

    let (mut on_phone, opening) = Socket::session(&phone).await;
    assert_eq!(seqs(&opening.pending), [1, 2, 3, 4, 5, 6]);
    let (mut on_laptop, opening) = Socket::session(&laptop).await;
    assert_eq!(seqs(&opening.pending), [1, 2, 3, 4, 5, 6]);
    on_phone.send(&ack(&id, 6)).await;
    on_laptop.send(&ack(&id, 3)).await;
    on_phone.settled().await;
    on_laptop.settled().await;
    on_phone.close().await;
    on_laptop.close().await;
    let (mut on_phone, opening) = Socket::session(&phone).await;
    assert_eq!(seqs(&opening.pending), [0; 0]);
    let (mut on_laptop, opening) = Socket::session(&laptop).await;
    assert_eq!(seqs(&opening.pending), [4, 5, 6]);

    let tablet = phone.on_another_device().await;
    let (mut on_tablet, opening) = Socket::session(&tablet).await;
    assert_eq!(opening.pending, [Value::Null; 0], "it pages from history");
    assert_eq!(opening.total_unread, 6);
    assert_eq!(tablet.item(&id).await.expect("the list")["unread"], 6);
    ann.say(&id, "for all three").await;
    for session in [&mut on_phone, &mut on_laptop, &mut on_tablet] {
        session.until(|frame| frame["seq"] == 7).await;
    }
    on_tablet.close().await;
    let (_, opening) = Socket::session(&tablet).await;
    assert_eq!(seqs(&opening.pending), [7], "from its beginning on");
}

#[tokio::test]
async fn what_was_missed_can_be_asked_for_again() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let foreign = ann.direct(&eve).await;
    ann.say(&foreign, "not for Bob").await;
    for number in 0..6 {
        ann.say(&id, &format!("{number}")).await;
    }
    bob.reached(&id, 6).await;
    let (mut session, _) = Socket::session(&bob).await;
    session.send(&ack(&id, 6)).await;
    let before = session.seen.len();
    session
        .send(&json!({"type": "sync", "conversation_id": id, "after_seq": 2}))
        .await;
    session.until(|frame| frame["seq"] == 6).await;
    assert_eq!(session.seen[before..], bob.events(&id, 2).await);

    for id in [foreign, uuid()] {
        session
            .send(&json!({"type": "sync", "conversation_id": id, "after_seq": 0}))
            .await;
        let error = session.recv().await;
        assert_eq!(error["type"], "error", "{error}");
        assert_eq!(error["code"], "not_found", "{error}");
    }
    let sent = ann.say(&id, "on it goes").await;
    let live = session.until_type("new_message").await;
    assert_eq!(live["message_id"], sent["message_id"]);
}

#[tokio::test]
async fn a_session_that_slept_gets_what_is_new_and_keeps_its_position() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    // The runtime evicts an object about ten seconds after its last event.
    let sleep = async || tokio::time::sleep(Duration::from_secs(14)).await;
    let (mut session, _) = Socket::session(&bob).await;
    sleep().await;
    for number in 0..4 {
        ann.say(&id, &format!("{number}")).await;
    }
    session.until(|frame| frame["seq"] == 4).await;
    assert_eq!(seqs(&session.seen), [1, 2, 3, 4]);
    session.send(&ack(&id, 3)).await;
    session.settled().await;
    sleep().await;
    session
        .send(&send_message(&id, &uuid(), "good morning"))
        .await;
    assert_eq!(session.until_type("msg_ack").await["seq"], 5);
    session.close().await;
    bob.reached(&id, 5).await;
    let (_, opening) = Socket::session(&bob).await;
    assert_eq!(seqs(&opening.pending), [4, 5]);
}

#[tokio::test]
async fn a_device_that_acknowledges_nothing_is_closed_and_catches_up() {
    const COUNT: u64 = 100;
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Three", &[&bob, &eve]).await;
    let start = ann.head_seq(&id).await;
    let (mut slow, _) = Socket::session(&bob).await;
    let (mut quick, _) = Socket::session(&eve).await;
    // 100 times 64 KiB: more than any server should keep for a device that does not answer.
    let content = "\u{1f980}".repeat(16_384);
    for number in 1..=COUNT {
        ann.say(&id, &content).await;
        let seq = start + number;
        quick.until(|frame| frame["seq"] == seq).await;
        quick.send(&ack(&id, seq)).await;
    }
    assert_eq!(slow.close_code().await, Some(4008));
    bob.reached(&id, start + COUNT).await;

    // A client that is catching up acknowledges as it goes; it may take more than one go.
    let mut have = start;
    for _ in 0..20 {
        let (mut session, _) = Socket::begin_session(&bob).await;
        while let Some(frame) = session.try_recv().await {
            if is_event(&frame) {
                let seq = frame["seq"].as_u64().expect("a seq");
                if seq > start {
                    assert_eq!(seq, have + 1, "in order, without a gap");
                    have = seq;
                }
                session.send(&ack(&id, seq)).await;
            } else if frame["type"] == "sync_complete" {
                session.settled().await;
                session.close().await;
                break;
            }
        }
        if have == start + COUNT {
            return;
        }
    }
    panic!("{have} of {} came", start + COUNT);
}
