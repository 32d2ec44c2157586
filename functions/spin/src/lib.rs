//! The Spin entry: takes HTTP requests to [`parlance_functions::respond`] over
//! [`parlance_embedded::Embedded`], with Spin's SQLite, clock, random numbers and outgoing HTTP.
//!
//! What always holds: no more of a body is read than the limit and a chunk; nothing stays in the
//! instance from one request to the next but the configuration, which never changes.
//!
//! Must not: know a path of the API, a rule of chat, or the meaning of an error.

// Nothing of it means anything but as a component.
#![cfg(target_os = "wasi")]

mod conversion;
mod host;
mod maintenance;
mod sql;

use std::cell::OnceCell;
use std::rc::Rc;

use parlance_embedded::Embedded;
use parlance_functions::config::{Config, ConfigError};
use parlance_functions::{Reply, respond};
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

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

/// The variables that [`Config`] reads; `spin.toml` names them in lower case.
const VARIABLES: [&str; 10] = [
    "TOKEN_KEYS",
    "PHONE_HASH_KEY",
    "DEVELOPMENT",
    "CODE_PROVIDER",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_FROM",
    "TWILIO_BASE_URL",
    "CORS_ORIGINS",
    "ADMIN_TOKEN",
];
const RATE_LIMIT_SCALE: &str = "RATE_LIMIT_SCALE";
const MAINTENANCE_TOKEN: &str = "MAINTENANCE_TOKEN";

async fn settings() -> Rc<Settings> {
    if let Some(settings) = SETTINGS.with(|cell| cell.get().cloned()) {
        return settings;
    }
    let mut values = Vec::new();
    for name in VARIABLES.into_iter().chain([RATE_LIMIT_SCALE]) {
        if let Some(value) = variable(name).await {
            values.push((name, value));
        }
    }
    let config = Config::read(|wanted| {
        let found = values.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.clone())
    });
    let settings = Rc::new(Settings {
        config,
        maintenance_token: variable(MAINTENANCE_TOKEN).await,
    });
    SETTINGS.with(|cell| Rc::clone(cell.get_or_init(|| settings)))
}

/// A variable's value; one that is blank is not set.
async fn variable(name: &str) -> Option<String> {
    let value = spin_sdk::variables::get(name.to_ascii_lowercase()).await;
    value.ok().filter(|value| !value.trim().is_empty())
}

/// Answers a request.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let settings = settings().await;
    // Without a configuration nothing is asked of the backend.
    let scale = settings
        .config
        .as_ref()
        .map_or(1.0, |config| config.rate_limit_scale);
    let backend = Embedded::new(SpinHost, scale);
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
