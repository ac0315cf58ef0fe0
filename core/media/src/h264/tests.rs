use super::*;
use crate::nal::find_start_code;
use proptest::prelude::*;

/// 1920 x 1080 at 25 frames a second, main profile, from a camera.
const SPS: &[u8] =
    b"\x67\x4d\x00\x2a\x95\xa8\x1e\x00\x89\xf9\x61\x00\x00\x03\x00\x01\x00\x00\x03\x00\x32\x84";
const PPS: &[u8] = b"\x68\xee\x3c\x80";

/// Writes bits, for sets that no camera at hand sends.
#[derive(Default)]
struct BitWriter {
    bits: Vec<bool>,
}

impl BitWriter {
    fn put(&mut self, value: u64, count: u32) -> &mut Self {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn ue(&mut self, value: u32) -> &mut Self {
        let code = u64::from(value) + 1;
        self.put(code, 2 * code.ilog2() + 1)
    }

    /// The unit with its trailing bit and emulation prevention.
    fn unit(&self, header: &[u8]) -> Vec<u8> {
        let mut bits = self.bits.clone();
        bits.push(true);
        bits.resize(bits.len().next_multiple_of(8), false);
        let (mut unit, mut zeros) = (header.to_vec(), 0);
        for byte in bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))) {
            if zeros >= 2 && byte <= 3 {
                unit.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            unit.push(byte);
        }
        unit
    }
}

/// A baseline set whose size is `columns` x `rows` macroblocks, cropped at the right and the bottom.
fn baseline(columns: u32, rows: u32, crop: (u32, u32)) -> BitWriter {
    let mut bits = BitWriter::default();
    bits.ue(0).ue(0).ue(2).ue(1).put(0, 1).ue(columns - 1).ue(rows - 1).put(1, 1).put(1, 1);
    bits.put(1, 1).ue(0).ue(crop.0).ue(0).ue(crop.1);
    bits
}

const BASELINE: &[u8] = &[0x67, 66, 0xc0, 30];

#[test]
fn size_timing_and_reordering_are_read() {
    let sps = Sps::parse(SPS).unwrap();
    assert_eq!((sps.width, sps.height, sps.profile, sps.level), (1920, 1080, 77, 42));
    assert_eq!(sps.frame_rate(), Some(25.0));
    let high = Sps::parse(b"\x67\x64\x00\x33\xac\x15\x14\xa0\xa0\x2f\xf9\x50").unwrap();
    assert_eq!((high.profile, high.chroma_format, high.luma_bits, high.width % 16), (100, 1, 8, 0));
    let mut bits = baseline(40, 23, (0, 4));
    // Usability information: aspect ratio by numbers, video signal, chroma, timing, both decoders, restrictions.
    bits.put(1, 1)
        .put(1, 1)
        .put(255, 8)
        .put(0, 32)
        .put(1, 1)
        .put(0, 1)
        .put(1, 1)
        .put(5, 4)
        .put(1, 1)
        .put(0, 24);
    bits.put(1, 1).ue(0).ue(0).put(1, 1).put(1001, 32).put(60_000, 32).put(1, 1);
    for _ in 0..2 {
        bits.put(1, 1).ue(0).put(0, 8).ue(9).ue(9).put(0, 1).put(0, 20);
    }
    bits.put(0, 1).put(0, 1).put(1, 1).put(1, 1).ue(0).ue(0).ue(10).ue(10).ue(2).ue(4);
    let sps = Sps::parse(&bits.unit(BASELINE)).unwrap();
    assert_eq!((sps.width, sps.height), (640, 360));
    assert_eq!(sps.timing, Some(Timing { units_in_tick: 1001, time_scale: 60_000, fixed_frame_rate: true }));
    assert_eq!(sps.reorder_frames, Some(2));
}

#[test]
fn what_follows_the_size_may_be_broken() {
    let mut bits = baseline(40, 23, (0, 4));
    bits.put(1, 1).put(0, 4).put(1, 1).put(7, 8);
    let sps = Sps::parse(&bits.unit(BASELINE)).unwrap();
    assert_eq!((sps.width, sps.height, sps.timing, sps.reorder_frames), (640, 360, None, None));
}

#[test]
fn absurd_sets_are_refused() {
    let parse = |bits: BitWriter| Sps::parse(&bits.unit(BASELINE));
    assert!(matches!(parse(baseline(1056, 1056, (0, 0))), Err(SpsError::Size { .. })));
    assert!(matches!(parse(baseline(1057, 1, (0, 0))), Err(SpsError::OutOfRange { .. })));
    assert!(matches!(parse(baseline(u32::MAX, 2, (0, 0))), Err(SpsError::OutOfRange { .. })));
    assert!(matches!(parse(baseline(1, 1, (8, 0))), Err(SpsError::Size { .. })));
    assert!(matches!(parse(baseline(1, 1, (u32::MAX - 1, 0))), Err(SpsError::Size { .. })));
    assert!(parse(baseline(1, 1, (7, 7))).is_ok());
    let mut bits = BitWriter::default();
    bits.ue(32);
    assert_eq!(parse(bits), Err(SpsError::OutOfRange { name: "seq_parameter_set_id", value: 32 }));
    assert_eq!(Sps::parse(PPS), Err(SpsError::Kind));
    assert_eq!(Sps::parse(&SPS[..8]), Err(SpsError::Malformed));
    assert_eq!(Sps::parse(&[]), Err(SpsError::Malformed));
    assert_eq!(Sps::parse(&[0x67, 66, 0, 30, 0, 0, 0, 0, 0]), Err(SpsError::Malformed));
}

#[test]
fn a_decoder_configuration_survives_its_bytes() {
    for sps in [SPS, b"\x67\x64\x00\x33\xac\x15\x14\xa0\xa0\x2f\xf9\x50"] {
        let config = DecoderConfig { sps: vec![sps, SPS], pps: vec![PPS, b"\x68\x01"] };
        let record = config.build().unwrap();
        assert_eq!(DecoderConfig::parse(&record), Ok(config));
        for length in 0..record.len() - 4 {
            assert!(DecoderConfig::parse(&record[..length]).is_err());
        }
    }
    let build = |sps: &[&[u8]], pps: &[&[u8]]| DecoderConfig { sps: sps.to_vec(), pps: pps.to_vec() }.build();
    assert_eq!(build(&[], &[PPS]), Err(DecoderConfigError::Count));
    assert_eq!(build(&[SPS], &[]), Err(DecoderConfigError::Count));
    assert_eq!(build(&[SPS; 32], &[PPS]), Err(DecoderConfigError::Count));
    assert_eq!(build(&[SPS], &[SPS]), Err(DecoderConfigError::Kind));
    assert_eq!(build(&[&[0x68; 9]], &[PPS]), Err(DecoderConfigError::Sps(SpsError::Kind)));
    assert_eq!(build(&[SPS], &[&[0x68; 70_000]]), Err(DecoderConfigError::Count));
    assert_eq!(DecoderConfig::parse(&[2, 0, 0, 0, 0xff, 0xe0, 0]), Err(DecoderConfigError::Version(2)));
    assert_eq!(DecoderConfig::parse(&[1, 0, 0, 0, 0xfd, 0xe0, 0]), Err(DecoderConfigError::LengthBytes(2)));
}

#[test]
fn a_stream_is_cut_at_its_start_codes() {
    let cut = |stream: &[u8]| annex_b_units(stream).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(
        cut(b"\x00\x00\x00\x01ab\x00\x00\x01c\x00\x00\x00\x00\x01\x00\x00\x01d\x00"),
        [&b"ab"[..], b"c", b"d"]
    );
    assert_eq!(cut(b"no start code"), [b"no start code"]);
    assert_eq!(cut(b"\x00\x00\x01"), Vec::<Vec<u8>>::new());
    let mut sample = Vec::new();
    length_prefixed(b"\x00\x00\x01ab\x00\x00\x01c", &mut sample);
    assert_eq!(sample, b"\x00\x00\x00\x02ab\x00\x00\x00\x01c");
}

#[test]
fn a_truncated_sample_is_told() {
    let cut = |sample: &[u8]| units(sample).collect::<Result<Vec<_>, _>>().map(|units| units.len());
    assert_eq!(cut(b"\x00\x00\x00\x01a\x00\x00\x00\x00"), Ok(2));
    assert_eq!(cut(b"\x00\x00\x00\x01a\x00\x00"), Err(TruncatedUnit { missing_bytes: 2 }));
    assert_eq!(cut(b"\x00\x00\x00\x05abc"), Err(TruncatedUnit { missing_bytes: 2 }));
    assert_eq!(cut(b"\xff\xff\xff\xffabc"), Err(TruncatedUnit { missing_bytes: 0xffff_fffc }));
}

#[test]
fn decoding_starts_at_idr_pictures_and_clean_recovery_points() {
    let sample = |units: &[&[u8]]| {
        let mut sample = Vec::new();
        units.iter().for_each(|unit| write_unit(&mut sample, unit));
        sample
    };
    let recovery = |count: u32, broken: u64| {
        let mut bits = BitWriter::default();
        bits.ue(count).put(1, 1).put(broken, 1).put(0, 2).put(1, 1);
        bits.bits.resize(bits.bits.len().next_multiple_of(8), false);
        let size = u8::try_from(bits.bits.len() / 8).unwrap();
        bits.unit(&[6, 6, size])
    };
    let slice: &[u8] = &[0x41, 0x9a];
    assert!(is_key_frame(&sample(&[SPS, PPS, &[0x65, 0x88]])));
    assert!(is_key_frame(&sample(&[&recovery(0, 0), slice])));
    assert!(!is_key_frame(&sample(&[&recovery(1, 0), slice])));
    assert!(!is_key_frame(&sample(&[&recovery(0, 1), slice])));
    assert!(!is_key_frame(&sample(&[&recovery(0, 0)])));
    assert!(!is_key_frame(&sample(&[SPS, PPS, slice])));
}

#[test]
fn several_messages_stand_in_one_unit() {
    let mut unit = vec![6, 0, 1, 0x80, 5, 17];
    unit.extend_from_slice(&[7; 16]);
    unit.extend_from_slice(&[9, 5, 16]);
    unit.extend_from_slice(&[8; 16]);
    unit.push(0x80);
    let found = user_data(&unit);
    assert_eq!(found, [UserData { uuid: [7; 16], data: vec![9] }, UserData { uuid: [8; 16], data: vec![] }]);
    assert_eq!(user_data(&unit[..12]), []);
    assert_eq!(user_data(&[6, 5, 255, 255]), []);
    assert_eq!(user_data(SPS), []);
}

proptest! {
    #[test]
    fn sizes_come_out_as_they_went_in(columns in 1u32..300, rows in 1u32..300, right in 0u32..8, bottom in 0u32..8) {
        let sps = Sps::parse(&baseline(columns, rows, (right, bottom)).unit(BASELINE)).unwrap();
        prop_assert_eq!((sps.width, sps.height), (columns * 16 - right * 2, rows * 16 - bottom * 2));
    }

    /// Whatever the data, no start code appears in the unit and the data comes back.
    #[test]
    fn user_data_survives(uuid: [u8; 16], data in prop::collection::vec(prop_oneof![Just(0u8), 0u8..4, any::<u8>()], 0..700)) {
        let mut unit = Vec::new();
        write_user_data(&mut unit, &uuid, &data);
        prop_assert_eq!(find_start_code(&unit), None);
        prop_assert!(!unit.windows(3).any(|bytes| bytes == [0, 0, 0] || bytes == [0, 0, 2]));
        prop_assert_eq!(user_data(&unit), [UserData { uuid, data: data.clone() }]);
        let mut sample = Vec::new();
        write_unit(&mut sample, SPS);
        write_unit(&mut sample, &unit);
        prop_assert_eq!(find_user_data(&sample, &uuid), Some(data));
    }

    #[test]
    fn start_codes_are_found_where_they_are(bytes in prop::collection::vec(0u8..3, 0..40)) {
        let naive = bytes.windows(3).position(|window| window == [0, 0, 1]);
        prop_assert_eq!(find_start_code(&bytes), naive);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, position in 0usize..30, byte: u8) {
        let mut sps = SPS.to_vec();
        if let Some(place) = sps.get_mut(position) {
            *place = byte;
        }
        let headed = |header: &[u8]| [header, &bytes].concat();
        let _ = Sps::parse(&sps);
        let _ = Sps::parse(&headed(&[0x67, 100, 0, 40]));
        let _ = Sps::parse(&headed(BASELINE));
        let _ = DecoderConfig::parse(&bytes);
        let _ = DecoderConfig::parse(&headed(&[1, 0, 0, 0, 0xff, 0xe1]));
        let _ = pps_id(&headed(&[0x68]));
        let _ = user_data(&headed(&[6]));
        let _ = user_data(&headed(&[6, 5]));
        let _ = is_key_frame(&bytes);
        let _ = is_clean_recovery_point(&headed(&[6, 6]));
        let _ = find_user_data(&bytes, &[0; 16]);
        let _ = units(&bytes).count();
        let _ = annex_b_units(&bytes).count();
    }
}
