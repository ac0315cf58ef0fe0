//! The account behind a failover: what the primary had not recorded by its own books, and what of it is still missing once it
//! fetches what was recorded in its place. Asked until nothing is missing or a day is over, and written into the report.

use std::collections::VecDeque;
use std::time::Duration;

use keepwatch_model::{MonoTime, RoleId, Span, TICKS_PER_SECOND, ticks_from_duration};
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
/// Between questions about two failovers of one primary: each takes the answer of the one before.
const BETWEEN: Duration = Duration::from_secs(3);
/// What is missing after so long is missing.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);

/// Failovers of a primary whose accounts are open at a time; the oldest goes when there are more. One is asked after another, so
/// that a primary which fails often is not asked more often than this in each round.
pub(crate) const ACCOUNTS_MAX: usize = 8;
/// The longest time that a primary says of what it lacks: of a longer failover, the last part of it.
const WINDOW_TICKS_MAX: i64 = 31 * 86_400 * TICKS_PER_SECOND;

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
        self.primaries.values().flat_map(|primary| &primary.accounts).map(|account| account.ask_at).min()
    }

    /// Asks primaries whose accounts are open.
    pub(super) fn look_at_accounts(&mut self, now: MonoTime) {
        let back = buffer_time(&self.machine.setup());
        for view in self.machine.monitoring() {
            let Some(primary) = self.primaries.get_mut(&view.role) else { continue };
            primary.accounts.retain(|account| account.until > now);
            let Some(account) = turn(&mut primary.accounts, now) else { continue };
            // One that does not answer has a later turn.
            if let Some(window) = window(&account.report, back)
                && view.health.answers()
            {
                account.asked = account.asked.saturating_add(1);
                primary.wire.account(account.report.number, window);
            }
        }
    }

    /// A failover ended: what of it is missing is asked from here on.
    pub(super) fn open_account(accounts: &mut VecDeque<Account>, report: Report, now: MonoTime) {
        accounts.push_front(Account::open(report, now));
        accounts.truncate(ACCOUNTS_MAX);
    }

    /// The books of a primary say what it lacks of a failover.
    pub(super) fn accounted(&mut self, role: RoleId, number: u64, result: Result<Missing, String>) {
        let wall = self.tools.clock.wall();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let of = |account: &Account| account.report.number == number;
        let Some(account) = primary.accounts.iter_mut().find(|account| of(account)) else { return };
        match result {
            Ok(missing) => {
                let settled = account.report.account(wall, &missing);
                self.writing.report(&account.report);
                if settled {
                    primary.accounts.retain(|account| !of(account));
                }
            }
            Err(why) => tracing::debug!(why, number, "the books of a primary do not say what is missing"),
        }
    }
}

/// The account that a primary is asked about at `now`: the one that was asked about least, and of these the one that waits longest. The
/// others that are due wait for its answer.
fn turn(accounts: &mut VecDeque<Account>, now: MonoTime) -> Option<&mut Account> {
    let due = accounts.iter().enumerate().filter(|(_, account)| account.ask_at <= now);
    let (next, _) = due.min_by_key(|(_, account)| (account.asked, account.ask_at))?;
    for account in accounts.iter_mut().filter(|account| account.ask_at <= now) {
        account.ask_at = now + BETWEEN;
    }
    let account = accounts.get_mut(next)?;
    account.ask_at = now + if account.asked < SOON_MAX { SOON } else { LATER };
    Some(account)
}

/// What of a failover its primary is asked about: from before it was noticed, by `back`, until it ended.
fn window(report: &Report, back: Duration) -> Option<Span> {
    let ended = report.ended?;
    let begun = report.detected.map_or(report.decided, |detected| detected.min(report.decided));
    let from = begun.plus(-ticks_from_duration(back)).max(ended.plus(-WINDOW_TICKS_MAX));
    Span::new(from, ended)
}

#[cfg(test)]
mod tests {
    use keepwatch_model::WallTime;

    use super::*;

    const DAY: i64 = 86_400 * TICKS_PER_SECOND;

    fn report(decided: i64, ended: i64) -> Report {
        let text = format!(
            r#"{{"number": 1, "role": "{}", "name": "north", "detected": null, "decided": "{}", "cause": "operator",
                "ended": "{}", "why": "stopped", "cameras": {{}}}}"#,
            RoleId([1; 16]),
            WallTime::from_ticks(decided),
            WallTime::from_ticks(ended),
        );
        Report::read(&text).expect("it is one")
    }

    #[test]
    fn what_lasted_longer_than_a_primary_is_asked_about_is_asked_about_at_its_end() {
        let back = Duration::from_secs(10);
        let short = window(&report(DAY, 2 * DAY), back).unwrap();
        assert_eq!((short.from.ticks(), short.to.ticks()), (DAY - 10 * TICKS_PER_SECOND, 2 * DAY));
        let long = window(&report(DAY, 40 * DAY), back).unwrap();
        assert_eq!((long.from.ticks(), long.to.ticks()), (9 * DAY, 40 * DAY));
    }

    #[test]
    fn a_failover_does_not_close_the_account_of_the_one_before() {
        let mut accounts = VecDeque::new();
        for number in 1..=10 {
            let report = Report { number, ..report(DAY, 2 * DAY) };
            Driver::open_account(&mut accounts, report, MonoTime::ZERO);
        }
        let numbers: Vec<u64> = accounts.iter().map(|account| account.report.number).collect();
        assert_eq!(numbers, [10, 9, 8, 7, 6, 5, 4, 3]);
    }
    #[test]
    fn all_open_accounts_of_a_primary_are_asked_about_in_turn() {
        let mut accounts = VecDeque::new();
        for number in 1..=3 {
            Driver::open_account(&mut accounts, Report { number, ..report(DAY, 2 * DAY) }, MonoTime::ZERO);
        }
        let (mut now, mut asked) = (MonoTime::ZERO, Vec::new());
        for _ in 0..120 {
            now = now + Duration::from_secs(1);
            if let Some(account) = turn(&mut accounts, now) {
                account.asked += 1;
                asked.push((account.report.number, now));
            }
        }
        for number in 1..=3 {
            let times = asked.iter().filter(|(of, _)| *of == number).count();
            assert!((5..=8).contains(&times), "report {number} was asked about {times} times in two minutes");
        }
        assert!(asked.windows(2).all(|two| two[1].1.since(two[0].1) >= BETWEEN), "{asked:?}");
    }
}
