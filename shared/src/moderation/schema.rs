//! The tables of moderation.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "moderation";

/// The schema's history. A released step is never changed: the next one follows it.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &[
        // number: the order in which they came. message: protocol::moderation::ReportedMessage.
        "CREATE TABLE report (
            scope INTEGER NOT NULL,
            number INTEGER NOT NULL,
            report_id BLOB NOT NULL,
            reporter_id BLOB NOT NULL,
            message_id BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            resolved_at INTEGER,
            reason TEXT NOT NULL,
            note TEXT,
            message TEXT NOT NULL,
            PRIMARY KEY (scope, number)
        ) WITHOUT ROWID",
        "CREATE UNIQUE INDEX report_id ON report (scope, report_id)",
        "CREATE UNIQUE INDEX report_of ON report (scope, reporter_id, message_id)",
        "CREATE INDEX report_open ON report (scope, number) WHERE resolved_at IS NULL",
        // act: protocol::moderation::AdminAct.
        "CREATE TABLE admin_act (
            scope INTEGER NOT NULL,
            entry INTEGER NOT NULL,
            at INTEGER NOT NULL,
            act TEXT NOT NULL,
            PRIMARY KEY (scope, entry)
        ) WITHOUT ROWID",
    ],
}];
