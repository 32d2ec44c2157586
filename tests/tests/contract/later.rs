//! What happens later: messages that are sent at a time, and settings of how long they stay.

use std::time::Duration;

use parlance_tests::scene::pair;
use parlance_tests::{PATIENCE, Server, User, eventually, from_now, uuid};
use serde_json::{Value, json};

fn scheduled(conversation: &str) -> String {
    format!("/conversations/{conversation}/scheduled")
}

#[tokio::test]
async fn a_scheduled_message_waits_is_listed_and_is_sent_once() {
    let (ann, bob, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    let at = |seconds, content: &str| {
        let send_at = from_now(Duration::from_secs(seconds));
        json!({"client_msg_id": uuid(), "content": content, "send_at": send_at})
    };
    // Its time does not come while one looks at it, however slow the machine is.
    let body = at(86_400, "tomorrow");
    let kept = ann.api.post(&path, body.clone()).await.ok(202);
    assert_eq!(kept["type"], "message_scheduled");
    assert_eq!(ann.api.post(&path, body).await.ok(202), kept);
    let listed = ann.api.get(&scheduled(&id)).await.ok(200);
    assert_eq!(listed["scheduled"][0]["scheduled_id"], kept["scheduled_id"]);
    assert_eq!(listed["scheduled"][0]["content"], "tomorrow");
    assert_eq!(
        bob.api.get(&scheduled(&id)).await.ok(200),
        json!({"scheduled": []})
    );
    assert_eq!(ann.head_seq(&id).await, 0);

    let body = at(2, "later");
    ann.api.post(&path, body.clone()).await.ok(202);
    let item = eventually("the message to be sent", async || {
        bob.item(&id).await.filter(|item| item["head_seq"] == 1)
    })
    .await;
    assert_eq!(item["last_msg"]["preview"], "later");
    assert_eq!(
        ann.api.get(&scheduled(&id)).await.ok(200),
        listed,
        "the other one waits still"
    );
    let log = bob.events(&id, 0).await;
    assert_eq!((log.len(), &log[0]["sender_id"]), (1, &json!(ann.id)));
    let again = ann.api.post(&path, body).await.ok(200);
    assert_eq!(
        (&again["type"], &again["duplicate"]),
        (&json!("msg_ack"), &json!(true))
    );
}

#[tokio::test]
async fn messages_for_one_time_are_listed_and_sent_in_the_order_in_which_they_were_made() {
    let (ann, bob, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    let texts: Vec<_> = (1..=5).map(|number| format!("number {number}")).collect();
    let contents = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| one["content"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    // One time that does not come while one looks at the list, and one that does.
    for ahead in [86_400, 4] {
        let send_at = from_now(Duration::from_secs(ahead));
        for text in &texts {
            let body = json!({"client_msg_id": uuid(), "content": text, "send_at": send_at});
            ann.api.post(&path, body).await.ok(202);
        }
        if ahead > 1000 {
            let listed = ann.api.get(&scheduled(&id)).await.ok(200);
            assert_eq!(contents(&listed["scheduled"]), texts);
        }
    }
    eventually("all to be sent", async || {
        bob.item(&id).await.filter(|item| item["head_seq"] == 5)
    })
    .await;
    assert_eq!(contents(&json!(bob.events(&id, 0).await)), texts);
}

#[tokio::test]
async fn a_scheduled_message_whose_time_comes_while_the_service_is_down_is_sent_once_it_is_back() {
    let mut server = Server::start();
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    let send_at = from_now(Duration::from_secs(2));
    let body = json!({"client_msg_id": uuid(), "content": "later", "send_at": send_at});
    let path = format!("/conversations/{id}/messages");
    ann.api.post(&path, body).await.ok(202);
    server.kill_hard();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.restart();
    let (ann, bob) = (ann.at(&server), bob.at(&server));
    eventually("the message to be sent", async || {
        bob.item(&id).await.filter(|item| item["head_seq"] == 1)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ann.events(&id, 0).await.len(), 1);
}

#[tokio::test]
async fn a_scheduled_message_that_is_taken_back_is_not_sent() {
    let (ann, bob, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    let mut ahead = Duration::from_secs(2);
    let mut sent = 0;
    // On a machine that is so slow that it is sent before it is taken back, it is tried again with
    // more time.
    loop {
        let send_at = from_now(ahead);
        let body = json!({"client_msg_id": uuid(), "content": "later", "send_at": send_at});
        let kept = ann.api.post(&path, body).await.ok(202);
        let kept_id = kept["scheduled_id"].as_str().expect("an id");
        let one = format!("{}/{kept_id}", scheduled(&id));
        bob.api
            .ask("DELETE", &one, Value::Null)
            .await
            .problem(404, "not_found");
        let taken_back = ann.api.ask("DELETE", &one, Value::Null).await;
        ann.api
            .ask("DELETE", &one, Value::Null)
            .await
            .problem(404, "not_found");
        if taken_back.status == 204 {
            break;
        }
        taken_back.problem(404, "not_found");
        sent += 1;
        assert_eq!(ann.head_seq(&id).await, sent, "it is gone, and not sent");
        ahead *= 2;
        assert!(ahead < PATIENCE, "it is never taken back");
    }
    tokio::time::sleep(ahead + Duration::from_secs(2)).await;
    assert_eq!(ann.head_seq(&id).await, sent);
}

#[tokio::test]
async fn a_time_that_is_none_or_too_far_is_refused() {
    let (ann, _, id) = pair().await;
    let path = format!("/conversations/{id}/messages");
    for send_at in [
        json!("tomorrow"),
        json!(7),
        json!("2020-01-01T00:00:00.000Z"),
        json!(from_now(Duration::from_secs(31 * 86_400))),
    ] {
        let body = json!({"client_msg_id": uuid(), "content": "later", "send_at": send_at});
        ann.api.post(&path, body).await.invalid_field("send_at");
    }
    assert_eq!(
        ann.api.get(&scheduled(&id)).await.ok(200),
        json!({"scheduled": []})
    );
}

#[tokio::test]
async fn both_sides_of_a_direct_chat_set_how_long_messages_stay() {
    let (ann, bob, id) = pair().await;
    let path = format!("/conversations/{id}");
    let view = bob
        .api
        .ask("PATCH", &path, json!({"expires_after": 3600}))
        .await
        .ok(200);
    assert_eq!(view["expires_after"], 3600);
    let log = ann.events(&id, 0).await;
    assert_eq!(
        (&log[0]["type"], &log[0]["expires_after"]),
        (&json!("conversation_changed"), &json!(3600))
    );
    ann.say(&id, "for an hour").await;
    let log = bob.events(&id, 1).await;
    assert!(log[0]["expires_at"].is_string(), "{log:?}");
    ann.api
        .ask("PATCH", &path, json!({"expires_after": null}))
        .await
        .ok(200);
    assert_eq!(
        ann.api.get(&path).await.ok(200)["expires_after"],
        Value::Null
    );
    for wrong in [json!(60), json!("3600"), json!(10_000_000)] {
        let refused = ann
            .api
            .ask("PATCH", &path, json!({"expires_after": wrong}))
            .await;
        refused.invalid_field("expires_after");
    }
    assert_eq!(ann.head_seq(&id).await, 3);
}
