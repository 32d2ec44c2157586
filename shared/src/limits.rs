//! The limits of protocol version 1, each in one place.

use std::time::Duration;

use crate::limiter::Rate;

/// Bytes of a message's content.
pub const CONTENT_BYTES: usize = 64 * 1024;
/// Characters (Unicode scalar values) of a text message.
pub const TEXT_CHARS: usize = 16_384;
/// Members of a group, its creator included.
pub const GROUP_MEMBERS: usize = 1024;
/// Characters of a name (a group's, a person's, a device's).
pub const NAME_CHARS: usize = 100;
/// Characters of a group's description.
pub const DESCRIPTION_CHARS: usize = 500;
/// Characters of a person's status message.
pub const STATUS_CHARS: usize = 140;
/// Bytes of a link to a picture.
pub const URL_BYTES: usize = 2048;
/// Ids or phone numbers in a list of a body, but for the members of a new group.
pub const LIST_ITEMS: usize = 100;
/// Bytes of a request body.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of a socket frame from a client.
pub const FRAME_BYTES: usize = 128 * 1024;
/// Characters of a message's preview in the conversation list.
pub const PREVIEW_CHARS: usize = 100;

/// Conversations on a page: default and most.
pub const CONVERSATIONS_PAGE: PageLimit = PageLimit {
    default: 20,
    most: 100,
};
/// Messages on a page: default and most.
pub const MESSAGES_PAGE: PageLimit = PageLimit {
    default: 50,
    most: 200,
};
/// Events on a page: default and most.
pub const EVENTS_PAGE: PageLimit = PageLimit {
    default: 200,
    most: 1000,
};
/// Members on a page: default and most.
pub const MEMBERS_PAGE: PageLimit = PageLimit {
    default: 100,
    most: 1024,
};
/// Bytes of stored events after which a page ends early, with `has_more`.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Events replayed on a socket in one go; what lies further back is paged from history.
pub const REPLAY_EVENTS: u32 = 10_000;
/// Bytes of stored events replayed on a socket in one go.
pub const REPLAY_BYTES: usize = 8 * 1024 * 1024;

/// How long a verification code lives.
pub const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Wrong tries after which a code is dead.
pub const CODE_TRIES: u32 = 5;
/// Codes that a number gets in an hour.
pub const CODES_PER_HOUR: u32 = 5;
/// Logins from an address in an hour.
pub const LOGINS_PER_HOUR: u32 = 30;
/// Requests of a device in a minute, but for those that have a limit of their own; of an
/// address, where no device is known yet.
pub const REQUESTS_PER_MINUTE: u32 = 300;
/// Wrong tries in a row, over all codes of a number, after which it is locked.
pub const LOCK_TRIES: u32 = 15;
/// How long a number stays locked.
pub const LOCK_TIME: Duration = Duration::from_secs(60 * 60);
/// How long an access token lives.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How often a client pings, unless the deployment says otherwise ([`heartbeat`]).
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// What a deployment may say of it.
pub const HEARTBEAT_IS: &str = "must be a whole number of seconds from 1 to 300";
/// Missed heartbeats after which a device counts as gone.
pub const MISSED_HEARTBEATS: u32 = 3;
/// Events that wait for a device; what lies further back is paged from history.
pub const INBOX_EVENTS: u64 = 10_000;
/// How long an event waits for a device.
pub const INBOX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of frames that a device may leave unacknowledged.
pub const UNACKNOWLEDGED_BYTES: usize = 2 * 1024 * 1024;
/// Users whose presence a device may follow.
pub const PRESENCE_SUBSCRIPTIONS: usize = 200;
/// How long a watch on a user's presence holds without being renewed.
pub const PRESENCE_LEASE: Duration = Duration::from_secs(24 * 60 * 60);
/// Users who may follow one user's presence at the same time; further ones are told how it is
/// when they ask, and not of changes.
pub const PRESENCE_WATCHERS: usize = 10_000;
/// How long a user who polls stays online between two polls.
pub const POLL_GRACE: Duration = Duration::from_secs(45);
/// Members up to which a group shows typing, and live receipts.
pub const SMALL_GROUP: usize = 20;
/// The least time between two typing signals of a member.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(3);
/// Messages that a device may send.
pub const MESSAGE_RATE: Rate = Rate::per(20, Duration::from_secs(1)).with_burst(60);
/// Typing and presence frames that a device may send.
pub const SIGNAL_RATE: Rate = Rate::per(10, Duration::from_secs(1));
/// Other frames that a device may send. Acknowledging each event of a busy group stays within.
pub const FRAME_RATE: Rate = Rate::per(100, Duration::from_secs(1)).with_burst(1000);
/// Bytes of an emoji: the longest sequences of Unicode have about half of it.
pub const EMOJI_BYTES: usize = 64;
/// Different emoji with which a message can be reacted to.
pub const REACTIONS: usize = 20;
/// Users that a message names for each emoji; of the others it tells how many they are.
pub const REACTION_USERS: u32 = 20;
/// Messages that a conversation can have pinned.
pub const PINS: u64 = 50;
/// How long an author may edit a message.
pub const EDIT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// How many times a message can be edited.
pub const EDITS: u32 = 500;
/// How long an author may delete a message for everyone.
pub const DELETE_WINDOW: Duration = Duration::from_secs(60 * 60);
/// How long what a deleted message held is kept.
pub const DELETED_CONTENT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Conversations to which a message is forwarded at once.
pub const FORWARDS: usize = 20;
/// Characters of a poll's question.
pub const POLL_QUESTION_CHARS: usize = 300;
/// Characters of a poll's option.
pub const POLL_OPTION_CHARS: usize = 100;
/// Options of a poll: at least.
pub const POLL_OPTIONS_LEAST: usize = 2;
/// Options of a poll: at most.
pub const POLL_OPTIONS: usize = 12;
/// How far ahead a message can be scheduled.
pub const SCHEDULE_AHEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Messages that a member can have scheduled in a conversation.
pub const SCHEDULED: u64 = 50;
/// After how long messages disappear, where a conversation lets them: at least.
pub const EXPIRES_LEAST: Duration = Duration::from_secs(60 * 60);
/// After how long messages disappear, where a conversation lets them: at most.
pub const EXPIRES_MOST: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Characters of why a message is reported or an account suspended, and of what came of it.
pub const REASON_CHARS: usize = 1000;
/// Users that a user can have blocked.
pub const BLOCKS: u64 = 1000;
/// Reports, or entries of the audit log, on a page: default and most.
pub const ADMIN_PAGE: PageLimit = PageLimit {
    default: 50,
    most: 200,
};
/// Bytes of an image.
pub const IMAGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a video.
pub const VIDEO_BYTES: u64 = 100 * 1024 * 1024;
/// Bytes of a voice note.
pub const VOICE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of any other file.
pub const FILE_BYTES: u64 = 100 * 1024 * 1024;
/// Bytes of a thumbnail that a client uploads.
pub const THUMBNAIL_BYTES: u64 = 512 * 1024;
/// Bytes of each part, but the last, of an upload in parts. R2 wants at least 5 MiB, all alike.
pub const MEDIA_PART_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of a media type.
pub const MEDIA_TYPE_BYTES: usize = 100;
/// Bytes of a part's `ETag`. R2's bindings give longer ones than its S3 endpoint.
pub const ETAG_BYTES: usize = 1024;
/// Characters of a file's name.
pub const FILE_NAME_CHARS: usize = 200;
/// Numbers of a waveform.
pub const WAVEFORM_ITEMS: usize = 128;
/// Characters of a blurhash: 9 by 9 components have 166.
pub const BLURHASH_CHARS: usize = 166;
/// How long an address of a medium's bytes can be used.
pub const MEDIA_URL_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long an upload that was sent nowhere is kept.
pub const UNUSED_MEDIA: Duration = Duration::from_secs(24 * 60 * 60);
/// Uploads that a device may begin in a second.
pub const UPLOADS_PER_SECOND: u32 = 5;
/// Conversations that are asked whether the caller is a member, where the request names none.
pub const MEDIA_CONVERSATIONS: u32 = 20;
/// Devices of a user; signing in on one more signs the longest unused one out.
pub const DEVICES: usize = 32;

/// How many items a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// When the client does not say.
    pub default: u32,
    /// At most; asking for more gives this many.
    pub most: u32,
}

/// How often a client pings, as `HEARTBEAT_SECONDS` of a deployment says; nothing where it is not
/// as [`HEARTBEAT_IS`] says.
#[must_use]
pub fn heartbeat(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    (1..=300)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}
