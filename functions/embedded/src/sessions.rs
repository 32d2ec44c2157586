//! The rows of sessions, and of the frames that wait for their holders.

use parlance_shared::params;
use parlance_shared::sql::{Sql, SqlError};
use parlance_shared::time::Timestamp;
use parlance_shared::user::effect::SocketId;

/// A session's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub socket: SocketId,
    pub state: String,
    pub alive_at: Timestamp,
}

/// The sessions of a user that have not ended.
pub(crate) fn open(sql: &dyn Sql, scope: i64) -> Result<Vec<Row>, SqlError> {
    sql.exec(
        "SELECT socket, state, alive_at FROM session WHERE scope = ? AND state IS NOT NULL",
        params![scope],
    )?
    .rows
    .iter()
    .map(|row| {
        Ok(Row {
            socket: SocketId(row.get(0)?),
            state: row.get(1)?,
            alive_at: Timestamp::from_millis(row.get(2)?),
        })
    })
    .collect()
}

/// Writes down a session that is new or has changed.
pub(crate) fn save(
    sql: &dyn Sql,
    scope: i64,
    socket: SocketId,
    state: &str,
    now: Timestamp,
) -> Result<(), SqlError> {
    sql.exec(
        "INSERT INTO session (scope, socket, state, alive_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (scope, socket) DO UPDATE SET state = excluded.state",
        params![scope, number(socket), state, now.as_millis()],
    )?;
    Ok(())
}

/// The session has ended, and its holder is to be told so with this close code.
pub(crate) fn end(sql: &dyn Sql, scope: i64, socket: SocketId, code: u16) -> Result<(), SqlError> {
    sql.exec(
        "UPDATE session SET state = NULL, close_code = ? WHERE scope = ? AND socket = ?",
        params![i64::from(code), scope, number(socket)],
    )?;
    Ok(())
}

/// The session's holder has gone, or has been told that the session has ended.
pub(crate) fn forget(sql: &dyn Sql, scope: i64, socket: SocketId) -> Result<(), SqlError> {
    sql.exec(
        "DELETE FROM frame WHERE scope = ? AND socket = ?",
        params![scope, number(socket)],
    )?;
    sql.exec(
        "DELETE FROM session WHERE scope = ? AND socket = ?",
        params![scope, number(socket)],
    )?;
    Ok(())
}

/// The session's holder gives a sign of life.
pub(crate) fn is_alive(
    sql: &dyn Sql,
    scope: i64,
    socket: SocketId,
    now: Timestamp,
) -> Result<(), SqlError> {
    sql.exec(
        "UPDATE session SET alive_at = ? WHERE scope = ? AND socket = ?",
        params![now.as_millis(), scope, number(socket)],
    )?;
    Ok(())
}

/// Adds texts to what waits for the session's holder.
pub(crate) fn push(
    sql: &dyn Sql,
    scope: i64,
    socket: SocketId,
    texts: &[String],
) -> Result<(), SqlError> {
    for text in texts {
        sql.exec(
            "INSERT INTO frame (scope, socket, number, text)
             SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3 FROM frame
             WHERE scope = ?1 AND socket = ?2",
            params![scope, number(socket), text],
        )?;
    }
    Ok(())
}

/// What waits for a session's holder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The texts and their numbers, in order.
    pub texts: Vec<(i64, String)>,
    /// The close code, where the session has ended; it is told after the texts.
    pub closed: Option<u16>,
}

/// At most so many texts are read at once.
const TEXTS: i64 = 64;

/// Reads what waits after `after`. 1006 stands for a session that is not there any more.
pub(crate) fn waiting(
    sql: &dyn Sql,
    scope: i64,
    socket: SocketId,
    after: i64,
) -> Result<Waiting, SqlError> {
    let rows = sql.exec(
        "SELECT session.state IS NULL, session.close_code, frame.number, frame.text
         FROM session LEFT JOIN frame ON frame.scope = session.scope
            AND frame.socket = session.socket AND frame.number > ?
         WHERE session.scope = ? AND session.socket = ?
         ORDER BY frame.number LIMIT ?",
        params![after, scope, number(socket), TEXTS],
    )?;
    let Some(first) = rows.first() else {
        return Ok(Waiting {
            texts: Vec::new(),
            closed: Some(BROKEN_OFF),
        });
    };
    let closed = if first.get::<bool>(0)? {
        let code: Option<u32> = first.get(1)?;
        Some(
            code.and_then(|code| u16::try_from(code).ok())
                .unwrap_or(BROKEN_OFF),
        )
    } else {
        None
    };
    let texts = rows
        .rows
        .iter()
        .filter_map(|row| match row.get::<Option<i64>>(2) {
            Ok(None) => None,
            Ok(Some(number)) => Some(row.get(3).map(|text| (number, text))),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Waiting { texts, closed })
}

/// 1006: the connection broke off (RFC 6455, section 7.4.1).
pub(crate) const BROKEN_OFF: u16 = 1006;

/// Forgets texts that the holder has taken.
pub(crate) fn taken(
    sql: &dyn Sql,
    scope: i64,
    socket: SocketId,
    up_to: i64,
) -> Result<(), SqlError> {
    sql.exec(
        "DELETE FROM frame WHERE scope = ? AND socket = ? AND number <= ?",
        params![scope, number(socket), up_to],
    )?;
    Ok(())
}

fn number(socket: SocketId) -> i64 {
    // They count from a time in milliseconds, far within the range.
    i64::try_from(socket.0).unwrap_or(i64::MAX)
}
