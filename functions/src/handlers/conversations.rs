//! `/conversations` and `/conversations/{conversation_id}`, but for messages and sockets.
//!
//! A direct conversation has no name or picture of its own: its other member's are filled in
//! here, from that member's profile as the caller may see it.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use parlance_shared::conversation::call::{
    Create, CreateKind, GetConversation, ListMembers, UpdateConversation,
};
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::limits;
use parlance_shared::protocol::conversation::{
    ConversationCreated, ConversationItem, ConversationType, ConversationView, CreateConversation,
};
use parlance_shared::protocol::group::ConversationPatch;
use parlance_shared::protocol::input::Fields;
use parlance_shared::protocol::problem::{Code, FieldError, Problem};
use parlance_shared::user::call::{ListConversations, ViewProfile};

use super::{Handled, WAVE};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;

/// `GET /conversations`
pub(crate) async fn list<B: Backend>(
    exchange: &Exchange<'_, B>,
    Caller {
        user_id, device_id, ..
    }: Caller,
) -> Handled {
    let query = exchange.query();
    let list = ListConversations {
        device_id,
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::CONVERSATIONS_PAGE)?,
        archived: query.flag("archived")?,
    };
    let mut page = exchange.backend.user(user_id, list).await?;
    page.conversations = stream::iter(page.conversations)
        .map(|item| with_peer(exchange, user_id, item))
        .buffered(WAVE)
        .collect()
        .await;
    answer::json(StatusCode::OK, &page)
}

async fn with_peer<B: Backend>(
    exchange: &Exchange<'_, B>,
    viewer: UserId,
    mut item: ConversationItem,
) -> ConversationItem {
    if let (ConversationType::Direct, Some(peer)) = (item.kind, item.peer_id) {
        (item.name, item.avatar_url) = face(exchange, viewer, peer).await;
    }
    item
}

/// The name and picture of a direct conversation. A peer that cannot be read has neither: a list
/// without one name is worth more than none.
async fn face<B: Backend>(
    exchange: &Exchange<'_, B>,
    viewer: UserId,
    peer: UserId,
) -> (Option<String>, Option<String>) {
    match exchange.backend.user(peer, ViewProfile { viewer }).await {
        Ok(profile) => (
            Some(profile.display_name).filter(|name| !name.is_empty()),
            profile.profile_pic_url,
        ),
        Err(problem) => {
            if problem.code != Code::NotFound {
                exchange.log_failure("peer_not_read", problem.code.as_str());
            }
            (None, None)
        }
    }
}

/// `GET /conversations/{conversation_id}`
pub(crate) async fn get<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let get = GetConversation {
        actor: caller.user_id,
    };
    let view = exchange.backend.conversation(id, get).await?;
    show(exchange, caller, view).await
}

async fn show<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    mut view: ConversationView,
) -> Handled {
    if let (ConversationType::Direct, Some(peer)) = (view.kind, view.peer_id) {
        (view.name, view.avatar_url) = face(exchange, caller.user_id, peer).await;
    }
    answer::json(StatusCode::OK, &view)
}

/// `PATCH /conversations/{conversation_id}`
pub(crate) async fn update<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let patch: ConversationPatch = exchange.body()?;
    patch.validate()?;
    let update = UpdateConversation {
        actor: caller.user_id,
        patch,
    };
    let view = exchange.backend.conversation(id, update).await?;
    show(exchange, caller, view).await
}

/// `GET /conversations/{conversation_id}/members`
pub(crate) async fn list_members<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Handled {
    let id: ConversationId = exchange.id("conversation_id")?;
    let query = exchange.query();
    let list = ListMembers {
        actor: caller.user_id,
        cursor: query.text("cursor")?.map(str::to_owned),
        limit: query.limit(limits::MEMBERS_PAGE)?,
    };
    let page = exchange.backend.conversation(id, list).await?;
    answer::json(StatusCode::OK, &page)
}

/// A member that a body names, and where in `member_ids` it does so first.
#[derive(Debug, Clone, Copy)]
struct Named {
    position: usize,
    user_id: UserId,
}

/// `POST /conversations`
pub(crate) async fn create<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let body: CreateConversation = exchange.body()?;
    let creator = caller.user_id;
    let members = others(&body.member_ids, creator);
    check(&body, &members)?;
    require_users(exchange, creator, &members).await?;
    let (conversation_id, kind) = match (body.kind, members.as_slice()) {
        (ConversationType::Direct, [Named { user_id: peer, .. }]) => (
            ConversationId::direct(creator, *peer),
            CreateKind::Direct { peer: *peer },
        ),
        _ => (
            ConversationId::random(exchange.backend.entropy()),
            CreateKind::Group {
                name: body.name,
                description: body.description,
                members: members.iter().map(|named| named.user_id).collect(),
            },
        ),
    };
    let create = Create {
        conversation_id,
        creator,
        kind,
        encrypted: body.encrypted,
    };
    let created = exchange
        .backend
        .conversation(conversation_id, create)
        .await?;
    let status = if created.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answer::json(status, &ConversationCreated { conversation_id })
}

/// The members that a body names beside the caller, each once.
fn others(member_ids: &[UserId], caller: UserId) -> Vec<Named> {
    let mut seen = HashSet::from([caller]);
    member_ids
        .iter()
        .enumerate()
        .filter(|(_, user_id)| seen.insert(**user_id))
        .map(|(position, user_id)| Named {
            position,
            user_id: *user_id,
        })
        .collect()
}

/// Checks what can be checked without a call.
fn check(body: &CreateConversation, members: &[Named]) -> Result<(), Problem> {
    let mut fields = Fields::new();
    match body.kind {
        ConversationType::Direct => {
            fields.require(
                members.len() == 1,
                "member_ids",
                "must name exactly one other user",
            );
        }
        ConversationType::Group => {
            fields.require(
                members.len() < limits::GROUP_MEMBERS,
                "member_ids",
                format!(
                    "must leave the group at most {} members",
                    limits::GROUP_MEMBERS
                ),
            );
            if let Some(name) = &body.name {
                fields.label("name", name, limits::NAME_CHARS);
            }
            if let Some(description) = &body.description {
                fields.text("description", description, limits::DESCRIPTION_CHARS);
            }
        }
    }
    fields.finish()
}

/// Checks that all members are users, in bounded waves.
async fn require_users<B: Backend>(
    exchange: &Exchange<'_, B>,
    viewer: UserId,
    members: &[Named],
) -> Result<(), Problem> {
    let mut checks = stream::iter(members)
        .map(|named| async move {
            let view = ViewProfile { viewer };
            (
                named.position,
                exchange.backend.user(named.user_id, view).await,
            )
        })
        .buffered(WAVE);
    let mut errors = Vec::new();
    while let Some((position, checked)) = checks.next().await {
        match checked {
            Ok(_) => {}
            Err(problem) if problem.code == Code::NotFound => errors.push(FieldError {
                field: format!("member_ids[{position}]"),
                message: "is not a user".to_owned(),
            }),
            Err(problem) => return Err(problem),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem {
            errors,
            ..Problem::not_found("user")
        })
    }
}
