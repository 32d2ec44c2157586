//! The form of a segment: some hundred to some thousand successive events of one conversation, as
//! one object of the archive. The page docs/archive.md says the same to those who read it with
//! other tools.
//!
//! What always holds: a segment is read only if its checksum fits and it has every event that its
//! header promises. What is written here stays readable: another form is another version.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::ids::{ClientMessageId, ConversationId, MessageId, UserId};
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// What every segment begins with; the last byte is the version of the form.
const MAGIC: &[u8; 8] = b"PARLSEG\x01";
/// Bytes of the checksum at the end (SHA-256 of everything before it).
const CHECKSUM: usize = 32;
/// Bytes of a segment after which it takes no more events.
pub const SEGMENT_BYTES: usize = 1024 * 1024;
/// Bytes of its events, not compressed, after which it takes no more.
pub const LINES_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of events that are read at most: what is full takes one more event.
const LINES_MOST: u64 = 2 * LINES_BYTES as u64;

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose events.
    pub conversation_id: ConversationId,
    /// The first of them.
    pub first_seq: Seq,
    /// The last: all between are there.
    pub last_seq: Seq,
    /// The time of the first.
    pub first_at: Timestamp,
    /// The time of the last.
    pub last_at: Timestamp,
}

/// An event as it is stored, in a segment as in a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its number.
    pub seq: Seq,
    /// What it is (see `rows`).
    pub kind: i64,
    /// Who caused it.
    pub sender_id: UserId,
    /// A message's id, or that of the message which it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The sender's name for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMessageId>,
    /// When.
    pub created_at: Timestamp,
    /// The message that it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_seq: Option<Seq>,
    /// What is particular to its kind.
    pub body: Box<RawValue>,
}

/// Why bytes are no segment that can be read. It repeats nothing of what they hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// It is something else, or of a later version.
    #[error("this is not a segment of a version that is known here")]
    Unknown,
    /// It is not as it was written.
    #[error("the segment is damaged: {0}")]
    Damaged(&'static str),
}

/// A segment that is being written.
#[derive(Debug)]
pub struct SegmentWriter {
    conversation_id: ConversationId,
    /// The first and the last event so far.
    first: Option<(Seq, Timestamp)>,
    last: Option<(Seq, Timestamp)>,
    lines_bytes: usize,
    encoder: ZlibEncoder<Vec<u8>>,
}

impl SegmentWriter {
    /// One without events.
    #[must_use]
    pub fn new(conversation_id: ConversationId) -> Self {
        Self {
            conversation_id,
            first: None,
            last: None,
            lines_bytes: 0,
            encoder: ZlibEncoder::new(Vec::new(), Compression::new(4)),
        }
    }

    /// Takes the event that follows the last one.
    ///
    /// # Errors
    /// Where it does not follow.
    pub fn push(&mut self, event: &StoredEvent) -> Result<(), SegmentError> {
        let line = serde_json::to_string(event)
            .map_err(|_| SegmentError::Damaged("an event cannot be written"))?;
        self.push_line(event.seq, event.created_at, &line)
    }

    /// As [`Self::push`], of an event that is written already.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_line(
        &mut self,
        seq: Seq,
        created_at: Timestamp,
        line: &str,
    ) -> Result<(), SegmentError> {
        if self.last.is_some_and(|(last, _)| last.next() != seq) {
            return Err(SegmentError::Damaged("an event does not follow the last"));
        }
        self.encoder
            .write_all(line.as_bytes())
            .and_then(|()| self.encoder.write_all(b"\n"))
            .map_err(|_| SegmentError::Damaged("the events cannot be compressed"))?;
        self.lines_bytes += line.len() + 1;
        self.first.get_or_insert((seq, created_at));
        self.last = Some((seq, created_at));
        Ok(())
    }

    /// The last event that it took.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last.map(|(seq, _)| seq)
    }

    /// Whether it takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines_bytes >= LINES_BYTES || self.encoder.get_ref().len() >= SEGMENT_BYTES
    }

    /// The segment, where it has events.
    ///
    /// # Errors
    /// Where it has none.
    pub fn finish(self) -> Result<(Header, Vec<u8>), SegmentError> {
        let (Some((first_seq, first_at)), Some((last_seq, last_at))) = (self.first, self.last)
        else {
            return Err(SegmentError::Damaged("it has no events"));
        };
        let header = Header {
            conversation_id: self.conversation_id,
            first_seq,
            last_seq,
            first_at,
            last_at,
        };
        let unwritten = |_| SegmentError::Damaged("the header cannot be written");
        let head = serde_json::to_vec(&header).map_err(unwritten)?;
        let length = u32::try_from(head.len())
            .map_err(|_| SegmentError::Damaged("the header cannot be written"))?;
        let lines = self
            .encoder
            .finish()
            .map_err(|_| SegmentError::Damaged("the events cannot be compressed"))?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + head.len() + lines.len() + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&lines);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok((header, bytes))
    }
}

/// A segment that was read: its events one a line, as JSON.
#[derive(Debug)]
pub struct Segment {
    header: Header,
    lines: String,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Segment {
    /// Reads a segment.
    ///
    /// # Errors
    /// Where it is none, or not as it was written.
    pub fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SegmentError::Unknown)?;
        let (content, checksum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(SegmentError::Damaged("it is cut off"))?;
        if Sha256::digest(content).as_slice() != checksum {
            return Err(SegmentError::Damaged("its checksum does not fit"));
        }
        let cut = SegmentError::Damaged("it is cut off");
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| cut.clone())?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut.clone())?;
        let (head, rest) = rest.split_at_checked(length).ok_or_else(|| cut.clone())?;
        let (payload, _) = rest.split_last_chunk::<CHECKSUM>().ok_or(cut)?;
        let header: Header = serde_json::from_slice(head)
            .map_err(|_| SegmentError::Damaged("its header cannot be read"))?;
        let is_range = header.first_seq > Seq::ZERO
            && header.first_seq <= header.last_seq
            && header.last_seq <= Seq::BEYOND;
        if !is_range {
            return Err(SegmentError::Damaged("its header names no events"));
        }
        let mut lines = String::new();
        ZlibDecoder::new(payload)
            .take(LINES_MOST)
            .read_to_string(&mut lines)
            .map_err(|_| SegmentError::Damaged("its events cannot be decompressed"))?;
        let ends: Vec<_> = lines.match_indices('\n').map(|(end, _)| end).collect();
        let promised = header.last_seq.next().distance_from(header.first_seq);
        if u64::try_from(ends.len()) != Ok(promised) || !lines.ends_with('\n') {
            return Err(SegmentError::Damaged("it lacks events"));
        }
        Ok(Self {
            header,
            lines,
            ends,
        })
    }

    /// What is in it.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.lines.len() + self.ends.len() * size_of::<usize>()
    }

    /// Its events as JSON, one by one.
    pub fn lines(&self) -> impl Iterator<Item = (Seq, &str)> {
        (self.header.first_seq.get()..)
            .map(Seq::new)
            .zip(self.lines.lines())
    }

    /// The event `seq`, where it is one of them.
    ///
    /// # Errors
    /// Where what stands in its place is not it.
    pub fn event(&self, seq: Seq) -> Result<Option<StoredEvent>, SegmentError> {
        if seq < self.header.first_seq {
            return Ok(None);
        }
        let place = seq.distance_from(self.header.first_seq);
        let Ok(place) = usize::try_from(place) else {
            return Ok(None);
        };
        let start = match place.checked_sub(1).map(|before| self.ends.get(before)) {
            None => 0,
            Some(Some(end)) => end + 1,
            Some(None) => return Ok(None),
        };
        let Some(line) = self
            .ends
            .get(place)
            .and_then(|end| self.lines.get(start..*end))
        else {
            return Ok(None);
        };
        read_line(seq, line).map(Some)
    }
}

/// The event `seq` in a line.
///
/// # Errors
/// Where the line is not that event.
pub fn read_line(seq: Seq, line: &str) -> Result<StoredEvent, SegmentError> {
    serde_json::from_str(line)
        .ok()
        .filter(|event: &StoredEvent| event.seq == seq)
        .ok_or(SegmentError::Damaged("an event cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn event(seq: u64, content: &str) -> StoredEvent {
        let entropy = SeededEntropy::new(seq);
        let created_at = Timestamp::from_millis(1_790_000_000_000 + i64::try_from(seq).unwrap());
        let seq = Seq::new(seq);
        let body = serde_json::json!({ "content": content, "content_type": "text" });
        StoredEvent {
            seq,
            kind: 0,
            sender_id: UserId::random(&entropy),
            message_id: Some(MessageId::new(created_at, seq, &entropy)),
            client_msg_id: Some(ClientMessageId::random(&entropy)),
            created_at,
            target_seq: None,
            body: RawValue::from_string(body.to_string()).unwrap(),
        }
    }

    fn written(events: &[StoredEvent]) -> Vec<u8> {
        let id = ConversationId::random(&SeededEntropy::new(7));
        let mut writer = SegmentWriter::new(id);
        for event in events {
            writer.push(event).unwrap();
        }
        writer.finish().unwrap().1
    }

    #[test]
    fn what_is_written_is_read() {
        let events: Vec<_> = (5..40)
            .map(|seq| event(seq, &format!("no. {seq}\nwith a \"second\" line 😀")))
            .collect();
        let segment = Segment::read(&written(&events)).unwrap();
        assert_eq!(segment.header().first_seq, Seq::new(5));
        assert_eq!(segment.header().last_seq, Seq::new(39));
        for event in &events {
            let read = segment.event(event.seq).unwrap().unwrap();
            assert_eq!(read.body.get(), event.body.get());
            assert_eq!(read.message_id, event.message_id);
            assert_eq!(read.created_at, event.created_at);
        }
        assert_eq!(segment.lines().count(), events.len());
        for outside in [0, 4, 40, u64::MAX] {
            assert!(segment.event(Seq::new(outside)).unwrap().is_none());
        }
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let bytes = written(&[event(1, "one"), event(2, "two")]);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Segment::read(&damaged).is_err(), "at {place}");
            assert!(Segment::read(&bytes[..place]).is_err(), "cut at {place}");
        }
        assert_eq!(Segment::read(b"").unwrap_err(), SegmentError::Unknown);
    }

    #[test]
    fn a_header_that_names_no_events_is_refused_even_where_its_checksum_fits() {
        let (mut header, good) = {
            let mut writer = SegmentWriter::new(ConversationId::random(&SeededEntropy::new(7)));
            writer.push(&event(1, "one")).unwrap();
            writer.finish().unwrap()
        };
        let length = u32::from_le_bytes(good[8..12].try_into().unwrap());
        let payload = &good[12 + length as usize..good.len() - CHECKSUM];
        for (first, last) in [(0, 0), (2, 1), (u64::MAX, u64::MAX), (1 << 53, 1 << 53)] {
            (header.first_seq, header.last_seq) = (Seq::new(first), Seq::new(last));
            let head = serde_json::to_vec(&header).unwrap();
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&u32::try_from(head.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(payload);
            let checksum = Sha256::digest(&bytes);
            bytes.extend_from_slice(&checksum);
            let read = Segment::read(&bytes);
            assert!(
                matches!(read, Err(SegmentError::Damaged(_))),
                "{first} {last}"
            );
        }
    }

    #[test]
    fn events_follow_one_another() {
        let mut writer = SegmentWriter::new(ConversationId::random(&SeededEntropy::new(7)));
        writer.push(&event(3, "three")).unwrap();
        assert!(writer.push(&event(5, "five")).is_err());
        assert!(writer.push(&event(3, "again")).is_err());
        assert_eq!(writer.last_seq(), Some(Seq::new(3)));
        let empty = SegmentWriter::new(ConversationId::random(&SeededEntropy::new(7)));
        assert!(empty.finish().is_err());
    }

    /// A segment of the first version, as it was written then.
    const FIRST_VERSION: &str = "\
        UEFSTFNFRwGgAAAAeyJjb252ZXJzYXRpb25faWQiOiI2M2NiZTFlNC01OTMyLTRkZDctODQ0Yy0zY2Q3ZjQzYzY2\
        MWMiLCJmaXJzdF9zZXEiOjEsImxhc3Rfc2VxIjoyLCJmaXJzdF9hdCI6IjIwMjYtMDktMjFUMTQ6MTM6MjAuMDAx\
        WiIsImxhc3RfYXQiOiIyMDI2LTA5LTIxVDE0OjEzOjIwLjAwMloifXicjZDLTgMxDEX3fEbWNbI9ec53sGIzysNB\
        FXQGOpGgqvrvpBohNi0iK9vyybXOWa3yoUbaqdf9XNSIuz6Yixynfe9UIIxcJIMPyKBzJkgiCXyJZI0XydapnTrI\
        usYX2RikiFkbBJuRwBkjEGsagA3+POpMftvL3KbD+rJhjjJ5GxBEdI8KmCBRSmB08YWQkknhih0lNilTbJ1hZAsY\
        gOmJ9EjDyPjYf3/ue2kpJzWeVV7m1nP68jLLld/6qZ3epQ+bfDV1uTycNw98z4MzfjBFgHJwoG0WSDX7XhFir6jf\
        /JcHBjdwhVSKA/n1wDc85KGyZxehVrlGWQ2+Zt2rZIZKrib+pwe+7aF9Lvc9fAOexJXw3+6oRUQJWIxTDl8YvRQs\
        aP/l9ecksgmctks0I43JY74=";

    #[test]
    fn the_first_version_stays_readable() {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(FIRST_VERSION)
            .unwrap();
        let segment = Segment::read(&bytes).unwrap();
        let lines: Vec<_> = segment.lines().map(|(_, line)| line.to_owned()).collect();
        let events = [event(1, "one"), event(2, "two")];
        let expected: Vec<_> = events
            .iter()
            .map(|event| serde_json::to_string(event).unwrap())
            .collect();
        assert_eq!(lines, expected);
    }
}
