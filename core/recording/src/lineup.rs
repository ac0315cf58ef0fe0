//! In which order recorded samples are replayed, and with which marks (ONVIF Streaming, "Playback").
//!
//! Records go in one after the other, units come out: multiplexed as they were recorded, from the clean point on that
//! shows the label asked for, with the last unit of each track before a hole marked and the first behind it. What is
//! behind a record is known only when it is there, so a few records are held back; at the end of footage that still
//! grows nothing is, and nothing is marked. Backwards see [`push_group`](Lineup::push_group). Reading, and the samples
//! themselves, are the shell's.

mod backwards;

use std::collections::VecDeque;

use keepwatch_media::replay::Frames;
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

/// Records held back while more can be read: sound and documents come at least once in so many records, so that their
/// last unit before a hole is among them.
const RECORDS_AHEAD: usize = 2;

/// A sample on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit<T> {
    /// Position of its track.
    pub track: usize,
    /// When it was taken.
    pub label: WallTime,
    /// Whether decoding can start here; `true` for all that is not video.
    pub key: bool,
    /// Nothing of its track follows before a hole.
    pub ends_section: bool,
    /// It does not follow the unit of its track before it.
    pub discontinuity: bool,
    /// Nothing of its track follows at all.
    pub terminal: bool,
    /// What the shell knows it by.
    pub sample: T,
}

impl<T> Unit<T> {
    /// A unit without marks.
    pub const fn new(track: usize, label: WallTime, key: bool, sample: T) -> Self {
        Self { track, label, key, ends_section: false, discontinuity: false, terminal: false, sample }
    }
}

/// What is wanted of the footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The label to be shown first; what decoding it needs comes before.
    pub from: WallTime,
    /// The first label that is not wanted; [`WallTime::MAX`] when there is none. Backwards, before `from`, the last
    /// that is wanted; [`WallTime::MIN`] for all.
    pub to: WallTime,
    /// Which frames.
    pub frames: Frames,
}

/// What [`Lineup::pop`] may give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// More can be read: what lies behind the last records is not known yet.
    More,
    /// Nothing more is there, now or at all: give out everything.
    All,
}

/// The records of one replay on their way out.
#[derive(Clone, Debug)]
pub struct Lineup<T> {
    wanted: Wanted,
    /// Position of the video, of which decoding begins at a key frame; `None` where there is only sound.
    video: Option<usize>,
    records: VecDeque<VecDeque<Unit<T>>>,
    begun: bool,
    /// End of the last record; `None` behind a hole and before the first. Backwards the beginning of the last group.
    edge: Option<WallTime>,
    /// Tracks whose next unit does not follow the last one.
    discontinuous: Vec<bool>,
    /// The last key frame that was taken where only some are.
    intra: Option<WallTime>,
    /// Backwards, the group of records that is being pushed.
    group: Option<Span>,
    /// Backwards, what is played once that group was: the groups of pictures before its last one, latest first.
    rest: Vec<Vec<Unit<T>>>,
}

impl<T> Lineup<T> {
    /// An empty one of `tracks` tracks.
    pub fn new(wanted: Wanted, tracks: usize, video: Option<usize>) -> Self {
        Self {
            wanted,
            video,
            records: VecDeque::new(),
            begun: false,
            edge: None,
            discontinuous: vec![false; tracks],
            intra: None,
            group: None,
            rest: Vec::new(),
        }
    }

    /// Other frames are wanted from the next record on.
    pub fn choose(&mut self, frames: Frames) {
        self.wanted.frames = frames;
    }

    /// Takes a record of `span`, its tracks by position, each in decoding order. It must begin behind all before it.
    pub fn push(&mut self, span: Span, mut tracks: Vec<Vec<Unit<T>>>) {
        if self.edge.is_some_and(|until| until < span.from) {
            self.end_section();
        }
        self.edge = Some(span.to);
        for track in &mut tracks {
            // A picture behind the end may be needed to decode one before it, which comes later.
            let end = track.iter().rposition(|unit| unit.label < self.wanted.to);
            track.truncate(end.map_or(0, |last| last + 1));
        }
        if !self.begun {
            self.begin(&mut tracks);
        }
        let units = self.line_up(multiplex(tracks));
        self.records.push_back(units);
    }

    /// Those of `units` that are wanted, with what is known of what stands before them.
    fn line_up(&mut self, mut units: Vec<Unit<T>>) -> VecDeque<Unit<T>> {
        units.retain(|unit| self.takes(unit));
        for unit in &mut units {
            let place = self.discontinuous.get_mut(unit.track);
            unit.discontinuity = place.is_some_and(std::mem::take);
        }
        units.into()
    }

    /// What comes next does not follow: nothing was recorded there, or it cannot be read any more.
    pub fn end_section(&mut self) {
        if self.edge.take().is_some() {
            self.mark_last(|unit| unit.ends_section = true);
        }
        if self.begun {
            self.discontinuous.fill(true);
        }
    }

    /// Nothing more comes at all.
    pub fn finish(&mut self) {
        self.end_group();
        self.mark_last(|unit| unit.terminal = true);
    }

    /// The next unit; `None` when there is none, or when what lies behind it must be known first.
    pub fn pop(&mut self, known: Known) -> Option<Unit<T>> {
        loop {
            if known == Known::More && self.wants_records() {
                return None;
            }
            match self.records.front_mut()?.pop_front() {
                Some(unit) => return Some(unit),
                None => {
                    self.records.pop_front();
                }
            }
        }
    }

    /// Whether another record is to be read.
    pub fn wants_records(&self) -> bool {
        self.records.len() <= RECORDS_AHEAD
    }

    /// Leaves out what comes before the last key frame at or before the label asked for, or where there is none before
    /// the first one behind it.
    fn begin(&mut self, tracks: &mut [Vec<Unit<T>>]) {
        let Some(video) = self.video.and_then(|video| tracks.get_mut(video)) else {
            self.begun = true;
            return;
        };
        let from = self.wanted.from;
        let start = video
            .iter()
            .rposition(|unit| unit.key && unit.label <= from)
            .or_else(|| video.iter().position(|unit| unit.key));
        let Some(start) = start else {
            tracks.iter_mut().for_each(Vec::clear);
            return;
        };
        video.drain(..start);
        let label = video.first().map(|unit| unit.label);
        for (position, track) in tracks.iter_mut().enumerate() {
            if Some(position) != self.video {
                track.retain(|unit| Some(unit.label) >= label);
            }
        }
        self.begun = true;
    }

    /// Whether `unit` is among the frames that are wanted. Of key frames only, sound and documents are left out.
    fn takes(&mut self, unit: &Unit<T>) -> bool {
        let Frames::Intra { interval_ms } = self.wanted.frames else { return true };
        let distance = i64::from(interval_ms.unwrap_or(0)) * (TICKS_PER_SECOND / 1_000);
        let near = self.intra.is_some_and(|last| unit.label.ticks_since(last).saturating_abs() < distance);
        let takes = unit.key && Some(unit.track) == self.video && !near;
        if takes {
            self.intra = Some(unit.label);
        }
        takes
    }

    /// Marks the last unit of each track, as far as it was not given out.
    fn mark_last(&mut self, mark: impl Fn(&mut Unit<T>)) {
        let mut marked = vec![false; self.discontinuous.len()];
        for unit in self.records.iter_mut().rev().flat_map(|units| units.iter_mut().rev()) {
            let Some(marked) = marked.get_mut(unit.track) else { continue };
            if !std::mem::replace(marked, true) {
                mark(unit);
            }
        }
    }
}

/// The units of all tracks as they were recorded: each track in its order, the tracks by label, the picture before the
/// sound of the same moment.
fn multiplex<T>(tracks: Vec<Vec<Unit<T>>>) -> Vec<Unit<T>> {
    let mut units = Vec::with_capacity(tracks.iter().map(Vec::len).sum());
    for track in tracks {
        // Pictures are decoded in another order than they are shown; sound waits for the latest before it.
        let mut latest = WallTime::MIN;
        for unit in track {
            latest = latest.max(unit.label);
            units.push((latest, unit));
        }
    }
    units.sort_by_key(|(latest, unit)| (*latest, unit.track));
    units.into_iter().map(|(_, unit)| unit).collect()
}

#[cfg(test)]
mod tests;
