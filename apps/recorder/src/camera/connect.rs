//! One connection of a stream: dialled, played and recorded until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepwatch_model::{EventCode, GapReason, StreamId, TrackConfig};
use keepwatch_rtsp::client::{self, ClientConfig, ClientError, Transport};
use tokio::sync::{mpsc, watch};

use super::choice::{Choice, NoVideo, Wanted, codec_name};
use super::context::Context;
use super::gather::{Ending, Gather, Output, Signal};
use super::ingest::Ingest;
use super::locate::Failure;
use super::state::CameraState;
use super::stream::{Learned, StreamState};
use crate::config::{CameraConfig, CameraSource, MediaTransport};

/// Longest farewell to a camera that is hung up.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What a connection came to.
pub(super) struct Outcome {
    pub(super) output: Output,
    pub(super) reason: GapReason,
    /// In the words of the device or the system; `None` when it was told to end.
    pub(super) detail: Option<String>,
}

impl Outcome {
    /// Whether it ended because it was told to, and entered into the ledger what follows.
    pub(super) const fn was_told(&self) -> bool {
        self.detail.is_none()
    }
}

/// Dials, plays and records until the session ends or is cancelled.
pub(super) async fn connect(
    context: Context,
    camera: Arc<CameraState>,
    stream: Arc<StreamState>,
    mut output: Output,
    mut cancelled: watch::Receiver<Option<Ending>>,
    signals: mpsc::Sender<Signal>,
) -> Outcome {
    let dialled = tokio::select! {
        dialled = dial(&context, &camera, &stream) => dialled,
        ending = cancellation(&mut cancelled) => {
            ending.enter(&stream, context.clock.wall());
            return Outcome { output, reason: reason_of(ending), detail: None };
        }
    };
    let (session, tracks) = match dialled {
        Ok(dialled) => dialled,
        Err((reason, detail)) => return Outcome { output, reason, detail: Some(detail) },
    };
    stream.counters().sessions.fetch_add(1, Ordering::Relaxed);
    let _ = signals.send(Signal::Connected).await;
    let gather = Gather::new(&context, &stream, &mut output, signals, &tracks)
        .entering_events(camera.config().source.enters_events());
    let mut ingest = match Ingest::new(&tracks, gather) {
        Ok(ingest) => ingest,
        Err(error) => {
            return Outcome { output, reason: GapReason::StreamUnusable, detail: Some(error.to_string()) };
        }
    };
    let stop = ingest.stop_flag();
    let (ending, detail) = {
        let run = session.run(&mut ingest, || context.clock.mono());
        tokio::pin!(run);
        tokio::select! {
            end = &mut run => (Ending::Missing(GapReason::ConnectionLost), Some(end.reason.to_string())),
            ending = cancellation(&mut cancelled) => {
                // The camera is told, so that it has a session free again; one that does not listen is left.
                stop.store(true, Ordering::Relaxed);
                let _ = tokio::time::timeout(FAREWELL_MAX, run).await;
                (ending, None)
            }
        }
    };
    ingest.finish(context.clock.mono(), ending);
    Outcome { output, reason: reason_of(ending), detail }
}

/// Why a camera is not dialled that an edge node sends.
pub(super) fn not_from_here() -> Failure {
    (
        GapReason::NotSent,
        "an edge node records the camera and sends what it recorded: try it there".to_owned(),
    )
}

/// Connects and asks for what is to be recorded. Returns the session and its tracks, the video first.
async fn dial(
    context: &Context,
    camera: &CameraState,
    stream: &StreamState,
) -> Result<(client::Session, Vec<TrackConfig>), Failure> {
    let config = camera.config();
    let url = match &config.source {
        CameraSource::Rtsp { url, .. } if stream.id == StreamId::MAIN => url.clone(),
        CameraSource::Rtsp { sub_url, .. } => sub_url
            .clone()
            .ok_or_else(|| (GapReason::StreamUnusable, "the camera has no sub stream any more".to_owned()))?,
        CameraSource::Onvif { .. } => {
            let located = camera.locator().find(&config, stream.id).await?;
            camera.clock_told(context, located.clock_offset_ticks);
            located.url
        }
        CameraSource::Edge { .. } => return Err(not_from_here()),
    };
    let client = ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        certificate: config.certificate,
        read_interval: stream.hub().read_interval().clone(),
        ..ClientConfig::new(url)
    };
    let opened = open_any(&client, &config, stream.id).await;
    match opened {
        Ok((session, tracks, learned)) => {
            learn(context, stream, learned);
            Ok((session, tracks))
        }
        Err(refusal) => {
            // A refused login is no matter of addresses, and asking costs further logins, after some of which cameras
            // lock the user.
            if matches!(refusal, Refusal::Client(ClientError::Unauthorized(_))) {
                camera.locator().trust(stream.id);
            }
            Err(refusal.into())
        }
    }
}

/// Opens a session as `config` says that media travels.
pub(super) async fn open_any(
    client: &ClientConfig,
    config: &CameraConfig,
    stream: StreamId,
) -> Result<(client::Session, Vec<TrackConfig>, Learned), Refusal> {
    match config.transport {
        MediaTransport::Tcp => open(client, Transport::TcpInterleaved, config, stream).await,
        MediaTransport::Udp => open(client, Transport::Udp, config, stream).await,
        // Every dial begins with TCP: UDP that a firewall swallows is silent, and TCP may do by then.
        MediaTransport::Auto => match open(client, Transport::TcpInterleaved, config, stream).await {
            Err(Refusal::Client(ClientError::TransportRefused { .. })) => {
                open(client, Transport::Udp, config, stream).await
            }
            opened => opened,
        },
    }
}

/// Why a session could not be opened.
pub(super) enum Refusal {
    Client(ClientError),
    NoVideo(NoVideo),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Client(error) => (reason_of_error(&error), error.to_string()),
            Refusal::NoVideo(error) => (GapReason::StreamUnusable, error.to_string()),
        }
    }
}

async fn open(
    client: &ClientConfig,
    transport: Transport,
    config: &CameraConfig,
    stream: StreamId,
) -> Result<(client::Session, Vec<TrackConfig>, Learned), Refusal> {
    let client = ClientConfig { transport, ..client.clone() };
    let described = client::connect(&client).await?;
    let offered = &described.presentation().tracks;
    let choice = Choice::of(offered, Wanted::of(config, stream)).map_err(Refusal::NoVideo)?;
    let tracks: Vec<TrackConfig> =
        choice.tracks.iter().filter_map(|track| offered.get(*track)?.config.clone().ok()).collect();
    let learned = Learned {
        tracks: tracks.iter().map(|track| codec_name(track.kind)).collect(),
        left_out: choice.left_out,
        certificate: described.certificate(),
        transport: Some(match transport {
            Transport::TcpInterleaved => "tcp",
            Transport::Udp => "udp",
        }),
    };
    let session = described.play(&choice.tracks).await?;
    Ok((session, tracks, learned))
}

/// Notes what the session learned of the camera, and tells what is not recorded if it was something else before.
fn learn(context: &Context, stream: &StreamState, learned: Learned) {
    let left_out = learned.left_out.clone();
    let before = stream.learn(learned);
    if !left_out.is_empty() && left_out != before.left_out {
        let text = format!("not all that the camera offers is recorded; left out: {}", left_out.join("; "));
        context.tell(stream, context.clock.wall(), EventCode::TrackLeftOut, text);
    }
}

async fn cancellation(cancelled: &mut watch::Receiver<Option<Ending>>) -> Ending {
    match cancelled.wait_for(Option::is_some).await.map(|ending| *ending) {
        Ok(Some(ending)) => ending,
        // The driver is gone: the recorder ends.
        Ok(None) | Err(_) => Ending::Missing(GapReason::RecorderDown),
    }
}

fn reason_of(ending: Ending) -> GapReason {
    match ending {
        Ending::Missing(reason) => reason,
        Ending::Unscheduled => GapReason::ConnectionLost,
    }
}

fn reason_of_error(error: &ClientError) -> GapReason {
    match error {
        ClientError::Unreachable(_)
        | ClientError::TimedOut(_)
        | ClientError::Ended { .. }
        | ClientError::Tls(_)
        | ClientError::Ports(_)
        | ClientError::Busy => GapReason::ConnectionLost,
        ClientError::Refused { .. }
        | ClientError::TransportRefused { .. }
        | ClientError::ReplayUnsupported { .. }
        | ClientError::InvalidRange
        | ClientError::Certificate { .. }
        | ClientError::Redirected { .. }
        | ClientError::Url(_) => GapReason::ConnectionRefused,
        ClientError::Unauthorized(_) => GapReason::LoginRefused,
        ClientError::Protocol { .. } | ClientError::NoUsableTrack(_) => GapReason::StreamUnusable,
    }
}
