//! Presence: who is here, for those who may know.

use std::time::Duration;

use parlance_tests::socket::of_type;
use parlance_tests::{PATIENCE, Server, Socket, User, server, uuid};
use serde_json::{Value, json};

/// How long to wait for what should not come.
const QUIET: Duration = Duration::from_millis(1500);

fn subscribe(users: &[&User]) -> Value {
    let ids: Vec<_> = users.iter().map(|user| &user.id).collect();
    json!({"type": "presence_subscribe", "user_ids": ids})
}

fn is_update(frame: &Value, user: &User, status: &str) -> bool {
    frame["type"] == "presence_update"
        && frame["user_id"] == user.id.as_str()
        && frame["status"] == status
}

/// Receives until it is told that this user is online, or offline.
async fn told(socket: &mut Socket, user: &User, status: &str) -> Value {
    socket.until(|frame| is_update(frame, user, status)).await
}

fn updates_on(frames: &[Value], user: &User) -> Vec<Value> {
    let mut updates = of_type(frames, "presence_update");
    updates.retain(|update| update["user_id"] == user.id);
    updates
}

#[tokio::test]
async fn a_subscriber_sees_another_come_and_go() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let laptop = bob.on_another_device().await;
    let (mut watcher, _) = Socket::session(&ann).await;
    watcher.send(&subscribe(&[&bob])).await;
    told(&mut watcher, &bob, "offline").await;

    let (phone_session, _) = Socket::session(&bob).await;
    let online = told(&mut watcher, &bob, "online").await;
    assert_eq!(online["last_seen"], Value::Null, "{online}");
    let (laptop_session, _) = Socket::session(&laptop).await;
    phone_session.close().await;
    let between = watcher.quiet_for(QUIET).await;
    assert_eq!(
        updates_on(&between, &bob)
            .iter()
            .filter(|update| update["status"] == "offline")
            .count(),
        0,
        "one device is enough"
    );
    laptop_session.close().await;
    let offline = told(&mut watcher, &bob, "offline").await;
    let last_seen = offline["last_seen"].as_str().expect("a time");
    assert!(last_seen.ends_with('Z'), "{last_seen}");

    let (mut late, _) = Socket::session(&bob).await;
    told(&mut watcher, &bob, "online").await;
    late.send(&subscribe(&[&ann])).await;
    let now = told(&mut late, &ann, "online").await;
    assert_eq!(now["last_seen"], Value::Null, "how it is now is told");
}

#[tokio::test]
async fn a_new_list_replaces_the_former() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let (mut watcher, _) = Socket::session(&ann).await;
    watcher.send(&subscribe(&[&bob])).await;
    let (bob_session, _) = Socket::session(&bob).await;
    told(&mut watcher, &bob, "online").await;
    watcher.send(&subscribe(&[&eve])).await;
    watcher.quiet_for(QUIET).await;
    let before = watcher.seen.len();
    bob_session.close().await;
    let (eve_session, _) = Socket::session(&eve).await;
    told(&mut watcher, &eve, "online").await;
    watcher.quiet_for(QUIET).await;
    assert_eq!(
        updates_on(&watcher.seen[before..], &bob),
        [Value::Null; 0],
        "no longer followed"
    );

    watcher.send(&subscribe(&[])).await;
    watcher.quiet_for(QUIET).await;
    let before = watcher.seen.len();
    eve_session.close().await;
    watcher.quiet_for(QUIET).await;
    let after = of_type(&watcher.seen[before..], "presence_update");
    assert_eq!(after, [Value::Null; 0], "an empty list follows nobody");
}

#[tokio::test]
async fn each_session_follows_its_own_list() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    let laptop = ann.on_another_device().await;
    let (mut on_phone, _) = Socket::session(&ann).await;
    let (mut on_laptop, _) = Socket::session(&laptop).await;
    on_phone.send(&subscribe(&[&bob])).await;
    on_laptop.send(&subscribe(&[&eve])).await;
    let (_bob_session, _) = Socket::session(&bob).await;
    let (_eve_session, _) = Socket::session(&eve).await;
    told(&mut on_phone, &bob, "online").await;
    told(&mut on_laptop, &eve, "online").await;
    on_phone.quiet_for(QUIET).await;
    on_laptop.settled().await;
    assert_eq!(updates_on(&on_phone.seen, &eve), [Value::Null; 0]);
    assert_eq!(updates_on(&on_laptop.seen, &bob), [Value::Null; 0]);
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_and_the_former_holds() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    let (mut watcher, _) = Socket::session(&ann).await;
    watcher.send(&subscribe(&[&bob])).await;
    told(&mut watcher, &bob, "offline").await;
    let many: Vec<_> = (0..201).map(|_| uuid()).collect();
    watcher
        .send(&json!({"type": "presence_subscribe", "user_ids": many}))
        .await;
    let error = watcher.until_type("error").await;
    assert_eq!(error["code"], "invalid_request", "{error}");
    let (_session, _) = Socket::session(&bob).await;
    told(&mut watcher, &bob, "online").await;

    // As many as are allowed, of whom but one exists.
    let mut many = many[..199].to_vec();
    many.push(bob.id.clone());
    watcher
        .send(&json!({"type": "presence_subscribe", "user_ids": many}))
        .await;
    told(&mut watcher, &bob, "online").await;
    watcher.settled().await;
    for update in of_type(&watcher.seen, "presence_update") {
        assert!(
            update["user_id"] == bob.id.as_str() || update["status"] == "offline",
            "nobody is not online: {update}"
        );
    }

    let (mut attached, _) = Socket::open(&ann, &id).await;
    attached.send(&subscribe(&[&bob])).await;
    let error = attached.recv().await;
    assert_eq!(error["type"], "error", "that is for sessions: {error}");
    assert_eq!(error["code"], "invalid_request", "{error}");
}

#[tokio::test]
async fn who_wants_to_be_seen_by_nobody_is_not() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    bob.set_privacy("last_seen", json!("nobody")).await;
    let id = ann.direct(&bob).await;
    let (mut watcher, _) = Socket::session(&ann).await;
    watcher.send(&subscribe(&[&bob, &eve])).await;
    let (bob_session, _) = Socket::session(&bob).await;
    let (_eve_session, _) = Socket::session(&eve).await;
    told(&mut watcher, &eve, "online").await;
    // Writing to each other does not change it.
    bob.say(&id, "hello").await;
    ann.say(&id, "hello").await;
    watcher.quiet_for(QUIET).await;
    watcher.send(&subscribe(&[&eve, &bob])).await;
    watcher.quiet_for(QUIET).await;
    bob_session.close().await;
    watcher.quiet_for(QUIET).await;
    for update in updates_on(&watcher.seen, &bob) {
        assert_eq!(update["status"], "offline", "{update}");
        assert_eq!(update["last_seen"], Value::Null, "{update}");
    }
}

#[tokio::test]
async fn contacts_see_what_others_do_not() {
    let [ann, bob, eve] = User::sign_up_all(server::shared()).await;
    bob.set_privacy("last_seen", json!("contacts")).await;
    // A group makes no contacts, nor does a direct conversation in which nobody has written.
    ann.group("Three", &[&bob, &eve]).await;
    eve.direct(&bob).await;
    let id = ann.direct(&bob).await;
    bob.say(&id, "hello").await;
    ann.say(&id, "hello").await;
    for user in [&ann, &bob] {
        user.reached(&id, 2).await;
    }
    let (mut contact, _) = Socket::session(&ann).await;
    let (mut other, _) = Socket::session(&eve).await;
    contact.send(&subscribe(&[&bob])).await;
    other.send(&subscribe(&[&bob, &ann])).await;
    told(&mut other, &ann, "online").await;
    let (session, _) = Socket::session(&bob).await;
    told(&mut contact, &bob, "online").await;
    session.close().await;
    let offline = told(&mut contact, &bob, "offline").await;
    assert!(offline["last_seen"].is_string(), "{offline}");
    other.quiet_for(QUIET).await;
    for update in updates_on(&other.seen, &bob) {
        assert_eq!(update["status"], "offline", "{update}");
        assert_eq!(update["last_seen"], Value::Null, "{update}");
    }
}

#[tokio::test]
async fn a_subscription_outlives_the_sleep_of_the_object() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let (mut watcher, _) = Socket::session(&ann).await;
    watcher.send(&subscribe(&[&bob])).await;
    told(&mut watcher, &bob, "offline").await;
    // The runtime evicts an object about ten seconds after its last event.
    tokio::time::sleep(Duration::from_secs(14)).await;
    let (session, _) = Socket::session(&bob).await;
    told(&mut watcher, &bob, "online").await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    session.close().await;
    told(&mut watcher, &bob, "offline").await;
}

#[tokio::test]
async fn one_who_falls_silent_is_closed_and_offline_and_one_who_pings_stays() {
    let server = Server::start_with(&[("HEARTBEAT_SECONDS", "2")]);
    let [ann, bob] = User::sign_up_all(&server).await;
    let (mut watcher, opening) = Socket::session(&ann).await;
    assert_eq!(opening.hello["heartbeat_seconds"], 2);
    watcher.send(&subscribe(&[&bob])).await;
    let (mut silent, _) = Socket::session(&bob).await;
    told(&mut watcher, &bob, "online").await;
    let closed = silent.close_code();
    let offline = async {
        loop {
            watcher.send(&json!({"type": "ping"})).await;
            let seen = watcher.quiet_for(Duration::from_millis(300)).await;
            if seen.iter().any(|frame| is_update(frame, &bob, "offline")) {
                break;
            }
        }
    };
    let (code, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(closed, offline) })
        .await
        .expect("the silent session is closed");
    assert_eq!(code, Some(4008));
}
