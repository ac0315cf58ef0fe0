//! Connections to a node: TLS with whatever certificate it shows, a login, requests, and messages of a WebSocket.

use std::net::SocketAddr;

use keepwatch_tls::client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;

/// A connection to a node.
pub(crate) type Link = BufReader<TlsStream<TcpStream>>;

/// A node that one is logged in to.
pub(crate) struct Node {
    address: SocketAddr,
    token: String,
}

impl Node {
    pub(crate) async fn login(address: SocketAddr) -> Result<Self, Failure> {
        let mut node = Self { address, token: String::new() };
        let body =
            json!({"user": "admin", "password": std::env::var("KEEPWATCH_ADMIN_PASSWORD")?}).to_string();
        let mut link = node.connect().await?;
        let request = format!(
            "POST /api/v1/login HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        link.write_all(request.as_bytes()).await?;
        let status = head(&mut link).await?;
        let mut answer = String::new();
        link.read_to_string(&mut answer).await?;
        let answer: Value = serde_json::from_str(&answer)?;
        node.token = answer["token"].as_str().ok_or(status)?.to_owned();
        Ok(node)
    }

    pub(crate) async fn connect(&self) -> Result<Link, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = client::server_name("localhost", self.address.ip());
        let stream = TlsConnector::from(client::config(None)).connect(name, stream).await?;
        Ok(BufReader::with_capacity(1 << 16, stream))
    }

    /// Asks for `path` and reads the head of the answer, whose body ends with the connection.
    pub(crate) async fn get(&self, link: &mut Link, path: &str) -> Result<(), Failure> {
        let token = &self.token;
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        link.write_all(request.as_bytes()).await?;
        let status = head(link).await?;
        if status.contains(" 200 ") { Ok(()) } else { Err(format!("{path}: {status}").into()) }
    }

    /// Opens the WebSocket at `path`.
    pub(crate) async fn upgrade(&self, path: &str) -> Result<Link, Failure> {
        let mut link = self.connect().await?;
        let token = &self.token;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2VlcHdhdGNoIHRlc3RpbmcuLg==\r\n\r\n"
        );
        link.write_all(request.as_bytes()).await?;
        // A page says so at once; one that does not is waited for.
        let said = br#"{"playable":["avc1"]}"#;
        let status = head(&mut link).await?;
        if !status.contains(" 101 ") {
            return Err(format!("{path}: {status}").into());
        }
        // A text that is masked with zeros (RFC 6455 §5.3).
        let length = 0x80 | u8::try_from(said.len())?;
        link.write_all(&[&[0x81, length, 0, 0, 0, 0], &said[..]].concat()).await?;
        link.flush().await?;
        Ok(link)
    }
}

/// Reads a head; returns its first line.
async fn head(link: &mut Link) -> Result<String, Failure> {
    let mut first = String::new();
    link.read_line(&mut first).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if link.read_line(&mut line).await? == 0 || line.trim_end().is_empty() {
            return Ok(first);
        }
    }
}

/// What a WebSocket told.
pub(crate) enum Message {
    Text,
    Skipped,
    Media,
}

/// Reads the next message into `data`.
pub(crate) async fn message(link: &mut Link, data: &mut Vec<u8>) -> Result<Message, Failure> {
    loop {
        let head = link.read_u16().await?;
        let bytes = match head & 0x7f {
            126 => u64::from(link.read_u16().await?),
            127 => link.read_u64().await?,
            short => u64::from(short),
        };
        data.resize(usize::try_from(bytes)?, 0);
        link.read_exact(data).await?;
        match head >> 8 {
            0x81 if data.starts_with(b"{\"type\":\"skipped\"") => return Ok(Message::Skipped),
            0x81 => return Ok(Message::Text),
            0x82 if data.get(4..8) == Some(b"moof") => return Ok(Message::Media),
            0x88 => return Err(format!("closed: {}", String::from_utf8_lossy(data)).into()),
            _ => {}
        }
    }
}
