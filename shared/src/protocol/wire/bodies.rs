//! The bodies of requests and answers.

use proptest::prelude::*;

use super::any::{Any, any_enums, any_structs, any_union, any_variant, fields, strategies};
use super::round_trip;
use crate::protocol::act::*;
use crate::protocol::auth::*;
use crate::protocol::content::{Location, Poll};
use crate::protocol::conversation::*;
use crate::protocol::group::{
    AddMembersRequest, ConversationPatch, MembersAdded, ProfileFields, RoleRequest,
};
use crate::protocol::message::*;
use crate::protocol::moderation::*;
use crate::protocol::problem::{Code, FieldError, Problem};
use crate::protocol::user::*;

/// Which types are read as they were written, and that they are.
macro_rules! wire_types {
    ($($type:ident),* $(,)?) => {
        pub(super) const NAMES: &[&str] = &[$(stringify!($type)),*];

        pub(super) fn round_trip_all() {
            $(round_trip::<$type>(stringify!($type));)*
        }
    };
}
pub(super) use wire_types;

wire_types!(
    AddMembersRequest,
    AdminAct,
    Audience,
    AuditEntry,
    AuditPage,
    BlockList,
    BlockView,
    Code,
    CodeRequest,
    CodeSent,
    ContentType,
    ConversationCreated,
    ConversationItem,
    ConversationPage,
    ConversationPatch,
    ConversationType,
    ConversationView,
    CreateConversation,
    DeleteFor,
    DeviceList,
    DeviceView,
    EditRequest,
    FieldError,
    ForwardRequest,
    ForwardResult,
    Forwarded,
    FoundUser,
    LastMessage,
    Location,
    LoginRequest,
    LookupReply,
    LookupRequest,
    MemberPage,
    MemberView,
    MembersAdded,
    Membership,
    MessageInfo,
    MessagePage,
    MessageStatus,
    NewMessage,
    Notify,
    PhoneNumber,
    Pin,
    PinList,
    Poll,
    Privacy,
    PrivacyPatch,
    Problem,
    Profile,
    ProfileFields,
    ProfilePatch,
    PublicProfile,
    ReadRequest,
    RefreshRequest,
    ReportPage,
    ReportRequest,
    ReportView,
    Reported,
    ReportedMessage,
    ResolveRequest,
    Role,
    RoleRequest,
    Scheduled,
    ScheduledList,
    SeenBy,
    Session,
    SettingsPatch,
    SuspendRequest,
    ThreadPage,
    VoteRequest,
);

any_enums! {
    AdminAct {
        ListReports {},
        ListAudit {},
        ResolveReport { report_id, note },
        SuspendUser { user_id, reason },
        ReinstateUser { user_id },
    }
    Audience { Everyone {}, Contacts {}, Nobody {} }
    Code {
        InvalidRequest {},
        Unauthenticated {},
        Forbidden {},
        NotFound {},
        MethodNotAllowed {},
        Conflict {},
        PayloadTooLarge {},
        UnsupportedMediaType {},
        UpgradeRequired {},
        RateLimited {},
        Internal {},
        NotImplemented {},
        Unavailable {},
    }
    ContentType {
        Text {},
        Image {},
        Video {},
        Voice {},
        File {},
        Location {},
        Poll {},
        System {},
        Encrypted {},
    }
    ConversationType { Direct {}, Group {} }
    DeleteFor { Everyone {}, Me {} }
    Membership { Member {}, Left {}, Removed {}, Deleted {} }
    MessageStatus { Sent {} }
    Notify { All {}, Mentions {}, None {} }
    Role { Member {}, Admin {}, Owner {} }
}

any_structs! {
    AddMembersRequest { user_ids }
    AuditEntry { entry, at, act }
    AuditPage { entries, next_cursor, has_more }
    BlockList { blocks }
    BlockView { user_id, created_at }
    CodeRequest { phone_number }
    CodeSent { expires_in, dev_code }
    ConversationCreated { conversation_id }
    ConversationItem {
        id, kind, name, avatar_url, peer_id, last_msg, last_message_at, unread, head_seq, read_seq,
        muted_until, archived, pinned, notify, membership,
    }
    ConversationPage { conversations, next_cursor, has_more, total_unread }
    ConversationPatch { name, description, avatar, expires_after }
    ConversationView {
        id, kind, name, description, avatar_url, encrypted, expires_after, member_count, peer_id,
        role, head_seq, created_by, created_at,
    }
    CreateConversation { kind, name, description, member_ids, encrypted }
    DeviceList { devices }
    DeviceView { device_id, device_name, last_seen, current }
    EditRequest { content, mentions }
    FieldError { field, message }
    ForwardRequest { conversation_ids, client_msg_id }
    ForwardResult { conversation_id, ack, problem }
    Forwarded { results }
    FoundUser { phone_number, user_id }
    LastMessage {
        message_id, seq, sender_id, content_type, preview, is_deleted, expires_at, created_at,
    }
    LoginRequest { phone_number, verification_code, device_name }
    LookupReply { users }
    LookupRequest { phone_numbers }
    MemberPage { members, next_cursor, has_more }
    MemberView { user_id, role, joined_at }
    MembersAdded { added }
    MessageInfo { message_id, seq, read_by, delivered_to, pending }
    MessagePage { messages, next_cursor, has_more }
    NewMessage {
        client_msg_id, content, content_type, reply_to, media_id, mentions, thread_root, send_at,
    }
    Pin { message, pinned_by, pinned_at }
    PinList { pins }
    Poll { question, options, multiple }
    Privacy { last_seen, profile_pic, read_receipts }
    PrivacyPatch { last_seen, profile_pic, read_receipts }
    Problem { kind, title, status, detail, code, errors, retry_after_ms }
    Profile {
        user_id, phone_number, display_name, status_message, profile_pic_url, privacy, created_at,
    }
    ProfileFields { name, description, avatar_url, expires_after }
    ProfilePatch { display_name, status_message, profile_pic, privacy }
    PublicProfile { user_id, display_name, status_message, profile_pic_url, presence }
    ReadRequest { up_to_seq }
    RefreshRequest { refresh_token }
    ReportPage { reports, next_cursor, has_more }
    ReportRequest { reason }
    ReportView { report_id, reporter_id, reason, message, created_at, resolved_at, note }
    Reported { report_id }
    ReportedMessage {
        conversation_id, message_id, seq, sender_id, content_type, content, edited_content,
        is_deleted, created_at,
    }
    ResolveRequest { note }
    RoleRequest { role }
    Scheduled { scheduled_id, conversation_id, created_at, message, problem }
    ScheduledList { scheduled }
    SeenBy { user_id, at }
    Session { token, user_id, device_id, expires_at, refresh_token, is_new_user }
    SettingsPatch { muted_until, archived, pinned, notify }
    SuspendRequest { reason }
    ThreadPage { root, messages, next_cursor, has_more }
    VoteRequest { options }
}

impl Any for PhoneNumber {
    fn any() -> BoxedStrategy<Self> {
        "\\+[1-9][0-9]{6,14}"
            .prop_map(|text| text.parse().unwrap())
            .boxed()
    }
}

impl Any for Location {
    /// Degrees with as many digits as JSON gives back to the letter.
    fn any() -> BoxedStrategy<Self> {
        let degrees = |most: i64| {
            let units = -most * 1_000_000..=most * 1_000_000;
            units.prop_map(|units| units as f64 / 1_000_000.0)
        };
        (degrees(90), degrees(180), Option::<String>::any())
            .prop_map(|(lat, lon, name)| Self { lat, lon, name })
            .boxed()
    }
}
