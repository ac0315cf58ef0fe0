//! An ONVIF device in this process is asked for its streams, and listened to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use keepwatch_media::auth::Credentials;
use keepwatch_model::{GapReason, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_onvif::device::backend::{
    Access, Identity, Profile, Refusal, Topic, Transport, User, UserLevel, Video, VideoCodec,
};
use keepwatch_onvif::device::{Backend, DeviceServer};
use keepwatch_onvif::notification::{Notification, Operation};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{EventLog, EventQuery, Silent, Store, StoreConfig};
use tempfile::TempDir;
use tokio::sync::broadcast;

use super::context::Context;
use super::listen::{Listener, Listening};
use super::state::CameraState;
use super::{locate, notice};
use crate::clock::Clock;
use crate::config::{CameraConfig, CameraSource, Secret};
use crate::events::Events;

const PATIENCE: Duration = Duration::from_secs(20);

/// A device with three profiles of two scenes, and a detector of motion.
struct Fake {
    asked: AtomicU32,
    moved: AtomicBool,
    clock_offset_ticks: i64,
    moves: broadcast::Sender<Notification>,
}

impl Fake {
    fn new(clock_offset_ticks: i64) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicU32::new(0),
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
        let credentials = Credentials { user: "u".to_owned(), password: "right".to_owned() };
        Access::Users(vec![User { credentials, level: UserLevel::Administrator }])
    }

    fn profiles(&self) -> Vec<Profile> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        vec![
            profile("small", "eye1", VideoCodec::H264, 320),
            profile("other", "eye2", VideoCodec::H264, 160),
            profile("middle", "eye1", VideoCodec::Jpeg, 640),
            profile("large", "eye1", VideoCodec::H265, 1_920),
        ]
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
    locator.find(&config, StreamId::MAIN).await.unwrap();
    assert_eq!(fake.asked.load(Ordering::Relaxed), asked, "what is known is not asked again");

    fake.moved.store(true, Ordering::Relaxed);
    locator.doubt(StreamId::MAIN).await;
    assert_eq!(locator.find(&config, StreamId::MAIN).await.unwrap().url.path(), "/moved-large");

    // The ONVIF side dies; the stream is dialled where it was.
    server.shutdown().await;
    locator.doubt(StreamId::MAIN).await;
    assert_eq!(locator.find(&config, StreamId::MAIN).await.unwrap().url.path(), "/moved-large");
    let fresh = locate::Locator::default();
    let (reason, detail) = fresh.find(&config, StreamId::MAIN).await.err().unwrap();
    assert_eq!(reason, GapReason::ConnectionLost, "{detail}");
}

#[tokio::test]
async fn a_refused_login_is_told_as_one() {
    let fake = Fake::new(0);
    let server = serve(&fake).await;
    let (reason, detail) =
        locate::Locator::default().find(&config(&server, "wrong"), StreamId::MAIN).await.err().unwrap();
    assert_eq!(reason, GapReason::LoginRefused, "{detail}");
    assert!(!detail.contains("wrong"), "{detail}");
}

struct Bench {
    context: Context,
    camera: Arc<CameraState>,
    _directory: TempDir,
}

impl Bench {
    fn new(config: CameraConfig) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = keepwatch_store::DiskConfig::new(directory.path().join("disk"), Some(128 << 20));
        let (store, _) =
            Store::open(StoreConfig::new(directory.path(), vec![disk]), Arc::new(Silent)).unwrap();
        let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
        let clock = Clock::new();
        let camera = Arc::new(CameraState::new(config, Ledger::new(), clock.wall()));
        Self { context: Context { clock, store, events }, camera, _directory: directory }
    }

    /// The codes of all events, in order.
    fn codes(&self) -> Vec<&'static str> {
        let log = self.context.events.log();
        log.flush();
        let query = EventQuery {
            from: WallTime::MIN,
            to: WallTime::MAX,
            newest_first: false,
            after: None,
            limit: 1_000,
        };
        log.page(&query).unwrap().items.iter().map(|(_, event)| event.code.as_str()).collect()
    }

    async fn wait_for(&self, codes: &[&str]) {
        let came = async {
            while self.codes() != codes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, came).await;
        assert!(waited.is_ok(), "{:?} instead of {codes:?}", self.codes());
    }
}

/// What a camera notices is told once for each change, whether it comes by the pull point, in its metadata, or by both.
#[tokio::test]
async fn what_a_camera_notices_is_told_once_by_whichever_way_it_comes() {
    let fake = Fake::new(3_600 * TICKS_PER_SECOND);
    let server = serve(&fake).await;
    let bench = Bench::new(config(&server, "right"));
    let listener = Listener::start(bench.context.clone(), Arc::clone(&bench.camera));
    bench.wait_for(&["camera_clock_off"]).await;
    let heard = async {
        while bench.camera.listening() != Some(Listening::Heard) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    let document = |state: &str| {
        format!(
            r#"<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"
            xmlns:tns1="http://www.onvif.org/ver10/topics"><tt:Event><wsnt:NotificationMessage>
            <wsnt:Topic>tns1:RuleEngine/CellMotionDetector/Motion</wsnt:Topic><wsnt:Message>
            <tt:Message UtcTime="2026-11-22T02:00:00Z" PropertyOperation="Changed">
            <tt:Source><tt:SimpleItem Name="VideoSourceConfigurationToken" Value="1"/></tt:Source>
            <tt:Data><tt:SimpleItem Name="IsMotion" Value="{state}"/></tt:Data></tt:Message>
            </wsnt:Message></wsnt:NotificationMessage></tt:Event></tt:MetadataStream>"#
        )
    };
    fake.moves.send(motion("true", Operation::Changed)).unwrap();
    bench.wait_for(&["camera_clock_off", "camera_motion_started"]).await;
    notice::enter_document(&bench.context, bench.camera.main(), document("true").as_bytes());
    notice::enter_document(&bench.context, bench.camera.main(), b"<NotificationMessage");
    notice::enter_document(&bench.context, bench.camera.main(), document("false").as_bytes());
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
    let told = async {
        while !matches!(bench.camera.listening(), Some(Listening::Waiting(_))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    tokio::time::timeout(PATIENCE, listener.stop()).await.unwrap();
    assert!(bench.codes().is_empty());
}
