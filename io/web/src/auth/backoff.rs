//! The brake on guessing: after some free attempts each failure doubles the wait, per address and per account.
//!
//! The table is bounded. When it is full, the entry with the fewest failures goes first, so that a flood of
//! invented names does not flush the account that is really under attack.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::MonoTime;

/// Entries kept; at some 100 bytes each this is less than half a MiB.
const ENTRIES_MAX: usize = 4096;

/// How long an entry is remembered after its last failure.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// How failures turn into waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Failures without a wait: people mistype.
    free: u32,
    /// The longest wait.
    wait_max: Duration,
}

impl Policy {
    /// For an address: guessing from one place is slowed to some 290 attempts a day.
    pub(super) const ADDRESS: Self = Self { free: 10, wait_max: Duration::from_secs(300) };
    /// For an account: shorter, because anybody can lock a user out this way.
    pub(super) const ACCOUNT: Self = Self { free: 5, wait_max: Duration::from_secs(30) };

    fn wait_after(self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            // 2^9 s is above every longest wait.
            Some(over) => Duration::from_secs(1 << over.min(9)).min(self.wait_max),
            None => Duration::ZERO,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: MonoTime,
    /// When the next attempt is possible.
    open: MonoTime,
}

/// Failures by key.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: Policy,
    entries: BTreeMap<String, Entry>,
}

impl Backoff {
    /// An empty table.
    pub(super) const fn new(policy: Policy) -> Self {
        Self { policy, entries: BTreeMap::new() }
    }

    /// How long `key` still has to wait; zero when it may try.
    pub(super) fn wait(&self, key: &str, now: MonoTime) -> Duration {
        self.entries.get(key).map_or(Duration::ZERO, |entry| entry.open.since(now))
    }

    /// Counts an attempt as failed.
    pub(super) fn failed(&mut self, key: &str, now: MonoTime) {
        if !self.entries.contains_key(key) && self.entries.len() >= ENTRIES_MAX {
            self.make_room(now);
        }
        let entry = self.entries.entry(key.to_owned()).or_insert(Entry { failures: 0, last: now, open: now });
        if now.since(entry.last) >= MEMORY {
            entry.failures = 0;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last = now;
        entry.open = now + self.policy.wait_after(entry.failures);
    }

    /// Takes back the last failure: the attempt succeeded after all.
    pub(super) fn forgive_one(&mut self, key: &str, now: MonoTime) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.failures = entry.failures.saturating_sub(1);
        entry.open = now;
        if entry.failures == 0 {
            self.entries.remove(key);
        }
    }

    /// Forgets `key`.
    pub(super) fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn make_room(&mut self, now: MonoTime) {
        self.entries.retain(|_, entry| now.since(entry.last) < MEMORY);
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let least = self.entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last));
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut table = Backoff::new(Policy { free: 2, wait_max: 5 * SECOND });
        let mut now = MonoTime::ZERO + SECOND;
        let mut waits = Vec::new();
        for _ in 0..6 {
            table.failed("a", now);
            let wait = table.wait("a", now);
            waits.push(wait.as_secs());
            now = now + wait;
            assert_eq!(table.wait("a", now), Duration::ZERO);
        }
        assert_eq!(waits, [0, 1, 2, 4, 5, 5]);
        assert_eq!(table.wait("b", now), Duration::ZERO);
    }

    #[test]
    fn failures_are_forgotten_and_forgiven() {
        let mut table = Backoff::new(Policy { free: 1, wait_max: 5 * SECOND });
        let start = MonoTime::ZERO + SECOND;
        table.failed("a", start);
        assert_eq!(table.wait("a", start), SECOND);
        table.forgive_one("a", start);
        assert_eq!(table.wait("a", start), Duration::ZERO);
        table.failed("a", start);
        table.failed("a", start);
        assert_eq!(table.wait("a", start + MEMORY), Duration::ZERO);
        table.failed("a", start + MEMORY);
        assert_eq!(table.wait("a", start + MEMORY), SECOND, "the old failures do not count any more");
    }

    #[test]
    fn a_flood_of_names_does_not_flush_the_account_under_attack() {
        let mut table = Backoff::new(Policy { free: 1, wait_max: 5 * SECOND });
        let now = MonoTime::ZERO + SECOND;
        for _ in 0..3 {
            table.failed("admin", now);
        }
        for number in 0..2 * ENTRIES_MAX {
            table.failed(&format!("user{number}"), now + SECOND);
        }
        assert!(table.entries.len() <= ENTRIES_MAX);
        assert!(table.wait("admin", now) > Duration::ZERO);
    }
}
