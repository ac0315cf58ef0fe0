use keepwatch_model::WallTime;
use proptest::prelude::*;

use super::*;
use crate::rtp::RtpHeader;
use crate::rtsp::{Method, Request};

fn wall(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn packet_with(extension: Option<Extension<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = RtpHeader { marker: true, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3, extension };
    header.write(&mut bytes);
    bytes.push(0x65);
    bytes
}

fn mark_in(profile: u16, data: &[u8]) -> Option<FrameMark> {
    let bytes = packet_with(Some(Extension { profile, data }));
    FrameMark::of(&RtpPacket::parse(&bytes).unwrap())
}

proptest! {
    #[test]
    fn a_mark_comes_back_with_the_same_tick(
        seconds in -60_000_000i64..4_200_000_000, ticks in 0i64..90_000, bits: u8, sequence: u8,
    ) {
        let mark = FrameMark {
            time: WallTime::from_ticks(seconds * 90_000 + ticks),
            clean_point: bits & 1 != 0,
            ends_section: bits & 2 != 0,
            discontinuity: bits & 4 != 0,
            terminal: bits & 8 != 0,
            sequence,
        };
        prop_assert_eq!(mark_in(EXTENSION_PROFILE, &mark.to_words()), Some(mark));
    }

    #[test]
    fn a_range_comes_back_from_its_text(
        from in 0i64..400_000_000_000_000, to in proptest::option::of(0i64..400_000_000_000_000),
    ) {
        let range = ClockRange { from: WallTime::from_ticks(from), to: to.map(WallTime::from_ticks) };
        prop_assert_eq!(ClockRange::parse(&range.to_string()), Ok(range));
    }

    #[test]
    fn no_text_of_a_range_panics(text in "(clock=)?[-0-9TtZz.;: éä]{0,40}") {
        let _ = ClockRange::parse(&text);
    }

    #[test]
    fn a_scale_comes_back_from_its_text(thousandths in -Scale::MAX..=Scale::MAX) {
        prop_assume!(thousandths != 0);
        let scale = Scale::from_thousandths(thousandths).unwrap();
        prop_assert_eq!(scale.to_string().parse::<Scale>(), Ok(scale));
    }
}

/// ONVIF Streaming, "RTP header extension": 64 bits of NTP time, then C, E, D, T, four zero bits, CSeq, padding.
#[test]
fn the_bits_of_a_mark_stand_where_the_specification_has_them() {
    let mark = FrameMark {
        time: wall("2026-11-21T22:05:00.5Z"),
        clean_point: true,
        ends_section: false,
        discontinuity: true,
        terminal: false,
        sequence: 0xfe,
    };
    let words = mark.to_words();
    let seconds = u32::from_be_bytes(words[..4].try_into().unwrap());
    assert_eq!(i64::from(seconds), mark.time.ticks() / 90_000 + 2_208_988_800);
    assert_eq!(words[4..], [0x80, 0, 0, 0, 0xa0, 0xfe, 0, 0]);
    let other =
        FrameMark { clean_point: false, ends_section: true, discontinuity: false, terminal: true, ..mark };
    assert_eq!(other.to_words()[8], 0x50);
}

#[test]
fn a_longer_extension_is_a_mark_and_a_shorter_or_foreign_one_is_none() {
    let mark = FrameMark {
        time: wall("2026-11-21T22:05:00Z"),
        clean_point: true,
        ends_section: true,
        discontinuity: true,
        terminal: true,
        sequence: 7,
    };
    let mut long = mark.to_words().to_vec();
    long.extend_from_slice(&[0xff, 0xd8, 0, 1, 0, 0, 0, 0]);
    assert_eq!(mark_in(EXTENSION_PROFILE, &long), Some(mark));
    let extension = Extension { profile: EXTENSION_PROFILE, data: &long };
    assert_eq!(after_mark(extension), &long[12..]);
    assert_eq!(after_mark(Extension { profile: 0xbede, data: &long }), b"");
    assert_eq!(mark_in(EXTENSION_PROFILE, &long[..8]), None);
    assert_eq!(mark_in(0xbede, &long), None);
    assert_eq!(mark_in(EXTENSION_PROFILE, &[0; 12]), None, "a sender that knows no time");
    assert_eq!(FrameMark::of(&RtpPacket::parse(&packet_with(None)).unwrap()), None);
}

#[test]
fn ranges_are_read_leniently_and_written_strictly() {
    let from = wall("2026-11-21T22:00:00Z");
    let to = wall("2026-11-21T22:05:00.25Z");
    let closed = ClockRange { from, to: Some(to) };
    assert_eq!(closed.to_string(), "clock=20261121T220000.000Z-20261121T220500.250Z");
    let fine = ClockRange { from: wall("2026-11-21T22:00:00.123456Z"), to: None };
    assert_eq!(fine.to_string(), "clock=20261121T220000.123456Z-");
    for text in [
        "clock=20261121T220000Z-20261121T220500.25Z",
        "clock = 20261121T220000Z - 20261121T220500.250000000Z",
        "Clock=20261121t220000.0z-20261121t220500.25z",
        "clock=20261121T220000-20261121T220500.25",
        "clock=2026-11-21T22:00:00Z-2026-11-21T22:05:00.25Z",
        "clock=20261121T220000.Z-20261121T220500.25Z;time=20261121T000000Z",
        "clock=\"20261121T220000Z-20261121T220500.2500000000000001Z\"",
    ] {
        assert_eq!(ClockRange::parse(text), Ok(closed), "{text}");
    }
    for text in ["clock=20261121T220000Z-", "clock=20261121T220000Z", " clock=20261121T220000Z - "] {
        assert_eq!(ClockRange::parse(text), Ok(ClockRange { from, to: None }), "{text}");
    }
    let reversed = ClockRange::parse("clock=20261121T220500Z-20261121T220000Z").unwrap();
    assert!(reversed.is_reversed() && !closed.is_reversed());
}

#[test]
fn what_is_no_range_is_told_from_what_is_a_wrong_one() {
    for text in ["", "npt=0.000-", "npt=now-", "smpte=0:10:20-", "20261121T220000Z-"] {
        assert!(matches!(ClockRange::parse(text), Err(RangeError::Unit(_))), "{text}");
    }
    for text in [
        "clock=",
        "clock=-",
        "clock=now-",
        "clock=20261121-",
        "clock=20261321T220000Z-",
        "clock=20261121T250000Z-",
        "clock=20261121T220000Z-later",
        "clock=20261121T220000Z+20261121T220500Z",
        "clock=20261121T220000Z-20261121T220500Z-20261121T220500Z",
        "clock=é0261121T220000Z-",
    ] {
        assert!(matches!(ClockRange::parse(text), Err(RangeError::Time(_))), "{text}");
    }
}

fn play(headers: &[(&str, &str)]) -> Result<PlayRequest, PlayRequestError> {
    let request = headers
        .iter()
        .fold(Request::new(Method::Play, "rtsp://camera/", 0x1234), |request, (name, value)| {
            request.header(name, value)
        });
    PlayRequest::read(&request)
}

#[test]
fn a_request_comes_back_from_its_headers() {
    let plain = PlayRequest { cseq: 0x1234, ..PlayRequest::default() };
    let full = PlayRequest {
        range: Some(ClockRange { from: wall("2026-11-21T22:00:00Z"), to: None }),
        rate_control: RateControl::Free,
        frames: Frames::Intra { interval_ms: Some(4000) },
        immediate: true,
        scale: Scale::REVERSE,
        replay: true,
        ..plain
    };
    let intra = PlayRequest { frames: Frames::Intra { interval_ms: None }, replay: true, ..plain };
    for request in [plain, full, intra] {
        let headers = request.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(play(&headers), Ok(request));
    }
    assert_eq!(full.sequence(), 0x34);
    let texts: Vec<_> = full.headers().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        texts,
        [
            "Require: onvif-replay",
            "Range: clock=20261121T220000.000Z-",
            "Rate-Control: no",
            "Immediate: yes",
            "Frames: intra/4000",
            "Scale: -1.0",
        ]
    );
    assert_eq!(plain.headers(), []);
}

#[test]
fn a_header_that_would_change_what_is_played_is_understood_or_refused() {
    assert_eq!(play(&[("Range", "npt=0.000-")]).unwrap().range, None);
    assert_eq!(play(&[("Range", "clock=yesterday-")]).unwrap_err().status(), 457);
    for (name, value) in [
        ("Scale", "0"),
        ("Scale", "NaN"),
        ("Scale", "1e30"),
        ("Scale", "fast"),
        ("Frames", "some"),
        ("Frames", "intra/soon"),
        ("Frames", "all/4"),
    ] {
        assert_eq!(play(&[(name, value)]).unwrap_err().status(), 400, "{name}: {value}");
    }
    assert_eq!(play(&[("Scale", "2")]).unwrap().scale.thousandths(), 2000);
    assert_eq!(play(&[("Frames", "Predicted")]).unwrap().frames, Frames::All);
    assert_eq!(
        play(&[("rate-control", "No"), ("immediate", "YES")]).unwrap().rate_control,
        RateControl::Free
    );
    assert!(play(&[("Require", "implicit-play, ONVIF-Replay")]).unwrap().replay);
}
