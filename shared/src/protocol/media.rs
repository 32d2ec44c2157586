//! Media on the wire: what an upload is to be, what a message tells of its medium.

mod values;

use serde::{Deserialize, Serialize};

pub use self::values::{InvalidDigest, InvalidMediaType, MediaType, Sha256Digest};

use super::input::Fields;
use super::message::ContentType;
use super::problem::{Code, Problem};
use crate::ids::{ConversationId, MediaId};
use crate::limits;
use crate::time::Timestamp;

/// What a medium is, which says how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A voice note.
    Voice,
    /// Anything else.
    File,
}

impl MediaKind {
    /// What a medium of this type is, where its uploader does not say.
    #[must_use]
    pub fn of(content_type: &MediaType) -> Self {
        match content_type.as_str() {
            "image/jpeg" | "image/png" | "image/webp" | "image/gif" | "image/avif"
            | "image/heic" | "image/heif" => Self::Image,
            text if text.starts_with("video/") => Self::Video,
            text if text.starts_with("audio/") => Self::Voice,
            _ => Self::File,
        }
    }

    /// Bytes that a medium of this kind may have.
    #[must_use]
    pub const fn most_bytes(self) -> u64 {
        match self {
            Self::Image => limits::IMAGE_BYTES,
            Self::Video => limits::VIDEO_BYTES,
            Self::Voice => limits::VOICE_BYTES,
            Self::File => limits::FILE_BYTES,
        }
    }

    /// Whether a message of this type can carry it. Anything can be sent as a file, and as the
    /// ciphertext that goes with an encrypted message.
    #[must_use]
    pub const fn fits(self, content_type: ContentType) -> bool {
        matches!(
            (self, content_type),
            (_, ContentType::File | ContentType::Encrypted)
                | (Self::Image, ContentType::Image)
                | (Self::Video, ContentType::Video)
                | (Self::Voice, ContentType::Voice)
        )
    }
}

/// The body of `POST /media/upload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRequest {
    /// Its type.
    pub content_type: MediaType,
    /// Its bytes.
    pub size: u64,
    /// The digest of its bytes, which storage then checks.
    #[serde(default)]
    pub sha256: Option<Sha256Digest>,
    /// Where it is to be sent; the caller must be a member.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// What it is, where its type does not say it.
    #[serde(default)]
    pub kind: Option<MediaKind>,
    /// Whether it is uploaded in parts.
    #[serde(default)]
    pub multipart: bool,
    /// A thumbnail or poster that the client uploads with it.
    #[serde(default)]
    pub thumbnail: Option<ThumbnailRequest>,
    /// What it is called.
    #[serde(default)]
    pub file_name: Option<String>,
    /// How long it plays.
    #[serde(default)]
    pub duration_ms: Option<u32>,
    /// How loud it is over time: numbers from 0 to 100.
    #[serde(default)]
    pub waveform: Option<Vec<u8>>,
    /// Pixels across, as it is shown.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels down, as it is shown.
    #[serde(default)]
    pub height: Option<u32>,
    /// What stands in its place until it is loaded.
    #[serde(default)]
    pub blurhash: Option<String>,
}

/// A thumbnail that the client uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThumbnailRequest {
    /// Its type: JPEG, PNG or WebP.
    pub content_type: MediaType,
    /// Its bytes.
    pub size: u64,
}

/// What a medium looks and sounds like, as far as its uploader says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MediaTraits {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// How long it plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u32>,
    /// How loud it is over time: numbers from 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waveform: Option<Vec<u8>>,
    /// Pixels across, as it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels down, as it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// What stands in its place until it is loaded (<https://blurha.sh>).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blurhash: Option<String>,
}

impl UploadRequest {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.kind
            .unwrap_or_else(|| MediaKind::of(&self.content_type))
    }

    /// What it looks and sounds like.
    #[must_use]
    pub fn traits(&self) -> MediaTraits {
        // One by one, not flattened, so that a field that does not fit is named.
        MediaTraits {
            file_name: self.file_name.clone(),
            duration_ms: self.duration_ms,
            waveform: self.waveform.clone(),
            width: self.width,
            height: self.height,
            blurhash: self.blurhash.clone(),
        }
    }

    /// Checks what can be checked without looking anywhere.
    ///
    /// # Errors
    /// `payload_too_large` where it is over the limit of its kind; `invalid_request`, with the
    /// fields, for everything else.
    pub fn validate(&self) -> Result<(), Problem> {
        let kind = self.kind();
        let mut fields = Fields::new();
        fields.require(self.size > 0, "size", "must be at least 1");
        let own = MediaKind::of(&self.content_type);
        fields.require(
            kind == own || kind == MediaKind::File,
            "kind",
            "does not fit the content_type",
        );
        fields.require(
            !self.multipart || self.size > limits::MEDIA_PART_BYTES,
            "multipart",
            format!("is for more than {} bytes", limits::MEDIA_PART_BYTES),
        );
        fields.require(
            !self.multipart || self.sha256.is_none(),
            "sha256",
            "cannot be checked for an upload in parts",
        );
        if let Some(thumbnail) = &self.thumbnail {
            fields.require(
                thumbnail.content_type.has_thumbnail(),
                "thumbnail.content_type",
                "must be image/jpeg, image/png or image/webp",
            );
            fields.require(thumbnail.size > 0, "thumbnail.size", "must be at least 1");
            fields.require(
                thumbnail.size <= limits::THUMBNAIL_BYTES,
                "thumbnail.size",
                format!("must be at most {}", limits::THUMBNAIL_BYTES),
            );
        }
        self.traits().check(&mut fields, kind);
        fields.finish()?;
        if self.size > kind.most_bytes() {
            let detail = format!(
                "Media of this kind have at most {} bytes.",
                kind.most_bytes()
            );
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
        Ok(())
    }
}

impl MediaTraits {
    fn check(&self, fields: &mut Fields, kind: MediaKind) {
        if let Some(name) = &self.file_name {
            fields.label("file_name", name, limits::FILE_NAME_CHARS);
            fields.require(
                !name.contains(['\n', '\t', '/', '\\']),
                "file_name",
                "must not have slashes, line breaks or tabs",
            );
        }
        let plays = matches!(kind, MediaKind::Video | MediaKind::Voice);
        fields.require(
            plays || self.duration_ms.is_none(),
            "duration_ms",
            "goes with video and voice",
        );
        if let Some(waveform) = &self.waveform {
            fields.require(kind == MediaKind::Voice, "waveform", "goes with voice");
            fields.require(
                (1..=limits::WAVEFORM_ITEMS).contains(&waveform.len()),
                "waveform",
                format!("must have 1 to {} items", limits::WAVEFORM_ITEMS),
            );
            fields.require(
                waveform.iter().all(|level| *level <= 100),
                "waveform",
                "must be numbers from 0 to 100",
            );
        }
        let is_side = |side: Option<u32>| side.is_none_or(|side| (1..=100_000).contains(&side));
        fields.require(is_side(self.width), "width", "must lie from 1 to 100000");
        fields.require(is_side(self.height), "height", "must lie from 1 to 100000");
        if let Some(blurhash) = &self.blurhash {
            fields.require(
                (6..=limits::BLURHASH_CHARS).contains(&blurhash.len())
                    && blurhash.bytes().all(|c| c.is_ascii_graphic()),
                "blurhash",
                "is not one",
            );
        }
    }
}

/// What a message tells of the medium that it carries, as it was when it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaDetails {
    /// What it is.
    pub kind: MediaKind,
    /// Its type.
    pub content_type: MediaType,
    /// Its bytes.
    pub size: u64,
    /// What it looks and sounds like.
    #[serde(flatten)]
    pub traits: MediaTraits,
}

/// Where a message's medium is to be had: a path, from which a member is sent on to an address
/// that expires.
#[must_use]
pub fn media_url(media_id: MediaId, conversation_id: ConversationId) -> String {
    format!("/api/v1/media/{media_id}?conversation_id={conversation_id}")
}

/// The body of `POST /media/{media_id}/parts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsRequest {
    /// Which, from 1.
    pub part_numbers: Vec<u16>,
}

/// A part that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedPart {
    /// Which, from 1.
    pub part_number: u16,
    /// The `ETag` of the answer to its upload.
    pub etag: String,
}

/// The body of `POST /media/{media_id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CompleteRequest {
    /// All parts of an upload in parts, in their order.
    #[serde(default)]
    pub parts: Vec<UploadedPart>,
}

/// How many parts a medium of this size has.
#[must_use]
pub fn part_count(size: u64) -> u16 {
    u16::try_from(size.div_ceil(limits::MEDIA_PART_BYTES)).unwrap_or(u16::MAX)
}

/// Bytes of a part, of which there is such a number.
#[must_use]
pub fn part_size(size: u64, part_number: u16) -> Option<u64> {
    if part_number == 0 || part_number > part_count(size) {
        return None;
    }
    let before = u64::from(part_number - 1) * limits::MEDIA_PART_BYTES;
    Some((size - before).min(limits::MEDIA_PART_BYTES))
}

/// A medium, as those see it who may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaView {
    /// Its id.
    pub media_id: MediaId,
    /// What it is.
    #[serde(flatten)]
    pub details: MediaDetails,
    /// The digest of its bytes, where its uploader gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// Whether its bytes are there.
    pub uploaded: bool,
    /// Whether it has a thumbnail.
    pub thumbnail: ThumbnailState,
    /// When its upload was asked for.
    pub created_at: Timestamp,
}

/// Whether a medium has a thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThumbnailState {
    /// It has none, and gets none.
    None,
    /// Its uploader is to upload one.
    Announced,
    /// One is being made.
    Pending,
    /// It has one.
    Ready,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: serde_json::Value) -> Result<UploadRequest, Problem> {
        let mut body = serde_json::json!({"content_type": "image/jpeg", "size": 1000});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let request: UploadRequest = super::super::input::json(body.to_string().as_bytes())?;
        request.validate()?;
        Ok(request)
    }

    fn wrong(change: serde_json::Value) -> String {
        let problem = request(change).unwrap_err();
        problem.errors.first().map_or_else(
            || problem.code.as_str().to_owned(),
            |error| error.field.clone(),
        )
    }

    #[test]
    fn only_a_plain_media_type_is_one() {
        for good in [
            "image/jpeg",
            "application/vnd.api+json",
            "text/x-c",
            "audio/3gpp2",
        ] {
            assert_eq!(good.parse::<MediaType>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "image",
            "image/",
            "/jpeg",
            "image/jpeg; charset=utf-8",
            "Image/JPEG",
            "image/jpeg\r\nx-amz-acl: public-read",
            "image/jp eg",
            "image/jpeg/x",
            "image/\u{e9}",
            "-x/y",
            &format!("image/{}", "x".repeat(200)),
        ] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_are_those_of_the_kind() {
        const MIB: u64 = 1024 * 1024;
        for (content_type, kind, most) in [
            ("image/png", MediaKind::Image, 16 * MIB),
            ("video/mp4", MediaKind::Video, 100 * MIB),
            ("audio/ogg", MediaKind::Voice, 16 * MIB),
            ("application/pdf", MediaKind::File, 100 * MIB),
            ("image/svg+xml", MediaKind::File, 100 * MIB),
            ("text/html", MediaKind::File, 100 * MIB),
        ] {
            let ask = |size: u64| {
                request(serde_json::json!({"content_type": content_type, "size": size}))
            };
            assert_eq!(ask(most).unwrap().kind(), kind, "{content_type}");
            assert_eq!(ask(most + 1).unwrap_err().status, 413, "{content_type}");
        }
        let file = request(serde_json::json!({"kind": "file", "size": 50 * MIB})).unwrap();
        assert_eq!(file.kind(), MediaKind::File);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (change, field) in [
            (serde_json::json!({"size": 0}), "size"),
            (serde_json::json!({"size": -1}), "size"),
            (serde_json::json!({"content_type": "a b/c"}), "content_type"),
            (serde_json::json!({"kind": "video"}), "kind"),
            (serde_json::json!({"multipart": true}), "multipart"),
            (serde_json::json!({"sha256": "AB"}), "sha256"),
            (serde_json::json!({"duration_ms": 5}), "duration_ms"),
            (serde_json::json!({"waveform": [1]}), "waveform"),
            (serde_json::json!({"width": 0}), "width"),
            (serde_json::json!({"blurhash": "a"}), "blurhash"),
            (
                serde_json::json!({"file_name": "../../etc/passwd"}),
                "file_name",
            ),
            (serde_json::json!({"file_name": "a\r\nb"}), "file_name"),
            (
                serde_json::json!({"thumbnail": {"content_type": "text/html", "size": 5}}),
                "thumbnail.content_type",
            ),
            (
                serde_json::json!({"thumbnail": {"content_type": "image/png", "size": 1 << 30}}),
                "thumbnail.size",
            ),
        ] {
            assert_eq!(wrong(change.clone()), field, "{change}");
        }
    }

    #[test]
    fn a_digest_is_read_and_written_in_both_forms() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let digest: Sha256Digest = hex.parse().unwrap();
        assert_eq!(digest.to_string(), hex);
        assert_eq!(Sha256Digest::from_base64(&digest.to_base64()), Some(digest));
        assert!(hex.to_uppercase().parse::<Sha256Digest>().is_err());
        assert!(
            format!("+{}", hex.trim_start_matches('9'))
                .parse::<Sha256Digest>()
                .is_err()
        );
        assert_eq!(Sha256Digest::from_base64("AAAA"), None);
    }

    #[test]
    fn parts_make_up_the_whole() {
        let whole = limits::MEDIA_PART_BYTES * 2 + 5;
        let sizes: Vec<_> = (0..=4).map(|number| part_size(whole, number)).collect();
        let part = Some(limits::MEDIA_PART_BYTES);
        assert_eq!(sizes, [None, part, part, Some(5), None]);
        assert_eq!(part_count(limits::MEDIA_PART_BYTES * 2), 2);
    }

    #[test]
    fn a_message_carries_what_fits_it() {
        use ContentType as T;
        for kind in [
            MediaKind::Image,
            MediaKind::Video,
            MediaKind::Voice,
            MediaKind::File,
        ] {
            assert!(kind.fits(T::File) && kind.fits(T::Encrypted));
            assert!(!kind.fits(T::Text) && !kind.fits(T::Poll));
            assert_eq!(kind.fits(T::Image), kind == MediaKind::Image);
            assert_eq!(kind.fits(T::Voice), kind == MediaKind::Voice);
        }
    }
}
