//! What a medium's object wants done in object storage, as data.
//!
//! What always holds: every errand can be run again without harm.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::MediaId;
use crate::protocol::media::{MediaType, Sha256Digest, UploadedPart};

/// Which of a medium's objects in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// What was uploaded.
    Original,
    /// A small picture of it.
    Thumbnail,
}

/// An object's name in storage: made of nothing that a client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Of which medium.
    pub media_id: MediaId,
    /// Which.
    pub which: Which,
}

impl ObjectKey {
    /// What was uploaded.
    #[must_use]
    pub const fn original(media_id: MediaId) -> Self {
        Self {
            media_id,
            which: Which::Original,
        }
    }

    /// A small picture of it.
    #[must_use]
    pub const fn thumbnail(media_id: MediaId) -> Self {
        Self {
            media_id,
            which: Which::Thumbnail,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = match self.which {
            Which::Original => "original",
            Which::Thumbnail => "thumbnail",
        };
        write!(f, "media/{}/{which}", self.media_id)
    }
}

/// What is to be done in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// Look whether an object is there.
    Look {
        /// Which.
        key: ObjectKey,
    },
    /// Begin an upload in parts.
    BeginParts {
        /// Of which object.
        key: ObjectKey,
        /// Of which type.
        content_type: MediaType,
    },
    /// Make an object of its parts.
    JoinParts {
        /// Which.
        key: ObjectKey,
        /// Storage's name for the upload.
        upload_id: String,
        /// The parts, in order.
        parts: Vec<UploadedPart>,
    },
    /// Remove objects, and what was uploaded of parts.
    Remove {
        /// Which.
        keys: Vec<ObjectKey>,
        /// Storage's name for an upload in parts of the first of them.
        upload_id: Option<String>,
    },
}

/// What came of an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// What is there.
    Looked(Option<Stored>),
    /// Storage's name for the upload.
    Begun(String),
    /// The object is whole.
    Joined,
    /// Storage does not take these parts.
    NotJoined,
    /// Nothing of it is there.
    Removed,
}

/// An object in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub size: u64,
    /// Its type.
    pub content_type: Option<String>,
    /// Its digest, where storage has checked one.
    pub sha256: Option<Sha256Digest>,
}
