//! Rows written into the objects' databases while no server runs: logs and lists that would take
//! too long to make through the API. What is written copies a row that the service itself wrote,
//! so it follows the schema as it is.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use uuid::Uuid;

use crate::api::Person;
use crate::failure::{Failure, Outcome, failed};
use crate::room::Room;
use crate::server::Server;

/// Fills the log of a room up to so many events with copies of its newest message, and has its
/// members' lists know them.
pub fn log(server: &Server, room: &Room, events: u64) -> Outcome<()> {
    let id = uuid_bytes(&room.conversation)?;
    let events = i64::try_from(events)?;
    let log = of_object(
        server,
        "Conversation",
        "conversation",
        "conversation_id",
        &id,
    )?;
    let copied = Copied::newest(&log, "event", "seq")?;
    let first = copied.integer("seq")?;
    log.execute_batch("BEGIN")?;
    copied.insert(
        &log,
        "event",
        first + 1..=events,
        |column, seq| match column {
            "seq" => Some(Value::Integer(seq)),
            "message_id" | "client_msg_id" => Some(random()),
            _ => None,
        },
    )?;
    log.execute("UPDATE conversation SET delivered_seq = ?", [events])?;
    log.execute_batch("COMMIT")?;
    for person in &room.people {
        let inbox = of_object(
            server,
            "User",
            "profile",
            "user_id",
            &uuid_bytes(&person.id)?,
        )?;
        inbox.execute(
            "UPDATE inbox SET head_seq = ?1, read_seq = ?1, delivered_seq = ?1, unread = 0,
                positions = NULL WHERE conversation_id = ?2",
            rusqlite::params![events, id],
        )?;
    }
    Ok(())
}

/// Fills a person's list up to so many conversations with copies of its newest one.
pub fn list(server: &Server, person: &Person, conversations: usize) -> Outcome<()> {
    let inbox = of_object(
        server,
        "User",
        "profile",
        "user_id",
        &uuid_bytes(&person.id)?,
    )?;
    let copied = Copied::newest(&inbox, "inbox", "active_at")?;
    let newest = copied.integer("active_at")?;
    let more = i64::try_from(conversations)?;
    inbox.execute_batch("BEGIN")?;
    copied.insert(&inbox, "inbox", 1..=more - 1, |column, n| match column {
        "conversation_id" => Some(random()),
        // In no order of the key.
        "active_at" => Some(Value::Integer(newest - (n * 7_919) % more - 1)),
        _ => None,
    })?;
    inbox.execute_batch("COMMIT")?;
    Ok(())
}

/// The database of the object whose table names it.
fn of_object(
    server: &Server,
    class: &str,
    table: &str,
    column: &str,
    id: &[u8],
) -> Outcome<Connection> {
    let query = format!("SELECT 1 FROM {table} WHERE {column} = ?");
    for path in server.databases(class)? {
        let database = Connection::open(&path)?;
        // An object that was never used has no tables.
        let is_it = database.query_row(&query, [id], |_| Ok(())).is_ok();
        if is_it {
            database.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000")?;
            return Ok(database);
        }
    }
    failed(format!(
        "no {class} object has the database that was looked for"
    ))
}

/// A row to be copied.
struct Copied {
    columns: Vec<String>,
    values: Vec<Value>,
}

impl Copied {
    fn newest(database: &Connection, table: &str, by: &str) -> Outcome<Self> {
        let query = format!("SELECT * FROM {table} ORDER BY {by} DESC LIMIT 1");
        let mut statement = database.prepare(&query)?;
        let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
        let values = statement.query_row([], |row| {
            (0..columns.len())
                .map(|column| row.get(column))
                .collect::<rusqlite::Result<Vec<Value>>>()
        })?;
        Ok(Self { columns, values })
    }

    fn integer(&self, column: &str) -> Outcome<i64> {
        let pairs = self.columns.iter().zip(&self.values);
        match pairs.into_iter().find(|(name, _)| *name == column) {
            Some((_, Value::Integer(number))) => Ok(*number),
            other => failed(format!("{column} is no number: {other:?}")),
        }
    }

    /// Inserts a copy for each number, changed where `change` says so.
    fn insert(
        &self,
        database: &Connection,
        table: &str,
        numbers: impl IntoIterator<Item = i64>,
        change: impl Fn(&str, i64) -> Option<Value>,
    ) -> Outcome<()> {
        let marks = vec!["?"; self.columns.len()].join(", ");
        let columns = self.columns.join(", ");
        let mut statement =
            database.prepare(&format!("INSERT INTO {table} ({columns}) VALUES ({marks})"))?;
        for number in numbers {
            let values = self
                .columns
                .iter()
                .zip(&self.values)
                .map(|(column, value)| change(column, number).unwrap_or_else(|| value.clone()));
            statement.execute(params_from_iter(values))?;
        }
        Ok(())
    }
}

fn random() -> Value {
    Value::Blob(Uuid::new_v4().as_bytes().to_vec())
}

fn uuid_bytes(id: &str) -> Outcome<Vec<u8>> {
    let id = Uuid::parse_str(id).map_err(|error| Failure::from(error.to_string()))?;
    Ok(id.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_in_what_was_changed_alone() {
        let database = Connection::open_in_memory().unwrap();
        database
            .execute_batch(
                "CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT, sender BLOB);
                 INSERT INTO event VALUES (1, 'first', x'01'), (2, 'second', x'02')",
            )
            .unwrap();
        let copied = Copied::newest(&database, "event", "seq").unwrap();
        let change = |column: &str, seq| (column == "seq").then_some(Value::Integer(seq));
        copied.insert(&database, "event", 3..=5, change).unwrap();
        let count = "SELECT count(*) FROM event WHERE body = 'second' AND sender = x'02'";
        let copies: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(copies, 4);
        assert_eq!(copied.integer("seq").unwrap(), 2);
        assert!(copied.integer("body").is_err());
    }
}
