//! What is recorded here: lines, storages and records, looked at twice a second and told to the machine.

use std::sync::Arc;

use keepwatch_model::{Place, Span, SpanSet, State, WallTime};
use keepwatch_recorder::StreamState;
use keepwatch_recording::edge::Event;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::GaveUp;

use super::{Driver, EVER, Line};
use crate::reading::Ahead;
use crate::storages::places;

impl Driver {
    pub(super) fn look_at_storages(&mut self) {
        let changed = self.storages.look(self.node.store());
        if !changed.is_empty() {
            // What came back may hold what the recorder lacks.
            self.compared = None;
            self.lines.values_mut().for_each(|line| line.lost = SpanSet::new());
        }
        for event in changed {
            self.tell(event);
        }
        for GaveUp { camera, stream, span, place } in self.node.take_given_up() {
            self.tell(Event::GaveUp { line: (camera, stream), place, span });
        }
    }

    /// What was closed. It is in memory as soon as it is, and on a disk a moment later.
    pub(super) fn look_at_memory(&mut self) {
        let mut closed: Vec<(StreamKey, Span)> = Vec::new();
        for (key, line) in &mut self.lines {
            let labels = self.node.store().tail_labels(key.0, key.1, line.seen_in_memory);
            let Some(last) = labels.last() else { continue };
            line.seen_in_memory = last.to;
            if line.wanted {
                closed.extend(labels.into_iter().map(|label| (*key, label)));
            }
        }
        for (line, span) in closed {
            self.tell(Event::Recorded { line, place: Place::Memory, span });
        }
    }

    pub(super) fn look_at_disks(&mut self) {
        let recorded: Vec<(StreamKey, WallTime)> = self
            .lines
            .iter()
            .filter_map(|(key, line)| {
                let until = line.stream.ledger().held_until()?;
                (until > line.seen).then_some((*key, until))
            })
            .collect();
        for (key, until) in recorded {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let Some(news) = Span::new(std::mem::replace(&mut line.seen, until), until) else { continue };
            let wanted = line.wanted;
            let held = held(&line.stream, news);
            // What is wanted is not known before the first answer.
            if wanted || (self.compared.is_none() && self.question.is_some()) {
                held.iter().for_each(|span| self.node.store().keep(key.0, key.1, *span));
            }
            if wanted {
                let on_disks: Vec<(Place, Span)> =
                    held.into_iter().flat_map(|span| places(self.node.store(), key, span)).collect();
                for (place, span) in on_disks {
                    self.tell(Event::Recorded { line: key, place, span });
                }
            }
        }
    }

    /// The newest of a line stays in memory until it is outside, as far as there is room.
    pub(super) fn keep_tail(&self, key: StreamKey) {
        if self.question.is_some() {
            self.node.store().keep_tail(key.0, key.1);
        }
    }

    /// Nobody wants a line: nothing of it is kept for longer than any other footage.
    pub(super) fn unwanted(&mut self, key: StreamKey) {
        self.node.store().outside(key.0, key.1, EVER);
        self.node.store().end_tail(key.0, key.1);
        if let Some(line) = self.lines.get_mut(&key) {
            line.wanted = false;
        }
        self.tell(Event::LineGone(key));
    }

    /// Lines come and go with cameras.
    pub(super) fn take_up_lines(&mut self) {
        let mut gone: Vec<StreamKey> = self.lines.keys().copied().collect();
        for camera in self.node.own_cameras().into_iter().filter_map(|id| self.node.camera(id)) {
            if camera.config().source.edge_node().is_some() {
                continue;
            }
            for stream in camera.streams().filter(|stream| camera.wants(stream.id)) {
                let key = (stream.camera, stream.id);
                gone.retain(|known| *known != key);
                let known = self.lines.get(&key).is_some_and(|line| Arc::ptr_eq(&line.stream, stream));
                if !known {
                    let seen = stream.ledger().held_until().unwrap_or(WallTime::MIN);
                    let line = Line {
                        stream: Arc::clone(stream),
                        seen,
                        seen_in_memory: WallTime::MIN,
                        ahead: Ahead::default(),
                        wanted: false,
                        bytes: 0,
                        records: 0,
                        lost: SpanSet::new(),
                        to_tell: SpanSet::new(),
                        lost_ticks: 0,
                    };
                    self.lines.insert(key, line);
                    self.keep_tail(key);
                    // It is compared with what is outside at the next answer.
                    self.compared = None;
                }
            }
        }
        for key in gone {
            self.unwanted(key);
            self.lines.remove(&key);
        }
    }
}

/// What is on the disks of a stream within `window`.
pub(super) fn held(stream: &StreamState, window: Span) -> Vec<Span> {
    let items = stream.ledger().items(window, window.to, &SpanSet::new());
    let held = items.into_iter().filter(|item| matches!(item.state, State::Held { .. }));
    held.map(|item| item.span).collect()
}
