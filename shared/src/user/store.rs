//! The rows of a user's profile and devices.

use super::refresh::RefreshKey;
use crate::ids::{DeviceId, UserId};
use crate::limits;
use crate::params;
use crate::protocol::auth::PhoneNumber;
use crate::protocol::user::{Privacy, Profile};
use crate::sql::{Param, Row, Sql, SqlError, Value};
use crate::time::Timestamp;

/// A signed-in device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub device_id: DeviceId,
    pub name: String,
    pub last_seen: Timestamp,
}

/// What a device's refresh tokens are checked against.
pub(super) struct DeviceTokens {
    pub key: RefreshKey,
    /// The generation of the one token that may be used.
    pub generation: u64,
}

/// The rows of one user.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub sql: &'a dyn Sql,
    pub scope: i64,
}

impl Store<'_> {
    /// The profile, where the user exists.
    pub fn profile(self) -> Result<Option<Profile>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id, phone_number, display_name, status_message, profile_pic_url,
                    privacy, created_at
                 FROM profile WHERE scope = ?",
                params![self.scope],
            )?
            .first()
            .map(read_profile)
            .transpose()
    }

    /// The user's id, where the user exists.
    pub fn user_id(self) -> Result<Option<UserId>, SqlError> {
        self.sql
            .exec(
                "SELECT user_id FROM profile WHERE scope = ?",
                params![self.scope],
            )?
            .scalar()
    }

    /// Stores the profile in the place of what was there. The id, the number and the date of
    /// an existing one stay.
    pub fn save_profile(self, profile: &Profile) -> Result<(), SqlError> {
        let privacy = serde_json::to_string(&profile.privacy)
            .map_err(|error| SqlError::Engine(error.to_string()))?;
        self.sql.exec(
            "INSERT INTO profile (scope, user_id, phone_number, display_name, status_message,
                profile_pic_url, privacy, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (scope) DO UPDATE SET display_name = excluded.display_name,
                status_message = excluded.status_message,
                profile_pic_url = excluded.profile_pic_url, privacy = excluded.privacy",
            params![
                self.scope,
                &profile.user_id,
                profile.phone_number.as_str(),
                &profile.display_name,
                &profile.status_message,
                profile.profile_pic_url.as_ref(),
                &privacy,
                profile.created_at,
            ],
        )?;
        Ok(())
    }

    /// Signs a device in, with the first generation of its tokens. Where there are then too
    /// many, the longest unused others are signed out.
    pub fn add_device(
        self,
        device_id: DeviceId,
        name: &str,
        key: &RefreshKey,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO device (scope, device_id, name, refresh_key, generation, created_at,
                last_seen)
             VALUES (?, ?, ?, ?, 1, ?, ?)",
            params![self.scope, &device_id, name, key.as_slice(), now, now],
        )?;
        let others = i64::try_from(limits::DEVICES).unwrap_or(i64::MAX) - 1;
        self.sql.exec(
            "DELETE FROM device WHERE scope = ? AND device_id IN (
                SELECT device_id FROM device WHERE scope = ? AND device_id <> ?
                ORDER BY last_seen DESC, created_at DESC, device_id LIMIT -1 OFFSET ?)",
            params![self.scope, self.scope, &device_id, others],
        )?;
        Ok(())
    }

    /// Whether the device is signed in: none is of an account that is suspended.
    pub fn has_device(self, device_id: DeviceId) -> Result<bool, SqlError> {
        let found = self.sql.exec(
            "SELECT 1 FROM device d JOIN profile p ON p.scope = d.scope
             WHERE d.scope = ? AND d.device_id = ? AND p.suspended_at IS NULL",
            params![self.scope, &device_id],
        )?;
        Ok(found.first().is_some())
    }

    /// What the device's tokens are checked against, where it is signed in.
    pub fn device_tokens(self, device_id: DeviceId) -> Result<Option<DeviceTokens>, SqlError> {
        let found = self.sql.exec(
            "SELECT refresh_key, generation FROM device WHERE scope = ? AND device_id = ?",
            params![self.scope, &device_id],
        )?;
        let Some(row) = found.first() else {
            return Ok(None);
        };
        let key: Vec<u8> = row.get(0)?;
        Ok(Some(DeviceTokens {
            key: RefreshKey::try_from(key)
                .map_err(|key| SqlError::unexpected("a key of 32 bytes", &Value::Blob(key)))?,
            generation: row.get(1)?,
        }))
    }

    /// Moves the device's tokens on to `generation`.
    pub fn renew_device(
        self,
        device_id: DeviceId,
        generation: u64,
        now: Timestamp,
    ) -> Result<(), SqlError> {
        let generation = i64::try_from(generation)
            .map_err(|_| SqlError::Engine("a device ran out of refresh tokens".to_owned()))?;
        self.sql.exec(
            "UPDATE device SET generation = ?, last_seen = ? WHERE scope = ? AND device_id = ?",
            params![generation, now, self.scope, &device_id],
        )?;
        Ok(())
    }

    /// Signs the device out; says whether it was signed in.
    pub fn remove_device(self, device_id: DeviceId) -> Result<bool, SqlError> {
        let removed = self.sql.exec(
            "DELETE FROM device WHERE scope = ? AND device_id = ? RETURNING 1",
            params![self.scope, &device_id],
        )?;
        Ok(removed.first().is_some())
    }

    /// The signed-in devices, the last one seen first.
    pub fn devices(self) -> Result<Vec<Device>, SqlError> {
        self.sql
            .exec(
                "SELECT device_id, name, last_seen FROM device WHERE scope = ?
                 ORDER BY last_seen DESC, device_id LIMIT ?",
                &[
                    Param::from(self.scope),
                    Param::Integer(i64::try_from(limits::DEVICES).unwrap_or(i64::MAX)),
                ],
            )?
            .rows
            .iter()
            .map(|row| {
                Ok(Device {
                    device_id: row.get(0)?,
                    name: row.get(1)?,
                    last_seen: row.get(2)?,
                })
            })
            .collect()
    }
}

fn read_profile(row: &Row) -> Result<Profile, SqlError> {
    Ok(Profile {
        user_id: row.get(0)?,
        phone_number: read_text(row.get(1)?, "a phone number", |text| {
            text.parse::<PhoneNumber>().ok()
        })?,
        display_name: row.get(2)?,
        status_message: row.get(3)?,
        profile_pic_url: row.get(4)?,
        privacy: read_text(row.get(5)?, "the JSON of privacy settings", |text| {
            serde_json::from_str::<Privacy>(text).ok()
        })?,
        created_at: row.get(6)?,
    })
}

/// Reads a text column as what it stands for; the error does not repeat the text.
pub(super) fn read_text<T>(
    text: String,
    expected: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, SqlError> {
    read(&text).ok_or_else(|| SqlError::unexpected(expected, &Value::Text(text)))
}
