//! What sessions do with messages: asked of the conversation, and answered where the log does
//! not.
//!
//! What always holds: what is new comes to the session as an event, by the conversation's
//! delivery; only what had been done before, what waits, and refusals are answered here.

use super::effect::{Effect, Effects, SocketId};
use super::frames::to_one;
use super::pending::Pending;
use super::service::UserService;
use crate::conversation::call::{ActOn, Acted, Schedule, Sent};
use crate::ids::{ClientMessageId, ConversationId};
use crate::protocol::act::Command;
use crate::protocol::event::Event;
use crate::protocol::frame::{SendMessage, ServerFrame};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::{Sql, SqlError};

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    socket: SocketId,
    /// Where.
    conversation_id: ConversationId,
    /// The client's name for what it asked.
    client_msg_id: Option<ClientMessageId>,
}

impl<S: Sql> UserService<S> {
    /// A session does something with a message.
    pub(super) fn act_on(
        &mut self,
        socket: SocketId,
        command: Command,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        command.act.validate()?;
        let request = ActOn {
            actor: self.owner()?,
            message_id: command.message_id,
            act: command.act,
        };
        let ticket = self.ticket(Pending::Act(Asked {
            socket,
            conversation_id: command.conversation_id,
            client_msg_id: command.client_msg_id,
        }));
        effects.push(Effect::AskConversation {
            id: command.conversation_id,
            request: request.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// The conversation has done it, or refused to.
    pub(super) fn acted(
        &self,
        asked: Asked,
        answer: Result<Acted, Problem>,
        effects: &mut Effects,
    ) {
        let Asked {
            socket,
            client_msg_id,
            ..
        } = asked;
        let is_told_here = match &answer {
            Ok(acted) if acted.duplicate => self.has_come(&asked, &acted.event),
            _ => Ok(false),
        };
        match (answer, is_told_here) {
            (Ok(acted), Ok(true)) => {
                effects.push(to_one(socket, ServerFrame::Event(acted.event)));
            }
            // It comes with its delivery, after those before it.
            (Ok(_), Ok(false)) => {}
            (Ok(_), Err(failure)) => {
                self.refuse(socket, failure.into(), client_msg_id, effects);
            }
            (Err(problem), _) => self.refuse(socket, problem.into(), client_msg_id, effects),
        }
    }

    /// Whether the session has been sent the event, or all that comes before it.
    fn has_come(&self, asked: &Asked, event: &Event) -> Result<bool, SqlError> {
        let id = &asked.conversation_id;
        let is_behind = self
            .sessions
            .get(&asked.socket)
            .is_some_and(|session| session.behind.contains_key(id));
        let row = self.store().inbox_row(id)?;
        Ok(!is_behind && row.is_some_and(|row| row.head_seq >= event.seq()))
    }

    /// A session wants a message sent later.
    pub(super) fn schedule_on(
        &mut self,
        socket: SocketId,
        send: SendMessage,
        effects: &mut Effects,
    ) -> Result<(), ServiceError> {
        let ticket = self.ticket(Pending::Schedule(Asked {
            socket,
            conversation_id: send.conversation_id,
            client_msg_id: Some(send.message.client_msg_id),
        }));
        let request = Schedule {
            actor: self.owner()?,
            device_id: None,
            message: send.message,
        };
        effects.push(Effect::AskConversation {
            id: send.conversation_id,
            request: request.into(),
            ticket: Some(ticket),
        });
        Ok(())
    }

    /// The conversation keeps the message, or refused it.
    pub(super) fn scheduled(
        &self,
        asked: Asked,
        answer: Result<Sent, Problem>,
        effects: &mut Effects,
    ) {
        match answer {
            Ok(sent) => effects.push(to_one(asked.socket, sent.into())),
            Err(problem) => {
                self.refuse(asked.socket, problem.into(), asked.client_msg_id, effects);
            }
        }
    }
}
