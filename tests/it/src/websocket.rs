//! A client of WebSockets (RFC 6455), as small as the tests allow.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// What masks every frame of a client; the server has to take it off again (RFC 6455 §5.3).
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// A connection that was upgraded.
#[derive(Debug)]
pub struct WebSocket {
    stream: BufReader<TcpStream>,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A text, which is JSON.
    Text(Value),
    /// Bytes.
    Binary(Vec<u8>),
    /// The end: its code and reason.
    Close(u16, String),
}

impl WebSocket {
    /// Sends `request`, which asks for the upgrade, and takes the answer.
    pub(crate) fn open(mut stream: TcpStream, request: &str) -> Result<Self> {
        stream.write_all(request.as_bytes())?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 101 "), "no upgrade but {line:?}");
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                return Ok(Self { stream });
            }
        }
    }

    /// Sends a text.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.send_frame(0x81, text.as_bytes())
    }

    /// Says that it lives, unasked (RFC 6455 §5.5.3).
    pub fn live(&mut self) -> Result<()> {
        self.send_frame(0x8a, &[])
    }

    /// The next message within `limit`; `None` when none came. Answers pings.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<Received>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.fill_buf() {
                Ok([]) => bail!("the connection ended without a farewell"),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
            // A frame that was begun comes whole, or the server is broken.
            self.stream.get_ref().set_read_timeout(Some(Duration::from_secs(30)))?;
            let (kind, data) = self.frame()?;
            match kind {
                0x81 => return Ok(Some(Received::Text(serde_json::from_slice(&data)?))),
                0x82 => return Ok(Some(Received::Binary(data))),
                0x88 => {
                    let (code, reason) = data.split_first_chunk::<2>().context("a close without a code")?;
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    return Ok(Some(Received::Close(u16::from_be_bytes(*code), reason)));
                }
                0x89 => self.send_frame(0x8a, &data)?,
                0x8a => {}
                kind => bail!("a frame of kind {kind:#x}"),
            }
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        ensure!(head[1] & 0x80 == 0, "a server masks nothing");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut data = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut data)?;
        Ok((head[0], data))
    }

    fn send_frame(&mut self, kind: u8, data: &[u8]) -> Result<()> {
        let mut frame = vec![kind];
        match u8::try_from(data.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(data.len())?.to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(data.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.get_mut().write_all(&frame)?;
        Ok(())
    }
}

/// Connects to an IPv4 address so that kernels hold little of what is not read: what the server's holds follows from the
/// size of segments, which is 64 KiB on a loopback interface unless the client asks for less.
pub(crate) fn connect_narrow(address: SocketAddr) -> Result<TcpStream> {
    const SEGMENT_BYTES: libc::c_int = 536;
    const RECEIVE_BYTES: libc::c_int = 4_096;
    let SocketAddr::V4(address) = address else { bail!("{address} is none of IPv4") };
    let there = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    #[expect(unsafe_code, reason = "options that must be set before the connection is made")]
    // SAFETY: the descriptor is new and owned at once; options and address are plain values of the lengths told.
    let (socket, results) = unsafe {
        let raw = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        ensure!(raw >= 0, "{}", std::io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(raw);
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
        let set = |level, name, value: libc::c_int| {
            libc::setsockopt(raw, level, name, (&raw const value).cast(), length)
        };
        let segment = set(libc::IPPROTO_TCP, libc::TCP_MAXSEG, SEGMENT_BYTES);
        let receive = set(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BYTES);
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>())?;
        (socket, [segment, receive, libc::connect(raw, (&raw const there).cast(), length)])
    };
    ensure!(results == [0; 3], "{results:?}: {}", std::io::Error::last_os_error());
    Ok(TcpStream::from(socket))
}
