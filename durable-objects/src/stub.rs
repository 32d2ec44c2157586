//! Calls to objects, from the edge and from other objects alike.
//!
//! The wire is `POST https://object/` with the class's request as JSON, answered 200 with an
//! [`Answer`]; the object's side is [`crate::host`]. An upgrade is a `GET` whose header holds the
//! request, answered 101, or 200 with an [`Answer`] that holds the problem.
//!
//! A call that serves a client's request carries that request's name, so that a trace shows the
//! two together: see [`Caller`].
//!
//! What always holds: a call that fails says whether the object refused or did not answer. One
//! that did not answer may have been carried out.

use js_sys::futures::JsFuture;
use js_sys::{JsString, Reflect, Uint8Array};
use parlance_shared::object::{Answer, Call, ObjectClass};
use parlance_shared::protocol::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Env, Response};

use crate::bindings::ObjectStub;
use crate::host::message_of;
use crate::metrics;

/// The host is never looked up: a stub's requests go to its object.
const URL: &str = "https://object/";
/// Where the name of the client's request travels.
const REQUEST_ID: &str = "x-request-id";

/// Who calls: a deployment's objects, and the client's request that the call serves, if one does.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The bindings.
    pub env: &'a Env,
    /// The name of the client's request: letters, digits, `_` and `-`.
    pub request_id: Option<&'a str>,
}

impl Caller<'_> {
    /// Asks an object and reads its reply.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn call<O: ObjectClass, C: Call<O>>(
        &self,
        name: &O::Name,
        call: C,
    ) -> Result<C::Reply, CallFailure> {
        let request: O::Request = call.into();
        let body = serde_json::to_string(&request).map_err(CallFailure::impossible)?;
        let body = JsString::from(body);
        let answer = self
            .call_raw(O::BINDING, &O::object_name(name), &body)
            .await?;
        read_answer(&answer)
    }

    async fn call_raw(
        &self,
        binding: &str,
        name: &str,
        body: &JsString,
    ) -> Result<String, CallFailure> {
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(body);
        if self.request_id.is_some() {
            let headers = self.headers()?;
            init.set_headers(&headers);
        }
        let response = fetch(self.env, binding, name, &init).await?;
        read_body(&response).await
    }

    /// Opens a socket at an object: an upgrade request with `open` as JSON in the header
    /// `header`. Gives back the object's 101, with its end of the socket in it.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn upgrade<O: ObjectClass>(
        &self,
        name: &O::Name,
        header: &str,
        open: &impl Serialize,
    ) -> Result<Response, CallFailure> {
        let open = serde_json::to_string(open).map_err(CallFailure::impossible)?;
        let headers = self.headers()?;
        set(&headers, "upgrade", "websocket")?;
        set(&headers, header, &open)?;
        let init = web_sys::RequestInit::new();
        init.set_headers(&headers);
        let response = fetch(self.env, O::BINDING, &O::object_name(name), &init).await?;
        if response.status() == 101 {
            return Ok(response.into());
        }
        let status = response.status();
        match read_answer::<serde_json::Value>(&read_body(&response).await?) {
            Err(failure) => Err(failure),
            Ok(_) => Err(CallFailure::Unreadable { status }),
        }
    }

    fn headers(&self) -> Result<web_sys::Headers, CallFailure> {
        let headers = web_sys::Headers::new().map_err(|exception| refused(&exception))?;
        if let Some(request_id) = self.request_id {
            set(&headers, REQUEST_ID, request_id)?;
        }
        Ok(headers)
    }
}

fn set(headers: &web_sys::Headers, name: &str, value: &str) -> Result<(), CallFailure> {
    headers
        .set(name, value)
        .map_err(|exception| refused(&exception))
}

/// The runtime does not take what was to be sent.
fn refused(exception: &JsValue) -> CallFailure {
    CallFailure::impossible(message_of(exception))
}

/// Why a call gave no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// The object refused: what to tell the client.
    #[error(transparent)]
    Refused(Problem),
    /// The object did not answer. It may have done what it was asked.
    #[error("no answer: {message}")]
    Unreachable {
        /// What the runtime said.
        message: String,
        /// The runtime says that another try may succeed.
        retryable: bool,
        /// The object has more to do than it can: trying again at once makes it worse.
        overloaded: bool,
    },
    /// The answer was not one: caller and object are of different versions.
    #[error("an unreadable answer with status {status}")]
    Unreadable {
        /// The HTTP status.
        status: u16,
    },
    /// The deployment does not bind the class, or the request cannot be written.
    #[error("the call could not be made: {0}")]
    Impossible(String),
}

impl CallFailure {
    /// What the client is told: the object's own refusal, `unavailable` where it did not answer,
    /// `internal` where the deployment is at fault. Log the failure first.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => problem,
            Self::Unreachable { .. } => {
                Problem::unavailable("A part of the service did not answer. Try again.")
            }
            Self::Unreadable { .. } | Self::Impossible(_) => Problem::internal(),
        }
    }

    fn thrown(exception: &JsValue) -> Self {
        let flag = |name: &str| {
            exception.is_object()
                && Reflect::get(exception, &JsValue::from_str(name))
                    .is_ok_and(|value| value.is_truthy())
        };
        Self::Unreachable {
            message: message_of(exception),
            retryable: flag("retryable"),
            overloaded: flag("overloaded"),
        }
    }

    pub(crate) fn impossible(error: impl std::fmt::Display) -> Self {
        Self::Impossible(error.to_string())
    }
}

/// Asks an object on behalf of no client's request, and reads its reply.
///
/// # Errors
/// See [`CallFailure`].
pub async fn call<O: ObjectClass, C: Call<O>>(
    env: &Env,
    name: &O::Name,
    call: C,
) -> Result<C::Reply, CallFailure> {
    let request_id = None;
    Caller { env, request_id }.call(name, call).await
}

/// Asks the object `name` of the class bound as `binding`, with a request that is JSON already,
/// and gives back its [`Answer`] as JSON.
///
/// # Errors
/// See [`CallFailure`]; a refusal is still in the answer.
pub async fn call_raw(
    env: &Env,
    binding: &str,
    name: &str,
    body: &JsString,
) -> Result<String, CallFailure> {
    let request_id = None;
    Caller { env, request_id }
        .call_raw(binding, name, body)
        .await
}

async fn fetch(
    env: &Env,
    binding: &str,
    name: &str,
    init: &web_sys::RequestInit,
) -> Result<web_sys::Response, CallFailure> {
    let namespace = env
        .durable_object(binding)
        .map_err(CallFailure::impossible)?;
    metrics::of(binding).requests.count();
    // A stub that has failed once may go on failing, so each call takes a fresh one.
    let stub: ObjectStub = namespace
        .get_by_name(name)
        .map_err(CallFailure::impossible)?
        .into_rpc();
    let pending = stub
        .fetch(URL, init)
        .map_err(|exception| CallFailure::thrown(&exception))?;
    let response = JsFuture::from(pending)
        .await
        .map_err(|exception| CallFailure::thrown(&exception))?;
    response
        .dyn_into()
        .map_err(|_| CallFailure::impossible("the stub gave no response"))
}

async fn read_body(response: &web_sys::Response) -> Result<String, CallFailure> {
    let status = response.status();
    if status != 200 {
        return Err(CallFailure::Unreadable { status });
    }
    // As bytes: as a text it would be decoded and encoded again on the way.
    let pending = response
        .array_buffer()
        .map_err(|exception| CallFailure::thrown(&exception))?;
    let buffer = JsFuture::from(pending)
        .await
        .map_err(|exception| CallFailure::thrown(&exception))?;
    String::from_utf8(Uint8Array::new(&buffer).to_vec())
        .map_err(|_| CallFailure::Unreadable { status })
}

/// Reads an [`Answer`] in JSON.
///
/// # Errors
/// [`CallFailure::Refused`] with the problem, or [`CallFailure::Unreadable`].
pub fn read_answer<R: DeserializeOwned>(text: &str) -> Result<R, CallFailure> {
    serde_json::from_str::<Answer<R>>(text)
        .map_err(|_| CallFailure::Unreadable { status: 200 })?
        .into_result()
        .map_err(CallFailure::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_reply_a_refusal_or_unreadable() {
        assert_eq!(read_answer::<u32>(r#"{"ok":3}"#), Ok(3));
        assert_eq!(read_answer::<()>(r#"{"ok":null}"#), Ok(()));
        let problem = Problem::not_found("thing");
        let text = serde_json::to_string(&Answer::<u32>::Problem(problem.clone())).unwrap();
        assert_eq!(
            read_answer::<u32>(&text),
            Err(CallFailure::Refused(problem))
        );
        for bad in ["", "{}", r#"{"ok":"three"}"#] {
            let failure = read_answer::<u32>(bad).unwrap_err();
            assert_eq!(failure, CallFailure::Unreadable { status: 200 });
        }
    }
}
