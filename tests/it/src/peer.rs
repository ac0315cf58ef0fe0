//! A camera that is not ours: gst-rtsp-server, in the Python script beside this crate.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{Program, Site};

/// How long GStreamer may take to start.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Ports that are tried: one may be taken between our look and its start.
const TRIES: usize = 5;

/// What the camera sends.
#[derive(Clone, Copy, Debug)]
pub struct GstOptions {
    /// Frames of video, 25 a second.
    pub frames: u32,
    /// `h264`, `h265` or `jpeg`.
    pub codec: &'static str,
    /// B-frames between two others, in H.264.
    pub b_frames: u32,
    /// `g711` or `aac`; `None` for no sound.
    pub audio: Option<&'static str>,
    /// Whether parameter sets stand before each key frame.
    pub in_band: bool,
    /// The one transport it offers, `tcp` or `udp`.
    pub transport: &'static str,
    /// User and password it asks for by digest.
    pub login: Option<(&'static str, &'static str)>,
}

/// A running camera; it ends with this.
#[derive(Debug)]
pub struct GstCamera {
    program: Program,
    url: String,
}

impl GstCamera {
    /// Starts it on a free port. GStreamer cannot choose one itself, so one is looked for and tried.
    pub fn start(site: &Site, options: GstOptions) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/gst_camera.py");
        for _ in 0..TRIES {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut command = Command::new("/usr/bin/python3");
            command.arg(&script).args(["--port", &port.to_string(), "--frames", &options.frames.to_string()]);
            command.args(["--b-frames", &options.b_frames.to_string()]);
            command.args(["--codec", options.codec, "--transport", options.transport]);
            command.args(options.audio.iter().flat_map(|audio| ["--audio", audio]));
            command.args(options.in_band.then_some("--in-band"));
            if let Some((user, password)) = options.login {
                command.args(["--login", &format!("{user}:{password}")]);
            }
            let program = Program::start(command, site.path().join(format!("gst-{port}.log")))?;
            let ready = program.json(START_PATIENCE)?;
            if let Some(url) = ready["url"].as_str() {
                return Ok(Self { url: url.to_owned(), program });
            }
        }
        bail!("gst-rtsp-server found no port in {TRIES} tries")
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it has sent its last frame, and returns how many there were.
    pub fn sent(&self, limit: Duration) -> Result<u64> {
        let ended = self.program.json(limit)?;
        ended["frames"].as_u64().with_context(|| format!("gst-rtsp-server said {ended}"))
    }
}
