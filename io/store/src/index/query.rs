//! Finding footage.

use std::collections::BTreeMap;

use keepwatch_model::{CameraId, Span, StreamId};
use rusqlite::params;

use super::rows::{RUN_COLUMNS, camera, extent_row, run_row};
use super::{ExtentRow, Index};
use crate::{DiskId, ROW_TICKS_MAX, RunRow, StoreError};

impl Index {
    /// Rows of a stream that overlap `span`, by label.
    pub(crate) fn runs(
        &self,
        camera: CameraId,
        stream: StreamId,
        span: Span,
    ) -> Result<Vec<RunRow>, StoreError> {
        // No row is longer than an hour, so that the search by first label need not begin at the first of all.
        let earliest = span.from.plus(-ROW_TICKS_MAX);
        self.reading(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT {RUN_COLUMNS} FROM runs JOIN disks ON disks.number = runs.disk \
                 WHERE camera = ?1 AND stream = ?2 AND label_from >= ?3 AND label_from < ?4 AND label_to > ?5 \
                 ORDER BY label_from, label_to, run, first_record"
            ))?;
            let rows = query.query_map(
                params![camera.as_str(), stream.0, earliest.ticks(), span.to.ticks(), span.from.ticks()],
                run_row,
            )?;
            rows.collect()
        })
    }

    /// All rows of a disk.
    pub(crate) fn runs_of_disk(&self, disk: DiskId) -> Result<Vec<RunRow>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare(&format!(
                "SELECT {RUN_COLUMNS} FROM runs JOIN disks ON disks.number = runs.disk WHERE disks.id = ?1 \
                 ORDER BY extent, first_record"
            ))?;
            let rows = query.query_map([&disk.0[..]], run_row)?;
            rows.collect()
        })
    }

    /// Rows of one extent.
    pub(crate) fn runs_of_extent(&self, disk: DiskId, extent: u32) -> Result<Vec<RunRow>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare_cached(&format!(
                "SELECT {RUN_COLUMNS} FROM runs JOIN disks ON disks.number = runs.disk \
                 WHERE disks.id = ?1 AND extent = ?2 ORDER BY first_record"
            ))?;
            let rows = query.query_map(params![&disk.0[..], extent], run_row)?;
            rows.collect()
        })
    }

    /// What is known of the extents of a disk.
    pub(crate) fn extents(&self, disk: DiskId) -> Result<BTreeMap<u32, ExtentRow>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare(
                "SELECT extent, sequence, camera, stream, sealed, label_from, label_to, records, last_offset \
                 FROM extents JOIN disks ON disks.number = extents.disk WHERE disks.id = ?1",
            )?;
            let rows = query.query_map([&disk.0[..]], |row| Ok((row.get(0)?, extent_row(row)?)))?;
            rows.collect()
        })
    }

    /// Cameras and streams with footage.
    pub(crate) fn streams(&self) -> Result<Vec<(CameraId, StreamId)>, StoreError> {
        self.reading(|connection| {
            let mut query = connection
                .prepare_cached("SELECT DISTINCT camera, stream FROM extents ORDER BY camera, stream")?;
            let rows = query.query_map([], |row| Ok((camera(row, 0)?, StreamId(row.get(1)?))))?;
            rows.collect()
        })
    }
}
