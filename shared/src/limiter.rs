//! Rate limits: token buckets, and the object that keeps one.
//!
//! A [`Bucket`] is one number, the moment at which it will be full again (the generic cell rate
//! algorithm of ATM Forum TM 4.0, the same as a token bucket), so that it is kept and written
//! cheaply. The object is named by what it limits and for whom, an address as a keyed hash.
//!
//! What always holds: what is refused changes nothing and writes nothing. An object that loses
//! its memory forgets at most [`WRITE_LAG`] of refilling. Once its bucket is full again, nothing
//! is left of it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::DeviceId;
use crate::limits;
use crate::object::{self, ObjectClass, requests};
use crate::params;
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::migrations::{LazySchema, Migration};
use crate::sql::{Sql, SqlError};
use crate::time::Timestamp;

/// The component's name in `schema_version`.
pub const COMPONENT: &str = "limiter";

/// The schema's history. A released step is never changed: the next one follows it.
pub const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    statements: &["CREATE TABLE bucket (
        scope INTEGER PRIMARY KEY,
        full_at_micros INTEGER NOT NULL
    ) WITHOUT ROWID"],
}];

/// How far the written bucket may lag behind the one in memory, in time to refill. A fast bucket
/// is written once for many tokens, a slow one with each.
pub const WRITE_LAG: Duration = Duration::from_secs(1);

/// The longest time to refill one token: beyond, a scale close to 0 makes no difference.
const LONGEST_INTERVAL_MICROS: u64 = 365 * 24 * 60 * 60 * 1_000_000;

/// How fast a bucket refills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds until a token comes back.
    interval_micros: u64,
    /// Tokens of a full bucket.
    burst: u32,
}

impl Rate {
    /// `count` in any `period`, at once if need be.
    #[must_use]
    pub const fn per(count: u32, period: Duration) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self {
            interval_micros: period.as_micros() as u64 / count as u64,
            burst: count,
        }
    }

    /// The same, but with `burst` at once.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// The rate multiplied by `scale` (at least one token is left); `None`, no limit, for 0. What
    /// makes no sense (a negative number, NaN) counts as 1, so that a slip in the settings never
    /// takes the limit away.
    #[must_use]
    pub fn scaled(self, scale: f64) -> Option<Self> {
        if scale == 0.0 {
            return None;
        }
        let scale = if scale > 0.0 { scale } else { 1.0 };
        // The conversions saturate.
        let interval = (self.interval_micros as f64 / scale).round() as u64;
        let burst = (f64::from(self.burst) * scale).floor() as u32;
        Some(Self {
            interval_micros: interval.clamp(1, LONGEST_INTERVAL_MICROS),
            burst: burst.max(1),
        })
    }

    fn room_micros(self) -> i64 {
        let room = self.interval_micros.saturating_mul(u64::from(self.burst));
        i64::try_from(room).unwrap_or(i64::MAX)
    }
}

/// A token bucket: the moment, in microseconds since the epoch, at which it will be full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bucket {
    full_at_micros: i64,
}

impl Bucket {
    /// Takes a token, or says after how long there will be one; then nothing has changed. A clock
    /// that was set back never makes the wait longer than that of an empty bucket.
    ///
    /// # Errors
    /// The time until the next token.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_millis().saturating_mul(1000);
        let room = rate.room_micros();
        let full_at = self.full_at_micros.clamp(now, now.saturating_add(room));
        let interval = i64::try_from(rate.interval_micros).unwrap_or(i64::MAX);
        let full_at = full_at.saturating_add(interval);
        let excess = full_at.saturating_sub(now).saturating_sub(room);
        if excess > 0 {
            return Err(Duration::from_micros(excess.unsigned_abs()));
        }
        self.full_at_micros = full_at;
        Ok(())
    }

    /// When it will be full, rounded up to the millisecond.
    #[must_use]
    pub const fn full_at(self) -> Timestamp {
        Timestamp::from_millis(self.full_at_micros.saturating_add(999).div_euclid(1000))
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Logins of an address.
    Logins,
    /// Requests of a device or an address.
    Requests,
    /// Uploads of media of a device.
    Uploads,
}

impl Limit {
    /// The protocol's rate.
    #[must_use]
    pub const fn rate(self) -> Rate {
        match self {
            Self::Logins => Rate::per(limits::LOGINS_PER_HOUR, Duration::from_secs(60 * 60)),
            Self::Requests => Rate::per(limits::REQUESTS_PER_MINUTE, Duration::from_secs(60)),
            Self::Uploads => Rate::per(limits::UPLOADS_PER_SECOND, Duration::from_secs(1)),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Logins => "logins",
            Self::Requests => "requests",
            Self::Uploads => "uploads",
        }
    }

    /// What a client over the limit is told.
    #[must_use]
    pub fn problem(self, retry_after: Duration) -> Problem {
        let detail = match self {
            Self::Logins => "There were too many logins from this address.",
            Self::Requests => "There were too many requests.",
            Self::Uploads => "There were too many uploads at once.",
        };
        Problem::rate_limited(detail, retry_after)
    }
}

/// What names a bucket: what is limited, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimiterName(String);

impl LimiterName {
    /// The bucket of an address, as HMAC-SHA-256 of it under the deployment's key. An IPv6
    /// address stands for its network of 64 bits, which is what a subscriber has.
    #[must_use]
    pub fn address(limit: Limit, address: IpAddr, key: &[u8]) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        };
        // A phone number, which the same key hashes, begins with a plus sign.
        let text = format!("address:{network}");
        let digest = Hmac::<Sha256>::new_from_slice(key)
            .map(|mac| mac.chain_update(text).finalize().into_bytes())
            // HMAC takes a key of any length.
            .unwrap_or_default();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}:address:{hex}", limit.word()))
    }

    /// The bucket of a device.
    #[must_use]
    pub fn device(limit: Limit, device_id: DeviceId) -> Self {
        Self(format!("{}:device:{device_id}", limit.word()))
    }

    /// The name as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The class of objects that keep a bucket each.
#[derive(Debug)]
pub struct LimiterObject;

impl ObjectClass for LimiterObject {
    const BINDING: &'static str = "LIMITER";
    type Name = LimiterName;
    type Request = LimiterRequest;

    fn object_name(name: &LimiterName) -> String {
        name.0.clone()
    }
}

requests! {
    /// All that a limiter object can be asked.
    LimiterRequest of LimiterObject {
        /// Take a token.
        Take => (),
    }
}

/// Takes a token. Refused with `rate_limited` where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Take {
    /// What is limited, as in the object's name.
    pub limit: Limit,
}

/// What is to be done about the object's alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Nothing.
    None,
    /// Set it for this time.
    Wake(Timestamp),
    /// The bucket is full: delete all that is stored, and the service with it.
    Forget,
}

/// The keeper of one bucket.
#[derive(Debug)]
pub struct LimiterService<S: Sql> {
    sql: S,
    scope: i64,
    scale: f64,
    write_lag: Duration,
    schema: LazySchema,
    /// The bucket, and the one that is written; `None` before it was looked for.
    known: Option<Known>,
    alarm_is_set: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    bucket: Bucket,
    written: Bucket,
}

impl<S: Sql> LimiterService<S> {
    /// The bucket that `scope` of this database holds. `scale` multiplies the protocol's limits.
    pub const fn new(sql: S, scope: i64, scale: f64) -> Self {
        Self {
            sql,
            scope,
            scale,
            write_lag: WRITE_LAG,
            schema: LazySchema::new(COMPONENT, MIGRATIONS),
            known: None,
            alarm_is_set: false,
        }
    }

    /// The same for a runtime that keeps no object in memory: every token is written down.
    #[must_use]
    pub const fn without_memory(mut self) -> Self {
        self.write_lag = Duration::ZERO;
        self
    }

    /// Does what is asked. The answer is the JSON of the call's reply.
    ///
    /// # Errors
    /// As the method of the call.
    pub fn handle(
        &mut self,
        request: LimiterRequest,
        now: Timestamp,
    ) -> Result<(String, Upkeep), ServiceError> {
        match request {
            LimiterRequest::Take(call) => {
                let upkeep = self.take(call, now)?;
                Ok((object::reply_json(&())?, upkeep))
            }
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// `rate_limited` where there is none.
    pub fn take(&mut self, call: Take, now: Timestamp) -> Result<Upkeep, ServiceError> {
        let Some(rate) = call.limit.rate().scaled(self.scale) else {
            return Ok(Upkeep::None);
        };
        let mut known = self.known()?;
        known
            .bucket
            .take(rate, now)
            .map_err(|wait| call.limit.problem(wait))?;
        let upkeep = if self.must_write(known) {
            self.schema.make(&self.sql)?;
            self.sql.exec(
                "INSERT INTO bucket (scope, full_at_micros) VALUES (?, ?)
                 ON CONFLICT (scope) DO UPDATE SET full_at_micros = excluded.full_at_micros",
                params![self.scope, known.bucket.full_at_micros],
            )?;
            known.written = known.bucket;
            if self.alarm_is_set {
                Upkeep::None
            } else {
                self.alarm_is_set = true;
                Upkeep::Wake(known.bucket.full_at())
            }
        } else {
            Upkeep::None
        };
        self.known = Some(known);
        Ok(upkeep)
    }

    fn must_write(&self, known: Known) -> bool {
        let lag = known
            .bucket
            .full_at_micros
            .saturating_sub(known.written.full_at_micros);
        u128::try_from(lag).unwrap_or(0) >= self.write_lag.as_micros()
    }

    /// The alarm goes off.
    ///
    /// # Errors
    /// When storage fails.
    pub fn on_alarm(&mut self, now: Timestamp) -> Result<Upkeep, ServiceError> {
        let full_at = self.known()?.bucket.full_at();
        if full_at <= now {
            Ok(Upkeep::Forget)
        } else {
            self.alarm_is_set = true;
            Ok(Upkeep::Wake(full_at))
        }
    }

    fn known(&mut self) -> Result<Known, SqlError> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let written = if self.schema.is_there(&self.sql)? {
            self.sql
                .exec(
                    "SELECT full_at_micros FROM bucket WHERE scope = ?",
                    params![self.scope],
                )?
                .scalar()?
        } else {
            None
        };
        let written = Bucket {
            full_at_micros: written.unwrap_or_default(),
        };
        let known = Known {
            bucket: written,
            written,
        };
        self.known = Some(known);
        Ok(known)
    }
}

#[cfg(test)]
mod tests;
