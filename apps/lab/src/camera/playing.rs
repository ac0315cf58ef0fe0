//! What a connection that plays remembers.

use std::sync::Arc;

use keepwatch_model::{StreamId, WallTime};

use super::{Camera, Selection};
use crate::connections::Entry;
use crate::documents::{DOCUMENT_TICKS, document_from};
use crate::fault::Condition;
use crate::feed::{FeedFrame, Variant};

/// A connection that plays.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) entry: Entry,
    pub(super) selection: Selection,
    /// A frame that waits for its time.
    pub(super) frame: Option<Arc<FeedFrame>>,
    /// Frames before this one were due in a stall.
    number_from: u64,
    /// The label of the next packet of sound.
    pub(super) sound: WallTime,
    /// The label of the next document.
    pub(super) document: WallTime,
    /// Whether something moved, as the last document told.
    pub(super) told_motion: bool,
    pub(super) stalled: bool,
}

impl Playing {
    /// Begins to play `stream` in the coding that was described.
    pub(super) fn new(camera: &Camera, stream: StreamId, condition: Condition, variant: Variant) -> Self {
        let document = document_from(camera.clock.now());
        Self {
            entry: camera.connections.open(stream == StreamId::SUB),
            selection: Selection::new(camera, stream, condition, variant),
            frame: None,
            number_from: 0,
            sound: sound_from(camera),
            document,
            told_motion: condition.motion.moves_at(document.plus(-DOCUMENT_TICKS)),
            stalled: false,
        }
    }

    /// Goes on after a stall: with what is due from here on.
    pub(super) fn resume(&mut self, camera: &Camera) {
        self.stalled = false;
        self.number_from = camera.timeline.number_from(camera.clock.now().plus(-camera.delay_ticks));
        self.sound = sound_from(camera);
        self.document = document_from(camera.clock.now());
        self.selection.begin_anew();
    }

    /// Takes a frame out of the feed, unless this connection leaves it out.
    pub(super) fn receive(&mut self, frame: Arc<FeedFrame>, missed: bool) {
        if missed {
            self.selection.begin_anew();
        }
        if frame.number >= self.number_from {
            self.frame = Some(frame);
        }
    }
}

/// The label of the next packet of sound; of no meaning for a camera without.
fn sound_from(camera: &Camera) -> WallTime {
    let now = camera.clock.now();
    camera.sound.as_ref().map_or(now, |sound| sound.packet_from(now))
}
