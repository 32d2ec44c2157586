//! The platform as handlers see it: objects behind stubs, the runtime's clock, randomness, log
//! and outgoing requests.
//!
//! How a call travels is [`parlance_durable_objects::stub`]'s.

use parlance_durable_objects::stub::{CallFailure, Caller};
use parlance_durable_objects::{metrics, outbound};
use parlance_functions::backend::{Backend, SendError};
use parlance_functions::log;
use parlance_shared::account::call::{AccountName, AccountObject};
use parlance_shared::conversation::call::{ConversationObject, OpenSocket, SOCKET_HEADER};
use parlance_shared::entropy::Entropy;
use parlance_shared::ids::{ConversationId, MediaId, UserId};
use parlance_shared::limiter::{LimiterName, LimiterObject};
use parlance_shared::media::call::MediaObject;
use parlance_shared::moderation::call::ModerationObject;
use parlance_shared::object::{Call, ObjectClass};
use parlance_shared::protocol::problem::Problem;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserObject};
use serde::Serialize;
use wasm_bindgen::{JsCast as _, UnwrapThrowExt as _};
use worker::{Env, RateLimiter, Response};

use crate::session::SocketSession;

/// The binding of the platform's own counter of requests.
const REQUEST_LIMIT: &str = "REQUEST_LIMIT";

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

    const fn caller(&self) -> Caller<'_> {
        Caller {
            env: &self.env,
            request_id: Some(self.request_id.as_str()),
        }
    }

    async fn call<O: ObjectClass, C: Call<O>>(
        &self,
        name: &O::Name,
        call: C,
    ) -> Result<C::Reply, Problem> {
        let answered = self.caller().call(name, call).await;
        answered.map_err(|failure| self.told::<O>(failure))
    }

    async fn upgrade<O: ObjectClass>(
        &self,
        name: &O::Name,
        open: &impl Serialize,
    ) -> Result<Response, Problem> {
        let opened = self.caller().upgrade::<O>(name, SOCKET_HEADER, open).await;
        opened.map_err(|failure| self.told::<O>(failure))
    }

    /// What the client is told of a call that gave no reply. An object that was not reached is
    /// logged by its class, not its name.
    fn told<O: ObjectClass>(&self, failure: CallFailure) -> Problem {
        if !matches!(failure, CallFailure::Refused(_)) {
            self.failed("object_not_reached", &format!("{}: {failure}", O::BINDING));
        }
        failure.into_problem()
    }

    fn failed(&self, event: &str, detail: &str) {
        let line = log::failure(self.now(), &self.request_id, event, detail);
        self.log(&line);
    }
}

impl Backend for Objects {
    type Upgrade = Response;
    const HAS_BUCKET: bool = true;
    type Session = SocketSession;

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

    async fn limiter<C: Call<LimiterObject>>(
        &self,
        name: &LimiterName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        self.call::<LimiterObject, C>(name, call).await
    }

    async fn moderation<C: Call<ModerationObject>>(&self, call: C) -> Result<C::Reply, Problem> {
        self.call::<ModerationObject, C>(&(), call).await
    }

    async fn media<C: Call<MediaObject>>(&self, id: MediaId, call: C) -> Result<C::Reply, Problem> {
        self.call::<MediaObject, C>(&id, call).await
    }

    async fn count_request(&self, name: &LimiterName) -> Option<bool> {
        // Not `Env::rate_limiter`, which wants a binding of a class of one certain name.
        let binding = js_sys::Reflect::get(&self.env, &REQUEST_LIMIT.into()).ok()?;
        if !binding.is_object() {
            return None;
        }
        let limiter: RateLimiter = binding.unchecked_into();
        match limiter.limit(name.as_str().to_owned()).await {
            Ok(outcome) => Some(outcome.success),
            Err(error) => {
                self.failed("request_limit_failed", &error.to_string());
                None
            }
        }
    }

    async fn conversation_socket(
        &self,
        id: ConversationId,
        open: OpenSocket,
    ) -> Result<Response, Problem> {
        self.upgrade::<ConversationObject>(&id, &open).await
    }

    async fn user_socket(&self, id: UserId, open: OpenSession) -> Result<Response, Problem> {
        self.upgrade::<UserObject>(&id, &open).await
    }

    async fn session(&self, id: UserId, open: OpenSession) -> Result<SocketSession, Problem> {
        let opened = self.upgrade::<UserObject>(&id, &open).await?;
        SocketSession::accept(opened).map_err(|error| {
            self.failed("session_not_accepted", &error.to_string());
            Problem::internal()
        })
    }

    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError> {
        outbound::send(request)
            .await
            .map_err(|error| SendError(error.to_string()))
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn entropy(&self) -> &dyn Entropy {
        &Platform
    }

    fn log(&self, line: &str) {
        worker::console_log!("{line}");
    }

    fn metrics(&self) -> Option<String> {
        Some(metrics::text())
    }
}

/// The runtime's clock. It stands still while code runs and moves with every input or output.
pub fn now() -> Timestamp {
    let millis = worker::Date::now().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
