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
use parlance_shared::user::call::{AdmitTo, ListConversations, ViewProfile};

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

/// A user that a list of a body names, and where it does so first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    position: usize,
    pub user_id: UserId,
}

/// `POST /conversations`
pub(crate) async fn create<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let body: CreateConversation = exchange.body()?;
    let creator = caller.user_id;
    let mut members = unique(&body.member_ids);
    members.retain(|named| named.user_id != creator);
    check(&body, &members)?;
    match body.kind {
        ConversationType::Direct => require_users(exchange, creator, &members).await?,
        ConversationType::Group => {
            require_admission(exchange, creator, "member_ids", &members).await?;
        }
    }
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

/// The users that a list names, each once.
pub(super) fn unique(user_ids: &[UserId]) -> Vec<Named> {
    let mut seen = HashSet::new();
    user_ids
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

/// Checks that all are users, in bounded waves.
async fn require_users<B: Backend>(
    exchange: &Exchange<'_, B>,
    viewer: UserId,
    members: &[Named],
) -> Result<(), Problem> {
    require(members, "member_ids", async |user_id| {
        let view = ViewProfile { viewer };
        exchange.backend.user(user_id, view).await.map(|_| ())
    })
    .await
}

/// Checks that all are users who let `adder` add them, in bounded waves.
pub(super) async fn require_admission<B: Backend>(
    exchange: &Exchange<'_, B>,
    adder: UserId,
    field: &str,
    members: &[Named],
) -> Result<(), Problem> {
    require(members, field, async |user_id| {
        exchange.backend.user(user_id, AdmitTo { adder }).await
    })
    .await
}

/// Checks each, and says of all whom it is refused for in the list `field`: those who are no users
/// before those who may not be added.
async fn require(
    members: &[Named],
    field: &str,
    check: impl AsyncFn(UserId) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let check = &check;
    let mut checks = stream::iter(members)
        .map(|named| async move { (named.position, check(named.user_id).await) })
        .buffered(WAVE);
    let mut missing = Vec::new();
    let mut forbidden = Vec::new();
    while let Some((position, checked)) = checks.next().await {
        let error = |message: &str| FieldError {
            field: format!("{field}[{position}]"),
            message: message.to_owned(),
        };
        match checked {
            Ok(()) => {}
            Err(problem) if problem.code == Code::NotFound => {
                missing.push(error("is not a user"));
            }
            Err(problem) if problem.code == Code::Forbidden => {
                forbidden.push(error("may not be added by you"));
            }
            Err(problem) => return Err(problem),
        }
    }
    if !missing.is_empty() {
        return Err(Problem {
            errors: missing,
            ..Problem::not_found("user")
        });
    }
    if !forbidden.is_empty() {
        let detail = "Some of these users may not be added by you.";
        return Err(Problem {
            errors: forbidden,
            ..Problem::new(Code::Forbidden, detail)
        });
    }
    Ok(())
}
