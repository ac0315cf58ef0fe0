//! `GET /api/v1/audit`: the audit log, page by page, for administrators.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use axum::Json;
use axum::extract::Query;
use keepwatch_model::WallTime;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::entry::Entry;
use super::files::{Line, Month, months, read_lines};
use crate::{Access, Caller, Page, Problem, Role, Routes};

/// Entries in one page unless fewer are asked for.
const PAGE_MAX: usize = 1_000;

pub(crate) fn routes() -> Routes {
    Routes::new().get("/api/v1/audit", Access::Everywhere(Role::Administrator), list)
}

/// The description of this route.
#[derive(OpenApi)]
#[openapi(paths(list))]
pub(crate) struct Description;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// First moment, RFC 3339 in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<WallTime>,
    /// First moment after, RFC 3339 in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<WallTime>,
    /// `seq` of the last entry of the page before.
    cursor: Option<u64>,
    /// At most so many, 1 to 1,000; 1,000 when left out.
    limit: Option<usize>,
    /// `newest` or `oldest` (the default) first.
    order: Option<String>,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct AuditLine {
    /// Its number, from 1.
    seq: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    /// Who did it.
    user: String,
    /// How they proved who they are.
    via: String,
    /// From where.
    from: String,
    /// What they did; stable.
    action: String,
    /// To what, such as `camera:gate`.
    object: String,
    /// More about it.
    detail: String,
    /// The hash of this entry and all before it.
    hash: String,
}

/// Which entries, and in which order.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    from: WallTime,
    to: WallTime,
    cursor: Option<u64>,
    newest_first: bool,
    limit: usize,
}

/// The audit log: who did what.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "audit", tag = "users", params(AuditQuery),
    responses((status = 200, body = Page<AuditLine>)))]
async fn list(caller: Caller, Query(query): Query<AuditQuery>) -> Result<Json<Page<AuditLine>>, Problem> {
    let newest_first = match query.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::bad_request("order_invalid", "order must be newest or oldest")),
    };
    let (from, to) = (query.from.unwrap_or(WallTime::MIN), query.to.unwrap_or(WallTime::MAX));
    if from >= to {
        return Err(Problem::bad_request("window_empty", "to must be later than from"));
    }
    let wanted = Wanted {
        from,
        to,
        cursor: query.cursor,
        newest_first,
        limit: query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX),
    };
    let audit = caller.auth.audit().clone();
    // What was done before the question belongs to the answer.
    audit.flush().await;
    let read = tokio::task::spawn_blocking(move || page(&audit.shared.directory, wanted)).await;
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the audit log cannot be read");
        Problem::internal("the audit log cannot be read; the node's log says why")
    };
    let page = read.map_err(|error| unreadable(&error))?.map_err(|error| unreadable(&error))?;
    Ok(Json(page))
}

/// One page; lines that are no entries are passed over, `keepwatch audit verify` tells of them.
fn page(directory: &Path, wanted: Wanted) -> io::Result<Page<AuditLine>> {
    // One more tells whether there is a next page.
    let enough = wanted.limit.saturating_add(1);
    let mut items = Vec::new();
    let mut files = months(directory)?;
    if wanted.newest_first {
        files.reverse();
    }
    for month in files {
        // The clock may have been set back, so an entry can stand in a later file than its month, never in an earlier.
        if month < Month::of(wanted.from) {
            continue;
        }
        let mut found = VecDeque::new();
        let room = enough.saturating_sub(items.len());
        let _flow = read_lines::<()>(&month.path(directory), |_, line| {
            let Line::Whole(line) = line else { return ControlFlow::Continue(()) };
            let Ok((entry, hash)) = Entry::read(line) else { return ControlFlow::Continue(()) };
            if !wanted.has(&entry) {
                return ControlFlow::Continue(());
            }
            found.push_back(AuditLine::new(entry, hash.to_string()));
            if found.len() <= room {
                return ControlFlow::Continue(());
            }
            if wanted.newest_first {
                found.pop_front();
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        })?;
        if wanted.newest_first {
            items.extend(found.into_iter().rev());
        } else {
            items.extend(found);
        }
        if items.len() >= enough {
            break;
        }
    }
    let more = items.len() > wanted.limit;
    items.truncate(wanted.limit);
    let next = items.last().filter(|_| more).map(|line: &AuditLine| line.seq.to_string());
    Ok(Page { items, next })
}

impl Wanted {
    fn has(&self, entry: &Entry) -> bool {
        let behind = match self.cursor {
            None => true,
            Some(cursor) if self.newest_first => entry.seq < cursor,
            Some(cursor) => entry.seq > cursor,
        };
        behind && self.from <= entry.at && entry.at < self.to
    }
}

impl AuditLine {
    fn new(entry: Entry, hash: String) -> Self {
        let Entry { seq, at, user, via, from, action, object, detail, .. } = entry;
        Self { seq, at, user, via, from, action, object, detail, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Head;
    use super::super::entry::Draft;
    use super::*;

    /// Entries 1 to 9, three in each of three months.
    fn log() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut head = Head::BEFORE_ALL;
        for month in ["2026-09", "2026-10", "2026-11"] {
            let mut text = String::new();
            for day in 1..=3 {
                let at = format!("{month}-0{day}T00:00:00Z").parse().unwrap();
                let draft = Draft::new(at, "admin", "cookie", "x", "logged_in", "o", "");
                let (line, next) = draft.chain(head).unwrap();
                text += &line;
                head = next;
            }
            std::fs::write(directory.path().join(format!("{month}.jsonl")), text + "damaged\n").unwrap();
        }
        directory
    }

    const ALL: Wanted =
        Wanted { from: WallTime::MIN, to: WallTime::MAX, cursor: None, newest_first: false, limit: 4 };

    /// All pages of `wanted`, by the numbers of their entries.
    fn walk(directory: &Path, wanted: Wanted) -> Vec<Vec<u64>> {
        let mut pages = Vec::new();
        let mut cursor = wanted.cursor;
        loop {
            let Page { items, next } = page(directory, Wanted { cursor, ..wanted }).unwrap();
            pages.push(items.iter().map(|line| line.seq).collect());
            match next {
                Some(next) => cursor = Some(next.parse().unwrap()),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_lie_end_to_end_in_either_order() {
        let log = log();
        let oldest: [&[u64]; 3] = [&[1, 2, 3, 4], &[5, 6, 7, 8], &[9]];
        assert_eq!(walk(log.path(), ALL), oldest);
        let newest: [&[u64]; 3] = [&[9, 8, 7, 6], &[5, 4, 3, 2], &[1]];
        assert_eq!(walk(log.path(), Wanted { newest_first: true, ..ALL }), newest);
        let nine: [&[u64]; 1] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9]];
        assert_eq!(walk(log.path(), Wanted { limit: 9, ..ALL }), nine);
    }

    #[test]
    fn a_window_is_from_up_to_but_not_including_to() {
        let log = log();
        let (from, to) = ("2026-10-02T00:00:00Z".parse().unwrap(), "2026-11-02T00:00:00Z".parse().unwrap());
        let window = Wanted { from, to, ..ALL };
        assert_eq!(walk(log.path(), window), [&[5, 6, 7]]);
        assert_eq!(walk(log.path(), Wanted { newest_first: true, ..window }), [&[7, 6, 5]]);
        assert_eq!(walk(log.path(), Wanted { from: to, to: from, ..ALL }), [&[] as &[u64]]);
        assert_eq!(walk(&log.path().join("none"), ALL), [&[] as &[u64]]);
    }
}
