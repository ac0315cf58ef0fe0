//! Bounds on what answers a scan reads: anybody can send them.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Datagrams that are read in one scan: 4096 devices that answer every probe.
const DATAGRAMS_MAX: u64 = 50_000;
/// Bytes that are read in one scan; an answer has two thousand.
const BYTES_MAX: u64 = 64 << 20;
/// Datagrams of one sender: nine probes are answered, by each of the devices that share an address, such as virtual ones.
const DATAGRAMS_OF_SENDER_MAX: u64 = 2048;
/// Bytes of one sender: the same answers, of two thousand bytes each.
const BYTES_OF_SENDER_MAX: u64 = 4 << 20;
/// Senders that are told apart.
const SENDERS_MAX: usize = 8192;

/// What came in during a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams in all.
    pub datagrams: u64,
    /// Those that were read and told of devices.
    pub answers: u64,
    /// Those that are no message of WS-Discovery.
    pub malformed: u64,
    /// Those that answer no probe of this scan.
    pub unrelated: u64,
    /// Those that were not read, for their sender or all senders together sent too much.
    pub refused: u64,
}

/// Counts datagrams and decides which are read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// What was read of all senders together. What was refused does not count: one that floods would silence the others.
    read: Volume,
    senders: BTreeMap<IpAddr, Volume>,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    datagrams: u64,
    bytes: u64,
}

impl Volume {
    fn with(self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self { datagrams: self.datagrams.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    const fn is_within(&self, datagrams: u64, bytes: u64) -> bool {
        self.datagrams <= datagrams && self.bytes <= bytes
    }
}

impl Tally {
    /// Whether a datagram is read.
    pub(super) fn admits(&mut self, sender: IpAddr, bytes: usize) -> bool {
        self.counts.datagrams = self.counts.datagrams.saturating_add(1);
        let known = self.senders.get(&sender).copied();
        let (all, own) = (self.read.with(bytes), known.unwrap_or_default().with(bytes));
        let admitted = all.is_within(DATAGRAMS_MAX, BYTES_MAX)
            && own.is_within(DATAGRAMS_OF_SENDER_MAX, BYTES_OF_SENDER_MAX)
            && (known.is_some() || self.senders.len() < SENDERS_MAX);
        if admitted {
            self.read = all;
            self.senders.insert(sender, own);
        } else {
            self.counts.refused = self.counts.refused.saturating_add(1);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_floods_is_cut_and_others_are_heard() {
        let mut tally = Tally::default();
        let (flood, quiet) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let admitted = (0..3000).filter(|_| tally.admits(flood, 100)).count();
        assert_eq!(admitted, 2048);
        assert!(tally.admits(quiet, 100));
        assert_eq!(tally.counts.refused, 952);
    }

    #[test]
    fn a_flood_of_one_sender_takes_nothing_of_what_others_may_send() {
        for bytes in [100, 65_507] {
            let mut tally = Tally::default();
            for _ in 0..2 * DATAGRAMS_MAX {
                tally.admits([10, 0, 0, 1].into(), bytes);
            }
            assert!(tally.admits([10, 0, 0, 2].into(), 2000), "silenced by datagrams of {bytes} bytes");
        }
    }

    #[test]
    fn all_senders_together_are_bounded() {
        let mut tally = Tally::default();
        let admitted =
            (0..100_000_u32).filter(|sender| tally.admits(IpAddr::V4((*sender).into()), 2000)).count();
        assert_eq!(admitted, SENDERS_MAX);
        let mut tally = Tally::default();
        assert!(
            (0..2000_u32).filter(|sender| tally.admits(IpAddr::V4((*sender).into()), 65_507)).count() < 1025
        );
    }
}
