//! `[[camera]]`: a camera's settings with their places. What they mean is decided by the rules of
//! [`CameraDraft`], which hold for what is edited in the console, too.

use std::path::{Path, PathBuf};

use keepwatch_model::CameraId;
use keepwatch_recorder::config::CameraConfig;
use keepwatch_recorder::config::camera::{CameraDraft, CameraFields, Grade, Place};
use keepwatch_recorder::config::text::Complaint;
use keepwatch_recording::edge::limit::SpeedLimit;
use serde_spanned::Spanned;

use super::reader::Table;
use super::report::Report;
use super::{edge, password, path};

/// `[[camera]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CameraTable {
    /// Its id.
    pub(crate) id: Spanned<CameraId>,
    /// All but the password.
    pub(crate) draft: CameraDraft,
    /// How fast its footage is sent by this node, where that is said of it.
    pub(crate) edge_limit: Option<edge::CameraLimit>,
    /// How fast its card is read; `None` is as fast as it gives.
    pub(crate) card_limit: Option<SpeedLimit>,
    /// File that holds the password.
    pub(crate) password_file: Option<Spanned<PathBuf>>,
}

impl CameraTable {
    /// Reads one; `None` when it lacks what makes a camera.
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Option<Self> {
        let draft = CameraDraft::read(&mut Fields { report, table: &mut table });
        let password_file = table.parsed(report, "password_file", |text| path(text, directory));
        let edge_limit = edge::of_camera(report, &mut table);
        let card_limit = edge::of_card(report, &mut table);
        let place = table.span_of("id");
        table.finish(report);
        let draft = draft?;
        Some(Self { id: Spanned::new(place, draft.id), draft, edge_limit, card_limit, password_file })
    }

    /// What the recorder is told; reads the password file.
    pub(super) fn resolve(&self, report: &mut Report) -> CameraConfig {
        let file = self.password_file.as_ref();
        let from_file = file.and_then(|file| password::read(report, file, "the camera's"));
        self.draft.clone().with_password(from_file)
    }
}

/// A table as the fields of a camera.
struct Fields<'a, 't, 'i> {
    report: &'a mut Report,
    table: &'a mut Table<'t, 'i>,
}

impl CameraFields for Fields<'_, '_, '_> {
    const NAME: &'static str = "[[camera]]";
    const PASSWORD: &'static str = "password_file";
    const PASSWORD_PLACE: &'static str = "a file named by password_file";

    fn has(&self, key: &'static str) -> bool {
        self.table.has(key)
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        self.table.text(self.report, key).map(Spanned::into_inner)
    }

    fn texts(&mut self, key: &'static str) -> Option<Vec<(usize, String)>> {
        self.table.texts(self.report, key)
    }

    fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.table.boolean(self.report, key)
    }

    fn complain(&mut self, place: Place, grade: Grade, complaint: Complaint) {
        let span = match place {
            Place::Key(key) => self.table.span_of(key),
            Place::Entry(key, position) => self.table.span_of_entry(key, position),
        };
        match grade {
            Grade::Error => self.report.error(span, complaint.what, complaint.remedy),
            Grade::Warning => self.report.warning(span, complaint.what, complaint.remedy),
        }
    }
}
