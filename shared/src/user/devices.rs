//! Devices: signing in and out, and the tokens by which a device stays signed in.

use super::call::{CheckDevice, ListDevices, Refresh, RevokeDevice, SignIn, SignOut, SignedIn};
use super::effect::Effects;
use super::profile;
use super::refresh::{RefreshKey, RefreshToken};
use super::service::UserService;
use crate::entropy::Entropy;
use crate::ids::DeviceId;
use crate::protocol::frame::CloseCode;
use crate::protocol::problem::{Code, Problem, ServiceError};
use crate::protocol::user::{DeviceList, DeviceView, Privacy, Profile};
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

fn invalid_token() -> ServiceError {
    Problem::unauthenticated("The refresh token is not valid.").into()
}

fn suspended() -> ServiceError {
    Problem::new(Code::Forbidden, "This account is suspended.").into()
}

/// What came of a refresh token.
enum Refreshed {
    Renewed(SignedIn),
    Unknown,
    Reused,
}

impl<S: Sql> UserService<S> {
    /// Signs a new device in, and makes the user where there is none.
    ///
    /// # Errors
    /// `invalid_request` on `device_name`; `forbidden` where the account is suspended.
    pub fn sign_in(
        &mut self,
        call: SignIn,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<SignedIn, ServiceError> {
        profile::check_device_name(call.device_name.as_deref())?;
        self.schema.make(&self.sql)?;
        transact(&self.sql, || {
            let store = self.store();
            let existing = store.user_id()?;
            if existing.is_some_and(|user_id| user_id != call.user_id) {
                let error = "the scope belongs to another user".to_owned();
                return Err(SqlError::Engine(error).into());
            }
            if store.is_suspended()? {
                return Err(suspended());
            }
            if existing.is_none() {
                store.save_profile(&Profile {
                    user_id: call.user_id,
                    phone_number: call.phone_number,
                    display_name: String::new(),
                    status_message: String::new(),
                    profile_pic_url: None,
                    privacy: Privacy::default(),
                    created_at: now,
                })?;
            }
            let device_id = DeviceId::random(entropy);
            let key: RefreshKey = entropy.bytes();
            let name = call
                .device_name
                .as_deref()
                .unwrap_or(profile::UNNAMED_DEVICE);
            store.add_device(device_id, name, &key, now)?;
            Ok(SignedIn {
                user_id: call.user_id,
                device_id,
                refresh_token: RefreshToken::new(call.user_id, device_id, 1, &key).to_string(),
                is_new_user: existing.is_none(),
            })
        })
    }

    /// Exchanges a refresh token for the next. A used one signs the device out: whoever has it
    /// beside the device stole it, or the device's newer one was stolen.
    ///
    /// # Errors
    /// `unauthenticated`; `forbidden` where the account is suspended.
    pub fn refresh(
        &mut self,
        call: &Refresh,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<SignedIn, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Err(invalid_token());
        }
        // A reused token is no error within the transaction, so that its end is committed.
        let refreshed = transact(&self.sql, || self.try_token(&call.token, now))?;
        match refreshed {
            Refreshed::Renewed(signed_in) => Ok(signed_in),
            Refreshed::Unknown => Err(invalid_token()),
            Refreshed::Reused => {
                self.end_sessions_of(call.token.device_id, now, effects);
                let detail = "The refresh token was used before; the device is signed out.";
                Err(Problem::unauthenticated(detail).into())
            }
        }
    }

    fn try_token(&self, token: &RefreshToken, now: Timestamp) -> Result<Refreshed, ServiceError> {
        let store = self.store();
        if store.user_id()? != Some(token.user_id) {
            return Ok(Refreshed::Unknown);
        }
        let Some(tokens) = store.device_tokens(token.device_id)? else {
            return Ok(Refreshed::Unknown);
        };
        if !token.proves(&tokens.key) || token.generation > tokens.generation {
            return Ok(Refreshed::Unknown);
        }
        if store.is_suspended()? {
            return Err(suspended());
        }
        if token.generation < tokens.generation {
            store.remove_device(token.device_id)?;
            return Ok(Refreshed::Reused);
        }
        let generation = tokens.generation.saturating_add(1);
        store.renew_device(token.device_id, generation, now)?;
        let next = RefreshToken::new(token.user_id, token.device_id, generation, &tokens.key);
        Ok(Refreshed::Renewed(SignedIn {
            user_id: token.user_id,
            device_id: token.device_id,
            refresh_token: next.to_string(),
            is_new_user: false,
        }))
    }

    /// Signs the device out, if it is not.
    ///
    /// # Errors
    /// When storage fails.
    pub fn sign_out(
        &mut self,
        call: SignOut,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        if self.schema.is_there(&self.sql)? {
            self.store().remove_device(call.device_id)?;
            self.end_sessions_of(call.device_id, now, effects);
        }
        Ok(())
    }

    /// Ends the sessions of a device that is no longer signed in.
    fn end_sessions_of(&mut self, device_id: DeviceId, now: Timestamp, effects: &mut Effects) {
        for socket in self.sessions_of(device_id) {
            self.end_session(socket, CloseCode::TokenExpired, now, effects);
        }
    }

    /// Is the device signed in?
    ///
    /// # Errors
    /// `unauthenticated` where it is not.
    pub fn check_device(&mut self, call: CheckDevice) -> Result<(), ServiceError> {
        self.store_for(call.device_id).map(|_| ())
    }

    /// The devices, the last one seen first.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's is signed out.
    pub fn list_devices(&mut self, call: ListDevices) -> Result<DeviceList, ServiceError> {
        let devices = self.store_for(call.device_id)?.devices()?;
        Ok(DeviceList {
            devices: devices
                .into_iter()
                .map(|device| DeviceView {
                    current: device.device_id == call.device_id,
                    device_id: device.device_id,
                    device_name: device.name,
                    last_seen: device.last_seen,
                })
                .collect(),
        })
    }

    /// Signs one of the caller's devices out.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's is signed out; `not_found` where the other is.
    pub fn revoke_device(
        &mut self,
        call: RevokeDevice,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let store = self.store_for(call.device_id)?;
        if !store.remove_device(call.revoked)? {
            return Err(Problem::not_found("device").into());
        }
        self.end_sessions_of(call.revoked, now, effects);
        Ok(())
    }
}
