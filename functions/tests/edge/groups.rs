//! Changing groups, settings and blocks: what is checked before a call, and what each call is.

use parlance_shared::protocol::problem::{Code, Problem};
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, Made, PEER};

fn path(rest: &str) -> String {
    format!("/api/v1/conversations/{ID}{rest}")
}

fn forbidden() -> Problem {
    Problem::new(Code::Forbidden, "No.")
}

/// Everyone is a user, but for one whose id ends in 9; one whose id ends in 8 is not to be added.
fn answering(made: &Made) -> Result<Value, Problem> {
    match made.call() {
        "admit_to" if made.name.ends_with('9') => Err(Problem::not_found("user")),
        "admit_to" if made.name.ends_with('8') => Err(forbidden()),
        "add_members" => Ok(json!({"added": made.fields()["user_ids"]})),
        "change_role" => Ok(json!({"user_id": PEER, "role": made.fields()["role"],
            "joined_at": "2025-11-24T16:00:00.000Z"})),
        _ => Ok(Value::Null),
    }
}

fn user(last: u32) -> String {
    format!("00000000-0000-4000-8000-{last:012}")
}

#[tokio::test(flavor = "current_thread")]
async fn members_are_asked_whether_the_caller_may_add_them_each_once() {
    let fake = Fake::new(answering);
    let body = json!({"user_ids": [PEER, user(1), PEER]});
    let answer = fake.ask("POST", &path("/members"), Some(body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"added": [PEER, user(1)]}));
    assert_eq!(
        fake.calls(),
        ["USER admit_to", "USER admit_to", "CONVERSATION add_members"]
    );
    assert_eq!(fake.made.borrow()[0].fields(), &json!({"adder": ME}));
}

#[tokio::test(flavor = "current_thread")]
async fn who_may_not_be_added_is_named_and_no_one_is() {
    let fake = Fake::new(answering);
    let add = |ids: Value| {
        let fake = &fake;
        async move {
            let body = json!({"user_ids": ids});
            fake.ask("POST", &path("/members"), Some(body)).await
        }
    };
    let refused = add(json!([user(1), user(8), user(18)])).await;
    assert_eq!(
        refused.problem(403, "forbidden"),
        ["user_ids[1]", "user_ids[2]"]
    );
    let missing = add(json!([user(8), user(9)])).await;
    assert_eq!(missing.problem(404, "not_found"), ["user_ids[1]"]);
    for wrong in [json!([]), json!(vec![user(1); 101])] {
        let answer = add(wrong).await;
        assert_eq!(answer.problem(400, "invalid_request"), ["user_ids"]);
    }
    assert!(
        !fake
            .calls()
            .contains(&"CONVERSATION add_members".to_owned())
    );
}

#[tokio::test(flavor = "current_thread")]
async fn roles_and_removals_name_who_asks_and_whom() {
    let fake = Fake::new(answering);
    let member = path(&format!("/members/{PEER}"));
    let role = fake
        .ask("PATCH", &member, Some(json!({"role": "admin"})))
        .await;
    assert_eq!(role.json()["role"], "admin");
    assert_eq!(fake.ask("DELETE", &member, None).await.status, 204);
    let removed = fake.made.borrow()[1].request.clone();
    let about = json!({"actor": ME, "user_id": PEER});
    assert_eq!(removed, json!({"remove_member": about}));
    let role = fake
        .ask("PATCH", &member, Some(json!({"role": "king"})))
        .await;
    assert_eq!(role.problem(400, "invalid_request"), ["role"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_conversation_that_is_none_of_the_caller_s_any_more_is_taken_off_its_list() {
    let fake = Fake::new(|made| match made.call() {
        "delete" => Err(Problem::not_found("conversation")),
        _ => Ok(Value::Null),
    });
    let answer = fake.ask("DELETE", &path(""), None).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        fake.made.borrow()[1].request,
        json!({"forget_conversation": {"device_id": DEVICE, "conversation_id": ID}})
    );
    for (refusal, status, code) in [
        (Problem::not_found("conversation"), 404, "not_found"),
        (Problem::new(Code::Conflict, "A member."), 404, "not_found"),
        (Problem::unavailable("Away."), 503, "unavailable"),
    ] {
        let fake = Fake::new(move |made| match made.call() {
            "delete" => Err(Problem::not_found("conversation")),
            _ => Err(refusal.clone()),
        });
        let answer = fake.ask("DELETE", &path(""), None).await;
        answer.problem(status, code);
    }
    let fake = Fake::new(|_| Err(forbidden()));
    let answer = fake.ask("DELETE", &path(""), None).await;
    answer.problem(403, "forbidden");
    assert_eq!(fake.calls(), ["CONVERSATION delete"]);
}

#[tokio::test(flavor = "current_thread")]
async fn settings_tell_null_from_what_is_left_out() {
    let fake = Fake::new(|_| {
        Ok(
            json!({"conversation_id": ID, "muted_until": null, "archived": true, "pinned": false,
            "notify": "mentions"}),
        )
    });
    let settings = path("/settings");
    let body = json!({"muted_until": null, "archived": true, "notify": "mentions"});
    let answer = fake.ask("PUT", &settings, Some(body.clone())).await;
    assert_eq!(answer.json()["notify"], "mentions");
    assert_eq!(fake.made.borrow()[0].fields()["patch"], body);
    for (field, value) in [
        ("archived", json!(null)),
        ("pinned", json!("yes")),
        ("notify", json!("sometimes")),
        ("muted_until", json!("tomorrow")),
    ] {
        let answer = fake
            .ask("PUT", &settings, Some(json!({field: value})))
            .await;
        assert_eq!(answer.problem(400, "invalid_request"), [field]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn blocks_are_set_lifted_and_listed() {
    let fake = Fake::new(|made| match made.call() {
        "list_blocks" => Ok(json!({"blocks": []})),
        _ => Ok(Value::Null),
    });
    let block = format!("/api/v1/users/me/blocks/{PEER}");
    for (method, is_blocked) in [("PUT", true), ("DELETE", false)] {
        assert_eq!(fake.ask(method, &block, None).await.status, 204);
        let made = fake.made.borrow_mut().pop().unwrap();
        let fields = json!({"device_id": DEVICE, "user_id": PEER, "is_blocked": is_blocked});
        assert_eq!((made.name.as_str(), made.fields()), (ME, &fields));
    }
    let list = fake.ask("GET", "/api/v1/users/me/blocks", None).await;
    assert_eq!(list.json(), json!({"blocks": []}));
}

#[tokio::test(flavor = "current_thread")]
async fn a_picture_must_be_an_https_link_and_null_clears_a_field() {
    let fake = Fake::new(|_| Err(forbidden()));
    let body = json!({"name": "x".repeat(101), "avatar": "http://pics.example/a"});
    let answer = fake.ask("PATCH", &path(""), Some(body)).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["name", "avatar"]);
    assert_eq!(fake.calls().len(), 0);
    let body = json!({"description": null});
    let answer = fake.ask("PATCH", &path(""), Some(body.clone())).await;
    answer.problem(403, "forbidden");
    assert_eq!(fake.made.borrow()[0].fields()["patch"], body);
}
