//! `GET /events`: the session's frames as Server-Sent Events (HTML standard, section 9.2).
//!
//! Each frame is one event, its `data` the frame's JSON. The `id` of an event that moves the inbox
//! on is a cursor: a client that connects again with it, as `EventSource` does by itself, has
//! acknowledged that event and all before it on the stream, and gets the rest.
//!
//! What always holds: the session is closed when the stream ends, on either side.

use std::time::Duration;

use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response};
use parlance_shared::protocol::frame::{CloseCode, ErrorFrame, ServerFrame};
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::user::call::{OpenSession, Transport};

use crate::Reply;
use crate::answer::Pieces;
use crate::authenticate::Caller;
use crate::backend::{Backend, Incoming, Session};
use crate::exchange::Exchange;
use crate::inbox::{self, Inbox, Positions};

/// Where a client says what it has; in the query for those that cannot set headers.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const LAST_EVENT_ID_PARAMETER: &str = "last_event_id";
/// Tells proxies not to gather the stream.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// After how much silence a comment is sent: it keeps proxies from giving up, and is how a client
/// that has gone is noticed.
const PING: Duration = Duration::from_secs(15);
/// The first piece: when to connect again after the stream has broken off.
const BEGINNING: &str = "retry: 2000\n\n";
/// The last piece where the cursor is full: connect again at once.
const GO_ROUND: &str = "retry: 0\n\n";
const COMMENT: &str = ": ping\n\n";

/// `GET /events`
pub(crate) async fn stream<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Result<Reply<B::Upgrade>, Problem> {
    let acknowledged = acknowledged(exchange)?;
    if exchange.request.method() == Method::HEAD {
        let mut response = Response::new(Vec::new());
        describe(response.headers_mut());
        return Ok(Reply::Http(response));
    }
    let open = OpenSession {
        user_id: caller.user_id,
        device_id: caller.device_id,
        expires_at: caller.expires_at,
        subprotocol: false,
        transport: Transport::Stream,
    };
    let session = exchange.backend.session(caller.user_id, open).await?;
    let inbox = Inbox::new(session, acknowledged, exchange.config.heartbeat);
    let mut response = Response::new(Pieces::new(stream::unfold(State::Begun(inbox), piece)));
    describe(response.headers_mut());
    Ok(Reply::Stream(response))
}

fn acknowledged<B: Backend>(exchange: &Exchange<'_, B>) -> Result<Positions, Problem> {
    let query = exchange.query();
    let cursor = match exchange.request.headers().get(LAST_EVENT_ID) {
        Some(value) => Some(value.to_str().unwrap_or("not ASCII")),
        None => query.text(LAST_EVENT_ID_PARAMETER)?,
    };
    Positions::read(LAST_EVENT_ID_PARAMETER, cursor)
}

fn describe(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Where a stream is.
enum State<S> {
    /// Nothing has been sent yet.
    Begun(Inbox<S>),
    /// Under way.
    Running {
        /// What is streamed.
        inbox: Inbox<S>,
        /// Whether the last frame was an error, which says why the session ends, if it does.
        is_told: bool,
    },
    /// The piece that says why it ends has been sent.
    Ended,
}

/// The next piece of the stream.
async fn piece<S: Session>(state: State<S>) -> Option<(Vec<u8>, State<S>)> {
    let (mut inbox, mut is_told) = match state {
        State::Begun(inbox) => {
            let is_told = false;
            return Some((BEGINNING.into(), State::Running { inbox, is_told }));
        }
        State::Running { inbox, is_told } => (inbox, is_told),
        State::Ended => return None,
    };
    loop {
        match inbox.next(PING).await {
            Incoming::Frame(text) => {
                let mut piece = String::new();
                let flow = write_frames(&mut inbox, &mut piece, &text, &mut is_told);
                if flow == Flow::GoRound {
                    piece.push_str(GO_ROUND);
                    return Some((piece.into_bytes(), State::Ended));
                }
                if !piece.is_empty() {
                    return Some((piece.into_bytes(), State::Running { inbox, is_told }));
                }
            }
            Incoming::Nothing => {
                return Some((COMMENT.into(), State::Running { inbox, is_told }));
            }
            Incoming::Closed(code) if code == CloseCode::TokenExpired.code() && !is_told => {
                let mut piece = String::new();
                write_event(&mut piece, None, &expired().to_text());
                return Some((piece.into_bytes(), State::Ended));
            }
            // The client connects again, and goes on from what it has.
            Incoming::Closed(_) => return None,
        }
    }
}

/// Whether the stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// It does.
    GoOn,
    /// The cursor is full: the client is to give it back.
    GoRound,
}

fn write_frames<S: Session>(
    inbox: &mut Inbox<S>,
    piece: &mut String,
    text: &str,
    is_told: &mut bool,
) -> Flow {
    for frame in inbox::frames(text) {
        *is_told = frame.kind == "error";
        if inbox.has(&frame) {
            continue;
        }
        if !inbox.note(&frame) {
            return Flow::GoRound;
        }
        let id = frame.advances().then(|| inbox.sent().cursor());
        write_event(piece, id.as_deref(), frame.json.get());
    }
    Flow::GoOn
}

fn expired() -> ServerFrame {
    ServerFrame::Error(ErrorFrame {
        code: Code::Unauthenticated,
        detail: "The token has expired or was revoked.".to_owned(),
        client_msg_id: None,
        retry_after_ms: None,
    })
}

fn write_event(piece: &mut String, id: Option<&str>, data: &str) {
    if let Some(id) = id {
        piece.push_str("id: ");
        piece.push_str(id);
        piece.push('\n');
    }
    // The JSON of a frame has no line breaks; were it to, each line is one of the data.
    for line in data.split(['\r', '\n']) {
        piece.push_str("data: ");
        piece.push_str(line);
        piece.push('\n');
    }
    piece.push('\n');
}
