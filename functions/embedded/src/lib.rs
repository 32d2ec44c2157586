//! All objects in one SQLite database: a [`Backend`](parlance_functions::backend::Backend) for
//! platforms that have no objects.
//!
//! A request to an object is a [`turn`]: one transaction, which loads what the object's service
//! keeps, does what is asked, does what follows from it at other objects, and writes it all down.
//! So every service is as single a writer as a Durable Object is, however many instances share the
//! database: the write lock is what the object's one thread is elsewhere.
//!
//! Nothing stays in memory between two turns. What a Durable Object would keep with its sockets
//! or in its memory is rows here ([`schema`]): the sessions that the fallback transports hold
//! ([`session`]), frames that wait for them, alarms. A session looks for its frames every
//! [`session::LOOK_EVERY`].
//!
//! What a request leaves to do (deliveries to the rest of a large group, alarms) is worked off by
//! sessions that look, and by [`Embedded::maintain`], which a timer should call every second.
//! Every piece of it is a turn, so that it may be called by several at once, and break off
//! anywhere.
//!
//! What always holds: a turn takes effect whole or not at all; what was answered is committed.
//!
//! Must not: name a platform (that is [`Host`]'s), or know a rule of chat.

mod backend;
mod conversations;
mod database;
mod maintenance;
mod media;
mod objects;
pub mod schema;
pub mod session;
mod sessions;
mod turn;
mod users;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use parlance_functions::backend::SendError;
use parlance_functions::config::{Config, MediaStorage};
use parlance_shared::entropy::Entropy;
use parlance_shared::limits;
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_storage::s3::S3;

pub use crate::backend::NoSocket;
use crate::database::Connection;
pub use crate::maintenance::Maintained;

/// What one database does not give.
#[allow(async_fn_in_trait)] // One thread at the edge: the futures need not be Send.
pub trait Host: 'static {
    /// A connection to the database.
    type Database: Sql + 'static;

    /// Opens a connection of its own, which may wait for others for a moment where the database
    /// is locked, and then says [`SqlError::Busy`]. A moment only: where it waits, nothing else of
    /// this instance is done.
    ///
    /// # Errors
    /// When there is no such database.
    fn open(&self) -> Result<Self::Database, SqlError>;

    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The platform's random numbers.
    fn entropy(&self) -> &dyn Entropy;

    /// Writes one line of the log.
    fn log(&self, line: &str);

    /// Comes back after `duration`, without using the processor meanwhile.
    async fn sleep(&self, duration: Duration);

    /// Sends a request to another service on the internet: it follows no redirect and waits for a
    /// bounded time.
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, SendError>;
}

/// The backend over a host's database.
pub struct Embedded<H: Host> {
    place: Rc<Place<H>>,
    connection: RefCell<Option<Rc<Connection<H::Database>>>>,
}

/// The host, and what its deployment says.
struct Place<H> {
    host: H,
    settings: Settings,
}

/// What a deployment's configuration says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What rate limits are multiplied by; 0 turns them off.
    pub rate_limit_scale: f64,
    /// Where the bytes of media are, if anywhere.
    pub storage: Option<S3>,
    /// How long an upload that was sent nowhere is kept.
    pub unused_media: Duration,
    /// How often clients ping.
    pub heartbeat: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate_limit_scale: 1.0,
            storage: None,
            unused_media: limits::UNUSED_MEDIA,
            heartbeat: limits::HEARTBEAT,
        }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            rate_limit_scale: config.rate_limit_scale,
            storage: match &config.media {
                MediaStorage::S3(s3) => Some(S3::clone(s3)),
                MediaStorage::Local(_) | MediaStorage::None => None,
            },
            unused_media: config.unused_media,
            heartbeat: config.heartbeat,
        }
    }
}

impl<H: Host> Place<H> {
    /// Writes a failure to the log. `detail` must hold nothing that came from a client.
    fn failed(&self, event: &str, detail: &str) {
        let line = parlance_functions::log::failure(self.host.now(), "-", event, detail);
        self.host.log(&line);
    }
}
