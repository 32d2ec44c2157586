//! What a user's rules want done. The runtime carries it out after the commit, in order.

use crate::conversation::call::ConversationRequest;
use crate::ids::{ConversationId, UserId};
use crate::protocol::frame::{CloseCode, ServerFrame};
use crate::protocol::problem::Problem;
use crate::sql::SqlError;
use crate::time::Timestamp;
use crate::user::call::UserRequest;

/// A socket of this user, for as long as it is open.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct SocketId(pub u64);

/// A question to another object whose answer is awaited. It is forgotten with the memory of the
/// object: whatever depends on the answer is then asked for again by whoever wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request to this object whose answer had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send these frames to these sockets, in order; several may travel as one batch.
    Send {
        /// To whom.
        to: Vec<SocketId>,
        /// What.
        frames: Vec<ServerFrame>,
    },
    /// Keep this text with the socket, for when the object sleeps.
    Keep {
        /// With which.
        socket: SocketId,
        /// What.
        state: String,
    },
    /// Close the socket.
    Close {
        /// Which.
        socket: SocketId,
        /// Why.
        code: CloseCode,
    },
    /// Ask a conversation; the answer goes to `answered`, where there is a ticket.
    AskConversation {
        /// Which.
        id: ConversationId,
        /// What.
        request: ConversationRequest,
        /// Who waits for the answer.
        ticket: Option<Ticket>,
    },
    /// Ask another user; the answer goes to `answered`, where there is a ticket.
    AskUser {
        /// Whom.
        id: UserId,
        /// What.
        request: UserRequest,
        /// Who waits for the answer.
        ticket: Option<Ticket>,
    },
    /// Answer a request that had to wait. The text is the reply's JSON.
    Answer {
        /// Which.
        request: RequestId,
        /// How.
        answer: Result<String, Problem>,
    },
    /// Storage failed: for the log. The client has been told `internal`.
    Failed(SqlError),
    /// Call `wake` at this time, if the object is still in memory then.
    Wake(Timestamp),
    /// Set the alarm for this time, in the same commit.
    Alarm(Timestamp),
}

/// What is to be done, in order.
pub type Effects = Vec<Effect>;

/// The answer to a request: now, or by an [`Effect::Answer`] later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The reply's JSON.
    Now(String),
    /// A refusal; something may have changed all the same.
    Refused(Problem),
    /// It comes with this name.
    Later(RequestId),
}
