//! An S3 endpoint: addresses signed by SigV4 in the query, and the requests that carry out errands.
//!
//! What always holds: all headers of an upload that matter are signed (type, length, digest, and
//! that nothing may be there yet), so that storage itself refuses any other upload.
//!
//! Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" of the
//! Amazon S3 API reference, and R2's page on S3 API compatibility.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use parlance_shared::limits;
use parlance_shared::media::errand::{Errand, ObjectKey, Report, Stored};
use parlance_shared::protocol::media::Sha256Digest;
use parlance_shared::time::Timestamp;
use rusty_s3::actions::{
    CompleteMultipartUpload, CompleteMultipartUploadResponse, CreateMultipartUpload,
};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

use crate::serving::Serving;
use crate::{PartUpload, Signed, Upload};

/// Every variable that [`S3::read`] asks for.
pub const VARIABLES: [&str; 5] = [
    "S3_ENDPOINT",
    "S3_BUCKET",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_REGION",
];

/// How long the service's own requests can be used: they are sent at once.
const OWN_REQUEST: Duration = Duration::from_secs(60);

/// What is wrong with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong, as a phrase that follows the name.
    pub message: &'static str,
}

/// Storage did not do what it was asked, or did not say that it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("storage: {0}")]
pub struct StorageError(pub String);

/// A bucket at an S3 endpoint.
#[derive(Clone)]
pub struct S3 {
    bucket: Bucket,
    credentials: Credentials,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("endpoint", &self.bucket.base_url().as_str())
            .finish_non_exhaustive()
    }
}

impl S3 {
    /// Reads the deployment's settings through `variable`; nothing where none of them is set.
    /// Plain HTTP is taken only in `development`.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        development: bool,
    ) -> Result<Option<Self>, Vec<SettingError>> {
        let value = |name: &str| {
            variable(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let [endpoint, bucket, id, secret, region] = VARIABLES.map(value);
        if [&endpoint, &bucket, &id, &secret]
            .iter()
            .all(|value| value.is_none())
        {
            return Ok(None);
        }
        let mut errors = Vec::new();
        let mut require = |variable, value: Option<String>| {
            if value.is_none() {
                let message = "is not set, but others of S3_ are";
                errors.push(SettingError { variable, message });
            }
            value.unwrap_or_default()
        };
        let endpoint = require("S3_ENDPOINT", endpoint);
        let name = require("S3_BUCKET", bucket);
        let id = require("S3_ACCESS_KEY_ID", id);
        let secret = require("S3_SECRET_ACCESS_KEY", secret);
        if !errors.is_empty() {
            return Err(errors);
        }
        let wrong = |variable, message| vec![SettingError { variable, message }];
        // It becomes a segment of the path.
        if name.len() > 255
            || !name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
            || name.starts_with('.')
        {
            return Err(wrong("S3_BUCKET", "must be a bucket's name"));
        }
        let endpoint = Url::parse(&endpoint)
            .ok()
            .filter(|url| {
                let is_http = url.scheme() == "http" && development;
                (url.scheme() == "https" || is_http)
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
            })
            .ok_or_else(|| wrong("S3_ENDPOINT", "must be a URL that begins with https://"))?;
        let region = region.unwrap_or_else(|| "auto".to_owned());
        let bucket = Bucket::new(endpoint, UrlStyle::Path, name, region)
            .map_err(|_| wrong("S3_ENDPOINT", "must be a URL with a host"))?;
        Ok(Some(Self {
            bucket,
            credentials: Credentials::new(id, secret),
        }))
    }

    /// An address to which these bytes can be uploaded, once.
    #[must_use]
    pub fn put(&self, upload: &Upload, now: Timestamp) -> Signed {
        let mut headers = vec![
            ("content-length", upload.size.to_string()),
            ("content-type", upload.content_type.to_string()),
            // Nothing may be there yet: what was sent is not replaced later.
            ("if-none-match", "*".to_owned()),
        ];
        if let Some(digest) = upload.sha256 {
            headers.push(("x-amz-checksum-sha256", digest.to_base64()));
        }
        let key = upload.key.to_string();
        let action = self.bucket.put_object(Some(&self.credentials), &key);
        signed(action, headers, now)
    }

    /// An address to which this part can be uploaded.
    #[must_use]
    pub fn put_part(&self, part: &PartUpload<'_>, now: Timestamp) -> Signed {
        let headers = vec![("content-length", part.size.to_string())];
        let key = part.key.to_string();
        let credentials = Some(&self.credentials);
        let action = self
            .bucket
            .upload_part(credentials, &key, part.part_number, part.upload_id);
        signed(action, headers, now)
    }

    /// An address from which the object can be read.
    #[must_use]
    pub fn get(&self, key: ObjectKey, serving: &Serving, now: Timestamp) -> Signed {
        let key = key.to_string();
        let mut action = self.bucket.get_object(Some(&self.credentials), &key);
        let query = action.query_mut();
        query.insert("response-content-disposition", serving.disposition.clone());
        query.insert("response-content-type", serving.content_type.clone());
        signed(action, Vec::new(), now)
    }

    /// The request that reads an object's bytes.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn read_request(
        &self,
        key: ObjectKey,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, StorageError> {
        let key = key.to_string();
        let action = self.bucket.get_object(Some(&self.credentials), &key);
        request(Method::GET, own(action, &[], now), &[], Vec::new())
    }

    /// The request that stores an object, in place of what was there.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_request(
        &self,
        key: ObjectKey,
        content_type: &str,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, StorageError> {
        let key = key.to_string();
        let headers = [("content-type", content_type)];
        let action = self.bucket.put_object(Some(&self.credentials), &key);
        request(Method::PUT, own(action, &headers, now), &headers, bytes)
    }

    /// The requests that carry out an errand. They can be sent in any order.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn requests(
        &self,
        errand: &Errand,
        now: Timestamp,
    ) -> Result<Vec<Request<Vec<u8>>>, StorageError> {
        let credentials = Some(&self.credentials);
        match errand {
            Errand::Look { key } => {
                let key = key.to_string();
                let headers = [("x-amz-checksum-mode", "ENABLED")];
                let action = self.bucket.head_object(credentials, &key);
                let url = own(action, &headers, now);
                Ok(vec![request(Method::HEAD, url, &headers, Vec::new())?])
            }
            Errand::BeginParts { key, content_type } => {
                let key = key.to_string();
                let headers = [("content-type", content_type.as_str())];
                let action = self.bucket.create_multipart_upload(credentials, &key);
                let url = own(action, &headers, now);
                Ok(vec![request(Method::POST, url, &headers, Vec::new())?])
            }
            Errand::JoinParts {
                key,
                upload_id,
                parts,
            } => {
                let key = key.to_string();
                let etags = parts.iter().map(|part| part.etag.as_str());
                let action: CompleteMultipartUpload<'_, _> =
                    self.bucket
                        .complete_multipart_upload(credentials, &key, upload_id, etags);
                let url = own(action.clone(), &[], now);
                let body = action.body().into_bytes();
                Ok(vec![request(Method::POST, url, &[], body)?])
            }
            Errand::Remove { keys, upload_id } => {
                let mut requests = Vec::new();
                for key in keys {
                    let key = key.to_string();
                    let action = self.bucket.delete_object(credentials, &key);
                    requests.push(request(
                        Method::DELETE,
                        own(action, &[], now),
                        &[],
                        Vec::new(),
                    )?);
                }
                if let (Some(upload_id), Some(key)) = (upload_id, keys.first()) {
                    let key = key.to_string();
                    let action = self
                        .bucket
                        .abort_multipart_upload(credentials, &key, upload_id);
                    requests.push(request(
                        Method::DELETE,
                        own(action, &[], now),
                        &[],
                        Vec::new(),
                    )?);
                }
                Ok(requests)
            }
        }
    }

    /// What came of an errand, from the answers to its requests.
    ///
    /// # Errors
    /// Where storage did not do it.
    pub fn report(errand: &Errand, answers: &[Response<Vec<u8>>]) -> Result<Report, StorageError> {
        let first = answers
            .first()
            .ok_or_else(|| StorageError("no answer".to_owned()))?;
        let status = first.status();
        match errand {
            Errand::Look { .. } if status == StatusCode::NOT_FOUND => Ok(Report::Looked(None)),
            Errand::Look { .. } if status.is_success() => {
                stored(first.headers()).map(|stored| Report::Looked(Some(stored)))
            }
            Errand::BeginParts { .. } if status.is_success() => {
                let body = String::from_utf8_lossy(first.body());
                CreateMultipartUpload::parse_response(&body)
                    .map(|begun| Report::Begun(begun.upload_id().to_owned()))
                    .map_err(|_| StorageError("an answer without an UploadId".to_owned()))
            }
            Errand::JoinParts { .. } if status.is_success() => {
                // It can fail after it has begun to answer.
                let body = String::from_utf8_lossy(first.body());
                Ok(match CompleteMultipartUploadResponse::parse(&body) {
                    Ok(_) => Report::Joined,
                    Err(_) => Report::NotJoined,
                })
            }
            // An upload that is over is answered 404, or 403 by some: whether it is whole is looked
            // for next.
            Errand::JoinParts { .. } if status.is_client_error() => Ok(Report::NotJoined),
            Errand::Remove { .. } => {
                let failed = answers
                    .iter()
                    .map(Response::status)
                    .find(|status| !status.is_success() && *status != StatusCode::NOT_FOUND);
                failed.map_or(Ok(Report::Removed), |status| Err(refused(status)))
            }
            _ => Err(refused(status)),
        }
    }
}

fn refused(status: StatusCode) -> StorageError {
    StorageError(format!("answered {}", status.as_u16()))
}

/// The bytes of an answer to [`S3::read_request`], nothing where there is no such object.
///
/// # Errors
/// Where storage did not give them.
pub fn bytes(answer: Response<Vec<u8>>) -> Result<Option<Vec<u8>>, StorageError> {
    match answer.status() {
        StatusCode::OK => Ok(Some(answer.into_body())),
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(refused(status)),
    }
}

/// Whether an answer to [`S3::write_request`] says that the object is stored.
///
/// # Errors
/// Where it does not.
pub fn written(answer: &Response<Vec<u8>>) -> Result<(), StorageError> {
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(refused(answer.status()))
    }
}

fn stored(headers: &HeaderMap) -> Result<Stored, StorageError> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let size = text(&CONTENT_LENGTH)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| StorageError("an answer without a length".to_owned()))?;
    Ok(Stored {
        size,
        content_type: text(&CONTENT_TYPE),
        sha256: text(&HeaderName::from_static("x-amz-checksum-sha256"))
            .and_then(|text| Sha256Digest::from_base64(&text)),
    })
}

fn moment(now: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default()
}

/// An address for clients, with these headers signed.
fn signed<'a>(
    mut action: impl S3Action<'a>,
    headers: Vec<(&'static str, String)>,
    now: Timestamp,
) -> Signed {
    for (name, value) in &headers {
        action.headers_mut().insert(*name, value.clone());
    }
    let url = action.sign_with_time(limits::MEDIA_URL_LIFETIME, &moment(now));
    // The signature counts whole seconds.
    let signed_at = Timestamp::from_millis(now.as_seconds().saturating_mul(1000));
    Signed {
        url: url.into(),
        headers,
        expires_at: signed_at + limits::MEDIA_URL_LIFETIME,
    }
}

/// An address for the service itself.
fn own<'a>(mut action: impl S3Action<'a>, headers: &[(&'a str, &'a str)], now: Timestamp) -> Url {
    for (name, value) in headers {
        action.headers_mut().insert(*name, *value);
    }
    action.sign_with_time(OWN_REQUEST, &moment(now))
}

fn request(
    method: Method,
    url: Url,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>, StorageError> {
    let failed = |error: &dyn fmt::Display| StorageError(format!("no request: {error}"));
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.as_str().parse().map_err(|error| failed(&error))?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests;
