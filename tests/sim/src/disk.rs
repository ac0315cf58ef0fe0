//! A disk: what is queued is durable after a while, in order, or lost with the process.

use std::collections::VecDeque;
use std::ops::Range;

/// A record on its way.
#[derive(Clone, Debug)]
struct Queued<Whose> {
    whose: Whose,
    frames: Range<u64>,
    ready: u64,
}

/// A disk and its queue.
#[derive(Clone, Debug)]
pub(crate) struct Disk<Whose> {
    queue: VecDeque<Queued<Whose>>,
    /// Steps that a flush takes.
    pub(crate) latency: u64,
    /// It takes nothing and writes nothing.
    pub(crate) dead: bool,
}

impl<Whose> Disk<Whose> {
    pub(crate) fn new(latency: u64) -> Self {
        Self { queue: VecDeque::new(), latency, dead: false }
    }

    /// Queues a record; a dead disk loses it.
    pub(crate) fn queue(&mut self, step: u64, whose: Whose, frames: Range<u64>) {
        if !self.dead {
            self.queue.push_back(Queued { whose, frames, ready: step + self.latency });
        }
    }

    /// The next record that is durable by now.
    pub(crate) fn durable(&mut self, step: u64) -> Option<(Whose, Range<u64>)> {
        if self.dead || self.queue.front()?.ready > step {
            return None;
        }
        self.queue.pop_front().map(|queued| (queued.whose, queued.frames))
    }

    /// The process, or the disk, is gone with all that was queued.
    pub(crate) fn lose(&mut self) {
        self.queue.clear();
    }
}

/// A session with a camera: frames from the first of a group on, in records of a group each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    open: Option<Range<u64>>,
}

impl Session {
    /// Takes a frame; returns the record that ends before it.
    pub(crate) fn receive(&mut self, frame: u64) -> Option<Range<u64>> {
        let begins = frame.is_multiple_of(crate::GROUP_FRAMES);
        let closed = if begins { self.open.take() } else { None };
        match &mut self.open {
            Some(open) => open.end = frame + 1,
            None if begins => self.open = Some(frame..frame + 1),
            None => {}
        }
        closed
    }

    /// Ends; returns the record that was open.
    pub(crate) fn end(&mut self) -> Option<Range<u64>> {
        self.open.take()
    }
}
