//! What the conversation has in memory of its archive: the segments that were read last.
//!
//! What always holds: it is a cache, bounded in bytes, and nothing in it is in storage no more.
//! Whatever was asked for is found at least until something else is asked for, however many
//! segments one request takes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::segment::{Segment, SegmentError};
use crate::need::SegmentNeed;
use crate::protocol::seq::Seq;

/// Bytes of segments that are kept. The largest page spans less.
const SEGMENTS_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of single bodies that are kept.
const BODIES_BYTES: usize = 8 * 1024 * 1024;

/// The bodies of archived events that are in memory.
#[derive(Default)]
pub(in crate::conversation) struct Bodies(RefCell<Held>);

#[derive(Default)]
struct Held {
    /// The one used last at the end.
    segments: VecDeque<(String, Segment)>,
    /// Those that were asked for one by one, so that a request which takes many segments comes
    /// to its end.
    asked: BTreeMap<Seq, String>,
    asked_bytes: usize,
}

impl fmt::Debug for Bodies {
    /// Without what they say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bodies")
    }
}

impl Bodies {
    /// What the event `seq` holds, where it is in memory.
    pub fn find(&self, seq: Seq) -> Result<Option<String>, SegmentError> {
        let mut held = self.0.borrow_mut();
        if let Some(body) = held.asked.get(&seq) {
            return Ok(Some(body.clone()));
        }
        let Some(place) = held.segments.iter().position(|(_, segment)| {
            let header = segment.header();
            header.first_seq <= seq && seq <= header.last_seq
        }) else {
            return Ok(None);
        };
        if place + 1 < held.segments.len()
            && let Some(used) = held.segments.remove(place)
        {
            held.segments.push_back(used);
        }
        let found = held
            .segments
            .back()
            .map(|(_, segment)| segment.event(seq))
            .transpose()?
            .flatten();
        Ok(found.map(|event| String::from(Box::<str>::from(event.body))))
    }

    /// Takes a segment that was needed.
    pub fn supply(&self, need: &SegmentNeed, segment: Segment) -> Result<(), SegmentError> {
        let event = segment
            .event(need.seq)?
            .ok_or(SegmentError::Damaged("it lacks an event"))?;
        let mut held = self.0.borrow_mut();
        let body = String::from(Box::<str>::from(event.body));
        if held.asked_bytes + body.len() > BODIES_BYTES {
            held.asked.clear();
            held.asked_bytes = 0;
        }
        held.asked_bytes += body.len();
        held.asked.insert(need.seq, body);
        held.segments.retain(|(name, _)| *name != need.name);
        held.segments.push_back((need.name.clone(), segment));
        let mut bytes: usize = held.segments.iter().map(|(_, it)| it.size()).sum();
        while bytes > SEGMENTS_BYTES && held.segments.len() > 1 {
            if let Some((_, oldest)) = held.segments.pop_front() {
                bytes -= oldest.size();
            }
        }
        Ok(())
    }

    /// Lets all go.
    pub fn clear(&self) {
        *self.0.borrow_mut() = Held::default();
    }
}
