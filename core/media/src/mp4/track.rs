//! What is kept of a track's samples until the header is written.

use keepwatch_model::{Span, TICKS_PER_SECOND, TrackConfig};
use mp4_atom::Codec;

use super::{CONFIGS_MAX, Mp4Error, SampleInfo, TrackKind, entry};

/// How far a label may be from the start of the window, in 90 kHz ticks: a century.
const LABEL_TICKS_MAX: u64 = 100 * 366 * 86_400 * TICKS_PER_SECOND.unsigned_abs();

/// Samples that stand one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// Where it begins, counted from the first byte of media.
    pub(super) offset_bytes: u64,
    /// Its samples, at least one.
    pub(super) samples: u32,
    /// Its sample entry, counted from 1.
    pub(super) entry: u32,
}

/// The samples of a track, in columns.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: TrackKind,
    /// 90 kHz ticks for video, the sampling rate for audio; of the first configuration.
    pub(super) clock_rate: u32,
    configs: Vec<TrackConfig>,
    pub(super) entries: Vec<Codec>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) sizes_bytes: Vec<u32>,
    /// 90 kHz ticks from the start of the window.
    pub(super) pts_ticks: Vec<i64>,
    /// For audio only.
    pub(super) durations_ticks: Vec<u32>,
    /// Numbers of the key frames, counted from 1; for video only.
    pub(super) keys: Vec<u32>,
}

impl Track {
    pub(super) fn new(kind: TrackKind) -> Self {
        Self {
            kind,
            clock_rate: 0,
            configs: Vec::new(),
            entries: Vec::new(),
            chunks: Vec::new(),
            sizes_bytes: Vec::new(),
            pts_ticks: Vec::new(),
            durations_ticks: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Adds a chunk at `offset_bytes` and returns its bytes.
    pub(super) fn add_chunk(
        &mut self,
        window: Span,
        offset_bytes: u64,
        config: &TrackConfig,
        samples: &[SampleInfo],
    ) -> Result<u64, Mp4Error> {
        let Some(first) = samples.first() else { return Ok(0) };
        if self.kind == TrackKind::Video && self.pts_ticks.is_empty() && !first.key {
            return Err(Mp4Error::KeyFrameMissing(first.pts));
        }
        if let Some(far) =
            samples.iter().find(|sample| sample.pts.ticks_since(window.from).unsigned_abs() > LABEL_TICKS_MAX)
        {
            return Err(Mp4Error::Label(far.pts));
        }
        let entry = self.entry(config)?;
        let count = u32::try_from(samples.len()).map_err(|_| Mp4Error::TooManySamples)?;
        self.chunks.push(Chunk { offset_bytes, samples: count, entry });

        let mut bytes = 0;
        for sample in samples {
            bytes += u64::from(sample.size_bytes);
            self.sizes_bytes.push(sample.size_bytes);
            self.pts_ticks.push(sample.pts.ticks_since(window.from));
            match self.kind {
                TrackKind::Video if sample.key => {
                    let number = u32::try_from(self.pts_ticks.len()).map_err(|_| Mp4Error::TooManySamples)?;
                    self.keys.push(number);
                }
                TrackKind::Video => {}
                TrackKind::Audio => self.durations_ticks.push(sample.duration_ticks),
            }
        }
        Ok(bytes)
    }

    /// How long a sample lasts by itself; 0 when not known.
    pub(super) fn duration_ticks(&self, position: usize) -> i64 {
        self.durations_ticks.get(position).copied().unwrap_or(0).into()
    }

    /// The number of the sample entry for `config`, counted from 1.
    fn entry(&mut self, config: &TrackConfig) -> Result<u32, Mp4Error> {
        // Footage mostly has one configuration, and the last one used is most often the next.
        let known = self.configs.iter().rposition(|known| known == config);
        let position = match known {
            Some(position) => position,
            None if self.configs.len() == CONFIGS_MAX => return Err(Mp4Error::TooManyConfigs),
            None => {
                let codec = entry::sample_entry(self.kind, config)?;
                if self.entries.is_empty() {
                    self.clock_rate = entry::clock_rate(self.kind, config);
                }
                self.entries.push(codec);
                self.configs.push(config.clone());
                self.configs.len() - 1
            }
        };
        u32::try_from(position + 1).map_err(|_| Mp4Error::TooManyConfigs)
    }
}
