//! Access units out of H.264 payloads (RFC 6184): where they begin and end, and what must be dropped.
//!
//! An access unit ends before a NAL unit that can only stand before a picture, before the first slice of another
//! picture, and at a change of the timestamp; these are always true. It also ends at the marker, which saves
//! waiting for the next packet, but only once the marker proved right: some cameras set it on every slice. A marker
//! or a change of the timestamp while no slice has come is ignored, because cameras set markers on parameter sets
//! and SEI (H264DVR) and give them timestamps of their own (Reolink).

use crate::h264::{
    AvccError, LENGTH_BYTES, UnitKind, annex_b_units, find_start_code, is_clean_recovery_point,
};
use crate::rtp::RtpPacket;

use super::parameter_sets::ParameterSets;
use super::{ACCESS_UNIT_BYTES_MAX, DepacketizeError, Output, Sample};

/// Markers in a row that must have been right before access units are ended by them.
const MARKERS_PROVEN: u32 = 8;

/// Most bytes held while no slice has come: parameter sets and SEI take a few hundred.
const PREFIX_BYTES_MAX: usize = 256 * 1024;

/// How many samples must have been small before the memory of a large one is given back.
const SHRINK_AFTER_SAMPLES: u32 = 256;

/// A buffer up to this size is never given back.
const KEPT_BYTES: usize = 256 * 1024;

/// What is known of the camera's markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Markers {
    /// Right this many times in a row.
    Unproven(u32),
    /// The last packet of every picture has one, and no other.
    Trusted,
    /// A slice of the same picture followed one.
    Wrong,
}

/// Assembles the access units of one track.
#[derive(Debug)]
pub(super) struct AccessUnitAssembler {
    sets: ParameterSets,
    markers: Markers,
    /// Start codes were found inside of payloads, so that slices are searched, too.
    annex_b: bool,
    /// NAL units with lengths; empty while `damaged`.
    sample: Vec<u8>,
    /// Timestamp of what is in `sample`.
    timestamp: i64,
    /// Where the length of the NAL unit stands whose fragments are coming.
    fragmented: Option<usize>,
    slices: bool,
    key: bool,
    marked: bool,
    /// Something of this access unit is missing: it is dropped when it ends.
    damaged: bool,
    /// Packets were lost just before; what comes next may be the middle of an access unit.
    after_loss: bool,
    /// Timestamp of the last access unit that was ended by its marker.
    ended: Option<i64>,
    /// The first error of the packet at hand.
    error: Option<DepacketizeError>,
    /// The packet at hand cost an access unit, although none was lost on the way.
    unusable: bool,
    small_samples: u32,
    largest_small: usize,
}

impl AccessUnitAssembler {
    pub(super) fn new(config: &[u8]) -> Result<Self, AvccError> {
        Ok(Self {
            sets: ParameterSets::new(config)?,
            markers: Markers::Unproven(0),
            annex_b: false,
            sample: Vec::new(),
            timestamp: 0,
            fragmented: None,
            slices: false,
            key: false,
            marked: false,
            damaged: false,
            // A session may begin in the middle of an access unit.
            after_loss: true,
            ended: None,
            error: None,
            unusable: false,
            small_samples: 0,
            largest_small: 0,
        })
    }

    pub(super) const fn buffered_bytes(&self) -> usize {
        self.sample.len()
    }

    #[cfg(test)]
    pub(super) const fn capacity_bytes(&self) -> usize {
        self.sample.capacity()
    }

    /// Packets are missing before one with `timestamp`, which is `None` when that one is not the track's.
    pub(super) fn loss<S: FnMut(Sample<'_>)>(&mut self, timestamp: Option<i64>, output: &mut Output<'_, S>) {
        let whole = self.marked && self.fragmented.is_none() && self.markers != Markers::Wrong;
        if whole {
            self.end(output);
        } else if !self.is_empty() {
            self.damage();
            // What is missing may reach into another access unit.
            if timestamp != Some(self.timestamp) {
                self.begin();
                self.after_loss = true;
            }
            return;
        }
        self.after_loss = true;
    }

    pub(super) fn push<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        match *packet.payload {
            [] => self.error = Some(DepacketizeError::Empty),
            [0, 0, 1, ..] | [0, 0, 0, 1, ..] => self.unit(packet.payload, timestamp, output),
            [header, ..] if header & 0x80 != 0 => self.refuse(DepacketizeError::Forbidden, timestamp, output),
            [header, ref rest @ ..] => match header & 0x1f {
                1..=23 => self.unit(packet.payload, timestamp, output),
                24 => self.aggregate(rest, timestamp, output),
                28 => self.fragment(header, rest, timestamp, output),
                kind @ (25..=27 | 29) => self.refuse(DepacketizeError::UnitType(kind), timestamp, output),
                // RFC 6184 §5.2: reserved and undefined types are ignored, they belong to no picture.
                kind => self.error = Some(DepacketizeError::UnitType(kind)),
            },
        }
        if packet.marker && self.slices {
            self.marked = true;
            if self.fragmented.is_none() && self.markers == Markers::Trusted {
                self.end(output);
            }
        }
        if std::mem::take(&mut self.unusable) {
            output.lose(1);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    pub(super) fn flush<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        // Where markers are set, an access unit without one lacks its end.
        let sets_markers = matches!(self.markers, Markers::Trusted | Markers::Unproven(1..));
        if self.fragmented.is_some() || sets_markers && !self.marked {
            self.damage();
        }
        self.end(output);
        self.after_loss = true;
        self.error = None;
    }

    /// STAP-A (§5.7.1).
    fn aggregate<S: FnMut(Sample<'_>)>(&mut self, units: &[u8], timestamp: i64, output: &mut Output<'_, S>) {
        let mut rest = units;
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let Some((unit, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
                return self.refuse(DepacketizeError::Truncated, timestamp, output);
            };
            // Some cameras put units of no length in.
            if !unit.is_empty() {
                self.unit(unit, timestamp, output);
            }
            rest = after;
        }
        if !rest.is_empty() {
            self.fail(DepacketizeError::Truncated);
        }
    }

    /// FU-A (§5.8). A unit whose last fragment lacks the end bit ends when something else begins: the sequence
    /// numbers prove that nothing is missing. A fragment with both bits is a whole unit.
    fn fragment<S: FnMut(Sample<'_>)>(
        &mut self,
        indicator: u8,
        rest: &[u8],
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) {
        let Some((fu_header, data)) = rest.split_first() else {
            return self.refuse(DepacketizeError::Truncated, timestamp, output);
        };
        let (start, end) = (fu_header & 0x80 != 0, fu_header & 0x40 != 0);
        if start {
            let header = indicator & 0xe0 | fu_header & 0x1f;
            if UnitKind::from_header(header) == UnitKind::Outside {
                return self.refuse(DepacketizeError::UnitType(fu_header & 0x1f), timestamp, output);
            }
            self.close_fragmented(output);
            self.open(header, data.first().copied(), timestamp, output);
            self.fragmented = Some(self.sample.len());
            self.append(&[0; LENGTH_BYTES]);
            self.append(&[header]);
        } else if self.fragmented.is_none() || timestamp != self.timestamp {
            let known = self.damaged && timestamp == self.timestamp || self.after_loss;
            if self.fragmented.take().is_some() {
                self.damage();
            }
            if known {
                self.turn_damaged(timestamp, output);
            } else {
                self.refuse(DepacketizeError::FragmentWithoutStart, timestamp, output);
            }
            self.slices |= UnitKind::from_header(*fu_header).is_slice();
            return;
        }
        // The marker stood on a fragment before this one.
        self.marked = false;
        self.append(data);
        if end {
            self.close_fragmented(output);
        }
    }

    /// A NAL unit, or several with start codes between them where there should be one.
    fn unit<S: FnMut(Sample<'_>)>(&mut self, unit: &[u8], timestamp: i64, output: &mut Output<'_, S>) {
        self.close_fragmented(output);
        if self.may_hold_start_code(unit) && find_start_code(unit).is_some() {
            self.annex_b = true;
            for unit in annex_b_units(unit) {
                self.whole_unit(unit, timestamp, output);
            }
        } else {
            self.whole_unit(unit, timestamp, output);
        }
    }

    /// Searching every slice costs more than all the rest, and cameras that err begin with a parameter set, an SEI
    /// unit or a start code.
    fn may_hold_start_code(&self, unit: &[u8]) -> bool {
        self.annex_b || unit.first() == Some(&0) || !UnitKind::of(unit).is_some_and(UnitKind::is_slice)
    }

    fn whole_unit<S: FnMut(Sample<'_>)>(&mut self, unit: &[u8], timestamp: i64, output: &mut Output<'_, S>) {
        let (Some(header), second) = (unit.first(), unit.get(1)) else { return };
        if header & 0x80 != 0 {
            return self.refuse(DepacketizeError::Forbidden, timestamp, output);
        }
        if UnitKind::from_header(*header) == UnitKind::Outside {
            return self.refuse(DepacketizeError::UnitType(header & 0x1f), timestamp, output);
        }
        self.open(*header, second.copied(), timestamp, output);
        let begin = self.sample.len();
        self.append(&[0; LENGTH_BYTES]);
        self.append(unit);
        self.close(begin);
    }

    /// A NAL unit begins: ends the access unit before it, if it is not of the same.
    fn open<S: FnMut(Sample<'_>)>(
        &mut self,
        header: u8,
        second: Option<u8>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) {
        let kind = UnitKind::from_header(header);
        // first_mb_in_slice is the first code of a slice header: a one bit is zero (§7.3.3, §9.1).
        let first_macroblock = second.is_none_or(|second| second & 0x80 != 0);
        let begins_picture = matches!(kind, UnitKind::Slice | UnitKind::IdrSlice) && first_macroblock;
        if self.slices && (timestamp != self.timestamp || kind.begins_access_unit() || begins_picture) {
            self.judge_marker();
            self.end(output);
        } else if kind.is_slice() && !begins_picture {
            let emitted = !self.slices && !self.after_loss && self.ended == Some(timestamp);
            if emitted || (self.slices && self.marked) {
                self.markers = Markers::Wrong;
            }
        }
        if !self.slices {
            if self.damaged && timestamp != self.timestamp {
                self.begin();
                self.after_loss = true;
            }
            self.timestamp = timestamp;
            if self.sample.len() > PREFIX_BYTES_MAX {
                self.fail(DepacketizeError::TooLong);
                self.begin();
            }
        }
        if std::mem::take(&mut self.after_loss) && kind.is_slice() && !begins_picture {
            self.damage();
        }
        self.marked = false;
        self.slices |= kind.is_slice();
        self.key |= kind == UnitKind::IdrSlice;
    }

    fn judge_marker(&mut self) {
        self.markers = match self.markers {
            Markers::Unproven(right) if self.marked && right + 1 >= MARKERS_PROVEN => Markers::Trusted,
            Markers::Unproven(right) if self.marked => Markers::Unproven(right + 1),
            Markers::Unproven(_) => Markers::Unproven(0),
            Markers::Trusted => Markers::Trusted,
            Markers::Wrong => Markers::Wrong,
        };
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.damaged {
            return;
        }
        if bytes.len() > ACCESS_UNIT_BYTES_MAX.saturating_sub(self.sample.len()) {
            self.fail(DepacketizeError::TooLong);
            self.unusable = true;
            self.damage();
            return;
        }
        self.sample.extend_from_slice(bytes);
    }

    fn close_fragmented<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        let Some(begin) = self.fragmented.take() else { return };
        if self.damaged {
            return;
        }
        let unit = self.sample.get(begin + LENGTH_BYTES..).unwrap_or_default();
        if self.may_hold_start_code(unit) && find_start_code(unit).is_some() {
            self.annex_b = true;
            let unit = unit.to_vec();
            self.sample.truncate(begin);
            for unit in annex_b_units(&unit) {
                self.whole_unit(unit, self.timestamp, output);
            }
        } else {
            self.close(begin);
        }
    }

    /// A NAL unit is complete: writes its length, and looks at what is no slice.
    fn close(&mut self, begin: usize) {
        if self.damaged {
            return;
        }
        let Some((length, unit)) =
            self.sample.get_mut(begin..).and_then(|bytes| bytes.split_first_chunk_mut::<LENGTH_BYTES>())
        else {
            return;
        };
        *length = u32::try_from(unit.len()).unwrap_or(0).to_be_bytes();
        match UnitKind::of(unit) {
            Some(UnitKind::Sei) => self.key |= is_clean_recovery_point(unit),
            Some(UnitKind::Sps) => {
                if let Err(error) = self.sets.learn_sps(unit) {
                    self.error = self.error.or(Some(error.into()));
                }
            }
            Some(UnitKind::Pps) => self.sets.learn_pps(unit),
            _ => {}
        }
    }

    /// The access unit ends; without a slice it is none, and goes on.
    fn end<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        if !self.damaged && self.slices {
            let changed = self.sets.changed_config().filter(|config| *config != output.config.config);
            let config_changed = changed.is_some();
            if let Some(config) = changed {
                output.config.config = config;
            }
            if output.config.config.is_empty() {
                self.fail(DepacketizeError::ParameterSetsMissing);
            } else {
                output.emit(&self.sample, self.timestamp, self.key, config_changed);
                self.shrink();
            }
        }
        self.ended = self.marked.then_some(self.timestamp);
        self.begin();
    }

    fn begin(&mut self) {
        self.sample.clear();
        self.fragmented = None;
        self.slices = false;
        self.key = false;
        self.marked = false;
        self.damaged = false;
    }

    const fn is_empty(&self) -> bool {
        self.sample.is_empty() && !self.slices && !self.damaged
    }

    /// Something of the access unit at hand is missing.
    fn damage(&mut self) {
        self.damaged = true;
        self.sample.clear();
    }

    /// The packet cannot be used: the access unit it belongs to is dropped, and it counts as lost.
    fn refuse<S: FnMut(Sample<'_>)>(
        &mut self,
        error: DepacketizeError,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) {
        self.fail(error);
        self.turn_damaged(timestamp, output);
        self.unusable = true;
    }

    /// Makes the access unit of `timestamp` a damaged one.
    fn turn_damaged<S: FnMut(Sample<'_>)>(&mut self, timestamp: i64, output: &mut Output<'_, S>) {
        if timestamp != self.timestamp || self.marked {
            if self.fragmented.is_some() {
                self.damage();
            }
            self.end(output);
        }
        self.timestamp = timestamp;
        self.after_loss = false;
        self.fragmented = None;
        self.damage();
    }

    fn fail(&mut self, error: DepacketizeError) {
        self.error = self.error.or(Some(error));
    }

    /// Gives back the memory of a rare large access unit.
    fn shrink(&mut self) {
        let length = self.sample.len();
        if self.sample.capacity() <= KEPT_BYTES || length > self.sample.capacity() / 4 {
            (self.small_samples, self.largest_small) = (0, 0);
            return;
        }
        self.small_samples += 1;
        self.largest_small = self.largest_small.max(length);
        if self.small_samples >= SHRINK_AFTER_SAMPLES {
            self.sample.clear();
            self.sample.shrink_to(self.largest_small.max(KEPT_BYTES));
            (self.small_samples, self.largest_small) = (0, 0);
        }
    }
}
