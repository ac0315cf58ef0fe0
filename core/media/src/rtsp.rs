//! RTSP 1.0 (RFC 2326): requests and responses, and the headers that recording and playing need.
//!
//! Sans-IO: builds and reads messages, holds no session. Reading is lenient, writing is strict. Addresses on the
//! wire are text, because digest authentication and cameras compare them byte by byte; resolution of control
//! addresses follows what live555 and ffmpeg do, which is what cameras are tested against, not RFC 3986.

mod address;
mod header;
#[cfg(test)]
mod tests;

pub use address::{AddressError, DEFAULT_PORT, ShownAddress, content_base, request_uri, resolve_control};
pub use header::{LowerTransport, RtpInfo, Session, Transport, parse_public, parse_rtp_info, write_rtp_info};

use crate::text::{Headers, Message};

/// A method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// OPTIONS
    Options,
    /// DESCRIBE
    Describe,
    /// ANNOUNCE
    Announce,
    /// SETUP
    Setup,
    /// PLAY
    Play,
    /// PAUSE
    Pause,
    /// RECORD
    Record,
    /// REDIRECT
    Redirect,
    /// TEARDOWN
    Teardown,
    /// GET_PARAMETER
    GetParameter,
    /// SET_PARAMETER
    SetParameter,
    /// Any other, as it stands.
    Other(String),
}

impl Method {
    const KNOWN: [(Self, &'static str); 11] = [
        (Self::Options, "OPTIONS"),
        (Self::Describe, "DESCRIBE"),
        (Self::Announce, "ANNOUNCE"),
        (Self::Setup, "SETUP"),
        (Self::Play, "PLAY"),
        (Self::Pause, "PAUSE"),
        (Self::Record, "RECORD"),
        (Self::Redirect, "REDIRECT"),
        (Self::Teardown, "TEARDOWN"),
        (Self::GetParameter, "GET_PARAMETER"),
        (Self::SetParameter, "SET_PARAMETER"),
    ];

    /// The method of a name; case matters to RFC 2326 and not to cameras, so it does not here.
    pub fn from_name(name: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map_or_else(|| Self::Other(name.to_owned()), |(method, _)| method)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Announce => "ANNOUNCE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
            Self::Pause => "PAUSE",
            Self::Record => "RECORD",
            Self::Redirect => "REDIRECT",
            Self::Teardown => "TEARDOWN",
            Self::GetParameter => "GET_PARAMETER",
            Self::SetParameter => "SET_PARAMETER",
            Self::Other(name) => name,
        }
    }
}

/// Why a framed text is not an RTSP message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// The first line is neither a request line nor a status line; its first 64 characters.
    #[error("{0:?} is neither a request nor a response")]
    Start(String),
    /// A header that is needed is not there.
    #[error("no {0} header")]
    Missing(&'static str),
    /// A header cannot be understood; its first 64 characters.
    #[error("{0} header {1:?} cannot be understood")]
    Header(&'static str, String),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of what, as it stands in the request line.
    pub uri: String,
    /// The headers.
    pub headers: Headers,
    /// The body, empty when there is none.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with its sequence number and no other header.
    pub fn new(method: Method, uri: impl Into<String>, cseq: u32) -> Self {
        let mut headers = Headers::new();
        headers.push("CSeq", cseq.to_string());
        Self { method, uri: uri.into(), headers, body: Vec::new() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The sequence number; `None` when missing or not a number.
    pub fn cseq(&self) -> Option<u32> {
        cseq(&self.headers)
    }

    /// Appends the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let uri: String = self.uri.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
        let start = format!("{} {uri} RTSP/1.0", self.method.as_str());
        Message { start, headers: self.headers.clone(), body: self.body.clone() }.write(out);
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: String,
    /// The headers.
    pub headers: Headers,
    /// The body, empty when there is none.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with the phrase that belongs to its status and, if the request had one, its sequence number.
    pub fn new(status: u16, cseq: Option<u32>) -> Self {
        let mut headers = Headers::new();
        if let Some(cseq) = cseq {
            headers.push("CSeq", cseq.to_string());
        }
        Self { status, reason: reason(status).to_owned(), headers, body: Vec::new() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with a body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.push("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// The sequence number; `None` when missing or not a number.
    pub fn cseq(&self) -> Option<u32> {
        cseq(&self.headers)
    }

    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// Appends the response.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = format!("RTSP/1.0 {} {}", self.status, self.reason);
        Message { start, headers: self.headers.clone(), body: self.body.clone() }.write(out);
    }
}

/// Either kind of message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtspMessage {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl TryFrom<Message> for RtspMessage {
    type Error = RtspError;

    fn try_from(message: Message) -> Result<Self, RtspError> {
        let Message { start, headers, body } = message;
        let refused = || RtspError::Start(excerpt(&start));
        let (first, rest) = start.split_once(char::is_whitespace).ok_or_else(refused)?;
        let rest = rest.trim_start();
        if first.get(..5).is_some_and(|protocol| protocol.eq_ignore_ascii_case("RTSP/")) {
            let (status, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let status =
                status.parse().ok().filter(|status| (100..1000).contains(status)).ok_or_else(refused)?;
            return Ok(Self::Response(Response { status, reason: reason.trim().to_owned(), headers, body }));
        }
        // The address may hold stray spaces; the protocol is what stands behind the last one.
        let (uri, _protocol) = rest.rsplit_once(char::is_whitespace).ok_or_else(refused)?;
        let method = Method::from_name(first);
        Ok(Self::Request(Request { method, uri: uri.trim().to_owned(), headers, body }))
    }
}

/// Reads one whole message out of `bytes`; `None` when it is not all there.
pub fn parse(bytes: &[u8]) -> Result<Option<RtspMessage>, ParseError> {
    Message::parse(bytes)?.map(|message| Ok(RtspMessage::try_from(message)?)).transpose()
}

/// Why [`parse`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not a text message.
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    /// It is a text message, but not of RTSP.
    #[error(transparent)]
    Rtsp(#[from] RtspError),
}

fn cseq(headers: &Headers) -> Option<u32> {
    headers.first("CSeq")?.parse().ok()
}

/// The beginning of a text from outside, for an error.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The reason phrase of a status code (RFC 2326 §7.1.1); empty when unknown.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        451 => "Parameter Not Understood",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        457 => "Invalid Range",
        459 => "Aggregate Operation Not Allowed",
        460 => "Only Aggregate Operation Allowed",
        461 => "Unsupported Transport",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "RTSP Version Not Supported",
        551 => "Option Not Supported",
        _ => "",
    }
}
