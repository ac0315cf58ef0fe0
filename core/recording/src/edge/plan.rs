//! What an edge node needs, and how long what lasts: the reckoning of the planner, and of the alarm of a setting that never depletes.
//!
//! Footage that was left out depletes with what the limits leave beside what is recorded meanwhile. The limits are those of a line
//! (percent and bits per second), and those that all lines share (write throttle, network), which each line draws on in proportion
//! to its rate, as the machine sends record by record. No machine is asked; rates are what the caller measured or assumes.

use std::fmt;
use std::time::Duration;

use super::fill::Flow;
use super::limit::{SpeedLimit, WriteThrottle};

/// Longer than anybody asks, and short enough to be added to a date.
const EVER: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A camera of an edge node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedCamera {
    /// What it is called.
    pub name: String,
    /// All its streams, as their long mean.
    pub bits_per_second: u64,
    /// The same while much moves; not below the mean.
    pub peak_bits_per_second: u64,
    /// How fast its footage may leave.
    pub limit: SpeedLimit,
}

/// Where the second storage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondPlace {
    /// At the node itself.
    Local,
    /// A LUN: each write and each read of it goes over the network.
    Network,
}

/// The second storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// What it holds before it overwrites; `None` when that is not known.
    pub bytes: Option<u64>,
    /// Where it is.
    pub place: SecondPlace,
}

/// An edge node that is planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeSite {
    /// Its cameras.
    pub cameras: Vec<PlannedCamera>,
    /// What the network carries to the external storage, in bits per second; 0 is not known.
    pub bandwidth_bits_per_second: u64,
    /// What the node sends at most.
    pub throttle: WriteThrottle,
    /// What the internal storage holds before it overwrites; `None` when that is not known.
    pub internal_bytes: Option<u64>,
    /// The second storage; `None` when there is none.
    pub second: Option<Second>,
    /// How long the external storage is away, in the question how long it then takes.
    pub gap: Duration,
    /// How long an absence is to cost nothing, in the question how much storage that takes.
    pub outage: Duration,
}

/// A setting with which nothing that was left out ever leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeverDepletes {
    /// 0 %.
    Stopped,
    /// At most as fast as it is recorded.
    Speed {
        /// The speed that is set.
        percent: u32,
    },
    /// The data rate of the line is not above that of the camera.
    Rate {
        /// The data rate that is set.
        limit_bits_per_second: u64,
        /// What is recorded.
        recorded_bits_per_second: u64,
    },
    /// The write throttle is not above what all lines record.
    Throttle {
        /// What may be sent in all.
        limit_bits_per_second: u64,
        /// What is recorded in all.
        recorded_bits_per_second: u64,
    },
    /// The network is not above what all lines record.
    Network {
        /// What it carries.
        bandwidth_bits_per_second: u64,
        /// What is recorded in all.
        recorded_bits_per_second: u64,
    },
}

impl NeverDepletes {
    /// Whether a line never depletes with `limit`, when so much of it is recorded; 0 is not known.
    pub const fn of_line(limit: SpeedLimit, recorded_bits_per_second: u64) -> Option<Self> {
        let SpeedLimit { percent, bits_per_second } = limit;
        match percent {
            0 => Some(Self::Stopped),
            1..=100 => Some(Self::Speed { percent }),
            _ if bits_per_second > 0 && bits_per_second <= recorded_bits_per_second => {
                Some(Self::Rate { limit_bits_per_second: bits_per_second, recorded_bits_per_second })
            }
            _ => None,
        }
    }

    /// Whether a node never depletes with its `throttle` over a network of so much (0 is not known), when so much is recorded in all.
    pub fn of_node(
        throttle: WriteThrottle,
        bandwidth_bits_per_second: u64,
        recorded_bits_per_second: u64,
    ) -> Option<Self> {
        if recorded_bits_per_second == 0 {
            return None;
        }
        let limit_bits_per_second = throttle.target(recorded_bits_per_second);
        if (1..=recorded_bits_per_second).contains(&limit_bits_per_second) {
            return Some(Self::Throttle { limit_bits_per_second, recorded_bits_per_second });
        }
        (1..=recorded_bits_per_second)
            .contains(&bandwidth_bits_per_second)
            .then_some(Self::Network { bandwidth_bits_per_second, recorded_bits_per_second })
    }
}

impl NeverDepletes {
    /// What is set, and what it costs.
    pub fn what(&self) -> String {
        let mbit = |bits: u64| format!("{}.{:02} Mbit/s", bits / 1_000_000, bits % 1_000_000 / 10_000);
        match *self {
            Self::Stopped => {
                "at a speed of 0 % nothing leaves: local storage fills, and then overwrites what is not outside".to_owned()
            }
            Self::Speed { percent } => format!(
                "at a speed of {percent} % what was left out never leaves, as the newest takes all of it, and is overwritten when \
                 local storage is full"
            ),
            Self::Rate { limit_bits_per_second: limit, recorded_bits_per_second: recorded } => format!(
                "the data rate is limited to {}, and {} are recorded: what was left out never leaves",
                mbit(limit),
                mbit(recorded)
            ),
            Self::Throttle { limit_bits_per_second: limit, recorded_bits_per_second: recorded } => format!(
                "the write throttle lets {} through, and {} are recorded in all: what was left out never leaves",
                mbit(limit),
                mbit(recorded)
            ),
            Self::Network { bandwidth_bits_per_second: carried, recorded_bits_per_second: recorded } => format!(
                "the network carries {}, and {} are recorded in all: what was left out never leaves",
                mbit(carried),
                mbit(recorded)
            ),
        }
    }

    /// What to do.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Stopped | Self::Speed { .. } => "set more than 100 %",
            Self::Rate { .. } => "set more, or bound the camera's encoder",
            Self::Throttle { .. } => "set a larger write_rate_max",
            Self::Network { .. } => "take a faster line, or bound the cameras' encoders",
        }
    }
}

/// What is set, what it costs, and what to do.
impl fmt::Display for NeverDepletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.remedy())
    }
}

/// What becomes of one camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraPlan {
    /// What is recorded, and what leaves while all cameras have something left out.
    pub flow: Flow,
    /// From the return of the external storage until all is outside; `None` when it never is.
    pub depletes_in: Option<Duration>,
    /// Why it never depletes by its own setting.
    pub never: Option<NeverDepletes>,
    /// Its data rate is enough for the mean, and not for the peak: it falls behind while much moves.
    pub behind_at_peak: bool,
}

/// What becomes of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgePlan {
    /// In the order of the site.
    pub cameras: Vec<CameraPlan>,
    /// All cameras together, as their means, and as their peaks.
    pub recorded_bits_per_second: u64,
    /// The same at the peaks.
    pub peak_bits_per_second: u64,
    /// What goes over the network while all that was left out is replenished.
    pub replenishing_bits_per_second: u64,
    /// From empty until the internal storage overwrites, while nothing leaves; `None` when its size is not known, or nothing is
    /// recorded.
    pub fills_in: Option<Duration>,
    /// The same of the second storage.
    pub second_fills_in: Option<Duration>,
    /// How much of the gap is overwritten before it can leave, the oldest.
    pub overwritten: Duration,
    /// From the return of the external storage until all that is held is outside; `None` when it never is.
    pub depletes_in: Option<Duration>,
    /// The camera that takes longest, or one that never depletes; `None` without cameras.
    pub worst: Option<usize>,
    /// Storage that an outage takes.
    pub outage_bytes: u64,
    /// Why no camera depletes, by what all share.
    pub never: Option<NeverDepletes>,
    /// How often footage goes over the network in case 4.
    pub second_passes: Option<u8>,
}

impl EdgePlan {
    /// Reckons what becomes of `site`.
    pub fn of(site: &EdgeSite) -> Self {
        let total =
            |of: fn(&PlannedCamera) -> u64| site.cameras.iter().map(of).fold(0_u64, u64::saturating_add);
        let recorded = total(|camera| camera.bits_per_second);
        let shared = site.shared(recorded);
        let fills = |bytes: Option<u64>| {
            let flow = Flow { in_bits_per_second: recorded, out_bits_per_second: 0 };
            Some(flow.fills_in(bytes?)?.min(EVER))
        };
        let fills_in = fills(site.internal_bytes);
        let kept = fills_in.map_or(site.gap, |fills| fills.min(site.gap));
        let first = shares(&site.cameras, shared, |_| true);
        let depletes = deplete(&site.cameras, shared, kept);
        let cameras: Vec<CameraPlan> = (site.cameras.iter().zip(&first).zip(&depletes))
            .map(|((camera, out), depletes_in)| {
                let SpeedLimit { percent: _, bits_per_second: limit } = camera.limit;
                CameraPlan {
                    flow: Flow { in_bits_per_second: camera.bits_per_second, out_bits_per_second: *out },
                    depletes_in: *depletes_in,
                    never: NeverDepletes::of_line(camera.limit, camera.bits_per_second),
                    behind_at_peak: limit > camera.bits_per_second && limit <= camera.peak_bits_per_second,
                }
            })
            .collect();
        let slowest = |(_, camera): &(usize, &CameraPlan)| camera.depletes_in.unwrap_or(Duration::MAX);
        let worst = cameras.iter().enumerate().max_by_key(slowest).map(|(number, _)| number);
        Self {
            recorded_bits_per_second: recorded,
            peak_bits_per_second: total(|camera| camera.peak_bits_per_second.max(camera.bits_per_second)),
            replenishing_bits_per_second: first.iter().copied().fold(0, u64::saturating_add),
            fills_in,
            second_fills_in: site.second.and_then(|second| fills(second.bytes)),
            overwritten: site.gap.saturating_sub(kept),
            depletes_in: worst.and_then(|worst| cameras[worst].depletes_in),
            worst,
            outage_bytes: bytes_in(recorded, site.outage),
            never: NeverDepletes::of_node(site.throttle, site.bandwidth_bits_per_second, recorded),
            second_passes: site.second.map(|second| match second.place {
                // Out to the external storage.
                SecondPlace::Local => 1,
                // Out to the LUN, back in, and out again.
                SecondPlace::Network => 3,
            }),
            cameras,
        }
    }
}

impl EdgeSite {
    /// What all lines share; `None` when nothing bounds them.
    fn shared(&self, recorded: u64) -> Option<u64> {
        let bounds = [self.throttle.target(recorded), self.bandwidth_bits_per_second];
        bounds.into_iter().filter(|bound| *bound > 0).min()
    }
}

/// What leaves of each camera, when those that `has` left something out take what they may, and the others what they record.
fn shares(cameras: &[PlannedCamera], shared: Option<u64>, has: impl Fn(usize) -> bool) -> Vec<u64> {
    let most: Vec<u64> = (cameras.iter().enumerate())
        .map(|(number, camera)| {
            let PlannedCamera { bits_per_second: recorded, limit, .. } = camera;
            let most = Flow::limited(*recorded, limit.percent, limit.bits_per_second, 0).out_bits_per_second;
            if has(number) { most } else { most.min(*recorded) }
        })
        .collect();
    let Some(shared) = shared else { return most };
    // Those that may take least of their own rate are served first; what they leave is the others'.
    let mut order: Vec<usize> = (0..cameras.len()).collect();
    let recorded = |number: usize| u128::from(cameras[number].bits_per_second);
    order.sort_by(|one, other| {
        let weigh = |this: usize, that: usize| u128::from(most[this]).saturating_mul(recorded(that));
        weigh(*one, *other).cmp(&weigh(*other, *one))
    });
    let (mut left, mut rates) =
        (u128::from(shared), order.iter().map(|number| recorded(*number)).sum::<u128>());
    let mut shares = vec![0; cameras.len()];
    for number in order {
        let fair = (left * recorded(number)).checked_div(rates).unwrap_or(0);
        let share = fair.min(u128::from(most[number]));
        left -= share;
        rates -= recorded(number);
        shares[number] = u64::try_from(share).unwrap_or(u64::MAX);
    }
    shares
}

/// When each camera has sent what it recorded in `kept`, recording going on; `None` when it never has. A camera that is done leaves
/// its share to the others.
fn deplete(cameras: &[PlannedCamera], shared: Option<u64>, kept: Duration) -> Vec<Option<Duration>> {
    let mut held: Vec<u64> = cameras.iter().map(|camera| bytes_in(camera.bits_per_second, kept)).collect();
    let mut done: Vec<Option<Duration>> =
        held.iter().map(|held| (*held == 0).then_some(Duration::ZERO)).collect();
    let mut now = Duration::ZERO;
    // Each round ends with a camera that is done.
    for _ in cameras {
        let out = shares(cameras, shared, |number| done[number].is_none());
        let flow = |number: usize| Flow {
            in_bits_per_second: cameras[number].bits_per_second,
            out_bits_per_second: out[number],
        };
        let waiting = (0..cameras.len()).filter(|number| done[*number].is_none());
        let next = waiting
            .clone()
            .filter_map(|number| Some((flow(number).depletes_in(held[number])?, number)))
            .min();
        let Some((takes, first)) = next else { break };
        now = now.saturating_add(takes).min(EVER);
        for number in waiting.collect::<Vec<_>>() {
            let Flow { in_bits_per_second, out_bits_per_second } = flow(number);
            let left = bytes_in(out_bits_per_second.saturating_sub(in_bits_per_second), takes);
            held[number] = held[number].saturating_sub(left);
            if number == first || held[number] == 0 {
                done[number] = Some(now);
            }
        }
    }
    done
}

fn bytes_in(bits_per_second: u64, time: Duration) -> u64 {
    let bits = u128::from(bits_per_second).saturating_mul(time.as_millis()) / 1_000;
    u64::try_from(bits.div_ceil(8)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MBIT: u64 = 1_000_000;
    const HOUR: Duration = Duration::from_secs(3_600);
    const TERABYTE: u64 = 1_000_000_000_000;

    fn camera(megabits: u64, percent: u32) -> PlannedCamera {
        PlannedCamera {
            name: "cam".into(),
            bits_per_second: megabits * MBIT,
            peak_bits_per_second: megabits * MBIT * 2,
            limit: SpeedLimit { percent, bits_per_second: 0 },
        }
    }

    fn site(cameras: Vec<PlannedCamera>) -> EdgeSite {
        EdgeSite {
            cameras,
            internal_bytes: Some(TERABYTE),
            gap: HOUR,
            outage: HOUR * 24,
            ..EdgeSite::default()
        }
    }

    /// The row of the requirement: replenish time = gap / (speed - 1).
    #[test]
    fn a_gap_takes_its_length_divided_by_the_speed_less_one() {
        for (percent, times) in [(150, 2.0), (200, 1.0), (500, 0.25)] {
            let plan = EdgePlan::of(&site(vec![camera(4, percent); 8]));
            assert_eq!(plan.depletes_in, Some(HOUR.mul_f64(times)), "{percent} %");
            assert_eq!((plan.overwritten, plan.never), (Duration::ZERO, None));
        }
    }

    #[test]
    fn storage_and_network_follow_from_the_rates() {
        let plan = EdgePlan::of(&site(vec![camera(4, 200); 8]));
        assert_eq!((plan.recorded_bits_per_second, plan.peak_bits_per_second), (32 * MBIT, 64 * MBIT));
        assert_eq!(plan.replenishing_bits_per_second, 64 * MBIT);
        assert_eq!(plan.fills_in, Some(Duration::from_secs(250_000)));
        assert_eq!(plan.outage_bytes, 32 * MBIT / 8 * 86_400);
    }

    #[test]
    fn a_gap_that_is_longer_than_storage_lasts_is_overwritten_by_the_rest() {
        let small = EdgeSite { internal_bytes: Some(4 * MBIT / 8 * 600), ..site(vec![camera(4, 200)]) };
        let plan = EdgePlan::of(&small);
        assert_eq!(plan.fills_in, Some(Duration::from_secs(600)));
        assert_eq!(plan.overwritten, Duration::from_secs(3_000));
        assert_eq!(plan.depletes_in, Some(Duration::from_secs(600)), "only what is held leaves");
    }

    #[test]
    fn a_narrow_network_is_shared_and_what_one_leaves_is_the_others() {
        // 8 are recorded and 12 carried. The second may take 5 at most; what it leaves of its half is the first one's.
        let narrow =
            EdgeSite { bandwidth_bits_per_second: 12 * MBIT, ..site(vec![camera(4, 1_000), camera(4, 125)]) };
        let plan = EdgePlan::of(&narrow);
        let out: Vec<u64> =
            plan.cameras.iter().map(|camera| camera.flow.out_bits_per_second / MBIT).collect();
        assert_eq!(out, [7, 5]);
        // The first is done after 3600 s x 4 / 3, the second alone goes on with its own limit.
        assert_eq!(plan.cameras[0].depletes_in, Some(Duration::from_secs(4_800)));
        assert_eq!(plan.cameras[1].depletes_in, Some(HOUR * 4));
        assert_eq!((plan.worst, plan.depletes_in), (Some(1), Some(HOUR * 4)));
        let alike = EdgeSite { bandwidth_bits_per_second: 12 * MBIT, ..site(vec![camera(4, 200); 2]) };
        assert_eq!(EdgePlan::of(&alike).depletes_in, Some(HOUR * 2));
    }

    #[test]
    fn what_can_never_deplete_is_said_with_its_numbers() {
        let line = |percent, bits_per_second| SpeedLimit { percent, bits_per_second };
        let said = |limit| NeverDepletes::of_line(limit, 4 * MBIT).map(|never| never.to_string());
        assert!(said(line(0, 0)).unwrap().starts_with("at a speed of 0 % nothing leaves"));
        assert!(
            said(line(100, 0)).unwrap().starts_with("at a speed of 100 % what was left out never leaves")
        );
        assert!(
            said(line(200, 3 * MBIT))
                .unwrap()
                .contains("limited to 3.00 Mbit/s, and 4.00 Mbit/s are recorded")
        );
        assert_eq!(said(line(101, 4 * MBIT + 1)), None);
        let range = |upper| WriteThrottle { lower_bits_per_second: 0, upper_bits_per_second: upper };
        let node = |upper, network| NeverDepletes::of_node(range(upper), network, 8 * MBIT);
        assert_eq!((node(0, 0), node(9 * MBIT, 9 * MBIT)), (None, None));
        assert!(node(8 * MBIT, 0).unwrap().to_string().contains("lets 8.00 Mbit/s through"));
        assert!(node(0, 7 * MBIT).unwrap().to_string().contains("the network carries 7.00 Mbit/s"));
        let plan = EdgePlan::of(&site(vec![camera(4, 200), camera(4, 100)]));
        assert_eq!((plan.worst, plan.depletes_in), (Some(1), None));
        assert_eq!(plan.cameras[0].depletes_in, Some(HOUR));
    }

    #[test]
    fn a_second_storage_in_the_network_costs_three_passes() {
        let with = |place| EdgeSite {
            second: Some(Second { bytes: Some(TERABYTE), place }),
            ..site(vec![camera(4, 200)])
        };
        assert_eq!(EdgePlan::of(&with(SecondPlace::Local)).second_passes, Some(1));
        let plan = EdgePlan::of(&with(SecondPlace::Network));
        assert_eq!(
            (plan.second_passes, plan.second_fills_in),
            (Some(3), Some(Duration::from_secs(2_000_000)))
        );
    }

    proptest! {
        /// What all share is never exceeded, no line gets more than its own limit, and no number makes it panic.
        #[test]
        fn shares_are_within_all_limits(
            rates in prop::collection::vec((any::<u64>(), 0..2_000u32, any::<u64>()), 0..6),
            bandwidth in any::<u64>(),
            upper in any::<u64>(),
            bytes in any::<u64>(),
        ) {
            let cameras = rates.iter().map(|(bits, percent, limit)| PlannedCamera {
                bits_per_second: *bits,
                peak_bits_per_second: 0,
                limit: SpeedLimit { percent: *percent, bits_per_second: *limit },
                name: String::new(),
            });
            let throttle = WriteThrottle { lower_bits_per_second: 0, upper_bits_per_second: upper };
            let site = EdgeSite {
                bandwidth_bits_per_second: bandwidth,
                throttle,
                internal_bytes: Some(bytes),
                ..site(cameras.collect())
            };
            let plan = EdgePlan::of(&site);
            let shared = site.shared(plan.recorded_bits_per_second);
            prop_assert!(shared.is_none_or(|shared| plan.replenishing_bits_per_second <= shared));
            for (camera, planned) in site.cameras.iter().zip(&plan.cameras) {
                let SpeedLimit { percent, bits_per_second } = camera.limit;
                let own = Flow::limited(camera.bits_per_second, percent, bits_per_second, 0);
                prop_assert!(planned.flow.out_bits_per_second <= own.out_bits_per_second);
            }
        }
    }
}
