//! A running camera: a task for each of its streams, restarted only when something of theirs changed.

use std::sync::Arc;

use keepwatch_model::{GapReason, StreamId};

use super::alarm::{self, Guard};
use super::context::Context;
use super::gather::{Ending, Output};
use super::listen::Listener;
use super::state::CameraState;
use super::task::StreamTask;
use crate::config::{AlarmConfig, CameraConfig, CameraSource};

/// The tasks of one camera.
pub(crate) struct CameraTask {
    main: StreamTask,
    /// `None` when no sub stream is wanted.
    sub: Option<StreamTask>,
    /// `None` when its events are not asked for, or it has no ONVIF address.
    listener: Option<Listener>,
    /// `None` for one that is recorded all the time.
    guard: Option<Guard>,
}

/// Where the streams of a camera left off, for a task that goes on there; empty for one that begins behind what is held.
#[derive(Default)]
pub(crate) struct Outputs {
    main: Option<Output>,
    sub: Option<Output>,
}

impl CameraTask {
    /// Starts the streams that `camera` is to record.
    pub(crate) fn start(context: &Context, camera: &Arc<CameraState>) -> Self {
        Self::resume(context, camera, Outputs::default())
    }

    /// The same, from where a task left off a moment ago: what that queued is not all held yet.
    pub(crate) fn resume(context: &Context, camera: &Arc<CameraState>, outputs: Outputs) -> Self {
        let Outputs { main, sub } = outputs;
        let guard = Guard::start(context, camera);
        let main = StreamTask::start(context.clone(), Arc::clone(camera), Arc::clone(camera.main()), main);
        Self { main, sub: start_sub(context, camera, sub), listener: start_listener(context, camera), guard }
    }

    /// Listens to the camera's events, unless its footage only waits in memory: then they are its recorder's to tell.
    pub(crate) async fn listen(&mut self, context: &Context, camera: &Arc<CameraState>) {
        if !camera.main().is_quiet() {
            if self.listener.is_none() {
                self.listener = start_listener(context, camera);
            }
        } else if let Some(listener) = self.listener.take() {
            listener.stop().await;
            camera.set_listening(None);
        }
    }

    /// Ends all of it; what it has received is queued for the disk when this returns. Returns where it left off.
    pub(crate) async fn stop(self, ending: Ending) -> Outputs {
        if let Some(guard) = self.guard {
            guard.stop().await;
        }
        let sub = async {
            match self.sub {
                Some(sub) => sub.stop(ending).await,
                None => None,
            }
        };
        let listener = async {
            if let Some(listener) = self.listener {
                listener.stop().await;
            }
        };
        let (main, sub, ()) = tokio::join!(self.main.stop(ending), sub, listener);
        Outputs { main, sub }
    }

    /// Goes on under a changed configuration, which `camera` already has; what does not concern a stream leaves it
    /// alone. Returns the task and whether any stream was ended.
    pub(crate) async fn change(
        self,
        context: &Context,
        camera: &Arc<CameraState>,
        before: &CameraConfig,
    ) -> (Self, bool) {
        let after = camera.config();
        let lost = Ending::Missing(GapReason::ConnectionLost);
        let Self { main, sub, listener, guard } = self;
        let guard = match (guard, &before.alarm, after.alarm.is_some()) {
            (Some(guard), Some(alarm), false) => {
                guard.stop().await;
                alarm::record_always(context, camera, alarm);
                None
            }
            (None, _, true) => Guard::start(context, camera),
            (guard, _, _) => {
                // A sub stream may have been added.
                alarm::prepare(context, camera);
                guard
            }
        };
        // Each may say farewell to the camera.
        let main = async {
            if main_session(before) == main_session(&after) {
                return (main, false);
            }
            let output = main.stop(lost).await;
            let stream = Arc::clone(camera.main());
            (StreamTask::start(context.clone(), Arc::clone(camera), stream, output), true)
        };
        let sub = async {
            if sub_session(before) == sub_session(&after) {
                return (sub, false);
            }
            let ending = if after.source.has_sub() { lost } else { Ending::Unscheduled };
            let output = match sub {
                Some(sub) => sub.stop(ending).await,
                None => None,
            };
            (start_sub(context, camera, output), true)
        };
        let listener = async {
            if listener_session(before) == listener_session(&after) {
                return listener;
            }
            if let Some(listener) = listener {
                listener.stop().await;
            }
            start_listener(context, camera)
        };
        let ((main, main_ended), (sub, sub_ended), listener) = tokio::join!(main, sub, listener);
        (Self { main, sub, listener, guard }, main_ended || sub_ended)
    }
}

fn start_sub(context: &Context, camera: &Arc<CameraState>, output: Option<Output>) -> Option<StreamTask> {
    let stream = camera.stream(StreamId::SUB).filter(|_| camera.wants(StreamId::SUB))?;
    Some(StreamTask::start(context.clone(), Arc::clone(camera), Arc::clone(stream), output))
}

fn start_listener(context: &Context, camera: &Arc<CameraState>) -> Option<Listener> {
    camera.set_listening(None);
    if camera.main().is_quiet() {
        return None;
    }
    listener_session(&camera.config()).map(|_| Listener::start(context.clone(), Arc::clone(camera)))
}

/// What concerns the listener to its events; `None` when there is to be none.
fn listener_session(config: &CameraConfig) -> Option<CameraConfig> {
    let CameraSource::Onvif { url, events: true, .. } = &config.source else { return None };
    let mut listener = CameraConfig::new(config.id, url.clone());
    listener.user.clone_from(&config.user);
    listener.password.clone_from(&config.password);
    listener.certificate = config.certificate;
    Some(listener)
}

/// What of a configuration concerns the session of the main stream: no name, no retention, no sub stream.
fn main_session(config: &CameraConfig) -> CameraConfig {
    let source = match &config.source {
        CameraSource::Rtsp { url, .. } => CameraSource::Rtsp { url: url.clone(), sub_url: None },
        CameraSource::Onvif { url, .. } => {
            // Whether its events are entered concerns the session where they come in its metadata.
            let events = config.metadata && config.source.enters_events();
            CameraSource::Onvif { url: url.clone(), sub: false, events }
        }
        CameraSource::Edge { node, camera, .. } => {
            CameraSource::Edge { node: node.clone(), camera: *camera, sub: false }
        }
    };
    CameraConfig { name: String::new(), retention: None, source, alarm: armed(config), ..config.clone() }
}

/// Whether it is recorded on alarm concerns where its records go; how, only the task that decides.
fn armed(config: &CameraConfig) -> Option<AlarmConfig> {
    config.alarm.as_ref().map(|_| AlarmConfig::default())
}

/// What concerns the session of the sub stream; `None` when there is to be none.
fn sub_session(config: &CameraConfig) -> Option<CameraConfig> {
    let source = match &config.source {
        CameraSource::Rtsp { sub_url, .. } => CameraSource::Rtsp { url: sub_url.clone()?, sub_url: None },
        CameraSource::Onvif { url, sub: true, .. } => {
            CameraSource::Onvif { url: url.clone(), sub: true, events: false }
        }
        CameraSource::Edge { sub: true, .. } => config.source.clone(),
        CameraSource::Onvif { sub: false, .. } | CameraSource::Edge { sub: false, .. } => return None,
    };
    let alarm = armed(config);
    Some(CameraConfig {
        name: String::new(),
        retention: None,
        metadata: false,
        source,
        alarm,
        ..config.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(change: impl FnOnce(&mut CameraConfig)) -> CameraConfig {
        let mut config = CameraConfig::new("gate".parse().unwrap(), "rtsp://h/1".parse().unwrap());
        change(&mut config);
        config
    }

    #[test]
    fn a_change_touches_only_the_streams_that_it_concerns() {
        let sub = |config: &mut CameraConfig, url: &str| {
            let main = "rtsp://h/1".parse().unwrap();
            config.source = CameraSource::Rtsp { url: main, sub_url: Some(url.parse().unwrap()) };
        };
        let before = camera(|config| sub(config, "rtsp://h/2"));
        let touches = |after: CameraConfig| {
            (main_session(&before) != main_session(&after), sub_session(&before) != sub_session(&after))
        };
        assert_eq!(touches(camera(|config| sub(config, "rtsp://h/3"))), (false, true), "another sub stream");
        assert_eq!(touches(camera(|_| {})), (false, true), "none at all");
        let renamed = camera(|config| {
            sub(config, "rtsp://h/2");
            config.name = "North gate".to_owned();
            config.retention = Some(std::time::Duration::from_secs(60));
        });
        assert_eq!(touches(renamed), (false, false), "a name and a retention time");
        let metadata = camera(|config| {
            sub(config, "rtsp://h/2");
            config.metadata = true;
        });
        assert_eq!(touches(metadata), (true, false), "metadata, which only the main stream records");
        let login = camera(|config| {
            sub(config, "rtsp://h/2");
            config.user = Some("u".to_owned());
        });
        assert_eq!(touches(login), (true, true), "a login");
    }
}
