//! A client for a node's Unix socket: small JSON answers whole, exports as a stream.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// Largest answer that is taken whole: a coverage of many cameras has a few MiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest problem document that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// How long a node may take until its answer begins. A large export begins once its index is read.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Why a node gave no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no node answers on {}; is it running?", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is another user's.
    #[error("{} belongs to another user; run this as that user or as root", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node refused.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The stable code; empty when the answer had none.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// The answer ended early or was no HTTP.
    #[error("the answer of the node broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The node took too long.
    #[error("the node did not answer within {} s", ANSWER_PATIENCE.as_secs())]
    Silent,
    /// The answer is not what the API promises.
    #[error("the answer of the node is not understood; is it of another version?")]
    Unexpected(#[source] serde_json::Error),
    /// What was received cannot be written.
    #[error("the answer cannot be written")]
    Write(#[source] io::Error),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProblemDocument {
    code: String,
    detail: String,
}

/// Speaks to the node that listens on a Unix socket; one connection per request.
#[derive(Clone, Debug)]
pub struct SocketClient {
    path: PathBuf,
}

impl SocketClient {
    /// A client for the socket at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gets `target` (path and query) as JSON.
    pub async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, target, Body::empty()).await?;
        json(response).await
    }

    /// Posts `body` to `target` (path and query), both as JSON.
    pub async fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unexpected)?;
        let response = self.send(Method::POST, target, Body::from(body)).await?;
        json(response).await
    }

    /// Puts `body` to `target` (path and query), both as JSON.
    pub async fn put<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unexpected)?;
        let response = self.send(Method::PUT, target, Body::from(body)).await?;
        json(response).await
    }

    /// Deletes `target` (path and query).
    pub async fn delete<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        let response = self.send(Method::DELETE, target, Body::empty()).await?;
        json(response).await
    }

    /// Gets `target` (path and query) into the writer that `make` gives once the node has agreed, and returns the
    /// number of bytes and the writer. `progress` is told the bytes so far and the bytes in all, where the node said
    /// so. Writes block: this is for a program that does nothing else meanwhile.
    pub async fn get_into<W: Write>(
        &self,
        target: &str,
        make: impl FnOnce() -> io::Result<W>,
        mut progress: impl FnMut(u64, Option<u64>),
    ) -> Result<(u64, W), ClientError> {
        let response = self.send(Method::GET, target, Body::empty()).await?;
        let total = hyper::body::Body::size_hint(response.body()).exact();
        let mut writer = make().map_err(ClientError::Write)?;
        let mut body = response.into_body();
        let mut written = 0_u64;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken(error.into()))?;
            if let Some(data) = frame.data_ref() {
                writer.write_all(data).map_err(ClientError::Write)?;
                written = written.saturating_add(data.len() as u64);
                progress(written, total);
            }
        }
        writer.flush().map_err(ClientError::Write)?;
        Ok((written, writer))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| {
            let path = self.path.clone();
            if source.kind() == io::ErrorKind::PermissionDenied {
                ClientError::NotPermitted { path, source }
            } else {
                ClientError::NotRunning { path, source }
            }
        })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.into());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with the response's body or with the socket; what breaks it is seen by the sender as well.
        drop(tokio::spawn(connection));
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| ClientError::Broken(error.into()))?;
        let response = tokio::time::timeout(ANSWER_PATIENCE, sender.send_request(request))
            .await
            .map_err(|_| ClientError::Silent)?
            .map_err(broken)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let body =
        Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(ClientError::Broken)?;
    let bytes = body.to_bytes();
    // An answer without a body (204) is JSON's null.
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(text).map_err(ClientError::Unexpected)
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = Limited::new(response.into_body(), PROBLEM_BYTES_MAX).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    let (code, detail) = document_of(status, &bytes);
    ClientError::Refused { status, code, detail }
}

/// The stable code and the sentence of a refusal; of one without a problem document the code is empty.
pub(crate) fn document_of(status: StatusCode, bytes: &[u8]) -> (String, String) {
    let ProblemDocument { code, detail } = serde_json::from_slice(bytes).unwrap_or_default();
    let detail = if detail.is_empty() { format!("the node answered {status}") } else { detail };
    (code, detail)
}
