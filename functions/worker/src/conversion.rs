//! Between the runtime's requests and responses and those of the `http` crate.

use futures_util::StreamExt as _;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Uri};
pub use parlance_durable_objects::outbound::{failed, header_map, headers};
use parlance_functions::answer::Pieces;
use parlance_functions::body::Oversized;
use parlance_functions::limit::ClientAddress;
use parlance_functions::request_id;
use parlance_shared::limits;
use worker::{Error, Headers, Request, Response, ResponseBody, Result};

/// Where Cloudflare says from which address a request came; a client cannot set it there.
const CLIENT_ADDRESS: &str = "cf-connecting-ip";

/// A request of the runtime, with its body read. One over the limit is not read to its end, and
/// marked [`Oversized`].
pub async fn request(mut request: Request) -> Result<http::Request<Vec<u8>>> {
    let mut converted = head(&request)?;
    if request.inner().body().is_some() {
        match read(&mut request, converted.headers()).await? {
            Some(body) => *converted.body_mut() = body,
            None => {
                converted.extensions_mut().insert(Oversized);
            }
        }
    }
    Ok(converted)
}

/// A request of the runtime, without its body.
pub fn head(request: &Request) -> Result<http::Request<Vec<u8>>> {
    let headers = header_map(request.headers());
    let method = Method::from_bytes(request.inner().method().as_bytes()).map_err(failed)?;
    let uri = uri(request);
    let address = headers
        .get(CLIENT_ADDRESS)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .map(ClientAddress);
    let mut converted = http::Request::new(Vec::new());
    *converted.method_mut() = method;
    *converted.uri_mut() = uri;
    *converted.headers_mut() = headers;
    if let Some(address) = address {
        converted.extensions_mut().insert(address);
    }
    Ok(converted)
}

/// The address. One that `http` cannot hold (over 64 KiB) is cut to its path, and one whose path
/// is the trouble is no path of ours.
fn uri(request: &Request) -> Uri {
    let url = request.inner().url();
    url.parse()
        .or_else(|_| request.path().parse())
        .unwrap_or_default()
}

/// The body, or nothing where it is over the limit.
async fn read(request: &mut Request, headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    match declared {
        Some(length) if length > limits::BODY_BYTES as u64 => Ok(None),
        // HTTP lets no more through than was declared.
        Some(_) => request.bytes().await.map(Some),
        None => {
            let mut stream = request.stream()?;
            let mut body = Vec::new();
            while let Some(chunk) = stream.next().await {
                body.extend_from_slice(&chunk?);
                if body.len() > limits::BODY_BYTES {
                    return Ok(None);
                }
            }
            Ok(Some(body))
        }
    }
}

/// A response for the runtime.
pub fn response(response: http::Response<Vec<u8>>) -> Result<Response> {
    let (parts, body) = response.into_parts();
    let body = if body.is_empty() {
        ResponseBody::Empty
    } else {
        ResponseBody::Body(body)
    };
    Ok(Response::from_body(body)?
        .with_status(parts.status.as_u16())
        .with_headers(headers(&parts.headers)?))
}

/// A response in pieces for the runtime. Its end, or the client's going, drops the pieces.
pub fn stream(response: http::Response<Pieces>) -> Result<Response> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_stream(body.map(Ok::<_, Error>))?
        .with_status(parts.status.as_u16())
        .with_headers(headers(&parts.headers)?))
}

/// An accepted upgrade, as the object gave it, with the request's name. Its own headers cannot
/// be changed, so that they are copied.
pub fn named(response: Response, request_id: &str) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in response.headers().entries() {
        headers.append(&name, &value)?;
    }
    headers.set(request_id::HEADER.as_str(), request_id)?;
    Ok(response.with_headers(headers))
}
