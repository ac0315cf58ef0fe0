//! The event log of a node: `events.db` in its data directory, append-only, the oldest dropped when it is full.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use keepwatch_model::{CameraId, Event, EventCode, Subject, WallTime};
use rusqlite::{Connection, OpenFlags, params};

use crate::StoreError;

/// The name of the log in the data directory.
const FILE: &str = "events.db";
/// Most events that are kept.
const EVENTS_MAX: i64 = 1_000_000;
/// Events dropped at once when there are more: so that not every batch deletes.
const TRIM_STEP: i64 = 1_000;
/// Most events that wait to be written: a storm beyond it is counted, not kept.
const QUEUE_MAX: usize = 4_096;
/// Most events on one page.
const PAGE_MAX: usize = 10_000;
const VERSION: i32 = 1;

/// The event log of a node; cheap to clone. The last handle to go writes what is queued.
#[derive(Clone)]
pub struct EventLog(Arc<Log>);

struct Log {
    path: PathBuf,
    queue: Mutex<Option<SyncSender<Message>>>,
    dropped: AtomicU64,
    failing: AtomicBool,
    reader: Mutex<Option<Connection>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Append(Event),
    /// All before it is in the file when the sender is dropped.
    Flush(SyncSender<()>),
}

/// Which events to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// First label.
    pub from: WallTime,
    /// First label after.
    pub to: WallTime,
    /// The newest first.
    pub newest_first: bool,
    /// Where the page before ended; `None` begins.
    pub after: Option<EventCursor>,
    /// Most events to return; at most 10,000 are.
    pub limit: usize,
}

/// A place in the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    /// The label of the last event returned.
    pub at: WallTime,
    /// Its number.
    pub id: i64,
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Number and event.
    pub items: Vec<(i64, Event)>,
    /// Where to go on; `None` at the end.
    pub next: Option<EventCursor>,
}

impl EventLog {
    /// Opens or creates the log in the directory `data`.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_capped(data, EVENTS_MAX)
    }

    pub(crate) fn open_capped(data: &Path, events_max: i64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data).map_err(StoreError::io(data))?;
        let path = data.join(FILE);
        let connection = open_or_begin_anew(&path)?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let log = Arc::new(Log {
            path: path.clone(),
            queue: Mutex::new(Some(sender)),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            reader: Mutex::default(),
            writer: Mutex::default(),
        });
        // The thread ends when the last sender goes, so it must not keep the log alive.
        let of_thread = Arc::downgrade(&log);
        let thread = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || write_on(connection, &receiver, events_max, &of_thread))
            .map_err(StoreError::io(path))?;
        *log.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Self(log))
    }

    /// Queues an event; never blocks. False when the queue is full: the event is counted and dropped.
    pub fn append(&self, event: Event) -> bool {
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().map(|queue| queue.try_send(Message::Append(event))) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Events that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all queued events are in the file.
    pub fn flush(&self) {
        let (done, waits) = sync_channel(0);
        let queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_some_and(|queue| queue.send(Message::Flush(done)).is_ok()) {
            // Ends with an error when the writer drops its end: that is the sign.
            let _ = waits.recv();
        }
    }

    /// Reads a page of events.
    pub fn page(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let mut reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match reader.take() {
            Some(connection) => connection,
            None => Connection::open_with_flags(&self.0.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let connection = reader.insert(connection);
        Ok(read_page(connection, query)?)
    }
}

/// The events of one `code` in the log of the directory `data`, the newest first, also while a node writes it; none when
/// there is no log. At most 10,000 are read.
pub fn events_of(data: &Path, code: EventCode) -> Result<Vec<(WallTime, String)>, StoreError> {
    let path = data.join(FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut statement =
        connection.prepare("SELECT at, text FROM events WHERE code = ?1 ORDER BY id DESC LIMIT 10000")?;
    let rows = statement.query_map([code.as_str()], |row| {
        Ok((WallTime::from_ticks(row.get(0)?), row.get::<_, String>(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventLog({})", self.0.path.display())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The sender goes first: the thread then writes what is queued and ends.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic there has been reported by its thread.
            let _ = writer.join();
        }
    }
}

/// A damaged log is put aside: it must not keep a node from starting.
fn open_or_begin_anew(path: &Path) -> Result<Connection, StoreError> {
    match open_writable(path) {
        Ok(connection) => Ok(connection),
        Err(error) if !crate::index::is_damage(&error) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "the event log cannot be read and is begun anew");
            let mut aside = path.as_os_str().to_owned();
            aside.push(".damaged");
            std::fs::rename(path, &aside).map_err(StoreError::io(path))?;
            crate::index::remove_database(path);
            Ok(open_writable(path)?)
        }
    }
}

fn open_writable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(&format!(
            "BEGIN; CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, \
             code TEXT NOT NULL, kind INTEGER NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL); \
             CREATE INDEX events_by_time ON events (at, id); PRAGMA user_version = {VERSION}; COMMIT"
        ))?;
    }
    connection.query_row("SELECT count(*) FROM (SELECT 1 FROM events LIMIT 1)", [], |_| Ok(()))?;
    Ok(connection)
}

fn write_on(
    mut connection: Connection,
    queue: &Receiver<Message>,
    events_max: i64,
    log: &std::sync::Weak<Log>,
) {
    while let Ok(first) = queue.recv() {
        let mut flushes = Vec::new();
        let mut batch = Vec::new();
        for message in std::iter::once(first).chain(queue.try_iter().take(QUEUE_MAX)) {
            match message {
                Message::Append(event) => batch.push(event),
                Message::Flush(done) => flushes.push(done),
            }
        }
        let result = write_batch(&mut connection, &batch, events_max);
        let failed_before =
            log.upgrade().is_some_and(|log| log.failing.swap(result.is_err(), Ordering::Relaxed));
        if let Err(error) = result
            && !failed_before
        {
            tracing::error!(%error, events = batch.len(), "the event log cannot be written");
        }
        drop(flushes);
    }
}

fn write_batch(connection: &mut Connection, batch: &[Event], events_max: i64) -> rusqlite::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (at, code, kind, subject, text) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for event in batch {
            let (kind, subject) = subject_columns(&event.subject);
            insert.execute(params![event.at.ticks(), event.code.as_str(), kind, subject, event.text])?;
        }
    }
    // Numbers have no holes but at the front, so that the highest and the lowest tell the count.
    let ends: (i64, i64) = transaction.query_row(
        "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let step = TRIM_STEP.min(events_max / 10 + 1);
    if ends.1 - ends.0 >= events_max.saturating_add(step) {
        transaction.execute("DELETE FROM events WHERE id <= ?1", [ends.1 - events_max])?;
    }
    transaction.commit()
}

fn read_page(connection: &Connection, query: &EventQuery) -> rusqlite::Result<EventPage> {
    let limit = query.limit.clamp(1, PAGE_MAX);
    let (order, beyond) = if query.newest_first { ("DESC", "<") } else { ("ASC", ">") };
    let start = if query.newest_first {
        EventCursor { at: WallTime::MAX, id: i64::MAX }
    } else {
        EventCursor { at: WallTime::MIN, id: i64::MIN }
    };
    let after = query.after.unwrap_or(start);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, at, code, kind, subject, text FROM events WHERE at >= ?1 AND at < ?2 \
         AND (at, id) {beyond} (?3, ?4) ORDER BY at {order}, id {order} LIMIT ?5"
    ))?;
    // One more than asked for tells whether there is a next page.
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows = statement.query_map(
        params![query.from.ticks(), query.to.ticks(), after.at.ticks(), after.id, wanted],
        |row| {
            let code: String = row.get(2)?;
            let event = EventCode::ALL.iter().copied().find(|known| known.as_str() == code).map(|code| {
                Ok::<_, rusqlite::Error>(Event {
                    at: WallTime::from_ticks(row.get(1)?),
                    code,
                    subject: subject_of(row.get(3)?, row.get(4)?),
                    text: row.get(5)?,
                })
            });
            Ok((row.get::<_, i64>(0)?, WallTime::from_ticks(row.get(1)?), event.transpose()?))
        },
    )?;
    let mut rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|(id, at, _)| EventCursor { at: *at, id: *id });
    // A code that only a later version knows is passed over.
    let items = rows.into_iter().filter_map(|(id, _, event)| Some((id, event?))).collect();
    Ok(EventPage { items, next })
}

fn subject_columns(subject: &Subject) -> (u8, &str) {
    match subject {
        Subject::Node => (0, ""),
        Subject::Camera(camera) => (1, camera.as_str()),
        Subject::Disk(path) => (2, path),
        Subject::User(user) => (3, user),
    }
}

fn subject_of(kind: u8, text: String) -> Subject {
    match kind {
        1 => text.parse::<CameraId>().map_or(Subject::Node, Subject::Camera),
        2 => Subject::Disk(text),
        3 => Subject::User(text),
        _ => Subject::Node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_go_when_the_log_is_full() {
        let data = tempfile::tempdir().unwrap();
        let log = EventLog::open_capped(data.path(), 100).unwrap();
        for number in 0..1_000 {
            let (at, text) = (WallTime::from_ticks(number), format!("{number}"));
            assert!(log.append(Event { at, code: EventCode::NodeStarted, subject: Subject::Node, text }));
            if number % 10 == 0 {
                log.flush();
            }
        }
        log.flush();
        let query = EventQuery {
            from: WallTime::MIN,
            to: WallTime::MAX,
            newest_first: true,
            after: None,
            limit: 10_000,
        };
        let kept = log.page(&query).unwrap().items;
        assert!((100..=120).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept[0].1.text, "999");
    }
}
