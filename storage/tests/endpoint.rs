//! Signed addresses and requests at an S3 endpoint that checks signatures (s3s), over HTTP.

// A test may fail.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parlance_shared::limits::MEDIA_PART_BYTES;
use parlance_shared::media::errand::{Errand, ObjectKey, Report, Stored};
use parlance_shared::protocol::media::{Sha256Digest, UploadedPart};
use parlance_shared::time::Timestamp;
use parlance_storage::s3::{self, S3};
use parlance_storage::serving::Serving;
use parlance_storage::{PartUpload, Signed, Upload};
use reqwest::{Client, Method, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use sha2::{Digest as _, Sha256};

/// A running endpoint with one bucket.
struct Endpoint {
    _files: tempfile::TempDir,
    s3: S3,
    /// Of one who has other credentials.
    foreign: S3,
    client: Client,
}

impl Endpoint {
    async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("bucket")).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(files.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("the-key", "the-secret"));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let of = |secret: &'static str| {
            let read = move |name: &str| {
                let value = match name {
                    "S3_ENDPOINT" => format!("http://{address}"),
                    "S3_BUCKET" => "bucket".to_owned(),
                    "S3_ACCESS_KEY_ID" => "the-key".to_owned(),
                    "S3_SECRET_ACCESS_KEY" => secret.to_owned(),
                    _ => return None,
                };
                Some(value)
            };
            S3::read(read, true).unwrap().unwrap()
        };
        Self {
            _files: files,
            s3: of("the-secret"),
            foreign: of("another-secret"),
            client: Client::new(),
        }
    }

    async fn put(&self, signed: &Signed, bytes: impl Into<Vec<u8>>) -> StatusCode {
        let headers = signed
            .headers
            .iter()
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| (*name, value.as_str()));
        self.put_with(&signed.url, headers, bytes).await
    }

    async fn put_with<'a>(
        &self,
        url: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        bytes: impl Into<Vec<u8>>,
    ) -> StatusCode {
        let mut request = self.client.put(url).body(bytes.into());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap().status()
    }

    /// Carries out an errand, as an adapter does.
    async fn run(&self, errand: &Errand) -> Result<Report, s3::StorageError> {
        let mut answers = Vec::new();
        for request in self.s3.requests(errand, now()).unwrap() {
            answers.push(self.send(request).await);
        }
        S3::report(errand, &answers)
    }

    async fn send(&self, request: http::Request<Vec<u8>>) -> http::Response<Vec<u8>> {
        let (parts, body) = request.into_parts();
        let method = Method::from_bytes(parts.method.as_str().as_bytes()).unwrap();
        let answer = self
            .client
            .request(method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body)
            .send()
            .await
            .unwrap();
        let mut response = http::Response::new(Vec::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await.unwrap().to_vec();
        response
    }

    async fn is_there(&self) -> bool {
        self.run(&Errand::Look { key: key() }).await != Ok(Report::Looked(None))
    }
}

#[allow(clippy::disallowed_methods)] // The endpoint looks at the real clock.
fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn key() -> ObjectKey {
    ObjectKey::original("00000000-0000-4000-8000-000000000001".parse().unwrap())
}

fn upload(bytes: &[u8]) -> Upload {
    Upload {
        key: key(),
        content_type: "image/png".parse().unwrap(),
        size: bytes.len() as u64,
        sha256: None,
    }
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

#[tokio::test]
async fn what_was_signed_is_taken_found_read_and_removed() {
    let endpoint = Endpoint::start().await;
    let bytes = b"not really a picture".repeat(1000);
    let signed = endpoint.s3.put(
        &Upload {
            sha256: Some(digest(&bytes)),
            ..upload(&bytes)
        },
        now(),
    );
    assert_eq!(
        endpoint.run(&Errand::Look { key: key() }).await,
        Ok(Report::Looked(None))
    );
    assert_eq!(endpoint.put(&signed, bytes.clone()).await, 200);
    let stored = Stored {
        size: bytes.len() as u64,
        content_type: Some("image/png".to_owned()),
        sha256: Some(digest(&bytes)),
    };
    assert_eq!(
        endpoint.run(&Errand::Look { key: key() }).await,
        Ok(Report::Looked(Some(stored)))
    );
    let serving = Serving::of(&"text/html".parse().unwrap(), Some("a \"b\".html"));
    let read = endpoint.s3.get(key(), &serving, now());
    let answer = endpoint.client.get(&read.url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(
        answer.headers()["content-disposition"],
        "attachment; filename*=UTF-8''a%20%22b%22.html"
    );
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    let part = endpoint.client.get(&read.url).header("range", "bytes=4-9");
    let part = part.send().await.unwrap();
    assert_eq!(
        (part.status().as_u16(), part.text().await.unwrap().as_str()),
        (206, "really")
    );
    let own = endpoint
        .send(endpoint.s3.read_request(key(), now()).unwrap())
        .await;
    assert_eq!(s3::bytes(own), Ok(Some(bytes)));
    let remove = Errand::Remove {
        keys: vec![key(), ObjectKey::thumbnail(key().media_id)],
        upload_id: None,
    };
    assert_eq!(endpoint.run(&remove).await, Ok(Report::Removed));
    assert_eq!(endpoint.run(&remove).await, Ok(Report::Removed));
    assert!(!endpoint.is_there().await);
}

#[tokio::test]
async fn an_upload_that_is_not_what_was_signed_is_refused() {
    let endpoint = Endpoint::start().await;
    let bytes = b"0123456789".to_vec();
    let signed = endpoint.s3.put(&upload(&bytes), now());
    for (wrong, why) in [
        (&b"012345678"[..], "shorter"),
        (b"0123456789a", "longer"),
        (b"", "empty"),
    ] {
        assert!(!endpoint.put(&signed, wrong).await.is_success(), "{why}");
    }
    let others = [("content-type", "text/html"), ("if-none-match", "*")];
    let status = endpoint.put_with(&signed.url, others, bytes.clone()).await;
    assert!(!status.is_success(), "of another type");
    let status = endpoint.put_with(&signed.url, [("content-type", "image/png")], bytes.clone());
    assert!(!status.await.is_success(), "without a header");
    for (from, to) in [
        ("000001/original", "000002/original"),
        ("/original", "/thumbnail"),
        ("X-Amz-Expires=900", "X-Amz-Expires=90000"),
        (
            "X-Amz-SignedHeaders=content-length%3B",
            "X-Amz-SignedHeaders=",
        ),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
    ] {
        let mut changed = signed.clone();
        changed.url = signed.url.replace(from, to);
        assert_ne!(changed.url, signed.url);
        assert!(
            !endpoint.put(&changed, bytes.clone()).await.is_success(),
            "{to}"
        );
    }
    let foreign = endpoint.foreign.put(&upload(&bytes), now());
    assert_eq!(endpoint.put(&foreign, bytes.clone()).await, 403);
    let read = endpoint.client.get(&signed.url).send().await.unwrap();
    assert!(!read.status().is_success(), "it is for uploading alone");
    assert!(!endpoint.is_there().await);
    assert_eq!(endpoint.put(&signed, bytes).await, 200);
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused() {
    let endpoint = Endpoint::start().await;
    let signed = endpoint.s3.put(
        &Upload {
            sha256: Some(digest(b"0123456789")),
            ..upload(b"0123456789")
        },
        now(),
    );
    assert!(!endpoint.put(&signed, b"9876543210").await.is_success());
    // This endpoint has written it down by then; what it has not is the digest.
    if let Ok(Report::Looked(Some(stored))) = endpoint.run(&Errand::Look { key: key() }).await {
        assert_eq!(stored.sha256, None);
    }
}

#[tokio::test]
async fn what_is_there_is_not_replaced() {
    let endpoint = Endpoint::start().await;
    let signed = endpoint.s3.put(&upload(b"0123456789"), now());
    assert_eq!(endpoint.put(&signed, b"0123456789").await, 200);
    assert_eq!(endpoint.put(&signed, b"9876543210").await, 412);
    let own = endpoint
        .send(endpoint.s3.read_request(key(), now()).unwrap())
        .await;
    assert_eq!(s3::bytes(own), Ok(Some(b"0123456789".to_vec())));
}

#[tokio::test]
async fn an_address_expires() {
    let endpoint = Endpoint::start().await;
    let before = |minutes: u64| now() - Duration::from_secs(minutes * 60);
    let signed = endpoint.s3.put(&upload(b"0123456789"), before(16));
    assert_eq!(endpoint.put(&signed, b"0123456789").await, 403);
    let signed = endpoint.s3.put(&upload(b"0123456789"), before(13));
    assert_eq!(endpoint.put(&signed, b"0123456789").await, 200);
    let serving = Serving::of(&"image/png".parse().unwrap(), None);
    let read = endpoint.s3.get(key(), &serving, before(16));
    assert_eq!(
        endpoint
            .client
            .get(&read.url)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
}

#[tokio::test]
async fn parts_are_uploaded_joined_and_aborted() {
    let endpoint = Endpoint::start().await;
    let begin = Errand::BeginParts {
        key: key(),
        content_type: "video/mp4".parse().unwrap(),
    };
    let Ok(Report::Begun(upload_id)) = endpoint.run(&begin).await else {
        panic!("no upload was begun");
    };
    let first = vec![1_u8; usize::try_from(MEDIA_PART_BYTES).unwrap()];
    let second = b"the end".to_vec();
    let mut parts = Vec::new();
    for (part_number, bytes) in [(2, &second), (1, &first)] {
        let signed = endpoint.s3.put_part(
            &PartUpload {
                key: key(),
                upload_id: &upload_id,
                part_number,
                size: bytes.len() as u64,
            },
            now(),
        );
        let wrong = signed.url.replace("partNumber=2", "partNumber=3");
        if wrong != signed.url {
            let status = endpoint.put_with(&wrong, [], bytes.clone()).await;
            assert_eq!(status, 403);
        }
        let put = endpoint.client.put(&signed.url).body(bytes.clone());
        let answer = put.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
        parts.push(UploadedPart { part_number, etag });
    }
    parts.reverse();
    let join = Errand::JoinParts {
        key: key(),
        upload_id: upload_id.clone(),
        parts,
    };
    assert_eq!(endpoint.run(&join).await, Ok(Report::Joined));
    let Ok(Report::Looked(Some(stored))) = endpoint.run(&Errand::Look { key: key() }).await else {
        panic!("it is not there");
    };
    assert_eq!(stored.size, MEDIA_PART_BYTES + 7);
    assert_eq!(
        endpoint.run(&join).await,
        Ok(Report::NotJoined),
        "it is whole already"
    );
    let Ok(Report::Begun(upload_id)) = endpoint.run(&begin).await else {
        panic!("no upload was begun");
    };
    let remove = Errand::Remove {
        keys: vec![key()],
        upload_id: Some(upload_id),
    };
    assert_eq!(endpoint.run(&remove).await, Ok(Report::Removed));
    assert!(!endpoint.is_there().await);
}
