//! Any value of a wire type. A struct is given by its fields, an enum by its variants: the types of
//! the fields say how to make them.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::ids::{
    ClientMessageId, ConversationId, DeviceId, MediaId, MessageId, ReportId, ScheduledId, UserId,
};
use crate::protocol::seq::Seq;
use crate::time::Timestamp;

/// The last moment that RFC 3339 can write.
const LAST_MILLIS: i64 = 253_402_300_799_999;

/// A type of which any value can be made.
pub(super) trait Any: Debug + Sized + 'static {
    /// Makes them.
    fn any() -> BoxedStrategy<Self>;

    /// Makes short lists of them.
    fn any_list() -> BoxedStrategy<Vec<Self>> {
        vec(Self::any(), 0..4).boxed()
    }
}

/// Makes values of the type that is wanted.
pub(super) fn any_of<T: Any>() -> BoxedStrategy<T> {
    T::any()
}

impl<T: Any> Any for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        proptest::option::of(T::any()).boxed()
    }
}

impl<T: Any> Any for Vec<T> {
    fn any() -> BoxedStrategy<Self> {
        T::any_list()
    }
}

impl<T: Any> Any for Box<T> {
    fn any() -> BoxedStrategy<Self> {
        T::any().prop_map(Box::new).boxed()
    }
}

impl Any for String {
    fn any() -> BoxedStrategy<Self> {
        let nasty = prop::sample::select(vec!['"', '\\', '\n', '\0', '\u{2028}', '\u{10ffff}']);
        let text = prop_oneof![4 => any::<char>(), 1 => nasty];
        vec(text, 0..12).prop_map(String::from_iter).boxed()
    }
}

macro_rules! any_primitives {
    ($($type:ty),*) => {$(
        impl Any for $type {
            fn any() -> BoxedStrategy<Self> {
                any::<Self>().boxed()
            }
        }
    )*};
}
any_primitives!(bool, u8, u16, u32, u64);

macro_rules! any_ids {
    ($($type:ty),*) => {$(
        impl Any for $type {
            fn any() -> BoxedStrategy<Self> {
                any::<u128>().prop_map(|bits| Self::from_uuid(Uuid::from_u128(bits))).boxed()
            }
        }
    )*};
}
any_ids!(
    ClientMessageId,
    ConversationId,
    DeviceId,
    MediaId,
    MessageId,
    ReportId,
    ScheduledId,
    UserId
);

impl Any for Timestamp {
    fn any() -> BoxedStrategy<Self> {
        (0..=LAST_MILLIS).prop_map(Self::from_millis).boxed()
    }
}

impl Any for Seq {
    fn any() -> BoxedStrategy<Self> {
        (0..=Self::BEYOND.get()).prop_map(Self::new).boxed()
    }
}

/// `(first, (second, ()))` of strategies: tuples of any length.
macro_rules! strategies {
    () => { proptest::strategy::Just(()) };
    ($field:ident $(, $rest:ident)*) => {
        ($crate::protocol::wire::any::any_of(), strategies!($($rest),*))
    };
}

/// The pattern that takes them apart.
macro_rules! fields {
    () => { () };
    ($field:ident $(, $rest:ident)*) => { ($field, fields!($($rest),*)) };
}

/// Structs, each by its fields.
macro_rules! any_structs {
    ($($type:ident { $($field:ident),* $(,)? })*) => {$(
        impl $crate::protocol::wire::any::Any for $type {
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                strategies!($($field),*)
                    .prop_map(|fields!($($field),*)| Self { $($field),* })
                    .boxed()
            }
        }
    )*};
}

/// One variant: with one value, or with named fields, none of them for a bare word.
macro_rules! any_variant {
    ($type:ident::$variant:ident ($value:ident)) => {
        $crate::protocol::wire::any::any_of().prop_map($type::$variant).boxed()
    };
    ($type:ident::$variant:ident { $($field:ident),* }) => {
        strategies!($($field),*)
            .prop_map(|fields!($($field),*)| $type::$variant { $($field),* })
            .boxed()
    };
}

/// An enum, by all of its variants: one that is left out does not compile.
macro_rules! any_enums {
    ($($type:ident { $($variant:ident $fields:tt),* $(,)? })*) => {$(
        impl $crate::protocol::wire::any::Any for $type {
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                any_union!($type { $($variant $fields),* })
            }
        }
    )*};
}

/// Any of an enum's variants.
macro_rules! any_union {
    ($type:ident { $($variant:ident $fields:tt),* }) => {{
        const fn _every_variant_is_listed(value: &$type) {
            match value {
                $($type::$variant { .. } => (),)*
            }
        }
        proptest::strategy::Union::new(vec![$(any_variant!($type::$variant $fields)),*]).boxed()
    }};
}

pub(super) use {any_enums, any_structs, any_union, any_variant, fields, strategies};
