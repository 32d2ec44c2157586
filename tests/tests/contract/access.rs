//! Who is let in: nobody without a good token, no stranger into a conversation; and nothing
//! changes by trying.

use parlance_tests::scene::{Scene, message};
use parlance_tests::token::{Key, claims, encode, unsigned};
use parlance_tests::uuid;
use serde_json::{Value, json};

/// Every endpoint of one conversation, with a request that a member could make.
fn conversation_endpoints(id: &str) -> Vec<(&'static str, String, Value)> {
    vec![
        ("GET", format!("/conversations/{id}"), Value::Null),
        ("GET", format!("/conversations/{id}/members"), Value::Null),
        ("GET", format!("/conversations/{id}/messages"), Value::Null),
        ("POST", format!("/conversations/{id}/messages"), message()),
        ("GET", format!("/conversations/{id}/events"), Value::Null),
        (
            "GET",
            format!("/conversations/{id}/events?after_seq=0&limit=1"),
            Value::Null,
        ),
    ]
}

/// Every endpoint that wants a token, with a request that its holder could make.
fn authenticated_endpoints(scene: &Scene) -> Vec<(&'static str, String, Value)> {
    let mut endpoints = conversation_endpoints(&scene.direct);
    endpoints.extend(conversation_endpoints(&scene.group));
    let group = json!({"type": "group", "name": "Not to be", "member_ids": [scene.peer.id]});
    let device = scene.owner.device_id();
    endpoints.extend([
        ("GET", "/users/me".to_owned(), Value::Null),
        (
            "PATCH",
            "/users/me".to_owned(),
            json!({"display_name": "Mallory"}),
        ),
        ("GET", "/users/me/devices".to_owned(), Value::Null),
        ("DELETE", format!("/users/me/devices/{device}"), Value::Null),
        ("GET", format!("/users/{}", scene.peer.id), Value::Null),
        (
            "POST",
            "/users/lookup".to_owned(),
            json!({"phone_numbers": [scene.peer.phone_number]}),
        ),
        ("GET", "/conversations".to_owned(), Value::Null),
        ("POST", "/conversations".to_owned(), group),
        ("POST", "/auth/logout".to_owned(), Value::Null),
    ]);
    endpoints
}

#[tokio::test]
async fn without_a_good_token_every_endpoint_is_closed() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let nobody = scene.owner.api.without_token();
    let (user, device) = (scene.owner.id.as_str(), scene.owner.device_id());
    let (key, good) = (
        Key::first(),
        claims(&scene.owner.id, scene.owner.device_id(), 600),
    );

    let minted = nobody.with_token(&key.token(user, device, 600));
    minted.get("/users/me").await.ok(200);

    let with_claim = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        key.sign(&key.header(), &claims)
    };
    let without_claim = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(name);
        key.sign(&key.header(), &claims)
    };
    let signed = key.sign(&key.header(), &good);
    let (signed_part, signature) = signed.rsplit_once('.').expect("three parts");
    let stolen = unsigned(
        &key.header(),
        &claims(&scene.peer.id, scene.peer.device_id(), 600),
    );
    let none = json!({"alg": "none", "typ": "JWT", "kid": key.kid});
    let hmac = json!({"alg": "HS256", "typ": "JWT", "kid": key.kid});
    let tokens = [
        ("garbage", "garbage".to_owned()),
        ("dots", "..".to_owned()),
        (
            "not JSON",
            format!("{}.{}.{}", encode(b"{"), encode(b"{"), encode(&[0; 64])),
        ),
        ("very long", "a".repeat(6000)),
        ("expired", key.token(user, device, -3600)),
        ("expired long ago", key.token(user, device, -1_000_000_000)),
        (
            "of a key that was never one",
            Key::new("test9", 0x99).token(user, device, 600),
        ),
        (
            "of a foreign key under our name",
            Key::new(&key.kid, 0x99).token(user, device, 600),
        ),
        (
            "alg none, no signature",
            format!("{}.", unsigned(&none, &good)),
        ),
        ("alg none, our signature", key.sign(&none, &good)),
        (
            "alg HS256",
            format!("{}.{}", unsigned(&hmac, &good), encode(&[0; 32])),
        ),
        (
            "signature cut",
            format!("{signed_part}.{}", &signature[..signature.len() / 2]),
        ),
        ("signature of other claims", format!("{stolen}.{signature}")),
        ("another issuer", with_claim("iss", json!("mallory"))),
        ("another audience", with_claim("aud", json!("mallory"))),
        ("no issuer", without_claim("iss")),
        ("no audience", without_claim("aud")),
        ("no expiry", without_claim("exp")),
        ("no user", without_claim("sub")),
        ("no device", without_claim("did")),
        ("a user that is no id", with_claim("sub", json!("me"))),
        ("a device that is no id", with_claim("did", json!("mine"))),
    ];
    for (name, token) in &tokens {
        let reply = nobody.with_token(token).get("/conversations").await;
        assert_eq!(reply.status, 401, "a token that is {name}: {reply:?}");
        reply.problem(401, "unauthenticated");
    }

    let chosen = [&tokens[0].1, &tokens[4].1, &tokens[7].1, &tokens[8].1];
    for (method, path, body) in authenticated_endpoints(&scene) {
        nobody
            .ask(method, &path, body.clone())
            .await
            .problem(401, "unauthenticated");
        for token in chosen {
            nobody
                .with_token(token)
                .ask(method, &path, body.clone())
                .await
                .problem(401, "unauthenticated");
        }
    }
    for scheme in ["Basic Zm9vOmJhcg==", "Bearer", "Bearer ", "bearer.x"] {
        nobody
            .send("GET", "/users/me", &[("authorization", scheme)], None)
            .await
            .problem(401, "unauthenticated");
    }
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn to_a_stranger_a_conversation_is_not_there() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let nothing = conversation_endpoints(&uuid());
    for conversation in [&scene.direct, &scene.group] {
        for ((method, path, body), (_, no_path, no_body)) in conversation_endpoints(conversation)
            .into_iter()
            .zip(&nothing)
        {
            let hidden = scene.stranger.api.ask(method, &path, body).await;
            let absent = scene
                .stranger
                .api
                .ask(method, no_path, no_body.clone())
                .await;
            let (hidden, absent) = (
                hidden.problem(404, "not_found"),
                absent.problem(404, "not_found"),
            );
            assert_eq!(
                hidden["detail"], absent["detail"],
                "{method} {path} does not tell that it exists"
            );
            assert_eq!(hidden["title"], absent["title"]);
        }
    }
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn what_is_no_id_is_refused() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let bad_ids = [
        "x",
        "0193E8A0-1111-7ABC-8DEF-0123456789AB",
        "0193e8a011117abc8def0123456789ab",
        "0193e8a0-1111-7abc-8def-0123456789a%20",
        "%7B0193e8a0-1111-7abc-8def-0123456789ab%7D",
    ];
    for id in bad_ids {
        for (method, path, body) in conversation_endpoints(id) {
            scene
                .owner
                .api
                .ask(method, &path, body)
                .await
                .problem(400, "invalid_request");
        }
        scene
            .owner
            .api
            .get(&format!("/users/{id}"))
            .await
            .problem(400, "invalid_request");
        let device = format!("/users/me/devices/{id}");
        scene
            .owner
            .api
            .ask("DELETE", &device, Value::Null)
            .await
            .problem(400, "invalid_request");
    }
    scene
        .owner
        .api
        .get(&format!("/users/{}", uuid()))
        .await
        .problem(404, "not_found");
    scene.unchanged_since(&before).await;
}
