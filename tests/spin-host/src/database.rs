//! `spin:sqlite`: connections to a SQLite file.
//!
//! As in Spin, each `open` is a connection of its own, a statement runs on a thread where it may
//! wait, and a lock is waited for as long as rusqlite's default says (five seconds).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{Value as SqlValue, ValueRef};
use wasmtime::component::{HasData, Resource, ResourceTable};

use crate::instance::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, QueryResult, RowResult, Value,
};

/// The only database there is.
const DEFAULT: &str = "default";

/// A connection that a component holds.
#[derive(Clone)]
pub struct Connection(Arc<Mutex<rusqlite::Connection>>);

/// What the interface sees of an instance.
pub struct View<'a> {
    /// The database's file.
    pub path: &'a PathBuf,
    /// The connections.
    pub table: &'a mut ResourceTable,
}

/// The interface.
pub struct Database;

impl HasData for Database {
    type Data<'a> = View<'a>;
}

impl Host for View<'_> {}

impl HostConnection for View<'_> {
    async fn open(
        &mut self,
        database: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        if database != DEFAULT {
            return Ok(Err(Error::NoSuchDatabase));
        }
        let path = self.path.clone();
        match on_a_thread(move || rusqlite::Connection::open(path)).await? {
            Ok(connection) => {
                let connection = Connection(Arc::new(Mutex::new(connection)));
                Ok(Ok(self.table.push(connection)?))
            }
            Err(error) => Ok(Err(Error::Io(error.to_string()))),
        }
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        let connection = self.table.get(&connection)?.clone();
        let executed = on_a_thread(move || execute(&connection, &statement, parameters)).await?;
        Ok(executed.map_err(|error| Error::Io(error.to_string())))
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> wasmtime::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

fn execute(
    connection: &Connection,
    statement: &str,
    parameters: Vec<Value>,
) -> rusqlite::Result<QueryResult> {
    // A thread that panicked in the middle of a statement leaves SQLite itself as it was.
    let connection = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut prepared = connection.prepare_cached(statement)?;
    let columns: Vec<String> = prepared.column_names().map(ToOwned::to_owned).collect();
    let width = columns.len();
    let parameters = rusqlite::params_from_iter(parameters.into_iter().map(given));
    let rows = prepared
        .query_map(parameters, |row| {
            let values = (0..width)
                .map(|column| row.get_ref(column).map(taken))
                .collect::<rusqlite::Result<_>>()?;
            Ok(RowResult { values })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(QueryResult { columns, rows })
}

fn given(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Integer(number) => SqlValue::Integer(number),
        Value::Real(number) => SqlValue::Real(number),
        Value::Text(text) => SqlValue::Text(text),
        Value::Blob(bytes) => SqlValue::Blob(bytes),
    }
}

fn taken(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}
