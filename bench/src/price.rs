//! List prices, and what a million messages come to.

use serde_json::{Value, json};

/// USD per million requests to objects, alarms that go off with them.
const REQUESTS: f64 = 0.15;
/// Messages received by a socket that count as one request.
const SOCKET_MESSAGES: f64 = 20.0;
/// USD per million rows written.
const ROWS_WRITTEN: f64 = 1.0;
/// USD per million gigabyte-seconds.
const GIGABYTE_SECONDS: f64 = 12.5;
/// Gigabytes that an awake object is billed for.
const GIGABYTES: f64 = 0.128;
/// Objects that a direct message concerns: the sender's, the conversation, the recipient's.
const OBJECTS: f64 = 3.0;

/// What one message costs, in what the platform bills.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs {
    /// Requests to objects.
    pub requests: f64,
    /// Alarms that went off.
    pub alarms: f64,
    /// Messages received by sockets.
    pub socket_messages: f64,
    /// Rows written by SQL.
    pub rows_written: f64,
    /// Alarms that were set: a row each.
    pub alarms_set: f64,
    /// From send to delivery.
    pub seconds: f64,
}

/// The estimate for a million messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Price {
    inputs: Inputs,
    requests: f64,
    rows: f64,
    duration: f64,
}

impl Price {
    /// What a million messages of this kind cost, in USD.
    pub fn of(inputs: Inputs) -> Self {
        let Inputs {
            requests,
            alarms,
            socket_messages,
            rows_written,
            alarms_set,
            seconds,
        } = inputs;
        Self {
            inputs,
            requests: (requests + alarms + socket_messages / SOCKET_MESSAGES) * REQUESTS,
            rows: (rows_written + alarms_set) * ROWS_WRITTEN,
            // Twice the way there: the acknowledgement goes back through the same three.
            duration: 2.0 * seconds * OBJECTS * GIGABYTES * GIGABYTE_SECONDS,
        }
    }

    /// All together.
    pub fn total(&self) -> f64 {
        self.requests + self.rows + self.duration
    }

    /// The estimate with its inputs, in a sentence.
    pub fn sentence(&self) -> String {
        let inputs = self.inputs;
        format!(
            "A direct message to an open app: {:.2} object requests, {:.2} socket messages received \
             ({SOCKET_MESSAGES:.0} count as a request), {:.2} alarms, {:.2} rows written, {:.2} alarms \
             set (a row each), three objects of {GIGABYTES} GB awake for twice {:.1} ms. At list price a \
             million cost ${:.2}: requests ${:.2} (${REQUESTS} a million), rows ${:.2} \
             (${ROWS_WRITTEN} a million), duration ${:.2} (${GIGABYTE_SECONDS} a million GB-s).",
            inputs.requests,
            inputs.socket_messages,
            inputs.alarms,
            inputs.rows_written,
            inputs.alarms_set,
            inputs.seconds * 1000.0,
            self.total(),
            self.requests,
            self.rows,
            self.duration,
        )
    }

    /// The estimate with its inputs.
    pub fn json(&self) -> Value {
        let Inputs {
            requests,
            alarms,
            socket_messages,
            rows_written,
            alarms_set,
            seconds,
        } = self.inputs;
        json!({
            "per_message": {
                "object_requests": requests,
                "alarms": alarms,
                "socket_messages_received": socket_messages,
                "rows_written": rows_written,
                "alarms_set": alarms_set,
                "gigabyte_seconds": 2.0 * seconds * OBJECTS * GIGABYTES,
            },
            "list_prices_usd": {
                "million_requests": REQUESTS,
                "socket_messages_in_a_request": SOCKET_MESSAGES,
                "million_rows_written": ROWS_WRITTEN,
                "million_gigabyte_seconds": GIGABYTE_SECONDS,
            },
            "usd_per_million_messages": {
                "requests": self.requests,
                "rows": self.rows,
                "duration": self.duration,
                "total": self.total(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_messages_cost_what_the_list_says() {
        let price = Price::of(Inputs {
            requests: 3.0,
            alarms: 0.5,
            socket_messages: 10.0,
            rows_written: 4.0,
            alarms_set: 1.0,
            seconds: 0.01,
        });
        assert!((price.requests - 0.6).abs() < 1e-9);
        assert!((price.rows - 5.0).abs() < 1e-9);
        assert!((price.duration - 0.096).abs() < 1e-9);
        assert!((price.total() - 5.696).abs() < 1e-9);
    }
}
