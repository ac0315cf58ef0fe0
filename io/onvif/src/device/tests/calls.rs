//! Calls that answer at once.

use std::sync::atomic::Ordering;

use keepwatch_media::auth::{Challenge, Credentials};

use super::fake::{Card, Fake, HOUR, Proof, Site, admin, at, viewer};
use crate::device::*;

fn texts<'a>(element: &'a crate::xml::Element, name: &'a str) -> Vec<&'a str> {
    element.children(name).map(|child| child.text.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_told_without_a_login_also_when_it_is_wrong() {
    let site = Site::new(Fake::new());
    site.fake.clock_off.store(-HOUR, Ordering::Relaxed);
    let path = "/onvif/device_service";
    let (status, answer) = site.post(path, "<tds:GetSystemDateAndTime/>", &Proof::None).await;
    assert_eq!(status, 200);
    let time = answer.at(&["SystemDateAndTime", "UTCDateTime"]).unwrap();
    let number = |path: &[&str]| time.text_at(path).unwrap().parse::<i32>().unwrap();
    // 22:00 and three hours, less one.
    let date = [number(&["Date", "Year"]), number(&["Date", "Month"]), number(&["Date", "Day"])];
    let clock = [number(&["Time", "Hour"]), number(&["Time", "Minute"]), number(&["Time", "Second"])];
    assert_eq!((date, clock), ([2026, 11, 22], [0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_login_is_told_to_both_kinds_and_to_nobody_else() {
    let site = Site::new(Fake::new());
    let (path, ask) = ("/onvif/device_service", "<tds:GetDeviceInformation/>");
    for proof in [Proof::Token(viewer()), Proof::Digest(viewer()), Proof::Digest(admin())] {
        let (status, answer) = site.post(path, ask, &proof).await;
        assert_eq!(status, 200, "{proof:?}");
        assert_eq!(answer.text_at(&["Model"]), Some("Lab 1"));
    }
    let wrong = Credentials { password: "wrong".to_owned(), ..viewer() };
    for proof in [Proof::None, Proof::Token(wrong.clone()), Proof::Digest(wrong)] {
        assert_eq!(site.refused_at(path, ask, &proof).await, (401, "NotAuthorized".to_owned()), "{proof:?}");
    }
    // A clock that is off by an hour refuses tokens made by the right one; the digest still lets in.
    let token = Proof::Token(viewer());
    let users = "<tds:GetUsers/>";
    assert_eq!(site.refused_at(path, users, &token).await, (401, "NotAuthorized".to_owned()));
    assert_eq!(site.post(path, users, &Proof::Token(admin())).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_finds_every_service_under_the_address_that_it_used() {
    let site = Site::new(Fake::new());
    let ask = "<tds:GetServices><tds:IncludeCapability>true</tds:IncludeCapability></tds:GetServices>";
    let services = site.call(ask).await;
    let found: Vec<(&str, &str)> = services
        .children("Service")
        .map(|service| (service.text_at(&["Namespace"]).unwrap(), service.text_at(&["XAddr"]).unwrap()))
        .collect();
    assert_eq!(found.len(), 7);
    for (namespace, address) in found {
        assert!(address.starts_with("http://camera.example:8080/onvif/"), "{address}");
        let path = address.strip_prefix("http://camera.example:8080").unwrap();
        let ask = format!("<x:GetServiceCapabilities xmlns:x='{namespace}'/>");
        let answer = site.call_at(path, &ask).await;
        assert!(answer.child("Capabilities").is_some(), "{namespace}");
        assert_eq!(answer.namespace.as_deref(), Some(namespace));
    }
    let capabilities = site.call("<tds:GetCapabilities/>").await;
    for path in
        [&["Device"][..], &["Events"], &["Media"], &["Extension", "Recording"], &["Extension", "Search"]]
    {
        let at = [&["Capabilities"], path, &["XAddr"]].concat();
        assert!(
            capabilities.text_at(&at).unwrap().starts_with("http://camera.example:8080/onvif/"),
            "{path:?}"
        );
    }
    let ptz = "<tds:GetCapabilities><tds:Category>PTZ</tds:Category></tds:GetCapabilities>";
    assert_eq!(site.refused(ptz).await, (400, "NoSuchService".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn scopes_name_the_profiles_and_escape_what_people_wrote() {
    let site = Site::new(Fake::new());
    let answer = site.call("<tds:GetScopes/>").await;
    let scopes: Vec<&str> =
        answer.children("Scopes").filter_map(|scope| scope.text_at(&["ScopeItem"])).collect();
    assert!(scopes.contains(&"onvif://www.onvif.org/Profile/G"));
    assert!(scopes.contains(&"onvif://www.onvif.org/name/Front%20door"));
    assert!(scopes.contains(&"onvif://www.onvif.org/location/Entrance%20%26%20hall"));
    assert_eq!(management::percent_decoded("Entrance%20%26%20hall").as_deref(), Some("Entrance & hall"));
    assert_eq!(management::percent_decoded("a%zz"), None);
    assert_eq!(management::percent_decoded("a%"), None);
}

#[tokio::test(start_paused = true)]
async fn profiles_and_their_streams_are_found_by_both_media_services() {
    let site = Site::new(Fake::new());
    let first = site.call("<trt:GetProfiles/>").await;
    let tokens: Vec<&str> =
        first.children("Profiles").filter_map(|profile| profile.attribute("token")).collect();
    assert_eq!(tokens, ["main", "sub", "third"]);
    let encoders: Vec<Option<&str>> = first
        .children("Profiles")
        .map(|profile| profile.text_at(&["VideoEncoderConfiguration", "Encoding"]))
        .collect();
    // Version 1 has no word for H.265.
    assert_eq!(encoders, [Some("H264"), Some("JPEG"), None]);
    let all = "<tr2:GetProfiles><tr2:Type>All</tr2:Type></tr2:GetProfiles>";
    let second = site.call(all).await;
    let encoders: Vec<Option<&str>> = second
        .children("Profiles")
        .map(|profile| profile.text_at(&["Configurations", "VideoEncoder", "Encoding"]))
        .collect();
    assert_eq!(encoders, [Some("H264"), Some("JPEG"), Some("H265")]);
    let bare = site.call("<tr2:GetProfiles><tr2:Token>sub</tr2:Token></tr2:GetProfiles>").await;
    assert_eq!(bare.children.len(), 1);
    assert!(bare.at(&["Profiles", "Configurations"]).is_none());

    let setup = |protocol: &str, token: &str| {
        format!(
            "<trt:GetStreamUri><trt:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport>\
             <tt:Protocol>{protocol}</tt:Protocol></tt:Transport></trt:StreamSetup>\
             <trt:ProfileToken>{token}</trt:ProfileToken></trt:GetStreamUri>"
        )
    };
    let uri = site.call(&setup("RTSP", "sub")).await;
    assert_eq!(uri.text_at(&["MediaUri", "Uri"]), Some("rtsp://camera.example:554/sub"));
    assert_eq!(site.refused(&setup("HTTP", "sub")).await, (400, "InvalidStreamSetup".to_owned()));
    assert_eq!(site.refused(&setup("FAX", "sub")).await, (400, "InvalidStreamSetup".to_owned()));
    assert_eq!(site.refused(&setup("RTSP", "none")).await, (400, "NoProfile".to_owned()));
    let second = "<tr2:GetStreamUri><tr2:Protocol>RtspUnicast</tr2:Protocol>\
                  <tr2:ProfileToken>third</tr2:ProfileToken></tr2:GetStreamUri>";
    assert_eq!(site.call(second).await.text_at(&["Uri"]), Some("rtsp://camera.example:554/third"));
    for ask in ["GetVideoSources", "GetVideoSourceConfigurations"] {
        let answer = site.call(&format!("<trt:{ask}/>")).await;
        assert_eq!(answer.children.len(), 1, "one eye, shown by three profiles: {ask}");
        assert!(answer.children[0].attribute("token") == Some("eye"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_picture_is_served_at_the_address_that_is_told_and_only_with_a_login() {
    let site = Site::new(Fake::new());
    let ask = "<trt:GetSnapshotUri><trt:ProfileToken>sub</trt:ProfileToken></trt:GetSnapshotUri>";
    let answer = site.call(ask).await;
    let uri = answer.text_at(&["MediaUri", "Uri"]).unwrap();
    let path = uri.strip_prefix("http://camera.example:8080").unwrap();
    let get = |authorization: Option<String>| {
        let request = Request::get(path);
        let request = authorization
            .into_iter()
            .fold(request, |request, answer| request.header("Authorization", answer));
        request.body(Bytes::new()).unwrap()
    };
    let refused = site.send(get(None)).await;
    assert_eq!(refused.status(), 401);
    let headers = refused.headers().get_all("www-authenticate").iter();
    let challenge = Challenge::strongest(headers.map(|header| header.to_str().unwrap())).unwrap();
    let answer = challenge.answer(&viewer(), "GET", path, "client", 1);
    let picture = site.send(get(Some(answer))).await;
    assert_eq!(
        (picture.status().as_u16(), &picture.headers()["content-type"]),
        (200, &"image/jpeg".parse().unwrap())
    );
    assert!(picture.body().starts_with(b"\xFF\xD8"));
}

#[tokio::test(start_paused = true)]
async fn recordings_are_listed_with_tracks_and_times() {
    let site = Site::new(Fake::new());
    let recordings = site.call("<trc:GetRecordings/>").await;
    assert_eq!(recordings.children.len(), 2);
    let first = &recordings.children[0];
    assert_eq!(first.text_at(&["RecordingToken"]), Some("rec0000"));
    assert_eq!(first.child("Tracks").unwrap().children.len(), 3);
    let summary = site.call("<tse:GetRecordingSummary/>").await;
    assert_eq!(summary.text_at(&["Summary", "DataFrom"]), Some(at(0).to_string().as_str()));
    assert_eq!(summary.text_at(&["Summary", "DataUntil"]), Some(at(3).plus(-HOUR / 2).to_string().as_str()));
    assert_eq!(summary.text_at(&["Summary", "NumberRecordings"]), Some("2"));
    let named = |service: &str, call: &str, token: &str| {
        format!(
            "<{service}:{call}><{service}:RecordingToken>{token}</{service}:RecordingToken></{service}:{call}>"
        )
    };
    for (service, call) in [
        ("tse", "GetRecordingInformation"),
        ("trc", "GetRecordingConfiguration"),
        ("trc", "GetRecordingOptions"),
    ] {
        assert_eq!(site.call(&named(service, call, "rec0001")).await.children.len(), 1, "{call}");
        let refused = site.refused(&named(service, call, "none")).await;
        assert_eq!(refused, (400, "NoRecording".to_owned()), "{call}");
    }
    let attributes = format!(
        "<tse:GetMediaAttributes><tse:RecordingTokens>rec0001</tse:RecordingTokens><tse:Time>{}</tse:Time>\
         </tse:GetMediaAttributes>",
        at(1).plus(5)
    );
    let attributes = site.call(&attributes).await;
    let attributes = attributes.child("MediaAttributes").unwrap();
    assert_eq!(attributes.text_at(&["From"]), Some(at(1).to_string().as_str()));
    assert_eq!(attributes.text_at(&["Until"]), Some(at(1).plus(HOUR / 2).to_string().as_str()));
    assert_eq!(attributes.text_at(&["TrackAttributes", "VideoAttributes", "Width"]), Some("1280"));
}

#[tokio::test(start_paused = true)]
async fn replay_is_found_and_its_timeout_set_within_bounds_by_those_who_may() {
    let site = Site::new(Fake::new());
    let ask = |token: &str| {
        format!(
            "<trp:GetReplayUri><trp:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport><tt:Protocol>RTSP\
             </tt:Protocol></tt:Transport></trp:StreamSetup><trp:RecordingToken>{token}</trp:RecordingToken>\
             </trp:GetReplayUri>"
        )
    };
    let uri = site.call(&ask("rec0001")).await;
    assert_eq!(uri.text_at(&["Uri"]), Some("rtsp://camera.example:554/replay/rec0001"));
    assert_eq!(site.refused(&ask("none")).await, (400, "NoRecording".to_owned()));
    let set = |timeout: &str| {
        format!(
            "<trp:SetReplayConfiguration><trp:Configuration><tt:SessionTimeout>{timeout}</tt:SessionTimeout>\
             </trp:Configuration></trp:SetReplayConfiguration>"
        )
    };
    let (path, admin) = ("/onvif/replay_service", Proof::Token(admin()));
    assert_eq!(site.refused(&set("PT30S")).await, (401, "NotAuthorized".to_owned()));
    assert_eq!(site.refused_at(path, &set("PT5S"), &admin).await, (400, "ConfigModify".to_owned()));
    assert_eq!(site.refused_at(path, &set("PT30.5S"), &admin).await, (400, "ConfigModify".to_owned()));
    assert_eq!(site.post(path, &set("PT30S"), &admin).await.0, 200);
    let present = site.call("<trp:GetReplayConfiguration/>").await;
    assert_eq!(present.text_at(&["Configuration", "SessionTimeout"]), Some("PT30S"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_card_is_a_fault_and_an_empty_one_is_not() {
    let site = Site::new(Fake::new());
    *site.fake.card.lock().unwrap() = Card::Missing;
    for ask in ["<trc:GetRecordings/>", "<tse:GetRecordingSummary/>"] {
        assert_eq!(site.refused(ask).await, (500, "Action".to_owned()));
    }
    *site.fake.card.lock().unwrap() = Card::Slow(Duration::from_secs(3600));
    assert_eq!(site.refused("<trc:GetRecordings/>").await, (500, "Action".to_owned()));
    *site.fake.card.lock().unwrap() = Card::Empty;
    assert!(site.call("<trc:GetRecordings/>").await.children.is_empty());
    assert_eq!(
        site.call("<tse:GetRecordingSummary/>").await.text_at(&["Summary", "NumberRecordings"]),
        Some("0")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_refused_by_name() {
    let site = Site::new(Fake::new());
    for ask in [
        "<tds:Frobnicate/>",
        "<trt:Frobnicate/>",
        "<x:GetProfiles xmlns:x='http://example.org/x'/>",
        "<GetProfiles/>",
    ] {
        assert_eq!(site.refused(ask).await, (500, "ActionNotSupported".to_owned()), "{ask}");
    }
    assert_eq!(site.refused("<trt:GetProfile/>").await, (400, "InvalidArgs".to_owned()));
    let get = Request::get("/onvif/device_service").body(Bytes::new()).unwrap();
    assert_eq!(site.send(get).await.status(), 404);
    let elsewhere = Request::post("/index.html").body(Bytes::new()).unwrap();
    assert_eq!(site.send(elsewhere).await.status(), 404);
    for garbage in ["", "<", "<html/>", "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'/>"] {
        let request = Request::post("/onvif/device_service").body(Bytes::from(garbage)).unwrap();
        assert_eq!(site.send(request).await.status(), 400, "{garbage}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_are_told_as_a_tree() {
    let site = Site::new(Fake::new());
    let answer = site.call("<tev:GetEventProperties/>").await;
    let set = answer.child("TopicSet").unwrap();
    for path in [
        &["VideoSource", "MotionAlarm"][..],
        &["RecordingHistory", "Track", "State"],
        &["RecordingHistory", "Recording", "State"],
    ] {
        let topic = set.at(path).unwrap();
        assert_eq!(topic.attribute("topic"), Some("true"), "{path:?}");
        assert!(topic.at(&["MessageDescription", "Data", "SimpleItemDescription"]).is_some());
    }
    assert_eq!(texts(&answer, "TopicExpressionDialect").len(), 2);
}
