//! Pictures that come in another order than they are shown (B-frames), from a camera that is not ours: live and played.

use std::collections::BTreeSet;
use std::time::Duration;

use keepwatch_it::{GstCamera, GstOptions, Movie, Node, Site, Watched};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::Value;

use crate::shared;

const PATIENCE: Duration = Duration::from_secs(60);
/// Ticks from one frame to the next.
const FRAME: i64 = TICKS_PER_SECOND / 25;

fn label(text: &Value) -> WallTime {
    text.as_str().unwrap().parse().unwrap()
}

/// Pictures that may stand at the end although one that is shown before them is still to come.
const AHEAD_MAX: usize = 2;

/// When pictures are shown, each once and none missing but at the very end, although they come in another order.
fn shown(movie: &Movie) -> Vec<i64> {
    let mut times: Vec<i64> = movie.pictures.iter().map(|picture| picture.pts).collect();
    assert_eq!(usize::try_from(movie.shown).unwrap(), times.len(), "each is decoded, from the first on");
    assert!(!times.is_sorted(), "they are decoded in another order than shown");
    times.sort_unstable();
    let whole = whole(&times);
    assert!(times.len() - whole <= AHEAD_MAX, "{whole} of {times:?}");
    times
}

/// How many are shown one frame behind the other.
fn whole(times: &[i64]) -> usize {
    let hole = times.windows(2).position(|pair| (pair[1] - pair[0] - FRAME).abs() > 50);
    hole.map_or(times.len(), |before| before + 1)
}

#[test]
fn reordered_pictures_are_watched_live_and_played_without_a_hole() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let options = GstOptions {
        frames: 1_500,
        codec: "h264",
        b_frames: 2,
        audio: None,
        in_band: true,
        transport: "tcp",
        login: None,
    };
    let camera = GstCamera::start(&site, options).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", camera.url().to_owned())]).unwrap();
    let node = Node::start(&site).unwrap();
    let from = node.first_label("cam1").unwrap();
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    let listed = |span: Span| -> Vec<WallTime> {
        let path = format!("/api/v1/cameras/cam1/frames?from={}&to={}", span.from, span.to);
        let page = node.http().get(&path).unwrap();
        page["items"].as_array().unwrap().iter().map(|frame| label(&frame["label"])).collect()
    };
    node.wait_durable("cam1", second(4), PATIENCE).unwrap();

    // Live: every picture from the first on, each at the label that it is recorded with.
    let mut socket = node.http().websocket("/api/v1/cameras/cam1/live").unwrap();
    let mut watched = Watched::default();
    watched.take(&mut socket, Duration::from_secs(6)).unwrap();
    drop(socket);
    let init = watched.told("init");
    assert_eq!(init.len(), 1, "{:?}", watched.texts);
    let movie = Movie::read(&watched.save(&site, "live.mp4").unwrap()).unwrap();
    let mut times = shown(&movie);
    times.truncate(whole(&times));
    assert!(times.len() > 100, "{}", times.len());
    let start = label(&init[0]["start"]);
    let (first, last) = (start.plus(times[0]), start.plus(times[times.len() - 1]));
    node.wait_durable("cam1", last.plus(2 * FRAME), PATIENCE).unwrap();
    let recorded = listed(Span::new(first.plus(-FRAME / 2), last.plus(FRAME / 2)).unwrap());
    assert_eq!(recorded.len(), times.len());
    for (time, recorded) in times.iter().zip(&recorded) {
        // Labels are steered by 500 ppm, which is decided when a record of a second is closed.
        let off = start.plus(*time).ticks_since(*recorded).abs();
        assert!(off <= 50, "{recorded} was shown {off} ticks off");
    }

    // Played: a window has what is listed, and windows that share an edge share no picture and miss none.
    let play = |span: Span, name: &str| {
        let query = format!("from={}&to={}&base={from}", span.from, span.to);
        let answer =
            node.http().request("GET", &format!("/api/v1/cameras/cam1/media.mp4?{query}"), None).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let base: WallTime = answer.header("keepwatch-base").unwrap().parse().unwrap();
        let path = site.path().join(name);
        std::fs::write(&path, answer.body).unwrap();
        let movie = Movie::read(&path).unwrap();
        let labels = shown(&movie).into_iter().map(|time| base.plus(time));
        // What stands ahead of what is shown before it may be behind the end.
        labels.filter(|label| *label < span.to).collect::<Vec<_>>()
    };
    let span = Span::new(from, second(8)).unwrap();
    let played = play(span, "whole.mp4");
    let expected = listed(span);
    let missing = |some: &[WallTime], of: &[WallTime]| -> Vec<i64> {
        let lacks = of.iter().filter(|label| !some.iter().any(|other| other.ticks_since(**label).abs() <= 1));
        lacks.map(|label| label.ticks_since(from) / FRAME).collect()
    };
    let lacking = (missing(&played, &expected), missing(&expected, &played));
    assert_eq!(lacking, (vec![], vec![]), "frames that are listed and not played, played and not listed");
    for (label, expected) in played.iter().zip(&expected) {
        assert!(label.ticks_since(*expected).abs() <= 1, "{label} {expected}");
    }
    let mut joined = BTreeSet::new();
    let mut at = from;
    while at < span.to {
        let to = at.plus(TICKS_PER_SECOND * 17 / 10).min(span.to);
        joined.extend(play(Span::new(at, to).unwrap(), "part.mp4"));
        at = to;
    }
    assert!(joined.iter().eq(&played), "{} of {}", joined.len(), played.len());
    node.end().unwrap();
}
