//! Coverage of 64 cameras over a month and over a year, through the API with its JSON.

use anyhow::Result;
use serde_json::json;

use super::report::{Case, Report, figures};
use crate::workspace::Workspace;

/// What the 95th percentile may take.
const P95_MS_MAX: f64 = 50.0;

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("query");
    let rounds = if quick { 3 } else { 20 };
    for days in [30, 365] {
        let arguments = [days.to_string(), "64".to_owned(), rounds.to_string()];
        let result = super::example(workspace, "keepwatch-recorder", "coverage_query", &arguments)?;
        let figures = figures([
            ("days", json!(days)),
            ("p95_ms", result["p95_ms"].clone()),
            ("day_p95_ms", result["day_p95_ms"].clone()),
            ("whole_p95_ms", result["whole_p95_ms"].clone()),
            ("start_ms", result["start_ms"].clone()),
            ("rss_mb", result["rss_mb"].clone()),
        ]);
        report.add(Case::new(format!("{days} days, 64 cameras"), figures, vec![("p95_ms", P95_MS_MAX)]));
    }
    Ok(report)
}
