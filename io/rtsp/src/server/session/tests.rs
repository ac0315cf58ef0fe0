//! Sessions in virtual time: what is sent when.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use keepwatch_media::replay::{ClockRange, FrameMark, Scale};
use keepwatch_model::{CodecKind, TICKS_PER_SECOND};

use super::*;
use crate::server::NextMedia;
use crate::server::sender::Start;
use crate::server::tally::Tally;

const FRAME_TICKS: i64 = TICKS_PER_SECOND / 10;

fn at(seconds: i64) -> WallTime {
    WallTime::from_ticks(seconds * TICKS_PER_SECOND)
}

/// Ten frames a second of recorded sound, from 0 to 10 and from 3600 to 3610 seconds.
#[derive(Default)]
struct Footage {
    left: VecDeque<Media>,
}

fn frame(tenth: i64, discontinuity: bool) -> Media {
    let time = WallTime::from_ticks(tenth * FRAME_TICKS);
    let mark = FrameMark {
        time,
        clean_point: true,
        ends_section: false,
        discontinuity,
        terminal: false,
        sequence: 0,
    };
    Media {
        track: 0,
        timestamp: u32::try_from(tenth * 800).unwrap(),
        capture: time,
        key: true,
        data: Bytes::from_static(&[0; 800]),
        prefix: Bytes::new(),
        lost_packets: 0,
        mark: Some(mark),
    }
}

impl Source for Footage {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] }]
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(std::future::ready(self.left.pop_front()))
    }

    fn delivery(&self) -> Delivery {
        Delivery::Complete
    }

    fn play(&mut self, asked: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        let Some(range) = asked.range else { return Ok(PlayAnswer::granted(asked)) };
        if range.from > at(3610) {
            return Err(PlayError::InvalidRange);
        }
        // The clean point before the beginning: a whole second.
        let from = range.from.ticks().div_euclid(TICKS_PER_SECOND) * 10;
        let all = (0..100).chain(36_000..36_100).filter(|tenth| *tenth >= from);
        self.left = all.map(|tenth| frame(tenth, tenth == 36_000)).collect();
        Ok(PlayAnswer::granted(asked))
    }
}

/// A session and a clock that this test moves.
struct Stage {
    session: Session,
    start: Instant,
    now: Instant,
    cseq: u32,
}

/// What was sent: seconds after the start, tenths of a second of capture time.
type Sent = (f64, i64);

impl Stage {
    fn new() -> Self {
        let source = Box::new(Footage::default());
        let tracks = source.tracks();
        let (ticket, _) = Tally::default().enter("/a");
        let identity = Identity { id: "1".into(), user: None, path: "/a".into(), _ticket: ticket };
        let sender = Sender::new(&tracks[0], 0, (0, 1), Start { ssrc: 1, sequence: 2, timestamp: 3 });
        let mut session = Session::new(identity, source, tracks, LowerTransport::Tcp);
        session.set_up(0, sender, "rtsp://h/a", None);
        let now = session.began;
        Self { session, start: now, now, cseq: 0 }
    }

    fn play(&mut self, asked: PlayRequest) -> Result<PlayAnswer, PlayError> {
        self.cseq += 1;
        self.session.play(self.now, &PlayRequest { cseq: self.cseq, ..asked })
    }

    /// Runs until `count` media were sent or nothing more can happen.
    async fn run(&mut self, count: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        while sent.len() < count {
            if let Some((queued, timing)) = self.session.pop(self.now) {
                self.session.packetize(self.now, &queued, timing, &mut Vec::new());
                let tenth = queued.media.capture.ticks() / FRAME_TICKS;
                sent.push(((self.now - self.start).as_secs_f64(), tenth));
            } else if let Some(due) = self.session.due() {
                self.now = self.now.max(due);
            } else if self.session.wants_media(true) {
                let Happened::Media(media) = next_event(Some(&mut self.session), true).await else {
                    panic!()
                };
                self.session.take(self.now, media);
            } else {
                break;
            }
        }
        sent
    }

    fn timestamps(&self) -> Option<u32> {
        self.session.rtp_info(self.now)[0].timestamp.map(|timestamp| timestamp.wrapping_sub(3))
    }
}

fn from(seconds: f64) -> PlayRequest {
    #[expect(clippy::cast_possible_truncation, reason = "small numbers of a test")]
    let ticks = (seconds * 90_000.0) as i64;
    PlayRequest {
        range: Some(ClockRange { from: WallTime::from_ticks(ticks), to: None }),
        ..PlayRequest::default()
    }
}

#[tokio::test]
async fn recorded_media_are_sent_at_their_time_and_holes_are_skipped() {
    for (thousandths, factor) in [(1000, 1.0), (2000, 0.5), (500, 2.0)] {
        let mut stage = Stage::new();
        stage
            .play(PlayRequest { scale: Scale::from_thousandths(thousandths).unwrap(), ..from(0.0) })
            .unwrap();
        let sent = stage.run(usize::MAX).await;
        assert_eq!(sent.len(), 200);
        for (position, (seconds, _)) in sent.iter().enumerate() {
            // Behind the hole it goes on where it stood: with the last frame before it.
            let steps = if position < 100 { position } else { position - 1 };
            #[expect(clippy::cast_precision_loss, reason = "small numbers of a test")]
            let expected = steps as f64 * 0.1 * factor;
            assert!((seconds - expected).abs() < 0.001, "frame {position} at {seconds}");
        }
    }
}

#[tokio::test]
async fn what_decoding_needs_from_before_the_beginning_comes_at_once() {
    let mut stage = Stage::new();
    stage.play(from(2.5)).unwrap();
    let sent = stage.run(10).await;
    assert!(sent[..6].iter().all(|(seconds, _)| *seconds == 0.0), "{sent:?}");
    assert_eq!(sent[0].1, 20);
    assert!((sent[6].0 - 0.1).abs() < 0.001, "{sent:?}");
}

#[tokio::test]
async fn free_media_wait_for_the_client_only() {
    let mut stage = Stage::new();
    stage.play(PlayRequest { rate_control: RateControl::Free, ..from(0.0) }).unwrap();
    let sent = stage.run(usize::MAX).await;
    assert!(sent.len() == 200 && sent.iter().all(|(seconds, _)| *seconds == 0.0));
    assert!(!stage.session.is_over(), "the end of footage is not the end of the session");
    assert_eq!(stage.timestamps(), Some(0));
    stage.play(PlayRequest { rate_control: RateControl::Free, ..from(3600.0) }).unwrap();
    assert_eq!(stage.timestamps(), Some(3600 * 8_000), "the RTP clock is that of captured time");
    assert_eq!(stage.run(usize::MAX).await.len(), 100);
}

#[tokio::test]
async fn while_the_client_has_not_taken_all_nothing_is_asked_for() {
    let mut stage = Stage::new();
    stage.play(PlayRequest { rate_control: RateControl::Free, ..from(0.0) }).unwrap();
    assert!(stage.session.wants_media(true));
    assert!(!stage.session.wants_media(false), "the socket is full");
    stage.session.take(stage.now, Some(frame(0, false)));
    assert!(!stage.session.wants_media(true), "one is held");
}

#[tokio::test]
async fn a_seek_drops_what_was_held_and_a_pause_keeps_it() {
    let mut stage = Stage::new();
    stage.play(from(0.0)).unwrap();
    assert_eq!(stage.run(5).await.last().unwrap().1, 4);
    stage.session.take(stage.now, Some(frame(5, false)));
    stage.session.pause();
    assert!(stage.session.pop(stage.now + Duration::from_secs(9)).is_none() && stage.session.due().is_none());
    assert!(!stage.session.wants_media(true));
    stage.now += Duration::from_secs(60);
    stage.session.source = Box::new(Footage { left: [frame(6, false)].into() });
    stage.play(PlayRequest::default()).unwrap();
    let sent = stage.run(2).await;
    assert!(sent[0].1 == 5 && (sent[0].0 - 60.4).abs() < 0.001, "{sent:?}");
    assert!(sent[1].1 == 6 && (sent[1].0 - 60.5).abs() < 0.001, "{sent:?}");
    stage.session.take(stage.now, Some(frame(7, false)));
    stage.play(from(3600.0)).unwrap();
    assert_eq!(stage.timestamps(), Some(484_000), "RTP shows playing time, whatever is played");
    assert_eq!(stage.run(1).await[0].1, 36_000);
}

#[tokio::test]
async fn a_refused_play_changes_nothing() {
    let mut stage = Stage::new();
    stage.play(from(0.0)).unwrap();
    stage.run(3).await;
    assert_eq!(stage.play(from(9999.0)), Err(PlayError::InvalidRange));
    assert_eq!(stage.run(1).await[0].1, 3);
    assert_eq!(stage.session.granted().unwrap().range, from(0.0).range);
}
