//! What the hostile try on sockets, and do not get.

use std::time::Duration;

use parlance_tests::scene::Scene;
use parlance_tests::socket::{ack, read, send_message, typing};
use parlance_tests::strangers::Strangers;
use parlance_tests::token::{Key, claims, encode, unsigned};
use parlance_tests::{Server, Socket, User, from_now, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn no_socket_opens_for_one_who_is_not_a_member() {
    let strangers = Strangers::set(&from_now(Duration::from_secs(86_400))).await;
    let before = strangers.state().await;
    let mut tried = 0;
    for attempt in strangers.attempts() {
        if attempt.path.ends_with("/ws") {
            let bearer = format!("Bearer {}", attempt.user.token());
            let headers = [("authorization", bearer.as_str())];
            let status = Socket::refusal(&attempt.user.api, &attempt.path, &headers).await;
            assert_eq!(status, attempt.status, "{}", attempt.persona);
            tried += 1;
        }
    }
    assert_eq!(tried, 2);
    assert_eq!(strangers.state().await, before);
}

/// Every frame that names a conversation.
fn frames(conversation: &str, message: &Value) -> Vec<Value> {
    let about = |kind: &str, fields: Value| {
        let mut frame = fields;
        frame["type"] = json!(kind);
        frame["conversation_id"] = json!(conversation);
        frame["message_id"] = message.clone();
        frame["client_msg_id"] = json!(uuid());
        frame
    };
    vec![
        send_message(conversation, &uuid(), "let me in"),
        about("edit_message", json!({"content": "I wrote this"})),
        about("delete_message", json!({})),
        about("delete_message", json!({"for": "me"})),
        about("react", json!({"emoji": "👍"})),
        about("pin", json!({})),
        about("poll_vote", json!({"options": [0]})),
        about("poll_close", json!({})),
        ack(conversation, 1),
        read(conversation, 1),
        typing("typing_start", conversation),
        json!({"type": "sync", "conversation_id": conversation, "after_seq": 0}),
    ]
}

#[tokio::test]
async fn a_frame_about_another_s_conversation_gets_nothing_and_does_nothing() {
    let scene = Scene::set().await;
    let secret = scene.owner.say(&scene.direct, "only for the peer").await;
    scene.peer.reached(&scene.direct, 2).await;
    let before = scene.state().await;
    let own = scene.stranger.direct(&scene.peer).await;
    scene.stranger.say(&own, "mine").await;
    let (mut session, _) = Socket::session(&scene.stranger).await;
    let (mut conversation, _) = Socket::open(&scene.stranger, &own).await;
    let frames = frames(&scene.direct, &secret["message_id"]);
    for socket in [&mut session, &mut conversation] {
        for frame in &frames {
            socket.send(frame).await;
            for answer in socket.settled().await {
                // What was said in one's own conversation goes on coming.
                if answer["conversation_id"] == own {
                    continue;
                }
                let told = format!("{frame} was answered {answer}");
                assert_eq!(answer["type"], "error", "{told}");
                assert!(!answer.to_string().contains("only for the peer"), "{told}");
                let silent = ["not_found", "invalid_request"];
                assert!(silent.iter().any(|code| answer["code"] == *code), "{told}");
            }
        }
        let one = uuid();
        socket.send(&send_message(&own, &one, "still here")).await;
        let acked = socket.until_type("msg_ack").await;
        assert_eq!(acked["client_msg_id"], one);
    }
    let head = scene.owner.head_seq(&scene.direct).await;
    assert_eq!(json!(head), before[0]);
    let page = scene.owner.events(&scene.direct, 0).await;
    assert_eq!(page.last().expect("events")["content"], "only for the peer");
    let message = format!(
        "/conversations/{}/messages/{}",
        scene.direct,
        secret["message_id"].as_str().expect("an id")
    );
    let message = scene.owner.api.get(&message).await.ok(200);
    assert!(message.get("reactions").is_none() && message.get("is_pinned").is_none());
    let info = scene.peer.item(&scene.direct).await.expect("it is listed");
    assert_eq!(info["unread"], 2, "a stranger reads for nobody: {info}");
}

#[tokio::test]
async fn presence_of_one_who_hides_it_is_not_told_on_a_socket() {
    let scene = Scene::set().await;
    scene.owner.set_privacy("last_seen", json!("nobody")).await;
    let (_here, _) = Socket::session(&scene.owner).await;
    let (mut socket, _) = Socket::session(&scene.stranger).await;
    let ids = json!([scene.owner.id]);
    socket
        .send(&json!({"type": "presence_subscribe", "user_ids": ids}))
        .await;
    let shown = socket.until_type("presence_update").await;
    assert_eq!(shown["status"], "offline");
    assert_eq!(shown["last_seen"], Value::Null);
}

#[tokio::test]
async fn no_forged_token_opens_a_socket() {
    let server = Server::start();
    let user = User::sign_up(&server).await;
    let (id, device) = (user.id.as_str(), user.device_id());
    let (key, good) = (Key::first(), claims(id, device, 600));
    let none = json!({"alg": "none", "typ": "JWT", "kid": key.kid});
    let hmac = json!({"alg": "HS256", "typ": "JWT", "kid": key.kid});
    let mut other_audience = good.clone();
    other_audience["aud"] = json!("another");
    let forged = [
        format!("{}.", unsigned(&none, &good)),
        key.sign(&none, &good),
        format!("{}.{}", unsigned(&hmac, &good), encode(&[7; 32])),
        Key::new("test9", 0x11).token(id, device, 600),
        Key::new("test1", 0x99).token(id, device, 600),
        key.token(id, device, -1),
        key.sign(&key.header(), &other_audience),
    ];
    let offer = |token: &str| format!("parlance.v1, bearer.{token}");
    for path in ["/ws".to_owned(), format!("/conversations/{}/ws", uuid())] {
        for token in &forged {
            let bearer = format!("Bearer {token}");
            for header in [
                ("authorization", bearer.as_str()),
                ("sec-websocket-protocol", &offer(token)),
            ] {
                assert_eq!(Socket::refusal(&user.api, &path, &[header]).await, 401);
            }
        }
    }
    let good = offer(&key.sign(&key.header(), &good));
    let opened = Socket::upgrade(&user.api, "/ws", &[("sec-websocket-protocol", &good)]).await;
    opened.expect("the forger is sound: a good token opens it");
}

#[tokio::test]
async fn where_origins_are_listed_no_other_page_opens_a_socket() {
    let server = Server::start_with(&[("CORS_ORIGINS", "https://app.example")]);
    let user = User::sign_up(&server).await;
    let bearer = format!("Bearer {}", user.token());
    let own = server.url();
    for (origin, opens) in [
        ("https://app.example", true),
        (own, true),
        ("https://evil.example", false),
        ("https://app.example.evil.example", false),
        ("http://app.example", false),
        ("null", false),
    ] {
        let headers = [("authorization", bearer.as_str()), ("origin", origin)];
        match Socket::upgrade(&user.api, "/ws", &headers).await {
            Ok(socket) => {
                assert!(opens, "{origin} opened a socket");
                socket.close().await;
            }
            Err(refused) => assert!(!opens && refused.status == 403, "{origin}: {refused:?}"),
        }
    }
    let headers = [("authorization", bearer.as_str())];
    let opened = Socket::upgrade(&user.api, "/ws", &headers).await;
    opened.expect("who is no browser sends no origin");
}
