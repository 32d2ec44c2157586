//! `/sync`

use parlance_shared::page;
use serde_json::{Value, json};

use crate::support::{DEVICE, Fake, ID, ME, NOW, PEER};

const PATH: &str = "/api/v1/sync";

fn message(conversation: &str, seq: u64) -> Value {
    json!({"type": "new_message", "conversation_id": conversation, "seq": seq, "content": "a"})
}

fn typing() -> Value {
    json!({"type": "typing_start", "conversation_id": ID, "user_id": PEER})
}

fn ack() -> Value {
    json!({"type": "auth_ack", "user_id": ME})
}

fn complete() -> Value {
    json!({"type": "sync_complete", "total_unread": 2})
}

fn cursor(positions: &Value) -> String {
    page::cursor(positions)
}

fn open() -> Fake {
    Fake::new(|_| Ok(Value::Null))
}

/// A session that has sent all that waits, which is nothing.
fn idle() -> Fake {
    let fake = open();
    fake.script
        .borrow_mut()
        .frame(0, &ack())
        .frame(0, &complete());
    fake
}

async fn poll(fake: &Fake, query: &str) -> Value {
    let answer = fake.ask("GET", &format!("{PATH}{query}"), None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        fake.script.borrow().closed,
        "the session ends with the poll"
    );
    answer.json()
}

fn waited(fake: &Fake) -> u128 {
    fake.clock.get().since(NOW).as_millis()
}

#[tokio::test(flavor = "current_thread")]
async fn what_waits_is_answered_at_once_unpacked_and_without_what_speaks_of_the_session() {
    let fake = open();
    let batch = json!({"type": "batch", "frames": [message(ID, 1), message(ID, 2), typing()]});
    fake.script
        .borrow_mut()
        .frame(0, &ack())
        .frame(2, &batch)
        .frame(4, &message(PEER, 7))
        .frame(4, &json!({"type": "pong"}))
        .frame(5, &complete())
        .frame(6, &message(PEER, 8));
    let page = poll(&fake, "").await;
    assert_eq!(
        page,
        json!({
            "frames": [message(ID, 1), message(ID, 2), typing(), message(PEER, 7)],
            "cursor": cursor(&json!({ID: 2, PEER: 7})),
            "has_more": false,
        })
    );
    assert_eq!(waited(&fake), 5);
    assert_eq!(
        fake.script.borrow().sent,
        [] as [Value; 0],
        "without a cursor nothing is acknowledged"
    );
    assert_eq!(
        fake.made.borrow()[0].request,
        json!({"open_session": {"user_id": ME, "device_id": DEVICE,
            "expires_at": "2025-11-24T17:00:00.000Z", "subprotocol": false, "transport": "poll"}})
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_cursor_acknowledges_all_before_it_and_that_does_not_come_again() {
    let fake = open();
    let given = cursor(&json!({ID: 2, PEER: 7}));
    fake.script
        .borrow_mut()
        .frame(0, &message(ID, 1))
        .frame(0, &message(ID, 2))
        .frame(0, &message(PEER, 8))
        .frame(0, &complete());
    let page = poll(&fake, &format!("?cursor={given}&wait=0")).await;
    assert_eq!(page["frames"], json!([message(PEER, 8)]));
    assert_eq!(page["cursor"], cursor(&json!({PEER: 8})));
    assert_eq!(
        fake.script.borrow().sent,
        [
            json!({"type": "ack", "conversation_id": ID, "up_to_seq": 2}),
            json!({"type": "ack", "conversation_id": PEER, "up_to_seq": 7}),
        ]
    );
}

#[tokio::test(flavor = "current_thread")]
async fn without_news_the_answer_comes_when_the_time_is_over_with_the_same_cursor() {
    let given = cursor(&json!({ID: 2}));
    for (query, seconds) in [
        (format!("?cursor={given}"), 25),
        (format!("?cursor={given}&wait=0"), 0),
        (format!("?cursor={given}&wait=7"), 7),
        (format!("?cursor={given}&wait=9999"), 55),
    ] {
        let fake = idle();
        let page = poll(&fake, &query).await;
        assert_eq!(
            page,
            json!({"frames": [], "cursor": given, "has_more": false})
        );
        assert_eq!(waited(&fake), seconds * 1000, "{query}");
    }
    let fake = idle();
    let page = poll(&fake, "?wait=0").await;
    let first = page["cursor"].as_str().unwrap();
    assert!(!first.is_empty());
    let again = poll(&idle(), &format!("?wait=0&cursor={first}")).await;
    assert_eq!(again["cursor"], page["cursor"]);
}

#[tokio::test(flavor = "current_thread")]
async fn the_first_live_frame_is_answered_with_those_that_come_within_50_ms() {
    let fake = idle();
    fake.script
        .borrow_mut()
        .frame(3000, &message(ID, 3))
        .frame(3020, &message(ID, 4))
        .frame(3050, &typing())
        .frame(3051, &message(ID, 5));
    let page = poll(&fake, "").await;
    assert_eq!(
        page["frames"],
        json!([message(ID, 3), message(ID, 4), typing()])
    );
    assert_eq!(page["cursor"], cursor(&json!({ID: 4})));
    assert_eq!(page["has_more"], false);
    assert_eq!(waited(&fake), 3050);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_known_already_ends_no_wait() {
    let fake = idle();
    fake.script.borrow_mut().frame(1000, &message(ID, 2));
    let query = format!("?wait=5&cursor={}", cursor(&json!({ID: 2})));
    assert_eq!(poll(&fake, &query).await["frames"], json!([]));
    assert_eq!(waited(&fake), 5000);
}

#[tokio::test(flavor = "current_thread")]
async fn a_frame_that_passes_leaves_the_cursor_as_it_was() {
    let fake = idle();
    fake.script.borrow_mut().frame(1000, &typing());
    let given = cursor(&json!({ID: 2}));
    let page = poll(&fake, &format!("?cursor={given}")).await;
    assert_eq!(page["frames"], json!([typing()]));
    assert_eq!(page["cursor"], given);
}

#[tokio::test(flavor = "current_thread")]
async fn a_gap_is_told_once() {
    let gap = json!({"type": "sync_gap", "conversation_id": ID, "from_seq": 3, "head_seq": 9});
    let fake = open();
    fake.script
        .borrow_mut()
        .frame(0, &gap)
        .frame(0, &complete());
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"], json!([gap]));
    assert_eq!(page["cursor"], cursor(&json!({ID: 9})));
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_has_at_most_500_frames_and_the_next_one_has_the_rest() {
    let fake = open();
    let frames: Vec<Value> = (1..=520).map(|seq| message(ID, seq)).collect();
    let fill = |fake: &Fake| {
        let mut script = fake.script.borrow_mut();
        script.arrivals.clear();
        for batch in frames.chunks(65) {
            script.frame(0, &json!({"type": "batch", "frames": batch}));
        }
        script.frame(0, &complete());
    };
    fill(&fake);
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"].as_array().unwrap().len(), 500);
    assert_eq!(page["has_more"], true);
    assert_eq!(page["cursor"], cursor(&json!({ID: 500})));
    fill(&fake);
    let query = format!("?cursor={}", page["cursor"].as_str().unwrap());
    let page = poll(&fake, &query).await;
    assert_eq!(page["frames"], json!(frames[500..]));
    assert_eq!(page["has_more"], false);
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_of_exactly_500_frames_is_the_last() {
    let fake = open();
    let frames: Vec<Value> = (1..=500).map(|seq| message(ID, seq)).collect();
    fake.script
        .borrow_mut()
        .frame(0, &json!({"type": "batch", "frames": frames}))
        .frame(0, &complete());
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"].as_array().unwrap().len(), 500);
    assert_eq!(page["has_more"], false);
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_has_at_most_a_mebibyte_but_always_one_frame() {
    let large = |seq: u64, bytes: usize| {
        let mut message = message(ID, seq);
        message["content"] = json!("x".repeat(bytes));
        message
    };
    let fake = open();
    fake.script
        .borrow_mut()
        .frame(0, &large(1, 2 * 1024 * 1024))
        .frame(0, &large(2, 10))
        .frame(0, &complete());
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"], json!([large(1, 2 * 1024 * 1024)]));
    assert_eq!(page["has_more"], true);

    let fake = open();
    for seq in 1..=20 {
        fake.script.borrow_mut().frame(0, &large(seq, 64 * 1024));
    }
    let page = poll(&fake, "").await;
    assert_eq!(page["cursor"], cursor(&json!({ID: 15})));
    assert_eq!(page["has_more"], true);
}

#[tokio::test(flavor = "current_thread")]
async fn a_cursor_names_64_conversations_and_the_others_come_after_it() {
    let fake = open();
    let id = |number: u64| format!("00000000-0000-4000-8000-{number:012}");
    let frames: Vec<Value> = (0..70).map(|number| message(&id(number), 1)).collect();
    fake.script
        .borrow_mut()
        .frame(0, &json!({"type": "batch", "frames": frames}))
        .frame(0, &complete());
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"].as_array().unwrap().len(), 64);
    assert_eq!(page["has_more"], true);
}

#[tokio::test(flavor = "current_thread")]
async fn bad_parameters_are_named_and_open_nothing() {
    let fake = Fake::idle();
    for (query, field) in [
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("wait=", "wait"),
        ("wait=1&wait=1", "wait"),
        ("cursor=17", "cursor"),
        ("cursor=a&cursor=b", "cursor"),
    ] {
        let answer = fake.ask("GET", &format!("{PATH}?{query}"), None).await;
        assert_eq!(answer.problem(400, "invalid_request"), [field], "{query}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_inbox_that_is_silent_before_it_has_sent_all_is_unavailable() {
    let fake = open();
    fake.script.borrow_mut().frame(0, &ack());
    let answer = fake.ask("GET", PATH, None).await;
    answer.problem(503, "unavailable");
    assert_eq!(waited(&fake), 10_000);

    let fake = open();
    fake.script.borrow_mut().frame(0, &message(ID, 1));
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"], json!([message(ID, 1)]), "what came is good");
    assert_eq!(page["has_more"], true);
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_that_ends_early_loses_nothing() {
    let fake = open();
    fake.script.borrow_mut().close(0, 1012);
    let answer = fake.ask("GET", PATH, None).await;
    answer.problem(503, "unavailable");

    let fake = open();
    fake.script
        .borrow_mut()
        .frame(0, &message(ID, 1))
        .close(0, 1012);
    let page = poll(&fake, "").await;
    assert_eq!(page["frames"], json!([message(ID, 1)]));
    assert_eq!(page["has_more"], true);

    let fake = idle();
    fake.script.borrow_mut().close(1000, 1012);
    let page = poll(&fake, "").await;
    assert_eq!(
        (&page["frames"], &page["has_more"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(waited(&fake), 1000);
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_expires_meanwhile_is_refused() {
    let fake = idle();
    fake.script.borrow_mut().close(1000, 4001);
    let answer = fake.ask("GET", PATH, None).await;
    answer.problem(401, "unauthenticated");

    let fake = idle();
    fake.script
        .borrow_mut()
        .frame(990, &message(ID, 1))
        .close(1000, 4001);
    assert_eq!(poll(&fake, "").await["frames"], json!([message(ID, 1)]));
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_wait_keeps_the_session_alive() {
    let fake = idle();
    poll(&fake, "?wait=55").await;
    assert_eq!(fake.script.borrow().sent, [json!({"type": "ping"})]);
}
