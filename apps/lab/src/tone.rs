//! The sound of a virtual camera: G.711 µ-law (ITU-T G.711) of a 440 Hz tone with a higher pip at each full second,
//! so that sound and picture can be held against each other.

use bytes::Bytes;
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};

/// Samples a second.
pub(crate) const SAMPLES_PER_SECOND: u32 = 8_000;
/// Samples, and bytes, of a packet: 20 ms.
pub(crate) const PACKET_SAMPLES: usize = 160;
/// 90 kHz ticks of a packet.
pub(crate) const PACKET_TICKS: i64 = TICKS_PER_SECOND / PACKETS_PER_SECOND;

const PACKETS_PER_SECOND: i64 = 50;
const PIP_PACKETS: usize = 5;

/// One second of sound, which repeats.
#[derive(Clone, Debug)]
pub(crate) struct Tone {
    second: Bytes,
}

impl Tone {
    /// Computes the second.
    pub(crate) fn new() -> Self {
        let second = (0..SAMPLES_PER_SECOND)
            .map(|at| {
                let pip = at < u32::try_from(PIP_PACKETS * PACKET_SAMPLES).unwrap_or(0);
                let (hertz, amplitude) = if pip { (1000.0, 12_000.0) } else { (440.0, 3_000.0) };
                let turns = hertz * f64::from(at) / f64::from(SAMPLES_PER_SECOND);
                #[expect(clippy::cast_possible_truncation, reason = "at most 12,000")]
                let sample = (amplitude * (turns * std::f64::consts::TAU).sin()) as i16;
                mu_law(sample)
            })
            .collect();
        Self { second }
    }

    /// The packet that begins at `label`, without copying.
    pub(crate) fn packet(&self, label: WallTime) -> Bytes {
        let at = label.ticks().div_euclid(PACKET_TICKS).rem_euclid(PACKETS_PER_SECOND);
        let from = usize::try_from(at).unwrap_or(0) * PACKET_SAMPLES;
        self.second.slice(from..from + PACKET_SAMPLES)
    }
}

/// The track of the sound.
pub(crate) fn tone_track() -> TrackConfig {
    TrackConfig { kind: CodecKind::Pcmu, clock_rate: SAMPLES_PER_SECOND, channels: 1, config: Vec::new() }
}

/// The label of the first packet that begins at `label` or later.
pub(crate) fn packet_from(label: WallTime) -> WallTime {
    let past = label.ticks().rem_euclid(PACKET_TICKS);
    if past == 0 { label } else { label.plus(PACKET_TICKS - past) }
}

/// Compresses a sample, G.711 §3.2: sign, position of the highest bit, the four bits below it, all inverted.
fn mu_law(sample: i16) -> u8 {
    const BIAS: u16 = 0x84;
    const CLIP: u16 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let biased = sample.unsigned_abs().min(CLIP) + BIAS;
    let exponent = 8 - (biased.leading_zeros().min(8));
    let mantissa = u8::try_from(biased >> (exponent + 3) & 0x0f).unwrap_or(0);
    let segment = u8::try_from(exponent).unwrap_or(0) << 4;
    !(sign | segment | mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_g711() {
        for (sample, code) in
            [(0, 0xff), (-1, 0x7f), (i16::MAX, 0x80), (i16::MIN, 0x00), (8, 0xfe), (-8, 0x7e), (1000, 0xce)]
        {
            assert_eq!(mu_law(sample), code, "{sample}");
        }
    }

    #[test]
    fn packets_follow_the_clock() {
        let tone = Tone::new();
        let full = WallTime::from_ticks(90_000 * 7);
        assert_eq!(tone.packet(full), tone.packet(full.plus(90_000)));
        assert_eq!(tone.packet(full), tone.packet(full.plus(-90_000 * 9)));
        assert_ne!(tone.packet(full), tone.packet(full.plus(90_000 / 2)));
        assert_eq!(packet_from(full.plus(1)), full.plus(PACKET_TICKS));
        assert_eq!(packet_from(full), full);
    }
}
