//! The tables of a user.

use crate::sql::migrations::Migration;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "user";

/// The schema's history. A released step is never changed: the next one follows it.
///
/// `inbox` has no index beside its key that a plain message writes to: a delivered message costs its recipient one
/// written row. What the list is ordered and filtered by stands in front of the long columns,
/// so that a scan does not read those. `last_message` and `privacy` are JSON.
pub const MIGRATIONS: &[Migration] = &[FIRST, INBOX, PRESENCE, RENAMED, UNSEEN, PEOPLE, FORGOTTEN];

const FIRST: Migration = Migration {
    version: 1,
    statements: &[
        "CREATE TABLE profile (
            scope INTEGER PRIMARY KEY,
            user_id BLOB NOT NULL,
            phone_number TEXT NOT NULL,
            display_name TEXT NOT NULL,
            status_message TEXT NOT NULL,
            profile_pic_url TEXT,
            privacy TEXT NOT NULL,
            created_at INTEGER NOT NULL
        ) WITHOUT ROWID",
        "CREATE TABLE device (
            scope INTEGER NOT NULL,
            device_id BLOB NOT NULL,
            name TEXT NOT NULL,
            refresh_key BLOB NOT NULL,
            generation INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            last_seen INTEGER NOT NULL,
            PRIMARY KEY (scope, device_id)
        ) WITHOUT ROWID",
        "CREATE TABLE conversation (
            scope INTEGER NOT NULL,
            conversation_id BLOB NOT NULL,
            pinned INTEGER NOT NULL DEFAULT 0,
            archived INTEGER NOT NULL DEFAULT 0,
            active_at INTEGER NOT NULL,
            unread INTEGER NOT NULL DEFAULT 0,
            head_seq INTEGER NOT NULL,
            read_seq INTEGER NOT NULL DEFAULT 0,
            muted_until INTEGER,
            created_at INTEGER NOT NULL,
            kind TEXT NOT NULL,
            peer_id BLOB,
            name TEXT,
            avatar_url TEXT,
            last_message TEXT,
            PRIMARY KEY (scope, conversation_id)
        ) WITHOUT ROWID",
    ],
};

/// `positions`: of the devices that lag in the conversation (`inbox::Positions`). It stands
/// behind the columns of the list, as it is only read for those who catch up.
const INBOX: Migration = Migration {
    version: 2,
    statements: &[
        "ALTER TABLE conversation ADD COLUMN member_count INTEGER NOT NULL DEFAULT 2",
        "ALTER TABLE conversation ADD COLUMN delivered_seq INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE conversation ADD COLUMN positions BLOB",
    ],
};

/// `presence` is written when the user comes or goes. While `online`, `seen_at` is a moment at
/// which the user is known to have been here; afterwards, when that was last.
const PRESENCE: Migration = Migration {
    version: 3,
    statements: &[
        "CREATE TABLE presence (
            scope INTEGER PRIMARY KEY,
            online INTEGER NOT NULL,
            seen_at INTEGER,
            away_until INTEGER,
            unfinished INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID",
        "CREATE TABLE presence_watcher (
            scope INTEGER NOT NULL,
            watcher_id BLOB NOT NULL,
            until INTEGER NOT NULL,
            PRIMARY KEY (scope, watcher_id)
        ) WITHOUT ROWID",
    ],
};

/// What is not to be seen any more: the messages that the user has deleted for themself, and
/// previews that expire. `counts`: whether it would count as
/// unread, were it not hidden: it is another's, and was not deleted for everyone by an event that
/// the inbox has.
const UNSEEN: Migration = Migration {
    version: 6,
    statements: &[
        "CREATE TABLE inbox_hidden (
            scope INTEGER NOT NULL,
            conversation_id BLOB NOT NULL,
            seq INTEGER NOT NULL,
            counts INTEGER NOT NULL,
            PRIMARY KEY (scope, conversation_id, seq)
        ) WITHOUT ROWID",
        // When the preview of last_message expires, where it does: only such a message writes a
        // row of the index.
        "ALTER TABLE inbox ADD COLUMN preview_expires_at INTEGER",
        "CREATE INDEX inbox_preview_expires_at ON inbox (scope, preview_expires_at)
            WHERE preview_expires_at IS NOT NULL",
    ],
};

/// Whom the user is with, and whom not.
///
/// `inbox.membership`, `inbox.notify`: see `settings`; `farewell`: the event by which the user
/// ceased to be a member, as JSON. `profile.suspension_told`: the last conversation that was told
/// of the account's suspension, or of its end; NULL once all were. `user_block.is_told`: whether
/// the blocked user, and the conversation of the two, know it.
const PEOPLE: Migration = Migration {
    version: 7,
    statements: &[
        "ALTER TABLE inbox ADD COLUMN membership INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE inbox ADD COLUMN notify INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE inbox ADD COLUMN farewell TEXT",
        "ALTER TABLE profile ADD COLUMN suspended_at INTEGER",
        "ALTER TABLE profile ADD COLUMN suspension_told BLOB",
        "CREATE TABLE user_block (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            is_lifted INTEGER NOT NULL,
            is_told INTEGER NOT NULL,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
        "CREATE TABLE user_blocked_by (
            scope INTEGER NOT NULL,
            user_id BLOB NOT NULL,
            PRIMARY KEY (scope, user_id)
        ) WITHOUT ROWID",
    ],
};

/// What the user has taken off the list, and up to where it was known: what is delivered again does
/// not bring it back.
const FORGOTTEN: Migration = Migration {
    version: 8,
    statements: &["CREATE TABLE inbox_forgotten (
            scope INTEGER NOT NULL,
            conversation_id BLOB NOT NULL,
            head_seq INTEGER NOT NULL,
            PRIMARY KEY (scope, conversation_id)
        ) WITHOUT ROWID"],
};

/// Where all objects share one database, `conversation` is a table of the conversations'
/// (`crate::conversation::schema`). A database that is made anew must take these steps first.
const RENAMED: Migration = Migration {
    version: 4,
    statements: &["ALTER TABLE conversation RENAME TO inbox"],
};
