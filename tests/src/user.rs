//! People who use the service, and what they do most.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::api::text;
use crate::{Api, Reply, Server, eventually, phone_number};

/// A person on a device, signed in.
#[derive(Debug, Clone)]
pub struct User {
    /// Asks with the device's token.
    pub api: Api,
    /// The person's number.
    pub phone_number: String,
    /// The person's id.
    pub id: String,
    /// The answer of the login.
    pub session: Value,
}

impl User {
    /// The person who got this session.
    ///
    /// # Panics
    /// When it is no session.
    #[must_use]
    pub fn new(api: &Api, phone_number: &str, session: Value) -> Self {
        Self {
            api: api.with_token(text(&session, "token")),
            phone_number: phone_number.to_owned(),
            id: text(&session, "user_id").to_owned(),
            session,
        }
    }

    /// A new person, who has signed up.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn sign_up(server: &Server) -> Self {
        Api::of(server).sign_in(&phone_number()).await
    }

    /// So many new people.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn sign_up_all<const N: usize>(server: &Server) -> [Self; N] {
        let mut users = Vec::with_capacity(N);
        for _ in 0..N {
            users.push(Self::sign_up(server).await);
        }
        users.try_into().expect("as many as were asked for")
    }

    /// As [`User::sign_up_all`], several at a time.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn sign_up_many(server: &Server, count: usize) -> Vec<Self> {
        let api = Api::of(server);
        let one = |_| {
            let api = api.clone();
            async move { api.sign_in(&phone_number()).await }
        };
        stream::iter(0..count).map(one).buffered(8).collect().await
    }

    /// The same person on one more device.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn on_another_device(&self) -> Self {
        let other = self.api.without_token().sign_in(&self.phone_number).await;
        assert_eq!(other.id, self.id, "a number is one person");
        assert_ne!(other.device_id(), self.device_id());
        other
    }

    /// The same device, at a server that was started again.
    #[must_use]
    pub fn at(&self, server: &Server) -> Self {
        let api = Api::of(server).with_token(self.token());
        Self {
            api,
            ..self.clone()
        }
    }

    /// The access token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.api.token().unwrap_or("")
    }

    /// The device's id.
    ///
    /// # Panics
    /// When the session has none.
    #[must_use]
    pub fn device_id(&self) -> &str {
        text(&self.session, "device_id")
    }

    /// The refresh token that came with the login.
    ///
    /// # Panics
    /// When the session has none.
    #[must_use]
    pub fn refresh_token(&self) -> &str {
        text(&self.session, "refresh_token")
    }

    /// The direct conversation with another, made where it is not there.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn direct(&self, other: &Self) -> String {
        let reply = self
            .api
            .post(
                "/conversations",
                json!({"type": "direct", "member_ids": [other.id]}),
            )
            .await;
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        text(&reply.body, "conversation_id").to_owned()
    }

    /// A new group with these others.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn group(&self, name: &str, others: &[&Self]) -> String {
        let ids: Vec<_> = others.iter().map(|user| &user.id).collect();
        let body = json!({"type": "group", "name": name, "member_ids": ids});
        let created = self.api.post("/conversations", body).await.ok(201);
        text(&created, "conversation_id").to_owned()
    }

    /// Tries to send a text over HTTP.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn try_say(&self, conversation: &str, client_msg_id: &str, content: &str) -> Reply {
        let body = json!({"client_msg_id": client_msg_id, "content": content});
        self.api
            .post(&format!("/conversations/{conversation}/messages"), body)
            .await
    }

    /// Sends a text over HTTP and gives the acknowledgement.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn say(&self, conversation: &str, content: &str) -> Value {
        self.try_say(conversation, &crate::uuid(), content)
            .await
            .ok(201)
    }

    /// All events of a conversation after a seq, checked to have no gap.
    ///
    /// # Panics
    /// When there is a gap, or a page does not follow the contract.
    pub async fn events(&self, conversation: &str, after_seq: u64) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        loop {
            let next = after_seq + events.len() as u64;
            let page = self
                .api
                .get(&format!(
                    "/conversations/{conversation}/events?after_seq={next}"
                ))
                .await
                .ok(200);
            for event in page["events"].as_array().expect("a list of events") {
                let seq = after_seq + events.len() as u64 + 1;
                assert_eq!(event["seq"], seq, "the log has a gap: {event}");
                assert_eq!(event["conversation_id"], conversation);
                events.push(event.clone());
            }
            if page["has_more"] == false {
                assert_eq!(
                    page["head_seq"],
                    after_seq + events.len() as u64,
                    "the last page ends at the head"
                );
                return events;
            }
            assert_ne!(
                page["events"],
                json!([]),
                "a page that is not the last has events"
            );
        }
    }

    /// The first page of the conversation list.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn list(&self) -> Value {
        self.api.get("/conversations").await.ok(200)
    }

    /// The conversation's entry in the first page of the list, where it is there.
    ///
    /// # Panics
    /// When the list is refused.
    pub async fn item(&self, conversation: &str) -> Option<Value> {
        let list = self.list().await;
        list["conversations"]
            .as_array()?
            .iter()
            .find(|item| item["id"] == conversation)
            .cloned()
    }

    /// Waits until the list shows this as the conversation's newest event, and gives its entry:
    /// the person's inbox then has everything up to there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn reached(&self, conversation: &str, head_seq: u64) -> Value {
        eventually("the list to show the newest event", async || {
            self.item(conversation)
                .await
                .filter(|item| item["head_seq"] == head_seq)
        })
        .await
    }

    /// Says that everything up to a seq has been read, over HTTP.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn mark_read(&self, conversation: &str, up_to_seq: u64) -> Reply {
        let path = format!("/conversations/{conversation}/read");
        self.api.post(&path, json!({"up_to_seq": up_to_seq})).await
    }

    /// Changes one of the privacy settings.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn set_privacy(&self, setting: &str, value: Value) {
        let body = json!({"privacy": {setting: value}});
        self.api.ask("PATCH", "/users/me", body).await.ok(200);
    }

    /// The number of the conversation's newest event.
    ///
    /// # Panics
    /// When the caller may not see it.
    pub async fn head_seq(&self, conversation: &str) -> u64 {
        let view = self
            .api
            .get(&format!("/conversations/{conversation}"))
            .await
            .ok(200);
        view["head_seq"].as_u64().expect("a head_seq")
    }
}
