//! The ledgers of a start: what was stored, what the disks hold beyond it, and what vanished since.

use std::collections::BTreeMap;

use keepwatch_model::{
    Backfill, CameraId, GapReason, Span, SpanSet, State, StreamId, UnknownReason, WallTime,
    ticks_from_duration,
};
use keepwatch_recording::ledger::{Gap, Ledger, Row};
use keepwatch_recording::schedule::Schedule;
use keepwatch_store::{DiskState, HeldSpan, StoreError};

use super::{Inner, Node};
use crate::config::CameraConfig;
use crate::rows;

/// Whose cameras they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// This recorder's, which are missed when it is down.
    Own,
    /// Guests, which are missed only if they were being recorded.
    Others,
}

impl Node {
    /// What a stream of `camera` holds on disks that are not there, configured or not. Reads the index, so it blocks.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn absent(&self, camera: CameraId, stream: StreamId, window: Span) -> Result<SpanSet, StoreError> {
        let present: Vec<_> = self
            .inner
            .context
            .store
            .disks()
            .into_iter()
            .filter(|disk| !matches!(disk.state, DiskState::Gone { .. } | DiskState::Foreign { .. }))
            .filter_map(|disk| disk.id)
            .collect();
        // The rows of a long window are many, and mostly no disk is away.
        if self.inner.context.store.registered_disks()?.iter().all(|disk| present.contains(disk)) {
            return Ok(SpanSet::new());
        }
        let rows = self.inner.context.store.runs(camera, stream, window)?;
        Ok(rows.into_iter().filter(|row| !present.contains(&row.disk)).map(|row| row.label).collect())
    }
}

/// Reads the ledgers of the streams of `cameras`: of each main stream, and of each sub stream that is to be recorded or
/// was. `alive` is when a recorder is known to have run last. Blocks.
pub(super) fn read(
    inner: &Inner,
    cameras: &[CameraConfig],
    alive: Option<WallTime>,
    whose: Whose,
) -> Result<BTreeMap<(CameraId, StreamId), Ledger>, StoreError> {
    let store = &inner.context.store;
    let mut stored: BTreeMap<(CameraId, StreamId), Vec<Row>> = BTreeMap::new();
    for row in store.ledger_load()? {
        stored.entry((row.camera, row.stream)).or_default().extend(rows::from_stored(&row, store.role()));
    }
    let with_footage = store.streams()?;
    let mut ledgers = BTreeMap::new();
    for camera in cameras {
        for stream in [StreamId::MAIN, StreamId::SUB] {
            let key = (camera.id, stream);
            let rows = stored.remove(&key);
            let wanted = stream == StreamId::MAIN || camera.source.has_sub();
            if !wanted && rows.is_none() && !with_footage.contains(&key) {
                continue;
            }
            // A guest that rested is not missed; one that was being recorded is.
            let rests =
                whose == Whose::Others && rows.as_ref().and_then(|rows| rows.last()).is_none_or(is_at_rest);
            let schedule = if wanted && !rests { camera.timetable() } else { Schedule::never() };
            let ledger = take_up(inner, camera, stream, rows.unwrap_or_default(), alive, &schedule)?;
            ledgers.insert(key, ledger);
        }
    }
    Ok(ledgers)
}

fn is_at_rest(last: &Row) -> bool {
    last.state == State::Unscheduled
}

fn take_up(
    inner: &Inner,
    camera: &CameraConfig,
    stream: StreamId,
    rows: Vec<Row>,
    alive: Option<WallTime>,
    schedule: &Schedule,
) -> Result<Ledger, StoreError> {
    let now = inner.context.clock.wall();
    // What was stored is settled up to its last step, or to where frames were on their way; only what came later must
    // be asked of the disks.
    let on_its_way = |row: &&Row| row.state == State::Unknown { reason: UnknownReason::NotYet };
    let from = rows.iter().find(on_its_way).or(rows.last()).map_or(WallTime::MIN, |row| row.from);
    let window = Span { from, to: WallTime::MAX };
    let (mut gaps, mut held) = (Vec::new(), Vec::new());
    for stretch in inner.context.store.held(camera.id, stream, window)? {
        let gap = stretch.gap_before.filter(|_| rows.is_empty());
        gaps.extend(gap.and_then(|gap| {
            Some((Span::new(gap.from, stretch.span.from)?, State::Gap { reason: gap.reason }))
        }));
        held.push((stretch.span, stretch.state()));
    }
    // A gap that a record tells of may have been filled since.
    let found = gaps.into_iter().chain(held);
    let mut ledger = Ledger::restore(rows, found, alive, now, schedule);
    // As the bookkeeper does while the node runs: without a retention time, space is the retention.
    let oldest = camera.retention.map(|age| now.plus(-ticks_from_duration(age)));
    let gone = |span: Span| match oldest {
        Some(oldest) if span.to > oldest => State::Gap { reason: GapReason::Overwritten },
        Some(_) | None => State::Expired,
    };
    for (id, of, span) in &inner.recovery.vanished {
        if (*id, *of) == (camera.id, stream) {
            ledger.overwritten(*span, gone(*span));
        }
    }
    let store = &inner.context.store;
    // Of what was being filled when the recorder ended, the last may be on disk and not entered.
    let open = |gap: &Gap| gap.backfill.is_some_and(|backfill| backfill != Backfill::Done);
    let being_filled: Vec<Span> = ledger.gaps(EVER).into_iter().filter(open).map(|gap| gap.span).collect();
    if let (Some(first), Some(last)) = (being_filled.first(), being_filled.last()) {
        let hull = Span { from: first.from, to: last.to };
        for stretch in store.held(camera.id, stream, hull)? {
            ledger.filled(stretch.span, stretch.state());
        }
    }
    let all_there = store
        .disks()
        .iter()
        .all(|disk| !matches!(disk.state, DiskState::Gone { .. } | DiskState::Foreign { .. }));
    if !inner.recovery.clean {
        let on_disk = store.held(camera.id, stream, EVER)?;
        // Gaps that were filled in the last second are not entered yet.
        for stretch in &on_disk {
            ledger.filled(stretch.span, stretch.state());
        }
        if all_there {
            forget_overwritten(&mut ledger, &on_disk, from, gone);
        }
    }
    Ok(ledger)
}

const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };

/// The index and the ledger are stored apart: after a crash the one may know what was overwritten and the other not.
/// `open` is the label from which the ledger had stored that frames were on their way.
fn forget_overwritten(ledger: &mut Ledger, held: &[HeldSpan], open: WallTime, gone: impl Fn(Span) -> State) {
    let mut on_disk = SpanSet::default();
    for stretch in held {
        on_disk.insert(stretch.span);
    }
    for span in ledger.held_beyond(&on_disk) {
        // A held span grows without being stored: what grew behind one that is gone lasted until what is there.
        let next = on_disk.spans().iter().find(|there| there.from >= span.to);
        match next.filter(|_| span.to == open).and_then(|next| Span::new(span.from, next.from)) {
            Some(grown) => ledger.given_up(grown, gone(grown)),
            None => ledger.overwritten(span, gone(span)),
        }
    }
}
