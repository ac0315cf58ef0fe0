//! What a connection that plays remembers, and which of the feed's frames it sends.

use std::sync::Arc;

use keepwatch_model::{StreamId, WallTime};

use super::{Camera, wanted_variant};
use crate::connections::Entry;
use crate::encoder::AccessUnit;
use crate::fault::Condition;
use crate::feed::{FeedFrame, Subscription, Variant};

/// A connection that plays.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) entry: Entry,
    pub(super) subscription: Subscription,
    stream: StreamId,
    variant: Variant,
    /// A frame that waits for its time.
    pub(super) frame: Option<Arc<FeedFrame>>,
    start: Start,
    /// Frames before this one were due in a stall.
    number_from: u64,
    /// The label of the next packet of sound.
    pub(super) sound: WallTime,
    /// Frames left out by [`Fault::SkipFrames`](crate::Fault), as the condition counts them.
    skips: u64,
    /// Frames lost by [`Fault::LoseFrames`](crate::Fault), counted the same way.
    losses: u64,
    /// Packets that were lost since the last picture that was sent.
    pub(super) lost_packets: u16,
    pub(super) stalled: bool,
}

/// Where the pictures begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// At a frame that decoding can start at.
    AtKeyFrame,
    /// At any other, and the server is told that it is one, or it would hold it back.
    AtOtherFrame,
    /// They have begun.
    Done,
}

impl Playing {
    /// Begins to play `stream` in the coding that was described.
    pub(super) fn new(camera: &Camera, stream: StreamId, condition: Condition, variant: Variant) -> Self {
        Self {
            entry: camera.connections.open(),
            subscription: camera.feed.subscribe(variant),
            stream,
            variant,
            frame: None,
            start: if variant == Variant::Keyless { Start::AtOtherFrame } else { Start::AtKeyFrame },
            number_from: 0,
            sound: sound_from(camera),
            skips: condition.skips,
            losses: condition.losses,
            lost_packets: 0,
            stalled: false,
        }
    }

    /// Goes on after a stall: with what is due from here on.
    pub(super) fn resume(&mut self, camera: &Camera) {
        self.stalled = false;
        self.number_from = camera.timeline.number_from(camera.clock.now().plus(-camera.delay_ticks));
        self.sound = sound_from(camera);
        if self.variant != Variant::Keyless {
            self.start = Start::AtKeyFrame;
        }
    }

    /// Takes a frame out of the feed, unless this connection leaves it out.
    pub(super) fn receive(&mut self, frame: Arc<FeedFrame>, missed: bool) {
        if missed && self.variant != Variant::Keyless {
            self.start = Start::AtKeyFrame;
        }
        if frame.number >= self.number_from {
            self.frame = Some(frame);
        }
    }

    /// The coding that is sent.
    pub(super) const fn variant(&self) -> Variant {
        self.variant
    }

    /// The access unit of `frame` to send, and whether as a key frame; `None` to send nothing of it.
    pub(super) fn choose<'f>(
        &mut self,
        frame: &'f FeedFrame,
        condition: Condition,
    ) -> Option<(&'f AccessUnit, bool)> {
        let wanted = wanted_variant(self.stream, condition);
        if wanted == self.variant {
            self.subscription.stay();
        } else {
            self.subscription.wish(wanted);
            let unit = frame.unit(wanted);
            if unit.is_some_and(|unit| unit.key || wanted == Variant::Keyless) {
                self.subscription.change_over();
                self.variant = wanted;
                if wanted != Variant::Keyless && self.start == Start::AtOtherFrame {
                    self.start = Start::AtKeyFrame;
                }
            }
        }
        let unit = frame.unit(self.variant)?;
        let begins = match self.start {
            Start::AtKeyFrame => unit.key,
            Start::AtOtherFrame => !unit.key,
            Start::Done => true,
        };
        if !begins {
            return None;
        }
        let key = unit.key || self.start == Start::AtOtherFrame;
        if self.skips < condition.skips {
            self.skips += 1;
            return None;
        }
        if self.losses < condition.losses {
            self.losses += 1;
            self.lost_packets = self.lost_packets.saturating_add(1);
            return None;
        }
        self.start = Start::Done;
        Some((unit, key))
    }
}

/// The label of the next packet of sound; of no meaning for a camera without.
fn sound_from(camera: &Camera) -> WallTime {
    let now = camera.clock.now();
    camera.sound.as_ref().map_or(now, |sound| sound.packet_from(now))
}
