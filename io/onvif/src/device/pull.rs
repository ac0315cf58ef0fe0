//! Pull points: subscriptions whose notifications the client fetches (ONVIF Core "Real-time pull-point notification
//! interface"). The channel of the backend holds what was not fetched yet; one that overflows is made good by telling
//! the state of all properties.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Mutex as AsyncMutex, Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::notification::Notification;

use super::PULL_POINTS_MAX;
use super::backend::Backend;
use super::fault::Fault;
use super::topic::TopicFilter;

/// How long a subscription lives when the client does not say; fetching lengthens such a one.
const LIFE: Duration = Duration::from_secs(60);

/// The longest that is granted.
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// The longest that one fetch waits.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Notifications of one fetch: about 100 kB.
const MESSAGES_MAX: usize = 100;

/// Properties whose state is told at once.
const PROPERTIES_MAX: usize = 1024;

/// The subscriptions of a device.
#[derive(Default)]
pub(crate) struct PullPoints(Mutex<BTreeMap<String, Arc<PullPoint>>>);

/// One subscription.
pub(crate) struct PullPoint {
    filter: TopicFilter,
    /// The client gave no time: fetching is the sign of life.
    fetching_renews: bool,
    expires: Mutex<Instant>,
    /// States that the client is to be told, before anything new.
    states: Mutex<VecDeque<Notification>>,
    channel: AsyncMutex<Option<broadcast::Receiver<Notification>>>,
    /// Something changed that a waiting fetch must look at.
    wake: Notify,
    ended: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave a value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PullPoints {
    /// Makes a subscription under `id` that lives for `life`.
    pub(crate) fn create(
        &self,
        id: String,
        backend: &dyn Backend,
        filter: TopicFilter,
        life: Option<Duration>,
    ) -> Result<Arc<PullPoint>, Fault> {
        let mut points = locked(&self.0);
        Self::sweep(&mut points);
        if points.len() >= PULL_POINTS_MAX {
            let reason = format!("{PULL_POINTS_MAX} subscriptions exist; end one, or let one expire");
            return Err(Fault::exhausted(reason));
        }
        let point = PullPoint {
            filter,
            fetching_renews: life.is_none(),
            expires: Mutex::new(Instant::now()),
            states: Mutex::new(VecDeque::new()),
            // Before the states are read: a change between both is told twice and not never.
            channel: AsyncMutex::new(backend.notifications()),
            wake: Notify::new(),
            ended: AtomicBool::new(false),
        };
        point.renew(life.unwrap_or(LIFE));
        point.tell_states(backend);
        let point = Arc::new(point);
        points.insert(id, Arc::clone(&point));
        Ok(point)
    }

    fn sweep(points: &mut BTreeMap<String, Arc<PullPoint>>) {
        let now = Instant::now();
        points.retain(|_, point| {
            let alive = now < *locked(&point.expires);
            if !alive {
                point.end();
            }
            alive
        });
    }

    /// Forgets those that have expired.
    pub(crate) fn expire(&self) {
        Self::sweep(&mut locked(&self.0));
    }

    /// The subscription of an id.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<PullPoint>, Fault> {
        let mut points = locked(&self.0);
        Self::sweep(&mut points);
        points.get(id).cloned().ok_or_else(unknown)
    }

    /// Ends a subscription.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Fault> {
        let point = locked(&self.0).remove(id).ok_or_else(unknown)?;
        point.end();
        Ok(())
    }
}

fn unknown() -> Fault {
    Fault::value("ResourceUnknownFault", "there is no such subscription: it was ended or has expired")
}

impl PullPoint {
    /// Lets it live for `life` from this moment, and returns how long that really is.
    pub(crate) fn renew(&self, life: Duration) -> Duration {
        let granted = life.min(LIFE_MAX);
        *locked(&self.expires) = Instant::now() + granted;
        granted
    }

    /// How long it will live if nobody does anything.
    pub(crate) fn left(&self) -> Duration {
        locked(&self.expires).saturating_duration_since(Instant::now())
    }

    /// Tells the client the state of all properties again.
    pub(crate) fn tell_states(&self, backend: &dyn Backend) {
        let states = backend.properties().into_iter().filter(|state| self.filter.wants(&state.topic));
        *locked(&self.states) = states.take(PROPERTIES_MAX).collect();
        self.wake.notify_one();
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Fetches up to `limit` notifications, and waits up to `patience` for the first.
    pub(crate) async fn fetch(
        &self,
        backend: &dyn Backend,
        patience: Duration,
        limit: usize,
    ) -> Result<Vec<Notification>, Fault> {
        let limit = limit.clamp(1, MESSAGES_MAX);
        let end = Instant::now() + patience.min(WAIT_MAX);
        if self.fetching_renews {
            self.renew(LIFE + patience.min(WAIT_MAX));
        }
        // Another call that fetches of the same subscription goes first.
        let Ok(mut channel) = timeout_at(end, self.channel.lock()).await else { return Ok(Vec::new()) };
        let mut fetched = Vec::new();
        loop {
            if self.ended.load(Ordering::Acquire) {
                return Err(unknown());
            }
            self.take(&mut channel, backend, limit, &mut fetched);
            if !fetched.is_empty() {
                return Ok(fetched);
            }
            let next = tokio::select! {
                biased;
                () = self.wake.notified() => continue,
                next = receive(channel.as_mut()) => next,
                () = sleep_until(end) => return Ok(fetched),
            };
            match next {
                Ok(notification) if self.filter.wants(&notification.topic) => fetched.push(notification),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.tell_states(backend),
                Err(RecvError::Closed) => *channel = None,
            }
        }
    }

    /// Takes what is there.
    fn take(
        &self,
        channel: &mut Option<broadcast::Receiver<Notification>>,
        backend: &dyn Backend,
        limit: usize,
        fetched: &mut Vec<Notification>,
    ) {
        while fetched.len() < limit {
            if let Some(state) = locked(&self.states).pop_front() {
                fetched.push(state);
                continue;
            }
            match channel.as_mut().map_or(Err(TryRecvError::Empty), broadcast::Receiver::try_recv) {
                Ok(notification) if self.filter.wants(&notification.topic) => fetched.push(notification),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => self.tell_states(backend),
                Err(TryRecvError::Closed) => *channel = None,
                Err(TryRecvError::Empty) => return,
            }
        }
    }
}

/// The next notification; never, when there is no channel.
async fn receive(channel: Option<&mut broadcast::Receiver<Notification>>) -> Result<Notification, RecvError> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}
