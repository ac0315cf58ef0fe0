//! What a stream shows live: pieces made once, and where each viewer is among them.
//!
//! Pure. Viewers have no queues of their own, only a place in the ring, so a slow one costs no memory: once it is too far
//! behind and a later group of pictures has begun, it goes on there and is told what it missed.

use std::collections::VecDeque;
use std::sync::Arc;

use keepwatch_model::{TICKS_PER_SECOND, WallTime};

use super::muxer::Piece;

/// How far a viewer may be behind before it goes on at a later key frame: longer than a network stumbles, short enough
/// that what is shown is still the present.
const BEHIND_TICKS_MAX: i64 = 3 * TICKS_PER_SECOND;
/// Most bytes of pieces: 12 s at 16 Mbit/s. A group of pictures that is longer cannot be joined in its middle.
const RING_BYTES_MAX: usize = 24 << 20;
/// Most pieces that are handed out at once.
const TAKEN_MAX: usize = 16;

/// The latest pieces, back to the last key frame and a little further.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pieces: VecDeque<Numbered>,
    bytes: usize,
    /// Number of the next piece.
    next: u64,
    /// Pictures of all pieces so far.
    pictures: u64,
    /// Number of the piece that the current group of pictures begins with; `None` while it is not held.
    group: Option<u64>,
}

#[derive(Debug)]
struct Numbered {
    piece: Arc<Piece>,
    number: u64,
    pictures_before: u64,
}

/// Where a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    next: u64,
    /// Pictures of all pieces before `next`, but for those that it passed over since it was last told of some.
    pictures: u64,
    /// End of what it was given, or told that it missed; `None` before the first piece.
    until: Option<WallTime>,
    /// Nothing before the next key frame is of use.
    awaits_key: bool,
}

/// What a viewer missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) from: WallTime,
    pub(super) to: WallTime,
    pub(super) frames: u64,
}

/// What a viewer gets next.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// What it missed before them.
    pub(super) skipped: Option<Skipped>,
    pub(super) pieces: Vec<Arc<Piece>>,
}

impl Ring {
    /// Adds a piece.
    pub(super) fn push(&mut self, piece: Arc<Piece>) {
        if piece.key {
            self.group = Some(self.next);
        }
        self.bytes = self.bytes.saturating_add(piece.bytes.len());
        let (newest, frames) = (piece.to, piece.frames);
        self.pieces.push_back(Numbered { piece, number: self.next, pictures_before: self.pictures });
        self.next += 1;
        self.pictures = self.pictures.saturating_add(frames);
        while let Some(oldest) = self.pieces.front() {
            let needed = self.group.is_some_and(|group| oldest.number >= group);
            let old = newest.ticks_since(oldest.piece.to) > BEHIND_TICKS_MAX;
            if self.bytes <= RING_BYTES_MAX && (needed || !old) {
                break;
            }
            if needed {
                self.group = None;
            }
            self.bytes = self.bytes.saturating_sub(oldest.piece.bytes.len());
            self.pieces.pop_front();
        }
    }

    /// Number of the next piece; grows.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Where a new viewer begins: at the last key frame, or at the next.
    pub(super) fn join(&self) -> Position {
        let begin = self.group.and_then(|group| self.find(group));
        match begin {
            Some(found) => Position {
                next: found.number,
                pictures: found.pictures_before,
                until: None,
                awaits_key: false,
            },
            None => Position { next: self.next, pictures: self.pictures, until: None, awaits_key: true },
        }
    }

    /// What comes next for the viewer at `position`, which moves on; nothing when it has all.
    pub(super) fn take(&self, position: &mut Position) -> Taken {
        let mut taken = Taken::default();
        if self.is_behind(position) {
            let joined = self.join();
            let to = self.find(joined.next).map(|found| found.piece.from);
            let newest = self.pieces.back().map(|newest| newest.piece.to);
            let mut until = position.until;
            if let (Some(from), Some(to)) = (until, to.or(newest)) {
                let frames = joined.pictures.saturating_sub(position.pictures);
                let to = to.max(from);
                taken.skipped = Some(Skipped { from, to, frames });
                until = Some(to);
            }
            *position = Position { until, ..joined };
        }
        let first = self.pieces.front().map_or(self.next, |first| first.number);
        let skip = usize::try_from(position.next.saturating_sub(first)).unwrap_or(usize::MAX);
        for found in self.pieces.iter().skip(skip) {
            if taken.pieces.len() == TAKEN_MAX {
                break;
            }
            position.next = found.number + 1;
            if position.awaits_key {
                if !found.piece.key {
                    continue;
                }
                position.awaits_key = false;
                let frames = found.pictures_before.saturating_sub(position.pictures);
                if let Some(from) = position.until.filter(|_| frames > 0) {
                    // It was told what it missed when it fell behind; this came since.
                    taken.skipped = Some(Skipped { from, to: found.piece.from.max(from), frames });
                }
            }
            position.pictures = found.pictures_before.saturating_add(found.piece.frames);
            position.until = Some(found.piece.to);
            taken.pieces.push(Arc::clone(&found.piece));
        }
        taken
    }

    /// Whether the viewer at `position` must go on elsewhere.
    fn is_behind(&self, position: &Position) -> bool {
        if position.next >= self.next {
            return false;
        }
        let Some(found) = self.find(position.next) else { return true };
        let newest = self.pieces.back().map_or(found.piece.to, |newest| newest.piece.to);
        let behind = newest.ticks_since(found.piece.from) > BEHIND_TICKS_MAX;
        behind && self.group.is_some_and(|group| group > position.next)
    }

    fn find(&self, number: u64) -> Option<&Numbered> {
        let first = self.pieces.front()?.number;
        self.pieces.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::muxer::Init;
    use bytes::Bytes;

    const STEP: i64 = TICKS_PER_SECOND / 10;

    /// Piece `number`, a tenth of a second of two pictures.
    fn piece(number: i64, key: bool, bytes: usize) -> Arc<Piece> {
        let label = |number: i64| WallTime::from_ticks(1_000_000 + number * STEP);
        Arc::new(Piece {
            init: Arc::new(Init::default()),
            bytes: Bytes::from(vec![0; bytes]),
            key,
            frames: 2,
            from: label(number),
            to: label(number + 1),
        })
    }

    /// A ring after so many pieces, a key frame every second.
    fn ring(pieces: i64, bytes: usize) -> Ring {
        let mut ring = Ring::default();
        (0..pieces).for_each(|number| ring.push(piece(number, number % 10 == 0, bytes)));
        ring
    }

    fn from_of(taken: &Taken) -> Vec<i64> {
        taken.pieces.iter().map(|piece| (piece.from.ticks() - 1_000_000) / STEP).collect()
    }

    #[test]
    fn a_new_viewer_begins_at_the_last_key_frame_and_gets_each_piece_once() {
        let mut ring = ring(25, 10);
        let mut position = ring.join();
        let taken = ring.take(&mut position);
        assert_eq!((from_of(&taken), taken.skipped), ((20..25).collect(), None));
        assert!(ring.take(&mut position).pieces.is_empty());
        ring.push(piece(25, false, 10));
        assert_eq!(from_of(&ring.take(&mut position)), [25]);
    }

    #[test]
    fn a_slow_viewer_goes_on_at_the_newest_key_frame_and_is_told() {
        let mut ring = ring(5, 10);
        let mut position = ring.join();
        ring.take(&mut position);
        (5..20).for_each(|number| ring.push(piece(number, number % 10 == 0, 10)));
        let mut patient = position;
        assert_eq!(from_of(&ring.take(&mut patient))[..2], [5, 6], "a stumble costs nothing");
        (20..58).for_each(|number| ring.push(piece(number, number % 10 == 0, 10)));
        let taken = ring.take(&mut position);
        let skipped = taken.skipped.unwrap();
        assert_eq!(from_of(&taken), (50..58).collect::<Vec<_>>());
        assert_eq!((skipped.frames, skipped.to.ticks_since(skipped.from)), (90, 45 * STEP));
        assert_eq!(ring.take(&mut position).skipped, None, "once");
    }

    #[test]
    fn who_waits_for_a_key_frame_is_told_all_that_it_missed() {
        let mut ring = ring(2, 10);
        let mut position = ring.join();
        assert_eq!(from_of(&ring.take(&mut position)), [0, 1]);
        (2..60).for_each(|number| ring.push(piece(number, false, 1 << 20)));
        let at_once = ring.take(&mut position);
        let skipped = at_once.skipped.unwrap();
        assert!(at_once.pieces.is_empty(), "no key frame is held");
        assert_eq!((skipped.frames, skipped.to.ticks_since(skipped.from)), (116, 58 * STEP));
        (60..63).for_each(|number| ring.push(piece(number, number == 62, 10)));
        let taken = ring.take(&mut position);
        let rest = taken.skipped.unwrap();
        assert_eq!((from_of(&taken), rest.frames, rest.from), (vec![62], 4, skipped.to));
        assert_eq!(rest.to.ticks_since(rest.from), 2 * STEP);
    }

    #[test]
    fn the_ring_is_bounded_and_a_group_that_does_not_fit_is_waited_out() {
        let mut ring = Ring::default();
        (0..60).for_each(|number| ring.push(piece(number, number == 0, 1 << 20)));
        assert!(ring.bytes <= RING_BYTES_MAX);
        let mut position = ring.join();
        assert!(ring.take(&mut position).pieces.is_empty(), "no key frame is held");
        ring.push(piece(60, false, 1));
        assert!(ring.take(&mut position).pieces.is_empty());
        ring.push(piece(61, true, 1));
        let taken = ring.take(&mut position);
        assert_eq!((from_of(&taken), taken.skipped), (vec![61], None), "it has missed nothing yet");
        let long = self::ring(1_000, 10);
        assert!(long.pieces.len() < 50, "{}", long.pieces.len());
    }
}
