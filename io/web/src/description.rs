//! The description of the routes of this crate (OpenAPI 3.1), and their rules: a program adds both to those of its own.

use utoipa::OpenApi;

use crate::{Rule, audit, auth};

/// The description of the routes of users, sessions, tokens and the audit log.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut description = auth::description();
    description.merge(audit::Description::openapi());
    description
}

/// The rules of these routes.
pub fn rules() -> Vec<Rule> {
    [auth::table().rules(), audit::routes().rules()].concat()
}
