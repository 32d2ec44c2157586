//! The storage seam over Spin's SQLite, by the synchronous half of its interface
//! (`spin:sqlite@3.1.0`), so that no other request gets between two statements.
//!
//! A connection that is no longer needed waits in its instance for the next request, which finds
//! the schema read and statements prepared.
//!
//! What always holds: a connection has one holder at a time; one that waits has no transaction
//! open, and has not failed.

use std::cell::{Cell, RefCell};

use parlance_shared::sql::{Param, Row, Rows, Sql, SqlError, Value};
use spin_sdk::sqlite::wit::sqlite::{Connection, Error, Value as SpinValue};

/// The database of `spin.toml`.
const DATABASE: &str = "default";
/// What SQLite says where another connection writes (sqlite3.c, `sqlite3ErrStr`).
const LOCKED: &str = "database is locked";

/// How long SQLite itself waits for another connection's lock. The whole instance stands still
/// meanwhile, and SQLite asks the less often the longer it has waited: so it is short, and what
/// waits longer is tried again by `parlance_embedded`, which lets others go on in between.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 50";

/// Connections that wait in one instance at most.
const IDLE: usize = 4;

thread_local! {
    static WAITING: RefCell<Vec<Connection>> = const { RefCell::new(Vec::new()) };
}

/// A connection to Spin's database.
pub struct SpinSql {
    /// Nothing only while it is dropped.
    connection: Option<Connection>,
    has_transaction: Cell<bool>,
    /// Whether the engine has failed at a statement, for whatever reason.
    has_failed: Cell<bool>,
}

impl SpinSql {
    /// A connection of its own.
    ///
    /// # Errors
    /// When there is no such database.
    pub fn open() -> Result<Self, SqlError> {
        let connection = match WAITING.with_borrow_mut(Vec::pop) {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(DATABASE).map_err(told)?;
                // A server in place of a file may not know it: then it is as it is.
                let _ = connection.execute(BUSY_TIMEOUT, &[]);
                connection
            }
        };
        Ok(Self {
            connection: Some(connection),
            has_transaction: Cell::new(false),
            has_failed: Cell::new(false),
        })
    }
}

impl Drop for SpinSql {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.has_transaction.get()
            && !self.has_failed.get()
        {
            WAITING.with_borrow_mut(|waiting| {
                if waiting.len() < IDLE {
                    waiting.push(connection);
                }
            });
        }
    }
}

fn told(error: Error) -> SqlError {
    match error {
        Error::NoSuchDatabase => SqlError::Engine("there is no such database".to_owned()),
        Error::AccessDenied => {
            SqlError::Engine("spin.toml does not give the component the database".to_owned())
        }
        Error::InvalidConnection => SqlError::Engine("the connection has ended".to_owned()),
        Error::DatabaseFull => SqlError::Engine("the database is full".to_owned()),
        Error::Io(detail) if detail.contains(LOCKED) => SqlError::Busy,
        Error::Io(detail) => SqlError::Engine(detail),
    }
}

fn given(param: &Param<'_>) -> SpinValue {
    match *param {
        Param::Null => SpinValue::Null,
        Param::Integer(number) => SpinValue::Integer(number),
        Param::Real(number) => SpinValue::Real(number),
        Param::Text(text) => SpinValue::Text(text.to_owned()),
        Param::Blob(bytes) => SpinValue::Blob(bytes.to_vec()),
    }
}

fn taken(value: SpinValue) -> Value {
    match value {
        SpinValue::Null => Value::Null,
        SpinValue::Integer(number) => Value::Integer(number),
        SpinValue::Real(number) => Value::Real(number),
        SpinValue::Text(text) => Value::Text(text),
        SpinValue::Blob(bytes) => Value::Blob(bytes),
    }
}

impl Sql for SpinSql {
    /// What was written is not counted: this interface cannot tell it from what was written
    /// before.
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        let Some(connection) = &self.connection else {
            return Err(SqlError::Engine("the connection has ended".to_owned()));
        };
        let params: Vec<_> = params.iter().map(given).collect();
        let result = connection.execute(statement, &params).map_err(told);
        match &result {
            Ok(_) if statement.starts_with("BEGIN") => self.has_transaction.set(true),
            Ok(_) if matches!(statement, "COMMIT" | "ROLLBACK") => self.has_transaction.set(false),
            Ok(_) | Err(SqlError::Busy) => {}
            Err(_) => self.has_failed.set(true),
        }
        let rows = result?
            .rows
            .into_iter()
            .map(|row| Row::new(row.values.into_iter().map(taken).collect()))
            .collect();
        Ok(Rows { rows, written: 0 })
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.exec("BEGIN IMMEDIATE", &[])?;
        let done = body().and_then(|()| self.exec("COMMIT", &[]).map(|_| ()));
        if done.is_err() {
            // The first error is the one to report; SQLite undoes what is left open.
            let _ = self.exec("ROLLBACK", &[]);
        }
        done
    }
}
