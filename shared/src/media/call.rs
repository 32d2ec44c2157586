//! What a medium's object can be asked.

use serde::{Deserialize, Serialize};

use super::errand::Which;
use crate::ids::{ClientMessageId, ConversationId, MediaId, UserId};
use crate::object::{ObjectClass, requests};
use crate::protocol::media::{MediaDetails, MediaType, MediaView, UploadRequest, UploadedPart};
use crate::protocol::message::ContentType;

/// The class of media's objects, one per medium.
#[derive(Debug)]
pub struct MediaObject;

impl ObjectClass for MediaObject {
    // `MEDIA` is the bucket.
    const BINDING: &'static str = "MEDIUM";
    type Name = MediaId;
    type Request = MediaRequest;

    fn object_name(name: &MediaId) -> String {
        name.to_string()
    }
}

requests! {
    /// All that a medium's object can be asked.
    MediaRequest of MediaObject {
        /// Take note of an upload that is to come.
        Register => (),
        /// Describe it to the edge, which decides whether the caller may have it.
        LookUp => MediaRecord,
        /// The upload in parts that is under way.
        GetParts => PartsRecord,
        /// The upload is done.
        Complete => MediaView,
        /// It is about to be sent in a message.
        Attach => MediaDetails,
        /// A message with it is gone.
        Release => (),
        /// Delete it.
        DeleteMedia => (),
        /// What a thumbnail is to be made of.
        GetThumbnailJob => Option<ThumbnailJob>,
        /// A thumbnail was made, or cannot be.
        NoteThumbnail => (),
    }
}

/// Takes note of an upload that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The object's own id.
    pub media_id: MediaId,
    /// Who uploads.
    pub owner_id: UserId,
    /// What; validated by the service.
    pub upload: UploadRequest,
}

/// Describes the medium. `not_found` where there is none, or where these bytes are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// Who asks.
    pub actor: UserId,
    /// Of what its bytes are wanted, if of anything.
    pub bytes: Option<Which>,
    /// Where the caller has it from.
    pub conversation_id: Option<ConversationId>,
}

/// A medium, as the edge sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    /// Who uploaded it.
    pub owner_id: UserId,
    /// What it is.
    pub view: MediaView,
    /// The type of its thumbnail.
    pub thumbnail_type: MediaType,
    /// Where it was sent: the conversation that was asked for, or the first ones.
    pub conversation_ids: Vec<ConversationId>,
}

/// The upload in parts that is under way; its uploader alone may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetParts {
    /// Who asks.
    pub actor: UserId,
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsRecord {
    /// Storage's name for it.
    pub upload_id: String,
    /// Bytes of all parts together.
    pub size: u64,
}

/// The upload is done; its uploader alone may say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Who says so.
    pub actor: UserId,
    /// All parts, of an upload in parts.
    pub parts: Vec<UploadedPart>,
}

/// A message with the medium is about to be stored. From then on the medium is not cleaned up.
/// Asked again for the same message, the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which message.
    pub message: MessageName,
    /// What the message is.
    pub content_type: ContentType,
    /// Whether its sender has it from another message that it can read.
    pub forwarded: bool,
}

/// What names a message before it has an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageName {
    /// Where it is sent.
    pub conversation_id: ConversationId,
    /// By whom.
    pub sender_id: UserId,
    /// The sender's name for it.
    pub client_msg_id: ClientMessageId,
}

/// A message with the medium is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which message.
    pub message: MessageName,
}

/// Deletes the medium, wherever it was sent; its uploader alone may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMedia {
    /// Who asks.
    pub actor: UserId,
}

/// What is a thumbnail to be made of? Nothing where none is wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetThumbnailJob {}

/// What a thumbnail is to be made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThumbnailJob {
    /// The original's type.
    pub content_type: MediaType,
    /// The original's bytes.
    pub size: u64,
}

/// A thumbnail was made and stored, or none can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteThumbnail {
    /// What it is, where there is one.
    pub made: Option<MadeThumbnail>,
}

/// What was learned while a thumbnail was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeThumbnail {
    /// The thumbnail's type.
    pub content_type: MediaType,
    /// Pixels across of the original, as it is shown.
    pub width: u32,
    /// Pixels down of the original, as it is shown.
    pub height: u32,
    /// What stands in its place until it is loaded.
    pub blurhash: String,
}
