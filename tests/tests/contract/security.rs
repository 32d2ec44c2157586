//! What the hostile try over HTTP, and do not get.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use parlance_tests::scene::{Scene, message, pair};
use parlance_tests::strangers::Strangers;
use parlance_tests::{Api, Server, User, eventually, from_now, phone_number, raw, server, uuid};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::test]
async fn nobody_gets_at_what_is_not_theirs_and_nothing_changes_by_trying() {
    let strangers = Strangers::set(&from_now(Duration::from_secs(86_400))).await;
    let before = strangers.state().await;
    let attempts = strangers.attempts();
    assert!(attempts.len() > 100, "{} attempts", attempts.len());
    for attempt in attempts {
        // Sockets are opened by other means (tests/security.rs), or there are none.
        if attempt.path.ends_with("/ws") {
            continue;
        }
        let (method, path) = (&attempt.method, &attempt.path);
        let reply = attempt.user.api.ask(method, path, attempt.body).await;
        let told = format!("{}: {method} {path}: {reply:?}", attempt.persona);
        assert_eq!(reply.status, attempt.status, "{told}");
        let code = match attempt.status {
            401 => "unauthenticated",
            403 => "forbidden",
            _ => "not_found",
        };
        let problem = reply.problem(attempt.status, code).to_string();
        assert!(
            !problem.contains("Tea?") && !problem.contains("Ours"),
            "{told}"
        );
    }
    assert_eq!(strangers.state().await, before);
}

#[tokio::test]
async fn a_new_member_of_nothing_cannot_send_into_a_conversation_by_forwarding() {
    let scene = Scene::set().await;
    let own = scene.stranger.direct(&scene.peer).await;
    let said = scene.stranger.say(&own, "mine").await;
    for user in [&scene.stranger, &scene.peer] {
        eventually("both lists to show it", async || {
            user.item(&own)
                .await
                .filter(|item| !item["last_msg"].is_null())
        })
        .await;
    }
    let before = scene.state().await;
    let path = format!(
        "/conversations/{own}/messages/{}/forward",
        said["message_id"].as_str().expect("an id")
    );
    let body = json!({"conversation_ids": [scene.direct, scene.group], "client_msg_id": uuid()});
    let results = scene.stranger.api.post(&path, body).await.ok(200);
    for place in 0..2 {
        let result = &results["results"][place];
        assert_eq!(result["problem"]["code"], "not_found", "{results}");
        assert!(result.get("ack").is_none());
    }
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn a_log_has_one_line_of_json_for_each_entry_whatever_is_sent() {
    let server = Server::start();
    let user = User::sign_up(&server).await;
    let id = user.direct(&User::sign_up(&server).await).await;
    let forged = "%0A%7B%22level%22:%22info%22,%22forged%22:true%7D%0D%0A";
    let header = r#"{"forged":true}"#;
    let headers = [
        ("user-agent", header),
        ("x-request-id", header),
        ("origin", header),
        ("referer", header),
    ];
    for path in [
        format!("/{forged}"),
        format!("/users/{forged}"),
        format!("/conversations/{id}/messages/{forged}"),
        format!("/conversations/{id}/messages?cursor={forged}"),
        format!("/events?last_event_id={forged}"),
        format!("//{forged}"),
    ] {
        let reply = user.api.send("GET", &path, &headers, None).await;
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        assert!(!reply.text.contains("forged") && !reply.header("x-request-id").contains('{'));
    }
    let named = json!({"display_name": "a\n{\"forged\":true}"});
    user.api.ask("PATCH", "/users/me", named).await.ok(200);
    user.say(&id, "{\"forged\":true}\n").await;
    let last = user.api.get("/no/such/path").await;
    let last = last.header("x-request-id").to_owned();
    eventually("the log to tell of the last request", async || {
        server.log().contains(&last).then_some(())
    })
    .await;
    let log = server.log();
    assert!(!log.contains("forged"), "{log}");
    let mut entries = 0;
    for line in log.lines().filter(|line| line.contains("request_id")) {
        let entry: Value = serde_json::from_str(line).expect("a line of the log is JSON");
        assert!(entry["request_id"].is_string(), "{line}");
        entries += 1;
    }
    assert!(entries >= 9, "every request is logged:\n{log}");
}

#[tokio::test]
async fn a_request_with_broken_lines_is_no_request() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let url = server::shared().url();
    let token = scene.owner.token();
    let body = message().to_string();
    let path = format!("/api/v1/conversations/{}/messages", scene.direct);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\n"
    );
    // Each could be read as two requests by someone in between (request smuggling).
    for rest in [
        format!(
            "content-length: {}\r\ncontent-length: 5\r\n\r\n{body}",
            body.len()
        ),
        format!("content-length: -1\r\n\r\n{body}"),
        format!("content-length: {0}, {0}x\r\n\r\n{body}", body.len()),
        format!(
            "transfer-encoding: chunked, x\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
        format!(
            "x-broken\u{0}: 1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    ] {
        let request = format!("{head}{rest}");
        let status = raw::status_of(url, request.as_bytes()).await;
        assert!((400..=501).contains(&status), "{status}: {rest}");
    }
    scene.unchanged_since(&before).await;
}

/// The same bytes, compressed.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-9")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip starts");
    let mut input = child.stdin.take().expect("it is piped");
    let owned = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&owned));
    let output = child.wait_with_output().expect("gzip ends");
    writer.join().expect("it is written").expect("gzip reads");
    output.stdout
}

#[tokio::test]
async fn what_is_compressed_is_not_unpacked() {
    let scene = Scene::set().await;
    let before = scene.state().await;
    let path = format!("/conversations/{}/messages", scene.direct);
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    assert!(bomb.len() < 256 * 1024, "{} bytes", bomb.len());
    for body in [bomb, gzip(message().to_string().as_bytes())] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        let reply = scene
            .owner
            .api
            .send("POST", &path, &headers, Some(body.clone()));
        reply.await.problem(415, "unsupported_media_type");
        // Without a word about it, it is no JSON.
        let reply = scene
            .owner
            .api
            .send("POST", &path, &headers[..1], Some(body));
        reply.await.problem(400, "invalid_request");
    }
    scene.unchanged_since(&before).await;
}

#[tokio::test]
async fn no_link_that_a_client_names_is_asked_for() {
    let trap = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let link = format!("https://{}/picture", trap.local_addr().expect("an address"));
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Linked", &[&bob]).await;
    let picture = json!({"profile_pic": link});
    ann.api.ask("PATCH", "/users/me", picture).await.ok(200);
    let avatar = json!({"avatar": link});
    let path = format!("/conversations/{id}");
    ann.api.ask("PATCH", &path, avatar).await.ok(200);
    ann.say(&id, &link).await;
    let item = bob.reached(&id, 3).await;
    assert_eq!(item["avatar_url"], link);
    let visit = tokio::time::timeout(Duration::from_secs(2), trap.accept()).await;
    assert!(visit.is_err(), "somebody followed the link");
}

#[tokio::test]
async fn guesses_at_the_same_time_are_no_more_than_five() {
    let api = Api::of(server::shared());
    let number = phone_number();
    let code = api.code(&number).await;
    let wrong: Vec<_> = (0..40)
        .map(|guess| format!("{guess:06}"))
        .filter(|guess| *guess != code)
        .collect();
    let replies = join_all(wrong.iter().map(|guess| api.login(&number, guess))).await;
    for reply in replies {
        assert!(matches!(reply.status, 401 | 429), "{reply:?}");
    }
    let refused = api.login(&number, &code).await;
    assert!(matches!(refused.status, 401 | 429), "{refused:?}");
}

#[tokio::test]
async fn one_code_makes_one_session_however_often_it_is_sent_at_once() {
    let api = Api::of(server::shared());
    let number = phone_number();
    let code = api.code(&number).await;
    let replies = join_all((0..8).map(|_| api.login(&number, &code))).await;
    let good = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(good, 1, "{replies:?}");
}

#[tokio::test]
async fn one_refresh_token_makes_one_session_however_often_it_is_sent_at_once() {
    let user = User::sign_up(server::shared()).await;
    let nobody = user.api.without_token();
    let body = json!({"refresh_token": user.refresh_token()});
    let replies = join_all((0..4).map(|_| nobody.post("/auth/refresh", body.clone()))).await;
    let good = replies.iter().filter(|reply| reply.status == 200).count();
    assert!(good <= 1, "{replies:?}");
    // A token that was used twice is a stolen one: the device is out.
    user.api
        .get("/users/me")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_message_that_is_sent_again_by_a_thief_of_its_name_is_the_thief_s_own() {
    let (ann, bob, id) = pair().await;
    let name = uuid();
    let first = ann.try_say(&id, &name, "from Ann").await.ok(201);
    let other = bob.try_say(&id, &name, "from Bob").await.ok(201);
    assert_ne!(first["message_id"], other["message_id"]);
    let again = ann.try_say(&id, &name, "something else").await.ok(200);
    assert_eq!(again["message_id"], first["message_id"]);
    let log = bob.events(&id, 0).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0]["content"], "from Ann");
}

#[tokio::test]
async fn only_listed_pages_can_read_answers() {
    let server = Server::start_with(&[("CORS_ORIGINS", "https://app.example")]);
    let api = Api::of(&server);
    for (origin, allowed) in [
        ("https://app.example", "https://app.example"),
        ("https://evil.example", ""),
        ("https://app.example.evil.example", ""),
        ("http://app.example", ""),
        ("null", ""),
    ] {
        for method in ["GET", "OPTIONS"] {
            let headers = [("origin", origin), ("access-control-request-method", "GET")];
            let reply = api.send(method, "/users/me", &headers, None).await;
            assert_eq!(reply.header("access-control-allow-origin"), allowed);
            assert_eq!(reply.header("access-control-allow-credentials"), "");
            assert_eq!(reply.header("set-cookie"), "", "no token travels by itself");
        }
    }
}
