//! Reads the next record of a line out of the store, as it is to leave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{Place, Span, TICKS_PER_SECOND};
use keepwatch_recorder::Node;
use keepwatch_recording::edge::Send;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::{RecordRef, Store};

use crate::outside::Parcel;

/// As much is looked up at a time.
const LOOK_TICKS: i64 = 60 * TICKS_PER_SECOND;

/// What was looked up of a line and not read yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Ahead(VecDeque<RecordRef>);

/// What was found.
#[derive(Debug)]
pub(crate) enum Read {
    /// The first record that has anything of the span. Nothing of the span is held before it.
    Record(Parcel),
    /// Nothing of this first part of the span is there, or it cannot be read.
    Nothing(Span),
}

impl Ahead {
    /// The first record that has anything of `span`.
    fn find(&mut self, store: &Store, line: StreamKey, span: Span) -> Option<RecordRef> {
        let known = |ahead: &mut VecDeque<RecordRef>| {
            while ahead.front().is_some_and(|first| first.info.label.to <= span.from) {
                ahead.pop_front();
            }
            // What begins later may have something before it that was not looked up.
            ahead.front().filter(|first| first.info.label.from <= span.from).copied()
        };
        if let Some(first) = known(&mut self.0) {
            return Some(first);
        }
        self.0 = store.records(line.0, line.1, span).ok()?.into();
        self.0.front().copied()
    }
}

/// Reads the first record of `line` that has anything of what is to be sent, and returns what was looked up
/// behind it, and how long the reads of others were waited for.
pub(crate) async fn read(
    node: &Node,
    line: StreamKey,
    send: Send,
    mut ahead: Ahead,
) -> (Read, Ahead, Duration) {
    let span = send.span;
    let window = Span { from: span.from, to: span.to.min(span.from.plus(LOOK_TICKS)) };
    let begun = Instant::now();
    let Some(_place) = node.read_place().await else {
        return (Read::Nothing(window), ahead, Duration::ZERO);
    };
    let waited = begun.elapsed();
    let store = node.store().clone();
    let reading = tokio::task::spawn_blocking(move || {
        let read = if send.place == Place::Memory {
            let found = store.read_tail(line.0, line.1, window);
            found.map(|record| (record.index().info.label, Ok(record)))
        } else {
            ahead.find(&store, line, window).map(|found| (found.info.label, store.read(&found)))
        };
        (read, ahead)
    });
    let Ok((read, ahead)) = reading.await else { return (Read::Nothing(window), Ahead::default(), waited) };
    let read = match read {
        Some((label, Ok(record))) => Read::Record(Parcel { line, label, record: Arc::new(record) }),
        Some((label, Err(error))) => {
            tracing::warn!(camera = %line.0, %error, "a record cannot be read and is not sent");
            Read::Nothing(Span::new(window.from, label.to).unwrap_or(window))
        }
        None => Read::Nothing(window),
    };
    (read, ahead, waited)
}
