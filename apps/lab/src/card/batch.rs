//! One record of a card as replay sends it: its samples in recorded order, each with its mark.
//!
//! Reading blocks, so it is done off the runtime. Which sample is the last of its track before a gap is known only
//! from the records behind it; a few are looked at near the end of a section.
//!
//! The recorder finds its marks in `core/recording` (`lineup.rs`), in another way. The two are kept apart: this card is the
//! witness against which fetching and replay are proven.

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_media::replay::Frames;
use keepwatch_model::{Span, StreamId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_store::{ReadError, RecordIndex, RunId, StoreError, TRACKS_MAX};

use super::Card;
use super::shelf::PlacedPiece;

/// Records behind one that may hold what ends a track: documents come once a second, records are half as long at
/// least.
const FOLLOWERS: usize = 3;

/// What is asked of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The first label: playing begins at the last key frame at or before it.
    pub(super) from: WallTime,
    /// The first label that is not played.
    pub(super) to: WallTime,
    /// Which frames.
    pub(super) frames: Frames,
    /// Whether the record that is the last one at present is still being followed by others.
    pub(super) goes_on: bool,
}

/// A sample to send.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The position of its track.
    pub(super) track: usize,
    /// When it was captured, by the camera's clock.
    pub(super) label: WallTime,
    /// Whether decoding can start here.
    pub(super) key: bool,
    /// The sample.
    pub(super) data: Bytes,
    /// Whether nothing of the track follows before a gap.
    pub(super) ends_section: bool,
    /// Whether nothing of the track follows at all.
    pub(super) terminal: bool,
}

/// A record as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// In sending order.
    pub(super) items: Vec<Item>,
    /// Its labels.
    pub(super) span: Span,
    /// Its run.
    pub(super) run: RunId,
    /// Where the next record begins; `None` when there is none yet, or none that is wanted.
    pub(super) follower: Option<WallTime>,
    /// Whether no record that is wanted can follow.
    pub(super) last: bool,
}

/// Why a record cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The index cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was overwritten in the meantime.
    #[error("the record at {0} is not on the card any more")]
    Gone(WallTime),
}

/// Reads the record that begins at `at` or is the first behind it; `None` when there is none before `wanted.to`.
pub(super) fn load(card: &Arc<Card>, at: WallTime, wanted: Wanted) -> Result<Option<Batch>, LoadError> {
    let Some(piece) = card.shelf().piece(at).filter(|piece| piece.span.from < wanted.to) else {
        return Ok(None);
    };
    let index_of = |span: Span| {
        let records = card.store.records(card.camera, StreamId::MAIN, span)?;
        let record = records.into_iter().find(|record| record.info.label == span);
        record.ok_or(LoadError::Gone(span.from))
    };
    let record = card.store.read(&index_of(piece.span)?)?;
    let mut items: Vec<Item> = Vec::new();
    for (track, held) in record.index().tracks.iter().enumerate() {
        let samples = held.samples.iter().enumerate();
        items.extend(samples.filter_map(|(position, sample)| {
            let label = held.label_of(sample);
            let wanted = label < wanted.to && chosen(&held.config, sample.key, wanted.frames);
            wanted.then(|| Item {
                track,
                label,
                key: sample.key,
                data: Bytes::copy_from_slice(record.sample(track, position)),
                ends_section: false,
                terminal: false,
            })
        }));
    }
    // The order in which it was recorded: by label, the picture before the sound of the same moment.
    items.sort_by_key(|item| (item.label, item.track));
    begin_at_key(&mut items, wanted.from);
    let ends = Ends::of(card, piece, wanted);
    let mut behind = [false; TRACKS_MAX];
    for following in &ends.following {
        let index = card.store.read_index(&index_of(*following)?)?;
        hold(&mut behind, &index, wanted);
    }
    if ends.near {
        for item in items.iter_mut().rev() {
            let Some(behind) = behind.get_mut(item.track) else { continue };
            if !std::mem::replace(behind, true) {
                item.ends_section = ends.section;
                item.terminal = ends.all;
            }
        }
    }
    let follower = piece.follower.filter(|follower| *follower < wanted.to);
    let last = follower.is_none() && (piece.span.to >= wanted.to || !wanted.goes_on);
    Ok(Some(Batch { items, span: piece.span, run: piece.run, follower, last }))
}

/// Whether a client that asks for `frames` gets a sample. Of key frames only, sound and documents are left out.
fn chosen(config: &TrackConfig, key: bool, frames: Frames) -> bool {
    match frames {
        Frames::All => true,
        Frames::Intra { .. } => key && config.kind.is_video(),
    }
}

/// Leaves out what comes before the last key frame at or before `from`.
fn begin_at_key(items: &mut Vec<Item>, from: WallTime) {
    let starts = |item: &&Item| item.track == 0 && item.key && item.label <= from;
    if let Some(start) = items.iter().filter(starts).map(|item| item.label).max() {
        items.retain(|item| item.label >= start);
    }
}

/// What is near behind a record.
struct Ends {
    /// Whether the end is so near that tracks may end with this record.
    near: bool,
    /// Whether what ends is a section.
    section: bool,
    /// Whether what ends is all that is played.
    all: bool,
    /// The records of the section behind it, up to the end.
    following: Vec<Span>,
}

impl Ends {
    fn of(card: &Card, piece: PlacedPiece, wanted: Wanted) -> Self {
        let shelf = card.shelf();
        let mut following = Vec::new();
        let mut last = piece;
        let end = loop {
            let cut = last.span.to >= wanted.to;
            // A section that is being recorded has no end yet.
            let growing = last.follower.is_none() && wanted.goes_on && !cut;
            if growing || following.len() > FOLLOWERS {
                break None;
            }
            if cut || last.ends_section {
                let all = cut || last.follower.is_none_or(|follower| follower >= wanted.to);
                break Some((last.ends_section, all));
            }
            match last.follower.and_then(|follower| shelf.piece(follower)) {
                Some(next) => {
                    following.push(next.span);
                    last = next;
                }
                None => break None,
            }
        };
        let (section, all) = end.unwrap_or_default();
        if end.is_none() {
            following.clear();
        }
        Self { near: end.is_some(), section, all, following }
    }
}

/// Notes of which tracks a record holds something that is wanted.
fn hold(behind: &mut [bool; TRACKS_MAX], index: &RecordIndex, wanted: Wanted) {
    for (held, behind) in index.tracks.iter().zip(behind) {
        *behind |= held.samples.iter().any(|sample| {
            held.label_of(sample) < wanted.to && chosen(&held.config, sample.key, wanted.frames)
        });
    }
}

/// How long footage of `ticks` lasts.
pub(super) fn lasts(ticks: i64) -> std::time::Duration {
    keepwatch_model::duration_from_ticks(ticks.min(60 * TICKS_PER_SECOND))
}
