//! What the probe does with the storage and with streams.

use std::cell::Cell;
use std::time::Duration;

use futures_util::{Stream, stream};
use parlance_shared::params;
use parlance_shared::sql::{Sql, SqlError, transact};
use serde_json::{Value, json};

use crate::sql::SpinSql;

const NAP: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_millis(100);

thread_local! {
    static NAPPING: Cell<u32> = const { Cell::new(0) };
}

/// Sleeps for [`NAP`]; how many do so in this instance when it wakes up, itself among them.
pub async fn nap() -> u32 {
    NAPPING.set(NAPPING.get() + 1);
    spin_sdk::time::sleep(NAP).await;
    let napping = NAPPING.get();
    NAPPING.set(napping - 1);
    napping
}

fn ledger(sql: &SpinSql) -> Result<(), SqlError> {
    sql.exec("CREATE TABLE IF NOT EXISTS ledger (entry TEXT)", &[])?;
    Ok(())
}

/// Writes `entry` for good.
pub fn keep(sql: &SpinSql, entry: &str) -> Result<(), SqlError> {
    ledger(sql)?;
    sql.exec("INSERT INTO ledger VALUES (?)", params![entry])?;
    Ok(())
}

/// All entries, in the order in which they came.
pub fn entries(sql: &SpinSql) -> Result<Vec<String>, SqlError> {
    ledger(sql)?;
    let found = sql.exec("SELECT entry FROM ledger ORDER BY rowid", &[])?;
    found.rows.iter().map(|row| row.get(0)).collect()
}

/// What the others see while one connection writes.
pub fn busy() -> Result<Value, SqlError> {
    let (first, second) = (SpinSql::open()?, SpinSql::open()?);
    ledger(&first)?;
    first.exec("BEGIN IMMEDIATE", &[])?;
    first.exec("INSERT INTO ledger VALUES ('not yet')", &[])?;
    let writer = second.exec("BEGIN IMMEDIATE", &[]);
    let reader = second.exec("SELECT count(*) FROM ledger WHERE entry = 'not yet'", &[])?;
    let reader: Option<i64> = reader.scalar()?;
    first.exec("ROLLBACK", &[])?;
    let after = second.transaction(&mut || Ok(()));
    Ok(json!({
        "writer": writer.err().map(|error| error.to_string()),
        "reader": reader,
        "after": after.err().map(|error| error.to_string()),
    }))
}

/// Transactions that fail, each in another way; whatever is in the ledger afterwards was not
/// undone.
pub fn undone() -> Result<Vec<String>, SqlError> {
    let sql = SpinSql::open()?;
    ledger(&sql)?;
    let _: Result<(), SqlError> = transact(&sql, || {
        sql.exec(
            "INSERT INTO ledger VALUES ('undone by an error of ours')",
            &[],
        )?;
        Err(SqlError::RolledBack)
    });
    let _: Result<(), SqlError> = transact(&sql, || {
        sql.exec("INSERT INTO ledger VALUES ('undone by bad SQL')", &[])?;
        sql.exec("INSERT GARBAGE", &[])?;
        Ok(())
    });
    {
        // Dropped in the middle.
        let other = SpinSql::open()?;
        other.exec("BEGIN IMMEDIATE", &[])?;
        other.exec("INSERT INTO ledger VALUES ('undone by the end')", &[])?;
    }
    entries(&sql)
}

/// Keeps `dropped` when it is dropped.
struct Told(u32);

impl Drop for Told {
    fn drop(&mut self) {
        if let Err(error) = SpinSql::open().and_then(|sql| keep(&sql, "dropped")) {
            eprintln!("not kept: {error}");
        }
    }
}

/// A number every [`EVERY`], without end.
pub fn pieces() -> impl Stream<Item = Vec<u8>> {
    stream::unfold(Told(0), |mut told| async move {
        spin_sdk::time::sleep(EVERY).await;
        told.0 += 1;
        Some((format!("{}\n", told.0).into_bytes(), told))
    })
}
