//! Segments read back with mp4-atom, and the arithmetic of times against what a player makes of them.

use keepwatch_model::{CodecKind, TrackConfig};
use mp4_atom::{Any, Atom as _, Decode, Ftyp, Header, Moof};
use proptest::prelude::*;

use super::*;
use crate::aac::AacConfig;
use crate::mp4::{Mp4Error, TrackKind};

/// High profile, 320x240, level 1.3.
const HIGH: &[u8] = &[
    0x01, 0x64, 0x00, 0x0d, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x01, 0x41, 0xfb,
    0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01,
    0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

fn track(kind: CodecKind, clock_rate: u32, channels: u8, config: &[u8]) -> TrackConfig {
    TrackConfig { kind, clock_rate, channels, config: config.to_vec() }
}

fn h264() -> TrackConfig {
    track(CodecKind::H264, 90_000, 0, HIGH)
}

fn aac(channels: u8) -> TrackConfig {
    track(CodecKind::Aac, 16_000, channels, &AacConfig::low_complexity(16_000, channels).unwrap())
}

fn ulaw() -> TrackConfig {
    track(CodecKind::Pcmu, 8_000, 1, &[])
}

/// The segment of one track of pictures.
fn segment(samples: &[FragmentSample], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let run = TrackRun { track: 1, samples, offsets: true, data: &[data] };
    write_segment(7, &[run], &mut out).unwrap();
    out
}

/// Places times in order, the last one followed by nothing that is known.
fn place_all(times: &mut DecodeTimes, shown: &[i64]) -> Vec<Placed> {
    let then = shown.iter().skip(1).map(|then| Some(*then)).chain([None]);
    shown.iter().zip(then).map(|(shown, then)| times.place(*shown, then)).collect()
}

#[test]
fn browsers_are_told_the_codecs_by_the_names_they_know() {
    let init = InitSegment::new(&[(TrackKind::Video, &h264()), (TrackKind::Audio, &aac(2))]).unwrap();
    assert_eq!(init.mime(), "video/mp4; codecs=\"avc1.64000D,mp4a.40.2\"");
    assert_eq!(init.size, (320, 240));
    let init = InitSegment::new(&[(TrackKind::Video, &h264()), (TrackKind::Audio, &ulaw())]).unwrap();
    assert_eq!(init.codecs, "avc1.64000D,flac");
    let jpeg = track(CodecKind::Jpeg, 90_000, 0, &[0, 0, 0, 0]);
    for unplayable in
        [jpeg, track(CodecKind::Metadata, 90_000, 0, &[]), track(CodecKind::H264, 90_000, 0, &[1])]
    {
        assert!(InitSegment::new(&[(TrackKind::Video, &unplayable)]).is_err(), "{unplayable:?}");
    }
    assert!(matches!(InitSegment::new(&[]), Err(Mp4Error::Tracks)));
}

#[test]
fn the_initialisation_segment_has_tracks_and_no_samples() {
    let init = InitSegment::new(&[(TrackKind::Video, &h264()), (TrackKind::Audio, &ulaw())]).unwrap();
    let mut rest = init.bytes.as_slice();
    Ftyp::decode(&mut rest).unwrap();
    let Any::Moov(moov) = Any::decode(&mut rest).unwrap() else { panic!("moov comes second") };
    assert!(rest.is_empty());
    let extends: Vec<u32> = moov.mvex.unwrap().trex.iter().map(|trex| trex.track_id).collect();
    assert_eq!(extends, [1, 2]);
    for trak in &moov.trak {
        assert_eq!(trak.mdia.mdhd.timescale, TIMESCALE);
        assert!(trak.mdia.minf.stbl.stts.entries.is_empty());
    }
}

/// Every byte of a segment of two pictures and one packet of sound.
#[test]
fn a_small_segment_is_written_byte_by_byte_as_the_standard_says() {
    let placed = |decode, duration, offset| Placed { decode, duration, offset };
    let pictures = [
        FragmentSample { bytes: 3, placed: placed(0x1_0000_0000, 3_600, 7_200), key: true },
        FragmentSample { bytes: 1, placed: placed(0x1_0000_0e10, 3_600, -1), key: false },
    ];
    let sound = [FragmentSample { bytes: 2, placed: placed(90_000, 1_800, 0), key: true }];
    let runs = [
        TrackRun { track: 1, samples: &pictures, offsets: true, data: &[b"ab", b"cd"] },
        TrackRun { track: 3, samples: &[], offsets: true, data: &[] },
        TrackRun { track: 2, samples: &sound, offsets: false, data: &[b"ef"] },
    ];
    let mut out = b"before".to_vec();
    write_segment(9, &runs, &mut out).unwrap();
    let dump = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = [
        "000000c4",
        "6d6f6f66", // moof
        "00000010",
        "6d666864",
        "00000000",
        "00000009", // mfhd, number 9
        "00000060",
        "74726166", // traf
        "00000010",
        "74666864",
        "00020000",
        "00000001", // tfhd, from the moof, track 1
        "00000014",
        "74666474",
        "01000000",
        "0000000100000000", // tfdt of 64 bits
        "00000034",
        "7472756e",
        "01000f01",
        "00000002",
        "000000cc", // trun, signed, 2 samples at 204
        "00000e10",
        "00000003",
        "02000000",
        "00001c20", // a key frame
        "00000e10",
        "00000001",
        "01010000",
        "ffffffff", // another picture
        "0000004c",
        "74726166", // traf
        "00000010",
        "74666864",
        "00020000",
        "00000002", // tfhd, track 2
        "00000014",
        "74666474",
        "01000000",
        "0000000000015f90", // tfdt
        "00000020",
        "7472756e",
        "01000305",
        "00000001",
        "000000d0",
        "02000000", // trun, flags of the first
        "00000708",
        "00000002", // a packet
        "0000000e",
        "6d646174",
        "616263646566", // mdat
    ];
    assert_eq!(dump(&out[6..]), expected.concat());
    assert_eq!(&out[..6], b"before");
}

#[test]
fn lengths_that_do_not_fit_the_bytes_are_refused() {
    let sample = FragmentSample { bytes: 3, placed: Placed { decode: 0, duration: 1, offset: 0 }, key: true };
    let run = TrackRun { track: 1, samples: &[sample], offsets: true, data: &[b"ab"] };
    let error = write_segment(1, &[run], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Mp4Error::SampleBytes { told: 3, given: 2 }), "{error}");
    let huge = FragmentSample { bytes: u32::MAX, ..sample };
    let run = TrackRun { track: 1, samples: &[huge, huge], offsets: true, data: &[b"ab"] };
    assert!(write_segment(1, &[run], &mut Vec::new()).is_err());
}

#[test]
fn pictures_in_the_order_they_are_shown_are_decoded_when_they_are_shown() {
    let mut times = DecodeTimes::in_order(3_600);
    let placed = place_all(&mut times, &[0, 3_600, 7_300, 10_800]);
    let decoded: Vec<(u64, u32, i32)> =
        placed.iter().map(|placed| (placed.decode, placed.duration, placed.offset)).collect();
    assert_eq!(decoded, [(0, 3_600, 0), (3_600, 3_700, 0), (7_300, 3_500, 0), (10_800, 3_600, 0)]);
}

/// I P B B P B B, as encoders with two B pictures send it.
#[test]
fn reordered_pictures_are_shown_at_their_labels_and_never_before_they_are_decoded() {
    let shown: Vec<i64> = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8].iter().map(|frame| frame * 3_600 + 7_200).collect();
    let depth = reorder_depth(shown.iter().copied());
    assert_eq!(depth, 1);
    for depth in [depth, depth + 1] {
        let mut times = DecodeTimes::reordered(depth, 3_600);
        let base = times.lead() - shown[0];
        let shown: Vec<i64> = shown.iter().map(|shown| shown + base).collect();
        let placed = place_all(&mut times, &shown);
        for (placed, shown) in placed.iter().zip(&shown) {
            assert_eq!(i64::try_from(placed.decode).unwrap() + i64::from(placed.offset), *shown);
            assert!(placed.offset >= 0, "{placed:?}");
        }
        for pair in placed.windows(2) {
            assert_eq!(pair[0].decode + u64::from(pair[0].duration), pair[1].decode);
            assert_eq!(pair[0].duration, 3_600, "evenly, as the pictures come");
        }
    }
}

#[test]
fn a_live_picture_needs_no_knowledge_of_the_next() {
    let mut times = DecodeTimes::reordered(0, 3_600);
    let mut next = None;
    for shown in [3_600, 7_250, 10_790, 90_000, 93_600] {
        let placed = times.place(shown, None);
        assert!(placed.offset > 0 && next.is_none_or(|next| next == placed.decode));
        assert_eq!(placed.decode + u64::try_from(placed.offset).unwrap(), u64::try_from(shown).unwrap());
        next = Some(placed.decode + u64::from(placed.duration));
    }
}

#[test]
fn a_break_reaches_to_its_end_and_what_follows_begins_anew() {
    let mut times = DecodeTimes::in_order(3_600);
    times.place(0, Some(3_600));
    assert_eq!(times.place_last(3_600, 40_000).duration, 36_400, "bridged");
    assert_eq!(times.place(40_000, Some(43_600)).decode, 40_000);
    assert_eq!(times.place_last(43_600, 47_200).duration, 3_600, "a hole follows");
    times.resume_at(900_000);
    assert_eq!(times.place(900_000, None).decode, 900_000);
}

#[test]
fn silence_is_known_for_what_cameras_send() {
    assert_eq!(silence(&ulaw()).map(<[u8]>::len), Some(1));
    assert!(silence(&aac(1)).is_some() && silence(&aac(2)).is_some());
    assert_eq!(silence(&h264()), None);
    assert_eq!(silence(&track(CodecKind::Aac, 8_000, 1, &[])), None);
}

#[test]
fn extreme_times_do_not_panic() {
    for mut times in [
        DecodeTimes::in_order(i64::MAX),
        DecodeTimes::reordered(3, 0),
        DecodeTimes::reordered(usize::MAX, i64::MAX),
    ] {
        for shown in [i64::MIN, 0, i64::MAX, -1, i64::MAX, i64::MIN] {
            times.place(shown, Some(i64::MIN));
            times.place(shown, Some(i64::MAX));
            times.place_last(shown, i64::MAX);
            times.resume_at(shown);
        }
    }
    assert_eq!(reorder_depth([i64::MAX, i64::MIN, 0]), 1);
}

proptest! {
    /// Groups of pictures of any structure: shown exactly, decoded in time, without a hole between segments.
    #[test]
    fn any_order_of_pictures_is_shown_exactly_whatever_the_cuts(
        groups in prop::collection::vec((1usize..8, any::<u64>()), 1..12),
        extra in 0usize..2,
        cut in 1usize..9,
    ) {
        let mut shown = Vec::new();
        for (length, seed) in groups {
            let base = i64::try_from(shown.len()).unwrap();
            let mut group: Vec<i64> = (0..i64::try_from(length).unwrap()).map(|frame| (base + frame) * 3_003).collect();
            // A shuffle that leaves the first in place.
            let mut chance = seed;
            for position in (2..group.len()).rev() {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                group.swap(position, 1 + usize::try_from(chance >> 33).unwrap() % position);
            }
            shown.extend(group);
        }
        let depth = reorder_depth(shown.iter().copied()) + extra;
        let mut times = DecodeTimes::reordered(depth, 3_003);
        let base = times.lead();
        shown.iter_mut().for_each(|time| *time += base);
        let placed = place_all(&mut times, &shown);
        let mut end = None;
        let mut seen = Vec::new();
        for part in placed.chunks(cut) {
            let samples: Vec<FragmentSample> =
                part.iter().map(|placed| FragmentSample { bytes: 1, placed: *placed, key: false }).collect();
            let bytes = segment(&samples, &vec![0; samples.len()]);
            let mut rest = bytes.as_slice();
            let moof = Moof::decode(&mut rest).unwrap();
            let header = Header::decode(&mut rest).unwrap();
            prop_assert_eq!(header.size, Some(samples.len()));
            let traf = &moof.traf[0];
            let mut decode = traf.tfdt.as_ref().unwrap().base_media_decode_time;
            prop_assert!(end.is_none_or(|end| end == decode), "segments join");
            prop_assert_eq!(traf.trun[0].data_offset, Some(i32::try_from(bytes.len() - samples.len()).unwrap()));
            for entry in traf.trun[0].samples.iter() {
                let offset = entry.cts.unwrap();
                prop_assert!(offset >= 0, "never shown before it is decoded");
                seen.push(i64::try_from(decode).unwrap() + offset);
                decode += u64::from(entry.duration.unwrap());
            }
            end = Some(decode);
        }
        prop_assert_eq!(seen, shown);
        prop_assert_eq!(Moof::KIND, b"moof".into());
    }
}
