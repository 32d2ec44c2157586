//! People chat over one database.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Service, run};

#[test]
fn a_message_is_in_the_log_the_lists_and_the_counts() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let ack = ada.send(&chat, 1).await.expect(201);
        assert_eq!((&ack["seq"], &ack["duplicate"]), (&json!(1), &json!(false)));
        let again = ada.send(&chat, 1).await.expect(200);
        assert_eq!(again["message_id"], ack["message_id"]);
        assert_eq!(again["duplicate"], true);
        let page = bob.get(&format!("/conversations/{chat}/messages")).await;
        let page = page.expect(200);
        assert_eq!(page["messages"].as_array().unwrap().len(), 1);
        assert_eq!(page["messages"][0]["content"], "message 1");
        let list = bob.get("/conversations").await.expect(200);
        assert_eq!(list["total_unread"], 1);
        assert_eq!(list["conversations"][0]["last_msg"]["seq"], 1);
        let read = format!("/conversations/{chat}/read");
        let read = bob.post(&read, json!({"up_to_seq": 1})).await.expect(200);
        assert_eq!(read["total_unread"], 0);
        let info = format!(
            "/conversations/{chat}/messages/{}/info",
            ack["message_id"].as_str().unwrap()
        );
        let info = ada.get(&info).await.expect(200);
        assert_eq!(info["read_by"][0]["user_id"], json!(bob.id));
    });
}

#[test]
fn what_is_refused_leaves_no_trace() {
    run(async {
        let service = Service::new();
        let (ada, bob, eve) = (
            service.person(1).await,
            service.person(2).await,
            service.person(3).await,
        );
        let chat = ada.chat_with(&bob).await;
        ada.send(&chat, 1).await.expect(201);
        let tables = [
            ("SELECT scope, class, name FROM object", 3),
            ("SELECT scope, due FROM alarm", 2),
            ("SELECT scope, seq FROM event", 2),
            ("SELECT scope, conversation_id, head_seq FROM inbox", 3),
        ];
        let before = tables.map(|(statement, columns)| service.rows(statement, columns));
        for (answer, status) in [
            (eve.send(&chat, 2).await, 404),
            (eve.get(&format!("/conversations/{chat}/messages")).await, 404),
            (ada.get("/users/00000000-0000-4000-8000-00000000beef").await, 404),
            (
                ada.get("/conversations/00000000-0000-4000-8000-00000000beef").await,
                404,
            ),
            (
                ada.post(&format!("/conversations/{chat}/messages"), json!({"content": 7}))
                    .await,
                400,
            ),
            (
                ada.post(
                    "/conversations",
                    json!({"type": "direct", "member_ids": ["00000000-0000-4000-8000-00000000beef"]}),
                )
                .await,
                404,
            ),
        ] {
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let after = tables.map(|(statement, columns)| service.rows(statement, columns));
        assert_eq!(before, after);
    });
}

#[test]
fn sockets_are_refused_with_the_fallbacks_named() {
    run(async {
        let service = Service::new();
        let ada = service.person(1).await;
        for path in [
            "/ws",
            "/conversations/00000000-0000-4000-8000-00000000beef/ws",
        ] {
            let refused = ada.get(path).await.expect(501);
            assert_eq!(refused["code"], "not_implemented");
            let detail = refused["detail"].as_str().unwrap();
            assert!(detail.contains("/api/v1/events") && detail.contains("/api/v1/sync"));
        }
        assert_eq!(
            service
                .ask("GET", "/api/v1/ws", "", Value::Null)
                .await
                .status,
            401
        );
    });
}

#[test]
fn a_device_may_say_so_much_and_no_more() {
    run(async {
        let service = Service::with_scale(0.1);
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let chat = ada.chat_with(&bob).await;
        let mut refused = None;
        for number in 1..=7 {
            let answer = ada.send(&chat, number).await;
            if answer.status == 429 {
                refused = Some((number, answer.body));
                break;
            }
        }
        let (number, problem) = refused.unwrap();
        assert_eq!((number, &problem["code"]), (7, &json!("rate_limited")));
        service.pass(Duration::from_secs(1));
        ada.send(&chat, number).await.expect(201);
    });
}
