use super::*;
use proptest::prelude::*;

#[test]
fn a_goodbye_behind_a_report_is_found() {
    let report =
        SenderReport { ssrc: 1, ntp: NtpTime(0x83aa_7e80_8000_0000), rtp_timestamp: 3, packets: 4, bytes: 5 };
    let mut bytes = Vec::new();
    write_sender_report(&mut bytes, &report, "keepwatch");
    write_bye(&mut bytes, 1);
    let found: Result<Vec<_>, _> = packets(&bytes).collect();
    assert_eq!(
        found.unwrap(),
        [
            RtcpPacket::SenderReport(report),
            RtcpPacket::Other { packet_type: SOURCE_DESCRIPTION },
            RtcpPacket::Bye { ssrc: Some(1) }
        ]
    );
    assert_eq!(report.ntp.to_wall(), Some(WallTime::from_ticks(45_000)));
}

#[test]
fn an_error_ends_the_compound() {
    let found: Vec<_> = packets(&[0x81, 203, 0, 1, 0, 0, 0, 9, 0x80, 200, 0, 9]).collect();
    assert_eq!(found, [Ok(RtcpPacket::Bye { ssrc: Some(9) }), Err(RtcpError::Short(4))]);
    assert_eq!(packets(&[0x40, 200, 0, 0]).collect::<Vec<_>>(), [Err(RtcpError::Version(1))]);
    assert_eq!(packets(&[0x80, 200, 0, 1, 0, 0, 0, 1]).collect::<Vec<_>>(), [Err(RtcpError::Short(8))]);
    let endless = [0x80, 205, 0, 0].repeat(1000);
    assert_eq!(packets(&endless).last(), Some(Err(RtcpError::TooMany)));
}

#[test]
fn ntp_goes_on_after_2036() {
    assert_eq!(NtpTime(0).to_wall(), None);
    let label: WallTime = "2040-01-02T03:04:05.5Z".parse().unwrap();
    assert_eq!(NtpTime::from_wall(label).to_wall(), Some(label));
}

#[test]
fn a_receiver_report_has_the_shape_of_rfc_3550() {
    let mut bytes = Vec::new();
    let block = ReportBlock {
        ssrc: 2,
        fraction_lost: 255,
        lost: u32::MAX,
        highest_sequence: 3,
        ..ReportBlock::default()
    };
    write_receiver_report(&mut bytes, 1, Some(&block), "ab");
    assert_eq!(bytes[..16], [0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 255, 0x7f, 0xff, 0xff]);
    assert_eq!(bytes[32..], [0x81, 202, 0, 3, 0, 0, 0, 1, 1, 2, b'a', b'b', 0, 0, 0, 0]);
    bytes.clear();
    write_receiver_report(&mut bytes, 1, None, "x".repeat(300).as_str());
    assert!(packets(&bytes).all(|packet| packet.is_ok()));
}

proptest! {
    #[test]
    fn a_label_survives_ntp(ticks in -5_000_000_000i64..380_000_000_000_000) {
        let label = WallTime::from_ticks(ticks);
        prop_assert_eq!(NtpTime::from_wall(label).to_wall(), Some(label));
    }

    #[test]
    fn extremes_are_survived(ntp: u64, ticks: i64) {
        let _ = NtpTime(ntp).to_wall();
        let _ = NtpTime::from_wall(WallTime::from_ticks(ticks));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version: bool) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut().filter(|_| version) {
            *first = 0x80 | *first & 0x3f;
        }
        prop_assert!(packets(&bytes).count() <= PACKETS_MAX + 1);
    }

    #[test]
    fn reports_survive_writing(ssrc: u32, ntp: u64, rtp_timestamp: u32, count: u32, size: u32, cname in "[a-z]{0,20}") {
        let report = SenderReport { ssrc, ntp: NtpTime(ntp), rtp_timestamp, packets: count, bytes: size };
        let mut bytes = Vec::new();
        write_sender_report(&mut bytes, &report, &cname);
        let found: Result<Vec<_>, _> = packets(&bytes).collect();
        prop_assert_eq!(found.unwrap()[0], RtcpPacket::SenderReport(report));
    }
}
