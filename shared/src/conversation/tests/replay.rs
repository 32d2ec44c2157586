//! The log and the messages tell the same: replayed from its first event, the log gives the
//! state that the messages show, to every member.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::conversation::call::Hide;
use crate::protocol::change::MessageChange;
use crate::protocol::content::Poll;
use crate::protocol::message::{PollResult, Reactions, ThreadSummary};
use crate::sql::Sql;

/// A client that keeps what the log tells.
#[derive(Default)]
struct Replay {
    messages: BTreeMap<MessageId, Message>,
    reactions: BTreeMap<MessageId, Vec<(String, UserId)>>,
    votes: BTreeMap<MessageId, BTreeMap<UserId, Vec<u8>>>,
    deleted: Vec<MessageId>,
}

impl Replay {
    fn take(&mut self, event: Event) {
        match event {
            Event::NewMessage(message) => {
                let id = message.message_id;
                self.messages.insert(id, message);
            }
            Event::Changed(change) => self.change(change),
            _ => {}
        }
    }

    fn change(&mut self, change: MessageChange) {
        let id = change.message_id();
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        match change {
            MessageChange::MessageEdited(edited) if !message.is_deleted => {
                message.content = edited.content;
                message.mentions = edited.mentions;
                message.edited_at = Some(edited.edited_at);
            }
            MessageChange::MessageDeleted(_) => {
                *message = message.clone().without_content();
                self.deleted.push(id);
            }
            MessageChange::Reaction(reaction) => {
                let key = (reaction.emoji, reaction.user_id);
                let all = self.reactions.entry(id).or_default();
                all.retain(|other| *other != key);
                if !reaction.removed {
                    all.push(key);
                }
            }
            MessageChange::PinChanged(pin) if !message.is_deleted => {
                message.is_pinned = pin.pinned;
            }
            MessageChange::PollVote(vote) => {
                let all = self.votes.entry(id).or_default();
                all.insert(vote.user_id, vote.options);
            }
            MessageChange::PollClosed(_) => {
                self.votes.entry(id).or_default();
                message.poll.get_or_insert(PollResult {
                    votes: Vec::new(),
                    voters: 0,
                    voted: Vec::new(),
                    is_closed: true,
                });
            }
            _ => {}
        }
    }

    /// The messages as `viewer` is shown them.
    fn shown(self, viewer: UserId) -> Vec<Message> {
        let mut shown = Vec::new();
        for (id, message) in &self.messages {
            let mut message = message.clone();
            let replies = self.messages.values().filter(|reply| {
                reply.thread_root == Some(*id) && !self.deleted.contains(&reply.message_id)
            });
            message.thread =
                replies
                    .clone()
                    .max_by_key(|reply| reply.seq)
                    .map(|last| ThreadSummary {
                        replies: u32::try_from(replies.count()).unwrap(),
                        last_reply_at: last.created_at,
                    });
            if message.is_hidden {
                continue;
            }
            if message.is_deleted {
                message.poll = None;
                message.is_pinned = false;
                shown.push(message);
                continue;
            }
            for (emoji, user_id) in self.reactions.get(id).into_iter().flatten() {
                let known = message
                    .reactions
                    .iter_mut()
                    .find(|known| known.emoji == *emoji);
                match known {
                    Some(known) => {
                        known.count += 1;
                        known.reacted |= *user_id == viewer;
                        known.user_ids.push(*user_id);
                    }
                    None => message.reactions.push(Reactions {
                        emoji: emoji.clone(),
                        count: 1,
                        reacted: *user_id == viewer,
                        user_ids: vec![*user_id],
                    }),
                }
            }
            if message.content_type == ContentType::Poll {
                let poll = Poll::read(&message.content).unwrap();
                let votes = self.votes.get(id).cloned().unwrap_or_default();
                let count = |option: usize| {
                    let for_it = |vote: &&Vec<u8>| vote.iter().any(|o| usize::from(*o) == option);
                    u32::try_from(votes.values().filter(for_it).count()).unwrap()
                };
                let voters = votes.values().filter(|vote| !vote.is_empty()).count();
                message.poll = Some(PollResult {
                    votes: (0..poll.options.len()).map(count).collect(),
                    voters: u32::try_from(voters).unwrap(),
                    voted: votes.get(&viewer).cloned().unwrap_or_default(),
                    is_closed: message.poll.is_some(),
                });
            }
            shown.push(message);
        }
        shown.sort_by_key(|message| message.seq);
        shown
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Poll(usize),
    Reply(usize, usize),
    Act(usize, usize, Act),
    Hide(usize, usize),
    Pass(u64),
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0_u32..3).prop_map(|text| edit(&format!("secret edit {text}"))),
        Just(Act::Delete),
        prop::sample::select(vec!["👍", "❤️", "🎉"]).prop_map(react),
        prop::sample::select(vec!["👍", "❤️", "🎉"]).prop_map(unreact),
        Just(PIN),
        Just(UNPIN),
        prop::collection::vec(0_u8..3, 0..3).prop_map(|options| vote(&options)),
        Just(Act::ClosePoll),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0_usize..3;
    let which = 0_usize..8;
    prop_oneof![
        4 => who.clone().prop_map(Step::Send),
        2 => who.clone().prop_map(Step::Poll),
        2 => (who.clone(), which.clone()).prop_map(|(who, root)| Step::Reply(who, root)),
        16 => (who.clone(), which.clone(), act()).prop_map(|(who, id, act)| Step::Act(who, id, act)),
        1 => (who, which).prop_map(|(who, id)| Step::Hide(who, id)),
        2 => (0_u64..3000).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_replay_of_the_log_gives_what_the_messages_show(
        steps in prop::collection::vec(step(), 1..80), expires: bool
    ) {
        let mut world = World::group();
        if expires {
            world
                .sql
                .exec("UPDATE conversation SET expires_after = 9000", &[])
                .unwrap();
            world.crash();
        }
        let mut ids: Vec<MessageId> = Vec::new();
        for step in steps {
            match step {
                Step::Send(who) => ids.push(world.send(who, "secret").message_id),
                Step::Poll(who) => {
                    let content = r#"{"question":"secret?","options":["a","b","c"],"multiple":true}"#;
                    let mut message = world.text(content);
                    message.content_type = ContentType::Poll;
                    ids.push(world.send_message(who, message).unwrap().message_id);
                }
                Step::Reply(who, root) => {
                    let mut message = world.text("secret reply");
                    message.thread_root = ids.get(root).copied();
                    if let Ok(ack) = world.send_message(who, message) {
                        ids.push(ack.message_id);
                    }
                }
                Step::Act(who, which, act) => {
                    let Some(id) = ids.get(which).copied() else { continue };
                    let before = world.head();
                    let first = world.act(who, id, act.clone());
                    let new = first.as_ref().is_ok_and(|acted| !acted.duplicate);
                    prop_assert_eq!(world.head() - before, u64::from(new));
                    if let Ok(first) = first {
                        let again = world.act(who, id, act).unwrap();
                        prop_assert!(again.duplicate);
                        prop_assert_eq!(again.event, first.event);
                    }
                }
                Step::Hide(who, which) => {
                    let Some(message_id) = ids.get(which).copied() else { continue };
                    let actor = world.users[who];
                    world.service.hide(Hide { actor, message_id }).unwrap();
                }
                Step::Pass(seconds) => {
                    world.now = world.now + Duration::from_secs(seconds);
                    world.ring();
                }
                Step::Crash => world.crash(),
            }
        }
        for viewer in 0..3 {
            let mut replay = Replay::default();
            let log = world.log(viewer);
            for (place, event) in log.iter().enumerate() {
                prop_assert_eq!(event.seq().get(), place as u64 + 1);
                replay.take(event.clone());
            }
            let gone: Vec<_> = replay
                .messages
                .values()
                .filter(|message| message.is_deleted)
                .map(|message| message.message_id)
                .collect();
            for event in &log {
                let id = match event {
                    Event::NewMessage(message) => message.message_id,
                    Event::Changed(change) => change.message_id(),
                    _ => continue,
                };
                if gone.contains(&id) {
                    prop_assert_eq!(event.content_bytes(), 0);
                }
            }
            let user_id = world.users[viewer];
            prop_assert_eq!(replay.shown(user_id), world.messages(viewer));
        }
    }
}
