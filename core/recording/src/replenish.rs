//! Which gap is filled next, from whom, and when it is asked again.
//!
//! A recorder that misses footage asks for it: it knows its gaps, and it alone writes its store. Who may have the footage is
//! ranked for each stream: the standby that covered it, then the camera's own card. One source is asked at a time for a
//! stream, oldest gap first, since the oldest is the first to be overwritten where it is, but behind all others a gap at which the
//! source failed last. What a source does not have is asked of the next; a source that cannot be reached is asked again, later and
//! later. Nothing of this is kept: after a restart the ledger says what is still missing. Fetching, comparing ([`splice`]) and
//! writing are the shell's.

pub mod bearing;
pub mod identity;
pub mod splice;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{Backfill, CameraId, Machine, MonoTime, RoleId, Span, SpanSet, StreamId, WallTime};

use self::stream::{Stream, Turn};

/// Most that run at a time: the disks are there for live footage.
const JOBS_MAX: usize = 2;
/// How long a source is left alone that could not be reached or refused: at first, and at most.
const REST_MIN: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(600);
/// After so many failures in a row the next source is asked meanwhile.
const FAILURES_PATIENT: u32 = 3;
/// How long all is left alone after the disks took nothing: they are looked for every few seconds.
const NO_ROOM_REST: Duration = Duration::from_secs(60);

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
    /// The source sends footage to others first.
    Busy,
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

/// The machine.
#[derive(Debug, Default)]
pub struct Replenish {
    streams: BTreeMap<StreamKey, Stream>,
    resting: BTreeMap<Source, Rest>,
    running: BTreeMap<JobId, Job>,
    paused: bool,
    last_id: u64,
    /// Jobs that a source failed so far: what tells which of two gaps failed later.
    failed: u64,
    /// When the disks are tried again after they took nothing.
    no_room_until: Option<MonoTime>,
}

/// A source that failed.
#[derive(Clone, Copy, Debug)]
struct Rest {
    failures: u32,
    /// Until when it is left alone; `None` when that is over, and the next failure leaves it alone for longer.
    until: Option<MonoTime>,
}

impl Replenish {
    /// Until when `source` is left alone because it could not be reached or refused; `None` when it may be asked.
    pub fn rests_until(&self, source: Source) -> Option<MonoTime> {
        self.resting.get(&source)?.until
    }

    /// What is missing of a stream and is asked for no more, since none of its sources has it.
    pub fn settled(&self, key: StreamKey) -> SpanSet {
        self.streams.get(&key).map(Stream::settled).unwrap_or_default()
    }

    fn missing(&mut self, key: StreamKey, since: WallTime, gaps: Vec<Span>, sources: Vec<Source>) {
        let stream = self.streams.entry(key).or_default();
        stream.gaps = gaps;
        stream.sources = sources;
        stream.forget(since);
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
                let failures = self.failures(job.source).saturating_add(1);
                let longest = REST_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
                let until = now + longest.min(REST_MAX);
                self.resting.insert(job.source, Rest { failures, until: Some(until) });
                self.failed += 1;
                if let Some(stream) = self.streams.get_mut(&job.stream) {
                    stream.note_failed(job.source, job.span, self.failed);
                }
            }
            // It is well, and says that this recorder's turn comes.
            JobEnd::Busy => {
                let rest = Rest { failures: self.failures(job.source), until: Some(now + REST_MIN) };
                self.resting.insert(job.source, rest);
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

    fn failures(&self, source: Source) -> u32 {
        self.resting.get(&source).map_or(0, |rest| rest.failures)
    }

    /// Begins what can be begun, and notes how far the gaps of the streams are for which something changed, `touched` among
    /// them.
    fn go_on(&mut self, touched: Option<StreamKey>, out: &mut Vec<Action>) {
        let mut touched: BTreeSet<StreamKey> = touched.into_iter().collect();
        while !self.paused && self.running.len() < JOBS_MAX && self.no_room_until.is_none() {
            let Some((stream, Turn { source, span, .. })) = self.next() else { break };
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

    /// The oldest gap that can be asked for, and of whom; what failed comes behind what did not.
    fn next(&self) -> Option<(StreamKey, Turn)> {
        let busy: BTreeSet<Source> = self.running.values().map(|job| job.source).collect();
        let being_filled: BTreeSet<StreamKey> = self.running.values().map(|job| job.stream).collect();
        let idle = self.streams.iter().filter(|(key, _)| !being_filled.contains(key));
        let turns = idle.filter_map(|(key, stream)| Some((*key, stream.next(&self.resting, &busy)?)));
        turns.min_by_key(|(_, turn)| (turn.failed_last, turn.span.from))
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
            marks.extend(being_filled.spans().iter().map(|span| (*span, Some(Backfill::Running))));
            for rest in being_filled.missing(*gap).spans() {
                let pending = open.within(*rest);
                marks.extend(pending.spans().iter().map(|span| (*span, Some(Backfill::Pending))));
                // Where nobody can be asked nothing is said, and what was said before holds no longer.
                let no_more = (!stream.sources.is_empty()).then_some(Backfill::Done);
                marks.extend(pending.missing(*rest).spans().iter().map(|span| (*span, no_more)));
            }
        }
        marks.sort_by_key(|(span, _)| *span);
        if marks != stream.marked {
            let before: BTreeMap<Span, Option<Backfill>> = stream.marked.iter().copied().collect();
            let told = marks.iter().filter(|(span, backfill)| before.get(span) != Some(backfill));
            out.extend(told.map(|(span, backfill)| Action::Mark {
                stream: key,
                span: *span,
                backfill: *backfill,
            }));
            stream.marked = marks;
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
        let again = self.streams.values().filter_map(Stream::deadline);
        let again = again.map(|at| (at, "a source may have it by then"));
        rests.chain(room).chain(again).min_by_key(|(at, _)| *at)
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        for rest in self.resting.values_mut() {
            rest.until = rest.until.filter(|until| *until > now);
        }
        self.no_room_until = self.no_room_until.filter(|until| *until > now);
        self.streams.values_mut().for_each(|stream| stream.wake(now));
        self.go_on(None, out);
    }
}

#[cfg(test)]
mod tests;
