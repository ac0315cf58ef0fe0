//! A client of HTTP/1.1 (RFC 9112), as small as the tests allow: one connection for one request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::WebSocket;
use crate::connect::{connect_from, connect_narrow};

/// How long an answer may take; exports of a minute come within one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and a login to it.
#[derive(Clone, Debug)]
pub struct Http {
    place: Place,
    shown: Shown,
}

/// How a client shows who it is.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Bearer(String),
    /// As the node's own page does.
    Cookie(String),
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address.
    Address(SocketAddr),
    /// At a Unix socket, which is reached from every network namespace and knows its user without a login.
    Socket(PathBuf),
}

/// A connection to either.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// The server at `place`, without a login.
    pub const fn new(place: Place) -> Self {
        Self { place, shown: Shown::Nothing }
    }

    /// The same server, without a login.
    pub fn stranger(&self) -> Self {
        Self::new(self.place.clone())
    }

    /// The same server, with a token of a session or of the API.
    pub fn bearing(&self, token: &str) -> Self {
        Self { place: self.place.clone(), shown: Shown::Bearer(token.to_owned()) }
    }

    /// The same server, as a page of its own that has the cookie `NAME=VALUE`.
    pub fn page(&self, cookie: &str) -> Self {
        Self { place: self.place.clone(), shown: Shown::Cookie(cookie.to_owned()) }
    }

    /// The token that it shows as a program.
    pub fn token(&self) -> Option<&str> {
        match &self.shown {
            Shown::Bearer(token) => Some(token),
            Shown::Nothing | Shown::Cookie(_) => None,
        }
    }

    /// Where it is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Logs in and stays so.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        let body = serde_json::json!({"user": user, "password": password});
        let answer = self.request("POST", "/api/v1/login", Some(&body))?;
        let token = answer.success()?["token"].as_str().map(str::to_owned);
        self.shown = Shown::Bearer(token.context("the answer to a login has no token")?);
        Ok(())
    }

    /// Logs in anew, and returns the one session twice: as a program has it, and as a page.
    pub fn session(&self, user: &str, password: &str) -> Result<(Self, Self)> {
        let body = serde_json::json!({"user": user, "password": password});
        let answer = self.stranger().request("POST", "/api/v1/login", Some(&body))?;
        let told = answer.success()?;
        let token = told["token"].as_str().context("the answer to a login has no token")?;
        let cookie = answer.header("set-cookie").context("the answer to a login has no cookie")?;
        Ok((self.bearing(token), self.page(cookie.split(';').next().unwrap_or_default())))
    }

    /// The JSON at `path`; an error when the status is not 200.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.request("GET", path, None)?.success().with_context(|| format!("GET {path}"))
    }

    /// Sends `bytes` as they are, and returns all that comes until the server ends the connection.
    pub fn raw(&self, bytes: &[u8]) -> Result<String> {
        exchange(self.place.connect()?, bytes)
    }

    /// The same from `source`, an address of the loopback interface.
    pub fn raw_from(&self, source: Ipv4Addr, bytes: &[u8]) -> Result<String> {
        let Place::Address(address) = &self.place else { bail!("a socket has no addresses") };
        let stream = connect_from(source, *address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(stream, bytes)
    }

    /// Begins to fetch `path` over a connection of which kernels hold little, and reads no further than the headers.
    pub fn begin(&self, path: &str) -> Result<Begun> {
        let Place::Address(address) = &self.place else { bail!("downloads are tried over the network") };
        let mut stream = connect_narrow(*address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (host, shown) = (self.place.host(), self.shown.headers());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{shown}\r\n")?;
        let mut stream = BufReader::new(stream);
        let answer = Answer::read_head(&mut stream).with_context(|| format!("GET {path}"))?;
        if answer.status != 200 {
            bail!("GET {path} was answered with {}", answer.status);
        }
        Ok(Begun { stream, answer })
    }

    /// Opens a WebSocket.
    pub fn websocket(&self, path: &str) -> Result<WebSocket> {
        self.upgrade(path, |address| Ok(TcpStream::connect_timeout(&address, PATIENCE)?))
    }

    /// Opens one of which kernels hold little that is not read.
    pub fn narrow_websocket(&self, path: &str) -> Result<WebSocket> {
        self.upgrade(path, connect_narrow)
    }

    fn upgrade(
        &self,
        path: &str,
        connect: impl FnOnce(SocketAddr) -> Result<TcpStream>,
    ) -> Result<WebSocket> {
        let Place::Address(address) = &self.place else { bail!("WebSockets are tried over the network") };
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2VlcHdhdGNoIHRlc3RpbmcuLg==\r\n",
            self.place.host()
        );
        request.push_str(&self.shown.headers());
        request.push_str("\r\n");
        let stream = connect(*address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        WebSocket::open(stream, &request).with_context(|| format!("WebSocket {path}"))
    }

    /// Sends one request.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.request_text(method, path, &[], &body.map(Value::to_string).unwrap_or_default())
    }

    /// Sends one request with more headers.
    pub fn request_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.request_text(method, path, headers, "")
    }

    /// Sends one request with more headers and a body, which is called JSON unless it is empty.
    pub fn request_text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        let mut stream = self.place.connect()?;
        // Who asks for an upgrade keeps the connection; an answer that is none ends with its length.
        let upgrades = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        let connection = if upgrades { "Upgrade, close" } else { "close" };
        let host = self.place.host();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: {connection}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str(&format!("Host: {host}\r\n"));
        }
        request.push_str(&self.shown.headers());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request
                .push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        stream.write_all(request.as_bytes())?;
        let head = method == "HEAD";
        Answer::read(&mut BufReader::new(stream), head).with_context(|| format!("{method} {path}"))
    }
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Result<String> {
    // Who refuses need not read to the end; what was answered is what counts.
    let _ = stream.write_all(bytes);
    let mut answered = Vec::new();
    match stream.read_to_end(&mut answered) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error.into()),
    }
    Ok(String::from_utf8_lossy(&answered).into_owned())
}

impl Shown {
    fn headers(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Bearer(token) => format!("Authorization: Bearer {token}\r\n"),
            Self::Cookie(cookie) => format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n"),
        }
    }
}

impl Place {
    fn connect(&self) -> Result<Box<dyn Stream>> {
        match self {
            Self::Address(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }

    fn host(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Socket(_) => "localhost".to_owned(),
        }
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The body as JSON; an error that shows it when the status is not one of success.
    pub fn success(&self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("status {}: {}", self.status, String::from_utf8_lossy(&self.body));
        }
        self.json()
    }

    /// The code of a problem; empty when it is none.
    pub fn code(&self) -> String {
        self.json().ok().and_then(|problem| problem["code"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn read_head(stream: &mut impl BufRead) -> Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { status, headers, body: Vec::new() })
    }

    fn read(stream: &mut impl BufRead, head: bool) -> Result<Self> {
        let mut answer = Self::read_head(stream)?;
        if head || answer.status == 101 {
            return Ok(answer);
        }
        answer.read_body(stream)?;
        Ok(answer)
    }

    /// Reads the rest; an error when it is not whole.
    fn read_body(&mut self, stream: &mut impl BufRead) -> Result<()> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            read_chunks(stream, &mut self.body)?;
        } else {
            stream.read_to_end(&mut self.body)?;
            let announced = self.header("content-length").and_then(|length| length.parse::<usize>().ok());
            if announced.is_some_and(|announced| announced != self.body.len()) {
                bail!("{} bytes came, {announced:?} were announced", self.body.len());
            }
        }
        Ok(())
    }
}

/// A download that began.
#[derive(Debug)]
pub struct Begun {
    stream: BufReader<TcpStream>,
    answer: Answer,
}

impl Begun {
    /// Takes the rest; an error when it broke off.
    pub fn finish(mut self) -> Result<Answer> {
        self.answer.read_body(&mut self.stream)?;
        Ok(self.answer)
    }
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)?;
        if stream.by_ref().take(size).read_to_end(body)? as u64 != size {
            bail!("a chunk is cut off");
        }
        stream.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}
