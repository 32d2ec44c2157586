//! `/users/*`: profiles, finding people, devices.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use parlance_shared::account::call::FindUser;
use parlance_shared::limits;
use parlance_shared::protocol::auth::PhoneNumber;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::protocol::user::{FoundUser, LookupReply, LookupRequest, ProfilePatch};
use parlance_shared::user::call::{
    GetProfile, ListDevices, RevokeDevice, UpdateProfile, ViewProfile,
};

use super::{Handled, WAVE};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// `GET /users/me`
pub(crate) async fn get_profile<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let profile = exchange
        .backend
        .user(user_id, GetProfile { device_id })
        .await?;
    answer::json(StatusCode::OK, &profile)
}

/// `PATCH /users/me`
pub(crate) async fn update_profile<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let patch: ProfilePatch = exchange.body()?;
    let update = UpdateProfile { device_id, patch };
    let profile = exchange.backend.user(user_id, update).await?;
    answer::json(StatusCode::OK, &profile)
}

/// `GET /users/{user_id}`
pub(crate) async fn view_profile<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Handled {
    let view = ViewProfile {
        viewer: caller.user_id,
    };
    let profile = exchange.backend.user(exchange.id("user_id")?, view).await?;
    answer::json(StatusCode::OK, &profile)
}

/// `POST /users/lookup`: those numbers that have an account, each once, in the order asked.
pub(crate) async fn look_up<B: Backend>(exchange: &Exchange<'_, B>) -> Handled {
    let LookupRequest { mut phone_numbers } = exchange.body()?;
    if phone_numbers.len() > limits::LIST_ITEMS {
        return Err(Problem::invalid_field(
            "phone_numbers",
            format!("must have at most {} numbers", limits::LIST_ITEMS),
        ));
    }
    let mut seen = HashSet::new();
    phone_numbers.retain(|number| seen.insert(number.clone()));
    let found: Vec<Option<FoundUser>> = stream::iter(phone_numbers)
        .map(|number| find(exchange, number))
        .buffered(WAVE)
        .try_collect()
        .await?;
    let users = found.into_iter().flatten().collect();
    answer::json(StatusCode::OK, &LookupReply { users })
}

async fn find<B: Backend>(
    exchange: &Exchange<'_, B>,
    phone_number: PhoneNumber,
) -> Result<Option<FoundUser>, Problem> {
    let account = exchange.config.phone_hash_key.account(&phone_number);
    let user_id = exchange.backend.account(&account, FindUser {}).await?;
    Ok(user_id.map(|user_id| FoundUser {
        phone_number,
        user_id,
    }))
}

/// `GET /users/me/devices`
pub(crate) async fn list_devices<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let devices = exchange
        .backend
        .user(user_id, ListDevices { device_id })
        .await?;
    answer::json(StatusCode::OK, &devices)
}

/// `DELETE /users/me/devices/{device_id}`
pub(crate) async fn revoke_device<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let revoke = RevokeDevice {
        device_id,
        revoked: exchange.id("device_id")?,
    };
    exchange.backend.user(user_id, revoke).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
