//! The standby over HTTP: the *Monitoring* and *Failover* lists, and the commands of operators.
//!
//! Types of this folder are the wire; they are made from domain types by `From`. The rules of the table are kept by `io/web`
//! before a handler runs.

mod backups;
mod commands;
mod lists;
mod primaries;
mod reports;
mod scans;

use keepwatch_recorder::api::Part;
use keepwatch_web::{Access, Role, Routes};
use utoipa::OpenApi;

pub(crate) use self::lists::Failover;
use crate::Standby;
use crate::lists::Lists;

/// Who may see how the failovers stand.
const VIEWER: Access = Access::Everywhere(Role::Viewer);
/// Who may start and end one.
const SUPERVISOR: Access = Access::Everywhere(Role::Supervisor);
/// Who may change what is watched.
const ADMINISTRATOR: Access = Access::Everywhere(Role::Administrator);

/// All routes under `/api/v1/failover`.
pub fn routes(standby: Standby) -> Routes {
    table().with_state(standby)
}

/// What these routes add to the description of the API.
pub fn part() -> Part {
    Part {
        rules: table().rules().to_vec(),
        description: Document::openapi(),
        status: &[("failover", "Failover")],
    }
}

/// The lists as the status socket tells them.
pub(crate) fn text(lists: &Lists) -> String {
    serde_json::to_string(&Failover::from(lists)).expect("texts and numbers have a JSON form")
}

/// The table of routes.
fn table() -> Routes<Standby> {
    Routes::new()
        .get("/api/v1/failover", VIEWER, lists::show)
        .put("/api/v1/failover/setup", ADMINISTRATOR, lists::set_up)
        .post("/api/v1/failover/primaries", ADMINISTRATOR, primaries::register)
        .put("/api/v1/failover/primaries/{role}", ADMINISTRATOR, primaries::change)
        .delete("/api/v1/failover/primaries/{role}", ADMINISTRATOR, primaries::remove)
        .get("/api/v1/failover/primaries/{role}/backups", ADMINISTRATOR, primaries::backups)
        .post("/api/v1/failover/primaries/{role}/replace", ADMINISTRATOR, primaries::replace)
        .get("/api/v1/failover/primaries/{role}/backups/{number}", ADMINISTRATOR, backups::show)
        .get("/api/v1/failover/primaries/{role}/backups/{number}/changes", ADMINISTRATOR, backups::changes)
        .post("/api/v1/failover/primaries/{role}/failover", SUPERVISOR, commands::failover)
        .post("/api/v1/failover/primaries/{role}/stop", SUPERVISOR, commands::stop)
        .post("/api/v1/failover/primaries/{role}/failback", SUPERVISOR, commands::failback)
        .post("/api/v1/failover/primaries/{role}/drill", SUPERVISOR, commands::drill)
        .post("/api/v1/failover/scans", ADMINISTRATOR, scans::begin)
        .get("/api/v1/failover/scans/{id}", ADMINISTRATOR, scans::one)
        .delete("/api/v1/failover/scans/{id}", ADMINISTRATOR, scans::stop)
        .get("/api/v1/failover/reports", VIEWER, reports::list)
}

#[derive(OpenApi)]
#[openapi(
    paths(
        lists::show,
        lists::set_up,
        primaries::register,
        primaries::change,
        primaries::remove,
        primaries::backups,
        primaries::replace,
        scans::begin,
        scans::one,
        scans::stop,
        backups::show,
        backups::changes,
        commands::failover,
        commands::stop,
        commands::failback,
        commands::drill,
        reports::list,
    ),
    components(schemas(Failover))
)]
struct Document;

#[cfg(test)]
mod tests;
