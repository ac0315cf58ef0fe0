//! What lies on a card, in memory: the label of every record, so that a question about it need not wait for the disk.
//!
//! Pure. A section is footage without a hole: records of one run, each beginning where the one before it ends.

use std::collections::BTreeMap;
use std::ops::Bound;

use keepwatch_model::{Span, WallTime};
use keepwatch_store::{RecordInfo, RunId};

/// The records of one camera's card.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// By the label at which they begin.
    pieces: BTreeMap<WallTime, Piece>,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    to: WallTime,
    run: RunId,
    /// Whether decoding can start at it.
    key: bool,
}

impl Shelf {
    /// A record is on the card.
    pub(crate) fn add(&mut self, info: &RecordInfo) {
        let piece = Piece { to: info.label.to, run: info.run, key: info.starts_with_key };
        self.pieces.insert(info.label.from, piece);
    }

    /// What began in `span` was overwritten.
    pub(crate) fn remove(&mut self, span: Span) {
        let gone: Vec<WallTime> = self.pieces.range(span.from..span.to).map(|(from, _)| *from).collect();
        for from in gone {
            self.pieces.remove(&from);
        }
    }

    /// From the first label to the last, holes included; `None` when it is empty.
    pub(crate) fn span(&self) -> Option<Span> {
        let (from, _) = self.pieces.first_key_value()?;
        let (_, last) = self.pieces.last_key_value()?;
        Span::new(*from, last.to)
    }

    /// The sections, ascending.
    pub(crate) fn sections(&self) -> Vec<Span> {
        let mut sections: Vec<Span> = Vec::new();
        let mut before: Option<Piece> = None;
        for (from, piece) in &self.pieces {
            match sections.last_mut() {
                Some(section) if before.is_some_and(|before| before.leads_to(*from, piece)) => {
                    section.to = piece.to;
                }
                Some(_) | None => sections.push(Span { from: *from, to: piece.to }),
            }
            before = Some(*piece);
        }
        sections
    }

    /// Where playing begins that is to show `at`: the last record at or before it that decoding can start at, or in a
    /// gap the first one behind it. `None` when there is nothing at `at` or later.
    pub(crate) fn start(&self, at: WallTime) -> Option<WallTime> {
        let holds = self.pieces.range(..=at).next_back().filter(|(_, piece)| at < piece.to);
        if let Some((from, piece)) = holds {
            let mut behind = *piece;
            let mut start = *from;
            for (from, piece) in self.pieces.range(..=*from).rev() {
                if *from != start && !piece.leads_to(start, &behind) {
                    break;
                }
                (start, behind) = (*from, *piece);
                if piece.key {
                    return Some(start);
                }
            }
            // A section that begins without a key frame: from its beginning, rather than not at all.
            return Some(start);
        }
        let next = self.pieces.range((Bound::Excluded(at), Bound::Unbounded)).next();
        next.map(|(from, _)| *from)
    }

    /// The record that begins at `at` or is the first behind it.
    pub(crate) fn piece(&self, at: WallTime) -> Option<PlacedPiece> {
        let (from, piece) = self.pieces.range(at..).next()?;
        let next = self.pieces.range((Bound::Excluded(*from), Bound::Unbounded)).next();
        let follower = next.map(|(next, _)| *next);
        let ends_section = next.is_none_or(|(next, behind)| !piece.leads_to(*next, behind));
        Some(PlacedPiece { span: Span { from: *from, to: piece.to }, run: piece.run, ends_section, follower })
    }
}

impl Piece {
    /// Whether a record that begins at `from` goes on where this one ends.
    fn leads_to(&self, from: WallTime, piece: &Self) -> bool {
        self.run == piece.run && from <= self.to
    }
}

/// A record and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacedPiece {
    /// Its labels.
    pub(crate) span: Span,
    /// Its run.
    pub(crate) run: RunId,
    /// Whether a gap follows it, or nothing.
    pub(crate) ends_section: bool,
    /// Where the next record begins, in this section or another.
    pub(crate) follower: Option<WallTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_ticks(seconds * 90_000)
    }

    fn span(from: i64, to: i64) -> Span {
        Span::new(at(from), at(to)).unwrap()
    }

    /// Seconds 10 to 14 and 14 to 16 of two runs, then 20 to 22; every other record is in the middle of a group.
    fn shelf() -> Shelf {
        let mut shelf = Shelf::default();
        for (from, run, key) in [
            (10, 1, true),
            (11, 1, false),
            (12, 1, true),
            (13, 1, false),
            (14, 2, true),
            (15, 2, false),
            (20, 3, true),
            (21, 3, false),
        ] {
            shelf.pieces.insert(at(from), Piece { to: at(from + 1), run: RunId(run), key });
        }
        shelf
    }

    #[test]
    fn sections_are_records_of_one_run_without_a_hole() {
        let mut shelf = shelf();
        assert_eq!(shelf.sections(), [span(10, 14), span(14, 16), span(20, 22)]);
        shelf.remove(span(0, 12));
        assert_eq!(shelf.sections(), [span(12, 14), span(14, 16), span(20, 22)]);
        assert_eq!(shelf.span(), Some(span(12, 22)));
        shelf.remove(span(0, 100));
        assert_eq!((shelf.sections(), shelf.span()), (vec![], None));
    }

    #[test]
    fn playing_starts_at_a_key_frame_at_or_before_and_in_a_gap_behind() {
        let shelf = shelf();
        for (asked, start) in
            [(0, Some(10)), (10, Some(10)), (11, Some(10)), (13, Some(12)), (14, Some(14)), (15, Some(14))]
        {
            assert_eq!(shelf.start(at(asked)), start.map(at), "{asked}");
        }
        assert_eq!(shelf.start(at(16)), Some(at(20)));
        assert_eq!(shelf.start(at(21)), Some(at(20)));
        assert_eq!(shelf.start(at(22)), None);
    }

    #[test]
    fn a_record_knows_whether_a_gap_follows() {
        let shelf = shelf();
        let piece = |from| shelf.piece(at(from)).unwrap();
        assert_eq!((piece(12).ends_section, piece(12).follower), (false, Some(at(13))));
        assert_eq!((piece(13).ends_section, piece(13).follower), (true, Some(at(14))));
        assert_eq!((piece(16).span, piece(16).ends_section), (span(20, 21), false));
        assert_eq!((piece(21).ends_section, piece(21).follower), (true, None));
        assert_eq!(shelf.piece(at(22)), None);
    }
}
