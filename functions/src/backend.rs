//! What a handler may ask of the platform.
//!
//! On Cloudflare a call goes to an object's stub; where all objects live in one database it is
//! the service itself, called at once. A handler cannot tell.

use parlance_shared::account::call::{AccountName, AccountObject};
use parlance_shared::conversation::call::{ConversationObject, OpenSocket};
use parlance_shared::entropy::Entropy;
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::object::Call;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::UserObject;

/// The platform, as handlers see it.
///
/// Every call gives the object's reply, or the problem to tell the client: the object's own
/// refusal, or `unavailable` where the object did not answer.
#[allow(async_fn_in_trait)] // One thread at the edge: the futures need not be Send.
pub trait Backend {
    /// An accepted socket, as the platform hands it back to the client.
    type Upgrade;

    /// Asks an account object.
    async fn account<C: Call<AccountObject>>(
        &self,
        name: &AccountName,
        call: C,
    ) -> Result<C::Reply, Problem>;

    /// Asks a user object.
    async fn user<C: Call<UserObject>>(&self, id: UserId, call: C) -> Result<C::Reply, Problem>;

    /// Asks a conversation object.
    async fn conversation<C: Call<ConversationObject>>(
        &self,
        id: ConversationId,
        call: C,
    ) -> Result<C::Reply, Problem>;

    /// Opens a socket at a conversation object.
    async fn conversation_socket(
        &self,
        id: ConversationId,
        open: OpenSocket,
    ) -> Result<Self::Upgrade, Problem>;

    /// Sends a request to another service on the internet.
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError>;

    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The platform's random numbers.
    fn entropy(&self) -> &dyn Entropy;

    /// Writes one line of the log.
    fn log(&self, line: &str);
}

/// A request to another service did not get an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct SendError(pub String);
