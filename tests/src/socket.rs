//! A client of the sockets.
//!
//! [`Socket::recv`] gives one frame at a time, with batches taken apart. What it has given is
//! also kept in [`Socket::seen`], so that a test can look back.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{HeaderName, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{Api, PATIENCE, User, uuid};

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: VecDeque<Value>,
    closed: Option<Option<u16>>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// Every frame that was received, in order.
    pub seen: Vec<Value>,
}

/// How a session socket began: all that came up to `sync_complete`.
#[derive(Debug)]
pub struct Opening {
    /// The `auth_ack`.
    pub hello: Value,
    /// The frames that waited for the device, in order.
    pub pending: Vec<Value>,
    /// The `total_unread` of `sync_complete`.
    pub total_unread: u64,
}

/// An upgrade that was answered over HTTP.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
}

impl Socket {
    /// Opens a socket at a path under `/api/v1` with these headers and no others.
    ///
    /// # Errors
    /// [`Refused`] where the server answers over HTTP.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn upgrade(api: &Api, path: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        let url = api.url(path).replacen("http", "ws", 1);
        let mut request = url.into_client_request().expect("a socket's address");
        for (name, value) in headers {
            request.headers_mut().insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a header's name"),
                HeaderValue::from_str(value).expect("a header's value"),
            );
        }
        let connected = tokio::time::timeout(PATIENCE, connect_async(request)).await;
        match connected.expect("the upgrade is answered") {
            Ok((stream, response)) => Ok(Self {
                stream,
                waiting: VecDeque::new(),
                closed: None,
                subprotocol: response
                    .headers()
                    .get(SEC_WEBSOCKET_PROTOCOL)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
                seen: Vec::new(),
            }),
            Err(Error::Http(response)) => Err(Refused {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
            }),
            Err(error) => panic!("{path} could not be opened: {error:?}"),
        }
    }

    /// Opens a conversation's socket and gives it with its `auth_ack`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(user: &User, conversation: &str) -> (Self, Value) {
        Self::open_at(user, &format!("/conversations/{conversation}/ws")).await
    }

    /// As [`Socket::open`], with a replay of what came after a seq.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open_after(user: &User, conversation: &str, after_seq: u64) -> (Self, Value) {
        Self::open_at(
            user,
            &format!("/conversations/{conversation}/ws?after_seq={after_seq}"),
        )
        .await
    }

    /// Opens a device's session socket, and receives what waits for it.
    ///
    /// # Panics
    /// When it is refused, or begins with anything but `auth_ack`.
    pub async fn session(user: &User) -> (Self, Opening) {
        let (mut socket, hello) = Self::begin_session(user).await;
        let last = socket.until_type("sync_complete").await;
        let total_unread = last["total_unread"].as_u64().expect("a total_unread");
        let pending = socket.seen[1..socket.seen.len() - 1].to_vec();
        let opening = Opening {
            hello,
            pending,
            total_unread,
        };
        (socket, opening)
    }

    /// Opens a device's session socket and gives it with its `auth_ack`; what waits is still to
    /// be received.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn begin_session(user: &User) -> (Self, Value) {
        Self::open_at(user, "/ws").await
    }

    /// The status with which an upgrade is refused.
    ///
    /// # Panics
    /// When it is not.
    pub async fn refusal(api: &Api, path: &str, headers: &[(&str, &str)]) -> u16 {
        match Self::upgrade(api, path, headers).await {
            Ok(_) => panic!("{path} was opened with {headers:?}"),
            Err(refused) => refused.status,
        }
    }

    async fn open_at(user: &User, path: &str) -> (Self, Value) {
        let bearer = format!("Bearer {}", user.token());
        let mut socket = match Self::upgrade(&user.api, path, &[("authorization", &bearer)]).await {
            Ok(socket) => socket,
            Err(refused) => panic!("{path} was refused: {refused:?}"),
        };
        let hello = socket.hello().await;
        assert_eq!(hello["user_id"], user.id);
        assert_eq!(hello["device_id"], user.device_id());
        (socket, hello)
    }

    /// Receives the first frame, which must be an `auth_ack`.
    ///
    /// # Panics
    /// When it is not.
    pub async fn hello(&mut self) -> Value {
        let hello = self.recv().await;
        assert_eq!(
            hello["type"], "auth_ack",
            "a socket begins with auth_ack: {hello}"
        );
        hello
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends a text that need not be a frame.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send_text(&mut self, text: &str) {
        self.try_send(Message::text(text))
            .await
            .expect("the socket is open");
    }

    /// Sends a binary message.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.try_send(Message::binary(bytes))
            .await
            .expect("the socket is open");
    }

    /// Sends a WebSocket message.
    ///
    /// # Errors
    /// The connection's.
    pub async fn try_send(&mut self, message: Message) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.stream.send(message))
            .await
            .expect("the server reads")
    }

    /// Sends frames without waiting in between.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send_all(&mut self, frames: &[Value]) {
        for frame in frames {
            self.stream
                .feed(Message::text(frame.to_string()))
                .await
                .expect("the socket is open");
        }
        self.stream.flush().await.expect("the socket is open");
    }

    /// Receives the next frame; nothing where the socket is closed or lost.
    ///
    /// # Panics
    /// When nothing comes for as long as [`PATIENCE`], or no frame.
    pub async fn try_recv(&mut self) -> Option<Value> {
        while self.waiting.is_empty() {
            if self.closed.is_some() {
                return None;
            }
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            let Ok(next) = next else {
                panic!("no frame came; the last ones were {:?}", self.last_seen());
            };
            match next {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(text.as_str()).expect("a frame is JSON");
                    unbatch(frame, &mut self.waiting);
                }
                Some(Ok(Message::Binary(bytes))) => panic!("a frame is text, not {bytes:?}"),
                Some(Ok(Message::Close(close))) => {
                    self.closed = Some(close.map(|close| close.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => self.closed = Some(None),
            }
        }
        let frame = self.waiting.pop_front()?;
        assert!(frame["type"].is_string(), "a frame has a type: {frame}");
        self.seen.push(frame.clone());
        Some(frame)
    }

    /// Receives the next frame.
    ///
    /// # Panics
    /// When the socket is closed, or as [`Socket::try_recv`].
    pub async fn recv(&mut self) -> Value {
        match self.try_recv().await {
            Some(frame) => frame,
            None => panic!(
                "the socket is closed ({:?}) after {:?}",
                self.closed,
                self.last_seen()
            ),
        }
    }

    /// The last frames, as a failure shows them: the beginning of each tells enough.
    fn last_seen(&self) -> Vec<String> {
        let last = &self.seen[self.seen.len().saturating_sub(5)..];
        last.iter()
            .map(|frame| frame.to_string().chars().take(400).collect())
            .collect()
    }

    /// Receives up to the first frame that `fits`, and gives that; the others are in
    /// [`Socket::seen`].
    ///
    /// # Panics
    /// As [`Socket::recv`].
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.recv().await;
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Receives up to the first frame of this type.
    ///
    /// # Panics
    /// As [`Socket::recv`].
    pub async fn until_type(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    /// Receives all that the server had to say until now: asks for something that it answers
    /// with an error, and gives what came before.
    ///
    /// # Panics
    /// As [`Socket::recv`].
    pub async fn settled(&mut self) -> Vec<Value> {
        let mark = uuid();
        let before = self.seen.len();
        self.send(&json!({"type": "no_such_frame", "client_msg_id": mark}))
            .await;
        self.until(|frame| frame["type"] == "error" && frame["client_msg_id"] == mark)
            .await;
        self.seen[before..self.seen.len() - 1].to_vec()
    }

    /// Receives for so long, and gives what came: for what should not come.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn quiet_for(&mut self, time: Duration) -> Vec<Value> {
        let before = self.seen.len();
        let receiving = async {
            loop {
                self.recv().await;
            }
        };
        // Receiving can be broken off: a frame is in `waiting` or in `seen`.
        let _ = tokio::time::timeout(time, receiving).await;
        self.seen[before..].to_vec()
    }

    /// Waits until the server refuses what was sent with an error, or closes with one of these
    /// codes.
    ///
    /// # Panics
    /// When it does neither.
    pub async fn refuses_or_closes(&mut self, codes: &[u16]) {
        match self.try_recv().await {
            Some(frame) => assert_eq!(frame["type"], "error", "{frame}"),
            None => {
                let code = self.close_code().await;
                assert!(
                    code.is_some_and(|code| codes.contains(&code)),
                    "closed with {code:?}"
                );
            }
        }
    }

    /// Waits until the server closes, and gives its close code, where it gave one.
    ///
    /// # Panics
    /// As [`Socket::try_recv`].
    pub async fn close_code(&mut self) -> Option<u16> {
        while self.try_recv().await.is_some() {}
        self.closed.flatten()
    }

    /// Closes it.
    pub async fn close(mut self) {
        // It may be closed already.
        let _ = self.stream.close(None).await;
    }
}

fn unbatch(frame: Value, into: &mut VecDeque<Value>) {
    if frame["type"] == "batch" {
        for inner in frame["frames"].as_array().expect("a batch has frames") {
            unbatch(inner.clone(), into);
        }
    } else {
        into.push_back(frame);
    }
}

/// The frame that sends a text.
#[must_use]
pub fn send_message(conversation: &str, client_msg_id: &str, content: &str) -> Value {
    json!({
        "type": "send_message",
        "conversation_id": conversation,
        "client_msg_id": client_msg_id,
        "content": content,
        "content_type": "text",
        "reply_to": null,
    })
}

/// A frame with a position: `ack` or `read_receipt`.
#[must_use]
pub fn position(kind: &str, conversation: &str, up_to_seq: u64) -> Value {
    json!({"type": kind, "conversation_id": conversation, "up_to_seq": up_to_seq})
}

/// The frame by which a device acknowledges.
#[must_use]
pub fn ack(conversation: &str, up_to_seq: u64) -> Value {
    position("ack", conversation, up_to_seq)
}

/// The frame by which a person has read.
#[must_use]
pub fn read(conversation: &str, up_to_seq: u64) -> Value {
    position("read_receipt", conversation, up_to_seq)
}

/// The frame that says that someone is writing (`typing_start`) or has stopped (`typing_stop`).
#[must_use]
pub fn typing(kind: &str, conversation: &str) -> Value {
    json!({"type": kind, "conversation_id": conversation})
}

/// Those among these frames that have this type.
#[must_use]
pub fn of_type(frames: &[Value], kind: &str) -> Vec<Value> {
    frames
        .iter()
        .filter(|frame| frame["type"] == kind)
        .cloned()
        .collect()
}

/// The events of one conversation among these frames.
#[must_use]
pub fn events_of(frames: &[Value], conversation: &str) -> Vec<Value> {
    frames
        .iter()
        .filter(|frame| frame["conversation_id"] == conversation && is_event(frame))
        .cloned()
        .collect()
}

/// The types of the events of a conversation's log.
const EVENTS: [&str; 12] = [
    "new_message",
    "member_added",
    "member_removed",
    "role_changed",
    "conversation_deleted",
    "conversation_changed",
    "message_edited",
    "message_deleted",
    "reaction",
    "pin_changed",
    "poll_vote",
    "poll_closed",
];

/// Whether the frame is an event of a conversation's log.
#[must_use]
pub fn is_event(frame: &Value) -> bool {
    EVENTS.iter().any(|kind| frame["type"] == *kind)
}

/// The seqs of the events among these frames.
#[must_use]
pub fn seqs(frames: &[Value]) -> Vec<u64> {
    frames
        .iter()
        .filter(|frame| is_event(frame))
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}
