//! Cursors: those of all lists, changed, mixed up and made up.
//!
//! An entry of the corpus is a file of cursors, one a line; each is given to every list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};

use crate::json;
use crate::random::Random;
use crate::world::{Who, World};

/// Cursors made of a seed.
const CURSORS: usize = 25;

/// Every list that pages, and who may see it.
const LISTS: [(Who, &str); 8] = [
    (Who::Bob, "/api/v1/conversations?limit=1"),
    (Who::Bob, "/api/v1/conversations/{group}/members?limit=1"),
    (Who::Bob, "/api/v1/conversations/{group}/messages?limit=1"),
    (
        Who::Bob,
        "/api/v1/conversations/{group}/messages/{message}/thread?limit=1",
    ),
    (Who::Bob, "/api/v1/sync?wait=0"),
    (Who::Eve, "/api/v1/sync?wait=0"),
    (Who::Admin, "/api/v1/admin/reports?limit=1"),
    (Who::Admin, "/api/v1/admin/audit?limit=1"),
];

fn ask(world: &mut World, who: Who, path: &str, cursor: &str) -> Result<Option<Value>, String> {
    let path = world.fill(path);
    let token = world.token(who).unwrap_or_default().to_owned();
    let request = Request::builder()
        .uri(format!("{path}&cursor={cursor}"))
        .header("authorization", format!("Bearer {token}"))
        .body(Vec::new());
    let Ok(request) = request else {
        return Ok(None);
    };
    let told = |told: String| format!("{told}\n  {path}&cursor={cursor}");
    let answer = world.judge(who, request).map_err(told)?;
    if !matches!(answer.status, 200 | 400) {
        return Err(told(format!("answered {}", answer.status)));
    }
    Ok(answer
        .body
        .and_then(|body| serde_json::from_slice(&body).ok()))
}

/// The cursors that the lists give, as they are.
fn given(world: &mut World) -> Result<Vec<String>, String> {
    let mut cursors = Vec::new();
    for (who, path) in LISTS {
        let page = ask(world, who, path, "")?;
        // An empty cursor is none of most lists: their first page is without one.
        let page = match page {
            Some(page) if page["status"] == 400 => {
                ask(world, who, &format!("{path}&x=1"), "W10")?;
                first_page(world, who, path)
            }
            page => page,
        };
        let page = page.unwrap_or_default();
        for name in ["next_cursor", "cursor"] {
            cursors.extend(page[name].as_str().map(str::to_owned));
        }
    }
    Ok(cursors)
}

fn first_page(world: &World, who: Who, path: &str) -> Option<Value> {
    let token = world.token(who).unwrap_or_default();
    let request = Request::builder()
        .uri(world.fill(path))
        .header("authorization", format!("Bearer {token}"))
        .body(Vec::new())
        .ok()?;
    let body = world.ask(request).body?;
    serde_json::from_slice(&body).ok()
}

/// Tries what a seed makes.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut world = World::new();
    let given = given(&mut world)?;
    if given.len() < 4 {
        return Err(format!("only {} lists gave a cursor", given.len()));
    }
    let mut tried = 0;
    for _ in 0..CURSORS {
        let cursor = make(&given, &world, &mut random);
        for (who, path) in LISTS {
            tried += usize::from(ask(&mut world, who, path, &cursor)?.is_some());
        }
    }
    Ok(tried)
}

/// Tries an entry of the corpus.
///
/// # Errors
/// What did not hold.
pub fn replay(text: &str) -> Result<(), String> {
    let mut world = World::new();
    for cursor in text.lines() {
        let filled = world.fill(cursor);
        // What is JSON is put into the form of a cursor.
        let cursor = match serde_json::from_str::<Value>(&filled) {
            Ok(_) => URL_SAFE_NO_PAD.encode(&filled),
            Err(_) => filled,
        };
        for (who, path) in LISTS {
            ask(&mut world, who, path, &cursor)?;
        }
    }
    Ok(())
}

fn make(given: &[String], world: &World, random: &mut Random) -> String {
    let cursor = random.pick(given).clone();
    let mut value = URL_SAFE_NO_PAD
        .decode(&cursor)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    match random.below(8) {
        0 => cursor,
        1 => random_text(random),
        2 => {
            let many = (0..random.below(80)).map(|n| (world.id(random), json!(n)));
            value = Value::Object(many.collect());
            URL_SAFE_NO_PAD.encode(value.to_string())
        }
        3 => URL_SAFE_NO_PAD.encode(json::any(random, 3).to_string()),
        4 => {
            let text = json::written(&value, random);
            URL_SAFE_NO_PAD.encode(text)
        }
        _ => {
            json::mutate(&mut value, random);
            URL_SAFE_NO_PAD.encode(value.to_string())
        }
    }
}

/// Characters that an address may have.
fn random_text(random: &mut Random) -> String {
    let length = random.below(200);
    (0..length)
        .map(|_| random.choose(&['A', 'z', '0', '-', '_', '=', '%', '.', '~', '+']))
        .collect()
}
