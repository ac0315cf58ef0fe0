//! A device in memory, and a client that knows as much SOAP as a test needs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keepwatch_media::auth::{Challenge, Credentials};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use tokio::sync::broadcast;

use crate::device::backend::*;
use crate::device::*;
use crate::namespace;
use crate::notification::{Notification, Operation};
use crate::security::UsernameToken;
use crate::soap;
use crate::xml::Element;

pub(super) const HOUR: i64 = 3600 * TICKS_PER_SECOND;

/// The beginning of all footage.
pub(super) const EPOCH: &str = "2026-11-21T22:00:00.000000Z";

pub(super) fn at(hours: i64) -> WallTime {
    EPOCH.parse::<WallTime>().unwrap().plus(hours * HOUR)
}

pub(super) fn viewer() -> Credentials {
    Credentials { user: "viewer".to_owned(), password: "correct horse".to_owned() }
}

pub(super) fn admin() -> Credentials {
    Credentials { user: "admin".to_owned(), password: "battery staple".to_owned() }
}

/// What happens when the card is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Card {
    Good,
    Missing,
    Slow(Duration),
    Empty,
}

/// A camera with two streams and a card on which each recording has data in every first half of an hour.
pub(crate) struct Fake {
    pub(super) card: Mutex<Card>,
    pub(super) recordings: usize,
    pub(super) hours: i64,
    /// Ticks that its clock is ahead.
    pub(super) clock_off: AtomicI64,
    pub(super) replay_timeout: Mutex<u32>,
    pub(crate) name: Mutex<String>,
    pub(super) events: broadcast::Sender<Notification>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            card: Mutex::new(Card::Good),
            recordings: 2,
            hours: 3,
            clock_off: AtomicI64::new(0),
            replay_timeout: Mutex::new(60),
            name: Mutex::new("Front door".to_owned()),
            events: broadcast::Sender::new(4),
        }
    }

    async fn read_card(card: Card) -> Result<(), Refusal> {
        match card {
            Card::Good | Card::Empty => Ok(()),
            Card::Missing => Err(Refusal::Failed("there is no card".to_owned())),
            Card::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
        }
    }
}

pub(super) fn motion(active: bool, operation: Operation) -> Notification {
    Notification {
        topic: "VideoSource/MotionAlarm".to_owned(),
        time: at(0),
        source: vec![("Source".to_owned(), "eye".to_owned())],
        data: vec![("State".to_owned(), active.to_string())],
        operation: Some(operation),
    }
}

pub(super) const VIDEO: Video = Video {
    codec: VideoCodec::H264,
    width: 1280,
    height: 720,
    frames_per_second: 25.0,
    bitrate_kbps: 4000,
    group_length: 25,
};

pub(super) const AUDIO: Audio = Audio { codec: AudioCodec::Pcmu, sample_rate: 8000, bitrate_kbps: 64 };

impl Backend for Fake {
    fn identity(&self) -> Identity {
        Identity {
            manufacturer: "Keepwatch".to_owned(),
            model: "Lab 1".to_owned(),
            firmware: "0.1.0".to_owned(),
            serial: "1".to_owned(),
            hardware: "1".to_owned(),
            name: self.name.lock().unwrap().clone(),
            location: "Entrance & hall".to_owned(),
            endpoint: "5c8e2a5e-0000-4000-8000-000000000001".to_owned(),
            hostname: "cam1".to_owned(),
        }
    }

    fn now(&self) -> WallTime {
        at(self.hours).plus(self.clock_off.load(Ordering::Relaxed))
    }

    fn access(&self) -> Access {
        let user = |credentials, level| User { credentials, level };
        Access::Users(vec![user(viewer(), UserLevel::User), user(admin(), UserLevel::Administrator)])
    }

    fn profiles(&self) -> Vec<Profile> {
        let profile = |token: &str, video| Profile {
            token: token.to_owned(),
            name: token.to_owned(),
            source: "eye".to_owned(),
            video: Some(video),
            audio: Some(AUDIO),
            metadata: true,
        };
        let sub =
            Video { codec: VideoCodec::Jpeg, width: 320, height: 180, frames_per_second: 12.5, ..VIDEO };
        let third = Video { codec: VideoCodec::H265, ..VIDEO };
        vec![profile("main", VIDEO), profile("sub", sub), profile("third", third)]
    }

    fn stream_uri(&self, profile: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        match transport {
            Transport::Udp | Transport::Rtsp => Ok(format!("rtsp://{host}:554/{profile}")),
            Transport::Http | Transport::Multicast => {
                Err(Refusal::Unsupported("only UDP and RTSP".to_owned()))
            }
        }
    }

    fn has_snapshots(&self) -> bool {
        true
    }

    fn snapshot(&self, profile: &str) -> Answer<'_, Bytes> {
        let known = self.profiles().iter().any(|known| known.token == profile);
        let picture = known.then(|| Bytes::from_static(b"\xFF\xD8\xFF\xD9"));
        let picture = picture.ok_or_else(|| Refusal::NotFound("there is no such profile".to_owned()));
        Box::pin(async move { picture })
    }

    fn has_recordings(&self) -> bool {
        true
    }

    fn recordings(&self) -> Answer<'_, Vec<Recording>> {
        let card = *self.card.lock().unwrap();
        let track = |token: &str, kind, hours| Track {
            token: token.to_owned(),
            kind,
            span: Span::new(at(0), at(hours).plus(-HOUR / 2)),
        };
        let recordings = (0..self.recordings).rev().map(|number| Recording {
            token: format!("rec{number:04}"),
            source: "main".to_owned(),
            name: "Front door".to_owned(),
            content: "what the main stream showed".to_owned(),
            active: false,
            retention_seconds: None,
            tracks: vec![
                track("VIDEO001", TrackKind::Video(VIDEO), self.hours),
                track("AUDIO001", TrackKind::Audio(AUDIO), self.hours),
                track("META001", TrackKind::Metadata, 0),
            ],
        });
        let recordings = if card == Card::Empty { Vec::new() } else { recordings.collect() };
        Box::pin(async move { Self::read_card(card).await.map(|()| recordings) })
    }

    fn sections(&self, recording: &str, span: Span) -> Answer<'_, Vec<TrackSections>> {
        let card = *self.card.lock().unwrap();
        let halves =
            (0..self.hours).map(|hour| Section { from: at(hour), to: Some(at(hour).plus(HOUR / 2)) });
        let overlaps =
            |section: &Section| section.from < span.to && section.to.is_none_or(|to| to > span.from);
        let sections: Vec<Section> = halves.filter(overlaps).collect();
        let of = |track: &str| TrackSections { track: track.to_owned(), sections: sections.clone() };
        let all = vec![of("VIDEO001"), of("AUDIO001")];
        let known = recording.starts_with("rec");
        Box::pin(async move {
            Self::read_card(card).await?;
            if known { Ok(all) } else { Err(Refusal::NotFound("there is no such recording".to_owned())) }
        })
    }

    fn replay_uri(&self, recording: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        if !recording.starts_with("rec") {
            return Err(Refusal::NotFound(format!("there is no recording {recording:?}")));
        }
        self.stream_uri(&format!("replay/{recording}"), transport, host)
    }

    fn replay_timeout_seconds(&self) -> ReplayTimeout {
        ReplayTimeout { present: *self.replay_timeout.lock().unwrap(), least: 10, most: 120 }
    }

    fn set_replay_timeout_seconds(&self, seconds: u32) -> Result<(), Refusal> {
        *self.replay_timeout.lock().unwrap() = seconds;
        Ok(())
    }

    fn notifications(&self) -> Option<broadcast::Receiver<Notification>> {
        Some(self.events.subscribe())
    }

    fn properties(&self) -> Vec<Notification> {
        vec![motion(false, Operation::Initialized)]
    }

    fn topics(&self) -> Vec<Topic> {
        let pair = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        vec![Topic {
            path: "VideoSource/MotionAlarm".to_owned(),
            property: true,
            source: vec![pair("Source", "tt:ReferenceToken")],
            data: vec![pair("State", "xs:boolean")],
        }]
    }
}

/// How a request proves who asks.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    None,
    Token(Credentials),
    Digest(Credentials),
}

/// A device and a client of it.
pub(super) struct Site {
    pub(super) device: Arc<Device>,
    pub(super) fake: Arc<Fake>,
    nonces: Mutex<u64>,
}

impl Site {
    pub(super) fn new(fake: Fake) -> Self {
        let fake = Arc::new(fake);
        let backend: Arc<dyn Backend> = Arc::clone(&fake) as Arc<dyn Backend>;
        Self { device: Arc::new(Device::new(backend)), fake, nonces: Mutex::new(0) }
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        let reached = Reached { local: "192.0.2.7:80".parse().unwrap(), secure: false };
        self.device.handle(&request, reached).await
    }

    fn request(path: &str, envelope: &str, authorization: Option<&str>) -> Request<Bytes> {
        let request = Request::post(path).header("Host", "camera.example:8080");
        let request = authorization
            .into_iter()
            .fold(request, |request, answer| request.header("Authorization", answer));
        request.body(Bytes::copy_from_slice(envelope.as_bytes())).unwrap()
    }

    /// Sends a body and returns the status and the first element of the answer's body.
    pub(super) async fn post(&self, path: &str, body: &str, proof: &Proof) -> (u16, Element) {
        let token = match proof {
            Proof::Token(credentials) => {
                let mut nonces = self.nonces.lock().unwrap();
                *nonces += 1;
                let mut nonce = [0; 16];
                nonce[..8].copy_from_slice(&nonces.to_be_bytes());
                Some(UsernameToken::new(credentials, nonce, self.fake.now()))
            }
            Proof::None | Proof::Digest(_) => None,
        };
        let header = Header { token: token.as_ref(), ..Header::default() };
        let envelope = soap::write(&header, |writer| writer.within("placeholder", |_| {}));
        let envelope = envelope.replace("<placeholder/>", body);
        let mut response = self.send(Self::request(path, &envelope, None)).await;
        if let Proof::Digest(credentials) = proof {
            assert_eq!(response.status(), 401, "{body} needs no login");
            let headers = response.headers().get_all("www-authenticate").iter();
            let challenge = Challenge::strongest(headers.map(|header| header.to_str().unwrap())).unwrap();
            let answer = challenge.answer(credentials, "POST", path, "client", 1);
            response = self.send(Self::request(path, &envelope, Some(&answer))).await;
        }
        let status = response.status().as_u16();
        let envelope = Envelope::parse(response.body()).unwrap();
        (status, envelope.body.children.into_iter().next().unwrap())
    }

    /// A call of the viewer; an answer that is a fault fails the test.
    pub(super) async fn call(&self, body: &str) -> Element {
        self.call_at("/onvif/device_service", body).await
    }

    pub(super) async fn call_at(&self, path: &str, body: &str) -> Element {
        let (status, answer) = self.post(path, body, &Proof::Token(viewer())).await;
        assert_eq!(status, 200, "{body} was answered by {answer:?}");
        answer
    }

    /// A call of the viewer that must be refused: the status, and the innermost code.
    pub(super) async fn refused(&self, body: &str) -> (u16, String) {
        self.refused_at("/onvif/device_service", body, &Proof::Token(viewer())).await
    }

    pub(super) async fn refused_at(&self, path: &str, body: &str, proof: &Proof) -> (u16, String) {
        let (status, answer) = self.post(path, body, proof).await;
        assert!(answer.is(namespace::SOAP_12, "Fault"), "{body} was answered by {answer:?}");
        let mut code = answer.child("Code").unwrap();
        while let Some(inner) = code.child("Subcode") {
            code = inner;
        }
        assert!(!answer.text_at(&["Reason", "Text"]).unwrap().is_empty());
        (status, crate::xml::local_name(code.text_at(&["Value"]).unwrap()).to_owned())
    }
}
