//! HTTP/1.1 on a port, to the component and back.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::component::Loaded;
use crate::instance::Factory;
use crate::options::Options;

/// Where Spin says from which address a request came. It adds that to the headers of the request,
/// whatever they hold already.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");
/// The variable with what the maintenance endpoint is called with.
pub const MAINTENANCE_TOKEN: &str = "maintenance_token";
/// Where that is.
const MAINTENANCE: &str = "/internal/maintenance";
/// How long the accepting of connections rests after it has failed, as where files ran out, and
/// how often the parent process is looked for.
const REST: Duration = Duration::from_millis(100);

type Handler = ProxyHandler<Factory>;

/// Serves until it is told to end.
///
/// # Errors
/// When it cannot listen.
pub async fn run(Loaded(factory): Loaded, options: Options) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        let address = options.listen;
        format!("{address} cannot be listened on: {error}")
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let is_ending = Arc::clone(&factory.is_ending);
    let handler = ProxyHandler::new(factory);
    println!("Parlance is running on {url}");
    if options.hints {
        println!("{}", hint(&url, &options));
    }
    if let Some(token) = options.variables.get(MAINTENANCE_TOKEN)
        && options.maintenance_seconds > 0
    {
        let every = Duration::from_secs(options.maintenance_seconds);
        tokio::spawn(maintain(handler.clone(), token.clone(), every));
    }
    tokio::select! {
        () = accept(listener, handler) => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = hung_up.recv() => {}
        () = orphaned(), if options.stops_with_parent => {}
    }
    is_ending.store(true, Ordering::Relaxed);
    Ok(())
}

/// Comes back when the process that started this one is gone.
async fn orphaned() {
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(REST).await;
    }
}

fn hint(url: &str, options: &Options) -> String {
    format!(
        "
Try:  curl -s {url}/api/v1/auth/code -H 'content-type: application/json' \\
        -d '{{\"phone_number\":\"+15550100001\"}}'
The README goes on from there to the first conversation. Ctrl-C stops the server; what it
stored stays in {}.
",
        options.database.display()
    )
}

async fn accept(listener: TcpListener, handler: Handler) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                tokio::spawn(connection(stream, address, handler.clone()));
            }
            Err(error) => {
                eprintln!("spin-host: a connection was not accepted: {error}");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, handler: Handler) {
    // Small pieces of a stream are not to wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (parts, incoming) = request.into_parts();
            let body = incoming.map_err(wasmtime_wasi_http::Error::from);
            let request = Request::from_parts(parts, body.boxed_unsync());
            Ok::<_, Infallible>(ask(&handler, request, address).await)
        }
    });
    // An error is the client's going in the middle: there is nobody to tell.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Has the component answer.
async fn ask(
    handler: &Handler,
    mut request: Request<WasiBody>,
    address: SocketAddr,
) -> Response<WasiBody> {
    let host = request.headers_mut().remove(HOST);
    let authority = host
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
        .unwrap_or_else(|| Authority::from_static("localhost"));
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority.get_or_insert(authority);
    match Uri::from_parts(parts) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return failure(StatusCode::BAD_REQUEST, "The address makes no sense."),
    }
    if let Ok(value) = HeaderValue::from_str(&address.to_string()) {
        request.headers_mut().append(CLIENT_ADDRESS, value);
    }
    match handler.handle((), request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("spin-host: no answer: {error:?}");
            failure(StatusCode::INTERNAL_SERVER_ERROR, "The component failed.")
        }
    }
}

fn failure(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// Plays the cron trigger.
async fn maintain(handler: Handler, token: String, every: Duration) {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    loop {
        tokio::time::sleep(every).await;
        let body = Empty::new().map_err(|never| match never {});
        let mut request = Request::post(MAINTENANCE);
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            request = request.header(AUTHORIZATION, value);
        }
        match request.body(body.boxed_unsync()) {
            Ok(request) => {
                let response = ask(&handler, request, here).await;
                if response.status() != StatusCode::OK {
                    eprintln!("spin-host: maintenance answered {}", response.status());
                }
            }
            Err(error) => return eprintln!("spin-host: no maintenance: {error}"),
        }
    }
}
