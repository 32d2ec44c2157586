//! What requests leave to do: alarms, the rest of large groups' deliveries, and what is to be
//! forgotten.
//!
//! What always holds: each object is a turn of its own, so that a failure, or an end in the
//! middle, leaves the others be; an object whose turn fails is tried again after a while.

use std::rc::Rc;
use std::time::Duration;

use parlance_shared::conversation::call::ConversationObject;
use parlance_shared::ids::{ConversationId, MediaId, UserId};
use parlance_shared::limiter::LimiterObject;
use parlance_shared::media::call::MediaObject;
use parlance_shared::object::ObjectClass;
use parlance_shared::params;
use parlance_shared::protocol::problem::ServiceError;
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::call::UserObject;
use serde::Serialize;

use crate::database::{Connection, Mode};
use crate::objects::Alarm;
use crate::{Embedded, Host, Place};

/// Deliveries in one turn: twice the largest group.
const DELIVERIES: u32 = 2048;
/// Objects that are read at once.
const AT_ONCE: i64 = 16;
/// Objects that one call of [`Embedded::maintain`] looks after.
const OBJECTS: usize = 256;
/// After how long an object whose turn failed is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// The scope that stands for what is to be forgotten, in place of an object's.
const HOUSEKEEPING: i64 = 0;
/// How often that is looked for.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
/// How long a session that has ended waits for its holder to notice.
const ENDED_SESSIONS: Duration = Duration::from_secs(120);
/// After how long every bucket of a device is full again.
const RATES: Duration = Duration::from_secs(3600);
/// Buckets that are forgotten at once.
const BUCKETS: i64 = 1000;

/// What maintenance has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Maintained {
    /// Objects that were looked after.
    pub objects: usize,
    /// Objects whose turn failed; why is in the log.
    pub failed: usize,
    /// Whether more are due: to be called again at once.
    pub has_more: bool,
}

impl<H: Host> Embedded<H> {
    /// Looks after the objects that are due, a bounded number of them. To be called every second.
    /// Several may do so at once.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn maintain(&self) -> Result<Maintained, SqlError> {
        let sql = self.connection().await?;
        self.place.work_off(&sql, OBJECTS).await
    }
}

/// An object that is due.
struct Due {
    scope: i64,
    class: Option<String>,
    name: Option<String>,
}

impl<H: Host> Place<H> {
    /// Looks after at most `most` objects that are due.
    pub async fn work_off(
        &self,
        sql: &Rc<Connection<H::Database>>,
        most: usize,
    ) -> Result<Maintained, SqlError> {
        let mut done = Maintained::default();
        loop {
            let due = read_due(sql, self.host.now())?;
            if due.is_empty() {
                return Ok(done);
            }
            for object in due {
                if done.objects >= most {
                    done.has_more = true;
                    return Ok(done);
                }
                done.objects += 1;
                if let Err(error) = self.look_after(sql, &object).await {
                    done.failed += 1;
                    self.failed("object_not_maintained", &error.to_string());
                    let at = self.host.now() + RETRY;
                    self.patiently(|| postpone(sql, object.scope, at)).await?;
                }
            }
        }
    }

    async fn look_after(
        &self,
        sql: &Rc<Connection<H::Database>>,
        object: &Due,
    ) -> Result<(), ServiceError> {
        if object.class.as_deref() == Some(MediaObject::BINDING) {
            let name = object.name.as_deref().unwrap_or_default();
            return self.media_alarm(sql, id::<MediaId>(name)?).await;
        }
        self.turn(sql, Mode::Write, DELIVERIES, |turn| {
            let alarm = Alarm::read(&turn.sql, object.scope)?;
            let due = [alarm.at, alarm.wake_at].into_iter().flatten().min();
            if due.is_none_or(|due| due > turn.now) {
                // Another instance was faster.
                return Ok(());
            }
            let name = object.name.as_deref().unwrap_or_default();
            match object.class.as_deref() {
                Some(UserObject::BINDING) => turn.user_alarm(id::<UserId>(name)?),
                Some(ConversationObject::BINDING) => {
                    turn.conversation_alarm(id::<ConversationId>(name)?)
                }
                None if object.scope == HOUSEKEEPING => {
                    forget(&turn.sql, turn.now)?;
                    let next = Alarm {
                        at: None,
                        wake_at: Some(turn.now + HOUSEKEEPING_EVERY),
                    };
                    next.write(&turn.sql, HOUSEKEEPING).map_err(Into::into)
                }
                _ => {
                    let class = object.class.as_deref().unwrap_or("no class");
                    let error = format!("{class} has no alarm");
                    Err(SqlError::Engine(error).into())
                }
            }
        })
        .await
    }
}

fn id<T: std::str::FromStr>(name: &str) -> Result<T, SqlError> {
    name.parse()
        .map_err(|_| SqlError::Engine("an object's name is no id".to_owned()))
}

fn read_due(sql: &dyn Sql, now: Timestamp) -> Result<Vec<Due>, SqlError> {
    sql.exec(
        "SELECT alarm.scope, object.class, object.name
         FROM alarm LEFT JOIN object ON object.scope = alarm.scope
         WHERE alarm.due <= ? ORDER BY alarm.due LIMIT ?",
        params![now.as_millis(), AT_ONCE],
    )?
    .rows
    .iter()
    .map(|row| {
        Ok(Due {
            scope: row.get(0)?,
            class: row.get(1)?,
            name: row.get(2)?,
        })
    })
    .collect()
}

fn postpone(sql: &dyn Sql, scope: i64, at: Timestamp) -> Result<(), SqlError> {
    sql.exec(
        "UPDATE alarm SET due = ? WHERE scope = ?",
        params![at.as_millis(), scope],
    )?;
    Ok(())
}

/// Forgets what nobody needs any more.
fn forget(sql: &dyn Sql, now: Timestamp) -> Result<(), SqlError> {
    let ended = (now - ENDED_SESSIONS).as_millis();
    sql.exec(
        "DELETE FROM frame WHERE EXISTS (SELECT 1 FROM session
            WHERE session.scope = frame.scope AND session.socket = frame.socket
                AND session.state IS NULL AND session.alive_at < ?)",
        params![ended],
    )?;
    sql.exec(
        "DELETE FROM session WHERE state IS NULL AND alive_at < ?",
        params![ended],
    )?;
    sql.exec(
        "DELETE FROM device_rate WHERE used_at < ?",
        params![(now - RATES).as_millis()],
    )?;
    let full = sql.exec(
        "SELECT scope FROM bucket WHERE full_at_micros <= ? LIMIT ?",
        params![now.as_millis().saturating_mul(1000), BUCKETS],
    )?;
    for row in &full.rows {
        let scope: i64 = row.get(0)?;
        sql.exec("DELETE FROM bucket WHERE scope = ?", params![scope])?;
        sql.exec(
            "DELETE FROM object WHERE scope = ? AND class = ?",
            params![scope, LimiterObject::BINDING],
        )?;
    }
    Ok(())
}
