//! Groups: their members come and go, and everyone hears of it: those who stay, those who come, and
//! those who go, each as far as it may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::conversation::call::{
    AddMembers, ChangeRole, ConversationRequest, CopyMessage, Delete, ListMembers, MemberPosition,
    RemoveMember, SetBlock, UpdateConversation,
};
use crate::conversation::deliver::Round;
use crate::limits;
use crate::protocol::conversation::{MemberView, Role};
use crate::protocol::frame::CloseCode;
use crate::protocol::group::{ConversationPatch, GroupChange};
use crate::protocol::problem::Code;
use crate::sql::Sql;
use crate::user::call::Delivered;

/// What the members' user objects have been given.
#[derive(Default)]
struct Inboxes {
    given: BTreeMap<UserId, Vec<Event>>,
    down: BTreeSet<UserId>,
}

impl Inboxes {
    /// Serves deliveries until none is due, then lets time pass until no alarm is set.
    fn settle(&mut self, world: &mut World) {
        for _ in 0..2000 {
            self.serve(world);
            world.now = world.now + Duration::from_millis(500);
            // That there was a group is remembered for a day.
            let far = world.now + Duration::from_secs(60 * 60);
            if let Some(at) = world.alarm.filter(|at| *at > far) {
                world.now = at;
            }
            world.ring();
            if world.alarm.is_none() {
                return;
            }
        }
        panic!("deliveries do not end");
    }

    fn serve(&mut self, world: &mut World) {
        let mut round = Round::default();
        while let Some(delivery) = world.service.next_delivery(&mut round, world.now).unwrap() {
            let user_id = delivery.user_id;
            if self.down.contains(&user_id) {
                world.service.delivery_failed(user_id, world.now);
                continue;
            }
            let known = self.given.entry(user_id).or_default();
            for event in &delivery.news.events {
                let head = known.last().map_or(Seq::ZERO, Event::seq);
                if event.seq() <= head {
                    continue;
                }
                // As the user object has it: a gap only where it comes in again.
                if event.seq() != head.next()
                    && !known.is_empty()
                    && event.seq() != delivery.visible_from
                {
                    break;
                }
                known.push(event.clone());
            }
            let reply = Delivered {
                head_seq: known.last().map_or(Seq::ZERO, Event::seq),
                position: MemberPosition::default(),
            };
            let effects = world.service.delivered(user_id, &reply, world.now).unwrap();
            world.carry_out(&effects);
        }
    }

    fn seqs(&self, user_id: UserId) -> Vec<u64> {
        let given = self.given.get(&user_id);
        given
            .into_iter()
            .flatten()
            .map(|event| event.seq().get())
            .collect()
    }
}

impl World {
    fn crowd(users: usize) -> Self {
        let mut world = Self::new();
        while world.users.len() < users {
            world.users.push(UserId::random(&world.entropy));
        }
        world
    }

    pub(super) fn request(
        &mut self,
        request: impl Into<ConversationRequest>,
    ) -> Result<Effects, Problem> {
        let (_, effects) = self
            .service
            .handle(request.into(), self.now, &self.entropy)
            .map_err(told)?;
        self.carry_out(&effects);
        Ok(effects)
    }

    fn add(&mut self, actor: usize, users: &[usize]) -> Result<Effects, Problem> {
        let call = AddMembers {
            actor: self.users[actor],
            user_ids: users.iter().map(|user| self.users[*user]).collect(),
        };
        self.request(call)
    }

    fn remove(&mut self, actor: usize, user: usize) -> Result<Effects, Problem> {
        let call = RemoveMember {
            actor: self.users[actor],
            user_id: self.users[user],
        };
        self.request(call)
    }

    fn promote(&mut self, actor: usize, user: usize, role: Role) -> Result<Effects, Problem> {
        let call = ChangeRole {
            actor: self.users[actor],
            user_id: self.users[user],
            role,
        };
        self.request(call)
    }

    fn end(&mut self, actor: usize) -> Result<Effects, Problem> {
        let actor = self.users[actor];
        self.request(Delete { actor })
    }

    fn members(&mut self, viewer: usize) -> Vec<MemberView> {
        let call = ListMembers {
            actor: self.users[viewer],
            cursor: None,
            limit: 2000,
        };
        self.service.list_members(call).unwrap().members
    }

    fn roles(&mut self, viewer: usize) -> Vec<(usize, Role)> {
        let members = self.members(viewer);
        let mut roles: Vec<_> = members
            .iter()
            .map(|member| {
                let user = self.users.iter().position(|id| *id == member.user_id);
                (user.unwrap(), member.role)
            })
            .collect();
        roles.sort_unstable_by_key(|(user, _)| *user);
        roles
    }

    pub(super) fn rows(&self, statement: &'static str) -> usize {
        self.sql.exec(statement, &[]).unwrap().rows.len()
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Problem>) -> Code {
    outcome.unwrap_err().code
}

#[test]
fn members_are_added_once_and_see_what_comes_from_then_on() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    world.send(0, "before");
    let effects = world.add(0, &[3, 1, 3]).unwrap();
    let [Event::MemberAdded(added)] = effects.broadcast.as_slice() else {
        panic!("{:?}", effects.broadcast);
    };
    assert_eq!(added.user_ids, [world.users[3]]);
    assert_eq!((added.seq, added.added_by), (Seq::new(3), world.users[0]));
    let again = world.add(0, &[3, 1]).unwrap();
    assert_eq!(again, Effects::default(), "nobody came in");
    world.send(1, "after");
    inboxes.settle(&mut world);
    let seen: Vec<_> = world.log(3).iter().map(|event| event.seq().get()).collect();
    assert_eq!(seen, [3, 4]);
    assert_eq!(inboxes.seqs(world.users[3]), [3, 4]);
    assert_eq!(inboxes.seqs(world.users[1]), [1, 2, 3, 4]);
    assert_eq!(world.messages(3).len(), 1);
    world.crash();
    assert_eq!(world.log(3).len(), 2);
}

#[test]
fn one_who_is_removed_is_told_so_last_and_can_read_nothing_more() {
    let mut world = World::group();
    let mut inboxes = Inboxes::default();
    let removed = world.users[2];
    inboxes.down.insert(removed);
    world.send(0, "one");
    let effects = world.remove(0, 2).unwrap();
    assert_eq!(effects.evicted.len(), 1);
    assert_eq!(
        (effects.evicted[0].user_id, effects.evicted[0].code),
        (removed, CloseCode::NotMember)
    );
    world.send(1, "behind its back");
    let name = UpdateConversation {
        actor: world.users[0],
        patch: ConversationPatch {
            name: Some(Some("Secret".to_owned())),
            ..ConversationPatch::default()
        },
    };
    world.request(name).unwrap();
    inboxes.serve(&mut world);
    // Nothing of this is lost with memory.
    world.now = world.now + Duration::from_secs(6);
    world.ring();
    world.crash();
    inboxes.down.clear();
    inboxes.settle(&mut world);
    assert_eq!(inboxes.seqs(removed), [1, 2, 3]);
    let Some(Event::Group(GroupChange::MemberRemoved(last))) =
        inboxes.given[&removed].last().cloned()
    else {
        panic!("its last event is not that it was removed");
    };
    assert_eq!((last.user_id, last.removed_by), (removed, world.users[0]));
    assert_eq!(inboxes.seqs(world.users[1]), [1, 2, 3, 4, 5]);
    let list = ListEvents {
        actor: removed,
        after_seq: Seq::ZERO,
        limit: 10,
    };
    assert_eq!(code(world.request(list)), Code::NotFound);
    assert_eq!(code(world.remove(0, 2)), Code::NotFound);
    assert_eq!(world.rows("SELECT 1 FROM former_member"), 0, "it has heard");
    // A message later, its user object is not asked any more.
    let before = inboxes.given[&removed].len();
    world.send(0, "later");
    inboxes.settle(&mut world);
    assert_eq!(inboxes.given[&removed].len(), before);
}

#[test]
fn one_who_comes_in_again_sees_what_comes_from_then_on() {
    for hears_of_it in [true, false] {
        let mut world = World::group();
        let mut inboxes = Inboxes::default();
        inboxes.settle(&mut world);
        if !hears_of_it {
            inboxes.down.insert(world.users[2]);
        }
        world.remove(0, 2).unwrap();
        world.send(0, "away");
        inboxes.serve(&mut world);
        if hears_of_it {
            inboxes.settle(&mut world);
        }
        world.add(0, &[2]).unwrap();
        inboxes.down.clear();
        world.crash();
        world.send(1, "back");
        inboxes.settle(&mut world);
        let user = world.users[2];
        let expected: &[u64] = if hears_of_it {
            &[1, 2, 4, 5]
        } else {
            &[1, 4, 5]
        };
        assert_eq!(inboxes.seqs(user), expected);
        let seen: Vec<_> = world.log(2).iter().map(|event| event.seq().get()).collect();
        assert_eq!(seen, [4, 5], "nothing of before");
    }
}

#[test]
fn the_group_is_handed_over_in_one_event() {
    let mut world = World::group();
    let effects = world.promote(0, 1, Role::Owner).unwrap();
    let [Event::Group(GroupChange::RoleChanged(changed))] = effects.broadcast.as_slice() else {
        panic!("{:?}", effects.broadcast);
    };
    assert_eq!(changed.former_owner_id, Some(world.users[0]));
    let roles = [(0, Role::Admin), (1, Role::Owner), (2, Role::Member)];
    assert_eq!(world.roles(2), roles);
    world.crash();
    assert_eq!(world.roles(2), roles);
    assert_eq!(code(world.promote(0, 1, Role::Member)), Code::Forbidden);
    assert_eq!(code(world.promote(1, 1, Role::Member)), Code::Forbidden);
    assert_eq!(
        world.promote(1, 1, Role::Owner).unwrap(),
        Effects::default()
    );
    assert_eq!(code(world.promote(1, 3, Role::Admin)), Code::NotFound);
}

#[test]
fn an_owner_who_leaves_is_followed_by_the_longest_standing_admin_else_member() {
    let mut world = World::crowd(6);
    let others = world.users[1..4].to_vec();
    world.create_group(others).unwrap();
    world.now = world.now + Duration::from_secs(10);
    world.add(0, &[4]).unwrap();
    world.promote(0, 4, Role::Admin).unwrap();
    let effects = world.remove(0, 0).unwrap();
    assert_eq!(effects.broadcast.len(), 2, "handed over, then left");
    assert_eq!(world.roles(4)[3], (4, Role::Owner), "the only admin");
    world.remove(4, 4).unwrap();
    let owners = |world: &mut World, viewer| {
        let roles = world.roles(viewer);
        roles
            .into_iter()
            .filter(|(_, role)| *role == Role::Owner)
            .count()
    };
    let eldest = world.users[1..4].iter().min().copied().unwrap();
    let members = world.members(1);
    let owner = members.iter().find(|one| one.role == Role::Owner).unwrap();
    assert_eq!(owner.user_id, eldest, "all came at once");
    assert_eq!(owners(&mut world, 1), 1);
}

#[test]
fn a_group_without_members_is_erased_once_the_last_has_heard() {
    let mut world = World::crowd(4);
    world.create_group(Vec::new()).unwrap();
    world.send(0, "alone");
    let mut inboxes = Inboxes::default();
    let effects = world.remove(0, 0).unwrap();
    assert_eq!(effects.broadcast.len(), 1);
    inboxes.settle(&mut world);
    assert_eq!(inboxes.seqs(world.users[0]), [1, 2, 3]);
    for statement in [
        "SELECT 1 FROM event",
        "SELECT 1 FROM conversation",
        "SELECT 1 FROM former_member",
    ] {
        assert_eq!(world.rows(statement), 0, "{statement}");
    }
}

#[test]
fn a_late_request_to_make_a_group_does_not_begin_it_anew() {
    let mut world = World::crowd(4);
    world.create_group(Vec::new()).unwrap();
    let mut inboxes = Inboxes::default();
    world.remove(0, 0).unwrap();
    for _ in 0..100 {
        inboxes.serve(&mut world);
        world.now = world.now + Duration::from_secs(5);
        world.ring();
    }
    assert_eq!(world.rows("SELECT 1 FROM event"), 0);
    assert_eq!(
        world.rows("SELECT 1 FROM conversation WHERE name IS NOT NULL"),
        0
    );
    for _ in 0..2 {
        let again = world.create_group(Vec::new());
        assert_eq!(code(again), Code::Conflict, "a log does not begin twice");
        assert_eq!(code(world.send_message_as(0)), Code::NotFound);
        world.crash();
    }
    inboxes.settle(&mut world);
    assert_eq!(world.rows("SELECT 1 FROM conversation"), 0);
}

#[test]
fn a_deleted_group_tells_everyone_then_leaves_nothing() {
    let mut world = World::crowd(5);
    let others = world.users[1..4].to_vec();
    world.create_group(others).unwrap();
    let message = world.send(1, "words");
    world.act(2, message.message_id, react("👍")).unwrap();
    let later = NewMessage {
        send_at: Some(world.now + Duration::from_secs(60)),
        ..world.text("later")
    };
    let actor = world.users[1];
    let (_, effects) = world
        .service
        .schedule(actor, later, world.now, &world.entropy)
        .unwrap();
    world.carry_out(&effects);
    assert_eq!(code(world.end(1)), Code::Forbidden);
    let mut inboxes = Inboxes::default();
    inboxes.down.insert(world.users[3]);
    let effects = world.end(0).unwrap();
    assert_eq!(effects.evicted.len(), 4);
    assert_eq!(code(world.end(0)), Code::NotFound);
    assert_eq!(code(world.send_message_as(1)), Code::NotFound);
    inboxes.serve(&mut world);
    world.now = world.now + Duration::from_secs(120);
    world.ring();
    world.crash();
    assert!(world.rows("SELECT 1 FROM event") > 0, "one has not heard");
    inboxes.down.clear();
    inboxes.settle(&mut world);
    for user in 0..4 {
        let given = &inboxes.given[&world.users[user]];
        assert!(matches!(
            given.last(),
            Some(Event::Group(GroupChange::ConversationDeleted(_)))
        ));
    }
    let tables = world
        .sql
        .exec(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_version'",
            &[],
        )
        .unwrap();
    assert!(tables.rows.len() > 12);
    for row in &tables.rows {
        let table: String = row.get(0).unwrap();
        let statement: &'static str = format!("SELECT 1 FROM {table}").leak();
        assert_eq!(world.rows(statement), 0, "{table}");
    }
    assert_eq!(code(world.send_message_as(1)), Code::NotFound);
}

impl World {
    fn send_message_as(&mut self, sender: usize) -> Result<MessageAck, Problem> {
        let message = self.text("still there?");
        self.send_message(sender, message)
    }
}

#[test]
fn a_change_has_the_fields_that_changed_and_none_makes_no_event() {
    let mut world = World::group();
    let mut update = |patch: ConversationPatch| {
        let actor = world.users[0];
        world.request(UpdateConversation { actor, patch }).unwrap()
    };
    let set = |text: &str| Some(Some(text.to_owned()));
    let effects = update(ConversationPatch {
        name: set("Walkers"),
        description: set("Sundays"),
        avatar: Some(None),
        expires_after: Some(None),
    });
    let [event] = effects.broadcast.as_slice() else {
        panic!("{:?}", effects.broadcast);
    };
    let json = serde_json::to_value(event).unwrap();
    assert_eq!(json["type"], "conversation_changed");
    assert_eq!(json["description"], "Sundays");
    for same in ["name", "avatar_url", "expires_after"] {
        assert!(json.get(same).is_none(), "{json}");
    }
    let effects = update(ConversationPatch {
        name: set("Walkers"),
        description: set("Sundays"),
        ..ConversationPatch::default()
    });
    assert_eq!(effects, Effects::default());
    let effects = update(ConversationPatch {
        description: Some(None),
        ..ConversationPatch::default()
    });
    let json = serde_json::to_value(&effects.broadcast[0]).unwrap();
    assert!(json["description"].is_null() && json.get("description").is_some());
    assert_eq!(
        serde_json::from_value::<Event>(json).unwrap(),
        effects.broadcast[0],
        "null is told from what is left out"
    );
    world.crash();
    assert_eq!(world.log(1).len(), 3);
    assert_eq!(world.log(1)[2], effects.broadcast[0]);
}

#[test]
fn however_many_let_others_in_there_are_never_too_many() {
    let mut world = World::crowd(limits::GROUP_MEMBERS + 60);
    let others = world.users[1..1000].to_vec();
    world.create_group(others).unwrap();
    for admin in 1..5 {
        world.promote(0, admin, Role::Admin).unwrap();
    }
    let mut refused = 0;
    for round in 0..5 {
        for admin in 0..5 {
            let first = 1000 + round * 15 + admin * 3;
            let head = world.head();
            match world.add(admin, &[first, first + 1, first + 2]) {
                Ok(_) => assert_eq!(world.head(), head + 1),
                Err(problem) => {
                    assert_eq!(problem.code, Code::Conflict);
                    assert_eq!(world.head(), head);
                    refused += 1;
                }
            }
            assert!(world.members(0).len() <= limits::GROUP_MEMBERS);
        }
    }
    assert_eq!(world.members(0).len(), limits::GROUP_MEMBERS);
    assert_eq!(refused, 25 - 8);
    world.remove(0, 999).unwrap();
    world.add(4, &[1050]).unwrap();
    assert_eq!(world.members(0).len(), limits::GROUP_MEMBERS);
}

#[test]
fn a_block_before_there_is_a_conversation_holds_in_it() {
    let mut world = World::new();
    let call = SetBlock {
        blocker: world.users[1],
        is_blocked: true,
    };
    world.request(call).unwrap();
    world.crash();
    world.create_direct().unwrap();
    assert_eq!(code(world.send_message_as(0)), Code::Forbidden);
    world.crash();
    assert_eq!(code(world.send_message_as(0)), Code::Forbidden);
    world.send_message_as(1).unwrap();
    let lifted = SetBlock {
        is_blocked: false,
        ..call
    };
    world.request(lifted).unwrap();
    world.send_message_as(0).unwrap();
    let mut fresh = World::new();
    fresh.request(lifted).unwrap();
    assert!(
        fresh
            .sql
            .exec("SELECT 1 FROM sqlite_master", &[])
            .unwrap()
            .rows
            .is_empty(),
        "nothing to lift leaves no trace"
    );
}

#[test]
fn a_report_has_what_was_said_also_after_it_was_deleted() {
    let mut world = World::group();
    let sent = world.send(1, "cruel words");
    world.act(1, sent.message_id, edit("kind words")).unwrap();
    world.act(1, sent.message_id, Act::Delete).unwrap();
    let call = CopyMessage {
        actor: world.users[2],
        message_id: sent.message_id,
    };
    let copy = world.service.copy_message(call).unwrap();
    assert_eq!(copy.content, "cruel words");
    assert_eq!(copy.edited_content.as_deref(), Some("kind words"));
    assert!(copy.is_deleted);
    assert_eq!(copy.sender_id, world.users[1]);
}

/// Something that a member does, or tries to.
#[derive(Debug, Clone, Copy)]
enum Step {
    Add(usize, usize),
    Remove(usize, usize),
    Role(usize, usize, Role),
    Send(usize),
    Crash,
    Deliver,
}

const PEOPLE: usize = 7;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = 0..PEOPLE;
    let role = prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)];
    let step = prop_oneof![
        4 => (user.clone(), user.clone()).prop_map(|(one, other)| Step::Add(one, other)),
        4 => (user.clone(), user.clone()).prop_map(|(one, other)| Step::Remove(one, other)),
        3 => (user.clone(), user.clone(), role).prop_map(|(one, two, role)| Step::Role(one, two, role)),
        2 => user.prop_map(Step::Send),
        1 => Just(Step::Crash),
        1 => Just(Step::Deliver),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The members and their roles, as the log tells.
#[derive(Default)]
struct Replay(BTreeMap<UserId, Role>);

impl Replay {
    fn take(&mut self, event: &Event) {
        match event {
            Event::MemberAdded(added) => {
                let is_first = self.0.is_empty();
                for user_id in &added.user_ids {
                    let owns = is_first && *user_id == added.added_by;
                    let role = if owns { Role::Owner } else { Role::Member };
                    assert_eq!(self.0.insert(*user_id, role), None, "is a member already");
                }
            }
            Event::Group(GroupChange::MemberRemoved(removed)) => {
                assert!(self.0.remove(&removed.user_id).is_some(), "is no member");
            }
            Event::Group(GroupChange::RoleChanged(changed)) => {
                if let Some(owner) = changed.former_owner_id {
                    assert_eq!(self.0.insert(owner, Role::Admin), Some(Role::Owner));
                }
                let before = self.0.insert(changed.user_id, changed.role);
                assert_ne!(before, Some(changed.role), "a change that is none");
            }
            _ => {}
        }
        let owners = self.0.values().filter(|role| **role == Role::Owner).count();
        assert_eq!(owners, usize::from(!self.0.is_empty()), "after {event:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_members_are_as_the_log_tells_and_each_has_heard_what_it_may(steps in steps()) {
        let mut world = World::crowd(PEOPLE);
        let others = world.users[1..3].to_vec();
        world.create_group(others).unwrap();
        let mut inboxes = Inboxes::default();
        // What each may have heard: while it is a member, and the event that ends that.
        let mut replay = Replay::default();
        let mut log: Vec<Event> = Vec::new();
        let mut may_hear: BTreeMap<UserId, Vec<u64>> = BTreeMap::new();
        let mut read = |world: &mut World, log: &mut Vec<Event>, replay: &mut Replay| {
            let store = world.service.store();
            let id = ConversationId::direct(world.users[0], world.users[1]);
            let seen_by_all = crate::conversation::store::Viewer {
                user_id: None,
                visible_from: Seq::new(1),
            };
            let after = log.last().map_or(Seq::ZERO, Event::seq);
            for event in store.events_after(id, seen_by_all, after, 1000, 1 << 20).unwrap() {
                let before: BTreeSet<_> = replay.0.keys().copied().collect();
                replay.take(&event);
                let heard = before.iter().chain(replay.0.keys()).copied();
                for user_id in heard.collect::<BTreeSet<_>>() {
                    may_hear.entry(user_id).or_default().push(event.seq().get());
                }
                log.push(event);
            }
            let is_member = |id: &UserId| replay.0.contains_key(id);
            world.users.iter().position(is_member).unwrap_or(0)
        };
        read(&mut world, &mut log, &mut replay);
        for step in steps {
            match step {
                Step::Add(actor, user) => drop(world.add(actor, &[user])),
                Step::Remove(actor, user) => drop(world.remove(actor, user)),
                Step::Role(actor, user, role) => drop(world.promote(actor, user, role)),
                Step::Send(sender) => drop(world.send_message_as(sender)),
                Step::Crash => world.crash(),
                Step::Deliver => {
                    inboxes.serve(&mut world);
                    world.now = world.now + Duration::from_secs(6);
                    if !replay.0.is_empty() {
                        world.ring();
                    }
                }
            }
            if world.rows("SELECT 1 FROM conversation WHERE ended_at IS NULL") == 0 {
                read(&mut world, &mut log, &mut replay);
                prop_assert!(replay.0.is_empty());
                break;
            }
            let viewer = read(&mut world, &mut log, &mut replay);
            let stored: BTreeMap<_, _> = world
                .members(viewer)
                .into_iter()
                .map(|member| (member.user_id, member.role))
                .collect();
            prop_assert_eq!(&stored, &replay.0);
        }
        let seqs: Vec<_> = log.iter().map(|event| event.seq().get()).collect();
        prop_assert_eq!(&seqs, &(1..=seqs.len() as u64).collect::<Vec<_>>());
        inboxes.settle(&mut world);
        for (user_id, may_hear) in &may_hear {
            let heard = inboxes.seqs(*user_id);
            // Where it came in again before it had heard that it was removed, it hears from there.
            let last = may_hear.last().copied();
            prop_assert_eq!(heard.last().copied(), last);
            prop_assert!(heard.iter().all(|seq| may_hear.contains(seq)), "{:?}", heard);
            prop_assert!(heard.is_sorted());
        }
    }
}
