//! Uploading and downloading media as a client does: first the API, then the address that it
//! gives.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::api::text;
use crate::{PATIENCE, Reply, User, uuid};

/// What came from an address.
#[derive(Debug)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Fetched {
    /// A header's value, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

/// Sends a request that has nothing but what it is given, as to any address of the internet.
///
/// # Panics
/// When the connection fails.
pub async fn fetch(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Fetched {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("an HTTP client");
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    let answer = request.send().await.expect("an answer");
    Fetched {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        bytes: answer.bytes().await.expect("a body").to_vec(),
    }
}

/// Uploads bytes with the headers that a ticket names.
///
/// # Panics
/// When the connection fails, or it is no ticket.
pub async fn put(ticket: &Value, bytes: &[u8]) -> Fetched {
    put_with(ticket, &[], bytes).await
}

/// As [`put`], with some headers replaced.
///
/// # Panics
/// As [`put`].
pub async fn put_with(ticket: &Value, replaced: &[(&str, &str)], bytes: &[u8]) -> Fetched {
    let named = ticket["headers"].as_object().expect("headers");
    let headers: Vec<(&str, &str)> = named
        .iter()
        .filter(|(name, _)| name.as_str() != "content-length")
        .filter(|(name, _)| replaced.iter().all(|(other, _)| other != name))
        .map(|(name, value)| (name.as_str(), value.as_str().expect("a text")))
        .chain(replaced.iter().copied())
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let method = text(ticket, "method");
    fetch(
        method,
        text(ticket, "upload_url"),
        &headers,
        Some(bytes.to_vec()),
    )
    .await
}

impl User {
    /// Begins an upload.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn begin_upload(&self, body: Value) -> Value {
        self.api.post("/media/upload", body).await.ok(201)
    }

    /// Uploads bytes and gives the medium's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn upload(&self, content_type: &str, bytes: &[u8]) -> String {
        let body = json!({"content_type": content_type, "size": bytes.len()});
        let ticket = self.begin_upload(body).await;
        let put = put(&ticket, bytes).await;
        let told = String::from_utf8_lossy(&put.bytes);
        assert_eq!(put.status, 200, "{ticket}: {told}");
        text(&ticket, "media_id").to_owned()
    }

    /// Sends a medium.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send_medium(
        &self,
        conversation: &str,
        content_type: &str,
        media_id: &str,
    ) -> Reply {
        let body = json!({
            "client_msg_id": uuid(),
            "content": "",
            "content_type": content_type,
            "media_id": media_id,
        });
        let path = format!("/conversations/{conversation}/messages");
        self.api.post(&path, body).await
    }

    /// The address of a medium's bytes.
    ///
    /// # Panics
    /// When it is not given.
    pub async fn address_of(&self, path: &str) -> String {
        let reply = self.api.get(path).await;
        assert_eq!(reply.status, 302, "{path}: {}", reply.text);
        reply.header("location").to_owned()
    }

    /// A medium's bytes.
    ///
    /// # Panics
    /// When they are not to be had.
    pub async fn download(&self, media_id: &str) -> Fetched {
        let address = self.address_of(&format!("/media/{media_id}")).await;
        fetch("GET", &address, &[], None).await
    }
}
