//! The RTSP connection of a session, with TLS or without, in both of its phases.
//!
//! Reading and writing never block: they do what is possible and say so. While requests are made, and in a replay
//! that runs freely, the runtime tells when more is possible; a live session is taken out of the runtime's readiness
//! queue ([`Link::leave_runtime`]) and read on a timer.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_tls::client::{OtherCertificate, config, server_name, shown};
use rustls::ClientConnection;
use socket2::SockRef;

use super::error::ClientError;
use crate::scratch;

/// More than the longest TLS record with its header, RFC 8446 §5.2: room for what an earlier read left over.
const RECORD_BYTES_MAX: usize = 18 * 1024;

/// Bytes that may wait to be sent before further keepalives and answers are left out: a server that takes no
/// requests is not to be helped by more of them.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// Bytes read at a time while requests are made; answers are short.
const ANSWER_BYTES: usize = 8 * 1024;

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// Bytes at the beginning of the buffer; none when the peer closed.
    pub(super) bytes: usize,
    /// Whether there may be more: a read that left room has drained the socket, and asking again would only be told
    /// so.
    pub(super) more: bool,
}

/// A connection, and what waits to be sent on it.
pub(super) struct Link {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that neither the socket nor TLS took yet.
    unsent: Vec<u8>,
    /// Whether the peer said in TLS that nothing more comes.
    closed: bool,
    /// The fingerprint of the server's certificate.
    certificate: Option<Fingerprint>,
}

/// A socket that does not block.
enum Socket {
    /// Known to the runtime, which wakes the task when something can be done.
    Registered(tokio::net::TcpStream),
    /// Known to nobody.
    Timed(std::net::TcpStream),
}

impl Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Registered(stream) => stream.try_read(buffer),
            Self::Timed(stream) => (&*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Registered(stream) => stream.try_write(bytes),
            Socket::Timed(stream) => (&*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    /// A connection without TLS.
    pub(super) const fn plain(stream: tokio::net::TcpStream) -> Self {
        Self {
            socket: Socket::Registered(stream),
            tls: None,
            unsent: Vec::new(),
            closed: false,
            certificate: None,
        }
    }

    /// A connection with TLS, once the server has shown the certificate that is `pinned`, or any.
    pub(super) async fn secured(
        stream: tokio::net::TcpStream,
        host: &str,
        pinned: Option<Fingerprint>,
    ) -> Result<Self, ClientError> {
        let address = stream.peer_addr().map_err(ClientError::Unreachable)?.ip();
        let tls = ClientConnection::new(config(pinned), server_name(host, address));
        let mut tls = Box::new(tls.map_err(|error| ClientError::Tls(error.to_string()))?);
        match shake_hands(&stream, &mut tls).await {
            Ok(()) => Ok(Self { certificate: shown(&tls), tls: Some(tls), ..Self::plain(stream) }),
            Err(error) => match OtherCertificate::behind(&error) {
                Some(OtherCertificate { seen }) => Err(ClientError::Certificate { seen }),
                None => Err(ClientError::Tls(error.to_string())),
            },
        }
    }

    /// The fingerprint of the server's certificate; `None` without TLS.
    pub(super) const fn certificate(&self) -> Option<Fingerprint> {
        self.certificate
    }

    /// The two ends of the connection: here and there.
    pub(super) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        match &self.socket {
            Socket::Registered(stream) => Ok((stream.local_addr()?, stream.peer_addr()?)),
            Socket::Timed(stream) => Ok((stream.local_addr()?, stream.peer_addr()?)),
        }
    }

    /// Takes the socket out of the runtime's readiness queue: it is to be read on a timer.
    pub(super) fn leave_runtime(self) -> io::Result<Self> {
        let socket = match self.socket {
            Socket::Registered(stream) => Socket::Timed(stream.into_std()?),
            Socket::Timed(stream) => Socket::Timed(stream),
        };
        Ok(Self { socket, ..self })
    }

    /// Reads what has come, as much as fits and at most `limit` bytes; an error of kind `WouldBlock` when nothing
    /// has.
    ///
    /// With TLS the second half of `buffer` holds what is not yet deciphered, and that is what is limited.
    pub(super) fn read(&mut self, buffer: &mut [u8], limit: usize) -> io::Result<Filled> {
        let Some(tls) = &mut self.tls else {
            let limit = limit.min(buffer.len());
            let bytes = self.socket.read(buffer.get_mut(..limit).unwrap_or_default())?;
            return Ok(Filled { bytes, more: bytes == limit });
        };
        if self.closed {
            return Ok(Filled { bytes: 0, more: false });
        }
        // What comes out is shorter than what goes in, but for a record that was begun earlier.
        let half = buffer.len().saturating_sub(RECORD_BYTES_MAX) / 2;
        let (plain, sealed) = buffer.split_at_mut(half.saturating_add(RECORD_BYTES_MAX).min(buffer.len()));
        let limit = limit.min(sealed.len());
        let sealed = sealed.get_mut(..limit).unwrap_or_default();
        let read = self.socket.read(sealed)?;
        let more = read == sealed.len();
        let mut sealed = sealed.get(..read).unwrap_or_default();
        if sealed.is_empty() {
            return Ok(Filled { bytes: 0, more });
        }
        let mut bytes = 0;
        while !sealed.is_empty() {
            tls.read_tls(&mut sealed)?;
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            while let Some(room) = plain.get_mut(bytes..).filter(|room| !room.is_empty()) {
                match tls.reader().read(room) {
                    // What came before the goodbye is still handed over; the goodbye is for the next read, as TLS
                    // tells it once and the socket may stay open.
                    Ok(0) => {
                        self.closed = true;
                        return Ok(Filled { bytes, more: true });
                    }
                    Ok(read) => bytes = bytes.saturating_add(read),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        // Records that carry no data, such as new session tickets.
        if bytes == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(Filled { bytes, more }) }
    }

    /// Where to put what is to be sent; [`flush`](Self::flush) sends it.
    pub(super) const fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// Whether so much waits that what can be left out should be.
    pub(super) const fn is_congested(&self) -> bool {
        self.unsent.len() > UNSENT_BYTES_MAX
    }

    /// Bounds what the kernel holds of what was not read yet.
    pub(super) fn bound_unread(&self, bytes: usize) -> io::Result<()> {
        match &self.socket {
            Socket::Registered(stream) => SockRef::from(stream).set_recv_buffer_size(bytes),
            Socket::Timed(stream) => SockRef::from(stream).set_recv_buffer_size(bytes),
        }
    }

    /// Sends what the socket takes; returns whether that was all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        loop {
            if self.unsent.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write()) {
                return Ok(true);
            }
            let written = match &mut self.tls {
                None => (&self.socket).write(&self.unsent),
                Some(tls) => {
                    let taken = tls.writer().write(&self.unsent)?;
                    self.unsent.drain(..taken.min(self.unsent.len()));
                    tls.write_tls(&mut &self.socket)
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if self.tls.is_none() => {
                    self.unsent.drain(..written.min(self.unsent.len()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends `bytes`, waiting until all are taken.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        while !self.flush()? {
            self.writable().await?;
        }
        Ok(())
    }

    /// Waits for bytes and appends some to `out`; returns how many, none when the peer closed.
    pub(super) async fn receive(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let read: io::Result<usize> = scratch::with_read(|buffer| {
                let filled = self.read(buffer, ANSWER_BYTES)?;
                out.extend_from_slice(buffer.get(..filled.bytes).unwrap_or_default());
                Ok(filled.bytes)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Waits until there may be something to read; for ever when the socket left the runtime.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Registered(stream) => stream.readable().await,
            Socket::Timed(_) => std::future::pending().await,
        }
    }

    /// Waits until something can be sent; for ever when the socket left the runtime.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Registered(stream) => stream.writable().await,
            Socket::Timed(_) => std::future::pending().await,
        }
    }

    /// Whether something waits to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

/// Drives a handshake to its end. The server sends nothing of its own before it is asked.
async fn shake_hands(stream: &tokio::net::TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            let mut socket = Trying(stream);
            match tls.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
            continue;
        }
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                let mut sealed = buffer.get(..read).unwrap_or_default();
                while !sealed.is_empty() {
                    tls.read_tls(&mut sealed)?;
                    if let Err(error) = tls.process_new_packets() {
                        // The alert that tells the server why.
                        let _ = tls.write_tls(&mut Trying(stream));
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket of the runtime, for one attempt to write.
struct Trying<'a>(&'a tokio::net::TcpStream);

impl Write for Trying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("addresses", &self.addresses().ok())
            .field("tls", &self.tls.is_some())
            .field("unsent", &self.unsent.len())
            .finish_non_exhaustive()
    }
}
