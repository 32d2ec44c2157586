//! The conversation's rules, natively over rusqlite.

mod acts;
mod archive;
mod delivery;
mod groups;
mod hidden;
mod log;
mod many;
mod media;
mod outbox;
mod policy;
mod polls;
mod receipts;
mod repeats;
mod replay;
mod sockets;
mod threads;
mod timers;
mod typing;

use std::rc::Rc;

use super::call::{ActOn, Acted, Create, CreateKind, ListEvents, ListMessages};
use super::service::{ConversationService, Effects};
use crate::entropy::SeededEntropy;
use crate::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use crate::protocol::act::Act;
use crate::protocol::event::Event;
use crate::protocol::message::{ContentType, Message, MessageAck, NewMessage};
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::OBJECT_SCOPE;
use crate::sql::native::NativeSql;
use crate::time::Timestamp;

type Service = ConversationService<Rc<NativeSql>>;

/// A conversation's object, which can lose its memory.
struct World {
    sql: Rc<NativeSql>,
    service: Service,
    entropy: SeededEntropy,
    now: Timestamp,
    /// What the runtime's alarm is set to.
    alarm: Option<Timestamp>,
    users: Vec<UserId>,
}

impl World {
    fn new() -> Self {
        let sql = Rc::new(NativeSql::in_memory().unwrap());
        let entropy = SeededEntropy::new(11);
        Self {
            service: ConversationService::new(Rc::clone(&sql), OBJECT_SCOPE),
            sql,
            users: (0..4).map(|_| UserId::random(&entropy)).collect(),
            entropy,
            now: Timestamp::from_millis(1_790_000_000_000),
            alarm: None,
        }
    }

    /// A direct conversation between the first two users.
    fn direct() -> Self {
        let mut world = Self::new();
        world.create_direct().unwrap();
        world
    }

    /// A group of the first three users; the first owns it.
    fn group() -> Self {
        let mut world = Self::new();
        let members = world.users[1..3].to_vec();
        world.create_group(members).unwrap();
        world
    }

    fn id(&self) -> ConversationId {
        ConversationId::direct(self.users[0], self.users[1])
    }

    fn create(&mut self, kind: CreateKind) -> Result<bool, Problem> {
        let call = Create {
            conversation_id: self.id(),
            creator: self.users[0],
            kind,
            encrypted: false,
        };
        let (created, effects) = self.service.create(call, self.now).map_err(told)?;
        self.carry_out(&effects);
        Ok(created.created)
    }

    fn create_direct(&mut self) -> Result<bool, Problem> {
        self.create(CreateKind::Direct {
            peer: self.users[1],
        })
    }

    fn create_group(&mut self, members: Vec<UserId>) -> Result<bool, Problem> {
        self.create(CreateKind::Group {
            name: Some("Walkers".to_owned()),
            description: None,
            members,
        })
    }

    fn carry_out(&mut self, effects: &Effects) {
        if let Some(at) = effects.alarm {
            self.alarm = Some(at);
        }
    }

    fn text(&self, content: &str) -> NewMessage {
        NewMessage {
            client_msg_id: ClientMessageId::random(&self.entropy),
            content: content.to_owned(),
            content_type: ContentType::Text,
            reply_to: None,
            media_id: None,
            mentions: Vec::new(),
            thread_root: None,
            send_at: None,
        }
    }

    fn send_message(&mut self, sender: usize, message: NewMessage) -> Result<MessageAck, Problem> {
        let sender = self.users[sender];
        let (ack, effects) = self
            .service
            .send(sender, message, self.now, &self.entropy)
            .map_err(told)?;
        self.carry_out(&effects);
        Ok(ack)
    }

    fn send(&mut self, sender: usize, content: &str) -> MessageAck {
        let message = self.text(content);
        self.send_message(sender, message).unwrap()
    }

    /// Does something with a message; says whether that was new, and gives the event.
    fn act(&mut self, actor: usize, message_id: MessageId, act: Act) -> Result<Acted, Problem> {
        let call = ActOn {
            actor: self.users[actor],
            message_id,
            act,
        };
        let (acted, effects) = self.service.act(call, self.now).map_err(told)?;
        assert_eq!(effects.broadcast.len(), usize::from(!acted.duplicate));
        self.carry_out(&effects);
        Ok(acted)
    }

    /// The messages as a member sees them, oldest first.
    fn messages(&mut self, viewer: usize) -> Vec<Message> {
        let call = ListMessages {
            actor: self.users[viewer],
            cursor: None,
            limit: 200,
        };
        self.service.settle(self.now).unwrap();
        let page = self.service.list_messages(&call).unwrap();
        assert!(!page.has_more);
        page.messages.into_iter().rev().collect()
    }

    /// The log as a member sees it.
    fn log(&mut self, viewer: usize) -> Vec<Event> {
        let call = ListEvents {
            actor: self.users[viewer],
            after_seq: Seq::ZERO,
            limit: 1000,
        };
        self.service.settle(self.now).unwrap();
        self.service.list_events(call).unwrap().events
    }

    fn head(&mut self) -> u64 {
        self.log(0).last().map_or(0, |event| event.seq().get())
    }

    /// Lets the alarm go off, if it is due.
    fn ring(&mut self) {
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            let effects = self.service.ring(self.now, &self.entropy);
            assert_eq!(effects.failure, None);
            self.carry_out(&effects);
        }
    }

    /// The process dies: memory is gone, the alarm and what was committed are not.
    fn crash(&mut self) {
        self.service = ConversationService::new(Rc::clone(&self.sql), OBJECT_SCOPE);
        self.service.alarm_is(self.alarm, self.now);
    }
}

fn edit(content: &str) -> Act {
    Act::Edit {
        content: content.to_owned(),
        mentions: None,
    }
}

fn react(emoji: &str) -> Act {
    Act::React {
        emoji: emoji.to_owned(),
        remove: false,
    }
}

fn unreact(emoji: &str) -> Act {
    Act::React {
        emoji: emoji.to_owned(),
        remove: true,
    }
}

const PIN: Act = Act::Pin { remove: false };
const UNPIN: Act = Act::Pin { remove: true };

fn vote(options: &[u8]) -> Act {
    Act::Vote {
        options: options.to_vec(),
    }
}

fn told(error: ServiceError) -> Problem {
    error.into_problem()
}
