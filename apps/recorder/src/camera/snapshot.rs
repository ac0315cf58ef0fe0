//! Pictures that an ONVIF camera makes itself: for one whose footage is not decoded here.
//!
//! However many ask, the camera is asked once at a time and once a second, and after a refusal not for a while: many lock an
//! account after five failures.

use std::sync::Arc;
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
    last: Arc<tokio::sync::Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    /// What was asked, and how; another login is worth another try.
    asked: (CameraConfig, Url),
    until: Instant,
    result: Result<Snapshot, String>,
}

impl Snapshots {
    /// The picture of the camera that `config` describes, from `place`; `now` tells the time when it came. A camera that
    /// was asked is heard to the end, also when nobody waits for it any more: within a runtime of tokio.
    pub(super) async fn take(
        &self,
        config: &CameraConfig,
        place: Url,
        now: impl Fn() -> WallTime + Send + 'static,
    ) -> Result<Snapshot, String> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let asked = (config.clone(), place);
        if let Some(last) = last.as_ref().filter(|last| last.asked == asked && Instant::now() < last.until) {
            return last.result.clone();
        }
        let Some(options) = device_options(config) else {
            return Err("the camera has no ONVIF address".to_owned());
        };
        // A viewer hangs up at any time. A login that was sent counts at the camera all the same, so that its refusal must
        // not be forgotten with the viewer.
        let fetched = tokio::spawn(async move {
            let (result, good_for) = match timeout(PATIENCE, onvif::fetch_picture(&options, &asked.1)).await {
                Ok(Ok(file)) => (Ok(Snapshot { at: now(), file: file.into() }), TAKEN_FOR),
                Ok(Err(error)) => {
                    (Err(error.to_string()), if error.is_login() { REFUSED_FOR } else { FAILED_FOR })
                }
                Err(_) => (Err(format!("it did not come within {} s", PATIENCE.as_secs())), FAILED_FOR),
            };
            *last = Some(Last { asked, until: Instant::now() + good_for, result: result.clone() });
            result
        });
        fetched.await.unwrap_or_else(|error| {
            tracing::error!(%error, "asking a camera for its picture ended badly");
            Err("it could not be asked for; the node's log says why".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{CameraSource, Secret};

    const CHALLENGE: &[u8] =
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", \
        qop=\"auth\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    /// Waits for a login at a camera that asks everybody for one; its answer is still to be given.
    async fn login(camera: &TcpListener) -> TcpStream {
        loop {
            let (mut client, _) = camera.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert!(client.read_buf(&mut head).await.unwrap() > 0, "the request has no end");
            }
            if String::from_utf8_lossy(&head).to_ascii_lowercase().contains("\r\nauthorization: digest ") {
                return client;
            }
            client.write_all(CHALLENGE).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_refused_login_counts_also_when_whoever_asked_is_gone() {
        let camera = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = camera.local_addr().unwrap();
        let url = format!("http://{address}/onvif/device_service").parse().unwrap();
        let place: Url = format!("http://{address}/picture").parse().unwrap();
        let mut config = CameraConfig::new("gate".parse().unwrap(), "rtsp://h/".parse().unwrap());
        config.source = CameraSource::Onvif { url, sub: false, events: false };
        config.user = Some("u".to_owned());
        config.password = Some(Secret::new("wrong"));
        let snapshots = Snapshots::default();
        let ask = || snapshots.take(&config, place.clone(), || WallTime::from_ticks(0));

        // Who asks hangs up when the login is under way.
        let mut sent = tokio::select! {
            told = ask() => panic!("{told:?} before the camera answered"),
            sent = login(&camera) => sent,
        };
        // A client that hung up does not take it.
        let _ = sent.write_all(CHALLENGE).await;
        drop(sent);
        let told = tokio::select! {
            told = ask() => told,
            _ = login(&camera) => panic!("the login that was refused is tried again"),
        };
        assert!(told.unwrap_err().contains("login"), "the refusal is told");
    }
}
