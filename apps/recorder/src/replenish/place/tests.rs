//! Pieces of a source, one behind the other, and the places that they get.

use keepwatch_model::{CodecKind, Origin, TICKS_PER_SECOND, TrackConfig};
use keepwatch_recording::replenish::identity::Frame;
use keepwatch_store::{CameraTime, RunId, TimeQuality};

use super::super::piece::PieceSample;
use super::*;

/// 25 pictures a second.
const FRAME: i64 = TICKS_PER_SECOND / 25;
/// The camera's clock is an hour behind.
const CAMERA: i64 = -3_600 * TICKS_PER_SECOND;

fn at(number: i64) -> WallTime {
    WallTime::from_ticks(number * FRAME)
}

/// Pictures of a camera by number.
struct Pictures(Vec<Vec<u8>>);

impl Pictures {
    fn new(count: i64) -> Self {
        let picture = |number: i64| [&[0, 0, 0, 9, 0x41][..], &number.to_le_bytes()].concat();
        Self((0..count).map(picture).collect())
    }

    /// A record of `run` with pictures `numbers`, whose labels are `late` ticks behind their time.
    fn piece(&self, run: u64, numbers: std::ops::Range<i64>, late: i64) -> Piece<'_> {
        let sample = |number: i64| PieceSample {
            pts: number * FRAME,
            label: at(number).plus(late),
            key: number % 25 == 0,
            data: &self.0[usize::try_from(number).unwrap()],
        };
        let span = |ticks: i64| Span { from: at(numbers.start).plus(ticks), to: at(numbers.end).plus(ticks) };
        let track =
            TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 1, config: Vec::new() };
        Piece {
            tracks: vec![track],
            samples: vec![numbers.clone().map(sample).collect()],
            label: span(late),
            camera_time: Some(CameraTime { span: span(CAMERA), quality: TimeQuality::SenderReport }),
            run: RunId(run),
            lost_packets: 0,
            origin: Origin::Standby,
            recorder: None,
            replaces: None,
        }
    }

    fn frames(&self, numbers: std::ops::Range<i64>, late: i64) -> Vec<Frame> {
        self.piece(0, numbers, late).frames()
    }
}

/// The places of `pieces` in `gap`, and the labels of their pictures.
fn fill(
    gap: Span,
    before: Vec<Frame>,
    after: Vec<Frame>,
    pieces: &[Piece<'_>],
) -> Vec<(Span, Vec<WallTime>)> {
    let mut splice = Splice::new(gap, FRAME / 2, before, after);
    let mut judged: Vec<Judged> = Vec::new();
    for piece in pieces {
        let mut next = Judged::of(&mut splice, piece);
        if let Some(last) = judged.last_mut() {
            last.followed_by(&mut next);
        }
        judged.push(next);
    }
    let mut places = Places::new(gap, FRAME / 2);
    let mut filled = Vec::new();
    for (piece, judged) in pieces.iter().zip(&judged) {
        let Some(placed) = places.place(piece, judged) else { continue };
        let label = |place: &usize| piece.samples[0][*place].label.plus(placed.shift_ticks);
        filled.push((placed.label, placed.taken.iter().map(label).collect()));
        places.written(&placed);
    }
    filled
}

/// Packets of this recorder were late before the gap, and none behind it: the last frames that are missing are labelled behind it.
/// Wherever the source's records are cut among them, all are written, and no hole is made.
#[test]
fn late_frames_have_a_place_wherever_records_are_cut() {
    let pictures = Pictures::new(200);
    for late in 0..5 {
        for cut in 90..=102 {
            let gap = Span { from: at(40 + late), to: at(100) };
            let (before, after) = (pictures.frames(25..40, late * FRAME), pictures.frames(100..125, 0));
            let pieces = [
                pictures.piece(1, 25..50, 0),
                pictures.piece(1, 50..75, 0),
                pictures.piece(1, 75..cut, 0),
                pictures.piece(1, cut..125, 0),
            ];
            let filled = fill(gap, before, after, &pieces);
            let case = format!("{late} late, cut before {cut}: {filled:?}");
            let labels: Vec<WallTime> = filled.iter().flat_map(|(_, labels)| labels.clone()).collect();
            assert_eq!(labels.len(), 60, "{case}");
            assert!(labels.is_sorted_by(|one, other| one < other), "{case}");
            assert!(filled.windows(2).all(|pair| pair[0].0.to == pair[1].0.from), "{case}");
            let ends = (filled.first().unwrap().0.from, filled.last().unwrap().0.to);
            assert_eq!(ends, (gap.from, gap.to), "{case}");
            // Two records can be drawn together by a frame; what has no room then is labelled behind the gap.
            let last = *labels.last().unwrap();
            assert!(last < gap.to.plus((late - 1).max(0) * FRAME), "{case}");
        }
    }
}

/// The gap is a part of a longer one: nothing is held right behind it that could come after a late frame.
#[test]
fn behind_a_part_of_a_gap_nothing_is_taken() {
    let pictures = Pictures::new(200);
    let gap = Span { from: at(43), to: at(100) };
    let pieces = [pictures.piece(1, 25..50, 0), pictures.piece(1, 50..97, 0), pictures.piece(1, 97..150, 0)];
    let filled = fill(gap, pictures.frames(25..40, 3 * FRAME), pictures.frames(112..137, 0), &pieces);
    let labels: Vec<WallTime> = filled.iter().flat_map(|(_, labels)| labels.clone()).collect();
    assert!(labels.iter().all(|label| *label < gap.to), "{filled:?}");
    assert_eq!(labels.len(), 57, "{filled:?}");
    assert_eq!(filled.last().unwrap().0.to, gap.to, "{filled:?}");
}

#[test]
fn a_record_that_would_lie_within_another_one_is_cut_to_what_is_free() {
    let pictures = Pictures::new(200);
    let gap = Span { from: at(40), to: at(100) };
    // The second run is labelled half a second too early.
    let pieces = [pictures.piece(1, 25..60, 0), pictures.piece(2, 75..100, -12 * FRAME)];
    let mut early = pieces;
    early[1].camera_time = None;
    let filled = fill(gap, pictures.frames(25..40, 0), pictures.frames(100..125, 0), &early);
    let labels: Vec<WallTime> = filled.iter().flat_map(|(_, labels)| labels.clone()).collect();
    assert!(labels.is_sorted_by(|one, other| one < other), "{filled:?}");
    assert!(filled.windows(2).all(|pair| pair[0].0.to <= pair[1].0.from), "{filled:?}");
}
