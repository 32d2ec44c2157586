//! What a client asks for, and what it makes of the answers.

use parlance_shared::conversation::call::{ConversationRequest, Schedule, Send, Sent};
use parlance_shared::ids::{ClientMessageId, ConversationId, UserId};
use parlance_shared::protocol::act::Scheduled;
use parlance_shared::protocol::conversation::ConversationPage;
use parlance_shared::protocol::event::EventPage;
use parlance_shared::protocol::message::{ContentType, MessageAck, NewMessage};
use parlance_shared::protocol::problem::Code;
use parlance_shared::user::call::{AdmitTo, UserRequest};
use serde_json::json;

use super::{Draft, Errand};
use crate::network::Caller;
use crate::objects::{Failure, ObjectId, Outcome};
use crate::plan::Way;
use crate::world::{Happening, World};

/// What a client asked over HTTP.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// To send a message.
    Send(ClientMessageId),
    /// To be let add users; then to do it.
    Admit {
        /// Who is yet to be asked.
        left: Vec<UserId>,
        /// What is asked then.
        then: Box<(ObjectId, String, Purpose)>,
    },
    /// To make a conversation: asked again where there was no answer.
    Create(ObjectId, String, u32),
    /// To read events.
    Fetch(ConversationId),
    /// To see the list.
    List,
    /// To block someone, or to lift that.
    Block {
        /// Whom.
        peer: UserId,
        /// The number of this wish.
        wish: u64,
    },
    /// Something whose answer is in the log.
    Other,
}

/// Whether a refusal may be otherwise the next time.
const fn may_succeed(code: Code) -> bool {
    matches!(code, Code::Internal | Code::Unavailable | Code::RateLimited)
}

impl World {
    /// Asks an object over HTTP.
    pub(crate) fn http(&mut self, device: usize, to: ObjectId, body: String, purpose: Purpose) {
        self.note(|| {
            format!(
                "dev {device} http {} {}",
                crate::runtime::self_name(to),
                crate::runtime::brief(&body)
            )
        });
        self.call(Caller::Client(device, purpose), to, &body.into());
    }

    /// Asks a conversation over HTTP.
    pub(crate) fn ask_place(
        &mut self,
        device: usize,
        place: ConversationId,
        request: impl Into<ConversationRequest>,
        purpose: Purpose,
    ) {
        let body = serde_json::to_string(&request.into()).expect("a request");
        self.http(device, ObjectId::Conversation(place), body, purpose);
    }

    /// Asks the user's own object over HTTP.
    pub(crate) fn ask_self(
        &mut self,
        device: usize,
        request: impl Into<UserRequest>,
        purpose: Purpose,
    ) {
        let body = serde_json::to_string(&request.into()).expect("a request");
        let user = self.devices[device].user;
        self.http(device, ObjectId::User(user), body, purpose);
    }

    /// Asks those who are to be added, and then asks for it.
    pub(crate) fn admit(
        &mut self,
        device: usize,
        mut left: Vec<UserId>,
        then: Box<(ObjectId, String, Purpose)>,
    ) {
        let Some(next) = left.pop() else {
            let (to, body, purpose) = *then;
            return self.http(device, to, body, purpose);
        };
        let adder = self.devices[device].user;
        let body = serde_json::to_string(&UserRequest::from(AdmitTo { adder }));
        let body = body.expect("a request");
        self.http(
            device,
            ObjectId::User(next),
            body,
            Purpose::Admit { left, then },
        );
    }

    /// Says something on a socket: the session, or the conversation's own. Says whether one is
    /// open.
    pub(crate) fn say(
        &mut self,
        device: usize,
        place: ConversationId,
        way: Way,
        frame: serde_json::Value,
    ) -> bool {
        let one = &self.devices[device];
        let room = one.rooms.get(&place).filter(|(_, open)| *open);
        let room = room.map(|(wire, _)| *wire);
        let session = one.session.filter(|_| one.is_open);
        let wire = match way {
            Way::Session => session,
            Way::Room => room.or(session),
            Way::Http => None,
        };
        if let Some(wire) = wire {
            self.note(|| format!("dev {device} ~{wire} says {frame}"));
            self.send_up(wire, frame.to_string());
        }
        wire.is_some()
    }

    /// Sends a message, and does so again until there is an answer.
    pub(crate) fn draft(&mut self, device: usize, draft: Draft) {
        let id = ClientMessageId::random(&self.dice);
        let user = self.devices[device].user;
        self.oracle.attempted(user, draft.place, id, &draft.content);
        self.devices[device].drafts.insert(id, draft);
        self.send_draft(device, id);
    }

    fn send_draft(&mut self, device: usize, id: ClientMessageId) {
        let Some(draft) = self.devices[device].drafts.get_mut(&id) else {
            return;
        };
        draft.tries += 1;
        let is_first = draft.tries == 1;
        let draft = draft.clone();
        let way = if is_first {
            draft.way
        } else {
            [Way::Session, Way::Room, Way::Http][self.whim.below(3) as usize]
        };
        let message = NewMessage {
            client_msg_id: id,
            content: draft.content,
            content_type: ContentType::Text,
            reply_to: draft.reply_to,
            media_id: None,
            mentions: draft.mentions,
            thread_root: draft.thread_root,
            send_at: draft.send_at,
        };
        let mut frame = serde_json::to_value(&message).expect("a message");
        frame["type"] = json!("send_message");
        frame["conversation_id"] = json!(draft.place);
        if !self.say(device, draft.place, way, frame) {
            let (actor, device_id) = (self.devices[device].user, self.devices[device].id);
            if message.send_at.is_some() {
                let schedule = Schedule {
                    actor,
                    device_id: Some(device_id),
                    message,
                };
                self.ask_place(device, draft.place, schedule, Purpose::Send(id));
            } else {
                let send = Send {
                    actor,
                    device_id,
                    message,
                    forwarded_from: None,
                };
                self.ask_place(device, draft.place, send, Purpose::Send(id));
            }
        }
        let wait = self.whim.between(3000, 9000);
        self.after(wait, Happening::Errand(device, Errand::Retry(id)));
    }

    pub(super) fn retry(&mut self, device: usize, id: ClientMessageId) {
        if self.devices[device].drafts.contains_key(&id) {
            self.oracle.retries += 1;
            self.send_draft(device, id);
        }
    }

    /// Sends a message once more that was acknowledged.
    pub(crate) fn repeat(&mut self, device: usize, way: Way, pick: usize) -> Option<()> {
        let one = &mut self.devices[device];
        let (id, draft) = one
            .sent
            .iter()
            .rev()
            .nth(pick)
            .or(one.sent.first())?
            .clone();
        let draft = Draft {
            is_repeat: true,
            way,
            tries: 0,
            ..draft
        };
        one.drafts.insert(id, draft);
        self.send_draft(device, id);
        Some(())
    }

    /// A message was acknowledged.
    pub(super) fn acked(&mut self, device: usize, ack: &MessageAck) {
        let one = &mut self.devices[device];
        if let Some(draft) = one.drafts.remove(&ack.client_msg_id) {
            if draft.is_repeat {
                let rule = "what was acknowledged is acknowledged again";
                self.counts.add("promise looked at", rule);
            }
            one.sent.retain(|(id, _)| *id != ack.client_msg_id);
            one.sent.push((ack.client_msg_id, draft));
        }
        let user = self.devices[device].user;
        self.acknowledged(user, ack);
    }

    pub(super) fn kept_for_later(&mut self, device: usize, scheduled: &Scheduled) {
        let id = scheduled.message.client_msg_id;
        if self.devices[device].drafts.remove(&id).is_some() {
            let user = self.devices[device].user;
            let place = scheduled.conversation_id;
            self.oracle.scheduled(user, place, id);
        }
    }

    /// A message was refused: for good, or it is sent again when its time comes.
    pub(super) fn draft_refused(&mut self, device: usize, id: ClientMessageId, code: Code) {
        if may_succeed(code) {
            return;
        }
        let user = self.devices[device].user;
        if let Some(draft) = self.devices[device].drafts.remove(&id)
            && draft.is_repeat
        {
            self.repeat_refused(user, draft.place, id, code);
        }
    }

    /// A request over HTTP has been answered, or not.
    pub(crate) fn replied(&mut self, device: usize, purpose: Purpose, outcome: Outcome) {
        self.note(|| match &outcome {
            Ok(text) => format!("dev {device} got {}", crate::runtime::brief(text)),
            Err(failure) => format!("dev {device} failed: {}", failure.clone().into_problem()),
        });
        match purpose {
            Purpose::Send(id) => match outcome {
                Ok(text) => {
                    if let Ok(ack) = serde_json::from_str::<MessageAck>(&text) {
                        self.acked(device, &ack);
                    } else if let Ok(sent) = serde_json::from_str::<Sent>(&text) {
                        match sent {
                            Sent::Already(ack) => self.acked(device, &ack),
                            Sent::Later(scheduled) => self.kept_for_later(device, &scheduled),
                        }
                    }
                }
                Err(failure) => {
                    let code = failure.into_problem().code;
                    self.draft_refused(device, id, code);
                }
            },
            Purpose::Admit { left, then } => {
                if outcome.is_ok() {
                    self.admit(device, left, then);
                }
            }
            Purpose::Create(to, body, tries) => {
                if let (Ok(_), ObjectId::Conversation(place)) = (&outcome, to) {
                    self.oracle.created(place);
                }
                if matches!(outcome, Err(Failure::Unreachable)) && tries > 0 {
                    let purpose = Purpose::Create(to, body.clone(), tries - 1);
                    self.http(device, to, body, purpose);
                }
            }
            Purpose::Fetch(place) => {
                if let Ok(text) = outcome {
                    self.fetched(device, place, &text);
                }
            }
            Purpose::List => {
                if let Ok(text) = outcome {
                    let page: Result<ConversationPage, _> = serde_json::from_str(&text);
                    if let Err(error) = page {
                        self.broken("every answer can be read", error.to_string());
                    }
                }
            }
            Purpose::Block { peer, wish } => {
                let user = self.devices[device].user;
                self.oracle
                    .block_answered(user, peer, wish, outcome.is_ok());
            }
            Purpose::Other => {}
        }
    }

    /// Events were read over HTTP.
    fn fetched(&mut self, device: usize, place: ConversationId, text: &str) {
        let user = self.devices[device].user;
        match serde_json::from_str::<EventPage>(text) {
            Ok(page) => {
                let mut last = 0;
                for event in &page.events {
                    self.witness(user, place, event);
                    let seq = event.seq().get();
                    if last > 0 && seq != last + 1 {
                        let text = format!("{place} lists {seq} after {last}");
                        self.broken("pages have no gaps", text);
                    }
                    last = seq;
                }
            }
            Err(error) => self.broken("every answer can be read", error.to_string()),
        }
    }
}
