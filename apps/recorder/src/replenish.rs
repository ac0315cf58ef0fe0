//! Filling gaps: footage that this recorder misses comes from who has it, into the backfill lane of the store.
//!
//! `core/recording::replenish` decides which gap is asked for next, of whom, and when again; its `splice` which frames fill
//! a gap. This carries it out: it asks other recorders for their records ([`receive`]) or the camera for what is on its card
//! ([`card`]), and writes what fits ([`import`]). The other side of the first is [`send`]. Edge nodes are not asked: what
//! they send is taken by [`relay`].

mod card;
mod card_pace;
mod conduct;
mod course;
mod edges;
mod import;
mod intake;
mod job;
mod limit;
mod missing;
mod piece;
mod place;
mod receive;
mod relay;
mod run;
mod send;
mod standing;
#[cfg(test)]
mod tests;
mod untrusted;
mod wire;

pub use card_pace::CardLimits;
pub(crate) use intake::Intake;
pub(crate) use run::run;
pub use run::{ReplenishSettings, Replenishing};
pub use standing::{EndedJob, RunningJob, SourceStanding, StreamStanding};
pub use untrusted::decode_untrusted_records;
pub use wire::head;

/// The routes of footage between nodes.
pub(crate) fn routes(node: crate::Node) -> axum::Router {
    send::routes(node.clone()).merge(relay::routes(node))
}
