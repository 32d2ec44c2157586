//! A connection, and the transaction of a turn on it.
//!
//! Services open transactions of their own; within a turn these are savepoints, so that what one
//! service undoes leaves the others' work be.

use std::cell::Cell;

use parlance_shared::sql::{Param, Rows, Sql, SqlError};

/// How a turn uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It only reads, and waits for nobody.
    Read,
    /// It may write: it has the write lock from its beginning.
    Write,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection<D> {
    database: D,
    is_open: Cell<bool>,
}

impl<D: Sql> Connection<D> {
    pub const fn new(database: D) -> Self {
        Self {
            database,
            is_open: Cell::new(false),
        }
    }

    /// Begins the transaction of a turn.
    ///
    /// # Errors
    /// [`SqlError::Busy`] where another connection writes for too long; nothing has happened
    /// then.
    pub fn begin(&self, mode: Mode) -> Result<(), SqlError> {
        let statement = match mode {
            Mode::Read => "BEGIN",
            Mode::Write => "BEGIN IMMEDIATE",
        };
        self.database.exec(statement, &[])?;
        self.is_open.set(true);
        Ok(())
    }

    /// Ends the transaction: all that was done in it takes effect.
    ///
    /// # Errors
    /// When the database cannot keep it: then nothing of it takes effect.
    pub fn commit(&self) -> Result<(), SqlError> {
        let committed = self.database.exec("COMMIT", &[]).map(|_| ());
        if committed.is_err() {
            self.roll_back();
        }
        self.is_open.set(false);
        committed
    }

    /// Ends the transaction: nothing of it takes effect.
    pub fn roll_back(&self) {
        // One that fails changes nothing: SQLite has undone the transaction by itself, or does
        // so when the connection closes.
        let _ = self.database.exec("ROLLBACK", &[]);
        self.is_open.set(false);
    }
}

impl<D: Sql> Sql for Connection<D> {
    fn exec(&self, statement: &'static str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        self.database.exec(statement, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        if !self.is_open.get() {
            return self.database.transaction(body);
        }
        self.database.exec("SAVEPOINT step", &[])?;
        let done = body();
        if done.is_err() {
            // Where this fails, the engine has undone the whole turn, whose commit fails then.
            let _ = self.database.exec("ROLLBACK TO step", &[]);
        }
        self.database.exec("RELEASE step", &[])?;
        done
    }
}

impl<D> Drop for Connection<D> {
    fn drop(&mut self) {
        debug_assert!(
            !self.is_open.get(),
            "a turn was neither committed nor undone"
        );
    }
}
