//! Refresh tokens.
//!
//! A token names its user, its device and its generation, and proves itself by an HMAC under a
//! key that only the device's row holds. So any older generation is recognised as having been
//! ours (and its use again as theft) without storing it, and an invented one changes nothing.
//!
//! As text it is `pr1.` and the unpadded base64url of the user's 16 bytes, the device's 16, the
//! generation's 8 (big-endian) and the proof's 32.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::ids::{DeviceId, UserId};
use crate::protocol::problem::Problem;

/// What the text of a token begins with: the kind and version of what follows.
const PREFIX: &str = "pr1.";
/// What the proof is for, so that no other HMAC under the same key can stand in for it.
const LABEL: &[u8] = b"parlance refresh token 1\0";
/// The block of SHA-256, to which HMAC pads its key with zeros (RFC 2104, section 2).
const BLOCK: usize = 64;

/// The key of a device's tokens: random, and known to its row alone.
pub type RefreshKey = [u8; 32];

/// The right to renew a device's session, once.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whose.
    pub user_id: UserId,
    /// For which device.
    pub device_id: DeviceId,
    /// How many tokens the device had before, and this one.
    pub generation: u64,
    proof: [u8; 32],
}

impl RefreshToken {
    /// The token of a generation of a device.
    #[must_use]
    pub fn new(user_id: UserId, device_id: DeviceId, generation: u64, key: &RefreshKey) -> Self {
        Self {
            user_id,
            device_id,
            generation,
            proof: proof(user_id, device_id, generation, key),
        }
    }

    /// Whether it was made under `key`; takes the same time either way.
    #[must_use]
    pub fn proves(&self, key: &RefreshKey) -> bool {
        let right = proof(self.user_id, self.device_id, self.generation, key);
        self.proof.ct_eq(&right).into()
    }
}

fn proof(user_id: UserId, device_id: DeviceId, generation: u64, key: &RefreshKey) -> [u8; 32] {
    let mut block = [0; BLOCK];
    for (target, source) in block.iter_mut().zip(key) {
        *target = *source;
    }
    <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block.into())
        .chain_update(LABEL)
        .chain_update(user_id.as_bytes())
        .chain_update(device_id.as_bytes())
        .chain_update(generation.to_be_bytes())
        .finalize()
        .into_bytes()
        .into()
}

impl fmt::Display for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(self.user_id.as_bytes());
        bytes.extend_from_slice(self.device_id.as_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.proof);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("user_id", &self.user_id)
            .field("device_id", &self.device_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn read(text: &str) -> Option<RefreshToken> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
    let (user, rest) = bytes.split_first_chunk()?;
    let (device, rest) = rest.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    Some(RefreshToken {
        user_id: UserId::from_uuid(Uuid::from_bytes(*user)),
        device_id: DeviceId::from_uuid(Uuid::from_bytes(*device)),
        generation: u64::from_be_bytes(*generation),
        proof: rest.try_into().ok()?,
    })
}

impl FromStr for RefreshToken {
    type Err = Problem;

    /// Reads a token's text, without checking its proof.
    ///
    /// # Errors
    /// `unauthenticated` for any other text.
    fn from_str(text: &str) -> Result<Self, Problem> {
        read(text).ok_or_else(|| Problem::unauthenticated("The refresh token is not valid."))
    }
}

impl Serialize for RefreshToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RefreshToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        read(&text).ok_or_else(|| serde::de::Error::custom("must be a refresh token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: RefreshKey = [7; 32];

    fn token() -> RefreshToken {
        let user = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let device = "00000000-0000-4000-8000-000000000002".parse().unwrap();
        RefreshToken::new(user, device, 3, &KEY)
    }

    #[test]
    fn the_text_is_pinned_and_gives_the_token_back() {
        let text = token().to_string();
        assert_eq!(
            text,
            "pr1.AAAAAAAAQACAAAAAAAAAAQAAAAAAAEAAgAAAAAAAAAIAAAAAAAAAA0qKcc40n7258_KIrZwdRM6qySq1Km2hmnU69WgRQNBW"
        );
        assert_eq!(text.parse::<RefreshToken>().unwrap(), token());
        let json = serde_json::to_string(&token()).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<RefreshToken>(&json).unwrap(),
            token()
        );
    }

    #[test]
    fn only_its_own_key_and_its_own_fields_prove_a_token() {
        assert!(token().proves(&KEY));
        assert!(!token().proves(&[8; 32]));
        let other = "00000000-0000-4000-8000-000000000003";
        let mut forged = token();
        forged.generation += 1;
        assert!(!forged.proves(&KEY));
        forged = token();
        forged.user_id = other.parse().unwrap();
        assert!(!forged.proves(&KEY));
        forged = token();
        forged.device_id = other.parse().unwrap();
        assert!(!forged.proves(&KEY));
    }

    #[test]
    fn garbage_is_unauthenticated() {
        let text = token().to_string();
        let longer = format!("{text}AAAA");
        let other_version = text.replace("pr1.", "pr2.");
        let shorter: String = text.chars().take(92).collect();
        for bad in [
            "",
            "pr1.",
            "x",
            "pr1.\u{e9}",
            &longer,
            &shorter,
            &other_version,
            text.trim_start_matches("pr1."),
        ] {
            assert_eq!(
                bad.parse::<RefreshToken>().unwrap_err().status,
                401,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn debug_hides_the_proof() {
        let printed = format!("{:?}", token());
        assert!(printed.contains("generation: 3"));
        assert!(!printed.contains("proof"));
    }
}
