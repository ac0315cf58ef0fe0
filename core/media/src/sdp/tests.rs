use super::*;
use crate::h264::{DecoderConfig, Sps};
use crate::replay::ClockRange;
use keepwatch_model::WallTime;
use proptest::prelude::*;

const SPROP: &str = "Z00AKpWoHgCJ+WEAAAMAAQAAAwAyhA==,aO48gA==";

fn parse(text: &str) -> Presentation {
    Presentation::parse(text.as_bytes()).unwrap()
}

fn only(media: &str) -> MediaTrack {
    parse(&format!("v=0\r\n{media}")).tracks.remove(0)
}

#[test]
fn a_usual_camera_is_understood() {
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
         m=video 0 RTP/AVP 96\r\nb=AS:5000\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n\
         a=fmtp:96 packetization-mode=1; profile-level-id=4d002a; sprop-parameter-sets={SPROP}\r\n\
         m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n\
         m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:trackID=3\r\n"
    );
    let presentation = parse(&text);
    assert_eq!(presentation.control.as_deref(), Some("*"));
    let [video, audio, metadata] = presentation.tracks.as_slice() else { panic!() };
    assert_eq!((video.media, video.payload_type, video.clock_rate), (MediaKind::Video, 96, 90_000));
    assert_eq!(video.control.as_deref(), Some("trackID=1"));
    let config = video.config.as_ref().unwrap();
    let sets = DecoderConfig::parse(&config.config).unwrap();
    assert_eq!((sets.sps.len(), sets.pps.len()), (1, 1));
    let sps = Sps::parse(sets.sps[0]).unwrap();
    assert_eq!((sps.width, sps.height, sps.profile, sps.level), (1920, 1080, 77, 42));
    let expected = TrackConfig { kind: CodecKind::Pcma, clock_rate: 8000, channels: 1, config: Vec::new() };
    assert_eq!((audio.payload_type, &audio.config), (8, &Ok(expected)));
    let expected =
        TrackConfig { kind: CodecKind::Metadata, clock_rate: 90_000, channels: 0, config: Vec::new() };
    assert_eq!((metadata.media, &metadata.config), (MediaKind::Other, &Ok(expected)));
}

#[test]
fn sloppy_descriptions_are_understood() {
    // Bare line feeds, spaces, a trailing space in rtpmap, an fmtp without parameters, a relative port, no v=.
    let track =
        only("m= video 0/2 RTP/AVP 96 \n a=rtpmap:96  h264/90000 \na=fmtp:96\na=control: track1 \nx\n=\na\n");
    assert_eq!(track.control.as_deref(), Some("track1"));
    assert_eq!(track.config.unwrap().config, []);
    // A payload type that its rtpmap does not share.
    let track = only("m=video 0 RTP/AVP 97\r\na=rtpmap:96 H264/90000");
    assert_eq!((track.payload_type, track.config.is_ok()), (96, true));
    // The first usable format of several.
    let track = only("m=audio 0 RTP/AVP 97 0 8\r\na=rtpmap:97 G726-32/8000");
    assert_eq!((track.payload_type, track.config.unwrap().kind), (0, CodecKind::Pcmu));
    assert_eq!(only("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMU").clock_rate, 8000);
    assert_eq!(only("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264").clock_rate, 90_000);
}

#[test]
fn what_cannot_be_recorded_says_why() {
    use UnsupportedReason::{ClockRate, Coding, Interleaved, Transport};
    let reason = |text: &str| only(text).config.unwrap_err();
    assert_eq!(reason("m=video 0 RTP/AVP 98\na=rtpmap:98 VP9/90000"), Coding("VP9/90000".to_owned()));
    assert_eq!(reason("m=video 0 RTP/AVP 34"), Coding("of payload type 34".to_owned()));
    assert_eq!(
        reason("m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\na=fmtp:98 sprop-max-don-diff=1"),
        Interleaved
    );
    let aac = |fmtp: &str| {
        reason(&format!("m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000\na=fmtp:97 {fmtp}"))
    };
    assert_eq!(aac("mode=CELP-vbr"), UnsupportedReason::AacMode("CELP-vbr".to_owned()));
    assert_eq!(aac("mode=generic;sizelength=16"), UnsupportedReason::AacMode("generic".to_owned()));
    assert_eq!(aac("mode=AAC-hbr;maxDisplacement=3"), Interleaved);
    assert_eq!(reason("m=audio 0 RTP/AVP 97\na=rtpmap:97 MP4A-LATM/16000"), UnsupportedReason::Latm);
    for name in ["vnd.onvif.metadata+gzip", "vnd.onvif.metadata.exi.ext", "vnd.onvif.metadata.gzip"] {
        let description = format!("m=application 0 RTP/AVP 107\na=rtpmap:107 {name}/90000");
        assert_eq!(reason(&description), UnsupportedReason::CompressedMetadata(name.to_owned()));
    }
    assert_eq!(reason("m=video"), Transport(String::new()));
    assert_eq!(reason("m=video 0 RTP/AVP x"), Coding("without a name".to_owned()));
    assert_eq!(
        reason("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/1000"),
        ClockRate { name: "H264".to_owned(), clock_rate: 1000 }
    );
    assert_eq!(reason("m=audio 0 RTP/AVP 96\na=rtpmap:96 PCMU/8000/6"), UnsupportedReason::Channels(6));
    assert_eq!(
        reason("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=2"),
        Interleaved
    );
    assert_eq!(reason("m=video 0 udp 96\na=rtpmap:96 H264/90000"), Transport("udp".to_owned()));
}

#[test]
fn the_way_back_is_told_from_sound_that_comes() {
    let camera = parse("m=audio 0 RTP/AVP 0\na=recvonly\nm=audio 0 RTP/AVP 0\na=sendonly\n");
    assert!(camera.tracks[0].config.is_ok());
    assert_eq!(camera.tracks[1].config, Err(UnsupportedReason::Backchannel));
    let server = parse("m=audio 0 RTP/AVP 0\na=sendonly\n");
    assert!(server.tracks[0].config.is_ok());
}

#[test]
fn broken_parameter_sets_leave_the_configuration_open() {
    let config = |sprop: &str| {
        let fmtp =
            format!("m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 x;sprop-parameter-sets={sprop}");
        only(&fmtp).config.unwrap().config
    };
    let good = config(SPROP);
    assert!(!good.is_empty());
    assert_eq!(config(&format!("{SPROP},")), good);
    assert_eq!(config(&format!(",{SPROP},%%%,")), good);
    assert_eq!(config(&SPROP.replace('=', "")), good);
    assert_eq!(config("aO48gA==,Z00AKpWoHgCJ+WEAAAMAAQAAAwAyhA=="), good);
    for bad in ["", ",", "Z00A", "%%%,%%%", "aO48gA==", "Z00AKpWoHgCJ+WEAAAMAAQAAAwAyhA=="] {
        assert_eq!(config(bad), [], "{bad:?}");
    }
    // GW Security: start codes, and both sets in each of the two.
    let both = "AAAAAWdCAB+VqBQBbkAAAAABaM48gA==";
    let sets = config(&format!("{both},{both}"));
    assert!(!DecoderConfig::parse(&sets).unwrap().pps.is_empty());
}

#[test]
fn what_is_no_description_is_refused() {
    for bad in ["", "<html></html>", "\u{0}\u{1}", "hello\r\nworld\r\n"] {
        assert_eq!(Presentation::parse(bad.as_bytes()), Err(SdpError::NotSdp(bad.len())));
    }
    assert_eq!(Presentation::parse(b"m=video\n".repeat(33).as_slice()), Err(SdpError::TooMany));
    assert_eq!(parse("v=0\r\n").tracks, []);
}

#[test]
fn what_the_writer_writes_is_understood() {
    let config = only(&format!(
        "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets={SPROP}"
    ));
    let video = config.config.unwrap();
    let audio = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 16_000, channels: 2, config: Vec::new() };
    let unknown = TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: Vec::new() };
    let configs = [&video, &audio, &unknown];
    let controls = ["track=0", "track=1", "track=2"];
    let attributes = ["x-onvif-track:VIDEO001\r\nm=audio".to_owned()];
    let announced: Vec<_> = configs
        .iter()
        .zip(controls)
        .zip(0..)
        .map(|((config, control), position)| AnnouncedTrack {
            config,
            payload_type: if position == 1 { 97 } else { payload_type(config.kind, position) },
            control,
            attributes: &attributes,
        })
        .collect();
    let footage = ClockRange { from: WallTime::from_ticks(0), to: None };
    let text = write("camera\r\nm=video", Some(footage), &announced);
    assert!(text.contains("\r\na=range:clock=19700101T000000.000Z-\r\n"), "{text}");
    assert!(text.contains("\r\na=x-onvif-track:VIDEO001  m=audio\r\n"), "{text}");
    assert!(write("camera", None, &announced).contains("\r\na=range:npt=now-\r\n"));
    let read = parse(&text);
    assert_eq!(read.control.as_deref(), Some("*"));
    assert_eq!(read.tracks.len(), 3);
    for ((track, config), control) in read.tracks.iter().zip(configs).zip(controls) {
        assert_eq!(track.config.as_ref(), Ok(config));
        assert_eq!(track.control.as_deref(), Some(control));
    }
}

#[test]
fn every_coding_that_is_announced_is_understood() {
    use crate::h265::tests::{PPS, SPS, VPS};
    let sets = crate::h265::DecoderConfig { vps: vec![VPS], sps: vec![SPS], pps: vec![PPS] };
    let track = |kind, clock_rate, channels, config| TrackConfig { kind, clock_rate, channels, config };
    let aac = crate::aac::AacConfig::low_complexity(48_000, 2).unwrap();
    for config in [
        track(CodecKind::H265, 90_000, 0, sets.build().unwrap()),
        track(CodecKind::H265, 90_000, 0, Vec::new()),
        track(CodecKind::Jpeg, 90_000, 0, Vec::new()),
        track(CodecKind::Aac, 48_000, 2, aac),
        track(CodecKind::Pcma, 8_000, 1, Vec::new()),
        track(CodecKind::Metadata, 90_000, 0, Vec::new()),
    ] {
        let payload_type = payload_type(config.kind, 3);
        let announced = [AnnouncedTrack { config: &config, payload_type, control: "x", attributes: &[] }];
        let read = parse(&write("camera", None, &announced)).tracks.remove(0);
        let media = match (config.kind.is_video(), config.kind.is_audio()) {
            (true, _) => MediaKind::Video,
            (_, true) => MediaKind::Audio,
            (false, false) => MediaKind::Other,
        };
        assert_eq!((read.media, read.payload_type, read.config), (media, payload_type, Ok(config)));
    }
}

proptest! {
    #[test]
    fn mutated_descriptions_never_panic(position in 0usize..400, byte: u8, cut in 0usize..400, random: Vec<u8>) {
        let mut text = format!(
            "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1;sprop-parameter-sets={SPROP}\r\nm=audio 0 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000/1\r\n"
        ).into_bytes();
        if let Some(place) = text.get_mut(position) {
            *place = byte;
        }
        text.truncate(cut.max(1));
        let _ = Presentation::parse(&text);
        let _ = Presentation::parse(&random);
    }
}
