//! What a token must be to be accepted.

use super::*;
use jwt_compact::alg::{Hs256, Hs256Key};
use serde_json::{Value, json};
use std::time::Duration;

const USER: &str = "00000000-0000-4000-8000-000000000001";
const DEVICE: &str = "00000000-0000-4000-8000-000000000002";
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_500);

fn seed(byte: u8) -> String {
    URL_SAFE_NO_PAD.encode([byte; 32])
}

fn keys(list: &[(&str, u8)]) -> Keys {
    let text: Vec<String> = list
        .iter()
        .map(|(kid, byte)| format!("{kid}:{}", seed(*byte)))
        .collect();
    Keys::parse(&text.join(",")).unwrap()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": USER, "did": DEVICE,
           "iat": NOW.as_seconds(), "exp": NOW.as_seconds() + 60})
}

/// Signs a token as no one but its forger would.
fn forge(header: &Value, claims: &Value, key: u8) -> String {
    use ed25519_dalek::Signer as _;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = SigningKey::from_bytes(&[key; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fn header(kid: &str) -> Value {
    json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"})
}

#[test]
fn an_issued_token_lives_an_hour_and_no_longer() {
    let keys = keys(&[("a", 1)]);
    let (token, expires_at) = keys
        .issue(USER.parse().unwrap(), DEVICE.parse().unwrap(), NOW)
        .unwrap();
    assert_eq!(expires_at, Timestamp::from_millis(1_764_003_600_000));
    let verified = keys.verify(&token, NOW).unwrap();
    assert_eq!(verified.user_id, USER.parse().unwrap());
    assert_eq!(verified.device_id, DEVICE.parse().unwrap());
    assert_eq!(verified.expires_at, expires_at);
    assert!(
        keys.verify(&token, expires_at - Duration::from_millis(1))
            .is_ok()
    );
    assert_eq!(keys.verify(&token, expires_at), Err(TokenError::Expired));
}

#[test]
fn after_a_rotation_the_old_key_verifies_and_the_new_one_signs() {
    let (user, device) = (USER.parse().unwrap(), DEVICE.parse().unwrap());
    let old = keys(&[("a", 1)]);
    let (old_token, _) = old.issue(user, device, NOW).unwrap();
    let both = keys(&[("b", 2), ("a", 1)]);
    assert!(both.verify(&old_token, NOW).is_ok());
    let (new_token, _) = both.issue(user, device, NOW).unwrap();
    assert_eq!(
        UntrustedToken::new(&new_token)
            .unwrap()
            .header()
            .key_id
            .as_deref(),
        Some("b")
    );
    assert_eq!(old.verify(&new_token, NOW), Err(TokenError::Invalid));
    let new = keys(&[("b", 2)]);
    assert!(new.verify(&new_token, NOW).is_ok());
    assert_eq!(new.verify(&old_token, NOW), Err(TokenError::Invalid));
}

#[test]
fn a_forged_token_that_is_right_in_all_holds_so_the_forger_is_sound() {
    assert!(
        keys(&[("a", 1)])
            .verify(&forge(&header("a"), &claims(), 1), NOW)
            .is_ok()
    );
}

#[test]
fn no_other_algorithm_is_accepted() {
    let keys = keys(&[("a", 1)]);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in [
        "none", "None", "NONE", "HS256", "RS256", "ES256", "EdDsa", "Ed25519", "",
    ] {
        let header = json!({"alg": alg, "kid": "a"});
        let unsigned = format!("{}.{}.", encode(&header), encode(&claims()));
        assert_eq!(
            keys.verify(&unsigned, NOW),
            Err(TokenError::Invalid),
            "{alg}"
        );
        let signed = forge(&header, &claims(), 1);
        assert_eq!(keys.verify(&signed, NOW), Err(TokenError::Invalid), "{alg}");
    }
    // The public key is no secret: it must not serve as one.
    let public = keys.verifying[0].1.to_bytes();
    for secret in [public.to_vec(), URL_SAFE_NO_PAD.encode(public).into_bytes()] {
        let token = Hs256
            .token(
                &Header::empty().with_key_id("a"),
                &Claims::new(claims()),
                &Hs256Key::new(secret),
            )
            .unwrap();
        assert_eq!(keys.verify(&token, NOW), Err(TokenError::Invalid));
    }
}

#[test]
fn a_foreign_key_or_an_unknown_one_is_refused() {
    let keys = keys(&[("a", 1), ("b", 2)]);
    for token in [
        forge(&header("a"), &claims(), 9),
        forge(&header("c"), &claims(), 1),
        forge(&header("b"), &claims(), 1),
        forge(&header(""), &claims(), 1),
        forge(&json!({"alg": "EdDSA"}), &claims(), 1),
        forge(
            &json!({"alg": "EdDSA", "jwk": {"kty": "OKP"}, "kid": null}),
            &claims(),
            1,
        ),
    ] {
        assert_eq!(keys.verify(&token, NOW), Err(TokenError::Invalid));
    }
}

#[test]
fn wrong_claims_are_refused() {
    let keys = keys(&[("a", 1)]);
    let with = |name: &str, value: Value| {
        let mut changed = claims();
        changed[name] = value;
        keys.verify(&forge(&header("a"), &changed, 1), NOW)
    };
    let now = NOW.as_seconds();
    for (name, value) in [
        ("iss", json!("another")),
        ("aud", json!("another")),
        ("aud", json!(["parlance"])),
        ("sub", json!("not-an-id")),
        ("sub", json!(USER.to_uppercase().replace('0', "A"))),
        ("did", json!(7)),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
        ("nbf", json!(now + 60)),
    ] {
        assert_eq!(
            with(name, value.clone()),
            Err(TokenError::Invalid),
            "{name} {value}"
        );
    }
    assert_eq!(with("exp", json!(now)), Err(TokenError::Expired));
    assert_eq!(with("exp", json!(-1)), Err(TokenError::Expired));
    for name in ["iss", "aud", "sub", "did", "exp"] {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove(name);
        let token = forge(&header("a"), &changed, 1);
        assert_eq!(keys.verify(&token, NOW), Err(TokenError::Invalid), "{name}");
    }
}

#[test]
fn no_changed_token_is_accepted() {
    let keys = keys(&[("a", 1)]);
    let token = forge(&header("a"), &claims(), 1);
    for position in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(keys.verify(&changed, NOW).is_err(), "{position}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a.b.c",
        token.strip_suffix(|_| true).unwrap(),
        &format!("{token}."),
        &format!("{token}{}", "A".repeat(4096)),
    ] {
        assert_eq!(keys.verify(bad, NOW), Err(TokenError::Invalid));
    }
}

#[test]
fn the_key_set_is_that_of_rfc_8037() {
    // RFC 8037, appendix A.1 and A.2.
    let keys = Keys::parse("k1:nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    assert_eq!(
        serde_json::to_value(keys.key_set()).unwrap(),
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})
    );
}

#[test]
fn what_is_no_list_of_keys_is_refused_without_repeating_it() {
    let good = seed(1);
    for (text, error) in [
        (String::new(), InvalidKeys::Form),
        (good.clone(), InvalidKeys::Form),
        (format!("a:{good},"), InvalidKeys::Form),
        (format!(":{good}"), InvalidKeys::Kid),
        (format!("a b:{good}"), InvalidKeys::Kid),
        ("a:AAAA".to_owned(), InvalidKeys::Seed),
        (format!("a:{good}!"), InvalidKeys::Seed),
        (format!("a:{good},a:{}", seed(2)), InvalidKeys::Twice),
    ] {
        assert_eq!(Keys::parse(&text).err(), Some(error), "{text:?}");
    }
    assert!(Keys::parse(&format!("a:{good}=, b:{}", seed(2))).is_ok());
    assert!(!format!("{:?}", keys(&[("a", 1)])).contains(&good));
}
