//! Connections that become something else: they keep their place, and are told of the end.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;

use super::*;
use crate::Place;

/// Answers each byte with itself until the server ends, and then says so.
pub(super) async fn echo(Extension(place): Extension<Place>, mut request: Request) -> Response {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let mut byte = [0; 1];
        loop {
            tokio::select! {
                read = stream.read(&mut byte) => match read {
                    Ok(1) => stream.write_all(&byte).await.unwrap(),
                    Ok(_) | Err(_) => return,
                },
                () = place.ending() => {
                    let _ = stream.write_all(b"!").await;
                    return;
                }
            }
        }
    });
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

impl Node {
    async fn upgraded(&self, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.web.addresses()[0]).await.unwrap();
        let head = format!(
            "GET /api/v1/upgrade HTTP/1.1\r\nHost: n\r\nConnection: upgrade\r\nUpgrade: echo\r\n{}\r\n\r\n",
            bearer(token)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
        assert!(read.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&read));
        stream
    }
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_and_is_told_of_the_end() {
    let limits = Limits { connections_max: 1, ..Limits::DEFAULT };
    let node = Node::start_within(limits).await;
    let token = node.token().await;
    let mut socket = node.upgraded(&token).await;
    let mut byte = [0; 1];
    socket.write_all(b"a").await.unwrap();
    socket.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"a");
    // The only place is taken: another client waits until the socket is closed.
    {
        let mut other = std::pin::pin!(node.ask("GET", "/api/v1/health", &[], ""));
        assert!(tokio::time::timeout(Duration::from_millis(200), other.as_mut()).await.is_err());
        drop(socket);
        assert_eq!(other.await.status, 200);
    }

    let mut socket = node.upgraded(&token).await;
    node.web.shutdown().await;
    socket.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"!");
}
