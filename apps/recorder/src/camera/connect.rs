//! One connection of a stream: dialled, played and recorded until it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepwatch_model::{EventCode, GapReason, StreamId, TrackConfig};
use keepwatch_rtsp::client::{self, ClientConfig, ClientError};
use tokio::sync::{mpsc, watch};

use super::choice::{Choice, Wanted, codec_name};
use super::context::Context;
use super::gather::{Ending, Gather, Output, Signal};
use super::ingest::Ingest;
use super::state::CameraState;
use super::stream::{Learned, StreamState};
use crate::config::CameraSource;

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
    let gather = Gather::new(&context, &stream, &mut output, signals, &tracks);
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

/// Connects and asks for what is to be recorded. Returns the session and its tracks, the video first.
async fn dial(
    context: &Context,
    camera: &CameraState,
    stream: &StreamState,
) -> Result<(client::Session, Vec<TrackConfig>), (GapReason, String)> {
    let Some(config) = client_config(camera, stream.id) else {
        let detail = "the camera has not told where its streams are".to_owned();
        return Err((GapReason::ConnectionLost, detail));
    };
    let fail = |error: ClientError| (reason_of_error(&error), error.to_string());
    let described = client::connect(&config).await.map_err(fail)?;
    let offered = &described.presentation().tracks;
    let wanted = Wanted::of(&camera.config(), stream.id);
    let choice =
        Choice::of(offered, wanted).map_err(|error| (GapReason::StreamUnusable, error.to_string()))?;
    let tracks: Vec<TrackConfig> =
        choice.tracks.iter().filter_map(|track| offered.get(*track)?.config.clone().ok()).collect();
    let session = described.play(&choice.tracks).await.map_err(fail)?;
    let recorded = tracks.iter().map(|track| codec_name(track.kind)).collect();
    learn(context, stream, Learned { tracks: recorded, left_out: choice.left_out, certificate: None });
    Ok((session, tracks))
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

fn client_config(camera: &CameraState, stream: StreamId) -> Option<ClientConfig> {
    let config = camera.config();
    let url = match &config.source {
        CameraSource::Rtsp { url, .. } if stream == StreamId::MAIN => url.clone(),
        CameraSource::Rtsp { sub_url, .. } => sub_url.clone()?,
        CameraSource::Onvif { .. } => return None,
    };
    Some(ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        ..ClientConfig::new(url)
    })
}

fn reason_of_error(error: &ClientError) -> GapReason {
    match error {
        ClientError::Unreachable(_)
        | ClientError::TimedOut(_)
        | ClientError::Ended { .. }
        | ClientError::Ports(_) => GapReason::ConnectionLost,
        ClientError::Refused { .. }
        | ClientError::Redirected { .. }
        | ClientError::Url(_)
        | ClientError::TransportRefused { .. }
        | ClientError::Certificate { .. }
        | ClientError::Tls(_)
        | ClientError::ReplayUnsupported { .. }
        | ClientError::InvalidRange
        | ClientError::Busy => GapReason::ConnectionRefused,
        ClientError::Unauthorized(_) => GapReason::LoginRefused,
        ClientError::Protocol { .. } | ClientError::NoUsableTrack(_) => GapReason::StreamUnusable,
    }
}
