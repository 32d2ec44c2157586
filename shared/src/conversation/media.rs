//! The media of messages: asked for before a message is stored, let go of when it is gone.
//!
//! What always holds: a message with a medium is stored only once the medium's object has taken
//! note of it (`media::call::Attach`); a message that loses its content, and one that is not sent
//! after all, is noted to be let go of in the same commit, and stays so until the medium's object
//! has taken it.

use std::collections::BTreeMap;

use super::service::ConversationService;
use super::store::Store;
use crate::ids::{ClientMessageId, MediaId, UserId};
use crate::media::call::{Attach, MessageName, Release};
use crate::need::{MediumNeed, Need};
use crate::params;
use crate::protocol::media::MediaDetails;
use crate::protocol::message::NewMessage;
use crate::protocol::problem::{Problem, ServiceError};
use crate::protocol::seq::Seq;
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// Answers that are kept for requests that are about to be made again. More of them than requests
/// can be under way were left behind.
const ANSWERS: usize = 256;

/// What media's objects have answered.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<(UserId, ClientMessageId), Result<MediaDetails, Problem>>);

/// A message that a medium's object is to be told to let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediumRelease {
    /// Which medium.
    pub media_id: MediaId,
    /// What to tell its object.
    pub release: Release,
    /// The message's number; zero where it was never sent.
    seq: Seq,
}

impl<S: Sql> ConversationService<S> {
    /// Brings what [`Need::Medium`] asked for: the answer of the medium's object.
    pub fn bring_medium(&mut self, message: MessageName, answer: Result<MediaDetails, Problem>) {
        let Answers(answers) = &mut self.media;
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        answers.insert((message.sender_id, message.client_msg_id), answer);
    }

    /// Looks whether all is there to send a message that was checked: where it carries a medium,
    /// that is the answer of the medium's object. A message that was sent before needs none.
    ///
    /// # Errors
    /// [`Need::Medium`].
    pub(super) fn require_medium(
        &mut self,
        actor: UserId,
        message: &NewMessage,
        forwarded: bool,
    ) -> Result<(), ServiceError> {
        let Some(media_id) = message.media_id else {
            return Ok(());
        };
        let client_msg_id = message.client_msg_id;
        if self.media.0.contains_key(&(actor, client_msg_id))
            || self.store().find_sent(&actor, &client_msg_id)?.is_some()
        {
            return Ok(());
        }
        let (state, _) = self.as_member(actor)?;
        let attach = Attach {
            message: MessageName {
                conversation_id: state.meta.conversation_id,
                sender_id: actor,
                client_msg_id,
            },
            content_type: message.content_type,
            forwarded,
        };
        Err(ServiceError::Needs(Need::Medium(MediumNeed {
            media_id,
            attach,
        })))
    }

    /// What a message's medium is: nothing where it carries none, or was sent before.
    ///
    /// # Errors
    /// [`Need::Medium`]; what the medium's object refused.
    pub(super) fn take_medium(
        &mut self,
        actor: UserId,
        message: &NewMessage,
        forwarded: bool,
    ) -> Result<Option<Box<MediaDetails>>, ServiceError> {
        self.require_medium(actor, message, forwarded)?;
        match self.media.0.remove(&(actor, message.client_msg_id)) {
            Some(answer) => Ok(Some(Box::new(answer?))),
            None => Ok(None),
        }
    }

    /// Whether media's objects are to be told of messages to let go of.
    #[must_use]
    pub fn has_releases(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.has_releases)
    }

    /// The next message that a medium's object is to be told to let go of.
    ///
    /// # Errors
    /// When storage fails.
    pub fn next_release(&mut self) -> Result<Option<MediumRelease>, SqlError> {
        let Some(state) = self.load()? else {
            return Ok(None);
        };
        let conversation_id = state.meta.conversation_id;
        let next = self.store().next_release()?;
        if next.is_none()
            && let Some(state) = &mut self.state
        {
            state.has_releases = false;
        }
        Ok(
            next.map(|(seq, media_id, sender_id, client_msg_id)| MediumRelease {
                seq,
                media_id,
                release: Release {
                    message: MessageName {
                        conversation_id,
                        sender_id,
                        client_msg_id,
                    },
                },
            }),
        )
    }

    /// A medium's object could not be told: says what to set the alarm to, where it would not go
    /// off soon.
    pub fn release_later(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.arm_soon(now)
    }

    /// The medium's object has let go of the message.
    ///
    /// # Errors
    /// When storage fails.
    pub fn released(&mut self, released: &MediumRelease) -> Result<(), SqlError> {
        let MessageName {
            sender_id,
            client_msg_id,
            ..
        } = released.release.message;
        self.store()
            .drop_medium(released.seq, &sender_id, &client_msg_id)
    }
}

impl<S: Sql> Store<'_, S> {
    /// A message carries a medium. `seq` is the message's, or zero where it is not sent yet.
    pub(super) fn add_medium(
        &self,
        seq: Seq,
        media_id: &MediaId,
        sender_id: &UserId,
        client_msg_id: &ClientMessageId,
    ) -> Result<(), SqlError> {
        // It waits no more.
        self.drop_medium(Seq::ZERO, sender_id, client_msg_id)?;
        self.sql.exec(
            "INSERT INTO message_medium (scope, seq, sender_id, client_msg_id, media_id, is_gone)
             VALUES (?, ?, ?, ?, ?, 0)",
            params![self.scope, seq, sender_id, client_msg_id, media_id],
        )?;
        Ok(())
    }

    /// What the message said is gone: its medium is to be let go of, where it has one.
    pub(super) fn let_medium_go(&self, seq: Seq) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE message_medium SET is_gone = 1 WHERE scope = ? AND seq = ?",
            params![self.scope, seq],
        )?;
        Ok(())
    }

    /// A message that waited is not sent after all: its medium is to be let go of.
    pub(super) fn let_waiting_medium_go(
        &self,
        sender_id: &UserId,
        client_msg_id: &ClientMessageId,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE message_medium SET is_gone = 1
             WHERE scope = ? AND seq = 0 AND sender_id = ? AND client_msg_id = ?",
            params![self.scope, sender_id, client_msg_id],
        )?;
        Ok(())
    }

    /// All media are to be let go of.
    pub(super) fn let_media_go(&self) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE message_medium SET is_gone = 1 WHERE scope = ? AND is_gone = 0",
            params![self.scope],
        )?;
        Ok(())
    }

    /// Whether any medium is to be let go of.
    pub(super) fn has_releases(&self) -> Result<bool, SqlError> {
        Ok(self.next_release()?.is_some())
    }

    fn next_release(&self) -> Result<Option<(Seq, MediaId, UserId, ClientMessageId)>, SqlError> {
        let rows = self.sql.exec(
            "SELECT seq, media_id, sender_id, client_msg_id FROM message_medium
             WHERE scope = ? AND is_gone = 1 LIMIT 1",
            params![self.scope],
        )?;
        rows.first()
            .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .transpose()
    }

    fn drop_medium(
        &self,
        seq: Seq,
        sender_id: &UserId,
        client_msg_id: &ClientMessageId,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM message_medium
             WHERE scope = ? AND seq = ? AND sender_id = ? AND client_msg_id = ?",
            params![self.scope, seq, sender_id, client_msg_id],
        )?;
        Ok(())
    }
}
