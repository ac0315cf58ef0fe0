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
}

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
