//! Clients of the transports for those that can have no socket: Server-Sent Events and long
//! poll.

use std::collections::VecDeque;

use reqwest::Response;
use serde_json::Value;

use crate::{PATIENCE, Reply, User};

/// An event of a stream (WHATWG HTML, section 9.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// The last `id` until then: what a client that comes back sends as `Last-Event-ID`.
    pub id: Option<String>,
    /// The frame.
    pub frame: Value,
}

/// An open event stream.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    /// What has come and is no whole line yet.
    bytes: Vec<u8>,
    data: Option<String>,
    id: Option<String>,
    waiting: VecDeque<StreamEvent>,
}

impl EventStream {
    /// Opens a device's stream, going on after an event where one is given.
    ///
    /// # Panics
    /// When it is refused, or is no event stream.
    pub async fn open(user: &User, last_event_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new()
            .get(user.api.url("/events"))
            .bearer_auth(user.token())
            .header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let sent = tokio::time::timeout(PATIENCE, request.send()).await;
        let response = sent.expect("an answer in time").expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        assert!(
            header("content-type").starts_with("text/event-stream"),
            "{response:?}"
        );
        assert!(
            header("cache-control").contains("no-"),
            "nobody may keep it: {response:?}"
        );
        Self {
            response,
            bytes: Vec::new(),
            data: None,
            id: last_event_id.map(str::to_owned),
            waiting: VecDeque::new(),
        }
    }

    /// Receives the next event; nothing where the stream has ended.
    ///
    /// # Panics
    /// When nothing comes for as long as [`PATIENCE`], or what comes is no frame.
    pub async fn try_recv(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let next = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = next.expect("the stream goes on").ok()??;
            self.bytes.extend_from_slice(&chunk);
            while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a stream is UTF-8");
                self.line(line.trim_end_matches(['\r', '\n']));
            }
        }
    }

    /// Receives the next event.
    ///
    /// # Panics
    /// When the stream has ended, or as [`EventStream::try_recv`].
    pub async fn recv(&mut self) -> StreamEvent {
        self.try_recv().await.expect("the stream has ended")
    }

    /// Receives up to the first event whose frame `fits`, and gives all until there.
    ///
    /// # Panics
    /// As [`EventStream::recv`].
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<StreamEvent> {
        let mut all = Vec::new();
        loop {
            all.push(self.recv().await);
            if all.last().is_some_and(|event| fits(&event.frame)) {
                return all;
            }
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                let frame: Value = serde_json::from_str(&data).expect("a frame is JSON");
                let id = self.id.clone();
                for frame in frames(frame) {
                    self.waiting.push_back(StreamEvent {
                        id: id.clone(),
                        frame,
                    });
                }
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                data => *data = Some(value.to_owned()),
            },
            "id" => self.id = Some(value.to_owned()),
            // A comment keeps the connection alive; other fields are not for us.
            _ => {}
        }
    }
}

/// The answer of one poll.
#[derive(Debug)]
pub struct Polled {
    /// The frames, with batches taken apart.
    pub frames: Vec<Value>,
    /// Where the next poll goes on. Passing it acknowledges these frames.
    pub cursor: String,
    /// Whether there is more that needs no waiting.
    pub has_more: bool,
}

/// Polls, for at most so many seconds.
///
/// # Panics
/// When it is refused, or the answer does not follow the contract.
pub async fn poll(user: &User, cursor: Option<&str>, wait: u64) -> Polled {
    let body = try_poll(user, cursor, wait).await.ok(200);
    let list = body["frames"].as_array().expect("a list of frames");
    Polled {
        frames: list.iter().cloned().flat_map(frames).collect(),
        cursor: crate::api::text(&body, "cursor").to_owned(),
        has_more: body["has_more"].as_bool().expect("has_more"),
    }
}

/// As [`poll`], with whatever answer comes.
///
/// # Panics
/// When the connection fails.
pub async fn try_poll(user: &User, cursor: Option<&str>, wait: u64) -> Reply {
    // Cursors are opaque, so they are escaped as anything would be.
    let cursor = cursor.map_or(String::new(), |cursor| {
        format!("&cursor={}", escaped(cursor))
    });
    user.api.get(&format!("/sync?wait={wait}{cursor}")).await
}

fn escaped(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            all.push(byte.into());
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
    }
    all
}

/// The frames of one message: itself, or those of a batch.
fn frames(frame: Value) -> Vec<Value> {
    if frame["type"] != "batch" {
        assert!(frame["type"].is_string(), "a frame has a type: {frame}");
        return vec![frame];
    }
    let inner = frame["frames"].as_array().expect("a batch has frames");
    inner.iter().cloned().flat_map(frames).collect()
}

/// Polls until `done` with all frames so far, and gives these and the last cursor.
///
/// # Panics
/// When a hundred polls do not do.
pub async fn poll_until(
    user: &User,
    mut cursor: Option<String>,
    done: impl Fn(&[Value]) -> bool,
) -> (Vec<Value>, String) {
    let mut all = Vec::new();
    for _ in 0..100 {
        let polled = poll(user, cursor.as_deref(), 5).await;
        all.extend(polled.frames);
        if done(&all) {
            return (all, polled.cursor);
        }
        cursor = Some(polled.cursor);
    }
    panic!("polled a hundred times for {all:?}");
}
