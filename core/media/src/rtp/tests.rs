use super::*;
use proptest::prelude::*;

#[test]
fn all_parts_of_a_header_are_found() {
    let bytes = [
        0xb1, 0xe0, 0x12, 0x34, 0, 0, 0, 5, 0, 0, 0,
        6, // header: padding, extension, one source, marker, type 96
        0xaa, 0xbb, 0xcc, 0xdd, // contributing source
        0xab, 0xac, 0, 1, 1, 2, 3, 4, // extension of one word
        9, 8, 7, 0, 0, 3, // payload and padding
    ];
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!((packet.marker, packet.payload_type, packet.sequence), (true, 96, 0x1234));
    assert_eq!((packet.timestamp, packet.ssrc, packet.csrc), (5, 6, &[0xaa, 0xbb, 0xcc, 0xdd][..]));
    assert_eq!(packet.extension, Some(Extension { profile: 0xabac, data: &[1, 2, 3, 4] }));
    assert_eq!(packet.payload, [9, 8, 7]);
    for length in 0..24 {
        assert_eq!(RtpPacket::parse(&bytes[..length]), Err(RtpError::Short(length)));
    }
}

#[test]
fn wrong_padding_and_version_are_refused() {
    let packet = |flags: u8, tail: &[u8]| [&[flags, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], tail].concat();
    assert_eq!(RtpPacket::parse(&packet(0x40, &[1])), Err(RtpError::Version(1)));
    assert_eq!(RtpPacket::parse(&packet(0xa0, &[0])), Err(RtpError::Padding(0)));
    assert_eq!(RtpPacket::parse(&packet(0xa0, &[1, 3])), Err(RtpError::Padding(3)));
    assert_eq!(RtpPacket::parse(&packet(0xa0, &[])), Err(RtpError::Padding(0)));
    assert_eq!(RtpPacket::parse(&packet(0xa0, &[5, 2])).map(|packet| packet.payload), Ok(&[][..]));
}

#[test]
fn sequence_numbers_tell_what_happened() {
    let mut tracker = SequenceTracker::new();
    let steps: Vec<_> = [65_534, 65_535, 0, 3, 3, 1, 1, 4, 20_000, 20_001, 19_999, 500]
        .into_iter()
        .map(|sequence| tracker.push(sequence))
        .collect();
    use SequenceStep::{Duplicate, InOrder, Late, Lost, Restarted};
    assert_eq!(
        steps,
        // 19,999 lies before the restart: it cannot be late, for it was never missing.
        [
            InOrder,
            InOrder,
            InOrder,
            Lost(2),
            Duplicate,
            Late,
            Duplicate,
            InOrder,
            Restarted,
            InOrder,
            Restarted,
            Restarted
        ]
    );
    assert_eq!((tracker.lost(), tracker.duplicates(), tracker.late(), tracker.restarts()), (1, 2, 1, 3));
    assert_eq!(tracker.received(), 12);
}

#[test]
fn the_window_holds_as_many_as_can_be_late() {
    let mut tracker = SequenceTracker::new();
    tracker.push(1000);
    assert_eq!(tracker.push(1000 + 3000), SequenceStep::Lost(2999));
    assert_eq!(tracker.push(1000 + 3000 - 127), SequenceStep::Late);
    assert_eq!(tracker.push(1000 + 3000 - 128), SequenceStep::Restarted);
}

proptest! {
    #[test]
    fn a_packet_survives_writing(
        marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
        extension in prop::option::of((any::<u16>(), prop::collection::vec(any::<[u8; 4]>(), 0..9))),
        payload: Vec<u8>,
    ) {
        let data = extension.as_ref().map(|(profile, words)| (*profile, words.concat()));
        let extension = data.as_ref().map(|(profile, data)| Extension { profile: *profile, data });
        let mut bytes = Vec::new();
        RtpHeader { marker, payload_type, sequence, timestamp, ssrc, extension }.write(&mut bytes);
        bytes.extend_from_slice(&payload);
        let packet = RtpPacket::parse(&bytes).unwrap();
        let expected =
            RtpPacket { marker, payload_type, sequence, timestamp, ssrc, csrc: &[], extension, payload: &payload };
        prop_assert_eq!(packet, expected);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = RtpPacket::parse(&bytes);
    }

    /// Without late packets, what came and what was lost add up to what was sent.
    #[test]
    fn loss_adds_up(first: u16, steps in prop::collection::vec(1u16..50, 1..300)) {
        let mut tracker = SequenceTracker::new();
        let (mut sequence, mut lost) = (first, 0);
        tracker.push(first);
        for step in &steps {
            sequence = sequence.wrapping_add(*step);
            let expected = if *step == 1 { SequenceStep::InOrder } else { SequenceStep::Lost(step - 1) };
            prop_assert_eq!(tracker.push(sequence), expected);
            lost += u64::from(step - 1);
        }
        let sent: u64 = steps.iter().map(|step| u64::from(*step)).sum();
        prop_assert_eq!(tracker.lost(), lost);
        prop_assert_eq!(tracker.received() + lost, sent + 1);
        prop_assert_eq!(tracker.extended_highest(), u64::from(first) + sent);
    }

    #[test]
    fn any_sequence_is_survived(sequences: Vec<u16>) {
        let mut tracker = SequenceTracker::new();
        let mut highest = 0;
        for sequence in sequences {
            tracker.push(sequence);
            prop_assert!(tracker.extended_highest() >= highest);
            highest = tracker.extended_highest();
        }
    }

    #[test]
    fn timestamps_are_unwrapped(first: u32, steps in prop::collection::vec(-0x7fff_ffffi64..0x7fff_ffff, 0..50)) {
        let mut unwrapper = TimestampUnwrapper::new();
        let mut expected = i64::from(first);
        prop_assert_eq!(unwrapper.unwrap(first), expected);
        for step in steps {
            expected += step;
            prop_assert_eq!(unwrapper.unwrap(u32::try_from(expected & 0xffff_ffff).unwrap()), expected);
        }
    }
}
