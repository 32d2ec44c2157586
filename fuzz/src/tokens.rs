//! Tokens: access tokens with a part changed, signed anew by the right key, another or none; and
//! refresh tokens.
//!
//! An entry of the corpus is a file of texts, one a line, none of which is a token that holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use http::Request;
use parlance_functions::authenticate;
use parlance_functions::token::{AUDIENCE, ISSUER, Keys};
use parlance_shared::time::Timestamp;
use parlance_shared::user::refresh::RefreshToken;
use serde_json::{Value, json};

use crate::json;
use crate::random::Random;

/// Tokens made of a seed.
const TOKENS: usize = 200;
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

fn keys() -> Keys {
    let seed = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 32]);
    let text = format!("k1:{},k2:{}", seed(1), seed(2));
    Keys::parse(&text).expect("two keys")
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn sign(header: &str, claims: &str, key: u8) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = SigningKey::from_bytes(&[key; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// A token, and whether it holds; unknown where what was changed may not matter.
fn make(random: &mut Random) -> (String, Option<bool>) {
    let mut header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"});
    let now = NOW.as_seconds();
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": random.uuid(),
        "did": random.uuid(), "iat": now, "exp": now + 60});
    let mut key = 1;
    let mut holds = Some(true);
    match random.below(10) {
        0 => {}
        1 => {
            key = random.choose(&[2, 3, 9]);
            holds = Some(false);
        }
        2 => {
            let kids = ["k2", "k3", "", "K1", "../k1", "k1\0"];
            header["kid"] = json!(random.pick(&kids));
            holds = Some(false);
        }
        3 => {
            let algorithms = ["none", "HS256", "RS256", "ES256", "eddsa", "", "EdDSA "];
            header["alg"] = json!(random.pick(&algorithms));
            holds = Some(false);
        }
        4 => {
            let name = random.choose(&["iss", "aud", "sub", "did", "exp"]);
            claims[name] = json::any(random, 2);
            // It may have become another that is good.
            holds = (name != "sub" && name != "did" && name != "exp").then_some(false);
        }
        5 => {
            let name = random.choose(&["iss", "aud", "sub", "did", "exp"]);
            claims.as_object_mut().expect("an object").remove(name);
            holds = Some(false);
        }
        6 => {
            claims["exp"] = json!(now - random.below(1_000_000) as i64);
            holds = Some(false);
        }
        7 => {
            json::mutate(&mut claims, random);
            holds = None;
        }
        8 => {
            json::mutate(&mut header, random);
            holds = None;
        }
        _ => {
            let good = sign(&header.to_string(), &claims.to_string(), key);
            let changed = json::mutated(&good, random);
            let is_same = changed == good;
            return (changed, Some(is_same));
        }
    }
    (sign(&header.to_string(), &claims.to_string(), key), holds)
}

/// Tries what a seed makes.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<usize, String> {
    let mut random = Random::new(seed);
    let keys = keys();
    for _ in 0..TOKENS {
        let (token, holds) = make(&mut random);
        let verified = keys.verify(&token, NOW);
        if holds.is_some_and(|holds| holds != verified.is_ok()) {
            return Err(format!("{token} was taken for {verified:?}"));
        }
        if let Ok(verified) = verified
            && verified.expires_at <= NOW
        {
            return Err(format!("{token} has expired"));
        }
        try_refresh(&mut random)?;
        try_headers(&token, &mut random);
    }
    Ok(3 * TOKENS)
}

/// A refresh token is read in one form only.
fn try_refresh(random: &mut Random) -> Result<(), String> {
    let bytes: Vec<u8> = (0..88).map(|_| random.number() as u8).collect();
    let good = format!("pr1.{}", URL_SAFE_NO_PAD.encode(bytes));
    let text = if random.chance(30) {
        good
    } else {
        json::mutated(&good, random)
    };
    match text.parse::<RefreshToken>() {
        Ok(token) if token.to_string() != text => Err(format!("{text} was read as another")),
        _ => Ok(()),
    }
}

/// Finding the token in a request never fails, whatever the headers hold.
fn try_headers(token: &str, random: &mut Random) {
    let mut builder = Request::builder().uri("/api/v1/events?access_token=a&access_token=b");
    for _ in 0..random.below(4) {
        let (name, value) = match random.below(4) {
            0 => ("authorization", format!("Bearer {token}")),
            1 => (
                "sec-websocket-protocol",
                format!("parlance.v1, bearer.{token}"),
            ),
            2 => ("upgrade", "websocket".to_owned()),
            _ => ("authorization", json::text(random)),
        };
        builder = builder.header(name, value);
    }
    if let Ok(request) = builder.body(()) {
        let _ = authenticate::caller(&keys(), &request, random.chance(50), NOW);
    }
}

/// Tries an entry of the corpus.
///
/// # Errors
/// What did not hold.
pub fn replay(text: &str) -> Result<(), String> {
    let keys = keys();
    for line in text.lines() {
        // `{"header": ..., "claims": ...}` is signed by the right key.
        let token = match serde_json::from_str::<Value>(line) {
            Ok(parts) => {
                let part = |name: &str| match &parts[name] {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                sign(&part("header"), &part("claims"), 1)
            }
            Err(_) => line.to_owned(),
        };
        if keys.verify(&token, NOW).is_ok() {
            return Err(format!("{line} holds"));
        }
    }
    Ok(())
}
