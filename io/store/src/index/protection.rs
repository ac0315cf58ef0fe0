//! Protections against deletion: in the index, and in memory for the writer threads.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use keepwatch_model::{CameraId, Span, WallTime};
use rusqlite::params;

use super::Index;
use super::rows::camera;
use crate::{Protection, ProtectionId, StoreError};

/// Most protections of one camera. They are looked through for every extent that is to be overwritten.
pub const PROTECTIONS_MAX: usize = 1_000;

/// All protections, of each camera in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Protections(RwLock<BTreeMap<CameraId, Vec<Protection>>>);

impl Protections {
    /// Reads them from the index.
    pub(crate) fn load(index: &Index) -> Result<Self, StoreError> {
        let mut all: BTreeMap<CameraId, Vec<Protection>> = BTreeMap::new();
        for protection in index.protections()? {
            all.entry(protection.camera).or_default().push(protection);
        }
        Ok(Self(RwLock::new(all)))
    }

    /// Whether footage of `camera` somewhere in `span` is protected.
    pub(crate) fn hold(&self, camera: CameraId, span: Span) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&camera).is_some_and(|held| held.iter().any(|held| held.span.intersection(span).is_some()))
    }

    /// A copy of all, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Protection> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut copy: Vec<Protection> = all.values().flatten().cloned().collect();
        copy.sort_unstable_by_key(|held| held.id);
        copy
    }

    /// Adds one; durable when it returns.
    pub(crate) fn add(
        &self,
        index: &Index,
        camera: CameraId,
        span: Span,
        note: &str,
    ) -> Result<ProtectionId, StoreError> {
        let held = |all: &BTreeMap<CameraId, Vec<Protection>>| all.get(&camera).map_or(0, Vec::len);
        // Those who add at the same time may pass together; there are not many of them.
        if held(&self.0.read().unwrap_or_else(PoisonError::into_inner)) >= PROTECTIONS_MAX {
            return Err(StoreError::ProtectionsFull { camera });
        }
        // In force before it is durable: no footage goes while the database works.
        let id = index.protect(camera, span, note)?;
        let added = Protection { id, camera, span, note: note.to_owned() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(camera).or_default().push(added);
        index.checkpoint()?;
        Ok(id)
    }

    /// Lifts one.
    pub(crate) fn lift(&self, index: &Index, id: ProtectionId) -> Result<bool, StoreError> {
        let lifted = index.unprotect(id)?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, held| {
            held.retain(|held| held.id != id);
            !held.is_empty()
        });
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
