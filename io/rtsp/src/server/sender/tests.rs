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
        sender.push(now, began, &queued(i64::from(at) * 90 / 8, at, 0), &mut out).unwrap();
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
    sender.push(now, began, &queued(0, 0, 0), &mut out).unwrap();
    out.clear();
    sender.push(now + Duration::from_secs(9), began, &queued(0, 0, 3), &mut out).unwrap();
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
        sender.push(now, began, &queued(990_000, 123_456, 0), &mut out).unwrap();
        let expected = START.timestamp.wrapping_add(clock_rate);
        assert_eq!(lines(&out), [format!("sr {expected} 0 0"), format!("rtp 65535 {expected}")]);
    }
    let mut out = Vec::new();
    sender(CodecKind::Pcmu, 8_000).push(now, began, &queued(i64::MIN, 1, 0), &mut out).unwrap();
}
