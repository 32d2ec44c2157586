//! The Cloudflare entry: takes `fetch` events to [`parlance_functions::respond`], makes thumbnails
//! on `queue` events, and exports the classes of the objects that it calls.
//!
//! What always holds: no more of a body is read than [`limits::BODY_BYTES`] and a chunk; the bytes
//! of media, which pass through here in development alone, are streamed.
//! A panic is logged by the `worker` crate's own hook, and the instance begun anew.
//!
//! Must not: know a path, a rule of chat, or the meaning of an error.

mod backend;
mod conversion;
mod local_media;
mod session;
mod thumbnails;

use std::cell::OnceCell;
use std::rc::Rc;

use http::HeaderValue;
use parlance_functions::config::{Config, ConfigError};
use parlance_functions::{Reply, request_id, respond};
use worker::{Context, Env, MessageBatch, Request, Response, Result, event};

pub use parlance_durable_objects::*;

use backend::{Objects, Platform};

thread_local! {
    /// The configuration, read once: the variables of an isolate never change.
    static CONFIG: OnceCell<Rc<core::result::Result<Config, ConfigError>>> =
        const { OnceCell::new() };
}

fn config(env: &Env) -> Rc<core::result::Result<Config, ConfigError>> {
    CONFIG.with(|cell| {
        let config = cell.get_or_init(|| Rc::new(Config::read(|name| variable(env, name))));
        Rc::clone(config)
    })
}

/// A variable or secret as text. A number or flag of `wrangler.toml` arrives as such.
fn variable(env: &Env, name: &str) -> Option<String> {
    let value = js_sys::Reflect::get(env, &name.into()).ok()?;
    value
        .as_string()
        .or_else(|| value.as_f64().map(|number| number.to_string()))
        .or_else(|| value.as_bool().map(|flag| u8::from(flag).to_string()))
}

/// Answers a request.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let config = config(&env);
    if parlance_functions::local_media::is_here(&request.path()) {
        return local_media::respond(&config, request, &env).await;
    }
    let mut request = conversion::request(request).await?;
    // The request is named here, so that the calls that it leads to can be logged by its name.
    let request_id = request_id::of(request.headers(), &Platform);
    request.headers_mut().insert(
        request_id::HEADER,
        HeaderValue::from_str(&request_id).map_err(conversion::failed)?,
    );
    let objects = Objects::new(env, request_id.clone());
    match respond(&objects, &config, request).await {
        Reply::Http(response) => conversion::response(response),
        Reply::Stream(response) => conversion::stream(response),
        Reply::Upgraded(response) => conversion::named(response, &request_id),
    }
}

/// Makes the thumbnails that wait in the queue.
#[event(queue)]
async fn queue(batch: MessageBatch<media::ThumbnailOf>, env: Env, _context: Context) -> Result<()> {
    thumbnails::make_all(&batch, &env).await;
    Ok(())
}
