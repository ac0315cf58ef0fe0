//! Protections against deletion: in the index, and in memory for the writer threads.

use std::sync::{PoisonError, RwLock};

use keepwatch_model::{CameraId, Span, WallTime};
use rusqlite::params;

use super::Index;
use super::rows::camera;
use crate::{Protection, ProtectionId, StoreError};

/// All protections.
#[derive(Debug, Default)]
pub(crate) struct Protections(RwLock<Vec<Protection>>);

impl Protections {
    /// Reads them from the index.
    pub(crate) fn load(index: &Index) -> Result<Self, StoreError> {
        Ok(Self(RwLock::new(index.protections()?)))
    }

    /// Whether footage of `camera` somewhere in `span` is protected.
    pub(crate) fn hold(&self, camera: CameraId, span: Span) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|held| held.camera == camera && held.span.intersection(span).is_some())
    }

    /// A copy of all.
    pub(crate) fn all(&self) -> Vec<Protection> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one; durable when it returns.
    pub(crate) fn add(
        &self,
        index: &Index,
        camera: CameraId,
        span: Span,
        note: &str,
    ) -> Result<ProtectionId, StoreError> {
        // In force before it is durable: no footage goes while the database works.
        let id = index.protect(camera, span, note)?;
        let added = Protection { id, camera, span, note: note.to_owned() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(added);
        index.checkpoint()?;
        Ok(id)
    }

    /// Lifts one.
    pub(crate) fn lift(&self, index: &Index, id: ProtectionId) -> Result<bool, StoreError> {
        let lifted = index.unprotect(id)?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|held| held.id != id);
        Ok(lifted)
    }
}

impl Index {
    fn protect(&self, camera: CameraId, span: Span, note: &str) -> Result<ProtectionId, StoreError> {
        self.writing(|transaction| {
            transaction.execute(
                "INSERT INTO protections (camera, label_from, label_to, note) VALUES (?1, ?2, ?3, ?4)",
                params![camera.as_str(), span.from.ticks(), span.to.ticks(), note],
            )?;
            Ok(ProtectionId(transaction.last_insert_rowid()))
        })
    }

    fn unprotect(&self, id: ProtectionId) -> Result<bool, StoreError> {
        self.writing(|transaction| {
            Ok(transaction.execute("DELETE FROM protections WHERE id = ?1", [id.0])? > 0)
        })
    }

    fn protections(&self) -> Result<Vec<Protection>, StoreError> {
        self.reading(|connection| {
            let mut query = connection
                .prepare("SELECT id, camera, label_from, label_to, note FROM protections ORDER BY id")?;
            let rows = query.query_map([], |row| {
                Ok(Protection {
                    id: ProtectionId(row.get(0)?),
                    camera: camera(row, 1)?,
                    span: Span {
                        from: WallTime::from_ticks(row.get(2)?),
                        to: WallTime::from_ticks(row.get(3)?),
                    },
                    note: row.get(4)?,
                })
            })?;
            rows.collect()
        })
    }
}
