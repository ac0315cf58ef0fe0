use super::*;

const VIDEO: usize = 0;
const SOUND: usize = 1;

fn at(tenths: i64) -> WallTime {
    WallTime::from_ticks(tenths * TICKS_PER_SECOND / 10)
}

fn span(from: i64, to: i64) -> Span {
    Span { from: at(from), to: at(to) }
}

fn wanted(from: i64, to: i64) -> Wanted {
    Wanted { from: at(from), to: at(to), frames: Frames::All }
}

/// A lineup of a picture track and a sound track; what a unit is known by is its label in tenths of a second.
fn lineup(wanted: Wanted) -> Lineup<i64> {
    Lineup::new(wanted, 2, Some(VIDEO))
}

/// A record of two pictures and two sounds in each second, the first picture a key frame if `key`.
fn record(from: i64, key: bool) -> (Span, Vec<Vec<Unit<i64>>>) {
    let unit = |track, tenths, key| Unit::new(track, at(tenths), key, tenths);
    let pictures = vec![unit(VIDEO, from, key), unit(VIDEO, from + 5, false)];
    let sounds = vec![unit(SOUND, from + 1, true), unit(SOUND, from + 6, true)];
    (span(from, from + 10), vec![pictures, sounds])
}

fn push(lineup: &mut Lineup<i64>, (span, tracks): (Span, Vec<Vec<Unit<i64>>>)) {
    lineup.push(span, tracks);
}

/// All that can be had, as `V10` or `S11`, with the letters of the marks.
fn drain(lineup: &mut Lineup<i64>, known: Known) -> Vec<String> {
    std::iter::from_fn(|| lineup.pop(known))
        .map(|unit| {
            let kind = if unit.track == VIDEO { "V" } else { "S" };
            let marks = [(unit.ends_section, "E"), (unit.discontinuity, "D"), (unit.terminal, "T")];
            let marks: String = marks.iter().filter_map(|(set, mark)| set.then_some(*mark)).collect();
            format!("{kind}{}{marks}", unit.sample)
        })
        .collect()
}

#[test]
fn tracks_are_multiplexed_as_they_were_recorded_and_marked_around_a_hole() {
    let mut lineup = lineup(wanted(0, 1_000));
    push(&mut lineup, record(0, true));
    push(&mut lineup, record(10, false));
    assert!(drain(&mut lineup, Known::More).is_empty(), "a hole may follow");
    push(&mut lineup, record(40, true));
    assert_eq!(drain(&mut lineup, Known::More), ["V0", "S1", "V5", "S6"]);
    lineup.finish();
    assert_eq!(
        drain(&mut lineup, Known::All),
        ["V10", "S11", "V15E", "S16E", "V40D", "S41D", "V45T", "S46T"]
    );
}

#[test]
fn pictures_keep_the_order_in_which_they_are_decoded() {
    let mut lineup = lineup(wanted(0, 4));
    let picture = |tenths, key| Unit::new(VIDEO, at(tenths), key, tenths);
    let sounds = (0..6).map(|tenths| Unit::new(SOUND, at(tenths), true, tenths)).collect();
    // I0 P4 B2 B3 P6: P4 is behind the end, and B2 and B3 need it.
    let pictures =
        vec![picture(0, true), picture(4, false), picture(2, false), picture(3, false), picture(6, false)];
    lineup.push(span(0, 10), vec![pictures, sounds]);
    assert_eq!(drain(&mut lineup, Known::All), ["V0", "S0", "S1", "S2", "S3", "V4", "V2", "V3"]);
}

#[test]
fn playing_begins_at_the_last_clean_point_before_what_is_asked_for() {
    let mut lineup = lineup(wanted(16, 1_000));
    let (covers, mut tracks) = record(10, true);
    tracks[VIDEO][1].key = true;
    push(&mut lineup, (covers, tracks));
    assert_eq!(drain(&mut lineup, Known::All), ["V15", "S16"]);
}

#[test]
fn without_one_it_begins_at_the_first_behind() {
    let mut lineup = lineup(wanted(12, 1_000));
    push(&mut lineup, record(10, false));
    push(&mut lineup, record(20, true));
    assert_eq!(drain(&mut lineup, Known::All), ["V20", "S21", "V25", "S26"]);
}

#[test]
fn a_track_that_is_silent_at_the_end_is_marked_where_it_was_heard_last() {
    let mut lineup = lineup(wanted(0, 1_000));
    push(&mut lineup, record(0, true));
    let (covers, mut tracks) = record(10, false);
    tracks[SOUND].clear();
    push(&mut lineup, (covers, tracks));
    lineup.end_section();
    lineup.finish();
    assert_eq!(drain(&mut lineup, Known::All), ["V0", "S1", "V5", "S6ET", "V10", "V15ET"]);
}

#[test]
fn only_key_frames_at_a_distance_when_they_are_asked_for() {
    let frames = Frames::Intra { interval_ms: Some(2_000) };
    let mut lineup = lineup(Wanted { frames, ..wanted(0, 1_000) });
    for from in [0, 10, 20, 30, 70] {
        push(&mut lineup, record(from, true));
    }
    lineup.finish();
    assert_eq!(drain(&mut lineup, Known::All), ["V0", "V20E", "V70DT"]);
}

#[test]
fn what_cannot_be_read_any_more_is_a_hole_and_the_beginning_is_none() {
    let mut lineup = lineup(wanted(0, 1_000));
    lineup.end_section();
    push(&mut lineup, record(0, true));
    lineup.end_section();
    push(&mut lineup, record(10, true));
    assert_eq!(drain(&mut lineup, Known::All), ["V0", "S1", "V5E", "S6E", "V10D", "S11D", "V15", "S16"]);
}
