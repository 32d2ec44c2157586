//! What the measurements ask over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome, failed};
use crate::server::{ADMIN_TOKEN, Server};

/// Sign-ups at once.
const PARALLEL: usize = 16;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person on a device, signed in.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub id: String,
    /// The access token.
    pub token: String,
}

/// The service's HTTP API.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    /// The API of a server.
    pub fn of(server: &Server) -> Outcome<Self> {
        Ok(Self {
            client: reqwest::Client::builder().timeout(PATIENCE).build()?,
            base: server.url()?.to_owned(),
        })
    }

    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Outcome<String> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = self.client.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if status.is_success() {
            Ok(text)
        } else {
            failed(format!("{path} was answered {status}: {text}"))
        }
    }

    /// Reads something.
    pub async fn get(&self, path: &str, token: &str) -> Outcome<Value> {
        let text = self.ask(reqwest::Method::GET, path, token, None).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes something.
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Outcome<Value> {
        let text = self.ask(reqwest::Method::POST, path, token, Some(body));
        Ok(serde_json::from_str(&text.await?)?)
    }

    /// Signs a new person up.
    pub async fn sign_up(&self) -> Outcome<Person> {
        // Country code 999 is not assigned: these numbers are nobody's.
        let number = uuid::Uuid::new_v4().as_u128() % 1_000_000_000_000;
        let phone_number = format!("+999{number:012}");
        let body = json!({ "phone_number": phone_number });
        let code = self.post("/auth/code", "", body).await?;
        let code = text(&code, "dev_code")?;
        let body = json!({ "phone_number": phone_number, "verification_code": code,
            "device_name": "bench" });
        let session = self.post("/auth/login", "", body).await?;
        Ok(Person {
            id: text(&session, "user_id")?,
            token: text(&session, "token")?,
        })
    }

    /// Signs so many people up, several at a time.
    pub async fn sign_up_many(&self, count: usize) -> Outcome<Vec<Person>> {
        stream::iter(0..count)
            .map(|_| self.sign_up())
            .buffered(PARALLEL)
            .try_collect()
            .await
    }

    /// The direct conversation of two.
    pub async fn direct(&self, one: &Person, other: &Person) -> Outcome<String> {
        let body = json!({ "type": "direct", "member_ids": [other.id] });
        let made = self.post("/conversations", &one.token, body).await?;
        text(&made, "conversation_id")
    }

    /// A group of these people; the first owns it.
    pub async fn group(&self, people: &[Person]) -> Outcome<String> {
        let (owner, others) = people.split_first().ok_or("a group of nobody")?;
        let ids: Vec<_> = others.iter().map(|person| &person.id).collect();
        let body = json!({ "type": "group", "name": "Bench", "member_ids": ids });
        let made = self.post("/conversations", &owner.token, body).await?;
        text(&made, "conversation_id")
    }

    /// The newest event of a conversation that the person's list shows.
    pub async fn listed(&self, person: &Person, conversation: &str) -> Outcome<u64> {
        let list = self.get("/conversations", &person.token).await?;
        let items = list.get("conversations").and_then(Value::as_array);
        let item = items
            .into_iter()
            .flatten()
            .find(|item| item.get("id").and_then(Value::as_str) == Some(conversation));
        let head = item.and_then(|item| item.get("head_seq")?.as_u64());
        Ok(head.unwrap_or(0))
    }

    /// Waits until everyone's list shows an event of a conversation.
    pub async fn until_listed(
        &self,
        people: &[Person],
        conversation: &str,
        seq: u64,
    ) -> Outcome<()> {
        let one = |person| async move {
            for _ in 0..600 {
                if self.listed(person, conversation).await? >= seq {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            failed("a list never shows what was sent")
        };
        stream::iter(people)
            .map(one)
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// What the service has counted of itself until now.
    pub async fn counts(&self) -> Outcome<Counts> {
        let text = self.ask(reqwest::Method::GET, "/admin/metrics", ADMIN_TOKEN, None);
        Ok(Counts::read(&text.await?))
    }
}

/// A text field of an answer.
pub fn text(value: &Value, field: &str) -> Outcome<String> {
    value
        .get(field)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Failure::from(format!("an answer has no {field}: {value}")))
}

/// The service's counts, by metric and class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts(BTreeMap<(String, String), f64>);

impl Counts {
    fn read(text: &str) -> Self {
        let samples = text.lines().filter_map(|line| {
            let (name, rest) = line.split_once("{class=\"")?;
            let (class, value) = rest.split_once("\"} ")?;
            Some(((name.to_owned(), class.to_owned()), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// What was counted of one class.
    pub fn of(&self, metric: &str, class: &str) -> f64 {
        let key = (format!("parlance_{metric}_total"), class.to_owned());
        self.0.get(&key).copied().unwrap_or(0.0)
    }

    /// What was counted of all classes together.
    pub fn all(&self, metric: &str) -> f64 {
        let name = format!("parlance_{metric}_total");
        let samples = self.0.iter().filter(|((metric, _), _)| *metric == name);
        samples.map(|(_, value)| value).sum()
    }

    /// What was counted since then.
    pub fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().map(|(key, value)| {
            let then = before.0.get(key).copied().unwrap_or(0.0);
            (key.clone(), value - then)
        });
        Self(more.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_class_and_told_apart_in_time() {
        let before = Counts::read(
            "# HELP parlance_rows_written_total Rows.\n# TYPE parlance_rows_written_total counter\n\
             parlance_rows_written_total{class=\"user\"} 3\n",
        );
        let after = Counts::read(
            "parlance_rows_written_total{class=\"user\"} 5\n\
             parlance_rows_written_total{class=\"conversation\"} 4\n",
        );
        let more = after.since(&before);
        assert_eq!(more.of("rows_written", "user"), 2.0);
        assert_eq!(more.of("rows_written", "account"), 0.0);
        assert_eq!(more.all("rows_written"), 6.0);
    }
}
