//! Groups over HTTP: who may do what, what becomes of members, and what the log says of it.

use parlance_tests::api::text;
use parlance_tests::{Reply, User, eventually, server, uuid};
use serde_json::{Value, json};

/// A group of people of each kind.
struct Group {
    id: String,
    owner: User,
    admin: User,
    other_admin: User,
    member: User,
    other_member: User,
    removed: User,
    stranger: User,
}

fn of(id: &str, rest: &str) -> String {
    format!("/conversations/{id}{rest}")
}

impl Group {
    async fn set() -> Self {
        let [
            owner,
            admin,
            other_admin,
            member,
            other_member,
            removed,
            stranger,
        ] = User::sign_up_all(server::shared()).await;
        let others = [&admin, &other_admin, &member, &other_member, &removed];
        let id = owner.group("Walkers", &others).await;
        for one in [&admin, &other_admin] {
            let path = of(&id, &format!("/members/{}", one.id));
            let reply = owner.api.ask("PATCH", &path, json!({"role": "admin"}));
            assert_eq!(reply.await.ok(200)["role"], "admin");
        }
        let path = of(&id, &format!("/members/{}", removed.id));
        owner.api.ask("DELETE", &path, Value::Null).await.ok(204);
        Self {
            id,
            owner,
            admin,
            other_admin,
            member,
            other_member,
            removed,
            stranger,
        }
    }

    async fn state(&self) -> Value {
        let view = self.owner.api.get(&of(&self.id, "")).await.ok(200);
        let members = self.owner.api.get(&of(&self.id, "/members")).await.ok(200);
        json!([view, members])
    }
}

/// The requests of the matrix, and the least role that may make each.
fn requests(group: &Group, own: &str) -> Vec<(&'static str, String, Value, &'static str)> {
    let id = &group.id;
    let of_member = |user: &User| of(id, &format!("/members/{}", user.id));
    let message = json!({"client_msg_id": uuid(), "content": "hello"});
    vec![
        ("GET", of(id, ""), Value::Null, "member"),
        ("GET", of(id, "/members"), Value::Null, "member"),
        ("GET", of(id, "/messages"), Value::Null, "member"),
        ("GET", of(id, "/events"), Value::Null, "member"),
        ("GET", of(id, "/pins"), Value::Null, "member"),
        ("GET", of(id, "/scheduled"), Value::Null, "member"),
        ("POST", of(id, "/messages"), message, "member"),
        ("PATCH", of(id, ""), json!({"name": "Runners"}), "admin"),
        ("PATCH", of(id, ""), json!({"expires_after": 7200}), "admin"),
        (
            "POST",
            of(id, "/members"),
            json!({"user_ids": [group.stranger.id]}),
            "admin",
        ),
        (
            "PATCH",
            of_member(&group.other_member),
            json!({"role": "admin"}),
            "admin",
        ),
        (
            "PATCH",
            of_member(&group.other_admin),
            json!({"role": "member"}),
            "owner",
        ),
        (
            "PATCH",
            of_member(&group.other_admin),
            json!({"role": "owner"}),
            "owner",
        ),
        (
            "PATCH",
            of_member(&group.owner),
            json!({"role": "member"}),
            "nobody",
        ),
        (
            "DELETE",
            of_member(&group.other_member),
            Value::Null,
            "admin",
        ),
        (
            "DELETE",
            of_member(&group.other_admin),
            Value::Null,
            "owner",
        ),
        (
            "DELETE",
            of(id, &format!("/members/{own}")),
            Value::Null,
            "member",
        ),
        ("DELETE", of(id, ""), Value::Null, "owner"),
    ]
}

#[tokio::test]
async fn each_request_is_taken_from_those_alone_who_may() {
    let rank = |role: &str| {
        ["member", "admin", "owner", "nobody"]
            .iter()
            .position(|it| *it == role)
    };
    // Refusals change nothing, so all of them are tried in one group.
    let group = Group::set().await;
    let before = group.state().await;
    for (user, role) in [
        (&group.member, "member"),
        (&group.admin, "admin"),
        (&group.owner, "owner"),
        (&group.removed, ""),
        (&group.stranger, ""),
    ] {
        for (method, path, body, least) in requests(&group, &user.id) {
            if role.is_empty() {
                let reply = user.api.ask(method, &path, body).await;
                // One who was removed takes the conversation off its list.
                if (method, path.as_str()) == ("DELETE", &of(&group.id, ""))
                    && user.id == group.removed.id
                {
                    continue;
                }
                reply.problem(404, "not_found");
            } else if rank(role) < rank(least) {
                let reply = user.api.ask(method, &path, body).await;
                reply.problem(403, "forbidden");
            }
        }
    }
    assert_eq!(
        group.state().await,
        before,
        "refused requests change nothing"
    );
    // What is allowed is tried in a group of its own each, by the least role that may.
    for position in 0..requests(&group, "").len() {
        let group = Group::set().await;
        let (_, _, _, least) = requests(&group, "").swap_remove(position);
        let user = match least {
            "member" => &group.member,
            "admin" => &group.admin,
            "owner" => &group.owner,
            _ => continue,
        };
        let (method, path, body, _) = requests(&group, &user.id).swap_remove(position);
        let reply: Reply = user.api.ask(method, &path, body).await;
        assert!((200..300).contains(&reply.status), "{reply:?}");
    }
}

#[tokio::test]
async fn a_direct_conversation_takes_none_of_it() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    ann.say(&id, "hello").await;
    let of_member = |user: &User| of(&id, &format!("/members/{}", user.id));
    for (method, path, body) in [
        ("PATCH", of(&id, ""), json!({"name": "Us"})),
        ("POST", of(&id, "/members"), json!({"user_ids": [eve.id]})),
        ("PATCH", of_member(&bob), json!({"role": "admin"})),
        ("DELETE", of_member(&bob), Value::Null),
        ("DELETE", of_member(&ann), Value::Null),
        ("DELETE", of(&id, ""), Value::Null),
    ] {
        let reply = ann.api.ask(method, &path, body).await;
        reply.problem(403, "forbidden");
    }
    assert_eq!(ann.head_seq(&id).await, 1);
}

#[tokio::test]
async fn the_log_says_what_became_of_a_group_and_by_whom() {
    let [ann, bob, eve, dan] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob]).await;
    let add = |user: &User, ids: Value| {
        let api = user.api.clone();
        let path = of(&id, "/members");
        async move { api.post(&path, json!({"user_ids": ids})).await }
    };
    let added = add(&ann, json!([eve.id, bob.id])).await.ok(200);
    assert_eq!(added["added"], json!([eve.id]));
    let again = add(&ann, json!([eve.id])).await.ok(200);
    assert_eq!(again["added"], json!([]));
    let change = json!({"name": "Runners", "description": "Sundays",
        "avatar": "https://pics.example/r.png"});
    let view = ann
        .api
        .ask("PATCH", &of(&id, ""), change.clone())
        .await
        .ok(200);
    assert_eq!(view["name"], "Runners");
    assert_eq!(view["avatar_url"], "https://pics.example/r.png");
    let same = ann.api.ask("PATCH", &of(&id, ""), change).await.ok(200);
    assert_eq!(same["head_seq"], view["head_seq"], "no change, no event");
    let role = of(&id, &format!("/members/{}", bob.id));
    let owner = json!({"role": "owner"});
    ann.api.ask("PATCH", &role, owner).await.ok(200);
    bob.api.ask("DELETE", &role, Value::Null).await.ok(204);
    let leaver = of(&id, &format!("/members/{}", eve.id));
    eve.api.ask("DELETE", &leaver, Value::Null).await.ok(204);
    add(&ann, json!([dan.id])).await.ok(200);
    let log = ann.events(&id, 0).await;
    let told: Vec<_> = log
        .iter()
        .map(|event| json!([event["type"], event["user_id"], event["role"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["member_added", null, null]),
            json!(["member_added", null, null]),
            json!(["conversation_changed", null, null]),
            json!(["role_changed", bob.id, "owner"]),
            json!(["role_changed", ann.id, "owner"]),
            json!(["member_removed", bob.id, null]),
            json!(["member_removed", eve.id, null]),
            json!(["member_added", null, null]),
        ]
    );
    assert_eq!(log[1]["user_ids"], json!([eve.id]));
    assert_eq!(log[1]["added_by"], ann.id.as_str());
    assert_eq!(log[2]["description"], "Sundays");
    assert_eq!(log[2]["changed_by"], ann.id.as_str());
    assert_eq!(log[3]["former_owner_id"], ann.id.as_str());
    assert_eq!(log[4]["former_owner_id"], bob.id.as_str());
    assert_eq!(log[6]["removed_by"], eve.id.as_str());
    for event in &log {
        assert!(!text(event, "created_at").is_empty());
    }
    let seen: Vec<_> = dan.events(&id, 7).await;
    assert_eq!(seen, log[7..], "from its joining on");
    let page = dan.api.get(&of(&id, "/events?after_seq=0")).await.ok(200);
    assert_eq!(page["events"], json!(log[7..]));
    let item = ann.reached(&id, 8).await;
    assert_eq!(item["name"], "Runners");
}

#[tokio::test]
async fn one_who_was_removed_keeps_an_entry_that_says_so_until_it_is_taken_off() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob]).await;
    ann.say(&id, "one").await;
    assert_eq!(bob.reached(&id, 2).await["membership"], "member");
    let path = of(&id, &format!("/members/{}", bob.id));
    ann.api.ask("DELETE", &path, Value::Null).await.ok(204);
    ann.say(&id, "two").await;
    let item = eventually("the list to say that it was removed", async || {
        bob.item(&id)
            .await
            .filter(|item| item["membership"] == "removed")
    })
    .await;
    assert_eq!((&item["head_seq"], &item["unread"]), (&json!(3), &json!(0)));
    for rest in ["", "/messages", "/events?after_seq=0", "/members"] {
        bob.api.get(&of(&id, rest)).await.problem(404, "not_found");
    }
    bob.mark_read(&id, 3).await.ok(200);
    let add = json!({"user_ids": [bob.id]});
    ann.api.post(&of(&id, "/members"), add).await.ok(200);
    let item = bob.reached(&id, 5).await;
    assert_eq!(
        (&item["membership"], &item["unread"]),
        (&json!("member"), &json!(0))
    );
    assert_eq!(item["last_msg"], Value::Null, "nothing of before");
    ann.say(&id, "three").await;
    assert_eq!(bob.reached(&id, 6).await["unread"], 1);
    bob.api.ask("DELETE", &path, Value::Null).await.ok(204);
    eventually("the list to say that it has left", async || {
        bob.item(&id)
            .await
            .filter(|item| item["membership"] == "left")
    })
    .await;
    bob.api
        .ask("DELETE", &of(&id, ""), Value::Null)
        .await
        .ok(204);
    assert_eq!(bob.item(&id).await, None);
    let gone = bob.api.ask("DELETE", &of(&id, ""), Value::Null).await;
    gone.problem(404, "not_found");
}

#[tokio::test]
async fn a_deleted_group_is_found_by_nobody() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob]).await;
    let refused = bob.api.ask("DELETE", &of(&id, ""), Value::Null).await;
    refused.problem(403, "forbidden");
    ann.api
        .ask("DELETE", &of(&id, ""), Value::Null)
        .await
        .ok(204);
    for user in [&ann, &bob] {
        user.api.get(&of(&id, "")).await.problem(404, "not_found");
        let sent = user.try_say(&id, &uuid(), "still there?").await;
        sent.problem(404, "not_found");
        let item = eventually("the list to say that it was deleted", async || {
            user.item(&id)
                .await
                .filter(|item| item["membership"] == "deleted")
        })
        .await;
        assert_eq!(item["head_seq"], 2);
        user.api
            .ask("DELETE", &of(&id, ""), Value::Null)
            .await
            .ok(204);
        assert_eq!(user.item(&id).await, None);
    }
}

#[tokio::test]
async fn several_who_let_the_same_in_at_once_let_each_in_once() {
    let users = User::sign_up_many(server::shared(), 9).await;
    let (admins, newcomers) = users.split_at(4);
    let id = admins[0]
        .group("Crowd", &[&admins[1], &admins[2], &admins[3]])
        .await;
    for admin in &admins[1..] {
        let path = of(&id, &format!("/members/{}", admin.id));
        let role = json!({"role": "admin"});
        admins[0].api.ask("PATCH", &path, role).await.ok(200);
    }
    let ids: Vec<_> = newcomers.iter().map(|user| &user.id).collect();
    let body = json!({"user_ids": ids});
    let path = of(&id, "/members");
    let adding = admins
        .iter()
        .map(|admin| admin.api.post(&path, body.clone()));
    let mut added = 0;
    for reply in futures_util::future::join_all(adding).await {
        added += reply.ok(200)["added"].as_array().expect("ids").len();
    }
    assert_eq!(added, newcomers.len());
    let log = admins[0].events(&id, 4).await;
    assert_eq!(log.len(), 1, "one event: {log:?}");
    let members = admins[0].api.get(&path).await.ok(200);
    assert_eq!(members["members"].as_array().expect("members").len(), 9);
}
