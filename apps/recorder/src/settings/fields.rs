//! A JSON object as the fields of a camera: what is wrong is told by the name of the field.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every kind of value but the wanted one is wrong in the same way"
)]

use serde_json::{Map, Value};

use crate::config::camera::{CameraFields, Grade, Place};
use crate::config::text::{Complaint, nearest, quoted};

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, such as `url` or `schedule[2]`.
    pub field: String,
    /// What is wrong with it, and what to write.
    pub detail: String,
}

/// Keys that a camera is shown with and that say nothing when it is written.
const SHOWN: [&str; 3] = ["editable", "has_password", "revision"];

/// The fields of a JSON object. `null` is what is not there, and so is an empty list.
pub(super) struct JsonFields<'m> {
    object: &'m Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'m> JsonFields<'m> {
    pub(super) fn new(object: &'m Map<String, Value>) -> Self {
        Self { object, known: vec![Self::PASSWORD], errors: Vec::new() }
    }

    /// Something is wrong with the field `key`.
    pub(super) fn error(&mut self, key: impl Into<String>, complaint: &Complaint) {
        let detail = format!("{}; {}", complaint.what, complaint.remedy);
        self.errors.push(FieldError { field: key.into(), detail });
    }

    /// All that is wrong, unknown fields among it.
    pub(super) fn finish(mut self) -> Vec<FieldError> {
        for key in self.object.keys().filter(|key| !SHOWN.contains(&key.as_str())) {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let remedy = nearest(key, &self.known).map_or_else(
                || format!("the fields of a camera are {}", self.known.join(", ")),
                |known| format!("did you mean {known:?}?"),
            );
            let complaint = Complaint::new(format!("unknown field {}", quoted(key)), remedy);
            let shown: String = key.chars().take(40).collect();
            let detail = format!("{}; {}", complaint.what, complaint.remedy);
            self.errors.push(FieldError { field: shown, detail });
        }
        self.errors
    }

    /// The value at `key`.
    fn value(&self, key: &str) -> Option<&'m Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn wrong_type(&mut self, field: String, found: &Value, wanted: &str) {
        let kind = match found {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let complaint = Complaint::new(format!("{field} is {kind}"), format!("write {wanted}"));
        self.error(field, &complaint);
    }
}

impl CameraFields for JsonFields<'_> {
    const NAME: &'static str = "the camera";
    const PASSWORD: &'static str = "password";
    const PASSWORD_PLACE: &'static str = "password";

    fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        match self.value(key)? {
            Value::String(text) => Some(text.clone()),
            other => {
                self.wrong_type(key.to_owned(), other, "a text in quotation marks");
                None
            }
        }
    }

    fn texts(&mut self, key: &'static str) -> Option<Vec<(usize, String)>> {
        self.known.push(key);
        match self.value(key)? {
            Value::String(text) => Some(vec![(0, text.clone())]),
            Value::Array(items) if items.is_empty() => None,
            Value::Array(items) => {
                let mut texts = Vec::new();
                for (position, item) in items.iter().enumerate() {
                    match item {
                        Value::String(text) => texts.push((position, text.clone())),
                        other => {
                            self.wrong_type(format!("{key}[{position}]"), other, "a text in quotation marks");
                        }
                    }
                }
                Some(texts)
            }
            other => {
                self.wrong_type(key.to_owned(), other, "a list of texts");
                None
            }
        }
    }

    fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.known.push(key);
        match self.value(key)? {
            Value::Bool(value) => Some(*value),
            other => {
                self.wrong_type(key.to_owned(), other, "true or false");
                None
            }
        }
    }

    fn complain(&mut self, place: Place, grade: Grade, complaint: Complaint) {
        // What is only warned of in a file is put right here: the password leaves the address.
        if grade == Grade::Warning {
            return;
        }
        match place {
            Place::Key(key) => self.error(key, &complaint),
            Place::Entry(key, position) => self.error(format!("{key}[{position}]"), &complaint),
        }
    }
}
