//! Ledger steps as the store keeps them: a kind and a reason, one byte each.

use keepwatch_model::{Backfill, CameraId, GapReason, Origin, RoleId, State, StreamId, UnknownReason};
use keepwatch_recording::ledger::Row;
use keepwatch_store::LedgerRow;

const HELD: u8 = 1;
const GAP: u8 = 2;
const EXPIRED: u8 = 3;
const UNSCHEDULED: u8 = 4;
const UNKNOWN: u8 = 5;
const NO_ALARM: u8 = 6;

/// A step as it is stored.
pub(crate) fn to_stored(camera: CameraId, stream: StreamId, row: &Row) -> LedgerRow {
    let (kind, reason) = match row.state {
        State::Held { origin, .. } => (HELD, origin.code()),
        State::Gap { reason } => (GAP, reason.code()),
        State::Expired => (EXPIRED, 0),
        State::Unscheduled => (UNSCHEDULED, 0),
        State::NoAlarm => (NO_ALARM, 0),
        State::Unknown { reason: UnknownReason::DiskAbsent } => (UNKNOWN, 1),
        State::Unknown { reason: UnknownReason::NotYet } => (UNKNOWN, 2),
        State::Unknown { reason: UnknownReason::NotConfigured } => (UNKNOWN, 3),
        State::Unknown { reason: UnknownReason::ClockStepped } => (UNKNOWN, 4),
    };
    let (recorder, replaces) = match row.state {
        State::Held { recorder, replaces, .. } => (Some(recorder), replaces),
        State::Gap { .. } | State::Expired | State::Unscheduled | State::NoAlarm | State::Unknown { .. } => {
            (None, None)
        }
    };
    let backfill = match row.backfill {
        None => 0,
        Some(Backfill::Pending) => 1,
        Some(Backfill::Running) => 2,
        Some(Backfill::Done) => 3,
    };
    LedgerRow { camera, stream, from: row.from, to: None, kind, reason, recorder, replaces, backfill }
}

/// The step of a stored row; `None` when a later version wrote what this one does not know. Where it was not kept who
/// recorded, it was the recorder of `role`.
pub(crate) fn from_stored(row: &LedgerRow, role: RoleId) -> Option<Row> {
    let state = match row.kind {
        HELD => State::Held {
            origin: Origin::from_code(row.reason)?,
            recorder: row.recorder.unwrap_or(role),
            replaces: row.replaces,
        },
        GAP => State::Gap { reason: GapReason::from_code(row.reason)? },
        EXPIRED => State::Expired,
        UNSCHEDULED => State::Unscheduled,
        NO_ALARM => State::NoAlarm,
        UNKNOWN => State::Unknown {
            reason: match row.reason {
                1 => UnknownReason::DiskAbsent,
                2 => UnknownReason::NotYet,
                3 => UnknownReason::NotConfigured,
                4 => UnknownReason::ClockStepped,
                _ => return None,
            },
        },
        _ => return None,
    };
    let backfill = match row.backfill {
        1 => Some(Backfill::Pending),
        2 => Some(Backfill::Running),
        3 => Some(Backfill::Done),
        _ => None,
    };
    Some(Row { from: row.from, state, backfill })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::WallTime;

    #[test]
    fn a_step_comes_back() {
        let role = RoleId([7; 16]);
        let mut states = vec![
            State::Held { origin: Origin::Primary, recorder: role, replaces: None },
            State::Held {
                origin: Origin::Standby,
                recorder: RoleId([8; 16]),
                replaces: Some(RoleId([7; 16])),
            },
            State::Expired,
            State::Unscheduled,
            State::NoAlarm,
            State::Unknown { reason: UnknownReason::NotYet },
            State::Unknown { reason: UnknownReason::DiskAbsent },
            State::Unknown { reason: UnknownReason::NotConfigured },
            State::Unknown { reason: UnknownReason::ClockStepped },
        ];
        states.extend(GapReason::ALL.map(|reason| State::Gap { reason }));
        for state in states {
            for backfill in [None, Some(Backfill::Pending), Some(Backfill::Running), Some(Backfill::Done)] {
                let row = Row { from: WallTime::from_ticks(5), state, backfill };
                let stored = to_stored("cam1".parse().unwrap(), StreamId::SUB, &row);
                assert_eq!(from_stored(&stored, role), Some(row));
            }
        }
        let unknown = LedgerRow {
            kind: 99,
            ..to_stored(
                "a".parse().unwrap(),
                StreamId::MAIN,
                &Row { from: WallTime::MIN, state: State::Expired, backfill: None },
            )
        };
        assert_eq!(from_stored(&unknown, role), None);
    }
}
