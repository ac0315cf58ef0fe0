//! What a fetch came to: what was taken, what was trimmed, and what is missing for which reason.

use std::time::Duration;

use keepwatch_model::{CodecKind, Span, SpanSet};
use keepwatch_recording::fetch::{End, Fetch, GiveUp, HOLES_MAX, Report};

use super::intake::Store;

/// What a fetch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAccount {
    /// What was asked for.
    pub span: Span,
    /// How it ended.
    pub end: End,
    /// What became of each frame.
    pub report: Report,
    /// What was taken of each track, the video first; empty when no replay began.
    pub tracks: Vec<TrackAccount>,
    /// Replays that ended without being asked to.
    pub broken_off: u64,
    /// Packets that could not be understood.
    pub bad_packets: u64,
    /// What is missing of the first track, in order, disjoint.
    pub missing: Vec<Missing>,
    /// How long it took.
    pub elapsed: Duration,
    /// Why the last replay ended or could not begin, where that ended the fetch.
    pub trouble: Option<String>,
}

impl FetchAccount {
    /// Samples taken.
    pub fn samples(&self) -> u64 {
        self.tracks.iter().map(|track| track.samples).sum()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.tracks.iter().map(|track| track.bytes).sum()
    }

    /// Whether all of the span is there.
    pub fn is_whole(&self) -> bool {
        self.end == End::Complete && self.missing.is_empty() && self.report.lost_packets == 0
    }

    /// Takes into account where the server itself says that there is footage: what it has and did not send is no gap in
    /// the recording.
    #[must_use]
    pub fn compared_with(mut self, recorded: &SpanSet) -> Self {
        let mut compared = Vec::with_capacity(self.missing.len());
        for missing in &self.missing {
            if missing.reason != MissingReason::NotRecorded {
                compared.push(*missing);
                continue;
            }
            let of = |spans: &SpanSet, reason| {
                spans.spans().iter().map(move |span| Missing { span: *span, reason }).collect::<Vec<_>>()
            };
            // The ends of a section are told to the second.
            let withheld = recorded.within(missing.span);
            let told = withheld.spans().iter().copied().filter(|span| span.ticks() > SECTION_SLACK_TICKS);
            let withheld: SpanSet = told.collect();
            compared.extend(of(&withheld, MissingReason::Withheld));
            compared.extend(of(&withheld.missing(missing.span), MissingReason::NotRecorded));
        }
        compared.sort_by_key(|missing| missing.span);
        self.missing = compared;
        self
    }
}

/// How far a device's word of where its footage begins and ends may be off.
const SECTION_SLACK_TICKS: i64 = 2 * keepwatch_model::TICKS_PER_SECOND;

/// What was taken of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackAccount {
    /// Its coding.
    pub kind: CodecKind,
    /// Samples taken.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl TrackAccount {
    pub(super) const fn new(kind: CodecKind) -> Self {
        Self { kind, samples: 0, bytes: 0 }
    }
}

/// Footage that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where.
    pub span: Span,
    /// Why.
    pub reason: MissingReason,
}

/// Why footage is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingReason {
    /// The server has nothing there.
    NotRecorded,
    /// The server says that it has something there, and did not send it.
    Withheld,
    /// Packets were lost on the way.
    Lost,
    /// The server fell silent before; whether it has more is not known.
    Silent,
    /// The connection could not be made, or broke again and again, before.
    Connection,
    /// The server refused.
    Refused,
    /// The server played something else than it was asked for.
    OtherFootage,
    /// The fetch was cancelled before.
    Cancelled,
}

impl MissingReason {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRecorded => "not_recorded",
            Self::Withheld => "withheld",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::OtherFootage => "other_footage",
            Self::Cancelled => "cancelled",
        }
    }

    /// It in an operator's words.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotRecorded => "not recorded",
            Self::Withheld => "recorded by its own word, and not sent",
            Self::Lost => "lost on the way",
            Self::Silent => "the server fell silent; it may have more or not",
            Self::Connection => "the connection could not be made or kept",
            Self::Refused => "the server refused",
            Self::OtherFootage => "the server played other footage than was asked for",
            Self::Cancelled => "cancelled before",
        }
    }

    /// Why what was not reached is missing; `None` when all was.
    const fn of(end: End) -> Option<Self> {
        match end {
            End::Complete | End::NoFootage => None,
            End::Silent => Some(Self::Silent),
            End::Cancelled => Some(Self::Cancelled),
            End::GivenUp(GiveUp::Connection) => Some(Self::Connection),
            End::GivenUp(GiveUp::Refused) => Some(Self::Refused),
            End::GivenUp(GiveUp::OtherFootage | GiveUp::TimesGoBack) => Some(Self::OtherFootage),
        }
    }
}

/// The account of a fetch of `span` that is over.
pub(super) fn account(
    span: Span,
    end: End,
    (fetch, store): (&Fetch, &Store),
    elapsed: Duration,
    trouble: Option<String>,
) -> FetchAccount {
    let report = fetch.report().clone();
    let reason = |hole: Span| {
        let lost = store.losses.iter().any(|loss| loss.intersection(hole).is_some());
        if lost { MissingReason::Lost } else { MissingReason::NotRecorded }
    };
    let holes = report.holes.spans().iter().take(HOLES_MAX);
    let mut missing: Vec<Missing> =
        holes.map(|hole| Missing { span: *hole, reason: reason(*hole) }).collect();
    let from = fetch.reached().unwrap_or(span.from);
    let left = Span::new(from, span.to).zip(MissingReason::of(end));
    missing.extend(left.map(|(span, reason)| Missing { span, reason }));
    FetchAccount {
        span,
        end,
        report,
        tracks: store.tracks.iter().map(|track| track.account).collect(),
        broken_off: store.broken_off,
        bad_packets: store.bad_packets,
        missing,
        elapsed,
        trouble,
    }
}
