//! Nodes with cameras that nobody answers for: what their books say across changes and restarts.

use std::path::Path;

use keepwatch_model::{SpanSet, State, TICKS_PER_SECOND};

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
        disks: vec![DiskConfig { path: data.join("disk"), size_bytes: Some(128 << 20), take_over: false }],
        retention: None,
        buffer_bytes_max: 16 << 20,
        cameras: vec![camera],
        rtsp: RtspConfig::default(),
    }
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
