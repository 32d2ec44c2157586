//! Hibernatable sockets. The runtime keeps them while the object sleeps; what the object knows
//! about one is in its tags and its attachment, and nowhere else.
//!
//! What always holds: a socket that has gone is an error to the caller, never a panic.

use js_sys::JsString;
use parlance_shared::protocol::frame::{PING, PONG, SUBPROTOCOL};
use parlance_shared::time::Timestamp;
use wasm_bindgen::{JsCast, JsValue};
use worker::durable::State;
use worker::{Response, ResponseBuilder, WebSocket, WebSocketPair, WebSocketRequestResponsePair};

use crate::bindings::{ObjectSocket, ObjectState};
use crate::host::HostError;

/// Tags that a socket can have (a limit of the runtime).
pub const TAGS: usize = 10;
/// Characters of a tag (a limit of the runtime).
pub const TAG_CHARS: usize = 256;

/// The object's end of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket(web_sys::WebSocket);

impl From<WebSocket> for Socket {
    fn from(socket: WebSocket) -> Self {
        Self(socket.as_ref().clone())
    }
}

impl From<&WebSocket> for Socket {
    fn from(socket: &WebSocket) -> Self {
        Self(socket.as_ref().clone())
    }
}

impl Socket {
    fn raw(&self) -> &ObjectSocket {
        self.0.unchecked_ref()
    }

    /// Sends a frame. Make the [`JsString`] once and hand it to as many sockets as there are.
    ///
    /// # Errors
    /// When the socket is closing or closed.
    pub fn send(&self, text: &JsString) -> Result<(), HostError> {
        Ok(self.raw().send(text)?)
    }

    /// Closes the socket from this side, and forgets what was kept with it: the runtime goes on
    /// listing it until the client has answered, which one that is gone never does.
    ///
    /// # Errors
    /// When the code is none that may be sent.
    pub fn end(&self, code: u16) -> Result<(), HostError> {
        self.attach("")?;
        self.close(code, "")
    }

    /// Closes the socket. `reason` is at most 123 bytes (RFC 6455, section 5.5).
    ///
    /// # Errors
    /// When the code is none that may be sent or the reason is too long.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), HostError> {
        Ok(self.0.close_with_code_and_reason(code, reason)?)
    }

    /// Keeps a text with the socket, in place of the one before: at most 16 KiB.
    ///
    /// # Errors
    /// When it is too large.
    pub fn attach(&self, text: &str) -> Result<(), HostError> {
        Ok(self.raw().serialize_attachment(&JsValue::from_str(text))?)
    }

    /// The text that is kept with the socket.
    ///
    /// # Errors
    /// When the runtime refuses.
    pub fn attachment(&self) -> Result<Option<String>, HostError> {
        Ok(self.raw().deserialize_attachment()?.as_string())
    }

    /// When the runtime last answered a ping on this socket by itself; `None` if it never did.
    ///
    /// # Errors
    /// When the socket is none of this object.
    pub fn last_ping(&self, state: &State) -> Result<Option<Timestamp>, HostError> {
        let state: &JsValue = state.as_raw().as_ref();
        let at = state
            .unchecked_ref::<ObjectState>()
            .auto_response_timestamp(&self.0)?;
        Ok(at.map(|date| Timestamp::from_millis(date.get_time() as i64)))
    }

    /// The tags that the socket was accepted with.
    ///
    /// # Errors
    /// When the socket is none of this object.
    pub fn tags(&self, state: &State) -> Result<Vec<String>, HostError> {
        Ok(state.as_raw().get_tags(&self.0)?)
    }
}

/// The code that answers a close frame with `code`: the same, where it may be sent (RFC 6455,
/// section 7.4).
#[must_use]
pub fn echo_code(code: usize) -> u16 {
    u16::try_from(code)
        .ok()
        .filter(|code| matches!(code, 1000 | 3000..=4999))
        .unwrap_or(1000)
}

/// A fresh socket that the object has accepted: its own end, and the response to the upgrade.
#[derive(Debug)]
pub struct Accepted {
    /// The object's end. Frames sent before the response leaves arrive right after it.
    pub socket: Socket,
    /// 101, with the client's end in it.
    pub response: Response,
}

/// Accepts a socket so that it hibernates, findable by `tags`, with `attachment` kept with it.
/// With `subprotocol`, the response states the protocol that the client offered.
///
/// # Errors
/// When there are more than [`TAGS`] tags, a tag is longer than [`TAG_CHARS`], or the runtime
/// refuses (an object has at most 32,768 sockets). No socket is left behind then.
pub fn accept(
    state: &State,
    tags: &[&str],
    attachment: &str,
    subprotocol: bool,
) -> Result<Accepted, HostError> {
    let pair = WebSocketPair::new()?;
    let socket = Socket::from(pair.server);
    // The attachment first: were it refused, the object would have a socket it knows nothing of.
    socket.attach(attachment)?;
    let mut response = ResponseBuilder::new()
        .with_status(101)
        .with_websocket(pair.client);
    if subprotocol {
        response = response.with_header("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    let tags = tags.iter().map(|tag| JsValue::from_str(tag)).collect();
    state.as_raw().accept_websocket_with_tags(&socket.0, tags)?;
    Ok(Accepted {
        socket,
        response: response.empty(),
    })
}

/// All sockets of the object.
///
/// # Errors
/// When the runtime refuses.
pub fn all(state: &State) -> Result<Vec<Socket>, HostError> {
    let sockets = state.as_raw().get_websockets()?;
    Ok(sockets.into_iter().map(Socket).collect())
}

/// The object's sockets that have this tag.
///
/// # Errors
/// When the runtime refuses.
pub fn with_tag(state: &State, tag: &str) -> Result<Vec<Socket>, HostError> {
    let sockets = state.as_raw().get_websockets_with_tag(tag)?;
    Ok(sockets.into_iter().map(Socket).collect())
}

/// Has the runtime answer the keep-alive frame on every socket of this object, without waking it.
/// To be called whenever the object is constructed.
///
/// # Errors
/// When the runtime refuses.
pub fn answer_pings(state: &State) -> Result<(), HostError> {
    let pair = WebSocketRequestResponsePair::new(PING, PONG)?;
    Ok(state.as_raw().set_websocket_auto_response(&pair)?)
}
