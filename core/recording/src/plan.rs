//! What a site needs: lines and switches, days on disk, what a standby must be able to take.
//!
//! The rules of thumb for lines are those that installers know (one gigabit line for each started 32 cameras, two for each
//! recorder, two gigabits of switching for each primary). Each is held against the real bit rates as well, and the larger counts.

use std::time::Duration;

use crate::failover::STILL_MAX;

/// Cameras that one line of a gigabit carries, by rule of thumb: full-HD ones.
pub const CAMERAS_PER_LINE: u64 = 32;
/// Fewest lines of a recorder, so that one can fail.
pub const RECORDER_LINES_MIN: u64 = 2;
/// What the switch must do for each primary, by rule of thumb, in bits per second.
pub const SWITCH_BITS_PER_PRIMARY: u64 = 2_000_000_000;
/// How full a line may be: cameras send key frames at the same time, and queues are short.
const LINE_FILL_PERCENT: u64 = 80;
/// How much of a disk holds footage: the rest is taken by tables and by what rounds a record up to whole blocks.
const DISK_FILL_PERCENT: u64 = 97;
/// How far the footage on a primary's disk is behind the camera: a record is a second long, waits half a second at most for its next
/// picture, and is flushed in less than the rest.
const DURABLE_BEHIND_MAX: Duration = Duration::from_secs(3);

/// A recorder, primary or standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// What it is called.
    pub name: String,
    /// How many cameras it records.
    pub cameras: u64,
    /// All streams of one camera, in bits per second.
    pub camera_bits_per_second: u64,
    /// What its disks hold; `None` when that is not given.
    pub disk_bytes: Option<u64>,
    /// The standby keeps the last seconds of its cameras in memory.
    pub prebuffer: bool,
}

/// A switch that feeds cameras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoeSwitch {
    /// What it is called.
    pub name: String,
    /// How many cameras are plugged in.
    pub cameras: u64,
    /// All streams of one camera, in bits per second.
    pub camera_bits_per_second: u64,
}

/// What the standby is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// What it is called.
    pub name: String,
    /// What its disks hold; `None` when that is not given.
    pub disk_bytes: Option<u64>,
    /// How many primaries it covers at once: the largest.
    pub at_once: usize,
    /// How long a failed primary is away.
    pub repair: Duration,
    /// From a failure to the start of its failover, at most.
    pub takes_over_after_max: Duration,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Bits per second of one line.
    pub line_bits_per_second: u64,
    /// The primaries.
    pub recorders: Vec<Recorder>,
    /// The standby; `None` when there is none.
    pub standby: Option<Standby>,
    /// The switches of the cameras.
    pub switches: Vec<PoeSwitch>,
}

/// What a line carries when nothing is said.
const LINE_RATE_USUAL: u64 = 1_000_000_000;

impl Default for Site {
    fn default() -> Self {
        Self {
            line_bits_per_second: LINE_RATE_USUAL,
            recorders: Vec::new(),
            standby: None,
            switches: Vec::new(),
        }
    }
}

/// A device of the site at the backbone switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Cameras whose streams go over its lines.
    pub cameras: u64,
    /// Its lines.
    pub lines: Lines,
}

/// Lines from a device to the backbone switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// How many.
    pub count: u64,
    /// What goes over them, in bits per second.
    pub bits_per_second: u64,
}

impl Lines {
    /// Several lines are bundled (IEEE 802.1AX, bonding mode 4).
    pub fn bundled(self) -> bool {
        self.count > 1
    }
}

/// What a primary needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderPlan {
    /// To the backbone switch.
    pub lines: Lines,
    /// How long its disks hold; `None` when their size is not given, or nothing is recorded.
    pub holds: Option<Duration>,
}

/// What the standby must be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyPlan {
    /// To the backbone switch.
    pub lines: Lines,
    /// Cameras at once.
    pub cameras: u64,
    /// Their streams, in bits per second.
    pub bits_per_second: u64,
    /// Disk for the time of a repair.
    pub disk_bytes: u64,
    /// How long its disks hold what it covers; `None` when their size is not given.
    pub holds: Option<Duration>,
    /// Memory for the pre-buffer of all primaries that have one.
    pub prebuffer_bytes: u64,
    /// What the pre-buffer costs the network all the time, in bits per second.
    pub prebuffer_bits_per_second: u64,
}

/// What a site needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the backbone switch must do, in bits per second: more than this.
    pub switch_bits_per_second: u64,
    /// In the order of the site.
    pub recorders: Vec<RecorderPlan>,
    /// `None` when the site has none.
    pub standby: Option<StandbyPlan>,
    /// Lines of each switch, in the order of the site.
    pub switches: Vec<Lines>,
}

impl Plan {
    /// All that has lines to the backbone switch of `site`, which was planned: recorders, standby, switches.
    pub fn devices<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = Device<'a>> {
        let recorders = site.recorders.iter().zip(&self.recorders);
        let standby = site.standby.iter().zip(&self.standby);
        let switches = site.switches.iter().zip(&self.switches);
        (recorders.map(|(of, planned)| (&of.name, of.cameras, planned.lines)))
            .chain(standby.map(|(of, planned)| (&of.name, planned.cameras, planned.lines)))
            .chain(switches.map(|(of, lines)| (&of.name, of.cameras, *lines)))
            .map(|(name, cameras, lines)| Device { name, cameras, lines })
    }

    /// Computes what `site` needs.
    pub fn of(site: &Site) -> Self {
        let line = site.line_bits_per_second.max(1);
        let recorders: Vec<RecorderPlan> = site
            .recorders
            .iter()
            .map(|recorder| {
                let bits = recorder.bits_per_second();
                let lines = Lines { count: recorder_lines(bits, line), bits_per_second: bits };
                RecorderPlan { lines, holds: recorder.disk_bytes.and_then(|bytes| holds(bytes, bits)) }
            })
            .collect();
        let switches: Vec<Lines> = site
            .switches
            .iter()
            .map(|switch| {
                let bits = switch.cameras.saturating_mul(switch.camera_bits_per_second);
                let by_rule = switch.cameras.div_ceil(CAMERAS_PER_LINE);
                Lines { count: by_rule.max(full_lines(bits, line)).max(1), bits_per_second: bits }
            })
            .collect();
        let standby = site.standby.as_ref().map(|standby| standby.plan(&site.recorders, line));
        let primaries = site.recorders.len() as u64;
        let by_rule = primaries.saturating_mul(SWITCH_BITS_PER_PRIMARY);
        // What comes in from the cameras goes out to a recorder, and to the standby once more.
        let recorded =
            site.recorders.iter().fold(0_u64, |sum, recorder| sum.saturating_add(recorder.bits_per_second()));
        let standby_bits = standby.as_ref().map_or(0, |standby| standby.lines.bits_per_second);
        let by_rate = recorded.saturating_mul(2).saturating_add(standby_bits.saturating_mul(2));
        Self { switch_bits_per_second: by_rule.max(by_rate), recorders, standby, switches }
    }
}

impl Recorder {
    fn bits_per_second(&self) -> u64 {
        self.cameras.saturating_mul(self.camera_bits_per_second)
    }
}

impl Standby {
    fn plan(&self, recorders: &[Recorder], line: u64) -> StandbyPlan {
        let mut largest: Vec<&Recorder> = recorders.iter().collect();
        largest.sort_by_key(|recorder| std::cmp::Reverse(recorder.bits_per_second()));
        let covered = &largest[..self.at_once.min(largest.len())];
        let total = |of: &[&Recorder]| {
            of.iter().fold(0_u64, |sum, recorder| sum.saturating_add(recorder.bits_per_second()))
        };
        let bits = total(covered);
        let buffered: Vec<&Recorder> = recorders.iter().filter(|recorder| recorder.prebuffer).collect();
        let prebuffer_bits = total(&buffered);
        // Cameras with a pre-buffer are on the line already when they are covered.
        let besides: Vec<&Recorder> =
            covered.iter().copied().filter(|recorder| !recorder.prebuffer).collect();
        let on_line = prebuffer_bits.saturating_add(total(&besides));
        // A primary may answer and say nothing while its footage does not grow.
        let noticed = self.takes_over_after_max.saturating_add(STILL_MAX);
        let buffered_for = noticed.saturating_add(DURABLE_BEHIND_MAX);
        StandbyPlan {
            lines: Lines { count: recorder_lines(on_line, line), bits_per_second: on_line },
            cameras: covered.iter().fold(0, |sum, recorder| sum.saturating_add(recorder.cameras)),
            bits_per_second: bits,
            disk_bytes: disk_for(bits, self.repair),
            holds: self.disk_bytes.and_then(|bytes| holds(bytes, bits)),
            prebuffer_bytes: bytes_in(prebuffer_bits, buffered_for),
            prebuffer_bits_per_second: prebuffer_bits,
        }
    }
}

/// Lines that carry `bits` when none is fuller than it may be.
fn full_lines(bits: u64, line: u64) -> u64 {
    let usable = (line / 100).saturating_mul(LINE_FILL_PERCENT).max(1);
    bits.div_ceil(usable)
}

/// Lines of a recorder: what remains when one fails still carries everything.
fn recorder_lines(bits: u64, line: u64) -> u64 {
    full_lines(bits, line).saturating_add(1).max(RECORDER_LINES_MIN)
}

fn bytes_in(bits_per_second: u64, time: Duration) -> u64 {
    let bits = u128::from(bits_per_second).saturating_mul(time.as_millis()) / 1_000;
    u64::try_from(bits.div_ceil(8)).unwrap_or(u64::MAX)
}

/// Disk that holds so much for so long.
fn disk_for(bits_per_second: u64, time: Duration) -> u64 {
    let bytes = u128::from(bytes_in(bits_per_second, time)) * 100 / u128::from(DISK_FILL_PERCENT);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// How long a disk holds so much; `None` when nothing is recorded.
fn holds(disk_bytes: u64, bits_per_second: u64) -> Option<Duration> {
    let bits = u128::from(disk_bytes) * 8 * u128::from(DISK_FILL_PERCENT) / 100;
    let seconds = bits.checked_div(u128::from(bits_per_second))?;
    // Longer than anybody asks, and short enough to be added to a date.
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX).min(100 * 366 * 86_400);
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIGABIT: u64 = 1_000_000_000;
    const TERABYTE: u64 = 1_000_000_000_000;

    fn recorder(cameras: u64, megabits: u64) -> Recorder {
        Recorder {
            name: "NVR".into(),
            cameras,
            camera_bits_per_second: megabits * 1_000_000,
            disk_bytes: Some(8 * TERABYTE),
            prebuffer: true,
        }
    }

    fn site(recorders: Vec<Recorder>) -> Site {
        let standby = Standby {
            name: "SB".into(),
            disk_bytes: None,
            at_once: 1,
            repair: Duration::from_secs(3 * 86_400),
            takes_over_after_max: Duration::from_secs(4),
        };
        Site { line_bits_per_second: GIGABIT, recorders, standby: Some(standby), switches: Vec::new() }
    }

    /// The seed's rules: switching capacity of primaries x 2 Gbit/s, two lines for each recorder.
    #[test]
    fn ten_primaries_of_64_cameras_need_what_the_rules_of_thumb_say() {
        let plan = Plan::of(&site(vec![recorder(64, 4); 10]));
        assert_eq!(plan.switch_bits_per_second, 20 * GIGABIT);
        assert!(plan.recorders.iter().all(|recorder| recorder.lines.count == 2 && recorder.lines.bundled()));
        // 8 TB x 97 % at 256 Mbit/s.
        assert_eq!(plan.recorders[0].holds.unwrap().as_secs(), 242_500);
    }

    #[test]
    fn a_line_carries_32_cameras_of_a_switch_as_long_as_their_rates_allow() {
        let lines = |cameras: u64, megabits: u64| {
            let switch =
                PoeSwitch { name: "P".into(), cameras, camera_bits_per_second: megabits * 1_000_000 };
            let lines = Plan::of(&Site { switches: vec![switch], ..site(Vec::new()) }).switches[0];
            (lines.count, lines.bundled())
        };
        assert_eq!(lines(0, 4), (1, false));
        assert_eq!(lines(31, 4), (1, false));
        assert_eq!(lines(32, 4), (1, false));
        assert_eq!(lines(33, 4), (2, true));
        assert_eq!(lines(64, 4), (2, true));
        assert_eq!(lines(65, 4), (3, true));
        assert_eq!(lines(32, 40), (2, true), "1.28 Gbit/s do not go over one line");
    }

    #[test]
    fn one_line_of_a_recorder_can_fail_at_any_rate() {
        let lines =
            |cameras, megabits| Plan::of(&site(vec![recorder(cameras, megabits)])).recorders[0].lines.count;
        assert_eq!(lines(1, 4), 2);
        assert_eq!(lines(200, 4), 2, "800 Mbit/s fill one line as far as it may be");
        assert_eq!(lines(201, 4), 3);
    }

    #[test]
    fn a_standby_takes_the_largest_primaries_and_their_pre_buffer() {
        let mut site = site(vec![recorder(16, 4), recorder(64, 4), recorder(32, 8), recorder(8, 4)]);
        site.recorders[3].prebuffer = false;
        let standby = site.standby.as_mut().unwrap();
        (standby.at_once, standby.disk_bytes) = (2, Some(TERABYTE));
        let plan = Plan::of(&site).standby.unwrap();
        assert_eq!((plan.cameras, plan.bits_per_second), (96, 512_000_000));
        assert_eq!(plan.prebuffer_bits_per_second, (64 + 256 + 256) * 1_000_000);
        assert_eq!(plan.prebuffer_bytes, 576_000_000 / 8 * 22);
        assert_eq!(plan.lines, Lines { count: 2, bits_per_second: 576_000_000 });
        assert_eq!(plan.disk_bytes, 512_000_000 / 8 * 3 * 86_400 * 100 / 97);
        assert_eq!(plan.holds.unwrap().as_secs(), 15_156);
    }

    #[test]
    fn absurd_numbers_give_absurd_plans_and_no_panic() {
        let mut absurd = site(vec![recorder(u64::MAX, u64::MAX / 1_000_000); 3]);
        absurd.line_bits_per_second = 0;
        absurd.standby.as_mut().unwrap().repair = Duration::MAX;
        absurd.standby.as_mut().unwrap().takes_over_after_max = Duration::MAX;
        assert_eq!(Plan::of(&absurd).switch_bits_per_second, u64::MAX);
        assert_eq!(Plan::of(&site(vec![recorder(0, 0)])).recorders[0].holds, None);
    }
}
