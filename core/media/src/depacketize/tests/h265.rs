use super::*;
use crate::h265::tests::{PPS, SPS, VPS};
use crate::h265::{DecoderConfig, UnitKind};

/// IDR_W_RADL; the first bit behind the header says that it is the first slice segment.
const IDR: &[u8] = b"\x26\x01\xafidr";
const SLICE: &[u8] = b"\x02\x01\xd0slice";
const SLICE_LATER: &[u8] = b"\x02\x01\x50later";
const PREFIX_SEI: &[u8] = b"\x4e\x01\x05\x00\x80";
const SUFFIX_SEI: &[u8] = b"\x50\x01\x84\x00\x80";

fn config() -> TrackConfig {
    let config = DecoderConfig { vps: vec![VPS], sps: vec![SPS], pps: vec![PPS] }.build().unwrap();
    TrackConfig { kind: CodecKind::H265, clock_rate: 90_000, channels: 0, config }
}

#[test]
fn all_kinds_of_payload_make_one_access_unit() {
    let mut session = Session::new(&config());
    // An aggregation packet (RFC 7798 §4.4.2), single units, fragments (§4.4.3).
    let aggregate = [&b"\x60\x01\x00\x18"[..], VPS, b"\x00\x29", SPS, b"\x00\x07", PPS].concat();
    session.send(5, false, &aggregate).send(5, false, PREFIX_SEI);
    session.send(5, false, b"\x62\x01\x93\xafone").send(5, false, b"\x62\x01\x13two");
    session.send(5, false, b"\x62\x01\x53three").send(5, true, SUFFIX_SEI);
    let units = [VPS, SPS, PPS, PREFIX_SEI, b"\x26\x01\xafonetwothree", SUFFIX_SEI];
    assert_eq!(session.flush(), [got(&units, 5, true, 0)]);
    assert_eq!(session.errors, []);
}

#[test]
fn a_suffix_unit_does_not_begin_the_next_picture_and_a_prefix_unit_does() {
    let mut session = Session::new(&config());
    session.send(1, false, SLICE).send(1, false, SLICE_LATER).send(1, false, SUFFIX_SEI);
    session.send(1, false, PREFIX_SEI).send(1, false, SLICE).send(2, true, SLICE);
    let expected =
        [got(&[SLICE, SLICE_LATER, SUFFIX_SEI], 1, false, 0), got(&[PREFIX_SEI, SLICE], 1, false, 0)];
    assert_eq!(session.flush()[..2], expected);
}

#[test]
fn pictures_that_decoding_can_start_at_are_keys() {
    for number in 0..=31u8 {
        let unit = [number << 1, 1, 0x80, 1];
        let mut session = Session::new(&config());
        session.send(1, true, &unit).send(2, true, SLICE);
        let key = session.flush().iter().find(|got| got.timestamp == 1).map(|got| got.key);
        let kind = UnitKind::of(&unit).unwrap();
        // What is no slice belongs to the picture behind it.
        let expected = kind.is_slice().then_some(kind == UnitKind::KeySlice);
        assert_eq!(key, expected, "type {number}");
    }
}

#[test]
fn parameter_sets_are_learned_from_the_stream() {
    let unknown = TrackConfig { config: Vec::new(), ..config() };
    let mut session = Session::new(&unknown);
    session.send(1, true, IDR).send(2, false, VPS).send(2, false, SPS).send(2, false, PPS).send(2, true, IDR);
    let expected = Got { changed: true, ..got(&[VPS, SPS, PPS, IDR], 2, true, 0) };
    assert_eq!(session.flush(), [expected]);
    assert_eq!(session.errors, [DepacketizeError::ParameterSetsMissing]);
    assert_eq!(session.depacketizer.config(), &config());
}

#[test]
fn payloads_that_cannot_be_used_cost_their_access_unit() {
    for (payload, error) in [
        (&b"\x64\x01xxxx"[..], DepacketizeError::UnitType(50)),
        (b"\x80\x01xx", DepacketizeError::Forbidden),
        (b"\x02", DepacketizeError::Truncated),
        (b"\x62\x01", DepacketizeError::Truncated),
        (b"\x60\x01\x00\x09x", DepacketizeError::Truncated),
        (b"\x60\x01\x00\x01\x02", DepacketizeError::Truncated),
        (b"\x62\x01\xb0x", DepacketizeError::UnitType(48)),
        (b"\x62\x01\x01x", DepacketizeError::FragmentWithoutStart),
    ] {
        let mut session = Session::new(&config());
        session.send(1, true, SLICE).send(20, false, SLICE).send(20, true, payload).send(21, true, SLICE);
        assert_eq!(session.errors, [error]);
        assert_eq!(session.flush(), [got(&[SLICE], 1, false, 0), got(&[SLICE], 21, false, 1)], "{error}");
    }
    // Types above 50 belong to no picture.
    let mut session = Session::new(&config());
    session.send(20, false, SLICE).send(20, false, b"\x7e\x01private").send(20, true, SLICE_LATER);
    assert_eq!(session.flush(), [got(&[SLICE, SLICE_LATER], 20, false, 0)]);
    assert_eq!(session.errors, [DepacketizeError::UnitType(63)]);
}

/// An access unit as a camera sends it.
fn any_access_unit() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let body = prop::collection::vec(4u8.., 0..4000);
    let later = prop::collection::vec(prop::collection::vec(4u8.., 0..2000), 0..3);
    (any::<bool>(), any::<bool>(), body, later).prop_map(|(key, sei, body, later)| {
        let number = if key { 0x26 } else { 0x02 };
        let mut units = if key { vec![VPS.to_vec(), SPS.to_vec(), PPS.to_vec()] } else { Vec::new() };
        units.extend(sei.then(|| PREFIX_SEI.to_vec()));
        units.push([&[number, 1, 0x80][..], &body].concat());
        units.extend(later.iter().map(|body| [&[number, 1, 0x2a][..], body].concat()));
        units
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sent_comes_out(access_units in prop::collection::vec(any_access_unit(), 1..20)) {
        let samples: Vec<Vec<u8>> = access_units
            .iter()
            .map(|units| sample(&units.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            .collect();
        let mut session = Session::new(&config());
        for (_, packet) in packetized_samples(CodecKind::H265, &samples) {
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        prop_assert_eq!(&session.errors, &[]);
        let got = session.flush();
        prop_assert_eq!(got.len(), samples.len());
        for (got, (sample, units)) in got.iter().zip(samples.iter().zip(&access_units)) {
            prop_assert_eq!(&got.data, sample);
            prop_assert_eq!((got.key, got.lost), (units[0] == VPS, 0));
        }
    }

    /// Whatever is lost: every picture all of whose packets came comes out, and no other.
    #[test]
    fn loss_costs_what_was_lost_and_is_accounted_for(
        access_units in prop::collection::vec(any_access_unit(), 2..20),
        lost in prop::collection::btree_set(0usize..100, 0..12),
    ) {
        let samples: Vec<Vec<u8>> = access_units
            .iter()
            .map(|units| sample(&units.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            .collect();
        let packets = packetized_samples(CodecKind::H265, &samples);
        // What follows the last packet that came cannot be known to have been lost; nor what precedes the first.
        let inner = |at: &usize| packets.get(*at).is_some_and(|(of, _)| *of > 0 && of + 1 < samples.len());
        let lost: BTreeSet<_> = lost.into_iter().filter(inner).collect();
        let mut session = Session::new(&config());
        for (_, packet) in packets.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, packet)| packet) {
            session.push(&RtpPacket::parse(packet).unwrap());
        }
        let got = session.flush();
        for got in &got {
            let position = usize::try_from((got.timestamp - i64::from(u32::MAX)) / 3600).unwrap();
            prop_assert!(samples[position].ends_with(&got.data));
        }
        for position in 0..samples.len() {
            let whole = packets.iter().enumerate().all(|(at, (of, _))| *of != position || !lost.contains(&at));
            let timestamp = i64::from(u32::MAX) + i64::try_from(position).unwrap() * 3600;
            prop_assert!(!whole || got.iter().any(|got| got.timestamp == timestamp), "{}", position);
        }
        let reported: u64 = got.iter().map(|got| u64::from(got.lost)).sum();
        prop_assert_eq!(reported, u64::try_from(lost.len()).unwrap());
    }

    #[test]
    fn random_payloads_never_panic(
        payloads in prop::collection::vec((any::<u8>(), 0u32..4, any::<bool>(), prop::collection::vec(0u8..8, 0..20)), 0..30),
    ) {
        let mut session = Session::new(&config());
        for (header, timestamp, marker, body) in payloads {
            session.send(timestamp, marker, &[&[header, 1][..], &body].concat());
        }
        for got in session.flush() {
            prop_assert!(crate::nal::units(&got.data).all(|unit| unit.is_ok_and(|unit| unit.len() >= 2)));
        }
    }
}
