//! The words of the store: what a writer says of a record, what a reader learns of it, what is reported.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{
    CameraId, Condition, GapReason, Origin, Place, RoleId, Span, StreamId, TrackConfig, WallTime,
};

use crate::DiskRole;

/// Most tracks in one stream: video, audio and room for two more.
pub const TRACKS_MAX: usize = 4;

/// Most 90 kHz ticks of label in one record or one row of the index: an hour.
pub const ROW_TICKS_MAX: i64 = 3600 * keepwatch_model::TICKS_PER_SECOND;

/// An unbroken stretch of one stream: from a connection or a parameter change to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Which of a stream's two ways to the disk a record takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// As it comes from the camera.
    #[default]
    Live,
    /// Fetched later, for a gap: into extents of its own, behind all live records, and never in the place of footage that
    /// is newer.
    Backfill,
}

impl Lane {
    /// The code on disk; never reused. It was a zero byte before there were lanes.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Backfill => 1,
        }
    }

    /// The lane of a code on disk. What a later version may add is not appended to by cameras, and is read all the same.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Live,
            _ => Self::Backfill,
        }
    }
}

/// A disk's identity, drawn when its container was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub [u8; 16]);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RoleId(self.0).fmt(f)
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How camera time was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeQuality {
    /// From the times of arrival, before the first sender report.
    Provisional,
    /// From sender reports.
    SenderReport,
}

/// The camera's own time of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraTime {
    /// Its first sample up to the end of its last.
    pub span: Span,
    /// How it was learned.
    pub quality: TimeQuality,
}

/// Why nothing is held before the first record of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapBefore {
    /// First label of the gap; it ends where the record begins.
    pub from: WallTime,
    /// Why.
    pub reason: GapReason,
}

/// What a writer says of a record when it closes it.
#[derive(Clone, Debug)]
pub struct RecordMeta {
    /// The run it belongs to.
    pub run: RunId,
    /// It is the first of its run.
    pub run_start: bool,
    /// It goes on with the group of pictures of the record before it.
    pub continuation: bool,
    /// Its labels, at most [`ROW_TICKS_MAX`] long.
    pub label: Span,
    /// Label of the first sample pushed to each track; ignored for tracks without samples.
    pub track_labels: [WallTime; TRACKS_MAX],
    /// The camera's own time; `None` when not known.
    pub camera_time: Option<CameraTime>,
    /// What a reader must know of each track; at least as many as tracks pushed to.
    pub tracks: Arc<[TrackConfig]>,
    /// The gap that ends with this record; only on the first of a run.
    pub gap_before: Option<GapBefore>,
    /// Packets that were sent but did not arrive, of this record.
    pub lost_packets: u32,
    /// Who recorded it.
    pub origin: Origin,
    /// The recorder that recorded it; `None` means this one.
    pub recorder: Option<RoleId>,
    /// The recorder it stands in for.
    pub replaces: Option<RoleId>,
}

/// What a record says of itself, without its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// The run it belongs to.
    pub run: RunId,
    /// It is the first of its run.
    pub run_start: bool,
    /// It goes on with the group of pictures of the record before it.
    pub continuation: bool,
    /// Its first video sample is a key frame.
    pub starts_with_key: bool,
    /// Its labels.
    pub label: Span,
    /// The camera's own time; `None` when not known.
    pub camera_time: Option<CameraTime>,
    /// The gap that ends with this record.
    pub gap_before: Option<GapBefore>,
    /// Packets that were sent but did not arrive.
    pub lost_packets: u32,
    /// Who recorded it.
    pub origin: Origin,
    /// The recorder that recorded it.
    pub recorder: RoleId,
    /// The recorder it stands in for.
    pub replaces: Option<RoleId>,
    /// Samples of all tracks.
    pub samples: u32,
    /// Bytes of all samples.
    pub media_bytes: u32,
}

/// Where a record lies. Small, cheap to copy; stays valid until the footage is overwritten, which a read finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// What the record says of itself.
    pub info: RecordInfo,
    pub(crate) disk: DiskId,
    pub(crate) extent: u32,
    pub(crate) sequence: u64,
    pub(crate) offset_bytes: u32,
    pub(crate) head_bytes: u32,
    pub(crate) record_bytes: u32,
}

impl RecordRef {
    /// The disk that it lies on.
    pub const fn disk(&self) -> DiskId {
        self.disk
    }
}

/// One sample of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Presentation time in ticks of the track's clock, on the unwrapped time line of the run.
    pub pts: i64,
    /// Whether decoding can start here.
    pub key: bool,
    /// Its length in bytes.
    pub bytes: u32,
    /// CRC32C of its bytes.
    pub crc: u32,
    /// Where it begins in the track's data.
    pub offset_bytes: u32,
}

/// One track of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordTrack {
    /// What a reader must know before the first sample.
    pub config: TrackConfig,
    /// The label of the first sample; that of another is this plus the difference of `pts`.
    pub label: WallTime,
    /// Its samples in the order they came.
    pub samples: Vec<Sample>,
    /// Where the track's data begins in the record.
    pub(crate) data_offset_bytes: u32,
    /// Its length.
    pub(crate) data_bytes: u32,
}

impl RecordTrack {
    /// The label of `sample`, which must be of this track.
    pub fn label_of(&self, sample: &Sample) -> WallTime {
        let base = self.samples.first().map_or(sample.pts, |first| first.pts);
        let ticks = i128::from(sample.pts) - i128::from(base);
        let rate = i128::from(self.config.clock_rate.max(1));
        let scaled = (ticks * i128::from(keepwatch_model::TICKS_PER_SECOND)).div_euclid(rate);
        self.label.plus(i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// All of a record but its samples' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordIndex {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// What the record says of itself.
    pub info: RecordInfo,
    /// Its tracks, those without samples included.
    pub tracks: Vec<RecordTrack>,
}

/// A row of the index: contiguous records of one run in one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// The disk that holds it.
    pub disk: DiskId,
    /// The extent on that disk.
    pub extent: u32,
    /// The use of the extent, which only grows.
    pub sequence: u64,
    /// The run.
    pub run: RunId,
    /// Its labels.
    pub label: Span,
    /// Number of its first record in the extent.
    pub first_record: u32,
    /// Number of its last record in the extent.
    pub last_record: u32,
    /// Samples of all tracks.
    pub samples: u64,
    /// Bytes of all samples.
    pub media_bytes: u64,
    /// It begins with the first record of the run.
    pub run_start: bool,
    /// The gap that ends where it begins.
    pub gap_before: Option<GapBefore>,
    /// Packets that were sent but did not arrive.
    pub lost_packets: u64,
    /// Who recorded it.
    pub origin: Origin,
    /// The recorder that recorded it.
    pub recorder: RoleId,
    /// The recorder it stands in for.
    pub replaces: Option<RoleId>,
}

/// Records that became durable: one per record, called after the flush that covers it.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// Whether it came from the camera or was fetched for a gap.
    pub lane: Lane,
    /// What the record says of itself.
    pub info: RecordInfo,
    /// The disk that holds it.
    pub disk: DiskId,
    /// Which storage that is of.
    pub place: Place,
    /// When it was queued.
    pub queued_at: Instant,
}

/// A queued record that could not be written anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// Whether it came from the camera or was fetched for a gap, which is still there then.
    pub lane: Lane,
    /// What the record said of itself.
    pub info: RecordInfo,
    /// Why: the disk is full or gone.
    pub reason: GapReason,
}

/// Why footage was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Its space was needed.
    ForSpace,
    /// It had reached the end of its retention.
    ByAge,
    /// It was not deleted: a disk that had said to have written it has not.
    Damaged,
}

/// What happened to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEvent {
    /// The configured path.
    pub path: PathBuf,
    /// What happened.
    pub change: DiskChange,
}

/// What happened to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskChange {
    /// A blank disk was taken into use.
    Adopted,
    /// It is in use again.
    Returned,
    /// It cannot be used; the text says why.
    Gone(String),
    /// It can be read and not written; the text says why.
    ReadOnly(String),
    /// It belongs to another recorder and waits for a confirmation.
    Foreign(RoleId),
    /// The file system does not take direct writes; the page cache is used.
    Buffered,
    /// It is too slow for its cameras.
    Slow,
    /// It keeps up again.
    KeepsUp,
    /// All its footage is protected, nothing can be overwritten.
    Full,
    /// There is room again.
    HasRoom,
}

/// What can be done with the disks of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceStatus {
    /// What can be done with the best of them.
    pub condition: Condition,
    /// Those that can be read, in ascending order: whether a disk came back or another is in its place.
    pub disks: Vec<DiskId>,
}

/// Footage that was to be kept because it is not [outside](crate::Store::outside), and is not at one of its places any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// Whose footage.
    pub camera: CameraId,
    /// Which stream.
    pub stream: StreamId,
    /// Which labels.
    pub span: Span,
    /// Where it was.
    pub place: Place,
}

/// Whether a disk can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// It takes footage.
    Online,
    /// It is not there or failed; it is taken back when it returns.
    Gone {
        /// Why, for an operator.
        why: String,
        /// Since when.
        since: Instant,
    },
    /// It can be read but not written: its writes fail, it is write-protected, or a later version made it; it is tried again. Or
    /// it was configured so.
    ReadOnly {
        /// Why, for an operator.
        why: String,
        /// Since when.
        since: Instant,
    },
    /// All its footage is protected.
    Full,
    /// It belongs to another recorder.
    Foreign {
        /// Which.
        owner: RoleId,
    },
}

impl DiskState {
    /// What can be done with a disk that stands so.
    pub const fn condition(&self) -> Condition {
        match self {
            Self::Online => Condition::Writable,
            Self::ReadOnly { .. } | Self::Full => Condition::ReadOnly,
            Self::Gone { .. } | Self::Foreign { .. } => Condition::Gone,
        }
    }
}

impl DiskState {
    /// That it can be read only, from now on.
    pub(crate) fn read_only(why: &str) -> Self {
        Self::ReadOnly { why: why.to_owned(), since: Instant::now() }
    }
}

/// How fast a disk makes footage durable when it does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRate {
    /// Bytes per second, of records of several cameras at once.
    pub bytes_per_second: u64,
    /// When that was measured.
    pub measured_at: WallTime,
}

/// The state of one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskStatus {
    /// The configured path.
    pub path: PathBuf,
    /// Its identity; `None` while it was never seen.
    pub id: Option<DiskId>,
    /// What it is for.
    pub role: DiskRole,
    /// Whether it can be used.
    pub state: DiskState,
    /// It does not keep up with its cameras.
    pub slow: bool,
    /// Bytes it can hold.
    pub size_bytes: u64,
    /// Bytes of extents in use.
    pub used_bytes: u64,
    /// Bytes of extents in use that cannot be overwritten.
    pub protected_bytes: u64,
    /// Bytes of the buffer that wait to be written.
    pub queued_bytes: u64,
    /// How fast it is; `None` when that was never measured.
    pub write_rate: Option<WriteRate>,
    /// Bytes that it was given to write since the store was opened: records, and what is needed to find them.
    pub written_bytes: u64,
    /// Bytes of media among them.
    pub media_bytes: u64,
    /// It is only shown, because it was configured so.
    pub read_only: bool,
}

/// A camera of which a read-only disk holds footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The disk.
    pub disk: DiskId,
    /// Its configured path.
    pub path: PathBuf,
    /// The recorder that writes it.
    pub owner: RoleId,
    /// The camera's id there.
    pub camera: CameraId,
    /// Its id here, under which its footage is found.
    pub local: CameraId,
    /// It has a sub stream there, too.
    pub sub: bool,
    /// Grows with every look at the disk that found more, or less, than the one before.
    pub revision: u64,
}

/// What was found when a store was opened.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Every disk had been closed properly.
    pub clean: bool,
    /// Records found on disks that the index did not know.
    pub records_recovered: u64,
    /// Bytes behind the last whole record of an extent that hold a part of a record; they will be overwritten.
    pub truncated_bytes: u64,
    /// Footage in the index that is on no disk any more: given up just before the end. Also told by
    /// [`StoreEvents::reclaimed`].
    pub vanished: Vec<(CameraId, StreamId, Span)>,
    /// The first label after all that is held of each stream.
    pub held_until: Vec<(CameraId, StreamId, WallTime)>,
    /// The index could not be read and was made anew from the disks.
    pub index_recreated: bool,
    /// How long it took.
    pub elapsed: Duration,
}

/// A protection against deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Its number.
    pub id: ProtectionId,
    /// Whose footage, all streams.
    pub camera: CameraId,
    /// Which labels.
    pub span: Span,
    /// Why, in the words of whoever asked.
    pub note: String,
}

/// The number of a protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtectionId(pub i64);

/// One line of a stream's ledger, as kept for it; the codes are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whose.
    pub camera: CameraId,
    /// Of which stream.
    pub stream: StreamId,
    /// First label.
    pub from: WallTime,
    /// First label after; `None` while it is open.
    pub to: Option<WallTime>,
    /// What kind of line.
    pub kind: u8,
    /// Why; 0 means no reason.
    pub reason: u8,
    /// Who recorded what is held; `None` means this recorder, or that it was not kept.
    pub recorder: Option<RoleId>,
    /// In whose place.
    pub replaces: Option<RoleId>,
    /// How far it is fetched from elsewhere; 0 means that it is not.
    pub backfill: u8,
}

/// Hears of what writer threads do. Must not block.
pub trait StoreEvents: Send + Sync {
    /// A record is on disk and stays there whatever happens to the process or the power.
    fn durable(&self, commit: &Commit);

    /// A queued record could not be written anywhere.
    fn lost(&self, loss: &Loss);

    /// Footage was deleted.
    fn reclaimed(&self, camera: CameraId, stream: StreamId, spans: &[Span], why: Reclaim);

    /// Something happened to a disk. Also called while the store is being opened.
    fn disk(&self, event: &DiskEvent);

    /// Footage that was to be [kept](crate::Store::keep), or was in the [tail](crate::Store::keep_tail), had to go from one of its places.
    fn gave_up(&self, _: &GaveUp) {}
}

/// Hears nothing: for readers and tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl StoreEvents for Silent {
    fn durable(&self, _: &Commit) {}
    fn lost(&self, _: &Loss) {}
    fn reclaimed(&self, _: CameraId, _: StreamId, _: &[Span], _: Reclaim) {}
    fn disk(&self, _: &DiskEvent) {}
}
