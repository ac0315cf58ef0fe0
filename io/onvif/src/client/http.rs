//! One exchange over HTTP/1.1: a request, and an answer that is bounded in length. The time limit is the caller's.
//!
//! A connection serves one exchange. Cameras close idle connections without a word, and a call that fails for that on
//! the second use costs more than a connection does.

use std::io;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::ClientError;
use super::tls::Tls;
use crate::xml::Limits;

/// Longest body of an answer, in bytes, but for the profiles of a recorder. The longest usual answer, the events that a
/// device knows, has some 300 kB.
pub const BODY_BYTES_MAX: usize = Limits::DEFAULT.bytes;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

const USER_AGENT: &str = concat!("Keepwatch/", env!("CARGO_PKG_VERSION"));

/// What is asked.
pub(super) struct Ask<'a> {
    /// The name of the call, for errors.
    pub(super) call: &'static str,
    /// Where.
    pub(super) place: &'a Url,
    /// `POST` or `GET`.
    pub(super) method: &'static str,
    /// The type of the body.
    pub(super) content_type: String,
    /// The body.
    pub(super) body: String,
    /// The answer to a challenge.
    pub(super) authorization: Option<String>,
    /// Longest body of the answer, in bytes.
    pub(super) answer_bytes_max: usize,
}

/// What is answered.
pub(super) struct Reply {
    /// HTTP status.
    pub(super) status: u16,
    /// What logins the device wants.
    pub(super) challenges: Vec<String>,
    /// Where a redirection points.
    pub(super) location: Option<String>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Asks, and reads the answer up to what it may have.
pub(super) async fn exchange(ask: Ask<'_>, tls: &Tls) -> Result<Reply, ClientError> {
    let tcp = dial(ask.place).await?;
    if ask.place.scheme() == "https" {
        let session = tls.connect(ask.place, tcp).await?;
        talk(ask, session).await
    } else {
        talk(ask, tcp).await
    }
}

async fn dial(place: &Url) -> Result<TcpStream, ClientError> {
    let port = place.port_or_known_default().unwrap_or(80);
    let unreachable = |source| ClientError::Unreachable {
        host: place.host_str().unwrap_or_default().to_owned(),
        port,
        source,
    };
    let tcp = match place.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await,
        None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
    };
    let tcp = tcp.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    Ok(tcp)
}

async fn talk(
    ask: Ask<'_>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Reply, ClientError> {
    let (call, max) = (ask.call, ask.answer_bytes_max);
    let broken = |source| ClientError::Broken { call, source };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).title_case_headers(true);
    // Web servers of cameras are home-made. A header that is not understood is no reason to miss the answer, and since the
    // connection serves one exchange, nothing that follows can be taken for another.
    builder
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    let (mut sender, connection) =
        builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    let request = request(ask)?;
    let work = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        read(call, answer, max).await
    };
    tokio::pin!(work, connection);
    // The connection must be driven for the work to go on; it may end first, with the answer already read.
    tokio::select! {
        result = &mut work => return result,
        _ = &mut connection => {} // What became of the work, the work says.
    }
    work.await
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
    let place = ask.place;
    let mut host = place.host_str().unwrap_or_default().to_owned();
    if let Some(port) = place.port() {
        host.push_str(&format!(":{port}"));
    }
    let mut builder = Request::builder()
        .method(ask.method)
        .uri(target(place))
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close");
    if !ask.body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, ask.content_type);
    }
    if let Some(authorization) = ask.authorization {
        let mut value = HeaderValue::try_from(authorization).map_err(|_| ClientError::Missing {
            call: ask.call,
            what: "challenge: it cannot be repeated in a header",
        })?;
        value.set_sensitive(true);
        builder = builder.header(header::AUTHORIZATION, value);
    }
    builder.body(Full::new(Bytes::from(ask.body))).map_err(|_| ClientError::Address(place.to_string()))
}

/// The path and query as they stand in the request line, which is also what a digest is made for.
pub(super) fn target(place: &Url) -> String {
    match place.query() {
        Some(query) => format!("{}?{query}", place.path()),
        None => place.path().to_owned(),
    }
}

async fn read(call: &'static str, answer: Response<Incoming>, max: usize) -> Result<Reply, ClientError> {
    let status = answer.status().as_u16();
    let challenges = texts(answer.headers(), &header::WWW_AUTHENTICATE);
    let location = texts(answer.headers(), &header::LOCATION).pop();
    let mut incoming = answer.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            // Some devices announce more than they send; what came may be whole, and SOAP says whether it is.
            Err(error) if error.is_incomplete_message() && !body.is_empty() => break,
            Err(source) => return Err(ClientError::Broken { call, source }),
        };
        let Some(data) = frame.data_ref() else { continue };
        if body.len().saturating_add(data.len()) > max {
            return Err(ClientError::TooLong { call, max });
        }
        body.extend_from_slice(data);
    }
    Ok(Reply { status, challenges, location, body })
}

fn texts(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}
