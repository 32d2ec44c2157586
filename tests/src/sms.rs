//! A stand-in for the provider of text messages: it takes what Twilio's Messages API takes, and
//! keeps the requests for the test to check.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::raw::{self, Request};

/// The account that the server under test is told to use.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// The account's password.
pub const AUTH_TOKEN: &str = "stand-in-password";
/// The number that text messages come from.
pub const SENDER: &str = "+15005550006";

/// A running stand-in; it ends when it is dropped.
#[derive(Debug)]
pub struct SmsProvider {
    url: String,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl SmsProvider {
    /// Starts one that takes every message.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let status = Arc::new(AtomicU16::new(201));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::clone(&status), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = raw::read_request(&mut stream).await else {
                    continue;
                };
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request);
                let status = answer.load(Ordering::SeqCst);
                let body = if status == 201 {
                    r#"{"sid":"SM00000000000000000000000000000001","status":"queued","error_code":null}"#
                } else {
                    r#"{"code":20500,"message":"Internal Server Error","status":500}"#
                };
                raw::answer(&mut stream, status, body).await;
            }
        });
        Self {
            url,
            status,
            requests,
            task,
        }
    }

    /// The variables that make a server use it. Without TLS it can stand in for the real one
    /// only in development.
    #[must_use]
    pub fn vars(&self) -> [(&str, &str); 5] {
        [
            ("CODE_PROVIDER", "twilio"),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
            ("TWILIO_FROM", SENDER),
            ("TWILIO_BASE_URL", &self.url),
        ]
    }

    /// Answers with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything it was asked until now.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for SmsProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The `Authorization` that Twilio wants (RFC 7617).
#[must_use]
pub fn authorization() -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{ACCOUNT}:{AUTH_TOKEN}"))
    )
}

/// The six digits of a text message.
///
/// # Panics
/// When there are none, or more than one such number.
#[must_use]
pub fn code_in(text: &str) -> String {
    let codes: Vec<_> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() == 6)
        .collect();
    match codes.as_slice() {
        [code] => (*code).to_owned(),
        _ => panic!("not one code in {text:?}"),
    }
}

/// The fields of a form body (`application/x-www-form-urlencoded`).
#[must_use]
pub fn form_fields(body: &str) -> Vec<(String, String)> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&hex, 16).expect("two hexadecimal digits"));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
