//! What every implementation of [`Sql`] must do, as checks that run on any platform: natively
//! in a unit test, on workerd inside a Durable Object.

use super::{Param, Sql, SqlError, Value, transact};
use crate::params;

/// Runs every check on an empty database and returns one line for each that failed.
pub fn run(sql: &dyn Sql) -> Vec<String> {
    type Check = fn(&dyn Sql) -> Result<(), String>;
    let checks: &[(&str, Check)] = &[
        ("values come back as they went in", values_survive),
        ("a statement tells what it returned", returning),
        ("a constraint is an error", constraints),
        ("a transaction keeps all of its statements", commit),
        ("a transaction that fails leaves nothing behind", rollback),
        (
            "a failed statement undoes its transaction",
            engine_error_rolls_back,
        ),
        ("transact carries values and errors out", carries_out),
        ("bad SQL is an error", bad_sql),
    ];
    let mut failures = Vec::new();
    for (name, check) in checks {
        if let Err(why) = check(sql) {
            failures.push(format!("{name}: {why}"));
        }
    }
    failures
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn exec(
    sql: &dyn Sql,
    statement: &'static str,
    params: &[Param<'_>],
) -> Result<super::Rows, String> {
    sql.exec(statement, params)
        .map_err(|error| format!("{statement}: {error}"))
}

fn table(sql: &dyn Sql) -> Result<(), String> {
    exec(sql, "DROP TABLE IF EXISTS probe", &[])?;
    exec(
        sql,
        "CREATE TABLE probe (scope INTEGER, id INTEGER, value, PRIMARY KEY (scope, id)) WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

fn count(sql: &dyn Sql) -> Result<i64, String> {
    exec(sql, "SELECT count(*) FROM probe", &[])?
        .scalar()
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "no count".to_owned())
}

fn values_survive(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    let bytes: Vec<u8> = (0..=255).collect();
    let large = (1_i64 << 53) - 1;
    let text = "caf\u{e9} \u{1f980} \u{0} end";
    let values = [
        (Param::Null, Value::Null),
        (Param::Integer(0), Value::Integer(0)),
        (Param::Integer(-large), Value::Integer(-large)),
        (Param::Integer(large), Value::Integer(large)),
        (Param::Real(0.5), Value::Real(0.5)),
        (Param::Text(""), Value::Text(String::new())),
        (Param::Text(text), Value::Text(text.to_owned())),
        (Param::Blob(&[]), Value::Blob(Vec::new())),
        (Param::Blob(&bytes), Value::Blob(bytes.clone())),
    ];
    for (id, (param, expected)) in (0_i64..).zip(&values) {
        exec(
            sql,
            "INSERT INTO probe VALUES (1, ?, ?)",
            &[Param::Integer(id), *param],
        )?;
        let rows = exec(
            sql,
            "SELECT value FROM probe WHERE scope = 1 AND id = ?",
            params![id],
        )?;
        let found = rows.first().and_then(|row| row.0.first().cloned());
        ensure(
            found.as_ref() == Some(expected),
            &format!("{param:?} came back as {found:?}"),
        )?;
    }
    Ok(())
}

fn returning(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    let statement = "INSERT INTO probe VALUES (1, ?, 'x') ON CONFLICT DO NOTHING RETURNING id";
    let fresh = exec(sql, statement, params![7_i64])?;
    ensure(fresh.rows.len() == 1, "a fresh row was not returned")?;
    let again = exec(sql, statement, params![7_i64])?;
    ensure(
        again.rows.is_empty(),
        "a row that was there already was returned",
    )
}

fn constraints(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    exec(sql, "INSERT INTO probe VALUES (1, 1, 'x')", &[])?;
    let again = sql.exec("INSERT INTO probe VALUES (1, 1, 'y')", &[]);
    ensure(
        matches!(again, Err(SqlError::Engine(_))),
        "a double key was accepted",
    )
}

fn commit(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    sql.transaction(&mut || {
        sql.exec("INSERT INTO probe VALUES (1, 1, 'x')", &[])?;
        sql.exec("INSERT INTO probe VALUES (1, 2, 'x')", &[])?;
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    ensure(count(sql)? == 2, "rows are missing")
}

fn rollback(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    exec(sql, "INSERT INTO probe VALUES (1, 1, 'before')", &[])?;
    let done = sql.transaction(&mut || {
        sql.exec("INSERT INTO probe VALUES (1, 2, 'x')", &[])?;
        sql.exec("UPDATE probe SET value = 'after' WHERE id = 1", &[])?;
        Err(SqlError::RolledBack)
    });
    ensure(done.is_err(), "the failure was not reported")?;
    ensure(count(sql)? == 1, "a row was left behind")?;
    let value: Option<String> = exec(sql, "SELECT value FROM probe WHERE id = 1", &[])?
        .scalar()
        .map_err(|error| error.to_string())?;
    ensure(
        value.as_deref() == Some("before"),
        "a change was left behind",
    )
}

fn engine_error_rolls_back(sql: &dyn Sql) -> Result<(), String> {
    table(sql)?;
    let done = sql.transaction(&mut || {
        sql.exec("INSERT INTO probe VALUES (1, 1, 'x')", &[])?;
        sql.exec("INSERT INTO probe VALUES (1, 1, 'x')", &[])?;
        Ok(())
    });
    ensure(
        matches!(done, Err(SqlError::Engine(_))),
        "the engine's error was not reported",
    )?;
    ensure(count(sql)? == 0, "a row was left behind")?;
    commit(sql)
}

fn carries_out(sql: &dyn Sql) -> Result<(), String> {
    #[derive(Debug, PartialEq)]
    enum Failure {
        Rule,
        Storage,
    }
    impl From<SqlError> for Failure {
        fn from(_: SqlError) -> Self {
            Self::Storage
        }
    }
    table(sql)?;
    let value: Result<&str, Failure> = transact(sql, || {
        sql.exec("INSERT INTO probe VALUES (1, 1, 'x')", &[])?;
        Ok("value")
    });
    ensure(value == Ok("value"), "the value was lost")?;
    let error: Result<(), Failure> = transact(sql, || {
        sql.exec("INSERT INTO probe VALUES (1, 2, 'x')", &[])?;
        Err(Failure::Rule)
    });
    ensure(error == Err(Failure::Rule), "the error was lost")?;
    ensure(count(sql)? == 1, "a row was left behind")
}

fn bad_sql(sql: &dyn Sql) -> Result<(), String> {
    let done = sql.exec("SELEC 1", &[]);
    ensure(matches!(done, Err(SqlError::Engine(_))), "it was accepted")
}
