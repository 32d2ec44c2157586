//! The rules of moderation.
//!
//! What always holds: a report is kept with a copy of its message, whatever becomes of the message
//! itself; every act of an admin is an entry of the audit log, numbered without gaps, in the same
//! transaction as what the act changes here, and before anything that it changes elsewhere.
//! Entries are never changed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{FileReport, Filed, ListAudit, ListReports, ModerationRequest, ResolveReport};
use super::schema;
use crate::entropy::Entropy;
use crate::ids::ReportId;
use crate::object::reply_json;
use crate::page;
use crate::params;
use crate::protocol::moderation::{
    AdminAct, AuditEntry, AuditPage, ReportPage, ReportView, check_reason,
};
use crate::protocol::problem::{Problem, ServiceError};
use crate::sql::migrations::LazySchema;
use crate::sql::{Row, Sql, SqlError, Value, transact};
use crate::time::Timestamp;

/// The largest number that every platform takes to its database and back: they are JavaScript's
/// on some.
const MOST: u64 = (1 << 53) - 1;

/// The columns that [`read_report`] reads.
macro_rules! report_columns {
    () => {
        "number, report_id, reporter_id, reason, message, created_at, resolved_at, note"
    };
}

/// The moderation of a deployment.
#[derive(Debug)]
pub struct ModerationService<S> {
    sql: S,
    scope: i64,
    schema: LazySchema,
}

impl<S: Sql> ModerationService<S> {
    /// The moderation in `scope` of `sql`.
    pub const fn new(sql: S, scope: i64) -> Self {
        Self {
            sql,
            scope,
            schema: LazySchema::new(schema::COMPONENT, schema::MIGRATIONS),
        }
    }

    /// Does what is asked. The text is the reply's JSON.
    ///
    /// # Errors
    /// The problem to tell the caller, or storage's failure; nothing has changed then.
    pub fn handle(
        &mut self,
        request: ModerationRequest,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<String, ServiceError> {
        self.schema.make(&self.sql)?;
        match request {
            ModerationRequest::FileReport(call) => reply_json(&self.file(&call, now, entropy)?),
            ModerationRequest::ListReports(call) => reply_json(&self.list_reports(&call, now)?),
            ModerationRequest::ResolveReport(call) => reply_json(&self.resolve(&call, now)?),
            ModerationRequest::NoteAct(call) => reply_json(&self.note(&call.act, now)?),
            ModerationRequest::ListAudit(call) => reply_json(&self.list_audit(&call, now)?),
        }
    }

    fn file(
        &self,
        call: &FileReport,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Filed, ServiceError> {
        check_reason("reason", &call.reason)?;
        let known = self
            .sql
            .exec(
                "SELECT report_id FROM report
                 WHERE scope = ? AND reporter_id = ? AND message_id = ?",
                params![self.scope, &call.reporter_id, &call.message.message_id],
            )?
            .scalar()?;
        if let Some(report_id) = known {
            return Ok(Filed {
                report_id,
                duplicate: true,
            });
        }
        let report_id = ReportId::random(entropy);
        self.sql.exec(
            "INSERT INTO report (scope, number, report_id, reporter_id, message_id, created_at,
                reason, message)
             VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM report WHERE scope = ?),
                ?, ?, ?, ?, ?, ?)",
            params![
                self.scope,
                self.scope,
                &report_id,
                &call.reporter_id,
                &call.message.message_id,
                now,
                &call.reason,
                &json(&call.message)?
            ],
        )?;
        Ok(Filed {
            report_id,
            duplicate: false,
        })
    }

    fn list_reports(&self, call: &ListReports, now: Timestamp) -> Result<ReportPage, ServiceError> {
        let after: u64 = call
            .cursor
            .as_deref()
            .map(page::position)
            .transpose()?
            .unwrap_or(0);
        self.note(&AdminAct::ListReports, now)?;
        let statement = if call.resolved {
            concat!(
                "SELECT ",
                report_columns!(),
                " FROM report WHERE scope = ? AND number > ? AND resolved_at IS NOT NULL
                  ORDER BY number LIMIT ?"
            )
        } else {
            concat!(
                "SELECT ",
                report_columns!(),
                " FROM report WHERE scope = ? AND number > ? AND resolved_at IS NULL
                  ORDER BY number LIMIT ?"
            )
        };
        let rows = self.sql.exec(
            statement,
            params![self.scope, integer(after), call.limit.saturating_add(1)],
        )?;
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let has_more = rows.rows.len() > limit;
        let reports = rows
            .rows
            .iter()
            .take(limit)
            .map(read_report)
            .collect::<Result<Vec<_>, _>>()?;
        let last = reports.last().map(|(number, _)| *number);
        Ok(ReportPage {
            reports: reports.into_iter().map(|(_, report)| report).collect(),
            next_cursor: last
                .filter(|_| has_more)
                .map(|number| page::cursor(&number)),
            has_more,
        })
    }

    fn resolve(&self, call: &ResolveReport, now: Timestamp) -> Result<ReportView, ServiceError> {
        check_reason("note", &call.note)?;
        transact(&self.sql, || {
            let report = self.report(call.report_id)?;
            if report.resolved_at.is_some() {
                return Ok(report);
            }
            let act = AdminAct::ResolveReport {
                report_id: call.report_id,
                note: call.note.clone(),
            };
            self.note(&act, now)?;
            self.sql.exec(
                "UPDATE report SET resolved_at = ?, note = ? WHERE scope = ? AND report_id = ?",
                params![now, &call.note, self.scope, &call.report_id],
            )?;
            self.report(call.report_id)
        })
    }

    fn report(&self, report_id: ReportId) -> Result<ReportView, ServiceError> {
        let rows = self.sql.exec(
            concat!(
                "SELECT ",
                report_columns!(),
                " FROM report WHERE scope = ? AND report_id = ?"
            ),
            params![self.scope, &report_id],
        )?;
        let row = rows.first().ok_or_else(|| Problem::not_found("report"))?;
        Ok(read_report(row)?.1)
    }

    /// Adds an entry to the audit log.
    fn note(&self, act: &AdminAct, now: Timestamp) -> Result<(), SqlError> {
        self.sql.exec(
            "INSERT INTO admin_act (scope, entry, at, act)
             VALUES (?, (SELECT coalesce(max(entry), 0) + 1 FROM admin_act WHERE scope = ?), ?, ?)",
            params![self.scope, self.scope, now, &json(act)?],
        )?;
        Ok(())
    }

    fn list_audit(&self, call: &ListAudit, now: Timestamp) -> Result<AuditPage, ServiceError> {
        let before: Option<u64> = call.cursor.as_deref().map(page::position).transpose()?;
        self.note(&AdminAct::ListAudit, now)?;
        let rows = self.sql.exec(
            "SELECT entry, at, act FROM admin_act WHERE scope = ? AND entry < ?
             ORDER BY entry DESC LIMIT ?",
            params![
                self.scope,
                integer(before.unwrap_or(MOST)),
                call.limit.saturating_add(1)
            ],
        )?;
        let limit = usize::try_from(call.limit).unwrap_or(usize::MAX);
        let has_more = rows.rows.len() > limit;
        let entries = rows
            .rows
            .iter()
            .take(limit)
            .map(|row| {
                Ok(AuditEntry {
                    entry: row.get(0)?,
                    at: row.get(1)?,
                    act: read_json(row.get(2)?, "what an admin did")?,
                })
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let last = entries.last().map(|entry| entry.entry);
        Ok(AuditPage {
            entries,
            next_cursor: last.filter(|_| has_more).map(|entry| page::cursor(&entry)),
            has_more,
        })
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number.min(MOST)).unwrap_or_default()
}

fn json(value: &impl Serialize) -> Result<String, SqlError> {
    serde_json::to_string(value).map_err(|error| SqlError::Engine(error.to_string()))
}

/// Reads JSON that was stored; the error does not repeat it.
fn read_json<T: DeserializeOwned>(text: String, expected: &'static str) -> Result<T, SqlError> {
    serde_json::from_str(&text).map_err(|_| SqlError::unexpected(expected, &Value::Text(text)))
}

fn read_report(row: &Row) -> Result<(u64, ReportView), SqlError> {
    let report = ReportView {
        report_id: row.get(1)?,
        reporter_id: row.get(2)?,
        reason: row.get(3)?,
        message: read_json(row.get(4)?, "a message that was reported")?,
        created_at: row.get(5)?,
        resolved_at: row.get(6)?,
        note: row.get(7)?,
    };
    Ok((row.get(0)?, report))
}
