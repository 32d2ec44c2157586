//! JSON that is nearly right, and text that is nearly JSON.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Texts that trip readers.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "\0",
    "\n\r\t",
    "null",
    "-1",
    "0",
    "9007199254740993",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "'; DROP TABLE event; --",
    "\" OR 1=1 --",
    "%s%n%x",
    "../../etc/passwd",
    "\u{feff}\u{202e}\u{200d}",
    "\u{10ffff}\u{0}\u{d7ff}",
    "👩‍❤️‍💋‍👨",
    "e\u{301}\u{301}\u{301}\u{301}",
    "https://a.example/\u{7f}",
    "+14155550001",
    "2025-11-24T16:00:00.000Z",
];

/// Numbers that trip readers.
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "-1",
    "1",
    "1.0",
    "0.5",
    "1e2",
    "255",
    "256",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "18446744073709551616",
    "1e400",
];

/// Any JSON value, seldom deep.
pub fn any(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.chance(50)),
        2 => number(random),
        3 => json!(text(random)),
        4 => json!(random.uuid()),
        5 => {
            let length = random.below(4);
            (0..length).map(|_| any(random, depth - 1)).collect()
        }
        _ => {
            let length = random.below(4);
            let fields = (0..length).map(|_| (text(random), any(random, depth - 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

fn number(random: &mut Random) -> Value {
    serde_json::from_str(random.choose(&NUMBERS)).unwrap_or_else(|_| json!(u64::MAX))
}

/// A text, long now and then.
pub fn text(random: &mut Random) -> String {
    match random.below(12) {
        0 => random
            .pick(&["x", "\u{e9}", "\0"])
            .repeat(random.below(70_000)),
        1..=3 => random.uuid(),
        _ => random.choose(&TEXTS).to_owned(),
    }
}

/// Changes one thing somewhere within.
pub fn mutate(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.chance(90) => {
            let names: Vec<_> = fields.keys().cloned().collect();
            let name = random.pick(&names).clone();
            match random.below(6) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(text(random), any(random, 2))),
                2 => {
                    let moved = fields.remove(&name).unwrap_or_default();
                    fields.insert(name.to_uppercase(), moved);
                }
                _ => {
                    if let Some(inner) = fields.get_mut(&name) {
                        mutate(inner, random);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() && random.chance(80) => {
            let place = random.below(items.len());
            match random.below(4) {
                0 => drop(items.remove(place)),
                1 => {
                    let again = items[place].clone();
                    let times = random.choose(&[1, 20, 101, 1025]);
                    items.extend(std::iter::repeat_n(again, times));
                }
                _ => mutate(&mut items[place], random),
            }
        }
        Value::String(kept) if random.chance(40) => *kept = mutated(kept, random),
        _ => *value = any(random, 3),
    }
}

/// The text with one change.
#[must_use]
pub fn mutated(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let place = random.below(chars.len() + 1);
    match random.below(6) {
        0 if place < chars.len() => drop(chars.remove(place)),
        1 if place < chars.len() => chars[place] = random.choose(&['\0', '"', 'A', '{', '\u{7f}']),
        2 => chars.truncate(place),
        3 => chars.extend_from_within(..place),
        4 => chars.reverse(),
        _ => chars.insert(
            place,
            random.choose(&[' ', '\n', '"', '\\', 'é', '0', ']', '}', ',']),
        ),
    }
    chars.into_iter().collect()
}

/// A value as it goes over the wire: now and then not as anyone would write it.
pub fn written(value: &Value, random: &mut Random) -> String {
    let text = value.to_string();
    match random.below(20) {
        0 => mutated(&text, random),
        1 => format!("{text}{text}"),
        2 => format!("[{text}]"),
        3 => format!("\u{feff}{text}"),
        4 => {
            let depth = random.choose(&[10, 127, 129, 5_000]);
            format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
        }
        // A name that is there twice.
        5 => text.replacen('{', "{\"content\":\"twice\",\"type\":\"twice\",", 1),
        _ => text,
    }
}
