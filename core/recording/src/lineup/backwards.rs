//! Playing backwards (ONVIF Streaming, "Reverse replay"): groups of pictures in reverse order, and the frames of each
//! in the order in which they are decoded. Sound and documents go with the group that they lie beside.
//!
//! Records that hold one group of pictures, the first of them with its key frame, are a *group of records*: it goes in
//! as it was recorded, and the group of records before it in time comes after it. So no more is held in memory than
//! forwards, however long a group is. Of several groups of pictures in the first record, the last goes on in the
//! records behind it and is played first; the others wait until it is played.

use keepwatch_model::{Span, WallTime};

use super::{Lineup, Unit, multiplex};

impl<T> Lineup<T> {
    /// Takes a record of `span` that belongs to the records of `group`: in their order inside, and each group before
    /// the last one. What begins a group of pictures is marked as discontinuous, what is the last before a hole as the
    /// end of a section.
    ///
    /// A key frame inside a record that does not begin with one stays where it is: such records come of key frames
    /// that follow each other at once, which are no groups worth turning around.
    pub fn push_group(&mut self, span: Span, group: Span, mut tracks: Vec<Vec<Unit<T>>>) {
        self.begun = true;
        let begins = self.group != Some(group);
        if begins {
            self.end_group();
            if self.edge.is_some_and(|edge| group.to < edge) {
                self.end_section();
            }
            self.group = Some(group);
            self.discontinuous.fill(true);
        }
        self.edge = Some(group.from);
        let from = self.wanted.from;
        for track in &mut tracks {
            // As forwards: a picture behind may be needed to decode one before it, which comes later.
            let end = track.iter().rposition(|unit| unit.label <= from);
            track.truncate(end.map_or(0, |last| last + 1));
        }
        let units = multiplex(tracks);
        if begins && span.from <= group.from {
            let mut pictures = self.split(units);
            let last = pictures.pop().unwrap_or_default();
            // What is before the last label wanted is not decoded for it.
            pictures.drain(..self.unwanted(&pictures, &last));
            self.rest = pictures;
            let units = self.line_up(last);
            self.records.push_back(units);
        } else {
            let units = self.line_up(units);
            self.records.push_back(units);
        }
        if span.to >= group.to {
            self.end_group();
        }
    }

    /// The group of records was played: what waited for it comes.
    pub(super) fn end_group(&mut self) {
        let mut units = std::collections::VecDeque::new();
        while let Some(pictures) = self.rest.pop() {
            self.discontinuous.fill(true);
            units.extend(self.line_up(pictures));
        }
        if !units.is_empty() {
            // In one piece, so that the last unit of each track is among those that are held back.
            self.records.push_back(units);
        }
        self.group = None;
    }

    /// `units` as groups of pictures, in their order. What stands before the first key frame is with it, unless it has
    /// pictures of its own.
    fn split(&self, units: Vec<Unit<T>>) -> Vec<Vec<Unit<T>>> {
        let mut groups: Vec<Vec<Unit<T>>> = vec![Vec::new()];
        let mut has_picture = false;
        for unit in units {
            let is_picture = Some(unit.track) == self.video;
            if is_picture && unit.key && has_picture {
                groups.push(Vec::new());
            }
            has_picture |= is_picture;
            if let Some(group) = groups.last_mut() {
                group.push(unit);
            }
        }
        groups
    }

    /// How many of `groups` are over before the last label that is wanted: each lasts until the next begins, the last
    /// of them until `last` does.
    fn unwanted(&self, groups: &[Vec<Unit<T>>], last: &[Unit<T>]) -> usize {
        let begins = |group: &[Unit<T>]| {
            let picture = group.iter().find(|unit| self.video.is_none_or(|video| video == unit.track));
            picture.map_or(WallTime::MAX, |unit| unit.label)
        };
        let followers = groups.iter().map(Vec::as_slice).skip(1).chain([last]);
        let over =
            groups.iter().zip(followers).take_while(|(_, follower)| begins(follower) <= self.wanted.to);
        over.count()
    }
}
