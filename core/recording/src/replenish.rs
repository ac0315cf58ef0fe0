//! Which gap is filled next, from whom, and when it is asked again.
//!
//! A recorder that misses footage asks for it: it knows its gaps, and it alone writes its store. Who may have the footage is
//! ranked for each stream: the standby that covered it, then the camera's own card. One source is asked at a time for a
//! stream, oldest gap first, since the oldest is the first to be overwritten where it is. What a source does not have is asked
//! of the next; a source that cannot be reached is asked again, later and later. Nothing of this is kept: after a restart the
//! ledger says what is still missing. Fetching, comparing ([`splice`]) and writing are the shell's.

pub mod identity;
pub mod splice;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{
    Backfill, CameraId, Machine, MonoTime, RoleId, Span, SpanSet, StreamId, TICKS_PER_SECOND, WallTime,
};

/// Most footage that is asked for at a time: what is lost when a source breaks off, and how long others wait.
const CHUNK_TICKS: i64 = 15 * 60 * TICKS_PER_SECOND;
/// Most that run at a time: the disks are there for live footage.
const JOBS_MAX: usize = 2;
/// How long a source is left alone that could not be reached or refused: at first, and at most.
const REST_MIN: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(600);
/// After so many failures in a row the next source is asked meanwhile.
const FAILURES_PATIENT: u32 = 3;
/// How long all is left alone after the disks took nothing: they are looked for every few seconds.
const NO_ROOM_REST: Duration = Duration::from_secs(60);
/// What a source did not have it may still have on its way to its disk, so that it is asked again after these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(600)];

/// A stream of a camera.
pub type StreamKey = (CameraId, StreamId);

/// Who may have what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Another recorder, by the role it plays itself.
    Recorder(RoleId),
    /// The camera's own card.
    Card(CameraId),
}

/// The number of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What a stream misses at the moment, in order, and who may have it, the likeliest first. What is
    /// [`settled`](Replenish::settled) may be left out.
    Missing {
        /// Which stream.
        stream: StreamKey,
        /// From when on footage is worth having; what was said of earlier labels is forgotten.
        since: WallTime,
        /// What is missing.
        gaps: Vec<Span>,
        /// Who may have it.
        sources: Vec<Source>,
    },
    /// A stream is not there any more.
    Gone(StreamKey),
    /// A job has ended.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        end: JobEnd,
    },
    /// Nothing is to be fetched until told otherwise; what runs ends.
    Paused(bool),
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// All that the source has of the span was fetched and is on disk.
    Over,
    /// The source could not be reached, or broke off; what came is on disk.
    Unreachable,
    /// The source refused.
    Refused,
    /// This recorder's disks took nothing.
    NoRoom,
    /// They had no place for this footage, as all that they hold is newer, or a record was refused: so it is with all before
    /// `until`, whoever has it.
    NotTaken {
        /// First label that may be taken.
        until: WallTime,
    },
    /// It was told to end.
    Cancelled,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch what the source has of the span.
    Fetch(Job),
    /// End a job.
    Cancel(JobId),
    /// Enter into the ledger how far gaps are filled.
    Mark {
        /// Which stream.
        stream: StreamKey,
        /// Which labels.
        span: Span,
        /// How far.
        backfill: Option<Backfill>,
    },
}

/// Something that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// From whom.
    pub source: Source,
    /// Of which stream.
    pub stream: StreamKey,
    /// Which labels.
    pub span: Span,
}

/// How far all is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nothing is fetched for an operator said so.
    pub paused: bool,
    /// What is fetched at the moment.
    pub running: Vec<Job>,
    /// Ticks of footage that are missing and that somebody may have.
    pub pending_ticks: i64,
    /// Ticks that are missing and that nobody has.
    pub nowhere_ticks: i64,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Replenish {
    streams: BTreeMap<StreamKey, Stream>,
    resting: BTreeMap<Source, Rest>,
    running: BTreeMap<JobId, Job>,
    paused: bool,
    last_id: u64,
    /// When the disks are tried again after they took nothing.
    no_room_until: Option<MonoTime>,
}

#[derive(Debug, Default)]
struct Stream {
    gaps: Vec<Span>,
    sources: Vec<Source>,
    /// What each source did not have, and is asked for again.
    without: BTreeMap<Source, Vec<Without>>,
    /// What is asked of each source no more.
    never: BTreeMap<Source, SpanSet>,
    /// What was last entered into the ledger.
    marked: Vec<(Span, Backfill)>,
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

/// A source that failed.
#[derive(Clone, Copy, Debug)]
struct Rest {
    failures: u32,
    /// Until when it is left alone; `None` when that is over, and the next failure leaves it alone for longer.
    until: Option<MonoTime>,
}

impl Replenish {
    /// How far all is.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress {
            paused: self.paused,
            running: self.running.values().copied().collect(),
            ..Progress::default()
        };
        for stream in self.streams.values() {
            let open: SpanSet =
                stream.sources.iter().flat_map(|source| stream.open(*source).spans().to_vec()).collect();
            let missing: i64 = stream.gaps.iter().map(|gap| gap.ticks()).sum();
            progress.pending_ticks = progress.pending_ticks.saturating_add(open.ticks());
            progress.nowhere_ticks =
                progress.nowhere_ticks.saturating_add(missing.saturating_sub(open.ticks()).max(0));
        }
        progress
    }

    /// Until when `source` is left alone because it could not be reached or refused; `None` when it may be asked.
    pub fn rests_until(&self, source: Source) -> Option<MonoTime> {
        self.resting.get(&source)?.until
    }

    /// What is missing of a stream and is asked for no more, since none of its sources has it.
    pub fn settled(&self, key: StreamKey) -> SpanSet {
        let Some(stream) = self.streams.get(&key) else { return SpanSet::new() };
        let mut of_each = stream.sources.iter().map(|source| stream.never.get(source));
        let Some(first) = of_each.next() else { return SpanSet::new() };
        of_each.fold(first.cloned().unwrap_or_default(), |common, never| {
            let Some(never) = never else { return SpanSet::new() };
            common.spans().iter().flat_map(|span| never.within(*span).spans().to_vec()).collect()
        })
    }

    fn missing(&mut self, key: StreamKey, since: WallTime, gaps: Vec<Span>, sources: Vec<Source>) {
        let stream = self.streams.entry(key).or_default();
        stream.gaps = gaps;
        stream.sources = sources;
        let Stream { gaps, without, never, sources, .. } = stream;
        without.retain(|source, _| sources.contains(source));
        never.retain(|source, _| sources.contains(source));
        if let Some(gone) = Span::new(WallTime::MIN, since) {
            never.values_mut().for_each(|never| never.remove(gone));
        }
        for asked in without.values_mut() {
            // What was filled meanwhile, or expired, need not be remembered.
            asked.retain(|without| gaps.iter().any(|gap| gap.intersection(without.span).is_some()));
        }
    }

    fn ended(&mut self, now: MonoTime, job: Job, end: JobEnd) {
        match end {
            JobEnd::Over => {
                self.resting.remove(&job.source);
                if let Some(stream) = self.streams.get_mut(&job.stream) {
                    stream.note_without(now, job.source, job.span);
                }
            }
            JobEnd::Unreachable | JobEnd::Refused => {
                let failures =
                    self.resting.get(&job.source).map_or(0, |rest| rest.failures).saturating_add(1);
                let longest = REST_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
                let until = now + longest.min(REST_MAX);
                self.resting.insert(job.source, Rest { failures, until: Some(until) });
            }
            JobEnd::NoRoom => self.no_room_until = Some(now + NO_ROOM_REST),
            JobEnd::NotTaken { until } => {
                if let Some(stream) = self.streams.get_mut(&job.stream) {
                    stream.give_up(Span::new(job.span.from, until.min(job.span.to)).unwrap_or(job.span));
                }
            }
            JobEnd::Cancelled => {}
        }
    }

    /// Begins what can be begun, and notes how far the gaps of the streams are for which something changed, `touched` among
    /// them.
    fn go_on(&mut self, touched: Option<StreamKey>, out: &mut Vec<Action>) {
        let mut touched: BTreeSet<StreamKey> = touched.into_iter().collect();
        while !self.paused && self.running.len() < JOBS_MAX && self.no_room_until.is_none() {
            let Some((stream, source, span)) = self.next() else { break };
            self.last_id += 1;
            let job = Job { id: JobId(self.last_id), source, stream, span };
            self.running.insert(job.id, job);
            touched.insert(stream);
            out.push(Action::Fetch(job));
        }
        for key in touched {
            self.mark(key, out);
        }
    }

    /// The oldest gap that can be asked for, and of whom.
    fn next(&self) -> Option<(StreamKey, Source, Span)> {
        let busy: BTreeSet<Source> = self.running.values().map(|job| job.source).collect();
        let being_filled: BTreeSet<StreamKey> = self.running.values().map(|job| job.stream).collect();
        let idle = self.streams.iter().filter(|(key, _)| !being_filled.contains(key));
        idle.filter_map(|(key, stream)| {
            let (source, span) = stream.next(&self.resting, &busy)?;
            Some((*key, source, span))
        })
        .min_by_key(|(_, _, span)| span.from)
    }

    fn mark(&mut self, key: StreamKey, out: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let running: SpanSet =
            self.running.values().filter(|job| job.stream == key).map(|job| job.span).collect();
        let open: SpanSet =
            stream.sources.iter().flat_map(|source| stream.open(*source).spans().to_vec()).collect();
        let mut marks = Vec::new();
        for gap in &stream.gaps {
            let being_filled = running.within(*gap);
            marks.extend(being_filled.spans().iter().map(|span| (*span, Backfill::Running)));
            for rest in being_filled.missing(*gap).spans() {
                let pending = open.within(*rest);
                marks.extend(pending.spans().iter().map(|span| (*span, Backfill::Pending)));
                // Where nobody can be asked nothing is said.
                if !stream.sources.is_empty() {
                    marks.extend(pending.missing(*rest).spans().iter().map(|span| (*span, Backfill::Done)));
                }
            }
        }
        marks.sort_by_key(|(span, _)| *span);
        if marks != stream.marked {
            let before: BTreeMap<Span, Backfill> = stream.marked.iter().copied().collect();
            out.extend(marks.iter().filter(|(span, backfill)| before.get(span) != Some(backfill)).map(
                |(span, backfill)| Action::Mark { stream: key, span: *span, backfill: Some(*backfill) },
            ));
            stream.marked = marks;
        }
    }
}

impl Stream {
    /// What is missing and `source` may have, now or when it is asked again.
    fn open(&self, source: Source) -> SpanSet {
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

    fn next(&self, resting: &BTreeMap<Source, Rest>, busy: &BTreeSet<Source>) -> Option<(Source, Span)> {
        let mut asked_first = SpanSet::new();
        for source in &self.sources {
            let mut open = self.askable(*source);
            for span in asked_first.spans() {
                open.remove(*span);
            }
            let rest = resting.get(source).filter(|rest| rest.until.is_some());
            if rest.is_none()
                && !busy.contains(source)
                && let Some(first) = open.spans().first()
            {
                // What was asked for before is asked for apart from what was not, or was less often.
                let asked = self.without.get(source).into_iter().flatten();
                let edges = asked.flat_map(|without| [without.span.from, without.span.to]);
                let edge = edges.filter(|edge| *edge > first.from).min().unwrap_or(first.to);
                let to = first.to.min(first.from.plus(CHUNK_TICKS)).min(edge);
                return Some((*source, Span { from: first.from, to }));
            }
            // It is waited for, unless it has been away for long.
            if rest.is_none_or(|rest| rest.failures < FAILURES_PATIENT) {
                for span in self.open(*source).spans() {
                    asked_first.insert(*span);
                }
            }
        }
        None
    }

    fn note_without(&mut self, now: MonoTime, source: Source, span: Span) {
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

    /// `span` is asked of nobody any more.
    fn give_up(&mut self, span: Span) {
        for source in &self.sources {
            self.never.entry(*source).or_default().insert(span);
        }
        for asked in self.without.values_mut() {
            asked.retain(|without| without.span.from < span.from || without.span.to > span.to);
        }
    }
}

impl Machine for Replenish {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        let touched = match event {
            Event::Missing { stream, since, gaps, sources } => {
                self.missing(stream, since, gaps, sources);
                Some(stream)
            }
            Event::Gone(key) => {
                self.streams.remove(&key);
                let of_it = self.running.values().filter(|job| job.stream == key);
                out.extend(of_it.map(|job| Action::Cancel(job.id)));
                None
            }
            Event::Ended { job, end } => {
                // A job that is not known is none of this machine's.
                let job = self.running.remove(&job);
                job.map(|job| {
                    self.ended(now, job, end);
                    job.stream
                })
            }
            Event::Paused(paused) => {
                if paused && !self.paused {
                    out.extend(self.running.keys().map(|job| Action::Cancel(*job)));
                }
                self.paused = paused;
                None
            }
        };
        self.go_on(touched, out);
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        if self.paused || self.streams.values().all(|stream| stream.gaps.is_empty()) {
            return None;
        }
        let rests = self.resting.values().filter_map(|rest| Some((rest.until?, "a source is asked again")));
        let room = self.no_room_until.map(|until| (until, "the disks are tried again"));
        let again = self.streams.values().flat_map(|stream| stream.without.values().flatten()).filter_map(
            |without| match without.again {
                Again::At(at) => Some((at, "a source may have it by then")),
                Again::Now => None,
            },
        );
        rests.chain(room).chain(again).min_by_key(|(at, _)| *at)
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        for rest in self.resting.values_mut() {
            rest.until = rest.until.filter(|until| *until > now);
        }
        self.no_room_until = self.no_room_until.filter(|until| *until > now);
        for without in self.streams.values_mut().flat_map(|stream| stream.without.values_mut()).flatten() {
            if matches!(without.again, Again::At(at) if at <= now) {
                without.again = Again::Now;
            }
        }
        self.go_on(None, out);
    }
}

#[cfg(test)]
mod tests;
