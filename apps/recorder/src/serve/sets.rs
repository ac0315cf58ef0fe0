//! Parameter sets in band: one session description holds for footage of many sessions, whose parameters differ.
//!
//! RFC 6184 §8.4 and RFC 7798 §7.1: sets in the stream take the place of those in the description. Once anything
//! differs they stand before every key frame, because a client may have missed the one before. Pure.

use bytes::Bytes;
use keepwatch_media::{h264, h265, nal};
use keepwatch_model::{CodecKind, TrackConfig};

/// What one client knows of one track.
#[derive(Clone, Debug)]
pub(super) struct InBand {
    announced: TrackConfig,
    /// Whether something else than was announced was sent.
    differs: bool,
}

impl InBand {
    /// A track that was announced as `announced`.
    pub(super) const fn new(announced: TrackConfig) -> Self {
        Self { announced, differs: false }
    }

    /// What must stand before `sample`, of a track as `config` has it; mostly nothing.
    pub(super) fn before(&mut self, config: &TrackConfig, key: bool, sample: &[u8]) -> Bytes {
        if config.config != self.announced.config {
            self.differs = true;
        }
        if !self.differs || !key || has_sets(config.kind, sample) {
            return Bytes::new();
        }
        parameter_sets(config).into()
    }
}

/// Whether media of a track as `recorded` can be sent as that of one that was announced as `announced`: all but the
/// parameter sets of video is told to clients once and for all.
pub(super) fn carries(announced: &TrackConfig, recorded: &TrackConfig) -> bool {
    let same = (announced.kind, announced.clock_rate, announced.channels)
        == (recorded.kind, recorded.clock_rate, recorded.channels);
    same && (announced.kind.is_video() || announced.config == recorded.config)
}

/// Whether a sample brings a sequence parameter set. What stands behind the first picture does not count.
fn has_sets(kind: CodecKind, sample: &[u8]) -> bool {
    let units = nal::units(sample).map_while(Result::ok);
    match kind {
        CodecKind::H264 => units
            .map_while(h264::UnitKind::of)
            .take_while(|kind| !kind.is_slice())
            .any(|kind| kind == h264::UnitKind::Sps),
        CodecKind::H265 => units
            .map_while(h265::UnitKind::of)
            .take_while(|kind| !kind.is_slice())
            .any(|kind| kind == h265::UnitKind::Sps),
        CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => false,
    }
}

/// The parameter sets of a track as NAL units with 4-byte lengths; empty where there are none.
fn parameter_sets(config: &TrackConfig) -> Vec<u8> {
    let mut sets = Vec::new();
    match config.kind {
        CodecKind::H264 => {
            if let Ok(config) = h264::DecoderConfig::parse(&config.config) {
                config.sps.iter().chain(&config.pps).for_each(|unit| nal::write_unit(&mut sets, unit));
            }
        }
        CodecKind::H265 => {
            if let Ok(config) = h265::DecoderConfig::parse(&config.config) {
                let units = config.vps.iter().chain(&config.sps).chain(&config.pps);
                units.for_each(|unit| nal::write_unit(&mut sets, unit));
            }
        }
        CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {}
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration whose sets are told apart by `level`.
    fn config(level: u8) -> TrackConfig {
        let sps = [0x67, 0x42, 0xc0, level, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8];
        let mut config = vec![1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 10];
        config.extend_from_slice(&sps);
        config.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
        TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config }
    }

    fn sample(units: &[&[u8]]) -> Vec<u8> {
        let mut sample = Vec::new();
        units.iter().for_each(|unit| nal::write_unit(&mut sample, unit));
        sample
    }

    #[test]
    fn sets_stand_before_key_frames_from_the_first_change_on() {
        let mut track = InBand::new(config(10));
        let (key, other) = (sample(&[&[0x65, 1]]), sample(&[&[0x41, 1]]));
        assert!(track.before(&config(10), true, &key).is_empty());
        assert!(track.before(&config(20), false, &other).is_empty());
        let sets = track.before(&config(20), true, &key);
        let units: Vec<&[u8]> = nal::units(&sets).map(Result::unwrap).collect();
        assert_eq!((units[0][0], units[0][3], units[1][0], units.len()), (0x67, 20, 0x68, 2));
        assert_eq!(track.before(&config(10), true, &key)[7], 10, "also when the first ones come back");
        let own = sample(&[units[0], units[1], &[0x65, 1]]);
        assert!(track.before(&config(20), true, &own).is_empty(), "the camera sends them itself");
    }

    #[test]
    fn only_parameter_sets_may_differ_from_what_was_announced() {
        let aac = |config: &[u8]| TrackConfig {
            kind: CodecKind::Aac,
            clock_rate: 16_000,
            channels: 1,
            config: config.to_vec(),
        };
        assert!(carries(&config(10), &config(20)));
        assert!(carries(&aac(&[0x14, 0x08]), &aac(&[0x14, 0x08])));
        assert!(!carries(&aac(&[0x14, 0x08]), &aac(&[0x15, 0x08])));
        assert!(!carries(&config(10), &TrackConfig { kind: CodecKind::H265, ..config(10) }));
    }
}
