use super::*;
use crate::aac::AacConfig;

fn config(rate_hz: u32, clock_rate: u32) -> TrackConfig {
    let config = AacConfig::low_complexity(rate_hz, 1).unwrap();
    TrackConfig { kind: CodecKind::Aac, clock_rate, channels: 1, config }
}

fn session() -> Session {
    Session::new(&config(16_000, 16_000))
}

/// A payload of mode AAC-hbr with these access units.
fn high(units: &[&[u8]]) -> Vec<u8> {
    let bits = u16::try_from(units.len() * 16).unwrap();
    let mut payload = bits.to_be_bytes().to_vec();
    units.iter().for_each(|unit| payload.extend(u16::try_from(unit.len() << 3).unwrap().to_be_bytes()));
    units.iter().for_each(|unit| payload.extend_from_slice(unit));
    payload
}

#[test]
fn access_units_of_one_packet_follow_one_another_in_time() {
    let mut session = session();
    session.send(5000, true, &high(&[b"one"])).send(6024, true, &high(&[b"two", b"three", b"four"]));
    let expected = [(&b"one"[..], 5000), (b"two", 6024), (b"three", 7048), (b"four", 8072)];
    assert_eq!(session.got, expected.map(|(data, timestamp)| Got::whole(data, timestamp, 0)));
    assert_eq!(session.errors, []);
}

#[test]
fn a_clock_that_differs_from_the_sampling_rate_is_followed() {
    let mut session = Session::new(&config(16_000, 90_000));
    session.send(0, true, &high(&[b"a", b"b", b"c"]));
    assert_eq!(session.got.iter().map(|got| got.timestamp).collect::<Vec<_>>(), [0, 5760, 11_520]);
}

#[test]
fn the_low_mode_is_told_by_its_sizes() {
    let mut session = session();
    // RFC 3640 §3.3.5: a size of 6 bits, an index of 2.
    session.send(0, true, b"\x00\x08\x14fiver").send(1024, true, b"\x00\x10\x08\x0cabxyz");
    let expected = [(&b"fiver"[..], 0), (b"ab", 1024), (b"xyz", 2048)];
    assert_eq!(session.got, expected.map(|(data, timestamp)| Got::whole(data, timestamp, 0)));
}

#[test]
fn fragments_are_joined_and_loss_costs_the_access_unit() {
    let mut session = session();
    let header = [0, 16, 0, 6 << 3];
    let part = |data: &[u8]| [&header[..], data].concat();
    session.send(0, false, &part(b"abc")).send(0, true, &part(b"def"));
    session.send(1024, false, &part(b"abc")).lose(1).send(2048, true, &high(&[b"next"]));
    session.send(3072, false, &part(b"ab")).send(3072, false, &part(b"cd")).send(3072, true, &part(b"ef"));
    // The first part of another access unit ends one that never ended.
    session.send(4096, false, &part(b"abc")).send(5120, false, &part(b"uvw")).send(5120, true, &part(b"xyz"));
    let expected = [(&b"abcdef"[..], 0, 0), (b"next", 2048, 1), (b"abcdef", 3072, 0), (b"uvwxyz", 5120, 0)];
    assert_eq!(session.got, expected.map(|(data, timestamp, lost)| Got::whole(data, timestamp, lost)));
    assert_eq!(session.depacketizer.buffered_bytes(), 0);
}

/// Among all sizes are some whose header, read in the low mode, tells the length of the last fragment.
#[test]
fn the_rest_of_an_access_unit_is_not_taken_for_the_low_mode() {
    for size in 1397..8192usize {
        let mut session = session();
        let unit = vec![7; size];
        for (_, packet) in packetized_samples(CodecKind::Aac, std::slice::from_ref(&unit)) {
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        assert_eq!(session.got.iter().map(|got| got.data.len()).collect::<Vec<_>>(), [size]);
    }
}

#[test]
fn payloads_that_cannot_be_used_are_told_and_counted() {
    for (payload, error) in [
        (&b""[..], DepacketizeError::Truncated),
        (b"\x00\x10\x00", DepacketizeError::Truncated),
        (b"\x00\x00abc", DepacketizeError::Empty),
        (b"\x00\x10\x00\x18", DepacketizeError::Empty),
        (b"\x00\x10\x00\x08abc", DepacketizeError::Truncated),
        (b"\x00\x20\x00\x18\x00\x18abc", DepacketizeError::Truncated),
        (b"\x00\x10\x00\x19abc", DepacketizeError::Interleaved),
    ] {
        let mut session = session();
        session.send(0, true, payload).send(1024, true, &high(&[b"good"]));
        assert_eq!(session.errors, [error]);
        assert_eq!(session.got, [Got::whole(b"good", 1024, 1)]);
    }
}

#[test]
fn an_unusable_configuration_is_refused() {
    let config = TrackConfig { config: Vec::new(), ..config(16_000, 16_000) };
    assert!(matches!(Depacketizer::new(&config), Err(ConfigError::Aac(_))));
}

proptest! {
    #[test]
    fn what_is_sent_comes_out(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..8192), 1..8)) {
        let mut session = session();
        for (_, packet) in packetized_samples(CodecKind::Aac, &units) {
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        prop_assert_eq!(&session.errors, &[]);
        let got: Vec<_> = session.got.iter().map(|got| got.data.clone()).collect();
        prop_assert_eq!(got, units);
    }

    #[test]
    fn random_payloads_never_panic(payloads in prop::collection::vec((0u32..3, prop::collection::vec(0u8..40, 0..40)), 0..20)) {
        let mut session = session();
        for (timestamp, payload) in payloads {
            session.send(timestamp, true, &payload);
        }
        prop_assert!(session.got.iter().all(|got| !got.data.is_empty()));
    }
}
