//! Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), verified without a call.
//!
//! The deployment has one or more keys. The first signs; all verify, so that a new key can be
//! put in front while tokens of the old one still live, and [`Keys::key_set`] publishes them.
//!
//! What always holds: a token is accepted only where its header names `EdDSA` and a key of ours,
//! that key's signature holds, issuer and audience are ours, and it has not expired. No other
//! algorithm is ever tried.

use ed25519_dalek::{SigningKey, VerifyingKey};
use jwt_compact::alg::Ed25519;
use jwt_compact::{AlgorithmExt, Claims, Header, UntrustedToken};
use parlance_shared::ids::{DeviceId, UserId};
use parlance_shared::limits;
use parlance_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

/// Who issues tokens (`iss`).
pub const ISSUER: &str = "parlance";
/// For whom they are (`aud`).
pub const AUDIENCE: &str = "parlance";

/// Bytes of a token that is looked at; ours have about 450.
const MOST_TOKEN_BYTES: usize = 2048;
/// Characters of a key's name.
const MOST_KID_CHARS: usize = 64;

/// The deployment's keys.
pub struct Keys {
    signing: SigningKey,
    /// The first is the signing key's.
    verifying: Vec<(String, VerifyingKey)>,
    first: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.verifying.iter().map(|(kid, _)| kid))
            .finish()
    }
}

/// Why a text is not a list of keys. Never repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// Not of the form `kid:seed,kid2:seed2`.
    #[error("must be of the form kid:seed,kid2:seed2, the signing key first")]
    Form,
    /// A key's name is not 1 to 64 of `A-Z a-z 0-9 _ - .`.
    #[error("has a kid that is not 1 to 64 letters, digits, '_', '-' or '.'")]
    Kid,
    /// A seed is not 32 bytes in base64url.
    #[error("has a seed that is not 32 bytes in base64url")]
    Seed,
    /// Two keys have one name.
    #[error("has the same kid twice")]
    Twice,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was ours, once.
    #[error("The token has expired.")]
    Expired,
    /// It is not a token of ours.
    #[error("The token is not valid.")]
    Invalid,
}

/// What a token says, verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub user_id: UserId,
    /// For which device.
    pub device_id: DeviceId,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// What an issued token says.
#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: UserId,
    did: DeviceId,
    iat: i64,
    exp: i64,
}

/// What a token must say. `exp` and `nbf` are read by [`Claims`].
#[derive(Deserialize)]
struct ReadClaims {
    iss: String,
    aud: String,
    sub: UserId,
    did: DeviceId,
}

/// A set of public keys (RFC 7517, section 5).
#[derive(Debug, Serialize)]
pub struct KeySet<'a> {
    keys: Vec<PublicKey<'a>>,
}

#[derive(Debug, Serialize)]
struct PublicKey<'a> {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    kid: &'a str,
    x: String,
}

/// Reads base64url, with or without padding.
pub(crate) fn base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()
}

impl Keys {
    /// Reads `kid:seed,kid2:seed2`: the first key signs, all verify. A seed is the 32 bytes of an
    /// Ed25519 private key (RFC 8032, section 5.1.5) in base64url.
    ///
    /// # Errors
    /// [`InvalidKeys`].
    pub fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let mut signing = None;
        let mut verifying: Vec<(String, VerifyingKey)> = Vec::new();
        for entry in text.split(',') {
            let (kid, seed) = entry.trim().split_once(':').ok_or(InvalidKeys::Form)?;
            let is_kid = (1..=MOST_KID_CHARS).contains(&kid.len())
                && kid
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
            if !is_kid {
                return Err(InvalidKeys::Kid);
            }
            if verifying.iter().any(|(known, _)| known == kid) {
                return Err(InvalidKeys::Twice);
            }
            let seed: [u8; 32] = base64url(seed)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(InvalidKeys::Seed)?;
            let key = SigningKey::from_bytes(&seed);
            verifying.push((kid.to_owned(), key.verifying_key()));
            signing.get_or_insert((kid.to_owned(), key));
        }
        let (first, signing) = signing.ok_or(InvalidKeys::Form)?;
        Ok(Self {
            signing,
            verifying,
            first,
        })
    }

    /// Issues a token, and says when it expires.
    ///
    /// # Errors
    /// The reason, for the log, where the token could not be written, which it always can.
    pub fn issue(
        &self,
        user_id: UserId,
        device_id: DeviceId,
        now: Timestamp,
    ) -> Result<(String, Timestamp), String> {
        let iat = now.as_seconds();
        let exp = (now + limits::TOKEN_LIFETIME).as_seconds();
        let header = Header::empty()
            .with_key_id(&self.first)
            .with_token_type("JWT");
        let claims = Claims::new(IssuedClaims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: user_id,
            did: device_id,
            iat,
            exp,
        });
        let token = Ed25519
            .token(&header, &claims, &self.signing)
            .map_err(|error| error.to_string())?;
        Ok((token, Timestamp::from_millis(exp.saturating_mul(1000))))
    }

    /// Verifies a token as of `now`, without leeway.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let token = UntrustedToken::new(token).map_err(|_| TokenError::Invalid)?;
        let kid = token.header().key_id.as_deref();
        let (_, key) = self
            .verifying
            .iter()
            .find(|(known, _)| Some(known.as_str()) == kid)
            .ok_or(TokenError::Invalid)?;
        // Refuses a token whose header names another algorithm.
        let token = Ed25519
            .validator::<ReadClaims>(key)
            .validate(&token)
            .map_err(|_| TokenError::Invalid)?;
        let claims = token.claims();
        let expires_at = claims.expiration.ok_or(TokenError::Invalid)?;
        let expires_at = Timestamp::from_millis(expires_at.timestamp_millis());
        let is_ours = claims.custom.iss == ISSUER && claims.custom.aud == AUDIENCE;
        let is_mature = claims
            .not_before
            .is_none_or(|moment| moment.timestamp_millis() <= now.as_millis());
        if !is_ours || !is_mature {
            return Err(TokenError::Invalid);
        }
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        Ok(Verified {
            user_id: claims.custom.sub,
            device_id: claims.custom.did,
            expires_at,
        })
    }

    /// The public keys, the signing one first.
    #[must_use]
    pub fn key_set(&self) -> KeySet<'_> {
        KeySet {
            keys: self
                .verifying
                .iter()
                .map(|(kid, key)| PublicKey {
                    kty: "OKP",
                    crv: "Ed25519",
                    usage: "sig",
                    alg: "EdDSA",
                    kid,
                    x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
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
            &token[..token.len() - 1],
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
}
