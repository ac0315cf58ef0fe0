//! Pictures that an ONVIF camera makes itself: for one whose footage is not decoded here.
//!
//! However many ask, the camera is asked once at a time and once a second, and after a refusal not for a while: many lock an
//! account after five failures.

use std::time::Duration;

use bytes::Bytes;
use keepwatch_model::WallTime;
use keepwatch_onvif::client as onvif;
use tokio::time::{Instant, timeout};
use url::Url;

use super::locate::device_options;
use crate::config::CameraConfig;

/// How long a camera may take for a picture.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a picture is given to whoever asks.
const TAKEN_FOR: Duration = Duration::from_secs(1);
/// How long a camera that gave none is not asked again.
const FAILED_FOR: Duration = Duration::from_secs(10);
/// The same when it refused the login.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// A picture that a camera made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// When it came.
    pub(crate) at: WallTime,
    /// The JPEG file, as it came.
    pub(crate) file: Bytes,
}

/// The last picture of a camera.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Held while the camera is asked, so that all who wait are given the same.
    last: tokio::sync::Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    /// What was asked, and how; another login is worth another try.
    asked: (CameraConfig, Url),
    until: Instant,
    result: Result<Snapshot, String>,
}

impl Snapshots {
    /// The picture of the camera that `config` describes, from `place`; `now` tells the time when it came.
    pub(super) async fn take(
        &self,
        config: &CameraConfig,
        place: Url,
        now: impl Fn() -> WallTime,
    ) -> Result<Snapshot, String> {
        let mut last = self.last.lock().await;
        let asked = (config.clone(), place);
        if let Some(last) = last.as_ref().filter(|last| last.asked == asked && Instant::now() < last.until) {
            return last.result.clone();
        }
        let Some(options) = device_options(config) else {
            return Err("the camera has no ONVIF address".to_owned());
        };
        let (result, good_for) = match timeout(PATIENCE, onvif::fetch_picture(&options, &asked.1)).await {
            Ok(Ok(file)) => (Ok(Snapshot { at: now(), file: file.into() }), TAKEN_FOR),
            Ok(Err(error)) => {
                (Err(error.to_string()), if error.is_login() { REFUSED_FOR } else { FAILED_FOR })
            }
            Err(_) => (Err(format!("it did not come within {} s", PATIENCE.as_secs())), FAILED_FOR),
        };
        *last = Some(Last { asked, until: Instant::now() + good_for, result: result.clone() });
        result
    }
}
