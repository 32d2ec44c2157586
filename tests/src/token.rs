//! Access tokens made by hand: expired, foreign, forged, and, to prove that the rest are
//! refused for the right reason, good ones.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

/// A signing key of the deployment.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name in tokens.
    pub kid: String,
    secret: [u8; 32],
}

impl Key {
    /// A key of this name whose secret is made of one byte.
    #[must_use]
    pub fn new(kid: &str, byte: u8) -> Self {
        Self {
            kid: kid.to_owned(),
            secret: [byte; 32],
        }
    }

    /// The key that servers under test have unless the test says otherwise.
    #[must_use]
    pub fn first() -> Self {
        Self::new("test1", 0x11)
    }

    /// A key that servers get when a test rotates keys.
    #[must_use]
    pub fn second() -> Self {
        Self::new("test2", 0x22)
    }

    /// The key as `TOKEN_KEYS` lists it.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("{}:{}", self.kid, encode(&self.secret))
    }

    /// The public half, as a JWK's `x` holds it (RFC 8037).
    #[must_use]
    pub fn public(&self) -> String {
        encode(self.signing().verifying_key().as_bytes())
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    /// A token with any header and claims, signed with this key (RFC 7515, RFC 8037).
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.signing().sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature.to_bytes()))
    }

    /// The header of a good token.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid})
    }

    /// A good token, that expires so many seconds from now (or ago).
    #[must_use]
    pub fn token(&self, user_id: &str, device_id: &str, expires_in: i64) -> String {
        self.sign(&self.header(), &claims(user_id, device_id, expires_in))
    }
}

/// The claims of a good token, that expires so many seconds from now (or ago).
///
/// # Panics
/// When the machine's clock is before 1970.
#[must_use]
pub fn claims(user_id: &str, device_id: &str, expires_in: i64) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    let exp =
        i64::try_from(now.as_secs()).expect("a clock before the year 292 billion") + expires_in;
    json!({
        "iss": "parlance",
        "aud": "parlance",
        "sub": user_id,
        "did": device_id,
        "iat": exp - 3600,
        "exp": exp,
    })
}

/// Header and claims as a signature covers them.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    )
}

/// The header of a token.
///
/// # Panics
/// When the text is no token.
#[must_use]
pub fn header_of(token: &str) -> Value {
    let head = token.split('.').next().expect("a token has a header");
    let bytes = URL_SAFE_NO_PAD.decode(head).expect("a token is base64url");
    serde_json::from_slice(&bytes).expect("a token's header is JSON")
}

/// Base64url without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
