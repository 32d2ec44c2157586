//! Groups, blocks and suspension over one database: what an object tells another is told within the
//! turn, and what is left of a deleted group is erased by maintenance.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Person, Service, run};

const ADMIN: &str = "an-admin-token-of-32-characters-or-more";

impl Person<'_> {
    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1{path}");
        self.service.ask(method, &path, &self.token, body).await
    }

    async fn group(&self, others: &[&Person<'_>]) -> String {
        let ids: Vec<_> = others.iter().map(|one| &one.id).collect();
        let body = json!({"type": "group", "name": "Walkers", "member_ids": ids});
        let made = self.post("/conversations", body).await.expect(201);
        made["conversation_id"].as_str().unwrap().to_owned()
    }

    async fn item(&self) -> Value {
        let list = self.get("/conversations").await.expect(200);
        list["conversations"][0].clone()
    }
}

async fn maintain(service: &Service, seconds: u64) {
    for _ in 0..seconds {
        service.pass(Duration::from_secs(1));
        let done = service.backend().maintain().await.unwrap();
        assert_eq!(done.failed, 0);
    }
}

#[test]
fn one_who_is_removed_hears_it_last_and_a_poll_after_it_hears_nothing() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let id = ada.group(&[&bob]).await;
        let first = bob.poll("").await;
        ada.send(&id, 1).await.expect(201);
        let member = format!("/conversations/{id}/members/{}", bob.id);
        ada.ask("DELETE", &member, Value::Null).await.expect(204);
        ada.send(&id, 2).await.expect(201);
        maintain(&service, 6).await;
        let polled = bob.poll(first["cursor"].as_str().unwrap()).await;
        let events: Vec<_> = polled["frames"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|frame| frame["seq"].is_number())
            .collect();
        assert_eq!(events.len(), 1, "{polled}");
        assert_eq!(events[0]["type"], "member_removed");
        assert_eq!(bob.item().await["membership"], "removed");
        assert_eq!(service.count("SELECT count(*) FROM former_member", &[]), 0);
        bob.get(&format!("/conversations/{id}/events?after_seq=0"))
            .await
            .expect(404);
    });
}

#[test]
fn a_deleted_group_is_erased_and_others_are_left_alone() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let other = ada.chat_with(&bob).await;
        ada.send(&other, 1).await.expect(201);
        let id = ada.group(&[&bob]).await;
        for number in 2..5 {
            bob.send(&id, number).await.expect(201);
        }
        let path = format!("/conversations/{id}");
        ada.ask("DELETE", &path, Value::Null).await.expect(204);
        maintain(&service, 20).await;
        assert_eq!(service.count("SELECT count(*) FROM event", &[]), 1);
        assert_eq!(service.count("SELECT count(*) FROM member", &[]), 2);
        let named = "SELECT count(*) FROM conversation WHERE name IS NOT NULL";
        assert_eq!(service.count(named, &[]), 0);
        let page = bob.get(&format!("/conversations/{other}/messages")).await;
        assert_eq!(page.expect(200)["messages"].as_array().unwrap().len(), 1);
        ada.ask("DELETE", &path, Value::Null).await.expect(204);
        ada.ask("DELETE", &path, Value::Null).await.expect(404);
        bob.get(&path).await.expect(404);
        // That there was one is remembered for a day.
        assert_eq!(service.count("SELECT count(*) FROM conversation", &[]), 2);
        service.pass(Duration::from_secs(25 * 60 * 60));
        maintain(&service, 2).await;
        assert_eq!(service.count("SELECT count(*) FROM conversation", &[]), 1);
    });
}

#[test]
fn a_block_of_a_stranger_is_kept_where_their_conversation_will_be() {
    run(async {
        let service = Service::new();
        let (ada, bob, eve) = (
            service.person(1).await,
            service.person(2).await,
            service.person(3).await,
        );
        let block = format!("/users/me/blocks/{}", bob.id);
        ada.ask("PUT", &block, Value::Null).await.expect(204);
        // The number of what was written for the block is nobody else's.
        let between = bob.chat_with(&eve).await;
        bob.send(&between, 1).await.expect(201);
        let id = bob.chat_with(&ada).await;
        bob.send(&id, 2).await.expect(403);
        ada.ask("DELETE", &block, Value::Null).await.expect(204);
        bob.send(&id, 3).await.expect(201);
        let missing = "/users/me/blocks/00000000-0000-4000-8000-00000000beef";
        ada.ask("PUT", missing, Value::Null).await.expect(404);
        maintain(&service, 40).await;
        assert_eq!(service.count("SELECT count(*) FROM user_block", &[]), 0);
    });
}

#[test]
fn a_suspended_account_is_refused_everywhere_at_once() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let id = ada.chat_with(&bob).await;
        ada.send(&id, 1).await.expect(201);
        let path = format!("/api/v1/admin/users/{}/suspension", bob.id);
        let reason = json!({"reason": "spam"});
        let suspended = service.ask("PUT", &path, ADMIN, reason).await;
        suspended.expect(204);
        bob.get("/users/me").await.expect(401);
        bob.send(&id, 2).await.expect(401);
        let lifted = service.ask("DELETE", &path, ADMIN, Value::Null).await;
        lifted.expect(204);
        bob.send(&id, 2).await.expect(201);
        let audit = "/api/v1/admin/audit";
        let entries = service
            .ask("GET", audit, ADMIN, Value::Null)
            .await
            .expect(200);
        assert_eq!(entries["entries"].as_array().unwrap().len(), 3);
        maintain(&service, 40).await;
    });
}
