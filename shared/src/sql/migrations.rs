//! Versioned schemas. A component's schema is an ordered list of migrations, each applied once,
//! all or nothing. A migration that has been released is never changed: the next one follows.
//!
//! A database that was never migrated is recognised without writing to it, so that asking an
//! object that does not exist leaves no trace.

use super::{Sql, SqlError, transact};
use crate::params;

/// One step of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The version that the schema has afterwards, counting from 1.
    pub version: u32,
    /// The statements of the step.
    pub statements: &'static [&'static str],
}

/// The version of `component`'s schema in this database, or `None` where there is none.
///
/// # Errors
/// When storage fails.
pub fn installed(sql: &dyn Sql, component: &str) -> Result<Option<u32>, SqlError> {
    let table = sql.exec(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
        &[],
    )?;
    if table.rows.is_empty() {
        return Ok(None);
    }
    sql.exec(
        "SELECT version FROM schema_version WHERE component = ?",
        params![component],
    )?
    .scalar()
}

/// Brings `component`'s schema to the last of `migrations`, in one transaction. Does nothing
/// where it is there already.
///
/// # Errors
/// When storage fails, or when the database was written by a newer version of the software.
pub fn migrate(
    sql: &dyn Sql,
    component: &'static str,
    migrations: &'static [Migration],
) -> Result<(), SqlError> {
    let from = installed(sql, component)?.unwrap_or(0);
    let newest = migrations.last().map_or(0, |migration| migration.version);
    if from == newest {
        return Ok(());
    }
    if from > newest {
        return Err(SqlError::Engine(format!(
            "the schema of {component} is version {from}, newer than this software's {newest}"
        )));
    }
    transact(sql, || {
        sql.exec(
            "CREATE TABLE IF NOT EXISTS schema_version (
                component TEXT PRIMARY KEY,
                version INTEGER NOT NULL
            ) WITHOUT ROWID",
            &[],
        )?;
        for migration in migrations.iter().filter(|step| step.version > from) {
            for statement in migration.statements {
                sql.exec(statement, &[])?;
            }
        }
        sql.exec(
            "INSERT INTO schema_version (component, version) VALUES (?, ?)
             ON CONFLICT (component) DO UPDATE SET version = excluded.version",
            params![component, newest],
        )?;
        Ok(())
    })
}

/// A component's schema that is made with the first write, so that an object which is only
/// asked leaves no trace. Remembers that it is there: asking again costs nothing.
#[derive(Debug)]
pub struct LazySchema {
    component: &'static str,
    migrations: &'static [Migration],
    ready: bool,
}

impl LazySchema {
    /// The schema of `component`, not looked at yet.
    #[must_use]
    pub const fn new(component: &'static str, migrations: &'static [Migration]) -> Self {
        Self {
            component,
            migrations,
            ready: false,
        }
    }

    /// Whether there are tables to read; then they are of the newest version. Writes nothing
    /// where there are none. Not to be called within a transaction.
    ///
    /// # Errors
    /// As [`migrate`].
    pub fn is_there(&mut self, sql: &dyn Sql) -> Result<bool, SqlError> {
        if !self.ready && installed(sql, self.component)?.is_some() {
            self.make(sql)?;
        }
        Ok(self.ready)
    }

    /// Makes the tables, or brings them to the newest version. Not to be called within a
    /// transaction.
    ///
    /// # Errors
    /// As [`migrate`].
    pub fn make(&mut self, sql: &dyn Sql) -> Result<(), SqlError> {
        if !self.ready {
            migrate(sql, self.component, self.migrations)?;
            self.ready = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::native::NativeSql;
    use super::*;

    const FIRST: &[Migration] = &[Migration {
        version: 1,
        statements: &["CREATE TABLE thing (scope INTEGER, name TEXT)"],
    }];
    const SECOND: &[Migration] = &[
        FIRST[0],
        Migration {
            version: 2,
            statements: &["ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0"],
        },
    ];
    const BROKEN: &[Migration] = &[
        FIRST[0],
        SECOND[1],
        Migration {
            version: 3,
            statements: &["CREATE TABLE other (scope INTEGER)", "CREATE GARBAGE"],
        },
    ];

    #[test]
    fn each_step_is_applied_once_and_rows_survive() {
        let sql = NativeSql::in_memory().unwrap();
        assert_eq!(installed(&sql, "things").unwrap(), None);
        migrate(&sql, "things", FIRST).unwrap();
        assert_eq!(installed(&sql, "things").unwrap(), Some(1));
        sql.exec("INSERT INTO thing VALUES (1, 'a')", &[]).unwrap();
        migrate(&sql, "things", SECOND).unwrap();
        migrate(&sql, "things", SECOND).unwrap();
        assert_eq!(installed(&sql, "things").unwrap(), Some(2));
        let rows = sql.exec("SELECT name, size FROM thing", &[]).unwrap();
        assert_eq!(rows.first().unwrap().get::<i64>(1).unwrap(), 0);
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_schema() {
        let sql = NativeSql::in_memory().unwrap();
        migrate(&sql, "things", SECOND).unwrap();
        assert!(migrate(&sql, "things", BROKEN).is_err());
        assert_eq!(installed(&sql, "things").unwrap(), Some(2));
        assert!(sql.exec("SELECT * FROM other", &[]).is_err());
    }

    #[test]
    fn a_schema_of_newer_software_is_refused() {
        let sql = NativeSql::in_memory().unwrap();
        migrate(&sql, "things", SECOND).unwrap();
        assert!(migrate(&sql, "things", FIRST).is_err());
    }

    #[test]
    fn a_lazy_schema_is_made_by_the_first_write_and_brought_up_by_the_first_read() {
        let sql = NativeSql::in_memory().unwrap();
        let mut schema = LazySchema::new("things", FIRST);
        assert!(!schema.is_there(&sql).unwrap());
        assert_eq!(installed(&sql, "things").unwrap(), None);
        schema.make(&sql).unwrap();
        assert!(schema.is_there(&sql).unwrap());
        assert!(LazySchema::new("things", SECOND).is_there(&sql).unwrap());
        assert_eq!(installed(&sql, "things").unwrap(), Some(2));
    }
}
