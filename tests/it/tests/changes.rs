//! A camera whose coding changes: what is exported and what is played over the change.

use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, run, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::json;

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a page is given of a window.
struct Played {
    mime: String,
    next: Option<WallTime>,
    numbers: Vec<u64>,
}

fn play(site: &Site, node: &Node, span: Span) -> Played {
    let path = format!("/api/v1/cameras/gate/media.mp4?from={}&to={}", span.from, span.to);
    let answer = node.http().request("GET", &path, None).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let file = site.path().join("played.mp4");
    std::fs::write(&file, &answer.body).unwrap();
    let movie = Movie::read(&file).unwrap();
    assert_eq!(usize::try_from(movie.shown).unwrap(), movie.pictures.len(), "each can be decoded");
    Played {
        mime: answer.header("keepwatch-mime").unwrap().to_owned(),
        next: answer.header("keepwatch-next").map(|next| next.parse().unwrap()),
        numbers: movie.pictures.iter().filter_map(|picture| picture.number).collect(),
    }
}

#[test]
fn footage_of_two_codings_is_exported_whole_and_played_on_behind_the_change() {
    let _machine = shared();
    let (site, elsewhere) = (Site::new().unwrap(), Site::new().unwrap());
    let before = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let after = Cameras::start_with(&elsewhere, 1, "127.0.0.1", &["--codec", "h265"]).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("gate", before.url("cam1"))]).unwrap();
    let mut node = Node::start(&site).unwrap();
    let from = node.first_label("gate").unwrap();
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    node.wait_durable("gate", second(5), PATIENCE).unwrap();
    // Somebody sets the camera to H.265: it is dialled anew, and all else stays.
    reconfigure(&site, &before.url("cam1"), &after.url("cam1"));
    node.program().signal(libc::SIGHUP);
    wait_until("the other coding", PATIENCE, || {
        let tracks = &node.camera("gate")?["streams"][0]["tracks"];
        Ok((tracks[0] == "h265").then_some(()))
    })
    .unwrap();
    let until = node.durable_until("gate").unwrap().unwrap().max(second(5)).plus(5 * TICKS_PER_SECOND);
    node.wait_durable("gate", until, PATIENCE).unwrap();
    let span = Span::new(from, until).unwrap();

    // Played: the first window ends at the change and says where it goes on; no frame is between.
    let first = play(&site, &node, span);
    assert!(first.mime.contains("avc1."), "{}", first.mime);
    let next = first.next.expect("where it goes on");
    let second = play(&site, &node, Span::new(next, until).unwrap());
    assert!(second.mime.contains("hvc1.") && second.next.is_none(), "{} {:?}", second.mime, second.next);
    let listed = |span: Span| {
        let path = format!("/api/v1/cameras/gate/frames?from={}&to={}", span.from, span.to);
        node.http().get(&path).unwrap()["items"].as_array().unwrap().len()
    };
    assert_eq!(
        (first.numbers.len(), second.numbers.len()),
        (listed(Span::new(from, next).unwrap()), listed(Span::new(next, until).unwrap()))
    );
    for numbers in [&first.numbers, &second.numbers] {
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }

    // Exported: one file of each coding, with the same frames.
    let order = json!({"cameras": ["gate"], "from": span.from, "to": span.to});
    let created = node.http().request("POST", "/api/v1/exports", Some(&order)).unwrap().success().unwrap();
    let path = format!("/api/v1/exports/{}", created["id"].as_str().unwrap());
    wait_until("the export", PATIENCE, || {
        let job = node.http().get(&path)?;
        assert_ne!(job["state"], "failed", "{job}");
        Ok((job["state"] == "done").then_some(()))
    })
    .unwrap();
    let archive = node.http().request("GET", &format!("{path}/file"), None).unwrap();
    std::fs::write(site.path().join("export.zip"), archive.body).unwrap();
    let out = site.make("out").unwrap();
    let mut unzip = std::process::Command::new("unzip");
    run(unzip.args(["-q", "export.zip", "-d", "out"]).current_dir(site.path()), PATIENCE)
        .unwrap()
        .success()
        .unwrap();
    let mut movies: Vec<_> = std::fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "mp4"))
        .collect();
    movies.sort_unstable();
    let movies: Vec<Movie> = movies.iter().map(|path| Movie::read(path).unwrap()).collect();
    let found: Vec<_> = movies.iter().map(|movie| (movie.codecs[0].as_str(), movie.numbers())).collect();
    assert_eq!(found, [("h264", first.numbers), ("hevc", second.numbers)]);
    node.end().unwrap();
}
