//! Nodes with cameras that nobody answers for: what their books say across changes and restarts.

use std::path::Path;

use keepwatch_model::{Span, SpanSet, State, TICKS_PER_SECOND};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::config::{CameraSource, DiskConfig, RtspConfig};

fn config(data: &Path, sub: bool) -> RecorderConfig {
    // Nothing listens on the discard port of loopback.
    let mut camera = CameraConfig::new("gate".parse().unwrap(), "rtsp://127.0.0.1:9/1".parse().unwrap());
    let url = "rtsp://127.0.0.1:9/1".parse().unwrap();
    camera.source = CameraSource::Rtsp { url, sub_url: sub.then(|| "rtsp://127.0.0.1:9/2".parse().unwrap()) };
    RecorderConfig {
        name: "n".to_owned(),
        data: data.to_owned(),
        disks: vec![DiskConfig { size_bytes: Some(128 << 20), ..DiskConfig::new(data.join("disk")) }],
        retention: None,
        buffer_bytes_max: 16 << 20,
        exports_bytes_max: None,
        cameras: vec![camera],
        rtsp: RtspConfig::default(),
    }
}

/// A camera that plays to whoever asks, sends nothing, and does not answer a farewell. Returns its address.
async fn deaf_camera() -> url::Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtsp://{}/1", listener.local_addr().unwrap());
    let base = url.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let base = base.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let (mut line, mut method, mut sequence) = (String::new(), String::new(), String::new());
                while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
                    match line.trim_end() {
                        "" => {
                            let answer = answer(&method, &sequence, &base);
                            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                            method.clear();
                        }
                        request if method.is_empty() => {
                            method = request.split(' ').next().unwrap_or_default().to_owned();
                        }
                        header => {
                            if let Some(number) = header.strip_prefix("CSeq: ") {
                                sequence = number.to_owned();
                            }
                        }
                    }
                    line.clear();
                }
            });
        }
    });
    url.parse().unwrap()
}

/// What it says to a request; nothing to the last one.
fn answer(method: &str, sequence: &str, base: &str) -> String {
    let head = format!("RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n");
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
               m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";
    match method {
        "DESCRIBE" => format!(
            "{head}Content-Base: {base}/\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        ),
        "SETUP" => {
            format!("{head}Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n")
        }
        "TEARDOWN" => String::new(),
        _ => format!("{head}Session: 1\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"),
    }
}

/// Each camera may take a second for its farewell; a reload must not take as many seconds as there are cameras.
#[tokio::test]
async fn a_reload_ends_all_cameras_at_once() {
    const CAMERAS: usize = 10;
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("disk")).unwrap();
    let mut with_all = config(data.path(), false);
    with_all.cameras.clear();
    for number in 0..CAMERAS {
        let id = format!("cam{number}").parse().unwrap();
        with_all.cameras.push(CameraConfig::new(id, deaf_camera().await));
    }
    let none = RecorderConfig { cameras: Vec::new(), ..with_all.clone() };
    let node = Node::start(with_all).await.unwrap();
    let sessions = |camera: &Arc<CameraState>| {
        camera.main().counters().sessions.load(std::sync::atomic::Ordering::Relaxed)
    };
    let connected = async {
        while !node.cameras().iter().all(|camera| sessions(camera) > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), connected).await.unwrap();
    let begun = std::time::Instant::now();
    let applied = node.apply(none).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(applied.removed.len(), CAMERAS);
    assert!(applied.removed.is_sorted());
    node.stop().await;
}

/// The states of the last ten seconds of a stream, in order.
fn states(node: &Node, stream: StreamId) -> Vec<State> {
    let now = node.clock().wall();
    let window = Span { from: now.plus(-10 * TICKS_PER_SECOND), to: now };
    let camera = node.camera("gate".parse().unwrap()).unwrap();
    let ledger = camera.stream(stream).unwrap().ledger();
    ledger.items(window, now, &SpanSet::new()).into_iter().map(|item| item.state).collect()
}

/// Waits until a dial has failed, which is an event.
async fn refused(node: &Node, stream: StreamId) {
    let camera = node.camera("gate".parse().unwrap()).unwrap();
    let told = async {
        while camera.stream(stream).unwrap().connection().2.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), told).await.unwrap();
}

#[tokio::test]
async fn a_sub_stream_comes_and_goes_and_its_books_stay() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("disk")).unwrap();
    let down = State::Gap { reason: GapReason::RecorderDown };
    let lost = State::Gap { reason: GapReason::ConnectionLost };

    let node = Node::start(config(data.path(), false)).await.unwrap();
    assert!(node.cameras()[0].stream(StreamId::SUB).is_none());
    refused(&node, StreamId::MAIN).await;
    let main_since = node.cameras()[0].main().counters().sessions.load(std::sync::atomic::Ordering::Relaxed);

    let applied = node.apply(config(data.path(), true)).await.unwrap();
    assert_eq!(applied.changed.len(), 1);
    refused(&node, StreamId::SUB).await;
    assert_eq!(states(&node, StreamId::SUB).last(), Some(&lost));
    let sessions = node.cameras()[0].main().counters().sessions.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(sessions, main_since, "the main stream is not touched");
    node.stop().await;

    let node = Node::start(config(data.path(), true)).await.unwrap();
    for stream in [StreamId::MAIN, StreamId::SUB] {
        let states = states(&node, stream);
        assert!(states.contains(&lost) && states.contains(&down), "{stream}: {states:?}");
    }
    node.apply(config(data.path(), false)).await.unwrap();
    assert_eq!(states(&node, StreamId::SUB).last(), Some(&State::Unscheduled));
    node.stop().await;

    // It is not configured, but what is known of it can still be asked.
    let node = Node::start(config(data.path(), false)).await.unwrap();
    let sub = states(&node, StreamId::SUB);
    assert!(sub.contains(&lost) && sub.last() == Some(&State::Unscheduled), "{sub:?}");
    assert_ne!(states(&node, StreamId::MAIN).last(), Some(&State::Unscheduled));
    node.stop().await;
}
