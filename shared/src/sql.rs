//! The storage seam: synchronous SQL over SQLite.
//!
//! Because [`Sql::exec`] is synchronous, no other event can get between two statements of a
//! service: the single-writer rule is a property of the types. Statements are `'static`, so
//! text from outside can reach the database only as a parameter.
//!
//! Every table is keyed by a small integer `scope` first: [`OBJECT_SCOPE`] inside a Durable
//! Object, where the database belongs to one object; one number per conversation or user where
//! all share a database. Integers must stay within ±2^53 (a Durable Object passes them as
//! JavaScript numbers).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod migrations;
#[cfg(any(test, feature = "rusqlite"))]
pub mod native;
#[cfg(test)]
pub(crate) mod probe;

use crate::need::Need;

/// The scope of every row in a database that belongs to one object alone.
pub const OBJECT_SCOPE: i64 = 1;

/// A value read from a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// An integer within ±2^53.
    Integer(i64),
    /// A floating point number that is not a whole one.
    Real(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A value handed to a statement, borrowed so that content is copied once only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// An integer within ±2^53.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Param::Integer(number)
    }
}

impl From<u32> for Param<'_> {
    fn from(number: u32) -> Self {
        Param::Integer(i64::from(number))
    }
}

impl From<bool> for Param<'_> {
    fn from(flag: bool) -> Self {
        Param::Integer(i64::from(flag))
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Param::Text(text)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Param::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Param::Blob(bytes)
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

/// The parameters of a statement: `params![scope, seq, &id]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Param::from($value)),*] };
}

/// Why storage did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The engine refused or failed; nothing of the surrounding transaction is kept.
    #[error("storage failed: {0}")]
    Engine(String),
    /// A row does not hold what the schema says it holds.
    #[error("storage holds {found} where {expected} was expected")]
    Unexpected {
        /// What the schema says.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// Another connection is writing, and went on for longer than is waited for. Nothing was
    /// done: it can be tried again.
    #[error("storage is busy")]
    Busy,
    /// What a row held is kept elsewhere: it is to be brought, and what was asked to be asked
    /// again. Nothing was changed.
    #[error("storage does not hold it any more: it is kept elsewhere")]
    Needs(Box<Need>),
    /// The body of a transaction asked for it to be undone.
    #[error("the transaction was undone")]
    RolledBack,
}

impl SqlError {
    /// A row held something else. Text and bytes are not repeated in the error.
    #[must_use]
    pub fn unexpected(expected: &'static str, found: &Value) -> Self {
        let found = match found {
            Value::Null => "NULL".to_owned(),
            Value::Integer(number) => format!("the integer {number}"),
            Value::Real(number) => format!("the number {number}"),
            Value::Text(text) => format!("a text of {} bytes", text.len()),
            Value::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
        };
        Self::Unexpected { expected, found }
    }
}

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// Reads the value, or says what it found instead.
    ///
    /// # Errors
    /// [`SqlError::Unexpected`] when the value has another type or range.
    fn from_value(value: &Value) -> Result<Self, SqlError>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(number) => Ok(*number),
            _ => Err(SqlError::unexpected("an integer", value)),
        }
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        Self::try_from(i64::from_value(value)?)
            .map_err(|_| SqlError::unexpected("an integer of 32 bits", value))
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        Self::try_from(i64::from_value(value)?)
            .map_err(|_| SqlError::unexpected("a positive integer", value))
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => Err(SqlError::unexpected("0 or 1", value)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(SqlError::unexpected("a text", value)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Blob(bytes) => Ok(bytes.clone()),
            _ => Err(SqlError::unexpected("a blob", value)),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, SqlError> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// One row of a result, read by column position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// A row of these values.
    #[must_use]
    pub const fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The column at `position` (from 0).
    ///
    /// # Errors
    /// [`SqlError::Unexpected`] when there is no such column or it holds another type.
    pub fn get<T: FromValue>(&self, position: usize) -> Result<T, SqlError> {
        T::from_value(self.0.get(position).unwrap_or(&Value::Null))
    }
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// The rows, all of them: use LIMIT where there can be many.
    pub rows: Vec<Row>,
    /// Rows written, for measurements: with index rows in a Durable Object; natively the rows
    /// changed; 0 on Spin, which does not tell.
    pub written: u64,
}

impl Rows {
    /// The first row, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<&Row> {
        self.rows.first()
    }

    /// The first row's first column, if there is a row.
    ///
    /// # Errors
    /// [`SqlError::Unexpected`] when the column holds another type.
    pub fn scalar<T: FromValue>(&self) -> Result<Option<T>, SqlError> {
        self.first().map(|row| row.get(0)).transpose()
    }
}

/// A SQLite database, used synchronously.
pub trait Sql {
    /// Runs one statement to its end.
    ///
    /// # Errors
    /// [`SqlError::Engine`] when the engine refuses it (a constraint, a full disk, bad SQL).
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError>;

    /// Runs `body` in one transaction: all of its statements take effect, or, when it or the
    /// commit fails, none. Transactions do not nest. Use [`transact`] to carry a value out.
    ///
    /// # Errors
    /// What `body` returned, or [`SqlError::Engine`] when the commit failed.
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError>;
}

impl<S: Sql + ?Sized> Sql for &S {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        (**self).exec(statement, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        (**self).transaction(body)
    }
}

impl<S: Sql + ?Sized> Sql for std::rc::Rc<S> {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        (**self).exec(statement, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        (**self).transaction(body)
    }
}

/// Runs `body` in one transaction and gives back what it returned. An error of any kind undoes
/// everything that `body` wrote.
///
/// # Errors
/// What `body` returned, or the storage's own error.
pub fn transact<T, E: From<SqlError>>(
    sql: &dyn Sql,
    body: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let mut body = Some(body);
    let mut outcome = None;
    let committed = sql.transaction(&mut || {
        let Some(body) = body.take() else {
            return Err(SqlError::Engine(
                "a transaction's body ran twice".to_owned(),
            ));
        };
        match body() {
            Ok(value) => {
                outcome = Some(Ok(value));
                Ok(())
            }
            Err(error) => {
                outcome = Some(Err(error));
                Err(SqlError::RolledBack)
            }
        }
    });
    match (committed, outcome) {
        (Ok(()), Some(Ok(value))) => Ok(value),
        (_, Some(Err(error))) => Err(error),
        (Err(error), _) => Err(error.into()),
        (Ok(()), None) => Err(SqlError::RolledBack.into()),
    }
}
