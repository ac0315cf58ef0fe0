//! The device as clients see it that are not ours: Python programs in `tests/it/peers`, over HTTP.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use keepwatch_model::WallTime;
use tokio::process::Command;
use tokio::time::timeout;

use super::fake::{Fake, admin};
use crate::device::discovery::{DiscoveryOptions, Responder};
use crate::device::{Backend, DeviceServer};

/// The Python in whose environment the peers are installed.
fn python() -> PathBuf {
    let folder = std::env::var_os("KEEPWATCH_PEERS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers"));
    folder.join("bin/python")
}

/// Runs a peer against a device and returns the line that it ends with.
async fn run(script: &str, fake: Fake, probed: bool) -> String {
    let backend: Arc<dyn Backend> = Arc::new(fake);
    let loopback = "127.0.0.1:0".parse().unwrap();
    let server = DeviceServer::bind(loopback, Arc::clone(&backend)).await.unwrap();
    let found = DiscoveryOptions { listen: loopback, interfaces: None, service: server.address() };
    let responder = Responder::start(found, backend).unwrap();
    let url = format!("http://{}/onvif/device_service", server.address());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/it/peers").join(script);
    let admin = admin();
    let mut command = Command::new(python());
    // Without -I a module of the current directory could stand before one of Python; without -B it writes there.
    command.args(["-I", "-B"]).arg(script).args([&url, &admin.user, &admin.password]);
    let discovery = responder.address().to_string();
    command.args(probed.then_some(["--probe", &discovery]).into_iter().flatten());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(60), command.output()).await.expect("the peer hangs");
    let output = output.expect("the peers are installed by `cargo xtask test`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    responder.shutdown().await;
    server.shutdown().await;
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_answer_is_as_the_schemas_of_onvif_want_it() {
    // zeep does not compare clocks, so that of the device must be right.
    let (fake, present) = (Fake::new(), SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let present = WallTime::from_unix_nanos(i128::try_from(present.as_nanos()).unwrap());
    fake.clock_off.store(present.ticks_since(fake.now()), Ordering::Relaxed);
    let found = run("onvif_schema.py", fake, false).await;
    for expected in [
        "\"stream\": \"rtsp://127.0.0.1:554/main\"",
        "\"recordings\": 2",
        // Three sections of two tracks and of the recording, one end is after the last label; and four start states.
        "\"events\": 22",
        "\"replay\": \"rtsp://127.0.0.1:554/replay/rec0000\"",
        "\"messages\": 1",
    ] {
        assert!(found.contains(expected), "no {expected} in {found}");
    }
    let calls = found.matches("Response\"").count();
    assert!(calls >= 40, "{calls} calls were checked: {found}");
}

#[tokio::test]
async fn a_client_that_is_not_ours_finds_footage_and_where_it_is_replayed() {
    // The clock of this device stands still, hours away: this client compares clocks.
    let found = run("onveef_client.py", Fake::new(), true).await;
    for expected in [
        "\"profiles\": [\"main\", \"sub\", \"third\"]",
        "\"recordings\": [\"rec0000\", \"rec0001\"]",
        "\"replay\": \"rtsp://127.0.0.1:554/replay/rec0000\"",
        "\"refused\": true",
        "\"name\": \"Front%20door\"",
        "\"endpoint\": \"urn:uuid:5c8e2a5e-0000-4000-8000-000000000001\"",
    ] {
        assert!(found.contains(expected), "no {expected} in {found}");
    }
}
