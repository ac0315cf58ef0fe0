//! A virtual site as a process of its own.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;

use crate::control::{CameraReport, ControlSocket, report};
use crate::ending::{Ending, Endings, say};
use crate::{LabError, SiteOptions, VirtualSite};

/// What `keepwatch lab cameras` runs.
#[derive(Clone, Debug, Default)]
pub struct CamerasOptions {
    /// The cameras.
    pub site: SiteOptions,
    /// Where to make the control socket; `None` for none.
    pub control: Option<PathBuf>,
    /// Whether to end when standard input does.
    pub until_input_closes: bool,
    /// How long to run; `None` for until told to end.
    pub lasts: Option<Duration>,
}

/// The line printed when the cameras can be reached.
#[derive(Debug, Serialize)]
struct Ready {
    /// Address and port of the RTSP server.
    listening: SocketAddr,
    /// The cameras; each is at `rtsp://LISTENING/ID`.
    cameras: Vec<String>,
    /// The RTSP URL of the first camera where it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    secure: Option<String>,
    /// The fingerprint of the certificate that is shown there.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// The addresses of the ONVIF devices, in the order of the cameras.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    onvif: Vec<String>,
    /// Where they hear probes, in the same order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    discovery: Vec<SocketAddr>,
}

/// The line printed at the end.
#[derive(Debug, Serialize)]
struct Ended {
    ended: Ending,
    cameras: Vec<CameraReport>,
}

/// Runs virtual cameras until a signal, printing `{"listening": "ADDR:PORT", "cameras": ["cam1", ...]}` when they
/// can be reached, and at the end `{"ended": "signal", "cameras": [...]}` with what each connection was given.
pub async fn run_cameras(options: CamerasOptions) -> Result<(), LabError> {
    run(options, &mut io::stdout()).await
}

async fn run(options: CamerasOptions, output: &mut (impl Write + Send)) -> Result<(), LabError> {
    let mut endings = Endings::listen(options.until_input_closes, options.lasts)?;
    let control = options.control.as_deref().map(ControlSocket::bind).transpose()?;
    let site = VirtualSite::start(options.site).await?;
    let ready = Ready {
        listening: site.addr(),
        cameras: site.cameras().map(String::from).collect(),
        secure: site.cameras().next().and_then(|first| site.secure_url(first.as_str())),
        fingerprint: site.fingerprint().map(|fingerprint| fingerprint.to_string()),
        onvif: site.devices(),
        discovery: site.discovery(),
    };
    say(output, &ready)?;
    let site = Arc::new(Mutex::new(site));
    let obeying = async {
        match &control {
            Some(control) => Err(LabError::System(control.serve(site.clone()).await)),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = endings.wait() => Ok(ended),
        failed = obeying => failed,
    }?;
    let cameras = report(&*site.lock().await, "*")?;
    if let Some(site) = Arc::into_inner(site) {
        site.into_inner().close().await;
    }
    say(output, &Ended { ended, cameras })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_where_it_listens_and_at_the_end_what_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("a control.sock");
        let site = SiteOptions { cameras: 2, ..SiteOptions::default() };
        let lasts = Some(Duration::from_millis(100));
        let mut output = Vec::new();
        run(
            CamerasOptions { site, control: Some(control.clone()), lasts, until_input_closes: false },
            &mut output,
        )
        .await
        .unwrap();
        let lines: Vec<serde_json::Value> = output
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let address: SocketAddr = lines[0]["listening"].as_str().unwrap().parse().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(lines[0]["cameras"], serde_json::json!(["cam1", "cam2"]));
        assert_eq!(lines[1]["ended"], "time_over");
        assert_eq!(lines[1]["cameras"][1], serde_json::json!({"id": "cam2", "connections": []}));
        assert_eq!(lines.len(), 2);
        assert!(!control.exists());
    }
}
