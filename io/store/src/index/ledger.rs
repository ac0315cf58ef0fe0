//! The lines of the cameras' ledgers and the heartbeat, kept for whoever decides them.

use keepwatch_model::{CameraId, WallTime};
use rusqlite::params;

use super::Index;
use super::rows::camera;
use crate::{LedgerRow, StoreError};

const HEARTBEAT: &str = "heartbeat";

impl Index {
    /// Replaces the lines of `camera` that begin at `from` or later.
    pub(crate) fn ledger_replace(
        &self,
        camera: CameraId,
        from: WallTime,
        rows: &[LedgerRow],
    ) -> Result<(), StoreError> {
        self.writing(|transaction| {
            transaction
                .prepare_cached("DELETE FROM ledger WHERE camera = ?1 AND label_from >= ?2")?
                .execute(params![camera.as_str(), from.ticks()])?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO ledger (camera, label_from, label_to, kind, reason, place) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (place, row) in (0_i64..).zip(rows) {
                let to = row.to.map(WallTime::ticks);
                insert.execute(params![
                    row.camera.as_str(),
                    row.from.ticks(),
                    to,
                    row.kind,
                    row.reason,
                    place
                ])?;
            }
            Ok(())
        })
    }

    /// All lines, by camera and label.
    pub(crate) fn ledger_load(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare(
                "SELECT camera, label_from, label_to, kind, reason FROM ledger ORDER BY camera, label_from, place",
            )?;
            let rows = query.query_map([], |row| {
                Ok(LedgerRow {
                    camera: camera(row, 0)?,
                    from: WallTime::from_ticks(row.get(1)?),
                    to: row.get::<_, Option<i64>>(2)?.map(WallTime::from_ticks),
                    kind: row.get(3)?,
                    reason: row.get(4)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Notes that the recorder runs.
    pub(crate) fn heartbeat(&self, now: WallTime) -> Result<(), StoreError> {
        self.set_fact(HEARTBEAT, now.ticks())
    }

    /// The last heartbeat.
    pub(crate) fn last_heartbeat(&self) -> Result<Option<WallTime>, StoreError> {
        Ok(self.fact(HEARTBEAT)?.map(WallTime::from_ticks))
    }
}
