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
mod tests;
