//! What a client says on a conversation's socket, and what it is told.
//!
//! What always holds: a frame that cannot be read or is refused is answered with an `error`
//! frame and changes nothing; the socket lives on. Only a binary frame, one over the size limit,
//! an expired token or a lost membership closes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::{ActOn, Acted, OpenSocket, SignalTyping};
use super::outbox::MarkKind;
use super::service::{ConversationService, Effects, HideWish};
use crate::entropy::Entropy;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, UserId};
use crate::limits;
use crate::protocol::frame::{AuthAck, BadFrame, ClientFrame, CloseCode, ErrorFrame, ServerFrame};
use crate::protocol::message::NewMessage;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql;
use crate::time::Timestamp;
use crate::user::call::AttachedDevice;

/// Whom a socket speaks for; kept with the socket while the object sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSession {
    /// Who opened it.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// When it was opened.
    #[serde(default = "long_ago")]
    pub opened_at: Timestamp,
    /// When the token that opened it expires.
    pub expires_at: Timestamp,
    /// The events after this one come by this socket.
    #[serde(default)]
    pub since: Seq,
}

/// How long what is sent and what a client says may take to cross.
const CROSSING: Duration = Duration::from_secs(5);

/// Of a socket that was opened before this was kept.
const fn long_ago() -> Timestamp {
    Timestamp::from_millis(0)
}

impl SocketSession {
    /// Of a socket that is opened now, and shows the events after `since`.
    #[must_use]
    pub const fn opened(open: &OpenSocket, since: Seq, now: Timestamp) -> Self {
        Self {
            user_id: open.user_id,
            device_id: open.device_id,
            opened_at: now,
            expires_at: open.expires_at,
            since,
        }
    }

    /// Since when what was sent on it may not have arrived, where it has closed now; none where
    /// nothing may have. `heard` is when its client last said something or pinged. One that its
    /// client closed took what was sent, but for what crossed the word of it; one that broke may
    /// have been dead since it was last heard of. What is older than the socket it was sent when
    /// it was opened.
    #[must_use]
    pub fn certain_until(
        &self,
        heard: Option<Timestamp>,
        was_clean: bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let alive_at = if was_clean { now } else { heard? };
        let certain = alive_at - CROSSING;
        (certain > self.opened_at).then_some(certain)
    }

    /// Whether events after `after` are shown here to `user_id`.
    fn shows(&self, user_id: UserId, after: Seq, now: Timestamp) -> bool {
        self.user_id == user_id && self.expires_at > now && self.since <= after
    }
}

/// The devices of `user_id` that are shown here what comes after `after`. `sockets` are those that
/// are attached; `heard` says when a client last gave a sign of life, where it has.
pub fn attached_devices<'a, T: 'a>(
    sockets: impl IntoIterator<Item = (&'a SocketSession, T)>,
    heard: impl Fn(T) -> Option<Timestamp>,
    user_id: UserId,
    after: Seq,
    now: Timestamp,
) -> Vec<AttachedDevice> {
    let mut devices: Vec<AttachedDevice> = Vec::new();
    for (session, socket) in sockets {
        if !session.shows(user_id, after, now) {
            continue;
        }
        let device_id = session.device_id;
        let heard_at = session
            .opened_at
            .max(heard(socket).unwrap_or(session.opened_at));
        match devices
            .iter_mut()
            .find(|device| device.device_id == device_id)
        {
            Some(device) => device.heard_at = device.heard_at.max(heard_at),
            None => devices.push(AttachedDevice {
                device_id,
                heard_at,
            }),
        }
    }
    devices
}

/// What comes of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// To be sent on this socket, in order, before anything is broadcast.
    pub replies: Vec<ServerFrame>,
    /// To be done after the commit.
    pub effects: Effects,
    /// Close this socket.
    pub close: Option<CloseCode>,
}

/// A socket that may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// To be kept with it.
    pub session: SocketSession,
    /// `auth_ack`.
    pub hello: ServerFrame,
    /// The events after the one it asked for.
    pub replay: Vec<ServerFrame>,
}

/// Opens a socket.
///
/// # Errors
/// `not_found` for those who are not members: the upgrade is then refused. What is needed before
/// the same can be asked again.
pub fn open<S: Sql>(
    service: &mut ConversationService<S>,
    open: &OpenSocket,
    now: Timestamp,
) -> Result<Opened, ServiceError> {
    service.settle(now)?;
    let (_, head) = service.position(open.user_id)?;
    let hello = AuthAck::new(
        open.user_id,
        open.device_id,
        now,
        service.heartbeat,
        Some(head),
    );
    let replay = match open.after_seq {
        Some(after) => replay(service, open.user_id, after)?,
        None => Vec::new(),
    };
    Ok(Opened {
        session: SocketSession::opened(open, open.after_seq.unwrap_or(head), now),
        hello: ServerFrame::AuthAck(hello),
        replay,
    })
}

/// The events after `after`, and where they are too many a `sync_gap` for the rest.
fn replay<S: Sql>(
    service: &mut ConversationService<S>,
    user_id: UserId,
    after: Seq,
) -> Result<Vec<ServerFrame>, ServiceError> {
    let (conversation_id, head_seq) = service.position(user_id)?;
    let page = service.events_for(user_id, after, limits::REPLAY_EVENTS, limits::REPLAY_BYTES)?;
    let last = page
        .events
        .last()
        .map_or(after, crate::protocol::event::Event::seq);
    let mut frames: Vec<_> = page.events.into_iter().map(ServerFrame::Event).collect();
    if page.has_more {
        frames.push(ServerFrame::SyncGap {
            conversation_id,
            from_seq: last.next(),
            head_seq,
        });
    }
    Ok(frames)
}

/// Answers a text frame. Where the effects say that something is needed, nothing was done yet: the
/// frame is to be given again when that has been brought, before any later one of its socket.
pub fn on_text<S: Sql>(
    service: &mut ConversationService<S>,
    session: &SocketSession,
    text: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome {
    if session.expires_at <= now {
        return closed(CloseCode::TokenExpired);
    }
    if text.len() > limits::FRAME_BYTES {
        return closed(CloseCode::ProtocolError);
    }
    let frame = match ClientFrame::parse(text) {
        Ok(frame) => frame,
        Err(bad) => return told((*bad).into()),
    };
    let client_msg_id = frame.client_msg_id();
    let scale = service.rate_limit_scale;
    let rates = service.rates.of(session.device_id, now);
    let before = *rates;
    if let Err(too_soon) = rates.admit(&frame, scale, now) {
        let close = too_soon.is_last.then_some(CloseCode::RateLimited);
        let refusal = refused(too_soon.problem.into(), client_msg_id);
        return Outcome { close, ..refusal };
    }
    let outcome = service
        .settle(now)
        .map_err(ServiceError::from)
        .and_then(|()| answer(service, session, frame, now, entropy))
        .unwrap_or_else(|error| refused(error, client_msg_id));
    if outcome.effects.needs.is_some() {
        // It counts when it is asked again.
        *service.rates.of(session.device_id, now) = before;
    }
    outcome
}

/// What a client is told whose frame needs something that cannot be brought.
#[must_use]
pub fn unmet(text: &str, problem: Problem) -> Outcome {
    let client_msg_id = ClientFrame::parse(text)
        .ok()
        .and_then(|frame| frame.client_msg_id());
    refused(problem.into(), client_msg_id)
}

/// Answers a binary frame: the protocol has none.
#[must_use]
pub fn on_binary() -> Outcome {
    closed(CloseCode::ProtocolError)
}

fn answer<S: Sql>(
    service: &mut ConversationService<S>,
    session: &SocketSession,
    frame: ClientFrame,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Outcome, ServiceError> {
    let user_id = session.user_id;
    let (here, head) = match service.position(user_id) {
        Ok(position) => position,
        Err(ServiceError::Refused(problem)) if problem.code == Code::Unauthenticated => {
            return Ok(closed(CloseCode::TokenExpired));
        }
        Err(ServiceError::Refused(_)) => return Ok(closed(CloseCode::NotMember)),
        Err(failure) => return Err(failure),
    };
    match frame {
        ClientFrame::SendMessage(send) => {
            require_here(here, send.conversation_id)?;
            if send.message.send_at.is_some() {
                return schedule(service, user_id, send.message, now, entropy);
            }
            let (ack, effects) = service.send(user_id, send.message, now, entropy)?;
            Ok(Outcome {
                replies: vec![ServerFrame::MsgAck(ack)],
                effects,
                ..Outcome::default()
            })
        }
        ClientFrame::Ack(ack) => {
            require_here(here, ack.conversation_id)?;
            require_known("up_to_seq", ack.up_to_seq, head)?;
            let effects = service.mark_delivered(user_id, ack.up_to_seq, now)?;
            Ok(marked(
                service,
                session,
                MarkKind::Delivered,
                ack.up_to_seq,
                effects,
            ))
        }
        ClientFrame::ReadReceipt(read) => {
            require_here(here, read.conversation_id)?;
            require_known("up_to_seq", read.up_to_seq, head)?;
            // The user object has the last word on what is read, and tells this conversation.
            let effects = Effects::default();
            Ok(marked(
                service,
                session,
                MarkKind::Read,
                read.up_to_seq,
                effects,
            ))
        }
        ClientFrame::TypingStart(typing) => {
            require_here(here, typing.conversation_id)?;
            typed(service, session, true, now)
        }
        ClientFrame::TypingStop(typing) => {
            require_here(here, typing.conversation_id)?;
            typed(service, session, false, now)
        }
        ClientFrame::Sync(sync) => {
            require_here(here, sync.conversation_id)?;
            require_known("after_seq", sync.after_seq, head)?;
            Ok(Outcome {
                replies: replay(service, user_id, sync.after_seq)?,
                ..Outcome::default()
            })
        }
        ClientFrame::Ping => Ok(told(ServerFrame::Pong)),
        ClientFrame::Act(command) => {
            require_here(here, command.conversation_id)?;
            let call = ActOn {
                actor: user_id,
                message_id: command.message_id,
                act: command.act,
            };
            let (Acted { event, duplicate }, effects) = service.act(call, now)?;
            // What is new comes with the broadcast.
            let replies = duplicate.then_some(ServerFrame::Event(event));
            Ok(Outcome {
                replies: replies.into_iter().collect(),
                effects,
                ..Outcome::default()
            })
        }
        ClientFrame::Hide(command) => {
            require_here(here, command.conversation_id)?;
            // The user object has the last word on what its user sees, and tells this
            // conversation.
            let wish = HideWish {
                user_id,
                device_id: session.device_id,
                message_id: command.message_id,
                client_msg_id: command.client_msg_id,
            };
            Ok(Outcome {
                effects: Effects {
                    hides: vec![wish],
                    ..Effects::default()
                },
                ..Outcome::default()
            })
        }
        ClientFrame::PresenceSubscribe(_) => {
            Err(Problem::invalid_field("type", "goes to the session socket only").into())
        }
    }
}

fn schedule<S: Sql>(
    service: &mut ConversationService<S>,
    actor: UserId,
    message: NewMessage,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Outcome, ServiceError> {
    let (sent, effects) = service.schedule(actor, message, now, entropy)?;
    Ok(Outcome {
        replies: vec![sent.into()],
        effects,
        ..Outcome::default()
    })
}

fn typed<S: Sql>(
    service: &mut ConversationService<S>,
    session: &SocketSession,
    started: bool,
    now: Timestamp,
) -> Result<Outcome, ServiceError> {
    let actor = session.user_id;
    let effects = service.signal_typing(SignalTyping { actor, started }, now)?;
    Ok(Outcome {
        effects,
        ..Outcome::default()
    })
}

/// The user object is told of what the device did.
fn marked<S: Sql>(
    service: &mut ConversationService<S>,
    session: &SocketSession,
    kind: MarkKind,
    up_to_seq: Seq,
    effects: Effects,
) -> Outcome {
    let SocketSession {
        user_id, device_id, ..
    } = *session;
    service.outbox.mark(user_id, device_id, kind, up_to_seq);
    Outcome {
        effects: Effects {
            marks: true,
            ..effects
        },
        ..Outcome::default()
    }
}

fn require_here(here: ConversationId, named: ConversationId) -> Result<(), Problem> {
    if here == named {
        Ok(())
    } else {
        Err(Problem::invalid_field(
            "conversation_id",
            "is not the conversation that this socket is open to",
        ))
    }
}

fn require_known(field: &str, seq: Seq, head: Seq) -> Result<(), Problem> {
    if seq <= head {
        Ok(())
    } else {
        Err(Problem::beyond_newest(field, head))
    }
}

fn told(frame: ServerFrame) -> Outcome {
    Outcome {
        replies: vec![frame],
        ..Outcome::default()
    }
}

fn closed(code: CloseCode) -> Outcome {
    Outcome {
        close: Some(code),
        ..Outcome::default()
    }
}

fn refused(error: ServiceError, client_msg_id: Option<ClientMessageId>) -> Outcome {
    let failure = match &error {
        ServiceError::Storage(failure) => Some(failure.clone()),
        ServiceError::Refused(_) => None,
        ServiceError::Needs(need) => {
            return Outcome {
                effects: Effects {
                    needs: Some(need.clone()),
                    ..Effects::default()
                },
                ..Outcome::default()
            };
        }
    };
    let effects = Effects {
        failure,
        ..Effects::default()
    };
    let bad = BadFrame {
        problem: error.into_problem(),
        client_msg_id,
    };
    Outcome {
        effects,
        ..told(bad.into())
    }
}

/// What a client is told whose frame was refused by its user object.
#[must_use]
pub fn refusal(problem: Problem, client_msg_id: Option<ClientMessageId>) -> ServerFrame {
    BadFrame {
        problem,
        client_msg_id,
    }
    .into()
}

/// What a client that broke the protocol is told before its socket closes.
#[must_use]
pub fn farewell(code: CloseCode) -> ServerFrame {
    let (code, detail) = match code {
        CloseCode::ProtocolError => (
            Code::PayloadTooLarge,
            format!("Frames are text of at most {} bytes.", limits::FRAME_BYTES),
        ),
        CloseCode::Replaced => (
            Code::Conflict,
            "A newer session of this device took over.".to_owned(),
        ),
        CloseCode::TokenExpired => (Code::Unauthenticated, "The token has expired.".to_owned()),
        CloseCode::SlowConsumer => (
            Code::RateLimited,
            "Too much is unacknowledged, or nothing was heard for three heartbeats: connect again \
             to go on."
                .to_owned(),
        ),
        CloseCode::Restart => (Code::Unavailable, "Please connect again.".to_owned()),
        CloseCode::RateLimited => (Code::RateLimited, "Too many frames.".to_owned()),
        CloseCode::NotMember => (Code::NotFound, "You are no longer a member.".to_owned()),
    };
    ServerFrame::Error(ErrorFrame {
        code,
        detail,
        client_msg_id: None,
        retry_after_ms: None,
    })
}
