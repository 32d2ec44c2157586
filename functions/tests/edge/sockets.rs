//! `/ws` and `/conversations/{conversation_id}/ws`

use http::Request;
use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, request};

fn upgrade(query: &str, token: Option<&str>, headers: &[(&'static str, &str)]) -> Request<Vec<u8>> {
    let path = format!("/api/v1/conversations/{ID}/ws{query}");
    upgrade_of(&path, token, headers)
}

fn upgrade_of(
    path: &str,
    token: Option<&str>,
    headers: &[(&'static str, &str)],
) -> Request<Vec<u8>> {
    let mut request = request("GET", path, token, None);
    request
        .headers_mut()
        .insert("upgrade", "websocket".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn open() -> Fake {
    Fake::new(|_| Ok(Value::Null))
}

#[tokio::test(flavor = "current_thread")]
async fn the_device_is_checked_before_the_conversation_is_asked() {
    let fake = open();
    let answer = fake
        .respond(upgrade("?after_seq=7", Some(&fake.token()), &[]))
        .await;
    assert!(answer.upgraded);
    assert_eq!(
        fake.calls(),
        ["USER check_device", "CONVERSATION open_socket"]
    );
    let made = fake.made.borrow();
    assert_eq!(made[0].name, ME);
    assert_eq!(
        made[1].fields(),
        &json!({"user_id": ME, "device_id": DEVICE, "expires_at": "2025-11-24T17:00:00.000Z",
            "after_seq": 7, "subprotocol": false})
    );
    let line: Value = serde_json::from_str(&fake.log()).unwrap();
    assert_eq!(line["status"], 101);
}

#[tokio::test(flavor = "current_thread")]
async fn a_browser_offers_its_token_as_a_subprotocol() {
    let fake = open();
    let offer = format!("parlance.v1, bearer.{}", fake.token());
    let answer = fake
        .respond(upgrade("", None, &[("sec-websocket-protocol", &offer)]))
        .await;
    assert!(answer.upgraded);
    assert_eq!(fake.made.borrow()[1].fields()["subprotocol"], true);
    assert!(!fake.log().contains("bearer"));
    let bad = [("sec-websocket-protocol", "parlance.v1, bearer.nonsense")];
    let answer = fake.respond(upgrade("", None, &bad)).await;
    answer.problem(401, "unauthenticated");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_upgrade_is_told_to_be_one() {
    let fake = Fake::idle();
    let conversation = format!("/api/v1/conversations/{ID}/ws");
    for (method, path) in [
        ("GET", conversation.as_str()),
        ("HEAD", &conversation),
        ("GET", "/api/v1/ws"),
        ("HEAD", "/api/v1/ws"),
    ] {
        let mut plain = request(method, path, Some(&fake.token()), None);
        if method == "HEAD" {
            plain
                .headers_mut()
                .insert("upgrade", "websocket".parse().unwrap());
        }
        let answer = fake.respond(plain).await;
        assert_eq!(answer.status, 426);
        assert_eq!(answer.header("upgrade"), "websocket");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_is_a_problem_over_http() {
    let fake = Fake::new(|made| match made.call() {
        "check_device" => Ok(Value::Null),
        _ => Err(Problem::not_found("conversation")),
    });
    let answer = fake.respond(upgrade("", Some(&fake.token()), &[])).await;
    answer.problem(404, "not_found");
    let answer = fake
        .respond(upgrade("?after_seq=x", Some(&fake.token()), &[]))
        .await;
    assert_eq!(answer.problem(400, "invalid_request"), ["after_seq"]);
    fake.respond(upgrade("", None, &[]))
        .await
        .problem(401, "unauthenticated");

    let revoked = Fake::new(|_| Err(Problem::unauthenticated("The device is signed out.")));
    let answer = revoked
        .respond(upgrade("", Some(&revoked.token()), &[]))
        .await;
    answer.problem(401, "unauthenticated");
    assert_eq!(revoked.calls(), ["USER check_device"]);
}

#[tokio::test(flavor = "current_thread")]
async fn where_origins_are_listed_no_other_page_opens_a_socket() {
    let listed = open().with(&[("CORS_ORIGINS", "https://app.example")]);
    let token = listed.token();
    let session = upgrade_of(
        "/api/v1/ws",
        Some(&token),
        &[("origin", "https://evil.example")],
    );
    listed.respond(session).await.problem(403, "forbidden");
    for (origin, opens) in [
        ("https://app.example", true),
        ("https://chat.example", true), // The API's own.
        ("https://evil.example", false),
        ("null", false),
    ] {
        let answer = listed
            .respond(upgrade("", Some(&token), &[("origin", origin)]))
            .await;
        assert_eq!(answer.upgraded, opens, "{origin}");
        if !opens {
            answer.problem(403, "forbidden");
        }
    }
    assert!(
        listed
            .respond(upgrade("", Some(&token), &[]))
            .await
            .upgraded
    );
    for origins in ["", "*"] {
        let fake = open().with(&[("CORS_ORIGINS", origins)]);
        let request = upgrade("", Some(&token), &[("origin", "https://evil.example")]);
        assert!(fake.respond(request).await.upgraded);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_socket_is_opened_at_the_user_object_alone() {
    let fake = open();
    let offer = format!("parlance.v1, bearer.{}", fake.token());
    let answer = fake
        .respond(upgrade_of(
            "/api/v1/ws",
            None,
            &[("sec-websocket-protocol", &offer)],
        ))
        .await;
    assert!(answer.upgraded);
    let made = fake.made.borrow();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].name, ME);
    assert_eq!(
        made[0].request,
        json!({"open_user_socket": {"user_id": ME, "device_id": DEVICE,
            "expires_at": "2025-11-24T17:00:00.000Z", "subprotocol": true, "transport": "socket"}})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_that_the_user_object_refuses_is_a_problem_over_http() {
    let fake = Fake::new(|_| Err(Problem::unauthenticated("The device is signed out.")));
    let token = fake.token();
    for answer in [
        fake.respond(upgrade_of("/api/v1/ws", Some(&token), &[]))
            .await,
        fake.ask("GET", "/api/v1/events", None).await,
        fake.ask("GET", "/api/v1/sync", None).await,
    ] {
        answer.problem(401, "unauthenticated");
    }
}
