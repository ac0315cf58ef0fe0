//! What a `PLAY` asks for beyond playing (ONVIF Streaming, "RTSP feature tag", "Range", "Rate-Control", "Frames").

use std::fmt;
use std::str::FromStr;

use crate::rtsp::Request;
use crate::text::Headers;

use super::{ClockRange, RangeError};

/// Names what the server must be able to do, RFC 2326 §12.32.
pub const REQUIRE: &str = "Require";
/// The feature tag of ONVIF replay. Without it on `SETUP` and `PLAY`, a device may play something else, such as the
/// present.
pub const REPLAY_FEATURE: &str = "onvif-replay";
/// The header of a range, RFC 2326 §12.29.
pub const RANGE: &str = "Range";
/// The header that says who sets the pace.
pub const RATE_CONTROL: &str = "Rate-Control";
/// The header that says which frames are wanted.
pub const FRAMES: &str = "Frames";
/// The header that says whether a running `PLAY` is to be broken off.
pub const IMMEDIATE: &str = "Immediate";
/// The header of speed and direction, RFC 2326 §12.34.
pub const SCALE: &str = "Scale";

/// Most features looked at in one message; nobody has a use for more, and each unknown one is repeated in an answer.
const FEATURES_MAX: usize = 16;

/// Who sets the pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateControl {
    /// The server: in real time, times the scale.
    #[default]
    Paced,
    /// The client, by how fast it reads.
    Free,
}

/// Which frames are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// All. Also read where a client wants predicted frames and no bidirectional ones, which servers need not know.
    #[default]
    All,
    /// Those at which decoding can start.
    Intra {
        /// At most one in so many milliseconds of footage; `None`: all of them.
        interval_ms: Option<u32>,
    },
}

impl FromStr for Frames {
    type Err = PlayRequestError;

    fn from_str(text: &str) -> Result<Self, PlayRequestError> {
        let (kind, interval) =
            text.split_once('/').map_or((text, None), |(kind, interval)| (kind, Some(interval)));
        match (kind.trim().to_ascii_lowercase().as_str(), interval) {
            ("all" | "predicted", None) => Ok(Self::All),
            ("intra", None) => Ok(Self::Intra { interval_ms: None }),
            ("intra", Some(interval)) => match interval.trim().parse() {
                Ok(interval_ms) => Ok(Self::Intra { interval_ms: Some(interval_ms) }),
                Err(_) => Err(refused(FRAMES, text)),
            },
            _ => Err(refused(FRAMES, text)),
        }
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Intra { interval_ms: None } => f.write_str("intra"),
            Self::Intra { interval_ms: Some(interval_ms) } => write!(f, "intra/{interval_ms}"),
        }
    }
}

/// Speed and direction of playing in thousandths of real time; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(i32);

impl Scale {
    /// Forwards in real time.
    pub const NORMAL: Self = Self(1000);
    /// Backwards in real time, as ONVIF asks for reverse playing.
    pub const REVERSE: Self = Self(-1000);
    /// The fastest in thousandths, in either direction: an hour in 3.6 seconds.
    pub const MAX: i32 = 1_000_000;

    /// So many thousandths of real time; `None` for zero or more than [`MAX`](Self::MAX) in either direction.
    pub const fn from_thousandths(thousandths: i32) -> Option<Self> {
        if thousandths == 0 || thousandths < -Self::MAX || thousandths > Self::MAX {
            return None;
        }
        Some(Self(thousandths))
    }

    /// Thousandths of real time, negative when backwards.
    pub const fn thousandths(self) -> i32 {
        self.0
    }

    /// Whether it plays backwards.
    pub const fn is_reverse(self) -> bool {
        self.0 < 0
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl FromStr for Scale {
    type Err = PlayRequestError;

    fn from_str(text: &str) -> Result<Self, PlayRequestError> {
        let error = || refused(SCALE, text);
        let value: f64 = text.trim().parse().map_err(|_| error())?;
        let thousandths = (value * 1000.0).round();
        if !thousandths.is_finite() || thousandths.abs() > f64::from(Self::MAX) {
            return Err(error());
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the limit above")]
        let thousandths = thousandths as i32;
        Self::from_thousandths(thousandths).ok_or_else(error)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", f64::from(self.0) / 1000.0)
    }
}

/// Why a `PLAY` cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlayRequestError {
    /// Its range: to be answered with 457.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Another of its headers: to be answered with 400.
    #[error("{0} header {1:?} cannot be understood")]
    Header(&'static str, String),
}

impl PlayRequestError {
    /// The status code to answer with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Range(_) => 457,
            Self::Header(..) => 400,
        }
    }
}

fn refused(header: &'static str, text: &str) -> PlayRequestError {
    PlayRequestError::Header(header, text.chars().take(64).collect())
}

/// What a `PLAY` asks for. The default is a plain one: from where the session stands, paced by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayRequest {
    /// Which footage; `None` when no range is given, or one that is not in absolute time: from where the session
    /// stands.
    pub range: Option<ClockRange>,
    /// Who sets the pace.
    pub rate_control: RateControl,
    /// Which frames.
    pub frames: Frames,
    /// Whether what an older `PLAY` has still to send is to be dropped.
    pub immediate: bool,
    /// Speed and direction; where the client sets the pace only the direction counts.
    pub scale: Scale,
    /// Whether the client insists on replay: `Require: onvif-replay`. GStreamer's client does not, and still means
    /// it when it gives a range.
    pub replay: bool,
    /// The `CSeq` of the request; its low byte is repeated in the marks of the frames. 0 when it has none.
    pub cseq: u32,
}

impl PlayRequest {
    /// Reads the headers of a `PLAY`.
    ///
    /// # Errors
    /// When a header that would change what is played cannot be understood: to play something else would look
    /// right and be wrong.
    pub fn read(request: &Request) -> Result<Self, PlayRequestError> {
        let headers = &request.headers;
        let range = match headers.first(RANGE).map(ClockRange::parse) {
            Some(Ok(range)) => Some(range),
            // npt and smpte count from a beginning that footage does not have.
            Some(Err(RangeError::Unit(_))) | None => None,
            Some(Err(error @ RangeError::Time(_))) => return Err(error.into()),
        };
        let rate_control = match headers.first(RATE_CONTROL) {
            Some(value) if value.eq_ignore_ascii_case("no") => RateControl::Free,
            Some(_) | None => RateControl::Paced,
        };
        Ok(Self {
            range,
            rate_control,
            frames: headers.first(FRAMES).map_or(Ok(Frames::All), str::parse)?,
            immediate: headers.first(IMMEDIATE).is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            scale: headers.first(SCALE).map_or(Ok(Scale::NORMAL), str::parse)?,
            replay: required_features(headers).any(|feature| feature.eq_ignore_ascii_case(REPLAY_FEATURE)),
            cseq: request.cseq().unwrap_or(0),
        })
    }

    /// The headers that ask for it, all but `CSeq`. What is the default is left out, for servers that know less.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut push = |name: &str, value: String| headers.push((name.to_owned(), value));
        if self.replay {
            push(REQUIRE, REPLAY_FEATURE.to_owned());
        }
        if let Some(range) = self.range {
            push(RANGE, range.to_string());
        }
        match self.rate_control {
            RateControl::Free => push(RATE_CONTROL, "no".to_owned()),
            RateControl::Paced if self.replay => push(RATE_CONTROL, "yes".to_owned()),
            RateControl::Paced => {}
        }
        if self.immediate {
            push(IMMEDIATE, "yes".to_owned());
        }
        if self.frames != Frames::All {
            push(FRAMES, self.frames.to_string());
        }
        if self.scale != Scale::NORMAL {
            push(SCALE, self.scale.to_string());
        }
        headers
    }

    /// What the marks of its frames carry.
    pub const fn sequence(&self) -> u8 {
        self.cseq.to_be_bytes()[3]
    }
}

/// The features that a message requires, RFC 2326 §12.32.
pub fn required_features(headers: &Headers) -> impl Iterator<Item = &str> {
    headers
        .all(REQUIRE)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|feature| !feature.is_empty())
        .take(FEATURES_MAX)
}
