//! The sound of a virtual camera: a 440 Hz tone, in G.711 (ITU-T G.711) with a higher pip at each full second, so that
//! sound and picture can be held against each other, or in AAC (ISO/IEC 14496-3), of which a loop was made beforehand.

use bytes::Bytes;
use keepwatch_media::g711::Law;
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};

/// The coding of a camera's sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AudioCodec {
    /// G.711 µ-law, 8 kHz.
    #[default]
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// AAC-LC, 16 kHz, a loop.
    Aac,
}

/// The loop of AAC: one channel of 16 kHz in ADTS (ISO/IEC 14496-3 §1.A.2).
const AAC_LOOP: &[u8] = include_bytes!("../assets/loop-16000.aac");
/// Samples a second of AAC.
const AAC_SAMPLES_PER_SECOND: u32 = 16_000;
/// 90 kHz ticks of an access unit of AAC: 1,024 samples.
const AAC_UNIT_TICKS: i64 = 1_024 * TICKS_PER_SECOND / 16_000;
/// Bytes of an ADTS header without checksum.
const ADTS_HEADER_BYTES: usize = 7;
/// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): AAC-LC, 16 kHz, one channel.
const AAC_CONFIG: [u8; 2] = [0x14, 0x08];

/// Samples a second of G.711.
const G711_SAMPLES_PER_SECOND: u32 = 8_000;
/// Samples, and bytes, of a packet of G.711: 20 ms.
const G711_PACKET_SAMPLES: usize = 160;
/// 90 kHz ticks of a packet of G.711.
const G711_PACKET_TICKS: i64 = TICKS_PER_SECOND / 50;
/// Packets of a pip.
const PIP_PACKETS: usize = 5;

/// A loop of packets, of which each has its place in time.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    track: TrackConfig,
    packets: Vec<Bytes>,
    packet_ticks: i64,
}

impl Sound {
    /// The loop in `codec`.
    pub(crate) fn new(codec: AudioCodec) -> Self {
        match codec {
            AudioCodec::Pcmu => Self::g711(CodecKind::Pcmu, Law::Mu),
            AudioCodec::Pcma => Self::g711(CodecKind::Pcma, Law::A),
            AudioCodec::Aac => Self::aac(),
        }
    }

    /// The track.
    pub(crate) const fn track(&self) -> &TrackConfig {
        &self.track
    }

    /// 90 kHz ticks of a packet.
    pub(crate) const fn packet_ticks(&self) -> i64 {
        self.packet_ticks
    }

    /// The packet that begins at `label`, without copying.
    pub(crate) fn packet(&self, label: WallTime) -> Bytes {
        let length = i64::try_from(self.packets.len()).unwrap_or(1).max(1);
        let at = label.ticks().div_euclid(self.packet_ticks).rem_euclid(length);
        usize::try_from(at).ok().and_then(|at| self.packets.get(at)).cloned().unwrap_or_default()
    }

    /// The label of the first packet that begins at `label` or later.
    pub(crate) fn packet_from(&self, label: WallTime) -> WallTime {
        let past = label.ticks().rem_euclid(self.packet_ticks);
        if past == 0 { label } else { label.plus(self.packet_ticks - past) }
    }

    /// The loop of AAC, without its headers.
    fn aac() -> Self {
        let mut packets = Vec::new();
        let mut rest = AAC_LOOP;
        while let &[_, _, _, high, middle, low, _, ..] = rest {
            // aac_frame_length: 13 bits across three bytes, the header included.
            let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low) >> 5;
            let Some((unit, after)) = rest.split_at_checked(length.max(ADTS_HEADER_BYTES)) else { break };
            packets.push(Bytes::from_static(&unit[ADTS_HEADER_BYTES..]));
            rest = after;
        }
        let track = TrackConfig {
            kind: CodecKind::Aac,
            clock_rate: AAC_SAMPLES_PER_SECOND,
            channels: 1,
            config: AAC_CONFIG.to_vec(),
        };
        Self { track, packets, packet_ticks: AAC_UNIT_TICKS }
    }

    /// One second, compressed by `law`.
    fn g711(kind: CodecKind, law: Law) -> Self {
        let second: Bytes = (0..G711_SAMPLES_PER_SECOND)
            .map(|at| {
                let pip = at < u32::try_from(PIP_PACKETS * G711_PACKET_SAMPLES).unwrap_or(0);
                let (hertz, amplitude) = if pip { (1000.0, 12_000.0) } else { (440.0, 3_000.0) };
                let turns = hertz * f64::from(at) / f64::from(G711_SAMPLES_PER_SECOND);
                #[expect(clippy::cast_possible_truncation, reason = "at most 12,000")]
                let sample = (amplitude * (turns * std::f64::consts::TAU).sin()) as i16;
                law.encode(sample)
            })
            .collect();
        let packets = (0..second.len())
            .step_by(G711_PACKET_SAMPLES)
            .map(|from| second.slice(from..from + G711_PACKET_SAMPLES))
            .collect();
        let track =
            TrackConfig { kind, clock_rate: G711_SAMPLES_PER_SECOND, channels: 1, config: Vec::new() };
        Self { track, packets, packet_ticks: G711_PACKET_TICKS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_of_aac_is_whole() {
        let sound = Sound::new(AudioCodec::Aac);
        assert_eq!(sound.packets.len(), 25);
        assert_eq!(
            sound.packets.iter().map(|unit| unit.len() + ADTS_HEADER_BYTES).sum::<usize>(),
            AAC_LOOP.len()
        );
        assert!(sound.packets.iter().all(|unit| !unit.is_empty()));
        assert_eq!(sound.packet_ticks(), 5_760);
        let label = WallTime::from_ticks(1 << 50);
        let from = sound.packet_from(label);
        assert_eq!(sound.packet(from), sound.packet(from.plus(25 * 5_760)));
    }

    #[test]
    fn packets_follow_the_clock() {
        for codec in [AudioCodec::Pcmu, AudioCodec::Pcma] {
            let sound = Sound::new(codec);
            let full = WallTime::from_ticks(90_000 * 7);
            assert_eq!(sound.packet(full), sound.packet(full.plus(90_000)));
            assert_eq!(sound.packet(full), sound.packet(full.plus(-90_000 * 9)));
            assert_ne!(sound.packet(full), sound.packet(full.plus(90_000 / 2)));
            assert_eq!(sound.packet_from(full.plus(1)), full.plus(sound.packet_ticks()));
            assert_eq!(sound.packet_from(full), full);
        }
    }
}
