//! A camera that does what a test says, byte for byte.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A session description with one H.264 track at `track1`.
pub(crate) const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\n\
    a=control:track1\r\n";

/// A request as the camera saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Its whole text.
    pub(crate) text: String,
}

impl Seen {
    /// Its first word.
    pub(crate) fn method(&self) -> &str {
        self.text.split(' ').next().unwrap()
    }

    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let wanted = format!("{}:", name.to_lowercase());
        let line = self.text.lines().find(|line| line.to_lowercase().starts_with(&wanted));
        line.map_or("", |line| line[wanted.len()..].trim())
    }
}

/// The camera's end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    /// The next request; `None` when the client closed.
    pub(crate) async fn request(&mut self) -> Option<Seen> {
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
                return Some(Seen { text });
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends bytes as they are; a client that closed is not an error.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Answers `request` with 200, `headers` (each ending in CRLF) and `body`.
    pub(crate) async fn ok(&mut self, request: &Seen, headers: &str, body: &str) {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let cseq = request.header("CSeq");
        self.send(format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{headers}{length}\r\n{body}")).await;
    }

    /// Answers like an ordinary camera up to and including `SETUP`; returns the next request.
    pub(crate) async fn until_play(&mut self, sdp: &str) -> Seen {
        loop {
            let request = self.request().await.unwrap();
            match request.method() {
                "OPTIONS" => self.ok(&request, "Public: OPTIONS, DESCRIBE, GET_PARAMETER\r\n", "").await,
                "DESCRIBE" => self.ok(&request, "Content-Type: application/sdp\r\n", sdp).await,
                "SETUP" => {
                    let transport = request.header("Transport").to_owned();
                    let headers =
                        format!("Session: 12345678;timeout=60\r\nTransport: {transport};ssrc=1\r\n");
                    self.ok(&request, &headers, "").await;
                }
                _ => return request,
            }
        }
    }

    /// Reads until the client closes, so that it is not cut off by a reset.
    pub(crate) async fn wait_for_close(mut self) {
        while self.request().await.is_some() {}
    }
}

impl Peer {
    /// Reads until the client closes, whatever it says.
    pub(crate) async fn wait_for_bytes_to_end(mut self) {
        while self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) > 0 {}
    }
}

/// Starts a camera that plays `script` to its first client.
pub(crate) async fn camera<S, F>(script: S) -> SocketAddr
where
    S: FnOnce(Peer) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Peer { stream, buffer: Vec::new() }).await;
    });
    addr
}

/// An interleaved frame.
pub(crate) fn interleaved(channel: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[b'$', channel], &length[..], payload].concat()
}

/// An RTP packet with a single NAL unit, marked as the end of its access unit.
pub(crate) fn rtp(sequence: u16, timestamp: u32, unit: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&1u32.to_be_bytes());
    packet.extend_from_slice(unit);
    packet
}
