//! `/conversations/{conversation_id}` and its members: what changes a group; and what the caller
//! has set for a conversation.

use http::StatusCode;
use parlance_shared::conversation::call::{AddMembers, ChangeRole, Delete, RemoveMember};
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::limits;
use parlance_shared::protocol::conversation::SettingsPatch;
use parlance_shared::protocol::group::{AddMembersRequest, RoleRequest};
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::user::call::{ForgetConversation, UpdateSettings};

use super::Handled;
use super::conversations::{require_admission, unique};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// `DELETE /conversations/{conversation_id}`: ends a group; of one that the caller is no longer a
/// member of, takes it off the caller's list.
pub(crate) async fn delete<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let conversation_id: ConversationId = exchange.id("conversation_id")?;
    let delete = Delete { actor: user_id };
    let deleted = exchange.backend.conversation(conversation_id, delete).await;
    match deleted {
        Err(problem) if problem.code == Code::NotFound => {
            let forget = ForgetConversation {
                device_id,
                conversation_id,
            };
            let forgotten = exchange.backend.user(user_id, forget).await;
            forgotten.map_err(|refused| match refused.code {
                // The list has yet to hear what the conversation says.
                Code::Conflict => problem,
                _ => refused,
            })?;
        }
        outcome => outcome?,
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `POST /conversations/{conversation_id}/members`
pub(crate) async fn add_members<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let AddMembersRequest { user_ids } = exchange.body()?;
    if !(1..=limits::LIST_ITEMS).contains(&user_ids.len()) {
        let message = format!("must have 1 to {} ids", limits::LIST_ITEMS);
        return Err(Problem::invalid_field("user_ids", message));
    }
    let named = unique(&user_ids);
    require_admission(exchange, caller.user_id, "user_ids", &named).await?;
    let add = AddMembers {
        actor: caller.user_id,
        user_ids: named.iter().map(|one| one.user_id).collect(),
    };
    let added = exchange.backend.conversation(id, add).await?;
    answer::json(StatusCode::OK, &added)
}

/// `PATCH /conversations/{conversation_id}/members/{user_id}`
pub(crate) async fn change_role<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let user_id: UserId = exchange.id("user_id")?;
    let RoleRequest { role } = exchange.body()?;
    let change = ChangeRole {
        actor: caller.user_id,
        user_id,
        role,
    };
    let member = exchange.backend.conversation(id, change).await?;
    answer::json(StatusCode::OK, &member)
}

/// `DELETE /conversations/{conversation_id}/members/{user_id}`
pub(crate) async fn remove_member<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let remove = RemoveMember {
        actor: caller.user_id,
        user_id: exchange.id("user_id")?,
    };
    exchange.backend.conversation(id, remove).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `PUT /conversations/{conversation_id}/settings`
pub(crate) async fn update_settings<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Handled {
    let conversation_id: ConversationId = exchange.id("conversation_id")?;
    let patch: SettingsPatch = exchange.body()?;
    let update = UpdateSettings {
        device_id: caller.device_id,
        conversation_id,
        patch,
    };
    let settings = exchange.backend.user(caller.user_id, update).await?;
    answer::json(StatusCode::OK, &settings)
}
