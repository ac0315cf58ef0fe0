//! Framing of an RTSP connection (RFC 2326 §4, §10.12): text messages and interleaved binary frames, found in the
//! bytes as they arrive.
//!
//! The message parser is our own because cameras are sloppier than typed libraries allow: bare line feeds, folded
//! and oddly spaced headers, no reason phrase, duplicates, text that is not UTF-8, stray bytes between interleaved
//! frames. All of that is put up with; what is put up with silently changes nothing, and skipped bytes are counted.
//! Sizes are bounded. SIP over TCP has the same shape and reuses it. It decides nothing: a wrong CSeq, an unknown
//! method or status is for the caller to judge.

/// Longest start line and headers together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest body in bytes: a session description of a very talkative camera has a few thousand.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Most bytes skipped in a row before the peer is given up: more than the largest frame, so that one damaged frame
/// can be got over.
const GARBAGE_BYTES_MAX: u64 = 1024 * 1024;

/// Longest method or protocol name at the beginning of a message.
const TOKEN_BYTES_MAX: usize = 32;

/// Bytes before the data of an interleaved frame.
pub const INTERLEAVED_HEADER_BYTES: usize = 4;

/// Why a connection can no longer be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A message header that does not end.
    #[error("message header is longer than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLong,
    /// A body longer than any that is expected.
    #[error("message body is longer than {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// A body whose length is not a number.
    #[error("content-length is not a number")]
    ContentLength,
    /// Neither messages nor frames.
    #[error("more than {GARBAGE_BYTES_MAX} bytes that are neither message nor frame")]
    Garbage,
}

/// The headers of a message, in order, with names in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The first value of `name`, trimmed.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of `name`, trimmed, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(held, _)| held.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Adds a header. Control characters become spaces, so that no value can begin another line.
    pub fn push(&mut self, name: &str, value: impl AsRef<str>) {
        let clean = |text: &str| text.replace(|c: char| c.is_control(), " ").trim().to_owned();
        self.0.push((clean(name), clean(value.as_ref())));
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A text message as it was framed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request or status line, trimmed.
    pub start: String,
    /// The headers.
    pub headers: Headers,
    /// The body, empty when there is none.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads one whole message, which may be followed by others: for datagrams, tests and fuzzing.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, TextError> {
        Ok(match split_message(bytes.trim_ascii_start())? {
            Split::Whole(message, _) => Some(message),
            Split::Incomplete(_) => None,
        })
    }

    /// Appends the message with the length of its body; a `Content-Length` among the headers is not repeated.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.start.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
        out.extend_from_slice(b"\r\n");
        for (name, value) in
            self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if !self.body.is_empty() {
            out.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }
}

/// What stands next on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A request or a response.
    Text(Message),
    /// A binary frame.
    Interleaved {
        /// Its channel.
        channel: u8,
        /// Its data, at most 65,535 bytes.
        data: &'a [u8],
    },
}

/// Finds frames in the bytes of one connection.
#[derive(Clone, Debug)]
pub struct Framer {
    channels: u16,
    synchronised: bool,
    /// Bytes that must be there before it is worth looking again.
    wanted_bytes: usize,
    skipped_in_a_row: u64,
    skipped_bytes: u64,
    resynchronisations: u64,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// A framer at the beginning of a connection.
    pub const fn new() -> Self {
        Self {
            channels: 256,
            synchronised: true,
            wanted_bytes: 0,
            skipped_in_a_row: 0,
            skipped_bytes: 0,
            resynchronisations: 0,
        }
    }

    /// Tells that only channels below `channels` are in use, which makes it easier to find a frame again.
    pub const fn limit_channels(&mut self, channels: u16) {
        self.channels = channels;
    }

    /// Bytes skipped because they were neither message nor frame.
    pub const fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// How often bytes had to be skipped.
    pub const fn resynchronisations(&self) -> u64 {
        self.resynchronisations
    }

    /// The next frame in `buffer` from `at`, which moves behind it; `None` when more bytes are needed.
    ///
    /// What lies before `at` is done with; what lies behind it must stand at the beginning of a later `buffer`. After
    /// an error the connection is of no more use.
    pub fn next<'a>(&mut self, buffer: &'a [u8], at: &mut usize) -> Result<Option<Frame<'a>>, TextError> {
        loop {
            let rest = buffer.get(*at..).unwrap_or_default();
            match rest {
                [] => return Ok(None),
                _ if rest.len() < self.wanted_bytes => return Ok(None),
                [b'$', ..] => match self.interleaved(rest) {
                    Found::Frame(channel, data) => {
                        *at += INTERLEAVED_HEADER_BYTES + data.len();
                        self.found();
                        return Ok(Some(Frame::Interleaved { channel, data }));
                    }
                    Found::Incomplete => return Ok(None),
                    Found::Nothing => {}
                },
                [b'\r' | b'\n', ..] if self.synchronised => {
                    // RFC 2326 leaves it open, SIP (RFC 3261 §7.5) and cameras send empty lines between messages.
                    *at += 1;
                    continue;
                }
                _ => match begins_message(rest, self.synchronised) {
                    Start::Message => match split_message(rest)? {
                        Split::Whole(message, length) => {
                            *at += length;
                            self.found();
                            return Ok(Some(Frame::Text(message)));
                        }
                        Split::Incomplete(wanted_bytes) => {
                            self.wanted_bytes = wanted_bytes;
                            return Ok(None);
                        }
                    },
                    Start::Incomplete => return Ok(None),
                    Start::Nothing => {}
                },
            }
            *at += self.skip(rest)?;
        }
    }

    const fn found(&mut self) {
        self.synchronised = true;
        self.wanted_bytes = 0;
        self.skipped_in_a_row = 0;
    }

    fn interleaved<'a>(&self, rest: &'a [u8]) -> Found<'a> {
        let Some(([_, channel, l0, l1], data)) = rest.split_first_chunk::<INTERLEAVED_HEADER_BYTES>() else {
            return Found::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if !self.synchronised {
            // A dollar sign alone is weak evidence: the channel must be in use and RTP or RTCP version 2 follow.
            let believable = u16::from(*channel) < self.channels && length >= 8;
            match data.first() {
                _ if !believable => return Found::Nothing,
                None => return Found::Incomplete,
                Some(first) if first >> 6 != 2 => return Found::Nothing,
                Some(_) => {}
            }
        }
        data.get(..length).map_or(Found::Incomplete, |data| Found::Frame(*channel, data))
    }

    /// Steps to the next byte that could begin something.
    fn skip(&mut self, rest: &[u8]) -> Result<usize, TextError> {
        if self.synchronised {
            self.synchronised = false;
            self.resynchronisations += 1;
        }
        let skipped = rest
            .iter()
            .skip(1)
            .position(|b| *b == b'$' || begins_protocol(*b))
            .map_or(rest.len(), |position| position + 1);
        let count = u64::try_from(skipped).unwrap_or(u64::MAX);
        self.skipped_bytes = self.skipped_bytes.saturating_add(count);
        self.skipped_in_a_row = self.skipped_in_a_row.saturating_add(count);
        if self.skipped_in_a_row > GARBAGE_BYTES_MAX { Err(TextError::Garbage) } else { Ok(skipped) }
    }
}

enum Found<'a> {
    Frame(u8, &'a [u8]),
    Incomplete,
    Nothing,
}

enum Start {
    Message,
    Incomplete,
    Nothing,
}

/// Whether `bytes` begin with the first line of a request or a response. Amid garbage only a response is believed:
/// its first letters tell, whereas a request shows itself at the end of its line only.
fn begins_message(bytes: &[u8], synchronised: bool) -> Start {
    let token = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-');
    if !synchronised && !bytes.first().is_some_and(|first| begins_protocol(*first)) {
        return Start::Nothing;
    }
    let Some(end) = bytes.iter().take(TOKEN_BYTES_MAX).position(|b| !token(b)) else {
        return if bytes.len() < TOKEN_BYTES_MAX { Start::Incomplete } else { Start::Nothing };
    };
    let (name, rest) = bytes.split_at_checked(end).unwrap_or_default();
    if rest.first() == Some(&b'/') {
        return if is_protocol(name) { Start::Message } else { Start::Nothing };
    }
    if name.is_empty() || rest.first() != Some(&b' ') || !synchronised {
        return Start::Nothing;
    }
    let line = bytes.iter().take(HEADER_BYTES_MAX).position(|b| matches!(b, b'\n' | 0));
    match line.and_then(|end| bytes.get(..=end)) {
        Some(line) if line.ends_with(b"\n") => {
            let begins = |word: &[u8]| word.split(|b| *b == b'/').next().is_some_and(is_protocol);
            if line.split(|b| *b == b' ').any(begins) { Start::Message } else { Start::Nothing }
        }
        Some(_) => Start::Nothing,
        None if bytes.len() >= HEADER_BYTES_MAX => Start::Nothing,
        None => Start::Incomplete,
    }
}

/// Whether [`is_protocol`] can become true of a name that begins so.
const fn begins_protocol(first: u8) -> bool {
    matches!(first, b'R' | b'r' | b'S' | b's')
}

fn is_protocol(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"RTSP") || name.eq_ignore_ascii_case(b"SIP")
}

enum Split {
    /// The message and its length.
    Whole(Message, usize),
    /// So many bytes are needed, as far as can be told.
    Incomplete(usize),
}

/// The message at the beginning of `bytes`, which do not begin with an empty line.
fn split_message(bytes: &[u8]) -> Result<Split, TextError> {
    let Some(length) = header_bytes(bytes) else {
        let full = bytes.len() >= HEADER_BYTES_MAX;
        return if full { Err(TextError::HeaderTooLong) } else { Ok(Split::Incomplete(bytes.len() + 1)) };
    };
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
    let mut lines = text.split('\n').map(str::trim_end);
    let mut message =
        Message { start: lines.next().unwrap_or_default().trim_start().to_owned(), ..Message::default() };
    for line in lines {
        if line.starts_with([' ', '\t']) {
            // RFC 2326 §4.2 by way of RFC 2068: a line that begins with white space continues the one before.
            if let Some((_, value)) = message.headers.0.last_mut() {
                value.push(' ');
                value.push_str(line.trim_start());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            message.headers.push(name, value);
        }
        // A line without a colon says nothing that could be acted on.
    }
    // Compact form: RFC 3261 §7.3.3.
    let stated = message.headers.first("content-length").or_else(|| message.headers.first("l"));
    let body_bytes = match stated {
        None | Some("") => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse::<usize>().map_err(|_| TextError::BodyTooLong)?
        }
        Some(_) => return Err(TextError::ContentLength),
    };
    if body_bytes > BODY_BYTES_MAX {
        return Err(TextError::BodyTooLong);
    }
    let end = length + body_bytes;
    let Some(body) = bytes.get(length..end) else { return Ok(Split::Incomplete(end)) };
    message.body = body.to_vec();
    Ok(Split::Whole(message, end))
}

/// Bytes up to and with the first empty line; `None` when it is not among the first [`HEADER_BYTES_MAX`].
fn header_bytes(bytes: &[u8]) -> Option<usize> {
    let bytes = bytes.get(..HEADER_BYTES_MAX).unwrap_or(bytes);
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|b| *b == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// Appends one interleaved frame whose data `write` appends behind the header.
///
/// Data of more than 65,535 bytes cannot be sent: it is taken back, and `false` returned.
pub fn write_interleaved(out: &mut Vec<u8>, channel: u8, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let begin = out.len();
    out.extend_from_slice(&[b'$', channel, 0, 0]);
    write(out);
    let data = out.len().saturating_sub(begin + INTERLEAVED_HEADER_BYTES);
    match (u16::try_from(data), out.get_mut(begin + 2..begin + INTERLEAVED_HEADER_BYTES)) {
        (Ok(length), Some(place)) => {
            place.copy_from_slice(&length.to_be_bytes());
            true
        }
        _ => {
            out.truncate(begin);
            false
        }
    }
}

#[cfg(test)]
mod tests;
