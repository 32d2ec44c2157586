//! The inbox: how far each device has come in each conversation.
//!
//! What always holds: a device without a position of its own in a conversation is at its head.
//! So what keeps up costs no bytes, and a device that signs in begins at the head without a row
//! being written for it. A delivery gives every device that does not have its events a position,
//! in the one row that it writes anyway.

use std::collections::BTreeMap;

use super::list::read_last;
use super::store::Store;
use crate::ids::{ConversationId, DeviceId, UserId};
use crate::params;
use crate::planted::{self, Bug};
use crate::protocol::seq::Seq;
use crate::sql::{FromValue, SqlError, Value};
use crate::time::Timestamp;

/// The positions of the devices that lag in a conversation. Stored as 24 bytes each: the
/// device's id, and the seq in big-endian order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Positions(BTreeMap<DeviceId, Seq>);

const ENTRY_BYTES: usize = 24;

impl Positions {
    /// Where the device is, in a conversation whose newest event is `head`.
    pub fn of(&self, device_id: DeviceId, head: Seq) -> Seq {
        self.0.get(&device_id).copied().unwrap_or(head)
    }

    /// Whether the device lags.
    pub fn lags(&self, device_id: DeviceId) -> bool {
        self.0.contains_key(&device_id)
    }

    /// The device has come to `seq`; positions never go backwards.
    pub fn advance(&mut self, device_id: DeviceId, seq: Seq, head: Seq) {
        if seq >= head {
            self.0.remove(&device_id);
        } else if let Some(position) = self.0.get_mut(&device_id) {
            *position = seq.max(*position);
        }
    }

    /// The positions after the head has moved on from `before` to `head`, of the devices that
    /// are signed in.
    pub fn after_delivery(&self, devices: &[DeviceId], before: Seq, head: Seq) -> Self {
        let lagging = devices
            .iter()
            .map(|device_id| (*device_id, self.of(*device_id, before)))
            .filter(|(_, seq)| *seq < head);
        Self(lagging.collect())
    }

    /// The stored form; none where no device lags.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY_BYTES);
        for (device_id, seq) in &self.0 {
            bytes.extend_from_slice(device_id.as_bytes());
            bytes.extend_from_slice(&seq.get().to_be_bytes());
        }
        Some(bytes)
    }
}

impl FromValue for Positions {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        let bytes = match value {
            Value::Null => return Ok(Self::default()),
            Value::Blob(bytes) => bytes,
            _ => return Err(SqlError::unexpected("positions of devices", value)),
        };
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(SqlError::unexpected("positions of devices", value));
        }
        entries
            .iter()
            .map(|entry| {
                let (id, seq) = entry.split_at(16);
                let device_id = DeviceId::from_value(&Value::Blob(id.to_vec()))?;
                let seq = <[u8; 8]>::try_from(seq)
                    .map_err(|_| SqlError::unexpected("positions of devices", value))?;
                Ok((device_id, Seq::new(u64::from_be_bytes(seq))))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A conversation, as the inbox sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InboxRow {
    pub head_seq: Seq,
    pub read_seq: Seq,
    pub unread: u64,
    /// The last event that any device has acknowledged.
    pub delivered_seq: Seq,
    pub positions: Positions,
    pub member_count: u32,
    /// The newest message: its seq and sender.
    pub last_message: Option<(Seq, UserId)>,
    /// Whether the user is no longer a member.
    pub is_former: bool,
}

/// A conversation in which a device may lag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lagging {
    pub conversation_id: ConversationId,
    pub head_seq: Seq,
    pub positions: Positions,
    pub active_at: Timestamp,
    /// Whether the user is no longer a member.
    pub is_former: bool,
}

impl Store<'_> {
    /// The conversation, where the user has it.
    pub fn inbox_row(self, id: &ConversationId) -> Result<Option<InboxRow>, SqlError> {
        let found = self.sql.exec(
            "SELECT head_seq, read_seq, unread, delivered_seq, positions, member_count,
                last_message, membership <> 0
             FROM inbox WHERE scope = ? AND conversation_id = ?",
            params![self.scope, id],
        )?;
        found
            .first()
            .map(|row| {
                let last = read_last(row.get(6)?)?;
                Ok(InboxRow {
                    head_seq: row.get(0)?,
                    read_seq: row.get(1)?,
                    unread: row.get(2)?,
                    delivered_seq: row.get(3)?,
                    positions: row.get(4)?,
                    member_count: row.get(5)?,
                    last_message: last.map(|last| (last.seq, last.sender_id)),
                    is_former: row.get(7)?,
                })
            })
            .transpose()
    }

    /// The conversations in which some device lags, those quiet for longest first.
    pub fn lagging(self) -> Result<Vec<Lagging>, SqlError> {
        let found = self.sql.exec(
            "SELECT conversation_id, head_seq, positions, active_at, membership <> 0 FROM inbox
             WHERE scope = ? AND positions IS NOT NULL ORDER BY active_at, conversation_id",
            params![self.scope],
        )?;
        found
            .rows
            .iter()
            .map(|row| {
                Ok(Lagging {
                    conversation_id: row.get(0)?,
                    head_seq: row.get(1)?,
                    positions: row.get(2)?,
                    active_at: row.get(3)?,
                    is_former: row.get(4)?,
                })
            })
            .collect()
    }

    /// Writes down how far the devices have come.
    pub fn save_positions(
        self,
        id: &ConversationId,
        positions: &Positions,
        delivered_seq: Seq,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE inbox SET positions = ?, delivered_seq = ?
             WHERE scope = ? AND conversation_id = ?",
            params![
                positions.to_bytes().as_deref(),
                delivered_seq,
                self.scope,
                id
            ],
        )?;
        Ok(())
    }

    /// Writes down up to where the user has read.
    pub fn save_read(
        self,
        id: &ConversationId,
        read_seq: Seq,
        unread: u64,
    ) -> Result<(), SqlError> {
        self.sql.exec(
            "UPDATE inbox SET read_seq = ?, unread = ?,
                delivered_seq = max(delivered_seq, ?)
             WHERE scope = ? AND conversation_id = ?",
            params![
                read_seq,
                i64::try_from(unread).unwrap_or(i64::MAX),
                if planted::is_on(Bug::ReadNotDelivered) {
                    Seq::ZERO
                } else {
                    read_seq
                },
                self.scope,
                id
            ],
        )?;
        Ok(())
    }

    /// Unread messages in all conversations that are not archived.
    pub fn total_unread(self) -> Result<u64, SqlError> {
        let found = self.sql.exec(
            "SELECT coalesce(sum(unread), 0) FROM inbox WHERE scope = ? AND archived = 0",
            params![self.scope],
        )?;
        Ok(found.scalar()?.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn only_devices_that_lag_have_a_position() {
        let entropy = SeededEntropy::new(1);
        let (phone, laptop) = (DeviceId::random(&entropy), DeviceId::random(&entropy));
        let devices = [phone, laptop];
        let mut positions = Positions::default().after_delivery(&devices, Seq::new(4), Seq::new(6));
        assert_eq!(positions.of(phone, Seq::new(6)), Seq::new(4));
        positions.advance(phone, Seq::new(5), Seq::new(6));
        positions.advance(phone, Seq::new(2), Seq::new(6));
        positions.advance(laptop, Seq::new(6), Seq::new(6));
        assert_eq!(positions.of(phone, Seq::new(6)), Seq::new(5));
        assert!(!positions.lags(laptop));
        let stored = positions.to_bytes().unwrap();
        assert_eq!(stored.len(), ENTRY_BYTES);
        assert_eq!(
            Positions::from_value(&Value::Blob(stored)).unwrap(),
            positions
        );
        positions.advance(phone, Seq::new(9), Seq::new(6));
        assert_eq!(positions.to_bytes(), None);
        assert!(Positions::from_value(&Value::Blob(vec![0; 25])).is_err());
    }
}
