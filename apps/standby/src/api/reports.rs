//! The reports of failovers.

use axum::Json;
use axum::extract::{Query, State};
use keepwatch_model::{CameraId, RoleId, WallTime};
use keepwatch_web::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Standby;
use crate::report::{CameraReport, Report};

/// Reports of one answer.
const REPORTS_MAX: usize = 50;

/// Which reports are asked for.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportsQuery {
    /// Go on behind the answer whose `next` this was.
    cursor: Option<u64>,
}

/// Reports of failovers.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct FailoverReports {
    /// The newest first.
    items: Vec<FailoverReport>,
    /// Ask again with `cursor` set to it; `null` at the end.
    next: Option<String>,
}

/// What happened in a failover.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct FailoverReport {
    /// Its number, from 1.
    number: u64,
    /// Whose failover.
    #[schema(value_type = String)]
    role: RoleId,
    /// Its name at that time.
    name: String,
    /// When the threshold was reached; `null` when an operator came first.
    #[schema(value_type = Option<String>, format = DateTime)]
    detected: Option<WallTime>,
    /// When recording was decided.
    #[schema(value_type = String, format = DateTime)]
    decided: WallTime,
    /// Who decided: `threshold`, `operator` or `restart`.
    cause: String,
    /// When it ended; `null` while it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended: Option<WallTime>,
    /// Why: `stopped`, `failed_back`, `replaced`, `never_failed` or `left_to_other`; `null` while it runs.
    why: Option<String>,
    /// When the primary's books were last asked what it lacks: 3 s after the end and until nothing is missing, for a day at most;
    /// `null` before its first answer.
    #[schema(value_type = Option<String>, format = DateTime)]
    accounted: Option<WallTime>,
    /// The cameras.
    cameras: Vec<FailoverReportCamera>,
}

/// What happened to a camera in a failover. Times are those of the camera.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct FailoverReportCamera {
    /// Its id at the primary.
    #[schema(value_type = String)]
    camera: CameraId,
    /// Where the primary's footage ended by its last answer before.
    #[schema(value_type = Option<String>, format = DateTime)]
    held_until: Option<WallTime>,
    /// Where the standby's begins; `null` before it does.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_from: Option<WallTime>,
    /// Where it ended when the report was written last.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_until: Option<WallTime>,
    /// Milliseconds between the two that neither is known to hold; `null` while one of the two is not known.
    gap_ms: Option<u64>,
    /// Milliseconds of the time of the failover that the primary had not recorded, by its own books, before it fetched any of it;
    /// `null` until it is asked.
    missed_ms: Option<u64>,
    /// Those that it still lacks.
    left_ms: Option<u64>,
}

/// The reports of failovers, the newest first.
#[utoipa::path(get, path = "/api/v1/failover/reports", operation_id = "failoverReports", tag = "failover",
    params(ReportsQuery), responses((status = 200, body = FailoverReports)))]
pub(super) async fn list(
    State(standby): State<Standby>,
    Query(query): Query<ReportsQuery>,
) -> Result<Json<FailoverReports>, Problem> {
    let (reports, next) =
        standby.reports(query.cursor, REPORTS_MAX).await.map_err(super::commands::unkept)?;
    let next = next.map(|number| number.to_string());
    Ok(Json(FailoverReports { items: reports.into_iter().map(FailoverReport::from).collect(), next }))
}

impl From<Report> for FailoverReport {
    fn from(report: Report) -> Self {
        let Report { number, role, name, detected, decided, cause, ended, why, accounted, cameras } = report;
        let cameras = cameras.into_iter().map(|(camera, known)| {
            let gap_ms = known.gap_ms();
            let CameraReport { held_until, recorded_from, recorded_until, missed_ms, left_ms } = known;
            FailoverReportCamera {
                camera,
                held_until,
                recorded_from,
                recorded_until,
                gap_ms,
                missed_ms,
                left_ms,
            }
        });
        let cameras = cameras.collect();
        Self { number, role, name, detected, decided, cause, ended, why, accounted, cameras }
    }
}
