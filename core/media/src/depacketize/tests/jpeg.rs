use super::*;
use crate::jpeg::{self, JpegFile};

const PLAIN_420: &[u8] = include_bytes!("../../../testdata/plain-420.jpg");
const PLAIN_422: &[u8] = include_bytes!("../../../testdata/plain-422.jpg");
const OWN_TABLES: &[u8] = include_bytes!("../../../testdata/own-tables-444.jpg");
const WIDE: &[u8] = include_bytes!("../../../testdata/wide-2592.jpg");

const SCAN: &[u8] = b"\x12\x34\x56";

fn session() -> Session {
    Session::new(&TrackConfig { kind: CodecKind::Jpeg, clock_rate: 90_000, channels: 0, config: Vec::new() })
}

/// A payload of a picture of 16 x 16 pixels, 4:2:0, with Q 50.
fn fragment(offset: u8, data: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, offset, 1, 50, 2, 2][..], data].concat()
}

fn scan(got: &Got) -> Vec<u8> {
    JpegFile::parse(&got.data).unwrap().scan.to_vec()
}

#[test]
fn a_file_that_is_sent_comes_out_with_all_that_decoding_needs() {
    for (name, file) in [("420", PLAIN_420), ("422", PLAIN_422), ("own tables", OWN_TABLES), ("wide", WIDE)] {
        let sent = JpegFile::parse(file).unwrap();
        let mut session = session();
        for (_, packet) in packetized_samples(CodecKind::Jpeg, &[file.to_vec(), file.to_vec()]) {
            assert!(packet.len() < 1440, "{name}");
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        assert_eq!(session.errors, [], "{name}");
        let [first, second] = session.got.as_slice() else { panic!("{name}: {}", session.got.len()) };
        assert_eq!((first.key, first.changed, second.changed), (true, true, false), "{name}");
        assert_eq!(first.data, second.data, "{name}");
        let came = JpegFile::parse(&first.data).unwrap();
        assert_eq!(
            (came.size, came.scan, came.quantization),
            (sent.size, sent.scan, sent.quantization),
            "{name}"
        );
        let [w0, w1] = sent.size.0.to_be_bytes();
        let [h0, h1] = sent.size.1.to_be_bytes();
        assert_eq!(session.depacketizer.config().config, [w0, w1, h0, h1], "{name}");
    }
}

#[test]
fn tables_are_computed_from_q() {
    // RFC 2435 §4.2 and appendix A: Q 50 is Annex K as it stands, Q 1 is all but flat, Q 99 nearly lossless.
    let first = |q| jpeg::quantization_tables(q).map(|tables| (tables[0], tables[63], tables[64]));
    assert_eq!(
        [first(50), first(1), first(99)],
        [Some((16, 99, 17)), Some((255, 255, 255)), Some((1, 2, 1))]
    );
    assert_eq!([first(0), first(100), first(127)], [None; 3]);
    let mut session = session();
    session.send(0, true, &fragment(0, SCAN));
    let [got] = session.got.as_slice() else { panic!("one picture") };
    let file = JpegFile::parse(&got.data).unwrap();
    let tables = jpeg::quantization_tables(50).unwrap();
    assert_eq!(file.quantization, Some((0, [&tables[..64], &tables[64..]])));
    assert_eq!((file.size, file.standard_huffman, file.scan), ((16, 16), true, &b"\x12\x34\x56\xff\xd9"[..]));
}

#[test]
fn tables_in_band_hold_until_others_come() {
    let mut session = session();
    let tables = [&[0, 0, 0, 128][..], &[7; 64], &[9; 64]].concat();
    let with = |q: u8, rest: &[u8]| [&[0, 0, 0, 0, 1, q, 2, 2][..], rest].concat();
    session.send(0, true, &with(200, &[&tables[..], SCAN].concat()));
    // §3.1.8: a length of 0 means the tables that came before with this Q.
    session.send(1, true, &with(200, &[&[0, 0, 0, 0], SCAN].concat()));
    session.send(2, true, &with(201, &[&[0, 0, 0, 0], SCAN].concat()));
    session.send(3, true, &with(100, SCAN));
    assert_eq!(
        session.errors,
        [DepacketizeError::JpegQuantization(201), DepacketizeError::JpegQuantization(100)]
    );
    let expected = Some((0, [&[7; 64][..], &[9; 64]]));
    assert_eq!(session.got.len(), 2);
    for got in &session.got {
        assert_eq!(JpegFile::parse(&got.data).unwrap().quantization, expected);
    }
}

#[test]
fn restart_intervals_are_kept() {
    let mut session = session();
    session.send(0, false, &[&[0, 0, 0, 0, 65, 50, 2, 2, 0, 4, 0xff, 0xff][..], SCAN].concat());
    session.send(0, true, &[&[0, 0, 0, 3, 65, 50, 2, 2, 0, 4, 0xff, 0xff][..], SCAN].concat());
    let [got] = session.got.as_slice() else { panic!("one picture") };
    assert_eq!(JpegFile::parse(&got.data).unwrap().restart_interval, 4);
    assert_eq!(scan(got), [SCAN, SCAN, b"\xff\xd9"].concat());
}

#[test]
fn loss_costs_the_picture_and_no_other() {
    let mut session = session();
    session.send(0, false, &fragment(0, SCAN)).lose(1).send(0, true, &fragment(6, SCAN));
    session.send(1, false, &fragment(0, SCAN)).send(1, true, &fragment(3, b"end"));
    session.send(2, false, &fragment(0, SCAN)).lose(1).send(3, true, &fragment(0, SCAN));
    let got: Vec<_> = session.got.iter().map(|got| (got.timestamp, got.lost, scan(got))).collect();
    let scans = [b"\x12\x34\x56end\xff\xd9".to_vec(), b"\x12\x34\x56\xff\xd9".to_vec()];
    let [first, second] = scans;
    assert_eq!(got, [(1, 1, first), (3, 1, second)]);
    assert_eq!(session.errors, []);
}

#[test]
fn a_picture_without_a_marker_ends_where_the_next_begins() {
    let mut session = session();
    session.send(0, false, &fragment(0, SCAN)).send(1, false, &fragment(0, SCAN)).send(
        1,
        false,
        &fragment(3, b"\xff\xd9"),
    );
    let got: Vec<_> =
        session.flush().iter().map(|got| (got.timestamp, got.data.ends_with(b"\xff\xd9"))).collect();
    assert_eq!(got, [(0, true), (1, true)]);
}

#[test]
fn payloads_that_cannot_be_used_are_told_and_counted() {
    for (payload, error) in [
        (&b"\x00\x00"[..], DepacketizeError::Truncated),
        (b"\x00\x00\x00\x00\x01\xff\x02\x02\x00\x00", DepacketizeError::Truncated),
        (b"\x00\x00\x00\x00\x02\x32\x02\x02x", DepacketizeError::JpegType(2)),
        (b"\x00\x00\x00\x00\x81\x32\x02\x02x", DepacketizeError::JpegType(0x81)),
        (b"\x00\x00\x00\x00\x01\x00\x02\x02x", DepacketizeError::JpegQuantization(0)),
        (b"\x00\x00\x00\x00\x01\x32\x00\x02x", DepacketizeError::JpegSize),
        (b"\x00\x00\x00\x09\x01\x32\x02\x02x", DepacketizeError::FragmentWithoutStart),
        (b"\x00\x00\x00\x00\x01\x32\x02\x02", DepacketizeError::Truncated),
    ] {
        let mut session = session();
        session.send(0, true, &fragment(0, SCAN)).send(1, true, payload).send(2, true, &fragment(0, SCAN));
        assert_eq!(session.errors, [error]);
        let got: Vec<_> = session.got.iter().map(|got| (got.timestamp, got.lost)).collect();
        assert_eq!(got, [(0, 0), (2, 1)], "{error}");
    }
}

/// ONVIF Streaming, "JPEG over RTP": what the extension does not say is as in the picture before.
#[test]
fn an_extension_may_say_the_size_once() {
    let mut session = session();
    let frame =
        b"\xff\xff\xff\xff\xff\xc0\x00\x11\x08\x08\x00\x0c\x00\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff";
    let payload = [&[0, 0, 0, 0, 1, 50, 0, 0][..], SCAN].concat();
    let mut send = |sequence: u16, data: &[u8]| {
        let extension = Some(Extension { profile: 0xffd8, data });
        session.push(&RtpPacket { extension, ..packet(sequence, sequence.into(), true, &payload) });
    };
    send(0, frame);
    send(1, b"");
    let sizes: Vec<_> = session.got.iter().map(|got| jpeg::size(&got.data)).collect();
    assert_eq!((session.errors, sizes), (vec![], vec![Some((3072, 2048)); 2]));
}

/// A camera that loses its markers, or a picture whose beginning was not sent: what has the extension of later packets
/// is no beginning.
#[test]
fn the_extension_of_later_packets_begins_no_picture() {
    let middle = fragment(6, SCAN);
    let begins = |profile| {
        let mut session = session();
        session.send(0, true, &fragment(0, SCAN));
        let extension = Some(Extension { profile, data: b"" });
        session.push(&RtpPacket { extension, ..packet(1, 1, true, &middle) });
        (session.got.len(), session.errors)
    };
    assert_eq!(begins(0xffd8), (2, vec![]));
    assert_eq!(begins(0xffff), (1, vec![DepacketizeError::FragmentWithoutStart]));
}

#[test]
fn a_picture_is_bounded() {
    let mut session = session();
    let body = vec![1; 60_000];
    for _ in 0..200 {
        session.send(0, false, &fragment(u8::from(session.sequence > 0), &body));
        assert!(session.depacketizer.buffered_bytes() <= ACCESS_UNIT_BYTES_MAX);
    }
    session.send(0, true, &fragment(1, &body)).send(1, true, &fragment(0, SCAN));
    assert_eq!(session.errors, [DepacketizeError::TooLong]);
    assert_eq!(session.got.iter().map(|got| (got.timestamp, got.lost)).collect::<Vec<_>>(), [(1, 1)]);
}

proptest! {
    #[test]
    fn random_payloads_never_panic(
        payloads in prop::collection::vec((0u32..3, any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        start in prop::collection::vec(0u8..3, 8),
    ) {
        let mut session = session();
        for (sequence, (timestamp, marker, extended, body)) in (0u16..).zip(payloads) {
            let payload = [&start[..], &[50][..], &body].concat();
            let data = &body[..body.len() / 4 * 4];
            let extension = extended.then_some(Extension { profile: 0xffd8, data });
            session.push(&RtpPacket { extension, ..packet(sequence, timestamp, marker, &payload) });
        }
        prop_assert!(session.got.iter().all(|got| jpeg::size(&got.data).is_some()));
    }
}
