//! Signing up, signing in, staying signed in and signing out.

use parlance_tests::api::text;
use parlance_tests::token::{Key, header_of};
use parlance_tests::{
    Api, Edition, Server, Socket, User, eventually, phone_number, server, socket, uuid,
};
use serde_json::{Value, json};

async fn refresh(api: &Api, refresh_token: &str) -> parlance_tests::Reply {
    api.post("/auth/refresh", json!({"refresh_token": refresh_token}))
        .await
}

#[tokio::test]
async fn a_code_signs_a_number_up_once_and_then_in() {
    let api = Api::of(server::shared());
    let number = phone_number();
    let sent = api
        .post("/auth/code", json!({"phone_number": number}))
        .await
        .ok(202);
    assert_eq!(sent["expires_in"], 600);
    let code = text(&sent, "dev_code");
    assert!(
        code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()),
        "{code}"
    );

    let first = api.login(&number, code).await.ok(200);
    assert_eq!(first["is_new_user"], true);
    api.login(&number, code)
        .await
        .problem(401, "unauthenticated");

    let second = api.sign_in(&number).await.session;
    assert_eq!(second["is_new_user"], false);
    assert_eq!(second["user_id"], first["user_id"], "a number is one user");
    assert_ne!(
        second["device_id"], first["device_id"],
        "each login is a device"
    );

    let me = User::new(&api, &number, first);
    let profile = me.api.get("/users/me").await.ok(200);
    assert_eq!(profile["user_id"], me.id);
    assert_eq!(profile["phone_number"], number);
    let devices = me.api.get("/users/me/devices").await.ok(200);
    assert_eq!(
        devices["devices"].as_array().map(Vec::len),
        Some(2),
        "{devices}"
    );
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_revokes_the_device() {
    let server = server::shared();
    let user = User::sign_up(server).await;
    let other_device = Api::of(server).sign_in(&user.phone_number).await;
    let nobody = Api::of(server);

    let second = refresh(&nobody, user.refresh_token()).await.ok(200);
    assert_eq!(second["user_id"], user.session["user_id"]);
    assert_eq!(second["device_id"], user.session["device_id"]);
    assert_eq!(second["is_new_user"], false);
    assert_ne!(second["refresh_token"], user.session["refresh_token"]);
    let third = refresh(&nobody, text(&second, "refresh_token"))
        .await
        .ok(200);
    let renewed = nobody.with_token(text(&third, "token"));
    renewed.get("/users/me").await.ok(200);

    refresh(&nobody, text(&second, "refresh_token"))
        .await
        .problem(401, "unauthenticated");
    refresh(&nobody, text(&third, "refresh_token"))
        .await
        .problem(401, "unauthenticated");
    renewed
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
    other_device.api.get("/users/me").await.ok(200);
    refresh(&nobody, other_device.refresh_token()).await.ok(200);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let user = User::sign_up(server::shared()).await;
    let nobody = Api::of(server::shared());
    let real = user.refresh_token();
    let mut altered = real.to_owned();
    let last = altered.pop();
    // Not the last character alone: its low bits may be padding.
    altered.pop();
    altered.push(if real[..real.len() - 1].ends_with('A') {
        'B'
    } else {
        'A'
    });
    altered.extend(last);
    for bad in ["", "x", "a.b.c", &altered, user.token()] {
        refresh(&nobody, bad).await.problem(401, "unauthenticated");
    }
    refresh(&nobody, real).await.ok(200);
}

#[tokio::test]
async fn logout_ends_the_device_and_no_other() {
    let server = server::shared();
    let user = User::sign_up(server).await;
    let other_device = Api::of(server).sign_in(&user.phone_number).await;
    let reply = user.api.ask("POST", "/auth/logout", Value::Null).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    refresh(&user.api.without_token(), user.refresh_token())
        .await
        .problem(401, "unauthenticated");
    user.api
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
    other_device.api.get("/users/me").await.ok(200);
}

#[tokio::test]
async fn a_device_can_be_signed_out_from_another() {
    let server = server::shared();
    let user = User::sign_up(server).await;
    let lost = Api::of(server).sign_in(&user.phone_number).await;
    let path = format!("/users/me/devices/{}", lost.device_id());
    assert_eq!(user.api.ask("DELETE", &path, Value::Null).await.status, 204);
    lost.api
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
    refresh(&lost.api, lost.refresh_token())
        .await
        .problem(401, "unauthenticated");
    user.api.get("/users/me").await.ok(200);
    let unknown = format!("/users/me/devices/{}", uuid());
    user.api
        .ask("DELETE", &unknown, Value::Null)
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn the_public_keys_are_published_and_nothing_more() {
    let keys = Api::of(server::shared())
        .get("//.well-known/jwks.json")
        .await
        .ok(200);
    let [key] = keys["keys"].as_array().expect("keys").as_slice() else {
        panic!("one key is configured: {keys}");
    };
    assert_eq!(key["kty"], "OKP");
    assert_eq!(key["crv"], "Ed25519");
    assert_eq!(key["kid"], Key::first().kid);
    assert_eq!(key["x"], Key::first().public());
    assert!(key.get("d").is_none(), "the private half is not shown");
}

#[tokio::test]
async fn keys_can_be_rotated_without_signing_anyone_out() {
    let (old, new) = (Key::first(), Key::second());
    let mut server = Server::start();
    let user = User::sign_up(&server).await;
    assert_eq!(header_of(user.token())["kid"], old.kid);

    server.restart_with(&[(
        "TOKEN_KEYS",
        &format!("{},{}", new.setting(), old.setting()),
    )]);
    let user = user.at(&server);
    user.api.get("/users/me").await.ok(200);
    let renewed = refresh(&user.api.without_token(), user.refresh_token())
        .await
        .ok(200);
    let renewed = User::new(&user.api, &user.phone_number, renewed);
    assert_eq!(
        header_of(renewed.token())["kid"],
        new.kid,
        "the first key signs"
    );
    let published = user.api.get("//.well-known/jwks.json").await.ok(200);
    let kids: Vec<_> = published["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["kid"])
        .collect();
    assert!(
        kids.contains(&&json!(old.kid)) && kids.contains(&&json!(new.kid)),
        "{published}"
    );

    server.restart_with(&[("TOKEN_KEYS", &new.setting())]);
    renewed.at(&server).api.get("/users/me").await.ok(200);
    user.at(&server)
        .api
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_log_tells_of_requests_but_of_no_number_code_token_or_content() {
    let server = Server::start();
    let api = Api::of(&server);
    let (number, other_number) = (phone_number(), phone_number());
    let code = api.code(&number).await;
    let session = api.login(&number, &code).await.ok(200);
    let user = User::new(&api, &number, session);
    let other = api.sign_in(&other_number).await;
    api.post("/auth/code", json!({"phone_number": [number]}))
        .await
        .problem(400, "invalid_request");
    api.login(&number, &code)
        .await
        .problem(401, "unauthenticated");
    user.api
        .post("/users/lookup", json!({"phone_numbers": [other_number]}))
        .await
        .ok(200);
    let (secret, http_secret) = ("zebra-crossing-at-noon", "walrus-under-the-stairs");
    let conversation = user.direct(&other).await;
    user.say(&conversation, http_secret).await;
    if Edition::current().has_sockets() {
        let (mut socket, _) = Socket::open(&user, &conversation).await;
        socket
            .send(&socket::send_message(&conversation, &uuid(), secret))
            .await;
        socket.until_type("msg_ack").await;
        let broken = format!(r#"{{"type":"send_message","content":"{secret}""#);
        socket.send_text(&broken).await;
        socket.until_type("error").await;
        socket.close().await;
    }

    let last = api.get("/no/such/path").await;
    let request_id = last.header("x-request-id").to_owned();
    assert!(!request_id.is_empty(), "answers carry the request's id");
    eventually("the log to tell of the last request", async || {
        server.log().contains(&request_id).then_some(())
    })
    .await;

    let log = server.log();
    assert!(log.contains("/auth/login"), "requests are logged:\n{log}");
    for hidden in [
        &number[1..],
        &other_number[1..],
        secret,
        http_secret,
        user.token(),
        user.refresh_token(),
    ] {
        assert!(!log.contains(hidden), "the log tells {hidden}");
    }
    let tells_code = log
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == code);
    assert!(!tells_code, "the log tells the code");
}
