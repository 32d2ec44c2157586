//! The rules of a user, at the height of its service.

mod conversations;
mod deletions;
mod deliveries;
mod live;
mod people;
mod presence;
mod profile;
mod sessions;
mod storage;

use std::rc::Rc;
use std::time::Duration;

use super::call::*;
use super::effect::*;
use super::service::UserService;
use crate::entropy::SeededEntropy;
use crate::ids::{ConversationId, DeviceId, MessageId, UserId};
use crate::protocol::conversation::{ConversationItem, ConversationType};
use crate::protocol::event::{Event, MemberAdded};
use crate::protocol::message::{ContentType, Message};
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::OBJECT_SCOPE;
use crate::sql::probe::ProbeSql;
use crate::time::{Clock, ManualClock, Timestamp};

const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn user(number: u32) -> UserId {
    format!("00000000-0000-4000-8000-0000{number:08x}")
        .parse()
        .unwrap()
}

fn group(number: u32) -> ConversationId {
    format!("00000000-0000-4000-9000-0000{number:08x}")
        .parse()
        .unwrap()
}

/// The user whose object is tested.
fn me() -> UserId {
    user(1)
}

struct Fixture {
    sql: Rc<ProbeSql>,
    service: UserService<Rc<ProbeSql>>,
    clock: ManualClock,
    entropy: SeededEntropy,
}

impl Fixture {
    /// An object that was never asked anything.
    fn new() -> Self {
        let sql = Rc::new(ProbeSql::new());
        Self {
            service: UserService::new(sql.clone(), OBJECT_SCOPE),
            sql,
            clock: ManualClock::new(START),
            entropy: SeededEntropy::new(21),
        }
    }

    /// A user with one device.
    fn signed_in() -> (Self, SignedIn) {
        let mut fixture = Self::new();
        let device = fixture.sign_in(None).unwrap();
        (fixture, device)
    }

    /// The object anew, as after an eviction.
    fn restart(&mut self) {
        self.service = UserService::new(self.sql.clone(), OBJECT_SCOPE);
    }

    fn sign_in(&mut self, device_name: Option<&str>) -> Result<SignedIn, Problem> {
        let call = SignIn {
            user_id: me(),
            phone_number: "+14155550100".parse().unwrap(),
            device_name: device_name.map(str::to_owned),
        };
        self.service
            .sign_in(call, self.clock.now(), &self.entropy)
            .map_err(ServiceError::into_problem)
    }

    fn deliver(&mut self, conversation: &ConversationSummary, events: &[Event]) -> Seq {
        let call = Deliver {
            visible_from: Seq::new(1),
            user_id: me(),
            conversation: conversation.clone(),
            events: events.to_vec(),
            attached_devices: Vec::new(),
        };
        self.service
            .deliver(&call, START, &mut Vec::new())
            .unwrap()
            .head_seq
    }

    fn list(&mut self, device_id: DeviceId) -> Vec<ConversationItem> {
        let call = ListConversations {
            device_id,
            cursor: None,
            limit: 100,
            archived: false,
        };
        self.service
            .list_conversations(&call, self.clock.now())
            .unwrap()
            .conversations
    }
}

/// What an act gives, and the effects that it adds.
fn collected<T>(act: impl FnOnce(&mut Effects) -> T) -> (T, Effects) {
    let mut effects = Vec::new();
    let given = act(&mut effects);
    (given, effects)
}

fn problem<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> Problem {
    result.unwrap_err().into_problem()
}

fn group_summary(number: u32, name: &str) -> ConversationSummary {
    ConversationSummary {
        conversation_id: group(number),
        kind: ConversationType::Group,
        name: Some(name.to_owned()),
        avatar_url: None,
        direct_members: Vec::new(),
        member_count: 3,
        created_at: START,
    }
}

fn direct_summary(peer: UserId) -> ConversationSummary {
    ConversationSummary {
        conversation_id: ConversationId::direct(me(), peer),
        kind: ConversationType::Direct,
        name: None,
        avatar_url: None,
        direct_members: vec![me(), peer],
        member_count: 3,
        created_at: START,
    }
}

/// When the event `seq` happened in these tests.
fn time_of(seq: u64) -> Timestamp {
    START + Duration::from_secs(seq)
}

fn message(conversation_id: ConversationId, seq: u64, sender_id: UserId) -> Event {
    let entropy = SeededEntropy::new(seq);
    Event::NewMessage(Message {
        conversation_id,
        seq: Seq::new(seq),
        message_id: MessageId::new(time_of(seq), Seq::new(seq), &entropy),
        client_msg_id: None,
        sender_id,
        content: format!("message {seq}"),
        content_type: ContentType::Text,
        media_id: None,
        media_url: None,
        media: None,
        reply_to: None,
        mentions: Vec::new(),
        thread_root: None,
        forwarded_from: None,
        edited_at: None,
        expires_at: None,
        is_deleted: false,
        is_hidden: false,
        is_pinned: false,
        reactions: Vec::new(),
        poll: None,
        thread: None,
        created_at: time_of(seq),
    })
}

fn joined(conversation_id: ConversationId, seq: u64) -> Event {
    Event::MemberAdded(MemberAdded {
        conversation_id,
        seq: Seq::new(seq),
        user_ids: vec![me()],
        added_by: user(2),
        created_at: time_of(seq),
    })
}

/// Messages of another, one for each seq.
fn messages(conversation_id: ConversationId, seqs: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    seqs.map(|seq| message(conversation_id, seq, user(2)))
        .collect()
}
