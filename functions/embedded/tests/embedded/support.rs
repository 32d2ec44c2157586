//! A host over rusqlite with a clock of its own, and people who use it over HTTP.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use parlance_embedded::{Embedded, Host, Settings};
use parlance_functions::answer::Pieces;
use parlance_functions::backend::SendError;
use parlance_functions::config::Config;
use parlance_functions::{Reply, respond};
use parlance_shared::entropy::{Entropy, SeededEntropy};
use parlance_shared::sql::native::NativeSql;
use parlance_shared::sql::{Param, Sql, SqlError, Value as SqlValue};
use parlance_shared::time::Timestamp;
use serde_json::{Value, json};

const SEED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
pub const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// What object storage has: sizes and types by keys.
pub type Objects = BTreeMap<String, (usize, &'static str)>;

/// What happens elsewhere while one sleeps.
pub type Meanwhile = Box<dyn FnMut(Timestamp)>;

/// A platform whose time passes only where it is slept through.
#[derive(Clone)]
pub struct Machine {
    pub path: PathBuf,
    pub clock: Rc<Cell<Timestamp>>,
    /// What object storage has; nothing where it does not answer.
    pub objects: Rc<RefCell<Option<Objects>>>,
    entropy: Rc<SeededEntropy>,
    /// What is done at each moment that is slept through.
    pub meanwhile: Rc<RefCell<Option<Meanwhile>>>,
}

impl Host for Machine {
    type Database = NativeSql;

    fn open(&self) -> Result<NativeSql, SqlError> {
        let sql = NativeSql::open(&self.path)?;
        if self.meanwhile.borrow().is_some() {
            // Its time is simulated: SQLite is not to wait in the machine's.
            sql.exec("PRAGMA busy_timeout = 0", &[])?;
        }
        Ok(sql)
    }

    fn now(&self) -> Timestamp {
        self.clock.get()
    }

    fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    fn log(&self, _line: &str) {}

    async fn sleep(&self, duration: Duration) {
        self.clock.set(self.clock.get() + duration);
        if let Some(meanwhile) = self.meanwhile.borrow_mut().as_mut() {
            meanwhile(self.clock.get());
        }
        // So that another future gets its turn.
        let mut is_second = false;
        std::future::poll_fn(|context: &mut Context<'_>| {
            if is_second {
                return Poll::Ready(());
            }
            is_second = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Plays object storage.
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, SendError> {
        let mut objects = self.objects.borrow_mut();
        let objects = objects
            .as_mut()
            .ok_or_else(|| SendError("there is no network".to_owned()))?;
        let key = request.uri().path().trim_start_matches("/bucket/");
        let mut response = Response::builder();
        response = match (request.method().as_str(), objects.get(key)) {
            ("HEAD", Some((size, content_type))) => response
                .header("content-length", size.to_string())
                .header("content-type", *content_type),
            ("HEAD", None) => response.status(404),
            ("DELETE", _) => {
                objects.remove(key);
                response.status(204)
            }
            other => panic!("unexpected: {other:?}"),
        };
        Ok(response.body(Vec::new()).unwrap())
    }
}

/// A deployment with a database of its own.
pub struct Service {
    pub machine: Machine,
    config: Result<Config, parlance_functions::config::ConfigError>,
    scale: f64,
    _folder: Option<tempfile::TempDir>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Service {
    /// A new one without rate limits.
    pub fn new() -> Self {
        Self::with_scale(0.0)
    }

    pub fn with_scale(scale: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        Self {
            _folder: Some(folder),
            ..Self::on(path, scale, 1)
        }
    }

    /// Another instance on a database that may be there.
    pub fn on(path: PathBuf, scale: f64, seed: u64) -> Self {
        let keys = format!("k1:{SEED}");
        let config = Config::read(|name| {
            let value = match name {
                "TOKEN_KEYS" => keys.as_str(),
                "PHONE_HASH_KEY" => SEED,
                "DEVELOPMENT" => "1",
                "CODE_PROVIDER" => "dev",
                "ADMIN_TOKEN" => "an-admin-token-of-32-characters-or-more",
                "S3_ENDPOINT" => "https://storage.example",
                "S3_BUCKET" => "bucket",
                "S3_ACCESS_KEY_ID" | "S3_SECRET_ACCESS_KEY" => "key",
                _ => return None,
            };
            Some(value.to_owned())
        });
        Self {
            machine: Machine {
                path,
                clock: Rc::new(Cell::new(START)),
                objects: Rc::new(RefCell::new(Some(BTreeMap::new()))),
                entropy: Rc::new(SeededEntropy::new(seed)),
                meanwhile: Rc::default(),
            },
            config,
            scale,
            _folder: None,
        }
    }

    pub fn backend(&self) -> Embedded<Machine> {
        Embedded::new(
            self.machine.clone(),
            Settings {
                rate_limit_scale: self.scale,
                ..self.config.as_ref().map(Settings::from).unwrap()
            },
        )
    }

    pub fn pass(&self, time: Duration) {
        let clock = &self.machine.clock;
        clock.set(clock.get() + time);
    }

    pub async fn reply(&self, request: Request<Vec<u8>>) -> Reply<parlance_embedded::NoSocket> {
        respond(&self.backend(), &self.config, request).await
    }

    pub async fn ask(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            request = request.header("content-type", "application/json");
            body.to_string().into_bytes()
        };
        match self.reply(request.body(bytes).unwrap()).await {
            Reply::Http(response) => Answer {
                status: response.status().as_u16(),
                body: serde_json::from_slice(response.body()).unwrap_or_default(),
            },
            Reply::Stream(_) => panic!("{path} answered a stream"),
            Reply::Upgraded(_) => panic!("{path} answered a socket"),
        }
    }

    /// Signs a new user in.
    pub async fn person(&self, number: u32) -> Person<'_> {
        let phone_number = format!("+1415555{number:04}");
        let body = json!({"phone_number": phone_number});
        let code = self.ask("POST", "/api/v1/auth/code", "", body).await;
        let code = code.expect(202)["dev_code"].clone();
        let body = json!({"phone_number": phone_number, "verification_code": code});
        let login = self.ask("POST", "/api/v1/auth/login", "", body).await;
        let login = login.expect(200);
        Person {
            service: self,
            id: login["user_id"].as_str().unwrap().to_owned(),
            token: login["token"].as_str().unwrap().to_owned(),
        }
    }

    /// One number of the database.
    pub fn count(&self, statement: &'static str, params: &[Param<'_>]) -> i64 {
        let rows = self
            .machine
            .open()
            .unwrap()
            .exec(statement, params)
            .unwrap();
        rows.scalar().unwrap().unwrap()
    }

    /// Every row of a table.
    pub fn rows(&self, statement: &'static str, columns: usize) -> Vec<Vec<String>> {
        let rows = self.machine.open().unwrap().exec(statement, &[]).unwrap();
        rows.rows
            .iter()
            .map(|row| {
                (0..columns)
                    .map(|column| format!("{:?}", row.get::<Any>(column).unwrap().0))
                    .collect()
            })
            .collect()
    }
}

struct Any(SqlValue);

impl parlance_shared::sql::FromValue for Any {
    fn from_value(value: &SqlValue) -> Result<Self, SqlError> {
        Ok(Self(value.clone()))
    }
}

/// A user with a device.
pub struct Person<'s> {
    pub service: &'s Service,
    pub id: String,
    pub token: String,
}

impl Person<'_> {
    pub async fn get(&self, path: &str) -> Answer {
        self.service
            .ask("GET", &format!("/api/v1{path}"), &self.token, Value::Null)
            .await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.service
            .ask("POST", &format!("/api/v1{path}"), &self.token, body)
            .await
    }

    /// The direct chat with another.
    pub async fn chat_with(&self, other: &Person<'_>) -> String {
        let body = json!({"type": "direct", "member_ids": [other.id]});
        let made = self.post("/conversations", body).await;
        assert!(made.status == 201 || made.status == 200, "{made:?}");
        made.body["conversation_id"].as_str().unwrap().to_owned()
    }

    pub async fn send(&self, conversation: &str, number: u32) -> Answer {
        let body = json!({
            "client_msg_id": format!("00000000-0000-4000-8000-{number:012}"),
            "content": format!("message {number}"),
            "content_type": "text",
        });
        self.post(&format!("/conversations/{conversation}/messages"), body)
            .await
    }

    /// Opens a stream.
    pub async fn stream(&self, last_event_id: &str) -> Stream {
        let mut request = Request::builder()
            .uri("/api/v1/events")
            .header("authorization", format!("Bearer {}", self.token));
        if !last_event_id.is_empty() {
            request = request.header("last-event-id", last_event_id);
        }
        match self.service.reply(request.body(Vec::new()).unwrap()).await {
            Reply::Stream(response) => Stream {
                pieces: response.into_body(),
                clock: Rc::clone(&self.service.machine.clock),
                events: VecDeque::new(),
                last_id: String::new(),
            },
            Reply::Http(response) => {
                panic!("{}", String::from_utf8_lossy(response.body()))
            }
            Reply::Upgraded(_) => panic!("a socket"),
        }
    }

    /// Polls once.
    pub async fn poll(&self, cursor: &str) -> Value {
        let path = format!("/sync?wait=0&cursor={cursor}");
        self.get(&path).await.expect(200)
    }
}

/// Server-Sent Events, as they come.
pub struct Stream {
    pieces: Pieces,
    clock: Rc<Cell<Timestamp>>,
    events: VecDeque<Value>,
    /// The id of the last event that had one.
    pub last_id: String,
}

impl Stream {
    /// The next event's data within `wait` of the test's clock.
    pub async fn next(&mut self, wait: Duration) -> Option<Value> {
        let until = self.clock.get() + wait;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.clock.get() > until {
                return None;
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Option<()> {
        let piece = std::future::poll_fn(|context| {
            use futures_core::Stream as _;
            pin!(&mut self.pieces).poll_next(context)
        })
        .await?;
        for line in String::from_utf8(piece).unwrap().lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                self.events.push_back(serde_json::from_str(data).unwrap());
            }
        }
        Some(())
    }

    /// The next event of this type; others are passed over.
    pub async fn expect(&mut self, kind: &str) -> Value {
        for _ in 0..100 {
            let event = self.next(Duration::from_secs(20)).await;
            let event = event.unwrap_or_else(|| panic!("no {kind} came"));
            if event["type"] == kind {
                return event;
            }
        }
        panic!("no {kind} among 100 events")
    }
}

/// Runs a future that never waits for anything but itself.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("it never ends")
}
