//! The account's row.
//!
//! What always holds: a code is kept as a salted hash only, and nothing here tells the number.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::entropy::Entropy;
use crate::ids::UserId;
use crate::limits;
use crate::params;
use crate::sql::{Row, Sql, SqlError, Value};
use crate::time::Timestamp;

/// All that is known of a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Whose it is, once a code was right.
    pub user_id: Option<UserId>,
    /// The newest code, unless it was used or taken back. It may have expired or died.
    pub code: Option<StoredCode>,
    /// Wrong tries since the last right one, over all codes.
    pub wrong_tries: u32,
    /// Until when no code is made or checked.
    pub locked_until: Option<Timestamp>,
    /// When the codes that count for the hour were made, the oldest first, in milliseconds.
    pub issued_at: Vec<i64>,
}

/// A code that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredCode {
    salt: [u8; 16],
    digest: [u8; 32],
    expires_at: Timestamp,
    tries: u32,
}

impl StoredCode {
    /// What to keep of `code`, made now.
    pub fn new(code: &str, now: Timestamp, entropy: &dyn Entropy) -> Self {
        let salt = entropy.bytes();
        Self {
            salt,
            digest: digest(&salt, code),
            expires_at: now + limits::CODE_LIFETIME,
            tries: 0,
        }
    }

    /// Whether the right code would be accepted.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.tries < limits::CODE_TRIES
    }

    /// Whether `code` is the one, in a time that tells nothing about it.
    pub fn matches(&self, code: &str) -> bool {
        self.digest.ct_eq(&digest(&self.salt, code)).into()
    }

    /// Counts a wrong try.
    pub fn count_wrong(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }
}

fn digest(salt: &[u8; 16], code: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(code)
        .finalize()
        .into()
}

/// The account as it is stored; an empty one where there is none.
pub(super) fn load(sql: &dyn Sql, scope: i64) -> Result<Account, SqlError> {
    sql.exec(
        "SELECT user_id, code_salt, code_digest, code_expires_at, code_tries, wrong_tries,
            locked_until, issued_at
         FROM account WHERE scope = ?",
        params![scope],
    )?
    .first()
    .map_or_else(|| Ok(Account::default()), read)
}

fn read(row: &Row) -> Result<Account, SqlError> {
    let code = match row.get::<Option<Vec<u8>>>(1)? {
        None => None,
        Some(salt) => Some(StoredCode {
            salt: fixed(salt)?,
            digest: fixed(row.get(2)?)?,
            expires_at: row.get(3)?,
            tries: row.get(4)?,
        }),
    };
    let issued_at: String = row.get(7)?;
    Ok(Account {
        user_id: row.get(0)?,
        code,
        wrong_tries: row.get(5)?,
        locked_until: row.get(6)?,
        issued_at: serde_json::from_str(&issued_at)
            .map_err(|_| SqlError::unexpected("a JSON list of times", &Value::Text(issued_at)))?,
    })
}

fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], SqlError> {
    <[u8; N]>::try_from(bytes)
        .map_err(|bytes| SqlError::unexpected("bytes of another length", &Value::Blob(bytes)))
}

/// Stores the account in the place of what was there.
pub(super) fn save(sql: &dyn Sql, scope: i64, account: &Account) -> Result<(), SqlError> {
    let code = account.code.as_ref();
    let issued_at = serde_json::to_string(&account.issued_at)
        .map_err(|error| SqlError::Engine(error.to_string()))?;
    sql.exec(
        "INSERT INTO account (scope, user_id, code_salt, code_digest, code_expires_at, code_tries,
            wrong_tries, locked_until, issued_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (scope) DO UPDATE SET user_id = excluded.user_id,
            code_salt = excluded.code_salt, code_digest = excluded.code_digest,
            code_expires_at = excluded.code_expires_at, code_tries = excluded.code_tries,
            wrong_tries = excluded.wrong_tries, locked_until = excluded.locked_until,
            issued_at = excluded.issued_at",
        params![
            scope,
            account.user_id.as_ref(),
            code.map(|code| code.salt.as_slice()),
            code.map(|code| code.digest.as_slice()),
            code.map(|code| code.expires_at),
            code.map_or(0, |code| code.tries),
            account.wrong_tries,
            account.locked_until,
            &issued_at,
        ],
    )?;
    Ok(())
}
