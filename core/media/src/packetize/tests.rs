use super::*;
use crate::h264::write_unit;
use crate::rtp::RtpPacket;
use crate::text::{Frame, Framer};
use proptest::prelude::*;

fn packetizer(kind: CodecKind) -> Packetizer {
    Packetizer::new(PacketizerConfig {
        kind,
        channels: u8::from(!kind.is_video()),
        interleaved_channel: 2,
        payload_type: 96,
        ssrc: 7,
        first_sequence: 65_535,
    })
}

fn packets(bytes: &[u8]) -> Vec<RtpPacket<'_>> {
    let (mut framer, mut at, mut packets) = (Framer::new(), 0, Vec::new());
    while let Some(Frame::Interleaved { channel: 2, data }) = framer.next(bytes, &mut at).unwrap() {
        packets.push(RtpPacket::parse(data).unwrap());
    }
    assert_eq!(at, bytes.len());
    packets
}

fn sample(units: &[&[u8]]) -> Vec<u8> {
    let mut sample = Vec::new();
    units.iter().for_each(|unit| write_unit(&mut sample, unit));
    sample
}

#[test]
fn an_access_unit_goes_with_one_marker_at_its_end() {
    let mut packetizer = packetizer(CodecKind::H264);
    let mut out = Vec::new();
    let large = [&[0x65][..], &[1; PAYLOAD_BYTES_MAX]].concat();
    let exact = [&[0x41][..], &[2; PAYLOAD_BYTES_MAX - 1]].concat();
    let extension = Extension { profile: 0xabac, data: &[0; 12] };
    let parts = [&sample(&[&[6, 5]])[..], &sample(&[&large, &[], &exact])];
    packetizer.push_extended(9, Some(extension), &parts, &mut out).unwrap();
    let sent = packets(&out);
    assert_eq!(sent.iter().map(|packet| packet.sequence).collect::<Vec<_>>(), [65_535, 0, 1, 2]);
    assert_eq!(sent.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!(
        sent.iter().map(|packet| packet.extension.is_some()).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    assert_eq!(sent[1].payload[..3], [0x7c, 0x85, 1]);
    assert_eq!(sent[2].payload[..3], [0x7c, 0x45, 1]);
    assert_eq!((sent[1].payload.len(), sent[2].payload.len()), (PAYLOAD_BYTES_MAX, 4));
    assert_eq!(sent[3].payload, exact);
    let bytes: usize = sent.iter().map(|packet| packet.payload.len()).sum();
    let report = packetizer.sender_report(NtpTime(1), 2);
    assert_eq!((report.ssrc, report.packets, report.bytes), (7, 4, u32::try_from(bytes).unwrap()));
}

#[test]
fn what_cannot_be_sent_leaves_no_trace() {
    let mut packetizer = packetizer(CodecKind::H264);
    let mut out = b"x".to_vec();
    let truncated = PacketizeError::Truncated(crate::h264::TruncatedUnit { missing_bytes: 8 });
    let good = sample(&[&[0x41, 1]]);
    assert_eq!(packetizer.push(0, &[&good, &[0, 0, 0, 9, 0x41]], &mut out), Err(truncated));
    assert_eq!(
        packetizer.push(0, &[&good, &sample(&[&[0x41], &[0x7c]])], &mut out),
        Err(PacketizeError::Unit(0x7c))
    );
    assert_eq!(packetizer.push(0, &[&sample(&[&[]])], &mut out), Err(PacketizeError::Empty));
    assert_eq!(packetizer.push(0, &[], &mut out), Err(PacketizeError::Empty));
    assert_eq!((out, packetizer.next_sequence()), (b"x".to_vec(), 65_535));
}

#[test]
fn long_audio_is_cut_and_its_time_goes_on() {
    let mut packetizer = packetizer(CodecKind::Pcmu);
    let mut out = Vec::new();
    packetizer.push(u32::MAX, &[&[1; 1500]], &mut out).unwrap();
    let sent = packets(&out);
    assert_eq!(
        sent.iter().map(|packet| (packet.timestamp, packet.payload.len())).collect::<Vec<_>>(),
        [(u32::MAX, 1400), (1399, 100)]
    );
    assert_eq!(packetizer.push(0, &[&[], &[]], &mut out), Err(PacketizeError::Empty));
}

proptest! {
    #[test]
    fn random_samples_never_panic(bytes: Vec<u8>, audio: bool) {
        let mut packetizer = packetizer(if audio { CodecKind::Pcma } else { CodecKind::H264 });
        let mut out = Vec::new();
        if packetizer.push(0, &[&bytes], &mut out).is_err() {
            prop_assert!(out.is_empty());
            prop_assert_eq!(packetizer.next_sequence(), 65_535);
        }
    }
}
