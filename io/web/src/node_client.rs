//! A client for the routes that nodes have for each other: one kept connection, every request with a time by which it is over.
//!
//! The other node is known by its key ([`keepwatch_tls::peer`]): whoever took over its address is told apart from it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use keepwatch_tls::NodePublicKey;
use keepwatch_tls::peer::{self, OtherNode};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::document_of;

/// Largest answer: a whole configuration with its users.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Why another node gave no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Nobody listens there, or the connection broke before the request was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    Late,
    /// Another node has its address.
    #[error(transparent)]
    Other(OtherNode),
    /// What listens there speaks TLS, and not what nodes speak.
    #[error("no node of Keepwatch listens there, or one that does not speak to other nodes")]
    NoNode,
    /// The connection broke after the request was sent: it may have been carried out.
    #[error("its answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The stable code; empty when the answer had none.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// The answer is not what nodes promise each other.
    #[error("its answer is not understood; is it of another version?")]
    Unexpected(#[source] serde_json::Error),
}

/// Speaks to one node.
pub struct NodeClient {
    address: SocketAddr,
    connector: TlsConnector,
    kept: Option<SendRequest<Body>>,
    shown: Option<NodePublicKey>,
    answer_bytes_max: usize,
}

impl NodeClient {
    /// A client for the node at `address`, known by what `tls` says ([`peer::client_config`]).
    pub fn new(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self { address, connector: tls.into(), kept: None, shown: None, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// Reads no answer that is longer: for who asks nodes that it does not know.
    pub fn answered_within(self, bytes: usize) -> Self {
        Self { answer_bytes_max: bytes.min(ANSWER_BYTES_MAX), ..self }
    }

    /// Where the node is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that the node at the other end has proven to have; `None` before the first answer.
    pub fn key(&self) -> Option<NodePublicKey> {
        self.shown
    }

    /// Gets `target` (path and query) as JSON, within `patience`.
    ///
    /// # Errors
    /// See [`NodeError`]; after any but a refusal the next request makes a connection of its own.
    pub async fn get<T: DeserializeOwned>(
        &mut self,
        target: &str,
        patience: Duration,
    ) -> Result<T, NodeError> {
        self.ask(Method::GET, target, Body::empty(), patience).await
    }

    /// Posts `body` to `target` (path and query), both as JSON, within `patience`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        target: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, NodeError> {
        let body = serde_json::to_vec(body).map_err(NodeError::Unexpected)?;
        self.ask(Method::POST, target, Body::from(body), patience).await
    }

    /// Deletes `target` (path and query), within `patience`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete<T: DeserializeOwned>(
        &mut self,
        target: &str,
        patience: Duration,
    ) -> Result<T, NodeError> {
        self.ask(Method::DELETE, target, Body::empty(), patience).await
    }

    /// Puts `pieces`, one behind the other, to `target` (path and query), within `patience`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn put<T: DeserializeOwned>(
        &mut self,
        target: &str,
        pieces: Vec<Bytes>,
        patience: Duration,
    ) -> Result<T, NodeError> {
        self.ask(Method::PUT, target, Body::new(Parts(pieces.into_iter())), patience).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        target: &str,
        body: Body,
        patience: Duration,
    ) -> Result<T, NodeError> {
        // Whatever happens on the way, a connection is kept only when its answer was read to the end.
        let kept = self.kept.take();
        let (sender, answer) = timeout(patience, self.converse(kept, method, target, body))
            .await
            .map_err(|_| NodeError::Late)??;
        self.kept = Some(sender);
        let (status, bytes) = answer;
        if !status.is_success() {
            let (code, detail) = document_of(status, &bytes);
            return Err(NodeError::Refused { status, code, detail });
        }
        // An answer without a body (204) is JSON's null.
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).map_err(NodeError::Unexpected)
    }

    /// Gets `target` (path and query), the answer to which comes piece by piece and may be of any length; it must begin
    /// within `patience`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn stream(&mut self, target: &str, patience: Duration) -> Result<NodeStream, NodeError> {
        let kept = self.kept.take();
        let begun = self.begin(kept, Method::GET, target, Body::empty());
        let (sender, response) = timeout(patience, begun).await.map_err(|_| NodeError::Late)??;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
            let body = timeout(patience, body).await.map_err(|_| NodeError::Late)?;
            let (code, detail) = document_of(status, &body.map_err(NodeError::Broken)?.to_bytes());
            return Err(NodeError::Refused { status, code, detail });
        }
        let (head, body) = response.into_parts();
        Ok(NodeStream { headers: head.headers, body, _sender: sender })
    }

    async fn converse(
        &mut self,
        kept: Option<SendRequest<Body>>,
        method: Method,
        target: &str,
        body: Body,
    ) -> Result<(SendRequest<Body>, (StatusCode, Vec<u8>)), NodeError> {
        let (sender, response) = self.begin(kept, method, target, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.answer_bytes_max).collect().await;
        let bytes = body.map_err(NodeError::Broken)?.to_bytes().to_vec();
        Ok((sender, (status, bytes)))
    }

    async fn begin(
        &mut self,
        kept: Option<SendRequest<Body>>,
        method: Method,
        target: &str,
        body: Body,
    ) -> Result<(SendRequest<Body>, Response<Incoming>), NodeError> {
        // The node may have been restarted, or have closed what was idle.
        let mut usable = None;
        if let Some(mut kept) = kept
            && kept.ready().await.is_ok()
        {
            usable = Some(kept);
        }
        let mut sender = match usable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let broken = |error: hyper::Error| NodeError::Broken(error.into());
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "node")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| NodeError::Broken(error.into()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((sender, response))
    }

    async fn connect(&mut self) -> Result<SendRequest<Body>, NodeError> {
        let stream = TcpStream::connect(self.address).await.map_err(NodeError::Unreachable)?;
        // A heartbeat must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(NodeError::Unreachable)?;
        let name = self.address.ip().into();
        let stream = self.connector.connect(name, stream).await.map_err(|error| {
            match (OtherNode::behind(&error), error.kind()) {
                (Some(other), _) => NodeError::Other(other),
                (None, io::ErrorKind::InvalidData) => NodeError::NoNode,
                (None, _) => NodeError::Unreachable(error),
            }
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(peer::ALPN) {
            return Err(NodeError::NoNode);
        }
        self.shown = peer::shown(stream.get_ref().1.peer_certificates());
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| NodeError::Unreachable(io::Error::other(error)))?;
        // It ends with the sender; what breaks it is seen by the sender as well.
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}

/// A body that is sent piece by piece, none of which is copied.
struct Parts(std::vec::IntoIter<Bytes>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.0.as_slice().iter().map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX));
        SizeHint::with_exact(bytes.sum())
    }
}

/// An answer that comes piece by piece. Nothing is read ahead of it: who takes nothing lets the other node wait.
pub struct NodeStream {
    headers: HeaderMap,
    body: Incoming,
    /// The connection ends with it.
    _sender: SendRequest<Body>,
}

impl NodeStream {
    /// What the answer says under `name`; `None` when nothing, or nothing that is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next piece, which must come within `patience`; `None` at the end.
    ///
    /// # Errors
    /// [`NodeError::Late`] and [`NodeError::Broken`].
    pub async fn piece(&mut self, patience: Duration) -> Result<Option<Bytes>, NodeError> {
        loop {
            let frame = timeout(patience, self.body.frame()).await.map_err(|_| NodeError::Late)?;
            let Some(frame) = frame else { return Ok(None) };
            // What is no data is a trailer, of which nodes have none.
            if let Ok(data) = frame.map_err(|error| NodeError::Broken(error.into()))?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl std::fmt::Debug for NodeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeStream")
    }
}

impl std::fmt::Debug for NodeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeClient({})", self.address)
    }
}
