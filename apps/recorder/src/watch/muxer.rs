//! Samples of one live stream into pieces that a page can play, each made once for all who watch.
//!
//! Pure. A sample is presented at its label less the `start` that the last initialisation told. Where labels and the
//! camera's clock part (a session that began anew, a label that was settled), media time goes on without a hole, and the
//! next key frame brings an initialisation with another `start`: an initialisation in the middle of a group of pictures
//! would make a player throw away the rest of it.

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_media::mp4::TrackKind;
use keepwatch_media::mp4::fragment::{
    DecodeTimes, FragmentSample, InitSegment, REORDER_FRAMES_MAX, TrackRun, declared_depth, write_segment,
};
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::pace::Pace;
use keepwatch_store::TRACKS_MAX;

use super::sound::Sound;
use crate::camera::codec_name;
use crate::serve::Tracks;

/// From one picture to the next as far as nothing is known of it.
const STEP_TICKS: i64 = TICKS_PER_SECOND / 25;
/// Labels and the camera's clock agree within this: both are rounded, and labels are steered by 500 ppm.
const AGREES_TICKS: i64 = TICKS_PER_SECOND / 100;
/// Labels that are settled late move by less than this; more is another session.
const SETTLES_TICKS: i64 = TICKS_PER_SECOND;
/// A timestamp that moves by more within a session has jumped.
const JUMP_TICKS: i64 = 5 * TICKS_PER_SECOND;
/// Sound may be so far behind its pictures before silence takes its place: it is sent in longer packets.
const SOUND_LATE_TICKS: i64 = TICKS_PER_SECOND / 2;
/// Most pictures of a piece: a group that comes at once is cut.
const PICTURES_MAX: usize = 256;

/// What a player must know before the pieces that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Init {
    /// The media type, with its codecs.
    pub(super) mime: String,
    /// The coding of the pictures as the API names it.
    pub(super) codec: &'static str,
    /// Width and height in pixels; 0 where not known.
    pub(super) size: (u16, u16),
    /// The label at media time 0.
    pub(super) start: WallTime,
    /// The initialisation segment; empty for Motion JPEG.
    pub(super) bytes: Bytes,
}

/// A part of a stream as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// What it is played by.
    pub(super) init: Arc<Init>,
    /// A media segment, or a JPEG file.
    pub(super) bytes: Bytes,
    /// Whether it begins with a key frame.
    pub(super) key: bool,
    /// Its pictures.
    pub(super) frames: u64,
    /// Label of its first picture; of sound alone, where the pictures before it end.
    pub(super) from: WallTime,
    /// Where its pictures end, as far as is known.
    pub(super) to: WallTime,
}

/// A sample as it is taken.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Position of its track.
    pub(super) track: usize,
    /// Ticks of the track's clock since its session began.
    pub(super) pts: i64,
    /// When it was taken.
    pub(super) label: WallTime,
    /// Whether that is the label that it is recorded with.
    pub(super) settled: bool,
    /// Whether decoding can start here.
    pub(super) key: bool,
    /// Its bytes.
    pub(super) data: Bytes,
}

/// Makes pieces.
#[derive(Debug)]
pub(super) struct Muxer {
    /// Whether sound is wanted.
    with_sound: bool,
    /// Why the stream cannot be played; `None` while it can.
    refused: Option<String>,
    sequence: u32,
    /// Reordered so deep, as far as was seen.
    depth: usize,
    lines: [Option<Line>; TRACKS_MAX],
    pace: Option<Pace>,
    /// The label at media time 0; `None` before the first picture.
    start: Option<WallTime>,
    /// Media time of the last picture.
    last: Option<i64>,
    open: Option<Open>,
}

/// The last sample of a track.
#[derive(Clone, Copy, Debug)]
struct Line {
    pts: i64,
    label: WallTime,
}

/// What is played by one initialisation.
#[derive(Debug)]
struct Open {
    init: Arc<Init>,
    tracks: Tracks,
    video: usize,
    sound: Option<(usize, Sound)>,
    /// `None` for Motion JPEG.
    times: Option<DecodeTimes>,
    pictures: Vec<FragmentSample>,
    data: Vec<Bytes>,
    /// Packets of sound, in media time.
    packets: Vec<(i64, Bytes)>,
    from: Option<WallTime>,
    to: WallTime,
}

impl Muxer {
    /// A muxer that takes sound along if it is wanted and can be delivered.
    pub(super) fn new(with_sound: bool) -> Self {
        Self {
            with_sound,
            refused: None,
            sequence: 0,
            depth: 0,
            lines: [None; TRACKS_MAX],
            pace: None,
            start: None,
            last: None,
            open: None,
        }
    }

    /// Why the stream cannot be played; `None` while it can, or nothing is known of it.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Samples are missing: nothing is of use before the next key frame.
    pub(super) fn missed(&mut self) {
        self.open = None;
    }

    /// Takes a sample of `tracks`. Returns the piece that it ends, if it ends one.
    pub(super) fn push(&mut self, tracks: &Tracks, sample: Sample) -> Option<Piece> {
        let video = tracks.iter().position(|track| track.kind.is_video())?;
        if sample.track != video {
            self.push_sound(tracks, sample);
            return None;
        }
        let same = self.open.as_ref().is_some_and(|open| open.carries(tracks));
        if self.open.is_some() && !same && !sample.key {
            // Pictures of another coding that cannot be decoded without those before them.
            self.open = None;
        }
        let config = tracks.get(video)?;
        let label = self.effective(&sample, config);
        let mut ended = None;
        if sample.key {
            ended = self.flush();
        }
        if !sample.key && self.open.is_none() {
            return ended;
        }
        let media = self.place(label, (video, sample.pts), config);
        if sample.key && (!same || self.is_stale()) {
            self.open(tracks, video, media);
        }
        if let Some(open) = &mut self.open {
            if open.picture(media, label, &sample) == Order::Deeper {
                self.depth = (self.depth.max(declared_depth(config)) + 1).min(REORDER_FRAMES_MAX);
            }
            if open.pictures.len() >= PICTURES_MAX || open.times.is_none() {
                return ended.or_else(|| self.flush());
            }
        }
        ended
    }

    /// Ends the piece that was begun; `None` when there is nothing in it.
    pub(super) fn flush(&mut self) -> Option<Piece> {
        let sequence = self.sequence.wrapping_add(1);
        let piece = self.open.as_mut()?.flush(sequence)?;
        self.sequence = sequence;
        Some(piece)
    }

    fn push_sound(&mut self, tracks: &Tracks, sample: Sample) {
        let Some(config) = tracks.get(sample.track) else { return };
        let label = self.effective(&sample, config);
        let (Some(start), Some(open)) = (self.start, &mut self.open) else { return };
        if open.carries(tracks)
            && let Some((track, _)) = &open.sound
            && *track == sample.track
        {
            open.packets.push((label.ticks_since(start), sample.data));
        }
    }

    /// The label of a sample: where it is not settled, that of the sample before and what passed by the camera's clock.
    fn effective(&mut self, sample: &Sample, config: &TrackConfig) -> WallTime {
        let Some(line) = self.lines.get_mut(sample.track) else { return sample.label };
        let label = match *line {
            Some(last) if !sample.settled => {
                let passed = ticks(sample.pts.saturating_sub(last.pts), config);
                if passed.saturating_abs() <= JUMP_TICKS { last.label.plus(passed) } else { sample.label }
            }
            Some(_) | None => sample.label,
        };
        if !config.kind.is_video() {
            *line = Some(Line { pts: sample.pts, label });
        }
        label
    }

    /// The media time of a picture. Moves `start` where time must go on without a hole.
    fn place(&mut self, label: WallTime, (video, pts): (usize, i64), config: &TrackConfig) -> i64 {
        let last = self.lines.get_mut(video).and_then(|line| line.replace(Line { pts, label }));
        let paused = self.pace.is_some_and(|pace| pace.pauses(label.ticks()));
        let step = self.pace.map_or(STEP_TICKS, |pace| pace.frame_ticks);
        self.pace = Some(Pace::advanced(self.pace, label.ticks()));
        let media = match (last, self.last, self.start) {
            (Some(last), Some(before), Some(start)) => {
                let passed = label.ticks_since(last.label);
                let counted = ticks(pts.saturating_sub(last.pts), config);
                let off = passed.saturating_sub(counted).saturating_abs();
                if paused || off > SETTLES_TICKS {
                    before.saturating_add(step)
                } else if off > AGREES_TICKS {
                    before.saturating_add(counted)
                } else {
                    label.ticks_since(start)
                }
            }
            _ => self.times(config).lead(),
        };
        self.start = Some(label.plus(media.saturating_neg()));
        self.last = Some(media);
        media
    }

    /// Whether what was told does not hold for what comes.
    fn is_stale(&self) -> bool {
        self.open.as_ref().is_none_or(|open| {
            let moved = self.start.is_some_and(|start| start != open.init.start);
            moved
                || open
                    .times
                    .as_ref()
                    .is_some_and(|times| times.lead() < self.times_lead(&open.tracks, open.video))
        })
    }

    fn times_lead(&self, tracks: &Tracks, video: usize) -> i64 {
        tracks.get(video).map_or(0, |config| self.times(config).lead())
    }

    fn times(&self, config: &TrackConfig) -> DecodeTimes {
        DecodeTimes::reordered(self.depth.max(declared_depth(config)), STEP_TICKS)
    }

    /// Begins an initialisation at a key frame at `media`.
    fn open(&mut self, tracks: &Tracks, video: usize, media: i64) {
        let (Some(start), Some(config)) = (self.start, tracks.get(video)) else { return };
        let sound = if self.with_sound { sound_of(tracks) } else { None };
        let init = if config.kind == CodecKind::Jpeg {
            let [w0, w1, h0, h1] = config.config.first_chunk().copied().unwrap_or_default();
            let size = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
            Ok(Init {
                mime: "image/jpeg".to_owned(),
                codec: codec_name(config.kind),
                size,
                start,
                bytes: Bytes::new(),
            })
        } else {
            let heard = sound.as_ref().and_then(|(track, _)| tracks.get(*track));
            let listed: Vec<(TrackKind, &TrackConfig)> = std::iter::once((TrackKind::Video, config))
                .chain(heard.map(|config| (TrackKind::Audio, config)))
                .collect();
            InitSegment::new(&listed).map(|segment| Init {
                mime: segment.mime(),
                codec: codec_name(config.kind),
                size: segment.size,
                start,
                bytes: segment.bytes.into(),
            })
        };
        let init = match init {
            Ok(init) => Arc::new(init),
            Err(error) => {
                self.refused = Some(error.to_string());
                self.open = None;
                return;
            }
        };
        self.refused = None;
        let is_jpeg = config.kind == CodecKind::Jpeg;
        let mut sound = sound.filter(|_| !is_jpeg);
        if let Some((_, sound)) = &mut sound {
            sound.begin(media);
        }
        self.open = Some(Open {
            init,
            tracks: Tracks::clone(tracks),
            video,
            sound,
            times: (!is_jpeg).then(|| self.times(config)),
            pictures: Vec::new(),
            data: Vec::new(),
            packets: Vec::new(),
            from: None,
            to: start.plus(media),
        });
    }
}

/// What a picture tells of the order of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AsAssumed,
    /// It is shown before a picture that was taken to be shown earlier.
    Deeper,
}

impl Open {
    /// Whether `tracks` are what was told.
    fn carries(&self, tracks: &Tracks) -> bool {
        Tracks::ptr_eq(&self.tracks, tracks) || {
            let told = |track: usize| (self.tracks.get(track), tracks.get(track));
            let same = |track: usize| matches!(told(track), (Some(one), Some(other)) if one == other);
            same(self.video) && self.sound.as_ref().is_none_or(|(track, _)| same(*track))
        }
    }

    /// Takes a picture.
    fn picture(&mut self, media: i64, label: WallTime, sample: &Sample) -> Order {
        let placed = match &mut self.times {
            Some(times) => times.place(media, None),
            None => DecodeTimes::in_order(STEP_TICKS).place(media, None),
        };
        let bytes = u32::try_from(sample.data.len()).unwrap_or(u32::MAX);
        let step = i64::from(placed.duration).min(TICKS_PER_SECOND);
        self.from = Some(self.from.map_or(label, |from| from.min(label)));
        self.to = self.to.max(label.plus(step));
        self.pictures.push(FragmentSample { bytes, placed, key: sample.key });
        self.data.push(sample.data.clone());
        if placed.offset < 0 { Order::Deeper } else { Order::AsAssumed }
    }

    fn flush(&mut self, sequence: u32) -> Option<Piece> {
        let pictures = std::mem::take(&mut self.pictures);
        let data = std::mem::take(&mut self.data);
        let from = self.from.take().unwrap_or(self.to);
        let (key, frames) = (pictures.first().is_some_and(|first| first.key), pictures.len());
        let init = Arc::clone(&self.init);
        let to = self.to;
        let piece = |bytes| {
            let frames = u64::try_from(frames).unwrap_or(0);
            Piece { init, bytes, key, frames, from, to }
        };
        if self.times.is_none() {
            return data.into_iter().next().map(piece);
        }
        let (heard, heard_data) = self.flush_sound(pictures.last());
        if pictures.is_empty() && heard.is_empty() {
            return None;
        }
        let pieces: Vec<&[u8]> = data.iter().map(|data| &data[..]).collect();
        let sounds: [&[u8]; 1] = [&heard_data];
        let runs = [
            TrackRun { track: 1, samples: &pictures, offsets: true, data: &pieces },
            TrackRun { track: 2, samples: &heard, offsets: false, data: &sounds },
        ];
        let mut bytes = Vec::new();
        // It fails where pictures of a piece have more than a gibibyte, which none has.
        write_segment(sequence, &runs, &mut bytes).ok()?;
        Some(piece(bytes.into()))
    }

    fn flush_sound(&mut self, last: Option<&FragmentSample>) -> (Vec<FragmentSample>, Vec<u8>) {
        let Some((_, sound)) = &mut self.sound else { return Default::default() };
        let packets = std::mem::take(&mut self.packets);
        let packets: Vec<(i64, &[u8])> = packets.iter().map(|(at, data)| (*at, &data[..])).collect();
        sound.push(&packets);
        if let Some(FragmentSample { placed, .. }) = last {
            let shown = i64::try_from(placed.decode).unwrap_or(0) + i64::from(placed.offset);
            sound.cover(shown - SOUND_LATE_TICKS);
        }
        sound.take()
    }
}

/// The first track of sound that can be delivered.
pub(super) fn sound_of(tracks: &[TrackConfig]) -> Option<(usize, Sound)> {
    tracks.iter().enumerate().find_map(|(number, track)| Some((number, Sound::new(track)?)))
}

/// 90 kHz ticks of a track's own.
fn ticks(own: i64, config: &TrackConfig) -> i64 {
    let rate = i128::from(config.clock_rate.max(1));
    let scaled = (i128::from(own) * i128::from(TICKS_PER_SECOND)).div_euclid(rate);
    i64::try_from(scaled).unwrap_or(if own < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
