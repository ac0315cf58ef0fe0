//! Tells the machine whose schedules ask for no recording: a camera that gives no footage at night is not one that fails.

use std::time::Duration;

use keepwatch_model::MonoTime;
use keepwatch_recording::failover::Event;

use super::Driver;

/// How often is looked: schedules are written in minutes, and a camera has longer than this to begin.
const INTERVAL: Duration = Duration::from_secs(5);

impl Driver {
    /// Looks at the schedules of all cameras that may have to be recorded.
    pub(super) fn look_at_schedules(&mut self, now: MonoTime) {
        self.schedules_at = now + INTERVAL;
        let wall = self.tools.clock.wall();
        let mut news = Vec::new();
        for (role, primary) in &mut self.primaries {
            let closed = primary.closed(wall);
            if closed != primary.unscheduled {
                primary.unscheduled.clone_from(&closed);
                news.push(Event::Unscheduled { role: *role, cameras: closed });
            }
        }
        for event in news {
            self.tell(now, event);
        }
    }
}
