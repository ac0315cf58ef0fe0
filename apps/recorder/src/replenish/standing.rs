//! How the filling of gaps stands, for operators: what is missing, what is being fetched, from whom, and why not.

use std::time::Duration;

use keepwatch_model::{Span, WallTime};
use keepwatch_recording::replenish::{JobEnd, Source, StreamKey};

/// How a stream stands that misses something, or did since the recorder started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStanding {
    /// Which.
    pub stream: StreamKey,
    /// Ticks that are missing and within the retention.
    pub missing_ticks: i64,
    /// Of these, what is fetched no more: nobody has it, or there is no place for it.
    pub nowhere_ticks: i64,
    /// What is fetched at the moment; `None` when nothing is.
    pub running: Option<RunningJob>,
    /// Who is asked, in this order.
    pub sources: Vec<SourceStanding>,
    /// What ended last; `None` before the first.
    pub last: Option<EndedJob>,
}

/// Something that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningJob {
    /// From whom.
    pub source: Source,
    /// Which labels.
    pub span: Span,
    /// Since when.
    pub since: WallTime,
    /// What came.
    pub bytes: u64,
    /// How fast, in the last seconds.
    pub bits_per_second: u64,
}

/// Somebody who may have what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStanding {
    /// Who.
    pub source: Source,
    /// What it is called: of a recorder its name, of a card that of the camera.
    pub name: String,
    /// It could not be reached or refused, and is asked again then; `None` when it may be asked.
    pub rests_until: Option<WallTime>,
}

/// Something that was fetched, or was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    /// From whom.
    pub source: Source,
    /// Which labels.
    pub span: Span,
    /// When it ended.
    pub at: WallTime,
    /// How.
    pub end: JobEnd,
    /// What went wrong, in a sentence; `None` when nothing did.
    pub trouble: Option<String>,
    /// Ticks of it that are filled.
    pub filled_ticks: i64,
    /// What came.
    pub bytes: u64,
    /// How fast, from the first byte to the last.
    pub bits_per_second: u64,
    /// How long it took, from the first question to the last record on disk.
    pub took: Duration,
}
