//! A client of the HTTP API.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{PATIENCE, Server, User};

/// Asks a server, as nobody or as the holder of a token.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    root: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null where it is none.
    pub body: Value,
    asked: String,
}

impl Reply {
    /// The body, of an answer that must have this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        self.body
    }

    /// The body of a problem, that must have this status and code and the shape of RFC 9457.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> &Value {
        let told = format!("{}: {} {}", self.asked, self.status, self.text);
        assert_eq!(self.status, status, "{told}");
        assert_eq!(self.body["code"], code, "{told}");
        assert_eq!(self.body["status"], status, "{told}");
        assert!(
            self.header("content-type")
                .starts_with("application/problem+json"),
            "{told}"
        );
        for field in ["type", "title", "detail"] {
            assert!(
                self.body[field]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{field}: {told}"
            );
        }
        match status {
            401 => assert!(
                self.header("www-authenticate").starts_with("Bearer"),
                "{told}"
            ),
            405 => assert!(!self.header("allow").is_empty(), "{told}"),
            429 => assert!(
                self.header("retry-after")
                    .parse::<u64>()
                    .is_ok_and(|s| s > 0),
                "{told}"
            ),
            _ => {}
        }
        &self.body
    }

    /// The problem of an invalid body, that must name this field.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn invalid_field(&self, field: &str) {
        let problem = self.problem(400, "invalid_request");
        let named = problem["errors"].as_array().is_some_and(|errors| {
            errors
                .iter()
                .any(|error| error["field"] == field && error["message"].is_string())
        });
        assert!(named, "{field} is not named by {problem}");
    }

    /// A header's value, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

impl Api {
    /// Nobody's.
    ///
    /// # Panics
    /// When the HTTP client cannot be made.
    #[must_use]
    pub fn of(server: &Server) -> Self {
        let http = Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client");
        Self {
            http,
            root: server.url().to_owned(),
            token: None,
        }
    }

    /// The same server, with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same server, without a token.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self {
            token: None,
            ..self.clone()
        }
    }

    /// The address of a path: one under `/api/v1`, or from the root where it begins with `//`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        match path.strip_prefix("//") {
            Some(path) => format!("{}/{path}", self.root),
            None => format!("{}/api/v1{path}", self.root),
        }
    }

    /// The token, where there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sends a request with these headers and this body. What the connection itself did not
    /// survive is an error.
    ///
    /// # Errors
    /// The connection's.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> reqwest::Result<Reply> {
        let asked = format!("{method} {path}");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply {
            status,
            headers,
            text,
            body,
            asked,
        })
    }

    /// As [`Api::try_send`], where the server is there.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Reply {
        match self.try_send(method, path, headers, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path} got no answer: {error:?}"),
        }
    }

    /// Sends a request with a JSON body, or none where it is null.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = (!body.is_null()).then(|| body.to_string().into_bytes());
        let headers: &[_] = if body.is_some() {
            &[("content-type", "application/json")]
        } else {
            &[]
        };
        self.send(method, path, headers, body).await
    }

    /// `GET`
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, Value::Null).await
    }

    /// `POST`
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, body).await
    }

    /// Asks for a code and gives it.
    ///
    /// # Panics
    /// When there is none in the answer.
    pub async fn code(&self, phone_number: &str) -> String {
        let sent = self
            .post("/auth/code", json!({"phone_number": phone_number}))
            .await
            .ok(202);
        sent["dev_code"].as_str().expect("a dev_code").to_owned()
    }

    /// Tries to log in with a code.
    ///
    /// # Panics
    /// When the connection fails.
    pub async fn login(&self, phone_number: &str, code: &str) -> Reply {
        let body =
            json!({"phone_number": phone_number, "verification_code": code, "device_name": "test"});
        self.post("/auth/login", body).await
    }

    /// Signs a device of this number's user in.
    ///
    /// # Panics
    /// When it does not work.
    pub async fn sign_in(&self, phone_number: &str) -> User {
        let code = self.code(phone_number).await;
        let session = self.login(phone_number, &code).await.ok(200);
        User::new(self, phone_number, session)
    }
}

/// A field that must hold a text.
///
/// # Panics
/// When it does not.
#[must_use]
#[track_caller]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    match value[field].as_str() {
        Some(text) => text,
        None => panic!("{field} is not a text in {value}"),
    }
}
