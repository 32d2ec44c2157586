//! Moving events to the archive, step by step.
//!
//! The service says which step is next ([`ConversationService::next_archive_step`]), the runtime
//! takes it, and tells what came of it ([`ConversationService::archive_step_done`]). A segment is
//! written in this order: its name is noted as waste, it is put, read back and compared, then
//! recorded as a segment instead, and only then the bodies of its events are wiped.
//!
//! What always holds:
//! - The process may die between any two steps, and a step may fail: every event is then here, in
//!   a segment that was verified, or in both.
//! - An object that may be there without being a segment has a row of waste, which outlives the
//!   process: some time later it is removed. No name is used twice, so a put that arrives late
//!   never changes a segment.
//! - A segment is never changed: another takes its place, in the same order.
//! - What is purged while its segment is being written is purged from that segment next.
//! - No step takes long, so that messages get between.

mod segments;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::segment::{Segment, SegmentError, SegmentWriter};
use super::store::SegmentRow;
use super::{
    ArchiveError, ArchiveReply, ArchiveStep, HotWindow, StorageClass, archive_alarm, delivery_alarm,
};
use crate::conversation::service::{ConversationService, RECOVERY_DELAY, State};
use crate::conversation::store::Store;
use crate::need::SegmentNeed;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::{Timestamp, pause_after};

/// Events that are read in one step.
const STEP: u32 = 1000;
/// Events whose bodies are let go of in one step.
const WIPED: u64 = 500;
/// How long after an object was named it is waste, where it has not become a segment: a put that
/// was under way when the process died has arrived by then, or never will.
const LATE: Duration = Duration::from_secs(60);
/// A segment smaller than this takes the events that follow, instead of a further one.
const SMALL_BYTES: u64 = super::segment::SEGMENT_BYTES as u64 / 2;
/// The age from which on a segment is in the class for infrequent access.
const INFREQUENT_AFTER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The wait after a first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(60);
/// The longest wait between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(60 * 60);

/// What is known of the archive in memory.
#[derive(Debug, Default)]
pub(in crate::conversation) struct Archive {
    /// What stays here; none where there is no archive.
    window: Option<HotWindow>,
    work: Option<Work>,
    /// Events are going until none is outside of the window.
    is_moving: bool,
    /// Segments that cannot be read: they are left as they are while memory lasts.
    unreadable: BTreeSet<String>,
    failures: u32,
    retry_at: Option<Timestamp>,
}

#[derive(Debug)]
enum Work {
    /// A segment is read, because it is to be replaced.
    Fetch(SegmentRow, Change),
    /// Events are gathered, after those of a small segment where there is one.
    Gather(Box<SegmentWriter>, Option<SegmentRow>),
    Put(Sealed),
    Verify(Sealed),
    Discard(String),
}

/// What is to become of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It takes further events.
    Extend,
    /// It loses content.
    Purge,
    /// It moves to another class.
    Move,
}

/// A segment that is on its way.
#[derive(Debug)]
struct Sealed {
    row: SegmentRow,
    bytes: Rc<Vec<u8>>,
    replaced: Option<SegmentRow>,
    /// Events whose content is in it no more.
    emptied: Vec<Seq>,
    /// Events whose content is still in it, and is to go.
    to_purge: BTreeSet<Seq>,
}

/// How far a conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::conversation) struct Extent {
    pub head: Seq,
    /// Up to where events are in the archive.
    pub archived: Seq,
    /// Up to where their bodies are here no more.
    pub wiped: Seq,
    /// Whether it is no more.
    pub has_ended: bool,
}

impl State {
    const fn extent(&self) -> Extent {
        Extent {
            head: self.head,
            archived: self.archived,
            wiped: self.wiped,
            has_ended: self.has_ended,
        }
    }
}

impl Archive {
    fn new(window: HotWindow) -> Self {
        Self {
            window: Some(window),
            ..Self::default()
        }
    }

    /// When something is to be done, by what is stored.
    fn due_at<S: Sql>(
        &self,
        store: &Store<'_, S>,
        extent: Extent,
    ) -> Result<Option<Timestamp>, SqlError> {
        let Some(window) = self.window else {
            return Ok(None);
        };
        let dates = store.archive_dates(extent.archived)?;
        if extent.has_ended {
            return Ok(dates.waste_at);
        }
        if extent.wiped < extent.archived || self.is_moving {
            return Ok(Some(Timestamp::from_millis(0)));
        }
        let due = [
            window.due_at(extent.head, extent.archived, dates.oldest_at),
            dates.waste_at,
            dates.purge_at,
            dates.standard_at.map(|at| at + INFREQUENT_AFTER),
        ];
        Ok(due.into_iter().flatten().min())
    }

    /// What the alarm is set to where it waits for the archive alone.
    pub fn alarm_at<S: Sql>(
        &self,
        store: &Store<'_, S>,
        extent: Extent,
    ) -> Result<Option<Timestamp>, SqlError> {
        Ok(self.due_at(store, extent)?.map(archive_alarm))
    }

    /// As [`Self::due_at`], with the wait after a failure.
    fn next_at<S: Sql>(
        &self,
        store: &Store<'_, S>,
        state: &State,
    ) -> Result<Option<Timestamp>, SqlError> {
        let due = self.due_at(store, state.extent())?;
        Ok(due.map(|at| self.retry_at.map_or(at, |retry| at.max(retry))))
    }

    /// Content went that may be in a segment which is on its way.
    pub fn purged(&mut self, purged: &[Seq]) {
        let Some(Work::Gather(..) | Work::Put(_) | Work::Verify(_)) = &self.work else {
            return;
        };
        match &mut self.work {
            Some(Work::Put(sealed) | Work::Verify(sealed)) => {
                let within = |seq: &&Seq| **seq <= sealed.row.last_seq;
                sealed.to_purge.extend(purged.iter().filter(within));
            }
            // Begun anew.
            _ => self.work = None,
        }
    }

    /// Whether there is one.
    pub const fn is_there(&self) -> bool {
        self.window.is_some()
    }

    /// Lets go of what is under way: nothing of it is recorded.
    pub fn abandon(&mut self) {
        self.work = None;
        self.is_moving = false;
    }

    fn fail(&mut self, now: Timestamp) {
        self.abandon();
        let wait = pause_after(self.failures, FIRST_RETRY, LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn class(last_at: Timestamp, now: Timestamp) -> StorageClass {
        if last_at + INFREQUENT_AFTER <= now {
            StorageClass::InfrequentAccess
        } else {
            StorageClass::Standard
        }
    }
}

impl<S: Sql> ConversationService<S> {
    /// The same with an archive, to which goes what is outside of the window.
    #[must_use]
    pub fn with_archive(mut self, window: HotWindow) -> Self {
        self.archive = Archive::new(window);
        self
    }

    /// Takes what a segment holds that was needed.
    ///
    /// # Errors
    /// Where it is none of this conversation that has the event: it is then not there.
    pub fn supply_segment(&self, need: &SegmentNeed, bytes: &[u8]) -> Result<(), SegmentError> {
        let segment = Segment::read(bytes)?;
        if Some(segment.header().conversation_id) != self.conversation_id() {
            return Err(SegmentError::Damaged("it is of another conversation"));
        }
        self.bodies.supply(need, segment)
    }

    /// The next step, where one is to be taken now. Where an earlier one has not been answered, it
    /// is the same again.
    ///
    /// # Errors
    /// When storage fails.
    pub fn next_archive_step(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<ArchiveStep>, ArchiveError> {
        if self.archive.window.is_none() || self.load()?.is_none() {
            return Ok(None);
        }
        if self.archive.retry_at.is_some_and(|at| at > now) {
            return Ok(None);
        }
        if self.archive.work.is_none() && !self.begin_work(now)? {
            let is_wiping = self.wipe()?;
            if !is_wiping {
                self.rest(now)?;
            }
            return Ok(is_wiping.then_some(ArchiveStep::Pause));
        }
        let Some(work) = self.archive.work.take() else {
            return Ok(None);
        };
        let (work, step) = match work {
            Work::Gather(writer, extended) => match self.gather(writer, extended, now) {
                Ok(work) => (work, ArchiveStep::Pause),
                Err(error) => {
                    self.archive.fail(now);
                    return Err(error);
                }
            },
            Work::Fetch(row, change) => {
                let name = row.name.clone();
                (Some(Work::Fetch(row, change)), ArchiveStep::Get { name })
            }
            Work::Put(sealed) => {
                let step = ArchiveStep::Put {
                    name: sealed.row.name.clone(),
                    bytes: Rc::clone(&sealed.bytes),
                    class: if sealed.row.is_infrequent {
                        StorageClass::InfrequentAccess
                    } else {
                        StorageClass::Standard
                    },
                };
                (Some(Work::Put(sealed)), step)
            }
            Work::Verify(sealed) => {
                let name = sealed.row.name.clone();
                (Some(Work::Verify(sealed)), ArchiveStep::Get { name })
            }
            Work::Discard(name) => {
                let step = ArchiveStep::Delete { name: name.clone() };
                (Some(Work::Discard(name)), step)
            }
        };
        self.archive.work = work;
        Ok(Some(step))
    }

    /// Whether so much is to go to the archive that the alarm, which may be late while messages
    /// come without end, is not to be waited for. Costs nothing to ask.
    #[must_use]
    pub fn archive_presses(&self, now: Timestamp) -> bool {
        let (Some(window), Some(state)) = (self.archive.window, &self.state) else {
            return false;
        };
        !state.has_ended
            && self.archive.work.is_none()
            && self.archive.retry_at.is_none_or(|at| at <= now)
            && window.is_pressing(state.head, state.archived)
    }

    /// A step was taken, or failed.
    ///
    /// # Errors
    /// What is wrong, for the log: it is tried again after a while.
    pub fn archive_step_done(
        &mut self,
        outcome: Result<ArchiveReply, String>,
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        let is_gone = self.load()?.is_none();
        let Some(work) = self.archive.work.take().filter(|_| !is_gone) else {
            return Ok(());
        };
        let done = outcome
            .map_err(ArchiveError::Store)
            .and_then(|reply| self.go_on(work, reply, now));
        match done {
            Ok(work) => {
                self.archive.work = work;
                Ok(())
            }
            Err(error) => {
                self.archive.fail(now);
                Err(error)
            }
        }
    }

    fn go_on(
        &mut self,
        work: Work,
        reply: ArchiveReply,
        now: Timestamp,
    ) -> Result<Option<Work>, ArchiveError> {
        match (work, reply) {
            (Work::Fetch(row, change), ArchiveReply::Got(bytes)) => {
                let read = bytes
                    .as_ref()
                    .ok_or(ArchiveError::Missing)
                    .and_then(|bytes| Ok(Segment::read(bytes)?));
                match (read, bytes) {
                    (Ok(segment), Some(bytes)) => {
                        self.change(row, change, &segment, bytes, now).map(Some)
                    }
                    (Err(error), _) => {
                        self.archive.unreadable.insert(row.name);
                        Err(error)
                    }
                    (Ok(_), None) => Err(ArchiveError::Missing),
                }
            }
            (Work::Put(sealed), ArchiveReply::Stored) => Ok(Some(Work::Verify(sealed))),
            (Work::Verify(sealed), ArchiveReply::Got(bytes)) => {
                let bytes = bytes.ok_or(ArchiveError::Missing)?;
                if bytes != *sealed.bytes {
                    return Err(ArchiveError::Differs);
                }
                self.record(&sealed, now)?;
                self.archive.failures = 0;
                self.archive.retry_at = None;
                Ok(None)
            }
            (Work::Discard(name), ArchiveReply::Deleted) => {
                self.store().drop_waste(&name)?;
                Ok(None)
            }
            // An answer to another question.
            (work, _) => Ok(Some(work)),
        }
    }

    /// Sets the alarm for the archive, where it would go off later; `is_dry`: all is delivered.
    pub(in crate::conversation) fn arm_for_archive(
        &mut self,
        now: Timestamp,
        is_dry: bool,
    ) -> Result<(), SqlError> {
        if let Some(state) = &mut self.state {
            state.waits_for_archive = false;
        }
        let Some(state) = &self.state else {
            return Ok(());
        };
        let due = self.archive.next_at(&self.store(), state)?;
        let at = match due {
            // It is looked after again if this is not the end of it.
            Some(at) if at <= now => delivery_alarm(now + RECOVERY_DELAY),
            Some(at) if is_dry => archive_alarm(at),
            Some(at) => delivery_alarm(at),
            None => return Ok(()),
        };
        if self.alarm_at.is_none_or(|set| at < set) {
            self.alarm_at = Some(at);
            if let Some(state) = &mut self.state {
                state.waits_for_archive = is_dry && due.is_some_and(|due| due > now);
            }
        }
        Ok(())
    }

    /// Takes up what is to be done, if anything is; but for the wiping.
    fn begin_work(&mut self, now: Timestamp) -> Result<bool, SqlError> {
        let (Some(window), Some(state)) = (self.archive.window, &self.state) else {
            return Ok(false);
        };
        let (head, archived, wiped) = (state.head, state.archived, state.wiped);
        if wiped < archived {
            return Ok(false);
        }
        let conversation_id = state.meta.conversation_id;
        let has_ended = state.has_ended;
        let store = self.store();
        let work = if let Some(name) = store.next_waste(now)? {
            Some(Work::Discard(name))
        } else if has_ended {
            None
        } else {
            let dates = store.archive_dates(archived)?;
            let is_due = window
                .due_at(head, archived, dates.oldest_at)
                .is_some_and(|at| at <= now);
            if is_due || self.archive.is_moving {
                self.archive.is_moving = true;
                let store = self.store();
                let small = store.last_segment()?.filter(|last| {
                    last.bytes < SMALL_BYTES && !self.archive.unreadable.contains(&last.name)
                });
                // Nothing is fetched for nothing.
                let first = store.stored_after(archived, 1)?;
                let has_more = first
                    .first()
                    .is_some_and(|event| window.is_outside(event.seq, event.created_at, head, now));
                match small {
                    _ if !has_more => {
                        self.archive.is_moving = false;
                        None
                    }
                    Some(small) => Some(Work::Fetch(small, Change::Extend)),
                    None => Some(Work::Gather(
                        Box::new(SegmentWriter::new(conversation_id)),
                        None,
                    )),
                }
            } else {
                None
            }
        };
        let work = match work {
            None if !has_ended => self.next_change(now)?,
            work => work,
        };
        self.archive.work = work;
        Ok(self.archive.work.is_some())
    }

    /// A segment that is to lose content, or to move to another class.
    fn next_change(&self, now: Timestamp) -> Result<Option<Work>, SqlError> {
        let store = self.store();
        let readable = |row: &SegmentRow| !self.archive.unreadable.contains(&row.name);
        for seq in store.due_purges(now)? {
            if let Some(row) = store.segment_of(seq)?.filter(readable) {
                return Ok(Some(Work::Fetch(row, Change::Purge)));
            }
        }
        let before = now - INFREQUENT_AFTER;
        let mut standard = store.standard_segments(before)?.into_iter();
        let row = standard.find(readable);
        Ok(row.map(|row| Work::Fetch(row, Change::Move)))
    }

    /// Nothing can be done now. Where something is due all the same (a segment that cannot be read
    /// is to be changed), it waits.
    fn rest(&mut self, now: Timestamp) -> Result<(), SqlError> {
        let Some(state) = &self.state else {
            return Ok(());
        };
        let due = self.archive.next_at(&self.store(), state)?;
        if due.is_some_and(|at| at <= now) {
            self.archive.retry_at = Some(now + LONGEST_RETRY);
        }
        Ok(())
    }

    /// Lets go of some bodies that are in the archive; says whether there were any.
    fn wipe(&mut self) -> Result<bool, SqlError> {
        let Some(state) = &self.state else {
            return Ok(false);
        };
        if state.wiped >= state.archived {
            return Ok(false);
        }
        let after = state.wiped;
        let up_to = Seq::new(after.get() + WIPED).min(state.archived);
        let store = self.store();
        transact(&self.sql, || store.wipe(after, up_to))?;
        if let Some(state) = &mut self.state {
            state.wiped = up_to;
        }
        Ok(true)
    }
}
