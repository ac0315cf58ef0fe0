//! Fetched footage as one MP4 file.
//!
//! The header of the file stands before its media and says where each sample is, so the media go to an unnamed file
//! first, in the order and coding that they will have. What leads in to the first picture is in the file and hidden
//! by its edit list. G.711 is delivered as FLAC, metadata not at all.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use keepwatch_media::aac::AacConfig;
use keepwatch_media::flac::{Coding, FlacError, G711Frames};
use keepwatch_media::mp4::{MovieBuilder, MovieMeta, Mp4Error, SampleInfo, TrackHandle, TrackKind};
use keepwatch_model::{CodecKind, Span, TICKS_PER_SECOND, TrackConfig, WallTime};

use super::sink::{FetchSink, FetchedSample, Part};

/// Media that stand one behind the other, pictures before their sound: a player that reads both jumps as seldom.
const CHUNK_TICKS: i64 = TICKS_PER_SECOND;
/// Bytes of a chunk, whatever its length in time.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Sound before the window that is in the file and hidden: an AAC decoder needs what came before.
const PRIMING_TICKS: i64 = TICKS_PER_SECOND;
/// Bytes kept that lead in to the first picture: a minute at 8 Mbit/s. With more the file begins with the next key
/// frame.
const LEAD_BYTES_MAX: usize = 64 << 20;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum MovieError {
    /// It cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No header can be made.
    #[error(transparent)]
    Movie(#[from] Mp4Error),
    /// The sound cannot be delivered.
    #[error(transparent)]
    Sound(#[from] FlacError),
}

/// Writes what is fetched to an MP4 file, which appears when it is complete.
#[derive(Debug)]
pub struct MovieSink {
    path: PathBuf,
    /// The media, in a file without a name: nothing is left of it, however this ends.
    media: File,
    builder: MovieBuilder,
    pictures: TrackHandle,
    sounds: TrackHandle,
    /// Positions of the tracks that are written.
    picture_track: Option<usize>,
    sound_track: Option<usize>,
    picture: Chunk,
    sound: Chunk,
    /// How the sound is delivered, by the configuration of its first sample.
    delivery: Option<(TrackConfig, Delivery)>,
    window: Span,
    /// The latest sound that came: what leads in to it may come again.
    sound_latest: Option<WallTime>,
    /// Whether a picture of the span came.
    begun: bool,
    left_out: u64,
}

/// Samples of one configuration that stand one behind the other.
#[derive(Debug, Default)]
struct Chunk {
    config: Option<TrackConfig>,
    infos: Vec<SampleInfo>,
    data: Vec<u8>,
}

#[derive(Debug)]
enum Delivery {
    AsReceived,
    Flac(Box<G711Frames>),
}

impl Delivery {
    fn of(config: &TrackConfig) -> Result<Self, FlacError> {
        if config.kind == CodecKind::Aac {
            return Ok(Self::AsReceived);
        }
        G711Frames::new(config).map(|frames| Self::Flac(Box::new(frames)))
    }
}

impl Chunk {
    fn push(&mut self, sample: &FetchedSample<'_>, duration_ticks: u32) {
        if self.config.as_ref() != Some(sample.config) {
            self.config = Some(sample.config.clone());
        }
        self.infos.push(SampleInfo {
            size_bytes: u32::try_from(sample.data.len()).unwrap_or(u32::MAX),
            pts: sample.time,
            duration_ticks,
            key: sample.key,
        });
        self.data.extend_from_slice(sample.data);
    }

    fn clear(&mut self) {
        self.infos.clear();
        self.data.clear();
    }

    /// Whether it should end before a sample of `config` at `time`.
    fn ends_before(&self, config: &TrackConfig, time: WallTime) -> bool {
        let Some(first) = self.infos.first() else { return false };
        self.data.len() > CHUNK_BYTES_MAX
            || time.ticks_since(first.pts) >= CHUNK_TICKS
            || self.config.as_ref() != Some(config)
    }
}

impl MovieSink {
    /// A file at `path` that shows `window`, titled `title`.
    ///
    /// # Errors
    /// When nothing can be written beside `path`.
    pub fn create(path: &Path, window: Span, title: &str) -> Result<Self, MovieError> {
        let write = |source| MovieError::Write { path: path.to_owned(), source };
        let unnamed = beside(path, ".media");
        let media = File::options().read(true).write(true).create(true).truncate(true).open(&unnamed);
        let media = media.map_err(write)?;
        fs::remove_file(&unnamed).map_err(write)?;
        let mut builder = MovieBuilder::new(MovieMeta { window, title: title.to_owned() });
        let pictures = builder.add_track(TrackKind::Video)?;
        let sounds = builder.add_track(TrackKind::Audio)?;
        Ok(Self {
            path: path.to_owned(),
            media,
            builder,
            pictures,
            sounds,
            picture_track: None,
            sound_track: None,
            picture: Chunk::default(),
            sound: Chunk::default(),
            delivery: None,
            window,
            sound_latest: None,
            begun: false,
            left_out: 0,
        })
    }

    /// Samples of the span that are not in the file: pictures before the first key frame, sound whose coding is another
    /// than it was at first.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the file; returns its length in bytes. Without a sample there is none, and [`Mp4Error::Empty`] says so.
    ///
    /// # Errors
    /// When no file can be made of the samples, or it cannot be written.
    pub fn finish(mut self) -> Result<u64, MovieError> {
        self.end_chunks()?;
        let Self { path, mut media, builder, .. } = self;
        let movie = builder.finish()?;
        let unfinished = beside(&path, ".part");
        let written = (|| {
            let mut file = File::create(&unfinished)?;
            file.write_all(&movie.header)?;
            media.rewind()?;
            io::copy(&mut media, &mut file)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        })();
        written.map_err(|source| {
            // The error at hand matters more than one of tidying up after it.
            let _ = fs::remove_file(&unfinished);
            MovieError::Write { path, source }
        })?;
        Ok(movie.file_bytes())
    }

    fn picture(&mut self, sample: &FetchedSample<'_>) -> Result<(), MovieError> {
        match sample.part {
            Part::Lead if sample.key => self.picture.clear(),
            Part::Lead if self.picture.data.len() > LEAD_BYTES_MAX => self.picture.clear(),
            Part::Lead => {}
            Part::Wanted if self.begun && self.picture.ends_before(sample.config, sample.time) => {
                self.end_chunks()?;
            }
            Part::Wanted => {}
        }
        let wanted = sample.part == Part::Wanted;
        if !self.begun && self.picture.infos.is_empty() && !sample.key {
            self.left_out = self.left_out.saturating_add(u64::from(wanted));
            return Ok(());
        }
        self.begun |= wanted;
        self.picture.push(sample, 0);
        Ok(())
    }

    fn sound(&mut self, sample: &FetchedSample<'_>) -> Result<(), MovieError> {
        let heard = sample.time.plus(PRIMING_TICKS) > self.window.from;
        if !heard || self.sound_latest.is_some_and(|latest| sample.time <= latest) {
            return Ok(());
        }
        self.sound_latest = Some(sample.time);
        if self.delivery.is_none() {
            self.delivery = Some((sample.config.clone(), Delivery::of(sample.config)?));
        }
        if self.delivery.as_ref().is_none_or(|(config, _)| config != sample.config) {
            self.left_out = self.left_out.saturating_add(1);
            return Ok(());
        }
        if self.sound.ends_before(sample.config, sample.time) {
            self.end_sound()?;
        }
        self.sound.push(sample, sound_ticks(sample));
        Ok(())
    }

    /// Writes the pictures at hand, and their sound.
    fn end_chunks(&mut self) -> Result<(), MovieError> {
        if let (true, Some(config)) = (self.begun && !self.picture.infos.is_empty(), &self.picture.config) {
            self.builder.add_chunk(self.pictures, config, &self.picture.infos)?;
            let path = &self.path;
            let write = |source| MovieError::Write { path: path.clone(), source };
            self.media.write_all(&self.picture.data).map_err(write)?;
            self.picture.clear();
        }
        self.end_sound()
    }

    fn end_sound(&mut self) -> Result<(), MovieError> {
        let Some((config, delivery)) = &mut self.delivery else { return Ok(()) };
        let mut coded = Vec::new();
        let data = match delivery {
            _ if self.sound.infos.is_empty() => return Ok(()),
            Delivery::AsReceived => {
                self.builder.add_chunk(self.sounds, config, &self.sound.infos)?;
                &self.sound.data
            }
            Delivery::Flac(frames) => {
                let mut blocks = Vec::new();
                frames.plan(&self.sound.infos, &mut blocks)?;
                let samples: Vec<SampleInfo> =
                    blocks.iter().map(|block| frames.plain_sample(block)).collect();
                self.builder.add_chunk(self.sounds, config, &samples)?;
                let sizes = self.sound.infos.iter().map(|info| info.size_bytes);
                let mut at = 0_usize;
                let mut offsets = vec![0];
                offsets.extend(sizes.map(|size| {
                    at = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
                    at
                }));
                for block in &blocks {
                    let offset = |packet: usize| offsets.get(packet).copied().unwrap_or(at);
                    let packets = offset(block.packets.start)..offset(block.packets.end);
                    let packets = self.sound.data.get(packets).unwrap_or_default();
                    frames.encode(Coding::Plain, block, packets, &mut coded)?;
                }
                &coded
            }
        };
        let write = |source| MovieError::Write { path: self.path.clone(), source };
        self.media.write_all(data).map_err(write)?;
        self.sound.clear();
        Ok(())
    }
}

impl FetchSink for MovieSink {
    type Error = MovieError;

    fn begin(&mut self, tracks: &[TrackConfig]) -> Result<(), MovieError> {
        self.picture_track = tracks.iter().position(|track| track.kind.is_video());
        self.sound_track = tracks.iter().position(|track| track.kind.is_audio());
        Ok(())
    }

    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), MovieError> {
        if self.picture_track == Some(sample.track) {
            self.picture(sample)
        } else if self.sound_track == Some(sample.track) {
            self.sound(sample)
        } else {
            Ok(())
        }
    }
}

/// How long a sample of sound lasts, in 90 kHz ticks; 0 when that is not known.
fn sound_ticks(sample: &FetchedSample<'_>) -> u32 {
    let length = i64::try_from(sample.data.len()).unwrap_or(i64::MAX);
    let ticks = match sample.config.kind {
        CodecKind::Pcmu | CodecKind::Pcma => {
            length.saturating_mul(TICKS_PER_SECOND) / i64::from(sample.config.clock_rate.max(1))
        }
        CodecKind::Aac => AacConfig::parse(&sample.config.config)
            .map_or(0, |aac| i64::from(aac.unit_samples) * TICKS_PER_SECOND / i64::from(aac.rate_hz.max(1))),
        CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => 0,
    };
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// The file of the same name with `suffix` added.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
