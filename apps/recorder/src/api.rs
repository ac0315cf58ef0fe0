//! The recorder over HTTP: what it knows, as JSON; footage, as MP4.
//!
//! Types of this folder are the wire; they are made from domain types by `From`. Sessions and roles are checked
//! by `io/web` before a handler runs; a handler that needs more than a viewer asks for it.

mod cameras;
mod coverage;
mod events;
mod export;
mod protections;
mod query;
mod status;

use axum::Router;
use axum::routing::{delete, get};
use keepwatch_model::{EventCode, Subject};
use keepwatch_web::{LoginOutcome, LoginRecord, LoginWatcher};
use serde::Serialize;

use crate::Node;

/// All routes under `/api/v1`, without login and sessions, which the web server adds.
pub fn router(node: Node) -> Router {
    Router::new()
        .route("/api/v1/health", get(status::health))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/cameras", get(cameras::list))
        .route("/api/v1/cameras/{id}", get(cameras::one))
        .route("/api/v1/cameras/{id}/coverage", get(coverage::coverage))
        .route("/api/v1/cameras/{id}/export.mp4", get(export::export))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/protections", get(protections::list).post(protections::protect))
        .route("/api/v1/protections/{id}", delete(protections::release))
        .with_state(node)
}

/// A list, and where it goes on.
#[derive(Serialize)]
struct Page<T> {
    items: Vec<T>,
    /// Value of `cursor` for the next page; `null` at the end.
    next: Option<String>,
}

impl<T> Page<T> {
    /// A list that is complete.
    fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
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
