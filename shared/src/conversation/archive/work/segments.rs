//! Making segments: of events, and of segments that are to be changed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Archive, Change, LATE, STEP, Sealed, Work};
use crate::conversation::archive::segment::{Header, Segment, SegmentError, SegmentWriter};
use crate::conversation::archive::store::{SegmentRow, emptied};
use crate::conversation::archive::{ArchiveError, StorageClass};
use crate::conversation::service::ConversationService;
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

impl<S: Sql> ConversationService<S> {
    /// Takes some more events into a segment; seals it when it is full or there are no more.
    pub(super) fn gather(
        &self,
        mut writer: Box<SegmentWriter>,
        extended: Option<SegmentRow>,
        now: Timestamp,
    ) -> Result<Option<Work>, ArchiveError> {
        let (Some(window), Some(state)) = (self.archive.window, &self.state) else {
            return Ok(None);
        };
        let after = writer.last_seq().unwrap_or(state.archived);
        let events = self.store().stored_after(after, STEP)?;
        let is_last = events.len() < STEP as usize;
        let mut is_complete = is_last;
        for event in &events {
            if writer.is_full() || !window.is_outside(event.seq, event.created_at, state.head, now)
            {
                is_complete = true;
                break;
            }
            writer.push(event)?;
        }
        if !is_complete {
            return Ok(Some(Work::Gather(writer, extended)));
        }
        if writer.last_seq().is_none_or(|last| last <= state.archived) {
            return Ok(None);
        }
        let (header, bytes) = writer.finish()?;
        let sealed = self.seal(&header, bytes, extended, Vec::new(), now)?;
        Ok(Some(Work::Put(sealed)))
    }

    /// A segment that is to be changed was read.
    pub(super) fn change(
        &self,
        row: SegmentRow,
        change: Change,
        segment: &Segment,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<Work, ArchiveError> {
        let header = segment.header().clone();
        match change {
            Change::Move => {
                let emptied = Vec::new();
                Ok(Work::Put(self.seal(
                    &header,
                    bytes,
                    Some(row),
                    emptied,
                    now,
                )?))
            }
            Change::Extend => {
                let mut writer = SegmentWriter::new(header.conversation_id);
                for (seq, line) in segment.lines() {
                    // The time of all but the first and the last is in the line alone.
                    let at = if seq == header.first_seq {
                        header.first_at
                    } else {
                        header.last_at
                    };
                    writer.push_line(seq, at, line)?;
                }
                Ok(Work::Gather(Box::new(writer), Some(row)))
            }
            Change::Purge => {
                let store = self.store();
                let mut left: BTreeSet<Seq> = store
                    .purges_within(header.first_seq, header.last_seq)?
                    .into_iter()
                    .collect();
                let mut lines: BTreeMap<Seq, String> = BTreeMap::new();
                let mut done = Vec::new();
                let mut earlier = Vec::new();
                // An edit names the one before it, which is earlier.
                while let Some(seq) = left.pop_last() {
                    let Some(event) = segment.event(seq)? else {
                        earlier.push(seq);
                        continue;
                    };
                    let (event, previous) = emptied(event)?;
                    let line = serde_json::to_string(&event)
                        .map_err(|_| SegmentError::Damaged("an event cannot be written"))?;
                    lines.insert(seq, line);
                    done.push(seq);
                    left.extend(previous);
                }
                let mut writer = SegmentWriter::new(header.conversation_id);
                for (seq, line) in segment.lines() {
                    let line = lines.get(&seq).map_or(line, String::as_str);
                    let at = if seq == header.first_seq {
                        header.first_at
                    } else {
                        header.last_at
                    };
                    writer.push_line(seq, at, line)?;
                }
                let (header, bytes) = writer.finish()?;
                let mut sealed = self.seal(&header, bytes, Some(row), done, now)?;
                sealed.to_purge.extend(earlier);
                Ok(Work::Put(sealed))
            }
        }
    }

    /// Notes that an object may be there from now on, and names it.
    pub(super) fn seal(
        &self,
        header: &Header,
        bytes: Vec<u8>,
        replaced: Option<SegmentRow>,
        emptied: Vec<Seq>,
        now: Timestamp,
    ) -> Result<Sealed, SqlError> {
        let store = self.store();
        let name = transact(&self.sql, || store.name_object(header, now + LATE))?;
        let class = Archive::class(header.last_at, now);
        Ok(Sealed {
            row: SegmentRow {
                first_seq: header.first_seq,
                last_seq: header.last_seq,
                last_at: header.last_at,
                name,
                bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                is_infrequent: class == StorageClass::InfrequentAccess,
            },
            bytes: Rc::new(bytes),
            replaced,
            emptied,
            to_purge: BTreeSet::new(),
        })
    }

    /// A segment was verified: from now on it is where its events are.
    pub(super) fn record(&mut self, sealed: &Sealed, now: Timestamp) -> Result<(), SqlError> {
        let store = self.store();
        transact(&self.sql, || {
            let replaced = sealed.replaced.as_ref().map(|old| (old, now));
            store.save_segment(&sealed.row, replaced)?;
            for seq in &sealed.emptied {
                store.drop_purge(*seq)?;
            }
            for seq in &sealed.to_purge {
                store.add_purge(*seq, now)?;
            }
            Ok::<_, SqlError>(())
        })?;
        // What was replaced may hold what is to be read no more.
        self.bodies.clear();
        if let Some(state) = &mut self.state {
            state.archived = state.archived.max(sealed.row.last_seq);
        }
        Ok(())
    }
}
