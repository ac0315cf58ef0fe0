use super::*;
use proptest::prelude::*;
use url::Url;

fn headers(list: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in list {
        headers.push(name, value);
    }
    headers
}

#[test]
fn start_lines_are_read_leniently() {
    let response = |text: &str| match parse(text.as_bytes()) {
        Ok(Some(RtspMessage::Response(response))) => response,
        other => panic!("{text:?}: {other:?}"),
    };
    assert_eq!(response("RTSP/1.0 200 OK\r\nCSeq: 1 \r\n\r\n").cseq(), Some(1));
    assert_eq!(response("RTSP/1.0  454\n\n").status, 454);
    assert_eq!(response("rtsp/2.0 200 \r\n\r\n").reason, "");
    let Ok(Some(RtspMessage::Request(request))) = parse(b"describe rtsp://c/a b RTSP/1.0\r\n\r\n") else {
        panic!()
    };
    assert_eq!((request.method, request.uri.as_str()), (Method::Describe, "rtsp://c/a b"));
    for bad in [
        "RTSP/1.0\r\n\r\n",
        "RTSP/1.0 99 x\r\n\r\n",
        "RTSP/1.0 OK 200\r\n\r\n",
        "PLAY\r\n\r\n",
        "PLAY x\r\n\r\n",
    ] {
        assert!(matches!(parse(bad.as_bytes()), Err(ParseError::Rtsp(RtspError::Start(_)))), "{bad:?}");
    }
}

#[test]
fn messages_survive_writing() {
    let request =
        Request::new(Method::Setup, "rtsp://c/1", 3).header("Transport", Transport::tcp(0).to_text());
    let response = Response::new(401, Some(3)).with_body("text/plain", "no");
    for message in [RtspMessage::Request(request), RtspMessage::Response(response)] {
        let mut bytes = Vec::new();
        match &message {
            RtspMessage::Request(request) => request.write(&mut bytes),
            RtspMessage::Response(response) => response.write(&mut bytes),
        }
        let Some(mut read) = parse(&bytes).unwrap() else { panic!() };
        if let RtspMessage::Response(read) = &mut read {
            assert_eq!(read.headers.first("content-length"), Some("2"));
            read.headers = headers(&[("CSeq", "3"), ("Content-Type", "text/plain")]);
        }
        assert_eq!(read, message);
    }
}

#[test]
fn a_transport_header_is_read_with_its_quirks() {
    let read = |text: &str| Transport::parse(text).unwrap();
    assert_eq!(read("RTP/AVP/TCP;unicast;interleaved=0-1"), Transport::tcp(0));
    assert_eq!(read(" rtp/avp/tcp ; unicast ; interleaved = 4 ").interleaved, Some((4, 5)));
    assert_eq!(
        read("RTP/AVP;unicast;client_port=5000-5001;server_port=6970").server_port,
        Some((6970, 6971))
    );
    assert!(read("RTP/AVP/UDP;multicast").multicast);
    // Hikvision; Rubetek; a camera whose packets carry another one.
    for (text, ssrc) in [
        ("ssrc= d6d6627", Some(0xd6d_6627)),
        ("ssrc=0x6f7c", None),
        ("ssrc=A046", None),
        ("ssrc=\"1234ABCD\"", Some(0x1234_abcd)),
        ("ssrc=", None),
        ("ssrc=123456789", None),
    ] {
        assert_eq!(read(&format!("RTP/AVP/TCP;unicast;{text};mode=\"PLAY\"")).ssrc, ssrc, "{text}");
    }
    for bad in ["", "RAW/RAW/UDP", "RTP/SAVP", "RTP/AVP/TCP;interleaved=a-b", "RTP/AVP/TCP;interleaved=255"] {
        assert!(Transport::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Transport::parse_all("RAW/RAW;unicast,RTP/AVP/TCP;interleaved=2-3").len(), 1);
    let full = Transport {
        lower: LowerTransport::Udp,
        multicast: true,
        interleaved: None,
        client_port: Some((1, 2)),
        server_port: Some((3, 4)),
        ssrc: Some(5),
        source: Some("10.0.0.7".parse().unwrap()),
    };
    assert_eq!(read(&full.to_text()), full);
}

#[test]
fn a_session_header_is_read_with_its_quirks() {
    let read = |text: &str| Session::parse(text).map(|session| (session.id, session.timeout_s));
    assert_eq!(read("12345678;timeout=60"), Ok(("12345678".to_owned(), Some(60))));
    assert_eq!(read(" a-b ; Timeout = 30 ;x"), Ok(("a-b".to_owned(), Some(30))));
    assert_eq!(read("a;timeout=0"), Ok(("a".to_owned(), None)));
    assert_eq!(read("a;timeout=soon"), Ok(("a".to_owned(), None)));
    assert_eq!(read(";timeout=60"), Err(RtspError::Missing("Session")));
}

#[test]
fn rtp_info_is_read_with_its_quirks() {
    let info = |url: &str, sequence, timestamp| RtpInfo { url: url.to_owned(), sequence, timestamp };
    let text = "url=rtsp://c/a,b/trackID=1;seq=5;rtptime=6, url=trackID=2;seq=70000;rtptime=7;";
    assert_eq!(
        parse_rtp_info(text),
        [info("rtsp://c/a,b/trackID=1", Some(5), Some(6)), info("trackID=2", None, Some(7))]
    );
    assert_eq!(parse_rtp_info(""), []);
    assert_eq!(parse_rtp_info("seq=1"), [info("", Some(1), None)]);
    let list = [info("rtsp://c/1", Some(1), None), info("2", None, Some(2))];
    assert_eq!(parse_rtp_info(&write_rtp_info(&list)), list);
}

#[test]
fn methods_are_found_in_any_list() {
    let methods = parse_public("OPTIONS, describe,GET_PARAMETER  X-FOO,,");
    assert_eq!(
        methods,
        [Method::Options, Method::Describe, Method::GetParameter, Method::Other("X-FOO".to_owned())]
    );
}

#[test]
fn the_base_is_found_as_cameras_mean_it() {
    let request = Url::parse("rtsp://admin:secret@10.0.0.1:8554/live?c=1").unwrap();
    let base = |list: &[(&str, &str)]| content_base(&headers(list), &request).to_string();
    assert_eq!(base(&[]), "rtsp://10.0.0.1:8554/live?c=1");
    assert_eq!(base(&[("Content-Base", "rtsp://10.0.0.2/live/")]), "rtsp://10.0.0.2/live/");
    assert_eq!(base(&[("Content-Location", "rtsp://u:p@h/x")]), "rtsp://h/x");
    assert_eq!(base(&[("Content-Base", ""), ("Content-Location", "/live/")]), "rtsp://10.0.0.1:8554/live/");
    // Anjvision.
    assert_eq!(base(&[("Content-Base", "10.0.0.1:554/live/")]), "rtsp://10.0.0.1:554/live/");
    assert_eq!(base(&[("Content-Base", "camera:554/live/")]), "rtsp://camera:554/live/");
    assert_eq!(base(&[("Content-Base", "http://["), ("Content-Location", "rtsp://h/y")]), "rtsp://h/y");
}

#[test]
fn a_control_address_is_appended_as_live555_does() {
    let resolve =
        |base: &str, control| resolve_control(&Url::parse(base).unwrap(), control).map(|url| url.to_string());
    for (base, control, expected) in [
        ("rtsp://h/live", "*", "rtsp://h/live"),
        ("rtsp://h/live", "", "rtsp://h/live"),
        ("rtsp://h/live", "trackID=1", "rtsp://h/live/trackID=1"),
        ("rtsp://h/live/", "trackID=1", "rtsp://h/live/trackID=1"),
        ("rtsp://h/live/", "/trackID=1", "rtsp://h/live/trackID=1"),
        ("rtsp://h/live?c=1&s=0", "trackID=1", "rtsp://h/live?c=1&s=0/trackID=1"),
        ("rtsp://h/live", "rtsp://u:p@10.0.0.9/live/track1", "rtsp://10.0.0.9/live/track1"),
        ("rtsp://[::1]:554/a", "b", "rtsp://[::1]:554/a/b"),
        ("rtsp://h/live", "stream:1", "rtsp://h/live/stream:1"),
    ] {
        assert_eq!(resolve(base, control).as_deref(), Ok(expected), "{base} {control}");
    }
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(format!("RTSP/1.0 {text}\r\n\r\n").as_bytes());
        let _ = Transport::parse_all(&text);
        let _ = Transport::parse(&format!("RTP/AVP/TCP;interleaved={text};ssrc={text}"));
        let _ = Session::parse(&text);
        let _ = parse_rtp_info(&format!("url={text};seq={text},{text}"));
        let _ = parse_public(&text);
        let base = Url::parse("rtsp://h/x").unwrap();
        let _ = resolve_control(&base, &text);
        let _ = content_base(&headers(&[("Content-Base", &text)]), &base);
    }
}
