//! Frames in both directions, and the events of a conversation's log.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde::Serialize;
use serde_json::{Value, json};

use super::any::{Any, any_enums, any_structs, any_union, any_variant, fields, strategies};
use super::bodies::wire_types;
use super::{CASES, round_trip};
use crate::protocol::act::{Act, Command, HideCommand};
use crate::protocol::change::*;
use crate::protocol::conversation::ConversationSettings;
use crate::protocol::event::{Event, EventPage, MemberAdded};
use crate::protocol::frame::*;
use crate::protocol::group::*;
use crate::protocol::message::*;
use crate::protocol::seq::Seq;
use crate::protocol::user::Presence;

wire_types!(
    Ack,
    Act,
    AuthAck,
    ConversationChanged,
    ConversationDeleted,
    ConversationSettings,
    ErrorFrame,
    Event,
    EventPage,
    ForwardedFrom,
    GroupChange,
    MemberAdded,
    MemberRemoved,
    Message,
    MessageAck,
    MessageChange,
    MessageDeleted,
    MessageEdited,
    PinChanged,
    PollClosed,
    PollResult,
    PollVoted,
    Presence,
    PresenceStatus,
    PresenceSubscribe,
    PresenceUpdate,
    ReactionChanged,
    Reactions,
    ReadPosition,
    Receipt,
    RoleChanged,
    SendMessage,
    Seq,
    ServerFrame,
    Sync,
    ThreadSummary,
    Typing,
    TypingNotice,
);

any_enums! {
    Act {
        Edit { content, mentions },
        Delete {},
        React { emoji, remove },
        Pin { remove },
        Vote { options },
        ClosePoll {},
    }
    ClientFrame {
        SendMessage(it),
        Ack(it),
        Sync(it),
        ReadReceipt(it),
        TypingStart(it),
        TypingStop(it),
        PresenceSubscribe(it),
        Ping {},
        Act(it),
        Hide(it),
    }
    Event { NewMessage(it), MemberAdded(it), Changed(it), Group(it) }
    GroupChange {
        MemberRemoved(it),
        RoleChanged(it),
        ConversationChanged(it),
        ConversationDeleted(it),
    }
    MessageChange {
        MessageEdited(it),
        MessageDeleted(it),
        Reaction(it),
        PinChanged(it),
        PollVote(it),
        PollClosed(it),
    }
    PresenceStatus { Online {}, Offline {} }
}

any_structs! {
    Ack { conversation_id, up_to_seq }
    AuthAck { user_id, device_id, server_time, heartbeat_seconds, head_seq }
    Command { conversation_id, message_id, act, client_msg_id }
    ConversationChanged { conversation_id, seq, changed, changed_by, created_at }
    ConversationDeleted { conversation_id, seq, deleted_by, created_at }
    ConversationSettings { conversation_id, muted_until, archived, pinned, notify }
    ErrorFrame { code, detail, client_msg_id, retry_after_ms }
    EventPage { events, head_seq, has_more }
    ForwardedFrom { sender_id, created_at }
    HideCommand { conversation_id, message_id, client_msg_id }
    MemberAdded { conversation_id, seq, user_ids, added_by, created_at }
    MemberRemoved { conversation_id, seq, user_id, removed_by, created_at }
    Message {
        conversation_id, seq, message_id, client_msg_id, sender_id, content, content_type, media_id,
        media_url, media, reply_to, mentions, thread_root, forwarded_from, edited_at, expires_at, is_deleted,
        is_hidden, is_pinned, reactions, poll, thread, created_at,
    }
    MessageAck { client_msg_id, conversation_id, message_id, seq, created_at, status, duplicate }
    MessageDeleted { conversation_id, seq, message_id, sender_id, deleted_by, deleted_at }
    MessageEdited { conversation_id, seq, message_id, content, mentions, edited_at }
    PinChanged { conversation_id, seq, message_id, pinned, changed_by, created_at }
    PollClosed { conversation_id, seq, message_id, closed_by, created_at }
    PollResult { votes, voters, voted, is_closed }
    PollVoted { conversation_id, seq, message_id, user_id, options, created_at }
    Presence { status, last_seen }
    PresenceSubscribe { user_ids }
    PresenceUpdate { user_id, status, last_seen }
    ReactionChanged { conversation_id, seq, message_id, user_id, emoji, removed, created_at }
    Reactions { emoji, count, reacted, user_ids }
    ReadPosition { conversation_id, up_to_seq }
    Receipt { conversation_id, message_id, up_to_seq, user_id }
    RoleChanged { conversation_id, seq, user_id, role, former_owner_id, changed_by, created_at }
    SendMessage { conversation_id, message }
    Sync { conversation_id, after_seq }
    ThreadSummary { replies, last_reply_at }
    Typing { conversation_id }
    TypingNotice { conversation_id, user_id }
}

impl Any for ServerFrame {
    fn any() -> BoxedStrategy<Self> {
        any_union!(ServerFrame {
            AuthAck(it),
            MsgAck(it),
            SyncGap { conversation_id, from_seq, head_seq },
            DeliveryReceipt(it),
            ReadReceipt(it),
            TypingStart(it),
            TypingStop(it),
            PresenceUpdate(it),
            ConversationRead { conversation_id, up_to_seq, unread },
            ConversationSettings(it),
            ConversationForgotten { conversation_id, up_to_seq },
            MessageHidden { conversation_id, message_id },
            MessageScheduled(it),
            Batch { frames },
            SyncComplete { total_unread },
            Pong {},
            Error(it),
            Event(it)
        })
    }

    /// Made only where it is wanted: a frame may hold frames.
    fn any_list() -> BoxedStrategy<Vec<Self>> {
        (0..3_usize)
            .prop_flat_map(|length| {
                if length == 0 {
                    Just(Vec::new()).boxed()
                } else {
                    proptest::collection::vec(Self::any(), length).boxed()
                }
            })
            .boxed()
    }
}

/// A frame as a client writes it, by docs/protocol.md.
fn written(frame: &ClientFrame) -> Value {
    fn tagged(kind: &str, fields: &impl Serialize) -> Value {
        let mut frame = serde_json::to_value(fields).unwrap();
        frame["type"] = json!(kind);
        frame
    }
    fn about(kind: &str, command: &Command, fields: Value) -> Value {
        let mut frame = tagged(kind, &fields);
        frame["conversation_id"] = json!(command.conversation_id);
        frame["message_id"] = json!(command.message_id);
        frame["client_msg_id"] = json!(command.client_msg_id);
        frame
    }
    match frame {
        ClientFrame::SendMessage(send) => tagged("send_message", send),
        ClientFrame::Ack(ack) => tagged("ack", ack),
        ClientFrame::Sync(sync) => tagged("sync", sync),
        ClientFrame::ReadReceipt(position) => tagged("read_receipt", position),
        ClientFrame::TypingStart(typing) => tagged("typing_start", typing),
        ClientFrame::TypingStop(typing) => tagged("typing_stop", typing),
        ClientFrame::PresenceSubscribe(list) => tagged("presence_subscribe", list),
        ClientFrame::Ping => json!({"type": "ping"}),
        ClientFrame::Hide(hide) => json!({
            "type": "delete_message",
            "for": "me",
            "conversation_id": hide.conversation_id,
            "message_id": hide.message_id,
            "client_msg_id": hide.client_msg_id,
        }),
        ClientFrame::Act(command) => match &command.act {
            Act::Edit { content, mentions } => {
                let fields = json!({"content": content, "mentions": mentions});
                about("edit_message", command, fields)
            }
            Act::Delete => about("delete_message", command, json!({"for": "everyone"})),
            Act::React { emoji, remove } => {
                about("react", command, json!({"emoji": emoji, "remove": remove}))
            }
            Act::Pin { remove } => about("pin", command, json!({"remove": remove})),
            Act::Vote { options } => about("poll_vote", command, json!({"options": options})),
            Act::ClosePoll => about("poll_close", command, json!({})),
        },
    }
}

proptest! {
    #![proptest_config(Config::with_cases(CASES * 8))]

    #[test]
    fn every_frame_of_a_client_is_read_as_it_was_written(frame in ClientFrame::any()) {
        let mut json = written(&frame);
        let read = ClientFrame::parse(&json.to_string());
        prop_assert_eq!(read, Ok(frame.clone()), "{}", json);
        json["later_version"] = json!({"type": "x"});
        prop_assert_eq!(ClientFrame::parse(&json.to_string()), Ok(frame), "{}", json);
    }
}

#[test]
fn every_type_of_frame_is_generated_and_told_apart_by_its_name() {
    let mut runner = TestRunner::deterministic();
    let strategy = ServerFrame::any();
    let mut kinds = BTreeSet::new();
    for _ in 0..4000 {
        let frame = strategy.new_tree(&mut runner).unwrap().current();
        let json: Value = serde_json::from_str(&frame.to_text()).unwrap();
        kinds.insert(json["type"].as_str().unwrap().to_owned());
    }
    // 17 that are no events; two events by themselves, six changes of messages, four of groups.
    assert_eq!(kinds.len(), 17 + 2 + 6 + 4, "{kinds:?}");
}
