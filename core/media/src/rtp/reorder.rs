//! Brings datagrams back into order: what comes out has rising sequence numbers, and what was lost shows as a gap.
//!
//! A packet that comes in order is passed through without a copy. One that comes early waits for those before it:
//! not longer than a given time, and not more of them than there are slots. One that comes when its turn has passed
//! is dropped. Time is passed in; slots are reused, so that nothing is allocated for each packet.

use std::time::Duration;

use keepwatch_model::MonoTime;

use super::{DROPOUT_MAX, HEADER_BYTES};

/// Most packets that wait: at 8 Mbit/s a fifth of a second, which no network reorders by.
pub const REORDER_PACKETS_MAX: u16 = 128;

/// How far back a number may lie to be a late packet or a duplicate: as far as those that wait may lie ahead. From
/// further back, the sender began anew.
const LATE_MAX: u16 = REORDER_PACKETS_MAX;

/// What became of the packets that did not come in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReorderCounters {
    /// Came early and waited.
    pub waited: u64,
    /// Came when later ones had been passed on, or came twice, and were dropped.
    pub late: u64,
    /// Stood in no relation to the others, and were dropped.
    pub stray: u64,
}

/// The packets of one source, on their way into order.
#[derive(Debug)]
pub struct ReorderBuffer {
    /// How long a packet waits for those before it.
    hold: Duration,
    /// The number that is passed on next; `None` before the first packet.
    expected: Option<u16>,
    /// A packet waits in the slot of its number modulo their count; none are there until one is needed.
    slots: Vec<Slot>,
    /// How many slots are taken.
    waiting: u16,
    /// A packet far from all others: the sender began anew if the one after it comes next.
    stray: Slot,
    counters: ReorderCounters,
}

/// A packet that waits.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// `None` when the slot is free.
    arrived: Option<MonoTime>,
    packet: Vec<u8>,
}

impl Slot {
    fn put(&mut self, now: MonoTime, packet: &[u8]) {
        self.arrived = Some(now);
        self.packet.clear();
        self.packet.extend_from_slice(packet);
    }
}

impl ReorderBuffer {
    /// A buffer in which no packet waits longer than `hold` for those before it.
    pub const fn new(hold: Duration) -> Self {
        Self {
            hold,
            expected: None,
            slots: Vec::new(),
            waiting: 0,
            stray: Slot { arrived: None, packet: Vec::new() },
            counters: ReorderCounters { waited: 0, late: 0, stray: 0 },
        }
    }

    /// What became of the packets that did not come in order.
    pub const fn counters(&self) -> ReorderCounters {
        self.counters
    }

    /// When [`release`](Self::release) has something to pass on, if nothing comes until then.
    pub fn deadline(&self) -> Option<MonoTime> {
        let (_, arrived) = self.first_waiting()?;
        Some(arrived + self.hold)
    }

    /// Takes a datagram that came at `now`; all that are then in order go to `sink`.
    ///
    /// What is not RTP is passed on as it is, to be counted where it is parsed.
    pub fn push(&mut self, now: MonoTime, packet: &[u8], sink: &mut impl FnMut(&[u8])) {
        let Some(sequence) = sequence_of(packet) else { return sink(packet) };
        let Some(mut expected) = self.expected else { return self.pass(sequence, packet, sink) };
        // Before a packet is refused its place, those that wait are no longer made to.
        while self.waiting > 0 && in_reach_of_loss(sequence, expected) {
            self.skip_loss(sink);
            expected = self.expected.unwrap_or(sequence);
        }
        let ahead = sequence.wrapping_sub(expected);
        let behind = expected.wrapping_sub(sequence);
        if ahead == 0 {
            self.pass(sequence, packet, sink);
        } else if ahead < REORDER_PACKETS_MAX {
            self.wait(now, sequence, packet);
        } else if ahead <= DROPOUT_MAX {
            // More was lost than could be waited for.
            self.pass(sequence, packet, sink);
        } else if behind <= LATE_MAX {
            self.counters.late = self.counters.late.saturating_add(1);
        } else {
            self.take_stray(now, sequence, packet, sink);
        }
    }

    /// Gives up what waited long enough at `now` for those before it. To be called when all that had arrived by then
    /// was pushed.
    pub fn release(&mut self, now: MonoTime, sink: &mut impl FnMut(&[u8])) {
        while self.first_waiting().is_some_and(|(_, arrived)| now.since(arrived) >= self.hold) {
            self.skip_loss(sink);
        }
    }

    /// Passes on all that waits: nothing more will come.
    pub fn flush(&mut self, sink: &mut impl FnMut(&[u8])) {
        while self.waiting > 0 {
            self.skip_loss(sink);
        }
    }

    /// Passes a packet on, and all that wait for it.
    fn pass(&mut self, sequence: u16, packet: &[u8], sink: &mut impl FnMut(&[u8])) {
        sink(packet);
        self.stray.arrived = None;
        self.go_on(sequence.wrapping_add(1), sink);
    }

    /// Passes on what waits from `expected` on without a gap.
    fn go_on(&mut self, mut expected: u16, sink: &mut impl FnMut(&[u8])) {
        while self.waiting > 0 {
            let Some(slot) = self.slots.get_mut(index(expected)).filter(|slot| slot.arrived.is_some()) else {
                break;
            };
            slot.arrived = None;
            self.waiting = self.waiting.saturating_sub(1);
            sink(&slot.packet);
            expected = expected.wrapping_add(1);
        }
        self.expected = Some(expected);
    }

    fn wait(&mut self, now: MonoTime, sequence: u16, packet: &[u8]) {
        if self.slots.is_empty() {
            self.slots.resize(usize::from(REORDER_PACKETS_MAX), Slot::default());
        }
        let Some(slot) = self.slots.get_mut(index(sequence)) else { return };
        if slot.arrived.is_some() {
            self.counters.late = self.counters.late.saturating_add(1);
            return;
        }
        slot.put(now, packet);
        self.waiting = self.waiting.saturating_add(1);
        self.counters.waited = self.counters.waited.saturating_add(1);
    }

    /// Calls what is missing lost, up to the first packet that waits.
    fn skip_loss(&mut self, sink: &mut impl FnMut(&[u8])) {
        match self.first_waiting() {
            Some((sequence, _)) => self.go_on(sequence, sink),
            None => self.waiting = 0,
        }
    }

    /// The first packet that waits, and since when.
    fn first_waiting(&self) -> Option<(u16, MonoTime)> {
        let expected = self.expected.filter(|_| self.waiting > 0)?;
        (0..REORDER_PACKETS_MAX).find_map(|ahead| {
            let sequence = expected.wrapping_add(ahead);
            let arrived = self.slots.get(index(sequence))?.arrived?;
            Some((sequence, arrived))
        })
    }

    /// A packet far from all others. RFC 3550 appendix A.1: two that follow each other are a sender that began anew.
    fn take_stray(&mut self, now: MonoTime, sequence: u16, packet: &[u8], sink: &mut impl FnMut(&[u8])) {
        let before = self.stray.arrived.and_then(|_| sequence_of(&self.stray.packet));
        if before.is_some_and(|before| before.wrapping_add(1) == sequence) {
            self.flush(sink);
            sink(&self.stray.packet);
            self.pass(sequence, packet, sink);
        } else {
            if before.is_some() {
                self.counters.stray = self.counters.stray.saturating_add(1);
            }
            self.stray.put(now, packet);
        }
    }
}

/// Whether `sequence` lies ahead, further than the slots reach, and not so far that the sender began anew.
const fn in_reach_of_loss(sequence: u16, expected: u16) -> bool {
    let ahead = sequence.wrapping_sub(expected);
    ahead >= REORDER_PACKETS_MAX && ahead <= DROPOUT_MAX
}

fn index(sequence: u16) -> usize {
    usize::from(sequence % REORDER_PACKETS_MAX)
}

/// The sequence number of an RTP packet; `None` when it is none.
fn sequence_of(packet: &[u8]) -> Option<u16> {
    match packet.first_chunk::<HEADER_BYTES>() {
        Some([flags, _, s0, s1, ..]) if flags >> 6 == 2 => Some(u16::from_be_bytes([*s0, *s1])),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests;
