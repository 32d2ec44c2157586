//! Between Spin's requests and responses and those of the handlers.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use parlance_functions::answer::Pieces;
use parlance_functions::body::Oversized;
use parlance_functions::limit::ClientAddress;
use parlance_shared::limits;
use spin_sdk::http::Request;

/// Where Spin says from which address a request came. It adds it after what the client sent, so
/// that the last one counts.
const CLIENT_ADDRESS: &str = "spin-client-addr";

/// A body for Spin.
pub type Body = http_body_util::Either<Full<Bytes>, Streamed>;
type Streamed = StreamBody<futures_util::stream::LocalBoxStream<'static, Chunk>>;
type Chunk = Result<Frame<Bytes>, Infallible>;

/// A request with its body read. One over the limit is not read to its end, and marked
/// [`Oversized`].
pub async fn request(request: Request) -> Result<http::Request<Vec<u8>>, spin_sdk::http::Error> {
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let is_oversized = body.is_none();
    let mut converted = http::Request::new(body.unwrap_or_default());
    *converted.method_mut() = parts.method;
    *converted.uri_mut() = parts.uri;
    *converted.headers_mut() = parts.headers;
    if let Some(address) = client_address(converted.headers()) {
        converted.extensions_mut().insert(address);
    }
    if is_oversized {
        converted.extensions_mut().insert(Oversized);
    }
    Ok(converted)
}

fn client_address(headers: &HeaderMap) -> Option<ClientAddress> {
    let value = headers.get_all(CLIENT_ADDRESS).iter().next_back()?;
    let address: SocketAddr = value.to_str().ok()?.parse().ok()?;
    Some(ClientAddress(address.ip()))
}

/// The body, or nothing where it is over the limit.
async fn read<B: http_body::Body<Data = Bytes> + Unpin>(
    mut body: B,
) -> Result<Option<Vec<u8>>, B::Error> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            read.extend_from_slice(&data);
        }
        if read.len() > limits::BODY_BYTES {
            return Ok(None);
        }
    }
    Ok(Some(read))
}

/// A response for Spin.
pub fn response(response: http::Response<Vec<u8>>) -> http::Response<Body> {
    response.map(|body| Body::Left(Full::new(Bytes::from(body))))
}

/// A response in pieces for Spin. Its end, or the client's going, drops the pieces.
pub fn stream(response: http::Response<Pieces>) -> http::Response<Body> {
    response.map(|pieces| {
        let chunks = pieces.map(|piece| Ok(Frame::data(Bytes::from(piece))));
        Body::Right(StreamBody::new(chunks.boxed_local()))
    })
}
