//! Codes sent through Twilio.

use parlance_functions::backend::SendError;
use serde_json::{Value, json};

use crate::support::{Fake, NUMBER, Read};

const CODE: &str = "314159";

fn twilio(from: &str, answer: Result<(u16, Value), SendError>) -> Fake {
    let mut fake = Fake::new(|made| {
        Ok(match made.call() {
            "request_code" => json!({"code": CODE, "expires_in": 600}),
            "withdraw_code" => {
                assert_eq!(made.fields(), &json!({"code": CODE}));
                Value::Null
            }
            other => panic!("unexpected: {other}"),
        })
    })
    .with(&[
        ("DEVELOPMENT", ""),
        ("CODE_PROVIDER", "twilio"),
        ("TWILIO_ACCOUNT_SID", "AC0123"),
        ("TWILIO_AUTH_TOKEN", "s3cret"),
        ("TWILIO_FROM", from),
    ]);
    fake.sending = Box::new(move || answer.clone());
    fake
}

async fn ask(fake: &Fake) -> Read {
    let body = json!({"phone_number": NUMBER});
    let answer = fake
        .ask_anonymously("POST", "/api/v1/auth/code", Some(body))
        .await;
    let log = fake.log();
    for secret in [CODE, "4155550177", "s3cret", "czNjcmV0"] {
        assert!(!log.contains(secret), "{log}");
    }
    answer
}

#[tokio::test(flavor = "current_thread")]
async fn the_request_is_the_messages_api_s() {
    let fake = twilio(
        "+14155550199",
        Ok((201, json!({"sid": "SM1", "status": "queued"}))),
    );
    let answer = ask(&fake).await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.json(),
        json!({"expires_in": 600}),
        "the code is not shown"
    );
    let sent = fake.sent.borrow();
    let [request] = sent.as_slice() else {
        panic!("one request is sent");
    };
    assert_eq!(request.method(), "POST");
    assert_eq!(
        request.uri(),
        "https://api.twilio.com/2010-04-01/Accounts/AC0123/Messages.json"
    );
    // base64("AC0123:s3cret")
    assert_eq!(
        request.headers()["authorization"],
        "Basic QUMwMTIzOnMzY3JldA=="
    );
    assert_eq!(
        request.headers()["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        String::from_utf8_lossy(request.body()),
        "To=%2B14155550177&From=%2B14155550199&Body=314159+is+your+verification+code.\
         +It+expires+in+10+minutes.+Do+not+share+it."
    );
    assert_eq!(fake.calls(), ["ACCOUNT request_code"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_messaging_service_is_named_as_such() {
    let fake = twilio("MG0123", Ok((201, json!({}))));
    assert_eq!(ask(&fake).await.status, 202);
    let sent = fake.sent.borrow();
    let body = String::from_utf8_lossy(sent[0].body()).into_owned();
    assert!(
        body.starts_with("To=%2B14155550177&MessagingServiceSid=MG0123&Body="),
        "{body}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_number_that_twilio_refuses_is_the_client_s_fault_and_the_code_is_withdrawn() {
    for code in [21211, 21614] {
        let error =
            json!({"code": code, "message": format!("The number {NUMBER} is bad"), "status": 400});
        let fake = twilio("MG0123", Ok((400, error)));
        let answer = ask(&fake).await;
        assert_eq!(answer.problem(400, "invalid_request"), ["phone_number"]);
        assert_eq!(
            fake.calls(),
            ["ACCOUNT request_code", "ACCOUNT withdraw_code"]
        );
        assert!(fake.log().contains(&code.to_string()));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn any_other_failure_is_ours_and_the_code_is_withdrawn() {
    for answer in [
        Ok((401, json!({"code": 20003}))),
        Ok((400, json!({"code": 21610}))),
        Ok((302, json!({}))),
        Ok((429, json!({"code": 20429}))),
        Ok((500, json!("nonsense"))),
        Err(SendError("timed out".to_owned())),
    ] {
        let fake = twilio("MG0123", answer.clone());
        ask(&fake).await.problem(503, "unavailable");
        assert_eq!(
            fake.calls(),
            ["ACCOUNT request_code", "ACCOUNT withdraw_code"]
        );
        if let Ok((status, _)) = answer {
            assert!(fake.log().contains(&status.to_string()));
        }
    }
}
