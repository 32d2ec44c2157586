//! The archive: events leave the object, and nobody notices.

mod faults;
mod forgetting;
mod moving;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{World, told};
use crate::conversation::archive::memory::{Fault, MemoryStore};
use crate::conversation::archive::{ArchiveStep, HotWindow};
use crate::conversation::call::{
    ActOn, ConversationObject, ConversationRequest, CopyMessage, GetMessage, GetMessageInfo,
    ListEvents, ListMessages, ListPins, ListThread,
};
use crate::conversation::deliver::Round;
use crate::ids::MessageId;
use crate::need::{Need, TRIES};
use crate::object::Call;
use crate::protocol::act::Act;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::Sql as _;

/// A conversation with an archive.
struct Archived {
    world: World,
    store: MemoryStore,
    window: HotWindow,
    steps: usize,
}

/// How the archiving came to its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    /// The process is to die now.
    Dies,
    Failed,
}

impl Archived {
    fn new(world: World, events: u64) -> Self {
        let mut archived = Self {
            world,
            store: MemoryStore::new(),
            window: HotWindow {
                events,
                ..HotWindow::default()
            },
            steps: 0,
        };
        archived.crash();
        archived
    }

    /// The process dies.
    fn crash(&mut self) {
        self.world.crash();
        let service = std::mem::replace(
            &mut self.world.service,
            super::Service::new(
                std::rc::Rc::clone(&self.world.sql),
                crate::sql::OBJECT_SCOPE,
            ),
        );
        self.world.service = service.with_archive(self.window);
    }

    /// Takes the steps that are due; `fault` says of each what goes wrong, and whether the process
    /// dies before it is answered.
    fn archive_with(
        &mut self,
        mut fault: impl FnMut(usize, &ArchiveStep) -> Option<Trouble>,
    ) -> End {
        loop {
            let step = match self.world.service.next_archive_step(self.world.now) {
                Ok(Some(step)) => step,
                Ok(None) => return End::Done,
                Err(error) => panic!("{error}"),
            };
            self.steps += 1;
            let trouble = fault(self.steps, &step);
            if trouble == Some(Trouble::DiesBefore) {
                return End::Dies;
            }
            let wrong = match trouble {
                Some(Trouble::Fault(fault)) => Some(fault),
                _ => None,
            };
            let outcome = self.store.take(&step, wrong);
            if trouble == Some(Trouble::DiesAfter) {
                return End::Dies;
            }
            let outcome = match outcome {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let done = self
                .world
                .service
                .archive_step_done(outcome, self.world.now);
            if done.is_err() {
                return End::Failed;
            }
        }
    }

    fn archive(&mut self) {
        assert_eq!(self.archive_with(|_, _| None), End::Done);
    }

    /// Brings what is needed.
    fn bring(&self, need: &Need) -> Result<(), Problem> {
        let Need::Segment(segment) = need;
        let unavailable = || Problem::unavailable("It cannot be read.");
        let bytes = self.store.get(&segment.name).ok_or_else(unavailable)?;
        let supplied = self.world.service.supply_segment(segment, &bytes);
        supplied.map_err(|_| unavailable())
    }

    /// Asks as the runtime does. Gives the reply, and how often something was needed.
    fn ask_counted<C: Call<ConversationObject> + Clone>(
        &mut self,
        call: &C,
    ) -> Result<(C::Reply, usize), Problem> {
        for needs in 0..TRIES {
            let request: ConversationRequest = call.clone().into();
            let now = self.world.now;
            match self.world.service.handle(request, now, &self.world.entropy) {
                Ok((reply, effects)) => {
                    self.world.carry_out(&effects);
                    return Ok((serde_json::from_str(&reply).unwrap(), needs));
                }
                Err(ServiceError::Needs(need)) => self.bring(&need)?,
                Err(error) => return Err(told(error)),
            }
        }
        panic!("it never came to an end");
    }

    fn ask<C: Call<ConversationObject> + Clone>(&mut self, call: C) -> Result<C::Reply, Problem> {
        self.ask_counted(&call).map(|(reply, _)| reply)
    }

    fn act(&mut self, actor: usize, message_id: MessageId, act: Act) -> Result<(), Problem> {
        let actor = self.world.users[actor];
        self.ask(ActOn {
            actor,
            message_id,
            act,
        })
        .map(|_| ())
    }

    /// The seqs of all messages, paging back to the first.
    fn paged(&mut self, viewer: usize, limit: u32) -> Vec<Value> {
        let actor = self.world.users[viewer];
        let mut messages = Vec::new();
        let mut cursor = None;
        loop {
            let page = self
                .ask(ListMessages {
                    actor,
                    cursor,
                    limit,
                })
                .unwrap();
            messages.extend(page.messages.iter().map(|message| json!(message)));
            cursor = page.next_cursor;
            if !page.has_more {
                return messages;
            }
        }
    }

    /// All events.
    fn events(&mut self, viewer: usize, limit: u32) -> Vec<Value> {
        let actor = self.world.users[viewer];
        let mut events = Vec::new();
        let mut after_seq = Seq::ZERO;
        loop {
            let page = self
                .ask(ListEvents {
                    actor,
                    after_seq,
                    limit,
                })
                .unwrap();
            after_seq = page.events.last().map_or(after_seq, |event| event.seq());
            events.extend(page.events.iter().map(|event| json!(event)));
            if !page.has_more {
                return events;
            }
        }
    }

    /// Everything that anyone can be shown of the conversation.
    fn all_reads(&mut self, members: usize, messages: &[MessageId]) -> Vec<Value> {
        let mut reads = Vec::new();
        for viewer in 0..members {
            reads.push(json!(self.paged(viewer, 7)));
            reads.push(json!(self.events(viewer, 9)));
            let actor = self.world.users[viewer];
            reads.push(json!(self.ask(ListPins { actor })));
            for message_id in messages.iter().copied() {
                reads.push(json!(self.ask(GetMessage { actor, message_id })));
                reads.push(json!(self.ask(GetMessageInfo { actor, message_id })));
                reads.push(json!(self.ask(CopyMessage { actor, message_id })));
                reads.push(json!(self.ask(ListThread {
                    actor,
                    message_id,
                    cursor: None,
                    limit: 20,
                })));
            }
        }
        reads
    }

    /// How many events have their bodies here.
    fn hot(&self) -> u64 {
        let rows = self
            .world
            .sql
            .exec("SELECT count(*) FROM event WHERE body <> ''", &[]);
        rows.unwrap().scalar().unwrap().unwrap()
    }

    fn segments(&self) -> Vec<String> {
        let rows = self
            .world
            .sql
            .exec("SELECT name FROM archive_segment ORDER BY first_seq", &[])
            .unwrap();
        rows.rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    /// The objects in the store are the segments, and nothing else.
    fn assert_nothing_is_left_over(&self) {
        let stored: Vec<_> = self.store.objects().into_keys().collect();
        let mut known = self.segments();
        known.sort();
        assert_eq!(stored, known);
    }

    fn wait(&mut self, by: Duration) {
        self.world.now = self.world.now + by;
    }

    /// What the members' user objects are given, until all lanes are dry.
    fn deliver(&mut self) -> BTreeMap<crate::ids::UserId, Vec<u64>> {
        use crate::conversation::call::MemberPosition;
        use crate::user::call::Delivered;
        let mut given: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        let mut round = Round::default();
        for _ in 0..10_000 {
            let now = self.world.now;
            match self.world.service.next_delivery(&mut round, now) {
                Ok(Some(delivery)) => {
                    let seqs = delivery.news.events.iter().map(|event| event.seq().get());
                    let taken = given.entry(delivery.user_id).or_default();
                    taken.extend(seqs);
                    let reply = Delivered {
                        head_seq: Seq::new(taken.last().copied().unwrap_or(0)),
                        position: MemberPosition::default(),
                    };
                    let user_id = delivery.user_id;
                    let effects = self.world.service.delivered(user_id, &reply, now).unwrap();
                    self.world.carry_out(&effects);
                }
                Ok(None) => match self.world.service.next_delivery_at() {
                    Some(at) => self.world.now = at,
                    None => return given,
                },
                Err(crate::sql::SqlError::Needs(need)) => match self.bring(&need) {
                    Ok(()) => self.world.service.need_met(now),
                    Err(_) => self.world.service.need_unmet(now),
                },
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the lanes never run dry");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Fault(Fault),
    /// The process dies before the step is taken.
    DiesBefore,
    /// It dies when the step was taken, before it hears of it.
    DiesAfter,
}
