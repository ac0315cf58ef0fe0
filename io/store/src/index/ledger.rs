//! The lines of the cameras' ledgers and the heartbeat, kept for whoever decides them.

use keepwatch_model::{CameraId, RoleId, StreamId, WallTime};
use rusqlite::params;

use super::Index;
use super::rows::camera;
use crate::{LedgerRow, StoreError};

const HEARTBEAT: &str = "heartbeat";

impl Index {
    /// Replaces the lines of a stream that begin at `from` or later.
    pub(crate) fn ledger_replace(
        &self,
        camera: CameraId,
        stream: StreamId,
        from: WallTime,
        rows: &[LedgerRow],
    ) -> Result<(), StoreError> {
        self.writing(|transaction| {
            transaction
                .prepare_cached("DELETE FROM ledger WHERE camera = ?1 AND stream = ?2 AND label_from >= ?3")?
                .execute(params![camera.as_str(), stream.0, from.ticks()])?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO ledger (camera, stream, label_from, label_to, kind, reason, place, recorder, \
                 replaces, backfill) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            for (place, row) in (0_i64..).zip(rows) {
                let to = row.to.map(WallTime::ticks);
                insert.execute(params![
                    camera.as_str(),
                    stream.0,
                    row.from.ticks(),
                    to,
                    row.kind,
                    row.reason,
                    place,
                    row.recorder.as_ref().map(|role| &role.0[..]),
                    row.replaces.as_ref().map(|role| &role.0[..]),
                    row.backfill,
                ])?;
            }
            Ok(())
        })
    }

    /// All lines, by camera, stream and label.
    pub(crate) fn ledger_load(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare(
                "SELECT camera, stream, label_from, label_to, kind, reason, recorder, replaces, backfill \
                 FROM ledger ORDER BY camera, stream, label_from, place",
            )?;
            let rows = query.query_map([], |row| {
                Ok(LedgerRow {
                    camera: camera(row, 0)?,
                    stream: StreamId(row.get(1)?),
                    from: WallTime::from_ticks(row.get(2)?),
                    to: row.get::<_, Option<i64>>(3)?.map(WallTime::from_ticks),
                    kind: row.get(4)?,
                    reason: row.get(5)?,
                    recorder: row.get::<_, Option<[u8; 16]>>(6)?.map(RoleId),
                    replaces: row.get::<_, Option<[u8; 16]>>(7)?.map(RoleId),
                    backfill: row.get(8)?,
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
