//! The external storage as disks of this node - directories of any mount, block devices, LUNs - with a store of its own: records
//! are appended to it as they stand, and any recorder shows and plays such a disk.
//!
//! Opening and closing may take as long as a mount hangs, so both are done by a thread of its own ([`keeper`]).

mod books;
mod keeper;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use keepwatch_model::{Condition, GapReason, WallTime, ticks_from_duration};
use keepwatch_recorder::api::disk_state;
use keepwatch_recorder::config::DiskConfig;
use keepwatch_recorder::{Node, StreamState};
use keepwatch_recording::peer::{Fate, Wanted};
use keepwatch_store::{AppendError, DiskState, DiskStatus, Store};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use self::books::{Books, Outcome, Standing};
use super::{Arrival, Parcel};
use crate::kept::Recorder;

/// How long it may take until a transfer is on the disks.
const SEND_PATIENCE: Duration = Duration::from_secs(120);
/// How soon a full buffer is looked at again, although nothing was told to be written.
const ROOM_LOOK: Duration = Duration::from_millis(100);
/// How long the disks may take to be closed; a mount that hangs is left to the system.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// The disks outside; cheap to clone.
#[derive(Clone)]
pub(crate) struct Disks(Arc<Shared>);

/// What is shared with the thread that opens them, and with those that write them.
struct Shared {
    node: Node,
    disks: Vec<DiskConfig>,
    /// The recorder that this node is registered at, and sends nothing to because there are disks.
    unused: Mutex<Option<Recorder>>,
    books: Mutex<Books>,
    state: Mutex<State>,
    /// Something was written or lost: there may be room.
    moved: Notify,
    wishes: mpsc::Sender<Wish>,
}

/// How the store outside stands.
#[derive(Clone)]
enum State {
    /// It is not open; why.
    Closed(String),
    /// It is open, and its index was last read through at this time.
    Open(Store, WallTime),
}

/// What the thread is asked for.
enum Wish {
    /// To read the index again: a disk came back, or another is in its place.
    Read,
    /// To close the store, to say so, and to end.
    End(oneshot::Sender<()>),
}

impl std::fmt::Debug for Disks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Disks").field(&self.0.disks).finish()
    }
}

impl Disks {
    /// Opens `disks` in the background, however often that takes to be tried; to the recorder `unused` nothing is sent.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(crate) fn start(
        node: &Node,
        disks: Vec<DiskConfig>,
        unused: Option<Recorder>,
    ) -> std::io::Result<Self> {
        let (wishes, wished) = mpsc::channel();
        let shared = Arc::new(Shared {
            node: node.clone(),
            disks,
            unused: Mutex::new(unused),
            books: Mutex::default(),
            state: Mutex::new(State::Closed("its disks are being opened".to_owned())),
            moved: Notify::new(),
            wishes,
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("edge-store".to_owned())
            .spawn(move || keeper::run(&of_thread, &wished))?;
        Ok(Self(shared))
    }

    /// Closes them.
    pub(crate) async fn stop(&self) {
        let (tell, told) = oneshot::channel();
        let asked = self.0.wishes.send(Wish::End(tell)).is_ok();
        if asked && timeout(CLOSE_PATIENCE, told).await.is_err() {
            tracing::warn!("the disks of the external storage do not answer and are not closed");
        }
    }

    /// The recorder that this node is registered at, and sends nothing to.
    pub(crate) fn unused(&self) -> Option<Recorder> {
        self.0.unused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This node is registered there, or nowhere.
    pub(crate) fn set_unused(&self, recorder: Option<Recorder>) {
        *self.0.unused.lock().unwrap_or_else(PoisonError::into_inner) = recorder;
    }

    /// How each of them stands.
    pub(crate) fn status(&self) -> Vec<DiskStatus> {
        match self.0.state() {
            State::Open(store, _) => store.disks(),
            State::Closed(why) => self.0.disks.iter().map(|disk| unopened(disk, &why)).collect(),
        }
    }

    /// What is wanted: all that this node records itself and that is not on the disks.
    pub(super) fn wanted(&self) -> Result<Wanted, String> {
        let (store, started) = self.0.open()?;
        let disks = store.disks();
        if !disks.iter().any(|disk| disk.state.condition() == Condition::Writable) {
            return Err(why_not(&disks));
        }
        if let Some(waits) = self.0.books().stuck(std::time::Instant::now()) {
            return Err(format!(
                "its disks hang: what they were given to write waits since {} s",
                waits.as_secs()
            ));
        }
        // Where all are full, what is older than all of it would be given up at once.
        let room_from = store.backfill_from().unwrap_or(WallTime::MIN);
        let now = self.0.node.clock().wall();
        let lines: Vec<_> = sent(&self.0.node)
            .into_iter()
            .map(|(stream, retention)| {
                let oldest = retention
                    .map_or(WallTime::MIN, |age| now.plus(ticks_from_duration(age).saturating_neg()));
                ((stream.camera, stream.id), oldest.max(room_from).min(now))
            })
            .collect();
        let books = self.0.books();
        let lines = lines.into_iter().map(|(key, since)| books.wanted(key, since)).collect();
        Ok(Wanted { started, ahead_ticks: 0, lines })
    }

    /// Writes one transfer; what of it is durable, and why that is not all.
    pub(super) async fn transfer(&self, transfer: Vec<Parcel>) -> Arrival {
        let until = Instant::now() + SEND_PATIENCE;
        let (mut settled, mut waiting, mut refused) = (Vec::new(), Vec::new(), None);
        for parcel in transfer {
            let (line, label) = (parcel.line, parcel.label);
            match self.queue(&parcel, until).await {
                Ok(Queued::Waits(told)) => waiting.push((line, label, told)),
                Ok(Queued::Over(fate)) => settled.push((line, label, fate)),
                Err(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        for (line, label, told) in waiting {
            match timeout_at(until, told).await {
                Ok(Ok(Ok(()))) => settled.push((line, label, Fate::Stored)),
                // They can be written, and all that they hold is newer.
                Ok(Ok(Err(GapReason::DiskFull))) if self.writable() => {
                    settled.push((line, label, Fate::Refused))
                }
                Ok(Ok(Err(reason))) => refused = refused.or_else(|| Some(self.why(reason))),
                Ok(Err(_)) => refused = refused.or_else(|| Some("its disks are being closed".to_owned())),
                Err(_) => refused = refused.or_else(|| Some(late())),
            }
        }
        (settled, refused)
    }

    /// Queues a record for the disks, as soon as there is room.
    async fn queue(&self, parcel: &Parcel, until: Instant) -> Result<Queued, String> {
        loop {
            let moved = self.0.moved.notified();
            if let Some(queued) = self.try_to_queue(parcel)? {
                return Ok(queued);
            }
            if Instant::now() >= until {
                return Err(late());
            }
            // Which of the two it was does not matter.
            drop(timeout(ROOM_LOOK, moved).await);
        }
    }

    /// Queues a record for the disks; `None` when there is no room.
    fn try_to_queue(&self, parcel: &Parcel) -> Result<Option<Queued>, String> {
        let Parcel { line, label, record } = parcel;
        let (store, _) = self.0.open()?;
        let now = std::time::Instant::now();
        let (told, lane) = {
            let mut books = self.0.books();
            let lane = match books.look(*line, *label) {
                Standing::Held => return Ok(Some(Queued::Over(Fate::Held))),
                Standing::OnItsWay => return Ok(Some(Queued::Waits(books.follow(now, *line, *label)))),
                Standing::Missing(lane) => lane,
            };
            // Before it is queued: it may be durable before this goes on.
            (books.follow(now, *line, *label), lane)
        };
        let appended = store.append(record, lane);
        let mut books = self.0.books();
        let Err(error) = appended else {
            books.queued(*line, *label, lane);
            return Ok(Some(Queued::Waits(told)));
        };
        books.stays(*line, *label);
        drop(books);
        match error {
            AppendError::Backlog(_) => Ok(None),
            AppendError::Unfit => Ok(Some(Queued::Over(Fate::Refused))),
            AppendError::NoDisk(reason) => Err(self.why(reason)),
            AppendError::Closed => Err("its disks are being closed".to_owned()),
        }
    }

    fn writable(&self) -> bool {
        let writable = |disk: &DiskStatus| disk.state.condition() == Condition::Writable;
        self.status().iter().any(writable)
    }

    /// Why no disk took a record.
    fn why(&self, reason: GapReason) -> String {
        match self.0.state() {
            State::Open(store, _) => {
                // It may have failed, and be of use again by now.
                if self.writable() { reason.sentence().to_owned() } else { why_not(&store.disks()) }
            }
            State::Closed(why) => why,
        }
    }
}

/// Where a record is.
enum Queued {
    /// On its way; what becomes of it is told.
    Waits(oneshot::Receiver<Outcome>),
    /// Nothing more becomes of it.
    Over(Fate),
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_state(&self, state: State) {
        let before =
            std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        // The last handle of a store closes it, which must not be waited for under the lock.
        drop(before);
    }

    /// The store, and when its index was last read.
    fn open(&self) -> Result<(Store, WallTime), String> {
        match self.state() {
            State::Open(store, read) => Ok((store, read)),
            State::Closed(why) => Err(why),
        }
    }
}

/// The streams that this node records itself, each with the age at which its footage is deleted.
fn sent(node: &Node) -> Vec<(Arc<StreamState>, Option<Duration>)> {
    let mut all = Vec::new();
    for camera in node.own_cameras().into_iter().filter_map(|id| node.camera(id)) {
        let config = camera.config();
        if config.source.edge_node().is_none() {
            let streams = camera.streams().filter(|stream| camera.wants(stream.id));
            all.extend(streams.map(|stream| (Arc::clone(stream), config.retention)));
        }
    }
    all
}

/// A disk that was not looked for yet, or could not be used.
fn unopened(disk: &DiskConfig, why: &str) -> DiskStatus {
    DiskStatus {
        path: disk.path.clone(),
        id: None,
        role: disk.role,
        state: DiskState::Gone { why: why.to_owned(), since: std::time::Instant::now() },
        slow: false,
        size_bytes: 0,
        used_bytes: 0,
        protected_bytes: 0,
        queued_bytes: 0,
        write_rate: None,
        written_bytes: 0,
        media_bytes: 0,
        read_only: false,
    }
}

/// Why nothing is written to any of these disks.
fn why_not(disks: &[DiskStatus]) -> String {
    let of = |disk: &DiskStatus| {
        let why = disk_state(disk.state.clone()).1.unwrap_or_else(|| "it takes footage".to_owned());
        let remedy = match disk.state {
            DiskState::Foreign { .. } => "; set take_over = true if it may be overwritten",
            DiskState::Online | DiskState::Gone { .. } | DiskState::ReadOnly { .. } | DiskState::Full => "",
        };
        format!("{}: {why}{remedy}", disk.path.display())
    };
    disks.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn late() -> String {
    format!("its disks did not write what was sent within {} s", SEND_PATIENCE.as_secs())
}
