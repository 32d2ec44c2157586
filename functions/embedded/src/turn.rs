//! A turn: one transaction, in which an object is asked, and whatever follows at other objects is
//! done.
//!
//! A turn keeps a queue of what objects ask of one another, and works it off in order. Each object
//! it comes upon is loaded once, and written down at the end. Where a service would wait a moment
//! before it goes on (to gather what comes meanwhile), its time is let pass at once.
//!
//! What always holds: a failure of the engine undoes the turn, since what it has undone by itself
//! is not known; a row that cannot be read concerns its own object alone.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use parlance_shared::account::call::{AccountName, AccountObject, AccountRequest};
use parlance_shared::account::service::{AccountLimits, AccountService};
use parlance_shared::conversation::call::ConversationRequest;
use parlance_shared::ids::{ConversationId, UserId};
use parlance_shared::limiter::{LimiterName, LimiterObject, LimiterRequest, LimiterService};
use parlance_shared::moderation::call::{ModerationObject, ModerationRequest};
use parlance_shared::moderation::service::ModerationService;
use parlance_shared::protocol::frame::ServerFrame;
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::{Sql as _, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::{Signal, UserRequest};
use parlance_shared::user::effect::{RequestId, Ticket};

use crate::conversations::LoadedConversation;
use crate::database::{Connection, Mode};
use crate::objects::Object;
use crate::users::LoadedUser;
use crate::{Host, Place};

/// How long a turn is tried for while other connections write.
const PATIENCE: Duration = Duration::from_secs(20);
/// The wait between two tries. It does not grow: SQLite's lock has no queue, so whoever asked less
/// often the longer it has waited would be overtaken by all who come, on a busy database for ever.
const WAIT: Duration = Duration::from_millis(5);
/// Tries where nothing can be waited for but what the platform waits by itself ([`Host::open`]).
const TRIES_AT_ONCE: u32 = 20;

/// One object's request to another.
#[derive(Debug)]
pub(crate) enum Task {
    /// To a conversation.
    AskConversation {
        id: ConversationId,
        request: ConversationRequest,
        /// Which user waits for the answer.
        then: Option<(UserId, Ticket)>,
    },
    /// To a user.
    AskUser {
        id: UserId,
        request: UserRequest,
        /// Which user waits for the answer.
        then: Option<(UserId, Ticket)>,
    },
    /// A conversation shows a member what passes.
    Signal {
        from: ConversationId,
        to: UserId,
        frames: Vec<ServerFrame>,
    },
}

type Database<H> = Rc<Connection<<H as Host>::Database>>;

/// A turn under way.
pub(crate) struct Turn<'t, H: Host> {
    pub place: &'t Place<H>,
    pub sql: Database<H>,
    pub now: Timestamp,
    /// The largest scope that was chosen for an object that the database does not know.
    pub last_scope: i64,
    pub users: BTreeMap<UserId, LoadedUser<H::Database>>,
    pub conversations: BTreeMap<ConversationId, LoadedConversation<H::Database>>,
    pub queue: VecDeque<Task>,
    /// Answers that had to wait.
    pub answers: BTreeMap<(UserId, RequestId), Result<String, Problem>>,
    /// How many deliveries may still be made.
    pub deliveries: u32,
}

impl<H: Host> Place<H> {
    /// A connection of its own, with all tables there.
    pub async fn connect(&self) -> Result<Database<H>, SqlError> {
        let sql = Rc::new(Connection::new(self.host.open()?));
        let is_installed = || crate::schema::is_installed(&sql);
        if !self.patiently(is_installed).await? {
            // Readers then wait for no writer, and a commit for one write to the disk. The file
            // remembers it. A server in place of a file may have no such thing: then it is as it is.
            let journal = || sql.exec("PRAGMA journal_mode = WAL", &[]);
            let _ = self.patiently(journal).await;
            self.begin(&sql, Mode::Write).await?;
            match crate::schema::install(&sql) {
                Ok(()) => sql.commit()?,
                Err(error) => {
                    sql.roll_back();
                    return Err(error);
                }
            }
        }
        Ok(sql)
    }

    async fn begin(&self, sql: &Connection<H::Database>, mode: Mode) -> Result<(), SqlError> {
        self.patiently(|| sql.begin(mode)).await
    }

    /// Tries until no other connection is in the way, or patience is over. Others of this instance
    /// have their turns in between.
    pub async fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let until = self.host.now() + PATIENCE;
        loop {
            match attempt() {
                Err(SqlError::Busy) if self.host.now() < until => self.host.sleep(WAIT).await,
                outcome => return outcome,
            }
        }
    }

    /// Carries out a turn in which at most `deliveries` are made. `body` is run anew where a turn
    /// that was only to read has to write after all.
    ///
    /// # Errors
    /// What `body` refused, which is committed all the same, as an object commits what it does
    /// before it refuses; or storage's failure: then nothing has changed.
    pub async fn turn<T>(
        &self,
        sql: &Database<H>,
        mode: Mode,
        deliveries: u32,
        mut body: impl FnMut(&mut Turn<'_, H>) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut mode = mode;
        loop {
            self.begin(sql, mode).await?;
            match self.attempt(sql, deliveries, &mut body) {
                Err(SqlError::Busy) if mode == Mode::Read => mode = Mode::Write,
                Ok(outcome) => return outcome,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// As [`Self::turn`], where nothing can be waited for.
    pub fn turn_at_once<T>(
        &self,
        sql: &Database<H>,
        mut body: impl FnMut(&mut Turn<'_, H>) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut tries = 1;
        while let Err(error) = sql.begin(Mode::Write) {
            if error != SqlError::Busy || tries == TRIES_AT_ONCE {
                return Err(error.into());
            }
            tries += 1;
        }
        self.attempt(sql, 0, &mut body)?
    }

    fn attempt<T>(
        &self,
        sql: &Database<H>,
        deliveries: u32,
        body: &mut impl FnMut(&mut Turn<'_, H>) -> Result<T, ServiceError>,
    ) -> Result<Result<T, ServiceError>, SqlError> {
        let mut turn = Turn {
            place: self,
            sql: Rc::clone(sql),
            now: self.host.now(),
            last_scope: 0,
            users: BTreeMap::new(),
            conversations: BTreeMap::new(),
            queue: VecDeque::new(),
            answers: BTreeMap::new(),
            deliveries,
        };
        let done = match body(&mut turn) {
            Err(ServiceError::Storage(failure)) => Err(failure),
            outcome => turn.finish().map(|()| outcome),
        };
        match done {
            Ok(outcome) => sql.commit().map(|()| outcome),
            Err(failure) => {
                sql.roll_back();
                Err(failure)
            }
        }
    }
}

impl<H: Host> Turn<'_, H> {
    /// Asks an account.
    pub fn ask_account(
        &mut self,
        name: &AccountName,
        request: AccountRequest,
    ) -> Result<String, ServiceError> {
        let mut object = Object::find::<AccountObject>(&self.sql, name, &mut self.last_scope)?;
        let limits = AccountLimits::scaled(self.place.settings.rate_limit_scale);
        let mut service = AccountService::new(Rc::clone(&self.sql), object.scope, limits);
        let outcome = service.handle(request, self.now, self.place.host.entropy());
        object.keep_if_written(&self.sql)?;
        outcome
    }

    /// Asks a limiter.
    pub fn ask_limiter(
        &mut self,
        name: &LimiterName,
        request: LimiterRequest,
    ) -> Result<String, ServiceError> {
        let mut object = Object::find::<LimiterObject>(&self.sql, name, &mut self.last_scope)?;
        let scale = self.place.settings.rate_limit_scale;
        let mut service =
            LimiterService::new(Rc::clone(&self.sql), object.scope, scale).without_memory();
        let outcome = service.handle(request, self.now);
        object.keep_if_written(&self.sql)?;
        // Buckets that are full again are forgotten by maintenance, all at once.
        outcome.map(|(reply, _)| reply)
    }

    /// Asks the moderation.
    pub fn ask_moderation(&mut self, request: ModerationRequest) -> Result<String, ServiceError> {
        let mut object = Object::find::<ModerationObject>(&self.sql, &(), &mut self.last_scope)?;
        let mut service = ModerationService::new(Rc::clone(&self.sql), object.scope);
        let outcome = service.handle(request, self.now, self.place.host.entropy());
        object.keep_if_written(&self.sql)?;
        outcome
    }

    /// Works off what objects ask of one another.
    pub fn work(&mut self) -> Result<(), SqlError> {
        while let Some(task) = self.queue.pop_front() {
            match task {
                Task::AskConversation { id, request, then } => {
                    let answer = self.conversation_answers(id, request);
                    self.hand_back(then, answer)?;
                }
                Task::AskUser { id, request, then } => {
                    let answer = self.user_answers(id, request);
                    self.hand_back(then, answer)?;
                }
                Task::Signal { from, to, frames } => self.hand_signal(from, to, frames)?,
            }
        }
        Ok(())
    }

    /// What an object's error is to whoever asked it: a problem, unless it ends the turn.
    pub fn told(&self, error: ServiceError) -> Result<Problem, SqlError> {
        match error {
            ServiceError::Refused(problem) => Ok(problem),
            ServiceError::Storage(failure) => {
                self.survive(failure)?;
                Ok(Problem::internal())
            }
            // Nothing is kept outside of the database in this edition.
            needs @ ServiceError::Needs(_) => Ok(needs.into_problem()),
        }
    }

    /// Logs a failure that concerns one object alone.
    ///
    /// # Errors
    /// The failure, where it ends the turn.
    pub fn survive(&self, failure: SqlError) -> Result<(), SqlError> {
        match failure {
            SqlError::Unexpected { .. } | SqlError::Needs(_) => {
                self.place.failed("storage_failed", &failure.to_string());
                Ok(())
            }
            SqlError::Engine(_) | SqlError::Busy | SqlError::RolledBack => Err(failure),
        }
    }

    fn hand_back(
        &mut self,
        then: Option<(UserId, Ticket)>,
        answer: Result<String, ServiceError>,
    ) -> Result<(), SqlError> {
        let answer = match answer {
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.told(error)?),
        };
        match then {
            Some((user_id, ticket)) => self.user_is_answered(user_id, ticket, answer),
            None => Ok(()),
        }
    }

    fn hand_signal(
        &mut self,
        from: ConversationId,
        to: UserId,
        frames: Vec<ServerFrame>,
    ) -> Result<(), SqlError> {
        let mut next = Some(frames);
        while let Some(frames) = next.take() {
            let signal = Signal {
                user_id: to,
                frames,
                attached_devices: Vec::new(),
            };
            // One who does not hear of it has missed it.
            if let Err(error) = self.user_answers(to, signal.into()) {
                self.told(error)?;
            }
            next = self
                .conversations
                .get_mut(&from)
                .and_then(|conversation| conversation.service.signalled(to));
        }
        Ok(())
    }

    /// Makes the deliveries that are due, as many as this turn may.
    pub fn deliver_all(&mut self) -> Result<(), SqlError> {
        let ids: Vec<_> = self.conversations.keys().copied().collect();
        for id in ids {
            self.deliver(id)?;
        }
        Ok(())
    }

    /// Ends the turn: delivers what is due, as far as this turn may, and writes all down.
    fn finish(&mut self) -> Result<(), SqlError> {
        self.work()?;
        self.deliver_all()?;
        let ids: Vec<_> = self.users.keys().copied().collect();
        for id in ids {
            self.save_user(id)?;
        }
        // What users did as their time was let pass may have reached others.
        while let Some(id) = self.users.keys().next().copied() {
            self.save_user(id)?;
        }
        let ids: Vec<_> = self.conversations.keys().copied().collect();
        for id in ids {
            self.save_conversation(id)?;
        }
        Ok(())
    }
}
