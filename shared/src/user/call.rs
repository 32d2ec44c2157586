//! What a user object can be asked.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, DeviceId, UserId};
use crate::object::{ObjectClass, requests};
use crate::protocol::auth::PhoneNumber;
use crate::protocol::conversation::{ConversationPage, ConversationType};
use crate::protocol::event::Event;
use crate::protocol::seq::Seq;
use crate::protocol::user::{DeviceList, Profile, ProfilePatch, PublicProfile};
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
    /// The conversation as it is now.
    pub conversation: ConversationSummary,
    /// The events, in the order of their seq, without gaps. Only the recipient's own messages
    /// may show a `client_msg_id`.
    pub events: Vec<Event>,
}

/// How far the user object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The last event that it has: the next delivery begins after it.
    pub head_seq: Seq,
}
