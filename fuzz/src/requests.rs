//! Requests to every route: paths, queries, headers and bodies that are right, or nearly so.
//!
//! An entry of the corpus is a file of lines, each a request in JSON: `{"as", "method", "path",
//! "headers", "body"}`, with `{ann}`, `{direct}`, `{message}` and so on for ids. They are made one
//! after the other in one deployment.

use std::fmt::Write as _;

use http::Request;
use parlance_functions::router::{Endpoint, ROUTES, Route};
use serde_json::{Value, json};

use crate::json;
use crate::random::Random;
use crate::world::{Who, World};

/// Requests made of a seed.
const REQUESTS: usize = 60;

const NOTHING: &str = "%00";
const PARTS: [&str; 9] = [
    "me",
    "x",
    "..",
    "%2e%2e%2f",
    "%ff",
    NOTHING,
    "%F0%9F%91%8D",
    "a%0d%0ab",
    "%",
];
const PARAMETERS: [&str; 11] = [
    "cursor",
    "limit",
    "after_seq",
    "archived",
    "for",
    "wait",
    "resolved",
    "last_event_id",
    "access_token",
    "q",
    "x",
];
const ARGUMENTS: [&str; 18] = [
    "",
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "99999999999999999999",
    "9007199254740992",
    "true",
    "false",
    "me",
    "everyone",
    "%00",
    "%ff%fe",
    "'%20OR%201=1--",
    "W10",
    "e30",
    "bnVsbA",
];

/// A request, as it is written down.
#[derive(Debug, Clone)]
pub struct Asked {
    who: Who,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn to_json(&self) -> String {
        json!({"as": self.who.name(), "method": self.method, "path": self.path,
            "headers": self.headers, "body": self.body})
        .to_string()
    }

    /// The request, unless no server would take it for one.
    fn request(&self, world: &World) -> Option<Request<Vec<u8>>> {
        let mut builder = Request::builder()
            .method(self.method.as_str())
            .uri(self.path.as_str());
        if let Some(token) = world.token(self.who) {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            builder = builder.header(name.as_str(), value.as_bytes());
        }
        builder.body(self.body.clone().into_bytes()).ok()
    }
}

/// Tries what a seed makes.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let mut world = World::new();
    let mut tried = 0;
    for _ in 0..REQUESTS {
        let asked = make(&world, &mut random);
        tried += usize::from(judge(&mut world, &asked)?);
    }
    Ok(tried)
}

/// Tries an entry of the corpus.
///
/// # Errors
/// What did not hold.
pub fn replay(text: &str) -> Result<(), String> {
    let mut world = World::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let part = |name: &str| world.fill(line[name].as_str().unwrap_or_default());
        let headers = line["headers"].as_array().map(Vec::as_slice);
        let asked = Asked {
            who: *Who::ALL
                .iter()
                .find(|who| line["as"] == who.name())
                .ok_or("as whom?")?,
            method: part("method"),
            path: part("path"),
            headers: headers
                .unwrap_or_default()
                .iter()
                .map(|pair| {
                    let part = |at: usize| pair[at].as_str().unwrap_or_default().to_owned();
                    (part(0), part(1))
                })
                .collect(),
            body: part("body"),
        };
        if !judge(&mut world, &asked)? {
            return Err(format!("no request: {}", asked.to_json()));
        }
    }
    Ok(())
}

fn judge(world: &mut World, asked: &Asked) -> Result<bool, String> {
    let Some(request) = asked.request(world) else {
        return Ok(false);
    };
    world
        .judge(asked.who, request)
        .map_err(|told| format!("{told}\n  {}", asked.to_json()))?;
    Ok(true)
}

fn make(world: &World, random: &mut Random) -> Asked {
    let route = random.pick(&ROUTES);
    let who = match route.endpoint {
        Endpoint::Admin(_) if random.chance(70) => Who::Admin,
        _ => random.choose(&Who::ALL),
    };
    let mut asked = Asked {
        who,
        method: route.method.to_string(),
        path: path(route, who, world, random) + &query(world, random),
        headers: headers(random),
        body: String::new(),
    };
    if random.chance(4) {
        let methods = [
            "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW",
        ];
        (*random.pick(&methods)).clone_into(&mut asked.method);
    }
    if !matches!(asked.method.as_str(), "GET" | "HEAD") || random.chance(5) {
        let mut value = body(route, world, random);
        for _ in 0..random.choose(&[0, 0, 0, 1, 1, 2, 3]) {
            json::mutate(&mut value, random);
        }
        asked.body = json::written(&value, random);
    }
    asked
}

fn path(route: &Route, who: Who, world: &World, random: &mut Random) -> String {
    let mut path = String::new();
    for segment in route.path.split('/').skip(1) {
        path.push('/');
        let Some(name) = segment.strip_prefix('{') else {
            path.push_str(segment);
            continue;
        };
        let right = match name.trim_end_matches('}') {
            "conversation_id" => world.named(random.choose(&["direct", "group", "group"])),
            "message_id" => world.named(random.choose(&["message", "other", "poll"])),
            "user_id" => world.named(random.choose(&["ann", "bob", "cat", "eve"])),
            "device_id" => world.named("device"),
            "scheduled_id" => world.named("scheduled"),
            "report_id" => world.named("report"),
            _ => "%F0%9F%91%8D",
        };
        match random.below(20) {
            0 => path.push_str(random.choose(&PARTS)),
            1..=3 => path.push_str(&world.id(random)),
            // One who may see the secret could pass it on.
            4 if who == Who::Eve => path.push_str(&world.secret_id),
            _ => path.push_str(right),
        }
    }
    if random.chance(2) {
        path.push_str(random.choose(&["/", "//", "/x", "%2f"]));
    }
    path
}

fn query(world: &World, random: &mut Random) -> String {
    let mut query = String::new();
    for _ in 0..random.choose(&[0, 0, 1, 1, 2, 4]) {
        let name = random.pick(&PARAMETERS);
        let value = match random.below(6) {
            0 => world.id(random),
            1 => "9".repeat(random.below(300)),
            _ => random.choose(&ARGUMENTS).to_owned(),
        };
        let sign = if query.is_empty() { '?' } else { '&' };
        // Nothing is waited for: the clock is the test's own.
        write!(query, "{sign}{name}={value}").expect("a string takes all");
    }
    query
}

fn headers(random: &mut Random) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    match random.below(12) {
        0 => {}
        1 => add("content-type", "text/plain"),
        2 => add("content-type", "application/json; charset=utf-16"),
        3 => add("content-type", "application/merge-patch+json"),
        _ => add("content-type", "application/json"),
    }
    if random.chance(10) {
        let (name, value) = random.choose(&[
            ("content-encoding", "gzip"),
            ("authorization", "Bearer a.b.c"),
            ("authorization", "Basic eDp5"),
            ("origin", "null"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", "parlance.v1, bearer.a.b.c"),
            ("x-request-id", "a b\u{e9}"),
            ("last-event-id", "W10"),
            ("cookie", "token=x"),
            ("content-length", "3"),
        ]);
        add(name, value);
    }
    headers
}

/// A body that the route takes, or that any could take.
fn body(route: &Route, world: &World, random: &mut Random) -> Value {
    let id = random.uuid();
    let text = random.choose(&["hello", "👍", "\u{202e}olleh", "x\ny"]);
    let user = world.named(random.choose(&["ann", "bob", "cat", "eve"]));
    let conversation = world.named(random.choose(&["direct", "group"]));
    let segments: Vec<_> = route.path.split('/').collect();
    match (
        route.method.as_str(),
        segments.last().copied().unwrap_or_default(),
    ) {
        ("POST", "code") => json!({"phone_number": "+14155550001"}),
        ("POST", "login") => json!({"phone_number": "+14155550001", "verification_code": "123456",
            "device_name": text}),
        ("POST", "refresh") => json!({"refresh_token": format!("pr1.{}", "A".repeat(96))}),
        ("PATCH", "me") => json!({"display_name": text, "status_message": text,
            "profile_pic": "https://a.example/b", "privacy": {"last_seen": "contacts",
            "profile_pic": "nobody", "read_receipts": random.chance(50)}}),
        ("POST", "lookup") => json!({"phone_numbers": ["+14155550001", "+14155559999"]}),
        ("POST", "conversations") => json!({"type": random.choose(&["direct", "group"]),
            "name": text, "description": text, "member_ids": [user], "encrypted": random.chance(20)}),
        ("PATCH", "{conversation_id}") => json!({"name": text, "description": null,
            "avatar": "https://a.example/b", "expires_after": 3600}),
        ("POST", "messages") => message(world, random, &id, text),
        ("POST", "read") => json!({"up_to_seq": random.below(9)}),
        ("PATCH", "{message_id}") => json!({"content": text, "mentions": [user]}),
        ("PUT", "vote") => json!({"options": [random.below(3)]}),
        ("POST", "forward") => json!({"conversation_ids": [conversation], "client_msg_id": id}),
        ("POST", "members") => json!({"user_ids": [user]}),
        ("PATCH", "{user_id}") => json!({"role": random.choose(&["member", "admin", "owner"])}),
        ("PUT", "settings") => json!({"muted_until": "2026-01-01T00:00:00.000Z", "archived": false,
            "pinned": true, "notify": "mentions"}),
        ("POST", "report") | ("PUT", "suspension") => json!({"reason": text}),
        ("POST", "resolve") => json!({"note": text}),
        // A route that came later: fields that others take.
        _ => json!({"content": text, "name": text, "type": "group", "member_ids": [user],
            "client_msg_id": id, "options": [0], "up_to_seq": 1, "size": 1, "content_type": "image"}),
    }
}

fn message(world: &World, random: &mut Random, id: &str, text: &str) -> Value {
    let root = world.named(random.choose(&["message", "other", "poll"]));
    let user = world.named("bob");
    match random.below(7) {
        0 => json!({"client_msg_id": id, "content_type": "poll",
            "content": r#"{"question":"?","options":["a","b"],"multiple":true}"#}),
        1 => json!({"client_msg_id": id, "content_type": "location",
            "content": r#"{"lat":-90,"lon":180,"name":"x"}"#}),
        2 => json!({"client_msg_id": id, "content": text, "reply_to": root, "mentions": [user]}),
        3 => json!({"client_msg_id": id, "content": text, "thread_root": root}),
        4 => json!({"client_msg_id": id, "content": text, "send_at": "2025-11-24T18:00:00.000Z"}),
        5 => json!({"client_msg_id": id, "content": text, "content_type": "image", "media_id": id}),
        _ => json!({"client_msg_id": id, "content": text, "content_type": "text"}),
    }
}
