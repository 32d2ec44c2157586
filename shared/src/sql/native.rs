//! The seam over rusqlite, for native tests and hosts.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{Param, Row, Rows, Sql, SqlError, Value};

/// Prepared statements that are kept: more than the services have.
const STATEMENTS: usize = 512;

/// A SQLite database in this process.
#[derive(Debug)]
pub struct NativeSql(Connection);

impl NativeSql {
    /// A new, empty database in memory.
    ///
    /// # Errors
    /// When SQLite cannot open it.
    pub fn in_memory() -> Result<Self, SqlError> {
        Connection::open_in_memory().map(Self::of).map_err(engine)
    }

    /// The database in the file at `path`, made where there is none.
    ///
    /// # Errors
    /// When SQLite cannot open it.
    pub fn open(path: &std::path::Path) -> Result<Self, SqlError> {
        Connection::open(path).map(Self::of).map_err(engine)
    }

    fn of(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Self(connection)
    }
}

fn engine(error: rusqlite::Error) -> SqlError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) {
        return SqlError::Busy;
    }
    SqlError::Engine(error.to_string())
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Param::Null => ValueRef::Null,
            Param::Integer(number) => ValueRef::Integer(number),
            Param::Real(number) => ValueRef::Real(number),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl Sql for NativeSql {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        let before = self.0.total_changes();
        let mut prepared = self.0.prepare_cached(statement).map_err(engine)?;
        let columns = prepared.column_count();
        let mut found = prepared
            .query(params_from_iter(params.iter()))
            .map_err(engine)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(engine)? {
            let values = (0..columns)
                .map(|column| row.get_ref(column).map(owned))
                .collect::<Result<Vec<_>, _>>()
                .map_err(engine)?;
            rows.push(Row::new(values));
        }
        Ok(Rows {
            rows,
            written: self.0.total_changes() - before,
        })
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.exec("BEGIN IMMEDIATE", &[])?;
        let done = body().and_then(|()| self.exec("COMMIT", &[]).map(|_| ()));
        if done.is_err() {
            // The first error is the one to report; a rollback that fails too changes nothing,
            // since SQLite undoes an open transaction when the connection closes.
            let _ = self.exec("ROLLBACK", &[]);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::conformance;

    #[test]
    fn rusqlite_keeps_the_contract_of_the_seam() {
        let sql = NativeSql::in_memory().unwrap();
        assert_eq!(conformance::run(&sql), Vec::<String>::new());
    }
}
