//! The platform as handlers see it: objects behind stubs, the runtime's clock, randomness, log
//! and outgoing requests.
//!
//! A call travels as `POST https://object/` with the JSON of the class's request, and is answered
//! 200 with the JSON of an [`Answer`]. Anything else is `unavailable`: the object was not
//! reached, or failed on the way; whether it did what it was asked is then unknown.

use http::{Method, StatusCode};
use parlance_functions::backend::{Backend, SendError};
use parlance_functions::{log, request_id};
use parlance_shared::account::call::{AccountName, AccountObject};
use parlance_shared::conversation::call::{ConversationObject, OpenSocket, SOCKET_HEADER};
use parlance_shared::entropy::Entropy;
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::object::{Answer, Call, ObjectClass};
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::UserObject;
use wasm_bindgen::{JsValue, UnwrapThrowExt as _};
use worker::{AbortSignal, Env, Fetch, Headers, Request, RequestInit, RequestRedirect, Response};

use crate::conversion;

/// Where an object answers calls.
const CALL_URL: &str = "https://object/";
/// Where an object opens sockets.
const SOCKET_URL: &str = "https://object/socket";
/// How long another service may take to answer.
const SEND_TIMEOUT_MILLIS: u32 = 10_000;

/// The runtime's random numbers.
pub struct Platform;

impl Entropy for Platform {
    fn fill(&self, buffer: &mut [u8]) {
        // Without randomness there are no secrets: the request ends here.
        getrandom::fill(buffer).unwrap_throw();
    }
}

/// The platform, on behalf of one request.
pub struct Objects {
    env: Env,
    request_id: String,
}

impl Objects {
    /// The objects bound in `env`, called on behalf of the request of that name.
    pub const fn new(env: Env, request_id: String) -> Self {
        Self { env, request_id }
    }

    async fn call<O: ObjectClass, C: Call<O>>(
        &self,
        name: &O::Name,
        call: C,
    ) -> Result<C::Reply, Problem> {
        let request: O::Request = call.into();
        let answered = async {
            let body = serde_json::to_string(&request).map_err(conversion::failed)?;
            let headers = self.headers()?;
            headers.set("content-type", "application/json")?;
            let mut init = RequestInit::new();
            init.with_method(worker::Method::Post)
                .with_headers(headers)
                .with_body(Some(JsValue::from_str(&body)));
            let mut response = self.ask::<O>(name, CALL_URL, &init).await?;
            read::<C::Reply>(&mut response).await
        };
        answered
            .await
            .unwrap_or_else(|error| Err(self.unreached::<O>(&error)))
    }

    async fn ask<O: ObjectClass>(
        &self,
        name: &O::Name,
        url: &str,
        init: &RequestInit,
    ) -> worker::Result<Response> {
        self.env
            .durable_object(O::BINDING)?
            .get_by_name(&O::object_name(name))?
            .fetch_with_request(Request::new_with_init(url, init)?)
            .await
    }

    /// The headers of every call: the name of the request that it serves.
    fn headers(&self) -> worker::Result<Headers> {
        let headers = Headers::new();
        headers.set(request_id::HEADER.as_str(), &self.request_id)?;
        Ok(headers)
    }

    /// An object did not answer. Its class is logged, not its name.
    fn unreached<O: ObjectClass>(&self, error: &worker::Error) -> Problem {
        self.log(&log::failure(
            self.now(),
            &self.request_id,
            "object_not_reached",
            &format!("{}: {error}", O::BINDING),
        ));
        Problem::unavailable("A part of the service did not answer. Please try again.")
    }
}

/// Reads an object's answer.
async fn read<R: serde::de::DeserializeOwned>(
    response: &mut Response,
) -> worker::Result<Result<R, Problem>> {
    let status = response.status_code();
    if status != StatusCode::OK.as_u16() {
        return Err(conversion::failed(format!("answered {status}")));
    }
    let body = response.bytes().await?;
    let answer: Answer<R> = serde_json::from_slice(&body).map_err(conversion::failed)?;
    Ok(answer.into_result())
}

impl Backend for Objects {
    type Upgrade = Response;

    async fn account<C: Call<AccountObject>>(
        &self,
        name: &AccountName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.call::<AccountObject, C>(name, call).await
    }

    async fn user<C: Call<UserObject>>(&self, id: UserId, call: C) -> Result<C::Reply, Problem> {
        self.call::<UserObject, C>(&id, call).await
    }

    async fn conversation<C: Call<ConversationObject>>(
        &self,
        id: ConversationId,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.call::<ConversationObject, C>(&id, call).await
    }

    async fn conversation_socket(
        &self,
        id: ConversationId,
        open: OpenSocket,
    ) -> Result<Response, Problem> {
        let opened = async {
            let headers = self.headers()?;
            headers.set("upgrade", "websocket")?;
            let open = serde_json::to_string(&open).map_err(conversion::failed)?;
            headers.set(SOCKET_HEADER, &open)?;
            let mut init = RequestInit::new();
            init.with_headers(headers);
            let mut response = self
                .ask::<ConversationObject>(&id, SOCKET_URL, &init)
                .await?;
            if response.status_code() == StatusCode::SWITCHING_PROTOCOLS.as_u16() {
                return Ok(Ok(response));
            }
            match read::<()>(&mut response).await? {
                Err(problem) => Ok(Err(problem)),
                Ok(()) => Err(conversion::failed("opened no socket")),
            }
        };
        opened
            .await
            .unwrap_or_else(|error| Err(self.unreached::<ConversationObject>(&error)))
    }

    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError> {
        send(request)
            .await
            .map_err(|error| SendError(error.to_string()))
    }

    fn now(&self) -> Timestamp {
        let millis = worker::Date::now().as_millis();
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn entropy(&self) -> &dyn Entropy {
        &Platform
    }

    fn log(&self, line: &str) {
        worker::console_log!("{line}");
    }
}

/// Sends a request to another service. It follows no redirect, which could carry credentials
/// elsewhere, and waits for a bounded time.
async fn send(request: http::Request<Vec<u8>>) -> worker::Result<http::Response<Vec<u8>>> {
    let (parts, body) = request.into_parts();
    let mut init = RequestInit::new();
    init.with_method(worker::Method::from(parts.method.as_str().to_owned()))
        .with_headers(conversion::headers(&parts.headers)?)
        .with_redirect(RequestRedirect::Manual);
    if parts.method != Method::GET && parts.method != Method::HEAD {
        init.with_body(Some(js_sys::Uint8Array::from(body.as_slice()).into()));
    }
    let request = Request::new_with_init(&parts.uri.to_string(), &init)?;
    let signal = AbortSignal::from(web_sys::AbortSignal::timeout_with_u32(SEND_TIMEOUT_MILLIS));
    let mut response = Fetch::Request(request).send_with_signal(&signal).await?;
    let mut converted = http::Response::new(response.bytes().await?);
    *converted.status_mut() =
        StatusCode::from_u16(response.status_code()).map_err(conversion::failed)?;
    *converted.headers_mut() = conversion::header_map(response.headers());
    Ok(converted)
}
