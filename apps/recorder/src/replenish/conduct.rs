//! What a source of records must keep to, so that one that is broken or hostile costs neither time nor footage without end.

use std::time::Duration;

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use keepwatch_store::{RecordInfo, RunId};

/// A record that came last, behind which the other recorder goes on.
pub(super) type Behind = Option<(WallTime, RunId)>;

/// Most records of one job: twenty in every second of the longest.
const RECORDS_MAX: u32 = 20_000;
/// Longest record: those of the slowest camera have two pictures ten seconds apart.
const RECORD_TICKS_MAX: i64 = 60 * TICKS_PER_SECOND;
/// Most that comes in a row without any of it filling the gap: the seconds before it at the highest bit rate.
const SKIPPED_BYTES_MAX: usize = 256 << 20;
/// Longest time that one record takes on its way, without what it waited here.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(180);
/// How far a clock may be set while it is compared.
const CLOCKS_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;

/// Why nothing more is taken of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misconduct {
    /// A record came that is not behind the one before.
    #[error("its records do not come in order")]
    Order,
    /// A record came of which nothing was asked for.
    #[error("it sends footage of another time than was asked for")]
    Window,
    /// A record claims to be too long.
    #[error("it sends a record of more than a minute")]
    Length,
    /// Too many records came.
    #[error("it sends more records than there can be")]
    Records,
    /// Much came and nothing of it was of use.
    #[error("it sends much and nothing of it belongs into the gap")]
    Useless,
    /// A record does not come to its end.
    #[error("a record took minutes to come")]
    Slow,
}

/// What a source has done so far.
#[derive(Debug)]
pub(super) struct Conduct {
    /// What was asked for, by its clock; `None` when it does not tell what that shows.
    window: Option<Span>,
    records: u32,
    skipped_bytes: usize,
    waited: Duration,
}

impl Conduct {
    /// Of a source that is asked for `window`.
    pub(super) fn new(window: Option<Span>) -> Self {
        let wider = |window: Span| Span {
            from: window.from.plus(-CLOCKS_TICKS_MAX),
            to: window.to.plus(CLOCKS_TICKS_MAX),
        };
        Self { window: window.map(wider), records: 0, skipped_bytes: 0, waited: Duration::ZERO }
    }

    /// A record came, behind the last.
    pub(super) fn record(&mut self, info: &RecordInfo, behind: Behind) -> Result<(), Misconduct> {
        self.waited = Duration::ZERO;
        self.records = self.records.saturating_add(1);
        if self.records > RECORDS_MAX {
            return Err(Misconduct::Records);
        }
        if behind.is_some_and(|last| (info.label.from, info.run) <= last) {
            return Err(Misconduct::Order);
        }
        if !(1..=RECORD_TICKS_MAX).contains(&info.label.ticks()) {
            return Err(Misconduct::Length);
        }
        if self.window.is_some_and(|window| window.intersection(info.label).is_none()) {
            return Err(Misconduct::Window);
        }
        Ok(())
    }

    /// Whether any of a record of `bytes` was of use.
    pub(super) fn judged(&mut self, was_of_use: bool, bytes: usize) -> Result<(), Misconduct> {
        self.skipped_bytes = if was_of_use { 0 } else { self.skipped_bytes.saturating_add(bytes) };
        if self.skipped_bytes > SKIPPED_BYTES_MAX { Err(Misconduct::Useless) } else { Ok(()) }
    }

    /// It was waited for.
    pub(super) fn waited(&mut self, time: Duration) -> Result<(), Misconduct> {
        self.waited = self.waited.saturating_add(time);
        if self.waited > RECORD_WAIT_MAX { Err(Misconduct::Slow) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, RoleId};

    use super::*;

    fn record(from: i64, to: i64, run: u64) -> RecordInfo {
        let at = |second: i64| WallTime::from_ticks(second * TICKS_PER_SECOND);
        RecordInfo {
            run: RunId(run),
            run_start: false,
            continuation: false,
            starts_with_key: true,
            label: Span { from: at(from), to: at(to) },
            camera_time: None,
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Standby,
            recorder: RoleId([1; 16]),
            replaces: None,
            samples: 1,
            media_bytes: 1,
        }
    }

    fn asked() -> Conduct {
        Conduct::new(Some(record(100, 200, 0).label))
    }

    #[test]
    fn records_of_the_window_that_follow_each_other_are_taken() {
        let (mut conduct, mut behind) = (asked(), None);
        for second in 99..201 {
            let info = record(second, second + 1, 7);
            conduct.record(&info, behind).unwrap();
            conduct.judged(second > 110, 8 << 20).unwrap();
            conduct.waited(Duration::from_secs(59)).unwrap();
            behind = Some((info.label.from, info.run));
        }
    }

    #[test]
    fn a_source_that_sends_without_end_is_left() {
        let refused = |info: RecordInfo, behind| asked().record(&info, behind).unwrap_err();
        let last = |info: RecordInfo| Some((info.label.from, info.run));
        assert_eq!(refused(record(150, 151, 7), last(record(150, 151, 7))), Misconduct::Order);
        assert_eq!(refused(record(149, 151, 8), last(record(150, 151, 7))), Misconduct::Order);
        assert_eq!(refused(record(90, 95, 7), None), Misconduct::Window);
        assert_eq!(refused(record(9_000, 9_001, 7), None), Misconduct::Window);
        assert_eq!(refused(record(100, 400, 7), None), Misconduct::Length);
        assert_eq!(refused(record(101, 101, 7), None), Misconduct::Length);
        let mut conduct = asked();
        let many = (0..30_000).map(|run| conduct.record(&record(150, 151, run), None));
        assert_eq!(many.filter_map(Result::err).next(), Some(Misconduct::Records));
        let mut conduct = asked();
        let useless = (0..100).map(|_| conduct.judged(false, 8 << 20));
        assert_eq!(useless.filter_map(Result::err).next(), Some(Misconduct::Useless));
        let mut conduct = asked();
        let bytes = (0..100).map(|_| conduct.waited(Duration::from_secs(59)));
        assert_eq!(bytes.filter_map(Result::err).next(), Some(Misconduct::Slow));
    }
}
