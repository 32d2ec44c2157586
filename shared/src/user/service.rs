//! The rules of a user: sessions, profile, and the conversation list.
//!
//! What always holds: the writes of a request are one transaction; what is asked on a device's
//! behalf is done only while that device is signed in; a user that does not exist stays without
//! tables, whatever is asked.
//!
//! Must not: put a phone number or a token into an error.

use std::collections::BTreeMap;

use super::call::{
    CheckDevice, Deliver, Delivered, GetProfile, ListConversations, ListDevices, Refresh,
    RevokeDevice, SignIn, SignOut, SignedIn, UpdateProfile, UserRequest, ViewProfile,
};
use super::effect::SocketId;
use super::pending::Waiting;
use super::presence::Presence;
use super::profile;
use super::refresh::{RefreshKey, RefreshToken};
use super::schema;
use super::session::Session;
use super::store::Store;
use crate::entropy::Entropy;
use crate::ids::{ConversationId, DeviceId};
use crate::object;
use crate::protocol::conversation::ConversationPage;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::user::{DeviceList, DeviceView, Privacy, Profile, PublicProfile};
use crate::sql::migrations::LazySchema;
use crate::sql::{Sql, SqlError, transact};
use crate::time::Timestamp;

/// One user.
#[derive(Debug)]
pub struct UserService<S: Sql> {
    pub(super) sql: S,
    scope: i64,
    pub(super) schema: LazySchema,
    pub(super) sessions: BTreeMap<SocketId, Session>,
    pub(super) waiting: Waiting,
    pub(super) presence: Presence,
}

fn signed_out() -> ServiceError {
    Problem::unauthenticated("This device is signed out.").into()
}

fn invalid_token() -> ServiceError {
    Problem::unauthenticated("The refresh token is not valid.").into()
}

/// What came of a refresh token.
enum Refreshed {
    Renewed(SignedIn),
    Unknown,
    Reused,
}

impl<S: Sql> UserService<S> {
    /// The user that `scope` of this database holds.
    pub const fn new(sql: S, scope: i64) -> Self {
        Self {
            sql,
            scope,
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
            sessions: BTreeMap::new(),
            waiting: Waiting::new(),
            presence: Presence::new(),
        }
    }

    /// Does what is asked. The answer is the JSON of the call's reply.
    ///
    /// # Errors
    /// As the method of the call.
    pub fn handle(
        &mut self,
        request: UserRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, ServiceError> {
        use UserRequest as Ask;
        match request {
            Ask::SignIn(call) => object::reply_json(&self.sign_in(call, now, entropy)?),
            Ask::Refresh(call) => object::reply_json(&self.refresh(&call, now)?),
            Ask::SignOut(call) => object::reply_json(&self.sign_out(call)?),
            Ask::CheckDevice(call) => object::reply_json(&self.check_device(call)?),
            Ask::ListDevices(call) => object::reply_json(&self.list_devices(call)?),
            Ask::RevokeDevice(call) => object::reply_json(&self.revoke_device(call)?),
            Ask::GetProfile(call) => object::reply_json(&self.get_profile(call)?),
            Ask::UpdateProfile(call) => object::reply_json(&self.update_profile(call)?),
            Ask::ViewProfile(call) => object::reply_json(&self.view_profile(call)?),
            Ask::ListConversations(call) => object::reply_json(&self.list_conversations(&call)?),
            Ask::Signal(_)
            | Ask::MarkRead(_)
            | Ask::MarkDelivered(_)
            | Ask::WatchPresence(_)
            | Ask::UnwatchPresence(_)
            | Ask::PresenceChanged(_) => Err(Problem::unavailable("This is being built.").into()),
            Ask::Deliver(call) => object::reply_json(&self.deliver(&call)?),
        }
    }

    pub(super) const fn store(&self) -> Store<'_> {
        Store {
            sql: &self.sql,
            scope: self.scope,
        }
    }

    /// The tables, while the device is signed in.
    fn store_for(&mut self, device_id: DeviceId) -> Result<Store<'_>, ServiceError> {
        if self.schema.is_there(&self.sql)? && self.store().has_device(device_id)? {
            Ok(self.store())
        } else {
            Err(signed_out())
        }
    }

    /// Signs a new device in, and makes the user where there is none.
    ///
    /// # Errors
    /// `invalid_request` on `device_name`.
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
    /// `unauthenticated`.
    pub fn refresh(&mut self, call: &Refresh, now: Timestamp) -> Result<SignedIn, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Err(invalid_token());
        }
        // A reused token is no error within the transaction, so that its end is committed.
        let refreshed = transact(&self.sql, || self.try_token(&call.token, now))?;
        match refreshed {
            Refreshed::Renewed(signed_in) => Ok(signed_in),
            Refreshed::Unknown => Err(invalid_token()),
            Refreshed::Reused => Err(Problem::unauthenticated(
                "The refresh token was used before; the device is signed out.",
            )
            .into()),
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
    pub fn sign_out(&mut self, call: SignOut) -> Result<(), ServiceError> {
        if self.schema.is_there(&self.sql)? {
            self.store().remove_device(call.device_id)?;
        }
        Ok(())
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
    pub fn revoke_device(&mut self, call: RevokeDevice) -> Result<(), ServiceError> {
        let store = self.store_for(call.device_id)?;
        if store.remove_device(call.revoked)? {
            Ok(())
        } else {
            Err(Problem::not_found("device").into())
        }
    }

    /// One's own profile.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out.
    pub fn get_profile(&mut self, call: GetProfile) -> Result<Profile, ServiceError> {
        let store = self.store_for(call.device_id)?;
        store.profile()?.ok_or_else(signed_out)
    }

    /// Changes one's profile.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request`.
    pub fn update_profile(&mut self, call: UpdateProfile) -> Result<Profile, ServiceError> {
        self.store_for(call.device_id)?;
        profile::check_patch(&call.patch)?;
        transact(&self.sql, || {
            let store = self.store();
            let before = store.profile()?.ok_or_else(signed_out)?;
            let after = profile::patched(before.clone(), call.patch);
            if after != before {
                store.save_profile(&after)?;
            }
            Ok(after)
        })
    }

    /// What another user sees.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn view_profile(&mut self, call: ViewProfile) -> Result<PublicProfile, ServiceError> {
        if !self.schema.is_there(&self.sql)? {
            return Err(Problem::not_found("user").into());
        }
        let store = self.store();
        let profile = store.profile()?.ok_or_else(|| Problem::not_found("user"))?;
        let owner = profile.user_id;
        let shows_picture = call.viewer == owner
            || profile::includes(profile.privacy.profile_pic, || {
                store.has_written_in(ConversationId::direct(owner, call.viewer))
            })?;
        Ok(profile::public(profile, shows_picture))
    }

    /// A page of the conversation list: pinned ones first, then the newest activity first.
    ///
    /// # Errors
    /// `unauthenticated` where the caller's device is signed out; `invalid_request` on `cursor`.
    pub fn list_conversations(
        &mut self,
        call: &ListConversations,
    ) -> Result<ConversationPage, ServiceError> {
        let store = self.store_for(call.device_id)?;
        store.conversations(call.archived, call.cursor.as_deref(), call.limit)
    }

    /// Takes news from a conversation, as far as it is new and follows what is known.
    ///
    /// # Errors
    /// `not_found` where this user does not exist.
    pub fn deliver(&mut self, call: &Deliver) -> Result<Delivered, ServiceError> {
        let head_seq = if self.schema.is_there(&self.sql)? {
            transact(&self.sql, || {
                self.store()
                    .deliver(call.user_id, &call.conversation, &call.events)
            })?
        } else {
            None
        };
        head_seq
            .map(|head_seq| Delivered {
                head_seq,
                position: Default::default(),
                online: false,
            })
            .ok_or_else(|| Problem::not_found("user").into())
    }
}
