//! `/users/me/blocks`: whom the caller has blocked.

use http::StatusCode;
use parlance_shared::user::call::{Block, ListBlocks};

use super::Handled;
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// `GET /users/me/blocks`
pub(crate) async fn list<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let blocks = exchange
        .backend
        .user(user_id, ListBlocks { device_id })
        .await?;
    answer::json(StatusCode::OK, &blocks)
}

/// `PUT` and `DELETE /users/me/blocks/{user_id}`
pub(crate) async fn set<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    is_blocked: bool,
) -> Handled {
    let block = Block {
        device_id: caller.device_id,
        user_id: exchange.id("user_id")?,
        is_blocked,
    };
    exchange.backend.user(caller.user_id, block).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
