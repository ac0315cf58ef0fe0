//! What the recorder misses and this node has not, and why.

use keepwatch_model::{GapReason, Span, SpanSet, State, TICKS_PER_SECOND};
use keepwatch_recorder::StreamState;
use keepwatch_recording::peer::{NOWHERE_SPANS_MAX, NowhereLine, NowhereSpan, WantedLine};

/// A hole that is shorter holds no picture.
pub(crate) const HOLE_TICKS_MIN: i64 = TICKS_PER_SECOND / 2;

/// Of what is `wanted` of a stream, what is not here. What the books have and cannot be read is `lost`.
pub(crate) fn of(wanted: &WantedLine, stream: &StreamState, lost: &SpanSet) -> Option<NowhereLine> {
    let ledger = stream.ledger();
    // What comes behind is still to be recorded.
    let until = ledger.held_until()?;
    let settled = wanted.spans().filter_map(|span| Span::new(span.from, span.to.min(until)));
    let mut spans: Vec<NowhereSpan> = Vec::new();
    for item in settled.flat_map(|span| ledger.items(span, until, &SpanSet::new())) {
        if matches!(item.state, State::Held { .. }) {
            let failed = State::Gap { reason: GapReason::EdgeFailed };
            spans.extend(
                lost.within(item.span).spans().iter().filter_map(|span| NowhereSpan::of(*span, failed)),
            );
        } else if let Some(span) = NowhereSpan::of(item.span, item.state) {
            spans.push(span);
        } else if let Some(last) = spans.last_mut()
            && last.to == item.span.from
            && item.span.ticks() < HOLE_TICKS_MIN
        {
            // Between two records, and no picture in it.
            last.to = item.span.to;
        }
    }
    spans.truncate(NOWHERE_SPANS_MAX);
    (!spans.is_empty()).then_some(NowhereLine { camera: wanted.camera, stream: wanted.stream, spans })
}
