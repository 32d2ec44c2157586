//! What a client does with what comes, and what it must never see.

use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::protocol::change::MessageChange;
use parlance_shared::protocol::event::Event;
use parlance_shared::protocol::frame::{ErrorFrame, ServerFrame};
use parlance_shared::protocol::group::GroupChange;
use parlance_shared::protocol::problem::Code;
use serde_json::json;

use super::{Errand, PING};
use crate::objects::WireId;
use crate::runtime::brief;
use crate::world::{Down, Happening, World};

/// How often an acknowledgement that was refused is made again.
const ACK_TRIES: u32 = 5;

/// Where an event happened.
pub(crate) const fn place_of(event: &Event) -> Option<ConversationId> {
    match event {
        Event::NewMessage(message) => Some(message.conversation_id),
        Event::MemberAdded(added) => Some(added.conversation_id),
        Event::Changed(change) => Some(match change {
            MessageChange::MessageEdited(one) => one.conversation_id,
            MessageChange::MessageDeleted(one) => one.conversation_id,
            MessageChange::Reaction(one) => one.conversation_id,
            MessageChange::PinChanged(one) => one.conversation_id,
            MessageChange::PollVote(one) => one.conversation_id,
            MessageChange::PollClosed(one) => one.conversation_id,
            _ => return None,
        }),
        Event::Group(change) => Some(match change {
            GroupChange::MemberRemoved(one) => one.conversation_id,
            GroupChange::RoleChanged(one) => one.conversation_id,
            GroupChange::ConversationChanged(one) => one.conversation_id,
            GroupChange::ConversationDeleted(one) => one.conversation_id,
            _ => return None,
        }),
        _ => None,
    }
}

/// Whether this is how `user` became a member.
pub(crate) fn joins(event: &Event, user: UserId) -> bool {
    matches!(event, Event::MemberAdded(added) if added.user_ids.contains(&user))
}

/// Whether this is how `user` ceased to be one.
pub(crate) fn parts(event: &Event, user: UserId) -> bool {
    matches!(event, Event::Group(change) if change.is_last_for(user))
}

impl World {
    /// Something comes on a socket.
    pub(crate) fn down(&mut self, wire: WireId, down: Down) {
        let Some((device, room)) = self
            .wires
            .get(&wire)
            .filter(|wire| wire.is_heard)
            .map(|wire| (wire.device, wire.room))
        else {
            return;
        };
        match down {
            Down::Accepted => match room {
                None => {
                    self.devices[device].is_open = true;
                    self.after(PING, Happening::Errand(device, Errand::Ping));
                }
                Some(place) => {
                    if let Some((_, is_open)) = self.devices[device].rooms.get_mut(&place) {
                        *is_open = true;
                    }
                }
            },
            Down::Refused(problem) => {
                self.note(|| format!("dev {device} ~{wire} refused: {problem}"));
                self.wire_ended(wire, device, room);
            }
            Down::Closed(code) => {
                self.note(|| format!("dev {device} ~{wire} closed with {code}"));
                self.wire_ended(wire, device, room);
            }
            Down::Frame(text) => {
                self.note(|| format!("dev {device} <- ~{wire} {}", brief(&text)));
                match serde_json::from_str(&text) {
                    Ok(frame) => self.frame(wire, device, frame),
                    Err(error) => {
                        let text = format!("{error} in {}", brief(&text));
                        self.broken("every frame can be read", text);
                    }
                }
            }
        }
    }

    fn wire_ended(&mut self, wire: WireId, device: usize, room: Option<ConversationId>) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.is_heard = false;
        }
        match room {
            None if self.devices[device].session == Some(wire) => self.session_ended(device),
            Some(place) => {
                let rooms = &mut self.devices[device].rooms;
                if rooms.get(&place).is_some_and(|(known, _)| *known == wire) {
                    rooms.remove(&place);
                    self.room_ended(device, place);
                }
            }
            None => {}
        }
    }

    fn frame(&mut self, wire: WireId, device: usize, frame: ServerFrame) {
        let user = self.devices[device].user;
        self.count_frame(&frame);
        match frame {
            ServerFrame::Batch { frames } => {
                for frame in frames {
                    self.frame(wire, device, frame);
                }
            }
            ServerFrame::Event(event) => self.event(wire, device, &event),
            ServerFrame::MsgAck(ack) => self.acked(device, &ack),
            ServerFrame::MessageScheduled(scheduled) => {
                self.kept_for_later(device, &scheduled);
            }
            ServerFrame::Error(error) => self.refusal(device, &error),
            ServerFrame::SyncComplete { .. } => self.devices[device].is_complete = true,
            ServerFrame::DeliveryReceipt(receipt) => {
                self.oracle_receipt(user, &receipt, false);
            }
            ServerFrame::ReadReceipt(receipt) => self.oracle_receipt(user, &receipt, true),
            ServerFrame::SyncGap {
                conversation_id, ..
            } => {
                let text = format!("{conversation_id} has a gap for {user}");
                self.broken("a short log is never too long for the inbox", text);
            }
            ServerFrame::ConversationForgotten {
                conversation_id,
                up_to_seq,
            } => self.forget(device, conversation_id, up_to_seq.get()),
            _ => {}
        }
    }

    /// What was of a former membership goes, on another device's word. It may have come in again.
    fn forget(&mut self, device: usize, place: ConversationId, upto: u64) {
        let views = &mut self.devices[device].views;
        match views.get_mut(&place) {
            Some(view) if view.all.last().is_some_and(|last| *last > upto) => {
                view.all.retain(|seq| *seq > upto);
                view.messages.retain(|(seq, ..)| *seq > upto);
                view.base = view.base.max(upto + 1);
            }
            _ => {
                views.remove(&place);
            }
        }
    }

    fn count_frame(&mut self, frame: &ServerFrame) {
        let what = match frame {
            ServerFrame::MsgAck(ack) if ack.duplicate => "msg_ack of a repeat",
            ServerFrame::MsgAck(_) => "msg_ack",
            ServerFrame::MessageScheduled(_) => "message_scheduled",
            ServerFrame::DeliveryReceipt(_) => "delivery_receipt",
            ServerFrame::ReadReceipt(_) => "read_receipt",
            ServerFrame::MessageHidden { .. } => "message_hidden",
            ServerFrame::ConversationRead { .. } => "conversation_read",
            ServerFrame::ConversationForgotten { .. } => "conversation_forgotten",
            ServerFrame::SyncComplete { .. } => "sync_complete",
            ServerFrame::Batch { .. } => "batch",
            ServerFrame::Error(error) => {
                let code = serde_json::to_string(&error.code).unwrap_or_default();
                let code = code.trim_matches('"');
                return self.counts.add("frame", &format!("error {code}"));
            }
            _ => return,
        };
        self.counts.add("frame", what);
    }

    /// An event comes: is it one that this user may see, and in order?
    fn event(&mut self, wire: WireId, device: usize, event: &Event) {
        let user = self.devices[device].user;
        let Some(place) = place_of(event) else {
            return;
        };
        let seq = event.seq().get();
        self.witness(user, place, event);
        self.check_order(wire, device, place, event);
        if let Some(wire) = self.wires.get_mut(&wire) {
            let last = wire.last.entry(place).or_insert(seq);
            *last = seq.max(*last);
        }
        let is_jump = joins(event, user) || parts(event, user);
        let view = self.devices[device].views.entry(place).or_default();
        view.heard_on = Some(wire);
        view.ack_tries = 0;
        let is_new = view.all.insert(seq);
        if is_new && let Event::NewMessage(message) = event {
            view.messages
                .push((seq, message.message_id, message.sender_id));
            view.messages.sort_unstable();
        }
        if joins(event, user) && seq >= view.base {
            view.base = seq;
            view.ended = false;
        }
        match view.upto {
            None => {
                view.base = seq;
                view.upto = Some(seq);
            }
            Some(upto) if is_jump && seq > upto => view.upto = Some(seq),
            Some(_) => {}
        }
        if parts(event, user) && Some(seq) == view.upto {
            view.ended = true;
        }
        while let Some(upto) = view.upto
            && view.all.contains(&(upto + 1))
        {
            view.upto = Some(upto + 1);
        }
        let lacks = view.upto.is_some_and(|upto| upto < seq);
        if !std::mem::replace(&mut view.acks, true) {
            let wait = self.whim.between(5, 400);
            self.after(wait, Happening::Errand(device, Errand::Ack(place)));
        }
        if lacks {
            self.want_sync(device, place);
        }
    }

    fn want_sync(&mut self, device: usize, place: ConversationId) {
        if let Some(view) = self.devices[device].views.get_mut(&place)
            && !std::mem::replace(&mut view.syncs, true)
        {
            self.after(500, Happening::Errand(device, Errand::Sync(place)));
        }
    }

    fn check_order(&mut self, wire: WireId, device: usize, place: ConversationId, event: &Event) {
        let user = self.devices[device].user;
        let seq = event.seq().get();
        let (Some(on), Some(view)) = (
            self.wires.get(&wire),
            self.devices[device].views.get(&place),
        ) else {
            return;
        };
        if on.may_gap || view.all.contains(&seq) || joins(event, user) || parts(event, user) {
            return;
        }
        let last = on.last.get(&place).copied();
        // A session shows nothing of what a socket of the conversation shows, until that is given
        // up, or something that was done there is done again: that is answered with its event.
        let is_beside = view.roomed && on.room.is_none();
        let base = view.base;
        if let Some(last) = last.filter(|_| !is_beside) {
            let is_in_order = seq >= last || seq <= base;
            let text = || format!("dev {device} got {seq} of {place} after {last}");
            if !self.promise("nothing is delivered out of order", is_in_order, text) {
                return;
            }
        }
        let Some(view) = self.devices[device].views.get(&place) else {
            return;
        };
        let Some(before) = last.max(view.upto).filter(|_| !is_beside) else {
            return;
        };
        // What one can no longer read does not come, where one was away for a moment.
        let log = self.oracle.logs.get(&place);
        let may_read = log
            .and_then(|log| log.member_from(user))
            .is_some_and(|from| from <= seq);
        let missing = (before + 1..seq).find(|between| !view.all.contains(between));
        let missing = missing.filter(|_| may_read);
        self.promise(
            "a socket that was not disturbed leaves nothing out",
            missing.is_none(),
            || format!("dev {device} got {seq} of {place} without {missing:?}"),
        );
    }

    /// Acknowledges what a device has of a conversation.
    pub(crate) fn acknowledge(&mut self, device: usize, place: ConversationId) {
        let one = &mut self.devices[device];
        let Some(view) = one.views.get_mut(&place) else {
            return;
        };
        view.acks = false;
        let Some(upto) = view.upto else {
            return;
        };
        let room = one.rooms.get(&place).filter(|(_, open)| *open);
        let room = room.map(|(wire, _)| *wire);
        let session = one.session.filter(|_| one.is_open);
        let wire = match room {
            Some(room) if view.heard_on == Some(room) || session.is_none() => room,
            _ => match session {
                Some(session) => session,
                None => return,
            },
        };
        let user = one.user;
        self.oracle.has_acked(user, place, upto);
        let frame = json!({ "type": "ack", "conversation_id": place, "up_to_seq": upto });
        self.send_up(wire, frame.to_string());
    }

    /// Asks for what is missing, if something is.
    pub(crate) fn ask_for_missing(&mut self, device: usize, place: ConversationId) {
        let one = &mut self.devices[device];
        let Some(view) = one.views.get_mut(&place) else {
            return;
        };
        view.syncs = false;
        let Some(upto) = view.upto else {
            return;
        };
        let lacks = view.all.last().is_some_and(|last| *last > upto);
        if !lacks {
            return;
        }
        view.syncs = true;
        let room = one.rooms.get(&place).filter(|(_, open)| *open);
        let wire = room
            .map(|(wire, _)| *wire)
            .or_else(|| one.session.filter(|_| one.is_open));
        if let Some(wire) = wire {
            if let Some(wire) = self.wires.get_mut(&wire) {
                // What it answers comes out of turn.
                wire.may_gap = true;
            }
            self.oracle.syncs += 1;
            let frame = json!({ "type": "sync", "conversation_id": place, "after_seq": upto });
            self.send_up(wire, frame.to_string());
        }
        self.after(3000, Happening::Errand(device, Errand::Sync(place)));
    }

    /// Something was refused.
    fn refusal(&mut self, device: usize, error: &ErrorFrame) {
        if let Some(id) = error.client_msg_id {
            return self.draft_refused(device, id, error.code);
        }
        if error.code == Code::Unauthenticated {
            return;
        }
        // It may have been an acknowledgement.
        let places: Vec<_> = self.devices[device].views.keys().copied().collect();
        for place in places {
            let Some(view) = self.devices[device].views.get_mut(&place) else {
                continue;
            };
            if view.ack_tries < ACK_TRIES && !std::mem::replace(&mut view.acks, true) {
                view.ack_tries += 1;
                self.after(3000, Happening::Errand(device, Errand::Ack(place)));
            }
        }
    }
}
