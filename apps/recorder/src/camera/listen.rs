//! Listening to what an ONVIF camera notices, by its pull point: for ever, and apart from its streams.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_onvif::client::{ClientError, Device};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::context::Context;
use super::locate::device_options;
use super::notice;
use super::state::CameraState;

/// First and longest wait before a camera is asked again.
const BACKOFF_MIN: Duration = Duration::from_secs(2);
/// See [`BACKOFF_MIN`].
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Wait after a refused login: many cameras lock an account after five failures.
const LOGIN_BACKOFF: Duration = Duration::from_secs(120);
/// Wait for a camera without an event service: firmware is changed once in a while.
const NOT_OFFERED_BACKOFF: Duration = Duration::from_secs(3_600);
/// Longest farewell to the pull point.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Pulls after which the camera's clock is read again: with twenty seconds each, every ten minutes.
const CLOCK_PULLS: u32 = 30;

/// A running listener.
pub(super) struct Listener {
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Listener {
    /// Listens to `camera`, which has an ONVIF address.
    pub(super) fn start(context: Context, camera: Arc<CameraState>) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, handle: tokio::spawn(run(context, camera, stopped)) }
    }

    /// Ends it, with a farewell to the camera.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "the task that listens to a camera ended badly");
        }
    }
}

async fn run(context: Context, camera: Arc<CameraState>, mut stopped: watch::Receiver<bool>) {
    let mut wait = BACKOFF_MIN;
    loop {
        let mut heard = false;
        let ended = listen(&context, &camera, &mut stopped, &mut heard).await;
        let Err(error) = ended else { return };
        tracing::debug!(camera = %camera.id, %error, "the camera's events are not heard");
        camera.set_listening(Listening::Waiting(error.to_string()));
        if heard {
            wait = BACKOFF_MIN;
        }
        let pause = match &error {
            error if error.is_login() => LOGIN_BACKOFF,
            error if error.is_not_supported() => NOT_OFFERED_BACKOFF,
            _ => wait,
        };
        wait = wait.saturating_mul(2).min(BACKOFF_MAX);
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Subscribes and pulls until it is told to end; `heard` says whether the camera answered a pull.
async fn listen(
    context: &Context,
    camera: &CameraState,
    stopped: &mut watch::Receiver<bool>,
    heard: &mut bool,
) -> Result<(), ClientError> {
    let Some(options) = device_options(&camera.config()) else { return Ok(()) };
    let subscribed = async {
        let device = Device::connect(options).await?;
        camera.clock_told(context, device.clock_offset_ticks());
        let subscription = device.subscribe().await?;
        Ok::<_, ClientError>((device, subscription))
    };
    let (device, mut subscription) = tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        subscribed = subscribed => subscribed?,
    };
    let mut pulls = 0_u32;
    loop {
        let batch = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => None,
            batch = subscription.pull() => Some(batch?),
        };
        let Some(batch) = batch else {
            // The camera keeps few pull points; one that does not listen is left.
            let _ = tokio::time::timeout(FAREWELL_MAX, subscription.close()).await;
            return Ok(());
        };
        *heard = true;
        camera.set_listening(Listening::Heard);
        for notification in &batch.notifications {
            notice::enter(context, camera.main(), notification);
        }
        pulls = pulls.wrapping_add(1);
        if pulls.is_multiple_of(CLOCK_PULLS)
            && let Ok(offset) = device.read_clock().await
        {
            camera.clock_told(context, offset);
        }
    }
}

/// Whether a camera's events are heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// They are.
    Heard,
    /// They are not, for this reason.
    Waiting(String),
}
