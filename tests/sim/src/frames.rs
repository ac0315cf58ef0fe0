//! A set of frame numbers, as the ranges that it consists of.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of frame numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// End of each range by its begin; no two touch.
    ranges: BTreeMap<u64, u64>,
}

impl Frames {
    /// Adds a range.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut begin, mut end) = (range.start, range.end);
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back().filter(|(_, to)| **to >= begin) {
            (begin, end) = (begin.min(from), end.max(to));
            self.ranges.remove(&from);
        }
        self.ranges.insert(begin, end);
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, others: &Self) {
        for (begin, end) in &others.ranges {
            self.add(*begin..*end);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(begin, end)| end - begin).sum()
    }

    /// What is not there of `whole`.
    pub fn missing(&self, whole: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut next = whole.start;
        for (begin, end) in &self.ranges {
            if *begin > next && next < whole.end {
                missing.push(next..whole.end.min(*begin));
            }
            next = next.max(*end);
        }
        if next < whole.end {
            missing.push(next..whole.end);
        }
        missing
    }

    /// The newest range.
    pub fn newest(&self) -> Option<Range<u64>> {
        self.ranges.last_key_value().map(|(begin, end)| *begin..*end)
    }
}
