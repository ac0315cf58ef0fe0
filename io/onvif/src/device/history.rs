//! What happened to recordings, as events derived from where their tracks have data.
//!
//! `RecordingHistory/Track/State` says for a track that data begins or ends, `RecordingHistory/Recording/State` the same
//! for the recording as a whole: it records while any track has data (ONVIF Recording Search, "Recording event
//! descriptions"). Pure: sections in, events out.

use std::collections::{BTreeMap, BTreeSet};

use keepwatch_model::{Span, WallTime};

use crate::notification::{Notification, Operation};

use super::backend::{Topic, TrackSections};
use super::topic::TopicFilter;

const RECORDING_STATE: &str = "RecordingHistory/Recording/State";
const TRACK_STATE: &str = "RecordingHistory/Track/State";

/// Something that happened to a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryEvent {
    /// When; for a start state, where the search starts.
    pub(crate) time: WallTime,
    /// The recording.
    pub(crate) recording: String,
    /// The track; `None` for the recording as a whole.
    pub(crate) track: Option<String>,
    /// Whether there is data from this time on.
    pub(crate) data: bool,
    /// Whether it only tells the state at the start of a search.
    pub(crate) start_state: bool,
}

impl HistoryEvent {
    /// The same as a message.
    pub(crate) fn notification(&self) -> Notification {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let value = if self.data { "true" } else { "false" };
        let mut source = vec![pair("RecordingToken", &self.recording)];
        let (topic, data) = match &self.track {
            Some(track) => {
                source.push(pair("Track", track));
                (TRACK_STATE, pair("IsDataPresent", value))
            }
            None => (RECORDING_STATE, pair("IsRecording", value)),
        };
        Notification {
            topic: topic.to_owned(),
            time: self.time,
            source,
            data: vec![data],
            operation: Some(if self.start_state { Operation::Initialized } else { Operation::Changed }),
        }
    }
}

/// Which of the two kinds of events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    recordings: bool,
    tracks: bool,
}

impl Wanted {
    /// What a filter leaves.
    pub(crate) fn by(filter: &TopicFilter) -> Self {
        Self { recordings: filter.wants(RECORDING_STATE), tracks: filter.wants(TRACK_STATE) }
    }

    /// Whether nothing is left.
    pub(crate) const fn is_nothing(self) -> bool {
        !self.recordings && !self.tracks
    }
}

/// The labels whose sections must be known to tell what happened in `window`: a section that ends where the window
/// begins is not in it, but its end is.
pub(crate) fn needed(window: Span) -> Span {
    Span { from: window.from.plus(-1), to: window.to }
}

/// What happened to a recording in `window`, in no order, given the sections of [`needed`].
pub(crate) fn events(
    recording: &str,
    tracks: &[TrackSections],
    window: Span,
    wanted: Wanted,
) -> Vec<HistoryEvent> {
    let event = |time, track, data| HistoryEvent {
        time,
        recording: recording.to_owned(),
        track,
        data,
        start_state: false,
    };
    let mut events = Vec::new();
    // How many tracks more have data from a label on: the sum is the number that has.
    let mut changes: BTreeMap<WallTime, i64> = BTreeMap::new();
    for TrackSections { track, sections } in tracks {
        for section in sections {
            let edges = [(Some(section.from), true), (section.to, false)];
            for (time, data) in edges.into_iter().filter_map(|(time, data)| Some((time?, data))) {
                let change = changes.entry(time).or_default();
                *change = change.saturating_add(if data { 1 } else { -1 });
                if wanted.tracks && window.contains(time) {
                    events.push(event(time, Some(track.clone()), data));
                }
            }
        }
    }
    let mut having = 0_i64;
    for (time, change) in changes {
        let before = having;
        having = having.saturating_add(change);
        if wanted.recordings && window.contains(time) && (before > 0) != (having > 0) {
            events.push(event(time, None, having > 0));
        }
    }
    events
}

/// The state of a recording and of each of its tracks at `time`, given the sections there.
pub(crate) fn start_state(
    recording: &str,
    tracks: &[String],
    sections: &[TrackSections],
    time: WallTime,
    wanted: Wanted,
) -> Vec<HistoryEvent> {
    let covers = |of: &&TrackSections| {
        of.sections.iter().any(|section| section.from <= time && section.to.is_none_or(|to| time < to))
    };
    let having: BTreeSet<&str> = sections.iter().filter(covers).map(|of| of.track.as_str()).collect();
    let event = |track: Option<String>, data| HistoryEvent {
        time,
        recording: recording.to_owned(),
        track,
        data,
        start_state: true,
    };
    let whole = wanted.recordings.then(|| event(None, !having.is_empty()));
    let each = tracks.iter().filter(|_| wanted.tracks);
    let each = each.map(|track| event(Some(track.clone()), having.contains(track.as_str())));
    whole.into_iter().chain(each).collect()
}

/// The topics of these events.
pub(crate) fn topics() -> Vec<Topic> {
    let pair = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    let recording = pair("RecordingToken", "tt:RecordingReference");
    vec![
        Topic {
            path: RECORDING_STATE.to_owned(),
            property: true,
            source: vec![recording.clone()],
            data: vec![pair("IsRecording", "xs:boolean")],
        },
        Topic {
            path: TRACK_STATE.to_owned(),
            property: true,
            source: vec![recording, pair("Track", "tt:TrackReference")],
            data: vec![pair("IsDataPresent", "xs:boolean")],
        },
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::backend::Section;

    const ALL: Wanted = Wanted { recordings: true, tracks: true };

    fn at(ticks: i64) -> WallTime {
        WallTime::from_ticks(ticks)
    }

    fn track(name: &str, sections: &[(i64, Option<i64>)]) -> TrackSections {
        let sections =
            sections.iter().map(|(from, to)| Section { from: at(*from), to: to.map(at) }).collect();
        TrackSections { track: name.to_owned(), sections }
    }

    /// What a backend answers for `span`.
    fn overlapping(tracks: &[TrackSections], span: Span) -> Vec<TrackSections> {
        let overlaps =
            |section: &&Section| section.from < span.to && section.to.is_none_or(|to| to > span.from);
        let cut = |of: &TrackSections| TrackSections {
            track: of.track.clone(),
            sections: of.sections.iter().filter(overlaps).copied().collect(),
        };
        tracks.iter().map(cut).collect()
    }

    /// Time, track (empty for the recording as a whole) and whether there is data.
    fn told(events: &[HistoryEvent]) -> Vec<(i64, String, bool)> {
        let track = |event: &HistoryEvent| event.track.clone().unwrap_or_default();
        let mut told: Vec<_> =
            events.iter().map(|event| (event.time.ticks(), track(event), event.data)).collect();
        told.sort_unstable();
        told
    }

    fn owned(told: &[(i64, &str, bool)]) -> Vec<(i64, String, bool)> {
        told.iter().map(|(time, track, data)| (*time, (*track).to_owned(), *data)).collect()
    }

    #[test]
    fn a_recording_records_while_any_track_has_data() {
        let tracks = [track("v", &[(10, Some(20)), (30, None)]), track("a", &[(15, Some(25))])];
        let window = Span::new(at(0), at(100)).unwrap();
        let events = events("r", &tracks, window, ALL);
        let expected = [
            (10, "", true),
            (10, "v", true),
            (15, "a", true),
            (20, "v", false),
            (25, "", false),
            (25, "a", false),
            (30, "", true),
            (30, "v", true),
        ];
        assert_eq!(told(&events), owned(&expected));
    }

    #[test]
    fn the_start_state_names_every_track_with_data_or_without() {
        let tracks = [track("v", &[(10, Some(20))])];
        let names = ["v".to_owned(), "a".to_owned()];
        let state = |time| told(&start_state("r", &names, &tracks, at(time), ALL));
        assert_eq!(state(10), owned(&[(10, "", true), (10, "a", false), (10, "v", true)]));
        assert_eq!(state(20), owned(&[(20, "", false), (20, "a", false), (20, "v", false)]));
    }

    proptest! {
        /// Searching window by window must find what searching at once finds, wherever the windows are cut.
        #[test]
        fn events_do_not_depend_on_the_windows(
            cuts in proptest::collection::btree_set(0_i64..60, 0..8),
            lengths in proptest::collection::vec((1_i64..6, 1_i64..6), 0..6),
            shift in 0_i64..5,
            open: bool,
        ) {
            let sections = |mut start: i64| {
                let mut sections = Vec::new();
                for (hole, length) in &lengths {
                    start += hole;
                    sections.push((start, Some(start + length)));
                    start += length;
                }
                if let Some(last) = sections.last_mut().filter(|_| open) {
                    last.1 = None;
                }
                sections
            };
            let tracks = [track("v", &sections(0)), track("a", &sections(shift))];
            let search = |from: i64, to: i64| {
                let window = Span { from: at(from), to: at(to) };
                events("r", &overlapping(&tracks, needed(window)), window, ALL)
            };
            let mut edges: Vec<i64> = cuts.into_iter().collect();
            edges.insert(0, -1);
            edges.push(100);
            let parts: Vec<_> = edges.windows(2).flat_map(|pair| search(pair[0], pair[1])).collect();
            prop_assert_eq!(told(&parts), told(&search(-1, 100)));
        }
    }
}
