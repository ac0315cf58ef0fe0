//! Rows of the index: of extents, and of the runs in them.

use keepwatch_model::{CameraId, GapReason, Origin, RoleId, Span, StreamId, WallTime};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::format::Entry;
use crate::{DiskId, GapBefore, ROW_TICKS_MAX, RunId, RunRow};

/// What the index knows of an extent in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtentRow {
    pub(crate) extent: u32,
    pub(crate) sequence: u64,
    pub(crate) camera: CameraId,
    pub(crate) stream: StreamId,
    /// It has a trailer.
    pub(crate) sealed: bool,
    /// From the first to the last label in it.
    pub(crate) hull: Option<Span>,
    /// Number of the last durable record plus one.
    pub(crate) records: u32,
    /// Where the last record begins.
    pub(crate) last_offset_bytes: u32,
}

/// Something that the index must learn.
#[derive(Debug)]
pub(crate) enum IndexChange {
    /// An extent holds nothing that was in it before.
    Freed { disk: DiskId, extent: u32 },
    /// An extent holds more; rows are added or replaced.
    Extent { disk: DiskId, row: ExtentRow, rows: Vec<RunRow> },
    /// All that an extent holds.
    Whole { disk: DiskId, row: ExtentRow, rows: Vec<RunRow> },
}

impl IndexChange {
    pub(crate) const fn place(&self) -> (DiskId, u32) {
        match self {
            Self::Freed { disk, extent } => (*disk, *extent),
            Self::Extent { disk, row, .. } | Self::Whole { disk, row, .. } => (*disk, row.extent),
        }
    }
}

/// Joins records into rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowBuilder(Option<RunRow>);

impl RowBuilder {
    /// The row that holds `entry`: the one before extended, or another.
    pub(crate) fn append(
        &mut self,
        entry: &Entry,
        (camera, stream): (CameraId, StreamId),
        disk: DiskId,
        extent: u32,
        sequence: u64,
    ) -> RunRow {
        let info = &entry.info;
        let row = match self.0.filter(|row| continues(row, entry)) {
            Some(row) => RunRow {
                label: Span { from: row.label.from, to: info.label.to },
                last_record: entry.number,
                samples: row.samples.saturating_add(u64::from(info.samples)),
                media_bytes: row.media_bytes.saturating_add(u64::from(info.media_bytes)),
                lost_packets: row.lost_packets.saturating_add(u64::from(info.lost_packets)),
                ..row
            },
            None => RunRow {
                camera,
                stream,
                disk,
                extent,
                sequence,
                run: info.run,
                label: info.label,
                first_record: entry.number,
                last_record: entry.number,
                samples: u64::from(info.samples),
                media_bytes: u64::from(info.media_bytes),
                run_start: info.run_start,
                gap_before: info.gap_before,
                lost_packets: u64::from(info.lost_packets),
                origin: info.origin,
                recorder: info.recorder,
                replaces: info.replaces,
            },
        };
        self.0 = Some(row);
        row
    }
}

/// Whether `entry` goes on where `row` ends, and the row stays short enough for the search by label.
fn continues(row: &RunRow, entry: &Entry) -> bool {
    let info = &entry.info;
    row.run == info.run
        && row.last_record.checked_add(1) == Some(entry.number)
        && row.label.to == info.label.from
        && info.label.to.ticks_since(row.label.from) <= ROW_TICKS_MAX
        && info.gap_before.is_none()
        && !info.run_start
        && (row.origin, row.recorder, row.replaces) == (info.origin, info.recorder, info.replaces)
}

/// Writes what changed of one extent.
pub(super) fn write<'a>(
    connection: &Connection,
    disk: DiskId,
    extent: u32,
    clear: bool,
    about: Option<&ExtentRow>,
    rows: impl Iterator<Item = &'a RunRow>,
) -> rusqlite::Result<()> {
    let mut disk_number = connection.prepare_cached("SELECT number FROM disks WHERE id = ?1")?;
    let disk_number: i64 = disk_number.query_row([&disk.0[..]], |row| row.get(0))?;
    if clear {
        let place = params![disk_number, extent];
        connection.prepare_cached("DELETE FROM runs WHERE disk = ?1 AND extent = ?2")?.execute(place)?;
        connection.prepare_cached("DELETE FROM extents WHERE disk = ?1 AND extent = ?2")?.execute(place)?;
    }
    if let Some(about) = about {
        connection.prepare_cached(UPSERT_EXTENT)?.execute(params![
            disk_number,
            extent,
            signed(about.sequence),
            about.camera.as_str(),
            about.stream.0,
            about.sealed,
            about.hull.map(|hull| hull.from.ticks()),
            about.hull.map(|hull| hull.to.ticks()),
            about.records,
            about.last_offset_bytes,
        ])?;
    }
    for row in rows {
        connection.prepare_cached(UPSERT_RUN)?.execute(params![
            disk_number,
            extent,
            row.first_record,
            row.last_record,
            signed(row.sequence),
            row.camera.as_str(),
            row.stream.0,
            signed(row.run.0),
            row.label.from.ticks(),
            row.label.to.ticks(),
            signed(row.samples),
            signed(row.media_bytes),
            signed(row.lost_packets),
            row.run_start,
            row.origin.code(),
            row.gap_before.map_or(0, |gap| gap.reason.code()),
            row.gap_before.map(|gap| gap.from.ticks()),
            &row.recorder.0[..],
            row.replaces.as_ref().map(|role| &role.0[..]),
        ])?;
    }
    Ok(())
}

const UPSERT_EXTENT: &str = "INSERT INTO extents (disk, extent, sequence, camera, stream, sealed, label_from, label_to, \
     records, last_offset) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
     ON CONFLICT (disk, extent) DO UPDATE SET sequence = ?3, camera = ?4, stream = ?5, sealed = ?6, label_from = ?7, \
     label_to = ?8, records = ?9, last_offset = ?10";

const UPSERT_RUN: &str = "INSERT INTO runs (disk, extent, first_record, last_record, sequence, camera, stream, run, \
     label_from, label_to, samples, media_bytes, lost_packets, run_start, origin, gap_reason, gap_from, recorder, \
     replaces) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) \
     ON CONFLICT (disk, extent, first_record) DO UPDATE SET last_record = ?4, sequence = ?5, label_to = ?10, \
     samples = ?11, media_bytes = ?12, lost_packets = ?13";

/// The columns of a [`RunRow`] in the order [`run_row`] reads them.
pub(super) const RUN_COLUMNS: &str = "runs.camera, runs.stream, disks.id, runs.extent, runs.sequence, runs.run, \
     runs.label_from, runs.label_to, runs.first_record, runs.last_record, runs.samples, runs.media_bytes, \
     runs.run_start, runs.gap_reason, runs.gap_from, runs.lost_packets, runs.origin, runs.recorder, runs.replaces";

/// A row of [`RUN_COLUMNS`].
pub(super) fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let reason = GapReason::from_code(row.get(13)?);
    let gap_from: Option<i64> = row.get(14)?;
    Ok(RunRow {
        camera: camera(row, 0)?,
        stream: StreamId(row.get(1)?),
        disk: DiskId(row.get(2)?),
        extent: row.get(3)?,
        sequence: unsigned(row.get(4)?),
        run: RunId(unsigned(row.get(5)?)),
        label: Span { from: WallTime::from_ticks(row.get(6)?), to: WallTime::from_ticks(row.get(7)?) },
        first_record: row.get(8)?,
        last_record: row.get(9)?,
        samples: unsigned(row.get(10)?),
        media_bytes: unsigned(row.get(11)?),
        run_start: row.get(12)?,
        gap_before: reason
            .zip(gap_from)
            .map(|(reason, from)| GapBefore { from: WallTime::from_ticks(from), reason }),
        lost_packets: unsigned(row.get(15)?),
        origin: Origin::from_code(row.get(16)?).unwrap_or_default(),
        recorder: RoleId(row.get(17)?),
        replaces: row.get::<_, Option<[u8; 16]>>(18)?.map(RoleId),
    })
}

/// An extent's row: disk id left out.
pub(super) fn extent_row(row: &Row<'_>) -> rusqlite::Result<ExtentRow> {
    let ends: (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
    let hull = ends.0.zip(ends.1);
    Ok(ExtentRow {
        extent: row.get(0)?,
        sequence: unsigned(row.get(1)?),
        camera: camera(row, 2)?,
        stream: StreamId(row.get(3)?),
        sealed: row.get(4)?,
        hull: hull.map(|(from, to)| Span { from: WallTime::from_ticks(from), to: WallTime::from_ticks(to) }),
        records: row.get(7)?,
        last_offset_bytes: row.get(8)?,
    })
}

/// A camera id in a column.
pub(super) fn camera(row: &Row<'_>, column: usize) -> rusqlite::Result<CameraId> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// SQLite knows signed numbers only; the bits are kept.
pub(super) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// The other way.
pub(super) const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}
