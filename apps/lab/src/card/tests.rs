//! Cards that were filled, read back without a server in between.

use std::collections::BTreeMap;

use keepwatch_media::replay::{ClockRange, Frames, PlayRequest, RateControl, Scale};
use keepwatch_rtsp::server::{Media, OpenRequest, PlayError, Service, Source};

use super::*;
use crate::site::Cameras;
use crate::{EncoderSettings, Fault, FrameStamp, SiteOptions};

fn at(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn span(from: &str, to: &str) -> Span {
    Span::new(at(from), at(to)).unwrap()
}

/// A minute with a hole of ten seconds, of 5 frames a second.
struct Filled {
    _directory: tempfile::TempDir,
    cameras: Cameras,
}

impl Filled {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let card = CardOptions {
            directory: directory.path().join("the cards"),
            size_bytes: 32 << 20,
            prefill: Some(span("2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z")),
            gaps: vec![span("2026-03-01T10:00:20Z", "2026-03-01T10:00:30Z")],
        };
        let encoder = EncoderSettings {
            frames_per_second: 5,
            bits_per_second: 100_000,
            width: 320,
            height: 160,
            ..EncoderSettings::default()
        };
        let options = SiteOptions { encoder, gop_frames: 10, card: Some(card), ..SiteOptions::default() };
        Self { _directory: directory, cameras: Cameras::start(&options).unwrap() }
    }

    fn open(&self) -> Option<Box<dyn Source>> {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        self.cameras.open(&OpenRequest { path: "/cam1/card", user: None, peer, secure: false }).ok()
    }

    fn apply(&self, fault: Fault) {
        self.cameras.find("cam1").unwrap().control.apply(fault);
    }

    /// Plays a range to its end.
    async fn play(&self, request: PlayRequest) -> Result<Vec<Media>, PlayError> {
        let mut source = self.open().unwrap();
        source.play(&request)?;
        let mut media = Vec::new();
        while let Some(next) = source.next().await {
            media.push(next);
        }
        Ok(media)
    }
}

fn request(from: &str, to: &str) -> PlayRequest {
    PlayRequest {
        range: Some(ClockRange { from: at(from), to: (!to.is_empty()).then(|| at(to)) }),
        rate_control: RateControl::Free,
        frames: Frames::All,
        immediate: false,
        scale: Scale::NORMAL,
        replay: true,
        cseq: 1,
    }
}

/// Numbers of the pictures.
fn numbers(media: &[Media]) -> Vec<u64> {
    let pictures = media.iter().filter(|media| media.track == 0);
    pictures.map(|media| FrameStamp::find(&media.data).unwrap().number).collect()
}

/// Labels of the media of a track of which `bit` of the mark is set.
fn marked(
    media: &[Media],
    track: usize,
    bit: impl Fn(&keepwatch_media::replay::FrameMark) -> bool,
) -> Vec<String> {
    let of_track = media.iter().filter(|media| media.track == track);
    let found = of_track.filter(|media| media.mark.is_some_and(|mark| bit(&mark)));
    found.map(|media| media.capture.to_string()[11..23].to_owned()).collect()
}

#[tokio::test]
async fn footage_is_played_whole_in_recorded_order_with_its_gap_marked() {
    let filled = Filled::new();
    // The card is not being recorded to here, so it has an end.
    filled.apply(Fault::Card { state: crate::CardState::Full });
    let media = filled.play(request("2026-03-01T09:00:00Z", "")).await.unwrap();
    let numbers = numbers(&media);
    assert_eq!(numbers.len(), 50 * 5);
    let missing: u64 = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    assert_eq!(missing, 10 * 5);
    assert!(media.windows(2).all(|pair| pair[0].capture <= pair[1].capture), "in recorded order");
    for media in media.iter().filter(|media| media.track == 0) {
        let stamp = FrameStamp::find(&media.data).unwrap();
        assert_eq!((media.capture, media.mark.unwrap().time), (stamp.capture, stamp.capture));
        assert_eq!(media.mark.unwrap().clean_point, media.key);
    }
    let sounds = media.iter().filter(|media| media.track == 1).count();
    assert!((50 * 50 - 20..=50 * 50 + 20).contains(&sounds), "{sounds} packets in 50 s");
    assert_eq!(marked(&media, 0, |mark| mark.ends_section), ["10:00:19.800", "10:00:59.800"]);
    assert_eq!(marked(&media, 0, |mark| mark.discontinuity), ["10:00:30.000"]);
    assert_eq!(marked(&media, 0, |mark| mark.terminal), ["10:00:59.800"]);
    assert_eq!(marked(&media, 1, |mark| mark.ends_section).len(), 2);
    assert_eq!(marked(&media, 1, |mark| mark.terminal).len(), 1);
    // Timestamps follow the time also across the gap.
    let times: Vec<_> = media.iter().filter(|media| media.track == 0).map(|m| m.timestamp).collect();
    let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let counted = steps.fold(BTreeMap::new(), |mut counted, step| {
        *counted.entry(step).or_insert(0) += 1;
        counted
    });
    assert_eq!(counted, BTreeMap::from([(18_000, 248), (18_000 + 900_000, 1)]));
}

#[tokio::test]
async fn a_range_begins_at_a_key_frame_and_ends_where_it_was_asked_to() {
    let filled = Filled::new();
    let media = filled.play(request("2026-03-01T10:00:05.5Z", "2026-03-01T10:00:08Z")).await.unwrap();
    assert!(media[0].key && media[0].track == 0);
    // Key frames come every two seconds by number; the phase of this one is what the number says.
    let begins = media[0].capture;
    assert!(begins <= at("2026-03-01T10:00:05.5Z") && begins > at("2026-03-01T10:00:03.5Z"), "{begins}");
    assert!(media.iter().all(|media| media.capture < at("2026-03-01T10:00:08Z")));
    assert_eq!(marked(&media, 0, |mark| mark.terminal), ["10:00:07.800"]);
    assert_eq!(marked(&media, 1, |mark| mark.terminal), ["10:00:07.980"]);
    assert!(marked(&media, 0, |mark| mark.ends_section).is_empty());
    // In a gap: from behind it.
    let media = filled.play(request("2026-03-01T10:00:22Z", "2026-03-01T10:00:31Z")).await.unwrap();
    assert_eq!(media[0].capture, at("2026-03-01T10:00:30Z"));
    assert_eq!(numbers(&media).len(), 5);
}

#[tokio::test]
async fn only_key_frames_when_they_are_asked_for() {
    let filled = Filled::new();
    let all = PlayRequest {
        frames: Frames::Intra { interval_ms: None },
        ..request("2026-03-01T10:00:00Z", "2026-03-01T10:00:20Z")
    };
    let media = filled.play(all).await.unwrap();
    assert_eq!(media.len(), 10);
    assert!(media.iter().all(|media| media.key && media.track == 0));
    assert_eq!(marked(&media, 0, |mark| mark.terminal).len(), 1);
    let some = PlayRequest { frames: Frames::Intra { interval_ms: Some(4_000) }, ..all };
    let media = filled.play(some).await.unwrap();
    assert!((5..=6).contains(&media.len()), "{}", media.len());
}

#[tokio::test]
async fn what_cannot_be_played_is_refused() {
    let filled = Filled::new();
    let good = request("2026-03-01T10:00:00Z", "2026-03-01T10:00:20Z");
    let refused = [
        (request("2027-01-01T00:00:00Z", ""), PlayError::InvalidRange),
        (request("2026-03-01T10:00:21Z", "2026-03-01T10:00:29Z"), PlayError::InvalidRange),
        (request("2026-03-01T10:00:20Z", "2026-03-01T10:00:00Z"), PlayError::InvalidRange),
        (PlayRequest { scale: Scale::REVERSE, ..good }, PlayError::Scale),
    ];
    for (request, error) in refused {
        assert_eq!(filled.play(request).await.err(), Some(error), "{request:?}");
    }
    filled.apply(Fault::Card { state: crate::CardState::Missing });
    assert!(filled.open().is_none());
}

#[tokio::test]
async fn a_second_play_seeks_and_one_without_a_range_goes_on() {
    let filled = Filled::new();
    let mut source = filled.open().unwrap();
    source.play(&request("2026-03-01T10:00:00Z", "2026-03-01T10:00:20Z")).unwrap();
    let mut before = Vec::new();
    for _ in 0..100 {
        before.push(source.next().await.unwrap());
    }
    source.pause();
    let answer = source.play(&PlayRequest { range: None, ..request("2026-03-01T10:00:00Z", "") }).unwrap();
    assert_eq!(answer.range, None);
    while let Some(media) = source.next().await {
        before.push(media);
    }
    assert_eq!(numbers(&before).len(), 100, "nothing twice, nothing missing");
    let answer = source.play(&request("2026-03-01T10:00:10Z", "2026-03-01T10:00:12Z")).unwrap();
    assert_eq!(answer.range.unwrap().from, at("2026-03-01T10:00:10Z"));
    assert!(source.next().await.unwrap().capture <= at("2026-03-01T10:00:10Z"));
}

#[tokio::test]
async fn faults_of_the_card_are_faults_of_its_replay() {
    let filled = Filled::new();
    let range = request("2026-03-01T10:00:00Z", "2026-03-01T10:00:04Z");
    filled.apply(Fault::NoMarks { on: true });
    assert!(filled.play(range).await.unwrap().iter().all(|media| media.mark.is_none()));
    filled.apply(Fault::NoMarks { on: false });

    filled.apply(Fault::IgnoreRateControl { on: true });
    let mut source = filled.open().unwrap();
    assert_eq!(source.play(&range).unwrap().rate_control, RateControl::Paced);
    filled.apply(Fault::IgnoreRateControl { on: false });
    assert_eq!(source.play(&range).unwrap().rate_control, RateControl::Free);

    filled.apply(Fault::Card { state: crate::CardState::Full });
    filled.apply(Fault::IgnoreRangeEnd { on: true });
    assert_eq!(numbers(&filled.play(range).await.unwrap()).len(), 50 * 5);
    filled.apply(Fault::IgnoreRangeEnd { on: false });

    filled.apply(Fault::DropAfter { frames: 7, times: 2 });
    for frames in [7, 7, 20] {
        assert_eq!(numbers(&filled.play(range).await.unwrap()).len(), frames);
    }
}

#[tokio::test]
async fn a_slow_card_is_read_no_faster_than_it_was_recorded() {
    let filled = Filled::new();
    filled.apply(Fault::Card { state: crate::CardState::Slow });
    let started = tokio::time::Instant::now();
    let media = filled.play(request("2026-03-01T10:00:00Z", "2026-03-01T10:00:03Z")).await.unwrap();
    assert_eq!(numbers(&media).len(), 15);
    assert!(started.elapsed() >= std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_camera_records_itself_and_goes_on_after_the_card_was_out() {
    let directory = tempfile::tempdir().unwrap();
    let card = CardOptions {
        directory: directory.path().to_owned(),
        size_bytes: 32 << 20,
        prefill: None,
        gaps: Vec::new(),
    };
    let options = SiteOptions { card: Some(card), ..SiteOptions::default() };
    let site = crate::VirtualSite::start(options.clone()).await.unwrap();
    let card = site.card("cam1").unwrap();
    let mut news = card.news();
    let mut sections = async |wanted: usize, ticks: i64| {
        tokio::time::timeout(std::time::Duration::from_secs(20), async {
            loop {
                let sections = card.shelf().sections();
                if sections.len() == wanted && sections.last().is_some_and(|last| last.ticks() >= ticks) {
                    return sections;
                }
                news.changed().await.unwrap();
            }
        })
        .await
        .unwrap()
    };
    sections(1, 90_000).await;
    site.apply("cam1", Fault::Card { state: crate::CardState::Missing }).unwrap();
    site.apply("cam1", Fault::Card { state: crate::CardState::Ok }).unwrap();
    let sections = sections(2, 90_000).await;
    assert!(sections[0].to < sections[1].from, "{sections:?}");
    drop((card, news));
    site.close().await;
    // What was recorded is there when the camera starts again, and what it records then is a section of its own.
    let site = crate::VirtualSite::start(options).await.unwrap();
    assert!(site.card("cam1").unwrap().shelf().sections().starts_with(&sections[..1]));
}
