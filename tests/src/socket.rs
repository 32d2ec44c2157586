//! A client of the sockets.
//!
//! [`Socket::recv`] gives one frame at a time, with batches taken apart. What it has given is
//! also kept in [`Socket::seen`], so that a test can look back.

use std::collections::VecDeque;

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

    fn last_seen(&self) -> &[Value] {
        &self.seen[self.seen.len().saturating_sub(5)..]
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

/// The seqs of the events among these frames.
#[must_use]
pub fn seqs(frames: &[Value]) -> Vec<u64> {
    frames
        .iter()
        .filter(|frame| frame["type"] == "new_message" || frame["type"] == "member_added")
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}
