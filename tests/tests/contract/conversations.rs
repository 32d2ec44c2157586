//! Conversations over HTTP: making them, listing them, reading what was said.

use std::collections::BTreeSet;
use std::time::Duration;

use parlance_tests::api::text;
use parlance_tests::{User, eventually, server, socket, uuid};
use serde_json::{Value, json};

/// Waits until the conversation shows this many unread messages in the user's list.
async fn unread(user: &User, conversation: &str, count: u64) -> Value {
    eventually("the list to show the unread messages", async || {
        user.item(conversation)
            .await
            .filter(|item| item["unread"] == count && !item["last_msg"].is_null())
    })
    .await
}

fn array(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

/// Follows the cursors of a list to its end, and gives the pages.
async fn pages(user: &User, path: &str, list: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = path.to_owned();
    loop {
        let page = user.api.get(&next).await.ok(200);
        pages.push(array(&page[list]).to_vec());
        assert_eq!(page["has_more"], page["next_cursor"].is_string(), "{path}");
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}&cursor={cursor}"),
            None => return pages,
        }
        assert!(pages.len() < 1000, "{path} does not end");
    }
}

#[tokio::test]
async fn a_direct_conversation_has_one_id_from_both_sides() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let body = |user: &User| json!({"type": "direct", "member_ids": [user.id]});
    let first = ann.api.post("/conversations", body(&bob)).await.ok(201);
    let again = ann.api.post("/conversations", body(&bob)).await.ok(200);
    let other_side = bob.api.post("/conversations", body(&ann)).await.ok(200);
    assert_eq!(first, again);
    assert_eq!(first, other_side);
    assert_ne!(first["conversation_id"], ann.direct(&eve).await);

    let id = text(&first, "conversation_id");
    let view = bob.api.get(&format!("/conversations/{id}")).await.ok(200);
    assert_eq!(view["id"], id);
    assert_eq!(view["type"], "direct");
    assert_eq!(view["member_count"], 2);
    assert_eq!(view["peer_id"], ann.id);
    assert_eq!(view["created_by"], ann.id);
}

#[tokio::test]
async fn both_sides_may_make_a_direct_conversation_at_once() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let (one, other) = tokio::join!(ann.direct(&bob), bob.direct(&ann));
    assert_eq!(one, other);
    ann.say(&one, "hello").await;
    unread(&bob, &one, 1).await;
}

#[tokio::test]
async fn the_list_names_people_and_counts_what_they_said() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    ann.api
        .ask("PATCH", "/users/me", json!({"display_name": "Ann"}))
        .await
        .ok(200);
    bob.api
        .ask("PATCH", "/users/me", json!({"display_name": "Bob"}))
        .await
        .ok(200);
    let id = ann.direct(&bob).await;

    let empty = eventually("the new conversation in both lists", async || {
        bob.item(&id).await
    })
    .await;
    assert_eq!(empty["last_msg"], Value::Null);
    assert_eq!(empty["unread"], 0);

    ann.say(&id, "first").await;
    let long = "\u{00e9}".repeat(150);
    let last = ann.say(&id, &long).await;
    let item = unread(&bob, &id, 2).await;
    assert_eq!(
        item["name"], "Ann",
        "a direct conversation bears the other's name"
    );
    assert_eq!(item["type"], "direct");
    assert_eq!(item["head_seq"], last["seq"]);
    assert_eq!(item["last_message_at"], last["created_at"]);
    let shown = &item["last_msg"];
    assert_eq!(shown["message_id"], last["message_id"]);
    assert_eq!(shown["seq"], last["seq"]);
    assert_eq!(shown["sender_id"], ann.id);
    assert_eq!(shown["content_type"], "text");
    assert_eq!(shown["preview"], "\u{00e9}".repeat(100));
    for field in [
        "muted_until",
        "archived",
        "pinned",
        "read_seq",
        "avatar_url",
    ] {
        assert!(item.get(field).is_some(), "{field} is there: {item}");
    }

    let own = eventually("the sender's own list to follow", async || {
        ann.item(&id)
            .await
            .filter(|item| item["head_seq"] == last["seq"])
    })
    .await;
    assert_eq!(own["unread"], 0, "one's own messages are not unread");
    assert_eq!(own["name"], "Bob");
    assert_eq!(ann.list().await["total_unread"], 0);
    assert_eq!(bob.list().await["total_unread"], 2);
}

#[tokio::test]
async fn what_one_knows_of_can_be_read_and_set_at_once() {
    let [ann, bob, cid] = User::sign_up_all(server::shared()).await;
    // Whether the inbox has been told of it yet is nobody's business but ours.
    for number in 1..=20 {
        let id = ann.group(&format!("Group {number}"), &[&bob, &cid]).await;
        let path = format!("/conversations/{id}/settings");
        let set = bob.api.ask("PUT", &path, json!({"pinned": true})).await;
        assert_eq!(set.ok(200)["pinned"], true);
        let said = ann.say(&id, "hello").await;
        for user in [&ann, &bob, &cid] {
            let seq = said["seq"].as_u64().expect("a seq");
            let read = user.mark_read(&id, seq).await.ok(200);
            assert_eq!(
                (&read["read_seq"], &read["unread"]),
                (&said["seq"], &json!(0))
            );
            assert_eq!(user.item(&id).await.expect("in the list")["unread"], 0);
            let refused = user.mark_read(&id, seq + 1).await;
            refused.problem(400, "invalid_request");
        }
    }
    let elsewhere = format!("/conversations/{}/settings", uuid());
    let refused = ann
        .api
        .ask("PUT", &elsewhere, json!({"pinned": true}))
        .await;
    refused.problem(404, "not_found");
    let refused = ann.mark_read(&uuid(), 1).await;
    refused.problem(404, "not_found");
}

#[tokio::test]
async fn encrypted_content_has_no_preview() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let body = json!({"client_msg_id": uuid(), "content": "c2VjcmV0", "content_type": "encrypted"});
    ann.api
        .post(&format!("/conversations/{id}/messages"), body)
        .await
        .ok(201);
    assert_eq!(unread(&bob, &id, 1).await["last_msg"]["preview"], "");
}

#[tokio::test]
async fn a_group_begins_with_its_members() {
    let [ann, bob, eve, dan, joe] = User::sign_up_all(server::shared()).await;
    let others = [&bob, &eve, &dan, &joe];
    let id = ann.group("Hikers", &others).await;
    assert_ne!(
        id,
        ann.group("Hikers", &others).await,
        "each group is one of its own"
    );

    let view = eve.api.get(&format!("/conversations/{id}")).await.ok(200);
    assert_eq!(view["type"], "group");
    assert_eq!(view["name"], "Hikers");
    assert_eq!(view["member_count"], 5);
    assert_eq!(view["role"], "member");
    assert_eq!(
        ann.api.get(&format!("/conversations/{id}")).await.ok(200)["role"],
        "owner"
    );

    let found = pages(
        &bob,
        &format!("/conversations/{id}/members?limit=2"),
        "members",
    )
    .await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let members: BTreeSet<_> = found
        .iter()
        .flatten()
        .map(|member| text(member, "user_id").to_owned())
        .collect();
    let expected = [&ann, &bob, &eve, &dan, &joe].map(|user| user.id.clone());
    assert_eq!(members, BTreeSet::from(expected));
    for member in found.iter().flatten() {
        let role = if member["user_id"] == ann.id {
            "owner"
        } else {
            "member"
        };
        assert_eq!(member["role"], role);
        assert!(member["joined_at"].is_string());
    }

    ann.say(&id, "Where to?").await;
    for user in others {
        let item = unread(user, &id, 1).await;
        assert_eq!(item["name"], "Hikers");
        assert_eq!(item["last_msg"]["preview"], "Where to?");
    }
}

#[tokio::test]
async fn the_list_pages_newest_activity_first_with_each_conversation_once() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(ann.group(&format!("Group {number}"), &[&bob]).await);
    }
    // Said in another order than the groups were made in.
    let order: Vec<_> = (0..25).map(|step| ids[step * 7 % 25].clone()).collect();
    for id in &order {
        ann.say(id, "hello").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eventually("all 25 to be delivered", async || {
        (bob.list().await["total_unread"] == 25).then_some(())
    })
    .await;

    for user in [&ann, &bob] {
        let found = eventually("the list to follow", async || {
            let found = pages(user, "/conversations?limit=10", "conversations").await;
            found
                .iter()
                .flatten()
                .all(|item| !item["last_msg"].is_null())
                .then_some(found)
        })
        .await;
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let listed: Vec<_> = found
            .iter()
            .flatten()
            .map(|item| text(item, "id").to_owned())
            .collect();
        let newest_first: Vec<_> = order.iter().rev().cloned().collect();
        assert_eq!(listed, newest_first);
    }
    assert_eq!(
        array(&bob.list().await["conversations"]).len(),
        20,
        "20 is the default"
    );

    ann.say(&order[0], "again").await;
    unread(&bob, &order[0], 2).await;
    assert_eq!(bob.list().await["conversations"][0]["id"], order[0]);
    assert_eq!(bob.list().await["total_unread"], 26);
    let archived = bob.api.get("/conversations?archived=true").await.ok(200);
    assert_eq!(archived["conversations"], json!([]));
}

#[tokio::test]
async fn messages_page_newest_first_with_each_once() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let mut acks = Vec::new();
    for number in 0..120 {
        acks.push(ann.say(&id, &format!("message {number}")).await);
    }

    let found = pages(
        &bob,
        &format!("/conversations/{id}/messages?limit=50"),
        "messages",
    )
    .await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20]);
    let found: Vec<_> = found.into_iter().flatten().collect();
    for (place, message) in found.iter().enumerate() {
        assert_eq!(
            message["content"],
            format!("message {}", 119 - place),
            "one sender's order is kept"
        );
        assert_eq!(message["type"], "new_message");
        assert_eq!(message["sender_id"], ann.id);
        assert_eq!(message["conversation_id"], id);
        assert_eq!(message["is_deleted"], false);
        assert!(
            message.get("client_msg_id").is_none(),
            "the sender alone sees it"
        );
    }
    let own = ann
        .api
        .get(&format!("/conversations/{id}/messages?limit=1"))
        .await
        .ok(200);
    assert_eq!(
        own["messages"][0]["client_msg_id"],
        acks[119]["client_msg_id"]
    );

    let events = bob.events(&id, 0).await;
    let contents: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "new_message")
        .collect();
    assert_eq!(contents.len(), 120);
    assert!(
        contents.into_iter().eq(found.iter().rev()),
        "an event is the message"
    );
    let after = events.len() as u64 - 5;
    let page = bob
        .api
        .get(&format!(
            "/conversations/{id}/events?after_seq={after}&limit=3"
        ))
        .await
        .ok(200);
    assert_eq!(
        socket::seqs(array(&page["events"])),
        [after + 1, after + 2, after + 3]
    );
    assert_eq!(page["has_more"], true);
    assert_eq!(page["head_seq"], after + 5);
    let beyond = bob
        .api
        .get(&format!("/conversations/{id}/events?after_seq=99999"))
        .await
        .ok(200);
    assert_eq!(beyond["events"], json!([]));
    assert_eq!(beyond["has_more"], false);
}

#[tokio::test]
async fn a_reply_is_to_a_message_of_the_same_conversation() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let elsewhere = ann.direct(&eve).await;
    let question = ann.say(&id, "Tea?").await;
    let foreign = ann.say(&elsewhere, "Tea?").await;
    let path = format!("/conversations/{id}/messages");
    let reply = |to: &Value| json!({"client_msg_id": uuid(), "content": "Yes", "reply_to": to});

    let head = ann.head_seq(&id).await;
    for bad in [&foreign["message_id"], &json!(uuid())] {
        let refused = bob.api.post(&path, reply(bad)).await;
        assert!(matches!(refused.status, 400 | 404), "{refused:?}");
    }
    assert_eq!(ann.head_seq(&id).await, head);

    let sent = bob
        .api
        .post(&path, reply(&question["message_id"]))
        .await
        .ok(201);
    let events = ann.events(&id, head).await;
    assert_eq!(events[0]["message_id"], sent["message_id"]);
    assert_eq!(events[0]["reply_to"], question["message_id"]);
}

#[tokio::test]
async fn text_is_kept_to_the_letter_up_to_its_limit() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let longest = "\u{00fc}".repeat(16_384);
    let texts = [
        " spaces around ",
        "line\nbreak\ttab",
        "\u{1F469}\u{200D}\u{1F680} e\u{0301} \u{202E}abc",
        "nul \u{0} inside",
        r#"{"type":"ping"} '; DROP TABLE events; --"#,
        &longest,
    ];
    for text in texts {
        let ack = ann.say(&id, text).await;
        let after = ack["seq"].as_u64().expect("a seq") - 1;
        assert_eq!(bob.events(&id, after).await[0]["content"], text);
    }
}

#[tokio::test]
async fn profiles_are_seen_and_numbers_found() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let patch = json!({"display_name": "Ann", "status_message": "Hiking", "profile_pic": "https://example.com/a.png", "privacy": {"read_receipts": false}});
    let changed = ann.api.ask("PATCH", "/users/me", patch).await.ok(200);
    assert_eq!(changed["display_name"], "Ann");
    assert_eq!(
        changed["privacy"],
        json!({"last_seen": "everyone", "profile_pic": "everyone", "read_receipts": false})
    );
    assert_eq!(changed, ann.api.get("/users/me").await.ok(200));
    let seen = bob.api.get(&format!("/users/{}", ann.id)).await.ok(200);
    assert_eq!(seen["display_name"], "Ann");
    assert_eq!(seen["status_message"], "Hiking");
    assert_eq!(seen["profile_pic_url"], "https://example.com/a.png");
    assert!(seen.get("phone_number").is_none(), "numbers are not shown");

    let nobody = parlance_tests::phone_number();
    let asked = json!({"phone_numbers": [nobody, ann.phone_number]});
    let found = bob.api.post("/users/lookup", asked).await.ok(200);
    assert_eq!(
        found,
        json!({"users": [{"phone_number": ann.phone_number, "user_id": ann.id}]})
    );
}
