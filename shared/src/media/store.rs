//! The statements of a medium. Nothing here decides anything.

use super::call::{MadeThumbnail, MessageName};
use crate::ids::{ConversationId, MediaId, UserId};
use crate::params;
use crate::protocol::media::{ThumbnailState, UploadRequest};
use crate::sql::{FromValue, Param, Sql, SqlError, Value};
use crate::time::Timestamp;

/// How far a medium has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Announced,
    Uploaded,
    Leaving,
}

/// A medium, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Medium {
    pub media_id: MediaId,
    pub owner_id: UserId,
    pub created_at: Timestamp,
    pub upload: UploadRequest,
    pub state: State,
    pub upload_id: Option<String>,
    pub thumbnail: ThumbnailState,
    pub made: Option<MadeThumbnail>,
    pub remove_at: Timestamp,
}

/// The statements, bound to one medium's rows.
pub(super) struct Store<'a, S> {
    pub sql: &'a S,
    pub scope: i64,
}

impl<S: Sql> Store<'_, S> {
    pub fn read(&self) -> Result<Option<Medium>, SqlError> {
        let rows = self.sql.exec(
            "SELECT media_id, owner_id, created_at, upload, state, upload_id, thumbnail, made,
                remove_at
             FROM medium WHERE scope = ?",
            params![self.scope],
        )?;
        rows.first()
            .map(|row| {
                Ok(Medium {
                    media_id: row.get(0)?,
                    owner_id: row.get(1)?,
                    created_at: row.get(2)?,
                    upload: from_json(row.get(3)?)?,
                    state: row.get(4)?,
                    upload_id: row.get(5)?,
                    thumbnail: row.get(6)?,
                    made: row.get::<Option<String>>(7)?.map(from_json).transpose()?,
                    remove_at: row.get(8)?,
                })
            })
            .transpose()
    }

    /// Writes it, in place of what was there.
    pub fn write(&self, medium: &Medium) -> Result<(), SqlError> {
        let made = medium.made.as_ref().map(to_json).transpose()?;
        self.sql.exec(
            "INSERT OR REPLACE INTO medium (scope, media_id, owner_id, created_at, upload, state,
                upload_id, thumbnail, made, remove_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                &medium.media_id,
                &medium.owner_id,
                medium.created_at,
                &to_json(&medium.upload)?,
                medium.state,
                medium.upload_id.as_deref(),
                medium.thumbnail,
                made.as_deref(),
                medium.remove_at
            ],
        )?;
        Ok(())
    }

    /// A message has it. Does nothing where that is known.
    pub fn add_message(&self, message: &MessageName) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT OR IGNORE INTO medium_message (scope, conversation_id, sender_id, client_msg_id)
             VALUES (?, ?, ?, ?)",
            params![
                self.scope,
                &message.conversation_id,
                &message.sender_id,
                &message.client_msg_id
            ],
        )?;
        Ok(())
    }

    /// A message has it no longer.
    pub fn drop_message(&self, message: &MessageName) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM medium_message
             WHERE scope = ? AND conversation_id = ? AND sender_id = ? AND client_msg_id = ?",
            params![
                self.scope,
                &message.conversation_id,
                &message.sender_id,
                &message.client_msg_id
            ],
        )?;
        Ok(())
    }

    /// Whether any message has it.
    pub fn has_message(&self) -> Result<bool, SqlError> {
        let rows = self.sql.exec(
            "SELECT 1 FROM medium_message WHERE scope = ? LIMIT 1",
            params![self.scope],
        )?;
        Ok(rows.first().is_some())
    }

    /// Whether a message of this conversation has it.
    pub fn is_in(&self, conversation_id: &ConversationId) -> Result<bool, SqlError> {
        let rows = self.sql.exec(
            "SELECT 1 FROM medium_message WHERE scope = ? AND conversation_id = ? LIMIT 1",
            params![self.scope, conversation_id],
        )?;
        Ok(rows.first().is_some())
    }

    /// Some conversations in which messages have it.
    pub fn conversations(&self, most: u32) -> Result<Vec<ConversationId>, SqlError> {
        let rows = self.sql.exec(
            "SELECT DISTINCT conversation_id FROM medium_message WHERE scope = ?
             ORDER BY conversation_id LIMIT ?",
            params![self.scope, most],
        )?;
        rows.rows.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets all of it.
    pub fn erase(&self) -> Result<(), SqlError> {
        self.sql.exec(
            "DELETE FROM medium_message WHERE scope = ?",
            params![self.scope],
        )?;
        self.sql
            .exec("DELETE FROM medium WHERE scope = ?", params![self.scope])?;
        Ok(())
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<String, SqlError> {
    serde_json::to_string(value).map_err(|error| SqlError::Engine(error.to_string()))
}

/// Reads JSON that was stored; the error does not repeat it.
fn from_json<T: serde::de::DeserializeOwned>(text: String) -> Result<T, SqlError> {
    serde_json::from_str(&text)
        .map_err(|_| SqlError::unexpected("a medium in JSON", &Value::Text(text)))
}

impl From<State> for Param<'_> {
    fn from(state: State) -> Self {
        Param::Integer(match state {
            State::Announced => 0,
            State::Uploaded => 1,
            State::Leaving => 2,
        })
    }
}

impl FromValue for State {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::Announced),
            Value::Integer(1) => Ok(Self::Uploaded),
            Value::Integer(2) => Ok(Self::Leaving),
            _ => Err(SqlError::unexpected("a medium's state", value)),
        }
    }
}

impl From<ThumbnailState> for Param<'_> {
    fn from(state: ThumbnailState) -> Self {
        Param::Integer(match state {
            ThumbnailState::None => 0,
            ThumbnailState::Announced => 1,
            ThumbnailState::Pending => 2,
            ThumbnailState::Ready => 3,
        })
    }
}

impl FromValue for ThumbnailState {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(Self::None),
            Value::Integer(1) => Ok(Self::Announced),
            Value::Integer(2) => Ok(Self::Pending),
            Value::Integer(3) => Ok(Self::Ready),
            _ => Err(SqlError::unexpected("a thumbnail's state", value)),
        }
    }
}
