//! Support for tests of the whole system.
//!
//! A test starts the service as a user of the repository would ([`server`]), signs people up
//! ([`user`]) and asks over HTTP ([`api`]), talks over sockets ([`socket`]) or
//! without ([`fallback`]), makes tokens that the service
//! never issued ([`token`]), knows what those are answered who name what is not theirs
//! ([`strangers`]), and plays the provider of text messages ([`sms`]). The host of Spin
//! components is also tested by itself ([`host`]).
//!
//! What always holds: nothing here links the service's own crates, so that the tests see what
//! a foreign client sees; no test asserts speed, and every wait has a generous bound; no server
//! outlives the test process, however that ends.

pub mod api;
pub mod edition;
pub mod fallback;
pub mod host;
pub mod raw;
pub mod scene;
pub mod server;
pub mod sms;
pub mod socket;
pub mod strangers;
pub mod token;
pub mod user;

use std::time::{Duration, SystemTime};

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

/// A time from now, as a client writes it: RFC 3339 in UTC.
///
/// # Panics
/// When the machine's clock is before 1970.
#[must_use]
pub fn from_now(after: Duration) -> String {
    let at = SystemTime::now() + after;
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for years after 1970.
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let millis = since.subsec_millis();
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
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
