//! What the editions do not have in common.

use parlance_tests::{Edition, Server, User, eventually, server, uuid};
use serde_json::json;

#[tokio::test]
async fn sockets_are_opened_or_refused_with_the_fallbacks_named() {
    let user = User::sign_up(server::shared()).await;
    for path in ["/ws".to_owned(), format!("/conversations/{}/ws", uuid())] {
        let reply = user.api.get(&path).await;
        if Edition::current().has_sockets() {
            reply.problem(426, "upgrade_required");
        } else {
            let problem = reply.problem(501, "not_implemented");
            let detail = problem["detail"].as_str().expect("a detail");
            assert!(detail.contains("/events") && detail.contains("/sync"));
        }
    }
}

#[tokio::test]
async fn history_is_the_same_where_older_events_are_archived_and_where_they_are_not() {
    let server = Server::start_with(&[("HOT_WINDOW_EVENTS", "0"), ("HOT_WINDOW_DAYS", "30")]);
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    for number in 1..=20 {
        ann.say(&id, &format!("number {number}")).await;
    }
    if Edition::current().has_archive() {
        eventually("a segment", async || {
            (server.stored_bytes() > 0).then_some(())
        })
        .await;
    }
    let events = bob.events(&id, 0).await;
    assert_eq!(events.len(), 20);
    assert_eq!(events[0]["content"], "number 1");
    let message_id = events[0]["message_id"].as_str().expect("an id");
    let path = format!("/conversations/{id}/messages/{message_id}");
    let edit = json!({"content": "edited"});
    ann.api.ask("PATCH", &path, edit).await.ok(200);
    let page = format!("/conversations/{id}/messages?limit=50");
    let page = bob.api.get(&page).await.ok(200);
    let messages = page["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 20);
    assert_eq!(messages[19]["content"], "edited");
    if !Edition::current().has_archive() {
        assert_eq!(server.stored_bytes(), 0);
    }
}
