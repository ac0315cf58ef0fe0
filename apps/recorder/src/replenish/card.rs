//! Footage from the camera's own card, by ONVIF replay.
//!
//! What the card holds may be coded otherwise than what is recorded: it is spliced within a group of pictures only where a
//! picture that is held proves that it is the same. Times are the camera's, labels are made of them as the pictures beside
//! the gap tell.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use keepwatch_model::{Origin, Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::fetch::{End, GiveUp};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_store::{CameraTime, RunId, TimeQuality};

use super::course::Passage;
use super::import::{Import, NotWritten, Room};
use super::piece::{Piece, PieceSample};
use super::place::Judged;
use crate::camera::{CameraState, StreamState};
use crate::config::{CameraConfig, CameraSource};
use crate::fetch::{
    Appetite, ClientConfig, DeviceOptions, FetchControl, FetchOrder, FetchSink, FetchedSample, FindError,
    RateControl, Wish, fetch, find,
};

/// Footage before the gap that is asked for: a group of pictures of most cameras, in which a picture may be held here.
const BEFORE_TICKS: i64 = 5 * TICKS_PER_SECOND;
/// The same behind it.
const AFTER_TICKS: i64 = TICKS_PER_SECOND;
/// A group of pictures of more is cut: the store takes no larger records.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// A group is no shorter, so that pictures which were late are in two of them at most, also where each is a key frame.
const GROUP_TICKS_MIN: i64 = TICKS_PER_SECOND;
/// How long the last picture lasts where none follows.
const LAST_TICKS: i64 = TICKS_PER_SECOND / 25;

/// Fetches what the card of `camera` has for the gap that `import` fills; `ahead_ticks` is how far this recorder's labels are
/// ahead of the camera's clock.
pub(super) async fn from_card(
    camera: &CameraState,
    stream: &StreamState,
    (gap, ahead_ticks): (Span, i64),
    import: &mut Import,
    passage: &Passage,
) -> JobEnd {
    let config = camera.config();
    let CameraSource::Onvif { url, .. } = &config.source else { return JobEnd::Over };
    import.compare_clocks(ahead_ticks);
    let span = Span {
        from: gap.from.plus(-ahead_ticks).plus(-BEFORE_TICKS),
        to: gap.to.plus(-ahead_ticks).plus(AFTER_TICKS),
    };
    let mut device = DeviceOptions::new(url.clone());
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        device = device.with_login(user, password.expose());
    }
    device.certificate = config.certificate;
    let found = match find(Wish { device, recording: None, span }).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(camera = %camera.id, %error, "the card has nothing of a gap");
            passage.course.trouble(&error);
            return match error {
                FindError::None { .. } | FindError::Unknown { .. } => JobEnd::Over,
                // It is away as long as it is not recorded, most of the time.
                FindError::Device(_) => JobEnd::Unreachable,
                FindError::Several(_) => JobEnd::Refused,
            };
        }
    };
    let order = order(&config, found.url, span, found.sections);
    let control = FetchControl::new();
    let mut sink = CardSink::new(import, passage, control.clone());
    let ended = fetch(&order, &control, &mut sink).await;
    let ended = match ended {
        Ok(account) => {
            if let Some(trouble) = &account.trouble {
                passage.course.trouble(trouble);
            }
            sink.close(None).map(|()| account.end)
        }
        Err(refused) => Err(refused),
    };
    let ended = match ended {
        Ok(end) => drain(stream, &mut sink).await.map(|()| end),
        Err(refused) => Err(refused),
    };
    match ended {
        Ok(End::Complete | End::NoFootage | End::Silent) => JobEnd::Over,
        Ok(End::GivenUp(GiveUp::Connection)) => JobEnd::Unreachable,
        Ok(End::GivenUp(GiveUp::Refused | GiveUp::OtherFootage | GiveUp::TimesGoBack)) => JobEnd::Refused,
        Ok(End::Cancelled) => JobEnd::Cancelled,
        Err(not_written) => not_written.end(),
    }
}

fn order(
    config: &CameraConfig,
    url: url::Url,
    span: Span,
    sections: Option<keepwatch_model::SpanSet>,
) -> FetchOrder {
    let client = ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        certificate: config.certificate,
        ..ClientConfig::new(url)
    };
    let (audio, metadata) = (config.audio, config.metadata);
    FetchOrder { client, span, audio, metadata, pace: RateControl::Free, sections }
}

/// Writes what still waits for room.
pub(super) async fn drain(stream: &StreamState, sink: &mut CardSink<'_>) -> Result<(), NotWritten> {
    sink.over = true;
    let mut room = Room::of(stream);
    loop {
        sink.write_waiting()?;
        if sink.waiting.is_empty() {
            return Ok(());
        }
        room.wait().await?;
    }
}

/// Makes records of what comes.
pub(super) struct CardSink<'a> {
    import: &'a mut Import,
    passage: &'a Passage,
    /// The fetch, which reads evenly at the rate that was last told.
    control: FetchControl,
    rate: Option<NonZeroU64>,
    /// When the next may be read; `None` for at once.
    free_at: Option<tokio::time::Instant>,
    /// When the last picture was taken.
    last: Option<WallTime>,
    tracks: Vec<TrackConfig>,
    group: Group,
    /// Groups that were judged and found no room yet, what one read brings at most, and the last one, behind which another
    /// may come.
    waiting: VecDeque<(Group, Vec<TrackConfig>, Judged)>,
    /// No other one comes.
    over: bool,
}

/// Samples from one key frame to another.
#[derive(Default)]
struct Group {
    samples: Vec<Vec<Sample>>,
    bytes: usize,
    /// Where its last picture ends.
    until: WallTime,
}

struct Sample {
    time: WallTime,
    key: bool,
    data: Vec<u8>,
}

impl<'a> CardSink<'a> {
    pub(super) fn new(import: &'a mut Import, passage: &'a Passage, control: FetchControl) -> Self {
        Self {
            import,
            passage,
            control,
            rate: None,
            free_at: None,
            last: None,
            tracks: Vec::new(),
            group: Group::default(),
            waiting: VecDeque::new(),
            over: false,
        }
    }

    /// Has the fetch read no faster than allowed at the moment; what other jobs read counts as well, and is waited for.
    fn follow_rate(&mut self) {
        let rate = self.passage.limit.bits_per_second().and_then(|bits| NonZeroU64::new(bits / 8));
        if rate != self.rate {
            self.rate = rate;
            self.control.limit(rate);
        }
    }

    /// When the next may be read by the limit of this card.
    fn pace(&mut self, sample: &FetchedSample<'_>, is_video: bool) -> Option<tokio::time::Instant> {
        let card = self.passage.card.as_ref()?;
        let step = match self.last {
            Some(last) if is_video => sample.time.ticks_since(last),
            Some(_) | None => 0,
        };
        if is_video {
            // Pictures that are shown before others come behind them.
            self.last = self.last.max(Some(sample.time));
        }
        card.book(step, sample.data.len(), tokio::time::Instant::now())
    }

    /// Closes the group; `next` is when the picture behind it was taken, `None` at the end.
    pub(super) fn close(&mut self, next: Option<WallTime>) -> Result<(), NotWritten> {
        let mut group = std::mem::take(&mut self.group);
        let Some(video) = self.tracks.iter().position(|track| track.kind.is_video()) else { return Ok(()) };
        let times = group.samples.get(video).into_iter().flatten().map(|sample| sample.time);
        let Some(last) = times.max() else { return Ok(()) };
        // A picture much later is behind a hole.
        let follows = next.filter(|next| *next > last && next.ticks_since(last) <= TICKS_PER_SECOND);
        group.until = follows.unwrap_or(last.plus(LAST_TICKS));
        let judged = group.piece(&self.tracks).map(|piece| self.import.judge(&piece));
        if let Some(mut judged) = judged {
            if let Some((_, _, before)) = self.waiting.back_mut() {
                before.followed_by(&mut judged);
            }
            self.waiting.push_back((group, self.tracks.clone(), judged));
        }
        self.write_waiting()
    }

    /// Whether there is a group that could be written.
    fn waits(&self) -> bool {
        self.waiting.len() > usize::from(!self.over)
    }

    fn write_waiting(&mut self) -> Result<(), NotWritten> {
        while self.waits()
            && let Some((group, tracks, judged)) = self.waiting.front()
        {
            let Some(piece) = group.piece(tracks) else { break };
            match self.import.write(&piece, judged) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(NotWritten::Full) => return Ok(()),
                Err(not_written) => return Err(not_written),
            }
        }
        Ok(())
    }
}

impl FetchSink for CardSink<'_> {
    type Error = NotWritten;

    fn begin(&mut self, tracks: &[TrackConfig]) -> Result<(), NotWritten> {
        self.tracks = tracks.to_vec();
        self.follow_rate();
        Ok(())
    }

    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), NotWritten> {
        let is_video = self.tracks.get(sample.track).is_some_and(|track| track.kind.is_video());
        self.free_at = self.passage.book(sample.data.len()).max(self.pace(sample, is_video));
        let Some(known) = self.tracks.get(sample.track) else { return Ok(()) };
        let begun = self.group.bytes > 0;
        let changed = known != sample.config;
        let full = self.group.bytes.saturating_add(sample.data.len()) > GROUP_BYTES_MAX;
        let starts = sample.key && self.group.lasts_until(sample.track, sample.time);
        if begun && (changed || (is_video && (starts || full))) {
            self.close(is_video.then_some(sample.time))?;
        }
        if changed && let Some(track) = self.tracks.get_mut(sample.track) {
            track.clone_from(sample.config);
        }
        self.group.samples.resize_with(self.tracks.len(), Vec::new);
        if let Some(samples) = self.group.samples.get_mut(sample.track) {
            self.group.bytes = self.group.bytes.saturating_add(sample.data.len());
            samples.push(Sample { time: sample.time, key: sample.key, data: sample.data.to_vec() });
        }
        Ok(())
    }

    fn appetite(&mut self) -> Result<Appetite, NotWritten> {
        self.follow_rate();
        if self.passage.card.as_ref().is_some_and(|card| card.is_stopped()) {
            self.control.cancel();
            return Ok(Appetite::Full);
        }
        self.write_waiting()?;
        let is_free = self.free_at.is_none_or(|at| at <= tokio::time::Instant::now());
        Ok(if !self.waits() && is_free { Appetite::Hungry } else { Appetite::Full })
    }
}

impl Group {
    /// Whether its pictures, those of `track`, last long enough when another one is at `time`.
    fn lasts_until(&self, track: usize, time: WallTime) -> bool {
        let first = self.samples.get(track).and_then(|samples| samples.first());
        first.is_none_or(|first| !(0..GROUP_TICKS_MIN).contains(&time.ticks_since(first.time)))
    }

    /// It as footage by the camera's clock; `None` without a picture.
    fn piece<'s>(&'s self, tracks: &[TrackConfig]) -> Option<Piece<'s>> {
        let video = tracks.iter().position(|track| track.kind.is_video())?;
        let from = self.samples.get(video)?.iter().map(|sample| sample.time).min()?;
        let label = Span::new(from, self.until)?;
        let of_track = |(samples, track): (&'s Vec<Sample>, &TrackConfig)| -> Vec<PieceSample<'s>> {
            samples.iter().map(|sample| piece_sample(sample, track.clock_rate)).collect()
        };
        Some(Piece {
            tracks: tracks.to_vec(),
            samples: self.samples.iter().zip(tracks).map(of_track).collect(),
            label,
            camera_time: Some(CameraTime { span: label, quality: TimeQuality::SenderReport }),
            run: RunId(0),
            lost_packets: 0,
            origin: Origin::Edge,
            recorder: None,
            replaces: None,
        })
    }
}

/// A sample whose time is given in ticks of its track.
fn piece_sample(sample: &Sample, clock_rate: u32) -> PieceSample<'_> {
    let ticks = i128::from(sample.time.ticks()) * i128::from(clock_rate) / i128::from(TICKS_PER_SECOND);
    let pts = i64::try_from(ticks).unwrap_or(i64::MAX);
    PieceSample { pts, label: sample.time, key: sample.key, data: &sample.data }
}
