//! Media: bodies, and what messages tell of theirs.

use proptest::prelude::*;

use super::any::{Any, any_enums, any_structs, any_union, any_variant, fields, strategies};
use super::bodies::wire_types;
use super::round_trip;
use crate::protocol::media::*;

wire_types!(
    CompleteRequest,
    MediaDetails,
    MediaKind,
    MediaTraits,
    MediaView,
    PartsRequest,
    ThumbnailRequest,
    ThumbnailState,
    UploadRequest,
    UploadedPart,
);

/// As [`round_trip_all`], of those that write themselves.
pub(super) fn round_trip_texts() {
    round_trip::<MediaType>("MediaType");
    round_trip::<Sha256Digest>("Sha256Digest");
}

any_structs! {
    CompleteRequest { parts }
    MediaDetails { kind, content_type, size, traits }
    MediaTraits { file_name, duration_ms, waveform, width, height, blurhash }
    MediaView { media_id, details, sha256, uploaded, thumbnail, created_at }
    PartsRequest { part_numbers }
    ThumbnailRequest { content_type, size }
    UploadRequest {
        content_type, size, sha256, conversation_id, kind, multipart, thumbnail, file_name, duration_ms,
        waveform, width, height, blurhash,
    }
    UploadedPart { part_number, etag }
}

any_enums! {
    MediaKind { Image {}, Video {}, Voice {}, File {} }
    ThumbnailState { None {}, Announced {}, Pending {}, Ready {} }
}

impl Any for MediaType {
    fn any() -> BoxedStrategy<Self> {
        "[a-z][a-z0-9!#$&^_.+-]{0,9}/[a-z0-9][a-z0-9!#$&^_.+-]{0,9}"
            .prop_map(|text| text.parse().unwrap())
            .boxed()
    }
}

impl Any for Sha256Digest {
    fn any() -> BoxedStrategy<Self> {
        any::<[u8; 32]>().prop_map(Self::from_bytes).boxed()
    }
}
