//! Search sessions (ONVIF Recording Search, "Search session"): a search that runs beside its client and is fetched in
//! pages.
//!
//! A task finds results and waits when nobody fetches them, so that a session holds few, however much there is to find.
//! A client that goes while it waits loses none of them: they stay in the session until a page is answered.
//! A session ends when it is told to, when all was fetched, or when its client is silent for longer than it said.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_model::WallTime;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::backend::Recording;
use super::fault::Fault;
use super::history::HistoryEvent;

/// Sessions at a time. A console has one for each window that shows a timeline.
const SESSIONS_MAX: usize = 32;

/// Results that wait to be fetched: some pages.
const RESULTS_AHEAD_MAX: usize = 256;

/// Results of one page when the client does not say, and at most: a page of these has about 700 kB.
pub(crate) const PAGE_MAX: usize = 1000;

/// A session lives at least this long without its client (a device must grant 10 s), and at most that.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(10);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(300);

/// The longest that one call waits for results.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Of FindRecordings.
    Recording(Box<Recording>),
    /// Of FindEvents.
    Event(HistoryEvent),
}

/// What a session looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// Recordings; there is no time in which.
    Recordings,
    /// Events, from where and up to where; backwards when the end is earlier.
    Events {
        /// Where the search starts.
        start: WallTime,
        /// Where it ends.
        end: WallTime,
    },
}

/// Where a search puts what it finds.
pub(crate) struct Sink(mpsc::Sender<Found>);

impl Sink {
    /// Hands over one result, and waits while enough wait already; an error when nobody wants more.
    pub(crate) async fn found(&self, found: Found) -> Result<(), Ended> {
        self.0.send(found).await.map_err(|_| Ended::Unwanted)
    }
}

/// Why a search stops early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nobody wants more.
    Unwanted,
    /// It cannot go on.
    Failed(Fault),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// What a client fetches at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// It waits for this many, but not for more; `None` waits for a whole page.
    pub(crate) min: Option<usize>,
    /// It takes this many at most; `None` takes a whole page.
    pub(crate) max: Option<usize>,
    /// How long it waits.
    pub(crate) wait: Option<Duration>,
}

impl Fetch {
    /// How long it waits, within what is granted.
    fn time(&self) -> Duration {
        self.wait.unwrap_or_default().min(WAIT_MAX)
    }
}

/// One page of results.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    /// The results.
    pub(crate) found: Vec<Found>,
    /// Whether these were the last.
    pub(crate) completed: bool,
}

/// The sessions of a device.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<String, Arc<Session>>>);

struct Session {
    sought: Sought,
    keep_alive: Duration,
    /// What the last fetched result is dated.
    reached: Mutex<Option<WallTime>>,
    expires: Mutex<Instant>,
    results: AsyncMutex<Results>,
    /// Set by the search when it fails, before it hangs up.
    failure: Arc<Mutex<Option<Fault>>>,
    /// Everything was fetched: the token is good for nothing but EndSearch and GetSearchState.
    completed: Mutex<bool>,
    stop: watch::Sender<bool>,
    task: AbortHandle,
}

/// What the search found and no page has brought.
struct Results {
    receiver: mpsc::Receiver<Found>,
    /// Taken for a page that is not complete. It is kept here, and not by the call that fetches: a call ends anywhere when
    /// its connection does.
    taken: VecDeque<Found>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave a value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// Starts a search and returns the token of its session.
    pub(crate) fn start<F>(
        &self,
        token: String,
        sought: Sought,
        keep_alive: Option<Duration>,
        search: impl FnOnce(Sink) -> F,
    ) -> Result<String, Fault>
    where
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let mut sessions = locked(&self.0);
        Self::sweep(&mut sessions);
        if sessions.len() >= SESSIONS_MAX {
            // One that was fetched to its end is kept only for an EndSearch that need not come.
            let finished = sessions.iter().find(|(_, session)| *locked(&session.completed));
            let finished = finished.map(|(token, _)| token.clone()).ok_or_else(|| {
                Fault::exhausted(format!("{SESSIONS_MAX} searches are running; end one, or let one expire"))
            })?;
            sessions.remove(&finished);
        }
        let keep_alive = keep_alive.unwrap_or(KEEP_ALIVE_MIN).clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX);
        let (sender, receiver) = mpsc::channel(RESULTS_AHEAD_MAX);
        let failure = Arc::new(Mutex::new(None));
        let search = search(Sink(sender.clone()));
        let seen = Arc::clone(&failure);
        let task = tokio::spawn(async move {
            if let Err(Ended::Failed(fault)) = search.await {
                *locked(&seen) = Some(fault);
            }
            // The last sender: only here is the search over for those who fetch.
            drop(sender);
        });
        let session = Session {
            sought,
            keep_alive,
            reached: Mutex::new(None),
            expires: Mutex::new(Instant::now() + keep_alive),
            results: AsyncMutex::new(Results { receiver, taken: VecDeque::new() }),
            failure,
            completed: Mutex::new(false),
            stop: watch::Sender::new(false),
            task: task.abort_handle(),
        };
        sessions.insert(token.clone(), Arc::new(session));
        Ok(token)
    }

    fn sweep(sessions: &mut BTreeMap<String, Arc<Session>>) {
        let now = Instant::now();
        sessions.retain(|_, session| now < *locked(&session.expires));
    }

    /// Forgets the sessions whose clients are silent.
    pub(crate) fn expire(&self) {
        Self::sweep(&mut locked(&self.0));
    }

    fn session(&self, token: &str) -> Result<Arc<Session>, Fault> {
        let mut sessions = locked(&self.0);
        Self::sweep(&mut sessions);
        let session = sessions.get(token).cloned().ok_or_else(|| unknown(token))?;
        session.keep_for(Duration::ZERO);
        Ok(session)
    }

    /// Fetches results, and waits for them as long as `fetch` says. `of_events` is what the client thinks it is.
    pub(crate) async fn fetch(&self, token: &str, of_events: bool, fetch: Fetch) -> Result<Page, Fault> {
        let session = self.session(token)?;
        let same_kind = matches!(session.sought, Sought::Events { .. }) == of_events;
        if !same_kind || *locked(&session.completed) {
            return Err(unknown(token));
        }
        // The client waits with us, so it is not silent.
        session.keep_for(fetch.time());
        session.fetch(fetch).await.inspect(|_| session.keep_for(Duration::ZERO))
    }

    /// Whether everything was fetched.
    pub(crate) fn completed(&self, token: &str) -> Result<bool, Fault> {
        Ok(*locked(&self.session(token)?.completed))
    }

    /// Ends a session and returns how far the search had come; `None` for one of recordings.
    pub(crate) fn end(&self, token: &str) -> Result<Option<WallTime>, Fault> {
        let session = self.session(token)?;
        locked(&self.0).remove(token);
        session.stop.send_replace(true);
        Ok(match session.sought {
            Sought::Recordings => None,
            Sought::Events { end, .. } if *locked(&session.completed) => Some(end),
            Sought::Events { start, .. } => Some(locked(&session.reached).unwrap_or(start)),
        })
    }
}

fn unknown(token: &str) -> Fault {
    let shown: String = token.chars().take(64).collect();
    Fault::value(
        "InvalidToken",
        format!("there is no search {shown:?}: it was completed, ended or has expired"),
    )
}

impl Session {
    /// Keeps the session while its client waits so long, and for its time of silence after that.
    fn keep_for(&self, wait: Duration) {
        let mut expires = locked(&self.expires);
        // Another call of the same session may wait for longer.
        *expires = (*expires).max(Instant::now() + wait + self.keep_alive);
    }

    async fn fetch(&self, fetch: Fetch) -> Result<Page, Fault> {
        let max = fetch.max.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let min = fetch.min.unwrap_or(max).min(max);
        let end = Instant::now() + fetch.time();
        let mut stopped = self.stop.subscribe();
        // Another call that fetches of the same session goes first.
        let Ok(mut results) = timeout_at(end, self.results.lock()).await else {
            return Ok(Page { found: Vec::new(), completed: false });
        };
        let Results { receiver, taken } = &mut *results;
        while taken.len() < max {
            let next = match receiver.try_recv() {
                Ok(next) => Some(next),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) if taken.len() >= min => break,
                Err(mpsc::error::TryRecvError::Empty) => tokio::select! {
                    biased;
                    next = receiver.recv() => next,
                    () = sleep_until(end) => break,
                    _ = stopped.wait_for(|stopped| *stopped) => return Err(unknown("")),
                },
            };
            match next {
                Some(next) => taken.push_back(next),
                None => break,
            }
        }
        // Nothing is waited for from here on, so that what is taken out is answered.
        let found: Vec<Found> = taken.drain(..taken.len().min(max)).collect();
        if let Some(Found::Event(last)) = found.last() {
            *locked(&self.reached) = Some(last.time);
        }
        let completed = taken.is_empty() && receiver.is_closed() && receiver.is_empty();
        if completed {
            // What was found before the failure is not lost: the failure is told by the next call.
            match locked(&self.failure).clone() {
                Some(fault) if found.is_empty() => return Err(fault),
                Some(_) => return Ok(Page { found, completed: false }),
                None => *locked(&self.completed) = true,
            }
        }
        Ok(Page { found, completed })
    }
}
