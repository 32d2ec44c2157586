//! What a user has set for a conversation, and whom it has blocked.

use parlance_tests::scene::pair;
use parlance_tests::{User, server, uuid};
use serde_json::{Value, json};

fn settings(id: &str) -> String {
    format!("/conversations/{id}/settings")
}

fn blocks(user: &User) -> String {
    format!("/users/me/blocks/{}", user.id)
}

#[tokio::test]
async fn settings_change_what_they_name_and_show_in_the_list() {
    let (ann, bob, id) = pair().await;
    bob.say(&id, "hello").await;
    ann.reached(&id, 1).await;
    let until = "2030-01-01T00:00:00.000Z";
    let body = json!({"muted_until": until, "pinned": true, "notify": "none"});
    let set = ann.api.ask("PUT", &settings(&id), body).await.ok(200);
    assert_eq!(
        set,
        json!({"conversation_id": id, "muted_until": until, "archived": false, "pinned": true,
            "notify": "none"})
    );
    let item = ann.item(&id).await.expect("an item");
    for field in ["muted_until", "archived", "pinned", "notify"] {
        assert_eq!(item[field], set[field], "{field}");
    }
    let theirs = bob.reached(&id, 1).await;
    assert_eq!(
        (&theirs["pinned"], &theirs["notify"]),
        (&json!(false), &json!("all"))
    );
    let body = json!({"muted_until": null, "archived": true});
    let set = ann.api.ask("PUT", &settings(&id), body).await.ok(200);
    assert_eq!(
        (&set["muted_until"], &set["pinned"]),
        (&Value::Null, &json!(true))
    );
    bob.say(&id, "are you there?").await;
    assert_eq!(ann.item(&id).await, None, "the list hides it");
    let archived = parlance_tests::eventually("it to arrive all the same", async || {
        let list = ann.api.get("/conversations?archived=true").await.ok(200);
        Some(list["conversations"][0].clone()).filter(|item| item["head_seq"] == 2)
    })
    .await;
    assert_eq!(archived["unread"], 2);
    assert_eq!(ann.list().await["total_unread"], 0);
    let wrong = ann
        .api
        .ask("PUT", &settings(&id), json!({"notify": "some"}))
        .await;
    wrong.invalid_field("notify");
    let elsewhere = ann
        .api
        .ask("PUT", &settings(&uuid()), json!({"pinned": true}))
        .await;
    elsewhere.problem(404, "not_found");
}

#[tokio::test]
async fn one_who_is_blocked_cannot_write_to_the_blocker() {
    let (ann, bob, id) = pair().await;
    let said = ann.say(&id, "hello").await;
    let message = said["message_id"].as_str().expect("an id").to_owned();
    bob.reached(&id, 1).await;
    ann.api.ask("PUT", &blocks(&bob), Value::Null).await.ok(204);
    ann.api.ask("PUT", &blocks(&bob), Value::Null).await.ok(204);
    let list = ann.api.get("/users/me/blocks").await.ok(200);
    assert_eq!(list["blocks"].as_array().expect("blocks").len(), 1);
    assert_eq!(list["blocks"][0]["user_id"], bob.id.as_str());
    let refused = bob.try_say(&id, &uuid(), "please").await;
    refused.problem(403, "forbidden");
    let messages = format!("/conversations/{id}/messages");
    let later = json!({"client_msg_id": uuid(), "content": "later",
        "send_at": "2025-01-01T00:00:00.000Z"});
    bob.api
        .post(&messages, later)
        .await
        .problem(403, "forbidden");
    for (method, path, body) in [
        (
            "PUT",
            format!("{messages}/{message}/reactions/%F0%9F%91%8D"),
            Value::Null,
        ),
        (
            "PUT",
            format!("/conversations/{id}/pins/{message}"),
            Value::Null,
        ),
        (
            "PATCH",
            format!("/conversations/{id}"),
            json!({"expires_after": 7200}),
        ),
    ] {
        let refused = bob.api.ask(method, &path, body).await;
        refused.problem(403, "forbidden");
    }
    assert_eq!(ann.head_seq(&id).await, 1, "refusals change nothing");
    assert_eq!(bob.events(&id, 0).await.len(), 1, "what was said stays");
    // A group is unaffected, but for being let into one.
    let [eve] = User::sign_up_all(server::shared()).await;
    let group = eve.group("All", &[&ann, &bob]).await;
    bob.say(&group, "hello, all").await;
    let refused = bob
        .api
        .post(
            "/conversations",
            json!({"type": "group", "member_ids": [eve.id, ann.id]}),
        )
        .await;
    let problem = refused.problem(403, "forbidden");
    assert_eq!(problem["errors"][0]["field"], "member_ids[1]");
    let own = bob.group("Mine", &[]).await;
    let refused = bob
        .api
        .post(
            &format!("/conversations/{own}/members"),
            json!({"user_ids": [ann.id]}),
        )
        .await;
    let problem = refused.problem(403, "forbidden");
    assert_eq!(problem["errors"][0]["field"], "user_ids[0]");
    ann.api
        .ask("DELETE", &blocks(&bob), Value::Null)
        .await
        .ok(204);
    ann.api
        .ask("DELETE", &blocks(&bob), Value::Null)
        .await
        .ok(204);
    bob.say(&id, "thank you").await;
    let list = ann.api.get("/users/me/blocks").await.ok(200);
    assert_eq!(list["blocks"], json!([]));
}

#[tokio::test]
async fn a_block_holds_before_there_is_a_conversation_and_hides_presence() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let profile = |of: &User| format!("/users/{}", of.id);
    let shown = bob.api.get(&profile(&ann)).await.ok(200);
    assert!(shown["presence"].is_object(), "{shown}");
    ann.api.ask("PUT", &blocks(&bob), Value::Null).await.ok(204);
    for (viewer, of) in [(&bob, &ann), (&ann, &bob)] {
        let shown = viewer.api.get(&profile(of)).await.ok(200);
        assert!(shown["presence"].is_null(), "{shown}");
    }
    let id = bob.direct(&ann).await;
    let refused = bob.try_say(&id, &uuid(), "hello").await;
    refused.problem(403, "forbidden");
    let nobody = format!("/users/me/blocks/{}", uuid());
    let missing = ann.api.ask("PUT", &nobody, Value::Null).await;
    missing.problem(404, "not_found");
    let oneself = ann.api.ask("PUT", &blocks(&ann), Value::Null).await;
    oneself.invalid_field("user_id");
}
