//! A client of RTSP (RFC 2326), as small as the tests allow: it asks, logs in by digest, and says what came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use keepwatch_media::auth::{Challenge, Credentials};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Rtsp {
    stream: BufReader<TcpStream>,
    address: String,
    credentials: Option<Credentials>,
    challenge: Option<Challenge>,
    asked: u32,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Rtsp {
    /// Connects to `address`, as whom it may be.
    pub fn connect(address: &str, user: Option<(&str, &str)>) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let credentials =
            user.map(|(user, password)| Credentials { user: user.to_owned(), password: password.to_owned() });
        let address = address.to_owned();
        Ok(Self { stream: BufReader::new(stream), address, credentials, challenge: None, asked: 0 })
    }

    /// Asks for `path`, such as `/gate`; logs in when told to.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Said> {
        let said = self.ask_once(method, path, headers)?;
        if said.status != 401 || self.credentials.is_none() {
            return Ok(said);
        }
        let challenges = said.headers.iter().filter(|(name, _)| name == "www-authenticate");
        self.challenge = Challenge::strongest(challenges.map(|(_, value)| value.as_str()));
        self.ask_once(method, path, headers)
    }

    /// The header by which `method` of `path` would be shown to be the user's on this connection.
    pub fn authorization(&self, method: &str, path: &str) -> Option<String> {
        let uri = self.uri(path);
        let (challenge, credentials) = (self.challenge.as_ref()?, self.credentials.as_ref()?);
        Some(challenge.answer(credentials, method, &uri, "0123456789", self.asked))
    }

    /// The same connection, which logs in no more by itself.
    pub fn without_login(self) -> Self {
        Self { credentials: None, ..self }
    }

    /// Sets up the first track over the connection and plays; the answers to both.
    pub fn play(&mut self, path: &str) -> Result<[Said; 2]> {
        let track = format!("{path}/trackID=0");
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let set_up = self.ask("SETUP", &track, &transport)?;
        let session = set_up.header("session").map(str::to_owned).unwrap_or_default();
        let session = session.split(';').next().unwrap_or_default();
        let played = self.ask("PLAY", path, &[("Session", session)])?;
        Ok([set_up, played])
    }

    /// Reads packets until there are none any more; how many came. An error when they go on for `limit`.
    pub fn packets_until_end(&mut self, limit: Duration) -> Result<usize> {
        let end = std::time::Instant::now() + limit;
        let mut packets = 0;
        loop {
            ensure!(std::time::Instant::now() < end, "it goes on after {packets} packets");
            match self.stream.fill_buf() {
                Ok([]) => return Ok(packets),
                Ok([b'$', ..]) => self.skip_packet()?,
                Ok(other) => bail!("not a packet: {:?}", String::from_utf8_lossy(other)),
                // Who does not read what is sent until the end is reset.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(packets),
                Err(error) => return Err(error.into()),
            }
            packets += 1;
        }
    }

    /// Waits for so many packets.
    pub fn packets(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let first = *self.stream.fill_buf()?.first().context("the connection ended")?;
            ensure!(first == b'$', "not a packet");
            self.skip_packet()?;
        }
        Ok(())
    }

    fn skip_packet(&mut self) -> Result<()> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let mut data = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        self.stream.read_exact(&mut data)?;
        Ok(())
    }

    fn uri(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.address)
    }

    /// Asks, and takes the first answer.
    pub fn ask_once(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Said> {
        self.asked += 1;
        let mut request = format!("{method} {} RTSP/1.0\r\nCSeq: {}\r\n", self.uri(path), self.asked);
        if let Some(authorization) = self.authorization(method, path) {
            request.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        while self.stream.fill_buf()?.first() == Some(&b'$') {
            self.skip_packet()?;
        }
        self.said().with_context(|| format!("{method} {path}"))
    }

    fn said(&mut self) -> Result<Said> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status in {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut said = Said { status, headers, body: String::new() };
        let length = said.header("content-length").map_or(Ok(0), str::parse::<usize>)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        said.body = String::from_utf8(body)?;
        Ok(said)
    }
}

impl Said {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// Without what no two answers have in common: their numbers and those used once.
    pub fn comparable(mut self) -> Self {
        self.headers.retain(|(name, _)| !["cseq", "date", "www-authenticate"].contains(&name.as_str()));
        self
    }
}
