//! What somebody on the network is told who speaks plain HTTP: where TLS is, and nothing else. No route is reached.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, LOCATION};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Problem;

/// Longest request line and headers that are read for it.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Answers one request that came to `local` and closes the connection.
pub(super) async fn refuse<S>(stream: S, local: SocketAddr, patience: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = answer(request.method(), request.headers().get(HOST), request.uri(), local);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_header_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever ends it early ends what was to end.
    let _ = tokio::time::timeout(patience, connection).await;
}

fn answer(
    method: &Method,
    host: Option<&HeaderValue>,
    uri: &axum::http::Uri,
    local: SocketAddr,
) -> Response<Body> {
    let authority = host.and_then(|host| authority(host.as_bytes())).unwrap_or_else(|| local.to_string());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = HeaderValue::from_str(&format!("https://{authority}{path}"));
    let mut response = match location {
        Ok(location) if method == Method::GET || method == Method::HEAD => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(LOCATION, location);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            response
        }
        // Whatever a body held has crossed the network readable; sending it again over TLS would hide that.
        Ok(_) | Err(_) => Problem::bad_request(
            "tls_required",
            "this address answers over TLS only; use https://, and change what was sent readable, such as a password",
        )
        .into_response(),
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The text of a `Host` header if it has the form of one (RFC 9110 §7.2): nothing that would lead elsewhere.
fn authority(host: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(host).ok()?;
    let letter =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (!text.is_empty() && text.len() <= 255 && text.bytes().all(letter)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(method: Method, host: Option<&str>, uri: &str) -> (u16, String) {
        let host = host.map(|host| HeaderValue::from_str(host).unwrap());
        let local = "192.0.2.1:8443".parse().unwrap();
        let response = answer(&method, host.as_ref(), &uri.parse().unwrap(), local);
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers().get(CONNECTION).unwrap(), "close");
        (response.status().as_u16(), location.unwrap_or_default())
    }

    #[test]
    fn reading_is_led_to_tls_and_writing_is_refused() {
        let there = (308, "https://node:8443/a?b=c".to_owned());
        assert_eq!(told(Method::GET, Some("node:8443"), "/a?b=c"), there);
        assert_eq!(told(Method::HEAD, Some("node:8443"), "/a?b=c"), there);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(told(method, Some("node:8443"), "/a"), (400, String::new()));
        }
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        let here = (308, "https://192.0.2.1:8443/".to_owned());
        for host in [None, Some(""), Some("evil.example/"), Some("user@evil.example"), Some("a b"), Some("é")]
        {
            assert_eq!(told(Method::GET, host, "/"), here, "{host:?}");
        }
        // A request for another origin (a proxy's form) is answered for this one.
        assert_eq!(told(Method::GET, Some("n"), "http://evil.example/x"), (308, "https://n/x".to_owned()));
    }
}
