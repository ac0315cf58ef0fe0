//! Half-open spans of wall time and sets of them.

use serde::{Deserialize, Serialize};

use crate::WallTime;

/// The labels from `from` up to but not including `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First label inside.
    pub from: WallTime,
    /// First label after.
    pub to: WallTime,
}

impl Span {
    /// The span from `from` to `to`; `None` when it would be empty.
    pub fn new(from: WallTime, to: WallTime) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    /// Its length in 90 kHz ticks.
    pub const fn ticks(self) -> i64 {
        self.to.ticks_since(self.from)
    }

    /// Whether `label` is inside.
    pub fn contains(self, label: WallTime) -> bool {
        self.from <= label && label < self.to
    }

    /// What both share; `None` when nothing.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to))
    }
}

/// A set of labels as disjoint spans in ascending order, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanSet(Vec<Span>);

impl SpanSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Its spans, ascending.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ticks in it.
    pub fn ticks(&self) -> i64 {
        self.0.iter().map(|span| span.ticks()).sum()
    }

    /// Whether `label` is in it.
    pub fn contains(&self, label: WallTime) -> bool {
        let after = self.0.partition_point(|span| span.to <= label);
        self.0.get(after).is_some_and(|span| span.contains(label))
    }

    /// Adds all labels of `span`, joining what then touches.
    pub fn insert(&mut self, span: Span) {
        let first = self.0.partition_point(|held| held.to < span.from);
        let end = self.0.partition_point(|held| held.from <= span.to);
        let joined = self.0[first..end]
            .iter()
            .fold(span, |joined, held| Span { from: joined.from.min(held.from), to: joined.to.max(held.to) });
        self.0.splice(first..end, [joined]);
    }

    /// Takes out all labels of `span`.
    pub fn remove(&mut self, span: Span) {
        let first = self.0.partition_point(|held| held.to <= span.from);
        let end = self.0.partition_point(|held| held.from < span.to);
        let kept: Vec<Span> = self.0[first..end]
            .iter()
            .flat_map(|held| {
                [Span::new(held.from, span.from.min(held.to)), Span::new(span.to.max(held.from), held.to)]
            })
            .flatten()
            .collect();
        self.0.splice(first..end, kept);
    }

    /// Whether any label of `window` is in this set.
    pub fn touches(&self, window: Span) -> bool {
        !self.touching(window).is_empty()
    }

    /// The labels of this set that are inside `window`.
    pub fn within(&self, window: Span) -> Self {
        Self(self.touching(window).iter().filter_map(|span| span.intersection(window)).collect())
    }

    /// The labels inside `window` that are not in this set.
    pub fn missing(&self, window: Span) -> Self {
        let (mut rest, mut from) = (Vec::new(), window.from);
        for span in self.touching(window) {
            rest.extend(Span::new(from, span.from.min(window.to)));
            from = from.max(span.to);
        }
        rest.extend(Span::new(from, window.to));
        Self(rest)
    }

    /// The spans that share labels with `window`.
    fn touching(&self, window: Span) -> &[Span] {
        let first = self.0.partition_point(|span| span.to <= window.from);
        let end = self.0.partition_point(|span| span.from < window.to);
        self.0.get(first..end).unwrap_or_default()
    }
}

impl FromIterator<Span> for SpanSet {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::new();
        for span in spans {
            set.insert(span);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn span(from: i64, to: i64) -> Span {
        Span { from: WallTime::from_ticks(from), to: WallTime::from_ticks(to) }
    }

    proptest! {
        /// A set of spans behaves as the set of its labels.
        #[test]
        fn behaves_as_a_set_of_labels(steps in prop::collection::vec((any::<bool>(), 0i64..60, 1i64..20), 0..30)) {
            let mut set = SpanSet::new();
            let mut labels = BTreeSet::new();
            for (add, from, length) in steps {
                if add {
                    set.insert(span(from, from + length));
                    labels.extend(from..from + length);
                } else {
                    set.remove(span(from, from + length));
                    labels.retain(|label| !(from..from + length).contains(label));
                }
                for label in -1..90 {
                    prop_assert_eq!(set.contains(WallTime::from_ticks(label)), labels.contains(&label));
                }
                for pair in set.spans().windows(2) {
                    prop_assert!(pair[0].to < pair[1].from);
                }
                prop_assert_eq!(set.ticks(), i64::try_from(labels.len()).unwrap());
                let window = span(10, 50);
                prop_assert_eq!(set.within(window).ticks() + set.missing(window).ticks(), 40);
            }
        }
    }
}
