//! Claims: which of several standbys covers a primary. Asked for while it is recorded already, kept alive while it is covered.
//!
//! For each primary there is one task and at most one request under way: a coordination that hangs is told as one that cannot be
//! asked, and is not asked again before it has answered.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_cluster::{AcquireError, Coord, Lease};
use keepwatch_model::RoleId;
use keepwatch_recording::failover::Event;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::driver::Input;
use crate::tasks::keep_up;

/// How long a claim outlives its standby: the next one waits so long before it takes over.
const TTL: Duration = Duration::from_secs(10);
/// How often it is renewed: twice may fail.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// The coordination gives no answer when it takes longer. Less than the two seconds after which the machine asks again: it must
/// have heard by then.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The claims of this standby; cheap to clone.
#[derive(Clone)]
pub(crate) struct Claims {
    coord: Arc<dyn Coord>,
    holder: RoleId,
    inputs: mpsc::Sender<Input>,
    running: Arc<Mutex<BTreeMap<RoleId, watch::Sender<Wanted>>>>,
}

/// What is wanted of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    /// Grows with each question.
    asked: u64,
    /// It is to be had; else it is given back.
    held: bool,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("coord", &self.coord).finish_non_exhaustive()
    }
}

impl Claims {
    /// Claims in the name of `holder`; answers are told to `inputs`.
    pub(crate) fn new(coord: Arc<dyn Coord>, holder: RoleId, inputs: mpsc::Sender<Input>) -> Self {
        Self { coord, holder, inputs, running: Arc::default() }
    }

    /// Asks for the cover of `role`, and keeps it once it is had.
    pub(crate) fn claim(&self, role: RoleId) {
        let mut running = self.running();
        if let Some(wanted) = running.get(&role) {
            wanted.send_modify(|wanted| *wanted = Wanted { asked: wanted.asked.wrapping_add(1), held: true });
            return;
        }
        let (wants, wanted) = watch::channel(Wanted { asked: 1, held: true });
        running.insert(role, wants);
        let claims = self.clone();
        drop(tokio::spawn(keep_up("keeps a claim", move || {
            Keeping { claims: claims.clone(), role, wanted: wanted.clone(), answered: 0, lease: None }.run()
        })));
    }

    /// Gives the cover of `role` back.
    pub(crate) fn release(&self, role: RoleId) {
        if let Some(wanted) = self.running().get(&role) {
            wanted.send_modify(|wanted| wanted.held = false);
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<RoleId, watch::Sender<Wanted>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of one claim.
struct Keeping {
    claims: Claims,
    role: RoleId,
    wanted: watch::Receiver<Wanted>,
    /// The last question that was answered.
    answered: u64,
    /// What is held, and when it is to be renewed.
    lease: Option<(Lease, Instant)>,
}

impl Keeping {
    /// Runs until the claim is given back, or nobody listens.
    async fn run(mut self) {
        while !self.claims.inputs.is_closed() {
            let wanted = *self.wanted.borrow_and_update();
            match self.lease {
                Some((lease, _)) if !wanted.held => self.give_back(lease).await,
                None if !wanted.held => {
                    if self.ends() {
                        return;
                    }
                }
                Some(_) | None if wanted.asked != self.answered => self.acquire(wanted.asked).await,
                Some((lease, renew_at)) => {
                    // A question or the end comes first.
                    if timeout_at(renew_at, self.wanted.changed()).await.is_err() {
                        self.renew(lease).await;
                    }
                }
                None => {
                    if self.wanted.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether nothing is wanted of it; then the next question begins another task.
    fn ends(&self) -> bool {
        let mut running = self.claims.running();
        let ends = running.get(&self.role).is_none_or(|wants| !wants.borrow().held);
        if ends {
            running.remove(&self.role);
        }
        ends
    }

    async fn acquire(&mut self, asked: u64) {
        let begun = Instant::now();
        let coord = Arc::clone(&self.claims.coord);
        let answer = self.patiently(coord.acquire(self.role, self.claims.holder, TTL)).await;
        self.answered = asked;
        // Counted from before it was asked: it is never believed in when it is over.
        let fresh = begun.elapsed() < TTL;
        self.lease = None;
        let event = match answer {
            Ok(lease) if fresh => {
                self.lease = Some((lease, begun + RENEW_INTERVAL));
                Event::Claimed { role: self.role }
            }
            Err(AcquireError::Held { .. }) => Event::HeldByOther { role: self.role },
            Ok(_) | Err(AcquireError::Unavailable(_)) => Event::Unclaimable { role: self.role },
        };
        self.tell(event).await;
    }

    async fn renew(&mut self, lease: Lease) {
        let begun = Instant::now();
        let coord = Arc::clone(&self.claims.coord);
        match self.patiently(coord.renew(lease)).await {
            Ok(()) if begun.elapsed() < TTL => {
                self.lease = Some((lease, begun + RENEW_INTERVAL));
                if begun.elapsed() >= PATIENCE {
                    self.tell(Event::Claimed { role: self.role }).await;
                }
            }
            // Lost, or nobody knows: the machine asks again.
            Ok(()) | Err(_) => {
                self.lease = None;
                self.tell(Event::Unclaimable { role: self.role }).await;
            }
        }
    }

    async fn give_back(&mut self, lease: Lease) {
        self.lease = None;
        let coord = Arc::clone(&self.claims.coord);
        // What is not given back runs out by itself.
        if let Err(error) = self.patiently(coord.release(lease)).await {
            tracing::debug!(%error, "a claim was not given back");
        }
    }

    /// The answer to one request, however long it takes. While it takes too long nobody knows, and every question hears so.
    async fn patiently<T>(&mut self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        let late_at = Instant::now() + PATIENCE;
        let mut late = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut request => return answer,
                () = sleep_until(late_at), if !late => late = true,
                changed = self.wanted.changed(), if late => if changed.is_err() {
                    return request.await;
                },
            }
            if self.wanted.borrow_and_update().held {
                self.tell(Event::Unclaimable { role: self.role }).await;
            }
        }
    }

    async fn tell(&self, event: Event) {
        // Whoever ends needs no news.
        let _ = self.claims.inputs.send(Input::Happened(event)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use keepwatch_cluster::{Answer, Memory, RenewError, Unavailable};

    use super::*;

    const ROLE: RoleId = RoleId([1; 16]);
    const HERE: RoleId = RoleId([2; 16]);
    const THERE: RoleId = RoleId([3; 16]);

    /// A coordination that gives no answer while it hangs.
    #[derive(Clone, Debug)]
    struct Hanging {
        memory: Arc<Memory>,
        hangs: Arc<AtomicBool>,
        under_way: Arc<AtomicUsize>,
        requests: Arc<AtomicUsize>,
    }

    impl Hanging {
        async fn answers(&self) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.under_way.fetch_add(1, Ordering::Relaxed);
            while self.hangs.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    impl Coord for Hanging {
        fn acquire(
            &self,
            role: RoleId,
            holder: RoleId,
            ttl: Duration,
        ) -> Answer<'_, Result<Lease, AcquireError>> {
            Box::pin(async move {
                self.answers().await;
                self.memory.acquire(role, holder, ttl).await
            })
        }

        fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>> {
            Box::pin(async move {
                self.answers().await;
                self.memory.renew(lease).await
            })
        }

        fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>> {
            Box::pin(async move {
                self.answers().await;
                self.memory.release(lease).await
            })
        }
    }

    fn claims() -> (Claims, Hanging, mpsc::Receiver<Input>) {
        let coord = Hanging {
            memory: Arc::new(Memory::new()),
            hangs: Arc::default(),
            under_way: Arc::default(),
            requests: Arc::default(),
        };
        let (inputs, told) = mpsc::channel(16);
        (Claims::new(Arc::new(coord.clone()), HERE, inputs), coord, told)
    }

    async fn next(told: &mut mpsc::Receiver<Input>) -> Event {
        match told.recv().await {
            Some(Input::Happened(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_coordination_that_hangs_is_asked_once_and_told_as_unconfirmed_each_time() {
        let (claims, coord, mut told) = claims();
        coord.hangs.store(true, Ordering::Relaxed);
        for _ in 0..20 {
            let begun = Instant::now();
            claims.claim(ROLE);
            assert_eq!(next(&mut told).await, Event::Unclaimable { role: ROLE });
            assert!(begun.elapsed() < Duration::from_secs(2), "before the machine asks again");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert_eq!(coord.requests.load(Ordering::Relaxed), 1);
        coord.hangs.store(false, Ordering::Relaxed);
        // What is answered so late may be over, so it is asked for once more.
        loop {
            let event = next(&mut told).await;
            if event == (Event::Claimed { role: ROLE }) {
                break;
            }
            assert_eq!(event, Event::Unclaimable { role: ROLE });
            claims.claim(ROLE);
        }
        assert_eq!(coord.under_way.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_is_kept_alive_and_given_back() {
        let (claims, coord, mut told) = claims();
        claims.claim(ROLE);
        assert_eq!(next(&mut told).await, Event::Claimed { role: ROLE });
        let other = || coord.memory.acquire(ROLE, THERE, TTL);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert!(coord.requests.load(Ordering::Relaxed) > 1, "it is renewed");
        }
        assert_eq!(told.try_recv().ok().map(|input| format!("{input:?}")), None);
        // Asked once more it is had all the same, as after a failure of the driver.
        claims.claim(ROLE);
        assert_eq!(next(&mut told).await, Event::Claimed { role: ROLE });
        claims.release(ROLE);
        let freed = async {
            while other().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), freed).await.expect("it is given back at once");
        claims.claim(ROLE);
        assert_eq!(next(&mut told).await, Event::HeldByOther { role: ROLE });
    }
}
