//! What another recorder sends as footage, for the fuzz target.

use keepwatch_model::Span;
use keepwatch_recording::replenish::splice::Splice;

use super::piece::Piece;
use super::wire::{END, Found, Incoming, WireError, head};

/// Takes `data` as an answer to `/peer/records`: whatever it is, this returns. Behind a first byte that is odd stands one record,
/// which gets a head of its own: nobody meets a checksum by trying.
///
/// # Panics
/// When what is found depends on how the bytes were cut.
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

/// Judges what came as if the second half of it were missing, and as if it came from elsewhere.
fn judge(piece: &Piece<'_>) {
    let frames = piece.frames();
    let (before, after) = frames.split_at(frames.len() / 2);
    let middle = after.first().map_or(piece.label.from, |frame| frame.label);
    for gap in [Some(piece.label), Span::new(middle, piece.label.to)].into_iter().flatten() {
        let mut splice = Splice::new(gap, 1, before.to_vec(), Vec::new());
        for frame in &frames {
            let _ = splice.judge(frame);
            let _ = frame.label.plus(splice.shift_ticks());
        }
    }
}
