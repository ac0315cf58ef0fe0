//! Labels into the times of a track: decode times, composition offsets, and the edits that show the window.
//!
//! Decode times are invented, since a camera does not send them: the labels in ascending order, which for H.264 is
//! settled within 16 frames. Offsets are made non-negative by shifting presentation, which the edit list takes back,
//! so that every sample is shown at its label exactly, whatever the order of labels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

use keepwatch_model::TICKS_PER_SECOND;
use mp4_atom::ElstEntry;

use super::track::Track;
use super::{Mp4Error, TrackKind};

/// Most frames that come in decode order before one that is shown earlier (ITU-T H.264 §A.3.1: the size of the
/// decoded picture buffer).
const REORDER_FRAMES_MAX: usize = 16;

/// Longest time a last sample is shown whose length is not known, in 90 kHz ticks: a second. A still picture must
/// not pass for footage.
const LAST_TICKS_MAX: i64 = TICKS_PER_SECOND;

/// Largest step in media time: players in use read the 32-bit field as signed.
const STEP_MAX: i64 = i32::MAX as i64;

/// Largest composition offset in media time: libavformat throws away all offsets when one is 2^28 or more.
const OFFSET_MAX: i64 = (1 << 28) - 1;

/// By how much media time is made coarser until the longest gap fits: at 90 kHz a gap may last 6.6 hours, then 66
/// hours, then 27 days.
const DIVISORS: [u32; 3] = [1, 10, 100];

/// From ticks since the start of the window to media time.
#[derive(Clone, Copy, Debug)]
struct Scale {
    rate: i64,
    window_ticks: i64,
}

impl Scale {
    /// The media time of a label: rounded down, from the end of the window on rounded up, so that rounding moves no
    /// sample into the window or out of it.
    fn time(self, ticks: i64) -> i64 {
        let scaled = i128::from(ticks) * i128::from(self.rate);
        let rate = i128::from(TICKS_PER_SECOND);
        let rounded =
            if ticks < self.window_ticks { scaled.div_euclid(rate) } else { -(-scaled).div_euclid(rate) };
        // A century of ticks at 90 kHz or less is far below 2^63.
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN / 4 } else { i64::MAX / 4 })
    }

    /// The media time of a length, at least 1.
    fn length(self, ticks: i64) -> i64 {
        let scaled = i128::from(ticks) * i128::from(self.rate) / i128::from(TICKS_PER_SECOND);
        i64::try_from(scaled).unwrap_or(STEP_MAX).clamp(1, STEP_MAX)
    }
}

/// Decode and composition time of each sample, in media time from the start of the window.
struct DecodeTimes<'a> {
    scale: Scale,
    pts_ticks: &'a [i64],
    position: usize,
    /// The labels of samples up to [`REORDER_FRAMES_MAX`] ahead that have not become a decode time.
    ahead: BinaryHeap<Reverse<i64>>,
    fed: usize,
    previous: Option<i64>,
}

impl<'a> DecodeTimes<'a> {
    fn new(scale: Scale, pts_ticks: &'a [i64]) -> Self {
        let ahead = BinaryHeap::with_capacity(REORDER_FRAMES_MAX + 1);
        Self { scale, pts_ticks, position: 0, ahead, fed: 0, previous: None }
    }
}

impl Iterator for DecodeTimes<'_> {
    type Item = (i64, i64);

    fn next(&mut self) -> Option<(i64, i64)> {
        let pts = *self.pts_ticks.get(self.position)?;
        self.position += 1;
        while self.ahead.len() <= REORDER_FRAMES_MAX
            && let Some(pts) = self.pts_ticks.get(self.fed)
        {
            self.ahead.push(Reverse(*pts));
            self.fed += 1;
        }
        let Reverse(lowest) = self.ahead.pop()?;
        // Decode times ascend strictly (ISO/IEC 14496-12 §8.6.1.2), also where labels are equal or go back.
        let ascending = self.previous.map_or(i64::MIN, |previous| previous + 1);
        let decode = self.scale.time(lowest).max(ascending);
        self.previous = Some(decode);
        Some((decode, self.scale.time(pts)))
    }
}

/// When a track's samples are decoded and shown.
#[derive(Debug)]
pub(super) struct Timeline {
    scale: Scale,
    /// Added to every offset so that none is negative.
    shift: i64,
    /// Length of the sample that is last in decode order.
    last: i64,
    /// Length of the media, in media time.
    pub(super) media_duration: u64,
    /// What is shown, in 90 kHz ticks and media time.
    pub(super) edits: Vec<ElstEntry>,
    /// Length of all edits, in 90 kHz ticks.
    pub(super) duration_ticks: u64,
}

impl Timeline {
    /// The times of `track` in a window of `window_ticks`; `None` when none of its samples is inside.
    pub(super) fn new(track: &Track, window_ticks: i64) -> Result<Option<Self>, Mp4Error> {
        let Some(shown) = Shown::new(track, window_ticks) else { return Ok(None) };
        let mut widest = 0;
        for divisor in DIVISORS {
            let rate = i64::from((track.clock_rate / divisor).max(1));
            let scale = Scale { rate, window_ticks };
            let times = Extremes::of(DecodeTimes::new(scale, &track.pts_ticks));
            let offset_max = times.offset_max - times.offset_min;
            widest = times.step_max.max(offset_max) / rate;
            if times.step_max <= STEP_MAX && offset_max <= OFFSET_MAX {
                return Ok(Some(Self::with(&shown, scale, &times)));
            }
        }
        Err(Mp4Error::Gap(widest))
    }

    fn with(shown: &Shown, scale: Scale, times: &Extremes) -> Self {
        let shift = -times.offset_min;
        let last = scale.length(shown.last_ticks);
        // What is composed is moved by the shift, as every offset is.
        let media_time = |ticks| scale.time(ticks) - times.first + shift;
        let media_end = media_time(shown.end).max(times.last - times.first + last);

        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let mut edits = Vec::new();
        if shown.start > 0 {
            edits.push(ElstEntry {
                segment_duration: unsigned(shown.start),
                media_time: None,
                media_rate: 1.into(),
            });
        }
        edits.push(ElstEntry {
            segment_duration: unsigned(shown.end - shown.start),
            media_time: Some(unsigned(media_time(shown.start))),
            media_rate: 1.into(),
        });
        Self {
            scale,
            shift,
            last,
            media_duration: unsigned(media_end),
            edits,
            duration_ticks: unsigned(shown.end),
        }
    }

    /// Ticks of media time per second.
    pub(super) fn rate(&self) -> u32 {
        u32::try_from(self.scale.rate).unwrap_or(u32::MAX)
    }

    /// Step to the next sample in decode order and composition offset of each sample, in media time.
    pub(super) fn steps<'a>(&self, track: &'a Track) -> Steps<'a> {
        let times = DecodeTimes::new(self.scale, &track.pts_ticks).peekable();
        Steps { times, shift: self.shift, last: self.last }
    }
}

/// See [`Timeline::steps`].
pub(super) struct Steps<'a> {
    times: Peekable<DecodeTimes<'a>>,
    shift: i64,
    last: i64,
}

impl Iterator for Steps<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let (decode, composed) = self.times.next()?;
        let step = self.times.peek().map_or(self.last, |(next, _)| next - decode);
        let offset = composed - decode + self.shift;
        // Both are within bounds that were checked when the scale was chosen.
        Some((u32::try_from(step).unwrap_or(u32::MAX), u32::try_from(offset).unwrap_or(u32::MAX)))
    }
}

/// Bounds of a track's times.
struct Extremes {
    first: i64,
    last: i64,
    step_max: i64,
    /// At most 0.
    offset_min: i64,
    offset_max: i64,
}

impl Extremes {
    fn of(times: DecodeTimes<'_>) -> Self {
        let mut bounds = Self { first: 0, last: 0, step_max: 0, offset_min: 0, offset_max: 0 };
        let mut previous = None;
        for (decode, composed) in times {
            match previous {
                None => bounds.first = decode,
                Some(previous) => bounds.step_max = bounds.step_max.max(decode - previous),
            }
            previous = Some(decode);
            bounds.last = decode;
            bounds.offset_min = bounds.offset_min.min(composed - decode);
            bounds.offset_max = bounds.offset_max.max(composed - decode);
        }
        bounds
    }
}

/// What is shown, in 90 kHz ticks from the start of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    start: i64,
    end: i64,
    /// How long the last sample lasts when nothing follows.
    last_ticks: i64,
}

impl Shown {
    fn new(track: &Track, window_ticks: i64) -> Option<Self> {
        let mut first_inside = None;
        let mut sounds_until = i64::MIN;
        let mut last: Option<(i64, usize)> = None;
        let mut before_last = None;
        let mut beyond = false;
        for (position, pts) in track.pts_ticks.iter().copied().enumerate() {
            if pts >= window_ticks {
                beyond = true;
                continue;
            }
            if pts >= 0 {
                first_inside = Some(first_inside.map_or(pts, |first: i64| first.min(pts)));
            } else {
                let until = match track.duration_ticks(position) {
                    0 => track.pts_ticks.get(position + 1).copied().unwrap_or(pts + LAST_TICKS_MAX),
                    own => pts + own,
                };
                sounds_until = sounds_until.max(until);
            }
            match last {
                Some((latest, _)) if pts <= latest => {
                    if pts < latest {
                        before_last = before_last.max(Some(pts));
                    }
                }
                _ => {
                    before_last = last.map(|(latest, _)| latest);
                    last = Some((pts, position));
                }
            }
        }
        let (last, position) = last?;
        let start = match track.kind {
            // A frame is shown whole or not at all, so nothing from before the window is.
            TrackKind::Video => first_inside?,
            TrackKind::Audio if sounds_until > 0 => 0,
            TrackKind::Audio => first_inside?,
        };
        let own = track.duration_ticks(position);
        let last_ticks = if own > 0 {
            own
        } else {
            before_last.map_or(LAST_TICKS_MAX, |before| last - before).min(LAST_TICKS_MAX)
        };
        let end = if own == 0 && beyond { window_ticks } else { window_ticks.min(last + last_ticks) };
        (start < end).then_some(Self { start, end, last_ticks })
    }
}
