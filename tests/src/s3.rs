//! An S3 endpoint that checks signatures, with a bucket for media: s3s over a directory.

use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

const BUCKET: &str = "parlance-media";
const KEY_ID: &str = "stand-in-key";
const SECRET: &str = "stand-in-secret";

/// A running endpoint. It runs on a thread of its own until the test process ends, so that tests
/// can share it.
#[derive(Debug)]
pub struct S3Endpoint {
    url: String,
    files: TempDir,
}

impl S3Endpoint {
    /// Starts one, with an empty bucket.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let files = TempDir::with_prefix("parlance-test-s3-").expect("a directory");
        std::fs::create_dir(files.path().join(BUCKET)).expect("a bucket");
        let storage = FileSystem::new(files.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(storage);
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        listener.set_nonblocking(true).expect("a listener");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                // Several: one that takes a large film keeps no other waiting.
                .worker_threads(4)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let service = service.clone();
                    tokio::spawn(async move {
                        let builder = Builder::new(TokioExecutor::new());
                        // A client may go at any time.
                        let _ = builder
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        });
        Self { url, files }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables that make a server use it.
    #[must_use]
    pub fn vars(&self) -> [(&str, &str); 4] {
        [
            ("S3_ENDPOINT", &self.url),
            ("S3_BUCKET", BUCKET),
            ("S3_ACCESS_KEY_ID", KEY_ID),
            ("S3_SECRET_ACCESS_KEY", SECRET),
        ]
    }

    /// Whether anything of this medium is there.
    #[must_use]
    pub fn has(&self, media_id: &str) -> bool {
        let directory: PathBuf = self.files.path().join(BUCKET).join("media").join(media_id);
        std::fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some())
    }
}
