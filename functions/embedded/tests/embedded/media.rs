//! Media, with a storage that the test plays.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Person, Service, run};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Person<'_> {
    /// A picture that was announced, and whether its bytes are there.
    async fn picture(&self, is_there: bool) -> String {
        let body = json!({"content_type": "image/png", "size": 10});
        let begun = self.post("/media/upload", body).await.expect(201);
        let media_id = begun["media_id"].as_str().unwrap().to_owned();
        assert!(
            begun["upload_url"]
                .as_str()
                .unwrap()
                .starts_with("https://storage.example/")
        );
        if is_there {
            self.service.put(&media_id);
        }
        media_id
    }

    async fn show(&self, conversation: &str, number: u32, media_id: &str) -> Answer {
        let body = json!({
            "client_msg_id": format!("00000000-0000-4000-8000-{number:012}"),
            "content": "",
            "content_type": "image",
            "media_id": media_id,
        });
        self.post(&format!("/conversations/{conversation}/messages"), body)
            .await
    }
}

impl Service {
    fn put(&self, media_id: &str) {
        let mut objects = self.machine.objects.borrow_mut();
        let key = format!("media/{media_id}/original");
        objects.as_mut().unwrap().insert(key, (10, "image/png"));
    }

    fn stored(&self) -> usize {
        self.machine.objects.borrow().as_ref().unwrap().len()
    }

    async fn maintain(&self) {
        let done = self.backend().maintain().await.unwrap();
        assert_eq!(done.failed, 0);
    }
}

#[test]
fn a_medium_is_looked_for_before_it_is_sent_and_noted_with_the_message() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let media_id = ada.picture(false).await;
        let refused = ada.show(&chat, 1, &media_id).await.expect(400);
        assert_eq!(refused["errors"][0]["field"], "media_id");
        let notes = "SELECT count(*) FROM medium_message";
        assert_eq!(service.count(notes, &[]), 0);
        service.put(&media_id);
        bob.show(&chat, 1, &media_id).await.expect(400);
        let ack = ada.show(&chat, 1, &media_id).await.expect(201);
        assert_eq!(service.count(notes, &[]), 1);
        let again = ada.show(&chat, 1, &media_id).await.expect(200);
        assert_eq!(again["seq"], ack["seq"]);
        let got = bob.get(&format!("/media/{media_id}")).await;
        assert_eq!(got.status, 302);
        let listed = bob
            .get(&format!("/conversations/{chat}/events"))
            .await
            .expect(200);
        assert_eq!(listed["events"][0]["media"]["size"], 10);
    });
}

#[test]
fn where_storage_does_not_answer_nothing_is_sent_and_it_can_be_tried_again() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let media_id = ada.picture(true).await;
        let kept = service.machine.objects.take();
        ada.show(&chat, 1, &media_id).await.expect(503);
        *service.machine.objects.borrow_mut() = kept;
        let ack = ada.show(&chat, 1, &media_id).await.expect(201);
        assert_eq!(ack["duplicate"], false);
    });
}

#[test]
fn a_deletion_is_answered_though_storage_does_not_answer_and_is_carried_on() {
    run(async {
        let service = Service::new();
        let ada = service.person(1).await;
        let media_id = ada.picture(true).await;
        let path = format!("/api/v1/media/{media_id}");
        let kept = service.machine.objects.take();
        let deleted = service.ask("DELETE", &path, &ada.token, Value::Null).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        *service.machine.objects.borrow_mut() = kept;
        ada.get(&format!("/media/{media_id}")).await.expect(404);
        assert_eq!(service.stored(), 1);
        service.pass(Duration::from_secs(600));
        service.maintain().await;
        assert_eq!(service.stored(), 0);
    });
}

#[test]
fn maintenance_removes_what_was_sent_nowhere() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let (unused, sent) = (ada.picture(true).await, ada.picture(true).await);
        ada.show(&chat, 1, &sent).await.expect(201);
        service.pass(DAY - Duration::from_secs(60));
        service.maintain().await;
        assert_eq!(service.stored(), 2);
        service.pass(Duration::from_secs(60));
        let kept = service.machine.objects.take();
        service.maintain().await;
        *service.machine.objects.borrow_mut() = kept;
        let gone = ada.get(&format!("/media/{unused}/info")).await;
        assert_eq!(
            gone.status, 401,
            "the token has expired by now: {}",
            gone.body
        );
        service.pass(Duration::from_secs(600));
        service.maintain().await;
        assert_eq!(service.stored(), 1);
        let objects = "SELECT count(*) FROM object WHERE class = 'MEDIUM'";
        assert_eq!(service.count(objects, &[]), 1);
    });
}

#[test]
fn a_deleted_message_lets_go_of_its_medium_in_the_same_turn() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let media_id = ada.picture(true).await;
        let ack = ada.show(&chat, 1, &media_id).await.expect(201);
        let path = format!(
            "/api/v1/conversations/{chat}/messages/{}",
            ack["message_id"].as_str().unwrap()
        );
        let deleted = service.ask("DELETE", &path, &ada.token, Value::Null).await;
        deleted.expect(200);
        assert_eq!(service.count("SELECT count(*) FROM medium_message", &[]), 0);
        assert_eq!(service.count("SELECT count(*) FROM message_medium", &[]), 0);
        bob.get(&format!("/media/{media_id}")).await.expect(404);
        assert_eq!(ada.get(&format!("/media/{media_id}")).await.status, 302);
        service.pass(31 * DAY);
        service.maintain().await;
        assert_eq!(service.stored(), 0);
    });
}
