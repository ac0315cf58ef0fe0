//! The coverage of a camera: every label of the window in exactly one state.

use axum::Json;
use axum::extract::{Path, Query, State};
use keepwatch_model::{
    Backfill, CoverageItem, GapReason, Origin, RoleId, Span, State as Held, TICKS_PER_SECOND, UnknownReason,
    WallTime,
};
use keepwatch_recording::ledger::Bucket;
use keepwatch_store::StoreError;
use keepwatch_web::{Page, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::query::{self, WindowQuery};
use crate::{Node, StreamState};

/// Most stretches in one answer; a longer one goes on with `next`.
const ITEMS_MAX: usize = 10_000;
/// Most buckets in an overview: more than a screen has pixels.
const BUCKETS_MAX: u32 = 10_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CoverageQuery {
    #[serde(flatten)]
    #[param(ignore)]
    window: WindowQuery,
    /// Overview in at most so many stretches of equal length.
    buckets: Option<u32>,
    /// Where the last page ended.
    #[param(value_type = Option<String>)]
    cursor: Option<WallTime>,
    /// `main` or `sub`; the main stream when left out.
    #[param(value_type = Option<super::words::StreamName>)]
    stream: Option<String>,
}

/// A stretch of time and what is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = CoverageItem)]
pub(crate) struct Item {
    /// Its first moment.
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    /// The first moment after.
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// What is known of it.
    #[schema(value_type = super::words::CoverageState)]
    state: &'static str,
    /// Where held footage came from.
    #[schema(value_type = Option<super::words::OriginName>)]
    origin: Option<Origin>,
    /// The recorder that recorded it.
    #[schema(value_type = Option<String>)]
    recorder: Option<RoleId>,
    /// The recorder in whose place it did.
    #[schema(value_type = Option<String>)]
    replaces: Option<RoleId>,
    /// How far it is fetched from elsewhere.
    #[schema(value_type = Option<super::words::BackfillName>)]
    backfill: Option<Backfill>,
    /// Why it is a gap, or unknown.
    #[schema(value_type = Option<super::words::CoverageReason>)]
    reason: Option<&'static str>,
    /// A sentence for people.
    detail: Option<&'static str>,
    /// Share of the stretch that is held, 0 to 1; only in overviews.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<f64>,
}

impl From<CoverageItem> for Item {
    fn from(item: CoverageItem) -> Self {
        let base = Self {
            from: item.span.from,
            to: item.span.to,
            state: "unknown",
            origin: None,
            recorder: None,
            replaces: None,
            backfill: item.backfill,
            reason: None,
            detail: None,
            held: None,
        };
        match item.state {
            Held::Held { origin, recorder, replaces } => {
                Self { state: "held", origin: Some(origin), recorder: Some(recorder), replaces, ..base }
            }
            Held::Gap { reason } => {
                Self { state: "gap", reason: Some(code(reason)), detail: Some(reason.sentence()), ..base }
            }
            Held::Expired => Self { state: "expired", ..base },
            Held::Unscheduled => Self { state: "unscheduled", ..base },
            Held::NoAlarm => Self { state: "no_alarm", ..base },
            Held::Unknown { reason } => {
                let (reason, detail) = match reason {
                    UnknownReason::DiskAbsent => ("disk_absent", "the disk that holds it is not there"),
                    UnknownReason::NotYet => ("not_yet", "it is not over, or on its way to the disk"),
                    UnknownReason::ClockStepped => (
                        "clock_stepped",
                        "the recorder's clock was set forward over it; this time did not pass",
                    ),
                    UnknownReason::NotConfigured => {
                        ("not_configured", "the camera was not known to this recorder")
                    }
                };
                Self { reason: Some(reason), detail: Some(detail), ..base }
            }
        }
    }
}

impl From<Bucket> for Item {
    fn from(bucket: Bucket) -> Self {
        let item = CoverageItem { span: bucket.span, state: bucket.state, backfill: None };
        // Both are far below 2^52, so the quotient is exact to a part in a million billion.
        let held = bucket.held_ticks as f64 / bucket.span.ticks().max(1) as f64;
        Self { held: Some(held), ..item.into() }
    }
}

fn code(reason: GapReason) -> &'static str {
    match reason {
        GapReason::CameraSilent => "camera_silent",
        GapReason::ConnectionLost => "connection_lost",
        GapReason::ConnectionRefused => "connection_refused",
        GapReason::StreamUnusable => "stream_unusable",
        GapReason::KeyFrameMissing => "key_frame_missing",
        GapReason::PacketsLost => "packets_lost",
        GapReason::DiskFull => "disk_full",
        GapReason::DiskGone => "disk_gone",
        GapReason::DiskSlow => "disk_slow",
        GapReason::RecorderDown => "recorder_down",
        GapReason::Overwritten => "overwritten",
        GapReason::Damaged => "damaged",
        GapReason::LoginRefused => "login_refused",
        GapReason::NotSent => "not_sent",
        GapReason::EdgeFailed => "edge_failed",
    }
}

/// All of `window` of a stream as coverage shows it. Reads the index, so it blocks.
pub(crate) fn coverage_items(
    node: &Node,
    stream: &StreamState,
    window: Span,
) -> Result<Vec<Item>, StoreError> {
    let absent = node.absent(stream.camera, stream.id, window)?;
    let items = stream.ledger().items(window, node.clock().wall(), &absent);
    Ok(items.into_iter().map(Item::from).collect())
}

/// What is known of each moment; without a window, of the last 24 hours.
#[utoipa::path(get, path = "/api/v1/cameras/{id}/coverage", operation_id = "coverage", tag = "footage",
    params(("id" = String, Path, description = "The camera."), WindowQuery, CoverageQuery),
    responses((status = 200, body = Page<Item>)))]
pub(super) async fn coverage(
    State(node): State<Node>,
    Path(id): Path<String>,
    Query(query): Query<CoverageQuery>,
) -> Result<Json<Page<Item>>, Problem> {
    let camera = query::camera(&node, &id)?;
    let stream = query::stream(&camera, query.stream.as_deref())?;
    let now = node.clock().wall();
    let day = Span { from: now.plus(-86_400 * TICKS_PER_SECOND), to: now };
    let mut window = query.window.or(day)?;
    if let Some(cursor) = query.cursor {
        window.from = window.from.max(cursor).min(window.to.plus(-1));
    }
    let absent = query::blocking({
        let (node, camera, stream) = (node.clone(), camera.id, stream.id);
        move || node.absent(camera, stream, window)
    })
    .await?
    .map_err(|error| query::index_failed(&error))?;
    if let Some(buckets) = query.buckets {
        if buckets == 0 || buckets > BUCKETS_MAX {
            let detail = format!("buckets must be 1 to {BUCKETS_MAX}, not {buckets}");
            return Err(Problem::bad_request("buckets_invalid", detail));
        }
        let overview = stream.ledger().buckets(window, now, &absent, buckets);
        return Ok(Json(Page::whole(overview.into_iter().map(Item::from).collect())));
    }
    let mut items = stream.ledger().items(window, now, &absent);
    let next = items.get(ITEMS_MAX).map(|item| item.span.from.to_string());
    items.truncate(ITEMS_MAX);
    Ok(Json(Page { items: items.into_iter().map(Item::from).collect(), next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_the_same_name_wherever_it_is_written() {
        for reason in GapReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), code(reason));
        }
    }
}
