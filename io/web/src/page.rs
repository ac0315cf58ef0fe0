//! Lists as the API gives them.

use serde::Serialize;
use utoipa::ToSchema;

/// A list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is listed.
    pub items: Vec<T>,
    /// Value of `cursor` for the next page; `None` at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that is complete.
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}
