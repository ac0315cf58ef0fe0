//! What another recorder sends as footage, for the fuzz target.

use keepwatch_model::Span;
use keepwatch_recording::replenish::splice::Splice;

use super::piece::Piece;
use super::place::{Judged, Places};
use super::wire::{END, Found, Incoming, WireError, head};

/// Takes `data` as an answer to `/peer/records`: whatever it is, this returns. Behind a first byte that is odd stands one record,
/// which gets a head of its own: nobody meets a checksum by trying.
///
/// # Panics
/// When what is found depends on how the bytes were cut, or gets a place that is not in the gap.
pub fn decode_untrusted_records(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let bytes = match first % 2 {
        0 => rest.to_vec(),
        _ => [head(rest).as_slice(), rest, END.as_slice()].concat(),
    };
    let whole = read(&bytes, bytes.len().max(1));
    let cut = read(&bytes, usize::from(*first / 2).max(1));
    assert_eq!(whole, cut, "it depends on how the bytes were cut");
}

/// How many records there are, and whether an end or an error comes behind them.
fn read(bytes: &[u8], cut_bytes: usize) -> (usize, &'static str) {
    let mut incoming = Incoming::default();
    let mut records = 0;
    let mut pieces = bytes.chunks(cut_bytes);
    loop {
        match incoming.next() {
            Ok(Found::Record(record)) => {
                judge(&Piece::of(&record));
                records += 1;
            }
            Ok(Found::End) => return (records, "end"),
            Ok(Found::More) => match pieces.next() {
                Some(piece) => incoming.push(piece),
                None => return (records, "more"),
            },
            Err(WireError::Length(_)) => return (records, "length"),
            Err(WireError::Checksum) => return (records, "checksum"),
            Err(WireError::Samples(_)) => return (records, "samples"),
            Err(WireError::Format(_)) => return (records, "format"),
        }
    }
}

/// Judges what came as if all of it, the second half or the middle third were missing, and gives it a place there.
fn judge(piece: &Piece<'_>) {
    let frames = piece.frames();
    let label = |place: usize| frames.get(place).map_or(piece.label.from, |frame| frame.label);
    let (half, third) = (frames.len() / 2, frames.len() / 3);
    let (before, after) = (&frames[..third], &frames[2 * third..]);
    for (gap, before, after) in [
        (Some(piece.label), &frames[..half], &[][..]),
        (Span::new(label(half), piece.label.to), &frames[..half], &[]),
        (Span::new(label(third), label(2 * third)), before, after),
        // Its last ones are late.
        (Span::new(label(third), label(half)), before, after),
    ] {
        let Some(gap) = gap else { continue };
        let mut splice = Splice::new(gap, 1, before.to_vec(), after.to_vec());
        let mut places = Places::new(gap, 1);
        let mut first = Judged::of(&mut splice, piece);
        let mut second = Judged::of(&mut splice, piece);
        first.followed_by(&mut second);
        let mut reach = gap.from;
        for judged in [first, second] {
            let Some(placed) = places.place(piece, &judged) else { continue };
            assert!(reach <= placed.label.from && placed.label.to <= gap.to, "{placed:?} is not in {gap:?}");
            reach = placed.label.to;
            places.written(&placed);
        }
    }
}
