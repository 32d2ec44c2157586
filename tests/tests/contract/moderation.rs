//! Reports, and what moderators do with a token of their own.

use parlance_tests::{ADMIN_TOKEN, Api, User, eventually, server, uuid};
use serde_json::{Value, json};

fn admin() -> Api {
    Api::of(server::shared()).with_token(ADMIN_TOKEN)
}

/// The open report of this name, wherever it is in the pages.
async fn report(report_id: &Value, resolved: bool) -> Option<Value> {
    let mut cursor = String::new();
    loop {
        let path = format!("/admin/reports?resolved={resolved}{cursor}");
        let page = admin().get(&path).await.ok(200);
        let reports = page["reports"].as_array().expect("reports");
        let found = reports.iter().find(|one| one["report_id"] == *report_id);
        if found.is_some() || page["has_more"] == false {
            return found.cloned();
        }
        cursor = format!(
            "&cursor={}",
            page["next_cursor"].as_str().expect("a cursor")
        );
    }
}

#[tokio::test]
async fn a_report_keeps_the_message_until_it_is_resolved() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Group", &[&bob]).await;
    let said = bob.say(&id, "cruel words").await;
    let message = said["message_id"].as_str().expect("an id");
    let path = format!("/conversations/{id}/messages/{message}");
    bob.api.ask("DELETE", &path, Value::Null).await.ok(200);
    let reason = json!({"reason": "cruel"});
    let report_path = format!("{path}/report");
    let filed = ann.api.post(&report_path, reason.clone()).await.ok(201);
    let again = ann.api.post(&report_path, reason.clone()).await.ok(200);
    assert_eq!(again, filed);
    let refused = eve.api.post(&report_path, reason).await;
    refused.problem(404, "not_found");
    let refused = ann.api.post(&report_path, json!({"reason": ""})).await;
    refused.invalid_field("reason");
    let open = report(&filed["report_id"], false)
        .await
        .expect("the report");
    assert_eq!(open["reporter_id"], ann.id.as_str());
    assert_eq!(open["message"]["content"], "cruel words");
    assert_eq!(open["message"]["is_deleted"], true);
    let name = filed["report_id"].as_str().expect("an id");
    let resolve = format!("/admin/reports/{name}/resolve");
    let resolved = admin()
        .post(&resolve, json!({"note": "warned"}))
        .await
        .ok(200);
    assert_eq!(resolved["note"], "warned");
    assert!(report(&filed["report_id"], false).await.is_none());
    assert!(report(&filed["report_id"], true).await.is_some());
    let unknown = format!("/admin/reports/{}/resolve", uuid());
    let missing = admin().post(&unknown, json!({"note": "warned"})).await;
    missing.problem(404, "not_found");
    let audit = admin().get("/admin/audit?limit=200").await.ok(200);
    let acts = audit["entries"].as_array().expect("entries");
    assert!(
        acts.iter()
            .any(|act| act["act"] == "resolve_report" && act["report_id"] == name)
    );
}

#[tokio::test]
async fn only_the_admin_token_opens_the_admins_part() {
    let [ann] = User::sign_up_all(server::shared()).await;
    let nobody = Api::of(server::shared());
    for api in [&ann.api, &nobody, &nobody.with_token("nonsense")] {
        for path in ["/admin/reports", "/admin/audit"] {
            api.get(path).await.problem(401, "unauthenticated");
        }
        let path = format!("/admin/users/{}/suspension", ann.id);
        let refused = api.ask("PUT", &path, json!({"reason": "spam"})).await;
        refused.problem(401, "unauthenticated");
    }
    admin()
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
    ann.api.get("/users/me").await.ok(200);
}

#[tokio::test]
async fn a_suspended_account_can_do_nothing_until_it_is_reinstated() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    ann.say(&id, "hello").await;
    bob.reached(&id, 1).await;
    let path = format!("/admin/users/{}/suspension", bob.id);
    let reason = json!({"reason": "spam"});
    admin().ask("PUT", &path, reason.clone()).await.ok(204);
    admin().ask("PUT", &path, reason.clone()).await.ok(204);
    bob.api
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
    bob.api
        .get("/conversations")
        .await
        .problem(401, "unauthenticated");
    let refresh = json!({"refresh_token": bob.refresh_token()});
    let refused = bob.api.post("/auth/refresh", refresh.clone()).await;
    refused.problem(403, "forbidden");
    let code = bob.api.code(&bob.phone_number).await;
    let refused = bob.api.login(&bob.phone_number, &code).await;
    refused.problem(403, "forbidden");
    let said = eventually("the conversation to know", async || {
        let said = bob.try_say(&id, &uuid(), "spam").await;
        Some(said).filter(|said| said.status != 201)
    })
    .await;
    said.problem(401, "unauthenticated");
    let unknown = format!("/admin/users/{}/suspension", uuid());
    let missing = admin().ask("PUT", &unknown, reason).await;
    missing.problem(404, "not_found");
    let wrong = admin().ask("PUT", &path, json!({"reason": " "})).await;
    wrong.invalid_field("reason");
    admin().ask("DELETE", &path, Value::Null).await.ok(204);
    bob.api.get("/users/me").await.ok(200);
    bob.api.post("/auth/refresh", refresh).await.ok(200);
    eventually("the conversation to know", async || {
        let said = bob.try_say(&id, &uuid(), "sorry").await;
        Some(()).filter(|()| said.status == 201)
    })
    .await;
}
