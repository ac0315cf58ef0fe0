//! Recorded footage fetched over the network: every frame exactly once, whatever the server does.
//!
//! The server is a virtual camera with a card that was filled with an hour of 25 frames a second, of which five minutes
//! are missing. Frames carry their numbers, so that what came can be compared with what was recorded.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use keepwatch_lab::{CardOptions, EncoderSettings, Fault, FrameStamp, SiteOptions, VirtualSite};
use keepwatch_model::{Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recorder::fetch::{
    Appetite, ClientConfig, FetchAccount, FetchControl, FetchEnd, FetchOrder, FetchSink, FetchedSample,
    Missing, MissingReason, Part, RateControl, fetch,
};

use super::process::finished;

const FROM: &str = "2026-03-01T10:00:00Z";
const TO: &str = "2026-03-01T11:00:00Z";
const GAP: (&str, &str) = ("2026-03-01T10:20:00Z", "2026-03-01T10:25:00Z");
/// Frames of the hour that were recorded.
const FRAMES: usize = 55 * 60 * 25;

fn at(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn span(from: &str, to: &str) -> Span {
    Span::new(at(from), at(to)).unwrap()
}

fn hour() -> Span {
    span(FROM, TO)
}

/// The camera with the card.
struct Archive {
    site: VirtualSite,
    _directory: tempfile::TempDir,
}

impl Archive {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let card = CardOptions {
            directory: directory.path().join("the cards"),
            size_bytes: 256 << 20,
            prefill: Some(hour()),
            gaps: vec![span(GAP.0, GAP.1)],
        };
        let encoder = EncoderSettings {
            bits_per_second: 100_000,
            width: 320,
            height: 160,
            ..EncoderSettings::default()
        };
        let onvif = Some("127.0.0.1:0".parse().unwrap());
        let options = SiteOptions { encoder, card: Some(card), onvif, ..SiteOptions::default() };
        let site = VirtualSite::start(options).await.unwrap();
        // What the camera would go on to record is not of interest.
        site.apply("cam1", Fault::Card { state: keepwatch_lab::CardState::Full }).unwrap();
        Self { site, _directory: directory }
    }

    fn url(&self) -> String {
        self.site.url("cam1/card")
    }

    fn order(&self, span: Span, pace: RateControl) -> FetchOrder {
        let client = ClientConfig::new(self.url().parse().unwrap());
        FetchOrder { client, span, audio: true, metadata: false, pace, sections: None }
    }

    /// Fetches `span` as fast as possible with these faults.
    async fn fetch(&self, span: Span, faults: &[Fault]) -> (FetchAccount, Frames) {
        self.site.apply("cam1", Fault::Heal).unwrap();
        self.site.apply("cam1", Fault::Card { state: keepwatch_lab::CardState::Full }).unwrap();
        for fault in faults {
            self.site.apply("cam1", *fault).unwrap();
        }
        let mut frames = Frames::default();
        let order = self.order(span, RateControl::Free);
        let account = fetch(&order, &FetchControl::new(), &mut frames).await.unwrap();
        (account, frames)
    }
}

/// Keeps the numbers of the frames, and the times of the sound.
#[derive(Debug, Default)]
struct Frames {
    numbers: Vec<u64>,
    sounds: Vec<WallTime>,
    /// The sink is full for so long after each read.
    rests: Option<Duration>,
    rested: Option<Instant>,
}

impl FetchSink for Frames {
    type Error = String;

    fn begin(&mut self, tracks: &[TrackConfig]) -> Result<(), String> {
        if tracks.len() == 2 { Ok(()) } else { Err(format!("{} tracks", tracks.len())) }
    }

    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), String> {
        if sample.part == Part::Lead {
            return Ok(());
        }
        if sample.track == 1 {
            self.sounds.push(sample.time);
            return Ok(());
        }
        let stamp = FrameStamp::find(sample.data).ok_or("a frame without a number")?;
        self.numbers.push(stamp.number);
        if stamp.capture == sample.time {
            Ok(())
        } else {
            Err(format!("frame {} of {} is said to be of {}", stamp.number, stamp.capture, sample.time))
        }
    }

    fn appetite(&mut self) -> Result<Appetite, String> {
        let Some(rests) = self.rests else { return Ok(Appetite::Hungry) };
        let since = *self.rested.get_or_insert_with(Instant::now);
        if since.elapsed() < rests {
            return Ok(Appetite::Full);
        }
        self.rested = None;
        Ok(Appetite::Hungry)
    }
}

/// Asserts that `numbers` are all frames of the hour, each once, in order, and none else.
fn assert_whole(numbers: &[u64], what: &str) {
    assert_eq!(numbers.len(), FRAMES, "{what}");
    let steps: Vec<_> = numbers.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step != 1).collect();
    assert_eq!(steps, [5 * 60 * 25 + 1], "{what}: in order, and nothing but the gap is missing");
}

fn gap() -> Vec<Missing> {
    vec![Missing { span: span(GAP.0, GAP.1), reason: MissingReason::NotRecorded }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_of_an_hour_with_a_gap_is_fetched_once_whatever_the_server_does() {
    let archive = Archive::start().await;
    let drops = |frames, times| Fault::DropAfter { frames, times };
    let cases: [(&str, &[Fault], u64); 6] = [
        ("healthy", &[], 0),
        ("twenty drops", &[drops(4_000, 20)], 20),
        ("twenty drops soon after each other", &[drops(90, 20)], 20),
        ("no marks", &[Fault::NoMarks { on: true }], 0),
        ("twenty drops without marks", &[Fault::NoMarks { on: true }, drops(4_000, 20)], 20),
        ("the end of the range ignored", &[Fault::IgnoreRangeEnd { on: true }, drops(4_000, 20)], 20),
    ];
    for (what, faults, drops) in cases {
        let (account, frames) = archive.fetch(hour(), faults).await;
        assert_whole(&frames.numbers, what);
        assert_eq!((account.end, account.broken_off), (FetchEnd::Complete, drops), "{what}");
        assert_eq!(account.missing, gap(), "{what}");
        assert!(account.report.repeated > 0 || drops == 0, "{what}");
        // Packets of 20 ms; the gap lies between two of them.
        let sounds: BTreeSet<_> = frames.sounds.iter().collect();
        assert_eq!((sounds.len(), frames.sounds.len()), (FRAMES * 2, FRAMES * 2), "{what}");
    }
}

/// An hour in real time takes an hour, unless its parts run at once; joined they must be the hour again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_in_real_time_is_fetched_in_parts_that_join_without_a_frame_missing_or_twice() {
    const PARTS: i64 = 180;
    let archive = Archive::start().await;
    let ticks = hour().ticks() / PARTS;
    let begun = Instant::now();
    let parts: Vec<_> = (0..PARTS)
        .map(|part| {
            let from = hour().from.plus(ticks * part);
            let order = archive.order(Span::new(from, from.plus(ticks)).unwrap(), RateControl::Paced);
            tokio::spawn(async move {
                let mut frames = Frames::default();
                let account = fetch(&order, &FetchControl::new(), &mut frames).await.unwrap();
                (account, frames.numbers)
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for part in parts {
        let (account, mut held) = part.await.unwrap();
        let in_gap = span(GAP.0, GAP.1).contains(account.span.from);
        assert_eq!(held.len(), if in_gap { 0 } else { 20 * 25 }, "{account:?}");
        numbers.append(&mut held);
    }
    assert_whole(&numbers, "joined");
    assert!(begun.elapsed() >= Duration::from_secs(19), "it came faster than it was recorded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_is_limited_held_by_its_sink_and_cancelled_with_a_true_account() {
    let archive = Archive::start().await;
    let minute = span("2026-03-01T10:10:00Z", "2026-03-01T10:11:00Z");
    let order = archive.order(minute, RateControl::Free);

    // A sink that rests longer than a server may be silent near the end, again and again.
    let mut frames = Frames { rests: Some(Duration::from_millis(2_500)), ..Frames::default() };
    let account = fetch(&order, &FetchControl::new(), &mut frames).await.unwrap();
    assert_eq!((account.end, frames.numbers.len()), (FetchEnd::Complete, 1_500));
    assert_eq!(account.report.attempts, 1, "it was not taken for silence");

    let control = FetchControl::new();
    control.limit(NonZeroU64::new(400_000));
    let mut frames = Frames::default();
    let account = fetch(&order, &control, &mut frames).await.unwrap();
    assert!(account.is_whole(), "{account:?}");
    let least = Duration::from_millis(account.bytes() / 400);
    assert!(account.elapsed + Duration::from_millis(300) >= least, "{:?} for {least:?}", account.elapsed);

    let control = FetchControl::new();
    let order = archive.order(minute, RateControl::Paced);
    let mut progress = control.progress();
    let canceller = control.clone();
    let mut frames = Frames::default();
    let (account, _) = tokio::join!(fetch(&order, &control, &mut frames), async {
        progress.wait_for(|progress| progress.samples > 10).await.unwrap();
        canceller.cancel();
    });
    let account = account.unwrap();
    assert_eq!(account.end, FetchEnd::Cancelled);
    let [missing] = account.missing.as_slice() else { panic!("{account:?}") };
    assert_eq!((missing.reason, missing.span.to), (MissingReason::Cancelled, minute.to));
    let taken = u64::try_from(missing.span.from.ticks_since(minute.from) / (TICKS_PER_SECOND / 25)).unwrap();
    assert_eq!(account.tracks[0].samples, taken, "what is told as missing is what did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_writes_a_file_and_an_account_by_either_address() {
    let archive = Archive::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a b.mp4");
    let device = archive.site.devices().remove(0);
    let run = |source: [String; 2], from: &str, to: &str, file: Option<&Path>| {
        let (from, to, file) = (from.to_owned(), to.to_owned(), file.map(Path::to_owned));
        tokio::task::spawn_blocking(move || {
            let mut arguments = vec!["fetch".to_owned(), "--json".to_owned(), "--from".to_owned(), from];
            arguments.extend(["--to".to_owned(), to]);
            arguments.extend(source);
            if let Some(file) = file {
                arguments.extend(["-o".to_owned(), file.to_str().unwrap().to_owned()]);
            }
            let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
                arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>).collect();
            let (code, stdout, stderr) = finished(&arguments);
            (code, serde_json::from_str::<serde_json::Value>(&stdout).unwrap_or_default(), stderr)
        })
    };
    let url = || ["--url".to_owned(), archive.url()];
    let onvif = || ["--onvif".to_owned(), device.clone()];

    // It begins between two key frames: what leads in is in the file, and trimmed from the account.
    let (from, to) = ("2026-03-01T10:10:00.5Z", "2026-03-01T10:10:10Z");
    let (code, account, stderr) = run(url(), from, to, Some(&file)).await.unwrap();
    assert_eq!(code, 0, "{stderr}{account}");
    assert_eq!(account["tracks"][0]["samples"], 237, "{account}");
    assert_eq!((&account["whole"], &account["file"]["left_out"]), (&true.into(), &0.into()), "{account}");
    assert_eq!(account["file"]["bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");

    let (from, to) = ("2026-03-01T10:19:00Z", "2026-03-01T10:26:00Z");
    let (code, account, stderr) = run(onvif(), from, to, None).await.unwrap();
    assert_eq!((code, &account["tracks"][0]["samples"]), (3, &3_000.into()), "{stderr}{account}");
    assert_eq!(account["missing"].as_array().unwrap().len(), 1, "{account}");
    assert_eq!(account["missing"][0]["reason"], "not_recorded", "{account}");

    let gone = directory.path().join("gone.mp4");
    let (code, account, stderr) = run(url(), GAP.0, GAP.1, Some(&gone)).await.unwrap();
    assert_eq!((code, account["bytes"].as_u64()), (3, Some(0)), "{stderr}{account}");
    assert!(!gone.exists() && account["file"].is_null());

    let (code, _, stderr) = run(onvif(), "2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z", None).await.unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("the device has no footage from 2020-01-01T00:00:00"), "{stderr}");
    let nowhere = ["--url".to_owned(), archive.site.url("cam9/card")];
    let (code, _, stderr) = run(nowhere, FROM, TO, None).await.unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("nothing could be fetched: ") && stderr.contains("404"), "{stderr}");
}
