//! An ONVIF device in this process is asked for its streams, and listened to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keepwatch_media::auth::Credentials;
use keepwatch_model::{GapReason, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_onvif::device::backend::{
    Access, Identity, Profile, Refusal, Topic, Transport, User, UserLevel, Video, VideoCodec,
};
use keepwatch_onvif::device::{Backend, DeviceServer};
use keepwatch_onvif::notification::{Notification, Operation};
use tokio::sync::broadcast;

use super::bench::{Bench, PATIENCE};
use super::listen::{Listener, Listening};
use super::locate::Login;
use super::{locate, notice};
use crate::clock::Clock;
use crate::config::{CameraConfig, CameraSource, Secret};

/// A device, by default with four profiles of two scenes, and a detector of motion.
struct Fake {
    profiles: Vec<Profile>,
    asked: AtomicU32,
    /// Requests that came with a login.
    logins: AtomicU32,
    moved: AtomicBool,
    clock_offset_ticks: i64,
    moves: broadcast::Sender<Notification>,
}

impl Fake {
    fn new(clock_offset_ticks: i64) -> Arc<Self> {
        let profiles = vec![
            profile("small", "eye1", VideoCodec::H264, 320),
            profile("other", "eye2", VideoCodec::H264, 160),
            profile("middle", "eye1", VideoCodec::Jpeg, 640),
            profile("large", "eye1", VideoCodec::H265, 1_920),
        ];
        Self::with(profiles, clock_offset_ticks)
    }

    fn with(profiles: Vec<Profile>, clock_offset_ticks: i64) -> Arc<Self> {
        Arc::new(Self {
            profiles,
            asked: AtomicU32::new(0),
            logins: AtomicU32::new(0),
            moved: AtomicBool::new(false),
            clock_offset_ticks,
            moves: broadcast::channel(64).0,
        })
    }
}

fn profile(token: &str, source: &str, codec: VideoCodec, width: u32) -> Profile {
    let height = width / 16 * 9;
    let video =
        Video { codec, width, height, frames_per_second: 25.0, bitrate_kbps: 1_000, group_length: 25 };
    Profile {
        token: token.to_owned(),
        name: token.to_owned(),
        source: source.to_owned(),
        video: Some(video),
        audio: None,
        metadata: false,
    }
}

fn motion(state: &str, operation: Operation) -> Notification {
    Notification {
        topic: "RuleEngine/CellMotionDetector/Motion".to_owned(),
        time: Clock::new().wall(),
        source: vec![("VideoSourceConfigurationToken".to_owned(), "1".to_owned())],
        data: vec![("IsMotion".to_owned(), state.to_owned())],
        operation: Some(operation),
    }
}

impl Backend for Fake {
    fn identity(&self) -> Identity {
        Identity {
            manufacturer: "M".to_owned(),
            model: "1".to_owned(),
            firmware: "1".to_owned(),
            serial: "1".to_owned(),
            hardware: "1".to_owned(),
            name: "gate".to_owned(),
            location: String::new(),
            endpoint: "5c8e2a5e-0000-4000-8000-000000000001".to_owned(),
            hostname: "gate".to_owned(),
        }
    }

    fn now(&self) -> WallTime {
        Clock::new().wall().plus(self.clock_offset_ticks)
    }

    fn access(&self) -> Access {
        self.logins.fetch_add(1, Ordering::Relaxed);
        let credentials = Credentials { user: "u".to_owned(), password: "right".to_owned() };
        Access::Users(vec![User { credentials, level: UserLevel::Administrator }])
    }

    fn profiles(&self) -> Vec<Profile> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.profiles.clone()
    }

    fn stream_uri(&self, profile: &str, _transport: Transport, host: &str) -> Result<String, Refusal> {
        let moved = if self.moved.load(Ordering::Relaxed) { "moved-" } else { "" };
        Ok(format!("rtsp://{host}:554/{moved}{profile}"))
    }

    fn notifications(&self) -> Option<broadcast::Receiver<Notification>> {
        Some(self.moves.subscribe())
    }

    fn properties(&self) -> Vec<Notification> {
        vec![motion("false", Operation::Initialized)]
    }

    fn topics(&self) -> Vec<Topic> {
        vec![Topic {
            path: "RuleEngine/CellMotionDetector/Motion".to_owned(),
            property: true,
            source: vec![("VideoSourceConfigurationToken".to_owned(), "tt:ReferenceToken".to_owned())],
            data: vec![("IsMotion".to_owned(), "xs:boolean".to_owned())],
        }]
    }
}

async fn serve(fake: &Arc<Fake>) -> DeviceServer {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    DeviceServer::bind(address, Arc::<Fake>::clone(fake) as Arc<dyn Backend>).await.unwrap()
}

fn config(server: &DeviceServer, password: &str) -> CameraConfig {
    let url = format!("http://{}", server.address()).parse().unwrap();
    let mut config = CameraConfig::new("gate".parse().unwrap(), "rtsp://h/".parse().unwrap());
    config.source = CameraSource::Onvif { url, sub: true, events: true };
    config.user = Some("u".to_owned());
    config.password = Some(Secret::new(password));
    config
}

#[tokio::test]
async fn the_largest_picture_is_the_main_stream_and_the_smallest_of_its_scene_the_sub_stream() {
    let fake = Fake::new(0);
    let server = serve(&fake).await;
    let config = config(&server, "right");
    let locator = locate::Locator::default();
    let main = locator.find(&config, StreamId::MAIN).await.unwrap();
    let sub = locator.find(&config, StreamId::SUB).await.unwrap();
    assert_eq!((main.url.path(), sub.url.path()), ("/large", "/small"));
    assert!(main.clock_offset_ticks.unwrap().abs() < 2 * TICKS_PER_SECOND);
    let asked = fake.asked.load(Ordering::Relaxed);
    locator.trust(StreamId::MAIN);
    locator.find(&config, StreamId::MAIN).await.unwrap();
    assert_eq!(fake.asked.load(Ordering::Relaxed), asked, "what is known is not asked again");

    // Nothing was recorded from there: it may hang, or be silent, and the camera has another by now.
    fake.moved.store(true, Ordering::Relaxed);
    assert_eq!(locator.find(&config, StreamId::MAIN).await.unwrap().url.path(), "/moved-large");
    let asked = fake.asked.load(Ordering::Relaxed);
    assert_eq!(locator.find(&config, StreamId::SUB).await.unwrap().url.path(), "/moved-small");
    assert_eq!(fake.asked.load(Ordering::Relaxed), asked, "told a moment ago");

    // The ONVIF side dies; the stream is dialled where it was.
    server.shutdown().await;
    assert_eq!(locator.find(&config, StreamId::MAIN).await.unwrap().url.path(), "/moved-large");
    let fresh = locate::Locator::default();
    let (reason, detail) = fresh.find(&config, StreamId::MAIN).await.err().unwrap();
    assert_eq!(reason, GapReason::ConnectionLost, "{detail}");
}

/// The paths of the main and of the sub stream of a camera that offers these profiles of one scene.
async fn paths(offered: &[(&str, VideoCodec, u32)]) -> [Option<String>; 2] {
    let profiles = offered.iter().map(|(token, codec, width)| profile(token, "eye", *codec, *width));
    let server = serve(&Fake::with(profiles.collect(), 0)).await;
    let config = config(&server, "right");
    let locator = locate::Locator::default();
    let mut paths = [None, None];
    for (path, stream) in paths.iter_mut().zip([StreamId::MAIN, StreamId::SUB]) {
        *path = locator.find(&config, stream).await.ok().map(|found| found.url.path().to_owned());
    }
    server.shutdown().await;
    paths
}

/// JPEG takes many times the space, and cameras offer it in their full resolution.
#[tokio::test]
async fn jpeg_is_recorded_only_where_there_is_nothing_else() {
    use VideoCodec::{H264, Jpeg};
    let main_and = |sub: Option<&str>| [Some("/main".to_owned()), sub.map(str::to_owned)];
    let found = paths(&[("jpeg", Jpeg, 3_840), ("main", H264, 1_920), ("low", H264, 640)]).await;
    assert_eq!(found, main_and(Some("/low")), "a larger JPEG");
    let found = paths(&[("jpeg", Jpeg, 160), ("main", H264, 1_920), ("low", H264, 640)]).await;
    assert_eq!(found, main_and(Some("/low")), "a smaller JPEG");
    let found = paths(&[("jpeg", Jpeg, 320), ("main", H264, 1_920), ("same", H264, 1_920)]).await;
    assert_eq!(found, main_and(Some("/jpeg")), "nothing else that is smaller");
    let found = paths(&[("unknown", H264, 0), ("low", H264, 640), ("main", H264, 1_920)]).await;
    assert_eq!(found, main_and(Some("/low")), "a size that is not told");
    let found = paths(&[("main", H264, 1_920), ("same", H264, 1_920), ("larger", Jpeg, 3_840)]).await;
    assert_eq!(found, main_and(None), "nothing smaller");
}

/// Many cameras lock an account after five failures: two streams and the listener together fail once in a minute.
#[tokio::test]
async fn a_refused_login_is_told_as_one_and_not_tried_again_at_once() {
    let fake = Fake::new(0);
    let server = serve(&fake).await;
    let wrong = config(&server, "wrong");
    let locator = locate::Locator::default();
    let (reason, detail) = locator.find(&wrong, StreamId::MAIN).await.err().unwrap();
    assert_eq!(reason, GapReason::LoginRefused, "{detail}");
    assert!(!detail.contains("wrong"), "{detail}");
    let logins = fake.logins.load(Ordering::Relaxed);
    assert!(logins > 0);
    assert_eq!(locator.find(&wrong, StreamId::SUB).await.err().unwrap(), (reason, detail.clone()));
    assert_eq!(locator.find(&wrong, StreamId::MAIN).await.err().unwrap(), (reason, detail.clone()));
    assert_eq!(locator.login(&wrong).await, Login::Refused(detail));
    assert_eq!(fake.logins.load(Ordering::Relaxed), logins);
    // Another password is tried at once.
    assert_eq!(locator.login(&config(&server, "right")).await, Login::Taken);
    let logins = fake.logins.load(Ordering::Relaxed);
    assert_eq!(locator.login(&config(&server, "right")).await, Login::Taken);
    assert_eq!(fake.logins.load(Ordering::Relaxed), logins, "it has answered");
}

/// The listener does not try a login that the streams were refused with.
#[tokio::test]
async fn a_listener_waits_for_a_login_that_is_taken() {
    let fake = Fake::new(0);
    let server = serve(&fake).await;
    let bench = Bench::new(config(&server, "wrong"));
    bench.camera.locator().find(&bench.camera.config(), StreamId::MAIN).await.err().unwrap();
    let logins = fake.logins.load(Ordering::Relaxed);
    let listener = Listener::start(bench.context.clone(), Arc::clone(&bench.camera));
    bench.wait_until(|| matches!(bench.camera.listening(), Some(Listening::Waiting(_)))).await;
    assert_eq!(fake.logins.load(Ordering::Relaxed), logins);
    listener.stop().await;
}

/// What a camera notices is told once for each change, whether it comes by the pull point, in its metadata, or by both.
#[tokio::test]
async fn what_a_camera_notices_is_told_once_by_whichever_way_it_comes() {
    let fake = Fake::new(3_600 * TICKS_PER_SECOND);
    let server = serve(&fake).await;
    let bench = Bench::new(config(&server, "right"));
    let listener = Listener::start(bench.context.clone(), Arc::clone(&bench.camera));
    bench.wait_for(&["camera_clock_off"]).await;
    bench.wait_until(|| bench.camera.listening() == Some(Listening::Heard)).await;
    let document = |state: &str| {
        let time = bench.context.clock.wall();
        format!(
            r#"<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"
            xmlns:tns1="http://www.onvif.org/ver10/topics"><tt:Event><wsnt:NotificationMessage>
            <wsnt:Topic>tns1:RuleEngine/CellMotionDetector/Motion</wsnt:Topic><wsnt:Message>
            <tt:Message UtcTime="{time}" PropertyOperation="Changed">
            <tt:Source><tt:SimpleItem Name="VideoSourceConfigurationToken" Value="1"/></tt:Source>
            <tt:Data><tt:SimpleItem Name="IsMotion" Value="{state}"/></tt:Data></tt:Message>
            </wsnt:Message></wsnt:NotificationMessage></tt:Event></tt:MetadataStream>"#
        )
    };
    fake.moves.send(motion("true", Operation::Changed)).unwrap();
    bench.wait_for(&["camera_clock_off", "camera_motion_started"]).await;
    notice::hear_document(&bench.context, bench.camera.main(), document("true").as_bytes(), true);
    notice::hear_document(&bench.context, bench.camera.main(), b"<NotificationMessage", true);
    notice::hear_document(&bench.context, bench.camera.main(), document("false").as_bytes(), true);
    fake.moves.send(motion("false", Operation::Changed)).unwrap();
    fake.moves.send(motion("true", Operation::Changed)).unwrap();
    bench
        .wait_for(&[
            "camera_clock_off",
            "camera_motion_started",
            "camera_motion_ended",
            "camera_motion_started",
        ])
        .await;
    tokio::time::timeout(PATIENCE, listener.stop()).await.unwrap();
}

#[tokio::test]
async fn a_camera_that_cannot_be_asked_is_shown_and_asked_again() {
    let fake = Fake::new(0);
    let server = serve(&fake).await;
    let config = config(&server, "right");
    server.shutdown().await;
    let bench = Bench::new(config);
    let listener = Listener::start(bench.context.clone(), Arc::clone(&bench.camera));
    bench.wait_until(|| matches!(bench.camera.listening(), Some(Listening::Waiting(_)))).await;
    tokio::time::timeout(PATIENCE, listener.stop()).await.unwrap();
    assert!(bench.codes().is_empty());
}
