//! Ranges of absolute time as `Range` headers have them (RFC 2326 §3.7 and §12.29, ONVIF Streaming "Range").

use std::fmt;

use keepwatch_model::WallTime;

/// Longest part of a text from outside in an error.
const EXCERPT_CHARS: usize = 64;

/// Why a `Range` header is not a range of absolute time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It counts in something else, such as `npt`.
    #[error("range {0:?} is not in absolute time")]
    Unit(String),
    /// It should hold times and does not; write `clock=YYYYMMDDTHHMMSS.fffZ-`.
    #[error("range {0:?} cannot be understood; it should be like clock=20261121T220500.000Z-")]
    Time(String),
}

/// From one instant to another, or on.
///
/// Where `to` lies before `from`, the range is to be played in reverse. Written with milliseconds, or microseconds
/// where a tick needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRange {
    /// Where it begins.
    pub from: WallTime,
    /// Where it ends; `None`: it does not.
    pub to: Option<WallTime>,
}

impl ClockRange {
    /// Whether it is to be played backwards.
    pub fn is_reversed(&self) -> bool {
        self.to.is_some_and(|to| to < self.from)
    }

    /// Reads a `Range` header, of a request or of an answer.
    ///
    /// Spaces, a missing fraction or `Z`, lower case, the dashes and colons of RFC 3339, and parameters behind a
    /// semicolon are put up with.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let shown = || text.chars().take(EXCERPT_CHARS).collect::<String>();
        let (unit, value) = text.split_once('=').ok_or_else(|| RangeError::Unit(shown()))?;
        if !unit.trim().eq_ignore_ascii_case("clock") {
            return Err(RangeError::Unit(shown()));
        }
        let value = value.split(';').next().unwrap_or_default().trim().trim_matches('"');
        let refused = || RangeError::Time(shown());
        let (from, after) = split_time(value).ok_or_else(refused)?;
        let after = after.trim_start();
        let Some(rest) = after.strip_prefix('-') else {
            // An instant without a dash: RFC 2326 does not know it, servers answer with it.
            return if after.is_empty() { Ok(Self { from, to: None }) } else { Err(refused()) };
        };
        let rest = rest.trim();
        if rest.is_empty() {
            return Ok(Self { from, to: None });
        }
        let (to, after) = split_time(rest).ok_or_else(refused)?;
        if after.trim().is_empty() { Ok(Self { from, to: Some(to) }) } else { Err(refused()) }
    }
}

impl fmt::Display for ClockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock={}-", Clock(self.from))?;
        self.to.map_or(Ok(()), |to| write!(f, "{}", Clock(to)))
    }
}

/// A time as a range has it.
struct Clock(WallTime);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // Microseconds that are whole milliseconds are written as the examples of the specification have them.
        let text = text.strip_suffix("000Z").unwrap_or(text.trim_end_matches('Z'));
        for part in text.split(['-', ':']) {
            f.write_str(part)?;
        }
        f.write_str("Z")
    }
}

/// The time at the beginning of `text`, and what follows it.
fn split_time(text: &str) -> Option<(WallTime, &str)> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    skip(&mut rest, '-');
    let month = digits(&mut rest, 2)?;
    skip(&mut rest, '-');
    let day = digits(&mut rest, 2)?;
    rest = rest.trim_start().strip_prefix(['T', 't'])?.trim_start();
    let hour = digits(&mut rest, 2)?;
    skip(&mut rest, ':');
    let minute = digits(&mut rest, 2)?;
    skip(&mut rest, ':');
    let second = digits(&mut rest, 2)?;
    let mut fraction = "0";
    if let Some(after) = rest.strip_prefix('.') {
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        (fraction, rest) = after.split_at_checked(length)?;
        // Nine digits are allowed; more say nothing that a tick could hold.
        fraction = fraction.get(..9).unwrap_or(fraction);
        fraction = if fraction.is_empty() { "0" } else { fraction };
    }
    skip(&mut rest, 'Z');
    skip(&mut rest, 'z');
    let time = format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}Z").parse().ok()?;
    Some((time, rest))
}

/// Takes `count` digits from the beginning of `rest`.
fn digits<'a>(rest: &mut &'a str, count: usize) -> Option<&'a str> {
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
}

/// Takes one `mark`, if it stands at the beginning of `rest`.
fn skip(rest: &mut &str, mark: char) {
    if let Some(after) = rest.strip_prefix(mark) {
        *rest = after;
    }
}
