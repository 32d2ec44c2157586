//! `/conversations`

use parlance_shared::ids::ConversationId;
use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, Made, PEER, public_profile};

const PATH: &str = "/api/v1/conversations";

fn user(number: u32) -> String {
    format!("00000000-0000-4000-8000-1{number:011}")
}

/// All users exist but those whose id ends in 9; every conversation is new.
fn answering(made: &Made) -> Result<Value, Problem> {
    match made.call() {
        "view_profile" if made.name.ends_with('9') => Err(Problem::not_found("user")),
        "view_profile" => Ok(public_profile(&made.name, "Bob")),
        "admit_to" if made.name.ends_with('9') => Err(Problem::not_found("user")),
        "admit_to" => Ok(Value::Null),
        "create" => Ok(json!({"created": true})),
        other => panic!("unexpected: {other}"),
    }
}

fn created(fake: &Fake) -> Made {
    let made = fake.made.borrow();
    made.iter()
        .find(|made| made.call() == "create")
        .cloned()
        .expect("it was made")
}

#[tokio::test(flavor = "current_thread")]
async fn a_direct_conversation_has_the_id_of_its_two_users() {
    let fake = Fake::new(answering);
    let body = json!({"type": "direct", "member_ids": [PEER, ME, PEER], "name": "", "description": "x".repeat(501)});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(answer.status, 201);
    let id = ConversationId::direct(ME.parse().unwrap(), PEER.parse().unwrap()).to_string();
    assert_eq!(answer.json(), json!({"conversation_id": id}));
    let made = created(&fake);
    assert_eq!(made.name, id);
    assert_eq!(
        made.fields(),
        &json!({"conversation_id": id, "creator": ME, "kind": {"direct": {"peer": PEER}}, "encrypted": false})
    );
    assert_eq!(fake.calls(), ["USER view_profile", "CONVERSATION create"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_direct_conversation_that_exists_is_200() {
    let fake = Fake::new(|made| match made.call() {
        "create" => Ok(json!({"created": false})),
        _ => answering(made),
    });
    let body = json!({"type": "direct", "member_ids": [PEER]});
    assert_eq!(fake.ask("POST", PATH, Some(body)).await.status, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn a_direct_conversation_needs_exactly_one_other_user_who_exists() {
    let fake = Fake::new(answering);
    for members in [json!([]), json!([ME]), json!([PEER, user(1)])] {
        let body = json!({"type": "direct", "member_ids": members});
        let answer = fake.ask("POST", PATH, Some(body)).await;
        assert_eq!(answer.problem(400, "invalid_request"), ["member_ids"]);
    }
    assert_eq!(fake.calls().len(), 0);
    let body = json!({"type": "direct", "member_ids": [ME, user(9)]});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(answer.problem(404, "not_found"), ["member_ids[1]"]);
    assert_eq!(fake.calls(), ["USER view_profile"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_group_is_made_with_its_members_each_once_and_a_random_id() {
    let fake = Fake::new(answering);
    let body = json!({"type": "group", "name": "Team", "description": "", "encrypted": true,
        "member_ids": [PEER, user(1), ME, PEER]});
    let answer = fake.ask("POST", PATH, Some(body.clone())).await;
    assert_eq!(answer.status, 201);
    let id = answer.json()["conversation_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let made = created(&fake);
    assert_eq!(made.name, id);
    let group = json!({"name": "Team", "description": "", "members": [PEER, user(1)]});
    assert_eq!(
        made.fields(),
        &json!({"conversation_id": id, "creator": ME, "kind": {"group": group}, "encrypted": true})
    );
    let again = fake.ask("POST", PATH, Some(body)).await;
    assert_ne!(again.json()["conversation_id"], id);
    let alone = fake
        .ask(
            "POST",
            PATH,
            Some(json!({"type": "group", "member_ids": []})),
        )
        .await;
    assert_eq!(alone.status, 201);
    assert!(!fake.log().contains("Team"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_group_has_at_most_1024_members_checked_in_waves() {
    let fake = Fake::new(|made| match made.call() {
        "create" => Ok(json!({"created": true})),
        _ => Ok(Value::Null),
    });
    let ids = |count: u32| (0..count).map(user).collect::<Vec<_>>();
    let body = json!({"type": "group", "member_ids": ids(1024)});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["member_ids"]);
    assert_eq!(fake.calls().len(), 0);
    let body = json!({"type": "group", "member_ids": ids(1023)});
    assert_eq!(fake.ask("POST", PATH, Some(body)).await.status, 201);
    assert_eq!(fake.calls().len(), 1024);
    assert_eq!(fake.most_in_flight.get(), 64);
}

#[tokio::test(flavor = "current_thread")]
async fn members_who_are_no_users_are_all_named_and_nothing_is_made() {
    let fake = Fake::new(answering);
    let body = json!({"type": "group", "member_ids": [user(1), user(9), PEER, user(19)]});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(
        answer.problem(404, "not_found"),
        ["member_ids[1]", "member_ids[3]"]
    );
    assert!(!fake.calls().contains(&"CONVERSATION create".to_owned()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_who_cannot_be_checked_leaves_nothing_made() {
    let fake = Fake::new(|_| Err(Problem::unavailable("It did not answer.")));
    let body = json!({"type": "group", "member_ids": [PEER]});
    fake.ask("POST", PATH, Some(body))
        .await
        .problem(503, "unavailable");
    assert_eq!(fake.calls(), ["USER admit_to"]);
}

#[tokio::test(flavor = "current_thread")]
async fn all_that_is_wrong_with_a_group_is_told_at_once() {
    let fake = Fake::idle();
    let body =
        json!({"type": "group", "name": " ", "description": "x".repeat(501), "member_ids": []});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(
        answer.problem(400, "invalid_request"),
        ["name", "description"]
    );
    let body = json!({"type": "group", "member_ids": [PEER, "x"]});
    let answer = fake.ask("POST", PATH, Some(body)).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["member_ids[1]"]);
    let answer = fake
        .ask(
            "POST",
            PATH,
            Some(json!({"type": "channel", "member_ids": []})),
        )
        .await;
    assert_eq!(answer.problem(400, "invalid_request"), ["type"]);
}

fn item(id: &str, kind: &str, peer: Option<&str>) -> Value {
    let mut item = json!({"id": id, "type": kind, "name": null, "avatar_url": null, "last_msg": null,
        "last_message_at": null, "unread": 0, "head_seq": 0, "read_seq": 0, "muted_until": null,
        "archived": false, "pinned": false, "notify": "all", "membership": "member"});
    if let Some(peer) = peer {
        item["peer_id"] = json!(peer);
    }
    item
}

#[tokio::test(flavor = "current_thread")]
async fn direct_conversations_are_listed_with_the_peer_s_face_where_it_can_be_read() {
    let fake = Fake::new(|made| match (made.call(), made.name.as_str()) {
        ("list_conversations", ME) => Ok(json!({
            "conversations": [item(ID, "direct", Some(PEER)), item(ID, "group", None),
                item(ID, "direct", Some(&user(9))), item(ID, "direct", Some(&user(5)))],
            "next_cursor": "next", "has_more": true, "total_unread": 3})),
        ("view_profile", PEER) => Ok(public_profile(PEER, "Bob")),
        ("view_profile", name) if name == user(5) => Ok(public_profile(name, "")),
        _ => Err(Problem::unavailable("It did not answer.")),
    });
    let answer = fake
        .ask(
            "GET",
            &format!("{PATH}?limit=1000&cursor=c%2B1&archived=true"),
            None,
        )
        .await;
    let page = answer.json();
    assert_eq!(page["conversations"][0]["name"], "Bob");
    assert_eq!(
        page["conversations"][0]["avatar_url"],
        "https://pics.example/Bob"
    );
    for position in 1..4 {
        assert_eq!(page["conversations"][position]["name"], Value::Null);
    }
    assert_eq!(page["total_unread"], 3);
    assert_eq!(
        fake.made.borrow()[0].fields(),
        &json!({"device_id": DEVICE, "cursor": "c+1", "limit": 100, "archived": true})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_query_that_does_not_fit_is_named() {
    let fake = Fake::idle();
    for (path, field) in [
        (PATH.to_owned(), "limit"),
        (PATH.to_owned(), "archived"),
        (format!("{PATH}/{ID}/members"), "limit"),
        (format!("{PATH}/{ID}/messages"), "limit"),
        (format!("{PATH}/{ID}/events"), "limit"),
        (format!("{PATH}/{ID}/events"), "after_seq"),
    ] {
        for query in [
            format!("{field}=x"),
            format!("{field}=1&{field}=1"),
            format!("{field}=-1"),
        ] {
            let answer = fake.ask("GET", &format!("{path}?{query}"), None).await;
            assert_eq!(
                answer.problem(400, "invalid_request"),
                [field],
                "{path}?{query}"
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_conversation_and_its_members_are_shown_to_the_caller() {
    let view = json!({"id": ID, "type": "direct", "name": null, "description": null, "avatar_url": null,
        "encrypted": false, "member_count": 2, "peer_id": PEER, "role": "member", "head_seq": 3,
        "created_by": ME, "created_at": "2025-11-24T16:00:00.000Z"});
    let fake = Fake::new(move |made| match made.call() {
        "get_conversation" => Ok(view.clone()),
        "list_members" => Ok(json!({"members": [], "next_cursor": null, "has_more": false})),
        _ => answering(made),
    });
    let answer = fake.ask("GET", &format!("{PATH}/{ID}"), None).await;
    assert_eq!(answer.json()["name"], "Bob");
    let answer = fake.ask("GET", &format!("{PATH}/{ID}/members"), None).await;
    assert_eq!(
        answer.json(),
        json!({"members": [], "next_cursor": null, "has_more": false})
    );
    let made = fake.made.borrow();
    assert_eq!(made[0].request, json!({"get_conversation": {"actor": ME}}));
    assert_eq!(
        made[2].request,
        json!({"list_members": {"actor": ME, "cursor": null, "limit": 100}})
    );
}
