//! The tables that stand in for a platform of objects, and the order in which all are made.

use std::collections::BTreeMap;

use parlance_shared::sql::migrations::{Migration, installed, migrate};
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::{account, conversation, limiter, media, moderation, user};

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "embedded";

/// The schema's history. A released step is never changed: the next one follows it.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &[
        // An object: its scope is its number in every other table.
        "CREATE TABLE object (
            scope INTEGER PRIMARY KEY,
            class TEXT NOT NULL,
            name TEXT NOT NULL,
            UNIQUE (class, name)
        )",
        // When an object has to be looked after: by its alarm, or for sessions that wait.
        "CREATE TABLE alarm (
            scope INTEGER PRIMARY KEY,
            due INTEGER NOT NULL,
            alarm_at INTEGER
        ) WITHOUT ROWID",
        "CREATE INDEX alarm_due ON alarm (due)",
        // Scope 0 is no object, but what is to be forgotten from time to time.
        "INSERT INTO alarm (scope, due) VALUES (0, 0)",
        // A session that some instance holds. state: as the user's service writes it; NULL once
        // it has ended, with the close code that its holder is to be told. alive_at: when its
        // holder was last heard of.
        "CREATE TABLE session (
            scope INTEGER NOT NULL,
            socket INTEGER NOT NULL,
            state TEXT,
            close_code INTEGER,
            alive_at INTEGER NOT NULL,
            PRIMARY KEY (scope, socket)
        ) WITHOUT ROWID",
        // What a session's holder is to hand to its client, in order.
        "CREATE TABLE frame (
            scope INTEGER NOT NULL,
            socket INTEGER NOT NULL,
            number INTEGER NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (scope, socket, number)
        ) WITHOUT ROWID",
        // How much a device has said of late (`frame_rate::FrameRates` in JSON).
        "CREATE TABLE device_rate (
            device_id BLOB PRIMARY KEY,
            used_at INTEGER NOT NULL,
            rates TEXT NOT NULL
        ) WITHOUT ROWID",
    ],
}];

/// All components, in the order in which their tables are made: the conversations' after the
/// users', whose first steps use a name of theirs and give it up again.
const ORDER: [(&str, &[Migration]); 7] = [
    (COMPONENT, MIGRATIONS),
    (user::schema::COMPONENT, user::schema::MIGRATIONS),
    (account::schema::COMPONENT, account::schema::MIGRATIONS),
    (limiter::COMPONENT, limiter::MIGRATIONS),
    (media::schema::COMPONENT, media::schema::MIGRATIONS),
    (
        moderation::schema::COMPONENT,
        moderation::schema::MIGRATIONS,
    ),
    (
        conversation::schema::COMPONENT,
        conversation::schema::MIGRATIONS,
    ),
];

/// Whether all tables are there, in their newest version.
///
/// # Errors
/// When storage fails.
pub fn is_installed(sql: &dyn Sql) -> Result<bool, SqlError> {
    if installed(sql, COMPONENT)?.is_none() {
        return Ok(false);
    }
    let rows = sql.exec("SELECT component, version FROM schema_version", &[])?;
    let mut versions = BTreeMap::new();
    for row in &rows.rows {
        versions.insert(row.get::<String>(0)?, row.get::<u32>(1)?);
    }
    Ok(ORDER.iter().all(|(component, migrations)| {
        versions.get(*component).copied() == migrations.last().map(|step| step.version)
    }))
}

/// Brings all tables to their newest version. Does nothing where they are there already.
///
/// # Errors
/// When storage fails, or was written by a newer version.
pub fn install(sql: &dyn Sql) -> Result<(), SqlError> {
    ORDER
        .iter()
        .try_for_each(|(component, migrations)| migrate(sql, component, migrations))
}
