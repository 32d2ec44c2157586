//! Support for tests of the whole system.
//!
//! A test starts the service as a user of the repository would ([`server`]), signs people up
//! ([`user`]) and asks over HTTP ([`api`]), talks over sockets ([`socket`]) or
//! without ([`fallback`]), uploads media ([`media`]) also to an S3 endpoint of its own ([`s3`]), makes tokens that the service
//! never issued ([`token`]) and plays the provider of text messages ([`sms`]). The host of Spin
//! components is also tested by itself ([`host`]).
//!
//! What always holds: nothing here links the service's own crates, so that the tests see what
//! a foreign client sees; no test asserts speed, and every wait has a generous bound; no server
//! outlives the test process, however that ends.

pub mod api;
pub mod edition;
pub mod fallback;
pub mod host;
pub mod media;
pub mod raw;
pub mod s3;
pub mod scene;
pub mod server;
pub mod sms;
pub mod socket;
pub mod token;
pub mod user;

use std::time::Duration;

pub use api::{Api, Reply};
pub use edition::Edition;
pub use server::{ADMIN_TOKEN, Server};
pub use socket::{Opening, Refused, Socket};
pub use user::User;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh random UUID, as text: a `client_msg_id`, or an id that names nothing.
#[must_use]
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A phone number that no other test uses, in the unassigned country code 999.
#[must_use]
pub fn phone_number() -> String {
    let random = uuid::Uuid::new_v4().as_u128() % 1_000_000_000_000;
    format!("+999{random:012}")
}

/// Asks again and again until `ask` gives something, for what happens after a while.
///
/// # Panics
/// When [`PATIENCE`] is over; says `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(value) = ask().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(value) => value,
        Err(_) => panic!("gave up waiting for: {what}"),
    }
}
