//! Plans a plain MP4 file (ISO/IEC 14496-12) from the index of a recording, before any media is read.
//!
//! The file is `ftyp moov mdat`. Its header, its length and every offset follow from sizes and labels alone, and the
//! same plan gives the same bytes. The caller adds chunks in the order in which it will then write their media
//! behind the header. File time is wall time less the start of the window: a gap stretches the picture before it, an
//! edit list hides what was added only to decode from, and presents exactly the samples of the window. No sample
//! is touched: video and AAC stay as stored, G.711 is delivered as FLAC ([`crate::flac`]). Metadata has no place in it.

mod entry;
pub mod fragment;
mod header;
#[cfg(test)]
mod tests;
mod timeline;
mod track;

use keepwatch_model::{CodecKind, Span, TrackConfig, WallTime};

use track::Track;

/// Most samples in one file: nine days of video at 25 frames per second. It bounds the memory of a plan to
/// about 1 GiB at the very worst; ordinary footage takes 20 bytes a sample.
pub const SAMPLES_MAX: usize = 20_000_000;

/// Most tracks in one file.
const TRACKS_MAX: usize = 16;

/// Most different configurations in one track.
const CONFIGS_MAX: usize = 1_000;

/// Longest title in characters.
const TITLE_CHARS_MAX: usize = 200;

/// Why no file can be made.
#[derive(Debug, thiserror::Error)]
pub enum Mp4Error {
    /// More than [`SAMPLES_MAX`].
    #[error("more than {SAMPLES_MAX} samples in one file; export a shorter span")]
    TooManySamples,
    /// More tracks than a file is made with, or a handle of another file.
    #[error("a file has at most {TRACKS_MAX} tracks, each made by add_track")]
    Tracks,
    /// More configurations than a track is made with.
    #[error("the camera changed its parameters more than {CONFIGS_MAX} times; export a shorter span")]
    TooManyConfigs,
    /// A configuration of another kind of track.
    #[error("{codec:?} does not belong in a track of {kind:?}")]
    Kind {
        /// What the track holds.
        kind: TrackKind,
        /// What was added.
        codec: CodecKind,
    },
    /// A configuration that no sample entry can be made of.
    #[error("unusable track configuration: {0}")]
    Config(String),
    /// The first video sample cannot be decoded for itself.
    #[error("the picture at {0} is no key frame, and a file must begin with one")]
    KeyFrameMissing(WallTime),
    /// A label is more than a century from the window.
    #[error("a sample labelled {0} is too far from the window")]
    Label(WallTime),
    /// Nothing may be shown for longer than a file can say.
    #[error("a gap or jump of {0} seconds does not fit in one file; export the footage on either side of it")]
    Gap(i64),
    /// No sample is inside the window.
    #[error("no footage from {} to {}", .0.from, .0.to)]
    Empty(Span),
    /// The bytes of a segment are others than its samples say.
    #[error("the samples of a segment have {told} bytes and {given} were given")]
    SampleBytes {
        /// By the samples.
        told: usize,
        /// Of the data.
        given: usize,
    },
    /// A segment is too large for its offsets.
    #[error("a segment of more than a gibibyte; take fewer samples")]
    SegmentTooLarge,
    /// A box cannot be written.
    #[error("the header cannot be written")]
    Encode(#[from] mp4_atom::Error),
}

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovieMeta {
    /// Labels that are shown.
    pub window: Span,
    /// The title; the camera's name.
    pub title: String,
}

/// What a track holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    /// H.264, H.265 or JPEG. The samples shown are those with a label inside the window, whole.
    Video,
    /// AAC, or FLAC made from G.711; the configurations are those of the track that was received. It is cut to the window
    /// exactly, by the edit list.
    Audio,
}

/// A track of the builder that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackHandle(usize);

/// One sample of the file, in decode order within its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleInfo {
    /// Bytes in the file.
    pub size_bytes: u32,
    /// Label at which it is shown or heard.
    pub pts: WallTime,
    /// How long an audio sample sounds, in 90 kHz ticks; 0 when not known. Of no account for video, where a picture
    /// stands until the next.
    pub duration_ticks: u32,
    /// Whether decoding can begin at it.
    pub key: bool,
}

/// A file that is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movie {
    /// All that comes before the media: `ftyp`, `moov` and the header of `mdat`.
    pub header: Vec<u8>,
    /// Bytes of media that follow, in the order in which the chunks were added.
    pub media_bytes: u64,
}

impl Movie {
    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        u64::try_from(self.header.len()).unwrap_or(u64::MAX).saturating_add(self.media_bytes)
    }
}

/// Collects what a file holds; 12 bytes for a video sample, 16 for one of audio.
#[derive(Debug)]
pub struct MovieBuilder {
    meta: MovieMeta,
    tracks: Vec<Track>,
    samples: usize,
    media_bytes: u64,
}

impl MovieBuilder {
    /// A file without tracks.
    pub fn new(meta: MovieMeta) -> Self {
        let title = meta.title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
        Self { meta: MovieMeta { title, ..meta }, tracks: Vec::new(), samples: 0, media_bytes: 0 }
    }

    /// Adds a track. One that gets no sample inside the window is left out of the file.
    pub fn add_track(&mut self, kind: TrackKind) -> Result<TrackHandle, Mp4Error> {
        if self.tracks.len() == TRACKS_MAX {
            return Err(Mp4Error::Tracks);
        }
        self.tracks.push(Track::new(kind));
        Ok(TrackHandle(self.tracks.len() - 1))
    }

    /// Adds samples that stand one behind the other in the file, behind all that was added before, to any track.
    /// All have the same configuration. Video begins with the key frame at or before the window, and ends with the
    /// last sample that is shown, or is needed to decode one that is.
    pub fn add_chunk(
        &mut self,
        track: TrackHandle,
        config: &TrackConfig,
        samples: &[SampleInfo],
    ) -> Result<(), Mp4Error> {
        let count = self.samples.saturating_add(samples.len());
        if count > SAMPLES_MAX {
            return Err(Mp4Error::TooManySamples);
        }
        let track = self.tracks.get_mut(track.0).ok_or(Mp4Error::Tracks)?;
        let bytes = track.add_chunk(self.meta.window, self.media_bytes, config, samples)?;
        self.samples = count;
        // At most 20 million times 4 GiB: below 2^57.
        self.media_bytes += bytes;
        Ok(())
    }

    /// Plans the file.
    pub fn finish(self) -> Result<Movie, Mp4Error> {
        let header = header::write(&self.meta, &self.tracks, self.samples, self.media_bytes)?;
        Ok(Movie { header, media_bytes: self.media_bytes })
    }
}
