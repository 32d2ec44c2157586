//! Typing: shown to those who are there, and to nobody else.

use std::time::Duration;

use parlance_tests::socket::{of_type, typing};
use parlance_tests::{Socket, User, server, uuid};
use serde_json::{Value, json};

/// How long to wait for what should not come.
const QUIET: Duration = Duration::from_millis(1500);
/// The least time between two signals of a member, and a little.
const INTERVAL: Duration = Duration::from_millis(3500);

fn notices(frames: &[Value]) -> Vec<Value> {
    let mut all = of_type(frames, "typing_start");
    all.extend(of_type(frames, "typing_stop"));
    all
}

#[tokio::test]
async fn typing_is_shown_to_the_other_side_only_and_not_too_often() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let (ann_laptop, bob_laptop) = tokio::join!(ann.on_another_device(), bob.on_another_device());
    let id = ann.direct(&bob).await;
    let (mut writer, _) = Socket::session(&bob).await;
    let (mut writer_laptop, _) = Socket::session(&bob_laptop).await;
    let (mut reader, _) = Socket::session(&ann).await;
    let (mut reader_laptop, _) = Socket::session(&ann_laptop).await;
    let start = typing("typing_start", &id);
    writer.send_all(&[start.clone(), start]).await;
    for socket in [&mut reader, &mut reader_laptop] {
        let shown = socket.until_type("typing_start").await;
        assert_eq!(
            shown,
            json!({"type": "typing_start", "conversation_id": id, "user_id": bob.id})
        );
    }
    reader.quiet_for(INTERVAL).await;
    assert_eq!(notices(&reader.seen).len(), 1, "{:?}", reader.seen);

    writer.send(&typing("typing_stop", &id)).await;
    let shown = reader.until_type("typing_stop").await;
    assert_eq!(shown["user_id"], bob.id);
    for socket in [&mut writer, &mut writer_laptop] {
        socket.settled().await;
        assert_eq!(
            notices(&socket.seen),
            [Value::Null; 0],
            "not to the writer's own"
        );
    }
    assert_eq!(ann.head_seq(&id).await, 0, "nothing is stored");
    writer.send(&typing("typing_start", &uuid())).await;
    writer.quiet_for(QUIET).await;
    writer.settled().await;
}

#[tokio::test]
async fn typing_goes_between_sessions_and_conversations_sockets() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = ann.on_another_device().await;
    let id = ann.direct(&bob).await;
    let (mut attached, _) = Socket::open(&ann, &id).await;
    let (mut same_device, _) = Socket::session(&ann).await;
    let (mut on_laptop, _) = Socket::session(&laptop).await;
    let (mut session, _) = Socket::session(&bob).await;

    session.send(&typing("typing_start", &id)).await;
    for socket in [&mut attached, &mut on_laptop] {
        assert_eq!(socket.until_type("typing_start").await["user_id"], bob.id);
    }
    attached.send(&typing("typing_start", &id)).await;
    assert_eq!(session.until_type("typing_start").await["user_id"], ann.id);
    same_device.quiet_for(QUIET).await;
    attached.settled().await;
    let seen = notices(&same_device.seen).len() + notices(&attached.seen).len();
    assert_eq!(seen, 1, "a device is told once, and not of itself");
}

#[tokio::test]
async fn large_groups_show_no_typing() {
    let users = User::sign_up_many(server::shared(), 21).await;
    let ann = &users[0];
    let others: Vec<_> = users[1..].iter().collect();
    let large = ann.group("Twenty-one", &others).await;
    let small = ann.group("Twenty", &others[..19]).await;
    let (mut writer, _) = Socket::session(&users[1]).await;
    let (mut reader, _) = Socket::session(ann).await;
    let (mut attached, _) = Socket::open(&users[2], &large).await;
    writer
        .send_all(&[
            typing("typing_start", &large),
            typing("typing_start", &small),
        ])
        .await;
    let shown = reader.until_type("typing_start").await;
    assert_eq!(shown["conversation_id"], small);
    reader.quiet_for(QUIET).await;
    attached.settled().await;
    let shown = [notices(&reader.seen), notices(&attached.seen)].concat();
    assert_eq!(shown.len(), 1, "{shown:?}");
    writer.settled().await;
}
