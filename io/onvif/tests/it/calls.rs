use keepwatch_onvif::client::{ClientError, Device, StreamTransport, VideoCodec};
use keepwatch_onvif::namespace;

use crate::script::{Answer, Script, clock, information, seconds_now};

fn port(script: &Script) -> u16 {
    script.url.port().unwrap()
}

#[tokio::test]
async fn services_are_asked_at_the_configured_host_whatever_the_device_says() {
    let script = Script::device(|asked| {
        assert_eq!(asked.path, "/onvif/device_service");
        information()
    });
    let script = script.await;
    let device = script.connect().await;
    assert!(device.offers(namespace::SEARCH) && device.offers(namespace::MEDIA2));
    for service in device.services() {
        assert_eq!(service.place.host_str(), Some("127.0.0.1"));
        assert_eq!(service.place.port(), Some(port(&script)));
    }
    assert_eq!(device.information().await.unwrap().model, "M1");
}

/// Cameras from before 2010, and some door stations, know no GetServices.
#[tokio::test]
async fn a_device_that_knows_only_capabilities_is_asked_for_these() {
    let script = Script::start(|asked| match asked.call.as_str() {
        "GetSystemDateAndTime" => clock(seconds_now()),
        "GetServices" => Answer::fault(&["ActionNotSupported"], "no"),
        _ => Answer::body(
            "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Device><tt:XAddr>http://10.0.0.1/d</tt:XAddr></tt:Device>\
             <tt:Media><tt:XAddr>http://10.0.0.1/m</tt:XAddr></tt:Media><tt:Extension><tt:Search>\
             <tt:XAddr>http://10.0.0.1/s</tt:XAddr></tt:Search></tt:Extension></tds:Capabilities></tds:GetCapabilitiesResponse>",
        ),
    });
    let script = script.await;
    let device = script.connect().await;
    assert!(device.offers(namespace::MEDIA) && device.offers(namespace::SEARCH));
    assert!(!device.offers(namespace::REPLAY) && !device.offers(namespace::MEDIA2));
    let error = device.replay_uri("r").await.unwrap_err();
    assert!(matches!(error, ClientError::NotOffered("replay")) && error.is_not_supported());
}

#[tokio::test]
async fn profiles_of_media_2_tell_h265_and_their_streams_are_asked_there() {
    let script = Script::device(|asked| match (asked.path.as_str(), asked.call.as_str()) {
        ("/onvif/media2", "GetProfiles") => {
            assert_eq!(asked.text(&["Type"]), "All");
            Answer::body(
                "<tr2:GetProfilesResponse><tr2:Profiles token=\"P0\" fixed=\"true\"><tr2:Name>main</tr2:Name><tr2:Configurations>\
                 <tr2:VideoSource token=\"vsc\"><tt:SourceToken>VS0</tt:SourceToken></tr2:VideoSource>\
                 <tr2:VideoEncoder token=\"v\" GovLength=\"50\"><tt:Encoding>H265</tt:Encoding><tt:Resolution><tt:Width>3840</tt:Width>\
                 <tt:Height>2160</tt:Height></tt:Resolution><tt:RateControl ConstantBitRate=\"false\"><tt:FrameRateLimit>25.0</tt:FrameRateLimit>\
                 <tt:BitrateLimit>8192</tt:BitrateLimit></tt:RateControl></tr2:VideoEncoder><tr2:AudioEncoder token=\"a\">\
                 <tt:Encoding>PCMU</tt:Encoding></tr2:AudioEncoder><tr2:Metadata token=\"m\"/></tr2:Configurations></tr2:Profiles>\
                 <tr2:Profiles token=\"P1\"><tr2:Name>bare</tr2:Name></tr2:Profiles></tr2:GetProfilesResponse>",
            )
        }
        ("/onvif/media2", "GetStreamUri") => {
            assert_eq!(
                (asked.text(&["Protocol"]), asked.text(&["ProfileToken"])),
                ("RTSP".to_owned(), "P0".to_owned())
            );
            Answer::body(
                "<tr2:GetStreamUriResponse><tr2:Uri>rtsp://admin:x@10.0.0.9:8554/live?c=1&amp;s=0</tr2:Uri></tr2:GetStreamUriResponse>",
            )
        }
        ("/onvif/media2", "GetSnapshotUri") => Answer::body(
            "<tr2:GetSnapshotUriResponse><tr2:Uri>http://10.0.0.9/snap.jpg?a=1&b=2</tr2:Uri></tr2:GetSnapshotUriResponse>",
        ),
        other => panic!("{other:?}"),
    });
    let script = script.await;
    let device = script.connect().await;
    let profiles = device.profiles().await.unwrap();
    assert_eq!(profiles.len(), 2);
    let main = &profiles[0];
    let video = main.video.as_ref().unwrap();
    assert_eq!((&video.codec, video.width, video.height), (&VideoCodec::H265, 3840, 2160));
    assert_eq!((video.frames_per_second, video.bitrate_kbps), (Some(25.0), Some(8192)));
    assert_eq!(
        (main.source.as_deref(), main.audio.as_deref(), main.metadata),
        (Some("VS0"), Some("PCMU"), true)
    );
    assert_eq!((profiles[1].video.as_ref(), profiles[1].metadata), (None, false));
    let stream = device.stream_uri(main, StreamTransport::Tcp).await.unwrap();
    assert_eq!(stream.as_str(), "rtsp://127.0.0.1:8554/live?c=1&s=0");
    let snapshot = device.snapshot_uri(main).await.unwrap();
    assert_eq!(snapshot.as_str(), format!("http://127.0.0.1:{}/snap.jpg?a=1&b=2", port(&script)));
}

/// Firmware that announces Media 2 and answers it with a fault is common among early Profile T cameras.
#[tokio::test]
async fn media_is_asked_where_media_2_does_not_work() {
    let script = Script::device(|asked| match (asked.path.as_str(), asked.call.as_str()) {
        ("/onvif/media2", _) => Answer::fault(&["ActionNotSupported"], "later"),
        (_, "GetProfiles") => Answer::body(
            "<trt:GetProfilesResponse><trt:Profiles token=\"MainStream\"><tt:Name>m</tt:Name><tt:VideoSourceConfiguration token=\"a\">\
             <tt:SourceToken>VS</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration token=\"b\">\
             <tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution>\
             <tt:RateControl><tt:FrameRateLimit>0</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>\
             <trt:Profiles><tt:Name>no token</tt:Name></trt:Profiles></trt:GetProfilesResponse>",
        ),
        (_, "GetStreamUri") => {
            assert_eq!(asked.text(&["StreamSetup", "Transport", "Protocol"]), "UDP");
            Answer::body(
                "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://10.0.0.9/live</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>",
            )
        }
        other => panic!("{other:?}"),
    });
    let script = script.await;
    let device = script.connect().await;
    let profiles = device.profiles().await.unwrap();
    assert_eq!(profiles.len(), 1);
    let video = profiles[0].video.as_ref().unwrap();
    assert_eq!(
        (&video.codec, video.pixels(), video.frames_per_second),
        (&VideoCodec::H264, 1920 * 1080, None)
    );
    let stream = device.stream_uri(&profiles[0], StreamTransport::Udp).await.unwrap();
    assert_eq!(stream.as_str(), "rtsp://127.0.0.1/live");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_device() {
    let script = Script::device(|_| Answer::fault(&["InvalidArgVal", "NoRecording"], "no such recording"));
    let error = script.await.connect().await.replay_uri("r").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GetReplayUri was refused: no such recording (Sender/InvalidArgVal/NoRecording)"
    );
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let script = Script::device(|_| information()).await;
    let options = script.options();
    drop(script);
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut options = options;
    options.address.set_port(Some(unused.port())).unwrap();
    let error = Device::connect(options).await.err().unwrap();
    assert!(matches!(error, ClientError::Unreachable { port, .. } if port == unused.port()), "{error}");
}
