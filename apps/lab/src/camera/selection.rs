//! Which of a feed's frames are sent, and in which coding: the faults of the pictures.

use keepwatch_model::StreamId;

use super::{Camera, wanted_variant};
use crate::encoder::AccessUnit;
use crate::fault::Condition;
use crate::feed::{FeedFrame, Subscription, Variant};

/// A stream's frames on their way out.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) subscription: Subscription,
    stream: StreamId,
    variant: Variant,
    start: Start,
    /// Frames left out by [`Fault::SkipFrames`](crate::Fault), as the condition counts them.
    skips: u64,
    /// Frames lost by [`Fault::LoseFrames`](crate::Fault), counted the same way.
    losses: u64,
    /// Packets that were lost since the last picture that was sent.
    lost_packets: u16,
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

impl Selection {
    /// The frames of `stream` from here on, at first in the coding that was described.
    pub(crate) fn new(camera: &Camera, stream: StreamId, condition: Condition, variant: Variant) -> Self {
        Self {
            subscription: camera.feed.subscribe(variant),
            stream,
            variant,
            start: if variant == Variant::Keyless { Start::AtOtherFrame } else { Start::AtKeyFrame },
            skips: condition.skips,
            losses: condition.losses,
            lost_packets: 0,
        }
    }

    /// The coding that is sent.
    pub(crate) const fn variant(&self) -> Variant {
        self.variant
    }

    /// Packets that were lost before the picture that is sent.
    pub(super) fn take_lost_packets(&mut self) -> u16 {
        std::mem::take(&mut self.lost_packets)
    }

    /// Goes on at a key frame, unless there is none: frames before it are missing.
    pub(crate) fn begin_anew(&mut self) {
        if self.variant != Variant::Keyless {
            self.start = Start::AtKeyFrame;
        }
    }

    /// The access unit of `frame` to send, and whether as a key frame; `None` to send nothing of it.
    pub(crate) fn choose<'f>(
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
