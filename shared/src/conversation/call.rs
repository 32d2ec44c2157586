//! What a conversation object can be asked.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, DeviceId, MessageId, ScheduledId, UserId};
use crate::object::{Answer, ObjectClass, requests};
use crate::protocol::act::{Act, PinList, Scheduled, ScheduledList, ThreadPage};
use crate::protocol::conversation::{ConversationView, LastMessage, MemberPage, MemberView, Role};
use crate::protocol::event::{Event, EventPage};
use crate::protocol::frame::ServerFrame;
use crate::protocol::group::{ConversationPatch, MembersAdded};
use crate::protocol::message::{
    ForwardedFrom, Message, MessageAck, MessageInfo, MessagePage, NewMessage,
};
use crate::protocol::moderation::ReportedMessage;
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// The class of conversation objects, one per conversation.
#[derive(Debug)]
pub struct ConversationObject;

impl ObjectClass for ConversationObject {
    const BINDING: &'static str = "CONVERSATION";
    type Name = ConversationId;
    type Request = ConversationRequest;

    fn object_name(name: &ConversationId) -> String {
        name.to_string()
    }
}

requests! {
    /// All that a conversation object can be asked.
    ConversationRequest of ConversationObject {
        /// Make it.
        Create => Created,
        /// Describe it.
        GetConversation => ConversationView,
        /// List its members.
        ListMembers => MemberPage,
        /// Send a message.
        Send => MessageAck,
        /// Page through its messages.
        ListMessages => MessagePage,
        /// Page through its events.
        ListEvents => EventPage,
        /// Send several messages.
        SendMany => Vec<Answer<MessageAck>>,
        /// Note how far a member's devices and eyes have come.
        MarkPosition => (),
        /// Deliver to a member without delay.
        DeliverNow => (),
        /// Count what a member has not read.
        CountUnread => u64,
        /// Who has received and read a message.
        GetMessageInfo => MessageInfo,
        /// Someone is writing, or has stopped.
        SignalTyping => (),
        /// Change how it is called and looks, or how long it keeps messages.
        UpdateConversation => ConversationView,
        /// Do something with a message.
        ActOn => Acted,
        /// Read one message.
        GetMessage => Message,
        /// Page through a thread.
        ListThread => ThreadPage,
        /// List what is pinned.
        ListPins => PinList,
        /// Delete a message for oneself.
        Hide => Hidden,
        /// Send a message later.
        Schedule => Sent,
        /// List what one has scheduled.
        ListScheduled => ScheduledList,
        /// Do not send it after all.
        CancelScheduled => (),
        /// Let others in.
        AddMembers => MembersAdded,
        /// Give a member another role.
        ChangeRole => MemberView,
        /// Remove a member, or leave.
        RemoveMember => (),
        /// End the group.
        Delete => (),
        /// One of the two has blocked the other, or no longer does.
        SetBlock => (),
        /// A member's account is suspended, or no longer.
        SetSuspended => (),
        /// A message's copy for moderators.
        CopyMessage => ReportedMessage,
    }
}

impl ConversationRequest {
    /// The device whose messages the request counts among.
    pub(super) const fn device_id(&self) -> Option<DeviceId> {
        match self {
            Self::Send(call) => Some(call.device_id),
            Self::Schedule(call) => call.device_id,
            _ => None,
        }
    }
}

/// Makes the conversation. Its members' user objects are known to exist. A direct conversation
/// that exists is left as it is; a group that exists is a `conflict`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// The object's own id.
    pub conversation_id: ConversationId,
    /// Who makes it; a group's owner.
    pub creator: UserId,
    /// What it is to be.
    pub kind: CreateKind,
    /// Whether only ciphertext may be sent.
    pub encrypted: bool,
}

/// What a new conversation is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateKind {
    /// Between the creator and one other.
    Direct {
        /// The other.
        peer: UserId,
    },
    /// A group.
    Group {
        /// Its name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The members beside the creator, each once.
        members: Vec<UserId>,
    },
}

/// The conversation is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Whether it was made now.
    pub created: bool,
}

/// Describes the conversation to a member. The name and picture of a direct conversation are
/// left null: they are the other user's, and the edge fills them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetConversation {
    /// Who asks.
    pub actor: UserId,
}

/// Lists the members to a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMembers {
    /// Who asks.
    pub actor: UserId,
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
}

/// Sends a message. One with a `client_msg_id` that its sender has used here before is not
/// stored again: the answer is the first one's, marked as a duplicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Who sends.
    pub actor: UserId,
    /// From which device.
    pub device_id: DeviceId,
    /// What; validated by the service.
    pub message: NewMessage,
    /// Where it comes from, where it is forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<ForwardedFrom>,
}

/// Pages through the messages, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMessages {
    /// Who asks.
    pub actor: UserId,
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
}

/// Pages through the events, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEvents {
    /// Who asks.
    pub actor: UserId,
    /// The page begins with the event after this one.
    pub after_seq: Seq,
    /// How many, already within the limit.
    pub limit: u32,
}

/// Sends several messages of one sender, in order. Each has an answer of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMany {
    /// Who sends.
    pub actor: UserId,
    /// What, in order; each validated by the service.
    pub messages: Vec<NewMessage>,
}

/// Notes how far a member has come. Positions never go backwards, and what is read has been
/// delivered. What lies beyond the head counts as the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkPosition {
    /// Whose.
    pub user_id: UserId,
    /// How far.
    pub position: MemberPosition,
}

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemberPosition {
    /// The last event that one of the member's devices has acknowledged.
    pub delivered_seq: Seq,
    /// The last event that the member has read.
    pub read_seq: Seq,
    /// Whether the member sends, and gets, read receipts.
    pub read_receipts: bool,
}

/// A member speaks of an event that its user object has not been given: it is delivered without
/// delay. Refused with `not_found` for those who are not members, and with `invalid_request`
/// where there is no such event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverNow {
    /// Whose user object asks.
    pub user_id: UserId,
    /// The last event that it has; none where it does not know of the conversation.
    pub has: Option<Seq>,
    /// The event that it lacks.
    pub up_to_seq: Seq,
}

/// Counts the messages of others after `after_seq` up to `up_to_seq` that `actor` may read, as one
/// who knows of no later event: those that were deleted for everyone up to there do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountUnread {
    /// Who asks.
    pub actor: UserId,
    /// Up to where it has read.
    pub after_seq: Seq,
    /// The last event that it knows of.
    pub up_to_seq: Seq,
}

/// Who has received and read a message? Only members may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMessageInfo {
    /// Who asks.
    pub actor: UserId,
    /// Which message.
    pub message_id: MessageId,
}

/// Someone is writing, or has stopped. Never stored; dropped in groups of over 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalTyping {
    /// Who.
    pub actor: UserId,
    /// Writing, or stopped.
    pub started: bool,
}

/// Does something with a message, so that everyone sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActOn {
    /// Who.
    pub actor: UserId,
    /// Which message.
    pub message_id: MessageId,
    /// What; validated by the service.
    pub act: Act,
}

/// What was done is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The event.
    pub event: Event,
    /// Whether it had been done before; the event then is the one of that time.
    pub duplicate: bool,
}

/// One message, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMessage {
    /// Who asks.
    pub actor: UserId,
    /// Which.
    pub message_id: MessageId,
}

/// Pages through the replies in a message's thread, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListThread {
    /// Who asks.
    pub actor: UserId,
    /// The message that the thread hangs on.
    pub message_id: MessageId,
    /// Where the page starts.
    pub cursor: Option<String>,
    /// How many, already within the limit.
    pub limit: u32,
}

/// Lists the messages that are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPins {
    /// Who asks.
    pub actor: UserId,
}

/// Deletes a message for the caller alone. Asked again, the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hide {
    /// For whom.
    pub actor: UserId,
    /// Which.
    pub message_id: MessageId,
}

/// The message is hidden: what the user's object has to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// The message's number.
    pub seq: Seq,
    /// Its author.
    pub sender_id: UserId,
    /// The event by which it was deleted for everyone, where it was.
    pub deleted_seq: Option<Seq>,
    /// The newest message that the user still sees.
    pub last_message: Option<LastMessage>,
}

/// Sends a message at its `send_at`. One with a `client_msg_id` that its sender has used here
/// before is not taken again: the answer is the first one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Who sends.
    pub actor: UserId,
    /// From which device, where the conversation is to see that it does not say too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// What; validated by the service.
    pub message: NewMessage,
}

/// What has become of a message that was to be sent later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// It had been sent already.
    Already(MessageAck),
    /// It will be.
    Later(Box<Scheduled>),
}

impl From<Sent> for ServerFrame {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Already(ack) => Self::MsgAck(ack),
            Sent::Later(scheduled) => Self::MessageScheduled(scheduled),
        }
    }
}

/// Lists the caller's scheduled messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListScheduled {
    /// Who asks.
    pub actor: UserId,
}

/// Takes a scheduled message back. Refused with `not_found` where the caller has none of that
/// name, or it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelScheduled {
    /// Who asks.
    pub actor: UserId,
    /// Which.
    pub scheduled_id: ScheduledId,
}

/// Changes how the conversation is called and looks, or how long it keeps messages. What is so
/// already makes no event. Answers how it then is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConversation {
    /// Who.
    pub actor: UserId,
    /// What; validated by the service.
    pub patch: ConversationPatch,
}

/// Lets others in. They are known to exist, and to let the actor do so. Those who are members
/// already are left as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddMembers {
    /// Who.
    pub actor: UserId,
    /// Whom.
    pub user_ids: Vec<UserId>,
}

/// Gives a member another role; to make another the owner is to hand the group over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRole {
    /// Who.
    pub actor: UserId,
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub role: Role,
}

/// Removes a member; oneself: leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveMember {
    /// Who.
    pub actor: UserId,
    /// Whom.
    pub user_id: UserId,
}

/// Ends the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Who.
    pub actor: UserId,
}

/// Notes, in the direct conversation of two, that one of them has blocked the other, or no longer
/// does. Asked by the user object of that one, which is known to be one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetBlock {
    /// Who has blocked the other.
    pub blocker: UserId,
    /// Whether it has.
    pub is_blocked: bool,
}

/// Notes whether a member's account is suspended. Asked by its user object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSuspended {
    /// Whose.
    pub user_id: UserId,
    /// Whether it is.
    pub is_suspended: bool,
}

/// A copy of a message for moderators, as a member reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyMessage {
    /// Who reports it.
    pub actor: UserId,
    /// Which.
    pub message_id: MessageId,
}

/// Opens a socket. Travels in the header [`SOCKET_HEADER`] of an upgrade request, as JSON; the
/// object answers 101, or 200 with an [`crate::object::Answer`] that holds the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSocket {
    /// Who opens it.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// When the token that opened it expires, and the socket with it.
    pub expires_at: Timestamp,
    /// Replay the events after this one first.
    pub after_seq: Option<Seq>,
    /// Whether the client offered the subprotocol, which is then answered.
    pub subprotocol: bool,
}

/// Where an [`OpenSocket`] travels.
pub const SOCKET_HEADER: &str = "x-parlance-socket";
