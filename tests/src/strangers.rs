//! Those who name what is not theirs: a group and a direct conversation, people who may not have
//! what is in them, and the requests that they try, from tests/strangers.json.

use serde_json::{Value, json};

use crate::api::text;
use crate::{User, eventually, server, uuid};

const TABLE: &str = include_str!("../strangers.json");

/// The table's columns after method, path and body.
const PERSONAS: [&str; 4] = ["stranger", "removed", "member", "blocked"];

/// The people, and what they try to get at.
#[derive(Debug)]
pub struct Strangers {
    /// Whose all of it is.
    pub owner: User,
    /// As in the table's columns.
    pub personas: [User; 4],
    ids: [[String; 3]; 2],
    own_conversations: Vec<String>,
    soon: String,
}

/// A request that must be refused.
#[derive(Debug)]
pub struct Attempt<'s> {
    /// By whom.
    pub user: &'s User,
    /// What that is to the owner.
    pub persona: &'static str,
    /// The method.
    pub method: String,
    /// The path under `/api/v1`.
    pub path: String,
    /// The body; null where there is none.
    pub body: Value,
    /// What it must be answered.
    pub status: u16,
}

impl Strangers {
    /// Sets the scene at the shared server. `soon` is a time within the next days.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn set(soon: &str) -> Self {
        let [owner, stranger, removed, member, blocked, friend] =
            User::sign_up_all(server::shared()).await;
        let group = owner.group("Ours", &[&member, &removed]).await;
        let direct = owner.direct(&blocked).await;
        let mut ids = Vec::new();
        for conversation in [&group, &direct] {
            let path = format!("/conversations/{conversation}/messages");
            let poll = r#"{"question":"Tea?","options":["yes","no"]}"#;
            let poll = json!({"client_msg_id": uuid(), "content": poll, "content_type": "poll"});
            let message = owner.api.post(&path, poll).await.ok(201);
            let later = json!({"client_msg_id": uuid(), "content": "later", "send_at": soon});
            let scheduled = owner.api.post(&path, later).await.ok(202);
            let message = text(&message, "message_id").to_owned();
            let pin = format!("/conversations/{conversation}/pins/{message}");
            owner.api.ask("PUT", &pin, Value::Null).await.ok(200);
            let scheduled = text(&scheduled, "scheduled_id").to_owned();
            ids.push([conversation.clone(), message, scheduled]);
        }
        let out = format!("/conversations/{group}/members/{}", removed.id);
        owner.api.ask("DELETE", &out, Value::Null).await.ok(204);
        let block = format!("/users/me/blocks/{}", blocked.id);
        owner.api.ask("PUT", &block, Value::Null).await.ok(204);
        eventually("the removed member to hear it", async || {
            let item = removed.item(&group).await;
            item.filter(|item| item["membership"] == "removed")
        })
        .await;
        let personas = [stranger, removed, member, blocked];
        let mut own_conversations = Vec::new();
        for person in &personas {
            own_conversations.push(person.direct(&friend).await);
        }
        Self {
            owner,
            personas,
            ids: ids.try_into().expect("of two conversations"),
            own_conversations,
            soon: soon.to_owned(),
        }
    }

    /// Everything that they try, for which the table has an answer.
    ///
    /// # Panics
    /// When the table is not what it should be.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt<'_>> {
        let table: Value = serde_json::from_str(TABLE).expect("the table is JSON");
        let columns = table["columns"].as_array().expect("columns");
        assert_eq!(columns[3..], PERSONAS.map(Value::from));
        let rows = table["rows"].as_array().expect("rows");
        let mut attempts = Vec::new();
        for row in rows {
            for place in 0..PERSONAS.len() {
                let Some(status) = row[3 + place].as_u64() else {
                    continue;
                };
                let body = match &row[2] {
                    Value::Null => Value::Null,
                    body => serde_json::from_str(&self.fill(&body.to_string(), place))
                        .expect("a body is JSON"),
                };
                attempts.push(Attempt {
                    user: &self.personas[place],
                    persona: PERSONAS[place],
                    method: row[0].as_str().expect("a method").to_owned(),
                    path: self.fill(row[1].as_str().expect("a path"), place),
                    body,
                    status: u16::try_from(status).expect("a status"),
                });
            }
        }
        attempts
    }

    fn fill(&self, text: &str, place: usize) -> String {
        let [conversation, message, scheduled] = &self.ids[usize::from(place == 3)];
        [
            ("{conversation_id}", conversation.as_str()),
            ("{message_id}", message),
            ("{scheduled_id}", scheduled),
            ("{report_id}", &uuid()),
            ("{user_id}", &self.owner.id),
            ("{device_id}", self.owner.device_id()),
            ("{own_id}", &self.personas[place].id),
            ("{own_conversation}", &self.own_conversations[place]),
            ("{emoji}", "%F0%9F%91%8D"),
            ("{new_id}", &uuid()),
            ("{soon}", &self.soon),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }

    /// Everything that they could have changed.
    ///
    /// # Panics
    /// When the server does not tell.
    pub async fn state(&self) -> Value {
        let mut state = vec![self.owner.list().await, self.devices().await];
        for [conversation, message, _] in &self.ids {
            state.push(json!(self.owner.events(conversation, 0).await));
            let path = format!("/conversations/{conversation}");
            for rest in [
                String::new(),
                "/members".to_owned(),
                "/pins".to_owned(),
                "/scheduled".to_owned(),
                format!("/messages/{message}"),
            ] {
                let reply = self.owner.api.get(&format!("{path}{rest}")).await;
                state.push(reply.ok(200));
            }
        }
        for person in &self.personas {
            state.push(person.list().await);
        }
        json!(state)
    }

    async fn devices(&self) -> Value {
        self.owner.api.get("/users/me/devices").await.ok(200)
    }
}
