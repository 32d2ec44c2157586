//! Object storage for the bytes of media: at an S3 endpoint where one is configured, else in the
//! bucket that is bound as `MEDIA`.
//!
//! What always holds: an errand that was not carried out to its end is an error, and can be run
//! again.

use parlance_shared::media::errand::{Errand, ObjectKey, Report, Stored};
use parlance_shared::protocol::media::Sha256Digest;
use parlance_shared::time::Clock;
use parlance_storage::s3::{self, S3, StorageError};
use worker::{Bucket, Env, HttpMetadata, UploadedPart};

use crate::host::SystemClock;
use crate::outbound;

/// The binding of the bucket.
pub const BUCKET: &str = "MEDIA";

/// Where the bytes of media are.
pub enum Storage {
    /// At an S3 endpoint.
    S3(Box<S3>),
    /// In the bound bucket.
    Bucket(Bucket),
    /// Nowhere, and why.
    Missing(String),
}

fn failed(error: impl std::fmt::Display) -> StorageError {
    StorageError(error.to_string())
}

impl Storage {
    /// What the deployment has.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let variable = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let development = variable("DEVELOPMENT").is_some_and(|value| value.trim() == "1");
        match S3::read(variable, development) {
            Ok(Some(s3)) => Self::S3(Box::new(s3)),
            Ok(None) => match env.bucket(BUCKET) {
                Ok(bucket) => Self::Bucket(bucket),
                Err(error) => Self::Missing(error.to_string()),
            },
            Err(errors) => {
                let names: Vec<_> = errors.iter().map(|error| error.variable).collect();
                Self::Missing(format!("not configured: {}", names.join(", ")))
            }
        }
    }

    /// Carries out an errand.
    ///
    /// # Errors
    /// When it was not carried out to its end.
    pub async fn run(&self, errand: &Errand) -> Result<Report, StorageError> {
        match self {
            Self::S3(s3) => {
                let mut answers = Vec::new();
                for request in s3.requests(errand, SystemClock.now())? {
                    answers.push(outbound::send(request).await.map_err(failed)?);
                }
                S3::report(errand, &answers)
            }
            Self::Bucket(bucket) => run_at(bucket, errand).await,
            Self::Missing(why) => Err(StorageError(why.clone())),
        }
    }

    /// An object's bytes, where it is there.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn read(&self, key: ObjectKey) -> Result<Option<Vec<u8>>, StorageError> {
        match self {
            Self::S3(s3) => {
                let request = s3.read_request(key, SystemClock.now())?;
                s3::bytes(outbound::send(request).await.map_err(failed)?)
            }
            Self::Bucket(bucket) => {
                let object = bucket.get(key.to_string()).execute().await;
                match object.map_err(failed)? {
                    Some(object) => match object.body() {
                        Some(body) => body.bytes().await.map(Some).map_err(failed),
                        None => Ok(None),
                    },
                    None => Ok(None),
                }
            }
            Self::Missing(why) => Err(StorageError(why.clone())),
        }
    }

    /// Stores an object, in place of what was there.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn write(
        &self,
        key: ObjectKey,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), StorageError> {
        match self {
            Self::S3(s3) => {
                let now = SystemClock.now();
                let request = s3.write_request(key, content_type, bytes, now)?;
                s3::written(&outbound::send(request).await.map_err(failed)?)
            }
            Self::Bucket(bucket) => {
                let put = bucket
                    .put(key.to_string(), bytes)
                    .http_metadata(metadata(content_type));
                put.execute().await.map_err(failed)?;
                Ok(())
            }
            Self::Missing(why) => Err(StorageError(why.clone())),
        }
    }
}

/// The metadata of an object of this type.
#[must_use]
pub fn metadata(content_type: &str) -> HttpMetadata {
    HttpMetadata {
        content_type: Some(content_type.to_owned()),
        ..HttpMetadata::default()
    }
}

async fn run_at(bucket: &Bucket, errand: &Errand) -> Result<Report, StorageError> {
    match errand {
        Errand::Look { key } => {
            let found = bucket.head(key.to_string()).await.map_err(failed)?;
            Ok(Report::Looked(found.map(|object| {
                let digest: Option<[u8; 32]> = object
                    .checksum()
                    .sha256
                    .and_then(|bytes| bytes.try_into().ok());
                Stored {
                    size: object.size(),
                    content_type: object.http_metadata().content_type,
                    sha256: digest.map(Sha256Digest::from_bytes),
                }
            })))
        }
        Errand::BeginParts { key, content_type } => {
            let begun = bucket
                .create_multipart_upload(key.to_string())
                .http_metadata(metadata(content_type.as_str()))
                .execute()
                .await
                .map_err(failed)?;
            Ok(Report::Begun(begun.upload_id().await))
        }
        Errand::JoinParts {
            key,
            upload_id,
            parts,
        } => {
            let upload = bucket
                .resume_multipart_upload(key.to_string(), upload_id.clone())
                .map_err(failed)?;
            let parts = parts.iter().map(|part| {
                // The client has it as a header's value, in quotes.
                let etag = part.etag.trim_matches('"').to_owned();
                UploadedPart::new(part.part_number, etag)
            });
            // The binding does not say why: whether it is whole is looked for next.
            Ok(match upload.complete(parts).await {
                Ok(_) => Report::Joined,
                Err(_) => Report::NotJoined,
            })
        }
        Errand::Remove { keys, upload_id } => {
            if let (Some(upload_id), Some(key)) = (upload_id, keys.first()) {
                let upload = bucket
                    .resume_multipart_upload(key.to_string(), upload_id.clone())
                    .map_err(failed)?;
                // One that is over cannot be aborted, nor need be.
                let _ = upload.abort().await;
            }
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            bucket.delete_multiple(keys).await.map_err(failed)?;
            Ok(Report::Removed)
        }
    }
}
