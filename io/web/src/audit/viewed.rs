//! Which views are on record already: one entry an hour says that somebody watches, a thousand say no more. Pure.

use std::collections::BTreeSet;

use keepwatch_model::{CameraId, TICKS_PER_SECOND, WallTime};

use super::Action;

/// Views remembered; beyond it some are entered twice in an hour.
const VIEWS_MAX: usize = 8192;

/// Users, cameras and actions of the present hour.
#[derive(Debug, Default)]
pub(super) struct Viewed {
    hour: i64,
    /// The change of the log's state up to which they were forgotten.
    turn: u64,
    views: BTreeSet<(String, Action, CameraId)>,
}

impl Viewed {
    /// Forgets what was noted before the log failed or worked again for the `turn`-th time: it may not be on record.
    pub(super) fn forget_before(&mut self, turn: u64) {
        if turn != self.turn {
            self.turn = turn;
            self.views.clear();
        }
    }

    /// Whether this is the first such view in the hour of `at`; the next one is not.
    pub(super) fn is_first(&mut self, user: &str, action: Action, camera: CameraId, at: WallTime) -> bool {
        let hour = at.ticks().div_euclid(3600 * TICKS_PER_SECOND);
        if hour != self.hour || self.views.len() >= VIEWS_MAX {
            self.hour = hour;
            self.views.clear();
        }
        self.views.insert((user.to_owned(), action, camera))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_counts_once_an_hour() {
        let mut viewed = Viewed::default();
        let at = |seconds: i64| WallTime::from_ticks(seconds * TICKS_PER_SECOND);
        let (gate, yard) = ("gate".parse().unwrap(), "yard".parse().unwrap());
        assert!(viewed.is_first("a", Action::LiveViewed, gate, at(0)));
        assert!(!viewed.is_first("a", Action::LiveViewed, gate, at(3599)));
        assert!(viewed.is_first("b", Action::LiveViewed, gate, at(3599)));
        assert!(viewed.is_first("a", Action::PlaybackViewed, gate, at(3599)));
        assert!(viewed.is_first("a", Action::LiveViewed, yard, at(3599)));
        assert!(viewed.is_first("a", Action::LiveViewed, gate, at(3600)));
        viewed.forget_before(1);
        assert!(viewed.is_first("a", Action::LiveViewed, gate, at(3600)));
        viewed.forget_before(1);
        assert!(!viewed.is_first("a", Action::LiveViewed, gate, at(3600)));
        for number in 0..2 * VIEWS_MAX {
            viewed.is_first(&format!("user{number}"), Action::LiveViewed, gate, at(3600));
        }
        assert!(viewed.views.len() <= VIEWS_MAX);
    }
}
