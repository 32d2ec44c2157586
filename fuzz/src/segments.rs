//! Segments of the archive: written ones, changed, with and without a checksum that fits, and with
//! more in them than they may have.
//!
//! An entry of the corpus is a file of lines, each a segment in JSON: `{"header", "lines"}`; it gets
//! the right magic, length and checksum.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use parlance_shared::conversation::archive::segment::{LINES_BYTES, Segment, SegmentWriter};
use parlance_shared::entropy::SeededEntropy;
use parlance_shared::ids::ConversationId;
use parlance_shared::protocol::seq::Seq;
use parlance_shared::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::json;
use crate::random::Random;

/// Segments made of a seed.
const SEGMENTS: usize = 40;
const MAGIC: &[u8] = b"PARLSEG\x01";
/// Bytes of the magic and of the header's length.
const START: usize = 12;
const CHECKSUM: usize = 32;

/// An event as it stands in a segment.
fn line(seq: u64, random: &mut Random) -> Value {
    json!({"seq": seq, "kind": 0, "sender_id": random.uuid(), "message_id": random.uuid(),
        "created_at": Timestamp::from_millis(1_764_000_000_000), "body": {"content": json::text(random)}})
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(text).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn assembled(header: &str, lines: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let length = u32::try_from(header.len()).expect("a short header");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&compressed(lines));
    with_checksum(bytes)
}

/// Whatever was read can be looked at from end to end, and takes no more memory than it may.
fn judge(bytes: &[u8]) -> Result<bool, String> {
    let Ok(segment) = Segment::read(bytes) else {
        return Ok(false);
    };
    if segment.size() > 2 * LINES_BYTES * 9 {
        return Err(format!("{} bytes are held", segment.size()));
    }
    let header = segment.header();
    let (first, last) = (header.first_seq, header.last_seq);
    let ends = [
        Seq::ZERO,
        first,
        last,
        last.next(),
        Seq::BEYOND,
        Seq::new(u64::MAX),
    ];
    for seq in ends {
        if let Ok(Some(event)) = segment.event(seq)
            && event.seq != seq
        {
            return Err(format!("{seq} was read as {}", event.seq));
        }
    }
    let mut expected = first;
    for (seq, _) in segment.lines() {
        if seq != expected {
            return Err(format!("{seq} stands in the place of {expected}"));
        }
        expected = seq.next();
    }
    Ok(true)
}

/// Tries what a seed makes.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    for _ in 0..SEGMENTS {
        let first = *random.pick(&[1, 2, 1_000_000, (1 << 53) - 60]);
        let count = 1 + random.below(40) as u64;
        let mut writer = SegmentWriter::new(ConversationId::random(&SeededEntropy::new(seed)));
        for seq in first..first + count {
            let event = line(seq, &mut random).to_string();
            let at = Timestamp::from_millis(1_764_000_000_000);
            let pushed = writer.push_line(Seq::new(seq), at, &event);
            pushed.map_err(|error| error.to_string())?;
        }
        let (header, good) = writer.finish().map_err(|error| error.to_string())?;
        if !judge(&good)? {
            return Err("what was written cannot be read".to_owned());
        }
        let header = serde_json::to_value(&header).map_err(|error| error.to_string())?;
        try_changed(&good, &mut random)?;
        try_sealed(&good, &mut random)?;
        try_assembled(header, first, count, &mut random)?;
    }
    Ok(4 * SEGMENTS)
}

/// One that was damaged on its way is never read.
fn try_changed(good: &[u8], random: &mut Random) -> Result<(), String> {
    let mut bytes = good.to_vec();
    let place = random.below(bytes.len());
    match random.below(3) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes.truncate(place),
        _ => bytes.insert(place, random.number() as u8),
    }
    if bytes != good && judge(&bytes)? {
        return Err(format!("damaged at {place}, and read"));
    }
    Ok(())
}

/// One that was changed by somebody who can compute a checksum.
fn try_sealed(good: &[u8], random: &mut Random) -> Result<(), String> {
    let mut bytes = good[..good.len() - CHECKSUM].to_vec();
    for _ in 0..1 + random.below(4) {
        // The header's length, most of all.
        let end = if random.chance(40) {
            START
        } else {
            bytes.len()
        };
        let place = random.below(end);
        bytes[place] = random.choose(&[0, 1, 0x7f, 0xff, b'"', b'9']);
    }
    judge(&with_checksum(bytes)).map(|_| ())
}

/// One that is put together otherwise.
fn try_assembled(
    mut header: Value,
    first: u64,
    count: u64,
    random: &mut Random,
) -> Result<(), String> {
    for _ in 0..random.below(3) {
        json::mutate(&mut header, random);
    }
    let mut lines = String::new();
    for seq in first..first + count {
        let mut event = line(seq, random);
        if random.chance(10) {
            json::mutate(&mut event, random);
        }
        lines.push_str(&json::written(&event, random));
        lines.push_str(random.choose(&["\n", "\n", "\n", "\n\n", "\r\n", ""]));
    }
    let mut lines = lines.into_bytes();
    match random.below(20) {
        // More than a segment may unpack to, in little.
        0 => lines.resize(3 * LINES_BYTES, b'\n'),
        1 => lines.push(0xff),
        _ => {}
    }
    judge(&assembled(&header.to_string(), &lines)).map(|_| ())
}

/// Tries an entry of the corpus.
///
/// # Errors
/// What did not hold.
pub fn replay(text: &str) -> Result<(), String> {
    for line in text.lines() {
        let parts: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let lines = parts["lines"].as_str().unwrap_or_default();
        let told = |told: String| format!("{told}\n  {line}");
        judge(&assembled(&parts["header"].to_string(), lines.as_bytes())).map_err(told)?;
    }
    Ok(())
}
