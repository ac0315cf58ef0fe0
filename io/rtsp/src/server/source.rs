//! What a server plays: the trait of live and of recorded media, and what passes between the two.
//!
//! A source knows frames and times; how they are numbered, paced, packed and carried is the server's. Live and
//! recorded media take the same path and differ in [`Delivery`] only.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use keepwatch_media::replay::{ClockRange, FrameMark, PlayRequest, RateControl, Scale};
use keepwatch_model::{TrackConfig, WallTime};

use super::service::Refusal;

/// One access unit of video, or one packet's worth of anything else.
#[derive(Clone, Debug)]
pub struct Media {
    /// The position of its track in [`Source::tracks`].
    pub track: usize,
    /// Presentation time in ticks of the track's clock, wrapping; the server adds an offset of its own. It goes on
    /// evenly except where `mark` tells a discontinuity.
    pub timestamp: u32,
    /// When it was captured: sender reports of live media tie it to `timestamp`, recorded media are paced by it.
    pub capture: WallTime,
    /// Whether decoding can start here; `true` for all audio.
    pub key: bool,
    /// NAL units with 4-byte lengths (H.264), or samples of one byte (G.711).
    pub data: Bytes,
    /// NAL units with 4-byte lengths sent before `data` in the same access unit, such as an SEI unit of one of
    /// many cameras that share `data`; may be empty, and is ignored for audio.
    pub prefix: Bytes,
    /// RTP packets of the track that were lost before this one on the way to the server: sequence numbers are left
    /// out for them. 0 for what the server has whole.
    pub lost_packets: u16,
    /// What replay tells of it in the extension of its first packet; `None` for none, as in live media. The server
    /// fills in the sequence, and the discontinuity of a seek.
    pub mark: Option<FrameMark>,
}

/// The future that [`Source::next`] returns.
pub type NextMedia<'a> = Pin<Box<dyn Future<Output = Option<Media>> + Send + 'a>>;

/// The future that [`Source::prepare`] returns.
pub type Preparing<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// How media reach a client that takes them more slowly than they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The present: a slow client skips to a key frame, a client that pauses misses what passes, and the end of the
    /// source is the end of the connection.
    Live,
    /// Recorded footage, for which `onvif-replay` may be required: nothing is dropped, because
    /// [`Source::next`] is not called while the client has not taken what came before. At its end the session
    /// goes on without media, as ONVIF has it, so that a client may seek.
    Complete,
}

/// What [`Source::play`] agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayAnswer {
    /// What is played, told to the client: from where, at the footage that there is, until where. Frames before its
    /// beginning, which decoding needs, may come first. `None`: the present, or on from where it stood. Of live media
    /// only the beginning counts, see [`live`](Self::live).
    pub range: Option<ClockRange>,
    /// Who sets the pace; not looked at for [`Delivery::Live`].
    pub rate_control: RateControl,
    /// Speed and direction.
    pub scale: Scale,
}

impl PlayAnswer {
    /// The present, in real time.
    pub const LIVE: Self = Self { range: None, rate_control: RateControl::Paced, scale: Scale::NORMAL };

    /// The present, for `request` at `now` by the source's clock: who asks in absolute time is told what time it is,
    /// whatever time it asked for.
    pub fn live(request: &PlayRequest, now: WallTime) -> Self {
        Self { range: request.range.map(|_| ClockRange { from: now, to: None }), ..Self::LIVE }
    }

    /// All as `request` has it.
    pub const fn granted(request: &PlayRequest) -> Self {
        Self { range: request.range, rate_control: request.rate_control, scale: request.scale }
    }
}

/// Why [`Source::play`] refused. What the session did before goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    /// There is no footage in the range, in its direction: 457.
    #[error("there is no footage in this range")]
    InvalidRange,
    /// Replay was required and this source has none: 551.
    #[error("this is no replay source")]
    Unsupported,
    /// The source cannot play at this speed or in this direction: 406.
    #[error("footage cannot be played at this scale")]
    Scale,
    /// The user may not see this any more: 403.
    #[error("this user may not see it")]
    Forbidden,
    /// Too many play already: 453.
    #[error("too many play already")]
    Busy,
    /// The footage cannot be read at present: 503.
    #[error("footage cannot be read at present")]
    Unavailable,
}

impl PlayError {
    /// The status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRange => 457,
            Self::Unsupported => 551,
            Self::Scale => 406,
            Self::Forbidden => 403,
            Self::Busy => 453,
            Self::Unavailable => 503,
        }
    }
}

/// Gives the media of one path to one connection.
pub trait Source: Send {
    /// Finds out what takes time before anything else is asked of it; called once. The client is answered when it is
    /// done, and no other waits.
    ///
    /// # Errors
    /// When there is nothing to play after all.
    fn prepare(&mut self) -> Preparing<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The tracks, in the order of the session description.
    fn tracks(&self) -> Vec<TrackConfig>;

    /// The next media in sending order; `None` when there will be no more, until the next [`play`](Self::play).
    ///
    /// Called only while playing. The future may be dropped before it is ready without losing media.
    fn next(&mut self) -> NextMedia<'_>;

    /// How its media are delivered; the same at every call.
    fn delivery(&self) -> Delivery {
        Delivery::Live
    }

    /// Plays from here on what `request` asks for; called before the first [`next`](Self::next), to go on after a
    /// pause, and to seek. A request without a range goes on where the source stands, at first at the beginning.
    ///
    /// Must not wait: what takes time is for [`next`](Self::next). Live sources need not care about it.
    ///
    /// # Errors
    /// When it cannot; the client is told so, and nothing changes.
    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if request.replay { Err(PlayError::Unsupported) } else { Ok(PlayAnswer::LIVE) }
    }

    /// Whether the end of the media is a break in the middle, as when a camera loses its power: the connection is
    /// closed as it is, without what waits and without a goodbye. Asked when [`next`](Self::next) gave `None`.
    fn is_broken(&self) -> bool {
        false
    }

    /// Whether sender reports are sent. There are cameras that send none.
    fn reports(&self) -> bool {
        true
    }

    /// The client paused: [`next`](Self::next) is not called before the next [`play`](Self::play).
    fn pause(&mut self) {}

    /// The span of the footage for the session description; `None` for the present.
    fn footage(&self) -> Option<ClockRange> {
        None
    }

    /// Further attributes of the track at `position` for the session description, such as
    /// `x-onvif-track:VIDEO001`, without `a=`.
    fn attributes(&self, position: usize) -> Vec<String> {
        let _ = position;
        Vec::new()
    }
}
