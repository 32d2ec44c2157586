//! A small deployment to throw requests at, and what must hold of every answer.

use http::{HeaderMap, Request};
use parlance_functions::Reply;
use parlance_shared::protocol::problem::{Code, Problem};
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::{Person, Service, run};

/// What an admin proves itself with: the setting of [`Service`].
pub const ADMIN: &str = "an-admin-token-of-32-characters-or-more";
/// What only two people may ever see.
pub const SECRET: &str = "between-ann-and-bob-alone";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; nothing where it is a stream.
    pub body: Option<Vec<u8>>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Shares a direct conversation with Bob, and owns the group.
    Ann,
    /// A member of both.
    Bob,
    /// A member of the group.
    Cat,
    /// A member of neither.
    Eve,
    /// An admin.
    Admin,
    /// No one.
    Nobody,
}

impl Who {
    /// Everyone.
    pub const ALL: [Self; 6] = [
        Self::Ann,
        Self::Bob,
        Self::Cat,
        Self::Eve,
        Self::Admin,
        Self::Nobody,
    ];

    /// The name in the corpus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ann => "ann",
            Self::Bob => "bob",
            Self::Cat => "cat",
            Self::Eve => "eve",
            Self::Admin => "admin",
            Self::Nobody => "nobody",
        }
    }
}

/// A deployment with people, conversations and messages.
pub struct World {
    service: Service,
    tokens: Vec<String>,
    /// What has a name, and the ids that it stands for: `{ann}`, `{direct}`, `{message}`.
    pub names: Vec<(&'static str, String)>,
    /// Ids that were seen in answers.
    pub seen: Vec<String>,
    /// The message that only two people may see.
    pub secret_id: String,
}

impl World {
    /// Sets it up.
    ///
    /// # Panics
    /// When that does not work.
    #[must_use]
    pub fn new() -> Self {
        let service = Service::new();
        let (names, tokens, secret_id) = run(set_up(&service));
        Self {
            service,
            tokens,
            names,
            seen: Vec::new(),
            secret_id,
        }
    }

    /// The token that someone proves itself with; nobody has none.
    #[must_use]
    pub fn token(&self, who: Who) -> Option<&str> {
        match who {
            Who::Nobody => None,
            Who::Admin => Some(ADMIN),
            who => self.tokens.get(who as usize).map(String::as_str),
        }
    }

    /// An id that there is, or was, or may be.
    pub fn id(&self, random: &mut Random) -> String {
        let named = random.pick(&self.names).1.clone();
        match random.below(10) {
            0 => random.uuid(),
            1..=2 if !self.seen.is_empty() => random.pick(&self.seen).clone(),
            _ => named,
        }
    }

    /// The id that has this name.
    ///
    /// # Panics
    /// When none has.
    #[must_use]
    pub fn named(&self, name: &str) -> &str {
        let found = self.names.iter().find(|(known, _)| *known == name);
        found.map(|(_, id)| id.as_str()).expect("a known name")
    }

    /// Puts ids in the place of their names.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, id)| {
            text.replace(&format!("{{{name}}}"), id)
        })
    }

    /// How many events all conversations have.
    #[must_use]
    pub fn events(&self) -> i64 {
        self.service.count("SELECT count(*) FROM event", &[])
    }

    /// Asks.
    #[must_use]
    pub fn ask(&self, request: Request<Vec<u8>>) -> Answer {
        match run(self.service.reply(request)) {
            Reply::Http(response) => {
                let (parts, body) = response.into_parts();
                Answer {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body: Some(body),
                }
            }
            Reply::Stream(response) => Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: None,
            },
            Reply::Upgraded(never) => match never {},
        }
    }

    /// Asks, and judges the answer. Gives it where it is good.
    ///
    /// # Errors
    /// What does not hold of it.
    pub fn judge(&mut self, who: Who, request: Request<Vec<u8>>) -> Result<Answer, String> {
        let is_head = request.method() == http::Method::HEAD;
        let before = self.events();
        let answer = self.ask(request);
        if answer.status >= 400 {
            // The body of an answer to HEAD is left out.
            if !is_head {
                check_problem(&answer)?;
            }
            if self.events() != before {
                return Err(format!("{} and the log has changed", answer.status));
            }
        } else if let Some(body) = answer.body.as_ref().filter(|body| !body.is_empty()) {
            let body: Value = serde_json::from_slice(body)
                .map_err(|error| format!("{} without JSON: {error}", answer.status))?;
            self.learn(&body);
        }
        let told = answer.body.as_deref().map(String::from_utf8_lossy);
        if matches!(who, Who::Cat | Who::Eve | Who::Nobody)
            && told.is_some_and(|told| told.contains(SECRET))
        {
            return Err(format!("{} is told the secret", who.name()));
        }
        Ok(answer)
    }

    /// Whether it may be named from now on. One who can see the secret could pass it on.
    fn is_new_id(&self, text: &String) -> bool {
        text.len() == 36
            && *text != self.secret_id
            && self.seen.len() < 64
            && !self.seen.contains(text)
    }

    fn learn(&mut self, value: &Value) {
        match value {
            Value::String(text) if self.is_new_id(text) => self.seen.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Object(fields) => fields.values().for_each(|item| self.learn(item)),
            _ => {}
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// An answer that refuses is a problem of a documented kind, and no fault of the server.
fn check_problem(answer: &Answer) -> Result<(), String> {
    let body = answer.body.as_deref().unwrap_or_default();
    let told = || format!("{}: {}", answer.status, String::from_utf8_lossy(body));
    let content_type = answer.headers.get("content-type");
    if content_type.is_none_or(|value| value != "application/problem+json") {
        return Err(format!("no problem details: {}", told()));
    }
    let problem: Problem = serde_json::from_slice(body).map_err(|_| told())?;
    let kind = format!("urn:parlance:problem:{}", problem.code.as_str());
    let is_sound = problem.status == answer.status
        && problem.code.status() == answer.status
        && problem.kind == kind
        && !problem.title.is_empty()
        && !problem.detail.is_empty();
    if !is_sound {
        return Err(format!("a problem that contradicts itself: {}", told()));
    }
    // There are no sockets here; all else is a fault.
    if answer.status >= 500 && problem.code != Code::NotImplemented {
        return Err(format!("a fault of the server: {}", told()));
    }
    Ok(())
}

type Names = Vec<(&'static str, String)>;

async fn set_up(service: &Service) -> (Names, Vec<String>, String) {
    let (ann, bob, cat, eve) = (
        service.person(1).await,
        service.person(2).await,
        service.person(3).await,
        service.person(4).await,
    );
    let direct = ann.chat_with(&bob).await;
    let body = json!({"type": "group", "name": "All", "member_ids": [bob.id, cat.id]});
    let group = id_of(&ann, "/conversations", body, "conversation_id").await;
    let messages = |id: &str| format!("/conversations/{id}/messages");
    let new_id = |n: u32| format!("00000000-0000-4000-a000-{n:012}");
    let text = |n: u32, text: &str| json!({"client_msg_id": new_id(n), "content": text});
    let secret = id_of(&ann, &messages(&direct), text(1, SECRET), "message_id").await;
    let message = id_of(&ann, &messages(&group), text(2, "hello"), "message_id").await;
    let other = id_of(&bob, &messages(&direct), text(3, "hello"), "message_id").await;
    let poll = json!({"client_msg_id": new_id(4), "content_type": "poll",
        "content": r#"{"question":"Tea?","options":["yes","no"]}"#});
    let poll = id_of(&ann, &messages(&group), poll, "message_id").await;
    let mut later = text(5, "later");
    later["send_at"] = json!("2025-11-24T18:00:00.000Z");
    let scheduled = id_of(&ann, &messages(&group), later, "scheduled_id").await;
    let devices = ann.get("/users/me/devices").await.expect(200);
    let device = devices["devices"][0]["device_id"].as_str().expect("an id");
    let report = format!("{}/{message}/report", messages(&group));
    let report = id_of(&cat, &report, json!({"reason": "dull"}), "report_id").await;
    let names = vec![
        ("ann", ann.id),
        ("bob", bob.id),
        ("cat", cat.id),
        ("eve", eve.id),
        ("direct", direct),
        ("group", group),
        ("message", message),
        ("other", other),
        ("poll", poll),
        ("scheduled", scheduled),
        ("device", device.to_owned()),
        ("report", report),
    ];
    (
        names,
        vec![ann.token, bob.token, cat.token, eve.token],
        secret,
    )
}

async fn id_of(person: &Person<'_>, path: &str, body: Value, field: &str) -> String {
    let answer = person.post(path, body).await;
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    answer.body[field].as_str().expect("an id").to_owned()
}
