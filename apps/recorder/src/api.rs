//! The recorder over HTTP: what it knows, as JSON; footage, as MP4.
//!
//! Types of this folder are the wire; they are made from domain types by `From`. Sessions and the rules of
//! the table below are kept by `io/web` before a handler runs; where a body names the camera, or what is listed is of
//! many, the handler asks at that place.

mod alarms;
mod cameras;
mod coverage;
mod edges;
mod events;
mod export;
mod exports;
mod live;
mod media;
mod openapi;
mod picture;
mod protections;
mod query;
mod replenishment;
mod scans;
mod search;
mod settings;
mod socket;
mod standbys;
mod status;
mod trial;
mod words;

pub use self::status::disk_state;
pub use openapi::{Part, openapi};
pub use search::{Search, scan_unknown};
pub(crate) use settings::problem as edit_problem;
pub(crate) use socket::Feed;

pub(crate) use self::coverage::coverage_items;
pub(crate) use self::export::Pieces;
use std::future::ready;

use axum::body::Bytes;
use keepwatch_model::{EventCode, Subject};
use keepwatch_web::{Access, LoginOutcome, LoginRecord, LoginWatcher, Role, Routes};

use crate::Node;

/// Who may change what is configured.
const ADMINISTRATOR: Access = Access::Everywhere(Role::Administrator);

/// The recorder's routes under `/api/v1`; those of users are added by the web server, and `parts` are those of other roles,
/// whose description is given with this one's.
pub fn routes(node: Node, parts: &[Part]) -> Routes {
    table(openapi::written(parts)).with_state(node)
}

/// The table of routes; `description` is that of the whole API.
fn table(description: Bytes) -> Routes<Node> {
    Routes::new()
        .get("/api/v1/health", Access::Open, status::health)
        .get("/api/v1/status", Access::Anywhere(Role::Viewer), status::status)
        .get("/api/v1/openapi.json", Access::User, move || ready(openapi::document(description.clone())))
        .get("/api/v1/cameras", Access::User, cameras::list)
        .post("/api/v1/cameras", ADMINISTRATOR, settings::add)
        .post("/api/v1/cameras/test", ADMINISTRATOR, trial::test)
        .get("/api/v1/cameras/{id}", Access::Camera(Role::Viewer), cameras::one)
        .put("/api/v1/cameras/{id}", ADMINISTRATOR, settings::change)
        .delete("/api/v1/cameras/{id}", ADMINISTRATOR, settings::remove)
        .post("/api/v1/cameras/{id}/alarm", Access::Camera(Role::Operator), alarms::raise)
        .get("/api/v1/cameras/{id}/config", ADMINISTRATOR, settings::config)
        .get("/api/v1/cameras/{id}/coverage", Access::Camera(Role::Viewer), coverage::coverage)
        .get("/api/v1/cameras/{id}/export.mp4", Access::Camera(Role::Operator), export::export)
        .get("/api/v1/cameras/{id}/live", Access::Camera(Role::Viewer), live::live)
        .get("/api/v1/cameras/{id}/media.mp4", Access::Camera(Role::Operator), media::media)
        .get("/api/v1/cameras/{id}/frames", Access::Camera(Role::Operator), media::frames)
        .get("/api/v1/cameras/{id}/picture.jpg", Access::Camera(Role::Viewer), picture::picture)
        .get("/api/v1/exports", Access::User, exports::list)
        .post("/api/v1/exports", Access::Object(Role::Operator), exports::create)
        .get("/api/v1/exports/{id}", Access::Anywhere(Role::Operator), exports::one)
        .delete("/api/v1/exports/{id}", Access::Anywhere(Role::Operator), exports::remove)
        .get("/api/v1/exports/{id}/file", Access::Anywhere(Role::Operator), exports::file)
        .get("/api/v1/events", Access::Anywhere(Role::Viewer), events::events)
        .get("/api/v1/protections", Access::User, protections::list)
        .post("/api/v1/protections", Access::Object(Role::Operator), protections::protect)
        .delete("/api/v1/protections/{id}", ADMINISTRATOR, protections::release)
        .post("/api/v1/scans", ADMINISTRATOR, scans::begin)
        .get("/api/v1/scans/{id}", ADMINISTRATOR, scans::one)
        .delete("/api/v1/scans/{id}", ADMINISTRATOR, scans::stop)
        .get("/api/v1/replenishment", Access::Everywhere(Role::Viewer), replenishment::show)
        .put("/api/v1/replenishment", Access::Everywhere(Role::Supervisor), replenishment::set)
        .get("/api/v1/edge-nodes", ADMINISTRATOR, edges::list)
        .post("/api/v1/edge-nodes/tokens", ADMINISTRATOR, edges::make_token)
        .delete("/api/v1/edge-nodes/{id}", ADMINISTRATOR, edges::remove)
        .get("/api/v1/standbys", ADMINISTRATOR, standbys::list)
        .post("/api/v1/standbys/tokens", ADMINISTRATOR, standbys::make_token)
        .delete("/api/v1/standbys/{id}", ADMINISTRATOR, standbys::remove)
        .get("/api/v1/revisions", ADMINISTRATOR, settings::revisions)
        .post("/api/v1/revisions/{number}/restore", ADMINISTRATOR, settings::restore)
}

impl Node {
    /// Shows `name` in the status socket to all who have a role everywhere: what `state` returns, which is JSON, whenever it is
    /// another one than before.
    pub fn show_in_status(&self, name: &'static str, state: impl Fn() -> String + Send + Sync + 'static) {
        self.feed().add(name, state);
    }
}

impl LoginWatcher for Node {
    fn login(&self, record: &LoginRecord) {
        let (code, did) = match record.outcome {
            LoginOutcome::Succeeded => (EventCode::LoginSucceeded, "logged in"),
            LoginOutcome::Refused => (EventCode::LoginFailed, "was refused"),
        };
        let text = format!("{} {did} from {}", record.user, record.peer);
        self.add_event(code, Subject::User(record.user.clone()), text);
    }
}

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod tests;
