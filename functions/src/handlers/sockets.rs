//! `GET /conversations/{conversation_id}/ws`: opening a socket.
//!
//! A refusal is an HTTP problem: a socket is never opened only to be closed.

use http::Method;
use parlance_shared::conversation::call::OpenSocket;
use parlance_shared::ids::ConversationId;
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::user::call::CheckDevice;

use crate::authenticate::{Caller, is_upgrade};
use crate::backend::Backend;
use crate::exchange::Exchange;

/// Opens a socket to a conversation. A socket outlives the moment of its token's check by far,
/// so the device is asked for at its user, too.
pub(crate) async fn open<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
) -> Result<B::Upgrade, Problem> {
    let id: ConversationId = exchange.id("conversation_id")?;
    let request = exchange.request;
    if request.method() != Method::GET || !is_upgrade(request.headers()) {
        return Err(Problem::new(
            Code::UpgradeRequired,
            "Ask for an upgrade: GET with Upgrade: websocket.",
        ));
    }
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
