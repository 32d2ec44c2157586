//! What the objects of this isolate have done, counted, for operators and for the benchmark:
//! see docs/metrics.md.
//!
//! What always holds: a count only grows, and begins at zero with the isolate and after a panic
//! (scrapers know a counter that fell as one that began anew). Counting is an addition in memory;
//! nothing here asks the runtime. No label holds anything about a user or a conversation.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::rc::Rc;

/// One number that grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What the objects of one class have done.
#[derive(Debug, Default)]
pub struct ClassCounts {
    /// Objects constructed: new ones, and those that come back after an eviction.
    pub started: Counter,
    /// Requests that objects and the edge of this isolate made to objects of the class.
    pub requests: Counter,
    /// Alarms that went off.
    pub alarms: Counter,
    /// Alarms that were set. The platform counts each as a row written.
    pub alarms_set: Counter,
    /// SQL statements.
    pub statements: Counter,
    /// Rows written by SQL, index rows included.
    pub rows_written: Counter,
    /// Messages that came by sockets, less the pings that the runtime answered.
    pub socket_messages_in: Counter,
    /// Messages that were sent to sockets. A batch of frames is one.
    pub socket_messages_out: Counter,
    /// Events that were shown to sockets: one that ten sockets are shown counts ten times.
    pub events_shown: Counter,
    /// Messages that were stored.
    pub messages_stored: Counter,
}

/// A metric: its name, what it says, and where its value is.
type Metric = (&'static str, &'static str, fn(&ClassCounts) -> u64);

const METRICS: [Metric; 10] = [
    (
        "parlance_objects_started_total",
        "Objects constructed, new or after an eviction.",
        |counts| counts.started.get(),
    ),
    (
        "parlance_object_requests_total",
        "Requests made to objects.",
        |counts| counts.requests.get(),
    ),
    (
        "parlance_alarms_total",
        "Alarms of objects that went off.",
        |counts| counts.alarms.get(),
    ),
    (
        "parlance_alarms_set_total",
        "Alarms of objects that were set.",
        |counts| counts.alarms_set.get(),
    ),
    (
        "parlance_sql_statements_total",
        "SQL statements run.",
        |counts| counts.statements.get(),
    ),
    (
        "parlance_rows_written_total",
        "Rows written by SQL, index rows included.",
        |counts| counts.rows_written.get(),
    ),
    (
        "parlance_socket_messages_received_total",
        "Messages received by sockets.",
        |counts| counts.socket_messages_in.get(),
    ),
    (
        "parlance_socket_messages_sent_total",
        "Messages sent to sockets, a batch as one.",
        |counts| counts.socket_messages_out.get(),
    ),
    (
        "parlance_events_shown_total",
        "Events shown to sockets.",
        |counts| counts.events_shown.get(),
    ),
    (
        "parlance_messages_stored_total",
        "Chat messages stored.",
        |counts| counts.messages_stored.get(),
    ),
];

/// The counts of all classes, in the order in which they were first heard of.
#[derive(Debug, Default)]
struct Registry(RefCell<Vec<(String, Rc<ClassCounts>)>>);

impl Registry {
    fn of(&self, class: &str) -> Rc<ClassCounts> {
        let Ok(mut classes) = self.0.try_borrow_mut() else {
            // Nothing here calls anything while it is borrowed; were it so, this is not counted.
            return Rc::default();
        };
        let known = classes
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(class));
        if let Some((_, counts)) = known {
            return Rc::clone(counts);
        }
        let counts = Rc::<ClassCounts>::default();
        classes.push((class.to_ascii_lowercase(), Rc::clone(&counts)));
        counts
    }

    fn text(&self) -> String {
        let classes = self.0.borrow();
        let mut text = String::new();
        for (name, help, value) in METRICS {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for (class, counts) in classes.iter() {
                let _ = writeln!(text, "{name}{{class=\"{class}\"}} {}", value(counts));
            }
        }
        text
    }
}

thread_local! {
    /// An isolate has one thread.
    static REGISTRY: Registry = Registry::default();
}

/// The counts of a class, by its name or by that of its binding, in any case of letters.
#[must_use]
pub fn of(class: &str) -> Rc<ClassCounts> {
    REGISTRY.with(|registry| registry.of(class))
}

/// All counts of this isolate, in the text format of Prometheus, version 0.0.4.
#[must_use]
pub fn text() -> String {
    REGISTRY.with(Registry::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_counted_under_one_name_however_it_is_written() {
        let registry = Registry::default();
        registry.of("user").rows_written.add(2);
        registry.of("USER").rows_written.count();
        registry.of("CONVERSATION").requests.count();
        let text = registry.text();
        assert!(text.contains("\nparlance_rows_written_total{class=\"user\"} 3\n"));
        assert!(text.contains("\nparlance_rows_written_total{class=\"conversation\"} 0\n"));
        assert!(text.contains("\nparlance_object_requests_total{class=\"conversation\"} 1\n"));
        assert_eq!(text.matches("{class=\"user\"}").count(), METRICS.len());
    }

    #[test]
    fn every_line_is_one_that_prometheus_reads() {
        let registry = Registry::default();
        registry.of("user").alarms.count();
        for line in registry.text().lines() {
            let is_comment = line.starts_with("# HELP parlance_")
                || line.starts_with("# TYPE parlance_") && line.ends_with(" counter");
            let is_sample = line
                .split_once("{class=\"user\"} ")
                .is_some_and(|(name, value)| {
                    name.ends_with("_total") && value.parse::<u64>().is_ok()
                });
            assert!(is_comment || is_sample, "{line}");
        }
    }
}
