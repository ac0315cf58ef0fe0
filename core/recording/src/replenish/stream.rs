//! What one stream misses, what each of its sources had not or failed to bring, and what is asked for next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{Backfill, MonoTime, Span, SpanSet, TICKS_PER_SECOND, WallTime};

use super::{FAILURES_PATIENT, Rest, Source};

/// Most footage that is asked for at a time: what is lost when a source breaks off, and how long others wait.
const CHUNK_TICKS: i64 = 15 * 60 * TICKS_PER_SECOND;
/// What a source did not have it may still have on its way to its disk, so that it is asked again after these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(600)];
/// So many spans are remembered that a source failed to bring; of more, the one that failed first has its turn again.
const FAILED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) gaps: Vec<Span>,
    pub(super) sources: Vec<Source>,
    /// What each source did not have, and is asked for again.
    without: BTreeMap<Source, Vec<Without>>,
    /// What each source failed to bring, the earliest failure first.
    failed: BTreeMap<Source, Vec<Failed>>,
    /// What is asked of each source no more.
    never: BTreeMap<Source, SpanSet>,
    /// What was last entered into the ledger.
    pub(super) marked: Vec<(Span, Option<Backfill>)>,
}

/// What is asked for next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) source: Source,
    pub(super) span: Span,
    /// The number of the failure that this was last; 0 when the source has not failed to bring it.
    pub(super) failed_last: u64,
}

/// Footage that a source did not have and may get.
#[derive(Clone, Copy, Debug)]
struct Without {
    span: Span,
    /// How often it was asked.
    asked: usize,
    again: Again,
}

/// When a source is asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Then.
    At(MonoTime),
    /// As soon as it is its turn.
    Now,
}

/// Footage at which a source broke off, refused or could not be reached.
#[derive(Clone, Copy, Debug)]
struct Failed {
    span: Span,
    times: u32,
    /// The number of the last failure.
    last: u64,
}

impl Stream {
    /// Forgets what was said of labels before `since`, of sources that are no more, and of what is missing no more.
    pub(super) fn forget(&mut self, since: WallTime) {
        let Self { gaps, sources, without, failed, never, .. } = self;
        without.retain(|source, _| sources.contains(source));
        failed.retain(|source, _| sources.contains(source));
        never.retain(|source, _| sources.contains(source));
        if let Some(gone) = Span::new(WallTime::MIN, since) {
            never.values_mut().for_each(|never| never.remove(gone));
        }
        // What was filled meanwhile, or expired, need not be remembered.
        let is_missing = |span: Span| gaps.iter().any(|gap| gap.intersection(span).is_some());
        without.values_mut().for_each(|asked| asked.retain(|without| is_missing(without.span)));
        failed.values_mut().for_each(|failed| failed.retain(|failed| is_missing(failed.span)));
    }

    /// What is missing and asked of nobody any more.
    pub(super) fn settled(&self) -> SpanSet {
        let mut of_each = self.sources.iter().map(|source| self.never.get(source));
        let Some(first) = of_each.next() else { return SpanSet::new() };
        of_each.fold(first.cloned().unwrap_or_default(), |common, never| {
            let Some(never) = never else { return SpanSet::new() };
            common.spans().iter().flat_map(|span| never.within(*span).spans().to_vec()).collect()
        })
    }

    /// What is missing and `source` may have, now or when it is asked again.
    pub(super) fn open(&self, source: Source) -> SpanSet {
        self.open_if(source, |_| true)
    }

    /// What is missing and `source` may be asked for.
    fn askable(&self, source: Source) -> SpanSet {
        self.open_if(source, |without| without.again == Again::Now)
    }

    fn open_if(&self, source: Source, may: impl Fn(&Without) -> bool) -> SpanSet {
        let mut open: SpanSet = self.gaps.iter().copied().collect();
        if let Some(never) = self.never.get(&source) {
            let gone = self.gaps.iter().flat_map(|gap| never.within(*gap).spans().to_vec());
            gone.for_each(|span| open.remove(span));
        }
        for without in self.without.get(&source).into_iter().flatten().filter(|without| !may(without)) {
            open.remove(without.span);
        }
        open
    }

    /// What is asked for next, while some sources are `resting` and others `busy`.
    pub(super) fn next(&self, resting: &BTreeMap<Source, Rest>, busy: &BTreeSet<Source>) -> Option<Turn> {
        let mut asked_first = SpanSet::new();
        let mut next: Option<Turn> = None;
        for source in &self.sources {
            let rest = resting.get(source).filter(|rest| rest.until.is_some());
            if rest.is_none() && !busy.contains(source) {
                let turn = self.first_of(*source, &asked_first);
                next = next.into_iter().chain(turn).min_by_key(|turn| turn.failed_last);
            }
            // It is waited for, unless it has been away for long, or often broke off there.
            if rest.is_none_or(|rest| rest.failures < FAILURES_PATIENT) {
                let mut open = self.open(*source);
                let often = self.failed(*source).filter(|failed| failed.times >= FAILURES_PATIENT);
                often.for_each(|failed| open.remove(failed.span));
                open.spans().iter().for_each(|span| asked_first.insert(*span));
            }
        }
        next
    }

    /// What `source` is asked for next, beside what others are asked for first.
    fn first_of(&self, source: Source, asked_first: &SpanSet) -> Option<Turn> {
        let mut open = self.askable(source);
        asked_first.spans().iter().for_each(|span| open.remove(*span));
        let mut untried = open.clone();
        self.failed(source).for_each(|failed| untried.remove(failed.span));
        let turn = |span: Span, failed_last| Turn { source, span: self.chunk(source, span), failed_last };
        if let Some(first) = untried.spans().first() {
            return Some(turn(*first, 0));
        }
        self.failed(source).find_map(|failed| {
            let span = *open.within(failed.span).spans().first()?;
            Some(turn(span, failed.last))
        })
    }

    /// As much of `span` as is asked for at a time. What was asked for before is asked for apart from what was not, or was less
    /// often.
    fn chunk(&self, source: Source, span: Span) -> Span {
        let asked = self.without.get(&source).into_iter().flatten();
        let edges = asked.flat_map(|without| [without.span.from, without.span.to]);
        let edge = edges.filter(|edge| *edge > span.from).min().unwrap_or(span.to);
        Span { from: span.from, to: span.to.min(span.from.plus(CHUNK_TICKS)).min(edge) }
    }

    fn failed(&self, source: Source) -> impl Iterator<Item = &Failed> {
        self.failed.get(&source).into_iter().flatten()
    }

    /// `source` brought all that it has of `span`.
    pub(super) fn note_without(&mut self, now: MonoTime, source: Source, span: Span) {
        if let Some(failed) = self.failed.get_mut(&source) {
            failed.retain(|failed| failed.span.intersection(span).is_none());
        }
        if !self.gaps.iter().any(|gap| gap.intersection(span).is_some()) {
            return; // All of it came.
        }
        let asked = self.without.entry(source).or_default();
        let before = asked.iter().filter(|without| without.span.intersection(span).is_some());
        let times = before.map(|without| without.asked).max().unwrap_or(0) + 1;
        asked.retain(|without| without.span.intersection(span).is_none());
        let wait = match source {
            Source::Recorder(_) => ASK_AGAIN.get(times - 1),
            // A card is written as it is recorded.
            Source::Card(_) => ASK_AGAIN.get(times),
        };
        match wait {
            Some(wait) => asked.push(Without { span, asked: times, again: Again::At(now + *wait) }),
            None => self.never.entry(source).or_default().insert(span),
        }
    }

    /// `source` failed to bring `span`, which is the failure of this number.
    pub(super) fn note_failed(&mut self, source: Source, span: Span, number: u64) {
        let failed = self.failed.entry(source).or_default();
        let before = failed.iter().filter(|failed| failed.span.intersection(span).is_some());
        let times = before.map(|failed| failed.times).max().unwrap_or(0).saturating_add(1);
        failed.retain(|failed| failed.span.intersection(span).is_none());
        if failed.len() >= FAILED_MAX {
            failed.remove(0);
        }
        failed.push(Failed { span, times, last: number });
    }

    /// `span` is asked of nobody any more.
    pub(super) fn give_up(&mut self, span: Span) {
        for source in &self.sources {
            self.never.entry(*source).or_default().insert(span);
        }
        for asked in self.without.values_mut() {
            asked.retain(|without| without.span.from < span.from || without.span.to > span.to);
        }
    }

    /// When a source is asked again for what it did not have; `None` when none is.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        let all = self.without.values().flatten();
        let at = all.filter_map(|without| match without.again {
            Again::At(at) => Some(at),
            Again::Now => None,
        });
        at.min()
    }

    /// It is `now`.
    pub(super) fn wake(&mut self, now: MonoTime) {
        for without in self.without.values_mut().flatten() {
            if matches!(without.again, Again::At(at) if at <= now) {
                without.again = Again::Now;
            }
        }
    }

    /// Spans that sources did not have and are asked for again.
    #[cfg(test)]
    pub(super) fn asked_again(&self) -> usize {
        self.without.values().flatten().count()
    }
}
