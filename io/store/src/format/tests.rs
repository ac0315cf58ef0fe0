//! What is encoded comes back; what is changed is refused; nothing panics.

use keepwatch_model::{
    CameraId, CodecKind, GapReason, Origin, RoleId, Span, StreamId, TrackConfig, WallTime,
};
use proptest::prelude::*;

use super::*;
use crate::{CameraTime, DiskId, DiskRole, GapBefore, RecordInfo, RunId, TimeQuality};

fn camera() -> CameraId {
    "north.gate-2".parse().unwrap()
}

fn spans() -> impl Strategy<Value = Span> {
    (any::<i64>(), 1_i64..).prop_map(|(from, ticks)| {
        let from = from.min(i64::MAX - 1);
        Span { from: WallTime::from_ticks(from), to: WallTime::from_ticks(from.saturating_add(ticks)) }
    })
}

fn infos() -> impl Strategy<Value = RecordInfo> {
    let gaps = prop::option::of((any::<i64>(), prop::sample::select(&GapReason::ALL[..])));
    let times = prop::option::of((spans(), any::<bool>()));
    let origins = prop::sample::select(vec![Origin::Primary, Origin::Standby, Origin::Edge]);
    let roles = (any::<[u8; 16]>(), prop::option::of(any::<[u8; 16]>()));
    (any::<(u64, bool, bool, bool, u32, u32, u32)>(), spans(), gaps, times, origins, roles).prop_map(
        |(numbers, label, gap, time, origin, (recorder, replaces))| RecordInfo {
            run: RunId(numbers.0),
            run_start: numbers.1,
            continuation: numbers.2,
            starts_with_key: numbers.3,
            label,
            camera_time: time.map(|(span, settled)| CameraTime {
                span,
                quality: if settled { TimeQuality::SenderReport } else { TimeQuality::Provisional },
            }),
            gap_before: gap.map(|(from, reason)| GapBefore { from: WallTime::from_ticks(from), reason }),
            lost_packets: numbers.4,
            origin,
            recorder: RoleId(recorder),
            replaces: replaces.map(RoleId),
            samples: numbers.5,
            media_bytes: numbers.6,
        },
    )
}

/// A head with two tracks and its header.
fn head(info: RecordInfo, samples: &[(u16, i32, u32, bool)]) -> (RecordHeader, Vec<u8>, u32) {
    let configs = [
        TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![1, 2, 3] },
        TrackConfig { kind: CodecKind::Pcma, clock_rate: 8_000, channels: 1, config: Vec::new() },
    ];
    let video: Vec<_> = samples
        .iter()
        .map(|(bytes, ticks, crc, key)| TableTrack::encode_sample(u32::from(*bytes), *ticks, *crc, *key))
        .collect();
    let table = |config, samples, data_bytes| TableTrack {
        config,
        label: info.label.from,
        base_pts: -7,
        samples,
        data_bytes,
    };
    let data_bytes = samples.iter().map(|sample| usize::from(sample.0)).sum();
    let mut bytes = vec![0; padded(HEADER_BYTES + 2 * TRACK_BYTES + 3 + samples.len() * SAMPLE_BYTES)];
    let (table_bytes, table_crc, record_bytes) =
        encode_table(&mut bytes, &[table(&configs[0], &video, data_bytes), table(&configs[1], &[], 0)]);
    let header = RecordHeader {
        head_bytes: length_u32(bytes.len()),
        sequence: 42,
        number: 3,
        chain: 0xdead_beef,
        epoch: 9,
        camera: camera(),
        stream: StreamId(1),
        tracks: 2,
        record_bytes,
        table_bytes,
        table_crc,
        info,
    };
    let crc = header.encode(&mut bytes);
    (header, bytes, crc)
}

proptest! {
    #[test]
    fn a_record_comes_back(info in infos(), samples in prop::collection::vec(any::<(u16, i32, u32, bool)>(), 0..300)) {
        let (header, bytes, crc) = head(info, &samples);
        prop_assert_eq!(RecordHeader::decode_with_crc(&bytes), Ok((header, crc)));
        let index = decode_index(&header, &bytes).unwrap();
        prop_assert_eq!((index.camera, index.info), (camera(), info));
        prop_assert_eq!(index.tracks[0].samples.len(), samples.len());
        let mut offset = 0;
        for (found, (length, ticks, crc, key)) in index.tracks[0].samples.iter().zip(samples) {
            prop_assert_eq!((found.bytes, found.pts, found.crc), (u32::from(length), i64::from(ticks) - 7, crc));
            prop_assert_eq!((found.key, found.offset_bytes), (key, offset));
            offset += u32::from(length);
        }
        let entry = Entry::from_header(&header, 4096, crc);
        let mut place = [0; ENTRY_BYTES];
        entry.encode(&mut place);
        prop_assert_eq!(Entry::decode(&place), Ok(entry));
    }

    /// Whatever bit is flipped in a header, it is refused.
    #[test]
    fn a_changed_header_is_refused(info in infos(), place in 0..HEADER_BYTES, bit in 0..8_u8) {
        let (_, mut bytes, _) = head(info, &[(5, 0, 0, true)]);
        bytes[place] ^= 1 << bit;
        prop_assert!(RecordHeader::decode(&bytes).is_err());
        decode_untrusted(&bytes);
    }

    /// A table whose checksum matches but whose fields are nonsense is refused or read, and never panics.
    #[test]
    fn a_forged_table_does_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        info in infos(),
    ) {
        let (header, mut bytes, _) = head(info, &[(5, 0, 0, true), (9, 1, 2, false)]);
        let end = HEADER_BYTES + header.table_bytes as usize;
        for (place, value) in changes {
            let table = &mut bytes[HEADER_BYTES..end];
            let place = place.index(table.len());
            table[place] = value;
        }
        let table_crc = crc32c::crc32c(&bytes[HEADER_BYTES..end]);
        let forged = RecordHeader { table_crc, ..header };
        if let Ok(index) = decode_index(&forged, &bytes) {
            for track in &index.tracks {
                prop_assert!(track.data_offset_bytes + track.data_bytes <= header.record_bytes);
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..5_000), magic in 0..5_usize) {
        decode_untrusted(&bytes);
        let magics = [*b"KWDISK\0\x01", *b"KWEXT\0\0\x01", *b"KWTRL\0\0\x01", *b"KWREC\0\0\x01", [0; 8]];
        let mut bytes = bytes;
        if let Some(place) = bytes.get_mut(..8) {
            place.copy_from_slice(&magics[magic]);
            seal_for_test(&mut bytes);
        }
        decode_untrusted(&bytes);
    }
}

fn seal_for_test(bytes: &mut [u8]) {
    let length = bytes.len().min(BLOCK_BYTES);
    if length >= 12 {
        seal(&mut bytes[..length]);
    }
}

fn a_superblock() -> Superblock {
    Superblock {
        generation: 5,
        compat: 1 << 40,
        ro_compat: 0,
        disk: DiskId([1; 16]),
        owner: RoleId([2; 16]),
        role: DiskRole::Edge,
        clean: true,
        extent_bytes: 64 << 20,
        extent_count: 1_000,
        data_offset_bytes: 1 << 20,
        epoch: 77,
    }
}

#[test]
fn a_superblock_comes_back_and_its_features_are_obeyed() {
    let superblock = a_superblock();
    let block = superblock.encode();
    assert_eq!(Superblock::decode(&block), Ok(superblock));
    assert!(superblock.writable());
    let later = Superblock { ro_compat: 2, ..superblock };
    assert!(
        !Superblock::decode(&later.encode()).unwrap().writable(),
        "an unknown feature of this kind: read only"
    );
    let mut block = block;
    block[32] = 4; // Bit 2 of the features that all must know.
    seal(&mut block);
    assert_eq!(Superblock::decode(&block), Err(FormatError::Features(4)));
    for nonsense in [
        Superblock { extent_bytes: 0, ..superblock },
        Superblock { extent_bytes: 5_000, ..superblock },
        Superblock { extent_bytes: 1 << 40, ..superblock },
        Superblock { extent_count: 0, ..superblock },
        Superblock { data_offset_bytes: u64::MAX, ..superblock },
    ] {
        assert!(matches!(Superblock::decode(&nonsense.encode()), Err(FormatError::Field(_))));
    }
}

#[test]
fn an_extents_header_and_trailer_come_back() {
    let header = ExtentHeader {
        usage: ExtentUse::Used,
        disk: DiskId([1; 16]),
        sequence: 5,
        epoch: 6,
        camera: camera(),
        stream: StreamId(1),
        lane: crate::Lane::Backfill,
        origin: Origin::Edge,
        recorder: RoleId([2; 16]),
        first_label: WallTime::from_ticks(-9),
    };
    let (block, crc) = header.encode();
    assert_eq!(ExtentHeader::decode(&block), Ok((header, crc)));
    assert_eq!(block[512..], vec![0; 3584], "a header fits one sector");
    let (index, locator) = Locator::seal(DiskId([1; 16]), 5, (camera(), StreamId(1)), 8192, &[]);
    let located = Locator::decode(&locator).unwrap();
    assert_eq!((located.sequence, located.records, located.index_offset_bytes), (5, 0, 8192));
    assert_eq!(located.decode_entries(&index), Ok(Vec::new()));
    let greedy = Locator { records: u32::MAX, ..located };
    assert!(greedy.decode_entries(&index).is_err());
}
