//! Access units out of payloads of NAL units (RFC 6184, RFC 7798): where they begin and end, and what must be dropped.
//!
//! An access unit ends before a NAL unit that can only stand before a picture, before the first slice of another
//! picture, and at a change of the timestamp; these are always true. It also ends at the marker, which saves
//! waiting for the next packet, but only once the marker proved right: some cameras set it on every slice. A marker
//! or a change of the timestamp while no slice has come is ignored, because cameras set markers on parameter sets
//! and SEI (H264DVR) and give them timestamps of their own (Reolink). What differs between codings is a [`NalCoding`].

use crate::nal::{LENGTH_BYTES, SpsError, annex_b_units, find_start_code};
use crate::replay::FrameMark;
use crate::rtp::RtpPacket;

use super::memory::SampleMemory;
use super::{ACCESS_UNIT_BYTES_MAX, DepacketizeError, Emission, Output, Sample};

/// Markers in a row that must have been right before access units are ended by them.
const MARKERS_PROVEN: u32 = 8;

/// Most bytes held while no slice has come: parameter sets and SEI take a few hundred.
const PREFIX_BYTES_MAX: usize = 256 * 1024;

/// What differs between the codings whose samples are NAL units.
pub(super) trait NalCoding {
    /// Bytes of the header of a NAL unit, 1 or 2.
    const HEADER_BYTES: usize;

    /// Takes a payload apart that begins with the header of a NAL unit.
    fn payload(payload: &[u8]) -> Payload<'_>;

    /// What a NAL unit means for the access unit; `head` is its header and the byte behind it, if there is one.
    fn role(head: &[u8]) -> Role;

    /// Looks at a whole NAL unit that is no slice, keeps it if it is a parameter set, and returns whether it says that
    /// decoding can start at its picture.
    fn learn(&mut self, unit: &[u8]) -> Result<bool, SpsError>;

    /// The decoder configuration, if parameter sets changed since the last call and it can be built.
    fn changed_config(&mut self) -> Option<Vec<u8>>;
}

/// What a payload is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'a> {
    /// One NAL unit.
    Unit,
    /// Several, each behind its length in two bytes.
    Aggregate(&'a [u8]),
    /// A part of one.
    Fragment(Fragment<'a>),
    /// Shorter than its own headers.
    Truncated,
    /// A type that is not supported, of which a picture may be.
    Refused(u8),
    /// A reserved or undefined type, which belongs to no picture.
    Ignored(u8),
}

/// A part of a NAL unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) start: bool,
    pub(super) end: bool,
    /// The header of the whole unit; the first [`NalCoding::HEADER_BYTES`] count.
    pub(super) header: [u8; 2],
    pub(super) data: &'a [u8],
}

/// What a NAL unit means for the access unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// It carries a part of the picture.
    pub(super) slice: bool,
    /// It is the first slice of a picture.
    pub(super) begins_picture: bool,
    /// It can only stand before a picture.
    pub(super) begins_access_unit: bool,
    /// It is a slice of a picture that decoding can start at.
    pub(super) key: bool,
    /// Its type, if only RTP uses that.
    pub(super) outside: Option<u8>,
}

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
pub(super) struct AccessUnitAssembler<C> {
    coding: C,
    markers: Markers,
    /// Start codes were found inside of payloads, so that slices are searched, too.
    annex_b: bool,
    /// NAL units with lengths; empty while `damaged`.
    sample: SampleMemory,
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
    /// What the first packets of the access unit say of it.
    mark: Option<FrameMark>,
    /// What the packet at hand says.
    packet_mark: Option<FrameMark>,
}

impl<C: NalCoding> AccessUnitAssembler<C> {
    pub(super) fn new(coding: C) -> Self {
        Self {
            coding,
            markers: Markers::Unproven(0),
            annex_b: false,
            sample: SampleMemory::default(),
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
            mark: None,
            packet_mark: None,
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.sample.len()
    }

    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
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
        self.packet_mark = FrameMark::of(packet);
        match *packet.payload {
            [] => self.error = Some(DepacketizeError::Empty),
            [0, 0, 1, ..] | [0, 0, 0, 1, ..] => self.unit(packet.payload, timestamp, output),
            [header, ..] if header & 0x80 != 0 => self.refuse(DepacketizeError::Forbidden, timestamp, output),
            [..] => match C::payload(packet.payload) {
                Payload::Unit => self.unit(packet.payload, timestamp, output),
                Payload::Aggregate(units) => self.aggregate(units, timestamp, output),
                Payload::Fragment(fragment) => self.fragment(fragment, timestamp, output),
                Payload::Truncated => self.refuse(DepacketizeError::Truncated, timestamp, output),
                Payload::Refused(kind) => self.refuse(DepacketizeError::UnitType(kind), timestamp, output),
                Payload::Ignored(kind) => self.error = Some(DepacketizeError::UnitType(kind)),
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

    /// Several NAL units (RFC 6184 §5.7.1, RFC 7798 §4.4.2).
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

    /// A part of a NAL unit (RFC 6184 §5.8, RFC 7798 §4.4.3). A unit whose last fragment lacks the end bit ends when
    /// something else begins: the sequence numbers prove that nothing is missing. A fragment with both bits is a whole
    /// unit.
    fn fragment<S: FnMut(Sample<'_>)>(
        &mut self,
        fragment: Fragment<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) {
        let Fragment { start, end, header, data } = fragment;
        let header = header.get(..C::HEADER_BYTES).unwrap_or(&header);
        let role = C::role(header);
        if start {
            if let Some(kind) = role.outside {
                return self.refuse(DepacketizeError::UnitType(kind), timestamp, output);
            }
            self.close_fragmented(output);
            self.open(C::role(Head::new(header, data).bytes()), timestamp, output);
            self.fragmented = Some(self.sample.len());
            self.append(&[0; LENGTH_BYTES]);
            self.append(header);
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
            self.slices |= role.slice;
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
        self.annex_b || unit.first() == Some(&0) || !C::role(unit).slice
    }

    fn whole_unit<S: FnMut(Sample<'_>)>(&mut self, unit: &[u8], timestamp: i64, output: &mut Output<'_, S>) {
        let Some(first) = unit.first() else { return };
        if first & 0x80 != 0 {
            return self.refuse(DepacketizeError::Forbidden, timestamp, output);
        }
        if unit.len() < C::HEADER_BYTES {
            return self.refuse(DepacketizeError::Truncated, timestamp, output);
        }
        let role = C::role(unit);
        if let Some(kind) = role.outside {
            return self.refuse(DepacketizeError::UnitType(kind), timestamp, output);
        }
        self.open(role, timestamp, output);
        let begin = self.sample.len();
        self.append(&[0; LENGTH_BYTES]);
        self.append(unit);
        self.close(begin);
    }

    /// A NAL unit begins: ends the access unit before it, if it is not of the same.
    fn open<S: FnMut(Sample<'_>)>(&mut self, role: Role, timestamp: i64, output: &mut Output<'_, S>) {
        let begins = role.begins_access_unit || role.begins_picture;
        if self.slices && (timestamp != self.timestamp || begins) {
            self.judge_marker();
            self.end(output);
        } else if role.slice && !role.begins_picture {
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
            self.mark = self.packet_mark.or(self.mark);
            if self.sample.len() > PREFIX_BYTES_MAX {
                self.fail(DepacketizeError::TooLong);
                self.begin();
            }
        }
        if std::mem::take(&mut self.after_loss) && role.slice && !role.begins_picture {
            self.damage();
        }
        self.marked = false;
        self.slices |= role.slice;
        self.key |= role.key;
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
        self.sample.append(bytes);
    }

    fn close_fragmented<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        let Some(begin) = self.fragmented.take() else { return };
        if self.damaged {
            return;
        }
        let unit = self.sample.bytes().get(begin + LENGTH_BYTES..).unwrap_or_default();
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
        let Some((length, unit)) = self
            .sample
            .bytes_mut()
            .get_mut(begin..)
            .and_then(|bytes| bytes.split_first_chunk_mut::<LENGTH_BYTES>())
        else {
            return;
        };
        *length = u32::try_from(unit.len()).unwrap_or(0).to_be_bytes();
        match self.coding.learn(unit) {
            Ok(clean) => self.key |= clean,
            Err(error) => self.error = self.error.or(Some(error.into())),
        }
    }

    /// The access unit ends; without a slice it is none, and goes on.
    fn end<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        if !self.damaged && self.slices {
            let changed = self.coding.changed_config().filter(|config| *config != output.config.config);
            let config_changed = changed.is_some();
            if let Some(config) = changed {
                output.config.config = config;
            }
            if output.config.config.is_empty() {
                self.fail(DepacketizeError::ParameterSetsMissing);
            } else {
                output.emit(Emission {
                    data: self.sample.bytes(),
                    timestamp: self.timestamp,
                    key: self.key,
                    mark: self.mark,
                    config_changed,
                });
                self.sample.sent();
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
        self.mark = None;
    }

    fn is_empty(&self) -> bool {
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
}

/// The first bytes of a NAL unit whose header and data stand apart.
struct Head {
    bytes: [u8; 3],
    length: usize,
}

impl Head {
    fn new(header: &[u8], data: &[u8]) -> Self {
        let mut head = Self { bytes: [0; 3], length: 0 };
        let first = header.iter().chain(data.first());
        head.length = head.bytes.iter_mut().zip(first).map(|(place, byte)| *place = *byte).count();
        head
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
