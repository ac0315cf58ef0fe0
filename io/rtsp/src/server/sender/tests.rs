use bytes::Bytes;
use keepwatch_media::rtcp::{RtcpPacket, packets};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_media::text::{Frame, Framer};
use keepwatch_model::CodecKind;

use super::*;

const START: Start = Start { ssrc: 7, sequence: 65_535, timestamp: u32::MAX - 10 };

fn sender(kind: CodecKind, clock_rate: u32) -> Sender {
    let track = TrackConfig { kind, clock_rate, channels: 1, config: vec![] };
    Sender::new(&track, 96, (4, 5), START)
}

fn queued(capture_ticks: i64, timestamp: u32, skip: u16) -> Queued {
    let capture = WallTime::from_ticks(capture_ticks);
    let media = Media {
        track: 0,
        timestamp,
        capture,
        key: true,
        data: Bytes::from_static(&[0; 160]),
        prefix: Bytes::new(),
        lost_packets: 0,
        mark: None,
    };
    Queued { media, skip }
}

/// What was written, in short: "sr RTP-TIME PACKETS BYTES", "bye" and "rtp SEQUENCE TIMESTAMP".
fn lines(bytes: &[u8]) -> Vec<String> {
    let (mut framer, mut at, mut lines) = (Framer::new(), 0, Vec::new());
    while let Some(frame) = framer.next(bytes, &mut at).unwrap() {
        match frame {
            Frame::Interleaved { channel: 4, data } => {
                let packet = RtpPacket::parse(data).unwrap();
                lines.push(format!("rtp {} {}", packet.sequence, packet.timestamp));
            }
            Frame::Interleaved { channel: 5, data } => {
                lines.extend(packets(data).filter_map(|packet| match packet.unwrap() {
                    RtcpPacket::SenderReport(sr) => {
                        Some(format!("sr {} {} {}", sr.rtp_timestamp, sr.packets, sr.bytes))
                    }
                    RtcpPacket::Bye { .. } => Some("bye".to_owned()),
                    RtcpPacket::ReceiverReport { .. } | RtcpPacket::Other { .. } => None,
                }))
            }
            Frame::Interleaved { channel, .. } => panic!("channel {channel}"),
            Frame::Text(message) => panic!("{message:?}"),
        }
    }
    assert_eq!(at, bytes.len());
    lines
}

#[test]
fn reports_before_the_first_packet_and_then_every_five_seconds() {
    let mut sender = sender(CodecKind::Pcmu, 8_000);
    let (start, began, mut out) = (Instant::now(), WallTime::from_ticks(0), Vec::new());
    for seconds in 0..=6 {
        let at = u32::try_from(seconds).unwrap() * 8_000;
        let now = start + Duration::from_secs(seconds);
        sender
            .push(now, Timing::Live { epoch: began }, &queued(i64::from(at) * 90 / 8, at, 0), &mut out)
            .unwrap();
    }
    sender.bye(&mut out);
    let first = START.timestamp;
    let time = |seconds: u32| first.wrapping_add(seconds * 8_000);
    let expected = [
        format!("sr {first} 0 0"),
        format!("rtp 65535 {first}"),
        format!("rtp 0 {}", time(1)),
        format!("rtp 1 {}", time(2)),
        format!("rtp 2 {}", time(3)),
        format!("rtp 3 {}", time(4)),
        format!("sr {} 5 800", time(5)),
        format!("rtp 4 {}", time(5)),
        format!("rtp 5 {}", time(6)),
        format!("sr {} 7 1120", time(6)),
        "bye".to_owned(),
    ];
    assert_eq!(lines(&out), expected);
}

#[test]
fn what_was_left_out_shows_in_the_sequence_numbers_and_not_in_the_counts() {
    let mut sender = sender(CodecKind::Pcmu, 8_000);
    let (now, began, mut out) = (Instant::now(), WallTime::from_ticks(0), Vec::new());
    sender.push(now, Timing::Live { epoch: began }, &queued(0, 0, 0), &mut out).unwrap();
    out.clear();
    sender
        .push(now + Duration::from_secs(9), Timing::Live { epoch: began }, &queued(0, 0, 3), &mut out)
        .unwrap();
    let first = START.timestamp;
    assert_eq!(lines(&out), [format!("sr {first} 1 160"), format!("rtp 3 {first}")]);
}

/// RFC 2326 §12.33: the times told in RTP-Info are those of one moment, whatever each track's own clock shows.
#[test]
fn tracks_share_the_moment_the_session_began() {
    let (now, began) = (Instant::now(), WallTime::from_ticks(900_000));
    let (mut audio, mut video) = (sender(CodecKind::Pcmu, 8_000), sender(CodecKind::Pcmu, 90_000));
    for (sender, clock_rate) in [(&mut audio, 8_000), (&mut video, 90_000)] {
        let mut out = Vec::new();
        sender.push(now, Timing::Live { epoch: began }, &queued(990_000, 123_456, 0), &mut out).unwrap();
        let expected = START.timestamp.wrapping_add(clock_rate);
        assert_eq!(lines(&out), [format!("sr {expected} 0 0"), format!("rtp 65535 {expected}")]);
    }
    let mut out = Vec::new();
    sender(CodecKind::Pcmu, 8_000)
        .push(now, Timing::Live { epoch: began }, &queued(i64::MIN, 1, 0), &mut out)
        .unwrap();
}

/// Recorded media of `capture_ticks`, with a mark.
fn marked(capture_ticks: i64, timestamp: u32, discontinuity: bool) -> Queued {
    let Queued { media, skip } = queued(capture_ticks, timestamp, 0);
    let mark = FrameMark {
        time: media.capture,
        clean_point: true,
        ends_section: false,
        discontinuity,
        terminal: false,
        sequence: 99,
    };
    Queued { media: Media { mark: Some(mark), ..media }, skip }
}

/// The marks in what was written.
fn marks(bytes: &[u8]) -> Vec<FrameMark> {
    let (mut framer, mut at, mut marks) = (Framer::new(), 0, Vec::new());
    while let Some(frame) = framer.next(bytes, &mut at).unwrap() {
        if let Frame::Interleaved { channel: 4, data } = frame {
            marks.extend(FrameMark::of(&RtpPacket::parse(data).unwrap()));
        }
    }
    marks
}

/// ONVIF Streaming, "Go To Time" and "RTP header extension".
#[test]
fn marks_tell_the_play_and_the_seek() {
    let mut sender = sender(CodecKind::Pcmu, 8_000);
    let (now, timing, mut out) =
        (Instant::now(), Timing::Free { epoch: WallTime::from_ticks(0) }, Vec::new());
    sender.play(7, true);
    sender.push(now, timing, &marked(0, 0, false), &mut out).unwrap();
    sender.push(now, timing, &marked(90, 8, true), &mut out).unwrap();
    sender.play(8, false);
    sender.push(now, timing, &marked(180, 16, false), &mut out).unwrap();
    sender.play(9, true);
    sender.push(now, timing, &marked(0, 0, false), &mut out).unwrap();
    sender.push(now, timing, &marked(90, 8, false), &mut out).unwrap();
    let told: Vec<_> = marks(&out).iter().map(|mark| (mark.sequence, mark.discontinuity)).collect();
    assert_eq!(told, [(7, false), (7, true), (8, false), (9, true), (9, false)]);
}

/// ONVIF Streaming, "RTP timestamps" and "Use of RTCP".
#[test]
fn free_media_show_captured_time_whatever_the_source_counts_and_reports_say_nothing() {
    let mut sender = sender(CodecKind::Pcmu, 8_000);
    let (now, timing, mut out) =
        (Instant::now(), Timing::Free { epoch: WallTime::from_ticks(0) }, Vec::new());
    sender.play(1, true);
    for (capture, timestamp, discontinuity) in
        [(-90_000, 5, false), (0, 8_005, false), (90_000 * 3600, 1, true), (90_000 * 3601, 8_001, false)]
    {
        sender.push(now, timing, &marked(capture, timestamp, discontinuity), &mut out).unwrap();
    }
    let time = |seconds: i64| sender.timestamp_at(seconds * 90_000);
    let expected = [
        "sr 0 0 0".to_owned(),
        format!("rtp 65535 {}", time(-1)),
        format!("rtp 0 {}", time(0)),
        format!("rtp 1 {}", time(3600)),
        format!("rtp 2 {}", time(3601)),
    ];
    assert_eq!(time(1), START.timestamp.wrapping_add(8_000));
    assert_eq!(lines(&out), expected);
}

/// RFC 2326 appendix B: RTP shows when media are played, and goes on where footage jumps.
#[test]
fn paced_media_show_playing_time_and_reports_the_present() {
    let mut sender = sender(CodecKind::Pcmu, 8_000);
    let (now, mut out) = (Instant::now(), Vec::new());
    let paced = |ticks, even| Timing::Paced { ticks, now_ticks: ticks, even };
    sender.play(1, true);
    sender.push(now, paced(0, true), &marked(0, 5, false), &mut out).unwrap();
    sender.push(now, paced(90_001, true), &marked(90_000, 8_005, false), &mut out).unwrap();
    sender.push(now, paced(180_000, true), &marked(90_000 * 3600, 77, true), &mut out).unwrap();
    sender.play(2, false);
    sender.push(now, paced(270_000, false), &marked(0, 0, false), &mut out).unwrap();
    sender.push(now, paced(275_000, false), &marked(10_000, 889, false), &mut out).unwrap();
    let time = |ticks: i64| sender.timestamp_at(ticks);
    let expected = [
        format!("sr {} 0 0", time(0)),
        format!("rtp 65535 {}", time(0)),
        format!("rtp 0 {}", time(90_000)),
        format!("rtp 1 {}", time(180_000)),
        format!("sr {} 3 480", time(270_000)),
        format!("rtp 2 {}", time(270_000)),
        format!("rtp 3 {}", time(275_000)),
    ];
    assert_eq!(lines(&out), expected);
}
