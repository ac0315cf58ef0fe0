//! What a client is told, over a connection in memory and in a time that passes only while nobody has anything to do.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::{sleep, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Heard;

use super::*;
use crate::watch::bench::{Bench, show, stream};

/// What a page believes (`SILENCE_MS`).
const SILENCE: Duration = Duration::from_secs(6);
/// What is on its way to a client that reads nothing: less than a picture of the largest.
const ON_ITS_WAY_BYTES: usize = 64 << 10;

/// One connection, which comes at once.
struct Once(Option<DuplexStream>);

impl axum::serve::Listener for Once {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(connection) => (connection, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A client of `stream`, which says that it plays `playable`.
async fn connect(
    bench: &Bench,
    stream: &Arc<StreamState>,
    playable: &[&str],
) -> WebSocketStream<DuplexStream> {
    let watch = Arc::new(Watch::new(&bench.store, &bench.reads));
    let stream = Arc::clone(stream);
    let upgrade = move |upgrade: WebSocketUpgrade| async move {
        let place = watch.viewer_place().unwrap();
        let viewer = Viewer::new(Viewing {
            watch,
            clock: Clock::new(),
            stream,
            with_sound: true,
            lost: Box::pin(std::future::pending()),
            ending: Box::pin(std::future::pending()),
            exists: Box::new(|| true),
            place,
        });
        upgrade.on_upgrade(move |socket| viewer.run(socket))
    };
    let (ours, theirs) = tokio::io::duplex(ON_ITS_WAY_BYTES);
    tokio::spawn(axum::serve(Once(Some(theirs)), Router::new().route("/live", get(upgrade))).into_future());
    let (mut socket, _) = tokio_tungstenite::client_async("ws://node/live", ours).await.unwrap();
    socket.send(Heard::Text(json!({"playable": playable}).to_string().into())).await.unwrap();
    socket
}

async fn watched(stream: &StreamState) {
    while !stream.hub().is_watched() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// What comes until `end`, and the longest time in which a page hears nothing.
async fn hear(socket: &mut WebSocketStream<DuplexStream>, end: Instant) -> (Vec<Heard>, Duration) {
    let (mut all, mut silence, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
    loop {
        let came = timeout_at(end, socket.next()).await;
        match came {
            // A page never sees them.
            Ok(Some(Ok(Heard::Ping(_) | Heard::Pong(_)))) => continue,
            Ok(Some(Ok(message))) => all.push(message),
            Ok(other) => panic!("the socket ended: {other:?}"),
            Err(_) => {}
        }
        silence = silence.max(last.elapsed());
        last = Instant::now();
        if last >= end {
            return (all, silence);
        }
    }
}

/// The texts of this type.
fn told(heard: &[Heard], wanted: &str) -> Vec<Value> {
    let texts = heard.iter().filter(|message| message.is_text());
    let values = texts.map(|text| serde_json::from_str::<Value>(text.to_text().unwrap()).unwrap());
    values.filter(|value| value["type"] == wanted).collect()
}

fn media(heard: &[Heard]) -> usize {
    heard.iter().filter(|message| message.is_binary()).count()
}

#[tokio::test(start_paused = true)]
async fn a_page_hears_of_a_slow_camera_of_one_it_cannot_play_and_of_one_that_is_away() {
    let recording = Connection::Recording;
    let away = Connection::Waiting(GapReason::CameraSilent);
    let cases = [
        ("slow", CodecKind::H264, "avc1", recording, (3, "time")),
        ("slow Motion JPEG", CodecKind::Jpeg, "avc1", recording, (3, "time")),
        ("unplayable", CodecKind::H264, "vp09", recording, (0, "unplayable")),
        ("away", CodecKind::H264, "avc1", away, (0, "waiting")),
    ];
    for (case, kind, playable, connection, (pieces, also)) in cases {
        let bench = Bench::new();
        let stream = stream(kind);
        stream.set_connection(connection, Clock::new().wall());
        let mut socket = connect(&bench, &stream, &[playable]).await;
        watched(&stream).await;
        let begin = Instant::now();
        let (mut heard, mut longest) = (Vec::new(), Duration::ZERO);
        // A picture every ten seconds, as cameras send them that are to save a line.
        for number in 0..3 {
            if connection == recording {
                show(&stream, number * 250, true, 100);
            }
            let end = begin + Duration::from_secs(10) * u32::try_from(number + 1).unwrap();
            let (more, silence) = hear(&mut socket, end).await;
            heard.extend(more);
            longest = longest.max(silence);
        }
        assert!(longest < SILENCE / 3, "{case}: nothing for {longest:?}");
        assert!(media(&heard) >= pieces, "{case}: {heard:?}");
        assert!(!told(&heard, also).is_empty(), "{case}: {heard:?}");
        let alive = told(&heard, "alive");
        assert!(alive.len() > 20 && alive.iter().all(|alive| alive["now"].is_string()), "{case}: {heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lost_its_group_of_pictures_is_told_before_the_next_key_frame() {
    let bench = Bench::new();
    let stream = stream(CodecKind::H264);
    let mut socket = connect(&bench, &stream, &["avc1"]).await;
    watched(&stream).await;
    // It reads nothing while more pictures of one group come than are held.
    for number in 0..40 {
        show(&stream, number, number == 0, 1 << 20);
        sleep(Duration::from_millis(40)).await;
    }
    let (heard, _) = hear(&mut socket, Instant::now() + Duration::from_secs(3)).await;
    let at_once: u64 = told(&heard, "skipped").iter().map(|told| told["frames"].as_u64().unwrap()).sum();
    let given = media(&heard) - 1;
    assert!(
        given < 20 && given + usize::try_from(at_once).unwrap() == 40,
        "{given} given, {at_once} skipped"
    );

    (40..43).for_each(|number| show(&stream, number, number == 42, 100));
    let (heard, _) = hear(&mut socket, Instant::now() + Duration::from_secs(2)).await;
    let rest = told(&heard, "skipped");
    assert_eq!((rest.len(), &rest[0]["frames"]), (1, &json!(2)), "those before the key frame");
    assert_eq!(media(&heard), 1);
}
