//! Frames of clients, on a conversation's socket and on a session: right, nearly so, and nothing
//! like it.
//!
//! An entry of the corpus is a file of texts, one a line, each sent as a frame. `{a}` is a member,
//! `{b}` another, `{conversation}` and `{message}` are there.

use std::rc::Rc;

use parlance_shared::conversation::call::{Create, CreateKind};
use parlance_shared::conversation::service::ConversationService;
use parlance_shared::conversation::socket::{self, SocketSession};
use parlance_shared::entropy::SeededEntropy;
use parlance_shared::ids::{ConversationId, DeviceId, UserId};
use parlance_shared::protocol::frame::{ClientFrame, CloseCode, ErrorFrame, ServerFrame};
use parlance_shared::protocol::message::NewMessage;
use parlance_shared::protocol::problem::Code;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::sql::native::NativeSql;
use parlance_shared::sql::{OBJECT_SCOPE, Sql as _};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, SignIn, Transport};
use parlance_shared::user::effect::{Effect, SocketId};
use parlance_shared::user::service::UserService;
use serde_json::{Value, json};

use crate::json;
use crate::random::Random;

/// Frames made of a seed.
const FRAMES: usize = 150;
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_764_003_600_000);

const KINDS: [&str; 16] = [
    "send_message",
    "edit_message",
    "delete_message",
    "react",
    "pin",
    "poll_vote",
    "poll_close",
    "ack",
    "read_receipt",
    "typing_start",
    "typing_stop",
    "presence_subscribe",
    "sync",
    "ping",
    "auth",
    "batch",
];

/// What frames can name.
struct Names {
    conversation: String,
    messages: Vec<String>,
    users: Vec<String>,
}

impl Names {
    fn fill(&self, text: &str) -> String {
        text.replace("{conversation}", &self.conversation)
            .replace("{message}", &self.messages[0])
            .replace("{a}", &self.users[0])
            .replace("{b}", &self.users[1])
    }

    /// A frame, as a text.
    fn make(&self, random: &mut Random) -> String {
        if random.chance(5) {
            return json::text(random);
        }
        let kind = random.choose(&KINDS);
        let id = random.uuid();
        let text = random.choose(&[
            "hello",
            "👍",
            "\u{0}",
            " ",
            "{\"question\":\"?\",\"options\":[]}",
        ]);
        let content_type = random.choose(&[
            "text",
            "poll",
            "location",
            "image",
            "encrypted",
            "system",
            "text",
            "text",
        ]);
        let mut frame = json!({
            "type": kind,
            "conversation_id": if random.chance(90) { &self.conversation } else { &id },
            "message_id": random.pick(&self.messages),
            "client_msg_id": random.uuid(),
            "content": text,
            "content_type": content_type,
            "emoji": random.choose(&["👍", "❤️", "x"]),
            "remove": random.chance(30),
            "options": [random.below(4)],
            "up_to_seq": random.below(12),
            "after_seq": random.below(12),
            "user_ids": [random.pick(&self.users)],
            "for": random.choose(&["me", "everyone"]),
        });
        if random.chance(30) {
            frame["reply_to"] = json!(random.pick(&self.messages));
            frame["mentions"] = json!([random.pick(&self.users)]);
        }
        for _ in 0..random.choose(&[0, 0, 1, 1, 2, 4]) {
            json::mutate(&mut frame, random);
        }
        json::written(&frame, random)
    }
}

/// What a server says is a frame that a client can read; what it refuses is the client's fault.
fn judge_reply(frame: &ServerFrame) -> Result<(), String> {
    let text = frame.to_text();
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let read: ServerFrame =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    if !json["type"].is_string() || read != *frame {
        return Err(format!("not as it was written: {text}"));
    }
    if let ServerFrame::Error(ErrorFrame { code, detail, .. }) = frame
        && (matches!(code, Code::Internal | Code::Unavailable) || detail.is_empty())
    {
        return Err(format!("a fault of the server: {text}"));
    }
    Ok(())
}

/// A conversation of three, and a member's socket.
struct Conversation {
    sql: Rc<NativeSql>,
    service: ConversationService<Rc<NativeSql>>,
    entropy: SeededEntropy,
    sessions: Vec<SocketSession>,
    names: Names,
}

impl Conversation {
    fn new() -> Self {
        let sql = Rc::new(NativeSql::in_memory().expect("a database"));
        let entropy = SeededEntropy::new(5);
        let users: Vec<_> = (0..4).map(|_| UserId::random(&entropy)).collect();
        let conversation_id = ConversationId::random(&entropy);
        let mut service =
            ConversationService::new(Rc::clone(&sql), OBJECT_SCOPE).with_rate_limits(0.0);
        let create = Create {
            conversation_id,
            creator: users[0],
            kind: CreateKind::Group {
                name: Some("Fuzzers".to_owned()),
                description: None,
                members: users[1..3].to_vec(),
            },
            encrypted: false,
        };
        service.create(create, NOW).expect("it is made");
        let mut messages = Vec::new();
        for content in [
            r#"{"client_msg_id":"00000000-0000-4000-8000-000000000001","content":"a"}"#,
            r#"{"client_msg_id":"00000000-0000-4000-8000-000000000002","content_type":"poll","content":"{\"question\":\"?\",\"options\":[\"a\",\"b\"]}"}"#,
        ] {
            let message: NewMessage = serde_json::from_str(content).expect("a message");
            let (ack, _) = service
                .send(users[0], message, NOW, &entropy)
                .expect("it is sent");
            messages.push(ack.message_id.to_string());
        }
        // The last one is no member.
        let session = |user: &UserId| SocketSession {
            user_id: *user,
            device_id: DeviceId::random(&entropy),
            opened_at: NOW,
            expires_at: LATER,
            since: Seq::ZERO,
        };
        Self {
            sql,
            service,
            sessions: users.iter().map(session).collect(),
            names: Names {
                conversation: conversation_id.to_string(),
                messages,
                users: users.iter().map(ToString::to_string).collect(),
            },
            entropy,
        }
    }

    fn head(&self) -> i64 {
        let rows = self.sql.exec("SELECT count(*) FROM event", &[]);
        rows.and_then(|rows| rows.scalar())
            .expect("storage works")
            .expect("a count")
    }

    /// Says something, as one of them.
    fn say(&mut self, place: usize, text: &str) -> Result<(), String> {
        let before = self.head();
        let session = self.sessions[place];
        let outcome = socket::on_text(&mut self.service, &session, text, NOW, &self.entropy);
        let grown = self.head() - before;
        if let Some(failure) = outcome.effects.failure {
            return Err(format!("storage failed: {failure}"));
        }
        outcome.replies.iter().try_for_each(judge_reply)?;
        let is_refused = outcome
            .replies
            .iter()
            .any(|reply| matches!(reply, ServerFrame::Error(_)));
        let is_member = place < 3;
        if grown > 1 || grown > 0 && (is_refused || !is_member) {
            return Err(format!("the log has grown by {grown}"));
        }
        if outcome.close.is_some() && is_member && text.len() <= 128 * 1024 {
            return Err(format!("closed with {:?}", outcome.close));
        }
        if let Err(bad) = ClientFrame::parse(text)
            && (bad.problem.code != Code::InvalidRequest || !is_refused)
            && outcome.close != Some(CloseCode::ProtocolError)
        {
            return Err(format!("{bad:?} was answered {:?}", outcome.replies));
        }
        Ok(())
    }
}

/// Tries what a seed makes, on a conversation's socket.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut conversation = Conversation::new();
    for _ in 0..FRAMES {
        let text = conversation.names.make(&mut random);
        let place = random.below(4);
        let told = |told: String| format!("{told}\n  {text}");
        conversation.say(place, &text).map_err(told)?;
    }
    Ok(FRAMES)
}

/// Tries an entry of the corpus, on a conversation's socket.
///
/// # Errors
/// What did not hold.
pub fn replay(text: &str) -> Result<(), String> {
    let mut conversation = Conversation::new();
    for line in text.lines() {
        let frame = conversation.names.fill(line);
        for place in 0..4 {
            let told = |told: String| format!("{told}\n  {frame}");
            conversation.say(place, &frame).map_err(told)?;
        }
    }
    Ok(())
}

/// A user's session.
struct Session {
    service: UserService<Rc<NativeSql>>,
    socket: SocketId,
    names: Names,
}

impl Session {
    fn new() -> Self {
        let sql = Rc::new(NativeSql::in_memory().expect("a database"));
        let entropy = SeededEntropy::new(6);
        let users: Vec<_> = (0..2).map(|_| UserId::random(&entropy)).collect();
        let mut service = UserService::new(sql, OBJECT_SCOPE).with_rate_limits(0.0);
        let sign_in = SignIn {
            user_id: users[0],
            phone_number: "+14155550100".parse().expect("a number"),
            device_name: None,
        };
        let signed_in = service
            .sign_in(sign_in, NOW, &entropy)
            .expect("it signs in");
        let open = OpenSession {
            user_id: users[0],
            device_id: signed_in.device_id,
            expires_at: LATER,
            subprotocol: false,
            transport: Transport::Socket,
        };
        let opened = service.open_session(&open, NOW).expect("it opens");
        Self {
            service,
            socket: opened.socket,
            names: Names {
                conversation: ConversationId::direct(users[0], users[1]).to_string(),
                messages: vec![ConversationId::random(&entropy).to_string()],
                users: users.iter().map(ToString::to_string).collect(),
            },
        }
    }

    fn say(&mut self, text: &str) -> Result<(), String> {
        for effect in self.service.on_text(self.socket, text, NOW) {
            match effect {
                Effect::Failed(failure) => return Err(format!("storage failed: {failure}")),
                Effect::Send { frames, .. } => frames.iter().try_for_each(judge_reply)?,
                Effect::Close { code, .. } => {
                    if text.len() <= 128 * 1024 {
                        return Err(format!("closed with {code:?}"));
                    }
                    // The next frame needs a session again.
                    *self = Self::new();
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tries what a seed makes, on a session.
///
/// # Errors
/// What did not hold.
pub fn run_session(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut session = Session::new();
    for _ in 0..FRAMES {
        let text = session.names.make(&mut random);
        let told = |told: String| format!("{told}\n  {text}");
        session.say(&text).map_err(told)?;
    }
    Ok(FRAMES)
}

/// Tries an entry of the corpus, on a session.
///
/// # Errors
/// What did not hold.
pub fn replay_session(text: &str) -> Result<(), String> {
    let mut session = Session::new();
    for line in text.lines() {
        let frame = session.names.fill(line);
        let told = |told: String| format!("{told}\n  {frame}");
        session.say(&frame).map_err(told)?;
    }
    Ok(())
}
