//! The binary half: RTP, RTCP, depacketising, and the structures of H.264 and H.265 that are read.

use keepwatch_media::aac::AacConfig;
use keepwatch_media::depacketize::{ACCESS_UNIT_BYTES_MAX, DOCUMENT_BYTES_MAX, Depacketizer, Sample};
use keepwatch_media::h264::{self, DecoderConfig, Sps};
use keepwatch_media::packetize::{Packetizer, PacketizerConfig};
use keepwatch_media::rtcp::{self, RtcpPacket};
use keepwatch_media::rtp::{RtpPacket, SequenceTracker, TimestampUnwrapper};
use keepwatch_media::{h265, jpeg};
use keepwatch_model::{CodecKind, TrackConfig};

/// One RTP packet.
pub(crate) fn rtp(data: &[u8]) {
    let Ok(packet) = RtpPacket::parse(data) else { return };
    assert!(packet.payload.len() + 12 <= data.len());
    let mut sequence = SequenceTracker::new();
    let mut timestamp = TimestampUnwrapper::new();
    // The payload as a series of numbers, as absurd as they come.
    for word in packet.payload.chunks_exact(4) {
        let word = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
        let _ = sequence.push((word >> 16) as u16);
        let _ = timestamp.unwrap(word);
    }
    let _ = (sequence.extended_highest(), sequence.lost());
}

/// One compound RTCP packet.
pub(crate) fn rtcp(data: &[u8]) {
    for packet in rtcp::packets(data).flatten() {
        if let RtcpPacket::SenderReport(report) = packet {
            let _ = report.ntp.to_wall();
        }
    }
}

/// A session: the first byte chooses the codec, then each packet stands behind its length in two bytes.
pub(crate) fn depacketize(data: &[u8]) {
    let Some((kind, packets)) = data.split_first() else { return };
    let kind = if kind & 1 == 0 { CodecKind::H264 } else { CodecKind::Pcmu };
    session(kind, packets, |sample| {
        if kind == CodecKind::H264 {
            assert_units(sample.data, 1);
            if let Some(changed) = sample.config_changed {
                assert!(DecoderConfig::parse(&changed.config).is_ok());
            }
        }
    });
}

/// A session with H.265.
pub(crate) fn depacketize_h265(data: &[u8]) {
    session(CodecKind::H265, data, |sample| {
        assert_units(sample.data, h265::HEADER_BYTES);
        assert_eq!(sample.key, h265::is_key_frame(sample.data));
        if let Some(changed) = sample.config_changed {
            assert!(h265::DecoderConfig::parse(&changed.config).is_ok());
        }
    });
}

/// A session with Motion JPEG: what comes out has a size, and can be sent again unless it is no baseline picture.
pub(crate) fn depacketize_jpeg(data: &[u8]) {
    session(CodecKind::Jpeg, data, |sample| {
        let Some((width, height)) = jpeg::size(sample.data) else { panic!("a picture without a size") };
        if let Some(changed) = sample.config_changed {
            assert_eq!(changed.config, [width.to_be_bytes(), height.to_be_bytes()].concat());
        }
        let mut packetizer = Packetizer::new(PacketizerConfig {
            kind: CodecKind::Jpeg,
            channels: 0,
            interleaved_channel: 0,
            payload_type: 26,
            ssrc: 1,
            first_sequence: 0,
        });
        let mut out = Vec::new();
        if packetizer.push(0, &[sample.data], &mut out).is_err() {
            assert!(out.is_empty());
        }
    });
}

/// A session with AAC at 16 kHz.
pub(crate) fn depacketize_aac(data: &[u8]) {
    session(CodecKind::Aac, data, |sample| assert!(sample.data.len() <= 65_535));
}

/// A session with ONVIF metadata.
pub(crate) fn depacketize_metadata(data: &[u8]) {
    session(CodecKind::Metadata, data, |sample| assert!(sample.data.len() <= DOCUMENT_BYTES_MAX));
}

fn assert_units(sample: &[u8], bytes_min: usize) {
    let units: Result<Vec<&[u8]>, _> = h264::units(sample).collect();
    let Ok(units) = units else { panic!("a sample is not a series of NAL units") };
    assert!(units.iter().all(|unit| unit.len() >= bytes_min), "a NAL unit without a header in a sample");
}

/// Packets of `kind`, each behind its length in two bytes.
fn session(kind: CodecKind, packets: &[u8], check: impl Fn(&Sample<'_>)) {
    let config = TrackConfig {
        kind,
        clock_rate: if kind.is_audio() { 8_000 } else { 90_000 },
        channels: u8::from(kind.is_audio()),
        config: AacConfig::low_complexity(16_000, 1).filter(|_| kind == CodecKind::Aac).unwrap_or_default(),
    };
    let Ok(mut depacketizer) = Depacketizer::new(&config) else { panic!("the configuration is a good one") };
    let mut sink = |sample: Sample<'_>| {
        assert!(!sample.data.is_empty(), "a sample without data");
        assert!(sample.data.len() <= ACCESS_UNIT_BYTES_MAX);
        check(&sample);
    };
    let mut rest = packets;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (packet, next) = after.split_at(length);
        rest = next;
        if let Ok(packet) = RtpPacket::parse(packet) {
            let _ = depacketizer.push(&packet, &mut sink);
        }
        assert!(depacketizer.buffered_bytes() <= 2 * ACCESS_UNIT_BYTES_MAX);
    }
    depacketizer.flush(&mut sink);
}

/// A sequence or picture parameter set.
pub(crate) fn sps(data: &[u8]) {
    if let Ok(sps) = Sps::parse(data) {
        assert!(sps.width > 0 && sps.height > 0, "{sps:?}");
        assert!(sps.frame_rate().is_none_or(f64::is_finite), "{sps:?}");
        // What can be read can be announced.
        let config = DecoderConfig { sps: vec![data], pps: vec![&[0x68, 0xce, 0x38, 0x80]] };
        if let Ok(record) = config.build() {
            assert_eq!(DecoderConfig::parse(&record).as_ref(), Ok(&config));
        }
    }
    let _ = h264::pps_id(data);
    if let Ok(config) = DecoderConfig::parse(data) {
        let _ = config.build();
    }
}

/// A parameter set of H.265, or a decoder configuration.
pub(crate) fn sps265(data: &[u8]) {
    if let Ok(sps) = h265::Sps::parse(data) {
        assert!(sps.width > 0 && sps.height > 0, "{sps:?}");
        assert!(sps.codec_name().starts_with("hvc1."));
        let (vps, pps): (&[u8], &[u8]) = (&[0x40, 1, 0x0c], &[0x44, 1, 0xc1]);
        let config = h265::DecoderConfig { vps: vec![vps], sps: vec![data], pps: vec![pps] };
        if let Ok(record) = config.build() {
            assert_eq!(h265::DecoderConfig::parse(&record).as_ref(), Ok(&config));
        }
    }
    let _ = (h265::pps_id(data), h265::vps_id(data), h265::is_key_frame(data));
    if let Ok(config) = h265::DecoderConfig::parse(data) {
        let _ = config.build();
    }
}

/// A supplemental information unit, read and made.
pub(crate) fn sei(data: &[u8]) {
    for user_data in h264::user_data(data) {
        let _ = (user_data.uuid, user_data.data.len());
    }
    // Whatever is put in comes out: start codes inside are escaped.
    let uuid = *b"a 16-byte string";
    let mut unit = Vec::new();
    h264::write_user_data(&mut unit, &uuid, data);
    let mut sample = Vec::new();
    h264::write_unit(&mut sample, &unit);
    assert_eq!(h264::find_user_data(&sample, &uuid).as_deref(), Some(data));
}

/// A stored sample, or a stream with start codes.
pub(crate) fn h264_sample(data: &[u8]) {
    let _ = h264::units(data).count();
    let _ = h264::is_key_frame(data);
    let _ = h264::find_user_data(data, &[0; 16]);
    let mut sample = Vec::new();
    h264::length_prefixed(data, &mut sample);
    let back: Result<Vec<&[u8]>, _> = h264::units(&sample).collect();
    let Ok(back) = back else { panic!("length prefixes cannot be read back") };
    assert!(back.into_iter().eq(h264::annex_b_units(data)));
}
