//! What an account object can be asked.

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::UserId;
use crate::object::{ObjectClass, requests};
use crate::protocol::auth::PhoneNumber;

/// The class of account objects, one per phone number.
#[derive(Debug)]
pub struct AccountObject;

/// The name of an account object: HMAC-SHA-256 of the number under the deployment's key, in
/// hexadecimal, so that a list of objects tells no numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountName(String);

impl AccountName {
    /// The account of `number` in the deployment that has `key`.
    #[must_use]
    pub fn of(number: &PhoneNumber, key: &[u8]) -> Self {
        let digest = Hmac::<Sha256>::new_from_slice(key)
            .map(|mac| mac.chain_update(number.as_str()).finalize().into_bytes())
            // HMAC takes a key of any length.
            .unwrap_or_default();
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl ObjectClass for AccountObject {
    const BINDING: &'static str = "ACCOUNT";
    type Name = AccountName;
    type Request = AccountRequest;

    fn object_name(name: &AccountName) -> String {
        name.0.clone()
    }
}

requests! {
    /// All that an account object can be asked.
    AccountRequest of AccountObject {
        /// Make a code.
        RequestCode => CodeIssued,
        /// Take back a code that could not be sent.
        WithdrawCode => (),
        /// Check a code.
        VerifyCode => Verified,
        /// Who owns the number?
        FindUser => Option<UserId>,
    }
}

/// Makes a new verification code, which replaces the one before.
///
/// Refused with `rate_limited` after the hour's last code, or while the number is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCode {}

/// A code, to be sent to the number and told to no one else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeIssued {
    /// Six digits.
    pub code: String,
    /// How long it lives, in seconds.
    pub expires_in: u64,
}

impl std::fmt::Debug for CodeIssued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeIssued(hidden)")
    }
}

/// Takes back a code that the provider did not send: it dies, and does not count for the hour.
/// Does nothing where another code has been made since.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawCode {
    /// The code.
    pub code: String,
}

impl std::fmt::Debug for WithdrawCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithdrawCode(hidden)")
    }
}

/// Checks a code. The right one is used up, and the number then has a user.
///
/// Refused with `unauthenticated` for a wrong, used, expired or dead code; with `rate_limited`
/// while the number is locked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCode {
    /// What the client sent.
    pub code: String,
}

impl std::fmt::Debug for VerifyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyCode(hidden)")
    }
}

/// The code was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The number's user, made now if it had none.
    pub user_id: UserId,
}

/// Who owns the number?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindUser {}
