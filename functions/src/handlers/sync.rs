//! `GET /sync`: the session's frames, a page at a time (long poll).
//!
//! A poll opens a session, takes what waits there, or else what comes within the time that the
//! client is ready to wait, and answers with it and a cursor. Giving the cursor acknowledges the
//! page; without one the same comes again.
//!
//! What always holds: a page has at most [`MOST_FRAMES`] frames and, with more than one, at most
//! [`MOST_BYTES`] of them. What did not fit, or did not come through, was not acknowledged.

use std::time::Duration;

use http::{Method, StatusCode};
use parlance_shared::protocol::frame::CloseCode;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, Transport};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Handled;
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::{Backend, Incoming, Session};
use crate::exchange::Exchange;
use crate::inbox::{self, Frame, Inbox, Positions};

/// Frames of a page.
const MOST_FRAMES: usize = 500;
/// Bytes of the frames of a page.
const MOST_BYTES: usize = 1024 * 1024;
/// Seconds that a poll waits for news: where the client does not say, and at most.
const WAIT_DEFAULT: u64 = 25;
const WAIT_MOST: u64 = 55;
/// How long to wait for the companions of a frame.
const GATHERING: Duration = Duration::from_millis(50);
/// A user object that is silent for so long before all that waits was sent is not there.
const SILENCE: Duration = Duration::from_secs(10);

/// 200 of `GET /sync`
#[derive(Serialize)]
struct Answer {
    frames: Vec<Box<RawValue>>,
    cursor: String,
    has_more: bool,
}

/// `GET /sync`
pub(crate) async fn poll<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let query = exchange.query();
    let wait = query.seconds("wait", WAIT_DEFAULT, WAIT_MOST)?;
    let acknowledged = Positions::read("cursor", query.text("cursor")?)?;
    let given = acknowledged.cursor();
    if exchange.request.method() == Method::HEAD {
        return answer::json(StatusCode::OK, &());
    }
    let until = exchange.backend.now() + wait;
    let open = OpenSession {
        user_id: caller.user_id,
        device_id: caller.device_id,
        expires_at: caller.expires_at,
        subprotocol: false,
        transport: Transport::Poll,
    };
    let session = exchange.backend.session(caller.user_id, open).await?;
    let mut inbox = Inbox::new(session, acknowledged, exchange.config.heartbeat);
    let Page {
        frames, has_more, ..
    } = fill(&mut inbox, until).await?;
    let sent = inbox.sent();
    let cursor = if sent.is_empty() {
        given
    } else {
        sent.cursor()
    };
    let answer = Answer {
        frames,
        cursor,
        has_more,
    };
    answer::json(StatusCode::OK, &answer)
}

/// A page while it is filled.
#[derive(Default)]
struct Page {
    frames: Vec<Box<RawValue>>,
    bytes: usize,
    is_caught_up: bool,
    has_more: bool,
}

impl Page {
    /// Takes a frame, but for those that speak of the session, which ends with the poll.
    fn take(&mut self, frame: &Frame<'_>) {
        match frame.kind.as_ref() {
            "auth_ack" => {}
            "sync_complete" => self.is_caught_up = true,
            _ => {
                self.bytes += frame.json.get().len();
                self.frames.push(frame.json.to_owned());
            }
        }
    }

    fn has_room_for(&self, frame: &Frame<'_>) -> bool {
        matches!(frame.kind.as_ref(), "auth_ack" | "sync_complete")
            || self.frames.is_empty()
            || self.frames.len() < MOST_FRAMES && self.bytes + frame.json.get().len() <= MOST_BYTES
    }
}

/// Fills a page: with all that waits, as far as there is room; where nothing does, with what
/// comes until `until`.
async fn fill<S: Session>(inbox: &mut Inbox<S>, until: Timestamp) -> Result<Page, Problem> {
    let mut page = Page::default();
    let mut until = until;
    loop {
        let waited_for_news = page.is_caught_up;
        let wait = if waited_for_news {
            until.since(inbox.now())
        } else {
            SILENCE
        };
        match inbox.next(wait).await {
            Incoming::Frame(text) => {
                let was_empty = page.frames.is_empty();
                take_all(inbox, &mut page, &text);
                if page.has_more {
                    return Ok(page);
                }
                let is_first = was_empty && !page.frames.is_empty();
                if waited_for_news && is_first {
                    until = inbox.now() + GATHERING;
                } else if !waited_for_news && page.is_caught_up && !page.frames.is_empty() {
                    return Ok(page);
                }
            }
            Incoming::Nothing if waited_for_news => return Ok(page),
            ended => return end(page, &ended),
        }
    }
}

fn take_all<S: Session>(inbox: &mut Inbox<S>, page: &mut Page, text: &str) {
    for frame in inbox::frames(text) {
        if inbox.has(&frame) {
            continue;
        }
        if !page.has_room_for(&frame) || !inbox.note(&frame) {
            page.has_more = true;
            return;
        }
        page.take(&frame);
    }
}

/// The session has ended, or is silent, before its time. What has come is good.
fn end(mut page: Page, ended: &Incoming) -> Result<Page, Problem> {
    if !page.frames.is_empty() {
        page.has_more = !page.is_caught_up;
        return Ok(page);
    }
    match ended {
        Incoming::Closed(code) if *code == CloseCode::TokenExpired.code() => Err(
            Problem::unauthenticated("The token has expired or was revoked."),
        ),
        _ if page.is_caught_up => Ok(page),
        _ => Err(Problem::unavailable(
            "The inbox did not answer. Please try again.",
        )),
    }
}
