//! What is done with messages, and what is done later: where all objects share a database, and
//! maintenance is their alarm.

use std::time::Duration;

use parlance_embedded::Host;
use serde_json::{Value, json};

use crate::support::{Answer, Person, Service, run};

async fn ask(person: &Person<'_>, method: &str, path: &str, body: Value) -> Answer {
    let path = format!("/api/v1{path}");
    let service = person.service;
    service.ask(method, &path, &person.token, body).await
}

async fn item(person: &Person<'_>) -> Value {
    let list = person.get("/conversations").await.expect(200);
    list["conversations"][0].clone()
}

#[test]
fn what_is_done_with_a_message_reaches_the_other_within_the_turn() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let sent = ada.send(&chat, 1).await.expect(201);
        let other = ada.send(&chat, 2).await.expect(201);
        let path = |ack: &Value| {
            let id = ack["message_id"].as_str().unwrap();
            format!("/conversations/{chat}/messages/{id}")
        };
        let edit = json!({"content": "edited"});
        let edited = ask(&ada, "PATCH", &path(&other), edit).await.expect(200);
        assert_eq!(edited["seq"], 3);
        assert_eq!(item(&bob).await["last_msg"]["preview"], "edited");
        let hide = format!("{}?for=me", path(&other));
        assert_eq!(ask(&bob, "DELETE", &hide, Value::Null).await.status, 204);
        let shown = item(&bob).await;
        assert_eq!(shown["last_msg"]["preview"], "message 1");
        assert_eq!(shown["unread"], 1);
        ask(&ada, "DELETE", &path(&sent), Value::Null)
            .await
            .expect(200);
        assert_eq!(item(&bob).await["unread"], 0);
        let thumb = format!("{}/reactions/👍", path(&other));
        ask(&ada, "PUT", &thumb, Value::Null).await.expect(200);
        let messages = ada
            .get(&format!("/conversations/{chat}/messages"))
            .await
            .expect(200);
        assert_eq!(messages["messages"][0]["reactions"][0]["count"], 1);
        assert_eq!(messages["messages"][1]["is_deleted"], true);
    });
}

#[test]
fn maintenance_sends_what_is_scheduled_and_lets_go_of_what_expires() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let path = format!("/conversations/{chat}");
        ask(&bob, "PATCH", &path, json!({"expires_after": 3600}))
            .await
            .expect(200);
        let send_at = service.machine.now() + Duration::from_secs(600);
        let body = json!({
            "client_msg_id": "00000000-0000-4000-8000-000000000001",
            "content": "a secret",
            "send_at": send_at,
        });
        ada.post(&format!("{path}/messages"), body)
            .await
            .expect(202);
        for (wait, heads) in [(0, 1), (599, 1), (1, 2)] {
            service.pass(Duration::from_secs(wait));
            let done = service.backend().maintain().await.unwrap();
            assert_eq!(done.failed, 0);
            assert_eq!(item(&bob).await["head_seq"], heads);
        }
        assert_eq!(item(&bob).await["last_msg"]["preview"], "a secret");
        let secrets = "SELECT (SELECT count(*) FROM event WHERE body LIKE '%secret%')
            + (SELECT count(*) FROM inbox WHERE last_message LIKE '%secret%')";
        assert_eq!(service.count(secrets, &[]), 3);
        service.pass(Duration::from_secs(3600));
        let bob = service.person(2).await;
        assert_eq!(item(&bob).await["last_msg"]["preview"], "");
        service.backend().maintain().await.unwrap();
        assert_eq!(service.count(secrets, &[]), 0);
        assert_eq!(
            service.count("SELECT count(*) FROM conversation_timer", &[]),
            0
        );
        let due = "SELECT count(*) FROM alarm WHERE scope > 0";
        assert_eq!(service.count(due, &[]), 0, "nothing is left to do");
        let messages = bob.get(&format!("{path}/messages")).await.expect(200);
        assert_eq!(messages["messages"][0]["content"], "");
    });
}
