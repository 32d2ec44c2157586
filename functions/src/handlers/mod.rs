//! A handler for each endpoint, one module per resource.
//!
//! A handler reads the request, checks all that can be checked without a call, asks objects, and
//! writes the answer. It must not hold a rule of chat: those are the objects'.

pub mod acts;
pub mod auth;
pub mod blocks;
pub mod conversations;
pub mod events;
pub mod forward;
pub mod groups;
pub mod health;
pub mod media;
pub mod messages;
pub mod metrics;
pub mod moderation;
pub mod scheduled;
pub mod sockets;
pub mod sync;
pub mod users;

use http::Response;
use parlance_shared::media::errand::Which;
use parlance_shared::protocol::problem::Problem;

use crate::Reply;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::exchange::Exchange;
use crate::router::{Private, Public};

/// What comes of a handler that opens no socket.
type Handled = Result<Response<Vec<u8>>, Problem>;

/// Calls at once to objects, where a request needs many.
const WAVE: usize = 64;

/// Handles what anyone may ask.
pub(crate) async fn public<B: Backend>(exchange: &Exchange<'_, B>, endpoint: Public) -> Handled {
    match endpoint {
        Public::Health => health::report(),
        Public::KeySet => auth::key_set(exchange),
        Public::RequestCode => auth::request_code(exchange).await,
        Public::Login => auth::login(exchange).await,
        Public::Refresh => auth::refresh(exchange).await,
    }
}

/// Handles what a caller with a token may ask.
pub(crate) async fn private<B: Backend>(
    exchange: &Exchange<'_, B>,
    endpoint: Private,
    caller: Caller,
) -> Result<Reply<B::Upgrade>, Problem> {
    let handled = match endpoint {
        Private::ConversationSocket => {
            return sockets::open_conversation(exchange, caller)
                .await
                .map(Reply::Upgraded);
        }
        Private::SessionSocket => {
            return sockets::open_session(exchange, caller)
                .await
                .map(Reply::Upgraded);
        }
        Private::StreamFrames => return events::stream(exchange, caller).await,
        Private::PollFrames => sync::poll(exchange, caller).await,
        Private::Logout => auth::logout(exchange, caller).await,
        Private::GetProfile => users::get_profile(exchange, caller).await,
        Private::UpdateProfile => users::update_profile(exchange, caller).await,
        Private::ViewProfile => users::view_profile(exchange, caller).await,
        Private::LookUp => users::look_up(exchange).await,
        Private::ListDevices => users::list_devices(exchange, caller).await,
        Private::RevokeDevice => users::revoke_device(exchange, caller).await,
        Private::ListConversations => conversations::list(exchange, caller).await,
        Private::CreateConversation => conversations::create(exchange, caller).await,
        Private::GetConversation => conversations::get(exchange, caller).await,
        Private::UpdateConversation => conversations::update(exchange, caller).await,
        Private::DeleteConversation => groups::delete(exchange, caller).await,
        Private::AddMembers => groups::add_members(exchange, caller).await,
        Private::ChangeRole => groups::change_role(exchange, caller).await,
        Private::RemoveMember => groups::remove_member(exchange, caller).await,
        Private::UpdateSettings => groups::update_settings(exchange, caller).await,
        Private::ListBlocks => blocks::list(exchange, caller).await,
        Private::Block => blocks::set(exchange, caller, true).await,
        Private::Unblock => blocks::set(exchange, caller, false).await,
        Private::Report => moderation::report(exchange, caller).await,
        Private::ListMembers => conversations::list_members(exchange, caller).await,
        Private::ListMessages => messages::list(exchange, caller).await,
        Private::SendMessage => messages::send(exchange, caller).await,
        Private::ListEvents => messages::list_events(exchange, caller).await,
        Private::MarkRead => messages::mark_read(exchange, caller).await,
        Private::GetMessageInfo => messages::info(exchange, caller).await,
        Private::GetMessage => acts::get(exchange, caller).await,
        Private::EditMessage => acts::edit(exchange, caller).await,
        Private::DeleteMessage => acts::delete(exchange, caller).await,
        Private::React => acts::react(exchange, caller, false).await,
        Private::RemoveReaction => acts::react(exchange, caller, true).await,
        Private::ListPins => acts::list_pins(exchange, caller).await,
        Private::Pin => acts::pin(exchange, caller, false).await,
        Private::Unpin => acts::pin(exchange, caller, true).await,
        Private::Vote => acts::vote(exchange, caller).await,
        Private::ClosePoll => acts::close_poll(exchange, caller).await,
        Private::ListThread => acts::list_thread(exchange, caller).await,
        Private::Forward => forward::forward(exchange, caller).await,
        Private::ListScheduled => scheduled::list(exchange, caller).await,
        Private::CancelScheduled => scheduled::cancel(exchange, caller).await,
        Private::UploadMedia => media::upload(exchange, caller).await,
        Private::GetMedia => media::get(exchange, caller, Which::Original).await,
        Private::GetMediaThumbnail => media::get(exchange, caller, Which::Thumbnail).await,
        Private::GetMediaInfo => media::info(exchange, caller).await,
        Private::SignMediaParts => media::sign_parts(exchange, caller).await,
        Private::CompleteMedia => media::complete(exchange, caller).await,
        Private::DeleteMedia => media::delete(exchange, caller).await,
    };
    handled.map(Reply::Http)
}
