//! Those who name what is not theirs: every route with an id, for a stranger, one who was removed,
//! a member without the right, and one who is blocked. What each is answered stands in
//! tests/strangers.json, which the tests of the real build read, too.

use std::collections::BTreeSet;
use std::time::Duration;

use parlance_functions::router::ROUTES;
use parlance_shared::sql::Sql;
use serde_json::{Value, json};

use crate::support::{Answer, Person, Service, run};

const TABLE: &str = include_str!("../../../../tests/strangers.json");
const PERSONAS: [&str; 4] = ["stranger", "removed", "member", "blocked"];

fn rows() -> Vec<Vec<Value>> {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let columns: Vec<_> = table["columns"].as_array().unwrap().clone();
    assert_eq!(columns[3..], PERSONAS.map(Value::from));
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|row| row.as_array().unwrap().clone()).collect()
}

/// A path's pattern, with the names of its ids left out: the table calls one by other names where
/// it means another's.
fn shape(method: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let segments = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

#[test]
fn every_route_with_an_id_stands_in_the_table() {
    let table: BTreeSet<_> = rows()
        .iter()
        .map(|row| {
            let path = format!("/api/v1{}", row[1].as_str().unwrap());
            shape(row[0].as_str().unwrap(), &path)
        })
        .collect();
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| route.path.contains('{'))
        .map(|route| shape(route.method.as_str(), route.path))
        .collect();
    let missing: Vec<_> = routes.difference(&table).collect();
    assert!(
        missing.is_empty(),
        "not in tests/strangers.json: {missing:?}"
    );
    let gone: Vec<_> = table.difference(&routes).collect();
    assert!(gone.is_empty(), "in tests/strangers.json alone: {gone:?}");
}

impl Person<'_> {
    async fn tries(&self, method: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1{path}");
        self.service.ask(method, &path, &self.token, body).await
    }

    async fn says(&self, conversation: &str, body: Value) -> String {
        let path = format!("/conversations/{conversation}/messages");
        let sent = self.post(&path, body).await;
        assert!((201..=202).contains(&sent.status), "{sent:?}");
        let id = ["message_id", "scheduled_id"]
            .into_iter()
            .find_map(|name| sent.body[name].as_str());
        id.unwrap().to_owned()
    }
}

/// All that the database holds, but for how much each device has asked of late.
fn dump(service: &Service) -> Vec<(String, Vec<String>)> {
    let sql = parlance_embedded::Host::open(&service.machine).unwrap();
    let tables = "SELECT name FROM sqlite_master
        WHERE type = 'table' AND name <> 'device_rate' ORDER BY name";
    let names = sql.exec(tables, &[]).unwrap().rows;
    names
        .iter()
        .map(|row| {
            let name: String = row.get(0).unwrap();
            // A statement lives as long as the process: this one is a test.
            let statement: &'static str =
                Box::leak(format!("SELECT * FROM {name} ORDER BY 1, 2").into_boxed_str());
            let rows = sql.exec(statement, &[]).unwrap().rows;
            (name, rows.iter().map(|row| format!("{row:?}")).collect())
        })
        .collect()
}

const SOON: &str = "2025-11-24T17:00:00.000Z";

/// What the placeholders of a row stand for.
struct Ids {
    conversation: String,
    message: String,
    scheduled: String,
    report: String,
    owner: String,
    device: String,
    own: String,
    own_conversation: String,
}

impl Ids {
    fn fill(&self, text: &str, number: usize) -> String {
        let new_id = format!("00000000-0000-4000-8000-{number:012x}");
        [
            ("{conversation_id}", self.conversation.as_str()),
            ("{message_id}", &self.message),
            ("{scheduled_id}", &self.scheduled),
            ("{report_id}", &self.report),
            ("{user_id}", &self.owner),
            ("{device_id}", &self.device),
            ("{own_id}", &self.own),
            ("{own_conversation}", &self.own_conversation),
            ("{emoji}", "%F0%9F%91%8D"),
            ("{new_id}", &new_id),
            ("{soon}", SOON),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }
}

#[test]
fn nobody_gets_at_what_is_not_theirs_and_nothing_changes_by_trying() {
    run(async {
        let service = Service::new();
        let mut people = Vec::new();
        for number in 0..6 {
            people.push(service.person(number).await);
        }
        let [owner, member, removed, stranger, blocked, friend] = people.as_slice() else {
            panic!("six were signed in");
        };
        let others = [&member.id, &removed.id];
        let body = json!({"type": "group", "name": "Ours", "member_ids": others});
        let made = owner.post("/conversations", body).await.expect(201);
        let group = made["conversation_id"].as_str().unwrap();
        let direct = owner.chat_with(blocked).await;
        let poll = r#"{"question":"Tea?","options":["yes","no"]}"#;
        let mut ids = Vec::new();
        for (place, conversation) in [group, direct.as_str()].into_iter().enumerate() {
            let new_id = |n: usize| format!("00000000-0000-4000-9000-{:012}", place * 10 + n);
            let message =
                json!({"client_msg_id": new_id(1), "content": poll, "content_type": "poll"});
            let message = owner.says(conversation, message).await;
            let later = json!({"client_msg_id": new_id(2), "content": "later", "send_at": SOON});
            let scheduled = owner.says(conversation, later).await;
            let pin = format!("/conversations/{conversation}/pins/{message}");
            owner.tries("PUT", &pin, Value::Null).await.expect(200);
            ids.push((conversation.to_owned(), message, scheduled));
        }
        let report = format!("/conversations/{group}/messages/{}/report", ids[0].1);
        let report = member.post(&report, json!({"reason": "test"})).await;
        let report = report.expect(201)["report_id"].as_str().unwrap().to_owned();
        let out = format!("/conversations/{group}/members/{}", removed.id);
        owner.tries("DELETE", &out, Value::Null).await.expect(204);
        let block = format!("/users/me/blocks/{}", blocked.id);
        owner.tries("PUT", &block, Value::Null).await.expect(204);
        let devices = owner.get("/users/me/devices").await.expect(200);
        let device = devices["devices"][0]["device_id"].as_str().unwrap();
        let mut own_conversations = Vec::new();
        for person in [stranger, removed, member, blocked] {
            own_conversations.push(person.chat_with(friend).await);
        }
        // Everyone has heard of everything.
        for _ in 0..10 {
            service.pass(Duration::from_secs(1));
            service.backend().maintain().await.unwrap();
        }

        let mut before = dump(&service);
        assert!(before.iter().any(|(_, rows)| rows.len() > 3));
        let mut tried = 0;
        let mut wrong = Vec::new();
        for (number, row) in rows().iter().enumerate() {
            let (method, path) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
            for (place, person) in [stranger, removed, member, blocked].into_iter().enumerate() {
                let Some(expected) = row[3 + place].as_u64() else {
                    continue;
                };
                let (conversation, message, scheduled) = &ids[usize::from(place == 3)];
                let ids = Ids {
                    conversation: conversation.clone(),
                    message: message.clone(),
                    scheduled: scheduled.clone(),
                    report: report.clone(),
                    owner: owner.id.clone(),
                    device: device.to_owned(),
                    own: person.id.clone(),
                    own_conversation: own_conversations[place].clone(),
                };
                let path = ids.fill(path, number);
                let body = match &row[2] {
                    Value::Null => Value::Null,
                    body => serde_json::from_str(&ids.fill(&body.to_string(), number)).unwrap(),
                };
                let answer = person.tries(method, &path, body).await;
                // There are no sockets here: those are tried on the real build.
                let expected = if path.ends_with("/ws") { 501 } else { expected };
                let told = format!("{} {method} {path}: {answer:?}", PERSONAS[place]);
                let text = answer.body.to_string();
                let tells = |secret: &&str| text.contains(*secret);
                if answer.body["status"] != expected
                    || u64::from(answer.status) != expected
                    || ["Tea?", "Ours", "later"].iter().any(tells)
                {
                    wrong.push(format!("not {expected}: {told}"));
                }
                let after = dump(&service);
                let pairs = before.iter().zip(&after);
                for ((table, before), (_, after)) in pairs.filter(|(old, new)| old != new) {
                    wrong.push(format!("{told} has changed {table}: {before:?} {after:?}"));
                }
                before = after;
                tried += 1;
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(tried > 100, "{tried} requests were tried");
    });
}

#[test]
fn a_list_of_one_s_own_holds_nothing_of_others() {
    run(async {
        let service = Service::new();
        let (ada, bob) = (service.person(1).await, service.person(2).await);
        let id = ada.chat_with(&bob).await;
        let later = json!({"client_msg_id": "00000000-0000-4000-9000-000000000001",
            "content": "later", "send_at": SOON});
        ada.says(&id, later).await;
        let scheduled = format!("/conversations/{id}/scheduled");
        let listed = bob.get(&scheduled).await.expect(200);
        assert_eq!(listed, json!({"scheduled": []}));
        let block = format!("/users/me/blocks/{}", bob.id);
        ada.tries("PUT", &block, Value::Null).await.expect(204);
        let blocks = bob.get("/users/me/blocks").await.expect(200);
        assert_eq!(blocks, json!({"blocks": []}));
        // One's own list of blocks is all that the path names: this lifts nothing of Ada's.
        let lift = format!("/users/me/blocks/{}", ada.id);
        bob.tries("DELETE", &lift, Value::Null).await;
        bob.send(&id, 7).await.expect(403);
        let profile = bob.get(&format!("/users/{}", ada.id)).await.expect(200);
        let fields: Vec<_> = profile.as_object().unwrap().keys().collect();
        for field in fields {
            let public = [
                "user_id",
                "display_name",
                "status_message",
                "profile_pic_url",
                "presence",
            ];
            assert!(public.contains(&field.as_str()), "{field} is nobody's");
        }
    });
}

#[test]
fn another_s_cursor_opens_nothing() {
    run(async {
        let service = Service::new();
        let (ada, bob, eve) = (
            service.person(1).await,
            service.person(2).await,
            service.person(3).await,
        );
        let secret = ada.chat_with(&bob).await;
        let own = eve.chat_with(&bob).await;
        for number in 0..3 {
            ada.send(&secret, number).await.expect(201);
            eve.send(&own, 10 + number).await.expect(201);
        }
        let inbox = bob.poll("").await["cursor"].as_str().unwrap().to_owned();
        let page = |id: &str| format!("/conversations/{id}/messages?limit=1");
        let messages = ada.get(&page(&secret)).await.expect(200);
        let messages = messages["next_cursor"].as_str().unwrap().to_owned();
        let list = bob.get("/conversations?limit=1").await.expect(200);
        let list = list["next_cursor"].as_str().unwrap().to_owned();

        let polled = eve.poll(&inbox).await;
        let listed = eve.get(&format!("/conversations?cursor={list}")).await;
        let paged = eve
            .get(&format!("{}&cursor={messages}", page(&own)))
            .await
            .expect(200);
        for answer in [polled, listed.body, paged] {
            let text = answer.to_string();
            assert!(!text.contains(&secret), "{text}");
        }
        let path = format!("{}&cursor={messages}", page(&secret));
        eve.get(&path).await.expect(404);
        // What it acknowledged, it acknowledged for Eve alone.
        let waiting = bob.poll("").await.to_string();
        assert!(waiting.contains(&secret) && waiting.contains(&own));
    });
}

#[test]
fn whether_a_number_has_an_account_does_not_show_without_a_token() {
    run(async {
        let service = Service::new();
        service.person(1).await;
        let mut answers = Vec::new();
        // One that has an account, and one that has none.
        for phone_number in ["+14155550001", "+14155550002"] {
            let body = json!({"phone_number": phone_number});
            let sent = service.ask("POST", "/api/v1/auth/code", "", body).await;
            let mut sent = sent.expect(202);
            let code = sent["dev_code"].take();
            let wrong = if code == "000000" { "000001" } else { "000000" };
            let body = json!({"phone_number": phone_number, "verification_code": wrong});
            let login = service.ask("POST", "/api/v1/auth/login", "", body).await;
            answers.push((sent, login.expect(401)));
        }
        assert_eq!(answers[0], answers[1]);
        let body = json!({"phone_numbers": ["+14155550001"]});
        let lookup = service.ask("POST", "/api/v1/users/lookup", "", body).await;
        lookup.expect(401);
    });
}
