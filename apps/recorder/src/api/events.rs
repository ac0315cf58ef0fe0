//! The event log, page by page.

use axum::Json;
use axum::extract::{Query, State};
use keepwatch_model::{Event, EventCode, Severity, Span, Subject, TICKS_PER_SECOND, WallTime};
use keepwatch_store::{EventCursor, EventQuery};
use keepwatch_web::Problem;
use serde::{Deserialize, Serialize};

use super::Page;
use super::query::{self, WindowQuery};
use crate::Node;

/// Events in one page unless fewer are asked for.
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    #[serde(flatten)]
    window: WindowQuery,
    limit: Option<usize>,
    cursor: Option<String>,
    /// `newest` or `oldest` (the default) first.
    order: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Line {
    id: i64,
    at: WallTime,
    code: EventCode,
    severity: Severity,
    subject: Subject,
    text: String,
}

impl From<(i64, Event)> for Line {
    fn from((id, event): (i64, Event)) -> Self {
        Self {
            id,
            at: event.at,
            code: event.code,
            severity: event.code.severity(),
            subject: event.subject,
            text: event.text,
        }
    }
}

/// `GET /api/v1/events`; without a window, the last 24 hours.
pub(super) async fn events(
    State(node): State<Node>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Page<Line>>, Problem> {
    let now = node.clock().wall();
    let window = query.window.or(Span { from: now.plus(-86_400 * TICKS_PER_SECOND), to: now.plus(1) })?;
    let newest_first = match query.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::bad_request("order_invalid", "order must be newest or oldest")),
    };
    let after = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let limit = query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let page = query::blocking(move || {
        // What was said before the question belongs to the answer.
        node.event_log().flush();
        node.event_log().page(&EventQuery { from: window.from, to: window.to, newest_first, after, limit })
    })
    .await?
    .map_err(|error| query::index_failed(&error))?;
    let next = page.next.map(|cursor| format!("{}.{}", cursor.at.ticks(), cursor.id));
    Ok(Json(Page { items: page.items.into_iter().map(Line::from).collect(), next }))
}

fn parse_cursor(text: &str) -> Result<EventCursor, Problem> {
    let parsed = text.split_once('.').and_then(|(at, id)| {
        Some(EventCursor { at: WallTime::from_ticks(at.parse().ok()?), id: id.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        Problem::bad_request("cursor_invalid", "take the cursor from `next` of the page before")
    })
}
