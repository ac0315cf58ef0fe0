//! The account behind a failover: what the primary had not recorded by its own books, and what of it is still missing once it
//! fetches what was recorded in its place. Asked until nothing is missing or a day is over, and written into the report.

use std::time::Duration;

use keepwatch_model::{MonoTime, RoleId, Span, ticks_from_duration};
use keepwatch_recording::peer::Missing;

use super::Driver;
use super::primary::buffer_time;
use crate::report::Report;

/// When the books are first asked: the last second is on the primary's disk by then.
const FIRST_AFTER: Duration = Duration::from_secs(3);
/// How often they are asked, while footage is fetched at its usual pace.
const SOON: Duration = Duration::from_secs(15);
/// How many times that is.
const SOON_MAX: u32 = 40;
/// And later.
const LATER: Duration = Duration::from_secs(600);
/// What is missing after so long is missing.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);

/// The report of a failover that ended, and whose account is open.
#[derive(Debug)]
pub(super) struct Account {
    report: Report,
    /// When the primary's books are asked next.
    ask_at: MonoTime,
    /// When they are asked no more.
    until: MonoTime,
    asked: u32,
}

impl Account {
    /// The account of a failover that has just ended, or whose account was open before a restart.
    pub(super) fn open(report: Report, now: MonoTime) -> Self {
        Self { report, ask_at: now + FIRST_AFTER, until: now + GIVEN_UP_AFTER, asked: 0 }
    }
}

impl Driver {
    /// When the next account is to be looked at.
    pub(super) fn account_deadline(&self) -> Option<MonoTime> {
        self.primaries.values().filter_map(|primary| Some(primary.account.as_ref()?.ask_at)).min()
    }

    /// Asks primaries whose accounts are open.
    pub(super) fn look_at_accounts(&mut self, now: MonoTime) {
        let back = buffer_time(&self.machine.setup());
        for view in self.machine.monitoring() {
            let Some(primary) = self.primaries.get_mut(&view.role) else { continue };
            let Some(account) = primary.account.as_mut().filter(|account| account.ask_at <= now) else {
                continue;
            };
            if account.until <= now {
                primary.account = None;
                continue;
            }
            account.ask_at = now + if account.asked < SOON_MAX { SOON } else { LATER };
            let Report { number, detected, decided, ended, .. } = &account.report;
            let begun = detected.map_or(*decided, |detected| detected.min(*decided));
            let window = ended.and_then(|ended| Span::new(begun.plus(-ticks_from_duration(back)), ended));
            match window {
                // One that does not answer has a later turn.
                Some(window) if view.health.answers() => {
                    account.asked = account.asked.saturating_add(1);
                    primary.wire.account(*number, window);
                }
                Some(_) => {}
                None => primary.account = None,
            }
        }
    }

    /// The books of a primary say what it lacks of a failover.
    pub(super) fn accounted(&mut self, role: RoleId, number: u64, result: Result<Missing, String>) {
        let wall = self.tools.clock.wall();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(account) = primary.account.as_mut().filter(|account| account.report.number == number) else {
            return;
        };
        match result {
            Ok(missing) => {
                let settled = account.report.account(wall, &missing);
                self.writing.report(&account.report);
                if settled {
                    primary.account = None;
                }
            }
            Err(why) => tracing::debug!(why, number, "the books of a primary do not say what is missing"),
        }
    }
}
