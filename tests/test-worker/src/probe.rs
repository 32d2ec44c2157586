//! The object that is probed. Its paths:
//!
//! - `/conformance`: the failures of the seam's own checks
//! - `/transactions`: the failures of [`tables::fail_transactions`]
//! - `/entries`: what has been kept
//! - `/migrate`: see [`tables::migrate`]
//! - `/measure`: see [`tables::measure`]
//! - `/socket?tag=T`: an upgrade; the socket is tagged and has its tag as attachment
//! - `/refused-socket`: whether sockets that the runtime does not take are refused, and how many
//!   of them are left
//! - `/sockets?tag=T`: of each socket with the tag, its tags, attachment and last ping
//! - `/say?tag=T`: sends `hello` to all sockets with the tag
//! - `/alarm`: sets an alarm that keeps the entry `rung`; answers whether it was set
//! - `/call`: what a call to another object of the class gives, for each kind of answer
//! - `/entropy`: random bytes, twice
//! - `/`: answers a call; what it is asked is the kind of answer

// What the macro exports to JavaScript has no documentation of its own.
#![allow(missing_docs)]

use js_sys::JsString;
use parlance_durable_objects::host::{self, SystemClock, SystemEntropy};
use parlance_durable_objects::sql::DurableSql;
use parlance_durable_objects::stub::{self, CallFailure};
use parlance_durable_objects::{alarm, sockets};
use parlance_shared::entropy::Entropy;
use parlance_shared::protocol::problem::{Problem, ServiceError};
use parlance_shared::sql::{SqlError, conformance};
use parlance_shared::time::Clock;
use serde_json::{Value, json};
use std::time::Duration;
use worker::{
    DurableObject, Env, Error, Request, Response, Result, Socket, State, WebSocket,
    WebSocketIncomingMessage, durable_object,
};

use crate::tables;

/// See the module.
#[durable_object]
pub struct SqlProbe {
    state: State,
    env: Env,
    sql: DurableSql,
}

impl DurableObject for SqlProbe {
    fn new(state: State, env: Env) -> Self {
        if let Err(error) = sockets::answer_pings(&state) {
            host::log_failure("probe", "no_pings", &error.to_string());
        }
        let sql = DurableSql::new(&state, "probe");
        Self { state, env, sql }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let url = request.url()?;
        let tag = url
            .query()
            .and_then(|query| query.strip_prefix("tag="))
            .unwrap_or("none");
        let seen = match url.path() {
            "/conformance" => json!(conformance::run(&self.sql)),
            "/transactions" => json!(tables::fail_transactions(&self.sql).map_err(failed)?),
            "/entries" => json!(tables::entries(&self.sql).map_err(failed)?),
            "/migrate" => tables::migrate(&self.sql).map_err(failed)?,
            "/measure" => tables::measure(&self.sql).map_err(failed)?,
            "/socket" => {
                return Ok(sockets::accept(&self.state, &[tag, "all"], tag, true)?.response);
            }
            "/refused-socket" => refused_sockets(&self.state)?,
            "/sockets" => self.describe_sockets(tag)?,
            "/say" => self.say(tag)?,
            "/alarm" => self.set_alarm().await?,
            "/call" => self.call().await,
            "/entropy" => entropy(),
            _ => return self.answer(request).await,
        };
        Response::from_json(&seen)
    }

    async fn alarm(&self) -> Result<Response> {
        tables::keep(&self.sql, "rung").map_err(failed)?;
        Response::empty()
    }

    async fn websocket_message(
        &self,
        ws: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> Result<()> {
        let socket = sockets::Socket::from(ws);
        match message {
            WebSocketIncomingMessage::String(text) => {
                socket.attach(&text)?;
                socket.send(&JsString::from(text))?;
            }
            WebSocketIncomingMessage::Binary(_) => socket.close(4000, "text only")?,
        }
        Ok(())
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: Error) -> Result<()> {
        Ok(())
    }

    async fn connect(&self, _: Socket) -> Result<()> {
        Err(Error::from("no connections here"))
    }
}

impl SqlProbe {
    fn describe_sockets(&self, tag: &str) -> Result<Value> {
        let mut seen = Vec::new();
        for socket in sockets::with_tag(&self.state, tag)? {
            let pinged = socket.last_ping(&self.state)?;
            seen.push(json!({
                "tags": socket.tags(&self.state)?,
                "attachment": socket.attachment()?,
                "last_ping": pinged.map(|at| at.as_millis()),
            }));
        }
        Ok(json!(seen))
    }

    fn say(&self, tag: &str) -> Result<Value> {
        let text = JsString::from("hello");
        let sockets = sockets::with_tag(&self.state, tag)?;
        for socket in &sockets {
            socket.send(&text)?;
        }
        Ok(json!(sockets.len()))
    }

    async fn set_alarm(&self) -> Result<Value> {
        let before = alarm::get(&self.state).await?;
        let at = SystemClock.now() + Duration::from_millis(300);
        alarm::set(&self.state, at + Duration::from_secs(3600)).await?;
        alarm::delete(&self.state).await?;
        let deleted = alarm::get(&self.state).await?;
        alarm::set(&self.state, at).await?;
        let set = alarm::get(&self.state).await?;
        Ok(json!({
            "before": before.map(|at| at.as_millis()),
            "deleted": deleted.map(|at| at.as_millis()),
            "exact": set == Some(at),
        }))
    }

    async fn call(&self) -> Value {
        let mut seen = Vec::new();
        for kind in ["reply", "refuse", "storage", "throw", "garbage"] {
            let body = JsString::from(json!(kind).to_string());
            let outcome = stub::call_raw(&self.env, "PROBE", "other", &body)
                .await
                .and_then(|answer| stub::read_answer::<String>(&answer));
            seen.push(describe(outcome));
        }
        let body = JsString::from("{ not JSON");
        let unknown = stub::call_raw(&self.env, "PROBE", "other", &body).await;
        seen.push(describe(unknown));
        let unbound = stub::call_raw(&self.env, "NOTHING", "other", &body).await;
        seen.push(describe(unbound));
        json!(seen)
    }

    async fn answer(&self, mut request: Request) -> Result<Response> {
        let kind: String = match host::read_request("probe", &mut request).await {
            Ok(kind) => kind,
            Err(response) => return Ok(response),
        };
        let outcome = match kind.as_str() {
            "reply" => Ok(json!("caf\u{e9} \u{1f980}").to_string()),
            "refuse" => Err(ServiceError::Refused(Problem::not_found("thing"))),
            "storage" => Err(ServiceError::Storage(SqlError::Engine("disk".to_owned()))),
            "throw" => return Err(Error::from("thrown by the object")),
            _ => return Response::ok("garbage"),
        };
        Ok(host::answer("probe", outcome))
    }
}

fn failed(error: SqlError) -> Error {
    Error::from(error.to_string())
}

fn describe(outcome: std::result::Result<String, CallFailure>) -> Value {
    match outcome {
        Ok(reply) => json!({ "reply": reply }),
        Err(CallFailure::Refused(problem)) => json!({ "refused": problem.code.as_str() }),
        Err(CallFailure::Unreachable { message, .. }) => json!({ "unreachable": message }),
        Err(CallFailure::Unreadable { status }) => json!({ "unreadable": status }),
        Err(CallFailure::Impossible(_)) => json!("impossible"),
    }
}

/// Sockets that the runtime does not take: errors, and no socket is left.
fn refused_sockets(state: &State) -> Result<Value> {
    let long = "x".repeat(sockets::TAG_CHARS + 1);
    let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let large = "x".repeat(17 * 1024);
    let refused = [
        sockets::accept(state, &[&long], "", false).is_err(),
        sockets::accept(state, &many, "", false).is_err(),
        sockets::accept(state, &["large"], &large, false).is_err(),
    ];
    Ok(json!({ "refused": refused, "left": sockets::with_tag(state, "large")?.len() }))
}

fn entropy() -> Value {
    let entropy: &dyn Entropy = &SystemEntropy;
    json!([entropy.bytes::<16>(), entropy.bytes::<16>()])
}
