//! A client of WebSockets (RFC 6455), as small as the tests allow.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
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

    /// Sends `bytes` as they are, as far as the server takes them within `limit`.
    pub fn send_raw(&mut self, bytes: &[u8], limit: Duration) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(limit))?;
        // Who ends the connection, or takes no more, has done what is looked for.
        let _ = stream.write_all(bytes);
        Ok(())
    }

    /// Reads until the server ends the connection, whatever it says before; an error when it goes on for `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let mut heap = [0; 65_536];
        while Instant::now() < end {
            self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(200)))?;
            match self.stream.read(&mut heap) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // A reset is an end, too.
                Err(_) => return Ok(()),
            }
        }
        bail!("the connection goes on")
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
