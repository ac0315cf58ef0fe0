//! Sound on its way into segments: AAC as it came, G.711 as FLAC, and silence where there is none.
//!
//! Pure. Times are 90 kHz ticks of media time. A player shows pictures only as far as it has sound, so what is missing
//! is covered; sound that comes where it was covered already is left out.

use keepwatch_media::aac::AacConfig;
use keepwatch_media::flac::{Coding, G711Frames};
use keepwatch_media::mp4::SampleInfo;
use keepwatch_media::mp4::fragment::{FragmentSample, Placed, silence};
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};

/// Longest FLAC block: a fresh window begins with sound at most so late, and the codes of one packet are no block.
const BLOCK_TICKS: i64 = TICKS_PER_SECOND / 10;
/// Sound may begin so much before what was taken ends: labels are steered and packets rounded, by far less.
const OVERLAP_TICKS: i64 = TICKS_PER_SECOND / 50;
/// What is missing for longer is covered by silence; players pass over less.
const GAP_TICKS: i64 = TICKS_PER_SECOND / 10;
/// Blocks are numbered by their time in so many ticks, below a number that FLAC can count to by far.
const NUMBER_TICKS: u64 = 90;
/// See [`NUMBER_TICKS`].
const NUMBERS: u64 = 1 << 30;
/// Longest stretch that is covered at once, a bound for what wrong times cost.
const COVER_TICKS_MAX: i64 = 60 * TICKS_PER_SECOND;

/// The sound of one track.
#[derive(Debug)]
pub(super) struct Sound {
    coder: Coder,
    silence: Option<&'static [u8]>,
    /// Where what was taken ends; `None` before the first.
    end: Option<i64>,
    samples: Vec<FragmentSample>,
    data: Vec<u8>,
    /// Packets of a block, one behind the other.
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Coder {
    /// Each packet lasts so long.
    Aac {
        unit_ticks: i64,
    },
    G711 {
        frames: Box<G711Frames>,
        rate: i64,
        channels: usize,
    },
}

impl Sound {
    /// The sound of a track; `None` when it is none that can be delivered.
    pub(super) fn new(config: &TrackConfig) -> Option<Self> {
        let coder = match config.kind {
            CodecKind::Aac => {
                let aac = AacConfig::parse(&config.config).ok()?;
                let unit = i64::from(aac.unit_samples) * TICKS_PER_SECOND / i64::from(aac.rate_hz.max(1));
                Coder::Aac { unit_ticks: unit.max(1) }
            }
            CodecKind::Pcmu | CodecKind::Pcma => {
                let frames = Box::new(G711Frames::new(config).ok()?);
                let stream = frames.stream();
                Coder::G711 {
                    frames,
                    rate: i64::from(stream.rate_hz()),
                    channels: usize::from(stream.channels()),
                }
            }
            CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => return None,
        };
        Some(Self {
            coder,
            silence: silence(config),
            end: None,
            samples: Vec::new(),
            data: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// How long a packet of so many bytes sounds.
    pub(super) fn ticks(&self, bytes: usize) -> i64 {
        match &self.coder {
            Coder::Aac { unit_ticks } => *unit_ticks,
            Coder::G711 { rate, channels, .. } => {
                let samples = i64::try_from(bytes / (*channels).max(1)).unwrap_or(0);
                samples.saturating_mul(TICKS_PER_SECOND) / (*rate).max(1)
            }
        }
    }

    /// Sound begins at `at`, whether there is any or not.
    pub(super) fn begin(&mut self, at: i64) {
        self.end = Some(at);
    }

    /// Nothing was to be heard up to what comes next: it is not covered.
    pub(super) fn restart(&mut self) {
        self.end = None;
    }

    /// Where what was taken ends; `None` before the first.
    pub(super) const fn end(&self) -> Option<i64> {
        self.end
    }

    /// Takes packets in the order of their times. The same packets make the same samples whatever came before.
    pub(super) fn push(&mut self, packets: &[(i64, &[u8])]) {
        if let Coder::Aac { unit_ticks } = self.coder {
            for (at, packet) in packets {
                if let Some(at) = self.admit(*at) {
                    self.data.extend_from_slice(packet);
                    self.add(at, unit_ticks, packet.len());
                }
            }
            return;
        }
        let mut rest = packets;
        while let Some((first, _)) = rest.first() {
            let mut ticks = 0;
            let count = rest.iter().take_while(|(_, packet)| {
                ticks += self.ticks(packet.len());
                ticks <= BLOCK_TICKS
            });
            let (block, behind) = rest.split_at(count.count().clamp(1, rest.len()));
            if self.admit(*first).is_some() {
                self.push_blocks(block);
            }
            rest = behind;
        }
    }

    /// Covers by silence what is missing up to `until`.
    pub(super) fn cover(&mut self, until: i64) {
        let (Some(end), Some(silence)) = (self.end, self.silence) else { return };
        let until = until.min(end.saturating_add(COVER_TICKS_MAX));
        if until.saturating_sub(end) <= GAP_TICKS {
            return;
        }
        match &self.coder {
            Coder::Aac { .. } => {
                self.data.extend_from_slice(silence);
                self.add(end, until - end, silence.len());
            }
            Coder::G711 { rate, channels, .. } => {
                let block = usize::try_from(BLOCK_TICKS * rate / TICKS_PER_SECOND).unwrap_or(0).max(1);
                let codes = silence.repeat(block.saturating_mul(*channels));
                let mut at = end;
                while until - at >= BLOCK_TICKS {
                    self.push_blocks(&[(at, &codes)]);
                    match self.end {
                        Some(next) if next > at => at = next,
                        // A block that cannot be coded covers nothing.
                        _ => return,
                    }
                }
            }
        }
    }

    /// What was made since the last call: samples and their bytes.
    pub(super) fn take(&mut self) -> (Vec<FragmentSample>, Vec<u8>) {
        (std::mem::take(&mut self.samples), std::mem::take(&mut self.data))
    }

    /// Where sound at `at` begins; `None` where it was covered already.
    fn admit(&mut self, at: i64) -> Option<i64> {
        self.cover(at);
        match self.end {
            Some(end) if at.saturating_add(OVERLAP_TICKS) < end => None,
            _ => Some(at),
        }
    }

    fn push_blocks(&mut self, packets: &[(i64, &[u8])]) {
        let Coder::G711 { frames, .. } = &mut self.coder else { return };
        let infos: Vec<SampleInfo> = packets
            .iter()
            .map(|(at, packet)| SampleInfo {
                size_bytes: u32::try_from(packet.len()).unwrap_or(u32::MAX),
                pts: WallTime::from_ticks(*at),
                duration_ticks: 0,
                key: true,
            })
            .collect();
        // Numbered by their time, so that windows that share a block have the same bytes.
        let first = packets.first().map_or(0, |(at, _)| u64::try_from(*at).unwrap_or(0));
        frames.number_from(first / NUMBER_TICKS % NUMBERS);
        let mut blocks = Vec::new();
        // A stream of G.711 longer than a FLAC stream may count, or a packet of a minute: left out.
        if frames.plan(&infos, &mut blocks).is_err() {
            return;
        }
        let mut made = Vec::with_capacity(blocks.len());
        for block in &blocks {
            self.scratch.clear();
            let parts = packets.get(block.packets.clone()).unwrap_or_default();
            parts.iter().for_each(|(_, packet)| self.scratch.extend_from_slice(packet));
            let before = self.data.len();
            if frames.encode(Coding::Packed, block, &self.scratch, &mut self.data).is_err() {
                self.data.truncate(before);
                continue;
            }
            made.push((block.pts.ticks(), block.samples, self.data.len() - before));
        }
        for (at, samples, bytes) in made {
            let Coder::G711 { rate, .. } = &self.coder else { return };
            let ticks = i64::from(samples) * TICKS_PER_SECOND / (*rate).max(1);
            self.add(at, ticks, bytes);
        }
    }

    /// Adds a sample whose bytes were appended; the one before it reaches to it.
    fn add(&mut self, at: i64, ticks: i64, bytes: usize) {
        let ticks = ticks.max(1);
        let mut decode = u64::try_from(at).unwrap_or(0);
        if let Some(last) = self.samples.last_mut() {
            decode = decode.max(last.placed.decode + 1);
            last.placed.duration = u32::try_from(decode - last.placed.decode).unwrap_or(u32::MAX);
        }
        let duration = u32::try_from(ticks).unwrap_or(u32::MAX);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let placed = Placed { decode, duration, offset: 0 };
        self.samples.push(FragmentSample { bytes, placed, key: true });
        self.end = Some(at.saturating_add(ticks));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulaw() -> Sound {
        let config = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] };
        Sound::new(&config).unwrap()
    }

    fn aac() -> Sound {
        let config = AacConfig::low_complexity(16_000, 1).unwrap();
        Sound::new(&TrackConfig { kind: CodecKind::Aac, clock_rate: 16_000, channels: 1, config }).unwrap()
    }

    /// Packets of 20 ms from `at` on.
    fn packets(at: i64, count: i64, data: &[u8]) -> Vec<(i64, &[u8])> {
        (0..count).map(|number| (at + number * 1_800, data)).collect()
    }

    /// First decode time, end, and that samples join and their bytes are there.
    fn joined(sound: &mut Sound) -> (u64, u64) {
        let (samples, data) = sound.take();
        let bytes: usize = samples.iter().map(|sample| usize::try_from(sample.bytes).unwrap()).sum();
        assert_eq!(bytes, data.len());
        for pair in samples.windows(2) {
            assert_eq!(pair[0].placed.decode + u64::from(pair[0].placed.duration), pair[1].placed.decode);
        }
        let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
        (first.placed.decode, last.placed.decode + u64::from(last.placed.duration))
    }

    #[test]
    fn packets_become_blocks_that_join() {
        let mut sound = ulaw();
        sound.push(&packets(900, 50, &[0x55; 160]));
        assert_eq!(joined(&mut sound), (900, 900 + 90_000));
        sound.push(&packets(90_900, 7, &[0x55; 160]));
        assert_eq!(joined(&mut sound), (90_900, 90_900 + 12_600));
    }

    #[test]
    fn what_is_missing_is_silent_and_what_comes_late_is_left_out() {
        for (mut sound, data) in [(ulaw(), vec![0x55; 160]), (aac(), vec![1, 2, 3])] {
            sound.begin(0);
            sound.cover(90_000);
            let (from, to) = joined(&mut sound);
            assert!(from == 0 && (81_000..=90_000).contains(&to), "{to}");
            sound.push(&packets(45_000, 5, &data));
            assert!(sound.take().0.is_empty(), "late");
            sound.push(&packets(180_000, 5, &data));
            let (from, to) = joined(&mut sound);
            assert_eq!(from, u64::try_from(sound.end().unwrap()).unwrap() - (to - from));
            assert!(from <= 90_000 && to >= 180_000 + 9_000, "{from} {to}");
        }
    }

    #[test]
    fn absurd_times_and_packets_cost_little() {
        for mut sound in [ulaw(), aac()] {
            sound.begin(0);
            for at in [i64::MAX, i64::MIN, -1, 0] {
                sound.push(&[(at, &[][..]), (at, &[1][..]), (at, &[0; 100_000][..])]);
                sound.cover(at);
            }
            assert!(sound.take().1.len() < 4 << 20);
        }
        let video = TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![] };
        assert!(Sound::new(&video).is_none());
    }
}
