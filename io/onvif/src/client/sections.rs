//! Where the tracks of a recording have data: a search for the events `RecordingHistory/Track/State`, which say of each
//! track when data began and ended (ONVIF Recording Search §5.20).

use std::collections::BTreeMap;

use keepwatch_model::{Span, SpanSet, WallTime};

use super::media::token;
use super::recordings::SEARCH_LIFETIME;
use super::{ClientError, Device};
use crate::lexical;
use crate::namespace;
use crate::notification::{DIALECT_CONCRETE_SET, Notification};
use crate::xml::{Element, Writer};

/// The topic of the events that are searched.
const TOPIC: &str = "RecordingHistory/Track/State";

/// Changes that are read in one search: a card that records on motion makes some thousand a day.
const CHANGES_MAX: usize = 50_000;

/// Where one track has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSections {
    /// Its token.
    pub track: String,
    /// The labels inside the span that was asked for, by the device's clock.
    pub sections: SpanSet,
}

impl Device {
    /// Where the tracks of a recording have data inside `span`, by the device's clock.
    ///
    /// Data that begins in the span and does not end in it counts up to its end. A track that is not told of has no data, or
    /// the device does not say: then there is no track at all in the answer, and only the spans of
    /// [`recordings`](Self::recordings) are known.
    pub async fn sections(&self, recording: &str, span: Span) -> Result<Vec<TrackSections>, ClientError> {
        let name = "FindEvents";
        let body = |writer: &mut Writer| find(writer, recording, span);
        let answer = self.call(namespace::SEARCH, name, body).await?;
        let search = token(answer.text_at(&["SearchToken"]));
        let search = search.ok_or(ClientError::Missing { call: name, what: "search token" })?;
        let mut changes = Changes::default();
        let results = self.results(&search, "GetEventSearchResults", CHANGES_MAX, |list| {
            let results = list.children("Result");
            results.inspect(|result| changes.read(result, recording)).count()
        });
        results.await?;
        Ok(changes.sections(span))
    }
}

fn find(writer: &mut Writer, recording: &str, span: Span) {
    writer.within("tse:FindEvents", |writer| {
        writer.leaf("tse:StartPoint", &lexical::date_time(span.from));
        writer.leaf("tse:EndPoint", &lexical::date_time(span.to));
        writer.within("tse:Scope", |writer| writer.leaf("tt:IncludedRecordings", recording));
        writer.within("tse:SearchFilter", |writer| {
            let dialect = [("Dialect", DIALECT_CONCRETE_SET)];
            writer.leaf_with("wsnt:TopicExpression", &dialect, &format!("tns1:{TOPIC}"));
        });
        writer.leaf("tse:IncludeStartState", "true");
        writer.leaf("tse:KeepAliveTime", &lexical::duration(SEARCH_LIFETIME));
    });
}

/// What the search found of each track, in the order of time: the order of results is undefined.
#[derive(Debug, Default)]
struct Changes(BTreeMap<String, Vec<Change>>);

/// Whether there is data from some time on. The order of fields is that in which changes take effect: the state at the
/// start of the span first, and of two changes at once the one that begins data last, so that nothing recorded is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    /// Whether it is later than the start of the span, which is told as a state.
    later: bool,
    time: WallTime,
    present: bool,
}

impl Changes {
    /// Reads one `tt:FindEventResult`; one that says nothing of this kind is passed over.
    fn read(&mut self, result: &Element, recording: &str) {
        let time = result.text_at(&["Time"]).and_then(lexical::parse_date_time);
        let event =
            result.child("Event").and_then(|event| Notification::read(event, time.unwrap_or_default()));
        let Some(event) = event.filter(|event| event.topic == TOPIC) else { return };
        let source = |name: &str| {
            let found = event.source.iter().find(|(held, _)| held == name);
            found.map(|(_, value)| value.as_str())
        };
        let told = result.text_at(&["RecordingToken"]).or_else(|| source("RecordingToken"));
        // Devices that ignore the scope send the changes of all recordings.
        if told.is_some_and(|told| told != recording) {
            return;
        }
        let track = result.text_at(&["TrackToken"]).or_else(|| source("Track"));
        let Some(track) = token(track) else { return };
        let present = match event.datum("IsDataPresent") {
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            _ => return,
        };
        let later = !result.text_at(&["StartStateEvent"]).is_some_and(|state| matches!(state, "true" | "1"));
        let change = Change { later, time: time.unwrap_or(event.time), present };
        self.0.entry(track).or_default().push(change);
    }

    fn sections(self, span: Span) -> Vec<TrackSections> {
        let track = |(track, changes)| TrackSections { track, sections: sections(changes, span) };
        self.0.into_iter().map(track).collect()
    }
}

fn sections(mut changes: Vec<Change>, span: Span) -> SpanSet {
    changes.sort_unstable();
    let mut sections = SpanSet::new();
    // What ends first must have begun before the span, where no state at its start was told.
    let mut open = changes.first().is_some_and(|first| first.later && !first.present).then_some(span.from);
    for change in changes {
        let time = if change.later { change.time.max(span.from) } else { span.from };
        match (open, change.present) {
            (None, true) => open = Some(time),
            (Some(from), false) => {
                if let Some(section) = Span::new(from, time.min(span.to)) {
                    sections.insert(section);
                }
                open = None;
            }
            (None, false) | (Some(_), true) => {} // Told twice.
        }
    }
    if let Some(section) = open.and_then(|from| Span::new(from, span.to)) {
        sections.insert(section);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_ticks(seconds * 90_000)
    }

    fn change(seconds: i64, present: bool) -> Change {
        Change { later: true, time: at(seconds), present }
    }

    fn state(present: bool) -> Change {
        Change { later: false, time: at(-1000), present }
    }

    fn found(changes: &[Change]) -> Vec<(i64, i64)> {
        let set = sections(changes.to_vec(), Span::new(at(0), at(100)).unwrap());
        set.spans().iter().map(|span| (span.from.ticks() / 90_000, span.to.ticks() / 90_000)).collect()
    }

    #[test]
    fn sections_come_out_of_changes_in_any_order() {
        let changes = [change(70, false), state(true), change(50, true), change(20, false)];
        assert_eq!(found(&changes), [(0, 20), (50, 70)]);
        let mut reversed = changes;
        reversed.reverse();
        assert_eq!(found(&reversed), found(&changes));
    }

    #[test]
    fn what_is_not_told_is_taken_from_the_neighbours() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[change(30, false)]), [(0, 30)]);
        assert_eq!(found(&[change(30, true)]), [(30, 100)]);
        assert_eq!(found(&[state(false), change(30, false)]), []);
        assert_eq!(found(&[state(true)]), [(0, 100)]);
        assert_eq!(
            found(&[change(10, true), change(20, true), change(30, false), change(40, false)]),
            [(10, 30)]
        );
    }

    #[test]
    fn changes_outside_the_span_and_at_once_lose_nothing() {
        assert_eq!(
            found(&[change(-20, true), change(-10, false), change(90, true), change(200, false)]),
            [(90, 100)]
        );
        assert_eq!(found(&[state(true), change(50, true), change(50, false)]), [(0, 100)]);
        assert_eq!(found(&[change(i64::MAX / 90_000, true), change(i64::MIN / 90_000, false)]), []);
    }
}
