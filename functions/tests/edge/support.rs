//! A backend that records what it is asked and answers from closures, and requests to try it on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use parlance_functions::answer::Pieces;
use parlance_functions::backend::{Backend, Incoming, SendError, Session};
use parlance_functions::config::{Config, ConfigError};
use parlance_functions::{Reply, respond};
use parlance_shared::account::call::{AccountName, AccountObject};
use parlance_shared::conversation::call::{ConversationObject, OpenSocket};
use parlance_shared::entropy::{Entropy, SeededEntropy};
use parlance_shared::ids::{ConversationId, DeviceId, MediaId, UserId};
use parlance_shared::limiter::{LimiterName, LimiterObject};
use parlance_shared::media::call::MediaObject;
use parlance_shared::moderation::call::ModerationObject;
use parlance_shared::object::{Call, ObjectClass};
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserObject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub const ME: &str = "00000000-0000-4000-8000-00000000000a";
pub const PEER: &str = "00000000-0000-4000-8000-00000000000b";
pub const DEVICE: &str = "00000000-0000-4000-8000-0000000000d1";
pub const ID: &str = "00000000-0000-4000-8000-000000000001";
pub const NUMBER: &str = "+14155550177";
pub const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
pub const SEED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// A call that was made: the class's binding, the object's name, the request's JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub class: &'static str,
    pub name: String,
    pub request: Value,
}

type Answering = dyn Fn(&Made) -> Result<Value, Problem>;
type Counting = dyn Fn() -> Option<bool>;
type Sending = dyn Fn() -> Result<(u16, Value), SendError>;

pub struct Fake {
    pub answering: Box<Answering>,
    pub sending: Box<Sending>,
    pub counting: Box<Counting>,
    pub counted: RefCell<Vec<String>>,
    pub clock: Rc<Cell<Timestamp>>,
    pub script: Rc<RefCell<Script>>,
    pub made: RefCell<Vec<Made>>,
    pub sent: RefCell<Vec<Request<Vec<u8>>>>,
    pub lines: RefCell<Vec<String>>,
    /// What the platform has counted, where it counts.
    pub metrics: Option<String>,
    pub config: Result<Config, ConfigError>,
    pub in_flight: Cell<usize>,
    pub most_in_flight: Cell<usize>,
    entropy: SeededEntropy,
}

/// What a session's user object sends, and when after [`NOW`]; and what it is sent.
#[derive(Debug, Default)]
pub struct Script {
    pub arrivals: VecDeque<(Duration, Incoming)>,
    pub sent: Vec<Value>,
    pub closed: bool,
}

impl Script {
    /// A frame comes.
    pub fn frame(&mut self, millis: u64, frame: &Value) -> &mut Self {
        let text = Incoming::Frame(frame.to_string());
        self.arrivals
            .push_back((Duration::from_millis(millis), text));
        self
    }

    /// The session ends.
    pub fn close(&mut self, millis: u64, code: u16) -> &mut Self {
        let closed = Incoming::Closed(code);
        self.arrivals
            .push_back((Duration::from_millis(millis), closed));
        self
    }
}

/// A session that follows a script, and moves the clock where it is waited for.
pub struct FakeSession {
    clock: Rc<Cell<Timestamp>>,
    script: Rc<RefCell<Script>>,
}

impl Session for FakeSession {
    async fn next(&mut self, wait: Duration) -> Incoming {
        let mut script = self.script.borrow_mut();
        let now = self.clock.get();
        match script.arrivals.front() {
            Some((at, incoming)) if NOW + *at <= now + wait => {
                self.clock.set(now.max(NOW + *at));
                let incoming = incoming.clone();
                // The end goes on.
                if !matches!(incoming, Incoming::Closed(_)) {
                    script.arrivals.pop_front();
                }
                incoming
            }
            _ => {
                self.clock.set(now + wait);
                Incoming::Nothing
            }
        }
    }

    fn send(&mut self, text: &str) {
        let frame = serde_json::from_str(text).unwrap();
        self.script.borrow_mut().sent.push(frame);
    }

    fn now(&self) -> Timestamp {
        self.clock.get()
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.script.borrow_mut().closed = true;
    }
}

/// A response, read.
#[derive(Debug)]
pub struct Read {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub upgraded: bool,
    pub pieces: Option<Pieces>,
}

impl Read {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is this problem, in full form, and gives its `errors`' fields.
    pub fn problem(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["code"], code);
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:parlance:problem:{code}"));
        assert!(body["title"].is_string() && body["detail"].is_string());
        body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub fn config(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let keys = format!("k1:{SEED}");
    let base = [
        ("TOKEN_KEYS", keys.as_str()),
        ("PHONE_HASH_KEY", SEED),
        ("DEVELOPMENT", "1"),
        ("CODE_PROVIDER", "dev"),
    ];
    Config::read(|name| {
        changes
            .iter()
            .chain(&base)
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

impl Fake {
    /// Answers every call from `answering`.
    pub fn new(answering: impl Fn(&Made) -> Result<Value, Problem> + 'static) -> Self {
        Self {
            answering: Box::new(answering),
            sending: Box::new(|| Err(SendError("nothing is there".to_owned()))),
            counting: Box::new(|| Some(true)),
            counted: RefCell::default(),
            clock: Rc::new(Cell::new(NOW)),
            script: Rc::default(),
            made: RefCell::default(),
            sent: RefCell::default(),
            lines: RefCell::default(),
            config: config(&[]),
            metrics: None,
            in_flight: Cell::new(0),
            most_in_flight: Cell::new(0),
            entropy: SeededEntropy::new(1),
        }
    }

    /// Answers no call.
    pub fn idle() -> Self {
        Self::new(|made| panic!("unexpected: {made:?}"))
    }

    pub fn with(mut self, changes: &[(&str, &str)]) -> Self {
        self.config = config(changes);
        self
    }

    /// The caller's token.
    pub fn token(&self) -> String {
        let config = self.config.as_ref().unwrap();
        let (user, device): (UserId, DeviceId) = (ME.parse().unwrap(), DEVICE.parse().unwrap());
        config.keys.issue(user, device, NOW).unwrap().0
    }

    pub async fn respond(&self, request: Request<Vec<u8>>) -> Read {
        match respond(self, &self.config, request).await {
            Reply::Http(response) => {
                let (parts, body) = response.into_parts();
                Read {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body,
                    upgraded: false,
                    pieces: None,
                }
            }
            Reply::Stream(response) => {
                let (parts, pieces) = response.into_parts();
                Read {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body: Vec::new(),
                    upgraded: false,
                    pieces: Some(pieces),
                }
            }
            Reply::Upgraded(()) => Read {
                status: 101,
                headers: HeaderMap::new(),
                body: Vec::new(),
                upgraded: true,
                pieces: None,
            },
        }
    }

    /// Asks as the caller.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Read {
        self.respond(request(method, path, Some(&self.token()), body))
            .await
    }

    /// Asks as no one.
    pub async fn ask_anonymously(&self, method: &str, path: &str, body: Option<Value>) -> Read {
        self.respond(request(method, path, None, body)).await
    }

    pub fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// The names of the calls made: `USER sign_in`.
    pub fn calls(&self) -> Vec<String> {
        let made = self.made.borrow();
        made.iter()
            .map(|made| format!("{} {}", made.class, made.call()))
            .collect()
    }

    fn opened(&self, id: UserId, call: &str, open: &OpenSession) -> Result<(), Problem> {
        let made = Made {
            class: "USER",
            name: id.to_string(),
            request: json!({call: to_json(open)}),
        };
        self.made.borrow_mut().push(made.clone());
        (self.answering)(&made).map(|_| ())
    }

    async fn answer<O: ObjectClass, C: Call<O>>(
        &self,
        name: String,
        call: C,
    ) -> Result<C::Reply, Problem>
    where
        C::Reply: DeserializeOwned,
    {
        let request: O::Request = call.into();
        let made = Made {
            class: O::BINDING,
            name,
            request: to_json(&request),
        };
        self.made.borrow_mut().push(made.clone());
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight
            .set(self.most_in_flight.get().max(self.in_flight.get()));
        tokio::task::yield_now().await;
        self.in_flight.set(self.in_flight.get() - 1);
        (self.answering)(&made).map(|value| serde_json::from_value(value).unwrap())
    }
}

impl Made {
    /// The request's name.
    pub fn call(&self) -> &str {
        self.request.as_object().unwrap().keys().next().unwrap()
    }

    /// The request's fields.
    pub fn fields(&self) -> &Value {
        &self.request[self.call()]
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// A request; a body is sent as JSON.
pub fn request(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Request<Vec<u8>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("https://chat.example{path}"));
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        builder = builder.header("content-type", "application/json");
    }
    builder
        .body(
            body.map(|body| body.to_string().into_bytes())
                .unwrap_or_default(),
        )
        .unwrap()
}

pub fn public_profile(user_id: &str, name: &str) -> Value {
    json!({"user_id": user_id, "display_name": name, "status_message": "", "profile_pic_url": format!("https://pics.example/{name}")})
}

impl Backend for Fake {
    type Upgrade = ();
    const HAS_BUCKET: bool = true;
    type Session = FakeSession;

    async fn account<C: Call<AccountObject>>(
        &self,
        name: &AccountName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.answer::<AccountObject, C>(AccountObject::object_name(name), call)
            .await
    }

    async fn user<C: Call<UserObject>>(&self, id: UserId, call: C) -> Result<C::Reply, Problem> {
        self.answer::<UserObject, C>(id.to_string(), call).await
    }

    async fn conversation<C: Call<ConversationObject>>(
        &self,
        id: ConversationId,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.answer::<ConversationObject, C>(id.to_string(), call)
            .await
    }

    async fn conversation_socket(
        &self,
        id: ConversationId,
        open: OpenSocket,
    ) -> Result<(), Problem> {
        let request = json!({"open_socket": to_json(&open)});
        let made = Made {
            class: "CONVERSATION",
            name: id.to_string(),
            request,
        };
        self.made.borrow_mut().push(made.clone());
        (self.answering)(&made).map(|_| ())
    }

    async fn limiter<C: Call<LimiterObject>>(
        &self,
        name: &LimiterName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.answer::<LimiterObject, C>(name.as_str().to_owned(), call)
            .await
    }

    async fn moderation<C: Call<ModerationObject>>(&self, call: C) -> Result<C::Reply, Problem> {
        self.answer::<ModerationObject, C>(ModerationObject::object_name(&()), call)
            .await
    }

    async fn media<C: Call<MediaObject>>(&self, id: MediaId, call: C) -> Result<C::Reply, Problem> {
        self.answer::<MediaObject, C>(id.to_string(), call).await
    }

    async fn count_request(&self, name: &LimiterName) -> Option<bool> {
        self.counted.borrow_mut().push(name.as_str().to_owned());
        (self.counting)()
    }

    async fn user_socket(&self, id: UserId, open: OpenSession) -> Result<(), Problem> {
        self.opened(id, "open_user_socket", &open)
    }

    async fn session(&self, id: UserId, open: OpenSession) -> Result<FakeSession, Problem> {
        self.opened(id, "open_session", &open)?;
        Ok(FakeSession {
            clock: Rc::clone(&self.clock),
            script: Rc::clone(&self.script),
        })
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, SendError> {
        self.sent.borrow_mut().push(request);
        let (status, body) = (self.sending)()?;
        let mut response = Response::new(body.to_string().into_bytes());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }

    fn now(&self) -> Timestamp {
        self.clock.get()
    }

    fn entropy(&self) -> &dyn Entropy {
        &self.entropy
    }

    fn log(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn metrics(&self) -> Option<String> {
        self.metrics.clone()
    }
}
