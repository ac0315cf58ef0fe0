//! What an edge node has not, and why: its gap is ours, for the reason that it has there.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use keepwatch_model::{Span, StreamId, TICKS_PER_SECOND};
use keepwatch_recording::peer::{Nowhere, NowhereLine};
use keepwatch_web::{Node as Asking, Problem};

use super::super::missing::joined;
use super::{Asked, Door, ahead};
use crate::camera::StreamState;

/// What is left of a gap beside what the node says, and is shorter, is of the same reason: the clocks differ a little.
const BESIDE_TICKS: i64 = TICKS_PER_SECOND / 2;

/// Enters why footage is missing that a node has not.
pub(super) async fn nowhere(
    State(door): State<Door>,
    Extension(asking): Extension<Asking>,
    asked: Asked,
    told: Result<Json<Nowhere>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let edge = door.node.edge(&asking)?;
    let ahead_ticks = ahead(&door.node, asked)?;
    let Json(told) = told.map_err(|error| Problem::bad_request("body_malformed", error.body_text()))?;
    for line in &told.lines {
        // A camera may have been removed here a moment ago.
        if let Some(stream) = door.node.sent_stream(&edge, line.camera, StreamId(line.stream)) {
            enter(&stream, line, ahead_ticks);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn enter(stream: &StreamState, line: &NowhereLine, ahead_ticks: i64) {
    let mut ledger = stream.ledger();
    for span in &line.spans {
        let Some(own) = Span::new(span.from.plus(ahead_ticks), span.to.plus(ahead_ticks)) else { continue };
        let around = Span { from: own.from.plus(-BESIDE_TICKS), to: own.to.plus(BESIDE_TICKS) };
        let near = joined(&ledger.gaps(around));
        // The edges of what is missing on both sides of it stay where they are.
        let mut wide = own;
        for gap in near.spans().iter().filter(|gap| gap.intersection(own).is_some()) {
            let short = |ticks: i64| ticks < BESIDE_TICKS;
            if short(own.from.ticks_since(gap.from)) && gap.from > around.from {
                wide.from = wide.from.min(gap.from);
            }
            if short(gap.to.ticks_since(own.to)) && gap.to < around.to {
                wide.to = wide.to.max(gap.to);
            }
        }
        ledger.nowhere(wide, span.state());
    }
}
