//! How fast footage leaves: a limit for each line, and a write throttle for the whole node.
//!
//! A line is limited in percent of the rate that its footage was recorded with, which is seconds of footage for each second whatever
//! the camera sends, and in bits per second; whichever is less cuts. Both lanes of a line draw on the same limit.

use std::time::Duration;

use keepwatch_model::{MonoTime, duration_from_ticks};

/// What was not used is used later, as far as this: records are seconds long, and threads wake late.
const CREDIT: Duration = Duration::from_secs(2);

/// What an operator sets for one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeedLimit {
    /// Percent of the original data rate: 100 is as fast as it was recorded, 0 stops the transfer.
    pub percent: u32,
    /// Bits per second; 0 is no limit. It holds from the next backup on. A backup ends when nothing is left of it, when the external
    /// storage is away, and when it is stopped (0 %).
    pub bits_per_second: u64,
}

impl Default for SpeedLimit {
    fn default() -> Self {
        Self { percent: 200, bits_per_second: 0 }
    }
}

/// The limit of one line.
#[derive(Clone, Copy, Debug)]
pub struct LineLimit {
    set: SpeedLimit,
    /// Bits per second in force: those that were set when the backup began.
    bits_per_second: u64,
    footage: Gate,
    bytes: Gate,
}

impl LineLimit {
    /// A limit from `now` on.
    pub const fn new(set: SpeedLimit, now: MonoTime) -> Self {
        let gate = Gate { ready_at: now };
        Self { set, bits_per_second: set.bits_per_second, footage: gate, bytes: gate }
    }

    /// What is set.
    pub const fn get(&self) -> SpeedLimit {
        self.set
    }

    /// Sets another limit: the speed holds at once, the data rate from the next backup on.
    pub fn set(&mut self, now: MonoTime, limit: SpeedLimit) {
        self.footage.change(now, self.set.percent.into(), limit.percent.into());
        self.set = limit;
    }

    /// A backup begins: the data rate that is set holds from here on.
    pub fn begin(&mut self, now: MonoTime) {
        self.bytes.change(now, self.bits_per_second, self.set.bits_per_second);
        self.bits_per_second = self.set.bits_per_second;
    }

    /// When the next record may leave; `None` while the transfer is stopped.
    pub fn ready_at(&self) -> Option<MonoTime> {
        let bytes = if self.bits_per_second == 0 { MonoTime::ZERO } else { self.bytes.ready_at };
        (self.set.percent > 0).then(|| self.footage.ready_at.max(bytes))
    }

    /// A record of so much footage and so many bytes leaves at `now`.
    pub fn spend(&mut self, now: MonoTime, ticks: i64, bytes: u64) {
        let footage = duration_from_ticks(ticks).as_nanos().saturating_mul(100);
        self.footage.spend(now, footage, self.set.percent.into());
        self.bytes.spend(now, bits(bytes), self.bits_per_second);
    }
}

/// What an operator sets for the writing of the whole node: equal limits fix it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteThrottle {
    /// Least bits per second, however little is recorded.
    pub lower_bits_per_second: u64,
    /// Most bits per second; 0 is no limit.
    pub upper_bits_per_second: u64,
}

impl WriteThrottle {
    /// What may be written when all lines together are recorded with `recorded` bits per second: twice that, within the range;
    /// 0 is no limit.
    pub fn target(&self, recorded_bits_per_second: u64) -> u64 {
        match self.upper_bits_per_second {
            0 => 0,
            upper => {
                let twice = recorded_bits_per_second.saturating_mul(2);
                twice.clamp(self.lower_bits_per_second.min(upper), upper)
            }
        }
    }
}

/// The write throttle of a node, at work.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimit {
    /// 0: none.
    bits_per_second: u64,
    bytes: Gate,
}

impl NodeLimit {
    /// No limit, from `now` on.
    pub const fn new(now: MonoTime) -> Self {
        Self { bits_per_second: 0, bytes: Gate { ready_at: now } }
    }

    /// Sets what may be written; 0 is no limit.
    pub fn set(&mut self, now: MonoTime, bits_per_second: u64) {
        self.bytes.change(now, self.bits_per_second, bits_per_second);
        self.bits_per_second = bits_per_second;
    }

    /// When the next record may be written.
    pub const fn ready_at(&self) -> MonoTime {
        if self.bits_per_second == 0 { MonoTime::ZERO } else { self.bytes.ready_at }
    }

    /// So many bytes are written at `now`.
    pub fn spend(&mut self, now: MonoTime, bytes: u64) {
        self.bytes.spend(now, bits(bytes), self.bits_per_second);
    }
}

fn bits(bytes: u64) -> u128 {
    u128::from(bytes) * 8 * 1_000_000_000
}

/// Lets amounts through at a rate: each is let through at once, and the next when the rate has caught up with it.
#[derive(Clone, Copy, Debug)]
struct Gate {
    ready_at: MonoTime,
}

impl Gate {
    /// `amount` leaves at `now`: billionths of a unit, of which `rate` leave in a second. Without a rate nothing is counted.
    fn spend(&mut self, now: MonoTime, amount: u128, rate: u64) {
        let Ok(nanos) = u64::try_from(amount / u128::from(rate.max(1))) else {
            self.ready_at = MonoTime::from_nanos(u64::MAX);
            return;
        };
        let earliest = now.as_nanos().saturating_sub(u64::try_from(CREDIT.as_nanos()).unwrap_or(u64::MAX));
        let from = self.ready_at.max(MonoTime::from_nanos(earliest));
        self.ready_at = if rate == 0 { now } else { from + Duration::from_nanos(nanos) };
    }

    /// The rate changes at `now`: what was let through ahead is waited for at the new one.
    fn change(&mut self, now: MonoTime, before: u64, after: u64) {
        let ahead = self.ready_at.since(now).as_nanos();
        let ahead = match (before, after) {
            (0, _) | (_, 0) => 0,
            (before, after) => ahead.saturating_mul(before.into()) / u128::from(after),
        };
        self.ready_at = now + Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = keepwatch_model::TICKS_PER_SECOND;
    /// A record: a second of a camera of 4 Mbit/s.
    const RECORD: (i64, u64) = (SECOND, 500_000);

    fn at(seconds: f64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs_f64(seconds)
    }

    /// How many records leave within so many seconds, when each leaves as soon as it may.
    fn leave(limit: &mut LineLimit, from: f64, seconds: f64) -> usize {
        let (mut now, end) = (at(from), at(from + seconds));
        let mut left = 0;
        while let Some(ready_at) = limit.ready_at() {
            now = now.max(ready_at);
            if now >= end {
                break;
            }
            limit.spend(now, RECORD.0, RECORD.1);
            left += 1;
        }
        left
    }

    #[test]
    fn the_speed_is_percent_of_the_original_rate_within_a_few_records() {
        for (percent, records) in [(100, 600), (150, 900), (200, 1_200), (500, 3_000)] {
            let mut limit = LineLimit::new(SpeedLimit { percent, bits_per_second: 0 }, at(0.0));
            let left = leave(&mut limit, 0.0, 600.0);
            assert!(left.abs_diff(records) <= 12, "{left} records in 600 s at {percent} %");
        }
    }

    #[test]
    fn the_smaller_limit_cuts() {
        let limit = |bits_per_second| SpeedLimit { percent: 200, bits_per_second };
        let left = |set| leave(&mut LineLimit::new(set, at(0.0)), 0.0, 600.0);
        // 4 Mbit/s of the camera: 6 Mbit/s are 150 %, 20 Mbit/s 500 %.
        assert!(left(limit(6_000_000)).abs_diff(900) <= 12, "the data rate cuts");
        assert!(left(limit(20_000_000)).abs_diff(1_200) <= 12, "the speed cuts");
    }

    #[test]
    fn zero_percent_stops_and_a_later_value_resumes_at_once() {
        let mut limit = LineLimit::new(SpeedLimit::default(), at(0.0));
        leave(&mut limit, 0.0, 60.0);
        limit.set(at(60.0), SpeedLimit { percent: 0, bits_per_second: 0 });
        assert_eq!(limit.ready_at(), None);
        limit.set(at(100.0), SpeedLimit { percent: 100, bits_per_second: 0 });
        assert_eq!(limit.ready_at(), Some(at(100.0)));
        let left = leave(&mut limit, 100.0, 60.0);
        assert!(left.abs_diff(60) <= 4, "the time that it stopped is not made up for: {left}");
    }

    #[test]
    fn a_faster_speed_is_not_waited_for_at_the_slow_one() {
        let mut limit = LineLimit::new(SpeedLimit { percent: 1, bits_per_second: 0 }, at(10.0));
        leave(&mut limit, 10.0, 1.0);
        assert!(limit.ready_at().is_some_and(|ready| ready > at(100.0)));
        limit.set(at(12.0), SpeedLimit { percent: 500, bits_per_second: 0 });
        assert!(limit.ready_at().is_some_and(|ready| ready < at(12.5)), "{:?}", limit.ready_at());
    }

    #[test]
    fn a_data_rate_holds_from_the_next_backup_on() {
        let mut limit = LineLimit::new(SpeedLimit { percent: 500, bits_per_second: 0 }, at(0.0));
        limit.set(at(0.0), SpeedLimit { percent: 500, bits_per_second: 4_000_000 });
        assert!(leave(&mut limit, 0.0, 100.0).abs_diff(500) <= 12, "the backup that runs goes on");
        limit.begin(at(100.0));
        assert!(leave(&mut limit, 100.0, 100.0).abs_diff(100) <= 4, "the next one is bounded");
        limit.set(at(200.0), SpeedLimit { percent: 500, bits_per_second: 0 });
        assert!(leave(&mut limit, 200.0, 100.0).abs_diff(100) <= 4);
        limit.begin(at(300.0));
        assert!(leave(&mut limit, 300.0, 100.0).abs_diff(500) <= 12);
    }

    #[test]
    fn the_write_throttle_is_twice_what_is_recorded_within_its_range() {
        let range =
            |lower, upper| WriteThrottle { lower_bits_per_second: lower, upper_bits_per_second: upper };
        assert_eq!(range(0, 0).target(40), 0, "no limit");
        assert_eq!(range(10, 100).target(40), 80);
        assert_eq!(range(10, 100).target(4), 10);
        assert_eq!(range(10, 100).target(400), 100);
        assert_eq!(range(50, 50).target(400), 50, "equal limits fix it");
        assert_eq!(range(70, 50).target(400), 50, "a range that is none ends at its upper limit");
    }

    #[test]
    fn the_throttle_of_the_node_bounds_all_lines_together() {
        let mut node = NodeLimit::new(at(0.0));
        assert!(node.ready_at() <= at(0.0));
        node.set(at(0.0), 40_000_000);
        let (mut now, mut bytes) = (at(0.0), 0);
        while now < at(60.0) {
            node.spend(now, RECORD.1);
            bytes += RECORD.1;
            now = now.max(node.ready_at());
        }
        assert!(bytes.abs_diff(300_000_000) < 15_000_000, "{bytes} bytes in 60 s at 40 Mbit/s");
    }

    #[test]
    fn no_size_and_no_rate_makes_it_panic() {
        let mut limit = LineLimit::new(SpeedLimit { percent: 1, bits_per_second: 1 }, at(0.0));
        limit.spend(at(0.0), i64::MAX, u64::MAX);
        assert!(limit.ready_at().is_some());
        limit.set(at(1.0), SpeedLimit { percent: u32::MAX, bits_per_second: u64::MAX });
        limit.begin(at(1.0));
        limit.spend(at(1.0), i64::MIN, 0);
        assert!(limit.ready_at().is_some());
    }
}
