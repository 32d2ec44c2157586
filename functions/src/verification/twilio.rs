//! Codes by text message through Twilio's Messages API:
//! `POST /2010-04-01/Accounts/{AccountSid}/Messages.json`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};
use parlance_shared::limits;
use parlance_shared::protocol::auth::PhoneNumber;
use serde::Deserialize;

use super::{CodeSender, Delivery, SendFailure};
use crate::backend::Backend;
use crate::config::VariableError;

const DEFAULT_BASE: &str = "https://api.twilio.com";

/// Twilio's errors that blame the number: 21211 "Invalid 'To' Phone Number" and 21614 "'To'
/// number is not a valid mobile number".
const INVALID_NUMBER: [u32; 2] = [21211, 21614];

/// An account at Twilio.
pub struct Twilio {
    endpoint: Uri,
    authorization: HeaderValue,
    from: String,
}

impl fmt::Debug for Twilio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Twilio(hidden)")
    }
}

/// What Twilio says of a failure.
#[derive(Deserialize)]
struct ErrorBody {
    code: Option<u32>,
}

impl Twilio {
    /// The account `account_sid`, which sends from `from`: a number, or a messaging service
    /// (`MG...`). `base` stands in for Twilio's own address; without TLS it is allowed in
    /// development only, since the account's token is sent there.
    ///
    /// # Errors
    /// The variable that does not fit.
    pub fn new(
        account_sid: &str,
        auth_token: &str,
        from: &str,
        base: Option<&str>,
        development: bool,
    ) -> Result<Self, VariableError> {
        if !account_sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(VariableError {
                variable: "TWILIO_ACCOUNT_SID",
                message: "must be letters and digits".to_owned(),
            });
        }
        let base = base.unwrap_or(DEFAULT_BASE).trim_end_matches('/');
        let is_secure = base.starts_with("https://");
        let is_allowed = is_secure || development && base.starts_with("http://");
        let endpoint = format!("{base}/2010-04-01/Accounts/{account_sid}/Messages.json")
            .parse::<Uri>()
            .ok()
            .filter(|uri| is_allowed && uri.authority().is_some() && uri.query().is_none())
            .ok_or_else(|| VariableError {
                variable: "TWILIO_BASE_URL",
                message: "must be an https:// address (in development, http:// too)".to_owned(),
            })?;
        let credentials = STANDARD.encode(format!("{account_sid}:{auth_token}"));
        let authorization =
            HeaderValue::from_str(&format!("Basic {credentials}")).map_err(|_| VariableError {
                variable: "TWILIO_AUTH_TOKEN",
                message: "does not fit in a header".to_owned(),
            })?;
        Ok(Self {
            endpoint,
            authorization,
            from: from.to_owned(),
        })
    }

    fn request(&self, number: &PhoneNumber, code: &str) -> Request<Vec<u8>> {
        let sender = if self.from.starts_with("MG") {
            "MessagingServiceSid"
        } else {
            "From"
        };
        let minutes = limits::CODE_LIFETIME.as_secs() / 60;
        let text = format!(
            "{code} is your verification code. It expires in {minutes} minutes. Do not share it."
        );
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("To", number.as_str())
            .append_pair(sender, &self.from)
            .append_pair("Body", &text)
            .finish();
        let mut request = Request::new(form.into_bytes());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request
    }
}

impl CodeSender for Twilio {
    async fn send<B: Backend>(
        &self,
        backend: &B,
        number: &PhoneNumber,
        code: &str,
    ) -> Result<Delivery, SendFailure> {
        let response = backend
            .send(self.request(number, code))
            .await
            .map_err(|error| SendFailure::Failed(format!("Twilio gave {error}")))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Delivery::Sent);
        }
        // The error's text may repeat the number: only its code is looked at.
        let error = serde_json::from_slice::<ErrorBody>(response.body())
            .ok()
            .and_then(|body| body.code);
        let detail = match error {
            Some(error) => format!("Twilio answered {} with error {error}", status.as_u16()),
            None => format!("Twilio answered {}", status.as_u16()),
        };
        if status.is_client_error() && error.is_some_and(|error| INVALID_NUMBER.contains(&error)) {
            Err(SendFailure::InvalidNumber(detail))
        } else {
            Err(SendFailure::Failed(detail))
        }
    }
}
