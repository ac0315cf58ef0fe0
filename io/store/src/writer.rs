//! Writing one stream: samples into the open record, the closed record to its disk. Never blocks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use keepwatch_model::{CameraId, StreamId, TrackConfig};

use crate::chunk::{Chunk, Media};
use crate::device::AlignedBuffer;
use crate::format::{
    BLOCK_BYTES, HEADER_BYTES, RecordHeader, SAMPLE_BYTES, TRACK_BYTES, TableTrack, encode_table, length_u32,
    padded,
};
use crate::hold::Hold;
use crate::shared::{Queued, Shared};
use crate::volume::Job;
use crate::{CommitError, Lane, PushError, ROW_TICKS_MAX, RecordInfo, RecordMeta, TRACKS_MAX};
use keepwatch_model::GapReason;

/// Most samples in one record: bounds its table. The store makes none with more.
pub const SAMPLES_MAX: usize = 16_384;
/// Bytes set aside for the configurations while samples come: parameter sets of real cameras take less than 200.
const CONFIGS_BYTES_USUAL: usize = 1_024;
/// Most bytes of configuration of one track: as long as an SDP may make it.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// Writes one stream; used from one task at a time and never blocks.
pub struct StreamWriter {
    shared: Arc<Shared>,
    camera: CameraId,
    stream: StreamId,
    lane: Lane,
    tracks: [OpenTrack; TRACKS_MAX],
    /// Where closed records may have to wait; `None` for a stream that always records.
    hold: Option<Hold>,
    /// The open record will wait there, and its memory is of there.
    waits: bool,
}

/// Where a closed record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is queued for its disk.
    Queued,
    /// It waits in the stream's [`Hold`].
    Held,
    /// No disk takes it, and it stands in the [tail](crate::Store::keep_tail): a disk that comes back in time gets it, and who
    /// sends it elsewhere reads it there. It is told to be durable or lost later.
    InMemory,
}

/// A sample of the open record, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSample {
    /// Presentation time as it was pushed.
    pub pts: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// A track of the open record.
#[derive(Default)]
struct OpenTrack {
    chunks: Vec<Chunk>,
    /// The chunk that is being filled; those behind it are empty.
    filling: usize,
    bytes: usize,
    base_pts: i64,
    starts_with_key: bool,
    /// Kept from record to record, so that its memory is asked for once.
    samples: Vec<[u8; SAMPLE_BYTES]>,
}

impl StreamWriter {
    pub(crate) fn new(shared: Arc<Shared>, camera: CameraId, stream: StreamId, lane: Lane) -> Self {
        Self { shared, camera, stream, lane, tracks: Default::default(), hold: None, waits: false }
    }

    /// A writer of the stream of `hold`.
    pub(crate) fn behind(shared: Arc<Shared>, hold: Hold) -> Self {
        let (camera, stream) = hold.key();
        Self { hold: Some(hold), ..Self::new(shared, camera, stream, Lane::Live) }
    }

    /// Copies a sample into the open record. `track` is its place in [`RecordMeta::tracks`], `pts` is in ticks of
    /// the track, unwrapped, and may go back and forth within a record.
    pub fn push(&mut self, track: usize, pts: i64, key: bool, data: &[u8]) -> Result<(), PushError> {
        self.push_parts(track, pts, key, &[data])
    }

    /// As [`push`](Self::push), of a sample in parts.
    pub fn push_parts(
        &mut self,
        track: usize,
        pts: i64,
        key: bool,
        parts: &[&[u8]],
    ) -> Result<(), PushError> {
        let bytes = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let samples = self.open_samples();
        if samples == 0 {
            self.waits = self.hold.as_ref().is_some_and(Hold::keeps);
        }
        let record_bytes = self.record_bytes(samples + 1).saturating_add(bytes);
        let limit = self.shared.record_bytes_max.load(Ordering::Relaxed);
        let Some(open) = self.tracks.get_mut(track) else { return Err(PushError::RecordFull) };
        let base = if open.samples.is_empty() { pts } else { open.base_pts };
        let offset_ticks = pts.checked_sub(base).and_then(|ticks| i32::try_from(ticks).ok());
        let (Some(offset_ticks), Ok(sample_bytes)) = (offset_ticks, u32::try_from(bytes)) else {
            return Err(PushError::RecordFull);
        };
        if record_bytes as u64 > limit || samples >= SAMPLES_MAX {
            return Err(PushError::RecordFull);
        }
        let hold = self.hold.as_ref().filter(|_| self.waits);
        reserve(&self.shared, self.lane, hold, open, bytes)?;
        let mut crc = 0;
        for part in parts {
            crc = crc32c::crc32c_append(crc, part);
            open.append(part);
        }
        if open.samples.is_empty() {
            open.base_pts = pts;
            open.starts_with_key = key;
        }
        open.samples.push(TableTrack::encode_sample(sample_bytes, offset_ticks, crc, key));
        Ok(())
    }

    /// Bytes of samples in the open record.
    pub fn open_bytes(&self) -> usize {
        self.tracks.iter().map(|track| track.bytes).sum()
    }

    /// Samples in the open record, of all tracks.
    pub fn open_samples(&self) -> usize {
        self.tracks.iter().map(|track| track.samples.len()).sum()
    }

    /// The samples of a track in the open record, in the order they were pushed; empty when there is no such track. Copies
    /// them: for those who want to see what is not on its way to the disk yet.
    pub fn open_record(&self, track: usize) -> Vec<OpenSample> {
        self.tracks.get(track).map(OpenTrack::samples).unwrap_or_default()
    }

    /// Closes the open record and queues it for its disk, or lets it wait where the stream has a hold that keeps. Whatever the
    /// result, the next record is empty.
    pub fn commit(&mut self, meta: RecordMeta) -> Result<(), CommitError> {
        self.commit_or_hold(meta).map(|_| ())
    }

    /// The same, and says where the record went.
    pub fn commit_or_hold(&mut self, meta: RecordMeta) -> Result<Committed, CommitError> {
        let job = self.close(&meta);
        self.discard();
        let mut job = job?;
        if self.shared.closed.load(Ordering::Relaxed) || self.shared.read_only {
            return Err(CommitError::Closed);
        }
        if let Some(hold) = self.hold.as_ref().filter(|_| self.waits) {
            match hold.offer(job) {
                None => return Ok(Committed::Held),
                // It was released while this one was open.
                Some(back) => job = back,
            }
        }
        if self.lane == Lane::Live {
            self.shared.keep_in_tail(&job);
        }
        Ok(match self.shared.queue(job).map_err(CommitError::NoDisk)? {
            Queued::ForDisk => Committed::Queued,
            Queued::InTail => Committed::InMemory,
        })
    }

    /// Drops the open record.
    pub fn discard(&mut self) {
        for track in &mut self.tracks {
            track.chunks.clear();
            track.samples.clear();
            track.filling = 0;
            track.bytes = 0;
        }
    }

    /// Bytes the open record would take with `samples` in its table, at most.
    fn record_bytes(&self, samples: usize) -> usize {
        let table = HEADER_BYTES + TRACKS_MAX * TRACK_BYTES + CONFIGS_BYTES_USUAL + samples * SAMPLE_BYTES;
        let data: usize = self.tracks.iter().map(|track| padded(track.bytes)).sum();
        padded(table) + data + BLOCK_BYTES
    }

    fn close(&mut self, meta: &RecordMeta) -> Result<Job, CommitError> {
        let samples = self.open_samples();
        if samples == 0 {
            return Err(CommitError::Empty);
        }
        let known = meta.tracks.len().min(TRACKS_MAX);
        let undescribed = self.tracks[known..].iter().any(|track| !track.samples.is_empty());
        let configs_fit = meta.tracks.iter().all(|track| track.config.len() <= CONFIG_BYTES_MAX);
        let label_fits = (1..=ROW_TICKS_MAX).contains(&meta.label.ticks());
        if undescribed || known == 0 || meta.tracks.len() > TRACKS_MAX || !configs_fit || !label_fits {
            return Err(CommitError::Meta);
        }
        let config_bytes: usize = meta.tracks.iter().map(|track| track.config.len()).sum();
        let needed = HEADER_BYTES + known * TRACK_BYTES + config_bytes + samples * SAMPLE_BYTES;
        let mut head = AlignedBuffer::zeroed(padded(needed));
        let table: Vec<TableTrack<'_>> = (self.tracks.iter().zip(meta.tracks.iter()).zip(&meta.track_labels))
            .map(|((open, config), label)| TableTrack {
                config,
                label: *label,
                base_pts: open.base_pts,
                samples: &open.samples,
                data_bytes: open.bytes,
            })
            .collect();
        let (table_bytes, table_crc, record_bytes) = encode_table(&mut head, &table);
        if u64::from(record_bytes) > self.shared.record_bytes_max.load(Ordering::Relaxed) {
            return Err(CommitError::Meta); // Configurations of an unusual size on a disk of very small extents.
        }
        let header = RecordHeader {
            head_bytes: length_u32(head.len()),
            sequence: 0,
            number: 0,
            chain: 0,
            epoch: 0,
            camera: self.camera,
            stream: self.stream,
            tracks: u8::try_from(known).expect("at most TRACKS_MAX"),
            record_bytes,
            table_bytes,
            table_crc,
            info: self.info(meta, samples),
        };
        let tracks = self.tracks.iter_mut().map(|track| std::mem::take(&mut track.chunks)).collect();
        Ok(Job { header, head, media: Media::new(tracks), queued_at: Instant::now(), lane: self.lane })
    }

    fn info(&self, meta: &RecordMeta, samples: usize) -> RecordInfo {
        let is_video = |config: &&TrackConfig| config.kind.is_video();
        let video = meta.tracks.iter().position(|config| is_video(&config)).unwrap_or(0);
        RecordInfo {
            run: meta.run,
            run_start: meta.run_start,
            continuation: meta.continuation,
            starts_with_key: self
                .tracks
                .get(video)
                .is_some_and(|track| track.starts_with_key && !track.samples.is_empty()),
            label: meta.label,
            camera_time: meta.camera_time,
            gap_before: meta.gap_before,
            lost_packets: meta.lost_packets,
            origin: meta.origin,
            recorder: meta.recorder.unwrap_or(self.shared.role),
            replaces: meta.replaces,
            samples: length_u32(samples),
            media_bytes: length_u32(self.open_bytes()),
        }
    }
}

impl std::fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamWriter({} {:?}, {} bytes open)", self.camera, self.stream, self.open_bytes())
    }
}

impl OpenTrack {
    fn samples(&self) -> Vec<OpenSample> {
        let mut bytes = self.chunks.iter().flat_map(|chunk| {
            // Pieces rather than bytes: a sample is copied in as many calls as it has chunks.
            let filled = chunk.filled();
            (!filled.is_empty()).then_some(filled)
        });
        let mut rest: &[u8] = &[];
        let mut samples = Vec::with_capacity(self.samples.len());
        for told in &self.samples {
            // They were encoded here.
            let Ok((length, offset_ticks, key)) = TableTrack::decode_sample(told) else { break };
            let length = length as usize;
            let mut data = Vec::with_capacity(length);
            while data.len() < length {
                if rest.is_empty() {
                    let Some(next) = bytes.next() else { return samples };
                    rest = next;
                }
                let (taken, left) = rest.split_at(rest.len().min(length - data.len()));
                data.extend_from_slice(taken);
                rest = left;
            }
            let pts = self.base_pts.saturating_add(i64::from(offset_ticks));
            samples.push(OpenSample { pts, key, data });
        }
        samples
    }

    fn append(&mut self, data: &[u8]) {
        self.bytes += data.len();
        let mut rest = data;
        while !rest.is_empty() {
            // `reserve` has made the room.
            let Some(chunk) = self.chunks.get_mut(self.filling) else { return };
            rest = chunk.append(rest);
            if chunk.room() == 0 {
                self.filling += 1;
            }
        }
    }
}

/// Makes room for `bytes` more; what was taken stays with the track when the buffer runs out.
fn reserve(
    shared: &Shared,
    lane: Lane,
    hold: Option<&Hold>,
    track: &mut OpenTrack,
    bytes: usize,
) -> Result<(), PushError> {
    let pool = match lane {
        Lane::Live => &shared.pool,
        Lane::Backfill => &shared.backfill_pool,
    };
    let mut room: usize = track.chunks.get(track.filling..).unwrap_or_default().iter().map(Chunk::room).sum();
    while room < bytes {
        let small = track.chunks.is_empty();
        // What is needed by now does not wait for the memory of what may be.
        let chunk = match hold.filter(|hold| hold.keeps()) {
            Some(hold) => hold.chunk(small),
            None => pool.take(small),
        };
        let Some(chunk) = chunk else {
            let reason = if shared.takes_records() { GapReason::DiskSlow } else { shared.why_not() };
            return Err(PushError::Backlog(reason));
        };
        room += chunk.room();
        track.chunks.push(chunk);
    }
    Ok(())
}
