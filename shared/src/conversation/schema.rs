//! The tables of a conversation.
//!
//! A message costs two rows: the event, and its entry in the index that recognises a repeated
//! `client_msg_id`. A message is found by id through its seq (see [`crate::ids::MessageId`]),
//! so there is no index on ids.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "conversation";

/// The schema, step by step.
pub const MIGRATIONS: &[Migration] = &[FIRST, POSITIONS, ACTS, GROUPS, ARCHIVE];

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

/// What is done with messages. A plain message writes nothing of this.
///
/// `event.target_seq` is the seq of the message that a change is about; a message has none.
const ACTS: Migration = Migration {
    version: 4,
    statements: &[
        "ALTER TABLE event ADD COLUMN target_seq INTEGER",
        // expires_after: seconds after which messages lose their content.
        "ALTER TABLE conversation ADD COLUMN expires_after INTEGER",
        // What has become of a message. edit_seq, deleted_seq, pin_seq, closed_seq: the newest
        // event that edited it, deleted it, changed its pin, closed its poll.
        "CREATE TABLE message_state (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            edit_seq INTEGER,
            edits INTEGER NOT NULL DEFAULT 0,
            deleted_seq INTEGER,
            is_expired INTEGER NOT NULL DEFAULT 0,
            pin_seq INTEGER,
            closed_seq INTEGER,
            replies INTEGER NOT NULL DEFAULT 0,
            last_reply_at INTEGER,
            PRIMARY KEY (scope, seq)
        ) WITHOUT ROWID",
        // The messages that are pinned; pin_seq: the event that pinned each.
        "CREATE TABLE pinned_message (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            pin_seq INTEGER NOT NULL,
            PRIMARY KEY (scope, seq)
        ) WITHOUT ROWID",
        // reacted_seq: the event that set it as it is. One that was taken back stays, so that
        // taking it back again is recognised.
        "CREATE TABLE message_reaction (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            emoji TEXT NOT NULL,
            user_id BLOB NOT NULL,
            reacted_seq INTEGER NOT NULL,
            is_removed INTEGER NOT NULL,
            PRIMARY KEY (scope, seq, emoji, user_id)
        ) WITHOUT ROWID",
        // options: a bit for each; none where the vote was taken back.
        "CREATE TABLE poll_vote (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            options INTEGER NOT NULL,
            vote_seq INTEGER NOT NULL,
            PRIMARY KEY (scope, seq, user_id)
        ) WITHOUT ROWID",
        "CREATE TABLE thread_reply (
            scope INTEGER NOT NULL,
            root_seq INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (scope, root_seq, seq)
        ) WITHOUT ROWID",
        // The messages that a member has deleted for itself.
        "CREATE TABLE message_hidden (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            PRIMARY KEY (scope, seq, user_id)
        ) WITHOUT ROWID",
        // What is to be done at a time (timers::Due). subject: a message's seq, or a
        // scheduled message's id.
        "CREATE TABLE conversation_timer (
            scope INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            subject BLOB NOT NULL,
            PRIMARY KEY (scope, due_at, kind, subject)
        ) WITHOUT ROWID",
        // body: the message as its sender wrote it (protocol::message::NewMessage). problem:
        // why it could not be sent when its time had come.
        "CREATE TABLE scheduled_message (
            scope INTEGER NOT NULL,
            scheduled_id BLOB NOT NULL,
            sender_id BLOB NOT NULL,
            client_msg_id BLOB NOT NULL,
            send_at INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            body TEXT NOT NULL,
            problem TEXT,
            PRIMARY KEY (scope, scheduled_id)
        ) WITHOUT ROWID",
        "CREATE UNIQUE INDEX scheduled_message_name
            ON scheduled_message (scope, sender_id, client_msg_id)",
    ],
};

/// Members who come and go, and what keeps them out.
const GROUPS: Migration = Migration {
    version: 5,
    statements: &[
        // ended_at: since when it is no more; what is left of it is being erased.
        "ALTER TABLE conversation ADD COLUMN ended_at INTEGER",
        "ALTER TABLE member ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0",
        // One who is no longer a member, until it has been given its last event, end_seq.
        "CREATE TABLE former_member (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            visible_from INTEGER NOT NULL,
            end_seq INTEGER NOT NULL,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
        // Who of the two of a direct conversation has blocked the other; also where they have
        // none yet.
        "CREATE TABLE direct_block (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
    ],
};

/// What is in the archive (see `archive`). The row of an archived event stays, with an empty body.
const ARCHIVE: Migration = Migration {
    version: 6,
    statements: &[
        // archived_seq: up to where events are in segments; wiped_seq: up to where their bodies
        // are here no more. archive_objects: how many objects were named.
        "ALTER TABLE conversation ADD COLUMN archived_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE conversation ADD COLUMN wiped_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE conversation ADD COLUMN archive_objects INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE archive_segment (
            scope INTEGER NOT NULL,
            first_seq INTEGER NOT NULL,
            last_seq INTEGER NOT NULL,
            last_at INTEGER NOT NULL,
            name TEXT NOT NULL,
            bytes INTEGER NOT NULL,
            is_infrequent INTEGER NOT NULL,
            PRIMARY KEY (scope, first_seq)
        ) WITHOUT ROWID",
        // Objects that may be there and are no segments: to be removed from due_at on.
        "CREATE TABLE archive_waste (
            scope INTEGER NOT NULL,
            name TEXT NOT NULL,
            due_at INTEGER NOT NULL,
            PRIMARY KEY (scope, name)
        ) WITHOUT ROWID",
        // Events whose content is to be taken out of their segments from due_at on.
        "CREATE TABLE archive_purge (
            scope INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            PRIMARY KEY (scope, seq)
        ) WITHOUT ROWID",
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
