//! One stream of a camera as everyone may know it: shared by its task, the disk writers and the API.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use keepwatch_model::{
    CameraId, EventCode, GapReason, MonoTime, Origin, Span, State, StreamId, Subject, TICKS_PER_SECOND,
    WallTime,
};
use keepwatch_recording::ledger::Ledger;
use keepwatch_recording::notices::Notices;
use keepwatch_recording::offset::{OffsetChange, OffsetWatch};
use keepwatch_recording::watermark::{Piece, Watermark};
use keepwatch_store::{Commit, Hold, Loss};
use tokio::sync::Notify;

use super::alarm::Alarms;
use super::books::{AccountGuard, Books, LedgerGuard};
use super::guest::{GuestOf, Provenance};
use crate::config::Fingerprint;
use crate::replenish::Intake;
use crate::serve::Hub;

/// How the connection of a stream stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Recording is not asked for.
    Unwanted,
    /// Waiting to dial again, for this reason.
    Waiting(GapReason),
    /// Dialling.
    Connecting,
    /// Connected; nothing on disk yet, for this reason.
    Connected(GapReason),
    /// Connected and recorded.
    Recording,
    /// Connected; what comes waits in memory, in case that its recorder fails.
    Buffered,
    /// Connected; what comes waits in memory for an alarm.
    Armed,
    /// An edge node records it and sends it here, a minute or two later.
    Relayed,
}

/// A stream's books and state.
#[derive(Debug)]
pub struct StreamState {
    /// Whose it is.
    pub camera: CameraId,
    /// Which one.
    pub id: StreamId,
    /// `None` for a camera of this recorder.
    guest: Option<GuestOf>,
    books: Mutex<Books>,
    watermark: Mutex<Watermark>,
    status: Mutex<Status>,
    /// Monotonic nanoseconds of the last commit to disk; 0 before the first.
    durable_at_ns: AtomicU64,
    /// The same of the last record that waits in memory.
    held_at_ns: AtomicU64,
    /// Records queued and neither durable nor lost.
    pending: AtomicU32,
    counters: Counters,
    progress: Notify,
    notices: Mutex<Notices>,
    /// Those of its camera, where it is the main stream.
    alarms: Alarms,
    /// Where its footage waits for an alarm; set once it may.
    alarm_hold: OnceLock<Hold>,
    hub: Arc<Hub>,
    intake: Intake,
}

/// What happened since the recorder started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Video frames queued for the disk.
    pub frames: AtomicU64,
    /// Packets that did not arrive, by sequence number.
    pub lost_packets: AtomicU64,
    /// Packets that could not be understood.
    pub bad_packets: AtomicU64,
    /// Sessions that were begun.
    pub sessions: AtomicU64,
    /// Bytes on disk.
    pub durable_bytes: AtomicU64,
}

/// What the last session learned of the camera.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// What is recorded of what it offers, such as `h265` and `aac`, the video first.
    pub tracks: Vec<&'static str>,
    /// What it offers and is not recorded, and why.
    pub left_out: Vec<String>,
    /// Fingerprint of the certificate it showed; `None` without TLS.
    pub certificate: Option<Fingerprint>,
    /// How its media came; `None` before the first session.
    pub transport: Option<&'static str>,
}

#[derive(Debug)]
struct Status {
    connection: Connection,
    since: WallTime,
    detail: Option<String>,
    learned: Learned,
    clock_offset_ticks: Option<i64>,
    offset_watch: OffsetWatch,
}

/// The event about a change of a camera's clock against the recorder's.
pub(crate) fn clock_offset_event(change: OffsetChange) -> (EventCode, String) {
    match change {
        OffsetChange::Off(ticks) => {
            let seconds = ticks.saturating_abs() / TICKS_PER_SECOND;
            let side = if ticks < 0 { "behind" } else { "ahead of" };
            let text = format!(
                "the camera's clock is {seconds} s {side} the recorder's; footage is labelled by the recorder's; set the \
                 camera to the same time server"
            );
            (EventCode::CameraClockOff, text)
        }
        OffsetChange::Right => (EventCode::CameraClockRight, "the camera's clock is right again".to_owned()),
    }
}

impl StreamState {
    pub(crate) fn new(camera: CameraId, id: StreamId, ledger: Ledger, now: WallTime) -> Self {
        Self {
            camera,
            id,
            guest: None,
            books: Mutex::new(Books::new(ledger)),
            watermark: Mutex::default(),
            status: Mutex::new(Status {
                connection: Connection::Unwanted,
                since: now,
                detail: None,
                learned: Learned::default(),
                clock_offset_ticks: None,
                offset_watch: OffsetWatch::default(),
            }),
            durable_at_ns: AtomicU64::new(0),
            held_at_ns: AtomicU64::new(0),
            pending: AtomicU32::new(0),
            counters: Counters::default(),
            progress: Notify::new(),
            notices: Mutex::default(),
            alarms: Alarms::default(),
            alarm_hold: OnceLock::new(),
            hub: Arc::default(),
            intake: Intake::default(),
        }
    }

    /// The same, of a guest.
    pub(crate) fn standing_in(self, guest: Option<GuestOf>) -> Self {
        Self { guest, ..self }
    }

    /// Who records it, as it stands in its records.
    pub(crate) fn provenance(&self) -> Provenance {
        Provenance::of(self.guest.as_ref())
    }

    /// The recorder that it belongs to; `None` for a camera of this one.
    pub(super) const fn guest(&self) -> Option<&GuestOf> {
        self.guest.as_ref()
    }

    /// Where it is shown.
    pub(crate) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What events about it are about.
    pub(crate) const fn subject(&self) -> Subject {
        Subject::Camera(self.camera)
    }

    /// The sentence of an event about it: that of a sub stream names it.
    pub(crate) fn sentence(&self, text: String) -> String {
        if self.id == StreamId::MAIN { text } else { format!("{} stream: {text}", self.id) }
    }

    /// What the camera noticed, as far as it was told.
    pub(crate) fn notices(&self) -> MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its camera is recorded on alarm, and how those stand.
    pub(super) const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    pub(super) const fn alarm_hold(&self) -> &OnceLock<Hold> {
        &self.alarm_hold
    }

    /// Its ledger.
    pub fn ledger(&self) -> LedgerGuard<'_> {
        LedgerGuard(self.books())
    }

    /// What a session of it tells into: the ledger, unless its footage only waits in memory.
    pub(crate) fn account(&self) -> AccountGuard<'_> {
        AccountGuard(self.books())
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its newest unbroken footage on disk, in camera time; `None` when there is none since the recorder started.
    pub fn newest(&self) -> Option<Span> {
        self.watermark().held()
    }

    /// What it takes, in bits per second; 0 before the first footage is on disk.
    pub fn bits_per_second(&self) -> u64 {
        self.watermark().bits_per_second()
    }

    /// What happened since the recorder started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the connection stands, since when, and the last error in the device's or the system's words.
    pub fn connection(&self) -> (Connection, WallTime, Option<String>) {
        let status = self.status();
        (status.connection, status.since, status.detail.clone())
    }

    /// What the last session learned of the camera.
    pub fn learned(&self) -> Learned {
        self.status().learned.clone()
    }

    /// How far the camera's clock is ahead of the recorder's by its sender reports, in 90 kHz ticks; `None` before the
    /// first.
    pub fn clock_offset_ticks(&self) -> Option<i64> {
        self.status().clock_offset_ticks
    }

    /// When the last record became durable; `None` before the first.
    pub fn durable_at(&self) -> Option<MonoTime> {
        match self.durable_at_ns.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(MonoTime::from_nanos(nanos)),
        }
    }

    pub(super) const fn held_at_ns(&self) -> &AtomicU64 {
        &self.held_at_ns
    }

    /// When the last record reached the disk, or the memory that it waits in; `None` before the first.
    pub(crate) fn progress_at(&self) -> Option<MonoTime> {
        let held = match self.held_at_ns.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(MonoTime::from_nanos(nanos)),
        };
        self.durable_at().max(held)
    }

    pub(crate) fn set_connection(&self, connection: Connection, now: WallTime) {
        let mut status = self.status();
        if status.connection != connection {
            status.connection = connection;
            status.since = now;
        }
        if matches!(
            connection,
            Connection::Recording | Connection::Buffered | Connection::Armed | Connection::Relayed
        ) {
            status.detail = None;
        }
    }

    pub(crate) fn set_detail(&self, detail: String) {
        self.status().detail = Some(detail);
    }

    /// Notes what a session learned; returns what was known before.
    pub(crate) fn learn(&self, learned: Learned) -> Learned {
        std::mem::replace(&mut self.status().learned, learned)
    }

    /// Notes by how much the camera's clock is ahead; returns what is worth telling.
    pub(crate) fn set_clock_offset(&self, ticks: Option<i64>) -> Option<OffsetChange> {
        let mut status = self.status();
        status.clock_offset_ticks = ticks;
        ticks.and_then(|ticks| status.offset_watch.look(ticks))
    }

    /// Records that wait for the disk.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// A record that ends here was closed and goes to the disk, if it need not wait.
    pub(crate) fn queued(&self, until: WallTime) {
        self.books().reach(until);
        self.queue_one();
    }

    pub(super) fn queue_one(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The store refused the record that was just counted.
    pub(crate) fn unqueued(&self) {
        self.settled();
    }

    /// A record reached the disk, or was lost on the way.
    fn settled(&self) {
        // A record whose queueing this process did not see would count below zero; there is none, so none is lost.
        let _ =
            self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| pending.checked_sub(1));
        self.progress.notify_one();
    }

    pub(crate) fn durable(&self, commit: &Commit, now: MonoTime) {
        let info = &commit.info;
        // Before the ledger: who sees there that footage is unbroken must find here where it ends.
        self.watermark().durable(Piece {
            label: info.label,
            camera: info.camera_time.map(|time| time.span),
            bytes: u64::from(info.media_bytes),
        });
        let held = State::Held { origin: info.origin, recorder: info.recorder, replaces: info.replaces };
        self.ledger().held(info.label, held);
        if let (Some(guest), Some(newest), StreamId::MAIN) = (&self.guest, self.newest(), self.id) {
            guest.news.durable((guest.role, guest.camera), newest.to);
        }
        self.durable_at_ns.store(now.as_nanos().max(1), Ordering::Relaxed);
        self.counters.durable_bytes.fetch_add(u64::from(info.media_bytes), Ordering::Relaxed);
        self.settled();
        self.hub.durable();
    }

    /// What was fetched for a gap, or sent by an edge node, is on disk.
    pub(crate) fn filled(&self, commit: &Commit, now: MonoTime) {
        let info = &commit.info;
        if info.origin == Origin::Edge {
            self.durable_at_ns.store(now.as_nanos().max(1), Ordering::Relaxed);
            self.counters.durable_bytes.fetch_add(u64::from(info.media_bytes), Ordering::Relaxed);
        }
        let held = State::Held { origin: info.origin, recorder: info.recorder, replaces: info.replaces };
        self.ledger().filled(info.label, held);
        self.intake.durable();
    }

    /// What is fetched for its gaps, on the way to the disk.
    pub(crate) const fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(crate) fn lost(&self, loss: &Loss) {
        self.ledger().lost(loss.info.label, loss.reason);
        self.settled();
    }

    pub(crate) fn reclaimed(&self, span: Span, state: State) {
        self.watermark().given_up(span);
        self.ledger().overwritten(span, state);
    }

    /// Waits until a record was settled since the last wait.
    pub(crate) async fn progressed(&self) {
        self.progress.notified().await;
    }

    /// What the newest footage is from before the start, by its label and by the camera's time.
    pub(crate) fn remember(&self, label: Span, camera: Span) {
        self.watermark().remember(label, camera);
    }

    fn watermark(&self) -> MutexGuard<'_, Watermark> {
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
