//! The whole matrix of policy: what each request and each frame does, for everyone, in every kind
//! of conversation. A refusal is the documented one, and leaves the log as it was.

use super::*;
use crate::conversation::call::{
    AddMembers, CancelScheduled, ChangeRole, ConversationRequest, CopyMessage, CountUnread, Delete,
    DeliverNow, GetConversation, GetMessage, GetMessageInfo, Hide, ListMembers, ListPins,
    ListScheduled, ListThread, MarkPosition, MemberPosition, RemoveMember, Schedule, Send,
    SetBlock, SetSuspended, SignalTyping, UpdateConversation,
};
use crate::conversation::socket::{self, SocketSession};
use crate::ids::{DeviceId, ScheduledId};
use crate::protocol::conversation::{ConversationType, Role};
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::group::ConversationPatch;
use crate::protocol::problem::Code;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Owner,
    Admin,
    Member,
    /// One of the two of a direct conversation.
    Peer,
    /// The same, blocked by the other.
    Blocked,
    /// The same, who has blocked the other.
    Blocker,
    Suspended,
    Removed,
    Stranger,
}

use Who::*;

const IN_GROUPS: [Who; 6] = [Owner, Admin, Member, Suspended, Removed, Stranger];
const IN_DIRECT: [Who; 5] = [Peer, Blocked, Blocker, Suspended, Stranger];

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Get,
    Members,
    Messages,
    Events,
    Message,
    Info,
    Pins,
    Thread,
    Unread,
    DeliverNow,
    Scheduled,
    Mark,
    Hide,
    Copy,
    Typing,
    Send,
    Schedule,
    EditOwn,
    EditOther,
    DeleteOwn,
    DeleteOther,
    React,
    Pin,
    Vote,
    CloseOther,
    Expire,
    Rename,
    Add,
    Promote,
    Demote,
    HandOver,
    RemoveMember,
    RemoveAdmin,
    RemoveOwner,
    Leave,
    Delete,
}

use Ask as A;

const ALL: [Ask; 36] = [
    A::Get,
    A::Members,
    A::Messages,
    A::Events,
    A::Message,
    A::Info,
    A::Pins,
    A::Thread,
    A::Unread,
    A::DeliverNow,
    A::Scheduled,
    A::Mark,
    A::Hide,
    A::Copy,
    A::Typing,
    A::Send,
    A::Schedule,
    A::EditOwn,
    A::EditOther,
    A::DeleteOwn,
    A::DeleteOther,
    A::React,
    A::Pin,
    A::Vote,
    A::CloseOther,
    A::Expire,
    A::Rename,
    A::Add,
    A::Promote,
    A::Demote,
    A::HandOver,
    A::RemoveMember,
    A::RemoveAdmin,
    A::RemoveOwner,
    A::Leave,
    A::Delete,
];

/// What is to come of it, written down apart from the table that is tested.
fn expected(kind: ConversationType, who: Who, ask: Ask) -> Result<(), Code> {
    match who {
        Removed | Stranger => return Err(Code::NotFound),
        Suspended => return Err(Code::Unauthenticated),
        _ => {}
    }
    let only = |allowed: bool| {
        if allowed {
            Ok(())
        } else {
            Err(Code::Forbidden)
        }
    };
    match ask {
        A::Get
        | A::Members
        | A::Messages
        | A::Events
        | A::Message
        | A::Info
        | A::Pins
        | A::Thread
        | A::Unread
        | A::DeliverNow
        | A::Scheduled
        | A::Mark
        | A::Hide
        | A::Copy
        | A::DeleteOwn => Ok(()),
        // Typing of one who is blocked is dropped, not refused.
        A::Typing => Ok(()),
        A::Send | A::Schedule | A::EditOwn | A::React | A::Pin | A::Vote => only(who != Blocked),
        A::EditOther | A::CloseOther => Err(Code::Forbidden),
        A::DeleteOther => only(matches!(who, Owner | Admin)),
        A::Expire => only(match kind {
            ConversationType::Direct => who != Blocked,
            ConversationType::Group => matches!(who, Owner | Admin),
        }),
        A::Rename | A::Add | A::Promote | A::RemoveMember => only(matches!(who, Owner | Admin)),
        A::Demote | A::HandOver | A::RemoveAdmin | A::Delete => only(who == Owner),
        // The owner would leave.
        A::RemoveOwner => only(who == Owner),
        A::Leave => only(kind == ConversationType::Group),
    }
}

/// A group: 0 owns it, 1 and 2 are admins, 3 and 4 members, 5 is suspended, 6 was removed, 7 is a
/// stranger. Or a direct conversation of 0 and 1.
struct Stage {
    world: World,
    /// Of each, its own message; the caller's is the one that is its own.
    messages: Vec<MessageId>,
    poll: MessageId,
}

fn stage(kind: ConversationType, who: Who) -> Stage {
    let mut world = World::new();
    while world.users.len() < 9 {
        world.users.push(UserId::random(&world.entropy));
    }
    let speakers = match kind {
        ConversationType::Direct => {
            world.create_direct().unwrap();
            2
        }
        ConversationType::Group => {
            let members = world.users[1..7].to_vec();
            world.create_group(members).unwrap();
            for admin in [1, 2] {
                let call = ChangeRole {
                    actor: world.users[0],
                    user_id: world.users[admin],
                    role: Role::Admin,
                };
                world.ask(call).unwrap();
            }
            7
        }
    };
    let messages = (0..speakers)
        .map(|speaker| world.send(speaker, "words").message_id)
        .collect();
    let question = r#"{"question":"When?","options":["now","later"]}"#;
    let poll = NewMessage {
        content_type: ContentType::Poll,
        ..world.text(question)
    };
    let poll = world.send_message(0, poll).unwrap().message_id;
    match who {
        Removed => {
            let call = RemoveMember {
                actor: world.users[0],
                user_id: world.users[6],
            };
            world.ask(call).unwrap();
        }
        Suspended => {
            let user_id = world.users[actor(kind, who)];
            let is_suspended = true;
            world
                .ask(SetSuspended {
                    user_id,
                    is_suspended,
                })
                .unwrap();
        }
        Blocked | Blocker => {
            let blocker = world.users[usize::from(who == Blocker)];
            let is_blocked = true;
            world
                .ask(SetBlock {
                    blocker,
                    is_blocked,
                })
                .unwrap();
        }
        _ => {}
    }
    Stage {
        world,
        messages,
        poll,
    }
}

/// Which user is the one who asks.
fn actor(kind: ConversationType, who: Who) -> usize {
    match (kind, who) {
        (_, Owner) => 0,
        (_, Admin) => 1,
        (ConversationType::Group, Member) => 3,
        (ConversationType::Group, Suspended) => 5,
        (_, Removed) => 6,
        (_, Stranger) => 7,
        (ConversationType::Direct, _) => 1,
        (ConversationType::Group, _) => unreachable!(),
    }
}

impl World {
    fn ask(&mut self, request: impl Into<ConversationRequest>) -> Result<Effects, Problem> {
        let (_, effects) = self
            .service
            .handle(request.into(), self.now, &self.entropy)
            .map_err(told)?;
        self.carry_out(&effects);
        Ok(effects)
    }

    /// The whole log, whoever may see it.
    fn whole(&self) -> Vec<String> {
        let rows = crate::sql::Sql::exec(
            &*self.sql,
            "SELECT seq || ' ' || kind || ' ' || hex(sender_id) || body FROM event ORDER BY seq",
            &[],
        );
        let rows = rows.unwrap().rows;
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }
}

impl Stage {
    /// What the caller asks; the request, as its object takes it.
    fn request(&self, kind: ConversationType, who: Who, ask: Ask) -> ConversationRequest {
        let world = &self.world;
        let position = actor(kind, who);
        let actor = world.users[position];
        let own = self.messages.get(position).copied();
        let own = own.unwrap_or(self.messages[0]);
        let other = self.messages[usize::from(position == 0)];
        let device_id = DeviceId::random(&world.entropy);
        let on = |message_id, act| {
            ActOn {
                actor,
                message_id,
                act,
            }
            .into()
        };
        let role = |user: usize, role| {
            ChangeRole {
                actor,
                user_id: world.users[user],
                role,
            }
            .into()
        };
        let remove = |user: usize| {
            RemoveMember {
                actor,
                user_id: world.users[user],
            }
            .into()
        };
        let update = |patch| UpdateConversation { actor, patch }.into();
        let (cursor, limit) = (None, 10);
        match ask {
            A::Get => GetConversation { actor }.into(),
            A::Members => ListMembers {
                actor,
                cursor,
                limit,
            }
            .into(),
            A::Messages => ListMessages {
                actor,
                cursor,
                limit,
            }
            .into(),
            A::Events => ListEvents {
                actor,
                after_seq: Seq::ZERO,
                limit,
            }
            .into(),
            A::Message => GetMessage {
                actor,
                message_id: other,
            }
            .into(),
            A::Info => GetMessageInfo {
                actor,
                message_id: other,
            }
            .into(),
            A::Pins => ListPins { actor }.into(),
            A::Thread => ListThread {
                actor,
                message_id: other,
                cursor,
                limit,
            }
            .into(),
            A::Unread => CountUnread {
                actor,
                after_seq: Seq::ZERO,
                up_to_seq: Seq::new(3),
            }
            .into(),
            A::DeliverNow => DeliverNow {
                user_id: actor,
                has: None,
                up_to_seq: Seq::new(3),
            }
            .into(),
            A::Scheduled => ListScheduled { actor }.into(),
            A::Mark => MarkPosition {
                user_id: actor,
                position: MemberPosition::default(),
            }
            .into(),
            A::Hide => Hide {
                actor,
                message_id: other,
            }
            .into(),
            A::Copy => CopyMessage {
                actor,
                message_id: other,
            }
            .into(),
            A::Typing => SignalTyping {
                actor,
                started: true,
            }
            .into(),
            A::Send => Send {
                actor,
                device_id,
                message: world.text("more"),
                forwarded_from: None,
            }
            .into(),
            A::Schedule => Schedule {
                actor,
                device_id: None,
                message: NewMessage {
                    send_at: Some(world.now + std::time::Duration::from_secs(60)),
                    ..world.text("later")
                },
            }
            .into(),
            A::EditOwn => on(own, edit("other words")),
            A::EditOther => on(other, edit("other words")),
            A::DeleteOwn => on(own, Act::Delete),
            A::DeleteOther => on(other, Act::Delete),
            A::React => on(other, react("👍")),
            A::Pin => on(other, PIN),
            A::Vote => on(self.poll, vote(&[0])),
            // The poll is the owner's: another's to everyone who is asked about but the owner.
            A::CloseOther => on(self.poll, Act::ClosePoll),
            A::Expire => update(ConversationPatch {
                expires_after: Some(Some(3600)),
                ..ConversationPatch::default()
            }),
            A::Rename => update(ConversationPatch {
                name: Some(Some("Runners".to_owned())),
                ..ConversationPatch::default()
            }),
            A::Add => AddMembers {
                actor,
                user_ids: vec![world.users[8]],
            }
            .into(),
            A::Promote => role(4, Role::Admin),
            A::Demote => role(2, Role::Member),
            A::HandOver => role(4, Role::Owner),
            A::RemoveMember => remove(4),
            A::RemoveAdmin => remove(2),
            A::RemoveOwner => remove(0),
            A::Leave => remove(position),
            A::Delete => Delete { actor }.into(),
        }
    }
}

fn matrix() -> impl Iterator<Item = (ConversationType, Who, Ask)> {
    let groups = IN_GROUPS.map(|who| (ConversationType::Group, who));
    let direct = IN_DIRECT.map(|who| (ConversationType::Direct, who));
    groups
        .into_iter()
        .chain(direct)
        .flat_map(|(kind, who)| ALL.map(|ask| (kind, who, ask)))
        // The owner's own poll is no other's.
        .filter(|(_, who, ask)| (*who, *ask) != (Owner, A::CloseOther))
}

#[test]
fn each_request_does_what_the_table_says_and_a_refusal_changes_nothing() {
    let mut asked = 0;
    for (kind, who, ask) in matrix() {
        let mut stage = stage(kind, who);
        let request = stage.request(kind, who, ask);
        let before = stage.world.whole();
        let outcome = stage.world.ask(request);
        let got = outcome.as_ref().map(|_| ()).map_err(|problem| problem.code);
        assert_eq!(got, expected(kind, who, ask), "{kind:?} {who:?} {ask:?}");
        if let Err(problem) = outcome {
            assert_eq!(stage.world.whole(), before, "{kind:?} {who:?} {ask:?}");
            assert!(!problem.detail.is_empty());
            // Nor is anything left in memory: what follows is as if it had not been asked.
            stage.world.crash();
            assert_eq!(stage.world.whole(), before);
        }
        asked += 1;
    }
    assert_eq!(asked, (6 + 5) * ALL.len() - 1);
}

/// The frames that a socket of the conversation takes.
fn frame(stage: &Stage, kind: ConversationType, who: Who, ask: Ask) -> Option<String> {
    let position = actor(kind, who);
    let own = stage.messages.get(position).copied();
    let own = own.unwrap_or(stage.messages[0]);
    let other = stage.messages[usize::from(position == 0)];
    let here = format!(r#""conversation_id":"{}""#, stage.world.id());
    let name = ClientMessageId::random(&stage.world.entropy);
    let act = |kind: &str, id: MessageId, rest: &str| {
        Some(format!(
            r#"{{"type":"{kind}",{here},"message_id":"{id}"{rest}}}"#
        ))
    };
    match ask {
        A::Send => Some(format!(
            r#"{{"type":"send_message",{here},"client_msg_id":"{name}","content":"more","content_type":"text"}}"#
        )),
        A::EditOwn => act("edit_message", own, r#","content":"other words""#),
        A::EditOther => act("edit_message", other, r#","content":"other words""#),
        A::DeleteOwn => act("delete_message", own, ""),
        A::DeleteOther => act("delete_message", other, ""),
        A::React => act("react", other, r#","emoji":"👍""#),
        A::Pin => act("pin", other, ""),
        A::Vote => act("poll_vote", stage.poll, r#","options":[0]"#),
        A::CloseOther => act("poll_close", stage.poll, ""),
        A::Typing => Some(format!(r#"{{"type":"typing_start",{here}}}"#)),
        A::Events => Some(format!(r#"{{"type":"sync",{here},"after_seq":0}}"#)),
        A::Mark => Some(format!(r#"{{"type":"ack",{here},"up_to_seq":1}}"#)),
        _ => None,
    }
}

#[test]
fn each_frame_of_a_conversation_s_socket_does_what_the_table_says() {
    let mut asked = 0;
    for (kind, who, ask) in matrix() {
        let mut stage = stage(kind, who);
        let Some(text) = frame(&stage, kind, who, ask) else {
            continue;
        };
        asked += 1;
        let session = SocketSession {
            user_id: stage.world.users[actor(kind, who)],
            device_id: DeviceId::random(&stage.world.entropy),
            opened_at: stage.world.now,
            expires_at: stage.world.now + std::time::Duration::from_secs(60),
            since: Seq::ZERO,
        };
        let before = stage.world.whole();
        let world = &mut stage.world;
        let outcome = socket::on_text(
            &mut world.service,
            &session,
            &text,
            world.now,
            &world.entropy,
        );
        let refused = outcome.replies.iter().find_map(|reply| match reply {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        });
        let label = format!("{kind:?} {who:?} {ask:?}");
        match expected(kind, who, ask) {
            Ok(()) => {
                assert_eq!((refused, outcome.close), (None, None), "{label}");
            }
            // Whoever is no member has no business on this socket.
            Err(Code::NotFound) => {
                assert_eq!(outcome.close, Some(CloseCode::NotMember), "{label}");
            }
            Err(Code::Unauthenticated) => {
                assert_eq!(outcome.close, Some(CloseCode::TokenExpired), "{label}");
            }
            Err(code) => assert_eq!((refused, outcome.close), (Some(code), None), "{label}"),
        }
        if expected(kind, who, ask).is_err() {
            assert_eq!(stage.world.whole(), before, "{label}");
        }
    }
    assert!(asked > 100, "{asked}");
}

#[test]
fn typing_of_one_who_is_blocked_reaches_no_one() {
    for (who, reaches) in [(Peer, 1), (Blocker, 1), (Blocked, 0)] {
        let mut stage = stage(ConversationType::Direct, who);
        let request = stage.request(ConversationType::Direct, who, A::Typing);
        let effects = stage.world.ask(request).unwrap();
        assert_eq!(effects.signals.len(), reaches, "{who:?}");
    }
}

#[test]
fn a_scheduled_message_of_another_cannot_be_taken_back() {
    let mut stage = stage(ConversationType::Group, Member);
    let call = CancelScheduled {
        actor: stage.world.users[0],
        scheduled_id: ScheduledId::random(&stage.world.entropy),
    };
    assert_eq!(stage.world.ask(call).unwrap_err().code, Code::NotFound);
}
