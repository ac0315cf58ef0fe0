//! What the external storage lacks, compared with all that is held here.

use std::time::Duration;

use keepwatch_model::{Place, Span, SpanSet, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::edge::Event;
use keepwatch_recording::peer::{Nowhere, Wanted};
use keepwatch_recording::replenish::StreamKey;

use super::Driver;
use super::recorded::held;
use crate::nowhere;
use crate::storages::places;

/// After so long all is compared again: what the recorder lost since is sent once more.
const COMPARED_MAX: Duration = Duration::from_secs(600);
/// What lies so near to what is missing is sent as well: the two clocks may have drifted since it was recorded, and what is there
/// already is recognised.
const BESIDE_TICKS: i64 = 5 * TICKS_PER_SECOND;

impl Driver {
    pub(super) fn wanted(&mut self, wanted: &Wanted) {
        self.contact.answered(self.node.clock().wall(), wanted.ahead_ticks);
        if self.rests_until.is_some() {
            return;
        }
        let now = self.now();
        let is_known = self.compared.is_some_and(|(started, at)| {
            started == wanted.started && now.since(at) < COMPARED_MAX && self.wants(wanted)
        });
        if !self.machine.external_takes() || !is_known {
            self.compare(wanted);
        }
        self.tell(Event::External { takes: true });
    }

    /// Whether exactly those lines are sent that the recorder wants: cameras are added there and removed.
    pub(super) fn wants(&self, wanted: &Wanted) -> bool {
        let is_wanted = |key: &StreamKey| wanted.lines.iter().any(|line| line.key() == *key);
        self.lines.iter().all(|(key, line)| line.wanted == is_wanted(key))
    }

    /// Compares all that is held with what the recorder wants.
    pub(super) fn compare(&mut self, wanted: &Wanted) {
        let mut told = Nowhere::default();
        self.compared = Some((wanted.started, self.now()));
        let keys: Vec<StreamKey> = self.lines.keys().copied().collect();
        for key in keys {
            let of_it = wanted.lines.iter().find(|line| line.key() == key);
            let Some(of_it) = of_it else {
                self.unwanted(key);
                continue;
            };
            self.keep_tail(key);
            let Some(line) = self.lines.get_mut(&key) else { continue };
            line.wanted = true;
            told.lines.extend(nowhere::of(of_it, &line.stream, &line.lost));
            let all = Span { from: WallTime::MIN, to: line.seen };
            let held = if line.seen > all.from { held(&line.stream, all) } else { Vec::new() };
            let lost = std::mem::take(&mut line.lost);
            self.tell(Event::Line(key, self.limit_of(key.0)));
            let wider = |missing: Span| Span {
                from: missing.from.plus(-BESIDE_TICKS),
                to: missing.to.plus(BESIDE_TICKS),
            };
            let missing: SpanSet = of_it.spans().map(wider).collect();
            // Also what is not held here any more: what was on its way when its card died may have arrived.
            for there in missing.missing(all).spans() {
                self.outside(key, *there);
            }
            for span in held.into_iter().flat_map(|span| lost.missing(span).spans().to_vec()) {
                for span in missing.within(span).spans() {
                    self.node.store().keep(key.0, key.1, *span);
                    for (place, span) in places(self.node.store(), key, *span) {
                        self.tell(Event::Found { line: key, place, span });
                    }
                }
            }
            for label in self.node.store().tail_labels(key.0, key.1, WallTime::MIN) {
                for span in missing.within(label).spans() {
                    self.tell(Event::Found { line: key, place: Place::Memory, span: *span });
                }
            }
            if let Some(line) = self.lines.get_mut(&key) {
                line.lost = lost;
            }
        }
        if !told.lines.is_empty()
            && let Some(question) = &self.question
        {
            question.tell(told);
        }
    }

    /// Footage is at the recorder, or need not be: it is kept here no longer than any other.
    pub(super) fn outside(&mut self, key: StreamKey, span: Span) {
        self.node.store().outside(key.0, key.1, span);
        self.tell(Event::Outside { line: key, span });
    }
}
