//! What real cameras do wrong, as captures in `testdata/quirks`, and what must come of it nonetheless.
//!
//! Each file is named by what is odd, and by the device where one is known for it. Packets are one a line, hexadecimal.

use keepwatch_model::{CodecKind, TrackConfig};
use url::Url;

use crate::aac::AacConfig;
use crate::depacketize::Depacketizer;
use crate::jpeg::JpegFile;
use crate::rtp::RtpPacket;
use crate::rtsp::{Response, RtspMessage, Session, Transport, content_base, parse_rtp_info};
use crate::sdp::{MediaTrack, Presentation};
use crate::{h264, h265, nal};

macro_rules! quirk {
    ($name:literal) => {
        include_str!(concat!("../testdata/quirks/", $name))
    };
}

/// A sample: timestamp, whether it is a key, data.
type Got = (i64, bool, Vec<u8>);

fn receive(kind: CodecKind, capture: &str) -> Vec<Got> {
    let config = AacConfig::low_complexity(16_000, 1).filter(|_| kind == CodecKind::Aac).unwrap_or_default();
    let clock_rate = if kind == CodecKind::Aac { 16_000 } else { 90_000 };
    let track = TrackConfig { kind, clock_rate, channels: u8::from(kind.is_audio()), config };
    let mut depacketizer = Depacketizer::new(&track).unwrap();
    let mut got = Vec::new();
    for line in capture.lines().filter(|line| !line.starts_with('#')) {
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let packet: Vec<u8> = (0..line.len()).step_by(2).map(byte).collect();
        let packet = RtpPacket::parse(&packet).unwrap();
        depacketizer
            .push(&packet, &mut |sample| got.push((sample.timestamp, sample.key, sample.data.to_vec())))
            .unwrap();
    }
    depacketizer.flush(&mut |sample| got.push((sample.timestamp, sample.key, sample.data.to_vec())));
    got
}

/// Timestamp, whether it is a key, and the first bytes of the NAL units of each sample.
fn units(kind: CodecKind, capture: &str) -> Vec<(i64, bool, Vec<u8>)> {
    let first = |sample: &[u8]| nal::units(sample).map(|unit| unit.unwrap()[0]).collect();
    receive(kind, capture).into_iter().map(|(at, key, sample)| (at, key, first(&sample))).collect()
}

fn only(description: &str) -> MediaTrack {
    Presentation::parse(description.as_bytes()).unwrap().tracks.remove(0)
}

fn response(text: &str) -> Response {
    let Ok(Some(RtspMessage::Response(response))) = crate::rtsp::parse(text.as_bytes()) else {
        panic!("{text}")
    };
    response
}

#[test]
fn parameter_sets_go_with_their_picture_wherever_markers_and_timestamps_are() {
    let with_sei = [(3600, true, vec![0x67, 0x68, 0x06, 0x65]), (7200, false, vec![0x41])];
    assert_eq!(units(CodecKind::H264, quirk!("h264dvr-marker-on-parameter-sets.rtp")), with_sei);
    let plain = [(3600, true, vec![0x67, 0x68, 0x65]), (7200, false, vec![0x41])];
    assert_eq!(units(CodecKind::H264, quirk!("reolink-parameter-sets-with-their-own-time.rtp")), plain);
    assert_eq!(units(CodecKind::H264, quirk!("gwsecurity-start-codes-in-one-packet.rtp")), plain);
    let h265 = [(3600, true, vec![0x40, 0x42, 0x44, 0x26]), (7200, false, vec![0x02])];
    assert_eq!(units(CodecKind::H265, quirk!("h265-start-codes-in-one-packet.rtp")), h265);
    assert_eq!(units(CodecKind::H265, quirk!("h265-marker-on-parameter-sets.rtp")), h265);
}

#[test]
fn markers_on_every_slice_do_not_cut_pictures() {
    let got = units(CodecKind::H264, quirk!("h264-marker-on-every-slice.rtp"));
    let first = (3600, true, vec![0x67, 0x68, 0x65, 0x65]);
    let later = (2..5).map(|at| (at * 3600, false, vec![0x41, 0x41]));
    assert_eq!(got, std::iter::once(first).chain(later).collect::<Vec<_>>());
}

#[test]
fn pictures_of_odd_jpeg_cameras_are_whole() {
    let whole = receive(CodecKind::Jpeg, quirk!("jpeg-whole-file-as-scan.rtp"));
    let [(0, true, file)] = whole.as_slice() else { panic!("one picture") };
    assert_eq!(file, include_bytes!("../testdata/plain-420.jpg"));
    // The last one has neither a marker nor an end: it cannot be known to be whole.
    let unmarked = receive(CodecKind::Jpeg, quirk!("jpeg-without-markers.rtp"));
    let scans: Vec<_> =
        unmarked.iter().map(|(at, _, file)| (*at, JpegFile::parse(file).unwrap().scan)).collect();
    assert_eq!(scans, [(0, &b"\x12\x34\xff\xd9"[..]), (3600, b"\x12\x34\xff\xd9")]);
    let counted = receive(CodecKind::Jpeg, quirk!("jpeg-offsets-that-do-not-count.rtp"));
    let [(0, true, file)] = counted.as_slice() else { panic!("one picture") };
    assert_eq!(JpegFile::parse(file).unwrap().scan, b"\x12\x34\x56\x78\xff\xd9");
}

#[test]
fn the_mode_of_aac_is_that_of_its_packets() {
    let got = receive(CodecKind::Aac, quirk!("aac-low-mode-announced-as-high.rtp"));
    let expected = [(0, &b"ab"[..]), (1024, b"xyz"), (2048, b"fiver")];
    assert_eq!(got, expected.map(|(at, data)| (at, true, data.to_vec())));
}

#[test]
fn metadata_without_markers_comes_document_by_document() {
    let got = receive(CodecKind::Metadata, quirk!("metadata-without-markers.rtp"));
    assert_eq!(got.iter().map(|(at, _, _)| *at).collect::<Vec<_>>(), [0, 90_000, 180_000]);
    assert!(got.iter().all(|(_, _, document)| document == &got[0].2));
}

#[test]
fn descriptions_that_lack_or_mix_up_parameter_sets_are_taken() {
    for (description, control) in [
        (quirk!("ubiquiti-fmtp-without-parameters.sdp"), Some("trackID=1")),
        (quirk!("bare-line-feeds-and-spaces.sdp"), Some("track1")),
        (quirk!("payload-type-that-no-rtpmap-has.sdp"), None),
    ] {
        let track = only(description);
        assert_eq!((track.payload_type, track.control.as_deref()), (96, control));
        let config = track.config.unwrap();
        assert_eq!((config.kind, config.config), (CodecKind::H264, vec![]));
    }
    let swapped = only(quirk!("h265-sets-swapped.sdp")).config.unwrap();
    let sets = h265::DecoderConfig::parse(&swapped.config).unwrap();
    assert_eq!((sets.vps.len(), sets.sps.len(), sets.pps.len()), (1, 1, 1));
    assert_eq!(h265::Sps::parse(sets.sps[0]).map(|sps| (sps.width, sps.height)), Ok((320, 180)));
    let missing = only(quirk!("h265-sets-missing.sdp")).config.unwrap();
    assert_eq!((missing.kind, missing.config), (CodecKind::H265, vec![]));
    assert!(h264::DecoderConfig::parse(&swapped.config).is_err());
}

#[test]
fn descriptions_of_aac_that_lack_or_break_the_configuration_are_taken() {
    let read = |description| {
        let config = only(description).config.unwrap();
        let aac = AacConfig::parse(&config.config).unwrap();
        (config.clock_rate, aac.rate_hz, config.channels)
    };
    assert_eq!(read(quirk!("aac-without-config.sdp")), (16_000, 16_000, 1));
    assert_eq!(read(quirk!("aac-broken-config.sdp")), (8_000, 8_000, 1));
    assert_eq!(read(quirk!("aac-clock-that-is-not-the-rate.sdp")), (8_000, 16_000, 1));
}

#[test]
fn responses_that_break_the_grammar_are_read() {
    let bare = response(quirk!("bare-line-feeds.rtsp"));
    assert_eq!((bare.status, bare.cseq()), (200, Some(3)));
    let session = Session::parse(bare.headers.first("Session").unwrap()).unwrap();
    assert_eq!(session.id, "1234");
    // The session must not end for it: whose answer it is, the order of answers says.
    let keepalive = response(quirk!("tapo-keepalive-refused-with-another-cseq.rtsp"));
    assert_eq!((keepalive.status, keepalive.cseq()), (400, Some(0)));
    let odd = response(quirk!("ssrc-with-a-space-and-rtp-info-with-a-semicolon.rtsp"));
    let transport = Transport::parse(odd.headers.first("Transport").unwrap()).unwrap();
    assert_eq!((transport.interleaved, transport.ssrc), (Some((0, 1)), Some(0x4cc3_b9a1)));
    let [info] = &parse_rtp_info(odd.headers.first("RTP-Info").unwrap())[..] else { panic!("one stream") };
    assert_eq!((info.sequence, info.timestamp), (Some(1), Some(2)));
    let base = response(quirk!("content-base-without-a-scheme.rtsp"));
    let asked = Url::parse("rtsp://192.168.1.10:554/live").unwrap();
    assert_eq!(content_base(&base.headers, &asked).as_str(), "rtsp://192.168.1.10:554/live/");
    assert_eq!(base.body, b"v=0\r\n");
}
