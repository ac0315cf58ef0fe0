//! Every call of a client of Profile S and Profile G, answered by a device in memory; and what must be refused.

mod calls;
pub(super) mod fake;
mod ours;
mod peers;
mod pulling;
mod searching;
mod serving;
