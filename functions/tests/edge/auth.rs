//! `/auth/*` and the key set.

use std::time::Duration;

use parlance_shared::protocol::problem::Problem;
use parlance_shared::user::refresh::RefreshToken;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ME, Made, NOW, NUMBER};

fn signed_in() -> Value {
    json!({"user_id": ME, "device_id": DEVICE, "refresh_token": "next-token", "is_new_user": true})
}

fn answering(made: &Made) -> Result<Value, Problem> {
    Ok(match made.call() {
        "request_code" => json!({"code": "314159", "expires_in": 600}),
        "verify_code" => json!({"user_id": ME}),
        "sign_in" | "refresh" => signed_in(),
        "sign_out" | "withdraw_code" => Value::Null,
        other => panic!("unexpected: {other}"),
    })
}

fn login() -> Value {
    json!({"phone_number": NUMBER, "verification_code": "314159", "device_name": "Telephone"})
}

#[tokio::test(flavor = "current_thread")]
async fn in_development_the_code_is_shown_and_not_logged() {
    let fake = Fake::new(answering);
    let answer = fake
        .ask_anonymously(
            "POST",
            "/api/v1/auth/code",
            Some(json!({"phone_number": NUMBER})),
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.json(),
        json!({"expires_in": 600, "dev_code": "314159"})
    );
    let made = fake.made.borrow();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].name.len(), 64, "the account is named by a hash");
    assert!(!fake.log().contains("314159") && !fake.log().contains("4155550177"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_limit_reached_says_when_to_come_back() {
    let fake = Fake::new(|_| {
        Err(Problem::rate_limited(
            "Too many codes.",
            Duration::from_millis(90_500),
        ))
    });
    let answer = fake
        .ask_anonymously(
            "POST",
            "/api/v1/auth/code",
            Some(json!({"phone_number": NUMBER})),
        )
        .await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), "91");
}

#[tokio::test(flavor = "current_thread")]
async fn a_login_verifies_then_signs_in_then_gives_a_token_that_holds() {
    let fake = Fake::new(answering);
    let answer = fake
        .ask_anonymously("POST", "/api/v1/auth/login", Some(login()))
        .await;
    assert_eq!(answer.status, 200);
    let session = answer.json();
    assert_eq!(session["user_id"], ME);
    assert_eq!(session["device_id"], DEVICE);
    assert_eq!(session["refresh_token"], "next-token");
    assert_eq!(session["is_new_user"], true);
    assert_eq!(session["expires_at"], "2025-11-24T17:00:00.000Z");
    let token = session["token"].as_str().unwrap();
    let verified = fake
        .config
        .as_ref()
        .unwrap()
        .keys
        .verify(token, NOW)
        .unwrap();
    assert_eq!(verified.user_id.to_string(), ME);
    assert_eq!(fake.calls(), ["ACCOUNT verify_code", "USER sign_in"]);
    assert_eq!(
        fake.made.borrow()[1].fields(),
        &json!({"user_id": ME, "phone_number": NUMBER, "device_name": "Telephone"})
    );
    let log = fake.log();
    for secret in ["314159", "4155550177", "next-token", token, "Telephone"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_login_that_cannot_hold_uses_no_code_up() {
    let fake = Fake::idle();
    for (field, value) in [
        ("phone_number", json!("14155550177")),
        ("phone_number", json!(null)),
        ("verification_code", json!("12345")),
        ("verification_code", json!("12345x")),
        ("verification_code", json!(314_159)),
        ("device_name", json!(" ")),
        ("device_name", json!("x".repeat(101))),
        ("device_name", json!("bell\u{7}")),
    ] {
        let mut body = login();
        body[field] = value;
        let answer = fake
            .ask_anonymously("POST", "/api/v1/auth/login", Some(body))
            .await;
        assert_eq!(answer.problem(400, "invalid_request"), [field]);
        assert!(!String::from_utf8_lossy(&answer.body).contains("4155550177"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_wrong_code_signs_no_one_in() {
    let fake = Fake::new(|_| Err(Problem::unauthenticated("The code is wrong.")));
    let answer = fake
        .ask_anonymously("POST", "/api/v1/auth/login", Some(login()))
        .await;
    answer.problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(fake.calls(), ["ACCOUNT verify_code"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_refresh_goes_to_the_token_s_user_and_gives_a_new_session() {
    let (user_id, device_id) = (ME.parse().unwrap(), DEVICE.parse().unwrap());
    let token = RefreshToken::new(user_id, device_id, 3, &[7; 32]).to_string();
    let fake = Fake::new(answering);
    let body = json!({"refresh_token": token});
    let answer = fake
        .ask_anonymously("POST", "/api/v1/auth/refresh", Some(body))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["refresh_token"], "next-token");
    assert!(answer.json()["token"].is_string());
    let made = fake.made.borrow();
    assert_eq!((made.len(), made[0].name.as_str()), (1, ME));
    assert_eq!(made[0].request, json!({"refresh": {"token": token}}));
    assert!(!fake.log().contains(&token));
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_refresh_token_reaches_no_object() {
    let fake = Fake::idle();
    for token in ["", "nonsense", "a.b.c", &"x".repeat(5000)] {
        let body = json!({"refresh_token": token});
        let answer = fake
            .ask_anonymously("POST", "/api/v1/auth/refresh", Some(body))
            .await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_logout_signs_the_token_s_device_out() {
    let fake = Fake::new(answering);
    let answer = fake.ask("POST", "/api/v1/auth/logout", None).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let made = fake.made.borrow();
    assert_eq!(made[0].name, ME);
    assert_eq!(made[0].request, json!({"sign_out": {"device_id": DEVICE}}));
}

#[tokio::test(flavor = "current_thread")]
async fn the_key_set_is_public_and_shows_no_seed() {
    let fake = Fake::idle();
    let answer = fake
        .ask_anonymously("GET", "/.well-known/jwks.json", None)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let key = &answer.json()["keys"][0];
    assert_eq!(key["kid"], "k1");
    assert!(key.get("d").is_none());
}
