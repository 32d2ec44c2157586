//! What a client says on its session.
//!
//! What always holds: a frame that cannot be read or is refused is answered with an `error`
//! frame and changes nothing; the session lives on. Only a binary frame, one over the size
//! limit, an expired token or sending on and on over the rate limit ends it.

use super::effect::{Effect, Effects, SocketId};
use super::events::failed;
use super::expected::Then;
use super::pending::Pending;
use super::reading::Origin;
use super::service::UserService;
use crate::conversation::call::SignalTyping;
use crate::ids::{ClientMessageId, ConversationId};
use crate::limits;
use crate::protocol::frame::{
    Ack, BadFrame, ClientFrame, CloseCode, PresenceSubscribe, ReadPosition, ServerFrame, Sync,
};
use crate::protocol::problem::ServiceError;
use crate::sql::Sql;
use crate::time::Timestamp;

impl<S: Sql> UserService<S> {
    /// Answers a text frame of a session.
    pub fn on_text(&mut self, socket: SocketId, text: &str, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        if let Some(session) = self.sessions.get_mut(&socket) {
            session.last_frame = Some(now);
        }
        if let Err(error) = self.read_frame(socket, text, now, &mut effects) {
            self.refuse(socket, error, None, &mut effects);
        }
        self.look_after(now, &mut effects);
        effects
    }

    /// Answers a binary frame: the protocol has none.
    pub fn on_binary(&mut self, socket: SocketId, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        self.end_session(socket, CloseCode::ProtocolError, now, &mut effects);
        self.look_after(now, &mut effects);
        effects
    }

    fn read_frame(
        &mut self,
        socket: SocketId,
        text: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Some(session) = self.sessions.get(&socket) else {
            effects.push(Effect::Close {
                socket,
                code: CloseCode::Restart,
            });
            return Ok(());
        };
        if session.kept.expires_at <= now {
            self.end_session(socket, CloseCode::TokenExpired, now, effects);
            return Ok(());
        }
        if text.len() > limits::FRAME_BYTES {
            self.end_session(socket, CloseCode::ProtocolError, now, effects);
            return Ok(());
        }
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => {
                effects.push(to_one(socket, (*bad).into()));
                return Ok(());
            }
        };
        let client_msg_id = frame.client_msg_id();
        let scale = self.rate_limit_scale;
        if let Some(session) = self.sessions.get_mut(&socket)
            && let Err(too_soon) = session.rates.admit(&frame, scale, now)
        {
            self.refuse(socket, too_soon.problem.into(), client_msg_id, effects);
            if too_soon.is_last {
                self.end_session(socket, CloseCode::RateLimited, now, effects);
            }
            return Ok(());
        }
        if let Err(error) = self.answer(socket, frame, now, effects) {
            self.refuse(socket, error, client_msg_id, effects);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        socket: SocketId,
        frame: ClientFrame,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        match frame {
            ClientFrame::SendMessage(send) => {
                send.message.validate()?;
                if send.message.send_at.is_some() {
                    return self.schedule_on(socket, send, effects);
                }
                self.enqueue(socket, send.conversation_id, send.message, effects)
            }
            ClientFrame::Ack(ack) => self.acknowledge(socket, ack, now, effects),
            ClientFrame::Sync(sync) => self.sync(socket, sync, now, effects),
            ClientFrame::ReadReceipt(ReadPosition {
                conversation_id,
                up_to_seq,
            }) => self.read_up_to(
                conversation_id,
                up_to_seq,
                Origin::Socket(socket),
                now,
                effects,
            ),
            ClientFrame::TypingStart(typing) => {
                self.type_on(socket, typing.conversation_id, true, now, effects)
            }
            ClientFrame::TypingStop(typing) => {
                self.type_on(socket, typing.conversation_id, false, now, effects)
            }
            ClientFrame::PresenceSubscribe(PresenceSubscribe { user_ids }) => {
                self.presence_subscribe(socket, &user_ids, now, effects)
            }
            ClientFrame::Act(command) => self.act_on(socket, command, effects),
            ClientFrame::Hide(command) => self.hide_on(socket, &command, effects),
            ClientFrame::Ping => {
                effects.push(to_one(socket, ServerFrame::Pong));
                Ok(())
            }
        }
    }

    /// A device has everything up to a seq.
    pub(super) fn acknowledge(
        &mut self,
        socket: SocketId,
        ack: Ack,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let Ack {
            conversation_id,
            up_to_seq,
        } = ack;
        let then = Then::Acknowledge(socket, ack);
        let has = self.has_or_expects(conversation_id, up_to_seq, then, now, effects)?;
        if has.is_none() {
            return Ok(());
        }
        self.note_ack(socket, conversation_id, up_to_seq, now, effects)?;
        // One that had to wait for an acknowledgement goes on.
        self.catch_up(socket, now, effects);
        Ok(())
    }

    /// Sends the events after a seq again.
    pub(super) fn sync(
        &mut self,
        socket: SocketId,
        sync: Sync,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let id = sync.conversation_id;
        let then = Then::Sync(socket, sync);
        let has = self.has_or_expects(id, sync.after_seq, then, now, effects)?;
        let Some(head_seq) = has else {
            return Ok(());
        };
        let is_former = self.store().farewell(&id)?.is_some();
        if head_seq.distance_from(sync.after_seq) > limits::INBOX_EVENTS && !is_former {
            effects.push(to_one(
                socket,
                ServerFrame::SyncGap {
                    conversation_id: id,
                    from_seq: sync.after_seq.next(),
                    head_seq,
                },
            ));
            return Ok(());
        }
        if sync.after_seq < head_seq {
            self.fall_behind(socket, id, sync.after_seq, now, effects);
        }
        Ok(())
    }

    /// Passes on that someone is writing, at most once per [`limits::TYPING_INTERVAL`], and that
    /// they have stopped, where they were said to be writing.
    fn type_on(
        &mut self,
        socket: SocketId,
        id: ConversationId,
        started: bool,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let actor = self.owner()?;
        let Some(session) = self.sessions.get_mut(&socket) else {
            return Ok(());
        };
        session
            .typing
            .retain(|_, since| now.since(*since) < limits::TYPING_INTERVAL);
        if started {
            if session.typing.contains_key(&id) {
                return Ok(());
            }
            session.typing.insert(id, now);
        }
        let ticket = self.ticket(Pending::Told { socket });
        effects.push(Effect::AskConversation {
            id,
            request: SignalTyping { actor, started }.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// Tells a session that something was refused. A failure of storage is for the log.
    pub(super) fn refuse(
        &self,
        socket: SocketId,
        error: ServiceError,
        client_msg_id: Option<ClientMessageId>,
        effects: &mut Effects,
    ) {
        let bad = BadFrame {
            problem: failed(error, effects),
            client_msg_id,
        };
        effects.push(to_one(socket, bad.into()));
    }
}

/// One frame to one session.
pub(super) fn to_one(socket: SocketId, frame: ServerFrame) -> Effect {
    Effect::Send {
        to: vec![socket],
        frames: vec![frame],
    }
}
