//! What is known of a record without reading it: a line of an extent's index, in its trailer and in memory.

use keepwatch_model::{CameraId, GapReason, Origin, Span, StreamId, WallTime};

use super::{Reader, RecordHeader, Writer, padded};
use crate::{CameraTime, FormatError, GapBefore, RecordInfo, RunId, TimeQuality};

/// Bytes of an entry on disk.
pub(crate) const ENTRY_BYTES: usize = 128;

/// A record and where it lies in its extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the extent, from 0.
    pub(crate) number: u32,
    pub(crate) offset_bytes: u32,
    /// Bytes of header and table, padded.
    pub(crate) head_bytes: u32,
    /// Bytes of all of it, padded.
    pub(crate) record_bytes: u32,
    /// Checksum of its header: what the next record is chained to.
    pub(crate) header_crc: u32,
    pub(crate) info: RecordInfo,
}

/// Bytes that an index of `records` takes, padded.
pub(crate) const fn index_bytes(records: usize) -> usize {
    padded(records * ENTRY_BYTES)
}

impl Entry {
    /// The entry of a record with `header` at `offset_bytes`.
    pub(crate) const fn from_header(header: &RecordHeader, offset_bytes: u32, header_crc: u32) -> Self {
        Self {
            number: header.number,
            offset_bytes,
            head_bytes: header.head_bytes,
            record_bytes: header.record_bytes,
            header_crc,
            info: header.info,
        }
    }

    pub(crate) fn encode(&self, into: &mut [u8]) {
        let mut fields = Writer::new(into);
        fields
            .u32(self.number)
            .u32(self.offset_bytes)
            .u32(self.head_bytes)
            .u32(self.record_bytes)
            .u32(self.header_crc);
        encode_info(&self.info, &mut fields);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Reader::new(bytes, "index entry");
        Ok(Self {
            number: fields.u32()?,
            offset_bytes: fields.u32()?,
            head_bytes: fields.u32()?,
            record_bytes: fields.u32()?,
            header_crc: fields.u32()?,
            info: decode_info(&mut fields)?,
        })
    }

    /// First offset behind the record.
    pub(crate) const fn end_bytes(&self) -> u32 {
        self.offset_bytes.saturating_add(self.record_bytes)
    }

    /// The reference to it.
    pub(crate) const fn reference(
        &self,
        (camera, stream): (CameraId, StreamId),
        disk: crate::DiskId,
        extent: u32,
        sequence: u64,
    ) -> crate::RecordRef {
        crate::RecordRef {
            camera,
            stream,
            info: self.info,
            disk,
            extent,
            sequence,
            offset_bytes: self.offset_bytes,
            head_bytes: self.head_bytes,
            record_bytes: self.record_bytes,
        }
    }
}

/// Bytes of the description of a record, in headers and entries alike.
pub(crate) const INFO_BYTES: usize = 104;

const RUN_START: u8 = 1;
const CONTINUATION: u8 = 2;
const STARTS_WITH_KEY: u8 = 4;
const REPLACES: u8 = 8;

pub(crate) fn encode_info(info: &RecordInfo, fields: &mut Writer<'_>) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(info.run_start, RUN_START)
        | flag(info.continuation, CONTINUATION)
        | flag(info.starts_with_key, STARTS_WITH_KEY)
        | flag(info.replaces.is_some(), REPLACES);
    let quality = match info.camera_time.map(|time| time.quality) {
        None => 0,
        Some(TimeQuality::Provisional) => 1,
        Some(TimeQuality::SenderReport) => 2,
    };
    let nowhere = Span { from: WallTime::from_ticks(0), to: WallTime::from_ticks(0) };
    let camera_time = info.camera_time.map_or(nowhere, |time| time.span);
    let gap = info.gap_before;
    fields
        .u64(info.run.0)
        .label(info.label.from)
        .label(info.label.to)
        .label(camera_time.from)
        .label(camera_time.to)
        .label(gap.map_or(WallTime::from_ticks(0), |gap| gap.from))
        .u8(flags)
        .u8(info.origin.code())
        .u8(quality)
        .u8(gap.map_or(0, |gap| gap.reason.code()))
        .u32(info.lost_packets)
        .u32(info.samples)
        .u32(info.media_bytes)
        .u64(0)
        .bytes(&info.recorder.0)
        .bytes(&info.replaces.unwrap_or_default().0);
}

pub(crate) fn decode_info(fields: &mut Reader<'_>) -> Result<RecordInfo, FormatError> {
    let run = RunId(fields.u64()?);
    let label = Span::new(fields.label()?, fields.label()?).ok_or(FormatError::Field("label"))?;
    let camera_span = Span { from: fields.label()?, to: fields.label()? };
    let gap_from = fields.label()?;
    let flags = fields.u8()?;
    let origin = Origin::from_code(fields.u8()?).ok_or(FormatError::Field("origin"))?;
    let camera_time = match fields.u8()? {
        0 => None,
        1 => Some(CameraTime { span: camera_span, quality: TimeQuality::Provisional }),
        2 => Some(CameraTime { span: camera_span, quality: TimeQuality::SenderReport }),
        _ => return Err(FormatError::Field("camera time")),
    };
    let gap_before = match fields.u8()? {
        0 => None,
        code => {
            let reason = GapReason::from_code(code).ok_or(FormatError::Field("gap reason"))?;
            Some(GapBefore { from: gap_from, reason })
        }
    };
    let (lost_packets, samples, media_bytes) = (fields.u32()?, fields.u32()?, fields.u32()?);
    fields.u64()?;
    let recorder = fields.role()?;
    let replaces = fields.role()?;
    Ok(RecordInfo {
        run,
        run_start: flags & RUN_START != 0,
        continuation: flags & CONTINUATION != 0,
        starts_with_key: flags & STARTS_WITH_KEY != 0,
        label,
        camera_time,
        gap_before,
        lost_packets,
        origin,
        recorder,
        replaces: (flags & REPLACES != 0).then_some(replaces),
        samples,
        media_bytes,
    })
}
