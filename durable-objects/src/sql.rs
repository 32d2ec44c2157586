//! The storage seam over a Durable Object's SQLite.
//!
//! Every message pays for this code, so it makes few calls into JavaScript: the text of a
//! statement is brought over once, a statement's parameters go over as one list, and all values
//! of its rows come back as one list.
//!
//! What always holds: an exception of the runtime becomes [`SqlError::Engine`], and a number that
//! JavaScript cannot hold exactly is an error in both directions, never a rounded value.
//!
//! To know when writing statements: an integer parameter reaches SQLite as a floating point
//! number. A column of INTEGER affinity makes it an integer again, and comparisons and LIMIT do
//! not care; but in an expression it is a real number (`? / 2` is not cut off, `? || ''` ends in
//! `.0`), and so it is in a column without affinity. There, write `CAST(? AS INTEGER)`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{ArrayBuffer, JsString, Uint8Array};
use parlance_shared::sql::{Param, Row, Rows, Sql, SqlError, Value};
use wasm_bindgen::{JsCast, JsValue};
use worker::durable::State;

use crate::bindings::{ObjectStorage, SqlCursor, SqlStorage};
use crate::host::message_of;
use crate::metrics::{self, ClassCounts};

/// The largest integer that JavaScript tells from its neighbours (`Number.MAX_SAFE_INTEGER`).
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

thread_local! {
    /// The statements as JavaScript strings, by where their text lies in the program. There are
    /// as many as the program has statements.
    static STATEMENTS: RefCell<BTreeMap<(usize, usize), JsString>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// The SQLite database of this object.
#[derive(Debug, Clone)]
pub struct DurableSql {
    storage: ObjectStorage,
    /// The database, or why there is none: each statement then fails with this.
    sql: Result<SqlStorage, SqlError>,
    counts: Rc<ClassCounts>,
}

impl DurableSql {
    /// The database of the object of class `class` that has this state.
    #[must_use]
    pub fn new(state: &State, class: &str) -> Self {
        let storage = crate::alarm::raw_storage(state);
        let sql = storage.sql().map_err(engine);
        let counts = metrics::of(class);
        Self {
            storage,
            sql,
            counts,
        }
    }
}

impl Sql for DurableSql {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        let sql = self.sql.as_ref().map_err(Clone::clone)?;
        #[cfg(feature = "fault-injection")]
        crate::fault::strike("before", params);
        #[cfg(feature = "fault-injection")]
        let asked = params;
        let params = params.iter().map(to_js).collect::<Result<Vec<_>, _>>()?;
        let cursor = run(sql, statement, &params).map_err(engine)?;
        let rows = read_rows(&cursor)?;
        #[cfg(feature = "fault-injection")]
        crate::fault::strike("after", asked);
        // A count, so it is whole and not negative.
        let written = cursor.rows_written().map_err(engine)? as u64;
        self.counts.statements.count();
        self.counts.rows_written.add(written);
        Ok(Rows { rows, written })
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        let mut failure = None;
        let done = self.storage.transaction_sync(&mut || {
            body().map(|()| JsValue::UNDEFINED).map_err(|error| {
                failure = Some(error);
                // Thrown, so that the runtime rolls back; it comes out again below.
                JsValue::from_str("rolled back")
            })
        });
        match (failure, done) {
            (Some(error), _) => Err(error),
            (None, Err(exception)) => Err(engine(exception)),
            (None, Ok(_)) => Ok(()),
        }
    }
}

fn engine(exception: JsValue) -> SqlError {
    SqlError::Engine(message_of(&exception))
}

fn run(
    sql: &SqlStorage,
    statement: &'static str,
    params: &[JsValue],
) -> Result<SqlCursor, JsValue> {
    STATEMENTS.with(|statements| match statements.try_borrow_mut() {
        Ok(mut statements) => {
            let query = statements
                .entry((statement.as_ptr().addr(), statement.len()))
                .or_insert_with(|| JsString::from(statement));
            sql.exec(query, params)
        }
        // Only if a statement ran inside another one, which SQLite's functions cannot do here.
        Err(_) => sql.exec(&JsString::from(statement), params),
    })
}

fn to_js(param: &Param<'_>) -> Result<JsValue, SqlError> {
    Ok(match *param {
        Param::Null => JsValue::NULL,
        Param::Integer(number) if number.unsigned_abs() <= MAX_SAFE_INTEGER.unsigned_abs() => {
            JsValue::from_f64(number as f64)
        }
        Param::Integer(number) => {
            return Err(SqlError::Engine(format!(
                "the integer {number} is beyond 2^53"
            )));
        }
        Param::Real(number) => JsValue::from_f64(number),
        Param::Text(text) => JsValue::from_str(text),
        // A copy: the bytes in the program's memory may move while JavaScript looks at them.
        Param::Blob(bytes) => Uint8Array::from(bytes).into(),
    })
}

fn read_rows(cursor: &SqlCursor) -> Result<Vec<Row>, SqlError> {
    let table = cursor
        .raw()
        .and_then(|rows| rows.to_array())
        .map_err(engine)?;
    let count = table.length() as usize;
    if count == 0 {
        return Ok(Vec::new());
    }
    let values = table.flat().map_err(engine)?;
    let columns = values.len() / count;
    let mut values = values.into_iter();
    (0..count)
        .map(|_| {
            values
                .by_ref()
                .take(columns)
                .map(from_js)
                .collect::<Result<Vec<_>, _>>()
                .map(Row::new)
        })
        .collect()
}

fn from_js(value: JsValue) -> Result<Value, SqlError> {
    if let Some(number) = value.as_f64() {
        return from_number(number);
    }
    if let Some(text) = value.as_string() {
        return Ok(Value::Text(text));
    }
    if value.is_null() {
        return Ok(Value::Null);
    }
    match value.dyn_ref::<ArrayBuffer>() {
        Some(buffer) => Ok(Value::Blob(Uint8Array::new(buffer).to_vec())),
        None => Err(SqlError::Engine(
            "a column holds a value of no known type".to_owned(),
        )),
    }
}

fn from_number(number: f64) -> Result<Value, SqlError> {
    if number.fract() != 0.0 || !number.is_finite() {
        return Ok(Value::Real(number));
    }
    if number.abs() > MAX_SAFE_INTEGER as f64 {
        return Err(SqlError::Engine(format!(
            "the integer {number} is beyond 2^53"
        )));
    }
    Ok(Value::Integer(number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_integers_and_inexact_ones_are_errors() {
        assert_eq!(from_number(-0.0), Ok(Value::Integer(0)));
        assert_eq!(from_number(0.5), Ok(Value::Real(0.5)));
        assert_eq!(from_number(f64::INFINITY), Ok(Value::Real(f64::INFINITY)));
        let max = MAX_SAFE_INTEGER as f64;
        assert_eq!(from_number(max), Ok(Value::Integer(MAX_SAFE_INTEGER)));
        assert_eq!(from_number(-max), Ok(Value::Integer(-MAX_SAFE_INTEGER)));
        assert!(from_number(max + 1.0).is_err());
        assert!(from_number(-max - 1.0).is_err());
    }

    #[test]
    fn an_integer_beyond_the_safe_range_is_not_sent() {
        for number in [
            MAX_SAFE_INTEGER + 1,
            -MAX_SAFE_INTEGER - 1,
            i64::MIN,
            i64::MAX,
        ] {
            assert!(matches!(
                to_js(&Param::Integer(number)),
                Err(SqlError::Engine(_))
            ));
        }
    }
}
