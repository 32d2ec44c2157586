//! Object storage without a platform.
//!
//! [`s3`] signs addresses of an S3 endpoint (R2 has one) and writes the requests that carry out a
//! medium's errands there; [`local`] signs addresses of the service itself, which stands in where
//! there is a bucket but no endpoint; [`serving`] says under which headers bytes are shown.
//!
//! What always holds: an address binds the method, the object, the type and the size of what may
//! be uploaded, and expires. A key of an object holds nothing that a client wrote.
//!
//! Must not: send anything, read a clock, or log an address (it is a credential until it expires).

pub mod local;
pub mod s3;
pub mod serving;

use parlance_shared::media::errand::ObjectKey;
use parlance_shared::protocol::media::{MediaType, Sha256Digest};
use parlance_shared::time::Timestamp;

/// What may be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// As which object.
    pub key: ObjectKey,
    /// Of which type.
    pub content_type: MediaType,
    /// Of how many bytes.
    pub size: u64,
    /// With which digest.
    pub sha256: Option<Sha256Digest>,
}

/// A part of an upload that may be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartUpload<'a> {
    /// Of which object.
    pub key: ObjectKey,
    /// Storage's name for the upload.
    pub upload_id: &'a str,
    /// Which, from 1.
    pub part_number: u16,
    /// Of how many bytes.
    pub size: u64,
}

/// An address, and the headers that a request to it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The address.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}
