//! Ledger steps as the store keeps them: a kind and a reason, one byte each.

use keepwatch_model::{CameraId, GapReason, Origin, RoleId, State, StreamId, UnknownReason};
use keepwatch_recording::ledger::Row;
use keepwatch_store::LedgerRow;

const HELD: u8 = 1;
const GAP: u8 = 2;
const EXPIRED: u8 = 3;
const UNSCHEDULED: u8 = 4;
const UNKNOWN: u8 = 5;

/// A step as it is stored. Of held footage the origin is kept; which recorder it was stands in the records.
pub(crate) fn to_stored(camera: CameraId, stream: StreamId, row: &Row) -> LedgerRow {
    let (kind, reason) = match row.state {
        State::Held { origin, .. } => (HELD, origin.code()),
        State::Gap { reason } => (GAP, reason.code()),
        State::Expired => (EXPIRED, 0),
        State::Unscheduled => (UNSCHEDULED, 0),
        State::Unknown { reason: UnknownReason::DiskAbsent } => (UNKNOWN, 1),
        State::Unknown { reason: UnknownReason::NotYet } => (UNKNOWN, 2),
        State::Unknown { reason: UnknownReason::NotConfigured } => (UNKNOWN, 3),
        State::Unknown { reason: UnknownReason::ClockStepped } => (UNKNOWN, 4),
    };
    LedgerRow { camera, stream, from: row.from, to: None, kind, reason }
}

/// The step of a stored row; `None` when a later version wrote what this one does not know.
pub(crate) fn from_stored(row: &LedgerRow, role: RoleId) -> Option<Row> {
    let state = match row.kind {
        HELD => State::Held { origin: Origin::from_code(row.reason)?, recorder: role, replaces: None },
        GAP => State::Gap { reason: GapReason::from_code(row.reason)? },
        EXPIRED => State::Expired,
        UNSCHEDULED => State::Unscheduled,
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
    Some(Row { from: row.from, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::WallTime;

    #[test]
    fn a_step_comes_back() {
        let role = RoleId([7; 16]);
        let mut states = vec![
            State::Held { origin: Origin::Standby, recorder: role, replaces: None },
            State::Expired,
            State::Unscheduled,
            State::Unknown { reason: UnknownReason::NotYet },
            State::Unknown { reason: UnknownReason::DiskAbsent },
            State::Unknown { reason: UnknownReason::NotConfigured },
            State::Unknown { reason: UnknownReason::ClockStepped },
        ];
        states.extend(GapReason::ALL.map(|reason| State::Gap { reason }));
        for state in states {
            let row = Row { from: WallTime::from_ticks(5), state };
            let stored = to_stored("cam1".parse().unwrap(), StreamId::SUB, &row);
            assert_eq!(from_stored(&stored, role), Some(row));
        }
        let unknown = LedgerRow {
            kind: 99,
            ..to_stored(
                "a".parse().unwrap(),
                StreamId::MAIN,
                &Row { from: WallTime::MIN, state: State::Expired },
            )
        };
        assert_eq!(from_stored(&unknown, role), None);
    }
}
