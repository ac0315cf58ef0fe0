//! Chooses the smallest subframe for a block of one channel, and writes it (RFC 9639 §9.2).
//!
//! Constant, verbatim, or a fixed predictor of order 0 to 4 with Rice-coded residuals in up to 64 partitions. Bits
//! are counted exactly, so that the length of a frame is known without writing it. Linear prediction is left out:
//! on 8 kHz telephone audio it gains a few per cent and would need floating point.

use super::SAMPLE_BITS;
use super::bits::BitWriter;
use super::subframe_header_bits;

/// Highest order of the fixed predictors.
const ORDER_MAX: usize = 4;

/// Most partitions, as a power of two; finer ones cost more for their parameters than they save at 4,096 samples.
const PARTITION_ORDER_MAX: u32 = 6;

const PARTITIONS_MAX: usize = 1 << PARTITION_ORDER_MAX;

/// Rice parameters 0 to 14 fit the four-bit coding; 15 is its escape (RFC 9639 §9.2.7).
const PARAMETERS: usize = 15;

/// What is written of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subframe {
    content: Content,
    /// Low bits that are zero in all samples and not written.
    zero_bits: u32,
    bits: u64,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Constant,
    Verbatim,
    Fixed { order: usize, partition_order: u32, parameters: [u8; PARTITIONS_MAX] },
}

impl Subframe {
    /// All samples as they are, less `zero_bits` low bits.
    pub(super) const fn verbatim(zero_bits: u32) -> Self {
        Self { content: Content::Verbatim, zero_bits, bits: 0 }
    }

    /// Its bits, when it was planned.
    pub(super) const fn bits(&self) -> u64 {
        self.bits
    }

    /// Appends it; `samples` are shifted right by the zero bits.
    pub(super) fn write(&self, samples: &[i32], out: &mut BitWriter<'_>) {
        let kind = match self.content {
            Content::Constant => 0,
            Content::Verbatim => 1,
            Content::Fixed { order, .. } => 8 | u32::try_from(order).unwrap_or(0),
        };
        if self.zero_bits == 0 {
            out.write(kind << 1, 8);
        } else {
            out.write(kind << 1 | 1, 8);
            out.write_unary(self.zero_bits - 1);
        }
        let width = SAMPLE_BITS - self.zero_bits;
        match &self.content {
            Content::Constant => samples.iter().take(1).for_each(|sample| out.write_signed(*sample, width)),
            Content::Verbatim => samples.iter().for_each(|sample| out.write_signed(*sample, width)),
            Content::Fixed { order, partition_order, parameters } => {
                samples.iter().take(*order).for_each(|sample| out.write_signed(*sample, width));
                // Coding method 0: four-bit parameters.
                out.write(*partition_order, 6);
                let mut residuals = Residuals::new(samples, *order);
                let length = samples.len() >> partition_order;
                for (partition, parameter) in parameters.iter().enumerate().take(1 << partition_order) {
                    let parameter = u32::from(*parameter);
                    out.write(parameter, 4);
                    let count = if partition == 0 { length - order } else { length };
                    for folded in residuals.by_ref().take(count) {
                        out.write_unary(folded >> parameter);
                        out.write(folded & ((1 << parameter) - 1), parameter);
                    }
                }
            }
        }
    }
}

/// Finds the smallest subframe; holds scratch memory.
#[derive(Debug)]
pub(super) struct Planner {
    /// Bits of each partition for each parameter, without the parameter itself.
    costs: Box<[[u64; PARAMETERS]; PARTITIONS_MAX]>,
}

impl Default for Planner {
    fn default() -> Self {
        Self { costs: Box::new([[0; PARAMETERS]; PARTITIONS_MAX]) }
    }
}

impl Planner {
    /// Plans the subframe of `samples`, which it shifts right by the zero bits it finds.
    pub(super) fn plan(&mut self, samples: &mut [i32]) -> Subframe {
        let first = samples.first().copied().unwrap_or(0);
        if samples.iter().all(|sample| *sample == first) {
            let bits = subframe_header_bits(0) + u64::from(SAMPLE_BITS);
            return Subframe { content: Content::Constant, zero_bits: 0, bits };
        }
        // Not all are equal, so not all are zero, and fewer than 16 bits are.
        let zero_bits = samples.iter().fold(0, |joined, sample| joined | sample).trailing_zeros();
        samples.iter_mut().for_each(|sample| *sample >>= zero_bits);

        let width = u64::from(SAMPLE_BITS - zero_bits);
        let header = subframe_header_bits(zero_bits);
        let verbatim_bits = header + width * u64::try_from(samples.len()).unwrap_or(u64::MAX >> 8);
        let verbatim = Subframe { content: Content::Verbatim, zero_bits, bits: verbatim_bits };
        if samples.len() <= ORDER_MAX {
            return verbatim;
        }
        let order = best_order(samples);
        let (partition_order, parameters, residual_bits) = self.partition(samples, order);
        let warm_up_bits = width * u64::try_from(order).unwrap_or(0);
        let bits = header + warm_up_bits + 6 + residual_bits;
        if bits < verbatim_bits {
            Subframe { content: Content::Fixed { order, partition_order, parameters }, zero_bits, bits }
        } else {
            verbatim
        }
    }

    /// The best partition order, its parameters, and the bits of both parameters and residuals.
    fn partition(&mut self, samples: &[i32], order: usize) -> (u32, [u8; PARTITIONS_MAX], u64) {
        // Partitions are equally long, and the first is longer than the warm-up (RFC 9639 §9.2.7).
        let finest = (0..=PARTITION_ORDER_MAX.min(samples.len().trailing_zeros()))
            .rev()
            .find(|partition_order| samples.len() >> partition_order > order)
            .unwrap_or(0);
        self.count(samples, order, finest);

        let mut best = (0, [0; PARTITIONS_MAX], u64::MAX);
        for partition_order in (0..=finest).rev() {
            let partitions = 1 << partition_order;
            let mut parameters = [0; PARTITIONS_MAX];
            let mut bits = 0;
            for (costs, place) in self.costs.iter().zip(&mut parameters).take(partitions) {
                let cheapest = costs.iter().zip(0u8..).min_by_key(|(cost, _)| **cost);
                let (cost, parameter) = cheapest.map_or((0, 0), |(cost, parameter)| (*cost, parameter));
                *place = parameter;
                bits += 4 + cost;
            }
            if bits <= best.2 {
                best = (partition_order, parameters, bits);
            }
            self.join(partitions);
        }
        best
    }

    /// Counts the bits of the residuals in each partition of the finest order, for each parameter.
    fn count(&mut self, samples: &[i32], order: usize, partition_order: u32) {
        let length = samples.len() >> partition_order;
        let mut residuals = Residuals::new(samples, order);
        for (partition, costs) in self.costs.iter_mut().enumerate().take(1 << partition_order) {
            let count = if partition == 0 { length - order } else { length };
            *costs = [0; PARAMETERS];
            for folded in residuals.by_ref().take(count) {
                for (cost, parameter) in costs.iter_mut().zip(0u32..) {
                    *cost += u64::from(folded >> parameter);
                }
            }
            let count = u64::try_from(count).unwrap_or(0);
            costs.iter_mut().zip(1..).for_each(|(cost, bits)| *cost += count * bits);
        }
    }

    /// Joins each pair of the first `partitions` partitions.
    fn join(&mut self, partitions: usize) {
        for pair in 0..partitions / 2 {
            let Some([left, right]) = self.costs.get(2 * pair..).and_then(|rest| rest.first_chunk()) else {
                return;
            };
            let (mut joined, right) = (*left, *right);
            joined.iter_mut().zip(right).for_each(|(cost, more)| *cost += more);
            if let Some(place) = self.costs.get_mut(pair) {
                *place = joined;
            }
        }
    }
}

/// The order whose residuals have the smallest sum of magnitudes; there are more than four samples.
fn best_order(samples: &[i32]) -> usize {
    let mut sums = [0u64; ORDER_MAX + 1];
    for window in samples.windows(ORDER_MAX + 1) {
        if let [a, b, c, d, e] = *window {
            let residuals = [e, e - d, e - 2 * d + c, e - 3 * d + 3 * c - b, e - 4 * d + 6 * c - 4 * b + a];
            for (sum, residual) in sums.iter_mut().zip(residuals) {
                *sum += u64::from(residual.unsigned_abs());
            }
        }
    }
    sums.iter().enumerate().min_by_key(|(_, sum)| **sum).map_or(0, |(order, _)| order)
}

/// The residuals after the warm-up, folded to unsigned: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4 (RFC 9639 §9.2.7).
struct Residuals<'a> {
    samples: &'a [i32],
    /// The last four samples, newest first.
    past: [i32; ORDER_MAX],
    coefficients: [i32; ORDER_MAX],
}

impl<'a> Residuals<'a> {
    /// The residuals of a fixed predictor (RFC 9639 §9.2.5); `order` is at most four and at most the samples.
    fn new(samples: &'a [i32], order: usize) -> Self {
        let coefficients = match order {
            0 => [0, 0, 0, 0],
            1 => [1, 0, 0, 0],
            2 => [2, -1, 0, 0],
            3 => [3, -3, 1, 0],
            _ => [4, -6, 4, -1],
        };
        let (warm_up, rest) = samples.split_at_checked(order).unwrap_or((samples, &[]));
        let mut past = [0; ORDER_MAX];
        past.iter_mut().zip(warm_up.iter().rev()).for_each(|(place, sample)| *place = *sample);
        Self { samples: rest, past, coefficients }
    }
}

impl Iterator for Residuals<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (sample, rest) = self.samples.split_first()?;
        self.samples = rest;
        let predicted: i32 =
            self.past.iter().zip(self.coefficients).map(|(past, factor)| past * factor).sum();
        let residual = sample - predicted;
        let [a, b, c, _] = self.past;
        self.past = [*sample, a, b, c];
        // At most 21 bits: 16 of the sample and 16 times as much in the worst case.
        Some((residual << 1 ^ residual >> 31).cast_unsigned())
    }
}
