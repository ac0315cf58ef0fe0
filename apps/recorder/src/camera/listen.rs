//! Listening to what an ONVIF camera notices, by its pull point: for ever, and apart from its streams.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_onvif::client::{ClientError, Device, Options, Subscription};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::context::Context;
use super::locate::{Login, device_options};
use super::notice;
use super::state::CameraState;
use crate::config::CameraConfig;

/// First and longest wait before a camera is asked again.
const BACKOFF_MIN: Duration = Duration::from_secs(2);
/// See [`BACKOFF_MIN`].
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Wait after a refused login: many cameras lock an account after five failures.
const LOGIN_BACKOFF: Duration = Duration::from_secs(120);
/// Wait for a camera without an event service, or that does not let the user have its events: firmware and rights are
/// changed once in a while.
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

/// Why a camera's events are not heard.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    /// The camera does not take the login for anything.
    #[error("{0}")]
    Login(String),
    /// It takes it, but not for this.
    #[error(
        "the camera takes the login of its streams, and refuses it for its events; let the user subscribe to events, or make it an operator of the camera"
    )]
    NotAllowed,
    /// Anything else.
    #[error(transparent)]
    Client(#[from] ClientError),
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
            Deaf::Login(_) => LOGIN_BACKOFF,
            Deaf::NotAllowed => NOT_OFFERED_BACKOFF,
            Deaf::Client(error) if error.is_login() => LOGIN_BACKOFF,
            Deaf::Client(error) if error.is_not_supported() => NOT_OFFERED_BACKOFF,
            Deaf::Client(_) => wait,
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
) -> Result<(), Deaf> {
    let config = camera.config();
    let Some(options) = device_options(&config) else { return Ok(()) };
    let subscribed = async {
        // The streams and the listener try a login together: a wrong one must not be refused three times over.
        if let Login::Refused(detail) = camera.locator().login(&config).await {
            return Err(Deaf::Login(detail));
        }
        match subscribe(context, camera, options).await {
            Err(error) if error.is_login() => Err(refused(camera, &config, error).await),
            subscribed => Ok(subscribed?),
        }
    };
    let (device, mut subscription) = tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        subscribed = subscribed => subscribed?,
    };
    let ended = tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => Ok(()),
        error = hear(context, camera, &device, &mut subscription, heard) => Err(error.into()),
    };
    // The camera keeps few pull points; one that does not listen is left.
    let _ = tokio::time::timeout(FAREWELL_MAX, subscription.close()).await;
    ended
}

async fn subscribe(
    context: &Context,
    camera: &CameraState,
    options: Options,
) -> Result<(Device, Subscription), ClientError> {
    let device = Device::connect(options).await?;
    camera.clock_told(context, device.clock_offset_ticks());
    let subscription = device.subscribe().await?;
    Ok((device, subscription))
}

/// Why a login was refused for the events: it is wrong by now, or the user has no right to them. Many cameras say the same
/// of both.
async fn refused(camera: &CameraState, config: &CameraConfig, error: ClientError) -> Deaf {
    match camera.locator().login_again(config).await {
        Login::Taken => Deaf::NotAllowed,
        Login::Refused(detail) => Deaf::Login(detail),
        Login::Unknown => Deaf::Client(error),
    }
}

/// Enters what the camera tells, until it does not answer any more.
async fn hear(
    context: &Context,
    camera: &CameraState,
    device: &Device,
    subscription: &mut Subscription,
    heard: &mut bool,
) -> ClientError {
    let mut pulls = 0_u32;
    loop {
        let batch = match subscription.pull().await {
            Ok(batch) => batch,
            Err(error) => return error,
        };
        *heard = true;
        camera.set_listening(Listening::Heard);
        for notification in &batch.notifications {
            notice::hear(context, camera.main(), notification, true);
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

#[cfg(test)]
mod tests;
