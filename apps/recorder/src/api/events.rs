//! The event log, page by page.

use axum::Json;
use axum::extract::{Query, State};
use keepwatch_model::{Event, EventCode, Severity, Span, Subject, TICKS_PER_SECOND, WallTime};
use keepwatch_store::{EventCursor, EventPage, EventQuery, StoreError};
use keepwatch_web::{Caller, Identity, Page, Problem, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::query::{self, WindowQuery};
use crate::Node;

/// Events in one page unless fewer are asked for.
const PAGE_MAX: usize = 1_000;
/// Pages of the log that are searched for one page of what a user may see.
const PAGES_MAX: usize = 50;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    #[serde(flatten)]
    #[param(ignore)]
    window: WindowQuery,
    /// At most so many, 1 to 1,000; 1,000 when left out.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// `newest` or `oldest` (the default) first.
    order: Option<String>,
}

/// What an event is about.
#[derive(ToSchema)]
#[schema(as = EventSubject)]
#[expect(dead_code, reason = "it describes what the model writes")]
struct About {
    /// What kind of thing it is.
    kind: super::words::SubjectKind,
    /// Which one; not there for the node.
    id: Option<String>,
}

/// A line of the event log.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct Line {
    /// Its number.
    id: i64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    /// What happened; the codes are stable.
    #[schema(value_type = String)]
    code: EventCode,
    /// How much it matters.
    #[schema(value_type = super::words::SeverityName)]
    severity: Severity,
    /// What it is about.
    #[schema(value_type = About)]
    subject: Subject,
    /// A sentence for people.
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

/// The event log; without a window, of the last 24 hours.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "events", tag = "events", params(WindowQuery, EventsQuery),
    responses((status = 200, body = Page<Line>)))]
pub(super) async fn events(
    State(node): State<Node>,
    caller: Caller,
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
        let query = EventQuery { from: window.from, to: window.to, newest_first, after, limit };
        page(&node, query, &caller.identity)
    })
    .await?
    .map_err(|error| query::index_failed(&error))?;
    let next = page.next.map(|cursor| format!("{}.{}", cursor.at.ticks(), cursor.id));
    Ok(Json(Page { items: page.items.into_iter().map(Line::from).collect(), next }))
}

/// The events of `query` that `identity` may see. Who may see little is given what was found within a bounded search,
/// and where to go on.
fn page(node: &Node, query: EventQuery, identity: &Identity) -> Result<EventPage, StoreError> {
    let mut found = EventPage { items: Vec::new(), next: query.after };
    for _ in 0..PAGES_MAX {
        let limit = query.limit.saturating_sub(found.items.len());
        let EventPage { items, next } =
            node.event_log().page(&EventQuery { after: found.next, limit, ..query })?;
        found.items.extend(items.into_iter().filter(|(_, event)| may_see(identity, &event.subject)));
        found.next = next;
        if next.is_none() || found.items.len() >= query.limit {
            break;
        }
    }
    Ok(found)
}

/// Whether what happened to `subject` concerns a user: a camera those who may see it, the machine those who have a role
/// everywhere, users their administrators.
fn may_see(identity: &Identity, subject: &Subject) -> bool {
    match subject {
        Subject::Camera(id) => identity.at(id.as_str()).is_some(),
        Subject::Node | Subject::Disk(_) => identity.grants.role.is_some(),
        Subject::User(_) => identity.grants.role == Some(Role::Administrator),
    }
}

fn parse_cursor(text: &str) -> Result<EventCursor, Problem> {
    let parsed = text.split_once('.').and_then(|(at, id)| {
        Some(EventCursor { at: WallTime::from_ticks(at.parse().ok()?), id: id.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        Problem::bad_request("cursor_invalid", "take the cursor from `next` of the page before")
    })
}
