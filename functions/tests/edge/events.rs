//! `/events`

use futures_util::StreamExt as _;
use parlance_shared::page;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, NOW, PEER, Read, request};

const PATH: &str = "/api/v1/events";

fn message(conversation: &str, seq: u64) -> Value {
    json!({"type": "new_message", "conversation_id": conversation, "seq": seq, "content": "a\nb"})
}

fn cursor(positions: &Value) -> String {
    page::cursor(positions)
}

fn open() -> Fake {
    Fake::new(|_| Ok(Value::Null))
}

/// An event as a client reads it (HTML standard, section 9.2.6).
#[derive(Debug, Default, PartialEq)]
struct Event {
    id: Option<String>,
    data: Option<Value>,
    retry: Option<String>,
    comment: Option<String>,
}

fn parse(piece: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(piece).unwrap();
    assert!(text.ends_with("\n\n"), "a piece is whole events: {text:?}");
    let mut events = Vec::new();
    for block in text.trim_end().split("\n\n") {
        let mut event = Event::default();
        for line in block.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            let value = value.to_owned();
            match field {
                "id" => event.id = Some(value),
                "data" => event.data = Some(serde_json::from_str(&value).unwrap()),
                "retry" => event.retry = Some(value),
                "" => event.comment = Some(value),
                other => panic!("unexpected: {other}"),
            }
        }
        events.push(event);
    }
    events
}

/// The next events of a stream; none at its end.
async fn next(answer: &mut Read) -> Vec<Event> {
    let piece = answer.pieces.as_mut().unwrap().next().await;
    piece.map(|piece| parse(&piece)).unwrap_or_default()
}

#[tokio::test(flavor = "current_thread")]
async fn each_frame_is_an_event_and_those_of_conversations_have_a_cursor_as_their_id() {
    let fake = open();
    let (ack, complete) = (
        json!({"type": "auth_ack", "user_id": ME}),
        json!({"type": "sync_complete", "total_unread": 2}),
    );
    let typing = json!({"type": "typing_start", "conversation_id": ID, "user_id": PEER});
    let batch = json!({"type": "batch", "frames": [message(ID, 1), message(PEER, 9)]});
    fake.script
        .borrow_mut()
        .frame(0, &ack)
        .frame(0, &batch)
        .frame(0, &complete)
        .frame(5, &json!({"type": "pong"}))
        .frame(10, &typing)
        .frame(20, &message(ID, 2));
    let mut answer = fake.ask("GET", PATH, None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(next(&mut answer).await[0].retry.as_deref(), Some("2000"));
    let event = |data: &Value, id: Option<&Value>| Event {
        id: id.map(cursor),
        data: Some(data.clone()),
        ..Event::default()
    };
    assert_eq!(next(&mut answer).await, [event(&ack, None)]);
    assert_eq!(
        next(&mut answer).await,
        [
            event(&message(ID, 1), Some(&json!({ID: 1}))),
            event(&message(PEER, 9), Some(&json!({ID: 1, PEER: 9}))),
        ]
    );
    assert_eq!(next(&mut answer).await, [event(&complete, None)]);
    assert_eq!(next(&mut answer).await, [event(&typing, None)]);
    assert_eq!(
        next(&mut answer).await,
        [event(&message(ID, 2), Some(&json!({ID: 2, PEER: 9})))]
    );
    let made = fake.made.borrow();
    assert_eq!(made[0].name, ME);
    assert_eq!(
        made[0].request,
        json!({"open_session": {"user_id": ME, "device_id": DEVICE,
            "expires_at": "2025-11-24T17:00:00.000Z", "subprotocol": false, "transport": "stream"}})
    );
    assert_eq!(fake.script.borrow().sent, [] as [Value; 0]);
}

#[tokio::test(flavor = "current_thread")]
async fn the_last_event_id_acknowledges_and_what_it_covers_does_not_come_again() {
    let acknowledged = cursor(&json!({ID: 5, PEER: 2}));
    let by_header = {
        let fake = open();
        let mut request = request("GET", PATH, Some(&fake.token()), None);
        let value = acknowledged.parse().unwrap();
        request.headers_mut().insert("last-event-id", value);
        (fake, request)
    };
    let by_query = {
        let fake = open();
        let path = format!("{PATH}?last_event_id={acknowledged}");
        let request = request("GET", &path, Some(&fake.token()), None);
        (fake, request)
    };
    for (fake, request) in [by_header, by_query] {
        let mut answer = fake.respond(request).await;
        assert_eq!(
            fake.script.borrow().sent,
            [
                json!({"type": "ack", "conversation_id": ID, "up_to_seq": 5}),
                json!({"type": "ack", "conversation_id": PEER, "up_to_seq": 2}),
            ],
            "before anything is read"
        );
        // What the user object had sent before it read the acknowledgements.
        let batch = json!({"type": "batch", "frames":
            [message(ID, 4), message(ID, 5), message(ID, 6), message(PEER, 2)]});
        fake.script.borrow_mut().frame(0, &batch);
        next(&mut answer).await;
        let events = next(&mut answer).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].data, Some(message(ID, 6)));
        let id = events[0].id.clone();
        assert_eq!(id, Some(cursor(&json!({ID: 6}))), "only what is new");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_cursor_is_refused_and_opens_nothing() {
    let fake = Fake::idle();
    for query in ["last_event_id=17", "last_event_id=a&last_event_id=b"] {
        let answer = fake.ask("GET", &format!("{PATH}?{query}"), None).await;
        assert_eq!(answer.problem(400, "invalid_request"), ["last_event_id"]);
    }
    let mut request = request("GET", PATH, Some(&fake.token()), None);
    let value = http::HeaderValue::from_bytes(b"\xff").unwrap();
    request.headers_mut().insert("last-event-id", value);
    let answer = fake.respond(request).await;
    assert_eq!(answer.problem(400, "invalid_request"), ["last_event_id"]);
}

#[tokio::test(flavor = "current_thread")]
async fn silence_is_broken_by_comments_and_the_session_kept_alive() {
    let fake = open();
    fake.script.borrow_mut().frame(100_000, &message(ID, 1));
    let mut answer = fake.ask("GET", PATH, None).await;
    next(&mut answer).await;
    for count in 1..=6 {
        let events = next(&mut answer).await;
        assert_eq!(events[0].comment.as_deref(), Some("ping"));
        let silence = fake.clock.get().since(NOW).as_secs();
        assert_eq!(silence, 15 * count, "within 15 to 25 s");
    }
    assert_eq!(next(&mut answer).await[0].data, Some(message(ID, 1)));
    let ping = json!({"type": "ping"});
    assert_eq!(
        fake.script.borrow().sent,
        [ping.clone(), ping.clone(), ping]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_client_that_goes_takes_its_session_along() {
    let fake = open();
    let mut answer = fake.ask("GET", PATH, None).await;
    next(&mut answer).await;
    assert!(!fake.script.borrow().closed);
    drop(answer);
    assert!(fake.script.borrow().closed);
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_expires_ends_the_stream_with_an_error() {
    let fake = open();
    fake.script
        .borrow_mut()
        .frame(0, &message(ID, 1))
        .close(1000, 4001);
    let mut answer = fake.ask("GET", PATH, None).await;
    next(&mut answer).await;
    assert!(next(&mut answer).await[0].id.is_some());
    let events = next(&mut answer).await;
    let data = events[0].data.as_ref().unwrap();
    assert_eq!(
        (&data["type"], &data["code"]),
        (&json!("error"), &json!("unauthenticated"))
    );
    assert_eq!(events[0].id, None);
    assert_eq!(next(&mut answer).await, []);
    assert!(fake.script.borrow().closed);
}

#[tokio::test(flavor = "current_thread")]
async fn who_was_told_why_the_stream_ends_is_not_told_again() {
    let fake = open();
    let farewell = json!({"type": "error", "code": "unauthenticated", "detail": "Signed out."});
    fake.script.borrow_mut().frame(0, &farewell).close(0, 4001);
    let mut answer = fake.ask("GET", PATH, None).await;
    next(&mut answer).await;
    let events = next(&mut answer).await;
    assert_eq!(events[0].data.as_ref(), Some(&farewell));
    assert_eq!(next(&mut answer).await, []);
}

#[tokio::test(flavor = "current_thread")]
async fn any_other_end_ends_the_stream_and_the_client_comes_again() {
    for code in [1006, 1012, 4008, 4029] {
        let fake = open();
        fake.script.borrow_mut().close(0, code);
        let mut answer = fake.ask("GET", PATH, None).await;
        next(&mut answer).await;
        assert_eq!(next(&mut answer).await, []);
        assert!(fake.script.borrow().closed);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_cursor_sends_the_client_round_at_once() {
    let fake = open();
    let id = |number: u64| format!("00000000-0000-4000-8000-{number:012}");
    let frames: Vec<Value> = (0..70).map(|number| message(&id(number), 1)).collect();
    fake.script
        .borrow_mut()
        .frame(0, &json!({"type": "batch", "frames": frames}));
    let mut answer = fake.ask("GET", PATH, None).await;
    next(&mut answer).await;
    let events = next(&mut answer).await;
    assert_eq!(events.len(), 65);
    assert_eq!(events[64].retry.as_deref(), Some("0"));
    assert_eq!(next(&mut answer).await, []);
    assert!(fake.script.borrow().closed);

    // With what it has, it gets the rest.
    fake.script
        .borrow_mut()
        .frame(0, &json!({"type": "batch", "frames": frames}));
    let path = format!("{PATH}?last_event_id={}", events[63].id.as_ref().unwrap());
    let mut answer = fake.ask("GET", &path, None).await;
    next(&mut answer).await;
    let rest = next(&mut answer).await;
    let seen: Vec<&Value> = rest
        .iter()
        .map(|event| &event.data.as_ref().unwrap()["conversation_id"])
        .collect();
    assert_eq!(
        seen,
        (64..70)
            .map(|n| json!(id(n)))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "current_thread")]
async fn the_token_may_stand_in_the_query_here_and_nowhere_else() {
    let fake = open();
    let token = fake.token();
    let with_token = |path: &str| format!("{path}?access_token={token}");
    let answer = fake.ask_anonymously("GET", &with_token(PATH), None).await;
    assert_eq!(answer.status, 200);
    assert!(!fake.log().contains(&token) && !fake.log().contains("access_token"));
    for path in ["/api/v1/sync", "/api/v1/ws", "/api/v1/users/me"] {
        let answer = fake.ask_anonymously("GET", &with_token(path), None).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let wrong = format!("{PATH}?access_token=nonsense");
    let answer = fake.ask_anonymously("GET", &wrong, None).await;
    answer.problem(401, "unauthenticated");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_of_a_listed_origin_may_read_the_stream() {
    let fake = open().with(&[("CORS_ORIGINS", "https://app.example")]);
    let mut request = request("GET", PATH, Some(&fake.token()), None);
    let origin = "https://app.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    let answer = fake.respond(request).await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn head_tells_of_the_stream_and_opens_no_session() {
    let fake = Fake::idle();
    for (path, content_type) in [
        (PATH, "text/event-stream"),
        ("/api/v1/sync", "application/json"),
    ] {
        let answer = fake.ask("HEAD", path, None).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert!(answer.pieces.is_none());
        assert_eq!(answer.header("content-type"), content_type);
    }
}
