//! FLAC against an independent decoder (claxon).

use std::io::Cursor;

use keepwatch_model::{CodecKind, TrackConfig, WallTime};
use proptest::prelude::*;

use super::*;
use crate::g711::Law;
use crate::mp4::SampleInfo;

const ULAW: TrackConfig =
    TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() };

/// A FLAC file of the blocks, as claxon reads it.
fn decode(stream: Stream, frames: &[u8]) -> Vec<i16> {
    let mut file = b"fLaC\x80\x00\x00\x22".to_vec();
    file.extend_from_slice(&stream.info(0).to_bytes());
    file.extend_from_slice(frames);
    let mut reader = claxon::FlacReader::new(Cursor::new(file)).unwrap();
    assert_eq!(reader.streaminfo().sample_rate, u32::from(stream.rate_hz()));
    assert_eq!(reader.streaminfo().channels, u32::from(stream.channels()));
    reader.samples().map(|sample| i16::try_from(sample.unwrap()).unwrap()).collect()
}

/// Codes `samples` in blocks of the given lengths, checking every length that is promised.
fn encode(stream: Stream, coding: Coding, samples: &[i16], lengths: &[usize]) -> Vec<u8> {
    let mut encoder = Encoder::new(stream);
    let mut out = Vec::new();
    let (mut rest, mut number) = (samples, 0);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (block, after) = rest.split_at(rest.len().min(length * usize::from(stream.channels())));
        rest = after;
        let start = out.len();
        encoder.encode(coding, number, block, &mut out).unwrap();
        let bytes = u32::try_from(out.len() - start).unwrap();
        assert_eq!(encoder.encoded_bytes(coding, number, block).unwrap(), bytes);
        let count = u32::try_from(block.len() / usize::from(stream.channels())).unwrap();
        if coding == Coding::Plain {
            assert_eq!(stream.plain_bytes(number, count), bytes);
        }
        number += u64::from(count);
    }
    out
}

/// A walk whose steps are at most `step`: from silence to noise.
fn signal() -> impl Strategy<Value = Vec<i16>> {
    (prop_oneof![Just(0), 1..40i32, Just(3_000), Just(65_535)], any::<u64>(), 1..9_000usize).prop_map(
        |(step, seed, length)| {
            let mut state = seed | 1;
            let mut value = 0i32;
            std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let draw =
                    i32::try_from((state >> 33) % (2 * step.unsigned_abs() as u64 + 1)).unwrap() - step;
                value = (value + draw).clamp(i16::MIN.into(), i16::MAX.into());
                i16::try_from(value).unwrap()
            })
            .take(length)
            .collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every signal comes back, whatever the blocks, the coding, the channels and the rate.
    #[test]
    fn what_is_coded_is_decoded_by_another(
        mut samples in signal(),
        lengths in prop::collection::vec(prop_oneof![1..40usize, Just(4_096), Just(1_600), 1..5_000usize], 1..4),
        channels in 1u8..=8,
        rate_hz in prop_oneof![Just(8_000u32), Just(16_000), Just(11_025), Just(48_000)],
        zero_bits in 0u8..=4,
        packed: bool,
    ) {
        samples.truncate(samples.len() / usize::from(channels) * usize::from(channels));
        samples.iter_mut().for_each(|sample| *sample = *sample >> zero_bits << zero_bits);
        let stream = Stream::new(rate_hz, channels, zero_bits).unwrap();
        let coding = if packed { Coding::Packed } else { Coding::Plain };
        let frames = encode(stream, coding, &samples, &lengths);
        prop_assert_eq!(&decode(stream, &frames), &samples);
        prop_assert_eq!(encode(stream, coding, &samples, &lengths), frames);
    }

    /// G.711 is lossless as FLAC: packets to blocks to frames to samples.
    #[test]
    fn packets_come_back_as_their_linear_values(
        packets in prop::collection::vec((0u32..400, prop_oneof![8 => Just(0i64), 1 => 1..100_000i64]), 0..120),
        law in prop_oneof![Just(CodecKind::Pcmu), Just(CodecKind::Pcma)],
        channels in 1u8..=2,
        packed: bool,
    ) {
        let config = TrackConfig { kind: law, channels, ..ULAW };
        let mut frames = G711Frames::new(&config).unwrap();
        let (mut data, mut infos, mut label) = (Vec::new(), Vec::new(), 0);
        for (samples, gap_ticks) in packets {
            label += gap_ticks;
            let size_bytes = samples * u32::from(channels);
            let bytes: Vec<u8> =
                (0..size_bytes).map(|n| u8::try_from((n * 7 + size_bytes) % 256).unwrap()).collect();
            infos.push(SampleInfo { size_bytes, pts: WallTime::from_ticks(label), duration_ticks: 0, key: true });
            data.push(bytes);
            label += i64::from(samples) * 45 / 4;
        }
        let mut blocks = Vec::new();
        frames.plan(&infos, &mut blocks).unwrap();
        let mut out = Vec::new();
        let mut first_sample = 0;
        for block in &blocks {
            prop_assert!(block.samples <= BLOCK_SAMPLES);
            prop_assert_eq!(block.first_sample, first_sample);
            prop_assert_eq!(block.pts, infos[block.packets.start].pts);
            first_sample += u64::from(block.samples);
            let g711 = data[block.packets.clone()].concat();
            let (coding, info) = if packed {
                (Coding::Packed, frames.packed_sample(block, &g711).unwrap())
            } else {
                (Coding::Plain, frames.plain_sample(block))
            };
            let start = out.len();
            frames.encode(coding, block, &g711, &mut out).unwrap();
            prop_assert_eq!(usize::try_from(info.size_bytes).unwrap(), out.len() - start);
        }
        let mut expected = Vec::new();
        Law::of(law).unwrap().decode_into(&data.concat(), &mut expected);
        if out.is_empty() {
            prop_assert!(expected.is_empty());
        } else {
            prop_assert_eq!(decode(frames.stream(), &out), expected);
        }
    }
}

fn packet(size_bytes: u32, ticks: i64) -> SampleInfo {
    SampleInfo { size_bytes, pts: WallTime::from_ticks(ticks), duration_ticks: 0, key: true }
}

fn planned(packets: &[SampleInfo]) -> Vec<(i64, u32)> {
    let mut blocks = Vec::new();
    G711Frames::new(&ULAW).unwrap().plan(packets, &mut blocks).unwrap();
    blocks.into_iter().map(|block| (block.pts.ticks(), block.samples)).collect()
}

#[test]
fn packets_join_until_a_block_is_full() {
    let packets: Vec<_> = (0..30).map(|n| packet(160, n * 1_800)).collect();
    // 25 packets of 160 are 4,000 samples; another would be more than 4,096.
    assert_eq!(planned(&packets), [(0, 4_000), (25 * 1_800, 800)]);
}

#[test]
fn a_lost_packet_ends_a_block() {
    let packets = [packet(80, 0), packet(80, 900), packet(80, 2_700), packet(80, 3_600)];
    assert_eq!(planned(&packets), [(0, 160), (2_700, 160)]);
    // An overlap is no continuation either.
    assert_eq!(planned(&[packet(80, 0), packet(80, 0)]), [(0, 80), (0, 80)]);
    // A slewed label is.
    assert_eq!(planned(&[packet(80, 0), packet(80, 1_200)]), [(0, 160)]);
}

#[test]
fn packets_without_samples_give_no_block() {
    assert_eq!(planned(&[packet(0, 0)]), []);
    assert_eq!(planned(&[]), []);
    let stereo = TrackConfig { channels: 2, ..ULAW };
    let mut blocks = Vec::new();
    let mut frames = G711Frames::new(&stereo).unwrap();
    frames.plan(&[packet(1, 0), packet(3, 90_000)], &mut blocks).unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].samples, 1);
    // The byte that is no whole sample is left out.
    let mut out = Vec::new();
    frames.encode(Coding::Plain, &blocks[0], &[0x00, 0x80, 0x55], &mut out).unwrap();
    assert_eq!(decode(frames.stream(), &out), [-32_124, 32_124]);
}

#[test]
fn a_block_says_how_long_it_sounds() {
    let mut blocks = Vec::new();
    let mut frames = G711Frames::new(&ULAW).unwrap();
    frames.plan(&[packet(160, 5), packet(1, 90_000)], &mut blocks).unwrap();
    assert_eq!(frames.plain_sample(&blocks[0]).duration_ticks, 1_800);
    assert_eq!(frames.plain_sample(&blocks[1]).duration_ticks, 12);
}

#[test]
fn wrong_input_is_refused() {
    let refused = |config: TrackConfig| G711Frames::new(&config).map(|_| ()).unwrap_err();
    assert_eq!(refused(TrackConfig { kind: CodecKind::H264, ..ULAW }), FlacError::Codec(CodecKind::H264));
    assert_eq!(refused(TrackConfig { clock_rate: 0, ..ULAW }), FlacError::Rate(0));
    assert_eq!(refused(TrackConfig { clock_rate: u32::MAX, ..ULAW }), FlacError::Rate(u32::MAX));
    assert_eq!(refused(TrackConfig { channels: 0, ..ULAW }), FlacError::Channels(0));
    assert_eq!(refused(TrackConfig { channels: 9, ..ULAW }), FlacError::Channels(9));

    let mut blocks = Vec::new();
    let huge = G711Frames::new(&ULAW).unwrap().plan(&[packet(u32::MAX, 0), packet(u32::MAX, 0)], &mut blocks);
    assert!(matches!(huge, Err(FlacError::Block { .. })));

    let mut encoder = Encoder::new(Stream::new(8_000, 2, 2).unwrap());
    let mut out = Vec::new();
    let mut encode = |first, samples: &[i16]| encoder.encode(Coding::Plain, first, samples, &mut out);
    assert!(matches!(encode(0, &[]), Err(FlacError::Block { .. })));
    assert!(matches!(encode(0, &[4; 3]), Err(FlacError::Block { .. })));
    assert!(matches!(encode(0, &[4; 2 * 65_536]), Err(FlacError::Block { .. })));
    assert_eq!(encode(0, &[4, 5]), Err(FlacError::LowBits(2)));
    assert_eq!(encode(1 << 36, &[4, 4]), Err(FlacError::TooLong));
    assert_eq!(encode((1 << 36) - 1, &[4; 2 * 65_535]), Ok(()));

    let mut frames = G711Frames::new(&ULAW).unwrap();
    let mut blocks = Vec::new();
    frames.plan(&[packet(2, 0)], &mut blocks).unwrap();
    let short = frames.encode(Coding::Plain, &blocks[0], &[0], &mut Vec::new());
    assert_eq!(short, Err(FlacError::Bytes { planned: 2, given: 1 }));
}

/// RFC 9639 §9.1.5: the coding is that of UTF-8, continued to 36 bits.
#[test]
fn numbers_are_coded_as_utf_8_is() {
    for number in (0..0xd800).chain([0xe000, 0xffff, 0x1_0000, 0x10_ffff]) {
        let mut out = Vec::new();
        bits::write_coded_number(number, &mut out);
        let character = char::from_u32(u32::try_from(number).unwrap()).unwrap();
        assert_eq!(out, character.encode_utf8(&mut [0; 4]).as_bytes(), "{number:#x}");
    }
    for (number, coded) in [
        (0x1f_ffff, vec![0xf7, 0xbf, 0xbf, 0xbf]),
        (0x20_0000, vec![0xf8, 0x88, 0x80, 0x80, 0x80]),
        (0x7fff_ffff, vec![0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]),
        (0xf_ffff_ffff, vec![0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]),
    ] {
        let mut out = Vec::new();
        bits::write_coded_number(number, &mut out);
        assert_eq!(out, coded);
        assert_eq!(bits::coded_number_bytes(number), u32::try_from(coded.len()).unwrap());
    }
}

/// What each coding costs, so that a change for the worse is seen: 4,096 samples of a 440 Hz tone in µ-law.
#[test]
fn packed_frames_are_smaller_than_plain_ones() {
    let stream = Stream::new(8_000, 1, Law::Mu.zero_bits()).unwrap();
    let mut encoder = Encoder::new(stream);
    let tone: Vec<i16> = (0..4_096u32)
        .map(|n| {
            // A parabola stands in for the sine: no floating point, the same everywhere.
            let phase = i32::try_from(n * 440 * 16 % (8_000 * 16) * 2 / 16).unwrap() - 8_000;
            let value = phase * (8_000 - phase.abs()) / 2_000;
            Law::Mu.decode(Law::Mu.encode(i16::try_from(value).unwrap()))
        })
        .collect();
    let plain = encoder.encoded_bytes(Coding::Plain, 0, &tone).unwrap();
    let packed = encoder.encoded_bytes(Coding::Packed, 0, &tone).unwrap();
    assert_eq!(plain, 4_096 * 14 / 8 + 12);
    assert!(packed < plain * 3 / 4, "{packed} of {plain}");
    assert_eq!(encoder.encoded_bytes(Coding::Packed, 0, &[0; 4_096]).unwrap(), 13);
}
