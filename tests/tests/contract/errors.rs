//! What is refused, how it is told, and that nothing changes by it.

use parlance_tests::scene::{Scene, message};
use parlance_tests::{Api, Reply, raw, server, uuid};
use serde_json::{Value, json};

const BODY_LIMIT: usize = 1024 * 1024;

#[tokio::test]
async fn unknown_paths_are_404_and_known_paths_tell_their_methods() {
    let scene = Scene::set().await;
    let id = &scene.direct;
    let nobody = scene.owner.api.without_token();
    for path in [
        "/nope",
        "/conversationsx",
        "/auth",
        "/auth/code/more",
        "//api/v2/conversations",
        "//api",
        "/users/me/nope",
    ] {
        nobody.get(path).await.problem(404, "not_found");
        scene.owner.api.get(path).await.problem(404, "not_found");
    }
    let wrong = [
        ("GET", "/auth/code".to_owned(), vec!["POST"]),
        ("PUT", "/auth/login".to_owned(), vec!["POST"]),
        ("DELETE", "/auth/refresh".to_owned(), vec!["POST"]),
        ("GET", "/auth/logout".to_owned(), vec!["POST"]),
        ("POST", "//.well-known/jwks.json".to_owned(), vec!["GET"]),
        ("POST", "/users/me".to_owned(), vec!["GET", "PATCH"]),
        ("GET", "/users/lookup".to_owned(), vec!["POST"]),
        ("DELETE", "/conversations".to_owned(), vec!["GET", "POST"]),
        ("POST", format!("/conversations/{id}"), vec!["GET"]),
        (
            "DELETE",
            format!("/conversations/{id}/messages"),
            vec!["GET", "POST"],
        ),
        ("POST", format!("/conversations/{id}/events"), vec!["GET"]),
        ("POST", format!("/conversations/{id}/ws"), vec!["GET"]),
    ];
    for (method, path, allowed) in wrong {
        let reply = scene.owner.api.ask(method, &path, Value::Null).await;
        reply.problem(405, "method_not_allowed");
        let allow: Vec<_> = reply.header("allow").split(',').map(str::trim).collect();
        for method in allowed {
            assert!(allow.contains(&method), "{path} allows {method}: {allow:?}");
        }
        assert!(
            !allow.contains(&method),
            "{path} does not allow {method}: {allow:?}"
        );
    }
}

async fn post_as(api: &Api, path: &str, content_type: &str, body: &[u8]) -> Reply {
    api.send(
        "POST",
        path,
        &[("content-type", content_type)],
        Some(body.to_vec()),
    )
    .await
}

#[tokio::test]
async fn a_body_must_be_json_and_say_so() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let api = &scene.owner.api;
    let messages = format!("/conversations/{}/messages", scene.direct);
    for path in [
        "/auth/code",
        "/auth/login",
        "/auth/refresh",
        "/conversations",
        "/users/lookup",
        &messages,
    ] {
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "application/xml",
        ] {
            post_as(api, path, content_type, message().to_string().as_bytes())
                .await
                .problem(415, "unsupported_media_type");
        }
        let broken: [&[u8]; 9] = [
            b"",
            b"{",
            b"nonsense",
            b"[]",
            b"null",
            b"5",
            b"\"x\"",
            b"{\"a\":1} {}",
            b"{\"content\":\"\xff\xfe\"}",
        ];
        for body in broken {
            post_as(api, path, "application/json", body)
                .await
                .problem(400, "invalid_request");
        }
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        post_as(api, path, "application/json", deep.as_bytes())
            .await
            .problem(400, "invalid_request");
    }
    scene.unchanged_since(&before).await;

    let body = message().to_string();
    post_as(
        api,
        &messages,
        "application/json; charset=utf-8",
        body.as_bytes(),
    )
    .await
    .ok(201);
    post_as(api, &messages, "Application/JSON", body.as_bytes())
        .await
        .ok(200);
}

#[tokio::test]
async fn a_body_of_one_mebibyte_is_read_and_a_larger_one_refused() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let padded = |length: usize| {
        let around = |padding: &str| {
            let peer = &scene.peer.id;
            format!(r#"{{"type":"direct","member_ids":["{peer}"],"padding":"{padding}"}}"#)
        };
        let body = around(&"x".repeat(length - around("").len()));
        assert_eq!(body.len(), length);
        body
    };
    let api = &scene.owner.api;
    post_as(
        api,
        "/conversations",
        "application/json",
        padded(BODY_LIMIT).as_bytes(),
    )
    .await
    .ok(200);
    for length in [BODY_LIMIT + 1, 3 * BODY_LIMIT] {
        let reply = post_as(
            api,
            "/conversations",
            "application/json",
            padded(length).as_bytes(),
        )
        .await;
        reply.problem(413, "payload_too_large");
    }

    // A length that is not announced is counted while it is read.
    let mut request = format!(
        "POST /api/v1/conversations HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        scene.owner.token()
    );
    let body = padded(BODY_LIMIT + 1);
    request.push_str(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    assert_eq!(
        raw::status_of(server::shared().url(), request.as_bytes()).await,
        413
    );
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn the_field_that_does_not_fit_is_named() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let api = &scene.owner.api;
    let (peer, id) = (&scene.peer.id, uuid());
    let messages = format!("/conversations/{}/messages", scene.direct);
    let messages = messages.as_str();
    let with = |name: &str, value: Value| {
        let mut message = message();
        message[name] = value;
        message
    };
    let cases = [
        ("POST", "/auth/code", json!({}), "phone_number"),
        (
            "POST",
            "/auth/code",
            json!({"phone_number": 4_155_550_100_u64}),
            "phone_number",
        ),
        (
            "POST",
            "/auth/code",
            json!({"phone_number": "4155550100"}),
            "phone_number",
        ),
        (
            "POST",
            "/auth/code",
            json!({"phone_number": "+1 415 555 0100"}),
            "phone_number",
        ),
        (
            "POST",
            "/auth/login",
            json!({"phone_number": "+14155550100"}),
            "verification_code",
        ),
        (
            "POST",
            "/auth/login",
            json!({"phone_number": "+14155550100", "verification_code": 123_456}),
            "verification_code",
        ),
        ("POST", "/auth/refresh", json!({}), "refresh_token"),
        ("POST", "/users/lookup", json!({}), "phone_numbers"),
        (
            "POST",
            "/users/lookup",
            json!({"phone_numbers": ["+14155550100", "x"]}),
            "phone_numbers[1]",
        ),
        (
            "POST",
            "/users/lookup",
            json!({"phone_numbers": vec!["+14155550100"; 101]}),
            "phone_numbers",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"display_name": 5}),
            "display_name",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"display_name": null}),
            "display_name",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"display_name": "x".repeat(101)}),
            "display_name",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"privacy": {"last_seen": "friends"}}),
            "privacy.last_seen",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"display_name": "Ann", "privacy": {"read_receipts": "no"}}),
            "privacy.read_receipts",
        ),
        (
            "PATCH",
            "/users/me",
            json!({"profile_pic": "javascript:alert(1)"}),
            "profile_pic",
        ),
        ("POST", "/conversations", json!({}), "type"),
        (
            "POST",
            "/conversations",
            json!({"type": "direct"}),
            "member_ids",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "crowd", "member_ids": [peer]}),
            "type",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "group", "member_ids": [peer, "x"]}),
            "member_ids[1]",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "group", "member_ids": peer}),
            "member_ids",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "group", "member_ids": [peer], "name": "x".repeat(101)}),
            "name",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "group", "member_ids": [peer], "name": "x", "description": "x".repeat(501)}),
            "description",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "direct", "member_ids": [scene.owner.id]}),
            "member_ids",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "direct", "member_ids": []}),
            "member_ids",
        ),
        (
            "POST",
            "/conversations",
            json!({"type": "direct", "member_ids": [peer, scene.stranger.id]}),
            "member_ids",
        ),
        (
            "POST",
            messages,
            json!({"content": "hello"}),
            "client_msg_id",
        ),
        ("POST", messages, json!({"client_msg_id": id}), "content"),
        (
            "POST",
            messages,
            with("client_msg_id", json!(id.to_uppercase())),
            "client_msg_id",
        ),
        ("POST", messages, with("content", json!(5)), "content"),
        ("POST", messages, with("content", json!(" \n ")), "content"),
        (
            "POST",
            messages,
            with("content", json!("x".repeat(16_385))),
            "content",
        ),
        (
            "POST",
            messages,
            with("content_type", json!("song")),
            "content_type",
        ),
        (
            "POST",
            messages,
            with("content_type", json!("system")),
            "content_type",
        ),
        ("POST", messages, with("reply_to", json!("x")), "reply_to"),
        (
            "POST",
            messages,
            with("mentions", json!(["x"])),
            "mentions[0]",
        ),
        (
            "POST",
            messages,
            with("mentions", json!(vec![peer; 101])),
            "mentions",
        ),
    ];
    for (method, path, body, field) in cases {
        api.ask(method, path, body).await.invalid_field(field);
    }
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn queries_that_do_not_fit_are_refused() {
    let scene = Scene::set().await;
    let id = &scene.direct;
    for (path, field) in [
        ("/conversations?limit=many".to_owned(), "limit"),
        ("/conversations?limit=-1".to_owned(), "limit"),
        ("/conversations?cursor=nonsense".to_owned(), "cursor"),
        ("/conversations?archived=perhaps".to_owned(), "archived"),
        (
            format!("/conversations/{id}/members?cursor=nonsense"),
            "cursor",
        ),
        (
            format!("/conversations/{id}/messages?cursor=nonsense"),
            "cursor",
        ),
        (format!("/conversations/{id}/messages?limit=1.5"), "limit"),
        (
            format!("/conversations/{id}/events?after_seq=-1"),
            "after_seq",
        ),
        (
            format!("/conversations/{id}/events?after_seq=x"),
            "after_seq",
        ),
    ] {
        scene.owner.api.get(&path).await.invalid_field(field);
    }
}

#[tokio::test]
async fn members_must_exist_and_fit_into_a_group() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let api = &scene.owner.api;
    for kind in ["direct", "group"] {
        let body = json!({"type": kind, "name": "Ghosts", "member_ids": [uuid()]});
        api.post("/conversations", body)
            .await
            .problem(404, "not_found");
    }
    let body = json!({"type": "group", "name": "Ghosts", "member_ids": [scene.peer.id, uuid()]});
    api.post("/conversations", body)
        .await
        .problem(404, "not_found");

    let crowd: Vec<_> = (0..1024).map(|_| uuid()).collect();
    let body = json!({"type": "group", "name": "Crowd", "member_ids": crowd});
    api.post("/conversations", body)
        .await
        .invalid_field("member_ids");
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn content_over_64_kib_is_too_large() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let path = format!("/conversations/{}/messages", scene.direct);
    let sealed = |length: usize| json!({"client_msg_id": uuid(), "content": "x".repeat(length), "content_type": "encrypted"});
    scene
        .owner
        .api
        .post(&path, sealed(65_537))
        .await
        .problem(413, "payload_too_large");
    scene.unchanged_since(&before).await;
    scene.owner.api.post(&path, sealed(65_536)).await.ok(201);
}
