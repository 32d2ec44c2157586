//! The backend: every call is a turn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use parlance_functions::backend::{Backend, SendError};
use parlance_functions::handlers::sockets::no_sockets;
use parlance_shared::account::call::{AccountName, AccountObject, AccountRequest};
use parlance_shared::conversation::call::{
    ConversationObject, ConversationRequest, OpenSocket, Schedule,
};
use parlance_shared::entropy::Entropy;
use parlance_shared::ids::{ConversationId, MediaId, UserId};
use parlance_shared::limiter::{LimiterName, LimiterObject};
use parlance_shared::media::call::MediaObject;
use parlance_shared::moderation::call::ModerationObject;
use parlance_shared::need::Need;
use parlance_shared::object::Call;
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::SqlError;
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{OpenSession, UserObject, UserRequest};
use serde::de::DeserializeOwned;

use crate::database::{Connection, Mode};
use crate::session::HeldSession;
use crate::{Embedded, Host, Place, Settings};

/// Deliveries that a request makes before it is answered. The members of a larger group get the
/// rest from whoever looks next.
pub(crate) const DELIVERIES: u32 = 64;

/// No socket is ever opened here.
#[derive(Debug, Clone, Copy)]
pub enum NoSocket {}

impl<H: Host> Embedded<H> {
    /// The backend, with what a deployment's configuration says. To be made anew for each request:
    /// it keeps a connection once it has one.
    #[must_use]
    pub fn new(host: H, settings: Settings) -> Self {
        Self {
            place: Rc::new(Place { host, settings }),
            connection: RefCell::new(None),
        }
    }

    /// The connection of this request.
    pub(crate) async fn connection(&self) -> Result<Rc<Connection<H::Database>>, SqlError> {
        let known = self.connection.borrow().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let opened = self.place.connect().await?;
        *self.connection.borrow_mut() = Some(Rc::clone(&opened));
        Ok(opened)
    }

    fn outcome<R: DeserializeOwned>(
        &self,
        outcome: Result<String, ServiceError>,
    ) -> Result<R, Problem> {
        let reply = outcome.map_err(|error| self.place.problem(error))?;
        serde_json::from_str(&reply).map_err(|error| {
            self.place.failed("reply_unread", &error.to_string());
            Problem::internal()
        })
    }
}

impl<H: Host> Place<H> {
    /// What a client is told of an error. A failure of storage is logged.
    pub fn problem(&self, error: ServiceError) -> Problem {
        if let ServiceError::Storage(failure) = &error {
            self.failed("storage_failed", &failure.to_string());
            if *failure == SqlError::Busy {
                return Problem::unavailable("The database is busy. Try again.");
            }
        }
        error.into_problem()
    }
}

fn conversation_mode(request: &ConversationRequest) -> Mode {
    use ConversationRequest as Ask;
    match request {
        Ask::GetConversation(_)
        | Ask::ListMembers(_)
        | Ask::ListMessages(_)
        | Ask::ListEvents(_)
        | Ask::CountUnread(_)
        | Ask::GetMessageInfo(_)
        | Ask::GetMessage(_)
        | Ask::ListThread(_)
        | Ask::ListPins(_)
        | Ask::ListScheduled(_)
        | Ask::CopyMessage(_) => Mode::Read,
        _ => Mode::Write,
    }
}

fn user_mode(request: &UserRequest) -> Mode {
    use UserRequest as Ask;
    match request {
        Ask::CheckDevice(_)
        | Ask::ListDevices(_)
        | Ask::GetProfile(_)
        | Ask::ViewProfile(_)
        | Ask::ListConversations(_)
        | Ask::ListBlocks(_)
        | Ask::AdmitTo(_) => Mode::Read,
        _ => Mode::Write,
    }
}

impl<H: Host> Backend for Embedded<H> {
    type Upgrade = NoSocket;
    const HAS_SOCKETS: bool = false;
    type Session = HeldSession<H>;

    async fn account<C: Call<AccountObject>>(
        &self,
        name: &AccountName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        let request = call.into();
        let mode = match request {
            AccountRequest::FindUser(_) => Mode::Read,
            _ => Mode::Write,
        };
        let outcome = async {
            let sql = self.connection().await?;
            self.place
                .turn(&sql, mode, 0, |turn| {
                    turn.ask_account(name, request.clone())
                })
                .await
        };
        self.outcome(outcome.await)
    }

    async fn user<C: Call<UserObject>>(&self, id: UserId, call: C) -> Result<C::Reply, Problem> {
        let request = call.into();
        let outcome = async {
            let sql = self.connection().await?;
            let mode = user_mode(&request);
            self.place
                .turn(&sql, mode, DELIVERIES, |turn| {
                    turn.ask_user(id, request.clone())
                })
                .await
        };
        self.outcome(outcome.await)
    }

    async fn conversation<C: Call<ConversationObject>>(
        &self,
        id: ConversationId,
        call: C,
    ) -> Result<C::Reply, Problem> {
        let request = call.into();
        let outcome = async {
            let sql = self.connection().await?;
            let mode = conversation_mode(&request);
            let is_admitted = Cell::new(false);
            let attempt = || {
                self.place.turn(&sql, mode, DELIVERIES, |turn| {
                    match &request {
                        _ if is_admitted.get() => {}
                        ConversationRequest::Send(send) => turn.admit_message(send.device_id)?,
                        ConversationRequest::Schedule(Schedule {
                            device_id: Some(device_id),
                            ..
                        }) => turn.admit_message(*device_id)?,
                        _ => {}
                    }
                    turn.conversation_answers(id, request.clone())
                })
            };
            loop {
                match attempt().await {
                    // The medium has to ask storage, between two turns.
                    Err(ServiceError::Needs(Need::Medium(medium))) => {
                        is_admitted.set(true);
                        let attach = medium.attach.into();
                        let media_id = medium.media_id;
                        self.place.ask_media(&sql, media_id, &attach).await?;
                    }
                    outcome => break outcome,
                }
            }
        };
        self.outcome(outcome.await)
    }

    async fn limiter<C: Call<LimiterObject>>(
        &self,
        name: &LimiterName,
        call: C,
    ) -> Result<C::Reply, Problem> {
        let request = call.into();
        let outcome = async {
            let sql = self.connection().await?;
            self.place
                .turn(&sql, Mode::Write, 0, |turn| {
                    turn.ask_limiter(name, request.clone())
                })
                .await
        };
        self.outcome(outcome.await)
    }

    async fn moderation<C: Call<ModerationObject>>(&self, call: C) -> Result<C::Reply, Problem> {
        let request = call.into();
        let outcome = async {
            let sql = self.connection().await?;
            self.place
                .turn(&sql, Mode::Write, 0, |turn| {
                    turn.ask_moderation(request.clone())
                })
                .await
        };
        self.outcome(outcome.await)
    }

    async fn media<C: Call<MediaObject>>(&self, id: MediaId, call: C) -> Result<C::Reply, Problem> {
        let request = call.into();
        let outcome = async {
            let sql = self.connection().await?;
            self.place.ask_media(&sql, id, &request).await
        };
        self.outcome(outcome.await)
    }

    async fn count_request(&self, _name: &LimiterName) -> Option<bool> {
        None
    }

    async fn conversation_socket(
        &self,
        _id: ConversationId,
        _open: OpenSocket,
    ) -> Result<NoSocket, Problem> {
        Err(no_sockets())
    }

    async fn user_socket(&self, _id: UserId, _open: OpenSession) -> Result<NoSocket, Problem> {
        Err(no_sockets())
    }

    async fn session(&self, id: UserId, open: OpenSession) -> Result<HeldSession<H>, Problem> {
        let outcome = async {
            // The session outlives the request.
            let sql = self.place.connect().await?;
            let opened = self
                .place
                .turn(&sql, Mode::Write, DELIVERIES, |turn| {
                    turn.open_session(id, &open)
                })
                .await?;
            Ok(HeldSession::new(Rc::clone(&self.place), sql, id, opened))
        };
        outcome.await.map_err(|error| self.place.problem(error))
    }

    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError> {
        self.place.host.send(request).await
    }

    fn now(&self) -> Timestamp {
        self.place.host.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.place.host.entropy()
    }

    fn log(&self, line: &str) {
        self.place.host.log(line);
    }

    fn metrics(&self) -> Option<String> {
        // Instances come and go with requests: what one counts says nothing.
        None
    }
}
