//! The words of the product: identifiers, time, spans, coverage, tracks, events, and the machine trait.
//!
//! Data that every layer shares. It decides nothing, touches nothing and knows no protocol; what a word
//! means is written in `docs/design/glossary.md`.

mod coverage;
mod event;
mod id;
mod machine;
mod media;
mod span;
mod storage;
mod time;

pub use coverage::{Backfill, CoverageItem, GapReason, Origin, State, UnknownReason};
pub use event::{Event, EventCode, Severity, Subject};
pub use id::{CameraId, IdError, RoleId, StreamId, TrackIndex};
pub use machine::Machine;
pub use media::{CodecKind, Flow, PacketHandler, TrackConfig};
pub use span::{Span, SpanSet};
pub use storage::{Condition, Place};
pub use time::{MonoTime, TICKS_PER_SECOND, TimeError, WallTime, duration_from_ticks, ticks_from_duration};
