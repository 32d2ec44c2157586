//! The inbox over a session that the edge holds, for the transports that are no sockets.
//!
//! The user object sends frames to the edge as to any client. What the client has is said by the
//! client itself: with each frame, or page of frames, it gets a cursor, and giving that back
//! acknowledges all that was sent with it and before. A cursor holds what has been sent since the
//! one that was given back, so that it stays small.
//!
//! What always holds: nothing is acknowledged that the client has not given a cursor for; what
//! it has given a cursor for is not sent again; a cursor names at most [`MOST_CONVERSATIONS`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use parlance_shared::ids::ConversationId;
use parlance_shared::page;
use parlance_shared::protocol::frame::PING;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backend::{Incoming, Session};
use crate::query::MOST_SEQ;

/// Conversations that a cursor names: it must fit into a URL and a header. What is new in others
/// waits until it has been given back.
pub(crate) const MOST_CONVERSATIONS: usize = 64;

/// The last event in each of some conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Positions(BTreeMap<ConversationId, Seq>);

impl Positions {
    /// Reads a cursor that the client gave in `field`; without one, or an empty one, nothing is
    /// known to have arrived.
    ///
    /// # Errors
    /// `invalid_request` where it is none.
    pub fn read(field: &str, cursor: Option<&str>) -> Result<Self, Problem> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return Ok(Self::default());
        };
        page::position::<BTreeMap<ConversationId, Seq>>(cursor)
            .ok()
            .filter(|positions| {
                positions.len() <= MOST_CONVERSATIONS
                    && positions.values().all(|seq| seq.get() <= MOST_SEQ)
            })
            .map(Self)
            .ok_or_else(|| Problem::invalid_field(field, "is not a cursor of this inbox"))
    }

    /// The cursor that stands for these positions.
    pub fn cursor(&self) -> String {
        page::cursor(&self.0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn covers(&self, Advance(conversation_id, seq): Advance) -> bool {
        self.0
            .get(&conversation_id)
            .is_some_and(|known| seq <= *known)
    }

    /// Notes a position, unless that would be one conversation too many.
    fn note(&mut self, Advance(conversation_id, seq): Advance) -> bool {
        if let Some(known) = self.0.get_mut(&conversation_id) {
            *known = seq.max(*known);
            return true;
        }
        if self.0.len() >= MOST_CONVERSATIONS {
            return false;
        }
        self.0.insert(conversation_id, seq);
        true
    }
}

/// How far a frame takes the inbox in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Advance(ConversationId, Seq);

/// A frame for the client.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// Its `type`.
    pub kind: Cow<'a, str>,
    /// The frame as the user object wrote it.
    pub json: &'a RawValue,
    advance: Option<Advance>,
}

impl Frame<'_> {
    /// Whether it moves the inbox on, so that the cursor says something new after it.
    pub const fn advances(&self) -> bool {
        self.advance.is_some()
    }
}

/// The frames that a text frame holds for the client, in order: a batch is unpacked, and the
/// answers to keep-alives, which are the edge's own, are left out.
pub(crate) fn frames(text: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    // The user object writes JSON; what is none would be no frame to anyone.
    if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
        unpack(json, &mut frames);
    }
    frames
}

fn unpack<'a>(json: &'a RawValue, frames: &mut Vec<Frame<'a>>) {
    // A frame whose head cannot be read is for the client to understand, or to ignore.
    let head: Head<'a> = serde_json::from_str(json.get()).unwrap_or_default();
    let advance = head.advance();
    match (head.kind.as_ref(), head.frames) {
        ("pong", _) => {}
        ("batch", Some(batch)) => batch.into_iter().for_each(|frame| unpack(frame, frames)),
        _ => frames.push(Frame {
            kind: head.kind,
            json,
            advance,
        }),
    }
}

/// What of a frame is read here.
#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    conversation_id: Option<ConversationId>,
    seq: Option<Seq>,
    head_seq: Option<Seq>,
    #[serde(borrow)]
    frames: Option<Vec<&'a RawValue>>,
}

impl Head<'_> {
    fn advance(&self) -> Option<Advance> {
        let seq = match self.kind.as_ref() {
            // The answer to a command: the event itself comes as a frame of its own.
            "msg_ack" => None,
            // Whoever has been told of the gap pages through it from history.
            "sync_gap" => self.head_seq,
            _ => self.seq,
        };
        Some(Advance(self.conversation_id?, seq?))
    }
}

/// A session, and what its client has.
#[derive(Debug)]
pub(crate) struct Inbox<S> {
    session: S,
    acknowledged: Positions,
    sent: Positions,
    heartbeat: Duration,
    next_ping: Timestamp,
}

impl<S: Session> Inbox<S> {
    /// The inbox of a session that was just opened, by a client that has `acknowledged`. It is to
    /// be heard of every `heartbeat`.
    pub fn new(mut session: S, acknowledged: Positions, heartbeat: Duration) -> Self {
        for (conversation_id, up_to_seq) in &acknowledged.0 {
            session.send(&format!(
                r#"{{"type":"ack","conversation_id":"{conversation_id}","up_to_seq":{up_to_seq}}}"#
            ));
        }
        let next_ping = session.now() + heartbeat;
        Self {
            session,
            acknowledged,
            sent: Positions::default(),
            heartbeat,
            next_ping,
        }
    }

    /// What comes next within `wait`. Keeps the session alive meanwhile.
    pub async fn next(&mut self, wait: Duration) -> Incoming {
        let until = self.session.now() + wait;
        loop {
            let now = self.session.now();
            if self.next_ping <= now {
                self.session.send(PING);
                self.next_ping = now + self.heartbeat;
            }
            let step = until.min(self.next_ping).since(now);
            match self.session.next(step).await {
                Incoming::Nothing if self.session.now() < until => {}
                other => return other,
            }
        }
    }

    /// Whether the client has said that it has this frame, so that it is not to be sent again.
    pub fn has(&self, frame: &Frame<'_>) -> bool {
        frame
            .advance
            .is_some_and(|advance| self.acknowledged.covers(advance))
    }

    /// Notes that the frame is sent, unless the cursor has no room for its conversation: then it
    /// is not to be sent, and comes again.
    pub fn note(&mut self, frame: &Frame<'_>) -> bool {
        frame.advance.is_none_or(|advance| self.sent.note(advance))
    }

    /// What has been sent and not acknowledged.
    pub const fn sent(&self) -> &Positions {
        &self.sent
    }

    /// The session's clock.
    pub fn now(&self) -> Timestamp {
        self.session.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    fn kinds(text: &str) -> Vec<(String, bool)> {
        frames(text)
            .iter()
            .map(|frame| (frame.kind.to_string(), frame.advances()))
            .collect()
    }

    #[test]
    fn batches_are_unpacked_and_events_move_the_inbox_on() {
        let id = id(1);
        let message = format!(
            r#"{{"type":"new_message","conversation_id":"{id}","seq":3,"content":"\u0041\n"}}"#
        );
        let text = format!(
            r#"{{"type":"batch","frames":[{message},{{"type":"pong"}},
                {{"type":"msg_ack","conversation_id":"{id}","seq":4}},
                {{"type":"read_receipt","conversation_id":"{id}","up_to_seq":4}},
                {{"type":"batch","frames":[{{"type":"sync_gap","conversation_id":"{id}","from_seq":5,"head_seq":9}}]}},
                {{"type":"later","conversation_id":7}},8]}}"#
        );
        let expected = [
            ("new_message", true),
            ("msg_ack", false),
            ("read_receipt", false),
            ("sync_gap", true),
            // What cannot be read goes on to the client as it is.
            ("", false),
            ("", false),
        ];
        assert_eq!(
            kinds(&text),
            expected.map(|(kind, on)| (kind.to_owned(), on))
        );
        assert_eq!(frames(&text)[0].json.get(), message, "to the letter");
        assert!(kinds("not JSON").is_empty());
        assert!(kinds(PING).len() == 1);
    }

    #[test]
    fn a_cursor_gives_its_positions_back_and_nothing_else_is_one() {
        let mut positions = Positions::default();
        let conversation_id = id(1).parse().unwrap();
        assert!(positions.note(Advance(conversation_id, Seq::new(7))));
        assert!(positions.note(Advance(conversation_id, Seq::new(5))));
        let read = Positions::read("cursor", Some(&positions.cursor())).unwrap();
        assert_eq!(read, positions);
        assert!(read.covers(Advance(conversation_id, Seq::new(7))));
        assert!(!read.covers(Advance(conversation_id, Seq::new(8))));
        assert!(Positions::read("cursor", None).unwrap().is_empty());
        assert!(Positions::read("cursor", Some("")).unwrap().is_empty());
        let foreign = page::cursor(&(17_u64, true));
        let beyond = page::cursor(&BTreeMap::from([(id(1), MOST_SEQ + 1)]));
        let many = page::cursor(&(0..=64).map(|n| (id(n), 1)).collect::<BTreeMap<_, _>>());
        for bad in ["x", &foreign, &beyond, &many] {
            let problem = Positions::read("cursor", Some(bad)).unwrap_err();
            assert_eq!(problem.errors[0].field, "cursor", "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_that_is_full_still_moves_on_in_its_own_conversations() {
        let mut positions = Positions::default();
        let advance = |number: usize, seq| Advance(id(number).parse().unwrap(), Seq::new(seq));
        for number in 0..MOST_CONVERSATIONS {
            assert!(positions.note(advance(number, 1)));
        }
        assert!(!positions.note(advance(64, 1)));
        assert!(positions.note(advance(0, 2)));
        assert!(positions.cursor().len() < 4096, "fits into a header");
        assert!(Positions::read("cursor", Some(&positions.cursor())).is_ok());
    }
}
