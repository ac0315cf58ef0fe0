//! Exports: the exact frames of a window as one MP4 file, planned from the index and then streamed.
//!
//! The plan reads record indexes only; media is read record by record while the file is written, so memory does
//! not grow with the footage. Pictures are not touched; those before the window that are needed to decode the
//! first one shown are in the file and hidden by its edit list. AAC is delivered as it was received, G.711 as FLAC,
//! metadata not at all.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use keepwatch_media::aac::AacConfig;
use keepwatch_media::flac::{Block, Coding, FlacError, G711Frames};
use keepwatch_media::mp4::{MovieBuilder, MovieMeta, Mp4Error, SampleInfo, TrackHandle, TrackKind};
use keepwatch_model::{CameraId, CodecKind, Span, StreamId, TICKS_PER_SECOND, TrackConfig};
use keepwatch_store::{Record, RecordIndex, RecordRef, RecordTrack, Store};

pub use crate::footage::FootageError;
use crate::footage::{MARGIN_TICKS, bytes_of, read_index, records_from_key};

/// Exports that are planned or written at the same time: a plan may take a hundred megabytes, and recording comes
/// first.
pub(crate) const EXPORTS_MAX: usize = 4;
/// Longest export in one file.
pub const EXPORT_TICKS_MAX: i64 = 24 * 3_600 * TICKS_PER_SECOND;
/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The window is longer than a file may be.
    #[error("an export holds at most 24 hours; ask for a shorter span or several files")]
    TooLong,
    /// There is no footage for it.
    #[error(transparent)]
    Footage(#[from] FootageError),
    /// The file cannot be planned.
    #[error(transparent)]
    Movie(#[from] Mp4Error),
    /// The sound cannot be delivered.
    #[error(transparent)]
    Sound(#[from] FlacError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// A file that is planned and can be written.
pub struct Export {
    store: Store,
    header: Vec<u8>,
    file_bytes: u64,
    parts: Vec<Part>,
    /// Parts that were written.
    written: usize,
    /// Codes the sound, if any of it is.
    sound: Option<G711Frames>,
}

/// What of a stream goes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Pictures of this coding only, with the sound beside them; `None` takes all.
    pub coding: Option<CodecKind>,
    /// Whether there is to be sound.
    pub sound: bool,
}

impl Selection {
    /// All that there is.
    pub const ALL: Self = Self { coding: None, sound: true };
}

/// What one record gives to the file.
struct Part {
    record: RecordRef,
    /// Track and samples of the pictures.
    pictures: Option<(usize, Range<usize>)>,
    sound: Option<Sound>,
}

/// What one record gives to the sound of the file.
enum Sound {
    /// Samples of a track as they are.
    AsStored { track: usize, samples: Range<usize> },
    /// Blocks of packets from `first` on, to be coded.
    Flac { track: usize, first: usize, blocks: Vec<Block> },
}

/// How the sound of a file is delivered, by the configuration of the first track that gives some.
enum Delivery {
    AsStored,
    Flac(G711Frames),
}

impl Delivery {
    fn of(config: &TrackConfig) -> Result<Self, FlacError> {
        match config.kind {
            CodecKind::Aac => Ok(Self::AsStored),
            CodecKind::Pcmu
            | CodecKind::Pcma
            | CodecKind::H264
            | CodecKind::H265
            | CodecKind::Jpeg
            | CodecKind::Metadata => G711Frames::new(config).map(Self::Flac),
        }
    }
}

impl Export {
    /// Plans the file of a stream of `camera` in `window`, titled `title`. Reads indexes, so it blocks.
    ///
    /// # Errors
    /// When nothing is held there, or what is held cannot be read or put into a file.
    pub fn plan(
        store: &Store,
        camera: CameraId,
        stream: StreamId,
        title: &str,
        window: Span,
    ) -> Result<Self, ExportError> {
        Self::plan_selected(store, (camera, stream), title, window, Selection::ALL)
    }

    /// The same of what `selection` says.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_selected(
        store: &Store,
        (camera, stream): (CameraId, StreamId),
        title: &str,
        window: Span,
        selection: Selection,
    ) -> Result<Self, ExportError> {
        if window.ticks() > EXPORT_TICKS_MAX {
            return Err(ExportError::TooLong);
        }
        let records = records_from_key(store, (camera, stream), window)?;
        let mut plan = Plan { selection, ..Plan::new(window, title)? };
        for record in records {
            let index = read_index(store, &record)?;
            if !plan.add(record, &index)? {
                break;
            }
        }
        if plan.parts.is_empty() {
            return Err(FootageError::Empty { camera, window }.into());
        }
        let movie = match plan.builder.finish() {
            Err(Mp4Error::Empty(_)) => return Err(FootageError::Empty { camera, window }.into()),
            finished => finished?,
        };
        let file_bytes = movie.file_bytes();
        // Frames are numbered from the first again when they are coded.
        let sound = match &plan.sound {
            Some((config, Delivery::Flac(_))) => Some(G711Frames::new(config)?),
            Some((_, Delivery::AsStored)) | None => None,
        };
        Ok(Self {
            store: store.clone(),
            header: movie.header,
            file_bytes,
            parts: plan.parts,
            written: 0,
            sound,
        })
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Writes the file piece by piece; `write` takes each piece and may end it with an error. Blocks.
    ///
    /// # Errors
    /// When footage was overwritten since it was planned or does not match its checksum, or `write` fails.
    pub fn write(mut self, mut write: impl FnMut(Vec<u8>) -> io::Result<()>) -> Result<(), ExportError> {
        while let Some(piece) = self.next_piece()? {
            write(piece)?;
        }
        Ok(())
    }

    /// The next bytes of the file, at most a record's; `None` at its end. Blocks.
    ///
    /// # Errors
    /// When footage was overwritten since it was planned or does not match its checksum.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        let header = std::mem::take(&mut self.header);
        if !header.is_empty() {
            return Ok(Some(header));
        }
        let Some(part) = self.parts.get(self.written) else { return Ok(None) };
        self.written += 1;
        let unread = |source| FootageError::unread(&part.record, source);
        let record = self.store.read(&part.record).map_err(unread)?;
        let mut piece = Vec::new();
        if let Some((track, samples)) = &part.pictures {
            piece.extend_from_slice(bytes_in(&record, *track, samples.clone()));
        }
        match (&part.sound, &mut self.sound) {
            (Some(Sound::AsStored { track, samples }), _) => {
                piece.extend_from_slice(bytes_in(&record, *track, samples.clone()));
            }
            (Some(Sound::Flac { track, first, blocks }), Some(sound)) => {
                for block in blocks {
                    let packets = first + block.packets.start..first + block.packets.end;
                    let packets = bytes_in(&record, *track, packets);
                    sound.encode(Coding::Plain, block, packets, &mut piece)?;
                }
            }
            (Some(Sound::Flac { .. }) | None, _) => {}
        }
        Ok(Some(piece))
    }

    /// Writes the file to `path`, which appears when it is complete.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_file(self, path: &Path) -> Result<(), ExportError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".part");
        let unfinished = Path::new(&unfinished);
        let mut file = std::fs::File::create(unfinished)?;
        let written = self.write(|piece| file.write_all(&piece)).and_then(|()| {
            file.sync_all()?;
            std::fs::rename(unfinished, path)?;
            Ok(())
        });
        if written.is_err() {
            // The error at hand matters more than one of tidying up after it.
            let _ = std::fs::remove_file(unfinished);
        }
        written
    }
}

struct Plan {
    window: Span,
    selection: Selection,
    builder: MovieBuilder,
    pictures: TrackHandle,
    sounds: TrackHandle,
    parts: Vec<Part>,
    sound: Option<(TrackConfig, Delivery)>,
}

impl Plan {
    fn new(window: Span, title: &str) -> Result<Self, ExportError> {
        let mut builder = MovieBuilder::new(MovieMeta { window, title: title.to_owned() });
        let pictures = builder.add_track(TrackKind::Video)?;
        let sounds = builder.add_track(TrackKind::Audio)?;
        Ok(Self {
            window,
            selection: Selection::ALL,
            builder,
            pictures,
            sounds,
            parts: Vec::new(),
            sound: None,
        })
    }

    /// Adds what `record` gives; false when it and all after it are behind the window.
    fn add(&mut self, record: RecordRef, index: &RecordIndex) -> Result<bool, ExportError> {
        let mut part = Part { record, pictures: None, sound: None };
        let goes_on = record.info.label.from < self.window.to.plus(MARGIN_TICKS);
        let other = |track: &RecordTrack| {
            track.config.kind.is_video()
                && self.selection.coding.is_some_and(|coding| coding != track.config.kind)
        };
        if index.tracks.iter().any(other) {
            return Ok(goes_on);
        }
        for (number, track) in index.tracks.iter().enumerate() {
            if track.config.kind.is_video() && part.pictures.is_none() {
                let samples = self.pictures_of(track);
                if !samples.is_empty() {
                    let infos = infos(track, samples.clone());
                    self.builder.add_chunk(self.pictures, &track.config, &infos)?;
                    part.pictures = Some((number, samples));
                }
            }
        }
        // Sound before the first picture would be a file that begins in the middle of a group of pictures: what comes
        // next would be taken to go on from a key frame.
        let begun = part.pictures.is_some() || !self.parts.is_empty();
        for (number, track) in index.tracks.iter().enumerate() {
            if begun && self.selection.sound && track.config.kind.is_audio() && part.sound.is_none() {
                part.sound = self.sound_of(number, track)?;
            }
        }
        if part.pictures.is_some() || part.sound.is_some() {
            self.parts.push(part);
        }
        Ok(goes_on)
    }

    /// The pictures of `track` that belong into the file: the first ones from the last key frame at or before the
    /// window, then all up to the last one that is shown. The first part has pictures, always.
    fn pictures_of(&self, track: &RecordTrack) -> Range<usize> {
        let samples = &track.samples;
        let shown = |sample| {
            let label = track.label_of(sample);
            label < self.window.to
        };
        let end = samples.iter().rposition(shown).map_or(0, |last| last + 1);
        if !self.parts.is_empty() {
            return 0..end;
        }
        let early = |sample: &keepwatch_store::Sample| track.label_of(sample) <= self.window.from;
        let start = samples
            .iter()
            .rposition(|sample| sample.key && early(sample))
            .or_else(|| samples.iter().position(|sample| sample.key));
        start.map_or(0..0, |start| start..end.max(start))
    }

    fn sound_of(&mut self, number: usize, track: &RecordTrack) -> Result<Option<Sound>, ExportError> {
        let heard = |sample: &keepwatch_store::Sample| {
            let label = track.label_of(sample);
            label.plus(MARGIN_TICKS) > self.window.from && label < self.window.to
        };
        let Some(first) = track.samples.iter().position(heard) else { return Ok(None) };
        let end = track.samples.iter().rposition(heard).map_or(first, |last| last + 1);
        let delivery = match &mut self.sound {
            Some((config, delivery)) if *config == track.config => delivery,
            // Another coding of sound within one file: its pictures are delivered, its sound is not.
            Some(_) => return Ok(None),
            unknown @ None => {
                let delivery = Delivery::of(&track.config)?;
                &mut unknown.insert((track.config.clone(), delivery)).1
            }
        };
        match delivery {
            Delivery::AsStored => {
                self.builder.add_chunk(self.sounds, &track.config, &infos(track, first..end))?;
                Ok(Some(Sound::AsStored { track: number, samples: first..end }))
            }
            Delivery::Flac(frames) => {
                let mut blocks = Vec::new();
                frames.plan(&infos(track, first..end), &mut blocks)?;
                let samples: Vec<SampleInfo> =
                    blocks.iter().map(|block| frames.plain_sample(block)).collect();
                self.builder.add_chunk(self.sounds, &track.config, &samples)?;
                Ok(Some(Sound::Flac { track: number, first, blocks }))
            }
        }
    }
}

fn infos(track: &RecordTrack, samples: Range<usize>) -> Vec<SampleInfo> {
    let rate = i64::from(track.config.clock_rate.max(1));
    let unit_ticks = AacConfig::parse(&track.config.config).map_or(0, |aac| {
        // The configuration that is read has a rate above 0.
        i64::from(aac.unit_samples) * TICKS_PER_SECOND / i64::from(aac.rate_hz.max(1))
    });
    let duration = |sample: &keepwatch_store::Sample| match track.config.kind {
        CodecKind::Pcmu | CodecKind::Pcma => i64::from(sample.bytes) * TICKS_PER_SECOND / rate,
        CodecKind::Aac => unit_ticks,
        CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => 0,
    };
    let samples = track.samples.get(samples).unwrap_or_default();
    samples
        .iter()
        .map(|sample| SampleInfo {
            size_bytes: sample.bytes,
            pts: track.label_of(sample),
            duration_ticks: u32::try_from(duration(sample)).unwrap_or(u32::MAX),
            key: sample.key,
        })
        .collect()
}

/// The bytes of `samples` of one of a record's tracks.
fn bytes_in(record: &Record, track: usize, samples: Range<usize>) -> &[u8] {
    let held = record.index().tracks.get(track);
    held.map_or(&[], |held| bytes_of(held, record.track_data(track), samples))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::watch::footage_tests::{Site, camera};

    #[test]
    fn a_file_with_sound_begins_at_the_first_key_frame_where_the_footage_begins_between_two() {
        let mut site = Site::new();
        site.with_sound = true;
        // What a full disk has left of a group of pictures that is longer than its records, and the next group.
        site.next = 5;
        let from = site.label(5);
        [10, 10, 25, 25].into_iter().for_each(|frames| site.record(frames));
        let window = Span { from, to: site.label(75) };
        let export = Export::plan(&site.store, camera(), StreamId::MAIN, "", window).unwrap();
        let parts: Vec<_> =
            export.parts.iter().map(|part| (part.pictures.clone(), part.sound.is_some())).collect();
        assert_eq!(parts, [(Some((0, 0..25)), true), (Some((0, 0..25)), true)]);
        let (announced, mut written) = (export.file_bytes(), 0);
        export
            .write(|piece| {
                written += u64::try_from(piece.len()).unwrap();
                Ok(())
            })
            .unwrap();
        assert_eq!(written, announced);

        let window = Span { from, to: site.label(25) };
        let nothing = Export::plan(&site.store, camera(), StreamId::MAIN, "", window);
        assert!(
            matches!(nothing, Err(ExportError::Footage(FootageError::Empty { .. }))),
            "without a key frame nothing can be shown"
        );
    }

    /// Frames that the file of `window` would hold, the hidden ones included.
    pub(crate) fn frames_in(store: &Store, camera: CameraId, window: Span) -> usize {
        let mut plan = Plan::new(window, "").unwrap();
        let mut frames = 0;
        for record in records_from_key(store, (camera, StreamId::MAIN), window).unwrap() {
            let index = store.read_index(&record).unwrap();
            let samples = plan.pictures_of(index.tracks.first().unwrap());
            if !samples.is_empty() {
                frames += samples.len();
                plan.parts.push(Part { record, pictures: Some((0, samples)), sound: None });
            }
        }
        frames
    }
}
