//! What requests leave to do.

use std::time::Duration;

use parlance_embedded::Host;
use parlance_shared::sql::Sql;
use serde_json::json;

use crate::support::{Person, Service, run};

#[test]
fn the_rest_of_a_large_group_is_delivered_by_whoever_looks_next() {
    run(async {
        let service = Service::new();
        let owner = service.person(0).await;
        let mut others: Vec<Person<'_>> = Vec::new();
        for number in 1..=150 {
            others.push(service.person(number).await);
        }
        let ids: Vec<_> = others.iter().map(|person| person.id.clone()).collect();
        let (first, rest) = ids.split_at(100);
        let body = json!({"type": "group", "name": "Crowd", "member_ids": first});
        let _ = rest;
        let made = owner.post("/conversations", body).await.expect(201);
        let group = made["conversation_id"].as_str().unwrap();
        owner.send(group, 1).await.expect(201);
        let reached = "SELECT count(*) FROM inbox WHERE head_seq = 2";
        let at_once = service.count(reached, &[]);
        assert!((1..101).contains(&at_once), "{at_once}");
        // Nor does one who has not been told wait for it.
        for person in &others[90..100] {
            let path = format!("/conversations/{group}/read");
            let read = person
                .post(&path, json!({"up_to_seq": 2}))
                .await
                .expect(200);
            assert_eq!((&read["read_seq"], &read["unread"]), (&json!(2), &json!(0)));
        }
        let done = service.backend().maintain().await.unwrap();
        assert_eq!((done.failed, done.has_more), (0, false));
        assert_eq!(service.count(reached, &[]), 101);
        let due = "SELECT count(*) FROM alarm WHERE scope > 0";
        assert_eq!(service.count(due, &[]), 0, "nothing is left to do");
        // Another one finds nothing to do.
        assert_eq!(service.backend().maintain().await.unwrap().objects, 0);
    });
}

#[test]
fn a_holder_that_died_counts_as_gone_after_its_silence() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        ada.chat_with(&bob).await;
        let stream = bob.stream("").await;
        let status = || async {
            let profile = ada.get(&format!("/users/{}", bob.id)).await.expect(200);
            profile["presence"]["status"].clone()
        };
        assert_eq!(status().await, "online");
        // As after SIGKILL: nothing of the process is left, nothing was written.
        std::mem::forget(stream);
        for _ in 0..12 {
            service.pass(Duration::from_secs(10));
            service.backend().maintain().await.unwrap();
        }
        assert_eq!(status().await, "offline");
        for _ in 0..4 {
            service.pass(Duration::from_secs(61));
            service.backend().maintain().await.unwrap();
        }
        assert_eq!(service.count("SELECT count(*) FROM session", &[]), 0);
        assert_eq!(service.count("SELECT count(*) FROM frame", &[]), 0);
    });
}

#[test]
fn an_object_that_cannot_be_read_does_not_keep_the_others_waiting() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let sql = service.machine.open().unwrap();
        sql.exec("INSERT INTO alarm (scope, due) VALUES (99, 0)", &[])
            .unwrap();
        sql.exec("UPDATE alarm SET due = 1 WHERE scope = 0", &[])
            .unwrap();
        let done = service.backend().maintain().await.unwrap();
        assert_eq!((done.objects, done.failed), (2, 1));
        // It is tried again, but not at once.
        assert_eq!(service.backend().maintain().await.unwrap().objects, 0);
        service.pass(Duration::from_secs(31));
        assert_eq!(service.backend().maintain().await.unwrap().failed, 1);
        ada.send(&chat, 1).await.expect(201);
    });
}

#[test]
fn buckets_that_are_full_again_are_forgotten() {
    run(async {
        let service = Service::with_scale(1.0);
        let ada = service.person(1).await;
        ada.get("/users/me").await.expect(200);
        assert_eq!(service.count("SELECT count(*) FROM bucket", &[]), 1);
        let objects = service.count("SELECT count(*) FROM object", &[]);
        service.pass(Duration::from_secs(3 * 3600));
        service.backend().maintain().await.unwrap();
        assert_eq!(service.count("SELECT count(*) FROM bucket", &[]), 0);
        assert_eq!(
            service.count("SELECT count(*) FROM object", &[]),
            objects - 1
        );
        assert_eq!(service.count("SELECT count(*) FROM device_rate", &[]), 0);
    });
}
