//! The tables of a medium.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "media";

/// The schema's history. A released step is never changed: the next one follows it.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &[
        // upload: what it is to be (protocol::media::UploadRequest). state: 0 announced, 1 uploaded,
        // 2 being removed. upload_id: storage's name for an upload in parts, until it is whole.
        // thumbnail: 0 none, 1 to be uploaded, 2 to be made, 3 there. made: what was learned while it
        // was made (call::MadeThumbnail). remove_at: when it goes if no message has it.
        "CREATE TABLE medium (
            scope INTEGER PRIMARY KEY,
            media_id BLOB NOT NULL,
            owner_id BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            upload TEXT NOT NULL,
            state INTEGER NOT NULL,
            upload_id TEXT,
            thumbnail INTEGER NOT NULL,
            made TEXT,
            remove_at INTEGER NOT NULL
        )",
        // The messages that have it.
        "CREATE TABLE medium_message (
            scope INTEGER NOT NULL,
            conversation_id BLOB NOT NULL,
            sender_id BLOB NOT NULL,
            client_msg_id BLOB NOT NULL,
            PRIMARY KEY (scope, conversation_id, sender_id, client_msg_id)
        ) WITHOUT ROWID",
    ],
}];
