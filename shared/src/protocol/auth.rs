//! Bodies of `/auth/*`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{DeviceId, UserId};
use crate::time::Timestamp;

/// A telephone number in E.164 form: `+`, then 7 to 15 digits that do not begin with 0.
///
/// It is personal data: never logged, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PhoneNumber(String);

/// Why a text is not a telephone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a phone number in E.164 form, such as +14155550100")]
pub struct InvalidPhoneNumber;

impl PhoneNumber {
    /// The number as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = InvalidPhoneNumber;

    fn from_str(text: &str) -> Result<Self, InvalidPhoneNumber> {
        let digits = text.strip_prefix('+').ok_or(InvalidPhoneNumber)?;
        let holds = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if holds {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPhoneNumber)
        }
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(hidden)")
    }
}

impl<'de> Deserialize<'de> for PhoneNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `POST /auth/code`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRequest {
    /// Whom to send a code.
    pub phone_number: PhoneNumber,
}

/// 202 of `POST /auth/code`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSent {
    /// How long the code lives, in seconds.
    pub expires_in: u64,
    /// The code itself; only in development.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_code: Option<String>,
}

/// `POST /auth/login`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// The number that the code was sent to.
    pub phone_number: PhoneNumber,
    /// The six digits.
    pub verification_code: String,
    /// What to call the device in lists.
    #[serde(default)]
    pub device_name: Option<String>,
}

/// `POST /auth/refresh`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// The newest refresh token of the device.
    pub refresh_token: String,
}

/// 200 of `POST /auth/login` and `POST /auth/refresh`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The access token, a JWT.
    pub token: String,
    /// Whose it is.
    pub user_id: UserId,
    /// For which device.
    pub device_id: DeviceId,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// Exchanges for the next session, once.
    pub refresh_token: String,
    /// Whether this login made the account.
    pub is_new_user: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_e164_is_a_phone_number_and_it_is_never_printed() {
        let number: PhoneNumber = "+14155550100".parse().unwrap();
        assert_eq!(format!("{number:?}"), "PhoneNumber(hidden)");
        for bad in [
            "",
            "+",
            "14155550100",
            "+0155550100",
            "+1415555010012345",
            "+1 415 555 0100",
            "+1415a55",
            "+\u{661}4155550100",
        ] {
            assert!(bad.parse::<PhoneNumber>().is_err(), "{bad:?}");
        }
    }
}
