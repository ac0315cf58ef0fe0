//! Decode times from labels alone.
//!
//! Pictures come in decode order and carry the time at which they are shown. With a reorder depth of n, at most n
//! pictures come before one that is shown earlier, so the labels in ascending order, n places late, are never later than
//! those they are decoded for (ITU-T H.264 annex C.4.5.3 bumps pictures out by the same rule). One place later still,
//! the next decode time is known as soon as a sample is: nothing is held back until the next one comes, which live
//! streams need. Pictures that come as they are shown, and whose next is known, are decoded when they are shown.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use keepwatch_model::{CodecKind, TrackConfig};

use crate::h264;

/// Most pictures that come in decode order before one that is shown earlier (ITU-T H.264 §A.3.1: the size of the
/// decoded picture buffer).
pub const REORDER_FRAMES_MAX: usize = 16;

/// Longest time from one sample to the next in one segment: players read the field as signed.
const DURATION_MAX: i64 = i32::MAX as i64;

/// When a sample is decoded and shown, in 90 kHz ticks of media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// When it is decoded; ascends strictly, never negative.
    pub decode: u64,
    /// To the decode time of the next sample.
    pub duration: u32,
    /// From its decode time to when it is shown. Negative only where pictures come in an order that is deeper than was
    /// said, or are shown before time 0.
    pub offset: i32,
}

/// The decode times of one track.
#[derive(Clone, Debug)]
pub struct DecodeTimes {
    /// By how many places decode times are late; 0 when they are the times of showing.
    places: usize,
    /// Assumed from one picture to the next where nothing is known of it.
    step: i64,
    /// Times of pictures that have not become a decode time, at most `places`.
    ahead: BinaryHeap<Reverse<i64>>,
    /// Samples since the beginning or the last break.
    count: usize,
    /// The decode time of the next sample.
    next: Option<i64>,
}

impl DecodeTimes {
    /// Times of samples that come as they are shown, whose next is known; where it is not, it is taken to follow after
    /// `step` ticks.
    pub fn in_order(step: i64) -> Self {
        Self::late(0, step)
    }

    /// Times of samples of a reorder depth of `depth`, 0 when they come as they are shown, whose next need not be known;
    /// the first are decoded `step` ticks apart.
    pub fn reordered(depth: usize, step: i64) -> Self {
        Self::late(depth.min(REORDER_FRAMES_MAX) + 1, step)
    }

    fn late(places: usize, step: i64) -> Self {
        let ahead = BinaryHeap::with_capacity(places + 1);
        Self { places, step: step.clamp(1, DURATION_MAX / 32), ahead, count: 0, next: None }
    }

    /// How long before the first sample is shown it is decoded: the base of media time must be at least so much
    /// earlier than the first sample.
    pub fn lead(&self) -> i64 {
        i64::try_from(self.places).unwrap_or(0) * self.step
    }

    /// Takes the next sample in decode order, shown at `shown`. `then` is when the sample after it is shown; only times
    /// [in order](Self::in_order) look at it.
    pub fn place(&mut self, shown: i64, then: Option<i64>) -> Placed {
        let decode = self.decode(shown);
        self.count = self.count.saturating_add(1);
        let next = if self.places == 0 {
            then.unwrap_or_else(|| shown.saturating_add(self.step))
        } else {
            self.ahead.push(Reverse(shown));
            if self.count < self.places {
                decode.saturating_add(self.step)
            } else {
                self.ahead.pop().map_or(shown, |Reverse(lowest)| lowest)
            }
        };
        self.advance(decode, shown, next)
    }

    /// Takes the last sample before time that holds nothing: its decode time reaches to `end`, and those of what comes
    /// behind begin anew.
    pub fn place_last(&mut self, shown: i64, end: i64) -> Placed {
        let decode = self.decode(shown);
        let placed = self.advance(decode, shown, end.saturating_sub(self.lead()));
        self.restart();
        placed
    }

    /// What comes next has a time line of its own; decode times go on ascending.
    pub fn restart(&mut self) {
        self.ahead.clear();
        self.count = 0;
    }

    /// The next sample follows one that is missing and is shown at `shown`: its decode time does not continue that of the
    /// sample before.
    pub fn resume_at(&mut self, shown: i64) {
        self.restart();
        let first = shown.saturating_sub(self.lead());
        self.next = Some(self.next.map_or(first, |next| next.max(first)));
    }

    fn decode(&self, shown: i64) -> i64 {
        self.next.unwrap_or_else(|| shown.saturating_sub(self.lead())).max(0)
    }

    fn advance(&mut self, decode: i64, shown: i64, next: i64) -> Placed {
        let duration = next.saturating_sub(decode).clamp(1, DURATION_MAX);
        self.next = Some(decode.saturating_add(duration));
        let offset = shown.saturating_sub(decode);
        let bounded = i32::try_from(offset).unwrap_or(if offset < 0 { i32::MIN } else { i32::MAX });
        Placed {
            decode: u64::try_from(decode).unwrap_or(0),
            duration: u32::try_from(duration).unwrap_or(1),
            offset: bounded,
        }
    }
}

/// The reorder depth of pictures shown at `shown`, in decode order: how many come at most before one that is shown
/// earlier.
pub fn reorder_depth(shown: impl IntoIterator<Item = i64>) -> usize {
    // The latest so far, latest first.
    let mut latest: Vec<i64> = Vec::with_capacity(REORDER_FRAMES_MAX + 1);
    let mut depth = 0;
    for time in shown {
        let later = latest.iter().take_while(|other| **other > time).count();
        depth = depth.max(later);
        if later < REORDER_FRAMES_MAX {
            latest.insert(later, time);
            latest.truncate(REORDER_FRAMES_MAX);
        }
    }
    depth
}

/// The reorder depth that the configuration of a track tells; 0 where it tells none, as cameras that reorder say so.
pub fn declared_depth(config: &TrackConfig) -> usize {
    match config.kind {
        CodecKind::H264 => {
            let sets = h264::DecoderConfig::parse(&config.config).ok();
            let sps = sets.and_then(|sets| h264::Sps::parse(sets.sps.first()?).ok());
            let told = sps.and_then(|sps| sps.reorder_frames).unwrap_or(0);
            usize::from(told).min(REORDER_FRAMES_MAX)
        }
        CodecKind::H265
        | CodecKind::Jpeg
        | CodecKind::Pcmu
        | CodecKind::Pcma
        | CodecKind::Aac
        | CodecKind::Metadata => 0,
    }
}
