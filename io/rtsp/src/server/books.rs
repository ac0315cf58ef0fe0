//! What a server keeps in mind across its connections, so that strangers cannot take what clients need.
//!
//! Per address of a client: how many connections have not logged in, and which logins failed. An address is one of
//! IPv4, or a network of 64 bits of IPv6, which is what one household gets. For all of the server: its sessions and
//! its sockets for datagrams.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::tally::{Tally, Ticket};

/// Most connections of an address that have not logged in. A client that opens one for each of many cameras needs
/// them for the moment of a login only.
const STRANGERS_MAX: u32 = 64;

/// Most tracks that go out over UDP, at two sockets each: half as many sockets as there may be
/// connections.
const LINKS_MAX: u32 = 1024;

/// Failed logins that are kept in mind; at some 200 bytes each this is less than a MiB.
const FAILURES_MAX: usize = 4096;

/// Failed logins without a wait: people mistype, and clients try several forms of a login.
const FREE_FAILURES: u32 = 10;

/// The longest wait: 1440 guesses a day, and who corrects a password does not wait for long.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a failure is kept in mind.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Longest part of a user's name that tells him from others.
const USER_CHARS_MAX: usize = 64;

/// The books of one server; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Books(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    tally: Tally,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    strangers: BTreeMap<IpAddr, u32>,
    links: u32,
    failures: BTreeMap<(IpAddr, String), Failures>,
}

/// Logins of one user that failed from one address.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next attempt is possible.
    open: Instant,
}

/// Counts a connection that has not logged in, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    books: Books,
    address: IpAddr,
}

/// Counts the sockets of one track, until it is dropped.
#[derive(Debug)]
pub(super) struct LinkTicket(Books);

impl Books {
    /// Counts a session of `path`; returns how many there are, this one included.
    pub(super) fn enter(&self, path: &str) -> (Ticket, u32) {
        self.0.tally.enter(path)
    }

    /// Counts a connection from `address`; `None` when as many as may are waiting to log in from there.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Stranger> {
        let address = household(address);
        let mut counts = self.counts();
        let count = counts.strangers.entry(address).or_default();
        if *count >= STRANGERS_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Stranger { books: self.clone(), address })
    }

    /// Counts two more sockets; `None` when there are as many as there may be.
    pub(super) fn link(&self) -> Option<LinkTicket> {
        let mut counts = self.counts();
        if counts.links >= LINKS_MAX {
            return None;
        }
        counts.links = counts.links.saturating_add(1);
        Some(LinkTicket(self.clone()))
    }

    /// How long `user` at `address` still has to wait before another login; zero when he may try.
    pub(super) fn wait(&self, address: IpAddr, user: &str, now: Instant) -> Duration {
        let counts = self.counts();
        let failures = counts.failures.get(&key(address, user));
        failures.map_or(Duration::ZERO, |failures| failures.open.saturating_duration_since(now))
    }

    /// Takes note of a wrong password: after some free attempts each doubles the wait.
    pub(super) fn failed(&self, address: IpAddr, user: &str, now: Instant) {
        let mut counts = self.counts();
        let key = key(address, user);
        if counts.failures.len() >= FAILURES_MAX && !counts.failures.contains_key(&key) {
            counts.make_room(now);
        }
        let failures = counts.failures.entry(key).or_insert(Failures { count: 0, last: now, open: now });
        if now.saturating_duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.open = now + wait_after(failures.count);
    }

    /// Takes note of a right one.
    pub(super) fn succeeded(&self, address: IpAddr, user: &str) {
        self.counts().failures.remove(&key(address, user));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot fail half-way, so a poisoned count is still right.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Forgets what is old, or else the least: a flood of invented names must not flush the user who is attacked.
    fn make_room(&mut self, now: Instant) {
        self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) < MEMORY);
        if self.failures.len() < FAILURES_MAX {
            return;
        }
        let least = self.failures.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.failures.remove(&key);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.books.counts();
        if let Some(count) = counts.strangers.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.strangers.remove(&self.address);
            }
        }
    }
}

impl Drop for LinkTicket {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.links = counts.links.saturating_sub(1);
    }
}

fn wait_after(failures: u32) -> Duration {
    failures.checked_sub(FREE_FAILURES).map_or(Duration::ZERO, |over| {
        // 2^6 s is above the longest wait.
        Duration::from_secs(1 << over.min(6)).min(WAIT_MAX)
    })
}

fn key(address: IpAddr, user: &str) -> (IpAddr, String) {
    (household(address), user.chars().take(USER_CHARS_MAX).collect())
}

/// The address that stands for all that its owner can take on.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn strangers_are_bounded_for_each_address_and_leave_room_when_they_go() {
        let books = Books::default();
        let mut strangers: Vec<_> = (0..STRANGERS_MAX).map(|_| books.admit(HOME).unwrap()).collect();
        assert!(books.admit(HOME).is_none());
        assert!(books.admit("::ffff:10.0.0.1".parse().unwrap()).is_none(), "it is the same address");
        assert!(books.admit("10.0.0.2".parse().unwrap()).is_some());
        strangers.pop();
        assert!(books.admit(HOME).is_some());
        drop(strangers);
        assert!(books.counts().strangers.is_empty());
        // All of one network of 64 bits are one.
        let held: Vec<_> = (0..STRANGERS_MAX)
            .filter_map(|number| books.admit(format!("2001:db8::{number:x}").parse().unwrap()))
            .collect();
        assert_eq!(held.len(), 64);
        assert!(books.admit("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(books.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn sockets_are_bounded_and_come_back() {
        let books = Books::default();
        let links: Vec<_> = (0..LINKS_MAX).map(|_| books.link().unwrap()).collect();
        assert!(books.link().is_none());
        drop(links);
        assert!(books.link().is_some());
    }

    #[test]
    fn wrong_passwords_make_one_user_at_one_address_wait_up_to_a_minute() {
        let books = Books::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..FREE_FAILURES + 8 {
            books.failed(HOME, "admin", now);
            let wait = books.wait(HOME, "admin", now);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        books.failed(HOME, "admin", now);
        assert_eq!(books.wait(HOME, "guest", now), Duration::ZERO);
        assert_eq!(books.wait("10.0.0.2".parse().unwrap(), "admin", now), Duration::ZERO);
        assert_eq!(books.wait(HOME, "admin", now), 60 * SECOND);
        books.succeeded(HOME, "admin");
        assert_eq!(books.wait(HOME, "admin", now), Duration::ZERO);
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_does_not_flush_the_user_under_attack() {
        let books = Books::default();
        let now = Instant::now();
        for _ in 0..=FREE_FAILURES {
            books.failed(HOME, "admin", now);
        }
        for number in 0..FAILURES_MAX * 2 {
            books.failed(HOME, &format!("user{number}"), now + SECOND);
        }
        assert_eq!(books.counts().failures.len(), FAILURES_MAX);
        assert!(books.wait(HOME, "admin", now) > Duration::ZERO);
    }
}
