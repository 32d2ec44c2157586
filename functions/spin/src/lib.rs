//! The Spin entry: takes HTTP requests to [`parlance_functions::respond`] over
//! [`parlance_embedded::Embedded`], with Spin's SQLite, clock, random numbers and outgoing HTTP.
//!
//! What always holds: no more of a body is read than the limit and a chunk; nothing stays in the
//! instance from one request to the next but the configuration, which never changes, and
//! connections that nobody uses.
//!
//! Must not: know a path of the API, a rule of chat, or the meaning of an error.

// Nothing of it means anything but as a component.
#![cfg(target_os = "wasi")]

mod conversion;
mod host;
mod maintenance;
mod sql;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use parlance_embedded::{Embedded, Host as _};
use parlance_functions::config::{Config, ConfigError, VARIABLES};
use parlance_functions::log::failure;
use parlance_functions::{Reply, respond};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::variables::Error as VariableError;

use crate::host::SpinHost;

/// What the deployment says.
struct Settings {
    config: Result<Config, ConfigError>,
    /// What the maintenance endpoint wants to be shown; without one there is no such endpoint.
    maintenance_token: Option<String>,
}

thread_local! {
    /// Read once: the variables of an instance never change.
    static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() };
}

const MAINTENANCE_TOKEN: &str = "MAINTENANCE_TOKEN";
/// The settings, of variables that `spin.toml` names in lower case. Where a provider of variables fails, they lack its variables, and the next
/// request asks it again.
async fn settings() -> Rc<Settings> {
    if let Some(settings) = SETTINGS.with(|cell| cell.get().cloned()) {
        return settings;
    }
    let mut values = BTreeMap::new();
    let mut is_complete = true;
    for name in VARIABLES.into_iter().chain([MAINTENANCE_TOKEN]) {
        match spin_sdk::variables::get(name.to_ascii_lowercase()).await {
            // One that is blank is not set.
            Ok(value) if value.trim().is_empty() => {}
            Ok(value) => {
                values.insert(name, value);
            }
            Err(VariableError::Undefined(_)) => {}
            // What a provider says may hold what it was asked with.
            Err(_) => {
                is_complete = false;
                SpinHost.log(&failure(SpinHost.now(), "-", "variable_not_read", name));
            }
        }
    }
    let settings = Rc::new(Settings {
        config: Config::read(|name| values.get(name).cloned()),
        maintenance_token: values.remove(MAINTENANCE_TOKEN),
    });
    if !is_complete {
        return settings;
    }
    SETTINGS.with(|cell| Rc::clone(cell.get_or_init(|| settings)))
}

/// Answers a request.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let settings = settings().await;
    // Without a configuration nothing is asked of the backend.
    let known = settings.config.as_ref().ok();
    let backend = Embedded::new(SpinHost, known.map(Into::into).unwrap_or_default());
    let request = conversion::request(request).await?;
    if request.uri().path() == maintenance::PATH {
        let token = settings.maintenance_token.as_deref();
        let response = maintenance::respond(&backend, token, &request).await;
        return Ok(conversion::response(response));
    }
    Ok::<_, spin_sdk::http::Error>(match respond(&backend, &settings.config, request).await {
        Reply::Http(response) => conversion::response(response),
        Reply::Stream(response) => conversion::stream(response),
        Reply::Upgraded(never) => match never {},
    })
}
