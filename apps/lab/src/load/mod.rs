//! Many cameras at the least cost: the load under which a recorder is measured.
//!
//! All serve the same access units ([`material`]), encoded once, each behind its own [`FrameStamp`] and at its own
//! place in the loop, so that key frames and sends are spread evenly. At the end it accounts for every frame.

mod material;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, TICKS_PER_SECOND, TrackConfig};
use keepwatch_rtsp::Secret;
use keepwatch_rtsp::server::{Media, NextMedia, OpenRequest, Refusal, Server, Service, Source};
use material::Material;
use serde::Serialize;
use tokio::time::sleep_until;

use crate::connections::{Connections, Entry};
use crate::control::CameraReport;
use crate::encoder::EncoderSettings;
use crate::ending::{Ending, Endings, say};
use crate::site::{CAMERAS_MAX, NUMBERS_PER_CAMERA, camera_id};
use crate::timeline::{LabClock, Timeline, rtp_timestamp};
use crate::{FrameStamp, LabError, Login, Scene, wide};

/// How late a connection may be before it leaves out frames up to a key frame, in 90 kHz ticks: two seconds.
const LATE_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;

/// What `keepwatch lab load` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where the RTSP server listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Cameras, 1 to 1,000: `cam1` at `/cam1`, and so on.
    pub cameras: usize,
    /// Average of each camera's video.
    pub bits_per_second: u32,
    /// Frames a second, 1 to 60.
    pub frames_per_second: u32,
    /// Frames from one key frame to the next, 1 to 1,000.
    pub gop_frames: u32,
    /// Pixels of a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// How long to run; `None` for until told to end.
    pub lasts: Option<Duration>,
    /// Whether to end when standard input does.
    pub until_input_closes: bool,
    /// What the cameras ask for; `None` for nothing.
    pub login: Option<Login>,
}

impl Default for LoadOptions {
    /// 16 cameras of 1280x720, 4 Mbit/s, 25 frames a second and a key frame every two seconds.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cameras: 16,
            bits_per_second: 4_000_000,
            frames_per_second: 25,
            gop_frames: 50,
            width: 1280,
            height: 720,
            lasts: None,
            until_input_closes: false,
            login: None,
        }
    }
}

/// The line printed when the cameras can be reached.
#[derive(Debug, Serialize)]
struct Ready {
    listening: SocketAddr,
    cameras: Vec<String>,
    /// Measured average of each camera's video, without RTP.
    bits_per_second: u64,
    frames_per_second: u32,
    gop_frames: u32,
}

/// The line printed at the end.
#[derive(Debug, Serialize)]
struct Ended {
    ended: Ending,
    seconds: f64,
    frames: u64,
    bytes: u64,
    cameras: Vec<CameraReport>,
}

/// Serves a load until it is told to end, printing a JSON line when the cameras can be reached, and one at the end
/// with the first and last frame number, frames and bytes of every connection.
pub async fn run_load(options: LoadOptions) -> Result<(), LabError> {
    run(options, &mut io::stdout()).await
}

async fn run(options: LoadOptions, output: &mut (impl Write + Send)) -> Result<(), LabError> {
    let mut endings = Endings::listen(options.until_input_closes, options.lasts)?;
    let listen = options.listen;
    let gop_frames = options.gop_frames;
    let frames_per_second = options.frames_per_second;
    let load = tokio::task::spawn_blocking(move || Load::prepare(&options))
        .await
        .map_err(|error| LabError::System(error.into()))??;
    let load = Arc::new(load);
    let server = Server::bind(listen, load.clone())
        .await
        .map_err(|source| LabError::Listen { addr: listen, source })?;
    let listening = server.local_addr();
    let started = tokio::time::Instant::now();
    let serving = tokio::spawn(server.run());
    let ready = Ready {
        listening,
        cameras: load.cameras.iter().map(|camera| camera.id.to_string()).collect(),
        bits_per_second: load.material.bits_per_second,
        frames_per_second,
        gop_frames,
    };
    say(output, &ready)?;
    let ended = endings.wait().await;
    serving.abort();
    // Aborted just above: its connections are closed when this returns.
    let _ = serving.await;
    let cameras = load.report();
    let connections = || cameras.iter().flat_map(|camera| &camera.connections);
    let ended = Ended {
        ended,
        seconds: started.elapsed().as_secs_f64(),
        frames: connections().map(|connection| connection.frames).sum(),
        bytes: connections().map(|connection| connection.bytes).sum(),
        cameras,
    };
    say(output, &ended)?;
    Ok(())
}

/// What all cameras of a load share.
#[derive(Debug)]
struct Load {
    material: Arc<Material>,
    cameras: Vec<LoadCamera>,
    login: Option<Login>,
}

impl Load {
    fn prepare(options: &LoadOptions) -> Result<Self, LabError> {
        LabError::check("cameras", wide(options.cameras), 1..=wide(CAMERAS_MAX), "1 to 1,000")?;
        LabError::check("frames of a GOP", u64::from(options.gop_frames), 1..=1_000, "1 to 1,000")?;
        let rate = options.frames_per_second;
        let timeline = Timeline::new(rate)?;
        let settings = EncoderSettings {
            width: options.width,
            height: options.height,
            frames_per_second: rate,
            bits_per_second: options.bits_per_second,
            scene: Scene::Noisy,
        };
        // Long groups are few, short ones many: at least a hundred frames, so that the average means something.
        let gops = 100_u32.div_ceil(options.gop_frames).max(2);
        let material = Arc::new(Material::prepare(settings, options.gop_frames, gops)?);
        let clock = LabClock::start();
        let cameras = (0..options.cameras)
            .map(|at| {
                let share = |whole: u64| whole * wide(at) / wide(options.cameras);
                LoadCamera {
                    id: camera_id(at),
                    number_base: NUMBERS_PER_CAMERA * (wide(at) + 1),
                    gop_frames: u64::from(options.gop_frames),
                    phase_frames: share(u64::from(options.gop_frames)),
                    delay_ticks: i64::try_from(share(timeline.frame_ticks().unsigned_abs())).unwrap_or(0),
                    material: material.clone(),
                    timeline,
                    clock,
                    connections: Connections::default(),
                }
            })
            .collect();
        Ok(Self { material, cameras, login: options.login.clone() })
    }

    fn report(&self) -> Vec<CameraReport> {
        let report = |camera: &LoadCamera| CameraReport {
            id: camera.id.to_string(),
            connections: camera.connections.list(),
        };
        self.cameras.iter().map(report).collect()
    }
}

impl Service for Load {
    fn password(&self, user: &str) -> Option<Secret> {
        self.login.as_ref().filter(|login| login.user == user).map(|login| login.password.as_str().into())
    }

    fn needs_login(&self) -> bool {
        self.login.is_some()
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        let camera = request
            .path
            .strip_prefix('/')
            .and_then(|name| self.cameras.iter().find(|camera| camera.id.as_str() == name))
            .ok_or(Refusal::NotFound)?;
        Ok(Box::new(LoadSource { camera: camera.clone(), playing: None }))
    }
}

/// One camera of a load.
#[derive(Clone, Debug)]
struct LoadCamera {
    id: CameraId,
    number_base: u64,
    gop_frames: u64,
    /// Its place in the loop at frame 0.
    phase_frames: u64,
    /// Its moment within a frame's time, in 90 kHz ticks.
    delay_ticks: i64,
    material: Arc<Material>,
    timeline: Timeline,
    clock: LabClock,
    connections: Connections,
}

impl LoadCamera {
    /// The first key frame that is not yet due.
    fn key_frame_ahead(&self) -> u64 {
        let number = self.timeline.number_from(self.clock.now().plus(-self.delay_ticks));
        let past = (number + self.phase_frames) % self.gop_frames;
        if past == 0 { number } else { number + self.gop_frames - past }
    }

    fn media(&self, number: u64, entry: &Entry) -> Option<Media> {
        let length = wide(self.material.units.len());
        let place = usize::try_from((number + self.phase_frames) % length).ok()?;
        let unit = self.material.units.get(place)?;
        let capture = self.timeline.label_of(number).plus(self.delay_ticks);
        let own_number = self.number_base + number;
        let prefix = FrameStamp { camera: self.id, number: own_number, capture }.to_nal();
        entry.frame(own_number, prefix.len() + unit.data.len());
        let timestamp = rtp_timestamp(capture, 90_000);
        Some(Media {
            track: 0,
            timestamp,
            capture,
            key: unit.key,
            data: unit.data.clone(),
            prefix,
            lost_packets: 0,
            mark: None,
        })
    }
}

/// One connection's media.
#[derive(Debug)]
struct LoadSource {
    camera: LoadCamera,
    /// The account and the next frame's number; `None` until the first is asked for.
    playing: Option<(Entry, u64)>,
}

impl LoadSource {
    async fn next_media(&mut self) -> Option<Media> {
        let Self { camera, playing } = self;
        let (entry, number) =
            playing.get_or_insert_with(|| (camera.connections.open(false), camera.key_frame_ahead()));
        let label = camera.timeline.label_of(*number).plus(camera.delay_ticks);
        if camera.clock.now().ticks_since(label) > LATE_TICKS_MAX {
            *number = camera.key_frame_ahead();
        }
        sleep_until(camera.clock.instant_of(camera.timeline.label_of(*number).plus(camera.delay_ticks)))
            .await;
        let media = camera.media(*number, entry);
        *number += 1;
        media
    }
}

impl Source for LoadSource {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![self.camera.material.track.clone()]
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(self.next_media())
    }
}

#[cfg(test)]
mod tests;
