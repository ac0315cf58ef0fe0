//! A client that is driven by hand: raw requests, raw answers, every frame as it came.

use std::net::SocketAddr;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_media::rtsp::{Response, RtspMessage};
use keepwatch_media::text::{Frame, Framer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::within;

/// What bytes travel over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A hand-driven client.
pub(crate) struct Hand {
    pub(crate) stream: Box<dyn Wire>,
    buffer: Vec<u8>,
    framer: Framer,
    base: String,
    /// The number of the last request.
    pub(crate) cseq: u32,
    /// Media frames that came before the answers.
    pub(crate) passed: Vec<(u8, Vec<u8>)>,
}

/// What came.
enum Came {
    Answer(Response),
    Frame(u8, Vec<u8>),
}

impl Hand {
    /// A client of `path` at `addr`.
    pub(crate) async fn at(addr: SocketAddr, path: &str) -> Self {
        Self::over(Box::new(TcpStream::connect(addr).await.unwrap()), addr, path)
    }

    /// The same over TLS, with the server of the certificate `pinned`.
    pub(crate) async fn secure(addr: SocketAddr, path: &str, pinned: Fingerprint) -> Self {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(keepwatch_tls::client::config(Some(pinned)));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        Self::over(Box::new(stream), addr, path)
    }

    fn over(stream: Box<dyn Wire>, addr: SocketAddr, path: &str) -> Self {
        let base = format!("rtsp://{addr}{path}");
        Self { stream, buffer: vec![], framer: Framer::new(), base, cseq: 0, passed: vec![] }
    }

    /// Sends bytes; that the server closed shows later.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// What comes next; `None` when the server closed.
    async fn next(&mut self) -> Option<Came> {
        loop {
            let mut at = 0;
            let came = self.framer.next(&self.buffer, &mut at).unwrap().map(|frame| match frame {
                Frame::Text(message) => match message.try_into() {
                    Ok(RtspMessage::Response(response)) => Came::Answer(response),
                    other => panic!("{other:?}"),
                },
                Frame::Interleaved { channel, data } => Came::Frame(channel, data.to_vec()),
            });
            self.buffer.drain(..at);
            if came.is_some() {
                return came;
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next answer; `None` when the server closed.
    pub(crate) async fn answer(&mut self) -> Option<Response> {
        within(async {
            loop {
                match self.next().await? {
                    Came::Answer(response) => return Some(response),
                    Came::Frame(channel, data) => self.passed.push((channel, data)),
                }
            }
        })
        .await
    }

    /// The next frame: its channel and its data; `None` when the server closed.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        match self.next().await? {
            Came::Answer(response) => panic!("{response:?} was not asked for"),
            Came::Frame(channel, data) => Some((channel, data)),
        }
    }

    /// Sends `METHOD /suffix` with `headers`.
    pub(crate) async fn request(&mut self, method: &str, suffix: &str, headers: &str) {
        self.cseq += 1;
        let (base, cseq) = (&self.base, self.cseq);
        let request = format!("{method} {base}{suffix} RTSP/1.0\r\nCSeq: {cseq}\r\n{headers}\r\n");
        self.send(request).await;
    }

    /// Sends `METHOD /suffix` with `headers` and returns the answer.
    pub(crate) async fn ask(&mut self, method: &str, suffix: &str, headers: &str) -> Response {
        self.request(method, suffix, headers).await;
        let response = self.answer().await.unwrap();
        assert_eq!(response.cseq(), Some(self.cseq));
        response
    }

    /// Waits until the server closes, whatever it says before.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let _ = within(self.stream.read_to_end(&mut rest)).await;
    }
}
