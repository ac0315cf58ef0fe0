//! How a camera bears that its card is read: what is learnt of one that breaks off.
//!
//! A camera records and streams while its card is read, and some have too little left for that: the session ends in the middle. Such
//! a camera is read slower from then on, down to the speed at which it plays, until the process ends. One that gives no more than
//! that speed by itself needs nothing: its footage comes as it comes.

use crate::edge::limit::SpeedLimit;

/// Speeds that are tried one after the other, in percent, when the card is read as fast as it gives and that is too fast.
const STEPS: [u32; 3] = [400, 200, 100];

/// What is learnt of one camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bearing {
    /// How often it broke off, as far as that made a difference.
    broke_off: usize,
}

impl Bearing {
    /// A fetch that had brought something broke off. Returns the speed that is read with from here on, in percent; `None` when that
    /// is the slowest already.
    pub fn broke_off(&mut self, set: Option<SpeedLimit>) -> Option<u32> {
        let before = self.percent();
        let set = set.map_or(u32::MAX, |set| set.percent);
        // What is not slower than the limit that is set makes no difference.
        while self.broke_off < STEPS.len() {
            self.broke_off += 1;
            if self.percent().is_some_and(|percent| percent < set) {
                break;
            }
        }
        self.percent().filter(|percent| Some(*percent) != before && *percent < set)
    }

    /// The limit to read with, when `set` is what the operator set.
    pub fn limit(&self, set: Option<SpeedLimit>) -> Option<SpeedLimit> {
        match (set, self.percent()) {
            (set, None) => set,
            (None, Some(percent)) => Some(SpeedLimit { percent, bits_per_second: 0 }),
            (Some(set), Some(percent)) => Some(SpeedLimit { percent: set.percent.min(percent), ..set }),
        }
    }

    fn percent(&self) -> Option<u32> {
        STEPS.get(self.broke_off.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: fn(u32) -> SpeedLimit = |percent| SpeedLimit { percent, bits_per_second: 8 };

    #[test]
    fn a_camera_that_breaks_off_is_read_slower_down_to_the_speed_at_which_it_plays() {
        let mut bearing = Bearing::default();
        assert_eq!((bearing.limit(None), bearing.limit(Some(LIMIT(900)))), (None, Some(LIMIT(900))));
        let learnt: Vec<_> = (0..5).map(|_| bearing.broke_off(None)).collect();
        assert_eq!(learnt, [Some(400), Some(200), Some(100), None, None]);
        assert_eq!(bearing.limit(None), Some(SpeedLimit { percent: 100, bits_per_second: 0 }));
        assert_eq!(bearing.limit(Some(LIMIT(900))), Some(LIMIT(100)));
        assert_eq!(bearing.limit(Some(LIMIT(0))), Some(LIMIT(0)), "what is stopped stays so");
    }

    #[test]
    fn what_is_not_slower_than_the_limit_that_is_set_is_not_tried() {
        let mut bearing = Bearing::default();
        assert_eq!(bearing.broke_off(Some(LIMIT(300))), Some(200));
        assert_eq!(bearing.broke_off(Some(LIMIT(300))), Some(100));
        assert_eq!(Bearing::default().broke_off(Some(LIMIT(50))), None);
    }
}
