use proptest::prelude::*;

use super::*;

const HOLD: Duration = Duration::from_millis(100);

fn packet(sequence: u16) -> Vec<u8> {
    let [s0, s1] = sequence.to_be_bytes();
    vec![0x80, 96, s0, s1, 0, 0, 0, 0, 0, 0, 0, 1, s1]
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_nanos(millis * 1_000_000)
}

/// A buffer and what came out of it.
struct Bench {
    buffer: ReorderBuffer,
    out: Vec<u16>,
}

impl Bench {
    fn new() -> Self {
        Self { buffer: ReorderBuffer::new(HOLD), out: vec![] }
    }

    fn push(&mut self, millis: u64, sequence: u16) {
        let out = &mut self.out;
        self.buffer.push(at(millis), &packet(sequence), &mut |packet| out.push(sequence_of(packet).unwrap()));
    }

    fn release(&mut self, millis: u64) {
        let out = &mut self.out;
        self.buffer.release(at(millis), &mut |packet| out.push(sequence_of(packet).unwrap()));
    }
}

#[test]
fn packets_in_order_pass_at_once_and_early_ones_wait_for_their_turn() {
    let mut bench = Bench::new();
    for sequence in [65_534, 65_535, 1, 2, 0, 3] {
        bench.push(0, sequence);
    }
    assert_eq!(bench.out, [65_534, 65_535, 0, 1, 2, 3]);
    assert_eq!(bench.buffer.counters(), ReorderCounters { waited: 2, late: 0, stray: 0 });
    assert_eq!(bench.buffer.deadline(), None);
}

#[test]
fn what_is_lost_is_waited_for_as_long_as_allowed_and_no_longer() {
    let mut bench = Bench::new();
    for (millis, sequence) in [(0, 1), (10, 3), (20, 6), (25, 3)] {
        bench.push(millis, sequence);
    }
    assert_eq!(bench.buffer.deadline(), Some(at(110)));
    bench.release(109);
    assert_eq!(bench.out, [1]);
    bench.release(110);
    assert_eq!(bench.out, [1, 3]);
    bench.push(111, 2);
    bench.release(120);
    assert_eq!(bench.out, [1, 3, 6]);
    assert_eq!(bench.buffer.counters(), ReorderCounters { waited: 2, late: 2, stray: 0 });
}

#[test]
fn a_loss_of_any_length_costs_nothing_but_what_was_lost() {
    for lost in [1, 127, 128, 129, 1000, 2999] {
        let mut bench = Bench::new();
        bench.push(0, 65_000);
        for sequence in 0..300u16 {
            bench.push(0, 65_001u16.wrapping_add(lost).wrapping_add(sequence));
        }
        bench.release(100);
        let expected: Vec<_> = (0..300u16).map(|n| 65_001u16.wrapping_add(lost).wrapping_add(n)).collect();
        assert_eq!(bench.out[0], 65_000);
        assert_eq!(bench.out[1..], expected, "{lost}");
    }
}

#[test]
fn a_sender_that_begins_anew_loses_nothing_and_a_stray_packet_moves_nothing() {
    let mut bench = Bench::new();
    for sequence in [100, 101, 40_000, 102, 103, 7_000, 7_001, 7_002] {
        bench.push(0, sequence);
    }
    assert_eq!(bench.out, [100, 101, 102, 103, 7_000, 7_001, 7_002]);
}

#[test]
fn what_is_not_rtp_is_passed_on_to_be_counted() {
    let mut buffer = ReorderBuffer::new(HOLD);
    let mut out = vec![];
    for junk in [&b""[..], b"\x80", &[0; 40]] {
        buffer.push(at(0), junk, &mut |packet| out.push(packet.to_vec()));
    }
    assert_eq!(out.len(), 3);
}

proptest! {
    /// Any network that delays each packet by a bounded number of places and repeats some of them.
    #[test]
    fn a_shuffled_stream_comes_out_as_it_was_sent(
        start: u16,
        places in prop::collection::vec((0usize..60, any::<bool>(), prop::bool::weighted(0.1)), 2..400),
    ) {
        let mut sent: Vec<(usize, u16)> = vec![];
        let mut kept = vec![];
        for (number, (delay, repeated, lost)) in places.iter().enumerate() {
            // The first packet says where the stream begins.
            let (delay, lost) = if number == 0 { (0, false) } else { (delay + 1, *lost) };
            let sequence = start.wrapping_add(u16::try_from(number).unwrap());
            if !lost {
                sent.push((number + delay, sequence));
                kept.push(sequence);
                if *repeated && number > 0 {
                    sent.push((number + delay + 3, sequence));
                }
            }
        }
        sent.sort_by_key(|(place, _)| *place);
        let mut bench = Bench::new();
        for (_, sequence) in sent {
            bench.push(0, sequence);
        }
        bench.release(100);
        prop_assert_eq!(bench.out, kept);
    }

    #[test]
    fn no_series_of_numbers_panics_or_comes_out_more_often_than_it_went_in(
        numbers in prop::collection::vec(any::<u16>(), 0..400), step in 0u64..50,
    ) {
        let mut bench = Bench::new();
        for (number, sequence) in numbers.iter().enumerate() {
            bench.push(number as u64 * step, *sequence);
            bench.release(number as u64 * step);
        }
        let out = &mut bench.out;
        bench.buffer.flush(&mut |packet| out.push(sequence_of(packet).unwrap()));
        prop_assert!(bench.out.len() <= numbers.len());
        prop_assert_eq!(bench.buffer.deadline(), None);
    }
}
