//! What a handler may ask of the platform.
//!
//! On Cloudflare a call goes to an object's stub; where all objects live in one database it is
//! the service itself, called at once. A handler cannot tell.

use std::time::Duration;

use parlance_shared::account::call::{AccountName, AccountObject};
use parlance_shared::conversation::call::{ConversationObject, OpenSocket};
use parlance_shared::entropy::Entropy;
use parlance_shared::ids::{ConversationId, MediaId, UserId};
use parlance_shared::limiter::{LimiterName, LimiterObject};
use parlance_shared::media::call::MediaObject;
use parlance_shared::moderation::call::ModerationObject;
use parlance_shared::object::Call;
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserObject};

/// The platform, as handlers see it.
///
/// Every call gives the object's reply, or the problem to tell the client: the object's own
/// refusal, or `unavailable` where the object did not answer.
#[allow(async_fn_in_trait)] // One thread at the edge: the futures need not be Send.
pub trait Backend {
    /// An accepted socket, as the platform hands it back to the client.
    type Upgrade;
    /// Whether this platform has sockets. Where it has none, none of the two methods that open
    /// one is called.
    const HAS_SOCKETS: bool = true;
    /// Whether this platform has a bucket, for which it answers the addresses of
    /// [`local_media`](crate::local_media).
    const HAS_BUCKET: bool = false;
    /// A session that the edge itself holds.
    type Session: Session + 'static;

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

    /// Asks a limiter object.
    async fn limiter<C: Call<LimiterObject>>(
        &self,
        name: &LimiterName,
        call: C,
    ) -> Result<C::Reply, Problem>;

    /// Asks the moderation object.
    async fn moderation<C: Call<ModerationObject>>(&self, call: C) -> Result<C::Reply, Problem>;

    /// Asks a medium's object.
    async fn media<C: Call<MediaObject>>(&self, id: MediaId, call: C) -> Result<C::Reply, Problem>;

    /// Counts a request by the platform's own counter, where it has one: whether it is within
    /// [`REQUESTS_PER_MINUTE`](parlance_shared::limits::REQUESTS_PER_MINUTE).
    async fn count_request(&self, name: &LimiterName) -> Option<bool>;

    /// Opens a socket at a conversation object.
    async fn conversation_socket(
        &self,
        id: ConversationId,
        open: OpenSocket,
    ) -> Result<Self::Upgrade, Problem>;

    /// Opens a session socket at a user object, for the client.
    async fn user_socket(&self, id: UserId, open: OpenSession) -> Result<Self::Upgrade, Problem>;

    /// Opens a session socket at a user object, for the edge itself to translate.
    async fn session(&self, id: UserId, open: OpenSession) -> Result<Self::Session, Problem>;

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

    /// What was counted where this runs, in the text format of Prometheus; `None` where nothing
    /// is.
    fn metrics(&self) -> Option<String>;
}

/// A session socket that the edge itself holds. Dropping it closes it.
#[allow(async_fn_in_trait)] // As for `Backend`.
pub trait Session {
    /// What comes next, waiting for it as long as `wait` and no longer. What has come already is
    /// given at once. After [`Incoming::Closed`] it is that for good.
    async fn next(&mut self, wait: Duration) -> Incoming;

    /// Sends a text frame. On a closed session it is lost, and `next` tells of the end.
    fn send(&mut self, text: &str);

    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// What comes over a [`Session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text frame.
    Frame(String),
    /// The session has ended, with this close code (RFC 6455, section 7.4).
    Closed(u16),
    /// Nothing has come in the time.
    Nothing,
}

/// A request to another service did not get an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct SendError(pub String);
