//! The tables of an account.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "account";

/// The schema's history. A released step is never changed: the next one follows it.
///
/// One row holds all of an account, so that a request writes one row. `issued_at` is a JSON
/// list: the moments, in milliseconds, of the codes that count for the hour.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &["CREATE TABLE account (
        scope INTEGER PRIMARY KEY,
        user_id BLOB,
        code_salt BLOB,
        code_digest BLOB,
        code_expires_at INTEGER,
        code_tries INTEGER NOT NULL,
        wrong_tries INTEGER NOT NULL,
        locked_until INTEGER,
        issued_at TEXT NOT NULL
    ) WITHOUT ROWID"],
}];
