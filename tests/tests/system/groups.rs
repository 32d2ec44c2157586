//! Who comes and goes is seen by the others live, by who was away when they come back, and in the
//! history: the same in all three. Who is kept out is so on sockets at once.

use std::time::Duration;

use parlance_tests::scene::pair;
use parlance_tests::socket::{ack, events_of, of_type, send_message};
use parlance_tests::{ADMIN_TOKEN, Api, Socket, User, server, uuid};
use serde_json::{Value, json};

fn member(id: &str, user: &User) -> String {
    format!("/conversations/{id}/members/{}", user.id)
}

async fn event(socket: &mut Socket, seq: u64) -> Value {
    socket.until(|frame| frame["seq"] == seq).await
}

#[tokio::test]
async fn changes_of_a_group_are_seen_alike_live_later_and_in_the_history() {
    let [ann, bob, eve, dan] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob, &eve]).await;
    for user in [&bob, &eve] {
        user.reached(&id, 1).await;
    }
    let (mut away, _) = Socket::session(&eve).await;
    away.send(&ack(&id, 1)).await;
    away.settled().await;
    away.close().await;
    let (mut session, _) = Socket::session(&ann).await;
    let (mut there, _) = Socket::open(&bob, &id).await;
    let path = format!("/conversations/{id}");
    let api = &ann.api;
    let add = json!({"user_ids": [dan.id]});
    api.post(&format!("{path}/members"), add).await.ok(200);
    let role = json!({"role": "admin"});
    api.ask("PATCH", &member(&id, &bob), role).await.ok(200);
    api.ask("PATCH", &path, json!({"name": "Runners"}))
        .await
        .ok(200);
    dan.reached(&id, 4).await;
    bob.api
        .ask("DELETE", &member(&id, &dan), Value::Null)
        .await
        .ok(204);
    let owner = json!({"role": "owner"});
    api.ask("PATCH", &member(&id, &bob), owner).await.ok(200);
    ann.say(&id, "done").await;
    event(&mut session, 7).await;
    event(&mut there, 7).await;
    let name_free = |events: Vec<Value>| -> Vec<Value> {
        let mut events = events;
        for event in &mut events {
            event
                .as_object_mut()
                .expect("an event")
                .remove("client_msg_id");
        }
        events
    };
    // It had not acknowledged the first when it came.
    session.seen.retain(|frame| frame["seq"] != 1);
    let history = name_free(eve.events(&id, 1).await);
    assert_eq!(history.len(), 6);
    assert_eq!(
        name_free(events_of(&session.seen, &id)),
        history,
        "on a session"
    );
    assert_eq!(
        name_free(events_of(&there.seen, &id)),
        history,
        "on its own socket"
    );
    let (_, opening) = Socket::session(&eve).await;
    assert_eq!(
        name_free(events_of(&opening.pending, &id)),
        history,
        "later"
    );
}

#[tokio::test]
async fn one_who_is_removed_is_out_at_once_and_hears_nothing_more() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob]).await;
    bob.reached(&id, 1).await;
    let elsewhere = bob.on_another_device().await;
    let away = bob.on_another_device().await;
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&elsewhere).await;
    let (ann_there, _) = Socket::open(&ann, &id).await;
    ann.say(&id, "one").await;
    event(&mut session, 2).await;
    event(&mut here, 2).await;
    ann.api
        .ask("DELETE", &member(&id, &bob), Value::Null)
        .await
        .ok(204);
    assert_eq!(here.close_code().await, Some(4003));
    let last = events_of(&here.seen, &id).pop().expect("an event");
    assert_eq!(last["type"], "member_removed", "it is shown why");
    assert_eq!(event(&mut session, 3).await, last);
    ann.say(&id, "two").await;
    ann.say(&id, "three").await;
    let more = session.quiet_for(Duration::from_millis(800)).await;
    assert_eq!(events_of(&more, &id), [] as [Value; 0], "{more:?}");
    let bearer = format!("Bearer {}", bob.token());
    let path = format!("/conversations/{id}/ws");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(Socket::refusal(&bob.api, &path, &headers).await, 404);
    // On a session too, all that it could say there is refused.
    session.send(&send_message(&id, &uuid(), "let me in")).await;
    let refused = session.until_type("error").await;
    assert_eq!(refused["code"], "not_found");
    // A device that was away the whole time hears that, and nothing of before or after.
    let (mut later, opening) = Socket::session(&away).await;
    assert_eq!(
        events_of(&opening.pending, &id),
        std::slice::from_ref(&last)
    );
    assert_eq!(opening.total_unread, 0);
    later.send(&ack(&id, 3)).await;
    later.settled().await;
    later.close().await;
    let (mut again, opening) = Socket::session(&away).await;
    assert_eq!(events_of(&opening.pending, &id), [] as [Value; 0]);
    // It comes in again, and goes on from there.
    let add = json!({"user_ids": [bob.id]});
    ann.api
        .post(&format!("/conversations/{id}/members"), add)
        .await
        .ok(200);
    ann.say(&id, "four").await;
    let back = event(&mut again, 6).await;
    assert_eq!(back["type"], "member_added");
    assert_eq!(event(&mut again, 7).await["content"], "four");
    event(&mut session, 7).await;
    let (mut here, _) = Socket::open_after(&bob, &id, 0).await;
    event(&mut here, 7).await;
    assert_eq!(events_of(&here.seen, &id).len(), 2, "nothing of before");
    drop(ann_there);
}

#[tokio::test]
async fn a_deleted_group_closes_the_sockets_of_all_and_all_hear_of_it() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.group("Walkers", &[&bob]).await;
    bob.reached(&id, 1).await;
    let away = bob.on_another_device().await;
    let (mut one, _) = Socket::open(&ann, &id).await;
    let (mut other, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&ann.on_another_device().await).await;
    ann.say(&id, "words").await;
    event(&mut session, 2).await;
    let path = format!("/conversations/{id}");
    ann.api.ask("DELETE", &path, Value::Null).await.ok(204);
    let ended = event(&mut session, 3).await;
    assert_eq!(ended["type"], "conversation_deleted");
    assert_eq!(ended["deleted_by"], ann.id.as_str());
    for socket in [&mut one, &mut other] {
        assert_eq!(socket.close_code().await, Some(4003));
        assert_eq!(events_of(&socket.seen, &id).last(), Some(&ended));
    }
    bob.reached(&id, 3).await;
    let (_, opening) = Socket::session(&away).await;
    assert_eq!(events_of(&opening.pending, &id), [ended]);
}

#[tokio::test]
async fn one_who_is_blocked_is_refused_on_every_socket() {
    let (ann, bob, id) = pair().await;
    ann.say(&id, "hello").await;
    bob.reached(&id, 1).await;
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&bob.on_another_device().await).await;
    let (mut blocker, _) = Socket::session(&ann).await;
    let block = format!("/users/me/blocks/{}", bob.id);
    ann.api.ask("PUT", &block, Value::Null).await.ok(204);
    for socket in [&mut here, &mut session] {
        let name = uuid();
        socket.send(&send_message(&id, &name, "please")).await;
        let refused = socket.until_type("error").await;
        assert_eq!(refused["code"], "forbidden");
        assert_eq!(refused["client_msg_id"], name.as_str());
        let typing = json!({"type": "typing_start", "conversation_id": id});
        socket.send(&typing).await;
        let read = json!({"type": "read_receipt", "conversation_id": id, "up_to_seq": 1});
        socket.send(&read).await;
        socket.settled().await;
    }
    let shown = blocker.quiet_for(Duration::from_millis(500)).await;
    for kind in ["typing_start", "read_receipt", "new_message"] {
        assert_eq!(of_type(&shown, kind), [] as [Value; 0]);
    }
    assert_eq!(ann.head_seq(&id).await, 1);
    ann.say(&id, "the blocker may write").await;
    event(&mut here, 2).await;
}

#[tokio::test]
async fn neither_sees_the_other_come_and_go_after_a_block() {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let (mut watching, _) = Socket::session(&ann).await;
    let (mut watched, _) = Socket::session(&bob).await;
    let follow = json!({"type": "presence_subscribe", "user_ids": [bob.id]});
    watching.send(&follow).await;
    let seen = watching.until_type("presence_update").await;
    assert_eq!(seen["status"], "online");
    let follow = json!({"type": "presence_subscribe", "user_ids": [ann.id]});
    watched.send(&follow).await;
    watched.until_type("presence_update").await;
    let block = format!("/users/me/blocks/{}", bob.id);
    ann.api.ask("PUT", &block, Value::Null).await.ok(204);
    for socket in [&mut watching, &mut watched] {
        let gone = socket.until_type("presence_update").await;
        assert_eq!(
            (&gone["status"], &gone["last_seen"]),
            (&json!("offline"), &Value::Null)
        );
    }
    watched.close().await;
    let more = watching.quiet_for(Duration::from_millis(500)).await;
    assert_eq!(of_type(&more, "presence_update"), [] as [Value; 0]);
}

#[tokio::test]
async fn what_is_set_on_one_device_reaches_the_others() {
    let (ann, bob, id) = pair().await;
    bob.say(&id, "hello").await;
    ann.reached(&id, 1).await;
    let (mut other, _) = Socket::session(&ann.on_another_device().await).await;
    let path = format!("/conversations/{id}/settings");
    let set = ann
        .api
        .ask("PUT", &path, json!({"pinned": true}))
        .await
        .ok(200);
    let shown = other.until_type("conversation_settings").await;
    for field in [
        "conversation_id",
        "muted_until",
        "archived",
        "pinned",
        "notify",
    ] {
        assert_eq!(shown[field], set[field], "{field}");
    }
}

#[tokio::test]
async fn the_sockets_of_a_suspended_account_close_at_once() {
    let (ann, bob, id) = pair().await;
    ann.say(&id, "hello").await;
    bob.reached(&id, 1).await;
    let (mut here, _) = Socket::open(&bob, &id).await;
    let (mut session, _) = Socket::session(&bob.on_another_device().await).await;
    let admin = Api::of(server::shared()).with_token(ADMIN_TOKEN);
    let path = format!("/admin/users/{}/suspension", bob.id);
    let reason = json!({"reason": "spam"});
    admin.ask("PUT", &path, reason).await.ok(204);
    assert_eq!(session.close_code().await, Some(4001));
    assert_eq!(here.close_code().await, Some(4001));
    let bearer = format!("Bearer {}", bob.token());
    let headers = [("authorization", bearer.as_str())];
    for path in ["/ws", &format!("/conversations/{id}/ws")] {
        assert_eq!(
            Socket::refusal(&bob.api, path, &headers).await,
            401,
            "{path}"
        );
    }
    ann.say(&id, "gone?").await;
}
