//! One type per identifier. On the wire each is a string holding a UUID in lower case with
//! hyphens; in storage it is the UUID's 16 bytes.
//!
//! What always holds: a value of one of these types was well-formed text or well-formed bytes.
//! An id in upper case, in braces or without hyphens is refused rather than normalised, so that
//! a client gets back exactly the id that it sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::entropy::Entropy;
use crate::protocol::seq::Seq;
use crate::sql::{FromValue, Param, SqlError, Value};
use crate::time::Timestamp;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID in lower case with hyphens")]
pub struct InvalidId;

fn parse_canonical(text: &str) -> Result<Uuid, InvalidId> {
    let is_canonical = text.len() == 36
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if !is_canonical {
        return Err(InvalidId);
    }
    Uuid::try_parse(text).map_err(|_| InvalidId)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id that a UUID holds.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }

            /// The 16 bytes that storage holds.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// A fresh random id (UUIDv4).
            #[must_use]
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(Builder::from_random_bytes(entropy.bytes()).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_canonical(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                parse_canonical(&text).map(Self).map_err(serde::de::Error::custom)
            }
        }

        impl<'a> From<&'a $name> for Param<'a> {
            fn from(id: &'a $name) -> Self {
                Param::Blob(id.as_bytes())
            }
        }

        impl FromValue for $name {
            fn from_value(value: &Value) -> Result<Self, SqlError> {
                match value {
                    Value::Blob(bytes) => Uuid::from_slice(bytes)
                        .map(Self)
                        .map_err(|_| SqlError::unexpected("a UUID's 16 bytes", value)),
                    _ => Err(SqlError::unexpected("a UUID's 16 bytes", value)),
                }
            }
        }
    };
}

id_type!(
    /// A person with an account.
    UserId
);
id_type!(
    /// One signed-in device (an app or a browser) of a user.
    DeviceId
);
id_type!(
    /// A direct chat or a group; names the object that is the only writer of its log.
    ConversationId
);
id_type!(
    /// A message: a UUIDv7 made by the server which also holds the message's [`Seq`].
    MessageId
);
id_type!(
    /// The sender's own name for a message; sending it again is recognised for as long as the
    /// conversation's log lives.
    ClientMessageId
);
id_type!(
    /// A message that is to be sent later.
    ScheduledId
);
id_type!(
    /// A report of a message to the moderators.
    ReportId
);
id_type!(
    /// An uploaded medium.
    MediaId
);

/// The namespace of UUIDv5 from which the ids of direct conversations are derived.
const DIRECT_CONVERSATIONS: Uuid = Uuid::from_u128(0x8f0b_6a1e_52c7_4d0b_9c55_70a2_16d3_c4f1);

impl ConversationId {
    /// The id of the direct conversation between two users: the same from both sides, without
    /// a look-up (UUIDv5 of `min:max`).
    #[must_use]
    pub fn direct(one: UserId, other: UserId) -> Self {
        let (min, max) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        let name = format!("{min}:{max}");
        Self(Uuid::new_v5(&DIRECT_CONVERSATIONS, name.as_bytes()))
    }
}

/// How many low bits of a message id hold the message's seq.
const SEQ_BITS: u32 = 40;

impl MessageId {
    /// A UUIDv7 (RFC 9562, section 5.7) of `created_at` whose low 40 bits hold `seq` and whose
    /// other 34 free bits are random. So a message is found by its id through the log's primary
    /// key, and no index on ids has to be written with every message.
    #[must_use]
    pub fn new(created_at: Timestamp, seq: Seq, entropy: &dyn Entropy) -> Self {
        let random = u128::from(u64::from_be_bytes(entropy.bytes()));
        let millis = (created_at.as_millis().max(0).unsigned_abs() & 0xffff_ffff_ffff) as u128;
        let low = u128::from(seq.get()) & ((1 << SEQ_BITS) - 1);
        let rand_a = random & 0xfff;
        let rand_b_high = (random >> 12) & 0x3f_ffff;
        Self(Uuid::from_u128(
            millis << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b_high << SEQ_BITS | low,
        ))
    }

    /// The seq that this id claims. A client can make an id up: whoever looks a message up by
    /// this seq must compare the whole id with the one stored there.
    #[must_use]
    pub fn claimed_seq(&self) -> Seq {
        let low = self.0.as_u128() & ((1 << SEQ_BITS) - 1);
        Seq::new(u64::try_from(low).unwrap_or(0))
    }
}

/// How far apart names are, at most, that are not told apart by their time.
const STEP_BITS: u32 = 40;

impl ScheduledId {
    /// A UUIDv7 (RFC 9562, section 5.7) of `now` that comes after `last`: names are in the order in
    /// which they were given, also within a millisecond and where the clock was moved back.
    #[must_use]
    pub fn after(last: Option<Self>, now: Timestamp, entropy: &dyn Entropy) -> Self {
        // Within a random UUID the version and the variant stand where those of a UUIDv7 do.
        let random = Self::random(entropy).0.as_u128() & !(u128::MAX << 80) & !(0xf << 76);
        let millis = (now.as_millis().max(0).unsigned_abs() & 0xffff_ffff_ffff) as u128;
        let name = millis << 80 | 0x7 << 76 | random;
        // Not by one: a name that was taken back is not given again.
        let step = 1 + (random & ((1 << STEP_BITS) - 1));
        let next = last.map_or(0, |last| last.0.as_u128().saturating_add(step));
        Self(Uuid::from_u128(name.max(next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let good = "0193e8a0-1111-7abc-8def-0123456789ab";
        assert_eq!(good.parse::<UserId>().unwrap().to_string(), good);
        for bad in [
            "",
            "0193E8A0-1111-7abc-8def-0123456789ab",
            "0193e8a011117abc8def0123456789ab",
            "{0193e8a0-1111-7abc-8def-0123456789ab}",
            "0193e8a0-1111-7abc-8def-0123456789a",
            "0193e8a01111-7abc-8def-0123456789ab-",
            "urn:uuid:0193e8a0-1111-7abc-8def-0123456789ab",
        ] {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidId), "{bad:?}");
        }
    }

    #[test]
    fn a_direct_conversation_has_one_id_from_both_sides() {
        let entropy = SeededEntropy::new(1);
        let (one, other) = (UserId::random(&entropy), UserId::random(&entropy));
        let id = ConversationId::direct(one, other);
        assert_eq!(id, ConversationId::direct(other, one));
        assert_eq!(id.as_uuid().get_version_num(), 5);
        assert_ne!(id, ConversationId::direct(one, UserId::random(&entropy)));
    }

    #[test]
    fn the_derivation_of_direct_conversations_is_pinned() {
        let one: UserId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let other: UserId = "00000000-0000-4000-8000-000000000002".parse().unwrap();
        assert_eq!(
            ConversationId::direct(one, other).to_string(),
            "51286324-00ab-5209-a153-71ae16d323a5"
        );
    }

    #[test]
    fn a_message_id_is_a_version_7_uuid_that_holds_time_and_seq() {
        let entropy = SeededEntropy::new(2);
        let at = Timestamp::from_millis(1_790_000_000_123);
        let seq = Seq::new(1_234_567);
        let id = MessageId::new(at, seq, &entropy);
        assert_eq!(id.as_uuid().get_version_num(), 7);
        assert_eq!(id.as_uuid().get_variant(), uuid::Variant::RFC4122);
        assert_eq!((id.as_uuid().as_u128() >> 80) as i64, at.as_millis());
        assert_eq!(id.claimed_seq(), seq);
        assert_ne!(
            id,
            MessageId::new(at, seq, &entropy),
            "ids are not guessable from time and seq"
        );
    }

    #[test]
    fn scheduled_messages_are_named_in_the_order_in_which_they_are_made() {
        let entropy = SeededEntropy::new(1);
        let mut names = vec![ScheduledId::after(
            None,
            Timestamp::from_millis(5000),
            &entropy,
        )];
        for millis in [5000, 5000, 5000, 4000, 6000, 6000] {
            let now = Timestamp::from_millis(millis);
            names.push(ScheduledId::after(names.last().copied(), now, &entropy));
        }
        assert!(names.is_sorted());
        // One that was taken back is not given to another.
        let last = names.last().copied();
        let now = Timestamp::from_millis(4000);
        let taken_back = ScheduledId::after(last, now, &entropy);
        assert_ne!(ScheduledId::after(last, now, &entropy), taken_back);
        let first = names[0].0;
        assert_eq!((first.get_version_num(), first.as_u128() >> 80), (7, 5000));
        assert_eq!(first.get_variant(), uuid::Variant::RFC4122);
    }
}
