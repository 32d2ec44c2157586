//! Server-Sent Events and long poll: what was missed, what comes, and what was acknowledged.

use parlance_tests::fallback::{EventStream, StreamEvent, poll, poll_until, try_poll};
use parlance_tests::socket::{is_event, seqs};
use parlance_tests::{Server, User, server};
use serde_json::{Value, json};

fn frames(events: &[StreamEvent]) -> Vec<Value> {
    events.iter().map(|event| event.frame.clone()).collect()
}

fn events(frames: &[Value]) -> Vec<Value> {
    let events = frames.iter().filter(|frame| is_event(frame));
    events.cloned().collect()
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let ids = [ann.direct(&bob).await, ann.group("Two", &[&bob]).await];
    let mut expected = 0;
    for id in &ids {
        for number in 0..6 {
            ann.say(id, &format!("{number}")).await;
        }
        let head = ann.head_seq(id).await;
        bob.reached(id, head).await;
        expected += usize::try_from(head).expect("a count");
    }
    let all = |frame: &Value| frame["type"] == "sync_complete";

    let mut stream = EventStream::open(&bob, None).await;
    let first = stream.until(all).await;
    assert_eq!(first[0].frame["type"], "auth_ack");
    assert_eq!(first.last().expect("the end").frame["total_unread"], 12);
    let pending = events(&frames(&first));
    assert_eq!(pending.len(), expected);
    drop(stream);

    let mut stream = EventStream::open(&bob, None).await;
    let again = stream.until(all).await;
    assert_eq!(
        events(&frames(&again)),
        pending,
        "what was not acknowledged comes again"
    );
    drop(stream);

    let seen = again
        .iter()
        .filter(|event| is_event(&event.frame))
        .nth(3)
        .expect("a fourth event");
    let id = seen.id.as_deref().expect("events have an id");
    let mut stream = EventStream::open(&bob, Some(id)).await;
    let rest = stream.until(all).await;
    assert_eq!(events(&frames(&rest)), pending[4..], "exactly the rest");
    let live = ann.say(&ids[0], "live").await;
    let shown = stream
        .until(|frame| frame["message_id"] == live["message_id"])
        .await;
    let last = shown.last().expect("the live one").id.clone();
    drop(stream);
    let mut stream = EventStream::open(&bob, last.as_deref()).await;
    let nothing = stream.until(all).await;
    assert_eq!(events(&frames(&nothing)), [Value::Null; 0]);
    drop(stream);

    // A poll of the same device goes on from there.
    let rest = poll(&bob, None, 0).await;
    assert_eq!(events(&rest.frames), [Value::Null; 0], "one inbox");
}

#[tokio::test]
async fn passing_a_cursor_acknowledges_what_came_before_it() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    for number in 0..6 {
        ann.say(&id, &format!("{number}")).await;
    }
    bob.reached(&id, 6).await;
    let mut from = EventStream::open(&ann, None).await;

    let first = poll(&bob, None, 5).await;
    assert_eq!(seqs(&first.frames).first(), Some(&1));
    let again = poll(&bob, None, 5).await;
    assert_eq!(
        seqs(&again.frames).first(),
        Some(&1),
        "without a cursor nothing is acknowledged"
    );
    let (all, cursor) = poll_until(&bob, None, |frames| seqs(frames).len() >= 6).await;
    assert_eq!(seqs(&all), [1, 2, 3, 4, 5, 6]);
    let empty = poll(&bob, Some(&cursor), 0).await;
    assert_eq!(seqs(&empty.frames), [0; 0]);
    assert!(!empty.has_more);
    let seen = from
        .until(|frame| frame["type"] == "delivery_receipt" && frame["up_to_seq"] == 6)
        .await;
    let receipt = &seen.last().expect("the receipt").frame;
    assert_eq!(receipt["user_id"], bob.id);

    let waiting = tokio::spawn({
        let (bob, cursor) = (bob.clone(), empty.cursor.clone());
        async move { poll_until(&bob, Some(cursor), |frames| !seqs(frames).is_empty()).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    ann.say(&id, "are you there?").await;
    let (woken, cursor) = waiting.await.expect("a poll that waits is answered");
    assert_eq!(seqs(&woken), [7]);
    let (shown, _) = poll_until(&bob, None, |frames| !seqs(frames).is_empty()).await;
    assert_eq!(seqs(&shown), [7], "shown, not acknowledged");
    poll(&bob, Some(&cursor), 0).await;
    assert_eq!(seqs(&poll(&bob, None, 0).await.frames), [0; 0]);
}

#[tokio::test]
async fn fallbacks_are_refused_as_sockets_are() {
    let bob = User::sign_up(server::shared()).await;
    for path in ["/events", "/sync"] {
        let nobody = bob.api.without_token();
        nobody.get(path).await.problem(401, "unauthenticated");
        let post = bob.api.post(path, json!({})).await;
        post.problem(405, "method_not_allowed");
    }
    for query in ["wait=x", "wait=-1", "cursor=nonsense"] {
        let reply = bob.api.get(&format!("/sync?{query}")).await;
        reply.problem(400, "invalid_request");
    }
    bob.api.post("/auth/logout", Value::Null).await.ok(204);
    bob.api.get("/events").await.problem(401, "unauthenticated");
    try_poll(&bob, None, 0)
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_outlives_its_heartbeats() {
    let server = Server::start_with(&[("HEARTBEAT_SECONDS", "2")]);
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    let mut stream = EventStream::open(&bob, None).await;
    stream.until(|frame| frame["type"] == "sync_complete").await;
    // Three heartbeats are missed in the meantime, unless the edge holds it as a client would.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    ann.say(&id, "still there?").await;
    let seen = stream.until(|frame| frame["type"] == "new_message").await;
    assert_eq!(seen.last().expect("the message").frame["seq"], 1);
}
