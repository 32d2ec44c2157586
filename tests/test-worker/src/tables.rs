//! What the probe checks of storage beyond the contract of the seam. Each check gives one line
//! for everything that does not hold.

use parlance_durable_objects::sql::DurableSql;
use parlance_shared::params;
use parlance_shared::protocol::problem::ServiceError;
use parlance_shared::sql::migrations::{self, Migration};
use parlance_shared::sql::{Param, Sql, SqlError, transact};
use serde_json::{Value, json};

fn ledger(sql: &DurableSql) -> Result<(), SqlError> {
    sql.exec(
        "CREATE TABLE IF NOT EXISTS ledger (entry TEXT PRIMARY KEY) WITHOUT ROWID",
        &[],
    )?;
    Ok(())
}

/// Writes `entry` for good.
pub fn keep(sql: &DurableSql, entry: &str) -> Result<(), SqlError> {
    ledger(sql)?;
    sql.exec("INSERT INTO ledger VALUES (?)", params![entry])?;
    Ok(())
}

/// All entries, in order.
pub fn entries(sql: &DurableSql) -> Result<Vec<String>, SqlError> {
    ledger(sql)?;
    let found = sql.exec("SELECT entry FROM ledger ORDER BY entry", &[])?;
    found.rows.iter().map(|row| row.get(0)).collect()
}

/// Transactions that fail, each in another way, and two that do not. Of all these only the
/// entries `first` and `last` may be found afterwards, whenever one looks.
pub fn fail_transactions(sql: &DurableSql) -> Result<Vec<String>, SqlError> {
    let mut failures = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            failures.push(what.to_owned());
        }
    };
    keep(sql, "first")?;

    let refused: Result<(), ServiceError> = transact(sql, || {
        sql.exec(
            "INSERT INTO ledger VALUES ('undone by an error of ours')",
            &[],
        )?;
        Err(parlance_shared::protocol::problem::Problem::not_found("thing").into())
    });
    expect(
        matches!(refused, Err(ServiceError::Refused(_))),
        "our error was lost",
    );

    let garbage: Result<(), SqlError> = transact(sql, || {
        sql.exec("INSERT INTO ledger VALUES ('undone by bad SQL')", &[])?;
        sql.exec("INSERT GARBAGE", &[])?;
        Ok(())
    });
    expect(
        matches!(garbage, Err(SqlError::Engine(_))),
        "bad SQL was not reported",
    );

    let double: Result<(), SqlError> = transact(sql, || {
        sql.exec("INSERT INTO ledger VALUES ('undone by a constraint')", &[])?;
        sql.exec("INSERT INTO ledger VALUES ('first')", &[])?;
        Ok(())
    });
    expect(
        matches!(double, Err(SqlError::Engine(_))),
        "a constraint was not reported",
    );

    let schema: Result<(), SqlError> = transact(sql, || {
        sql.exec("CREATE TABLE undone (id INTEGER)", &[])?;
        Err(SqlError::RolledBack)
    });
    expect(
        schema == Err(SqlError::RolledBack),
        "the wish to undo was lost",
    );
    expect(
        sql.exec("SELECT * FROM undone", &[]).is_err(),
        "a table was left behind",
    );

    transact(sql, || {
        // An error that is handled undoes its own statement alone.
        let handled = sql.exec("INSERT INTO ledger VALUES ('first')", &[]);
        sql.exec("INSERT INTO ledger VALUES ('last')", &[])?;
        match handled {
            Err(SqlError::Engine(_)) => Ok(()),
            _ => Err(SqlError::RolledBack),
        }
    })?;
    let left = entries(sql)?;
    expect(left == ["first", "last"], &format!("left behind: {left:?}"));
    Ok(failures)
}

/// The schema's version before, after and after a second migration, of a component of its own.
pub fn migrate(sql: &DurableSql) -> Result<Value, SqlError> {
    const MIGRATIONS: &[Migration] = &[Migration {
        version: 1,
        statements: &["CREATE TABLE migrated (scope INTEGER PRIMARY KEY) WITHOUT ROWID"],
    }];
    let before = migrations::installed(sql, "probe")?;
    migrations::migrate(sql, "probe", MIGRATIONS)?;
    let after = migrations::installed(sql, "probe")?;
    migrations::migrate(sql, "probe", MIGRATIONS)?;
    Ok(json!([before, after, migrations::installed(sql, "probe")?]))
}

/// How many rows an insertion counts as, and what becomes of values at the edge of what
/// JavaScript can hold.
pub fn measure(sql: &DurableSql) -> Result<Value, SqlError> {
    for statement in [
        "DROP TABLE IF EXISTS plain",
        "DROP TABLE IF EXISTS indexed",
        "CREATE TABLE plain (scope INTEGER, id INTEGER, value, PRIMARY KEY (scope, id)) WITHOUT ROWID",
        "CREATE TABLE indexed (scope INTEGER, id INTEGER, value, PRIMARY KEY (scope, id)) WITHOUT ROWID",
        "CREATE INDEX indexed_by_value ON indexed (scope, value)",
    ] {
        sql.exec(statement, &[])?;
    }
    let plain = sql.exec("INSERT INTO plain VALUES (1, 1, 'x')", &[])?;
    let indexed = sql.exec("INSERT INTO indexed VALUES (1, 1, 'x')", &[])?;
    let returning = sql.exec(
        "INSERT INTO plain VALUES (1, 2, 'x'), (1, 3, 'x') RETURNING id",
        &[],
    )?;
    let updated = sql.exec("UPDATE plain SET value = 'y' WHERE scope = 1", &[])?;
    let read = sql.exec("SELECT * FROM plain", &[])?;
    let kinds = sql.exec(
        "SELECT typeof(?), typeof(?), typeof(?), typeof(?)",
        &[
            Param::Null,
            Param::Integer(5),
            Param::Text("x"),
            Param::Blob(&[]),
        ],
    )?;
    let kinds = kinds
        .first()
        .map(|row| {
            (0..4)
                .map(|column| row.get::<String>(column))
                .collect::<Result<Vec<_>, _>>()
        })
        .transpose()?;
    let stored = sql.exec(
        "INSERT INTO plain VALUES (1, ?, NULL) RETURNING typeof(id)",
        params![4_i64],
    )?;
    let limited = sql.exec(
        "SELECT id FROM plain WHERE scope = ? ORDER BY id LIMIT ?",
        params![1_i64, 2_i64],
    )?;
    Ok(json!({
        "written": {
            "plain": plain.written,
            "indexed": indexed.written,
            "returning": returning.written,
            "updated": updated.written,
            "read": read.written,
        },
        "rows": {
            "returning": returning.rows.len(),
            "read": read.rows.len(),
            "limited": limited.rows.len(),
        },
        "kinds": kinds,
        "stored_integer": stored.scalar::<String>()?,
        "integer_beyond_read": sql.exec("SELECT 9007199254740993", &[]).is_err(),
        "integer_beyond_sent": sql.exec("SELECT ?", params![1_i64 << 53]).is_err(),
        "message": sql.exec("SELEC 1", &[]).map_or_else(|error| error.to_string(), |_| String::new()),
    }))
}
