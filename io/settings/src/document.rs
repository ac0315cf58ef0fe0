//! All that is edited in the console, as one document.
//!
//! The values are the texts of the configuration file, so that an entry can be moved there by hand; what they mean is
//! decided where that file's are.

use std::collections::BTreeSet;

use keepwatch_model::CameraId;
use serde::{Deserialize, Serialize};

use crate::Sealed;

/// Largest document in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Most cameras of a document: more than one node records.
pub const CAMERAS_MAX: usize = 4096;

/// Why a text is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than one that is written.
    #[error("a document has at most {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// It has more cameras than one that is written.
    #[error("a document has at most {CAMERAS_MAX} cameras")]
    TooMany,
    /// It is no JSON, or has not the form of a document.
    #[error("line {line}, column {column}: {what}")]
    Form {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong; quotes no value.
        what: &'static str,
    },
    /// Two cameras have one id.
    #[error("the camera {0} is there twice")]
    Twice(CameraId),
}

/// All that is edited in the console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The cameras, ids distinct.
    #[serde(default)]
    pub cameras: Vec<CameraEntry>,
}

/// A camera: the keys of `[[camera]]`, with the texts that stand there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraEntry {
    /// Its id.
    pub id: CameraId,
    /// The revision that changed it last.
    #[serde(default)]
    pub revision: u64,
    /// Its name; `None` shows the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of its main stream, without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// That of its sub stream, without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_url: Option<String>,
    /// Its ONVIF address, without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onvif: Option<String>,
    /// The edge node that records it, and its id there where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// Whether a sub stream is recorded of an ONVIF camera, or sent by an edge node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<bool>,
    /// Whether the events of an ONVIF camera are entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<bool>,
    /// User to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password to log in with, sealed for `camera:ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Sealed>,
    /// How its media travels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// The certificate that it must show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether its audio is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Whether its metadata is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<bool>,
    /// Age at which its footage is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// When it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<String>>,
    /// Whether it is recorded all the time or on alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// How much of the time before an alarm is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_alarm: Option<String>,
    /// How long it is recorded behind an alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_alarm: Option<String>,
    /// What triggers an alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_on: Option<Vec<String>>,
}

impl CameraEntry {
    /// A camera of which nothing is said.
    pub const fn new(id: CameraId) -> Self {
        Self {
            id,
            revision: 0,
            name: None,
            url: None,
            sub_url: None,
            onvif: None,
            edge: None,
            sub: None,
            events: None,
            user: None,
            password: None,
            transport: None,
            certificate: None,
            audio: None,
            metadata: None,
            retention: None,
            schedule: None,
            recording: None,
            pre_alarm: None,
            post_alarm: None,
            alarm_on: None,
        }
    }

    /// What its password is bound to.
    pub fn object(&self) -> String {
        format!("camera:{}", self.id)
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When `text` is none, or one that is never written.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLong);
        }
        let document: Self = serde_json::from_str(text).map_err(|error| DocumentError::Form {
            line: error.line(),
            column: error.column(),
            // The parser's own words may quote the document.
            what: match error.classify() {
                serde_json::error::Category::Data => "a value or a key does not belong there",
                serde_json::error::Category::Eof => "it ends early",
                serde_json::error::Category::Io | serde_json::error::Category::Syntax => "it is no JSON",
            },
        })?;
        document.check()?;
        Ok(document)
    }

    /// Writes the document.
    ///
    /// # Errors
    /// When it is one that would not be read.
    pub fn write(&self) -> Result<String, DocumentError> {
        self.check()?;
        let text = serde_json::to_string(self).expect("a document of texts has a JSON form");
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLong);
        }
        Ok(text)
    }

    /// The camera with this id.
    pub fn camera(&self, id: CameraId) -> Option<&CameraEntry> {
        self.cameras.iter().find(|camera| camera.id == id)
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.cameras.len() > CAMERAS_MAX {
            return Err(DocumentError::TooMany);
        }
        let mut ids = BTreeSet::new();
        match self.cameras.iter().find(|camera| !ids.insert(camera.id)) {
            Some(camera) => Err(DocumentError::Twice(camera.id)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn a_document_comes_back_and_shows_no_password() {
        let mut camera = CameraEntry::new("gate".parse().unwrap());
        camera.url = Some("rtsp://192.0.2.10/stream".to_owned());
        camera.schedule = Some(vec!["mon 07:00-19:00".to_owned()]);
        camera.password = Some(Sealed::seal(&Key::new([1; 32]), &camera.object(), "hidden1").unwrap());
        let document = Document { cameras: vec![camera] };
        let text = document.write().unwrap();
        assert!(!text.contains("hidden1") && !text.contains("null"), "{text}");
        assert_eq!(Document::parse(&text).unwrap(), document);
        assert!(document.camera("gate".parse().unwrap()).is_some());
        assert!(document.camera("yard".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_no_document_is_refused_without_quoting_it() {
        for (text, part) in [
            ("", "ends early"),
            ("secret", "no JSON"),
            ("{\"cameras\":[{\"id\":\"A secret\"}]}", "does not belong"),
            ("{\"cameras\":[],\"secret\":1}", "does not belong"),
            ("{\"cameras\":[{\"id\":\"a\",\"secret\":1}]}", "does not belong"),
            ("{\"cameras\":[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"a\"}]}", "the camera a is there twice"),
        ] {
            let error = Document::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
        }
        let long = format!("{{\"cameras\":[]}}{}", " ".repeat(DOCUMENT_BYTES_MAX));
        assert!(matches!(Document::parse(&long), Err(DocumentError::TooLong)));
        let many: Vec<CameraEntry> =
            (0..=CAMERAS_MAX).map(|number| CameraEntry::new(format!("c{number}").parse().unwrap())).collect();
        assert!(matches!(Document { cameras: many }.write(), Err(DocumentError::TooMany)));
    }
}
