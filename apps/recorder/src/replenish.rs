//! Filling gaps: footage that this recorder misses comes from who has it, into the backfill lane of the store.
//!
//! `core/recording::replenish` decides which gap is asked for next, of whom, and when again. This carries it out.

mod intake;

pub(crate) use intake::Intake;
