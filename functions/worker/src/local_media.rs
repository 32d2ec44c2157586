//! Bytes of media between clients and the bound bucket, in development.
//!
//! What always holds: bytes are streamed, never held; what a request may do is said by
//! [`parlance_functions::local_media`], before any of its body is read; what is there is never
//! replaced.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue};
use http::{Method, StatusCode};
use parlance_durable_objects::storage::{BUCKET, metadata};
use parlance_functions::config::{Config, ConfigError};
use parlance_functions::local_media::{Visit, Wanted, describe, wanted};
use parlance_functions::{log, request_id};
use parlance_shared::media::errand::ObjectKey;
use parlance_shared::protocol::media::Sha256Digest;
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_storage::local::Act;
use parlance_storage::serving::Serving;
use worker::{Bucket, Env, Range, Request, Response, ResponseBody, Result};

use crate::backend::{Platform, now};
use crate::conversion;

/// An answer whose body may be a stream of the runtime's.
struct Answer {
    response: http::Response<Vec<u8>>,
    stream: Option<ResponseBody>,
}

impl From<http::Response<Vec<u8>>> for Answer {
    fn from(response: http::Response<Vec<u8>>) -> Self {
        Self {
            response,
            stream: None,
        }
    }
}

/// Answers a request to `/local-media/...`.
pub async fn respond(
    config: &core::result::Result<Config, ConfigError>,
    request: Request,
    env: &Env,
) -> Result<Response> {
    let head = conversion::head(&request)?;
    let request_id = request_id::of(head.headers(), &Platform);
    let visit = Visit::begin(config, head, &request_id, now());
    let mut answer = match visit.admit(now()) {
        Err(refused) => (*refused).into(),
        Ok(admitted) => {
            let bucket = env.bucket(BUCKET)?;
            match carry_out(&visit, &bucket, admitted.key, admitted.act, &request).await {
                Ok(answer) => answer,
                Err(error) => {
                    let line =
                        log::failure(now(), &request_id, "bucket_failed", &error.to_string());
                    worker::console_log!("{line}");
                    visit
                        .refuse(&Problem::unavailable("The bucket did not answer."))
                        .into()
                }
            }
        }
    };
    let status = answer.response.status();
    let line = visit.end(answer.response.headers_mut(), status, now());
    worker::console_log!("{line}");
    let (parts, body) = answer.response.into_parts();
    let body = match answer.stream {
        Some(stream) => stream,
        None if body.is_empty() => ResponseBody::Empty,
        None => ResponseBody::Body(body),
    };
    Ok(Response::from_body(body)?
        .with_status(parts.status.as_u16())
        .with_headers(conversion::headers(&parts.headers)?))
}

async fn carry_out(
    visit: &Visit<'_>,
    bucket: &Bucket,
    key: ObjectKey,
    act: Act,
    request: &Request,
) -> Result<Answer> {
    match act {
        Act::Get(serving) => show(visit, bucket, key, &serving).await,
        Act::Put {
            content_type,
            sha256,
            ..
        } => put(visit, bucket, key, &content_type, sha256, request).await,
        Act::PutPart {
            upload_id,
            part_number,
            ..
        } => put_part(visit, bucket, key, upload_id, part_number, request).await,
    }
}

async fn show(
    visit: &Visit<'_>,
    bucket: &Bucket,
    key: ObjectKey,
    serving: &Serving,
) -> Result<Answer> {
    let Some(found) = bucket.head(key.to_string()).await? else {
        return Ok(visit.refuse(&Problem::not_found("object")).into());
    };
    let size = found.size();
    let mut response = http::Response::new(Vec::new());
    describe(serving, response.headers_mut());
    let mut set = |name, value: String| -> Result<()> {
        let value = HeaderValue::from_str(&value).map_err(conversion::failed)?;
        response.headers_mut().insert(name, value);
        Ok(())
    };
    set(ETAG, found.http_etag())?;
    let range = match wanted(visit.request().headers(), size) {
        Wanted::All => {
            set(CONTENT_LENGTH, size.to_string())?;
            None
        }
        Wanted::Range { first, last } => {
            let length = last - first + 1;
            set(CONTENT_LENGTH, length.to_string())?;
            set(CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            Some(Range::OffsetWithLength {
                offset: first,
                length,
            })
        }
        Wanted::Unsatisfiable => {
            set(CONTENT_RANGE, format!("bytes */{size}"))?;
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response.into());
        }
    };
    if visit.request().method() == Method::HEAD {
        return Ok(response.into());
    }
    let get = bucket.get(key.to_string());
    let get = match range {
        Some(range) => get.range(range),
        None => get,
    };
    let object = get.execute().await?;
    let stream = match object.as_ref().and_then(worker::Object::body) {
        Some(body) => body.response_body()?,
        None => return Ok(visit.refuse(&Problem::not_found("object")).into()),
    };
    Ok(Answer {
        response,
        stream: Some(stream),
    })
}

async fn put(
    visit: &Visit<'_>,
    bucket: &Bucket,
    key: ObjectKey,
    content_type: &str,
    sha256: Option<Sha256Digest>,
    request: &Request,
) -> Result<Answer> {
    if bucket.head(key.to_string()).await?.is_some() {
        let problem = Problem::new(Code::Conflict, "It has been uploaded already.");
        return Ok(visit.refuse(&problem).into());
    }
    let Some(body) = request.inner().body() else {
        return Ok(visit.refuse(&Problem::invalid("There is no body.")).into());
    };
    let mut put = bucket
        .put(key.to_string(), body)
        .http_metadata(metadata(content_type));
    if let Some(digest) = sha256 {
        put = put.sha256(digest.as_bytes().to_vec());
    }
    match put.execute().await {
        Ok(Some(object)) => Ok(stored(&object.http_etag())?.into()),
        Ok(None) => Ok(visit.refuse(&Problem::invalid("It was not stored.")).into()),
        // What the bucket says does not tell a wrong digest from another failure.
        Err(_) if sha256.is_some() => {
            let problem = Problem::invalid("The bytes do not have the digest that was announced.");
            Ok(visit.refuse(&problem).into())
        }
        Err(error) => Err(error),
    }
}

async fn put_part(
    visit: &Visit<'_>,
    bucket: &Bucket,
    key: ObjectKey,
    upload_id: String,
    part_number: u16,
    request: &Request,
) -> Result<Answer> {
    let Some(body) = request.inner().body() else {
        return Ok(visit.refuse(&Problem::invalid("There is no body.")).into());
    };
    let upload = bucket.resume_multipart_upload(key.to_string(), upload_id)?;
    match upload.upload_part(part_number, body).await {
        Ok(part) => Ok(stored(&format!("\"{}\"", part.etag()))?.into()),
        Err(_) => {
            let problem = Problem::new(Code::Conflict, "This upload is over.");
            Ok(visit.refuse(&problem).into())
        }
    }
}

/// The answer to an upload: its `ETag`, as S3 gives it.
fn stored(etag: &str) -> Result<http::Response<Vec<u8>>> {
    let mut response = http::Response::new(Vec::new());
    let etag = HeaderValue::from_str(etag).map_err(conversion::failed)?;
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}
