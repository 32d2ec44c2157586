//! HTTP written by hand, for requests that no HTTP client would send and for a stand-in of
//! somebody else's service.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::PATIENCE;

/// A request as it was read from a connection.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A header's value, empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map_or("", |(_, value)| value)
    }
}

/// Sends bytes to a server and gives the status of its answer. The server may answer, and stop
/// reading, before it has everything.
///
/// # Panics
/// When no answer comes.
pub async fn status_of(url: &str, request: &[u8]) -> u16 {
    let address = url.trim_start_matches("http://");
    let stream = TcpStream::connect(address)
        .await
        .expect("the server is there");
    let (mut reading, mut writing) = stream.into_split();
    let request = request.to_vec();
    // A server that has answered may close: then the rest need not be written.
    let writer = tokio::spawn(async move { writing.write_all(&request).await.map(|()| writing) });
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(2).any(|two| two == b"\r\n") {
            if reading.read_buf(&mut answer).await.expect("an answer") == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an answer in time");
    writer.abort();
    let line = String::from_utf8_lossy(&answer);
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("not an answer: {line}"))
}

/// Reads a request with a `Content-Length` or chunked body; nothing where the connection ends
/// before it.
pub async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method,
        path,
        headers,
        body: String::new(),
    };
    let mut body = bytes.split_off(head_end + 4);
    let body = if request
        .header("transfer-encoding")
        .eq_ignore_ascii_case("chunked")
    {
        while find(&body, b"0\r\n\r\n").is_none() {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        unchunk(&body)?
    } else {
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        body
    };
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

/// Writes an answer and ends the connection's side.
pub async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may have given up.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = find(bytes, b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(line + 2..line + 2 + size)?);
        bytes = bytes.get(line + 2 + size + 2..)?;
    }
}
