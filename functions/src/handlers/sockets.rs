//! `GET /ws` and `GET /conversations/{conversation_id}/ws`: opening sockets.
//!
//! A refusal is an HTTP problem: a socket is never opened only to be closed.

use http::Method;
use parlance_shared::conversation::call::OpenSocket;
use parlance_shared::ids::ConversationId;
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::user::call::{CheckDevice, OpenSession, Transport};

use crate::authenticate::{Caller, is_upgrade};
use crate::backend::Backend;
use crate::exchange::Exchange;

/// Opens a socket to a conversation. A socket outlives the moment of its token's check by far,
/// so the device is asked for at its user, too.
pub(crate) async fn open_conversation<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Result<B::Upgrade, Problem> {
    let id: ConversationId = exchange.id("conversation_id")?;
    require_upgrade(exchange)?;
    let after_seq = exchange.query().seq("after_seq")?;
    let check = CheckDevice {
        device_id: caller.device_id,
    };
    exchange.backend.user(caller.user_id, check).await?;
    let open = OpenSocket {
        user_id: caller.user_id,
        device_id: caller.device_id,
        expires_at: caller.expires_at,
        after_seq,
        subprotocol: caller.subprotocol,
    };
    exchange.backend.conversation_socket(id, open).await
}

/// Opens a session socket. The user object itself refuses a device that is signed out.
pub(crate) async fn open_session<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Result<B::Upgrade, Problem> {
    require_upgrade(exchange)?;
    let open = OpenSession {
        user_id: caller.user_id,
        device_id: caller.device_id,
        expires_at: caller.expires_at,
        subprotocol: caller.subprotocol,
        transport: Transport::Socket,
    };
    exchange.backend.user_socket(caller.user_id, open).await
}

/// The problem of a platform without sockets.
#[must_use]
pub fn no_sockets() -> Problem {
    Problem::new(
        Code::NotImplemented,
        "This edition has no WebSockets. Receive by GET /api/v1/events (Server-Sent Events) or \
         GET /api/v1/sync (long poll), and send over HTTP.",
    )
}

fn require_upgrade<B: Backend>(exchange: &Exchange<'_, B>) -> Result<(), Problem> {
    if !B::HAS_SOCKETS {
        return Err(no_sockets());
    }
    let request = exchange.request;
    if request.method() == Method::GET && is_upgrade(request.headers()) {
        return Ok(());
    }
    Err(Problem::new(
        Code::UpgradeRequired,
        "Ask for an upgrade: GET with Upgrade: websocket.",
    ))
}
