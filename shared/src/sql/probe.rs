//! A database for tests that counts what it is asked and fails when it is told to.

use std::cell::Cell;

use super::native::NativeSql;
use super::{Param, Rows, Sql, SqlError};

/// An in-memory database that is watched.
#[derive(Debug)]
pub(crate) struct ProbeSql {
    inner: NativeSql,
    statements: Cell<u64>,
    written: Cell<u64>,
    until_failure: Cell<Option<u64>>,
}

/// What was asked of a [`ProbeSql`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Statements run, those that begin and end transactions not counted.
    pub statements: u64,
    /// Rows written.
    pub written: u64,
}

impl ProbeSql {
    pub fn new() -> Self {
        Self {
            inner: NativeSql::in_memory().unwrap(),
            statements: Cell::new(0),
            written: Cell::new(0),
            until_failure: Cell::new(None),
        }
    }

    /// What `work` costs.
    pub fn cost<T>(&self, work: impl FnOnce() -> T) -> (T, Cost) {
        let (statements, written) = (self.statements.get(), self.written.get());
        let value = work();
        let cost = Cost {
            statements: self.statements.get() - statements,
            written: self.written.get() - written,
        };
        (value, cost)
    }

    /// Lets `statements` more statements through and fails the one that follows, once.
    pub fn fail_after(&self, statements: u64) {
        self.until_failure.set(Some(statements));
    }

    /// Whether the failure that was asked for is still to come; it is called off.
    pub fn call_off(&self) -> bool {
        self.until_failure.take().is_some()
    }

    /// Every row of `statement`, to compare the state before and after.
    pub fn dump(&self, statement: &'static str) -> Rows {
        let rows = self.inner.exec(statement, &[]).unwrap();
        Rows { written: 0, ..rows }
    }

    /// Runs `work` again and again, failing its first, second, third... statement, until it is
    /// let through. After each failure nothing may have changed.
    pub fn fail_everywhere<T, E>(
        &self,
        dump: &'static str,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> T {
        let before = self.dump(dump);
        for statements in 0.. {
            self.fail_after(statements);
            let done = work();
            if self.call_off() {
                return done.ok().unwrap();
            }
            assert!(
                done.is_err(),
                "the failure of statement {statements} was swallowed"
            );
            assert_eq!(
                self.dump(dump),
                before,
                "statement {statements} failed halfway"
            );
        }
        unreachable!()
    }
}

impl Sql for ProbeSql {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        if let Some(left) = self.until_failure.get() {
            self.until_failure.set(left.checked_sub(1));
            if left == 0 {
                return Err(SqlError::Engine("failed on demand".to_owned()));
            }
        }
        let rows = self.inner.exec(statement, params)?;
        self.statements.set(self.statements.get() + 1);
        self.written.set(self.written.get() + rows.written);
        Ok(rows)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.inner.transaction(body)
    }
}
