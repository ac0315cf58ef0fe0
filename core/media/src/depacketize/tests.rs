mod aac;
mod h265;
mod jpeg;
mod metadata;

use std::collections::BTreeSet;

use super::*;
use crate::h264::{DecoderConfig, write_unit};
use crate::packetize::{Packetizer, PacketizerConfig};
use crate::replay::EXTENSION_PROFILE;
use crate::rtp::Extension;
use crate::text::{Frame, Framer};
use proptest::prelude::*;

const SPS: &[u8] =
    b"\x67\x4d\x00\x2a\x95\xa8\x1e\x00\x89\xf9\x61\x00\x00\x03\x00\x01\x00\x00\x03\x00\x32\x84";
/// Of another camera and size.
const SPS_OTHER: &[u8] = b"\x67\x64\x00\x33\xac\x15\x14\xa0\xa0\x2f\xf9\x50";
const PPS: &[u8] = b"\x68\xee\x3c\x80";
const SEI: &[u8] = b"\x06\xe5\x01\x00\x80";
/// First slices of pictures have a one bit behind the header, later ones do not.
const IDR: &[u8] = b"\x65\x88idr";
const SLICE: &[u8] = b"\x41\x9aslice";
const SLICE_LATER: &[u8] = b"\x41\x2alater";

fn config() -> TrackConfig {
    let config = DecoderConfig { sps: vec![SPS], pps: vec![PPS] }.build().unwrap();
    TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    data: Vec<u8>,
    timestamp: i64,
    key: bool,
    lost: u32,
    changed: bool,
    mark: Option<FrameMark>,
}

fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> RtpPacket<'_> {
    RtpPacket { marker, payload_type: 96, sequence, timestamp, ssrc: 1, csrc: &[], extension: None, payload }
}

/// A camera that sends what a test says, and what came of it.
struct Session {
    depacketizer: Depacketizer,
    sequence: u16,
    got: Vec<Got>,
    errors: Vec<DepacketizeError>,
}

impl Session {
    fn new(config: &TrackConfig) -> Self {
        Self {
            depacketizer: Depacketizer::new(config).unwrap(),
            sequence: 0,
            got: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// A session whose markers have proved right, so that samples come at once.
    fn proven() -> Self {
        let mut session = Self::new(&config());
        for timestamp in 0..9 {
            session.send(timestamp, true, SLICE);
        }
        session.send(9, true, SLICE);
        assert_eq!(session.got.len(), 10);
        session.got.clear();
        session
    }

    fn send(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> &mut Self {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.push(&packet(sequence, timestamp, marker, payload))
    }

    fn push(&mut self, packet: &RtpPacket<'_>) -> &mut Self {
        let got = &mut self.got;
        let result = self.depacketizer.push(packet, &mut |sample| got.push(Got::of(&sample)));
        self.errors.extend(result.err());
        self
    }

    /// A packet with the mark of a replay.
    fn send_marked(&mut self, timestamp: u32, marker: bool, mark: &FrameMark, payload: &[u8]) -> &mut Self {
        let words = mark.to_words();
        let extension = Some(Extension { profile: EXTENSION_PROFILE, data: &words });
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.push(&RtpPacket { extension, ..packet(sequence, timestamp, marker, payload) })
    }

    fn lose(&mut self, packets: u16) -> &mut Self {
        self.sequence = self.sequence.wrapping_add(packets);
        self
    }

    fn flush(&mut self) -> Vec<Got> {
        let got = &mut self.got;
        self.depacketizer.flush(&mut |sample| got.push(Got::of(&sample)));
        std::mem::take(&mut self.got)
    }
}

impl Got {
    /// A sample that is no access unit of video.
    fn whole(data: &[u8], timestamp: i64, lost: u32) -> Self {
        Self { data: data.to_vec(), timestamp, key: true, lost, changed: false, mark: None }
    }

    fn of(sample: &Sample<'_>) -> Self {
        Self {
            data: sample.data.to_vec(),
            timestamp: sample.timestamp,
            key: sample.key,
            lost: sample.lost_packets,
            changed: sample.config_changed.is_some(),
            mark: sample.mark,
        }
    }
}

fn sample(units: &[&[u8]]) -> Vec<u8> {
    let mut sample = Vec::new();
    units.iter().for_each(|unit| write_unit(&mut sample, unit));
    sample
}

fn got(units: &[&[u8]], timestamp: i64, key: bool, lost: u32) -> Got {
    Got { data: sample(units), timestamp, key, lost, changed: false, mark: None }
}

#[test]
fn all_kinds_of_payload_make_one_access_unit() {
    let mut session = Session::new(&config());
    let aggregate = [&[0x78, 0, 22][..], SPS, &[0, 4], PPS, &[0, 0]].concat();
    session.send(5, false, &aggregate).send(5, false, SEI);
    session.send(5, false, b"\x7c\x85\x88one").send(5, false, b"\x7c\x05two").send(5, true, b"\x7c\x45three");
    assert_eq!(session.flush(), [got(&[SPS, PPS, SEI, b"\x65\x88onetwothree"], 5, true, 0)]);
    assert_eq!(session.errors, []);
}

#[test]
fn a_proven_marker_ends_an_access_unit_at_once() {
    let mut session = Session::proven();
    session.send(10, false, SLICE).send(10, true, SLICE_LATER);
    assert_eq!(session.got, [got(&[SLICE, SLICE_LATER], 10, false, 0)]);
    assert_eq!(session.depacketizer.buffered_bytes(), 0);
}

/// H264DVR (moonfire-nvr#352): SPS, PPS and SEI each with a marker.
#[test]
fn a_marker_without_a_slice_ends_nothing() {
    for mut session in [Session::new(&config()), Session::proven()] {
        session.send(50, true, SPS).send(50, true, PPS).send(50, true, SEI).send(50, true, IDR);
        assert_eq!(session.flush(), [got(&[SPS, PPS, SEI, IDR], 50, true, 0)]);
    }
}

/// Reolink RLC-822A: parameter sets with a marker and a timestamp of their own.
#[test]
fn parameter_sets_with_another_timestamp_belong_to_the_picture_behind_them() {
    for mut session in [Session::new(&config()), Session::proven()] {
        session.send(50, true, SPS).send(50, false, PPS).send(51, true, IDR).send(52, true, SLICE);
        assert_eq!(session.flush(), [got(&[SPS, PPS, IDR], 51, true, 0), got(&[SLICE], 52, false, 0)]);
    }
}

#[test]
fn markers_on_every_slice_are_seen_through() {
    let mut session = Session::new(&config());
    for timestamp in 0..12 {
        session.send(timestamp, true, SLICE).send(timestamp, true, SLICE_LATER).send(
            timestamp,
            true,
            SLICE_LATER,
        );
    }
    let expected: Vec<_> = (0..12).map(|at| got(&[SLICE, SLICE_LATER, SLICE_LATER], at, false, 0)).collect();
    assert_eq!(session.flush(), expected);
    // A camera that begins to do so after its markers proved right: one picture comes in parts, no byte is lost.
    let mut session = Session::proven();
    for timestamp in 20..23 {
        session.send(timestamp, true, SLICE).send(timestamp, true, SLICE_LATER);
    }
    let parts = [
        got(&[SLICE], 20, false, 0),
        got(&[SLICE_LATER], 20, false, 0),
        got(&[SLICE, SLICE_LATER], 21, false, 0),
        got(&[SLICE, SLICE_LATER], 22, false, 0),
    ];
    assert_eq!(session.flush(), parts);
}

#[test]
fn no_markers_are_needed() {
    let mut session = Session::new(&config());
    session.send(1, false, SPS).send(1, false, PPS).send(1, false, IDR).send(2, false, SLICE).send(
        2,
        false,
        SLICE_LATER,
    );
    session.send(3, false, SLICE);
    let expected = [
        got(&[SPS, PPS, IDR], 1, true, 0),
        got(&[SLICE, SLICE_LATER], 2, false, 0),
        got(&[SLICE], 3, false, 0),
    ];
    assert_eq!(session.flush(), expected);
}

#[test]
fn a_repeated_timestamp_does_not_join_pictures() {
    for marker in [false, true] {
        let mut session = Session::new(&config());
        session.send(7, marker, SLICE).send(7, marker, SLICE).send(7, false, SEI).send(7, marker, SLICE);
        let expected =
            [got(&[SLICE], 7, false, 0), got(&[SLICE], 7, false, 0), got(&[SEI, SLICE], 7, false, 0)];
        assert_eq!(session.flush(), expected, "marker {marker}");
    }
}

#[test]
fn a_fragmented_unit_may_lack_its_end_or_have_both_ends() {
    let mut session = Session::new(&config());
    session.send(1, false, b"\x7c\x85\x88one").send(1, true, b"\x7c\x05two");
    session.send(2, true, b"\x5c\xc1\x9awhole");
    session.send(3, false, b"\x5c\x81\x9a").send(3, false, b"\x5c\x01").send(3, true, b"\x1c\x41end");
    let expected = [
        got(&[b"\x65\x88onetwo"], 1, true, 0),
        got(&[b"\x41\x9awhole"], 2, false, 0),
        got(&[b"\x41\x9aend"], 3, false, 0),
    ];
    assert_eq!(session.flush(), expected);
    assert_eq!(session.errors, []);
}

/// GW Security and others: a byte stream where a NAL unit should be.
#[test]
fn start_codes_inside_payloads_are_split() {
    let stream = [&[0, 0, 0, 1][..], SPS, &[0, 0, 0, 1], PPS, &[0, 0, 1], IDR].concat();
    let expected = [got(&[SPS, PPS, IDR], 1, true, 0), got(&[SLICE, SLICE_LATER], 2, false, 0)];
    let slices = [SLICE, &[0, 0, 0, 1], SLICE_LATER, &[0]].concat();
    for payload in [&stream[..], &stream[4..], &stream[1..]] {
        let mut session = Session::new(&config());
        session.send(1, true, payload).send(2, true, &slices);
        assert_eq!(session.flush(), expected);
        // The same as fragments of what claims to be a parameter set, a start code torn apart.
        let body = &stream[5..];
        let mut session = Session::new(&config());
        session.send(1, false, &[b"\x7c\x87", &body[..22]].concat());
        session.send(1, true, &[b"\x7c\x47", &body[22..]].concat()).send(2, true, &slices);
        assert_eq!(session.flush(), expected);
    }
}

#[test]
fn an_access_unit_with_a_hole_is_dropped_and_told() {
    for proven in [false, true] {
        let session = || if proven { Session::proven() } else { Session::new(&config()) };
        // In the middle of a fragmented unit.
        let mut one = session();
        one.send(20, false, b"\x7c\x85\x88a").lose(2).send(20, true, b"\x7c\x45c").send(21, true, SLICE);
        assert_eq!(one.flush(), [got(&[SLICE], 21, false, 2)]);
        // The end, with the beginning of the next.
        let mut one = session();
        one.send(20, false, b"\x7c\x85\x88a").lose(3).send(21, true, b"\x5c\x41c").send(22, true, SLICE);
        assert_eq!(one.flush(), [got(&[SLICE], 22, false, 3)]);
        // A slice of a picture.
        let mut one = session();
        one.send(20, false, SLICE).lose(1).send(20, true, SLICE_LATER).send(21, true, SLICE);
        assert_eq!(one.flush(), [got(&[SLICE], 21, false, 1)]);
        // The first slice of a picture.
        let mut one = session();
        one.send(20, true, SLICE).lose(1).send(21, true, SLICE_LATER).send(22, true, SLICE);
        assert_eq!(one.flush(), [got(&[SLICE], 20, false, 0), got(&[SLICE], 22, false, 1)]);
        // A whole picture: its neighbours are not touched.
        let mut one = session();
        one.send(20, true, SLICE).lose(1).send(22, true, SLICE);
        assert_eq!(one.flush(), [got(&[SLICE], 20, false, 0), got(&[SLICE], 22, false, 1)]);
        assert_eq!(one.errors, []);
    }
}

#[test]
fn without_a_marker_the_end_may_be_among_the_lost() {
    let mut session = Session::new(&config());
    session.send(1, false, SLICE).lose(1).send(2, false, SLICE).send(3, false, SLICE);
    assert_eq!(session.flush(), [got(&[SLICE], 2, false, 1), got(&[SLICE], 3, false, 0)]);
}

#[test]
fn the_end_of_a_session_gives_what_lacked_only_its_marker() {
    let mut session = Session::new(&config());
    session.send(1, false, SLICE);
    assert_eq!(session.flush(), [got(&[SLICE], 1, false, 0)]);
    // Where markers are set, an access unit without one lacks its end.
    let mut session = Session::proven();
    session.send(20, false, SLICE);
    assert_eq!(session.flush(), []);
    let mut session = Session::new(&config());
    session.send(1, false, b"\x7c\x85\x88begun");
    assert_eq!(session.flush(), []);
}

#[test]
fn a_session_may_begin_in_the_middle() {
    let mut session = Session::new(&config());
    session.send(1, false, b"\x7c\x05x").send(1, true, b"\x7c\x45x").send(2, true, SLICE);
    assert_eq!(session.flush(), [got(&[SLICE], 2, false, 0)]);
    let mut session = Session::new(&config());
    session.send(1, true, SLICE_LATER).send(2, true, SLICE);
    assert_eq!(session.flush(), [got(&[SLICE], 2, false, 0)]);
    assert_eq!(session.errors, []);
}

#[test]
fn duplicates_late_packets_and_a_new_start_are_told_apart() {
    let mut session = Session::proven();
    session.send(20, true, SLICE).lose(u16::MAX).send(20, true, SLICE);
    session
        .lose(1)
        .send(22, true, SLICE)
        .lose(u16::MAX - 1)
        .send(21, true, SLICE)
        .lose(1)
        .send(23, true, SLICE);
    assert_eq!(session.errors, [DepacketizeError::Duplicate, DepacketizeError::Late]);
    session.lose(30_000).send(24, true, SLICE);
    let lost: Vec<_> = session.flush().iter().map(|got| (got.timestamp, got.lost)).collect();
    assert_eq!(lost, [(20, 0), (22, 1), (23, 0), (24, 1)]);
    assert_eq!(session.depacketizer.sequence().restarts(), 1);
}

#[test]
fn parameter_sets_are_learned_from_the_stream() {
    let mut unknown = config();
    unknown.config.clear();
    let mut session = Session::new(&unknown);
    session
        .send(1, true, SLICE)
        .send(2, true, SLICE)
        .send(3, false, SPS)
        .send(3, false, PPS)
        .send(3, true, IDR);
    session.send(4, false, SPS).send(4, false, PPS).send(4, true, IDR);
    assert_eq!(session.errors, [DepacketizeError::ParameterSetsMissing; 2]);
    let samples = session.flush();
    let first = Got { changed: true, ..got(&[SPS, PPS, IDR], 3, true, 0) };
    assert_eq!(samples, [first, got(&[SPS, PPS, IDR], 4, true, 0)]);
    assert_eq!(session.depacketizer.config(), &config());
}

#[test]
fn changed_parameter_sets_come_with_the_first_sample_they_hold_for() {
    let mut session = Session::proven();
    // The access unit that brings the change is damaged: the change comes with the next.
    session.send(20, false, SPS_OTHER).send(20, false, PPS).lose(1).send(20, true, SLICE_LATER);
    session.send(21, true, SLICE);
    let samples = session.flush();
    assert_eq!(samples, [Got { changed: true, ..got(&[SLICE], 21, false, 1) }]);
    let held = session.depacketizer.config().config.clone();
    // The first set describes the stream.
    assert_eq!(DecoderConfig::parse(&held).unwrap().sps[0], SPS_OTHER);
    session.send(30, false, SPS_OTHER).send(30, false, PPS).send(30, true, IDR);
    assert_eq!(session.flush(), [got(&[SPS_OTHER, PPS, IDR], 30, true, 0)]);
}

#[test]
fn an_unusable_parameter_set_is_told_and_passed_over() {
    let mut session = Session::proven();
    session.send(20, false, b"\x67\x42\x00\x1e\x00\x00").send(20, false, b"\x68").send(20, true, IDR);
    assert_eq!(session.errors, [DepacketizeError::ParameterSet(SpsError::Malformed)]);
    assert_eq!(session.got.len(), 1);
    assert_eq!(session.depacketizer.config(), &config());
}

#[test]
fn a_parameter_set_that_is_too_long_is_told_and_does_not_keep_others_from_being_learned() {
    let mut session = Session::proven();
    for unit in [PPS, SPS] {
        let long = [unit, &[0x55; 65_536][..]].concat();
        session.send(20, false, &long);
    }
    session.send(20, true, IDR);
    let [DepacketizeError::ParameterSet(SpsError::TooLong(_)), DepacketizeError::ParameterSet(_)] =
        session.errors[..]
    else {
        panic!("{:?}", session.errors)
    };
    session.send(21, false, SPS_OTHER).send(21, false, PPS).send(21, true, IDR);
    assert!(session.flush().last().unwrap().changed);
    let held = session.depacketizer.config().config.clone();
    assert_eq!(DecoderConfig::parse(&held).unwrap().sps[0], SPS_OTHER);
}

#[test]
fn payloads_that_cannot_be_used_cost_their_access_unit() {
    for (payload, error) in [
        (&b"\x79\x00\x00\x00\x01x"[..], DepacketizeError::UnitType(25)),
        (b"\x7axxxx", DepacketizeError::UnitType(26)),
        (b"\x7bxxxx", DepacketizeError::UnitType(27)),
        (b"\x7dxxxx", DepacketizeError::UnitType(29)),
        (b"\xc1\x9axxxx", DepacketizeError::Forbidden),
        (b"\x78\x00\x09x", DepacketizeError::Truncated),
        (b"\x7c", DepacketizeError::Truncated),
        (b"\x7c\x9cx", DepacketizeError::UnitType(28)),
        (b"\x5c\x01x", DepacketizeError::FragmentWithoutStart),
    ] {
        for mut session in [Session::new(&config()), Session::proven()] {
            session.send(20, false, SLICE).send(20, true, payload).send(21, true, SLICE);
            assert_eq!(session.errors, [error]);
            assert_eq!(session.flush(), [got(&[SLICE], 21, false, 1)], "{error}");
        }
    }
    // Reserved types belong to no picture.
    for payload in [b"\x00private", b"\x7eprivate", b"\x7fprivate"] {
        let mut session = Session::proven();
        session.send(20, false, SLICE).send(20, false, payload).send(20, true, SLICE_LATER);
        assert_eq!(session.got, [got(&[SLICE, SLICE_LATER], 20, false, 0)]);
        assert_eq!(session.errors, [DepacketizeError::UnitType(payload[0] & 0x1f)]);
    }
    let mut session = Session::proven();
    session.send(20, false, b"").send(20, true, SLICE);
    assert_eq!((session.got.len(), &session.errors[..]), (1, &[DepacketizeError::Empty][..]));
}

#[test]
fn a_fragment_with_another_timestamp_is_not_trusted() {
    let mut session = Session::proven();
    session.send(20, false, b"\x7c\x85\x88a").send(21, true, b"\x7c\x45b").send(22, true, SLICE);
    assert_eq!(session.errors, [DepacketizeError::FragmentWithoutStart]);
    assert_eq!(session.flush(), [got(&[SLICE], 22, false, 1)]);
}

#[test]
fn an_access_unit_is_bounded() {
    let mut session = Session::proven();
    let body = vec![1; 60_000];
    session.send(20, false, &[b"\x7c\x85\x88", &body[..]].concat());
    for _ in 0..200 {
        session.send(20, false, &[b"\x7c\x05", &body[..]].concat());
        assert!(session.depacketizer.buffered_bytes() <= ACCESS_UNIT_BYTES_MAX);
    }
    session.send(20, true, &[b"\x7c\x45", &body[..]].concat()).send(21, true, SLICE);
    assert_eq!(session.errors, [DepacketizeError::TooLong]);
    assert_eq!(session.flush(), [got(&[SLICE], 21, false, 1)]);
    // Endless SEI.
    let mut session = Session::proven();
    for timestamp in 0..1000 {
        session.send(timestamp, true, &[SEI, &body].concat());
        assert!(session.depacketizer.buffered_bytes() < 400_000);
    }
    session.send(2000, true, SLICE);
    assert_eq!(session.flush().len(), 1);
}

#[test]
fn other_payload_types_are_not_the_tracks() {
    let mut session = Session::new(&config());
    session.depacketizer = Depacketizer::new(&config()).unwrap().with_payload_type(96);
    session.send(1, false, SLICE);
    let private = RtpPacket {
        payload_type: 112,
        sequence: 1,
        timestamp: 0xffff_0000,
        ..RtpPacket::parse(&[0x80; 12]).unwrap()
    };
    session.push(&private).lose(1);
    session.send(1, true, SLICE_LATER);
    assert_eq!(session.errors, [DepacketizeError::PayloadType(112)]);
    assert_eq!(session.flush(), [got(&[SLICE, SLICE_LATER], 1, false, 0)]);
}

#[test]
fn the_mark_of_a_replay_goes_with_the_access_unit_that_it_stands_on() {
    let mark = |sequence| FrameMark {
        time: keepwatch_model::WallTime::from_ticks(1_753_200_000 * 90_000),
        clean_point: sequence == 1,
        ends_section: false,
        discontinuity: false,
        terminal: false,
        sequence,
    };
    let mut session = Session::proven();
    // On the parameter sets, which come first; then on a slice; then on none.
    session.send_marked(20, false, &mark(1), SPS).send(20, false, PPS).send(20, true, IDR);
    session.send_marked(21, false, &mark(2), SLICE).send(21, true, SLICE_LATER).send(22, true, SLICE);
    let marks: Vec<_> = session.flush().iter().map(|got| got.mark.map(|mark| mark.sequence)).collect();
    assert_eq!(marks, [Some(1), Some(2), None]);
}

#[test]
fn audio_comes_packet_by_packet() {
    let config = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8000, channels: 1, config: Vec::new() };
    let mut session = Session::new(&config);
    session.send(u32::MAX, true, b"abc").lose(2).send(159, false, b"de").send(160, false, b"");
    let expected =
        [Got::whole(b"abc", i64::from(u32::MAX), 0), Got::whole(b"de", i64::from(u32::MAX) + 160, 2)];
    assert_eq!(session.flush(), expected);
    assert_eq!(session.errors, [DepacketizeError::Empty]);
}

#[test]
fn the_memory_of_a_rare_large_sample_is_given_back() {
    let mut session = Session::proven();
    let body = vec![1; 60_000];
    session.send(20, false, &[b"\x7c\x85\x88", &body[..]].concat());
    for _ in 0..50 {
        session.send(20, false, &[b"\x7c\x05", &body[..]].concat());
    }
    session.send(20, true, b"\x7c\x45");
    let capacity = |session: &Session| {
        let Assembler::H264(assembler) = &session.depacketizer.assembler else { panic!("H.264") };
        assembler.capacity_bytes()
    };
    assert!(capacity(&session) > 3_000_000);
    for timestamp in 100..400 {
        session.send(timestamp, true, SLICE);
    }
    assert!(capacity(&session) < 600_000);
    assert_eq!(session.got.len(), 301);
}

/// An access unit as a camera sends it: other units, then the slices of one picture.
fn any_access_unit() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let body = prop::collection::vec(4u8.., 0..4000);
    let sets = prop::option::of(Just(vec![SPS.to_vec(), PPS.to_vec()]));
    let later = prop::collection::vec(prop::collection::vec(4u8.., 0..2000), 0..3);
    (sets, any::<bool>(), body, later).prop_map(|(sets, sei, body, later)| {
        let (first, header) = (
            if sets.is_some() { &b"\x65\x88"[..] } else { b"\x41\x9a" },
            if sets.is_some() { 0x65 } else { 0x41 },
        );
        let mut units = sets.unwrap_or_default();
        units.extend(sei.then(|| SEI.to_vec()));
        units.push([first, &body].concat());
        units.extend(later.iter().map(|body| [&[header, 0x2a][..], body].concat()));
        units
    })
}

/// The packets of access units, with the position of the access unit of each.
fn packetized(access_units: &[Vec<Vec<u8>>]) -> Vec<(usize, Vec<u8>)> {
    let samples: Vec<Vec<u8>> = access_units
        .iter()
        .map(|units| sample(&units.iter().map(Vec::as_slice).collect::<Vec<_>>()))
        .collect();
    packetized_samples(CodecKind::H264, &samples)
}

/// The packets of samples 3600 ticks apart, with the position of the sample of each.
fn packetized_samples(kind: CodecKind, samples: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
    let mut packetizer = Packetizer::new(PacketizerConfig {
        kind,
        channels: 0,
        interleaved_channel: 0,
        payload_type: 96,
        ssrc: 1,
        first_sequence: 65_500,
    });
    let mut packets = Vec::new();
    for (position, sample) in samples.iter().enumerate() {
        let (mut out, mut at, mut framer) = (Vec::new(), 0, Framer::new());
        let timestamp = u32::MAX.wrapping_add(u32::try_from(position).unwrap() * 3600);
        packetizer.push(timestamp, &[sample], &mut out).unwrap();
        while let Some(Frame::Interleaved { data, .. }) = framer.next(&out, &mut at).unwrap() {
            packets.push((position, data.to_vec()));
        }
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_sent_comes_out(access_units in prop::collection::vec(any_access_unit(), 1..20)) {
        let mut session = Session::new(&config());
        for (_, packet) in packetized(&access_units) {
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        prop_assert_eq!(&session.errors, &[]);
        let got = session.flush();
        prop_assert_eq!(got.len(), access_units.len());
        for ((position, got), units) in got.iter().enumerate().zip(&access_units) {
            let units: Vec<_> = units.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(&got.data, &sample(&units));
            prop_assert_eq!(got.timestamp, i64::from(u32::MAX) + i64::try_from(position).unwrap() * 3600);
            prop_assert_eq!(got.key, units.contains(&SPS));
            prop_assert_eq!(got.lost, 0);
        }
    }

    /// Whatever is lost: no damaged picture comes out, every picture all of whose packets came does, and all loss is
    /// reported.
    #[test]
    fn loss_costs_what_was_lost_and_is_accounted_for(
        access_units in prop::collection::vec(any_access_unit(), 1..20),
        lost in prop::collection::btree_set(0usize..100, 0..12),
    ) {
        let mut session = Session::new(&config());
        let packets = packetized(&access_units);
        // What follows the last packet that came cannot be known to have been lost.
        let lost: BTreeSet<_> = lost.into_iter().filter(|at| packets.get(*at).is_some_and(|(of, _)| of + 1 < access_units.len())).collect();
        for (_, packet) in packets.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, packet)| packet) {
            session.push(&RtpPacket::parse(packet).unwrap());
        }
        let lost_before_last = session.depacketizer.sequence().lost();
        let got = session.flush();
        let position = |got: &Got| usize::try_from((got.timestamp - got_first(&packets, &lost)) / 3600).unwrap();
        let mut seen = Vec::new();
        for got in &got {
            let first = packets.iter().enumerate().find(|(at, _)| !lost.contains(at)).map_or(0, |(_, (at, _))| *at);
            let position = position(got) + first;
            let units: Vec<_> = access_units[position].iter().map(Vec::as_slice).collect();
            let slices: Vec<_> = units.iter().copied().filter(|unit| matches!(unit[0], 0x65 | 0x41)).collect();
            prop_assert!(sample(&units).ends_with(&got.data), "only what stands before the picture may be missing");
            prop_assert!(got.data.ends_with(&sample(&slices)), "all slices are there");
            seen.push(position);
        }
        for position in 0..access_units.len() {
            let whole = packets.iter().enumerate().all(|(at, (of, _))| *of != position || !lost.contains(&at));
            prop_assert!(!whole || seen.contains(&position), "access unit {} was whole", position);
        }
        prop_assert_eq!(&session.errors, &[]);
        let reported: u64 = got.iter().map(|got| u64::from(got.lost)).sum();
        let pending = u64::from(session.depacketizer.lost);
        prop_assert_eq!(reported + pending, lost_before_last);
    }

    #[test]
    fn random_and_mutated_packets_never_panic(
        access_units in prop::collection::vec(any_access_unit(), 1..4),
        changes in prop::collection::vec((0usize..60, 0usize..40, any::<u8>()), 0..30),
        payloads in prop::collection::vec((any::<u8>(), 0u32..4, any::<bool>(), prop::collection::vec(0u8..8, 0..20)), 0..30),
    ) {
        let mut packets = packetized(&access_units);
        for (packet, at, byte) in changes {
            if let Some(place) = packets.get_mut(packet).and_then(|(_, packet)| packet.get_mut(at)) {
                *place = byte;
            }
        }
        let mut session = Session::new(&config());
        for (_, packet) in &packets {
            if let Ok(packet) = RtpPacket::parse(packet) {
                session.push(&packet);
            }
        }
        for (header, timestamp, marker, body) in payloads {
            session.send(timestamp, marker, &[&[header][..], &body].concat());
        }
        for got in session.flush() {
            prop_assert!(crate::h264::units(&got.data).all(|unit| unit.is_ok_and(|unit| !unit.is_empty())));
        }
    }
}

/// The timestamp of the first packet that came, as it comes out.
fn got_first(packets: &[(usize, Vec<u8>)], lost: &BTreeSet<usize>) -> i64 {
    let first = packets.iter().enumerate().find(|(at, _)| !lost.contains(at)).map(|(_, (_, packet))| packet);
    first.map_or(0, |packet| i64::from(RtpPacket::parse(packet).unwrap().timestamp))
}
