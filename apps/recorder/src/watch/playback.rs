//! Windows of footage as fragmented MP4, segment by segment, a record each.
//!
//! Which samples, and how long each is shown, is a function of the records alone, so that windows that share an edge join
//! without a hole, and what two windows share is the same in both. A sample is shown until the next; over seams of less
//! than a second, too. Records that were overwritten or cannot be read since they were found are passed over: the hole
//! is one in time. It blocks.

use std::collections::VecDeque;

use keepwatch_media::mp4::fragment::{
    DecodeTimes, FragmentSample, InitSegment, TrackRun, declared_depth, reorder_depth, write_segment,
};
use keepwatch_media::mp4::{Mp4Error, TrackKind};
use keepwatch_model::{CameraId, CodecKind, Span, StreamId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_store::{ReadError, Record, RecordIndex, RecordRef, RecordTrack, Store};

use super::sound::Sound;
use crate::footage::{FootageError, MARGIN_TICKS, bytes_of, read_index, records_from_key};

/// Longest window of all frames.
pub(crate) const WINDOW_TICKS_MAX: i64 = 600 * TICKS_PER_SECOND;
/// Longest window of key frames.
pub(crate) const KEY_WINDOW_TICKS_MAX: i64 = 24 * 3_600 * TICKS_PER_SECOND;
/// Most key frames of a window: more than a strip of pictures shows, or a player steps through in a minute.
const KEY_FRAMES_MAX: usize = 600;
/// Seams of less are bridged.
const SEAM_TICKS_MAX: i64 = TICKS_PER_SECOND;
/// Most runs of a window whose parameters are compared before it begins; a window with more ends early.
const RUNS_MAX: usize = 64;
/// Sound may be recorded so much later than the pictures it belongs to.
const SOUND_LATE_TICKS: i64 = TICKS_PER_SECOND / 2;
/// Longest that a key frame stands for when the next is missing.
const KEY_TICKS_MAX: i64 = 10 * TICKS_PER_SECOND;
/// From one picture to the next as far as nothing is known of it.
const STEP_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Records in which sound is looked for: it may begin a moment after the pictures.
const SOUND_RECORDS: usize = 3;

/// Which frames of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// All, from the clean point at or before its start.
    All,
    /// Key frames, evenly thinned.
    Key,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) camera: CameraId,
    pub(crate) stream: StreamId,
    pub(crate) window: Span,
    /// The label at media time 0, lowered where the window begins before it.
    pub(crate) base: WallTime,
    pub(crate) frames: Frames,
    pub(crate) sound: bool,
}

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaybackError {
    /// There is no footage, or none where it would begin.
    #[error(transparent)]
    Footage(#[from] FootageError),
    /// What is held cannot be played as MP4.
    #[error("this footage cannot be played in a page: {0}")]
    Unplayable(#[from] Mp4Error),
}

/// A window that is being read.
pub(crate) struct Playback {
    store: Store,
    window: Span,
    base: WallTime,
    /// Where the records begin that were left out as parameters changed.
    next: Option<WallTime>,
    mime: String,
    /// Handed out first.
    init: Option<Vec<u8>>,
    frames: Frames,
    records: VecDeque<RecordRef>,
    /// Number of its first picture in the first record; `None` once that was read.
    first: Option<usize>,
    clean: WallTime,
    /// The label that is shown first: pictures may be shown before the key frame that they follow.
    shown_from: WallTime,
    times: DecodeTimes,
    /// The record before the first, whose sound may reach into it.
    sound_before: Option<RecordRef>,
    sound: Option<(TrackConfig, Sound)>,
    /// A hole is before what comes next.
    broken: bool,
    sequence: u32,
}

/// The tracks of a record that are delivered.
struct Chosen<'a> {
    video: &'a RecordTrack,
    sound: Option<&'a TrackConfig>,
}

impl<'a> Chosen<'a> {
    fn of(index: &'a RecordIndex, with_sound: bool) -> Option<Self> {
        let video = index.tracks.iter().find(|track| track.config.kind.is_video())?;
        let audible = |track: &&RecordTrack| with_sound && Sound::new(&track.config).is_some();
        let sound = index.tracks.iter().find(audible).map(|track| &track.config);
        Some(Self { video, sound })
    }
}

impl Playback {
    /// Plans a window. Reads a few indexes.
    ///
    /// # Errors
    /// When nothing is held there, or what is held cannot be read or played.
    pub(crate) fn plan(store: &Store, wanted: Wanted) -> Result<Self, PlaybackError> {
        let Wanted { camera, stream, window, frames, .. } = wanted;
        let empty = || FootageError::Empty { camera, window };
        let found = reaching(records_from_key(store, (camera, stream), window)?, window.from);
        let mut records: VecDeque<RecordRef> = match frames {
            Frames::All => found.into(),
            Frames::Key => thinned(found, window),
        };
        let with_sound = wanted.sound && frames == Frames::All;
        // The first record with a clean point; mostly the first of all.
        let (index, first) = loop {
            let record =
                records.front().filter(|record| record.info.label.from < window.to).ok_or_else(empty)?;
            let index = read_index(store, record)?;
            let clean = Chosen::of(&index, false).and_then(|chosen| clean_point(chosen.video, window.from));
            match clean {
                Some(clean) => break (index, clean),
                None => drop(records.pop_front()),
            }
        };
        let Some(Chosen { video, sound }) = Chosen::of(&index, with_sound) else {
            return Err(empty().into());
        };
        let clean = video.samples.get(first).map(|sample| video.label_of(sample)).ok_or_else(empty)?;
        if clean >= window.to {
            return Err(empty().into());
        }
        let sound = match sound {
            Some(sound) if is_heard(store, &records, &index, sound) => Some(sound.clone()),
            Some(_) | None => None,
        };
        let next = end_at_change(store, &mut records, window, (&video.config, sound.as_ref()));

        let shown: Vec<i64> =
            video.samples.iter().skip(first).map(|sample| video.label_of(sample).ticks()).collect();
        let depth = declared_depth(&video.config).max(reorder_depth(shown.iter().copied()));
        let times = match (frames, depth) {
            (Frames::Key, _) | (_, 0) => DecodeTimes::in_order(STEP_TICKS),
            (Frames::All, depth) => DecodeTimes::reordered(depth, step(&shown)),
        };
        let behind = video.samples.iter().skip(first + 1).take_while(|sample| !sample.key);
        let shown_from = behind.map(|sample| video.label_of(sample)).fold(clean, WallTime::min);
        let heard_before = if sound.is_some() { SOUND_LATE_TICKS + TICKS_PER_SECOND / 10 } else { 0 };
        let base = wanted.base.min(clean.plus(-times.lead().max(heard_before)));
        let listed: Vec<(TrackKind, &TrackConfig)> = std::iter::once((TrackKind::Video, &video.config))
            .chain(sound.iter().map(|config| (TrackKind::Audio, config)))
            .collect();
        let init = InitSegment::new(&listed)?;
        let sound = sound.and_then(|config| Some((Sound::new(&config)?, config)));
        let sound_before = match (&sound, records.front()) {
            (Some(_), Some(record)) => before(store, record)?,
            _ => None,
        };
        Ok(Self {
            store: store.clone(),
            window,
            base,
            next,
            mime: init.mime(),
            init: Some(init.bytes),
            frames,
            records,
            first: Some(first),
            clean,
            shown_from,
            times,
            sound_before,
            sound: sound.map(|(sound, config)| (config, sound)),
            broken: false,
            sequence: 0,
        })
    }

    /// The label at media time 0.
    pub(crate) const fn base(&self) -> WallTime {
        self.base
    }

    /// The label of the first picture. Sound may begin earlier.
    pub(crate) const fn first_picture(&self) -> WallTime {
        self.shown_from
    }

    /// The media type, with its codecs.
    pub(crate) fn mime(&self) -> &str {
        &self.mime
    }

    /// Where it goes on when it ends before the window does, as the camera's parameters changed; `None` when it does
    /// not.
    pub(crate) const fn next(&self) -> Option<WallTime> {
        self.next
    }

    /// The next part: the initialisation first, then a segment for each record; `None` at the end. What cannot be read
    /// any more is told to `lost` and left out.
    pub(crate) fn part(&mut self, mut lost: impl FnMut(&RecordRef, &ReadError)) -> Option<Vec<u8>> {
        if let Some(init) = self.init.take() {
            return Some(init);
        }
        // A record's labels begin with its first picture. Where pictures are reordered, some behind it are shown before that.
        let early = if self.times.lead() > 0 { MARGIN_TICKS } else { 0 };
        while let Some(record) = self.records.pop_front() {
            if record.info.label.from >= self.window.to.plus(early) {
                self.records.clear();
                return None;
            }
            let made = match self.frames {
                Frames::All => self.store.read(&record).map(|read| self.segment(&record, &read)),
                Frames::Key => self.key_frame(&record),
            };
            match made {
                Ok(Some(segment)) => return Some(segment),
                Ok(None) => {}
                Err(error) => {
                    lost(&record, &error);
                    self.broken = true;
                    self.first.take();
                }
            }
        }
        None
    }

    /// The segment of a record; `None` when it has nothing for the window.
    fn segment(&mut self, record: &RecordRef, read: &Record) -> Option<Vec<u8>> {
        let tracks = &read.index().tracks;
        let (number, video) = tracks.iter().enumerate().find(|(_, track)| track.config.kind.is_video())?;
        let first = self.first.take();
        let is_first = first.is_some();
        let begin = first.unwrap_or(0);
        let label = |place: usize| video.samples.get(place).map(|sample| video.label_of(sample));
        let end = video.samples.iter().rposition(|sample| video.label_of(sample) < self.window.to);
        let end = end.map_or(0, |last| last + 1);

        let mut pictures = Vec::with_capacity(end.saturating_sub(begin));
        let mut shown_until = None;
        let following = self.following(record);
        if self.broken
            && let Some((_, sound)) = &mut self.sound
        {
            sound.restart();
        }
        for place in begin..end {
            let (Some(sample), Some(shown)) = (video.samples.get(place), label(place)) else { break };
            let shown = shown.ticks_since(self.base);
            if std::mem::take(&mut self.broken) {
                self.times.resume_at(shown);
            }
            let placed = match (label(place + 1), following) {
                (Some(then), _) => self.times.place(shown, Some(then.ticks_since(self.base))),
                (None, Following::GoesOn(then)) => self.times.place(shown, Some(then.ticks_since(self.base))),
                (None, Following::Seam(then)) => self.times.place_last(shown, then.ticks_since(self.base)),
                (None, Following::Nothing) => {
                    self.broken = true;
                    self.times.place_last(shown, record.info.label.to.ticks_since(self.base))
                }
            };
            shown_until = shown_until.max(Some(shown + i64::from(placed.duration)));
            pictures.push(FragmentSample { bytes: sample.bytes, placed, key: sample.key });
        }
        let heard = self.hear(is_first, read, shown_until);
        if pictures.is_empty() && heard.0.is_empty() {
            return None;
        }
        let data = bytes_of(video, read.track_data(number), begin..end);
        self.write(&pictures, data, &heard)
    }

    /// The segment of one key frame.
    fn key_frame(&mut self, record: &RecordRef) -> Result<Option<Vec<u8>>, ReadError> {
        let index = self.store.read_index(record)?;
        let Some((number, video)) =
            index.tracks.iter().enumerate().find(|(_, track)| track.config.kind.is_video())
        else {
            return Ok(None);
        };
        let place = self.first.take().or_else(|| video.samples.iter().position(|sample| sample.key));
        let Some((place, sample)) = place.and_then(|place| Some((place, video.samples.get(place)?))) else {
            return Ok(None);
        };
        let data = self.store.read_sample(record, &index, (number, place))?;
        let shown = video.label_of(sample).ticks_since(self.base);
        if std::mem::take(&mut self.broken) {
            self.times.resume_at(shown);
        }
        let then = self.records.front().map(|next| next.info.label.from).or(self.next);
        let then = then.map(|then| then.ticks_since(self.base)).filter(|then| *then > shown);
        let stands = KEY_TICKS_MAX.max(2 * self.window.ticks() / i64::try_from(KEY_FRAMES_MAX).unwrap_or(1));
        let placed = match then {
            Some(then) if then - shown <= stands => self.times.place(shown, Some(then)),
            Some(_) | None => {
                self.broken = true;
                let end = record.info.label.to.ticks_since(self.base);
                self.times.place_last(shown, end.min(shown + stands))
            }
        };
        let picture = FragmentSample { bytes: sample.bytes, placed, key: true };
        Ok(self.write(&[picture], &data, &Default::default()))
    }

    fn write(
        &mut self,
        pictures: &[FragmentSample],
        data: &[u8],
        heard: &(Vec<FragmentSample>, Vec<u8>),
    ) -> Option<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::new();
        let runs = [
            TrackRun { track: 1, samples: pictures, offsets: true, data: &[data] },
            TrackRun { track: 2, samples: &heard.0, offsets: false, data: &[&heard.1] },
        ];
        match write_segment(self.sequence, &runs, &mut out) {
            Ok(()) => Some(out),
            Err(error) => {
                // Its lengths were checked when the record was read; it is left out rather than sent wrongly.
                tracing::error!(%error, "a segment cannot be written");
                self.broken = true;
                None
            }
        }
    }

    /// What comes behind `record`.
    fn following(&self, record: &RecordRef) -> Following {
        let next = self.records.front();
        let Some(label) = next.map(|next| next.info.label.from).or(self.next) else {
            return Following::Nothing;
        };
        if label.ticks_since(record.info.label.to) >= SEAM_TICKS_MAX {
            return Following::Nothing;
        }
        match next {
            Some(next) if next.info.run == record.info.run => Following::GoesOn(label),
            Some(_) | None => Following::Seam(label),
        }
    }

    /// The sound of a record whose pictures are shown until `until`.
    fn hear(&mut self, is_first: bool, read: &Record, until: Option<i64>) -> (Vec<FragmentSample>, Vec<u8>) {
        let Some((config, sound)) = &mut self.sound else { return Default::default() };
        let (base, to) = (self.base, self.window.to);
        if is_first {
            let early = self.clean.plus(-SOUND_LATE_TICKS);
            if let Some(before) = self.sound_before.take()
                // Sound that is missing is silence, not a reason to end.
                && let Ok(before) = self.store.read(&before)
            {
                push(sound, config, &before, base, Span { from: early, to });
            }
            push(sound, config, read, base, Span { from: early, to });
            if sound.end().is_none() {
                sound.begin(self.clean.ticks_since(base));
            }
        } else {
            push(sound, config, read, base, Span { from: WallTime::MIN, to });
        }
        if let Some(until) = until {
            sound.cover(until.saturating_sub(SOUND_LATE_TICKS));
        }
        sound.take()
    }
}

/// What comes behind the last picture of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Following {
    /// The next record of the same run.
    GoesOn(WallTime),
    /// Another run, after a seam that is bridged.
    Seam(WallTime),
    /// Nothing, for a while.
    Nothing,
}

/// Takes the sound of a record whose blocks end behind the beginning of `wanted` and begin before its end. Blocks are
/// counted from the record's first packet, so that they are the same in every window.
fn push(sound: &mut Sound, config: &TrackConfig, read: &Record, base: WallTime, wanted: Span) {
    let Some((number, track)) =
        read.index().tracks.iter().enumerate().find(|(_, track)| track.config == *config)
    else {
        return;
    };
    let packet = |(place, sample)| (track.label_of(sample), read.sample(number, place));
    let packets: Vec<(WallTime, &[u8])> = track.samples.iter().enumerate().map(packet).collect();
    let mut rest = packets.as_slice();
    while let Some((from, _)) = rest.first() {
        let mut ticks = 0;
        let count = match config.kind {
            CodecKind::Pcmu | CodecKind::Pcma => rest
                .iter()
                .take_while(|(_, packet)| {
                    ticks += sound.ticks(packet.len());
                    ticks <= TICKS_PER_SECOND / 10
                })
                .count()
                .max(1),
            CodecKind::Aac | CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => 1,
        };
        let (block, behind) = rest.split_at(count.min(rest.len()));
        let sounds: i64 = block.iter().map(|(_, packet)| sound.ticks(packet.len())).sum();
        if from.plus(sounds) > wanted.from && *from < wanted.to {
            let block: Vec<(i64, &[u8])> =
                block.iter().map(|(label, packet)| (label.ticks_since(base), *packet)).collect();
            sound.push(&block);
        }
        rest = behind;
    }
}

/// The picture to begin with: the last clean point at or before `from`, else the first.
fn clean_point(video: &RecordTrack, from: WallTime) -> Option<usize> {
    let early = |sample: &keepwatch_store::Sample| sample.key && video.label_of(sample) <= from;
    video.samples.iter().rposition(early).or_else(|| video.samples.iter().position(|sample| sample.key))
}

/// Whether there is sound where the window begins.
fn is_heard(store: &Store, records: &VecDeque<RecordRef>, first: &RecordIndex, sound: &TrackConfig) -> bool {
    let heard = |index: &RecordIndex| {
        index.tracks.iter().any(|track| track.config == *sound && !track.samples.is_empty())
    };
    // One that cannot be read has no sound.
    heard(first)
        || records
            .iter()
            .take(SOUND_RECORDS)
            .skip(1)
            .any(|record| store.read_index(record).is_ok_and(|index| heard(&index)))
}

/// The record that ends where `record` begins, if there is one.
fn before(store: &Store, record: &RecordRef) -> Result<Option<RecordRef>, FootageError> {
    let from = record.info.label.from;
    let window = Span { from: from.plus(-SOUND_LATE_TICKS), to: from };
    let found = store.records(record.camera, record.stream, window)?;
    Ok(found.into_iter().rfind(|other| other.info.label.from < from && other.info.run == record.info.run))
}

/// Takes away the records behind the first change of parameters; returns where the first of them begins.
fn end_at_change(
    store: &Store,
    records: &mut VecDeque<RecordRef>,
    window: Span,
    told: (&TrackConfig, Option<&TrackConfig>),
) -> Option<WallTime> {
    let mut run = records.front().map(|record| record.info.run);
    let mut compared = 0;
    let change = records.iter().position(|record| {
        if Some(record.info.run) == run || record.info.label.from >= window.to {
            return false;
        }
        run = Some(record.info.run);
        compared += 1;
        let carries = |index: &RecordIndex| {
            Chosen::of(index, told.1.is_some())
                .is_some_and(|chosen| (&chosen.video.config, chosen.sound) == told)
        };
        // One that cannot be read is passed over when its turn comes.
        compared > RUNS_MAX || store.read_index(record).is_ok_and(|index| !carries(&index))
    });
    let change = change?;
    let behind = records.get(change).map(|record| record.info.label.from);
    records.truncate(change);
    behind
}

/// Without the records before a hole in which the window begins, or behind which it does.
fn reaching(mut found: Vec<RecordRef>, from: WallTime) -> Vec<RecordRef> {
    let ends_before = |position: &usize| {
        let Some(record) = found.get(*position) else { return false };
        let until = record.info.label.to;
        let next = found.get(position + 1).map_or(WallTime::MAX, |next| next.info.label.from);
        until <= from && next.ticks_since(until) >= SEAM_TICKS_MAX
    };
    match (0..found.len()).rev().find(ends_before) {
        Some(last) => found.split_off(last + 1),
        None => found,
    }
}

/// One record with a key frame for each of [`KEY_FRAMES_MAX`] equal parts of the window.
fn thinned(found: Vec<RecordRef>, window: Span) -> VecDeque<RecordRef> {
    let slot_ticks = (window.ticks() / i64::try_from(KEY_FRAMES_MAX).unwrap_or(1)).max(1);
    let mut last = None;
    let keys = found.into_iter().filter(|record| record.info.starts_with_key);
    keys.filter(|record| {
        let slot = record.info.label.from.ticks_since(window.from).max(0) / slot_ticks;
        last.replace(slot) != Some(slot)
    })
    .take(KEY_FRAMES_MAX)
    .collect()
}

/// The distance of pictures that are shown at `shown`.
fn step(shown: &[i64]) -> i64 {
    let mut sorted = shown.to_vec();
    sorted.sort_unstable();
    let distances = sorted.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?));
    distances.filter(|distance| *distance > 0).min().unwrap_or(STEP_TICKS).min(TICKS_PER_SECOND)
}

#[cfg(test)]
pub(crate) mod tests;
