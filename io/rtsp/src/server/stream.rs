//! The bytes of a connection, plain or encrypted (RFC 8446), read and written without waiting.
//!
//! The encryption is driven here rather than wrapped in a stream that waits, so that both kinds are written in the
//! same way: what the socket does not take at once stays with the caller, who decides what becomes of it.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Bytes read at a time: requests and receiver reports are short.
const READ_BYTES: usize = 4 * 1024;

/// Most bytes decrypted before they are looked at: a few records.
const DECRYPTED_BYTES_MAX: usize = 64 * 1024;

/// A connection's bytes.
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<Tls>),
}

/// An encrypted connection.
pub(super) struct Tls {
    tcp: TcpStream,
    session: ServerConnection,
}

/// Whether the client may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Open,
    Closed,
}

impl Stream {
    /// `tcp`, encrypted when there is a `config`.
    pub(super) fn new(tcp: TcpStream, config: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        Ok(match config {
            None => Self::Plain(tcp),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                Self::Tls(Box::new(Tls { tcp, session }))
            }
        })
    }

    /// The socket.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    /// Whether encryption is still being agreed on.
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.is_handshaking(),
        }
    }

    /// Whether bytes that were taken by [`write`](Self::write) wait for the socket.
    pub(super) fn is_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.wants_write(),
        }
    }

    /// Appends what has come to `out`.
    pub(super) fn read(&mut self, out: &mut Vec<u8>) -> io::Result<Side> {
        match self {
            Self::Plain(tcp) => {
                let mut buffer = [0; READ_BYTES];
                match tcp.try_read(&mut buffer) {
                    Ok(0) => return Ok(Side::Closed),
                    Ok(read) => out.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                Ok(Side::Open)
            }
            Self::Tls(tls) => tls.read(out),
        }
    }

    /// Takes as many of `bytes` as it can; returns how many. None are taken while the socket is full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => or_nothing(tcp.try_write(bytes)),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Hands pending bytes to the socket.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Ends the server's side.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => {
                tls.session.send_close_notify();
                tls.flush()?;
                tls.tcp.shutdown().await
            }
        }
    }
}

impl Tls {
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<Side> {
        let begin = out.len();
        while out.len() - begin < DECRYPTED_BYTES_MAX {
            match self.session.read_tls(&mut Socket(&self.tcp)) {
                // A client that ends without a notice is as gone as one that gives it.
                Ok(0) => return Ok(Side::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let state = self.session.process_new_packets();
            // On an error this tells the client; in the handshake it goes on with it.
            self.flush()?;
            let mut left = state.map_err(io::Error::other)?.plaintext_bytes_to_read();
            let mut buffer = [0; READ_BYTES];
            while left > 0 {
                let read = self.session.reader().read(&mut buffer)?;
                out.extend_from_slice(buffer.get(..read).unwrap_or_default());
                left = if read == 0 { 0 } else { left.saturating_sub(read) };
            }
        }
        Ok(Side::Open)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            self.flush()?;
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() || self.session.wants_write() {
                return Ok(taken);
            }
            // Takes as much as its buffer holds, which is empty here.
            taken += self.session.writer().write(rest)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if or_nothing(self.session.write_tls(&mut Socket(&self.tcp)))? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// A socket that says so when it would have to wait.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A full socket takes nothing, which is no error.
fn or_nothing(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
