//! A site of virtual cameras behind one RTSP server, and the handle by which things go wrong in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{CameraId, StreamId, TICKS_PER_SECOND};
use keepwatch_onvif::device::DeviceServer;
use keepwatch_onvif::device::discovery::{DiscoveryOptions, Responder};
use keepwatch_rtsp::Secret;
use keepwatch_rtsp::server::{OpenRequest, Quirks, Refusal, Server, Service, Source};
use keepwatch_tls::{Identity, Names};
use tokio::task::JoinHandle;

use crate::camera::Camera;
use crate::card::{self, Card, CardOptions, CardSource, Pictures};
use crate::coder::VideoCodec;
use crate::connections::{Connection, Connections};
use crate::device::{CameraDevice, SiteFacts};
use crate::encoder::EncoderSettings;
use crate::fault::{CameraControl, Fault};
use crate::feed::{Feed, FeedSettings};
use crate::sound::{AudioCodec, Sound};
use crate::timeline::{LabClock, Timeline};
use crate::{LabError, wide};

/// From one camera's frame numbers to the next one's: far more than there will be frames, and round, so that a
/// number shows its camera and the counter in the picture.
pub const NUMBERS_PER_CAMERA: u64 = 10_000_000_000;

/// Most cameras of a site or a load.
pub(crate) const CAMERAS_MAX: usize = 1_000;

/// A user and a password that cameras ask for.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password; shown by no `Debug`.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a site is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteOptions {
    /// Where the RTSP server listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Cameras, 1 to 1,000: `cam1` at `/cam1`, its sub-stream at `/cam1/sub`, and so on.
    pub cameras: usize,
    /// Codings of the main streams, in turn: the first is that of `cam1`. None means H.264 for all.
    pub codecs: Vec<VideoCodec>,
    /// Encoders that they share, at most one for each camera. A camera without its own shows the picture, and the
    /// name in it, of another, and lags behind it by a part of a GOP.
    pub encoders: usize,
    /// Of the pictures.
    pub encoder: EncoderSettings,
    /// Frames from one key frame to the next, 1 to 1,000.
    pub gop_frames: u32,
    /// The coding of their sound; `None` for no sound.
    pub audio: Option<AudioCodec>,
    /// Whether they send ONVIF metadata.
    pub metadata: bool,
    /// Where the same streams are served encrypted (`rtsps`), with a certificate made for it; `None` for nowhere.
    pub tls: Option<SocketAddr>,
    /// Where the first camera is an ONVIF device; the others are at the ports behind it, or when it is 0 at ports that
    /// the system chooses. `None` for no devices.
    pub onvif: Option<SocketAddr>,
    /// Where the devices hear the probes of WS-Discovery. An unspecified address: all of them there, and on every
    /// interface by multicast, as real ones. Any other: the first one there and asked directly only, the others at the
    /// ports behind it, as those of `onvif`. `None`: they are not to be found.
    pub discovery: Option<SocketAddr>,
    /// What they ask for; `None` for nothing.
    pub login: Option<Login>,
    /// The cards that they record themselves to, replayed at `/cam1/card` and so on; `None` for no cards.
    pub card: Option<CardOptions>,
}

impl Default for SiteOptions {
    /// One camera on a port of the loopback interface that the system chooses, a key frame each second, with
    /// sound, open to all.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cameras: 1,
            codecs: Vec::new(),
            encoders: 1,
            encoder: EncoderSettings::default(),
            gop_frames: 25,
            audio: Some(AudioCodec::default()),
            metadata: false,
            tls: None,
            onvif: None,
            discovery: None,
            login: None,
            card: None,
        }
    }
}

/// Running cameras; they end when this is dropped.
#[derive(Debug)]
pub struct VirtualSite {
    addr: SocketAddr,
    cameras: Arc<Cameras>,
    /// `None` while the site is cut off.
    server: Option<JoinHandle<()>>,
    /// Cameras that record themselves, and devices that report motion.
    tasks: Vec<JoinHandle<()>>,
    /// The server that encrypts.
    secure: Option<Secure>,
    devices: Vec<DeviceServer>,
    /// What makes the devices found.
    responders: Vec<Responder>,
}

/// A server that encrypts.
struct Secure {
    addr: SocketAddr,
    identity: Identity,
    /// `None` while the site is cut off.
    server: Option<JoinHandle<()>>,
}

impl VirtualSite {
    /// Starts the cameras; they are reachable when this returns.
    pub async fn start(options: SiteOptions) -> Result<Self, LabError> {
        let SiteOptions { listen, tls, onvif, discovery, encoder, gop_frames, .. } = options;
        let login = options.login.clone();
        // Encoders are tried and cards are read, which takes a moment, or filled, which takes longer.
        let cameras = tokio::task::spawn_blocking(move || Cameras::start(&options))
            .await
            .map_err(|error| LabError::System(error.into()))??;
        let cameras = Arc::new(cameras);
        let (addr, server) = serve(listen, cameras.clone()).await?;
        let mut tasks: Vec<_> = cameras.list.iter().filter_map(record_itself).collect();
        let secure = match tls {
            Some(listen) => Some(Secure::start(listen, cameras.clone()).await?),
            None => None,
        };
        let facts = SiteFacts { rtsp: addr, encoder, gop_frames, login };
        let (mut devices, mut responders) = (Vec::new(), Vec::new());
        for camera in onvif.iter().flat_map(|_| &cameras.list) {
            let device = Arc::new(CameraDevice::new(camera.clone(), facts.clone()));
            let served = match onvif {
                Some(first) => DeviceServer::bind(behind(first, devices.len()), device.clone()).await?,
                None => continue,
            };
            if let Some(first) = discovery {
                let options = found_at(first, devices.len(), served.address());
                responders.push(Responder::start(options, device.clone())?);
            }
            devices.push(served);
            tasks.push(tokio::spawn(device.watch()));
        }
        Ok(Self { addr, cameras, server: Some(server), tasks, secure, devices, responders })
    }

    /// The address of the RTSP server.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The cameras, in order.
    pub fn cameras(&self) -> impl ExactSizeIterator<Item = CameraId> + '_ {
        self.cameras.list.iter().map(|camera| camera.id)
    }

    /// The RTSP URL of `camera`, without user and password.
    pub fn url(&self, camera: &str) -> String {
        format!("rtsp://{}/{camera}", self.addr)
    }

    /// The RTSP URL of `camera` where it is encrypted; `None` when it is nowhere.
    pub fn secure_url(&self, camera: &str) -> Option<String> {
        self.secure.as_ref().map(|secure| format!("rtsps://{}/{camera}", secure.addr))
    }

    /// The fingerprint of the certificate; `None` when nothing is encrypted.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.secure.as_ref().map(|secure| secure.identity.fingerprint())
    }

    /// The addresses of the ONVIF devices, in the order of the cameras; empty when they are none.
    pub fn devices(&self) -> Vec<String> {
        let url = |device: &DeviceServer| format!("http://{}/onvif/device_service", device.address());
        self.devices.iter().map(url).collect()
    }

    /// Where the devices hear probes, in the same order; empty when they are not to be found.
    pub fn discovery(&self) -> Vec<SocketAddr> {
        self.responders.iter().map(Responder::address).collect()
    }

    /// A handle that makes things go wrong with `camera`.
    pub fn control(&self, camera: &str) -> Result<CameraControl, LabError> {
        self.cameras.find(camera).map(|camera| camera.control.clone())
    }

    /// Makes something go wrong with `camera`.
    pub fn apply(&self, camera: &str, fault: Fault) -> Result<(), LabError> {
        self.cameras.find(camera).map(|camera| camera.control.apply(fault))
    }

    /// What the connections of `camera` were given, oldest first.
    pub fn connections(&self, camera: &str) -> Result<Vec<Connection>, LabError> {
        self.cameras.find(camera).map(|camera| camera.connections.list())
    }

    /// The card of `camera`.
    #[cfg(test)]
    pub(crate) fn card(&self, camera: &str) -> Option<Arc<Card>> {
        self.cameras.find(camera).ok()?.card.clone()
    }

    /// Closes the port and all connections, as when the site's uplink is cut. Frames run on.
    pub async fn cut(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Ended by the abort: the port is free when this returns.
            let _ = server.await;
        }
        if let Some(server) = self.secure.as_mut().and_then(|secure| secure.server.take()) {
            server.abort();
            let _ = server.await;
        }
    }

    /// Ends all cameras, with what they recorded to their cards written.
    pub async fn close(mut self) {
        self.cut().await;
        for task in self.tasks.drain(..) {
            task.abort();
            // Ended by the abort: it lets go of the card.
            let _ = task.await;
        }
        for responder in self.responders.drain(..) {
            responder.shutdown().await;
        }
        for device in self.devices.drain(..) {
            device.shutdown().await;
        }
    }

    /// Opens the port again, the same one.
    pub async fn restore(&mut self) -> Result<(), LabError> {
        if self.server.is_none() {
            let (_, server) = serve(self.addr, self.cameras.clone()).await?;
            self.server = Some(server);
        }
        if let Some(secure) = &mut self.secure
            && secure.server.is_none()
        {
            let (_, server) = serve_tls(&secure.identity, secure.addr, self.cameras.clone()).await?;
            secure.server = Some(server);
        }
        Ok(())
    }
}

impl Drop for VirtualSite {
    fn drop(&mut self) {
        let secure = self.secure.iter().filter_map(|secure| secure.server.as_ref());
        for task in self.server.iter().chain(secure).chain(&self.tasks) {
            task.abort();
        }
    }
}

impl Secure {
    async fn start(listen: SocketAddr, service: Arc<dyn Service>) -> Result<Self, LabError> {
        let mut names = Names::local();
        names.add_address(listen.ip());
        let identity = Identity::make(&names, LabClock::start().now())?;
        let (addr, server) = serve_tls(&identity, listen, service).await?;
        Ok(Self { addr, identity, server: Some(server) })
    }
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secure({}, {})", self.addr, self.identity.fingerprint())
    }
}

async fn serve_tls(
    identity: &Identity,
    listen: SocketAddr,
    service: Arc<dyn Service>,
) -> Result<(SocketAddr, JoinHandle<()>), LabError> {
    let server = Server::bind_tls(listen, identity.config(), service)
        .await
        .map_err(|source| LabError::Listen { addr: listen, source })?;
    let addr = server.local_addr();
    Ok((addr, tokio::spawn(server.run())))
}

/// The address of the device at place `at` when the first is at `first`.
fn behind(first: SocketAddr, at: usize) -> SocketAddr {
    let port = match first.port() {
        0 => 0,
        port => port.saturating_add(u16::try_from(at).unwrap_or(u16::MAX)),
    };
    SocketAddr::new(first.ip(), port)
}

/// How the device at place `at`, which is served at `service`, is found when the first hears probes at `first`.
fn found_at(first: SocketAddr, at: usize, service: SocketAddr) -> DiscoveryOptions {
    if first.ip().is_unspecified() {
        DiscoveryOptions { listen: first, ..DiscoveryOptions::new(service) }
    } else {
        DiscoveryOptions { listen: behind(first, at), interfaces: None, service }
    }
}

/// Has a camera with a card record itself.
fn record_itself(camera: &Camera) -> Option<JoinHandle<()>> {
    let (camera, card) = (camera.clone(), camera.card.clone()?);
    Some(tokio::spawn(async move { card::record(&camera, &card).await }))
}

async fn serve(
    listen: SocketAddr,
    service: Arc<dyn Service>,
) -> Result<(SocketAddr, JoinHandle<()>), LabError> {
    let server =
        Server::bind(listen, service).await.map_err(|source| LabError::Listen { addr: listen, source })?;
    let addr = server.local_addr();
    Ok((addr, tokio::spawn(server.run())))
}

/// What the server asks.
#[derive(Debug)]
pub(crate) struct Cameras {
    list: Vec<Camera>,
    login: Option<Login>,
}

impl Cameras {
    pub(crate) fn start(options: &SiteOptions) -> Result<Self, LabError> {
        LabError::check("cameras", wide(options.cameras), 1..=wide(CAMERAS_MAX), "1 to 1,000")?;
        LabError::check(
            "encoders",
            wide(options.encoders),
            1..=wide(options.cameras),
            "1 to the number of cameras",
        )?;
        LabError::check("frames of a GOP", u64::from(options.gop_frames), 1..=1_000, "1 to 1,000")?;
        let timeline = Timeline::new(options.encoder.frames_per_second)?;
        let clock = LabClock::start();
        let sound = options.audio.map(Sound::new);
        let gop_frames = u64::from(options.gop_frames);
        // Cameras of different codings cannot share an encoder.
        let mut feeds = BTreeMap::new();
        for at in 0..options.cameras {
            let encoder = at % options.encoders;
            let codec = codec_of(at, options);
            if feeds.contains_key(&(codec, encoder)) {
                continue;
            }
            let settings = FeedSettings {
                name: camera_id(at).to_string(),
                codec,
                encoder: options.encoder,
                gop_frames,
                phase_frames: gop_frames * wide(encoder) / wide(options.encoders),
            };
            feeds.insert((codec, encoder), Arc::new(Feed::start(settings, timeline, clock)?));
        }
        let list = (0..options.cameras)
            .map(|at| {
                let camera = Camera {
                    id: camera_id(at),
                    number_base: NUMBERS_PER_CAMERA * (wide(at) + 1),
                    delay_ticks: delay_ticks(at, options, timeline),
                    feed: feeds[&(codec_of(at, options), at % options.encoders)].clone(),
                    sound: sound.clone(),
                    metadata: options.metadata,
                    timeline,
                    clock,
                    control: CameraControl::new(clock),
                    connections: Connections::default(),
                    card: None,
                };
                match &options.card {
                    Some(card) => with_card(camera, card, at, options),
                    None => Ok(camera),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { list, login: options.login.clone() })
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Camera, LabError> {
        self.list
            .iter()
            .find(|camera| camera.id.as_str() == name)
            .ok_or_else(|| LabError::NoSuchCamera(name.chars().take(64).collect()))
    }

    /// The camera of `/CAMERA` or `/CAMERA/PART`, and the part.
    fn find_path<'p>(&self, path: &'p str) -> Option<(&Camera, &'p str)> {
        let path = path.strip_prefix('/')?;
        let (camera, part) = path.split_once('/').unwrap_or((path, ""));
        Some((self.find(camera).ok()?, part))
    }
}

impl Service for Cameras {
    fn password(&self, user: &str) -> Option<Secret> {
        self.login.as_ref().filter(|login| login.user == user).map(|login| login.password.as_str().into())
    }

    fn needs_login(&self) -> bool {
        self.login.is_some()
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        let (camera, part) = self.find_path(request.path).ok_or(Refusal::NotFound)?;
        let stream = match part {
            "" => StreamId::MAIN,
            "sub" => StreamId::SUB,
            "card" => {
                let source = camera.card.as_ref().and_then(|card| CardSource::new(camera, card));
                return Ok(Box::new(source.ok_or(Refusal::NotFound)?));
            }
            _ => return Err(Refusal::NotFound),
        };
        Ok(Box::new(camera.open(stream).ok_or(Refusal::NotFound)?))
    }

    fn quirks(&self, path: &str) -> Quirks {
        self.find_path(path).map(|(camera, _)| camera.control.condition().quirks).unwrap_or_default()
    }
}

/// The id of the camera at place `at`: `cam1` and up.
pub(crate) fn camera_id(at: usize) -> CameraId {
    format!("cam{}", at + 1).parse().expect("cam and at most 20 digits are a camera id")
}

/// The coding of the main stream of the camera at place `at`.
fn codec_of(at: usize, options: &SiteOptions) -> VideoCodec {
    options.codecs.get(at % options.codecs.len().max(1)).copied().unwrap_or_default()
}

/// Gives a camera its card, filled if it is to be and holds nothing of that time.
fn with_card(
    camera: Camera,
    options: &CardOptions,
    at: usize,
    site: &SiteOptions,
) -> Result<Camera, LabError> {
    let card = Card::open(&options.directory, camera.id, options.size_bytes)
        .map_err(|source| LabError::Card { camera: camera.id, source })?;
    if let Some(span) = options.prefill
        && card.shelf().start(span.from).is_none_or(|start| start >= span.to)
    {
        let pictures = Pictures {
            codec: codec_of(at, site),
            encoder: site.encoder,
            gop_frames: u64::from(site.gop_frames),
        };
        card::prefill(&camera, &card, pictures, span, &options.gaps)?;
    }
    Ok(Camera { card: Some(Arc::new(card)), ..camera })
}

/// How far a camera lags behind the feed it shares: the sharers spread over one GOP, two seconds at most.
fn delay_ticks(at: usize, options: &SiteOptions, timeline: Timeline) -> i64 {
    let sharers = options.cameras.div_ceil(options.encoders);
    let place = at / options.encoders;
    let spread = (timeline.frame_ticks() * i64::from(options.gop_frames)).min(2 * TICKS_PER_SECOND);
    spread * i64::try_from(place).unwrap_or(0) / i64::try_from(sharers).unwrap_or(1)
}
