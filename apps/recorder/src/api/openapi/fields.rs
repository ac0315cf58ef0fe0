//! Which fields of an answer are always there: all but a few, also those that may be `null`.
//!
//! The derive takes a field that may be `null` for one that may be left out. That is so in what clients send. In what the
//! node answers it would make every reader of a generated client ask for two kinds of nothing.

use std::collections::BTreeSet;

use utoipa::openapi::path::PathItem;
use utoipa::openapi::{OpenApi, RefOr, Schema};

/// Fields of answers that are left out rather than `null`, by schema and field.
pub(super) const LEFT_OUT: [(&str, &str); 7] = [
    ("CoverageItem", "held"),
    ("EventSubject", "id"),
    ("Problem", "errors"),
    ("Status", "now"),
    ("StatusMessage", "now"),
    ("StatusMessage", "path"),
    ("StatusMessage", "value"),
];

/// Says of each schema of an answer that its fields are there.
pub(super) fn require(document: &mut OpenApi) {
    let sent: BTreeSet<String> = document.paths.paths.values_mut().flat_map(bodies).collect();
    let Some(components) = &mut document.components else { return };
    for (name, schema) in &mut components.schemas {
        if let (false, RefOr::T(schema)) = (sent.contains(name), schema) {
            require_all(name, schema);
        }
    }
}

/// The schemas of what clients send to a path.
fn bodies(item: &mut PathItem) -> Vec<String> {
    let body = |operation: &utoipa::openapi::path::Operation| match &operation.request_body {
        Some(RefOr::T(body)) => Some(body.clone()),
        Some(RefOr::Ref(_)) | None => None,
    };
    let bodies = super::operations(item).filter_map(|(_, operation)| body(operation));
    let schema = |content: RefOr<utoipa::openapi::Content>| match content {
        RefOr::T(content) => content.schema,
        RefOr::Ref(_) => None,
    };
    let schemas = bodies.flat_map(|body| body.content.into_values()).filter_map(schema);
    let name = |schema: RefOr<Schema>| match schema {
        RefOr::Ref(named) => named.ref_location.rsplit('/').next().map(str::to_owned),
        RefOr::T(_) => None,
    };
    schemas.filter_map(name).collect()
}

fn require_all(name: &str, schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            let fields = object.properties.keys().filter(|field| !LEFT_OUT.contains(&(name, field.as_str())));
            object.required = fields.cloned().collect();
        }
        Schema::AllOf(all) => {
            for part in &mut all.items {
                if let RefOr::T(part) = part {
                    require_all(name, part);
                }
            }
        }
        // One of several, and lists, are made of what is named.
        Schema::Array(_) | Schema::OneOf(_) | Schema::AnyOf(_) | _ => {}
    }
}
