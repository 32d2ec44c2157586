//! What a user object can be asked.

use serde::{Deserialize, Serialize};

use crate::conversation::call::MemberPosition;
use crate::ids::{ConversationId, DeviceId, MessageId, UserId};
use crate::object::{ObjectClass, requests};
use crate::protocol::auth::PhoneNumber;
use crate::protocol::conversation::{
    ConversationPage, ConversationSettings, ConversationType, SettingsPatch,
};
use crate::protocol::event::Event;
use crate::protocol::frame::{PresenceUpdate, ServerFrame};
use crate::protocol::seq::Seq;
use crate::protocol::user::{BlockList, DeviceList, Profile, ProfilePatch, PublicProfile};
use crate::time::Timestamp;

/// The class of user objects, one per user.
#[derive(Debug)]
pub struct UserObject;

impl ObjectClass for UserObject {
    const BINDING: &'static str = "USER";
    type Name = UserId;
    type Request = UserRequest;

    fn object_name(name: &UserId) -> String {
        name.to_string()
    }
}

requests! {
    /// All that a user object can be asked.
    UserRequest of UserObject {
        /// Sign a device in.
        SignIn => SignedIn,
        /// Renew a device's session.
        Refresh => SignedIn,
        /// Sign a device out.
        SignOut => (),
        /// Is the device still signed in?
        CheckDevice => (),
        /// The devices.
        ListDevices => DeviceList,
        /// Sign another device out.
        RevokeDevice => (),
        /// One's own profile.
        GetProfile => Profile,
        /// Change it.
        UpdateProfile => Profile,
        /// What others see.
        ViewProfile => PublicProfile,
        /// The conversation list.
        ListConversations => ConversationPage,
        /// News from a conversation.
        Deliver => Delivered,
        /// What passes: typing, receipts.
        Signal => (),
        /// Read up to somewhere.
        MarkRead => ReadReply,
        /// A device has got up to somewhere on a conversation's own socket.
        MarkDelivered => (),
        /// A device's own socket at a conversation has closed.
        MarkLeft => (),
        /// Tell me when you come and go.
        WatchPresence => PresenceUpdate,
        /// No longer.
        UnwatchPresence => (),
        /// I have come, or gone.
        PresenceChanged => PresenceHeard,
        /// Delete a message for oneself.
        HideMessage => (),
        /// Change what one has set for a conversation.
        UpdateSettings => ConversationSettings,
        /// Take a conversation off the list that one is no longer a member of.
        ForgetConversation => (),
        /// Block another user, or lift that.
        Block => (),
        /// Whom one has blocked.
        ListBlocks => BlockList,
        /// I have blocked you, or no longer do.
        BlockedBy => (),
        /// May I let you into a group?
        AdmitTo => (),
        /// Suspend the account, or let it be used again.
        Suspend => (),
    }
}

/// Signs a device in; makes the user where this is the first time. The caller has verified the
/// phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The object's own id.
    pub user_id: UserId,
    /// The number that was verified.
    pub phone_number: PhoneNumber,
    /// What to call the device.
    pub device_name: Option<String>,
}

/// A device's session was begun or renewed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Whose.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// The next refresh token.
    pub refresh_token: String,
    /// Whether the user was made now.
    pub is_new_user: bool,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedIn({}, {})", self.user_id, self.device_id)
    }
}

/// Exchanges a refresh token. One that was used before revokes its device.
///
/// Refused with `unauthenticated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// The token, read.
    pub token: super::refresh::RefreshToken,
}

/// Signs the caller's device out. Signing out twice is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOut {
    /// The caller's device.
    pub device_id: DeviceId,
}

/// Is the device signed in? Refused with `unauthenticated` where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDevice {
    /// The caller's device.
    pub device_id: DeviceId,
}

/// Lists the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDevices {
    /// The caller's device.
    pub device_id: DeviceId,
}

/// Signs one of the caller's devices out. Refused with `not_found` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeDevice {
    /// The caller's device.
    pub device_id: DeviceId,
    /// The one to sign out; may be the same.
    pub revoked: DeviceId,
}

/// One's own profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetProfile {
    /// The caller's device.
    pub device_id: DeviceId,
}

/// Changes one's profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateProfile {
    /// The caller's device.
    pub device_id: DeviceId,
    /// What changes; validated by the service.
    pub patch: ProfilePatch,
}

/// What `viewer` sees of this user. Refused with `not_found` where there is no such user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewProfile {
    /// Who looks.
    pub viewer: UserId,
}

/// A page of the conversation list. The names and pictures of direct conversations are left
/// null: they are the other user's, and the edge fills them in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListConversations {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
    /// The archived ones, or the others.
    pub archived: bool,
}

/// What a conversation tells a member's user object beside its events, so that the list can
/// show it: always the present state, as small as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationSummary {
    /// Its id.
    pub conversation_id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// A group's name.
    pub name: Option<String>,
    /// A link to a group's picture.
    pub avatar_url: Option<String>,
    /// The two members of a direct conversation; empty for a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direct_members: Vec<UserId>,
    /// How many members it has.
    pub member_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// News from a conversation: the events that follow those delivered before, in order. None at
/// all where the conversation is new and has no event yet.
///
/// It may come again, in whole or in part, and is then ignored as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// The object's own id.
    pub user_id: UserId,
    /// The first event that the recipient may have as the member that it is now: one that comes
    /// in again may find a gap before it.
    pub visible_from: Seq,
    /// The conversation as it is now.
    pub conversation: ConversationSummary,
    /// The events, in the order of their seq, without gaps. Only the recipient's own messages
    /// may show a `client_msg_id`.
    pub events: Vec<Event>,
    /// The recipient's devices that are attached to the conversation itself, and have the
    /// events from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached_devices: Vec<AttachedDevice>,
}

/// A device that is attached to a conversation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDevice {
    /// Which.
    pub device_id: DeviceId,
    /// When its client last gave a sign of life there: opened the socket, said something, pinged.
    pub heard_at: Timestamp,
}

/// How far the user object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The last event that it has: the next delivery begins after it.
    pub head_seq: Seq,
    /// How far the user has come, so that the conversation learns it without being told apart.
    pub position: MemberPosition,
}

/// Frames that are shown to those who are connected, and otherwise forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The object's own id.
    pub user_id: UserId,
    /// What to show.
    pub frames: Vec<ServerFrame>,
    /// The user's devices that are attached to the conversation itself, and have it from there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached_devices: Vec<AttachedDevice>,
}

/// The user has read a conversation up to somewhere: over HTTP, or on the conversation's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRead {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// Up to where. Refused with `invalid_request` beyond the newest event.
    pub up_to_seq: Seq,
}

/// 200 of `POST /conversations/{id}/read`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReply {
    /// Up to where the user has read now.
    pub read_seq: Seq,
    /// How many messages of others lie after that.
    pub unread: u64,
    /// The same for all conversations that are not archived.
    pub total_unread: u64,
}

/// A device has acknowledged events on a conversation's own socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkDelivered {
    /// The device.
    pub device_id: DeviceId,
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// The last event that it has.
    pub up_to_seq: Seq,
}

/// A device's socket at a conversation has closed. What was sent on it last may not have arrived:
/// the device's session shows what it has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkLeft {
    /// The device.
    pub device_id: DeviceId,
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// The last event that the socket certainly brought.
    pub after_seq: Seq,
}

/// `watcher` wants to know when this user comes and goes. Answers how it is now, as far as
/// `watcher` may know. Asked again, it goes on for another [`crate::limits::PRESENCE_LEASE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchPresence {
    /// Who wants to know.
    pub watcher: UserId,
}

/// `watcher` no longer wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnwatchPresence {
    /// Who.
    pub watcher: UserId,
}

/// A watched user tells a watcher's object of its coming or going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceChanged {
    /// What has changed, as the watcher may know it.
    pub update: PresenceUpdate,
}

/// What became of a [`PresenceChanged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceHeard {
    /// Whether a connected device wants to know; if not, the watched user forgets the watcher.
    pub wanted: bool,
}

/// Deletes a message for the user alone, on all devices. Asked again, nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HideMessage {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Where.
    pub conversation_id: ConversationId,
    /// Which message.
    pub message_id: MessageId,
}

/// Changes what the user has set for a conversation. Refused with `not_found` for one that is not
/// in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateSettings {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// What changes.
    pub patch: SettingsPatch,
}

/// Takes a conversation off the list. Refused with `not_found` for one that is not there, with
/// `conflict` where the user is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetConversation {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Which conversation.
    pub conversation_id: ConversationId,
}

/// Blocks another user, or lifts that. Asked again, nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The caller's device.
    pub device_id: DeviceId,
    /// Whom.
    pub user_id: UserId,
    /// Whether to block.
    pub is_blocked: bool,
}

/// Lists whom the user has blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListBlocks {
    /// The caller's device.
    pub device_id: DeviceId,
}

/// Another user has blocked this one, or no longer does. Refused with `not_found` where there is
/// no such user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedBy {
    /// Who.
    pub by: UserId,
    /// Whether it does.
    pub is_blocked: bool,
}

/// May `adder` let this user into a group? Refused with `not_found` where there is no such user,
/// with `forbidden` where it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitTo {
    /// Who asks.
    pub adder: UserId,
}

/// Suspends the account, or lets it be used again. Asked again, nothing changes. Refused with
/// `not_found` where there is no such user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspend {
    /// Whether to suspend.
    pub is_suspended: bool,
}

/// Opens a session socket. Travels in the header
/// [`SOCKET_HEADER`](crate::conversation::call::SOCKET_HEADER) of an upgrade request, as JSON;
/// the object answers 101, or 200 with an [`crate::object::Answer`] that holds the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Who opens it.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// When the token that opened it expires, and the socket with it.
    pub expires_at: Timestamp,
    /// Whether the client offered the subprotocol, which is then answered.
    pub subprotocol: bool,
    /// How the client is connected.
    pub transport: Transport,
}

/// How a client is connected to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// By a WebSocket.
    Socket,
    /// By Server-Sent Events: acknowledges by `Last-Event-ID` when it connects again.
    Stream,
    /// By long poll: away between two polls, and nonetheless online.
    Poll,
}
