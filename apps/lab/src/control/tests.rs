//! Commands over the socket.

use std::future::Future;

use super::*;
use crate::SiteOptions;
use crate::fault::Condition;

/// Says `lines` to a site of two cameras and returns what was answered, and the site.
async fn conversation(lines: &str) -> (Vec<String>, Arc<Mutex<VirtualSite>>) {
    let options = SiteOptions { cameras: 2, ..SiteOptions::default() };
    let site = Arc::new(Mutex::new(VirtualSite::start(options).await.unwrap()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    // What a process that was killed left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // One that is listened at is not taken from who listens.
    assert!(matches!(ControlSocket::bind(&path), Err(LabError::Control { .. })));
    let talking = async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(lines.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answers = String::new();
        // A connection that is given up may be reset.
        let _ = stream.read_to_string(&mut answers).await;
        answers.lines().map(str::to_owned).collect()
    };
    let answers = served(&socket, &site, talking).await;
    drop(socket);
    assert!(!path.exists());
    (answers, site)
}

async fn served<T>(
    socket: &ControlSocket,
    site: &Arc<Mutex<VirtualSite>>,
    talking: impl Future<Output = T>,
) -> T {
    tokio::select! {
        error = socket.serve(site.clone()) => panic!("{error}"),
        answers = talking => answers,
    }
}

#[tokio::test]
async fn commands_are_obeyed_in_order_and_mistakes_explained() {
    let lines = [
        r#"{"camera": "cam1", "fault": "stall"}"#,
        r#"{"camera": "*", "fault": "clock_step", "milliseconds": 1000}"#,
        r#"{"camera": "cam2", "fault": "parameters", "set": "alternate"}"#,
        r#"{"report": "*"}"#,
        r#"{"site": "cut"}"#,
        r#"{"site": "restore"}"#,
        r#"{"camera": "cam3", "fault": "drop"}"#,
        r#"{"camera": "cam1", "fault": "explode"}"#,
        r#"{"camera": "cam1", "fault": "stall", "off": true}"#,
        r#"{"fault": "drop"}"#,
        "no JSON",
    ];
    let (answers, site) = conversation(&lines.map(|line| format!("{line}\n")).concat()).await;
    assert_eq!(answers.len(), lines.len(), "{answers:#?}");
    let ok: Vec<bool> =
        answers.iter().map(|answer| serde_json::from_str::<Value>(answer).unwrap()["ok"] == true).collect();
    assert_eq!(ok, [true, true, true, true, true, true, false, false, false, false, false], "{answers:#?}");
    assert!(answers[6].contains("cam3") && answers[7].contains("explode") && answers[8].contains("off"));
    let site = site.lock().await;
    let one = site.control("cam1").unwrap().condition();
    assert_eq!(one, Condition { stalled: true, clock_ticks: 90_000, ..Condition::default() });
    assert!(!site.control("cam2").unwrap().condition().stalled);
}

#[tokio::test]
async fn an_endless_line_is_given_up() {
    let (answers, _) = conversation(&"x".repeat(100_000)).await;
    assert!(answers.is_empty());
}

#[tokio::test]
async fn what_is_no_socket_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    fs::write(&path, "data").unwrap();
    assert!(matches!(ControlSocket::bind(&path), Err(LabError::Control { .. })));
    assert!(path.exists());
}
