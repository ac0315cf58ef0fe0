//! Servers that lie, as sources of the real server: what is fetched is inside what was asked for, each frame once, and
//! it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keepwatch_media::h264;
use keepwatch_media::replay::FrameMark;
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, WallTime};
use keepwatch_rtsp::server::{
    Delivery, Media, NextMedia, OpenRequest, PlayAnswer, PlayError, Refusal, Server, Service, Source,
};

use super::*;

/// Baseline profile, 320x240.
const BASELINE: &[u8] = &[
    0x01, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80, 0x01, 0x00,
    0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
];

const FRAME_TICKS: i64 = TICKS_PER_SECOND / 25;

/// Frames that each replay has at most.
const FRAMES: i64 = 2_000;

fn track() -> TrackConfig {
    TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: BASELINE.to_vec() }
}

pub(super) fn wall(frame: i64) -> WallTime {
    WallTime::from_ticks(1_772_359_200 * TICKS_PER_SECOND + frame * FRAME_TICKS)
}

pub(super) fn frames(first: i64, end: i64) -> Span {
    Span::new(wall(first), wall(end)).unwrap()
}

/// An access unit that says its number behind the header of its slice.
pub(super) fn unit(number: i64) -> Vec<u8> {
    let mut unit = Vec::new();
    // The first macroblock is number 0: a picture begins here.
    let kind = if number % 25 == 0 { 0x65 } else { 0x41 };
    let mut slice = vec![kind, 0x88];
    slice.extend(number.to_string().bytes());
    h264::write_unit(&mut unit, &slice);
    unit
}

fn number_of(sample: &[u8]) -> i64 {
    let slice = h264::units(sample).last().unwrap().unwrap();
    std::str::from_utf8(&slice[2..]).unwrap().parse().unwrap()
}

/// What a server does wrong with the frames that it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    None,
    /// The marks are off by so many ticks.
    Off(i64),
    /// The marks go back a minute every ten seconds.
    Loops,
    /// The marks jump wildly.
    Noise,
    /// Every replay begins with the same ten seconds, and has no more.
    Beginning,
}

impl Lie {
    /// How many frames come before the connection is closed.
    fn frames(self) -> i64 {
        if self == Self::Beginning { 250 } else { FRAMES }
    }

    /// The time in the mark of frame `number`, the `count`-th that is sent.
    fn time(self, number: i64, count: i64) -> WallTime {
        match self {
            Self::None | Self::Beginning => wall(number),
            Self::Off(by) => wall(number).plus(by),
            Self::Loops => wall(number - count / 250 * 1_500),
            Self::Noise => {
                let noise = count.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ (count << 33);
                if count % 3 == 0 { WallTime::from_ticks(noise) } else { wall(number) }
            }
        }
    }
}

struct Liar {
    lie: Lie,
    replays: Arc<AtomicU32>,
}

struct Footage {
    lie: Lie,
    first: i64,
    count: i64,
}

impl Service for Liar {
    fn password(&self, _user: &str) -> Option<keepwatch_rtsp::Secret> {
        None
    }

    fn needs_login(&self) -> bool {
        false
    }

    fn open(&self, _request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        self.replays.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Footage { lie: self.lie, first: 0, count: 0 }))
    }
}

impl Source for Footage {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![track()]
    }

    fn next(&mut self) -> NextMedia<'_> {
        if self.count >= self.lie.frames() {
            return Box::pin(std::future::ready(None));
        }
        let (number, count) = (self.first + self.count, self.count);
        self.count += 1;
        let key = number % 25 == 0;
        let time = self.lie.time(number, count);
        let mark = FrameMark {
            time,
            clean_point: key,
            ends_section: false,
            discontinuity: false,
            terminal: false,
            sequence: 0,
        };
        let media = Media {
            track: 0,
            timestamp: u32::try_from((number * FRAME_TICKS).rem_euclid(1 << 32)).unwrap(),
            capture: wall(number),
            key,
            data: unit(number).into(),
            prefix: Default::default(),
            lost_packets: 0,
            mark: Some(mark),
        };
        Box::pin(std::future::ready(Some(media)))
    }

    fn delivery(&self) -> Delivery {
        Delivery::Complete
    }

    fn is_broken(&self) -> bool {
        self.count >= self.lie.frames()
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if let Some(range) = request.range.filter(|_| self.lie != Lie::Beginning) {
            let number = range.from.ticks_since(wall(0)).div_euclid(FRAME_TICKS);
            self.first = number.div_euclid(25) * 25;
        }
        Ok(PlayAnswer::granted(request))
    }
}

/// Keeps the numbers that the frames say, and the times that the server said.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) numbers: Vec<i64>,
    times: Vec<WallTime>,
}

impl FetchSink for Kept {
    type Error = std::convert::Infallible;

    fn begin(&mut self, _tracks: &[TrackConfig]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), Self::Error> {
        if sample.part == Part::Wanted {
            self.numbers.push(number_of(sample.data));
            self.times.push(sample.time);
        }
        Ok(())
    }
}

/// Fetches `span` from a server that lies.
async fn fetched(lie: Lie, span: Span) -> (FetchAccount, Kept, u32) {
    let replays = Arc::new(AtomicU32::new(0));
    let service = Arc::new(Liar { lie, replays: replays.clone() });
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), service).await.unwrap();
    let address = server.local_addr();
    let serving = tokio::spawn(server.run());
    let client = ClientConfig::new(format!("rtsp://{address}/r").parse().unwrap());
    let order =
        FetchOrder { client, span, audio: true, metadata: true, pace: RateControl::Free, sections: None };
    let mut kept = Kept::default();
    let control = FetchControl::new();
    let fetching = tokio::time::timeout(Duration::from_secs(120), fetch(&order, &control, &mut kept));
    let account = fetching.await.expect("it ends").unwrap();
    serving.abort();
    (account, kept, replays.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_server_gives_exactly_what_was_asked_for() {
    let (account, kept, replays) = fetched(Lie::None, frames(110, 310)).await;
    assert!(account.is_whole(), "{account:?}");
    assert_eq!((kept.numbers, replays), ((110..310).collect::<Vec<_>>(), 1));
    // The server is hung up behind a clean point behind the range, or when all that was asked for has come.
    assert_eq!((account.report.lead, account.report.beyond), (10, 17));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lies_about_its_times_gets_nothing_in_twice_or_from_elsewhere_and_it_ends() {
    let span = frames(110, 1_310);
    let hour = 3_600 * TICKS_PER_SECOND;
    let off = [Lie::Off(hour), Lie::Off(-hour), Lie::Off(500_000 * hour)];
    let lies = [off[0], off[1], off[2], Lie::Loops, Lie::Noise, Lie::Beginning];
    let fetching: Vec<_> = lies.map(|lie| tokio::spawn(fetched(lie, span))).into();
    for (lie, fetching) in lies.into_iter().zip(fetching) {
        let (account, kept, replays) = fetching.await.unwrap();
        assert!(kept.times.iter().all(|time| span.contains(*time)), "{lie:?}");
        let distinct: BTreeSet<_> = kept.times.iter().collect();
        assert_eq!(distinct.len(), kept.times.len(), "{lie:?}: {account:?}");
        assert!(replays <= 100, "{lie:?}: {replays} replays");
        let missing: i64 = account.missing.iter().map(|missing| missing.span.ticks()).sum();
        match lie {
            Lie::Off(_) => {
                assert_eq!((kept.numbers.len(), missing), (0, span.ticks()), "{lie:?}: {account:?}");
            }
            Lie::Beginning => assert_eq!(kept.numbers, (110..250).collect::<Vec<_>>(), "{account:?}"),
            Lie::None | Lie::Loops | Lie::Noise => assert!(!kept.numbers.is_empty(), "{lie:?}: {account:?}"),
        }
    }
}

/// What is in the media of a file.
fn sample(number: i64, part: Part) -> (Vec<u8>, Part, i64) {
    (unit(number), part, number)
}

#[test]
fn a_file_begins_at_the_last_lead_in_and_holds_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b.mp4");
    let mut sink = MovieSink::create(&path, frames(60, 100), "Gate").unwrap();
    let config = track();
    sink.begin(std::slice::from_ref(&config)).unwrap();
    // A replay broke off in its lead, and the next one began with an older group of pictures.
    let leads = (25..40).chain(0..5).chain(50..60).map(|number| sample(number, Part::Lead));
    let wanted = (60..100).map(|number| sample(number, Part::Wanted));
    for (data, part, number) in leads.chain(wanted) {
        let (time, key) = (wall(number), number % 25 == 0);
        let sample =
            FetchedSample { track: 0, config: &config, part, time, key, lost_packets: 0, data: &data };
        sink.sample(&sample).unwrap();
    }
    assert_eq!(sink.left_out(), 0);
    let bytes = sink.finish().unwrap();
    let file = std::fs::read(&path).unwrap();
    assert_eq!(u64::try_from(file.len()).unwrap(), bytes);
    let media: Vec<u8> = (50..100).flat_map(unit).collect();
    assert!(file.ends_with(&media));
    assert!(file.len() < media.len() + 2_000, "the header is all that comes before");
}

#[test]
fn pictures_that_cannot_be_decoded_are_left_out_and_told_and_without_any_there_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    for (first, left_out) in [(60, 15), (80, 20)] {
        let path = directory.path().join(format!("{first}.mp4"));
        let mut sink = MovieSink::create(&path, frames(60, 100), "Gate").unwrap();
        let config = track();
        sink.begin(std::slice::from_ref(&config)).unwrap();
        for number in first..100 {
            let (data, part, _) = sample(number, Part::Wanted);
            let (time, key) = (wall(number), number == 75);
            let sample =
                FetchedSample { track: 0, config: &config, part, time, key, lost_packets: 0, data: &data };
            sink.sample(&sample).unwrap();
        }
        assert_eq!(sink.left_out(), left_out);
        assert_eq!(sink.finish().is_ok(), first == 60);
        assert_eq!(path.exists(), first == 60);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
