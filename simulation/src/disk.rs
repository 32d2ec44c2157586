//! An object's storage: what is written and not yet on disk is lost in a crash.
//!
//! The database is in memory. Everything written since the last flush is in one open transaction,
//! within which the services' own transactions are savepoints: a flush commits it, a crash rolls
//! it back. So a crash leaves exactly what was flushed, as SQLite on a disk would.

use std::cell::Cell;

use parlance_shared::sql::native::NativeSql;
use parlance_shared::sql::{Param, Row, Rows, Sql, SqlError};

/// The storage of one object.
#[derive(Debug)]
pub struct Disk {
    sql: NativeSql,
    is_open: Cell<bool>,
    /// Statements until one fails.
    fails_in: Cell<Option<u64>>,
    /// How many in a row fail then.
    failures: Cell<u64>,
}

impl Disk {
    /// An empty one.
    ///
    /// # Panics
    /// Where there is no memory for it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sql: NativeSql::in_memory().expect("a database in memory"),
            is_open: Cell::new(false),
            fails_in: Cell::new(None),
            failures: Cell::new(0),
        }
    }

    /// Whether something is written that is not on disk.
    pub fn is_dirty(&self) -> bool {
        self.is_open.get()
    }

    /// Brings what was written to the disk.
    pub fn flush(&self) {
        if self.is_open.replace(false) {
            self.run("COMMIT");
        }
    }

    /// Loses what was written and not flushed.
    pub fn lose(&self) {
        if self.is_open.replace(false) {
            self.run("ROLLBACK");
        }
    }

    /// Fails after `statements` more statements, `failures` times in a row.
    pub fn fail_after(&self, statements: u64, failures: u64) {
        self.fails_in.set(Some(statements));
        self.failures.set(failures);
    }

    /// Fails no more. Gives after how many statements it would have.
    pub fn mend(&self) -> Option<u64> {
        self.fails_in.take()
    }

    fn run(&self, statement: &'static str) {
        self.sql
            .exec(statement, &[])
            .expect("a transaction's statement");
    }

    fn chance_to_fail(&self) -> Result<(), SqlError> {
        match self.fails_in.get() {
            None => Ok(()),
            Some(0) => {
                let left = self.failures.get().saturating_sub(1);
                self.failures.set(left);
                if left == 0 {
                    self.fails_in.set(None);
                }
                Err(SqlError::Engine("the simulated disk failed".to_owned()))
            }
            Some(left) => {
                self.fails_in.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// Looks at what is there, past every fault: for checks.
    ///
    /// # Panics
    /// Where the statement is none for this database.
    pub fn look(&self, statement: &'static str, params: &[Param<'_>]) -> Vec<Row> {
        self.execute(statement, params)
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
            .rows
    }

    fn execute(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        self.begin(!statement.starts_with("SELECT"));
        self.sql.exec(statement, params)
    }

    fn begin(&self, writes: bool) {
        if writes && !self.is_open.replace(true) {
            self.run("BEGIN");
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Sql for Disk {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        self.chance_to_fail()?;
        self.execute(statement, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.chance_to_fail()?;
        self.begin(true);
        self.run("SAVEPOINT one");
        let done = body().and_then(|()| self.chance_to_fail());
        if done.is_err() {
            self.run("ROLLBACK TO one");
        }
        self.run("RELEASE one");
        done
    }
}

/// A disk that is looked at past every fault.
#[derive(Debug)]
pub struct Unfailing<'a>(pub &'a Disk);

impl Sql for Unfailing<'_> {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        self.0.execute(statement, params)
    }

    fn transaction(&self, _: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        Err(SqlError::Engine("it is only looked at".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_shared::sql::transact;

    fn count(disk: &Disk) -> i64 {
        let rows = disk.look("SELECT count(*) FROM t", &[]);
        rows.first().map_or(-1, |row| row.get(0).unwrap())
    }

    #[test]
    fn a_crash_leaves_what_was_flushed() {
        let disk = Disk::new();
        disk.exec("CREATE TABLE t (x INTEGER)", &[]).unwrap();
        disk.exec("INSERT INTO t VALUES (1)", &[]).unwrap();
        assert!(disk.is_dirty());
        disk.flush();
        transact(&disk, || disk.exec("INSERT INTO t VALUES (2)", &[])).unwrap();
        assert_eq!(count(&disk), 2);
        disk.lose();
        assert_eq!(count(&disk), 1);
        assert!(!disk.is_dirty());
    }

    #[test]
    fn a_failure_undoes_its_transaction_and_nothing_else() {
        let disk = Disk::new();
        disk.exec("CREATE TABLE t (x INTEGER)", &[]).unwrap();
        disk.exec("INSERT INTO t VALUES (1)", &[]).unwrap();
        for statements in 0..3 {
            disk.fail_after(statements, 1);
            let failed = transact(&disk, || disk.exec("INSERT INTO t VALUES (2)", &[]));
            assert!(failed.is_err());
            assert_eq!(count(&disk), 1);
        }
    }
}
