//! Server-Sent Events and long poll show the same frames as a socket, from the same inbox.

use parlance_tests::fallback::{EventStream, StreamEvent, poll, poll_until};
use parlance_tests::socket::is_event;
use parlance_tests::{Socket, User, server};
use serde_json::Value;

fn frames(events: &[StreamEvent]) -> Vec<Value> {
    events.iter().map(|event| event.frame.clone()).collect()
}

fn events(frames: &[Value]) -> Vec<Value> {
    let events = frames.iter().filter(|frame| is_event(frame));
    events.cloned().collect()
}

#[tokio::test]
async fn stream_and_poll_show_the_frames_of_a_socket() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let streaming = bob.on_another_device().await;
    let polling = bob.on_another_device().await;
    let direct = ann.direct(&bob).await;
    let group = ann.group("Two", &[&bob]).await;
    let head = ann.head_seq(&group).await;
    bob.reached(&group, head).await;
    // From the first connection on, a device has a position.
    let (mut socket, _) = Socket::session(&bob).await;
    let mut stream = EventStream::open(&streaming, None).await;
    stream.until(|frame| frame["type"] == "sync_complete").await;
    let begun = poll(&polling, None, 0).await;

    let mut last = Value::Null;
    for number in 0..20 {
        let user = if number % 3 == 0 { &bob } else { &ann };
        for id in [&direct, &group] {
            last = user.say(id, &format!("{number}")).await;
        }
    }
    socket
        .until(|frame| frame["message_id"] == last["message_id"])
        .await;
    let complete = |frames: &[Value]| {
        let heads: Vec<_> = [(&direct, 20), (&group, head + 20)].into();
        heads.iter().all(|(id, head)| {
            frames
                .iter()
                .any(|frame| frame["conversation_id"] == id.as_str() && frame["seq"] == *head)
        })
    };
    while !complete(&socket.seen) {
        socket.recv().await;
    }
    let mut streamed = Vec::new();
    while !complete(&streamed) {
        streamed.push(stream.recv().await.frame);
    }
    let (polled, _) = poll_until(&polling, Some(begun.cursor), complete).await;
    for id in [&direct, &group] {
        let of = |frames: &[Value]| {
            let mut events = events(frames);
            events.retain(|event| {
                event["conversation_id"] == id.as_str() && event["type"] == "new_message"
            });
            events
        };
        assert_eq!(of(&socket.seen).len(), 20);
        assert_eq!(of(&streamed), of(&socket.seen));
        assert_eq!(of(&polled), of(&socket.seen));
    }

    // Receipts, too, and they come to whoever reads them.
    let read = ann.events(&direct, 0).await.len() as u64;
    ann.mark_read(&direct, read).await.ok(200);
    let is_receipt = |frame: &Value| frame["type"] == "read_receipt";
    let by_socket = socket.until(is_receipt).await;
    let by_stream = stream.until(is_receipt).await;
    assert_eq!(frames(&by_stream).last(), Some(&by_socket));
}
