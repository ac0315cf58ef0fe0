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

/// Pushes the records of one group of records, the first of which begins with a key frame.
fn push_group(lineup: &mut Lineup<i64>, records: &[i64]) {
    let group = span(records[0], records[records.len() - 1] + 10);
    for (number, from) in records.iter().enumerate() {
        let (span, tracks) = record(*from, number == 0);
        lineup.push_group(span, group, tracks);
    }
}

/// ONVIF Streaming, "Packet transmission order": groups backwards, frames forwards, D at each clean point, E at the
/// last frame of the group behind a hole.
#[test]
fn backwards_groups_come_in_reverse_order_and_their_frames_do_not() {
    let mut lineup = lineup(wanted(1_000, 0));
    push_group(&mut lineup, &[60, 70]);
    push_group(&mut lineup, &[40, 50]);
    assert_eq!(
        drain(&mut lineup, Known::More),
        ["V60D", "S61D", "V65", "S66", "V70", "S71", "V75", "S76"],
        "a hole may come before the last two records"
    );
    push_group(&mut lineup, &[10, 20]);
    lineup.finish();
    assert_eq!(
        drain(&mut lineup, Known::All),
        [
            "V40D", "S41D", "V45", "S46", "V50", "S51", "V55E", "S56E", // 30 to 40 is a hole
            "V10D", "S11D", "V15", "S16", "V20", "S21", "V25T", "S26T"
        ]
    );
}

#[test]
fn backwards_it_begins_with_the_group_that_shows_the_label_and_ends_with_the_one_that_holds_the_last() {
    let mut lineup = lineup(wanted(75, 15));
    lineup.push_group(span(60, 70), span(60, 80), record(60, true).1);
    lineup.push_group(span(70, 80), span(60, 80), record(70, false).1);
    // Three groups in one record: the first is over before what is wanted.
    let picture = |tenths, key| Unit::new(VIDEO, at(tenths), key, tenths);
    let pictures = [(10, true), (11, false), (14, true), (16, false), (17, true), (18, false)];
    let pictures = pictures.map(|(tenths, key)| picture(tenths, key)).into();
    let sounds = [12, 15, 19].map(|tenths| Unit::new(SOUND, at(tenths), true, tenths)).into();
    lineup.push_group(span(10, 20), span(10, 20), vec![pictures, sounds]);
    lineup.finish();
    assert_eq!(
        drain(&mut lineup, Known::All),
        [
            "V60D", "S61D", "V65", "S66", "V70", "S71E", "V75E", // 20 to 60 is a hole
            "V17D", "V18", "S19D", "V14D", "S15DT", "V16T"
        ]
    );
}

#[test]
fn backwards_the_only_group_of_a_record_is_played_wherever_the_last_label_lies_in_it() {
    for last in [-5, 20, 24, 25] {
        let mut lineup = lineup(wanted(25, last));
        push_group(&mut lineup, &[20]);
        lineup.finish();
        assert_eq!(drain(&mut lineup, Known::All), ["V20D", "S21DT", "V25T"], "{last}");
    }
}

#[test]
fn backwards_key_frames_alone_descend() {
    let frames = Frames::Intra { interval_ms: Some(1_000) };
    let mut lineup = lineup(Wanted { frames, ..wanted(1_000, 0) });
    for from in [40, 20, 10] {
        let (span, mut tracks) = record(from, true);
        tracks[VIDEO][1].key = true;
        lineup.push_group(span, span, tracks);
    }
    lineup.finish();
    assert_eq!(drain(&mut lineup, Known::All), ["V45ED", "V25D", "V15DT"]);
}

#[test]
fn backwards_a_record_that_cannot_be_read_is_a_hole() {
    let mut lineup = lineup(wanted(1_000, 0));
    let group = span(40, 70);
    lineup.push_group(span(40, 50), group, record(40, true).1);
    lineup.end_section();
    lineup.push_group(span(60, 70), group, record(60, false).1);
    push_group(&mut lineup, &[30]);
    lineup.finish();
    assert_eq!(
        drain(&mut lineup, Known::All),
        ["V40D", "S41D", "V45E", "S46E", "V60D", "S61D", "V65", "S66", "V30D", "S31D", "V35T", "S36T"]
    );
}
