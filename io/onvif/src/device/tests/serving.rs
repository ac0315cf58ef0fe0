//! The HTTP server around a device: what is too large, too slow or no HTTP must not keep it from serving others.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fake::Fake;
use crate::device::{DeviceServer, REQUEST_BYTES_MAX};
use crate::soap;

async fn server() -> DeviceServer {
    DeviceServer::bind("127.0.0.1:0".parse().unwrap(), Arc::new(Fake::new())).await.unwrap()
}

/// What comes back until the device closes the connection.
async fn exchange(server: &DeviceServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    // The device may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /onvif/device_service HTTP/1.1\r\nHost: cam\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn ask_time() -> String {
    post(&soap::write(&soap::Header::default(), |writer| writer.within("tds:GetSystemDateAndTime", |_| {})))
}

#[tokio::test]
async fn a_request_over_http_is_answered_as_soap() {
    let server = server().await;
    let answer = exchange(&server, ask_time().as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("application/soap+xml") && answer.contains("UTCDateTime"), "{answer}");
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_too_large_or_no_http_is_refused_and_the_next_is_served() {
    let server = server().await;
    let large = post(&"x".repeat(REQUEST_BYTES_MAX + 1));
    let answer = exchange(&server, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") || answer.is_empty(), "{answer}");
    let endless = format!("POST /onvif/device_service HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    let answer = exchange(&server, endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let answer = exchange(&server, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    let answer = exchange(&server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
    assert!(exchange(&server, ask_time().as_bytes()).await.starts_with("HTTP/1.1 200"));
    server.shutdown().await;
}

#[tokio::test]
async fn an_end_does_not_wait_for_clients_that_are_connected() {
    let server = server().await;
    let mut idle = TcpStream::connect(server.address()).await.unwrap();
    idle.write_all(b"POST /onvif/device_service HTTP/1.1\r\n").await.unwrap();
    timeout(Duration::from_secs(5), server.shutdown()).await.expect("the device ends");
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), idle.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn one_client_cannot_hold_all_connections() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(TcpStream::connect(server.address()).await.unwrap());
    }
    assert_eq!(exchange(&server, ask_time().as_bytes()).await, "", "it has enough");
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(server.address()).await.unwrap();
    other.write_all(ask_time().as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), other.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.shutdown().await;
}
