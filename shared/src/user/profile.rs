//! The rules of a profile: what may be set, and who sees what.

use crate::limits;
use crate::protocol::input::Fields;
use crate::protocol::problem::Problem;
use crate::protocol::user::{Audience, Presence, Privacy, Profile, ProfilePatch, PublicProfile};

/// What a device is called that did not say.
pub(super) const UNNAMED_DEVICE: &str = "Unnamed device";

/// Checks the name of a device. To be asked before a verification code is spent on a login
/// that would then be refused.
///
/// # Errors
/// `invalid_request` on `device_name`.
pub fn check_device_name(name: Option<&str>) -> Result<(), Problem> {
    let mut fields = Fields::new();
    if let Some(name) = name {
        fields.label("device_name", name, limits::NAME_CHARS);
    }
    fields.finish()
}

/// Checks what a patch sets.
///
/// # Errors
/// `invalid_request` with all the fields that do not fit.
pub fn check_patch(patch: &ProfilePatch) -> Result<(), Problem> {
    let mut fields = Fields::new();
    if let Some(name) = &patch.display_name {
        fields.label("display_name", name, limits::NAME_CHARS);
    }
    if let Some(status) = &patch.status_message {
        fields.text("status_message", status, limits::STATUS_CHARS);
    }
    if let Some(Some(url)) = &patch.profile_pic {
        fields.https_url("profile_pic", url);
    }
    fields.finish()
}

/// The profile with what a valid patch sets.
pub(super) fn patched(mut profile: Profile, patch: ProfilePatch) -> Profile {
    if let Some(name) = patch.display_name {
        profile.display_name = name;
    }
    if let Some(status) = patch.status_message {
        profile.status_message = status;
    }
    if let Some(url) = patch.profile_pic {
        profile.profile_pic_url = url;
    }
    if let Some(privacy) = patch.privacy {
        let before = profile.privacy;
        profile.privacy = Privacy {
            last_seen: privacy.last_seen.unwrap_or(before.last_seen),
            profile_pic: privacy.profile_pic.unwrap_or(before.profile_pic),
            read_receipts: privacy.read_receipts.unwrap_or(before.read_receipts),
        };
    }
    profile
}

/// The profile as another user sees it.
pub(super) fn public(
    profile: Profile,
    shows_picture: bool,
    presence: Option<Presence>,
) -> PublicProfile {
    PublicProfile {
        user_id: profile.user_id,
        display_name: profile.display_name,
        status_message: profile.status_message,
        profile_pic_url: profile.profile_pic_url.filter(|_| shows_picture),
        presence,
    }
}

/// Whether someone of whom it is known whether they are a contact belongs to the audience.
/// `is_contact` is asked only where it matters.
pub(super) fn includes<E>(
    audience: Audience,
    is_contact: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    match audience {
        Audience::Everyone => Ok(true),
        Audience::Contacts => is_contact(),
        Audience::Nobody => Ok(false),
    }
}
