//! Rate limits at the edge.

use std::net::IpAddr;
use std::time::Duration;

use parlance_functions::limit::ClientAddress;
use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, Made, NUMBER, Read, request};

const CODE: &str = "/api/v1/auth/code";
const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh";

fn answering(made: &Made) -> Result<Value, Problem> {
    Ok(match made.call() {
        "request_code" => json!({"code": "314159", "expires_in": 600}),
        "verify_code" => json!({"user_id": ME}),
        "sign_in" => json!({"user_id": ME, "device_id": DEVICE, "refresh_token": "next",
            "is_new_user": true}),
        _ => Value::Null,
    })
}

fn refusing(made: &Made) -> Result<Value, Problem> {
    match made.class {
        "LIMITER" => Err(Problem::rate_limited(
            "Slowly.",
            Duration::from_millis(1500),
        )),
        _ => answering(made),
    }
}

fn login() -> Value {
    json!({"phone_number": NUMBER, "verification_code": "314159"})
}

async fn ask_from(fake: &Fake, address: &str, path: &str, body: Value) -> Read {
    let mut request = request("POST", path, None, Some(body));
    let address: IpAddr = address.parse().unwrap();
    request.extensions_mut().insert(ClientAddress(address));
    fake.respond(request).await
}

#[tokio::test(flavor = "current_thread")]
async fn requests_are_counted_by_device_and_messages_are_not() {
    let fake = Fake::new(|_| Ok(Value::Null));
    fake.ask("POST", "/api/v1/auth/logout", None).await;
    assert_eq!(fake.counted.take(), [format!("requests:device:{DEVICE}")]);
    let fake = Fake::new(|_| Err(Problem::not_found("conversation")));
    let body = json!({"client_msg_id": ID, "content": "a"});
    let path = format!("/api/v1/conversations/{ID}/messages");
    fake.ask("POST", &path, Some(body)).await;
    fake.ask_anonymously("GET", "/api/v1/users/me", None).await;
    for path in ["/healthz", "/.well-known/jwks.json"] {
        fake.ask("GET", path, None).await;
    }
    assert_eq!(fake.counted.take(), [] as [String; 0]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_device_over_its_limit_is_told_when_to_come_back_and_reaches_no_object() {
    let mut fake = Fake::idle();
    fake.counting = Box::new(|| Some(false));
    for path in [
        "/api/v1/users/me",
        "/api/v1/sync",
        "/api/v1/events",
        "/api/v1/ws",
    ] {
        let answer = fake.ask("GET", path, None).await;
        answer.problem(429, "rate_limited");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_scale_of_its_own_is_counted_by_an_object_and_zero_not_at_all() {
    let fake = Fake::new(refusing).with(&[("RATE_LIMIT_SCALE", "10")]);
    let answer = fake.ask("GET", "/api/v1/users/me/devices", None).await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), "2");
    let made = fake.made.take();
    assert_eq!(made[0].name, format!("requests:device:{DEVICE}"));
    assert_eq!(made[0].request, json!({"take": {"limit": "requests"}}));
    assert_eq!(made.len(), 1);

    let fake = Fake::new(refusing).with(&[("RATE_LIMIT_SCALE", "0")]);
    fake.ask("POST", "/api/v1/auth/logout", None).await;
    ask_from(&fake, "192.0.2.7", LOGIN, login()).await;
    assert!(!fake.calls().iter().any(|call| call.starts_with("LIMITER")));
    assert_eq!(fake.counted.take(), [] as [String; 0]);
}

#[tokio::test(flavor = "current_thread")]
async fn where_the_platform_has_no_counter_an_object_counts() {
    let mut fake = Fake::new(answering);
    fake.counting = Box::new(|| None);
    fake.ask("POST", "/api/v1/auth/logout", None).await;
    assert_eq!(fake.calls(), ["LIMITER take", "USER sign_out"]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_anyone_may_ask_is_counted_by_address_which_is_not_told() {
    let fake = Fake::new(answering);
    ask_from(&fake, "192.0.2.7", CODE, json!({"phone_number": NUMBER})).await;
    ask_from(&fake, "192.0.2.7", REFRESH, json!({"refresh_token": "x"})).await;
    ask_from(&fake, "192.0.2.8", LOGIN, json!({})).await;
    let counted = fake.counted.take();
    assert_eq!(counted.len(), 3);
    assert!(
        counted
            .iter()
            .all(|name| name.starts_with("requests:address:"))
    );
    assert_eq!(counted[0], counted[1]);
    assert_ne!(counted[0], counted[2]);
    assert!(!counted.concat().contains("192.0.2"));
    assert!(!fake.log().contains("192.0.2"));

    let mut fake = Fake::idle();
    fake.counting = Box::new(|| Some(false));
    for path in [CODE, LOGIN, REFRESH] {
        let answer = ask_from(&fake, "192.0.2.7", path, json!({})).await;
        answer.problem(429, "rate_limited");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn logins_are_counted_by_address_before_a_code_is_tried() {
    let fake = Fake::new(answering);
    let answer = ask_from(&fake, "2001:db8::1", LOGIN, login()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        fake.calls(),
        ["LIMITER take", "ACCOUNT verify_code", "USER sign_in"]
    );
    let taken = fake.made.borrow()[0].clone();
    assert!(taken.name.starts_with("logins:address:"));
    assert_eq!(taken.request, json!({"take": {"limit": "logins"}}));

    let fake = Fake::new(refusing);
    let answer = ask_from(&fake, "2001:db8::1", LOGIN, login()).await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(fake.calls(), ["LIMITER take"]);
}

#[tokio::test(flavor = "current_thread")]
async fn without_an_address_nothing_is_limited_by_it() {
    let fake = Fake::new(answering);
    let answer = fake.ask_anonymously("POST", LOGIN, Some(login())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(fake.calls(), ["ACCOUNT verify_code", "USER sign_in"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_counter_that_does_not_answer_keeps_no_one_out_and_is_logged() {
    let fake = Fake::new(|made| match made.class {
        "LIMITER" => Err(Problem::unavailable("It did not answer.")),
        _ => answering(made),
    });
    let answer = ask_from(&fake, "192.0.2.7", LOGIN, login()).await;
    assert_eq!(answer.status, 200);
    assert!(fake.log().contains("not_counted"));
}
