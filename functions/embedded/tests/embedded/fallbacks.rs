//! Sessions that streams and polls hold.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Service, run};

#[test]
fn a_stream_shows_what_was_missed_and_then_what_comes() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        // A device begins at the head of what it finds: it has to have been there.
        drop(bob.stream("").await);
        let chat = ada.chat_with(&bob).await;
        ada.send(&chat, 1).await.expect(201);
        let mut stream = bob.stream("").await;
        assert_eq!(
            stream.next(Duration::ZERO).await.unwrap()["type"],
            "auth_ack"
        );
        assert_eq!(stream.expect("new_message").await["content"], "message 1");
        let complete = stream.expect("sync_complete").await;
        assert_eq!(complete["total_unread"], 1);
        let sent_at = service.machine.clock.get();
        ada.send(&chat, 2).await.expect(201);
        assert_eq!(stream.expect("new_message").await["content"], "message 2");
        let took = service.machine.clock.get().since(sent_at);
        assert!(took <= Duration::from_millis(250), "{took:?}");
        let id = stream.last_id.clone();
        drop(stream);
        ada.send(&chat, 3).await.expect(201);
        let mut stream = bob.stream(&id).await;
        assert_eq!(stream.expect("new_message").await["content"], "message 3");
    });
}

#[test]
fn receipts_reach_the_author_on_its_stream() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let mut stream = ada.stream("").await;
        stream.expect("sync_complete").await;
        ada.send(&chat, 1).await.expect(201);
        let polled = bob.poll("").await;
        let cursor = polled["cursor"].as_str().unwrap().to_owned();
        bob.poll(&cursor).await;
        let delivered = stream.expect("delivery_receipt").await;
        assert_eq!(delivered["up_to_seq"], 1);
        let read = format!("/conversations/{chat}/read");
        bob.post(&read, json!({"up_to_seq": 1})).await.expect(200);
        assert_eq!(
            stream.expect("read_receipt").await["user_id"],
            json!(bob.id)
        );
    });
}

#[test]
fn polls_give_each_event_until_it_is_acknowledged() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let first = bob.poll("").await;
        for number in 1..=3 {
            ada.send(&chat, number).await.expect(201);
        }
        let seqs = |page: &Value| -> Vec<u64> {
            page["frames"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|frame| frame["type"] == "new_message")
                .map(|frame| frame["seq"].as_u64().unwrap())
                .collect()
        };
        let cursor = first["cursor"].as_str().unwrap_or_default();
        let second = bob.poll(cursor).await;
        assert_eq!(seqs(&second), [1, 2, 3]);
        assert_eq!(seqs(&bob.poll(cursor).await), [1, 2, 3], "not acknowledged");
        let cursor = second["cursor"].as_str().unwrap();
        assert_eq!(seqs(&bob.poll(cursor).await), [0_u64; 0]);
    });
}

#[test]
fn a_newer_session_of_a_device_ends_the_one_before() {
    run(async {
        let service = Service::new();
        let ada = service.person(1).await;
        let mut before = ada.stream("").await;
        before.expect("sync_complete").await;
        let mut after = ada.stream("").await;
        after.expect("sync_complete").await;
        while before.next(Duration::from_secs(1)).await.is_some() {}
        let number = "SELECT count(*) FROM session WHERE state IS NOT NULL";
        assert_eq!(service.count(number, &[]), 1);
        assert_eq!(service.count("SELECT count(*) FROM session", &[]), 1);
        drop(after);
        assert_eq!(service.count("SELECT count(*) FROM session", &[]), 0);
        assert_eq!(service.count("SELECT count(*) FROM frame", &[]), 0);
    });
}

#[test]
fn signing_out_ends_the_stream() {
    run(async {
        let service = Service::new();
        let ada = service.person(1).await;
        let mut stream = ada.stream("").await;
        stream.expect("sync_complete").await;
        ada.post("/auth/logout", Value::Null).await.expect(204);
        let told = stream.expect("error").await;
        assert_eq!(told["code"], "unauthenticated");
        assert_eq!(stream.next(Duration::from_secs(1)).await, None, "told once");
    });
}

#[test]
fn what_a_client_does_not_take_waits_in_rows_and_comes_in_order() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let mut stream = bob.stream("").await;
        stream.expect("sync_complete").await;
        for number in 1..=150 {
            ada.send(&chat, number).await.expect(201);
        }
        for number in 1..=150 {
            let message = stream.expect("new_message").await;
            assert_eq!(message["seq"], number);
        }
        assert_eq!(service.count("SELECT count(*) FROM frame", &[]), 0);
    });
}
