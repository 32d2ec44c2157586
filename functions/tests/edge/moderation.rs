//! Reports, and what admins may ask with a token of their own.

use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{Fake, ID, ME, Made, PEER, Read, request};

const ADMIN: &str = "an-admin-token-of-32-characters-or-more";

fn reported() -> Value {
    json!({"conversation_id": ID, "message_id": ID, "seq": 3, "sender_id": PEER,
        "content_type": "text", "content": "cruel words", "is_deleted": false,
        "created_at": "2025-11-24T16:00:00.000Z"})
}

fn answering(made: &Made) -> Result<Value, Problem> {
    match made.call() {
        "copy_message" => Ok(reported()),
        "file_report" => Ok(json!({"report_id": ID, "duplicate": false})),
        "list_reports" => Ok(json!({"reports": [], "next_cursor": null, "has_more": false})),
        "list_audit" => Ok(json!({"entries": [], "next_cursor": null, "has_more": false})),
        "resolve_report" => Ok(
            json!({"report_id": ID, "reporter_id": ME, "reason": "cruel",
            "message": reported(), "created_at": "2025-11-24T16:00:00.000Z",
            "resolved_at": "2025-11-24T16:00:00.000Z", "note": made.fields()["note"]}),
        ),
        _ => Ok(Value::Null),
    }
}

async fn admin(fake: &Fake, method: &str, path: &str, body: Option<Value>) -> Read {
    let path = format!("/api/v1/admin{path}");
    fake.respond(request(method, &path, Some(ADMIN), body))
        .await
}

fn with_admin() -> Fake {
    Fake::new(answering).with(&[("ADMIN_TOKEN", ADMIN)])
}

#[tokio::test(flavor = "current_thread")]
async fn a_report_takes_the_conversation_s_copy_of_the_message_to_the_moderators() {
    let fake = Fake::new(answering);
    let path = format!("/api/v1/conversations/{ID}/messages/{ID}/report");
    let body = json!({"reason": "cruel"});
    let answer = fake.ask("POST", &path, Some(body)).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json(), json!({"report_id": ID}));
    assert_eq!(
        fake.calls(),
        ["CONVERSATION copy_message", "MODERATION file_report"]
    );
    let filed = fake.made.borrow()[1].clone();
    assert_eq!(filed.name, "moderation");
    assert_eq!(
        filed.fields(),
        &json!({"reporter_id": ME, "reason": "cruel", "message": reported()})
    );
    assert!(!fake.log().contains("cruel"));
    for reason in ["", " ", &"x".repeat(1001)] {
        let answer = fake
            .ask("POST", &path, Some(json!({"reason": reason})))
            .await;
        assert_eq!(answer.problem(400, "invalid_request"), ["reason"]);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn only_the_admin_token_opens_the_admins_part() {
    let paths = [
        "/api/v1/admin/reports",
        "/api/v1/admin/audit",
        "/api/v1/admin/metrics",
    ];
    let without = Fake::idle();
    for path in paths {
        let answer = without
            .respond(request("GET", path, Some(ADMIN), None))
            .await;
        answer.problem(404, "not_found");
    }
    let fake = Fake::idle().with(&[("ADMIN_TOKEN", ADMIN)]);
    let longer = format!("{ADMIN}x");
    let user = fake.token();
    for path in paths {
        for token in [
            None,
            Some(""),
            Some(&ADMIN[1..]),
            Some(&longer),
            Some(&user),
        ] {
            let answer = fake.respond(request("GET", path, token, None)).await;
            answer.problem(401, "unauthenticated");
        }
    }
    // Nor does it open anything else.
    let answer = fake
        .respond(request("GET", "/api/v1/users/me", Some(ADMIN), None))
        .await;
    answer.problem(401, "unauthenticated");
    assert!(!fake.log().contains(ADMIN));
}

#[tokio::test(flavor = "current_thread")]
async fn a_suspension_is_noted_before_it_is_done() {
    let fake = with_admin();
    let path = format!("/users/{PEER}/suspension");
    let body = Some(json!({"reason": "spam"}));
    assert_eq!(admin(&fake, "PUT", &path, body).await.status, 204);
    assert_eq!(admin(&fake, "DELETE", &path, None).await.status, 204);
    let calls = ["MODERATION note_act", "USER suspend"];
    assert_eq!(fake.calls(), [calls, calls].concat());
    {
        let made = fake.made.borrow();
        let act = json!({"act": "suspend_user", "user_id": PEER, "reason": "spam"});
        assert_eq!(made[0].fields()["act"], act);
        assert_eq!(made[1].fields(), &json!({"is_suspended": true}));
        assert_eq!(made[3].fields(), &json!({"is_suspended": false}));
    }
    let unnoted = Fake::new(|_| Err(Problem::unavailable("Away.")));
    let unnoted = unnoted.with(&[("ADMIN_TOKEN", ADMIN)]);
    let answer = admin(&unnoted, "DELETE", &path, None).await;
    answer.problem(503, "unavailable");
    assert_eq!(unnoted.calls(), ["MODERATION note_act"]);
}

#[tokio::test(flavor = "current_thread")]
async fn admins_list_and_resolve() {
    let fake = with_admin();
    let reports = admin(&fake, "GET", "/reports?resolved=true&limit=500", None).await;
    assert_eq!(reports.json()["reports"], json!([]));
    assert_eq!(
        fake.made.borrow()[0].fields(),
        &json!({"resolved": true, "cursor": null, "limit": 200})
    );
    let resolve = format!("/reports/{ID}/resolve");
    let answer = admin(&fake, "POST", &resolve, Some(json!({"note": "warned"}))).await;
    assert_eq!(answer.json()["note"], "warned");
    let answer = admin(&fake, "POST", &resolve, Some(json!({"note": ""}))).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["note"]);
    let audit = admin(&fake, "GET", "/audit", None).await;
    assert_eq!(audit.json()["entries"], json!([]));
}

#[tokio::test(flavor = "current_thread")]
async fn metrics_are_the_platform_s_own_text_for_admins_alone() {
    let mut fake = with_admin();
    fake.metrics = Some("parlance_objects_started_total{class=\"user\"} 1\n".to_owned());
    let answer = admin(&fake, "GET", "/metrics", None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(answer.body, fake.metrics.clone().unwrap().into_bytes());
    fake.ask("GET", "/api/v1/admin/metrics", None)
        .await
        .problem(401, "unauthenticated");
    fake.metrics = None;
    admin(&fake, "GET", "/metrics", None)
        .await
        .problem(501, "not_implemented");
    let closed = Fake::idle();
    closed
        .ask("GET", "/api/v1/admin/metrics", None)
        .await
        .problem(404, "not_found");
}
