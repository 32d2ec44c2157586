//! Verification codes: how long they hold, and how they are sent.

use parlance_tests::sms::{self, SmsProvider};
use parlance_tests::{Api, Server, phone_number, server};
use serde_json::json;

#[tokio::test]
async fn a_new_code_replaces_the_one_before() {
    let api = Api::of(server::shared());
    let number = phone_number();
    let old = api.code(&number).await;
    let mut new = api.code(&number).await;
    while new == old {
        new = api.code(&number).await;
    }
    api.login(&number, &old)
        .await
        .problem(401, "unauthenticated");
    api.login(&number, &new).await.ok(200);
}

#[tokio::test]
async fn five_wrong_tries_kill_a_code() {
    let api = Api::of(server::shared());
    let number = phone_number();
    let code = api.code(&number).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        api.login(&number, wrong)
            .await
            .problem(401, "unauthenticated");
    }
    let refused = api.login(&number, &code).await;
    assert!(
        matches!(refused.status, 401 | 429),
        "the right code is dead too: {refused:?}"
    );

    let patient = phone_number();
    let code = api.code(&patient).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..4 {
        api.login(&patient, wrong)
            .await
            .problem(401, "unauthenticated");
    }
    api.login(&patient, &code).await.ok(200);
}

#[tokio::test]
async fn a_number_without_a_code_cannot_log_in() {
    let api = Api::of(server::shared());
    api.login(&phone_number(), "123456")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_development_provider_refuses_to_run_in_production() {
    let server = Server::start_with(&[("DEVELOPMENT", "0")]);
    let reply = Api::of(&server)
        .post("/auth/code", json!({"phone_number": phone_number()}))
        .await;
    reply.problem(503, "unavailable");
    assert!(reply.body.get("dev_code").is_none(), "{reply:?}");
    let has_code = reply
        .text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit()));
    assert!(!has_code, "nothing like a code leaks: {reply:?}");
}

#[tokio::test]
async fn a_provider_of_text_messages_gets_the_code_and_the_client_does_not() {
    let provider = SmsProvider::start().await;
    let server = Server::start_with(&provider.vars());
    let api = Api::of(&server);
    let number = phone_number();

    let sent = api
        .post("/auth/code", json!({"phone_number": number}))
        .await
        .ok(202);
    assert_eq!(sent, json!({"expires_in": 600}));
    let requests = provider.requests();
    let [request] = requests.as_slice() else {
        panic!("one text message: {requests:?}");
    };
    assert_eq!(request.method, "POST");
    assert_eq!(
        request.path,
        format!("/2010-04-01/Accounts/{}/Messages.json", sms::ACCOUNT)
    );
    assert_eq!(request.header("authorization"), sms::authorization());
    assert!(
        request
            .header("content-type")
            .starts_with("application/x-www-form-urlencoded")
    );
    let fields = sms::form_fields(&request.body);
    let field = |name: &str| {
        let mut values = fields.iter().filter(|(have, _)| have == name);
        let (_, value) = values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {fields:?}"));
        assert!(values.next().is_none(), "{name} is there once");
        value.clone()
    };
    assert_eq!(field("To"), number);
    assert_eq!(field("From"), sms::SENDER);
    let code = sms::code_in(&field("Body"));
    assert_eq!(api.login(&number, &code).await.ok(200)["is_new_user"], true);
}

#[tokio::test]
async fn a_failing_provider_is_told_as_unavailable_and_costs_no_code_of_the_hour() {
    let provider = SmsProvider::start().await;
    let mut vars = provider.vars().to_vec();
    vars.push(("RATE_LIMIT_SCALE", "1"));
    let server = Server::start_with(&vars);
    let api = Api::of(&server);
    let number = phone_number();
    let body = json!({"phone_number": number});

    provider.answer_with(500);
    for _ in 0..6 {
        api.post("/auth/code", body.clone())
            .await
            .problem(503, "unavailable");
    }
    let unsent = provider
        .requests()
        .last()
        .map(|request| request.body.clone())
        .expect("it was asked");
    let unsent = sms::form_fields(&unsent)
        .into_iter()
        .find(|(name, _)| name == "Body")
        .expect("a text")
        .1;
    api.login(&number, &sms::code_in(&unsent))
        .await
        .problem(401, "unauthenticated");

    provider.answer_with(201);
    api.post("/auth/code", body.clone()).await.ok(202);
}

#[tokio::test]
async fn a_number_gets_five_codes_an_hour() {
    let server = Server::start_with(&[("RATE_LIMIT_SCALE", "1")]);
    let api = Api::of(&server);
    let number = phone_number();
    let mut last = String::new();
    for _ in 0..5 {
        last = api.code(&number).await;
    }
    let refused = api
        .post("/auth/code", json!({"phone_number": number}))
        .await;
    refused.problem(429, "rate_limited");
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=3600).contains(&wait), "{wait}");
    api.code(&phone_number()).await;
    api.login(&number, &last).await.ok(200);
}
