//! Bodies of `/users/*`.

use serde::{Deserialize, Serialize};

use super::auth::PhoneNumber;
use super::frame::PresenceStatus;
use super::input::present;
use crate::ids::{DeviceId, UserId};
use crate::time::Timestamp;

/// Who may see something of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Every user.
    Everyone,
    /// Users with whom one shares a direct conversation in which one has written.
    Contacts,
    /// No one else.
    Nobody,
}

/// What a user lets others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privacy {
    /// Who sees when one was last here.
    pub last_seen: Audience,
    /// Who sees one's picture.
    pub profile_pic: Audience,
    /// Whether one sends, and gets, read receipts.
    pub read_receipts: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            last_seen: Audience::Everyone,
            profile_pic: Audience::Everyone,
            read_receipts: true,
        }
    }
}

/// `GET /users/me`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// One's id.
    pub user_id: UserId,
    /// One's number.
    pub phone_number: PhoneNumber,
    /// One's name; empty until it is set.
    pub display_name: String,
    /// A line about oneself; empty until it is set.
    pub status_message: String,
    /// A link to one's picture.
    pub profile_pic_url: Option<String>,
    /// One's settings.
    pub privacy: Privacy,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// `GET /users/{user_id}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicProfile {
    /// Whose.
    pub user_id: UserId,
    /// The name; empty until it is set.
    pub display_name: String,
    /// A line about the person.
    pub status_message: String,
    /// A link to the picture, where the viewer may see it.
    pub profile_pic_url: Option<String>,
    /// Whether the person is here, where the viewer may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
}

/// Whether a person is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Here or not.
    pub status: PresenceStatus,
    /// When last here; null while online or never seen.
    pub last_seen: Option<Timestamp>,
}

/// `PATCH /users/me`: changes the fields it names, nested ones too. A null clears
/// `profile_pic`; the others cannot be null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePatch {
    /// The name.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub display_name: Option<String>,
    /// A line about oneself.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub status_message: Option<String>,
    /// A link (https) to a picture; null removes it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub profile_pic: Option<Option<String>>,
    /// Settings.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub privacy: Option<PrivacyPatch>,
}

/// The `privacy` of a [`ProfilePatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyPatch {
    /// Who sees when one was last here.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_seen: Option<Audience>,
    /// Who sees one's picture.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub profile_pic: Option<Audience>,
    /// Whether one sends, and gets, read receipts.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub read_receipts: Option<bool>,
}

/// `POST /users/lookup`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupRequest {
    /// Whom to look for.
    pub phone_numbers: Vec<PhoneNumber>,
}

/// 200 of `POST /users/lookup`: those that have an account, in the order asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupReply {
    /// Who was found.
    pub users: Vec<FoundUser>,
}

/// A number that has an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundUser {
    /// The number.
    pub phone_number: PhoneNumber,
    /// Its account.
    pub user_id: UserId,
}

/// `GET /users/me/blocks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// Whom one has blocked, the last one first.
    pub blocks: Vec<BlockView>,
}

/// A user whom one has blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Who.
    pub user_id: UserId,
    /// Since when.
    pub created_at: Timestamp,
}

/// `GET /users/me/devices`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The devices, the last one seen first.
    pub devices: Vec<DeviceView>,
}

/// A signed-in device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Its id.
    pub device_id: DeviceId,
    /// What it calls itself.
    pub device_name: String,
    /// When it last signed in or renewed its token.
    pub last_seen: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}
