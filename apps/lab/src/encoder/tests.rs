//! Encoded pictures are decoded again and read.

use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

use super::*;
use crate::read_counter;

/// Decodes length-prefixed access units.
struct Viewer(Decoder);

impl Viewer {
    fn new() -> Self {
        Self(Decoder::new().unwrap())
    }

    /// The counter in the picture.
    fn see(&mut self, unit: &AccessUnit) -> Option<u32> {
        let mut annex_b = Vec::new();
        for nal in h264::units(&unit.data) {
            annex_b.extend_from_slice(&[0, 0, 0, 1]);
            annex_b.extend_from_slice(nal.unwrap());
        }
        let picture = self.0.decode(&annex_b).unwrap()?;
        let (width, height) = picture.dimensions();
        read_counter(picture.y(), picture.strides().0, width, height)
    }
}

fn caption(counter: u64) -> Caption<'static> {
    Caption {
        name: "cam1",
        at: WallTime::from_ticks(1_800_000_000 * 90_000).plus(3_600 * counter.cast_signed()),
        counter,
    }
}

#[test]
fn the_counter_survives_coding_in_every_frame() {
    let mut settings = EncoderSettings::default();
    for (width, height, bits_per_second, first) in
        [(640, 360, 500_000, 0xfffe_ffc0_u64), (480, 270, 200_000, 1 << 33), (320, 160, 100_000, 65_500)]
    {
        settings = EncoderSettings { width, height, bits_per_second, ..settings };
        let mut encoder = Encoder::new(settings).unwrap();
        let mut viewer = Viewer::new();
        for number in first..first + 100 {
            let unit = encoder.encode(caption(number), number % 25 == 0).unwrap();
            assert_eq!(
                viewer.see(&unit),
                u32::try_from(number & 0xffff_ffff).ok(),
                "{width}x{height} {number}"
            );
        }
    }
}

#[test]
fn key_frames_come_when_asked_for_with_the_announced_parameter_sets() {
    let mut encoder = Encoder::new(EncoderSettings::default()).unwrap();
    let config = encoder.track().config.clone();
    let announced = h264::DecoderConfig::parse(&config).unwrap();
    for number in 0..60 {
        let unit = encoder.encode(caption(number), number % 20 == 7).unwrap();
        assert_eq!(unit.key, number == 0 || number % 20 == 7, "{number}");
        assert_eq!(unit.key, h264::is_key_frame(&unit.data));
        let sets: Vec<&[u8]> = h264::units(&unit.data)
            .map(Result::unwrap)
            .filter(|nal| matches!(h264::UnitKind::of(nal), Some(h264::UnitKind::Sps | h264::UnitKind::Pps)))
            .collect();
        if unit.key {
            assert_eq!(sets, [announced.sps[0], announced.pps[0]]);
        } else {
            assert!(sets.is_empty());
        }
    }
    let size = h264::Sps::parse(announced.sps[0]).unwrap();
    assert_eq!((size.width, size.height), (640, 360));
}

#[test]
fn the_bit_rate_is_kept() {
    let calm = EncoderSettings::default();
    let busy = EncoderSettings { scene: Scene::Noisy, bits_per_second: 1_500_000, ..calm };
    for (settings, allowed) in [(calm, 200_000..600_000), (busy, 1_350_000..1_650_000)] {
        let mut encoder = Encoder::new(settings).unwrap();
        let frames = 250;
        let bytes: usize =
            (0..frames).map(|at| encoder.encode(caption(at), at % 25 == 0).unwrap().data.len()).sum();
        let bits_per_second = crate::wide(bytes) * 8 * 25 / frames;
        assert!(allowed.contains(&bits_per_second), "{:?}: {bits_per_second}", settings.scene);
    }
}

#[test]
fn absurd_settings_are_refused() {
    let default = EncoderSettings::default();
    for settings in [
        EncoderSettings { width: 0, ..default },
        EncoderSettings { width: 641, ..default },
        EncoderSettings { width: 318, ..default },
        EncoderSettings { height: 100_000, ..default },
        EncoderSettings { frames_per_second: 0, ..default },
        EncoderSettings { bits_per_second: u32::MAX, ..default },
    ] {
        assert!(Encoder::new(settings).is_err(), "{settings:?}");
    }
}
