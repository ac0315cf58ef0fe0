//! Windows of footage that is written by hand, taken apart by a parser that did not write them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use keepwatch_model::Origin;
use keepwatch_store::{
    Commit, DiskConfig, DiskEvent, Loss, Reclaim, RecordMeta, RunId, StoreConfig, StoreEvents, StreamWriter,
    TRACKS_MAX,
};
use tempfile::TempDir;

use super::*;
use crate::watch::segments::{Seen, samples};

const FRAME: i64 = 3_600;
const SECOND: i64 = TICKS_PER_SECOND;
const START: WallTime = WallTime::from_ticks(160_000_000_000_000);
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn camera() -> CameraId {
    "gate".parse().unwrap()
}

struct Ear(std::sync::Mutex<Sender<()>>);

impl StoreEvents for Ear {
    fn durable(&self, _: &Commit) {
        let _ = self.0.lock().unwrap().send(());
    }
    fn lost(&self, loss: &Loss) {
        panic!("{loss:?}");
    }
    fn reclaimed(&self, _: CameraId, _: StreamId, _: &[Span], _: Reclaim) {}
    fn disk(&self, _: &DiskEvent) {}
}

/// A camera whose footage is written by hand: 25 pictures a second, numbered, and 20 ms packets of sound.
pub(crate) struct Site {
    pub(crate) store: Store,
    writer: StreamWriter,
    durable: Receiver<()>,
    run: RunId,
    level: u8,
    /// Added to the label of frame number times its duration.
    shift: i64,
    frame_bytes: usize,
    pub(crate) with_sound: bool,
    /// Number of the next picture.
    pub(crate) next: i64,
    /// Labels by number.
    written: BTreeMap<i64, WallTime>,
    _directory: TempDir,
}

fn tracks(level: u8) -> Vec<TrackConfig> {
    let mut config = vec![1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 10];
    config.extend_from_slice(&[0x67, 0x42, 0xc0, level, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8]);
    config.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    vec![
        TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config },
        TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] },
    ]
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::sized(64 << 20)
    }

    fn sized(bytes: u64) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = DiskConfig::new(directory.path().join("disk"), Some(bytes));
        let (sender, durable) = channel();
        let ear = Arc::new(Ear(std::sync::Mutex::new(sender)));
        let (store, _) = Store::open(StoreConfig::new(directory.path(), vec![disk]), ear).unwrap();
        Self {
            writer: store.writer(camera(), StreamId::MAIN),
            run: store.new_run(),
            store,
            durable,
            level: 30,
            shift: 0,
            frame_bytes: 100,
            with_sound: false,
            next: 0,
            written: BTreeMap::new(),
            _directory: directory,
        }
    }

    pub(crate) fn label(&self, number: i64) -> WallTime {
        START.plus(number * FRAME + self.shift)
    }

    /// A record of the next `frames` pictures, in the order that `order` makes of their places.
    fn record_in(&mut self, frames: i64, order: impl Fn(i64) -> i64) {
        let (first, end) = (self.next, self.next + frames);
        for place in 0..frames {
            let number = first + order(place);
            let mut data = number.to_be_bytes().to_vec();
            data.resize(self.frame_bytes, 7);
            self.writer.push(0, number * FRAME, number % 25 == 0, &data).unwrap();
            self.written.insert(number, self.label(number));
        }
        if self.with_sound {
            for packet in 2 * first..2 * end {
                self.writer.push(1, packet * 160, true, &[0x55; 160]).unwrap();
            }
        }
        let mut track_labels = [self.label(first); TRACKS_MAX];
        track_labels[0] = self.label(first + order(0));
        let meta = RecordMeta {
            run: self.run,
            run_start: false,
            continuation: first % 25 != 0,
            // As a recorder does it: up to the picture that begins the next record.
            label: Span { from: self.label(first + order(0)), to: self.label(end + order(0)) },
            track_labels,
            camera_time: None,
            tracks: tracks(self.level).into(),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: None,
            replaces: None,
        };
        self.writer.commit(meta).unwrap();
        self.durable.recv_timeout(PATIENCE).unwrap();
        self.next = end;
    }

    pub(crate) fn record(&mut self, frames: i64) {
        self.record_in(frames, |place| place);
    }

    /// Another run, so much later than the last one ended.
    fn run_after(&mut self, ticks: i64) {
        self.run = self.store.new_run();
        self.shift += ticks;
    }

    fn wanted(&self, from: WallTime, to: WallTime) -> Wanted {
        let window = Span { from, to };
        let (camera, stream) = (camera(), StreamId::MAIN);
        Wanted { camera, stream, window, base: START.plus(-SECOND), frames: Frames::All, sound: true }
    }

    fn play(&self, wanted: Wanted) -> Played {
        let mut playback = Playback::plan(&self.store, wanted).unwrap();
        let (base, next, mime) = (playback.base(), playback.next(), playback.mime().to_owned());
        let mut lost = 0;
        assert!(playback.part(|_, _| ()).unwrap().windows(4).any(|bytes| bytes == b"moov"));
        let mut seen = Vec::new();
        while let Some(part) = playback.part(|_, _| lost += 1) {
            seen.extend(samples(&part));
        }
        Played { base, next, mime, seen, lost }
    }
}

struct Played {
    base: WallTime,
    next: Option<WallTime>,
    mime: String,
    seen: Vec<Seen>,
    lost: usize,
}

impl Played {
    /// Number, label, duration and order of the pictures.
    fn pictures(&self) -> Vec<(i64, WallTime, i64)> {
        let of_video = self.seen.iter().filter(|seen| seen.track == 1);
        of_video
            .map(|seen| {
                let number = i64::from_be_bytes(seen.data[..8].try_into().unwrap());
                (number, self.base.plus(seen.shown), seen.duration)
            })
            .collect()
    }
}

/// Twenty seconds in records of several lengths, with a seam of half a second and a hole of three.
fn footage(site: &mut Site) {
    for frames in [13, 12, 25, 25, 25, 20, 30] {
        site.record(frames);
    }
    site.run_after(SECOND / 2);
    (0..6).for_each(|_| site.record(25));
    site.run_after(3 * SECOND);
    (0..6).for_each(|_| site.record(25));
}

#[test]
fn a_window_holds_each_picture_once_at_its_label_and_shows_it_until_the_next() {
    let mut site = Site::new();
    footage(&mut site);
    let played = site.play(site.wanted(START, START.plus(60 * SECOND)));
    let pictures = played.pictures();
    let expected: Vec<(i64, WallTime)> =
        site.written.iter().map(|(number, label)| (*number, *label)).collect();
    assert_eq!(pictures.iter().map(|(number, label, _)| (*number, *label)).collect::<Vec<_>>(), expected);
    assert_eq!((played.next, played.lost, played.base), (None, 0, START.plus(-SECOND)));
    for pair in pictures.windows(2) {
        let (number, label, duration) = pair[0];
        // Over the seam, too; not into the hole.
        let reaches = if number == 299 { FRAME } else { pair[1].1.ticks_since(label) };
        assert_eq!(duration, reaches, "picture {number}");
    }
    assert_eq!(pictures[149].2, FRAME + SECOND / 2);
    let decoded: Vec<i64> = played.seen.iter().map(|seen| seen.decode).collect();
    assert!(decoded.is_sorted() && decoded[0] >= 0);
}

/// Whatever the cuts, windows together are the whole: what two of them have is the same in both.
#[test]
fn windows_join_whatever_the_cut() {
    let mut site = Site::new();
    site.with_sound = true;
    footage(&mut site);
    let whole = site.play(site.wanted(START, START.plus(60 * SECOND)));
    let all = |played: &Played| {
        let seen = played.seen.iter();
        let placed =
            seen.map(|seen| ((seen.track, played.base.plus(seen.shown)), (seen.duration, seen.data.clone())));
        placed.collect::<BTreeMap<_, _>>()
    };
    let expected = all(&whole);
    assert_eq!(expected.keys().filter(|(track, _)| *track == 1).count(), site.written.len());
    for step in [SECOND, 2 * SECOND + 1_234, 7 * SECOND, 45_001] {
        let mut joined = BTreeMap::new();
        let mut from = START;
        while from < START.plus(24 * SECOND) {
            let to = from.plus(step);
            match Playback::plan(&site.store, site.wanted(from, to)) {
                Ok(_) => {}
                // A window inside of the hole.
                Err(PlaybackError::Footage(FootageError::Empty { .. })) => {
                    from = to;
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            let played = site.play(site.wanted(from, to));
            assert_eq!(played.mime, whole.mime);
            let pictures = played.pictures();
            assert!(pictures[0].0 % 25 == 0 && pictures[0].1 <= from.max(pictures[0].1));
            for (place, part) in all(&played) {
                if let Some(known) = joined.insert(place, part.clone()) {
                    assert_eq!(known, part, "{place:?} in two windows");
                }
            }
            from = to;
        }
        let pictures = |all: &BTreeMap<(u32, WallTime), (i64, Vec<u8>)>| {
            all.iter()
                .filter(|((track, _), _)| *track == 1)
                .map(|(place, part)| (*place, part.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(pictures(&joined), pictures(&expected), "windows of {step}");
        // Of sound nothing that is heard is missing.
        assert!(expected.keys().all(|place| joined.contains_key(place)), "windows of {step}");
    }
}

#[test]
fn sound_reaches_as_far_as_the_pictures_and_is_silent_where_none_was_recorded() {
    let mut site = Site::new();
    site.with_sound = true;
    (0..4).for_each(|_| site.record(25));
    site.with_sound = false;
    (0..4).for_each(|_| site.record(25));
    let played = site.play(site.wanted(START, START.plus(60 * SECOND)));
    assert_eq!(played.mime, "video/mp4; codecs=\"avc1.42C01E,flac\"");
    let heard: Vec<&Seen> = played.seen.iter().filter(|seen| seen.track == 2).collect();
    assert!(played.base.plus(heard[0].shown) <= START);
    for pair in heard.windows(2) {
        let hole = pair[1].decode - pair[0].decode - pair[0].duration;
        assert!((0..=SECOND / 10).contains(&hole), "{hole} at {}", pair[1].decode);
    }
    let end = played.base.plus(heard.last().unwrap().decode + heard.last().unwrap().duration);
    assert!(START.plus(8 * SECOND).ticks_since(end) <= SECOND, "{end}");
    let silent = site.play(Wanted { sound: false, ..site.wanted(START, START.plus(SECOND)) });
    assert!(silent.seen.iter().all(|seen| seen.track == 1) && !silent.mime.contains("flac"));
}

#[test]
fn a_window_ends_where_the_parameters_change_and_says_where_to_go_on() {
    let mut site = Site::new();
    (0..4).for_each(|_| site.record(25));
    site.run_after(0);
    site.level = 31;
    (0..4).for_each(|_| site.record(25));
    let wanted = site.wanted(START.plus(SECOND), START.plus(6 * SECOND));
    let played = site.play(wanted);
    assert_eq!(played.next, Some(START.plus(4 * SECOND)));
    let numbers: Vec<i64> = played.pictures().iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (25..100).collect::<Vec<_>>());
    assert_eq!(played.pictures()[74].2, FRAME, "to where the next window begins");
    let rest = site.play(site.wanted(played.next.unwrap(), wanted.window.to));
    assert_eq!((rest.mime.as_str(), rest.next), ("video/mp4; codecs=\"avc1.42C01F\"", None));
    assert_eq!(rest.pictures().len(), 50);
}

/// As encoders with two B pictures send it; records are cut where they may be.
#[test]
fn reordered_pictures_are_shown_at_their_labels() {
    let mut site = Site::new();
    let order = |place: i64| match (place % 25, place / 25 * 25) {
        (0, base) => base,
        (offset, base) => base + (offset - 1) / 3 * 3 + [3, 1, 2][usize::try_from((offset - 1) % 3).unwrap()],
    };
    (0..4).for_each(|_| site.record_in(25, order));
    let played = site.play(site.wanted(START, START.plus(60 * SECOND)));
    let mut pictures = played.pictures();
    assert!(played.seen.iter().all(|seen| seen.shown >= seen.decode));
    pictures.sort_by_key(|(number, ..)| *number);
    assert_eq!(
        pictures.iter().map(|(number, label, _)| (*number, *label)).collect::<Vec<_>>(),
        site.written.iter().map(|(number, label)| (*number, *label)).collect::<Vec<_>>()
    );
}

/// The labels of a record begin with its first picture, and pictures behind it may be shown before that.
#[test]
fn a_window_that_ends_among_reordered_pictures_holds_all_that_are_shown_before_its_end() {
    let mut site = Site::new();
    let placed = |place: i64, places: [i64; 3]| place / 3 * 3 + places[usize::try_from(place % 3).unwrap()];
    site.record_in(25, |place| if place == 0 { 0 } else { 1 + placed(place - 1, [2, 0, 1]) });
    site.record_in(24, |place| placed(place, [2, 0, 1]));
    for number in 20..40 {
        let played = site.play(site.wanted(START, site.label(number).plus(1)));
        let held: Vec<i64> = played.pictures().iter().map(|(number, ..)| *number).collect();
        let missing: Vec<i64> = (0..=number).filter(|number| !held.contains(number)).collect();
        assert!(missing.is_empty(), "{missing:?} of a window up to {number}");
    }
}

#[test]
fn key_frames_are_thinned_evenly_and_stand_until_the_next() {
    let mut site = Site::new();
    (0..60).for_each(|_| site.record(25));
    let keys = |from: i64, to: i64| Wanted {
        frames: Frames::Key,
        ..site.wanted(START.plus(from * SECOND), START.plus(to * SECOND))
    };
    let played = site.play(keys(0, 60));
    let numbers: Vec<i64> = played.pictures().iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (0..60).map(|second| second * 25).collect::<Vec<_>>());
    assert!(played.pictures().iter().all(|(_, _, duration)| *duration == SECOND));
    // A day has room for one in 144 s.
    let played = site.play(keys(-3_600 * 23, 3_600));
    assert_eq!(played.pictures().len(), 1);
    assert_eq!(site.play(keys(30, 32)).pictures().len(), 2);
}

#[test]
fn the_base_is_lowered_where_the_window_begins_before_it() {
    let mut site = Site::new();
    site.with_sound = true;
    (0..4).for_each(|_| site.record(25));
    let from = START.plus(SECOND + SECOND / 2);
    let played = site.play(Wanted { base: from, ..site.wanted(from, START.plus(3 * SECOND)) });
    assert!(played.base <= START.plus(SECOND) && played.base > START);
    assert_eq!(played.pictures()[0].1, START.plus(SECOND));
    assert!(played.seen.iter().all(|seen| seen.decode >= 0));
}

#[test]
fn where_nothing_is_held_it_says_so() {
    let mut site = Site::new();
    (0..2).for_each(|_| site.record(25));
    for (from, to) in [(-20, -10), (2, 3), (3, 4), (100, 110)] {
        for frames in [Frames::All, Frames::Key] {
            let wanted = Wanted { frames, ..site.wanted(START.plus(from * SECOND), START.plus(to * SECOND)) };
            assert!(
                matches!(
                    Playback::plan(&site.store, wanted),
                    Err(PlaybackError::Footage(FootageError::Empty { .. }))
                ),
                "{from}"
            );
        }
    }
    // A window that begins in a hole has nothing from before it.
    site.run_after(4 * SECOND);
    site.record(25);
    let played = site.play(site.wanted(START.plus(4 * SECOND), START.plus(60 * SECOND)));
    assert_eq!(played.pictures().len(), 25);
}

/// Footage that is overwritten while it is read: the rest comes, and the hole is one in time.
#[test]
fn what_was_overwritten_while_it_is_read_is_passed_over() {
    let mut site = Site::sized(24 << 20);
    site.frame_bytes = 20_000;
    (0..20).for_each(|_| site.record(25));
    let mut playback = Playback::plan(&site.store, site.wanted(START, START.plus(20 * SECOND))).unwrap();
    let first =
        site.store.records(camera(), StreamId::MAIN, Span { from: START, to: START.plus(1) }).unwrap()[0];
    while site.store.read(&first).is_ok() {
        assert!(site.next < 25 * 200, "it is not overwritten");
        site.record(25);
    }
    let mut lost = 0;
    playback.part(|_, _| ()).unwrap();
    let mut seen = Vec::new();
    while let Some(part) = playback.part(|_, _| lost += 1) {
        seen.extend(samples(&part));
    }
    assert!(lost > 0 && lost < 20, "{lost}");
    assert_eq!(seen.len(), (20 - lost) * 25);
    assert!(seen.iter().map(|seen| seen.decode).is_sorted());
    let first = playback.base().plus(seen[0].shown);
    assert_eq!(first, START.plus(i64::try_from(lost).unwrap() * SECOND), "at its label");
}
