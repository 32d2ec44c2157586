//! The tables of a conversation.
//!
//! A message costs two rows: the event, and its entry in the index that recognises a repeated
//! `client_msg_id`. A message is found by id through its seq (see [`crate::ids::MessageId`]),
//! so there is no index on ids.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "conversation";

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[FIRST, POSITIONS];

/// How far each member has come, written behind (see `positions`). A time is of when the
/// conversation learned of the position beside it.
const POSITIONS: Migration = Migration {
    version: 2,
    statements: &[
        "ALTER TABLE member ADD COLUMN delivered_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE member ADD COLUMN delivered_at INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE member ADD COLUMN read_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE member ADD COLUMN read_at INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE member ADD COLUMN read_receipts INTEGER NOT NULL DEFAULT 1",
    ],
};

const FIRST: Migration = Migration {
    version: 1,
    statements: &[
        // delivered_seq: up to where every member without a row in lane has taken everything;
        // NULL until the members have been told that the conversation exists.
        "CREATE TABLE conversation (
            scope INTEGER PRIMARY KEY,
            conversation_id BLOB NOT NULL,
            kind INTEGER NOT NULL,
            name TEXT,
            description TEXT,
            avatar_url TEXT,
            encrypted INTEGER NOT NULL,
            created_by BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            delivered_seq INTEGER
        )",
        // visible_from: the first event that the member may read.
        "CREATE TABLE member (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            role INTEGER NOT NULL,
            joined_at INTEGER NOT NULL,
            visible_from INTEGER NOT NULL,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
        // body: what is particular to the kind, as JSON (store::MessageBody, MembersBody).
        "CREATE TABLE event (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            sender_id BLOB NOT NULL,
            message_id BLOB,
            client_msg_id BLOB,
            created_at INTEGER NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (scope, seq)
        ) WITHOUT ROWID",
        "CREATE UNIQUE INDEX event_client_msg_id ON event (scope, sender_id, client_msg_id)
            WHERE client_msg_id IS NOT NULL",
        // A row only for a member who lags behind the conversation's delivered_seq.
        "CREATE TABLE lane (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            taken_seq INTEGER,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
    ],
};
